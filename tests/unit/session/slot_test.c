/* SPDX-License-Identifier: MIT */
#include "eal.h"
#include "rig.h"

/* Which of a client's sessions a new connection is given: control counts round, the worker looks who has least to do.
 */

TestSuite(session_slot, .init = eal_start);

#define CONN	 4
#define LIFE	 20000
#define PATIENCE 60000

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static uint64_t sessions(const struct rig *r)
{
	return shard_stats(r->side[CLIENT].shard)->sessions;
}

/* A client with a session in each of its slots, each with a stream that stays and is quiet: *c are those. */
static struct rig *ready_rig(struct conn **c, uint32_t wnd)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.conn = CONN;
	conf.wnd = wnd;
	conf.autoexpire_ms = LIFE;
	conf.scavenge_ms = PATIENCE;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	for (unsigned i = 0; i < CONN; i++) {
		c[i] = rig_connect(r, i, 1000, 1000);
		run_for(r, 200);
		cr_assert(c[i]->up && c[i]->slot == i);
	}
	cr_assert_eq(sessions(r), CONN);
	return r;
}

/* The n-th connection, as control counts: it comes up at once, and this is its slot. */
static unsigned next_slot(struct rig *r, unsigned n)
{
	struct conn *c = rig_connect(r, n % CONN, 100, 100);

	run_for(r, 1);
	cr_assert(c->up);
	return c->slot;
}

/* Those with as much to do, and as many streams, have their turn by count. */
Test(session_slot, in_turn)
{
	struct conn *c[CONN];
	struct rig *r = ready_rig(c, 128);

	for (unsigned n = 0; n < 4 * CONN; n++) {
		cr_assert_eq(next_slot(r, n), n % CONN, "connection %u", n);
		run_for(r, 100);
	}
	rig_end(r);
}

/* Who has a window's worth on its way is passed by, also when the others have more streams. */
Test(session_slot, busy_is_passed_by)
{
	struct conn *c[CONN];
	struct rig *r = ready_rig(c, 128);
	unsigned got[CONN] = {0};

	conn_more(c[1], 4 << 20);
	run_for(r, 300);
	for (unsigned n = 0; n < 4 * CONN; n++) {
		got[next_slot(r, n)]++;
		run_for(r, 20);
	}
	cr_assert_lt(c[1]->peer->got, 4 << 20, "it has been busy all the time");
	cr_assert_eq(got[1], 0, "%u went to the busy session", got[1]);
	for (unsigned i = 0; i < CONN; i++)
		cr_assert(i == 1 || got[i] >= CONN, "slot %u: %u", i, got[i]);
	run_for(r, 20000);
	cr_assert_eq(c[1]->peer->got, 1000 + (4 << 20));
	cr_assert_eq(next_slot(r, 1), 1, "it is quiet again, and has fewest streams");
	rig_end(r);
}

static uint32_t told(const struct rig *r, unsigned slot)
{
	return atomic_load(&r->dials[slot].busy);
}

/* Control, which shares connections out among the workers, is told who is busy, and that he no longer is. */
Test(session_slot, control_is_told)
{
	struct conn *c[CONN];
	struct rig *r = ready_rig(c, 128);

	for (unsigned i = 0; i < CONN; i++)
		cr_assert_eq(told(r, i), 0);
	conn_more(c[1], 4 << 20);
	run_for(r, 300);
	cr_assert_eq(told(r, 0), 0);
	cr_assert_geq(told(r, 1), 3);
	run_for(r, 20000);
	cr_assert_eq(told(r, 1), 0);
	rig_end(r);
}

/* When all are busy the number of streams tells. */
Test(session_slot, streams_count)
{
	struct conn *c[CONN];
	struct rig *r = ready_rig(c, 128);

	for (unsigned i = 0; i < CONN; i++)
		conn_more(c[i], 8 << 20);
	run_for(r, 300);
	for (unsigned n = 0; n < 3; n++) {
		struct conn *more = rig_connect(r, 2, 8 << 20, 100);

		run_for(r, 100);
		cr_assert_eq(more->slot, (n + 2) % CONN, "connection %u: slot %u", n, more->slot);
	}
	/* Now 0, 2 and 3 have two. */
	cr_assert_eq(next_slot(r, 2), 1);
	rig_end(r);
}

/* One that is too old for new connections is passed by, though it has nothing to do. */
Test(session_slot, old_one_is_no_choice)
{
	struct conn *c[CONN], *b;
	struct rig *r = ready_rig(c, 128);
	uint16_t port = c[0]->port;

	/* Slot 0 is replaced first, so that its session is young when the others are old. */
	run_for(r, LIFE - 700);
	b = rig_connect(r, 0, 1000, 1000);
	run_for(r, 600);
	cr_assert(b->up && b->port != port);
	conn_more(b, 4 << 20);
	run_for(r, 100);
	cr_assert_eq(next_slot(r, 0), 0, "the others are old");
	cr_assert_eq(sessions(r), CONN + 1);
	cr_assert_eq(next_slot(r, 1), 1, "dialled anew");
	run_for(r, 100);
	cr_assert_eq(sessions(r), CONN + 2);
	cr_assert_eq(next_slot(r, 0), 1, "and that one is quiet");
	cr_assert_lt(b->peer->got, 4 << 20);
	rig_end(r);
}

/* A session that has used up its stream ids is none to choose either. */
Test(session_slot, dead_one_is_no_choice)
{
	struct conn *c[CONN];
	struct rig *r = ready_rig(c, 128);
	unsigned of3 = 0;

	for (unsigned i = 0; i < sessions(r); i++) {
		struct sess *ss = r->side[CLIENT].shard->all[i];

		ss->mux.dead = ss->key.local_port == c[3]->port;
		of3 += ss->mux.dead;
	}
	cr_assert_eq(of3, 1);
	for (unsigned i = 0; i < 3; i++)
		conn_more(c[i], 4 << 20);
	run_for(r, 300);
	for (unsigned n = 0; n < 3; n++)
		cr_assert_neq(next_slot(r, n), 3);
	cr_assert_eq(next_slot(r, 3), 3, "its turn: it is replaced");
	cr_assert_eq(next_slot(r, 0), 3, "and has nothing to do");
	rig_end(r);
}
