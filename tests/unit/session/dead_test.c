/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include <rte_mempool.h>

#include "eal.h"
#include "rig.h"

/* A peer that is gone is told from one that has nothing to say, also where our own reading has stopped. */

TestSuite(session_dead, .init = eal_start);

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static uint64_t sessions(struct rig *r, enum rig_end end)
{
	return shard_stats(r->side[end].shard)->sessions;
}

/* Both ends as stock: nobody asks anybody, so that only smux and KCP tell who lives. */
static struct rig *stock_rig(uint8_t smux, unsigned chunks)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.smux = smux;
	conf.smuxbuf = 512 << 10;
	conf.chunks[SERVER] = chunks;
	conf.hello[CLIENT] = conf.hello[SERVER] = false;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	return r;
}

/* The target reads nothing, the bucket is empty, the session's reading has stopped: and then the client is killed. */
Test(session_dead, client_of_a_hung_target)
{
	struct rig *r = stock_rig(1, 1024);
	const struct rig_side *s = &r->side[SERVER];
	struct conn *c = rig_connect(r, 0, 3000000, 0);
	struct sess *ss;

	c->stop_peer = true;
	run_for(r, 100000);
	cr_assert_eq(sessions(r, SERVER), 1);
	ss = s->shard->all[0];
	cr_assert(ss->stalled && !mux_may_read(&ss->mux), "it should have stopped reading");
	r->cut[CLIENT] = true;
	run_for(r, SESS_TIMEOUT_MS - 1000);
	cr_assert_eq(sessions(r, SERVER), 1, "too soon");
	run_for(r, SESS_TIMEOUT_MS + 2000);
	cr_assert_eq(sessions(r, SERVER), 0, "it never ends");
	cr_assert_eq(rig_drops(s, DROP_TIMEOUT), 1);
	cr_assert(c->peer->closed && c->peer->aborted);
	cr_assert_eq(rte_mempool_avail_count(s->pool.chunks), r->conf.chunks[SERVER], "what it held is free");
	rig_end(r);
}

/* Reading has stopped because the session holds much of the few chunks that there are: the bucket is far from empty. */
Test(session_dead, client_whose_reader_waits_for_chunks)
{
	struct rig *r = stock_rig(2, 64);
	const struct rig_side *s = &r->side[SERVER];
	struct sess *ss;

	rig_connect(r, 0, 3000000, 0)->stop_peer = true;
	run_for(r, 3000);
	rig_connect(r, 0, 100000, 0);
	run_for(r, 1000);
	cr_assert_eq(sessions(r, SERVER), 1);
	ss = s->shard->all[0];
	cr_assert(ss->stalled && mux_may_read(&ss->mux), "it should have stopped reading");
	r->cut[CLIENT] = true;
	run_for(r, 2 * SESS_TIMEOUT_MS + 1000);
	cr_assert_eq(sessions(r, SERVER), 0, "it never ends");
	rig_end(r);
}

/* Both applications have stopped reading: no frame passes either way for an hour, and both ends live. */
static void both_stopped(uint32_t loss, uint32_t keepalive_ms)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	conf.smux = 1;
	conf.smuxbuf = 128 << 10;
	conf.wnd = 64;
	conf.hello[CLIENT] = conf.hello[SERVER] = false;
	conf.keepalive_ms = keepalive_ms;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 3000000, 3000000);
	c->stopped = c->stop_peer = true;
	run_for(r, 10000);
	for (int e = 0; e < 2; e++) {
		cr_assert(r->side[e].shard->all[0]->stalled);
		cr_assert_eq(r->side[e].shard->all[0]->kcp.rmt_wnd, 0, "the window is open");
	}
	conf.link.loss = loss;
	sim_link_set(r->side[CLIENT].out, &conf.link);
	sim_link_set(r->side[SERVER].out, &conf.link);
	run_for(r, 3600000);
	cr_assert_eq(sessions(r, CLIENT), 1);
	cr_assert_eq(sessions(r, SERVER), 1);
	cr_assert(!c->closed);
	c->stopped = c->peer->stopped = false;
	conn_read(c);
	conn_read(c->peer);
	run_for(r, 600000);
	cr_assert_eq(c->got, 3000000);
	cr_assert_eq(c->peer->got, 3000000);
	rig_end(r);
}

Test(session_dead, both_have_stopped_and_live)
{
	both_stopped(0, 10000);
	both_stopped(0, 30000);
}

Test(session_dead, both_have_stopped_on_a_bad_path)
{
	both_stopped(200, 30000);
}

/* One direction stopped: the other's keepalives are acknowledged, which is all that is heard of the peer. */
Test(session_dead, one_has_stopped_and_lives)
{
	struct rig *r = stock_rig(1, 1024);
	struct conn *c = rig_connect(r, 0, 3000000, 10);

	c->stop_peer = true;
	run_for(r, 3600000);
	cr_assert_eq(sessions(r, CLIENT), 1);
	cr_assert_eq(sessions(r, SERVER), 1);
	c->peer->stopped = false;
	conn_read(c->peer);
	run_for(r, 300000);
	cr_assert_eq(c->peer->got, 3000000);
	rig_end(r);
}
