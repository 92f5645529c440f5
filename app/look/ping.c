/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ping.h"

#define ANSWER_MS 2000	/* a peer's */
#define LOOK_MS	  2	/* between two looks for it; what it took the gateway measures itself */
#define MADE_MS	  10000 /* for a session that a connection of ours is to make */
#define TARGET_MS 5000

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void pause_us(uint64_t us)
{
	const struct timespec ts = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000 * 1000)};

	nanosleep(&ts, NULL);
}

/* ---- which session ---- */

/* The one that was heard last.  The object, for the caller to free, and its id; NULL: there is none, or l->why. */
static json_t *freshest(struct look *l, const char *tunnel, char id[24])
{
	json_t *all = look_all(l, "/kcpgate/sessions", tunnel), *row, *best = NULL;
	const char *key;

	json_object_foreach(all, key, row)
	{
		if (best && look_u64(row, "idle_ms") >= look_u64(best, "idle_ms"))
			continue;
		best = row;
		snprintf(id, 24, "%s", key);
	}
	json_incref(best);
	json_decref(all);
	return best;
}

/* A client makes its sessions when somebody connects. */
static json_t *made(struct look *l, const json_t *tunnel, char id[24], FILE *f)
{
	int fd = reach(look_str(tunnel, "listen"), ANSWER_MS);
	uint64_t until = now_us() + MADE_MS * 1000;
	json_t *s = NULL;

	if (fd < 0) {
		snprintf(l->why, sizeof(l->why), "cannot connect to %s, where the tunnel listens: %s",
			 look_str(tunnel, "listen"), strerror(-fd));
		return NULL;
	}
	fputs("no session yet: a connection of our own makes one\n", f);
	while (now_us() < until && !(s && look_u64(s, "srtt_ms"))) {
		json_decref(s);
		pause_us(50000);
		s = freshest(l, look_str(tunnel, "name"), id);
	}
	close(fd);
	if (!s)
		snprintf(l->why, sizeof(l->why), "no session came of it in %u s", MADE_MS / 1000);
	return s;
}

/* ---- the peer ---- */

struct sums {
	unsigned sent, back;
	uint64_t least, most, all; /* us */
};

/* us; 0: no answer came. */
static uint64_t once(struct look *l, const char *id)
{
	uint64_t until = now_us() + ANSWER_MS * 1000, us = 0;
	json_t *o = look_get(l, "/kcpgate/ping", id);

	if (!o)
		return UINT64_MAX;
	json_decref(o);
	while (!us && now_us() < until) {
		pause_us(LOOK_MS * 1000);
		o = look_get(l, "/kcpgate/pong", id);
		if (!o)
			return UINT64_MAX;
		us = look_u64(o, "us");
		json_decref(o);
	}
	return us;
}

static void add(struct sums *s, uint64_t us)
{
	s->sent++;
	if (!us)
		return;
	s->back++;
	s->all += us;
	if (us > s->most)
		s->most = us;
	if (!s->least || us < s->least)
		s->least = us;
}

static void tell_sums(const struct sums *s, const json_t *session, FILE *f)
{
	char least[LOOK_NUM], mean[LOOK_NUM], most[LOOK_NUM];

	if (s->back)
		fprintf(f, "%u of %u answered: least %s, mean %s, most %s", s->back, s->sent, look_ms(s->least, least),
			look_ms(s->all / s->back, mean), look_ms(s->most, most));
	else
		fprintf(f, "none of %u answered", s->sent);
	fprintf(f, "; KCP's own round trip, smoothed: %" PRIu64 " ms\n", look_u64(session, "srtt_ms"));
	if (s->back < s->sent)
		fputs("on a session that carries much an answer need not come: KCP's own round trip tells\n", f);
}

static int peer(struct look *l, const struct ping_want *w, const json_t *session, const char *id, FILE *f)
{
	struct sums sums = {0};

	fprintf(f, "peer %s (%s), session %s:\n", look_str(session, "peer"), look_str(session, "peer_is"), id);
	for (unsigned i = 0; i < w->count; i++) {
		uint64_t us = once(l, id);
		char text[LOOK_NUM];

		if (us == UINT64_MAX)
			return -EPROTO;
		add(&sums, us);
		fprintf(f, "  %u: %s\n", i + 1, us ? look_ms(us, text) : "no answer within 2 s");
		fflush(f);
		if (i + 1 < w->count)
			pause_us((uint64_t)(w->interval * 1e6));
	}
	tell_sums(&sums, session, f);
	return 0;
}

/* ---- the target ---- */

/* Sends what is to be sent, ends its direction, and waits for the first byte or the end.  What came, or -errno. */
static ssize_t first_word(int fd, const char *send_text, char *buf, size_t n)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	char *text = send_text ? reach_text(send_text, &len) : NULL;
	ssize_t got = text && send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len ? -1 : 0;

	free(text);
	if (got < 0)
		return -errno;
	shutdown(fd, SHUT_WR);
	if (poll(&p, 1, TARGET_MS) <= 0)
		return -ETIMEDOUT;
	got = recv(fd, buf, n, 0);
	return got < 0 ? -errno : got;
}

static void through(const struct ping_want *w, const json_t *tunnel, const json_t *session, FILE *f)
{
	const char *listen = look_str(tunnel, "listen");
	bool stock = !strcmp(look_str(session, "peer_is"), "stock");
	uint64_t begin = now_us();
	char text[LOOK_NUM], buf[4096];
	ssize_t got;
	int fd;

	if (stock && !w->send) {
		fputs("target: a stock server does not tell when its target has nothing to say: --send TEXT asks it "
		      "something\n",
		      f);
		return;
	}
	fd = reach(listen, TARGET_MS);
	got = fd < 0 ? fd : first_word(fd, w->send, buf, sizeof(buf));
	look_ms(now_us() - begin, text);
	if (got > 0)
		fprintf(f, "target, through %s: its first %zd bytes after %s\n", listen, got, text);
	else if (got == 0)
		fprintf(f, "target, through %s: it ended without a word after %s\n", listen, text);
	else if (got == -ETIMEDOUT)
		fprintf(f, "target, through %s: not a word within %u s%s\n", listen, TARGET_MS / 1000,
			w->send ? "" : ": --send TEXT asks it something");
	else
		fprintf(f, "target, through %s: %s after %s: the server could not reach it?  Its log says why\n",
			listen, strerror((int)-got), text);
	if (fd >= 0)
		close(fd);
}

static void direct(const json_t *tunnel, FILE *f)
{
	const char *target = look_str(tunnel, "target");
	uint64_t begin = now_us();
	int fd = reach(target, TARGET_MS);
	char text[LOOK_NUM];

	look_ms(now_us() - begin, text);
	if (fd < 0) {
		fprintf(f, "target %s: %s after %s\n", target, strerror(-fd), text);
		return;
	}
	fprintf(f, "target %s: connected after %s\n", target, text);
	close(fd);
}

/* ---- the command ---- */

static json_t *tunnel_row(struct look *l, const char *name)
{
	json_t *all = look_get(l, "/kcpgate/tunnels", name);
	json_t *row = all ? json_incref(json_object_iter_value(json_object_iter(all))) : NULL;

	json_decref(all);
	return row;
}

int look_ping(struct look *l, const struct ping_want *w, FILE *f)
{
	json_t *tunnel = tunnel_row(l, w->tunnel), *session;
	bool client = tunnel && !strcmp(look_str(tunnel, "role"), "client");
	int ret = -ENOENT;
	char id[24];

	if (!tunnel)
		return -EPROTO;
	snprintf(l->why, sizeof(l->why), "tunnel %s has no session now: a client makes one", w->tunnel);
	session = freshest(l, w->tunnel, id);
	if (!session && client)
		session = made(l, tunnel, id, f);
	if (session)
		ret = peer(l, w, session, id, f);
	if (!w->no_target && !client)
		direct(tunnel, f);
	else if (!w->no_target && session)
		through(w, tunnel, session, f);
	json_decref(session);
	json_decref(tunnel);
	return ret;
}
