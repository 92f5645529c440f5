/* SPDX-License-Identifier: MIT */
#include "eal.h"
#include "rig.h"

/* What a session says limits it, and what else telemetry is told of it; and whom a narrow window is told to. */

TestSuite(session_bound, .init = eal_start);

#define LOTS  (UINT64_C(1) << 40)
#define DELAY 50000 /* us, one way */
#define LOOKS 50
#define OFTEN 10000 /* datagrams a turn: as many as there are */

static struct rig_conf far(void)
{
	struct rig_conf conf = rig_defaults();

	conf.nocomp = true;
	conf.wnd = 4096;
	conf.smuxbuf = conf.streambuf = 64 << 20; /* no stream's window limits */
	conf.link.delay_us = DELAY;
	return conf;
}

/* The client models its path, the server is stock's: nothing that it says changes. */
static struct rig *far_rig(const struct rig_conf *conf)
{
	struct rig *r = rig_new(conf);

	r->side[CLIENT].tun.kcp.congestion = KCP_CONGESTION_AUTO;
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	r->side[CLIENT].ahead = 1 << 20;
	return r;
}

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

/* As telemetry asks: the only session. */
static const struct shard_row *row(struct rig *r, enum rig_end end)
{
	struct shard_query *q = shard_query(r->side[end].shard);

	q->cursor = 0;
	q->state = SHARD_Q_ASKED;
	shard_answer(r->side[end].shard, r->now);
	cr_assert_eq(q->state, SHARD_Q_DONE);
	cr_assert_eq(q->n, 1);
	return &q->row[0];
}

/* In how many of LOOKS looks, 37 ms apart, is it this? */
static unsigned seen(struct rig *r, const char *what)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LOOKS; i++) {
		run_for(r, 37);
		n += strcmp(row(r, CLIENT)->limited_by, what) == 0;
	}
	return n;
}

static void is_mostly(struct rig *r, const char *what)
{
	unsigned n = seen(r, what);

	cr_assert_geq(n, LOOKS - LOOKS / 10, "%s: %u looks of %u, now %s", what, n, LOOKS, row(r, CLIENT)->limited_by);
}

static void near(uint64_t is, uint64_t from, uint64_t to, const char *what)
{
	cr_assert(is >= from && is <= to, "%s: %lu, not from %lu to %lu", what, is, from, to);
}

/* One who sends all the time to a peer of 64 segments: 64 x 1350 bytes each 100 ms and a tick. */
Test(session_bound, peer_window)
{
	struct rig_conf conf = far();
	const struct shard_row *w;
	struct note note;
	struct rig *r = far_rig(&conf);

	r->side[SERVER].tun.kcp.rcv_wnd = 64;
	rig_connect(r, 0, LOTS, 0);
	run_for(r, 3000);
	cr_assert_eq(rig_notes(&r->side[CLIENT], NOTE_WINDOW, NULL), 0, "not before it has lasted");
	is_mostly(r, "peer window");
	run_for(r, 3000);
	w = row(r, CLIENT);
	near(w->look.min_rtt, 2 * DELAY, 2 * DELAY + 15000, "min rtt");
	near(w->look.rate, 600000, 864000, "bytes/s that arrive");
	near(w->look.flight, 1, 64 * 1350, "bytes in flight");
	cr_assert_leq(w->look.span, 64);
	cr_assert_eq(w->kcp.rmt_wnd, 64);
	cr_assert_eq(w->look.queue / 20000, 0, "nothing waits on the way: %u us", w->look.queue);
	cr_assert(w->modelled);
	cr_assert_eq(rig_notes(&r->side[CLIENT], NOTE_WINDOW, &note), 1);
	cr_assert_eq(note.id, w->id);
	cr_assert_eq(note.arg >> 16, 64);
	cr_assert_eq(note.arg & UINT16_MAX, w->wants_peer_rcvwnd);
	cr_assert_eq(w->wants_peer_rcvwnd, 200, "twice what there is, in hundreds: %u", w->wants_peer_rcvwnd);
	near(note.arg2, 600 * 8, 864 * 8, "kbit/s");
	near(note.rtt, 100, 115, "ms");
	run_for(r, 20000);
	cr_assert_eq(rig_notes(&r->side[CLIENT], NOTE_WINDOW, NULL), 0, "once");
	rig_end(r);
}

/* A peer whose reader takes little has a narrow window too, and no use for a wider one. */
static void slow_reader(uint8_t smux)
{
	struct rig_conf conf = far();
	struct conn *c;
	struct rig *r;

	conf.smux = smux;
	conf.smuxbuf = conf.streambuf = 256 << 10;
	r = far_rig(&conf);
	r->side[SERVER].tun.kcp.rcv_wnd = 64;
	r->side[SERVER].stop_new = true;
	c = rig_connect(r, 0, LOTS, 0);
	for (unsigned i = 0; i < 30; i++) {
		run_for(r, 1000);
		if (c->peer) {
			c->peer->stopped = false;
			conn_read(c->peer);
			c->peer->stopped = true;
		}
		if (i == 20)
			is_mostly(r, "peer window");
	}
	cr_assert_eq(rig_notes(&r->side[CLIENT], NOTE_WINDOW, NULL), 0);
	cr_assert_eq(row(r, CLIENT)->wants_peer_rcvwnd, 0);
	rig_end(r);
}

Test(session_bound, slow_reader)
{
	slow_reader(1);
	slow_reader(2);
}

/* A full connection, of which nothing but `what` limits. */
static void full(const struct rig_conf *conf, const char *what, void (*set)(struct shard_tunnel *t))
{
	struct rig *r = far_rig(conf);

	if (set)
		set(&r->side[CLIENT].tun);
	rig_connect(r, 0, LOTS, 0);
	run_for(r, 6000);
	is_mostly(r, what);
	cr_assert_eq(rig_notes(&r->side[CLIENT], NOTE_WINDOW, NULL), 0, "%s", what);
	cr_assert_eq(row(r, CLIENT)->wants_peer_rcvwnd, 0);
	rig_end(r);
}

static void narrow(struct shard_tunnel *t)
{
	t->kcp.snd_wnd = 64;
}

static void hinted(struct shard_tunnel *t)
{
	t->kcp.bandwidth = 500000;
}

static void hinted_high(struct shard_tunnel *t)
{
	t->kcp.bandwidth = 10000000;
}

static void limited(struct shard_tunnel *t)
{
	t->ratelimit = 500000;
}

static void stock(struct shard_tunnel *t)
{
	t->kcp.congestion = KCP_CONGESTION_STOCK;
}

static void stock_limited(struct shard_tunnel *t)
{
	t->kcp.congestion = KCP_CONGESTION_STOCK;
	t->ratelimit = 500000;
}

static void stock_narrow(struct shard_tunnel *t)
{
	t->kcp.congestion = KCP_CONGESTION_STOCK;
	t->kcp.snd_wnd = 64;
}

Test(session_bound, ours)
{
	struct rig_conf conf = far();

	full(&conf, "own window", narrow);
	full(&conf, "own window", stock_narrow);
	full(&conf, "bandwidth hint", hinted);
	full(&conf, "rate limit", limited);
	full(&conf, "rate limit", stock_limited);
}

Test(session_bound, path)
{
	struct rig_conf conf = far();

	conf.link.rate_bps = 8000000;
	conf.link.queue = 100000;
	full(&conf, "congestion", NULL);
	full(&conf, "congestion", hinted_high);
}

/* A client whose worker has no time to spare, and comes round each `every_us` only, for `most` datagrams; 0: in time.
 */
static struct rig *busy_rig(struct rig_conf *conf, uint64_t every_us, unsigned most)
{
	struct rig *r;

	conf->fine = true;
	r = far_rig(conf);
	shard_load(r->side[CLIENT].shard, true);
	r->side[CLIENT].every_us = every_us;
	r->side[CLIENT].most = most;
	return r;
}

static void busy_end(struct rig *r)
{
	r->side[CLIENT].every_us = 0;
	rig_end(r);
}

static void busy(struct rig_conf conf, uint64_t every_us, unsigned most, const char *what,
		 void (*set)(struct shard_tunnel *t))
{
	struct rig *r = busy_rig(&conf, every_us, most);

	if (set)
		set(&r->side[CLIENT].tun);
	rig_connect(r, 0, LOTS, 0);
	run_for(r, 6000);
	is_mostly(r, what);
	busy_end(r);
}

/* Its pace would let more leave than the worker comes round for: that of a hint, and that of a model which has seen
 * what the worker made of it, and looks for more. */
Test(session_bound, cpu)
{
	struct rig_conf conf = far();

	conf.wnd = 60000;
	busy(conf, 5000, OFTEN, "CPU", hinted_high);
	busy(conf, 0, 0, "bandwidth hint", hinted_high);
	busy(conf, 5000, OFTEN, "CPU", NULL);
	busy(conf, 5000, 50, "CPU", NULL);
	busy(conf, 20000, 200, "CPU", NULL);
	conf.link.delay_us = 1000;
	busy(conf, 5000, 50, "CPU", NULL);
	conf.link.rate_bps = 80000000; /* of which it uses a quarter */
	conf.link.queue = 100000;
	busy(conf, 5000, 50, "CPU", NULL);
}

/* A worker without time to spare comes in time for a slow path, and for whom something else limits. */
Test(session_bound, cpu_of_others)
{
	struct rig_conf conf = far();

	busy(conf, 5000, OFTEN, "rate limit", limited);
	busy(conf, 5000, OFTEN, "own window", narrow);
	conf.link.rate_bps = 8000000;
	conf.link.queue = 100000;
	busy(conf, 0, 0, "congestion", NULL);
	busy(conf, 5000, OFTEN, "congestion", NULL);
}

Test(session_bound, cpu_no_more_to_send)
{
	struct rig_conf conf = far();
	struct rig *r = busy_rig(&conf, 5000, OFTEN);
	struct conn *c = rig_connect(r, 0, 200, 200);

	for (unsigned i = 0; i < 100; i++) {
		run_for(r, 43);
		cr_assert_str_eq(row(r, CLIENT)->limited_by, "application", "%u", i);
		conn_more(c, 200);
		run_for(r, 20);
	}
	busy_end(r);
}

/* What its pace would have let leave while there was nothing to send was not missed. */
Test(session_bound, cpu_and_pauses)
{
	struct rig_conf conf = far();
	struct conn *c;
	struct rig *r;

	conf.wnd = 60000;
	r = busy_rig(&conf, 0, 0);
	r->side[CLIENT].tun.kcp.bandwidth = 10000000;
	c = rig_connect(r, 0, 1000000, 0);
	for (unsigned i = 0; i < 20; i++) {
		run_for(r, 1000);
		conn_more(c, 6000000);
		run_for(r, 400); /* of 600 */
		cr_assert_str_eq(row(r, CLIENT)->limited_by, "bandwidth hint", "%u: %s", i, row(r, CLIENT)->limited_by);
		run_for(r, 300);
	}
	busy_end(r);
}

/* Nor is it the worker where a port takes nothing for half of the time. */
Test(session_bound, cpu_and_no_port)
{
	static const struct net_tbl tbl = {.gen = 1};
	struct rig_conf conf = far();
	struct sess *ss;
	struct rig *r;

	conf.wnd = 60000;
	r = busy_rig(&conf, 0, 0);
	rig_connect(r, 0, LOTS, 0);
	run_for(r, 1000);
	shard_adopt(r->side[CLIENT].shard, &tbl);
	ss = r->side[CLIENT].shard->all[0];
	ss->path_gen = tbl.gen;
	ss->path_retry = UINT64_MAX;
	ss->path_ok = true; /* by port 0 */
	for (unsigned i = 0; i < 150; i++) {
		shard_hold(r->side[CLIENT].shard, i % 2);
		run_for(r, 40);
		cr_assert_str_neq(row(r, CLIENT)->limited_by, "CPU", "%u", i);
	}
	shard_hold(r->side[CLIENT].shard, 0);
	busy_end(r);
}

/* A worker that has time to spare, and was late for another reason. */
Test(session_bound, late_and_at_leisure)
{
	struct rig_conf conf = far();
	struct rig *r;

	conf.wnd = 60000;
	r = busy_rig(&conf, 5000, OFTEN);
	rig_connect(r, 0, LOTS, 0);
	run_for(r, 6000);
	is_mostly(r, "CPU");
	shard_load(r->side[CLIENT].shard, false);
	is_mostly(r, "congestion");
	shard_load(r->side[CLIENT].shard, true);
	is_mostly(r, "CPU");
	r->side[CLIENT].every_us = 0;
	run_for(r, 5000);
	cr_assert_str_neq(row(r, CLIENT)->limited_by, "CPU", "in time again");
	busy_end(r);
}

/* Stock's control has no pace: what a turn leaves over, though the window takes it, is what the worker cannot do. */
Test(session_bound, cpu_stock)
{
	struct rig_conf conf = far();

	busy(conf, 20000, 40, "CPU", stock);
	busy(conf, 20000, OFTEN, "own window", stock_narrow);
	busy(conf, 20000, 40, "rate limit", stock_limited);
}

/* Little to say now and then. */
Test(session_bound, application)
{
	struct rig_conf conf = far();
	const struct shard_row *w;
	struct rig *r = far_rig(&conf);
	struct conn *c;

	c = rig_connect(r, 0, 200, 200);
	run_for(r, 10);
	cr_assert_str_eq(row(r, CLIENT)->limited_by, "application");
	for (unsigned i = 0; i < 100; i++) {
		run_for(r, 43);
		conn_more(c, 200);
		cr_assert_str_eq(row(r, CLIENT)->limited_by, "application", "%u", i);
	}
	w = row(r, SERVER);
	cr_assert_str_eq(w->limited_by, "application", "stock's says so too");
	cr_assert_eq(w->modelled, false);
	cr_assert_eq(w->pace + w->look.rate + w->look.min_rtt + w->look.flight, 0, "and knows no path");
	rig_end(r);
}

/* Nobody acknowledges, and the window is wider than the heap. */
Test(session_bound, memory)
{
	struct rig_conf conf = far();
	struct rig *r;

	conf.wnd = 60000;
	conf.heap[CLIENT] = 4 << 20;
	r = far_rig(&conf);
	r->side[CLIENT].tun.kcp.congestion = KCP_CONGESTION_STOCK;
	rig_connect(r, 0, LOTS, 0);
	run_for(r, 1000);
	r->cut[SERVER] = true;
	run_for(r, 3000);
	is_mostly(r, "memory");
	rig_end(r);
}

/* What was sent again, and which parity was sent: the same as the tunnel's counters, and as what was seen on the way.
 */
Test(session_bound, counts)
{
	struct rig_conf conf = far();
	const struct snmp *s;
	const struct shard_row *w;
	struct rig *r;

	conf.ds = 10;
	conf.ps = 3;
	conf.link.rate_bps = 20000000;
	conf.link.queue = 200000;
	r = far_rig(&conf);
	rig_connect(r, 0, LOTS, 0);
	run_for(r, 4000);
	w = row(r, CLIENT);
	cr_assert_gt(w->parity_left, w->parity_sent, "on a path that loses nothing: %lu left, %lu sent", w->parity_left,
		     w->parity_sent);
	conf.link.loss = 100;
	sim_link_set(r->side[CLIENT].out, &conf.link);
	run_for(r, 4000);
	w = row(r, CLIENT);
	s = shard_snmp(r->side[CLIENT].shard, 0);
	cr_assert_gt(w->look.again_fast, 0);
	cr_assert_eq(w->look.again_fast, s->FastRetransSegs);
	cr_assert_eq(w->look.again_late, s->LostSegs);
	cr_assert_eq(w->look.again_early, s->EarlyRetransSegs);
	cr_assert_leq(w->look.needless, s->RetransSegs);
	cr_assert_eq(w->parity_sent, r->side[CLIENT].parity);
	near(w->parity_sent + w->parity_left, 3 * ((r->side[CLIENT].framed - w->parity_sent) / 10),
	     3 * ((r->side[CLIENT].framed - w->parity_sent) / 10), "parity of the groups that closed");
	near(w->pace * 8, 1000000, 60000000, "bits/s");
	cr_assert_gt(w->pace, w->look.pace, "parity and heads are in it");
	rig_end(r);
}
