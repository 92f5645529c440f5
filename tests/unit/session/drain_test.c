/* SPDX-License-Identifier: MIT */
#include "eal.h"
#include "rig.h"

#include "drop.h"

/* A tunnel that is drained: nothing new, what there is goes on, and ends by itself or at its time. */

TestSuite(session_drain, .init = eal_start);

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static uint64_t drops(struct rig_side *s)
{
	return shard_stats(s->shard)->drops[DROP_DRAINING - VERDICT_DROP];
}

static uint64_t sessions(struct rig_side *s)
{
	return shard_stats(s->shard)->sessions;
}

/* One connection that both ends keep open. */
static struct conn *held(struct rig *r, unsigned slot)
{
	struct conn *c;

	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	c = rig_connect(r, slot, 1000, 1000);
	run_for(r, 1000);
	cr_assert(c->up && c->peer);
	return c;
}

static void finish(struct rig *r, struct conn *c)
{
	conn_eof(c);
	conn_eof(c->peer);
	run_for(r, 5000);
	conn_complete(c);
}

Test(session_drain, server_takes_no_stream_and_goes_on)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct rig_side *s = &r->side[SERVER];
	struct conn *a = held(r, 0), *b;

	s->tun.drain_at = UINT64_MAX;
	b = rig_connect(r, 0, 1000, 1000);
	run_for(r, 2000);
	cr_expect(b->closed && !b->peer, "a new stream has a server's end");
	cr_expect_eq(drops(s), 1);
	conn_more(a, 50000);
	conn_more(a->peer, 50000);
	shard_drain_tunnels(s->shard, r->now);
	run_for(r, 2000);
	cr_expect_eq(sessions(s), 1);
	cr_expect_eq(shard_tunnel_sessions(s->shard, 0), 1);
	finish(r, a);
	shard_drain_tunnels(s->shard, r->now);
	cr_expect_eq(sessions(s), 0);
	cr_expect_eq(shard_tunnel_sessions(s->shard, 0), 0);
	rig_end(r);
}

Test(session_drain, server_takes_no_session)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct rig_side *s = &r->side[SERVER];

	s->tun.drain_at = UINT64_MAX;
	rig_connect(r, 0, 1000, 1000);
	run_for(r, 2000);
	cr_expect_eq(sessions(s), 0);
	cr_expect_gt(drops(s), 0);
	s->tun.drain_at = 0;
	run_for(r, 5000);
	cr_expect_eq(sessions(s), 1, "the same client, once it is served again");
	rig_end(r);
}

/* Whatever it carries; and not before. */
Test(session_drain, time_is_over)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct rig_side *s = &r->side[SERVER];
	struct conn *a = held(r, 0);

	s->tun.drain_at = r->now + 3000;
	run_for(r, 2900);
	shard_drain_tunnels(s->shard, r->now);
	cr_expect_eq(sessions(s), 1);
	run_for(r, 200);
	shard_drain_tunnels(s->shard, r->now);
	cr_expect_eq(sessions(s), 0);
	run_for(r, 10); /* control's turn */
	cr_expect(a->peer->closed && a->peer->aborted, "as if it had ended well");
	rig_end(r);
}

/* A client's: no connection gets a session any more, one that there is ends when it carries nothing. */
Test(session_drain, client)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct rig_side *s = &r->side[CLIENT];
	struct conn *a = held(r, 0), *b;

	s->tun.drain_at = UINT64_MAX;
	b = rig_connect(r, 0, 1000, 1000);
	run_for(r, 1000);
	cr_expect(b->closed && !b->up);
	conn_more(a, 50000);
	conn_more(a->peer, 50000);
	finish(r, a);
	shard_drain_tunnels(s->shard, r->now);
	cr_expect_eq(sessions(s), 0);
	rig_end(r);
}
