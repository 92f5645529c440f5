/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "eal.h"
#include "kcp_wire.h"
#include "le.h"
#include "rig.h"

/* Memory that runs out: whoever holds most pays, and another session's, or tunnel's, traffic goes on. */

TestSuite(session_share, .init = eal_start);

#define PORT  20000 /* of the peers that this suite plays, upward */
#define BODY  1300
#define SMALL 110 /* sessions */

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

/* Segments [sn, sn + n) of a peer: without the first, sn 0, they wait for it and hold memory.  How many were refused
 * for want of it, their session with them. */
static unsigned segments(struct rig *r, uint16_t tunnel, uint16_t port, uint32_t sn, uint32_t n)
{
	uint8_t p[KCP_HEAD + BODY] = {0};
	unsigned refused = 0;

	le32_put(p, port);
	p[KCP_OFF_CMD] = KCP_PUSH;
	le16_put(p + KCP_OFF_WND, 128);
	le32_put(p + KCP_OFF_LEN, BODY);
	for (; n; n--, sn++) {
		le32_put(p + KCP_OFF_SN, sn);
		refused += rig_feed_to(r, tunnel, port, p, sizeof(p)) == DROP_NO_MEMORY;
	}
	return refused;
}

/* The server's session with the peer on that port; NULL: it has none (any more). */
static struct sess *sess_of(struct rig *r, uint16_t port)
{
	struct shard *s = r->side[SERVER].shard;

	for (unsigned i = 0; i < s->n_all; i++)
		if (s->all[i]->key.peer_port == port)
			return s->all[i];
	return NULL;
}

static struct rig *bed(unsigned tunnels, unsigned mb)
{
	struct rig_conf conf = rig_defaults();

	conf.tunnels = tunnels;
	conf.heap[SERVER] = (size_t)mb << 20;
	conf.sessions = 4000;
	conf.wnd = 4096;
	return rig_new(&conf);
}

static struct rig *bounded(size_t session_bytes, size_t memory)
{
	struct rig_conf conf = rig_defaults();

	conf.tunnels = 2;
	conf.heap[SERVER] = 32 << 20;
	conf.sessions = 4000;
	conf.wnd = 4096;
	conf.session_bytes = session_bytes;
	conf.memory[1] = memory;
	return rig_new(&conf);
}

static size_t used(const struct rig *r)
{
	return mem_used(r->side[SERVER].mem) - r->side[SERVER].mem_idle;
}

/* Peers that hold all they can get, and a connection that comes later. */
Test(session_share, greedy_sessions_leave_room)
{
	struct rig *r = bed(1, 16);
	struct conn *c;

	for (uint16_t i = 0; i < 3; i++)
		segments(r, 0, (uint16_t)(PORT + i), 1, 4000);
	printf("three greedy sessions hold %zu of %zu\n", used(r), mem_total(r->side[SERVER].mem));
	cr_assert_lt(used(r), mem_total(r->side[SERVER].mem));
	c = rig_connect(r, 0, 3000000, 3000000);
	cr_assert(rig_finish(r, 60000));
	conn_complete(c);
	cr_assert_eq(rig_other_drops(&r->side[SERVER], DROP_NO_MEMORY, 0), 0);
	rig_end(r);
}

/* Many that hold a little each have taken the rest: then the one that holds most goes, and no other. */
Test(session_share, who_holds_most_pays)
{
	struct rig *r = bed(1, rig_auto() ? 6 : 8); /* windows that set themselves begin small */
	struct conn *c;
	uint16_t n = 0;

	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 1000, 1000);
	run_for(r, 200);
	for (uint16_t i = 1; i <= SMALL; i++)
		segments(r, 0, (uint16_t)(PORT + i), 1, 1);
	segments(r, 0, PORT, 1, 4000);
	cr_assert(sess_of(r, PORT));
	while (sess_of(r, PORT) && ++n <= SMALL) {
		segments(r, 0, (uint16_t)(PORT + n), 2, 38);
		run_for(r, 2);
	}
	printf("after %u small sessions the greedy one is %s\n", n, sess_of(r, PORT) ? "there" : "gone");
	cr_assert_null(sess_of(r, PORT));
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_OVER_SHARE), 1);
	for (uint16_t i = 1; i <= SMALL; i++)
		cr_assert(sess_of(r, (uint16_t)(PORT + i)), "a small session paid");
	conn_more(c, 1000000);
	conn_more(c->peer, 1000000);
	conn_eof(c);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, 60000));
	conn_complete(c);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_OVER_SHARE), 1);
	cr_assert_eq(rig_other_drops(&r->side[SERVER], DROP_NO_MEMORY, DROP_OVER_SHARE), 0);
	rig_end(r);
}

/* Where nobody holds much more than those that lack memory, nobody is closed: they wait. */
Test(session_share, equals_do_not_pay)
{
	struct rig *r = bed(1, 8);
	uint64_t there;

	for (uint16_t i = 0; i < 80; i++)
		segments(r, 0, (uint16_t)(PORT + i), 1, 40);
	for (uint16_t i = 80; i < 120; i++)
		segments(r, 0, (uint16_t)(PORT + i), 1, 76);
	there = shard_stats(r->side[SERVER].shard)->sessions;
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_OVER_SHARE), 0);
	for (uint16_t i = 0; i < 80; i++) {
		segments(r, 0, (uint16_t)(PORT + i), 41, 5);
		run_for(r, 2);
	}
	printf("%lu sessions, %lu times no memory\n", there, rig_drops(&r->side[SERVER], DROP_NO_MEMORY));
	cr_assert_gt(rig_drops(&r->side[SERVER], DROP_NO_MEMORY), 50);
	cr_assert_gt(r->side[SERVER].shard->heavies, 0);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_OVER_SHARE), 0);
	cr_assert_eq(shard_stats(r->side[SERVER].shard)->sessions, there);
	rig_end(r);
}

/* A tunnel full of sessions, each of which holds little, takes nothing of another tunnel's share. */
Test(session_share, another_tunnels_share)
{
	struct rig *r = bed(2, 8);
	struct conn *c;
	uint64_t at = r->now;
	unsigned refused = 0;

	for (uint16_t i = 0; i < 2000; i++)
		refused += segments(r, 1, (uint16_t)(PORT + i), 1, 4);
	printf("the other tunnel: %lu sessions hold %zu of %zu\n", shard_stats(r->side[SERVER].shard)->sessions,
	       used(r), mem_total(r->side[SERVER].mem));
	cr_assert_gt(refused, 100, "no new sessions");
	/* Its share is a quarter of all, and half is nobody's. */
	cr_assert_leq(shard_tunnel_mem(r->side[SERVER].shard, 1),
		      3 * shard_tunnel_share(r->side[SERVER].shard, 1) / 16 * 15 + 8192, "for those that there are");
	for (uint16_t i = 0; i < 2000; i++)
		if (sess_of(r, (uint16_t)(PORT + i)))
			segments(r, 1, (uint16_t)(PORT + i), 5, 20);
	cr_assert_gt(rig_drops(&r->side[SERVER], DROP_NO_MEMORY), 100, "nor more for those");
	c = rig_connect(r, 0, 1000000, 1000000);
	cr_assert(rig_finish(r, 60000));
	conn_complete(c);
	cr_assert_lt(r->now - at, 25000, "the others are there still");
	cr_assert_gt(shard_stats(r->side[SERVER].shard)->sessions, 100);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_OVER_SHARE), 0);
	rig_end(r);
}

/* Five bytes that announce the largest chunk: the session holds little more than one that is idle. */
Test(session_share, announced_chunks_hold_nothing)
{
	static const uint8_t first[] = "\xff\x06\0\0sNaPpY";
	struct rig *r = bed(1, 32);
	uint8_t p[KCP_HEAD + 10] = {0};
	size_t idle;

	le32_put(p, 1);
	p[KCP_OFF_CMD] = KCP_PUSH;
	le16_put(p + KCP_OFF_WND, 128);
	le32_put(p + KCP_OFF_LEN, 10);
	memcpy(p + KCP_HEAD, first, 10);
	for (uint16_t i = 0; i < 1000; i++) {
		le32_put(p, i);
		rig_feed(r, SERVER, (uint16_t)(PORT + i), p, KCP_HEAD + 10);
	}
	cr_assert_eq(shard_stats(r->side[SERVER].shard)->sessions, 1000);
	idle = used(r);
	le32_put(p + KCP_OFF_SN, 1);
	le32_put(p + KCP_OFF_LEN, 5);
	le32_put(p + KCP_HEAD, 0x00 | 76494u << 8);
	for (uint16_t i = 0; i < 1000; i++) {
		le32_put(p, i);
		rig_feed(r, SERVER, (uint16_t)(PORT + i), p, KCP_HEAD + 5);
	}
	printf("1000 sessions: %zu bytes idle, %zu with an announced chunk each\n", idle, used(r));
	cr_assert_leq(used(r), idle + 1000 * 512);
	cr_assert_eq(rig_other_drops(&r->side[SERVER], 0, 0), 0);
	rig_end(r);
}

/* What a session may hold at most, however much there is; it goes on with that. */
Test(session_share, a_session_has_its_limit)
{
	struct rig *r = bounded(512 << 10, 0);
	struct rig_side *s = &r->side[SERVER];
	struct sess *ss;
	struct conn *c;

	for (uint16_t i = 0; i < 3; i++)
		segments(r, 1, (uint16_t)(PORT + i), 1, 4000);
	for (uint16_t i = 0; i < 3; i++) {
		ss = sess_of(r, (uint16_t)(PORT + i));
		cr_assert(ss, "nobody is closed for it");
		cr_expect_leq(ss->mem.used + ss->mem_in.used, 512 << 10);
		cr_expect_gt(ss->mem.used, 500 << 10);
	}
	cr_expect_gt(rig_drops(s, DROP_OVER_SHARE), 0);
	cr_expect_eq(rig_other_drops(s, DROP_OVER_SHARE, 0), 0);
	c = rig_connect(r, 0, 8000000, 8000000);
	cr_assert(rig_finish(r, 200000));
	conn_complete(c);
	cr_expect_eq(shard_stats(s->shard)->sessions, 4);
	rig_end(r);
}

static unsigned others_of(struct rig *r)
{
	unsigned n = 0;

	for (uint16_t i = 0; i < 200; i++)
		n += sess_of(r, (uint16_t)(PORT + 2000 + i)) != NULL;
	return n;
}

/* What a tunnel's may; its own pay for what they lack, and the other one's have what is left. */
Test(session_share, a_tunnel_has_its_limit)
{
	struct rig *r = bounded(0, 2 << 20);
	struct rig_side *s = &r->side[SERVER];
	unsigned others;
	struct conn *c;

	for (uint16_t i = 0; i < 200; i++)
		segments(r, 0, (uint16_t)(PORT + 2000 + i), 1, 400);
	run_for(r, 100);
	others = others_of(r);
	cr_assert_gt(shard_tunnel_mem(s->shard, 0), shard_tunnel_share(s->shard, 0), "beyond what is its own");
	for (uint16_t i = 0; i < 1500; i++)
		segments(r, 1, (uint16_t)(PORT + i), 1, 20);
	for (uint16_t i = 0; i < 1500; i++) {
		if (sess_of(r, (uint16_t)(PORT + i)))
			segments(r, 1, (uint16_t)(PORT + i), 21, 4000);
		run_for(r, 1);
	}
	cr_expect_leq(shard_tunnel_mem(s->shard, 1), 2 << 20);
	cr_expect_gt(shard_tunnel_mem(s->shard, 1), 2 * 900 << 10);
	cr_expect_eq(shard_tunnel_share(s->shard, 1), 2 << 20);
	cr_expect_eq(others_of(r), others, "the other tunnel's do not pay");
	cr_expect_gt(rig_drops(s, DROP_NO_MEMORY), 0);
	c = rig_connect(r, 0, 3000000, 3000000);
	cr_assert(rig_finish(r, 60000));
	conn_complete(c);
	rig_end(r);
}
