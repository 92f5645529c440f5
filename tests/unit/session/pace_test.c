/* SPDX-License-Identifier: MIT */
#include "eal.h"
#include "rig.h"

/*
 * ratelimit (wire.md 5.5): what a session sends, parity, ACKs and the cipher's bytes included; and the portions in
 * which every session begins.
 */

TestSuite(session_pace, .init = eal_start);

#define BURST 96000
#define OVER  20 /* as the ciphers with a header */
#define LOTS  (UINT64_C(1) << 40)

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static uint64_t wire(const struct rig_side *s)
{
	return s->wire + s->dgrams * OVER;
}

static struct rig *pace_rig(struct rig_conf *conf)
{
	struct rig *r;

	conf->wnd = 1024;
	r = rig_new(conf);
	for (int e = 0; e < 2; e++) {
		r->side[e].tun.head = OVER;
		r->side[e].hold_new = true;
	}
	return r;
}

/* Within 5 % of `rate` from 2 s on, and before that no more than the buckets of n sessions held at the start. */
static void steady(struct rig *r, struct rig_side *s, unsigned n, uint64_t rate, uint64_t ms)
{
	uint64_t begin = r->now - RIG_START, from, sent, turns;

	run_for(r, 2000);
	from = wire(s);
	turns = r->turns;
	cr_assert_leq(from, n * BURST + rate * (2000 + begin) / 1000 + 20000);
	run_for(r, ms);
	sent = (wire(s) - from) * 1000 / ms;
	cr_assert_leq(sent, rate + rate / 20, "%lu bytes/s instead of %lu", sent, rate);
	cr_assert_geq(sent, rate - rate / 20, "%lu bytes/s instead of %lu", sent, rate);
	cr_assert_leq(r->turns - turns, 20 * ms, "turns do not multiply");
	cr_assert_eq(shard_snmp(s->shard, 0)->OutBytes, wire(s));
}

static void upload(uint64_t rate, unsigned ds, uint32_t loss, uint64_t ms)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.nocomp = true;
	conf.ratelimit[CLIENT] = rate;
	conf.ds = ds;
	conf.ps = ds ? 3 : 0;
	conf.link.loss = loss;
	r = pace_rig(&conf);
	for (int i = 0; i < 3; i++)
		rig_connect(r, 0, LOTS, 0);
	steady(r, &r->side[CLIENT], 1, rate, ms);
	rig_end(r);
}

Test(session_pace, rates)
{
	upload(10000, 0, 0, 20000);
	upload(100000, 0, 0, 10000);
	upload(1000000, 0, 0, 10000);
	upload(1000000, 0, 50, 10000);
}

Test(session_pace, rates_with_parity)
{
	upload(50000, 10, 0, 20000);
	upload(1000000, 10, 0, 10000);
	upload(1000000, 10, 50, 10000);
}

/* Faster than the bucket is deep in a few ms. */
Test(session_pace, fast)
{
	upload(20000000, 0, 0, 1000);
}

/* Each session has its own bucket; the others' tunnel mates and the other end are free. */
Test(session_pace, each_session)
{
	struct rig_conf conf = rig_defaults();
	struct conn *down;
	struct rig *r;

	conf.nocomp = true;
	conf.conn = 2;
	conf.ratelimit[CLIENT] = 100000;
	r = pace_rig(&conf);
	rig_connect(r, 0, LOTS, 0);
	rig_connect(r, 1, LOTS, 0);
	run_for(r, 2000);
	down = rig_connect(r, 0, 100, 1000000);
	steady(r, &r->side[CLIENT], 2, 200000, 10000);
	cr_assert_eq(down->got, 1000000, "what the server sends has no limit");
	rig_end(r);
}

/* A receiver that may hardly send: its ACKs wait for tokens, and the sender for them; it all goes on. */
Test(session_pace, acks_count)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;
	uint64_t got;

	conf.nocomp = true;
	conf.ratelimit[SERVER] = 2000;
	conf.link.rate_bps = 4000000;
	r = pace_rig(&conf);
	c = rig_connect(r, 0, LOTS, 0);
	run_for(r, 60000); /* until the bucket is empty */
	got = c->peer->got;
	steady(r, &r->side[SERVER], 1, 2000, 20000);
	cr_assert_gt(c->peer->got, got + 100000);
	rig_end(r);
}

/* What was saved up is sent at once, and no more than that. */
Test(session_pace, burst)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;
	uint64_t from;

	conf.nocomp = true;
	conf.ratelimit[CLIENT] = 10000;
	r = pace_rig(&conf);
	c = rig_connect(r, 0, 0, 0);
	run_for(r, 3600000);
	from = wire(&r->side[CLIENT]);
	conn_more(c, LOTS);
	run_for(r, 100);
	cr_assert_geq(wire(&r->side[CLIENT]) - from, BURST);
	cr_assert_leq(wire(&r->side[CLIENT]) - from, BURST + 1000 + 2 * 1350);
	rig_end(r);
}

/* A session that waits for tokens can be closed, reset, and time out like any other. */
Test(session_pace, ends_while_waiting)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c, *d;
	struct rig *r;

	conf.nocomp = true;
	conf.ratelimit[CLIENT] = 1000;
	conf.ds = 10;
	conf.ps = 3;
	r = pace_rig(&conf);
	c = rig_connect(r, 0, LOTS, 0);
	run_for(r, 3000);
	d = rig_connect(r, 0, LOTS, 0);
	conn_reset(c);
	run_for(r, 3000);
	cr_assert(!c->closed && !d->closed, "what c sent before its reset is still to come");
	r->cut[SERVER] = true;
	run_for(r, 61000);
	cr_assert(c->closed && c->aborted);
	cr_assert(d->closed && d->aborted);
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_TIMEOUT), 1);
	rig_end(r);
}

/* All of it is bounded by nothing: an absurd rate is no limit, and no overflow. */
Test(session_pace, absurd)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	conf.nocomp = true;
	conf.ratelimit[CLIENT] = UINT64_MAX;
	r = pace_rig(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = false;
	c = rig_connect(r, 0, 3000000, 0);
	cr_assert(rig_finish(r, 1000));
	conn_complete(c);
	rig_end(r);
}

#define PORTION 32 /* datagrams a ms */
#define YOUNG	1024
#define PARITY	3

/* Nothing but portions until the session is no longer young, whatever is sent again meanwhile; and then windows. */
static void young(enum rig_end end, unsigned ds, uint32_t loss, uint64_t rate)
{
	struct rig_conf conf = rig_defaults();
	uint64_t most = 0, until;
	int64_t left;
	struct rig_side *s;
	struct rig *r;

	conf.nocomp = true;
	conf.ds = ds;
	conf.ps = ds ? PARITY : 0;
	conf.link.loss = loss;
	conf.ratelimit[end] = rate;
	r = pace_rig(&conf);
	s = &r->side[end];
	rig_connect(r, 0, LOTS, LOTS);
	rig_settle(r);
	left = PORTION - (int64_t)s->dgrams;
	for (until = r->now + 60000; s->dgrams < YOUNG && r->now < until;) {
		uint64_t was = s->dgrams;

		run_for(r, 1);
		left = left + PORTION < PORTION ? left + PORTION : PORTION;
		left -= (int64_t)(s->dgrams - was);
		if (s->dgrams >= YOUNG)
			break;
		/* Parity is not divided: what it was too much goes off the next portions. */
		cr_assert_geq(left, -(int64_t)conf.ps, "%lu datagrams in a ms, after %lu", s->dgrams - was, was);
	}
	cr_assert_geq(s->dgrams, YOUNG);
	for (until = r->now + 1000; r->now < until;) {
		uint64_t was = s->dgrams;

		run_for(r, 1);
		if (s->dgrams - was > most)
			most = s->dgrams - was;
	}
	if (!rate)
		cr_assert_gt(most, 3 * PORTION, "it does not end");
	rig_end(r);
}

Test(session_pace, young)
{
	for (int e = 0; e < 2; e++) {
		young(e, 0, 0, 0);
		young(e, 10, 0, 0);
		young(e, 0, 100, 0);
		young(e, 10, 100, 0);
		young(e, 10, 0, 20000000);
		young(e, 10, 0, 1000000);
	}
}

/* The portions are a session's own: many begin at once, and each of them with its own. */
Test(session_pace, young_together)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;
	uint64_t was;

	conf.nocomp = true;
	conf.conn = 4;
	r = pace_rig(&conf);
	for (unsigned i = 0; i < 4; i++)
		rig_connect(r, i, 0, LOTS);
	run_for(r, 60);
	was = r->side[SERVER].dgrams;
	run_for(r, 1);
	cr_assert_eq(r->side[SERVER].dgrams - was, 4 * PORTION);
	rig_end(r);
}
