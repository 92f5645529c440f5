/* SPDX-License-Identifier: MIT */

/*
 * What many sessions cost one worker: memory of idle ones (F6), CPU of idle ones that keep themselves alive (F7), a
 * packet's cost among ten thousand active ones (F8), a look at those (F18), and how fast new ones come (F10).
 */

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_malloc.h>
#include <rte_mempool.h>

#include "bed.h"
#include "bench.h"
#include "eal.h"
#include "peers.h"
#include "tcp_size.h"

#define HEAP (bench_opts.huge ? 320u << 20 : 768u << 20)

static struct bed_conf conf(unsigned sessions, unsigned streams, bool fec)
{
	return (struct bed_conf){
		.cipher = "aes",
		.ds = fec ? 10 : 0,
		.ps = fec ? 3 : 0,
		.wnd = 1024,
		.nic_csum = true,
		.sessions = sessions,
		.streams = streams,
		.step_us = 1000,
		.heap = HEAP,
	};
}

/* Sessions 0..n-1 come evenly within a second or, with `every`, within that many ms. */
static void open_all(struct peers *p, unsigned n, unsigned streams, unsigned every)
{
	unsigned ms = every ? every : 1000;

	for (unsigned t = 0, i = 0; t < ms; t++) {
		for (; i < (uint64_t)n * (t + 1) / ms; i++) {
			peers_open(p, i, streams);
			if (every)
				peers_keepalive(p, i, peers_now(p) + 1 + every / 2, every);
		}
		peers_step(p);
	}
}

static struct bed_gate *server(struct bed *b)
{
	return &b->g[BED_SERVER];
}

static uint64_t sessions(struct bed *b)
{
	return shard_stats(server(b)->shard)->sessions;
}

static void expect(struct bed *b, unsigned n, unsigned streams)
{
	if (sessions(b) != n || shard_stats(server(b)->shard)->streams != (uint64_t)n * streams)
		bench_wrong("%u sessions of %u streams: there are %lu and %lu", n, streams, sessions(b),
			    shard_stats(server(b)->shard)->streams);
}

/* ---- F6 ---- */

static size_t eal_bytes(void)
{
	struct rte_malloc_socket_stats s;

	rte_malloc_get_socket_stats(0, &s);
	return s.heap_allocsz_bytes;
}

/* Of a session with so many streams: its places in the flow table, the list of all, the chans' pool and the rings to
 * and from control. */
static double table_bytes(unsigned n, unsigned streams)
{
	size_t bytes[2] = {0};

	for (unsigned i = 0; i < 2; i++) {
		unsigned most = n << i;
		size_t before = eal_bytes();
		struct chan_pool chans;
		struct flow_tbl *flows;
		struct border *border;

		if (flow_tbl_create(&flows, "footprint", most, 0) ||
		    chan_pool_create(&chans, 64, most * streams, 1, 0) ||
		    border_create(&border, 0, most * streams, 64, 0)) {
			bench_wrong("no memory for %u sessions' tables", most);
			return 0;
		}
		bytes[i] = eal_bytes() - before;
		border_destroy(border);
		chan_pool_destroy(&chans);
		flow_tbl_destroy(flows);
	}
	return (double)(bytes[1] - bytes[0]) / n + sizeof(struct sess *);
}

struct footprint {
	double heap; /* the worker's, at rest */
	double most; /* the same, at its highest between two keepalives */
};

/* Bytes of n sessions. */
static struct footprint footprint(unsigned n, unsigned streams, bool fec)
{
	struct bed_conf c = conf(n, streams, fec);
	struct bed *b = bed_new(&c);
	struct peers *p = peers_new(b, n);
	size_t used, least = SIZE_MAX, most = 0;

	open_all(p, n, streams, 10000);
	for (unsigned t = 0; t < 20; t++) {
		peers_wait(p, 500);
		used = mem_used(server(b)->heap) - server(b)->mem_empty;
		least = used < least ? used : least;
		most = used > most ? used : most;
	}
	expect(b, n, streams);
	peers_free(p);
	bed_end(b);
	return (struct footprint){(double)least, (double)most};
}

static double control_bytes(void)
{
	void *t = calloc(1, tcp_size());
	double n = (double)malloc_usable_size(t) + sizeof(size_t);

	free(t);
	return n;
}

static void memory(void)
{
	unsigned n = bench_opts.quick ? 2000 : 20000;
	double tcp = control_bytes(), one_tables = table_bytes(n, 1), three_tables = table_bytes(n, 3);
	struct bench_stat one = {0}, further = {0};

	if (!bench_wanted("F6"))
		return;
	for (int fec = 0; fec < 2; fec++) {
		struct footprint few = footprint(n, 1, fec), many = footprint(2 * n, 1, fec);
		struct footprint three = footprint(2 * n, 3, fec);
		double most = (many.most - few.most) / n;

		one = bench_one(most + one_tables + tcp);
		further = bench_one((three.most - many.most) / (4.0 * n) + (three_tables - one_tables) / 2 + tcp);
		bench_value(fec ? "F6 10/3: a session's heap" : "F6 no FEC: a session's heap",
			    (many.heap - few.heap) / n, "bytes");
		bench_value("F6   at most between keepalives", most, "bytes");
		bench_value("F6   tables, chan and rings", one_tables, "bytes");
		bench_value("F6   control's connection", tcp, "bytes");
		bench_value("F6   in all, with one stream", one.median, "bytes");
		bench_value("F6   a further stream", further.median, "bytes");
	}
	bench_figure("F6", "bytes of an idle session with an idle stream (FEC 10/3)", &one, BENCH_AT_MOST, 4096);
	bench_figure("F6", "bytes of a further idle stream", &further, BENCH_AT_MOST, 1024);
}

/* ---- F7 ---- */

struct idle {
	double share;	/* of a core, % */
	double packets; /* a second, in and out */
	double ns;	/* a packet */
};

/* n sessions that keep themselves alive every so many ms, both ends of them, on a worker that turns every 50 us. */
static struct idle idle(unsigned n, unsigned every, bool fec)
{
	struct bed_conf c = conf(n, 1, fec);
	struct bed *b = bed_new(&c);
	struct peers *p;
	struct idle r;
	unsigned ms = bench_opts.quick ? every : 2 * every;
	uint64_t packets;

	if (ms < 1000)
		ms = 1000;
	server(b)->tun.keepalive_ms = every;
	p = peers_new(b, n);
	open_all(p, n, 1, every);
	b->conf.step_us = 50;
	peers_wait(p, every + 100);
	expect(b, n, 1);
	bed_zero(b);
	packets = peers_in(p) + peers_out(p);
	peers_wait(p, ms);
	expect(b, n, 1);
	r.packets = (double)(peers_in(p) + peers_out(p) - packets) * 1000 / ms;
	r.share = bench_ns(server(b)->cycles) / (ms * 1e6) * 100;
	r.ns = r.share * 1e7 / r.packets;
	peers_free(p);
	bed_end(b);
	return r;
}

/*
 * The keepalive packets themselves: what the same packets cost among few sessions that send them as many times more
 * often.  With FEC those are close enough in time for parity, so that their packets are more, and cheaper.
 */
static void keepalives(void)
{
	unsigned many = bench_opts.quick ? 10000 : 100000;

	if (!bench_wanted("F7"))
		return;
	for (int fec = 0; fec < 2; fec++) {
		struct idle few = idle(1000, 10000 / (many / 1000), fec), all = idle(many, 10000, fec);
		struct bench_stat v = bench_one(all.share - all.packets * few.ns * 1e-7);
		char name[96];

		bench_value(fec ? "F7 10/3: packets a second" : "F7 no FEC: packets a second", all.packets, "");
		bench_value("F7   ns a packet among few", few.ns, "ns");
		bench_value("F7   ns a packet among all", all.ns, "ns");
		bench_value("F7   of a core, in all", all.share, "%");
		snprintf(name, sizeof(name), "%% of a core for %u idle sessions beyond the packets, %s", many,
			 fec ? "FEC 10/3" : "no FEC");
		bench_figure("F7", name, &v, BENCH_AT_MOST, 5);
	}
}

/* ---- F8 ---- */

/* Worker time over the datagrams that passed, in and out: of the sender, and of the receiver. */
struct among {
	struct bench_series ns[2];
};

/* n bytes come from stream i's TCP connection. */
static void give(struct bed *b, unsigned i, uint32_t n)
{
	struct bed_gate *g = &b->g[BED_CLIENT];
	struct chan *ch = b->app[i].chan;
	struct iovec v[CHAN_IOV];

	if (!chan_space(g->chans, &ch->up, n, v)) {
		bench_wrong("no chunk for the source");
		return;
	}
	chan_commit(g->chans, &ch->up, n);
	mbox_post(g->border->to_worker, &ch->to_worker, CHAN_EV_DATA);
}

#define DELAY	   50 /* steps: a round trip of 20 ms */
#define STEP_BYTES (128u * 1300u)

/*
 * n sessions in turn are given so many bytes at a time, the same number in each step whatever n is: one of many has
 * long left the caches when its turn comes.  The way takes as long, so that as much is in flight.
 */
static void among(struct among *r, unsigned n, uint32_t bytes, bool fec)
{
	struct bed_conf c = conf(n, 1, fec);
	struct bed *b;
	unsigned at = 0, lap = n * (uint64_t)bytes / STEP_BYTES + 200;

	c.step_us = 200;
	c.delay = DELAY;
	c.wnd = 32768;
	b = bed_new(&c);
	bed_start(b);
	memset(r, 0, sizeof(*r));
	for (unsigned round = 0; round <= bench_opts.rounds; round++) {
		unsigned steps = round ? 200 : 2 * lap;
		uint64_t frames;

		bed_zero(b);
		for (unsigned s = 0; s < steps; s++) {
			for (uint32_t got = 0; got < STEP_BYTES; got += bytes) {
				give(b, at, bytes);
				at = (at + 1) % n;
			}
			bed_step(b);
		}
		frames = b->frames[0] + b->frames[1];
		for (int e = 0; e < 2 && round; e++)
			bench_add(&r->ns[e], bench_ns(b->g[e].cycles) / (double)frames);
	}
	bed_end(b);
}

static void active_rows(const char *what, unsigned n, const struct among *one, const struct among *many)
{
	static const char *const side[2] = {"send", "receive"};
	char name[128];

	for (int e = 0; e < 2; e++) {
		struct bench_stat v;

		snprintf(name, sizeof(name), "%s, 1 session, %s", what, side[e]);
		bench_row(name, &one->ns[e], 0);
		snprintf(name, sizeof(name), "%s, %u sessions, %s", what, n, side[e]);
		bench_row(name, &many->ns[e], 0);
		snprintf(name, sizeof(name), "a packet at %u active sessions / at 1: %s, %s", n, what + 3, side[e]);
		v = bench_one(bench_stat(&many->ns[e]).median / bench_stat(&one->ns[e]).median);
		bench_figure("F8", name, &v, BENCH_AT_MOST, 1.5);
	}
}

static void active(void)
{
	static const uint32_t bytes[] = {1200, 16320};
	static struct among one, many;
	unsigned n = bench_opts.quick ? 1000 : 10000;
	char what[64];

	for (unsigned i = 0; i < 2; i++) {
		for (int fec = 0; fec < 2; fec++) {
			snprintf(what, sizeof(what), "F8 %s, %u bytes at a time", fec ? "10/3" : "no FEC", bytes[i]);
			if (!bench_wanted(what))
				continue;
			among(&one, 1, bytes[i], fec);
			among(&many, n, bytes[i], fec);
			active_rows(what, n, &one, &many);
		}
	}
}

/* ---- F18 ---- */

#define LOOK_FEW                                                                                             \
	128 /* rows a worker and second that metrics ask for, whoever asks how often (lib/metrics/glance.h), \
	     */
#define LOOK_MANY 2048 /* and while somebody looks at the page */

/* The time in which a worker tells of so many of its sessions, from one on, among others that are busy. */
static double tell(struct bed *b, uint32_t from)
{
	struct shard_query *q = shard_query(server(b)->shard);
	uint64_t t;

	q->what = SHARD_SESSIONS;
	q->cursor = from;
	atomic_store(&q->state, SHARD_Q_ASKED);
	t = rte_rdtsc();
	shard_answer(server(b)->shard, b->us / 1000);
	t = rte_rdtsc() - t;
	if (atomic_load(&q->state) != SHARD_Q_DONE || q->n == 0)
		bench_wrong("no answer of the shard's");
	atomic_store(&q->state, SHARD_Q_IDLE);
	return bench_ns(t) / (q->n ? q->n : 1);
}

/* What a look at the sessions takes from a worker that has ten thousand busy ones: they lie outside the caches. */
static void looks(void)
{
	unsigned n = bench_opts.quick ? 1000 : 10000, at = 0;
	struct bed_conf c = conf(n, 1, true);
	struct bench_series ns = {0};
	struct bench_stat row, v;
	struct bed *b;

	if (!bench_wanted("F18"))
		return;
	c.step_us = 200;
	c.delay = DELAY;
	c.wnd = 32768;
	b = bed_new(&c);
	bed_start(b);
	for (unsigned s = 0; s < n / 8 + bench_opts.rounds * 100; s++) {
		for (uint32_t got = 0; got < STEP_BYTES; got += 16320) {
			give(b, at, 16320);
			at = (at + 1) % n;
		}
		bed_step(b);
		if (s >= n / 8 && s % 10 == 0)
			bench_add(&ns, tell(b, (at + n / 2) % n));
	}
	row = bench_stat(&ns);
	bench_row("F18 to tell of a session", &ns, 0);
	v = bench_one(row.median * LOOK_FEW * 1e-7);
	bench_figure("F18", "% of a worker for metrics every second, at 10,000 active sessions", &v, BENCH_AT_MOST, 1);
	v = bench_one(row.median * LOOK_MANY * 1e-7);
	bench_figure("F18", "% of a worker while somebody looks at the page, likewise", &v, BENCH_AT_MOST, 1);
	bed_end(b);
}

/* ---- F10 ---- */

static void newcomers(void)
{
	unsigned n = bench_opts.quick ? 5000 : 100000, rounds = bench_opts.quick ? 2 : 5;
	struct bed_conf c = conf(n, 1, true);
	struct bench_series open_ns = {0}, close_ns = {0}, rate = {0};
	struct bed *b;
	struct peers *p;

	if (!bench_wanted("F10"))
		return;
	b = bed_new(&c);
	p = peers_new(b, n);
	for (unsigned r = 0; r < rounds; r++) {
		uint64_t cycles;

		bed_zero(b);
		open_all(p, n, 1, 0);
		expect(b, n, 1);
		cycles = server(b)->cycles;
		bench_add(&open_ns, bench_ns(cycles) / n);
		bench_add(&rate, n / (bench_ns(cycles) * 1e-9));
		/* Nothing comes from the peers any more: the dead-peer check ends the sessions. */
		peers_wait(p, 2000);
		bed_zero(b);
		peers_wait(p, 70000);
		bench_add(&close_ns, bench_ns(server(b)->cycles) / n);
		expect(b, 0, 0);
		if (shard_mem_used(server(b)->shard) != server(b)->mem_empty)
			bench_wrong("%zu bytes of the heap did not come back",
				    shard_mem_used(server(b)->shard) - server(b)->mem_empty);
		if (rte_mempool_avail_count(server(b)->chans->chans) != server(b)->chans->chans->size)
			bench_wrong("chans did not come back");
	}
	bench_row("a new session with its stream", &open_ns, 0);
	bench_row("its end", &close_ns, 0);
	struct bench_stat v = bench_stat(&rate);
	bench_figure("F10", "new sessions a second", &v, BENCH_AT_LEAST, 50000);
	peers_free(p);
	bed_end(b);
}

int main(int argc, char **argv)
{
	bench_begin(argc, argv, "bm_scale", "many sessions on one worker");
	if (bench_eal(bench_opts.huge ? 1248 : 3072, NULL))
		return 1;
	memory();
	keepalives();
	active();
	looks();
	newcomers();
	return bench_end();
}
