/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "explain.h"
#include "ping.h"
#include "speedtest.h"

/*
 * Down, what the target sends is counted where it leaves the tunnel.  Up, what went into the connection is no measure,
 * for sockets and gateways hold some of it: what the tunnel's sessions have given to KCP is, of which no more than its
 * window is still under way.
 */

#define CHUNK	   65536
#define CONNECT_MS 5000
#define WARM_S	   2 /* that a session has to find its pace, and which do not count */

struct run {
	int fd;
	bool up;
	_Atomic bool stop, ended; /* ended: by the other side */
	_Atomic uint64_t bytes;
	uint8_t noise[CHUNK];
};

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void *transfer(void *arg)
{
	struct run *r = arg;
	struct pollfd p = {.fd = r->fd, .events = r->up ? POLLOUT : POLLIN};
	uint8_t *buf = r->noise;

	while (!atomic_load(&r->stop)) {
		ssize_t n;

		if (poll(&p, 1, 100) <= 0)
			continue;
		n = r->up ? send(r->fd, buf, CHUNK, MSG_NOSIGNAL) : recv(r->fd, buf, CHUNK, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			break;
		if (n > 0)
			atomic_fetch_add(&r->bytes, (uint64_t)n);
	}
	atomic_store(&r->ended, true);
	return NULL;
}

/* Bytes of the tunnel's sessions, given to KCP. */
static uint64_t sent(struct look *l, const char *tunnel)
{
	json_t *all = look_all(l, "/kcpgate/sessions", tunnel), *row;
	uint64_t sum = 0;
	const char *id;

	json_object_foreach(all, id, row) sum += look_u64(row, "bytes_out");
	json_decref(all);
	return sum;
}

static uint64_t counted(struct look *l, struct run *r, const char *tunnel)
{
	return r->up ? sent(l, tunnel) : atomic_load(&r->bytes);
}

/* A line each second.  Returns bits a second, of all but the first seconds where there are more. */
static double seconds(struct look *l, struct run *r, const struct speed_want *w, FILE *f)
{
	uint64_t from = counted(l, r, w->tunnel), from_us = now_us(), last = from, last_us = from_us;
	char text[LOOK_NUM];

	for (unsigned s = 1; s <= w->seconds && !atomic_load(&r->ended); s++) {
		const struct timespec one = {.tv_sec = 1};
		uint64_t n, us;

		nanosleep(&one, NULL);
		n = counted(l, r, w->tunnel);
		us = now_us();
		fprintf(f, "  %u s: %s\n", s, look_rate((double)(n - last) * 8e6 / (double)(us - last_us), text));
		fflush(f);
		last = n;
		last_us = us;
		if (s == WARM_S && w->seconds > 2 * WARM_S) {
			from = n;
			from_us = us;
		}
	}
	return last_us > from_us ? (double)(last - from) * 8e6 / (double)(last_us - from_us) : 0;
}

static void result(const struct run *r, const struct speed_want *w, double bps, FILE *f)
{
	char text[LOOK_NUM], all[LOOK_NUM];

	fprintf(f, "%s through tunnel %s: %s%s\n", r->up ? "up" : "down", w->tunnel, look_rate(bps, text),
		w->seconds > 2 * WARM_S ? ", without the first two seconds" : "");
	if (!r->up)
		fprintf(f, "%s came\n", look_bytes(atomic_load(&r->bytes), all));
	if (atomic_load(&r->ended))
		fputs(r->up ? "the target has ended it: it is to read and throw away whatever comes\n"
			    : "the target has ended it: if that was soon, ask it for more\n",
		      f);
}

/* A listening address, or NULL and l->why. */
static char *listens(struct look *l, const char *tunnel)
{
	json_t *all = look_get(l, "/kcpgate/tunnels", tunnel);
	const json_t *row = json_object_iter_value(json_object_iter(all));
	bool client = all && !strcmp(look_str(row, "role"), "client");
	char *where = client ? strdup(look_str(row, "listen")) : NULL;

	if (all && !client)
		snprintf(l->why, sizeof(l->why), "%s is a server's tunnel: measure at the client, in both directions",
			 tunnel);
	json_decref(all);
	return where;
}

/* The transfer's thread, and the request before it.  0 or -errno. */
static int begin(struct run *r, const struct speed_want *w, pthread_t *thread)
{
	size_t n = 0;
	char *text = w->up ? NULL : reach_text(w->send, &n);
	ssize_t k = text ? send(r->fd, text, n, MSG_NOSIGNAL) : 0;

	free(text);
	if (k < 0)
		return -errno;
	for (size_t at = 0; at < CHUNK; at += 256) /* getrandom gives 256 bytes whole */
		if (getrandom(r->noise + at, 256, 0) != 256)
			return -EIO;
	return -pthread_create(thread, NULL, transfer, r);
}

int look_speed(struct look *l, const struct speed_want *w, FILE *f)
{
	char *where = listens(l, w->tunnel);
	struct run *r = where ? calloc(1, sizeof(*r)) : NULL;
	pthread_t thread;
	int ret = -EPROTO;
	double bps;

	if (!r) {
		free(where);
		return ret;
	}
	r->up = w->up;
	r->fd = reach(where, CONNECT_MS);
	ret = r->fd < 0 ? r->fd : begin(r, w, &thread);
	if (ret) {
		snprintf(l->why, sizeof(l->why), "%s: %s", where, strerror(-ret));
	} else {
		bps = seconds(l, r, w, f);
		if (!atomic_load(&r->ended)) {
			fputs("while it runs:\n", f);
			ret = look_explain(l, w->tunnel, false, f);
		}
		result(r, w, bps, f);
		atomic_store(&r->stop, true);
		pthread_join(thread, NULL);
	}
	if (r->fd >= 0)
		close(r->fd);
	free(r);
	free(where);
	return ret;
}
