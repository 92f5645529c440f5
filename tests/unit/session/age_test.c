/* SPDX-License-Identifier: MIT */
#include "eal.h"
#include "rig.h"

/* autoexpire and scavengettl (wire.md 9.1): sessions that grow old, are replaced, and end. */

TestSuite(session_age, .init = eal_start);

#define EXPIRE 20000
#define TTL    60000

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static struct rig *old_rig(void)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.autoexpire_ms = EXPIRE;
	conf.scavenge_ms = TTL;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	return r;
}

static uint64_t sessions(const struct rig *r)
{
	return shard_stats(r->side[CLIENT].shard)->sessions;
}

static void finish(struct conn *c)
{
	conn_eof(c);
	conn_eof(c->peer);
}

/* The next connection after autoexpire has a new session; the old one goes on for its own, and ends with the last. */
Test(session_age, replaced)
{
	struct rig *r = old_rig();
	struct rig_side *s = &r->side[CLIENT];
	struct note n;
	struct conn *a, *b, *c;

	a = rig_connect(r, 0, 1000, 1000);
	run_for(r, EXPIRE - 1000);
	b = rig_connect(r, 0, 1000, 1000);
	run_for(r, 900);
	cr_assert_eq(b->port, a->port, "not old yet");
	run_for(r, 101);
	cr_assert_eq(sessions(r), 1, "it has streams");
	c = rig_connect(r, 0, 1000, 1000);
	run_for(r, 200);
	cr_assert(c->up);
	cr_assert_neq(c->port, a->port);
	cr_assert_eq(sessions(r), 2);
	cr_assert_eq(s->keeps, 1);
	cr_assert_eq(s->drops, 0);
	/* Both carry. */
	conn_more(a, 50000);
	conn_more(a->peer, 50000);
	conn_more(c, 50000);
	run_for(r, 1000);
	finish(a);
	run_for(r, 10000);
	conn_complete(a);
	cr_assert_eq(sessions(r), 2, "b is still there");
	cr_assert(!b->closed);
	cr_assert_eq(rig_notes(s, NOTE_SESS_CLOSE, &n), 0);
	finish(b);
	run_for(r, SESS_AGE_MS + 100);
	conn_complete(b);
	cr_assert_eq(sessions(r), 1);
	cr_assert_eq(rig_notes(s, NOTE_SESS_CLOSE, &n), 1);
	cr_assert_eq(n.key.local_port, a->port);
	cr_assert_eq(n.arg, 0);
	cr_assert_eq(n.arg2, NOTE_AGED_IDLE);
	cr_assert_eq(s->drops, 0, "DROP would be the new session's port");
	/* The successor is none the worse for it. */
	conn_more(c->peer, 50000);
	finish(c);
	run_for(r, 2000);
	conn_complete(c);
	rig_end(r);
}

/* At creation + autoexpire + scavengettl it ends, whatever it carries. */
Test(session_age, killed)
{
	struct rig *r = old_rig();
	struct rig_side *s = &r->side[CLIENT];
	struct conn *a = rig_connect(r, 0, 1000, 1000), *b;
	struct note n;

	run_for(r, EXPIRE + 100);
	b = rig_connect(r, 0, 1000, 1000);
	rig_run(r, RIG_START + EXPIRE + TTL - 1, NULL, NULL);
	cr_assert(!a->closed && !b->closed);
	cr_assert_eq(sessions(r), 2);
	run_for(r, 1);
	cr_assert(a->closed && a->aborted && !b->closed);
	cr_assert_eq(sessions(r), 1);
	cr_assert_eq(rig_notes(s, NOTE_SESS_CLOSE, &n), 1);
	cr_assert_eq(n.key.local_port, a->port);
	cr_assert_eq(n.arg2, NOTE_AGED_TTL);
	cr_assert_eq(s->drops, 0);
	finish(b);
	run_for(r, 1000);
	conn_complete(b);
	rig_end(r);
}

/* One that was not replaced is killed too, and its slot dials when somebody comes. */
Test(session_age, killed_in_its_slot)
{
	struct rig *r = old_rig();
	struct rig_side *s = &r->side[CLIENT];
	struct conn *a = rig_connect(r, 0, 1000, 1000), *b;

	rig_run(r, RIG_START + EXPIRE + TTL, NULL, NULL);
	cr_assert(a->closed && a->aborted);
	cr_assert_eq(sessions(r), 0);
	cr_assert_eq(s->drops, 1);
	cr_assert_eq(s->keeps, 0);
	b = rig_connect(r, 0, 1000, 1000);
	run_for(r, 1000);
	finish(b);
	run_for(r, 1000);
	conn_complete(b);
	cr_assert_eq(s->wants, 2);
	rig_end(r);
}

/* One that carries nothing ends when it expires: no port, no keepalives, no memory for nobody. */
Test(session_age, nobody_left)
{
	struct rig *r = old_rig();
	struct rig_side *s = &r->side[CLIENT];
	struct conn *a = rig_connect(r, 0, 1000, 1000);

	run_for(r, 1000);
	finish(a);
	run_for(r, EXPIRE - 1001);
	conn_complete(a);
	cr_assert_eq(sessions(r), 1);
	run_for(r, 1);
	cr_assert_eq(sessions(r), 0);
	cr_assert_eq(s->drops, 1);
	cr_assert_eq(shard_next(s->shard), UINT64_MAX, "nothing is left to be done");
	rig_end(r);
}

/* A connection that comes in the very millisecond finds it empty: it goes at once. */
Test(session_age, nobody_left_but_a_newcomer)
{
	struct rig *r = old_rig();
	struct rig_side *s = &r->side[CLIENT];
	struct conn *a = rig_connect(r, 0, 1000, 1000), *b;
	uint16_t port;

	run_for(r, 1000);
	port = a->port;
	finish(a);
	run_for(r, EXPIRE - 1001);
	rig_at(r, r->now + 1);
	b = rig_connect(r, 0, 1000, 1000);
	run_for(r, 1000);
	cr_assert_neq(b->port, port);
	cr_assert_eq(sessions(r), 1);
	cr_assert_eq(s->drops, 1);
	cr_assert_eq(s->keeps, 0);
	rig_end(r);
}

/* While dialling the successor fails the old session still serves its own. */
Test(session_age, no_successor)
{
	struct rig *r = old_rig();
	struct rig_side *s = &r->side[CLIENT];
	struct conn *a = rig_connect(r, 0, 1000, 1000), *b;

	run_for(r, EXPIRE);
	s->dial = DIAL_FAILS;
	b = rig_connect(r, 0, 1000, 1000);
	run_for(r, 10000);
	cr_assert(!b->up && !b->closed);
	conn_more(a, 10000);
	run_for(r, 1000);
	cr_assert_eq(a->peer->got, 11000);
	s->dial = DIAL_OK;
	run_for(r, 2000);
	cr_assert(b->up);
	cr_assert_eq(s->keeps, 1);
	rig_end(r);
}

/* 0 is never; and no server's session has an age. */
Test(session_age, never)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *a, *b;

	a = rig_connect(r, 0, 1000, 1000);
	r->side[SERVER].tun.autoexpire_ms = 1000;
	run_for(r, 3600000);
	b = rig_connect(r, 0, 1000, 1000);
	cr_assert(rig_finish(r, 1000));
	conn_complete(a);
	conn_complete(b);
	cr_assert_eq(a->port, b->port);
	rig_end(r);
}
