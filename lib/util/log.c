/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "logq.h"

#define FLUSH_MS 1000 /* for what is on its way to a file that is changed or left */

/* Before log_open and after log_close lines go to stderr as they come; between, over the queue and its thread. */
static _Atomic(struct logq *) log_queue;
static atomic_int log_level = LOG_INFO;
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

int log_to(int fd, enum log_level level)
{
	struct logq *q = atomic_load(&log_queue);
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
	atomic_store(&log_queue, q);
	atomic_store(&log_level, level);
	return 0;
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

size_t log_stamp(char *buf, size_t n)
{
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	return strftime(buf, n, "%Y/%m/%d %H:%M:%S ", &tm);
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

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[LOGQ_LINE + 1];
	size_t head, n;
	va_list ap;
	int len;

	if (!log_on(level))
		return;
	head = log_stamp(line, sizeof(line));
	va_start(ap, fmt);
	len = vsnprintf(line + head, LOGQ_LINE - head, fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	n = head + (size_t)len;
	if (n > LOGQ_LINE - 1)
		n = LOGQ_LINE - 1;
	/* Text may come from a peer or a file: what it holds must not look like a line of ours, or steer a terminal. */
	for (size_t i = head; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = line[i] == '\t' ? '\t' : '?';
	line[n++] = '\n';
	put_line(line, n);
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
