/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "log.h"
#include "record.h"
#include "tlm.h"

#define RING	(8u << 20) /* bytes a worker: 16 ms of 4 Gbit/s, and more of what is chosen from it */
#define OUT	(256u << 10)
#define LOOK_MS 10 /* for packets, and for the end */

_Static_assert(OUT >= 2 * CAPTURE_BLOCK, "a block fits behind what has not been sent");

struct record {
	const struct tlm_src *src;
	struct record_ask ask;
	struct capture *cap;
	struct capture_names names;
	pthread_t thread;
	int listen, fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	uint64_t until_ms; /* when its time is over */
	bool broken;	   /* its reader is gone */
	uint8_t out[OUT];
	size_t n;
};

/* What telemetry's threads know of it. */
static struct {
	pthread_mutex_t lock;
	struct record *r;  /* until it is joined */
	atomic_bool ended; /* its thread is through */
	atomic_bool stop;  /* it is to end, and no worker runs */
	struct record_now last;
} rec = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static struct capture_clock clock_now(const struct record *r)
{
	struct timespec ts;
	uint64_t tsc;

	clock_gettime(CLOCK_REALTIME, &ts);
	tsc = rte_rdtsc();
	return (struct capture_clock){
		.tsc = tsc,
		.ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec,
		.hz = r->src->tsc_hz,
	};
}

static void rest(unsigned ms)
{
	const struct timespec ts = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&ts, NULL);
}

/* ---- the reader ---- */

/* Root and this user only, whatever the folder's permissions are. */
static bool may_read(int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && (who.uid == 0 || who.uid == geteuid());
}

/* Waits for it; false: it does not come. */
static bool reader_comes(struct record *r)
{
	uint64_t until = now_ms() + RECORD_WAIT_S * 1000;
	struct pollfd p = {.fd = r->listen, .events = POLLIN};

	while (now_ms() < until && !atomic_load(&rec.stop)) {
		if (poll(&p, 1, LOOK_MS) <= 0)
			continue;
		r->fd = accept4(r->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (r->fd >= 0 && may_read(r->fd))
			return true;
		if (r->fd >= 0)
			close(r->fd);
		r->fd = -1;
	}
	return false;
}

/* It says that it wants no more by closing its side. */
static bool reader_wants(struct record *r)
{
	char c;
	ssize_t n = r->broken ? 0 : recv(r->fd, &c, 1, MSG_DONTWAIT);

	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Sends what has been written, however long its reader takes: what comes meanwhile fills the rings. */
static void send_out(struct record *r)
{
	struct pollfd p = {.fd = r->fd, .events = POLLOUT};
	size_t at = 0;

	while (at < r->n && !r->broken) {
		ssize_t n = send(r->fd, r->out + at, r->n - at, MSG_NOSIGNAL);

		if (n > 0)
			at += (size_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			r->broken = true;
		else if (atomic_load(&rec.stop))
			break;
		else
			poll(&p, 1, LOOK_MS);
	}
	r->n = 0;
}

/* ---- the packets ---- */

static bool is_full(const struct record *r)
{
	return r->ask.count && capture_taken(r->cap) >= r->ask.count;
}

/* Takes what lies in the rings; returns whether there was anything. */
static bool take(struct record *r)
{
	struct capture_clock now = clock_now(r);
	bool any = false;
	size_t n = 1;

	while (n && !is_full(r) && !r->broken) {
		if (sizeof(r->out) - r->n < CAPTURE_BLOCK)
			send_out(r);
		n = capture_block(r->cap, &now, r->out + r->n, sizeof(r->out) - r->n);
		r->n += n;
		any |= n != 0;
	}
	send_out(r);
	return any;
}

static void tell_workers(const struct record *r, struct capture *c)
{
	for (unsigned i = 0; i < r->src->n_workers; i++)
		worker_capture(r->src->workers[i], c);
}

/* No worker knows the capture any more: they look at each turn, and sleep for 2.5 ms at most. */
static void await_workers(const struct record *r)
{
	for (unsigned i = 0; i < r->src->n_workers; i++)
		while (worker_captures(r->src->workers[i]) && !atomic_load(&rec.stop))
			rest(1);
}

static void serve(struct record *r)
{
	struct capture_clock now;

	r->n = capture_head(r->cap, r->out, sizeof(r->out), "kcpgate " KCPGATE_VERSION);
	tell_workers(r, r->cap);
	send_out(r); /* who has read this knows that from now on packets are taken */
	while (!is_full(r) && now_ms() < r->until_ms && reader_wants(r) && !atomic_load(&rec.stop))
		if (!take(r))
			rest(LOOK_MS);
	tell_workers(r, NULL);
	await_workers(r);
	take(r);
	now = clock_now(r);
	r->n = capture_tail(r->cap, &now, r->out, sizeof(r->out));
	send_out(r);
}

static void *record_main(void *arg)
{
	struct record *r = arg;

	if (reader_comes(r)) {
		log_info("capture: begins");
		serve(r);
		log_info("capture: %llu packets, and %llu for which its reader was too slow",
			 (unsigned long long)capture_taken(r->cap), (unsigned long long)capture_lost(r->cap));
		close(r->fd);
	}
	unlink(r->path);
	close(r->listen);
	atomic_store(&rec.ended, true);
	return NULL;
}

/* ---- from telemetry's threads; rec.lock is held ---- */

static void free_record(struct record *r)
{
	capture_destroy(r->cap);
	free((void *)r->names.port);
	free((void *)r->names.tunnel);
	free(r);
}

static void note_last(void)
{
	rec.last.packets = capture_taken(rec.r->cap);
	rec.last.lost = capture_lost(rec.r->cap);
}

/* What has ended is taken away. */
static void tidy(void)
{
	if (!rec.r || !atomic_load(&rec.ended))
		return;
	pthread_join(rec.r->thread, NULL);
	note_last();
	free_record(rec.r);
	rec.r = NULL;
}

/* Those that are added while a capture runs have their places already. */
static int fill(struct record *r)
{
	const struct conf *c = r->src->conf;
	const char **port = calloc(c->n_ports, sizeof(*port)), **tunnel = calloc(conf_room(c), sizeof(*tunnel));

	r->names = (struct capture_names){.port = port, .n_ports = c->n_ports, .tunnel = tunnel};
	if (!port || !tunnel)
		return -ENOMEM;
	for (unsigned i = 0; i < c->n_ports; i++)
		port[i] = c->ports[i].name;
	for (unsigned i = 0; i < conf_room(c); i++)
		tunnel[i] = c->tunnels[i].name;
	r->until_ms = r->ask.seconds ? now_ms() + r->ask.seconds * 1000ull : UINT64_MAX;
	return capture_create(&r->cap, &r->ask.want, &r->names, r->src->n_workers, RING);
}

/* In a folder that is this user's alone, and itself for no other: the mode is the socket's before it has a name. */
static int listen_at(struct record *r, const char *dir, const char *name)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	if (snprintf(un.sun_path, sizeof(un.sun_path), "%s/%s", dir, name) >= (int)sizeof(un.sun_path))
		return -ENAMETOOLONG;
	memcpy(r->path, un.sun_path, sizeof(r->path));
	r->listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (r->listen < 0)
		return -errno;
	unlink(r->path);
	if (fchmod(r->listen, 0600) || bind(r->listen, (struct sockaddr *)&un, sizeof(un)) || listen(r->listen, 1)) {
		int err = -errno;

		close(r->listen);
		return err;
	}
	return 0;
}

static int begin(struct record *r, const char *dir, const char *name)
{
	sigset_t all, old;
	int ret = fill(r);

	if (ret == 0)
		ret = listen_at(r, dir, name);
	if (ret)
		return ret;
	atomic_store(&rec.ended, false);
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* of a system call that is refused (app/posture) */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&r->thread, NULL, record_main, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret) {
		unlink(r->path);
		close(r->listen);
		return ret;
	}
	pthread_setname_np(r->thread, "kcpgate-capture");
	return 0;
}

static int start(const struct tlm_src *src, const struct record_ask *ask, const char *dir, char *name)
{
	struct record *r;
	int ret;

	tidy();
	if (rec.r)
		return -EBUSY;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->src = src;
	r->ask = *ask;
	r->listen = r->fd = -1;
	snprintf(name, RECORD_NAME, RECORD_SOCKET ".%llu", (unsigned long long)rec.last.id + 1);
	ret = begin(r, dir, name);
	if (ret) {
		free_record(r);
		return ret;
	}
	rec.r = r;
	rec.last = (struct record_now){.id = rec.last.id + 1};
	return 0;
}

int record_start(const struct tlm_src *src, const struct record_ask *ask, const char *dir, char name[RECORD_NAME],
		 char *why, size_t why_n)
{
	int ret;

	if (ask->want.plain && !src->conf->telemetry.allow_plaintext) {
		snprintf(why, why_n,
			 "plaintext is not allowed: the configuration file has no "
			 "telemetry.allow_plaintext = true");
		return -EPERM;
	}
	pthread_mutex_lock(&rec.lock);
	ret = start(src, ask, dir, name);
	pthread_mutex_unlock(&rec.lock);
	if (ret == -EBUSY)
		snprintf(why, why_n, "another capture is under way");
	else if (ret)
		snprintf(why, why_n, "%s", strerror(-ret));
	return ret;
}

void record_now(struct record_now *out)
{
	pthread_mutex_lock(&rec.lock);
	tidy();
	if (rec.r)
		note_last();
	*out = rec.last;
	out->running = rec.r != NULL;
	pthread_mutex_unlock(&rec.lock);
}

void record_stop(void)
{
	pthread_mutex_lock(&rec.lock);
	if (rec.r) {
		atomic_store(&rec.stop, true);
		pthread_join(rec.r->thread, NULL);
		free_record(rec.r);
		rec.r = NULL;
		atomic_store(&rec.stop, false);
	}
	pthread_mutex_unlock(&rec.lock);
}
