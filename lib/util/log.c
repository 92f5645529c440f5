/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "logq.h"

#define FLUSH_MS 1000 /* for what is on its way to a file that is changed or left */
#define TEXT_MAX 1004 /* with its time and newline a line of text has 1 KiB at most */

/* Before log_open and after log_close lines go to stderr as they come; between, over the queue and its thread. */
static _Atomic(struct logq *) log_queue;
static atomic_int log_level = LOG_INFO;
static atomic_int log_how = LOG_TEXT;
static atomic_bool log_journal;				       /* the descriptor is the journal's */
static atomic_uint log_most;				       /* lines of a level and second */
static pthread_mutex_t limit_lock = PTHREAD_MUTEX_INITIALIZER; /* held for a count, never for a write */
static struct log_limit limits[LOG_DEBUG + 1];
static atomic_bool log_stuck; /* a queue was left behind in a write: another would not end either */

/* A FIFO that nobody reads yet is held open by ourselves: its reader finds what fits in. */
static int open_file(const char *path)
{
	const int how = O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd = open(path, O_WRONLY | how, 0640);

	if (fd < 0 && errno == ENXIO)
		fd = open(path, O_RDWR | how, 0640);
	return fd < 0 ? -errno : fd;
}

int log_file(const char *path)
{
	int fd;

	/* stderr has a number of its own too: others play with number 2, as EAL's start does. */
	if (path && *path)
		return open_file(path);
	fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}

int log_open(const char *path, enum log_level level)
{
	int fd = log_file(path);

	return fd < 0 ? fd : log_to(fd, level);
}

/* systemd says which stream is the journal's, so that nobody takes what was redirected since for it. */
static bool is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%ju:%ju", &dev, &ino) == 2 && fstat(fd, &st) == 0 && st.st_dev == dev &&
	       st.st_ino == ino;
}

int log_to(int fd, enum log_level level)
{
	struct logq *q = atomic_load(&log_queue);
	bool journal = is_journal(fd);
	int err;

	if (q) {
		logq_flush(q, FLUSH_MS);
		err = logq_redirect(q, fd);
	} else {
		err = logq_start(&q, fd);
	}
	if (err || atomic_load(&log_queue))
		close(fd);
	if (err)
		return err;
	atomic_store(&log_journal, journal);
	atomic_store(&log_queue, q);
	atomic_store(&log_level, level);
	return 0;
}

void log_form(enum log_format f)
{
	atomic_store(&log_how, (int)f);
}

void log_threshold(enum log_level level)
{
	atomic_store(&log_level, (int)level);
}

void log_rate(unsigned lines)
{
	atomic_store(&log_most, lines);
}

void log_close(void)
{
	struct logq *q = atomic_exchange(&log_queue, NULL);

	if (q && !logq_stop(q, FLUSH_MS))
		atomic_store(&log_stuck, true);
}

bool log_flush(unsigned ms)
{
	struct logq *q = atomic_load(&log_queue);

	return !q || logq_flush(q, ms);
}

uint64_t log_lost(void)
{
	struct logq *q = atomic_load(&log_queue);

	return q ? logq_lost(q) : 0;
}

bool log_on(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

/* One write a line, so that lines of several threads do not mix. */
static void put_line(const char *line, size_t n)
{
	struct logq *q = atomic_load_explicit(&log_queue, memory_order_acquire);

	if (q)
		logq_put(q, line, n);
	else if (!atomic_load(&log_stuck))
		while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
			;
}

static void put_parts(struct log_parts *p)
{
	char line[LOGQ_LINE];

	p->format = atomic_load_explicit(&log_how, memory_order_relaxed);
	p->journal = atomic_load_explicit(&log_journal, memory_order_relaxed);
	put_line(line, log_frame(line, sizeof(line), p));
}

size_t log_lost_line(char *buf, size_t n, size_t lines)
{
	char text[64];
	struct log_parts p = {.level = LOG_WARN,
			      .format = atomic_load_explicit(&log_how, memory_order_relaxed),
			      .journal = atomic_load_explicit(&log_journal, memory_order_relaxed),
			      .text = text};

	snprintf(text, sizeof(text), "%zu log lines lost", lines);
	return log_frame(buf, n, &p);
}

/* ---- how many ---- */

static const char *const level_name[] = {"error", "warn", "info", "debug"};

static void tell_left_out(enum log_level level, uint32_t n, unsigned rate)
{
	char text[128];
	struct log_parts p = {.level = level, .text = text};

	if (!n)
		return;
	snprintf(text, sizeof(text), "%u lines of level %s left out: log.rate is %u a second", n, level_name[level],
		 rate);
	put_parts(&p);
}

static uint64_t seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec;
}

static bool log_admit(enum log_level level)
{
	unsigned rate = atomic_load_explicit(&log_most, memory_order_relaxed);
	uint32_t left_out;
	bool may;

	if (!rate)
		return true;
	pthread_mutex_lock(&limit_lock);
	may = log_allow(&limits[level], seconds(), rate, 1, &left_out);
	pthread_mutex_unlock(&limit_lock);
	if (may)
		tell_left_out(level, left_out, rate);
	return may;
}

void log_tick(void)
{
	uint64_t now = seconds();

	for (unsigned l = LOG_ERROR; l <= LOG_DEBUG; l++) {
		uint32_t n = 0;

		pthread_mutex_lock(&limit_lock);
		if (limits[l].left_out && now > limits[l].since_s) {
			n = limits[l].left_out;
			limits[l].left_out = 0;
		}
		pthread_mutex_unlock(&limit_lock);
		tell_left_out((enum log_level)l, n, atomic_load(&log_most));
	}
}

/* ---- lines ---- */

static void line_of(enum log_level level, const char *event, const struct log_field *v, unsigned n, const char *fmt,
		    va_list ap)
{
	char text[TEXT_MAX];
	struct log_parts p = {.level = (int)level, .event = event, .v = v, .n = n, .text = text};

	if (log_on(level) && vsnprintf(text, sizeof(text), fmt, ap) >= 0 && log_admit(level))
		put_parts(&p);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_of(level, NULL, NULL, 0, fmt, ap);
	va_end(ap);
}

void log_event(enum log_level level, const char *event, const struct log_field *v, unsigned n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line_of(level, event, v, n, fmt, ap);
	va_end(ap);
}

bool log_allow(struct log_limit *l, uint64_t now_s, unsigned burst, unsigned period_s, uint32_t *left_out)
{
	*left_out = 0;
	/* A clock that was set back begins a new period too. */
	if (now_s < l->since_s || now_s - l->since_s >= period_s) {
		l->since_s = now_s;
		l->sent = 0;
	}
	if (l->sent >= burst) {
		if (l->left_out < UINT32_MAX)
			l->left_out++;
		return false;
	}
	l->sent++;
	*left_out = l->left_out;
	l->left_out = 0;
	return true;
}
