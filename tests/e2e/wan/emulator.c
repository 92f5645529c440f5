/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "buf.h"
#include "frame.h"
#include "path.h"
#include "port.h"
#include "words.h"

/*
 * A path between two interfaces of a namespace, in real time: the path of perf/wan with frames instead of numbers, so
 * that what is measured here and there is one thing.
 *
 *	emulator IFA IFB STATEMENT...
 *
 * IFA is the client's side: what comes in there is `up`.  Statements are those of perf/wan/README.md (both, up, down,
 * at), several in one argument between semicolons; and
 *
 *	frames [both|up|down] corrupt 1% mtu 1400    inverts a bit behind the UDP header; drops longer IP packets
 *	nat 5                                        the client's UDP port as the server sees it is xor-ed with 5
 *	seed 7
 *
 * Prints "ready" when it forwards, and its counters as a line of JSON on SIGUSR1 and when SIGTERM ends it.
 */

#define CHANGES	   64
#define SLEEP_MOST (1 * PATH_MS)
#define FRAME_MOST PATH_DATA_MAX

struct side { /* one direction */
	struct path_conf conf;
	double corrupt;
	uint32_t mtu;
};

struct state { /* all that a statement says */
	struct side side[2];
	uint32_t nat;
};

struct change {
	uint64_t at;
	struct state to;
};

struct emu {
	struct port port[2]; /* of A, of B */
	struct path *path[2];
	struct state now;
	struct change change[CHANGES];
	unsigned n_change, changed;
	uint64_t begin, seed;
	struct rng rng;
	uint64_t in[2], corrupt[2], too_long[2], link[2];
};

static volatile sig_atomic_t ended, asked;

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * PATH_S + (uint64_t)t.tv_nsec;
}

static void on_usr1(int sig)
{
	(void)sig;
	asked = 1;
}

/* ---- statements ---- */

static int frames_word(struct words *p, struct side *s)
{
	if (words_is(p, "corrupt"))
		return words_number(p, "corrupt", words_shares, 1, &s->corrupt);
	if (words_is(p, "mtu"))
		return words_u32(p, "mtu", words_counts, &s->mtu);
	return words_wrong(p, "frames know no '%s': corrupt, mtu", words_peek(p));
}

static int frames(struct words *p, struct state *st)
{
	bool up = words_is(p, "up"), down = !up && words_is(p, "down");
	unsigned from;
	int rc = 0;

	if (!up && !down)
		words_is(p, "both");
	from = p->at;
	for (int d = 0; d < 2 && rc == 0; d++) {
		if ((up && d == 1) || (down && d == 0))
			continue;
		for (p->at = from; p->at < p->n && rc == 0;)
			rc = frames_word(p, &st->side[d]);
	}
	return rc;
}

static int weather(struct words *p, struct state *st)
{
	struct path_conf c[2] = {st->side[0].conf, st->side[1].conf};
	bool known;
	int rc;

	if (words_is(p, "frames"))
		return frames(p, st);
	if (words_is(p, "nat"))
		return words_u32(p, "nat", words_counts, &st->nat);
	rc = words_path(p, c, &known);
	st->side[0].conf = c[0];
	st->side[1].conf = c[1];
	return rc || known ? rc : words_wrong(p, "no statement begins with '%s'", words_peek(p));
}

static int change(struct words *p, struct emu *e)
{
	struct change *c = &e->change[e->n_change];
	const struct state *before = e->n_change ? &e->change[e->n_change - 1].to : &e->now;
	int rc;

	if (e->n_change == CHANGES)
		return words_wrong(p, "more than %d changes", CHANGES);
	rc = words_u64(p, "at", words_times, 1e13, &c->at);
	if (rc)
		return rc;
	if (e->n_change && c->at < c[-1].at)
		return words_wrong(p, "changes are told in the order of time");
	c->to = *before;
	e->n_change++;
	return weather(p, &c->to);
}

static int statement(struct words *p, struct emu *e)
{
	if (words_is(p, "seed"))
		return words_u64(p, "seed", words_counts, 1e15, &e->seed);
	if (words_is(p, "at"))
		return change(p, e);
	if (e->n_change)
		return words_wrong(p, "what holds from the beginning is told before any change");
	return weather(p, &e->now);
}

static int arguments(struct emu *e, char **argv, int n)
{
	char err[256] = "";
	struct words p = {.file = "argument", .err = err, .err_n = sizeof(err)};
	int rc = 0;

	for (int i = 0; i < n && rc == 0; i++) {
		char *rest = argv[i], *one;

		p.no = (unsigned)i + 3;
		while (rc == 0 && (one = strsep(&rest, ";"))) {
			rc = words_cut(&p, one);
			if (rc == 0 && p.n)
				rc = statement(&p, e);
			if (rc == 0 && p.at < p.n)
				rc = words_wrong(&p, "what is '%s' here?", words_peek(&p));
		}
	}
	if (rc)
		fprintf(stderr, "emulator: %s\n", err);
	return rc;
}

/* ---- frames ---- */

/* One frame that has come in on side d. */
static void take(struct emu *e, int d, struct port_frame *f, uint64_t now)
{
	const struct side *s = &e->now.side[d];

	e->in[d]++;
	if (f->got < f->n || f->n > FRAME_MOST || (s->mtu && f->n > s->mtu + FRAME_ETH)) {
		e->too_long[d]++;
		return;
	}
	if (frame_is_link(f->p, f->n)) {
		uint16_t n = (uint16_t)f->n;

		e->link[d]++;
		port_send(&e->port[!d], &f->p, &n, 1);
		return;
	}
	frame_nat(f->p, f->n, d == 0, (uint16_t)e->now.nat);
	if (s->corrupt > 0 && rng_unit(&e->rng) < s->corrupt)
		e->corrupt[d] += frame_spoil(f->p, f->n, rng_next(&e->rng));
	path_send(e->path[d], f->p, (uint16_t)f->n, f->n, 0, 0, now);
}

static unsigned incoming(struct emu *e, int d)
{
	struct port_frame v[PORT_BURST];
	unsigned n = port_recv(&e->port[d], v);
	uint64_t now = clock_ns();

	for (unsigned i = 0; i < n; i++)
		take(e, d, &v[i], now);
	port_done(&e->port[d]);
	return n;
}

static unsigned outgoing(struct emu *e, int d)
{
	struct path_pkt *k[PORT_BURST];
	uint8_t *v[PORT_BURST];
	uint16_t len[PORT_BURST];
	uint64_t now = clock_ns();
	unsigned n = 0;

	for (; n < PORT_BURST && (k[n] = path_recv(e->path[d], now)); n++) {
		v[n] = k[n]->data;
		len[n] = k[n]->n;
	}
	if (n)
		port_send(&e->port[!d], v, len, n);
	for (unsigned i = 0; i < n; i++)
		buf_put(k[i]);
	return n;
}

static void changes(struct emu *e)
{
	uint64_t now = clock_ns();

	while (e->changed < e->n_change && e->begin + e->change[e->changed].at <= now) {
		e->now = e->change[e->changed++].to;
		for (int d = 0; d < 2; d++)
			path_set(e->path[d], &e->now.side[d].conf, now);
	}
}

/* Until the next packet is due, or one comes. */
static void rest(struct emu *e)
{
	struct pollfd fds[2] = {{e->port[0].fd, POLLIN, 0}, {e->port[1].fd, POLLIN, 0}};
	uint64_t now = clock_ns(), next = now + SLEEP_MOST;
	struct timespec ts = {0};

	for (int d = 0; d < 2; d++)
		next = path_next(e->path[d]) < next ? path_next(e->path[d]) : next;
	if (next <= now)
		return;
	ts.tv_nsec = (long)(next - now);
	ppoll(fds, 2, &ts, NULL);
}

static void tell(struct emu *e)
{
	printf("{");
	for (int d = 0; d < 2; d++) {
		const struct path_stats *s = path_stats(e->path[d]);

		port_look(&e->port[d]);
		printf("%s\"%s\": {\"in\": %lu, \"path\": %lu, \"out\": %lu, \"lost\": %lu, \"queue_drops\": %lu, "
		       "\"policed\": %lu, "
		       "\"black\": %lu, \"dup\": %lu, \"reordered\": %lu, \"corrupt\": %lu, \"too_long\": %lu, "
		       "\"link\": %lu, \"unsent\": %lu, \"overrun\": %lu, \"wait\": [%.1f, %.1f, %.3f]}",
		       d ? ", " : "", d ? "down" : "up", e->in[d], s->in, s->out, s->lost, s->queue_drops, s->policed,
		       s->black, s->dup, s->reordered, e->corrupt[d], e->too_long[d], e->link[d], e->port[!d].unsent,
		       e->port[d].kernel_drops, path_waited(e->path[d], 0.5), path_waited(e->path[d], 0.99),
		       (double)s->wait_most / PATH_MS);
	}
	printf("}\n");
	fflush(stdout);
}

static int start(struct emu *e, char **argv)
{
	for (int d = 0; d < 2; d++) {
		int rc = port_open(&e->port[d], argv[1 + d]);

		if (rc) {
			fprintf(stderr, "emulator: %s: %s\n", argv[1 + d], strerror(-rc));
			return rc;
		}
	}
	e->rng.s = e->seed * 4;
	for (int d = 0; d < 2; d++)
		e->path[d] = path_new(&e->now.side[d].conf, e->seed * 4 + 1 + (uint64_t)d);
	return 0;
}

int main(int argc, char **argv)
{
	static struct emu e;

	if (argc < 3) {
		fputs("usage: emulator IFA IFB STATEMENT...\n", stderr);
		return 2;
	}
	e.now.side[0].conf.queue = e.now.side[1].conf.queue = 1000;
	e.seed = 1;
	if (arguments(&e, argv + 3, argc - 3))
		return 2;
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	signal(SIGUSR1, on_usr1);
	prctl(PR_SET_TIMERSLACK, 1000UL);
	if (start(&e, argv))
		return 1;
	e.begin = clock_ns();
	puts("ready");
	fflush(stdout);
	while (!ended) {
		unsigned work = 0;

		changes(&e);
		if (asked) {
			asked = 0;
			tell(&e);
		}
		for (int d = 0; d < 2; d++)
			work += incoming(&e, d) + outgoing(&e, d);
		if (!work)
			rest(&e);
	}
	tell(&e);
	for (int d = 0; d < 2; d++) {
		path_free(e.path[d]);
		port_close(&e.port[d]);
	}
	buf_drain();
	return 0;
}
