/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gotime.h"
#include "snmplog.h"
#include "tlm.h"

#define FAIL_LINES  1
#define FAIL_PERIOD 600

/* kcptun's CSV order, which is not the struct's in the FEC part; and one name differs there (wire.md 9.7). */
static const struct {
	const char *name;
	size_t at;
} columns[SNMP_COUNT] = {
#define C(field)                                     \
	{                                            \
#field, offsetof(struct snmp, field) \
	}
#define C2(name, field)                             \
	{                                           \
#name, offsetof(struct snmp, field) \
	}
	C(BytesSent),
	C(BytesReceived),
	C(MaxConn),
	C(ActiveOpens),
	C(PassiveOpens),
	C(CurrEstab),
	C(InErrs),
	C(InCsumErrors),
	C(KCPInErrors),
	C(InPkts),
	C(OutPkts),
	C(InSegs),
	C(OutSegs),
	C(InBytes),
	C(OutBytes),
	C(RetransSegs),
	C(FastRetransSegs),
	C(EarlyRetransSegs),
	C(LostSegs),
	C(RepeatSegs),
	C2(FECFullShards, FECFullShardSet),
	C(FECParityShards),
	C(FECErrs),
	C(FECRecovered),
	C(FECShardSet),
	C(FECShardMin),
	C(RingBufferSndQueue),
	C(RingBufferRcvQueue),
	C(RingBufferSndBuffer),
	C(OOBPackets),
#undef C
#undef C2
};

_Static_assert(SNMP_COUNT * 21 + 22 <= SNMPLOG_ROW, "a row of the largest numbers fits");

void snmplog_init(struct snmplog *l, const struct tlm_src *src, const char *path, unsigned period_s, uint64_t now_ms)
{
	*l = (struct snmplog){.src = src, .path = path && *path && period_s ? path : NULL};
	l->period_ms = (uint64_t)period_s * 1000;
	l->next_ms = now_ms + l->period_ms;
}

int snmplog_path(char *buf, size_t n, const char *path, const struct tm *tm, uint32_t ns)
{
	const char *slash = strrchr(path, '/');
	size_t dir = slash ? (size_t)(slash - path) + 1 : 0;

	if (dir >= n)
		return -ENAMETOOLONG;
	memcpy(buf, path, dir);
	buf[dir] = '\0';
	if (path[dir] && gotime_format(buf + dir, n - dir, path + dir, tm, ns) == 0)
		return -ENAMETOOLONG;
	return 0;
}

size_t snmplog_header(char *buf)
{
	size_t at = (size_t)snprintf(buf, SNMPLOG_ROW, "Unix");

	for (unsigned i = 0; i < SNMP_COUNT; i++)
		at += (size_t)snprintf(buf + at, SNMPLOG_ROW - at, ",%s", columns[i].name);
	buf[at++] = '\n';
	return at;
}

size_t snmplog_row(char *buf, uint64_t unix_s, const struct snmp *v)
{
	size_t at = (size_t)snprintf(buf, SNMPLOG_ROW, "%llu", (unsigned long long)unix_s);

	for (unsigned i = 0; i < SNMP_COUNT; i++) {
		uint64_t n;

		memcpy(&n, (const char *)v + columns[i].at, sizeof(n));
		at += (size_t)snprintf(buf + at, SNMPLOG_ROW - at, ",%llu", (unsigned long long)n);
	}
	buf[at++] = '\n';
	return at;
}

/* A full disk has taken a part of a row: without it the next one begins a line. */
static void take_back(int fd, ssize_t put)
{
	off_t end = lseek(fd, 0, SEEK_CUR);
	int rc = end >= put ? ftruncate(fd, end - put) : 0;

	(void)rc; /* not a file, or a file that nobody may shorten */
}

int snmplog_append(const char *path, uint64_t unix_s, const struct snmp *v)
{
	/* Non-blocking, for what is a FIFO without a reader. */
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640), err = 0;
	char buf[2 * SNMPLOG_ROW];
	struct stat st;
	size_t n = 0;
	ssize_t put;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && st.st_size == 0)
		n = snmplog_header(buf);
	n += snmplog_row(buf + n, unix_s, v);
	put = write(fd, buf, n);
	if (put != (ssize_t)n)
		err = put < 0 ? -errno : -ENOSPC;
	if (put > 0 && err)
		take_back(fd, put);
	if (close(fd) && !err)
		err = -errno;
	return err;
}

static void log_now(struct snmplog *l, uint64_t now_ms)
{
	char path[PATH_MAX];
	struct timespec ts;
	uint32_t left_out;
	struct snmp sum;
	struct tm tm;
	int err;

	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	err = snmplog_path(path, sizeof(path), l->path, &tm, (uint32_t)ts.tv_nsec);
	if (err) {
		snprintf(path, sizeof(path), "%s", l->path);
	} else {
		tlm_snmp(l->src, -1, &sum);
		err = snmplog_append(path, (uint64_t)ts.tv_sec, &sum);
	}
	if (err && !atomic_load(&l->left) && log_allow(&l->limit, now_ms / 1000, FAIL_LINES, FAIL_PERIOD, &left_out))
		log_warn("snmplog: %s: %s", path, strerror(-err));
}

int snmplog_turn(struct snmplog *l, uint64_t now_ms)
{
	if (!l->path)
		return INT32_MAX;
	if (now_ms >= l->next_ms) {
		uint64_t missed = (now_ms - l->next_ms) / l->period_ms;

		if (missed)
			log_warn("snmplog: %s: %llu rows left out, for one took so long to write", l->path,
				 (unsigned long long)missed);
		/* As a ticker: what was missed is not made up for. */
		l->next_ms += (missed + 1) * l->period_ms;
		log_now(l, now_ms);
	}
	return l->next_ms - now_ms < INT32_MAX ? (int)(l->next_ms - now_ms) : INT32_MAX;
}

/* ---- the thread ---- */

struct snmplog_thread {
	struct snmplog log;
	pthread_mutex_t lock;
	pthread_cond_t wake; /* of the thread, and of who waits for its end */
	pthread_t thread;
	bool end, ended;
};

static uint64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Waits for news, at most until a time of clock_ms.  The lock is held. */
static int wait_until(struct snmplog_thread *t, uint64_t ms)
{
	struct timespec until = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	return pthread_cond_clockwait(&t->wake, &t->lock, CLOCK_MONOTONIC, &until);
}

static void *snmplog_main(void *arg)
{
	struct snmplog_thread *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->end) {
		uint64_t now = clock_ms();
		int due;

		pthread_mutex_unlock(&t->lock);
		due = snmplog_turn(&t->log, now);
		pthread_mutex_lock(&t->lock);
		if (!t->end)
			wait_until(t, now + (uint64_t)due);
	}
	t->ended = true;
	pthread_cond_broadcast(&t->wake);
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int snmplog_start(struct snmplog_thread **out, const struct tlm_src *src, const char *path, unsigned period_s)
{
	struct snmplog_thread *t;
	sigset_t all, old;
	int err;

	*out = NULL;
	if (!path || !*path || !period_s)
		return 0;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	snmplog_init(&t->log, src, path, period_s, clock_ms());
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->wake, NULL);
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* of a system call that is refused (app/posture) */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&t->thread, NULL, snmplog_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		free(t);
		return err;
	}
	pthread_setname_np(t->thread, "kcpgate-snmplog");
	*out = t;
	return 0;
}

bool snmplog_stop(struct snmplog_thread *t, unsigned ms)
{
	uint64_t until = clock_ms() + ms;
	bool ended;
	int err = 0;

	if (!t)
		return true;
	pthread_mutex_lock(&t->lock);
	t->end = true;
	pthread_cond_broadcast(&t->wake);
	while (!t->ended && !err)
		err = wait_until(t, until);
	ended = t->ended;
	atomic_store(&t->log.left, !ended);
	pthread_mutex_unlock(&t->lock);
	if (!ended) {
		pthread_detach(t->thread);
		return false;
	}
	pthread_join(t->thread, NULL);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	free(t);
	return true;
}
