/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "later.h"
#include "logq.h"

#define NOTICE 256 /* "STAMP N log lines lost\n" */

_Static_assert(LOGQ_LINE + NOTICE <= PIPE_BUF, "a line and a notice go out in one piece");

/* Before each line in the ring. */
struct head {
	uint32_t n;
	uint32_t missed; /* lines that found no room between the one before and this */
};

struct logq {
	pthread_mutex_t lock; /* held for copies only, never for a write */
	pthread_cond_t some;  /* there is something to do, for the thread */
	pthread_cond_t done;  /* something was done, for those who wait for it */
	pthread_t thread;
	int fd;
	bool end, ended;
	bool left;     /* stuck in a write when the program was done with it: the thread frees it, if it ever gets on */
	bool losing;   /* the queue was full, and is not yet half empty */
	size_t put;    /* bytes put so far; modulo the size, a place in the ring */
	size_t got;    /* bytes that the thread has taken */
	size_t out;    /* and has done with */
	size_t missed; /* lines that found no room since the last that did */
	uint64_t lost; /* in all; atomic */
	/* the thread's own */
	size_t refused;	     /* lines lost to failing writes, not told yet */
	char tail[PIPE_BUF]; /* rest of a line of which a part is written: it goes before all else */
	size_t tail_n;
	char ring[LOGQ_BYTES];
};

static void ring_write(struct logq *q, const void *from, size_t n)
{
	size_t at = q->put % LOGQ_BYTES, first = n < LOGQ_BYTES - at ? n : LOGQ_BYTES - at;

	memcpy(q->ring + at, from, first);
	memcpy(q->ring, (const char *)from + first, n - first);
	q->put += n;
}

static void ring_peek(const struct logq *q, size_t from, void *to, size_t n)
{
	size_t at = from % LOGQ_BYTES, first = n < LOGQ_BYTES - at ? n : LOGQ_BYTES - at;

	memcpy(to, q->ring + at, first);
	memcpy((char *)to + first, q->ring, n - first);
}

static void lose(struct logq *q, size_t lines)
{
	__atomic_fetch_add(&q->lost, lines, __ATOMIC_RELAXED);
}

uint64_t logq_lost(struct logq *q)
{
	return __atomic_load_n(&q->lost, __ATOMIC_RELAXED);
}

void logq_put(struct logq *q, const char *line, size_t n)
{
	struct head h = {.n = (uint32_t)n};
	size_t used;

	pthread_mutex_lock(&q->lock);
	used = q->put - q->got;
	/* A reader that creeps would be told of a line or two each time: it gets one notice when it has caught up. */
	q->losing = used + sizeof(h) + n > LOGQ_BYTES || (q->losing && used > LOGQ_BYTES / 2);
	if (q->losing) {
		q->missed++;
		lose(q, 1);
	} else {
		h.missed = (uint32_t)q->missed;
		q->missed = 0;
		ring_write(q, &h, sizeof(h));
		ring_write(q, line, n);
		pthread_cond_signal(&q->some);
	}
	pthread_mutex_unlock(&q->lock);
}

/* ---- the thread ---- */

/* What goes out in one write: so much as a pipe takes in one piece, so that no other process writes into a line. */
struct batch {
	char text[PIPE_BUF];
	size_t n, lines;
	size_t owed; /* lines whose loss its first line tells */
};

static void batch_notice(struct batch *b, size_t owed)
{
	b->owed = owed;
	if (!owed)
		return;
	b->n = log_lost_line(b->text, NOTICE, owed);
}

/* Takes lines off the ring up to the next gap.  The lock is held. */
static void batch_take(struct logq *q, struct batch *b)
{
	struct head h;

	b->n = b->lines = 0;
	if (q->got == q->put) {
		batch_notice(b, q->refused + q->missed);
		q->missed = 0;
		return;
	}
	while (q->got != q->put) {
		ring_peek(q, q->got, &h, sizeof(h));
		if (b->lines && (h.missed || b->n + h.n > sizeof(b->text)))
			break;
		if (!b->lines)
			batch_notice(b, q->refused + h.missed);
		ring_peek(q, q->got + sizeof(h), b->text + b->n, h.n);
		b->n += h.n;
		b->lines++;
		q->got += sizeof(h) + h.n;
	}
}

/* Bytes that were written before an error. */
static size_t put_out(int fd, const char *p, size_t n)
{
	size_t at = 0;

	while (at < n) {
		ssize_t put = write(fd, p + at, n - at);

		if (put > 0) {
			at += (size_t)put;
		} else if (put < 0 && errno == EAGAIN) { /* somebody has set O_NONBLOCK: it may be theirs too */
			struct pollfd w = {.fd = fd, .events = POLLOUT};

			poll(&w, 1, -1);
		} else if (put == 0 || errno != EINTR) {
			break;
		}
	}
	return at;
}

static size_t count_lines(const char *p, size_t n)
{
	size_t lines = 0;

	for (size_t i = 0; i < n; i++)
		lines += p[i] == '\n';
	return lines;
}

/* A disk that is full takes a part of a line: the rest is kept, and what stands behind it is lost. */
static void batch_torn(struct logq *q, const struct batch *b, size_t at)
{
	const char *end = b->text + b->n, *rest = b->text + at;

	if (rest[-1] != '\n') {
		const char *next = (const char *)memchr(rest, '\n', (size_t)(end - rest)) + 1;

		q->tail_n = (size_t)(next - rest);
		memcpy(q->tail, rest, q->tail_n);
		rest = next;
	}
	q->refused = count_lines(rest, (size_t)(end - rest));
	lose(q, q->refused);
}

static void batch_write(struct logq *q, const struct batch *b)
{
	size_t at = put_out(q->fd, q->tail, q->tail_n);

	q->tail_n -= at;
	memmove(q->tail, q->tail + at, q->tail_n);
	at = q->tail_n ? 0 : put_out(q->fd, b->text, b->n);
	if (at > 0 && at < b->n) {
		batch_torn(q, b, at);
	} else if (at < b->n) {
		q->refused = b->owed + b->lines;
		lose(q, b->lines);
	} else {
		q->refused = 0;
	}
}

static void logq_free(struct logq *q)
{
	pthread_cond_destroy(&q->done);
	pthread_cond_destroy(&q->some);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static void *logq_main(void *arg)
{
	struct logq *q = arg;
	struct batch b;
	bool left;

	pthread_mutex_lock(&q->lock);
	for (;;) {
		while (q->got == q->put && !q->missed && !q->end)
			pthread_cond_wait(&q->some, &q->lock);
		if (q->got == q->put && !q->missed)
			break;
		batch_take(q, &b);
		pthread_mutex_unlock(&q->lock);
		batch_write(q, &b);
		pthread_mutex_lock(&q->lock);
		q->out = q->got;
		pthread_cond_broadcast(&q->done);
	}
	q->ended = true;
	left = q->left;
	pthread_cond_broadcast(&q->done);
	pthread_mutex_unlock(&q->lock);
	if (left) {
		close(q->fd);
		logq_free(q);
	}
	return NULL;
}

/* ---- start and stop ---- */

int logq_start(struct logq **out, int fd)
{
	struct logq *q = calloc(1, sizeof(*q));
	sigset_t all, old;
	int err;

	if (!q)
		return -ENOMEM;
	q->fd = fd;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->some, NULL);
	pthread_cond_init(&q->done, NULL);
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* of a system call that is refused (app/posture) */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&q->thread, NULL, logq_main, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		logq_free(q);
		return err;
	}
	pthread_setname_np(q->thread, "kcpgate-log");
	*out = q;
	return 0;
}

bool logq_flush(struct logq *q, unsigned ms)
{
	struct timespec until = later_ms(ms);
	size_t all;
	bool done;
	int err = 0;

	pthread_mutex_lock(&q->lock);
	all = q->put;
	while (q->out < all && !err)
		err = pthread_cond_clockwait(&q->done, &q->lock, CLOCK_MONOTONIC, &until);
	done = q->out >= all;
	pthread_mutex_unlock(&q->lock);
	return done;
}

int logq_redirect(struct logq *q, int fd)
{
	return dup3(fd, q->fd, O_CLOEXEC) < 0 ? -errno : 0;
}

bool logq_stop(struct logq *q, unsigned ms)
{
	struct timespec until = later_ms(ms);
	bool ended;
	int err = 0;

	pthread_mutex_lock(&q->lock);
	q->end = true;
	pthread_cond_signal(&q->some);
	while (!q->ended && !err)
		err = pthread_cond_clockwait(&q->done, &q->lock, CLOCK_MONOTONIC, &until);
	ended = q->ended;
	q->left = !ended;
	if (!ended)
		pthread_detach(q->thread);
	pthread_mutex_unlock(&q->lock);
	if (!ended)
		return false;
	pthread_join(q->thread, NULL);
	close(q->fd);
	logq_free(q);
	return true;
}
