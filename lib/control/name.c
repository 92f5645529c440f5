/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "log.h"
#include "name.h"
#include "sock.h"

/* One lookup.  Thread and control each hold a reference; whoever drops the last one frees it, so neither waits. */
struct name_job {
	atomic_int refs;
	atomic_bool done; /* writer: thread; releases what follows */
	struct addr addrs[NAME_ADDRS];
	unsigned n;
	int gai;
	int bell;
	char host[];
};

static void job_unref(struct name_job *j)
{
	if (atomic_fetch_sub(&j->refs, 1) > 1)
		return;
	close(j->bell);
	free(j);
}

static int lookup(const char *host, struct addr *v, unsigned *n)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *res = NULL;
	struct sockaddr_storage ss;
	uint16_t port;
	int err;

	*n = 0;
	err = getaddrinfo(host, NULL, &hints, &res);
	/* Only loopback addresses are configured: then they are what is wanted. */
	if (err == EAI_NONAME || err == EAI_ADDRFAMILY) {
		hints.ai_flags = 0;
		err = getaddrinfo(host, NULL, &hints, &res);
	}
	if (err)
		return err;
	for (struct addrinfo *ai = res; ai && *n < NAME_ADDRS; ai = ai->ai_next) {
		if (ai->ai_addrlen > sizeof(ss))
			continue;
		memset(&ss, 0, sizeof(ss));
		memcpy(&ss, ai->ai_addr, ai->ai_addrlen);
		sock_addr_read(&ss, &v[*n], &port);
		*n += !addr_is_any(&v[*n]);
	}
	freeaddrinfo(res);
	return *n ? 0 : EAI_NONAME;
}

static void *job_main(void *arg)
{
	struct name_job *j = arg;
	uint64_t one = 1;
	ssize_t rc;

	j->gai = lookup(j->host, j->addrs, &j->n);
	atomic_store_explicit(&j->done, true, memory_order_release);
	rc = write(j->bell, &one, sizeof(one));
	(void)rc; /* fails only when it is rung already */
	job_unref(j);
	return NULL;
}

static int job_start(struct names *s, struct name *n)
{
	struct name_job *j = calloc(1, sizeof(*j) + strlen(n->host) + 1);
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int err = -ENOMEM;

	if (!j)
		return err;
	strcpy(j->host, n->host);
	atomic_init(&j->refs, 2);
	j->bell = dup(s->bell);
	if (j->bell < 0) {
		err = -errno;
		free(j);
		return err;
	}
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* of a system call that is refused (app/posture) */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = -pthread_create(&thread, &attr, job_main, j);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		close(j->bell);
		free(j);
		return err;
	}
	n->job = j;
	list_add_tail(&s->busy, &n->busy);
	return 0;
}

int names_init(struct names *s)
{
	list_init(&s->busy);
	s->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return s->bell < 0 ? -errno : 0;
}

void names_fini(struct names *s)
{
	struct list *l;

	while ((l = list_pop(&s->busy))) {
		struct name *n = container_of(l, struct name, busy);

		job_unref(n->job);
		n->job = NULL;
	}
	close(s->bell);
}

void name_init(struct name *n, const char *host)
{
	memset(n, 0, sizeof(*n));
	list_init(&n->busy);
	list_init(&n->waiters);
	n->host = host && *host ? host : "127.0.0.1";
	n->literal = addr_parse_zone(n->host, &n->addrs[0], &n->zone) == 0;
	n->n = n->literal;
}

void name_wait_init(struct name_wait *w, void (*fn)(struct ctl *c, struct name_wait *w))
{
	list_init(&w->link);
	w->fn = fn;
}

/* That there is no such name is an answer; all else is none. */
static bool answered(int gai)
{
	return gai == 0 || gai == EAI_NONAME || gai == EAI_NODATA || gai == EAI_ADDRFAMILY;
}

/* There was no answer: the addresses of before stay, if there are any. */
static void stale(struct name *n, int gai, uint64_t now)
{
	n->gai = n->n ? 0 : gai;
	n->until = now + (n->n ? NAME_STALE_MS : NAME_KEEP_MS);
	if (n->n)
		log_warn("%s: %s: its addresses of before are used", n->host, gai_strerror(gai));
}

bool name_ask(struct names *s, struct name *n, struct name_wait *w, uint64_t now)
{
	if (n->literal || (!n->job && now < n->until))
		return true;
	if (!n->job && job_start(s, n)) {
		stale(n, EAI_AGAIN, now);
		return true;
	}
	list_add_tail(&n->waiters, &w->link);
	return false;
}

void name_cancel(struct name_wait *w)
{
	list_del(&w->link);
}

static void take_answer(struct name *n, struct ctl *c, uint64_t now)
{
	struct name_job *j = n->job;
	struct list waiters, *l;

	if (answered(j->gai)) {
		n->n = j->n;
		n->gai = j->gai;
		memcpy(n->addrs, j->addrs, sizeof(n->addrs));
		n->until = now + NAME_KEEP_MS;
	} else {
		stale(n, j->gai, now);
	}
	n->job = NULL;
	list_del(&n->busy);
	job_unref(j);
	/* A waiter may ask again at once: it must not be called twice for one answer. */
	list_init(&waiters);
	list_splice_tail(&waiters, &n->waiters);
	while ((l = list_pop(&waiters))) {
		struct name_wait *w = container_of(l, struct name_wait, link);

		w->fn(c, w);
	}
}

void names_turn(struct names *s, struct ctl *c, uint64_t now)
{
	uint64_t count;
	ssize_t rc = read(s->bell, &count, sizeof(count));
	struct list busy, *l;

	(void)rc;
	list_init(&busy);
	list_splice_tail(&busy, &s->busy);
	while ((l = list_pop(&busy))) {
		struct name *n = container_of(l, struct name, busy);

		if (atomic_load_explicit(&n->job->done, memory_order_acquire))
			take_answer(n, c, now);
		else
			list_add_tail(&s->busy, &n->busy);
	}
}

void name_change(struct name *n, struct ctl *c, const char *host)
{
	struct list waiters, *l;

	list_init(&waiters);
	list_splice_tail(&waiters, &n->waiters);
	if (n->job) {
		list_del(&n->busy);
		job_unref(n->job);
	}
	name_init(n, host);
	while ((l = list_pop(&waiters))) {
		struct name_wait *w = container_of(l, struct name_wait, link);

		w->fn(c, w);
	}
}

int name_now(struct name *n)
{
	if (!n->literal)
		n->gai = lookup(n->host, n->addrs, &n->n);
	return n->gai;
}

const char *name_error(const struct name *n)
{
	return n->gai == EAI_SYSTEM ? "resolver failure" : gai_strerror(n->gai);
}
