/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "eal.h"
#include "kcp_wire.h"
#include "rig.h"

/* A client whose server has become silent, or has forgotten it: new connections do not wait for it, and nobody dials
 * for ever. */

TestSuite(session_silent, .init = eal_start);

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

/* Of a stock server, which answers no questions, or a kcpgate's. */
static struct rig *standing(bool stock, struct conn **c)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.hello[SERVER] = !stock;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	*c = rig_connect(r, 0, 5000, 5000);
	run_for(r, 2000);
	cr_assert_eq((*c)->got, 5000);
	cr_assert_eq(r->side[CLIENT].wants, 1);
	return r;
}

static void cut(struct rig *r, bool on)
{
	r->cut[CLIENT] = r->cut[SERVER] = on;
}

static bool has_all(void *arg)
{
	const struct conn *c = arg;

	return c->peer && c->got == c->reply && c->peer->got == c->to_send;
}

/* Both go on when the silence ends, with every byte; the one that was left ends when it carries nothing. */
Test(session_silent, both_go_on)
{
	for (unsigned stock = 0; stock < 2; stock++) {
		struct conn *old, *new;
		struct rig *r = standing(stock, &old);

		cut(r, true);
		conn_more(old, 100000);
		run_for(r, 2900);
		new = rig_connect(r, 0, 3000, 3000);
		run_for(r, 100);
		cr_assert_eq(r->side[CLIENT].wants, 2, "it waits for the old one");
		cr_assert_eq(r->side[CLIENT].keeps, 1);
		cr_assert_eq(shard_stats(r->side[CLIENT].shard)->sessions, 2);
		run_for(r, 1000);
		cut(r, false);
		cr_assert(rig_run(r, r->now + 20000, has_all, new));
		cr_assert(rig_run(r, r->now + 20000, has_all, old), "%lu bytes", old->peer->got);
		conn_eof(old);
		conn_eof(old->peer);
		run_for(r, 40000);
		conn_complete(old);
		cr_assert_eq(shard_stats(r->side[CLIENT].shard)->sessions, 1, "the one that was left has ended");
		cr_assert_not(new->closed);
		rig_end(r);
	}
}

/* One with nothing on its way is not silent, however long ago it was heard; nor is one that answers late. */
Test(session_silent, quiet_is_not_silent)
{
	struct conn *c;
	struct rig *r = standing(true, &c);

	for (unsigned i = 0; i < 60; i++) {
		run_for(r, 2700);
		rig_connect(r, 0, 10, 10);
		rig_connect(r, 0, 10, 10);
		run_for(r, 10);
	}
	cr_assert_eq(r->side[CLIENT].wants, 1);
	rig_end(r);
}

/* Somebody connects ten times a second for five minutes, and the server is gone. */
Test(session_silent, no_storm)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;
	unsigned wants;
	uint64_t most = 0;

	conf.hello[SERVER] = false;
	conf.chans = 4096;
	conf.sessions = 32;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 5000, 5000);
	run_for(r, 2000);
	cr_assert_eq(c->got, 5000);
	cut(r, true);
	conn_more(c, 1000);
	for (unsigned i = 0; i < 3000; i++) {
		if (r->side[CLIENT].live < 1000)
			rig_connect(r, 0, 100, 100);
		run_for(r, 100);
		if (shard_stats(r->side[CLIENT].shard)->sessions > most)
			most = shard_stats(r->side[CLIENT].shard)->sessions;
	}
	wants = r->side[CLIENT].wants;
	printf("%u dials in five minutes, %lu sessions at most\n", wants, most);
	cr_assert_leq(wants, 16);
	cr_assert_leq(most, 8);
	rig_end(r);
}

/* ---- a stock server's new session of the same conversation ---- */

static unsigned zombie_says(struct rig *r, uint32_t una)
{
	const struct sess *ss = r->side[CLIENT].shard->all[0];
	uint8_t p[KCP_HEAD];

	kcp_head_put(p, &(struct kcp_head){.conv = ss->conv,
					   .cmd = KCP_ACK,
					   .wnd = 128,
					   .ts = (uint32_t)r->now - 40,
					   .sn = ss->kcp.snd_una,
					   .una = una});
	return rig_feed(r, CLIENT, ss->key.local_port, p, sizeof(p));
}

/* It has nothing in order, and says so again and again: the session is over, and the next connection is served. */
Test(session_silent, forgotten_by_stock)
{
	struct conn *c, *d;
	struct rig *r = standing(true, &c);
	uint64_t at = r->now;

	conn_more(c, 100);
	while (!c->closed && r->now < at + 5000) {
		r->cut[CLIENT] = r->cut[SERVER] = true;
		zombie_says(r, 0);
		run_for(r, 50);
	}
	cr_assert(c->closed && c->aborted, "it still waits");
	cr_assert_leq(r->now - at, 1200);
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_FORGOTTEN), 1);
	cut(r, false);
	d = rig_connect(r, 0, 100, 100);
	cr_assert(rig_run(r, r->now + 5000, has_all, d));
	rig_end(r);
}

/* It has acknowledged all that there is, and says no more: it is asked for a word, and that decides. */
Test(session_silent, forgotten_and_mute)
{
	for (unsigned known = 0; known < 2; known++) {
		struct conn *c;
		struct rig *r = standing(true, &c);
		uint64_t sent = r->side[CLIENT].dgrams;

		cut(r, true);
		zombie_says(r, 0);
		run_for(r, 1100);
		cr_assert_gt(r->side[CLIENT].dgrams, sent, "nothing was asked");
		zombie_says(r, known ? r->side[CLIENT].shard->all[0]->kcp.snd_una : 0);
		run_for(r, 100);
		cr_assert_eq(c->closed, !known);
		cut(r, false);
		rig_end(r);
	}
}

/* Old datagrams among others are just that; and a server that answers questions is asked. */
Test(session_silent, old_ones_say_nothing)
{
	for (unsigned stock = 0; stock < 2; stock++) {
		struct conn *c;
		struct rig *r = standing(stock, &c);

		for (unsigned i = 0; i < 200; i++) {
			if (stock && i % 8 == 7)
				zombie_says(r, r->side[CLIENT].shard->all[0]->kcp.snd_una);
			zombie_says(r, 0);
			run_for(r, 50);
		}
		cr_assert_not(c->closed);
		cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_FORGOTTEN), 0);
		rig_end(r);
	}
}
