/* SPDX-License-Identifier: MIT */

/*
 * Properties of the rate model (cc_auto.c) over a simulated bottleneck: rate, delay, queue, loss.  In virtual time a
 * rate is a result: it follows from the seed.
 */

#include <stdio.h>

#include "path.h"

#define SEC		  1000000
#define MTU		  1350
#define BDP(mbit, rtt_us) ((mbit) * (uint64_t)(rtt_us) / 8)

/* One end writes without end over so many Mbit/s; the other way is free. */
static void one_way(struct path *p, unsigned mbit, uint64_t rtt_us, uint64_t queue, uint32_t loss, uint64_t hint,
		    uint64_t seed)
{
	struct kcp_conf conf[2] = {path_conf(hint), path_conf(0)};
	struct sim_conf out[2] = {
		{.delay_us = rtt_us / 2, .loss = loss, .rate_bps = (uint64_t)mbit * SEC, .queue = queue},
		{.delay_us = rtt_us / 2, .loss = loss},
	};

	path_init(p, conf, out, seed, 1000);
	p->e[0].left = PATH_ENDLESS;
}

/* Bytes read at the far end in the next so many us, as Mbit/s. */
static double mbit_in(struct path *p, uint64_t us)
{
	uint64_t had = p->e[1].read;

	path_run(p, us);
	return (double)(p->e[1].read - had) * 8 / us;
}

static void free_return(struct path *p, uint64_t rtt_us)
{
	sim_link_set(p->e[1].out, &(struct sim_conf){.delay_us = rtt_us / 2});
}

/* ---- the path is filled ---- */

/* What the bottleneck holds beyond what is on the wire, the most of it since it was last set to 0. */
struct backlog {
	struct path *p;
	uint64_t into, wire, most; /* bytes */
};

static void into(void *arg, const uint8_t *p, uint32_t n, uint64_t us)
{
	struct backlog *b = arg;

	b->into += n;
}

static void look_backlog(void *arg)
{
	struct backlog *b = arg;
	const struct sim_stats *s = sim_link_stats(b->p->e[0].out);
	uint64_t in = b->into - s->bytes - (s->overflow + s->lost) * MTU;

	if (in > b->wire && in - b->wire > b->most)
		b->most = in - b->wire;
}

/* No loss, and a queue without end: the path is filled, and the queue is what a probe makes. */
Test(kcp_auto, fills_the_path_and_not_its_queue)
{
	static const struct {
		unsigned mbit, rtt_ms;
	} paths[] = {{1, 50}, {5, 50}, {2, 2}, {20, 20}, {100, 2}, {100, 100}, {20, 300}};

	for (unsigned i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		uint64_t rtt = paths[i].rtt_ms * 1000, bdp = BDP(paths[i].mbit, rtt);
		struct path p;
		struct backlog b = {.p = &p, .wire = bdp / 2};
		double got;

		one_way(&p, paths[i].mbit, rtt, 0, 0, 0, 1);
		p.arg = p.e[0].arg = &b;
		p.on_turn = look_backlog;
		p.e[0].on_out = into;
		path_run(&p, 3 * SEC);
		got = mbit_in(&p, 2 * SEC);
		cr_expect_geq(got, 0.85 * paths[i].mbit, "%u Mbit/s, %u ms: %.2f", paths[i].mbit, paths[i].rtt_ms, got);
		b.most = 0;
		path_run(&p, 3 * SEC);
		cr_expect_leq(b.most, bdp / 2 + 40000 + BDP(paths[i].mbit, 3000), "%u Mbit/s, %u ms: %lu bytes wait",
			      paths[i].mbit, paths[i].rtt_ms, b.most);
		path_fini(&p);
	}
}

struct looks {
	struct path *p;
	unsigned n; /* turns in KCP_MODEL_PROBE_RTT */
};

static void count_looks(void *arg)
{
	struct looks *l = arg;

	l->n += l->p->e[0].r->k.m.state == KCP_MODEL_PROBE_RTT;
}

static void set_rtt(struct path *p, uint64_t rtt_us)
{
	sim_link_set(p->e[0].out, &(struct sim_conf){.delay_us = rtt_us / 2, .rate_bps = 20ull * SEC});
	sim_link_set(p->e[1].out, &(struct sim_conf){.delay_us = rtt_us / 2});
}

/* To look for the least round trip holds back what is sent: that is done where it was not seen for long, and not where
 * it is only never met again to the microsecond. */
Test(kcp_auto, looks_for_a_round_trip_only_where_it_is_another)
{
	struct path p;
	struct looks l = {.p = &p};

	one_way(&p, 20, 100000, 0, 0, 0, 1);
	p.arg = &l;
	p.on_turn = count_looks;
	path_run(&p, 2 * SEC);
	set_rtt(&p, 103000);
	path_run(&p, 30 * SEC);
	cr_expect_eq(l.n, 0);
	set_rtt(&p, 120000);
	path_run(&p, 12 * SEC);
	cr_expect_gt(l.n, 0);
	path_run(&p, 2 * SEC);
	cr_expect_geq(p.e[0].r->k.m.min_rtt, 120000);
	cr_expect_lt(p.e[0].r->k.m.min_rtt, 126000);
	path_fini(&p);
}

/* ---- losses ---- */

static void over_loss(unsigned mbit, unsigned rtt_ms, uint32_t loss, bool both, double least)
{
	for (unsigned seed = 1; seed <= (mbit > 50 ? 1 : 3); seed++) {
		uint64_t rtt = rtt_ms * 1000;
		struct path p;
		double got;

		one_way(&p, mbit, rtt, BDP(mbit, rtt) + 30000, loss, 0, seed);
		if (!both)
			free_return(&p, rtt);
		path_run(&p, 3 * SEC);
		got = mbit_in(&p, 3 * SEC) / (mbit * (1 - loss / 1000.0));
		cr_expect_gt(got, least, "%u Mbit/s, %u ms, %u per mille%s, seed %u: %.2f of what gets through", mbit,
			     rtt_ms, loss, both ? " both ways" : "", seed, got);
		path_fini(&p);
	}
}

Test(kcp_auto, some_loss_costs_no_more_than_itself)
{
	static const uint32_t losses[] = {10, 50, 100};

	for (unsigned i = 0; i < 3; i++) {
		over_loss(100, 100, losses[i], false, 0.85);
		over_loss(20, 20, losses[i], false, 0.85);
		over_loss(5, 50, losses[i], false, 0.85);
		over_loss(20, 20, losses[i], true, 0.5);
	}
}

Test(kcp_auto, much_loss_does_not_collapse_it)
{
	for (uint32_t loss = 200; loss <= 300; loss += 100) {
		over_loss(100, 100, loss, false, 0.5);
		over_loss(20, 20, loss, false, 0.5);
		over_loss(5, 50, loss, false, 0.5);
		/* 30 % of the ACKs lost, too: KCP's are told once, here as by a stock peer. */
		over_loss(20, 20, loss, true, loss == 300 ? 0.1 : 0.3);
	}
}

/* ---- what waits ---- */

struct waiting {
	struct path *p;
	double most; /* us: what waits in KCP for its first transmission, over the pace; 0: only what may leave */
	uint32_t segments;
};

static void look_waiting(void *arg)
{
	struct waiting *w = arg;
	const struct kcp *k = &w->p->e[0].r->k;
	uint32_t n = k->snd_end - k->snd_sent;

	if (n > w->segments)
		w->segments = n;
	if (n * (double)k->mss / k->m.pace > w->most)
		w->most = n * (double)k->mss / k->m.pace;
}

/* Others' bytes come behind what waits in KCP: that is little, also before there is a round trip to go by. */
Test(kcp_auto, what_waits_leaves_soon)
{
	struct waiting w;
	struct path p;

	one_way(&p, 100, 100000, 0, 0, 0, 1);
	w = (struct waiting){.p = &p};
	p.arg = &w;
	p.on_turn = look_waiting;
	path_run(&p, 90000);
	cr_expect_leq(w.segments, 40, "%u, and 32 may leave", w.segments);
	path_run(&p, 3 * SEC);
	w.most = 0;
	path_run(&p, 2 * SEC);
	cr_expect_leq(w.most, 14000, "%.0f us, where the pace falls behind a probe", w.most);
	cr_expect_geq(w.most, 4000, "%.0f us: a turn that comes late finds something to send", w.most);
	path_fini(&p);
}

/* ---- the hint ---- */

/* Neither the path's loss nor a short round trip change what leaves. */
Test(kcp_auto, obeys_the_hint)
{
	static const struct {
		unsigned hint, rtt_ms, loss;
	} t[] = {{20, 50, 0},  {20, 50, 200}, {50, 100, 100}, {50, 100, 300}, {20, 100, 300},
		 {2, 50, 100}, {2, 10, 0},    {10, 2, 0},     {10, 1, 0}};

	for (unsigned i = 0; i < sizeof(t) / sizeof(*t); i++) {
		uint64_t rtt = t[i].rtt_ms * 1000, had;
		struct path p;
		double out;

		one_way(&p, 200, rtt, 0, t[i].loss, t[i].hint * 125000, 1);
		cr_expect_leq(kcp_pace(&p.e[0].r->k), t[i].hint * 125000);
		path_run(&p, 2 * SEC);
		had = p.e[0].sent;
		path_run(&p, 2 * SEC);
		out = (double)(p.e[0].sent - had) * 8 / (2 * SEC);
		cr_expect(out > 0.97 * t[i].hint && out < 1.01 * t[i].hint,
			  "hint of %u Mbit/s, %u ms, %u per mille: %.2f Mbit/s leave", t[i].hint, t[i].rtt_ms,
			  t[i].loss, out);
		path_fini(&p);
	}
}

/* ---- the pace is what leaves ---- */

struct paced {
	struct path *p;
	uint64_t us, sent;
	double due; /* bytes by the pace of each turn */
};

static void add_due(void *arg)
{
	struct paced *d = arg;

	d->due += (double)kcp_pace(&d->p->e[0].r->k) * 1e-6 * (double)(d->p->us - d->us);
	d->us = d->p->us;
}

/* In the long run as many bytes leave as the pace says, however often it changes: in a path of endless rate the pace
 * alone bounds them once the model cruises. */
Test(kcp_auto, what_leaves_is_the_pace)
{
	struct path p;
	struct paced d = {.p = &p};

	one_way(&p, 50, 40000, 0, 0, 0, 3);
	path_run(&p, 3 * SEC);
	d.us = p.us;
	d.sent = p.e[0].sent;
	p.arg = &d;
	p.on_turn = add_due;
	path_run(&p, 4 * SEC);
	cr_expect_leq((double)(p.e[0].sent - d.sent), d.due * 1.01, "%lu bytes of %.0f", p.e[0].sent - d.sent, d.due);
	cr_expect_geq((double)(p.e[0].sent - d.sent), d.due * 0.93, "%lu bytes of %.0f", p.e[0].sent - d.sent, d.due);
	path_fini(&p);
}

/* ---- the application as the limit ---- */

/* Twelve seconds at a fiftieth of the path's rate, then all that goes: what was known is still there. */
Test(kcp_auto, a_quiet_application_keeps_the_estimate)
{
	struct path p;
	double before, after;

	one_way(&p, 50, 40000, BDP(50, 40000), 0, 0, 5);
	path_run(&p, 3 * SEC);
	before = p.e[0].r->k.m.rate.s[0].v;
	p.e[0].left = 0;
	p.e[0].rate = 125000;
	p.e[0].rate_us = p.us;
	path_run(&p, 12 * SEC);
	after = p.e[0].r->k.m.rate.s[0].v;
	cr_expect_geq(after, 0.9 * before, "%.2f bytes/us, before %.2f", after, before);
	p.e[0].rate = 0;
	p.e[0].left = PATH_ENDLESS;
	path_run(&p, 100000);
	after = mbit_in(&p, 300000);
	cr_expect_geq(after, 0.8 * 50, "%.2f Mbit/s at once", after);
	path_fini(&p);
}

/* Nor is it forgotten in a pause, however long: the first round trip aside, everything goes at once. */
Test(kcp_auto, a_pause_costs_nothing)
{
	static const unsigned rtts[] = {20000, 80000};

	for (unsigned i = 0; i < 4; i++) {
		unsigned rtt = rtts[i % 2], s = i < 2 ? 2 : 12;
		struct path p;
		double got;

		one_way(&p, 50, rtt, BDP(50, rtt), 0, 0, 5);
		path_run(&p, 5 * SEC);
		p.e[0].left = 0;
		path_run(&p, s * SEC);
		p.e[0].left = PATH_ENDLESS;
		path_run(&p, rtt + 20000);
		got = mbit_in(&p, 200000);
		cr_expect_geq(got, 0.8 * 50, "%u ms, a pause of %u s: %.1f Mbit/s behind it", rtt / 1000, s, got);
		path_fini(&p);
	}
}

/* ---- the window that is told ---- */

struct edges {
	struct path *p;
	uint32_t most, conf, wnd, grown;
	uint32_t start;
	bool any;
};

/* Of all datagrams that the far end sends: una + wnd never shrinks, for what was promised may be under way. */
static void look_edge(void *arg, const uint8_t *p, uint32_t n, uint64_t us)
{
	struct edges *x = arg;
	struct kcp_head h;

	for (const uint8_t *end = p + n; p < end; p += KCP_HEAD + h.len) {
		kcp_head_get(&h, p);
		cr_assert_leq(h.wnd, x->conf);
		if (x->any)
			cr_assert_geq((int32_t)(h.una + h.wnd - x->most), 0, "at %lu us: %u + %u, %u were promised", us,
				      h.una, h.wnd, x->most);
		x->most = h.una + h.wnd;
		x->any = true;
		x->grown = h.wnd;
	}
}

static void window_told(unsigned mbit, uint64_t rtt_us, uint32_t conf, uint32_t loss, uint32_t least, uint32_t most)
{
	struct edges x = {.conf = conf};
	struct path p;

	one_way(&p, mbit, rtt_us, BDP(mbit, rtt_us), loss, 0, 9);
	p.e[1].r->conf.rcv_wnd = conf;
	if (conf < p.e[1].r->k.rcv_wnd)
		p.e[1].r->k.rcv_wnd = conf;
	x.p = &p;
	p.e[1].arg = &x;
	p.e[1].on_out = look_edge;
	path_run(&p, 5 * SEC);
	cr_expect(x.grown >= least && x.grown <= most, "%u Mbit/s, %lu us, conf %u: %u were told", mbit, rtt_us, conf,
		  x.grown);
	path_fini(&p);
}

Test(kcp_auto, the_window_grows_with_what_arrives)
{
	window_told(100, 100000, 65535, 0, 3 * 926, 12 * 926); /* 926 segments are a round trip's */
	window_told(100, 100000, 65535, 20, 3 * 926, 65535);
	window_told(100, 100000, 2000, 20, 2000, 2000);
	window_told(2, 50000, 65535, 0, 1024, 1024);
	window_told(100, 100000, 300, 0, 300, 300);
}

/* Nor does it when nobody reads: what was promised is taken in, no more. */
Test(kcp_auto, no_promise_is_broken_while_nobody_reads)
{
	struct edges x = {.conf = 65535};
	struct path p;

	one_way(&p, 100, 50000, BDP(100, 50000), 10, 0, 11);
	x.p = &p;
	p.e[1].arg = &x;
	p.e[1].on_out = look_edge;
	path_run(&p, 2 * SEC);
	p.e[1].stalled = true;
	path_run(&p, 3 * SEC);
	cr_expect_eq(x.grown, 0, "%u are told", x.grown);
	cr_expect_eq(p.e[1].r->k.rcv_ordered, p.e[1].r->k.rcv_wnd);
	p.e[1].stalled = false;
	cr_expect_gt(mbit_in(&p, 3 * SEC), 60);
	path_fini(&p);
}
