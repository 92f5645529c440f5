/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "eal.h"
#include "rig.h"
#include "seeds.h"

/*
 * A path that takes less than the tunnel's mtu makes, from the middle of a transfer on: with a router that says so and
 * without, of both families, with and without FEC, in every smux, with both congestion controls.  Every byte arrives,
 * and what the session then sends fits.
 */

TestSuite(session_mtu, .init = eal_start);

#define BYTES (1 << 20)

static struct sess *sess_of(struct rig *r, enum rig_end end)
{
	return r->side[end].shard->all[0];
}

/* What differs from run to run. */
struct kind {
	bool told, v6, fec, stock;
	uint8_t smux;
	unsigned mtu;
	uint32_t loss; /* per mille */
	uint64_t seed;
};

static struct rig *rig_of(const struct kind *k)
{
	struct rig_conf c = rig_defaults();

	c.smux = k->smux;
	c.v6 = k->v6;
	c.ds = k->fec ? 10 : 0;
	c.ps = k->fec ? 3 : 0;
	c.congestion = k->stock ? KCP_CONGESTION_STOCK : KCP_CONGESTION_AUTO;
	c.fine = !k->stock;
	c.link.loss = k->loss;
	c.seed = k->seed;
	return rig_new(&c);
}

static void narrow(struct rig *r, unsigned mtu, bool told)
{
	for (int e = 0; e < 2; e++) {
		r->path[e].mtu = mtu;
		r->path[e].told = told;
	}
}

static bool half_way(void *arg)
{
	const struct conn *c = arg;

	return c->got > BYTES / 2 && c->peer && c->peer->got > BYTES / 2;
}

/* The size that both ends have settled on: what the path takes, and of what is found by probes nearly that. */
static void fits(const struct kind *k, struct rig *r)
{
	for (int e = 0; e < 2; e++) {
		const struct pmtu *p = &sess_of(r, (enum rig_end)e)->pmtu;

		cr_expect_leq(p->now, k->mtu, "end %d: %u", e, p->now);
		cr_expect_eq(p->how, k->told ? SHARD_PMTU_ICMP : SHARD_PMTU_LOSS, "end %d: %s", e,
			     shard_pmtu_name(p->how));
		if (k->told)
			cr_expect_eq(p->now, k->mtu, "end %d: %u", e, p->now);
		else
			cr_expect_geq(p->now + 16, k->mtu, "end %d: %u", e, p->now);
		cr_expect_gt(r->path[e].big, 0);
	}
}

/* Both directions have something to send all the while. */
static void busy(struct rig *r, struct conn *c, unsigned seconds)
{
	for (unsigned i = 0; i < 4 * seconds; i++) {
		conn_more(c, 20000);
		conn_more(c->peer, 20000);
		rig_run(r, r->now + 250, NULL, NULL);
	}
}

static void run(const struct kind *k)
{
	struct rig *r = rig_of(k);
	struct conn *c;

	r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, BYTES, BYTES);
	c->hold_eof = true;
	cr_assert(rig_run(r, RIG_START + 120000, half_way, c), "seed %llu", (unsigned long long)k->seed);
	cr_assert_eq(r->path[0].big + r->path[1].big, 0);
	narrow(r, k->mtu, k->told);
	conn_more(c, BYTES);
	conn_more(c->peer, BYTES);
	busy(r, c, 60);
	fits(k, r);
	printf("%s%s%s%s smux %u, to %u, seed %llu: %u and %u packets lost to the size, %u and %u in fragments\n",
	       k->told ? "told, " : "not told, ", k->v6 ? "v6" : "v4", k->fec ? ", FEC" : "", k->stock ? ", stock" : "",
	       k->smux, k->mtu, (unsigned long long)k->seed, r->path[0].big, r->path[1].big, r->path[0].frags,
	       r->path[1].frags);
	conn_eof(c);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, r->now + 120000));
	conn_complete(c);
	rig_end(r);
}

static void all_kinds(bool told, unsigned mtu)
{
	for (unsigned i = 0; i < 16; i++) {
		struct kind k = {.told = told,
				 .v6 = i & 1,
				 .fec = i >> 1 & 1,
				 .stock = i >> 2 & 1,
				 .smux = (uint8_t)(1 + (i >> 3 & 1)),
				 .mtu = mtu,
				 .seed = 1 + i};

		run(&k);
	}
}

Test(session_mtu, router_tells)
{
	all_kinds(true, 1280);
}

Test(session_mtu, nobody_tells)
{
	all_kinds(false, 1280);
}

/* ---- what changes nothing ---- */

/* An outage is not a small path: the size is the old one again as soon as anything gets through. */
static void outage(bool stock, bool fec)
{
	struct kind k = {.stock = stock, .fec = fec, .smux = 2, .seed = 3};
	struct rig *r = rig_of(&k);
	struct conn *c;
	uint16_t full;

	r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, BYTES, 0);
	c->hold_eof = true;
	rig_run(r, RIG_START + 300, NULL, NULL);
	full = sess_of(r, CLIENT)->pmtu.want;
	for (unsigned i = 0; i < 3; i++) {
		conn_more(c, BYTES);
		r->cut[0] = r->cut[1] = true;
		rig_run(r, r->now + 4000, NULL, NULL);
		cr_expect_lt(sess_of(r, CLIENT)->pmtu.now, full, "nothing says yet that it is not the size");
		r->cut[0] = r->cut[1] = false;
		busy(r, c, 3);
		cr_expect_eq(sess_of(r, CLIENT)->pmtu.now, full, "%s: %u", stock ? "stock" : "auto",
			     sess_of(r, CLIENT)->pmtu.now);
		cr_expect_eq(sess_of(r, CLIENT)->pmtu.how, SHARD_PMTU_CONFIGURED);
	}
	cr_expect_eq(rig_notes(&r->side[CLIENT], NOTE_MTU, NULL), 0, "and nothing is said of it");
	conn_eof(c);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, r->now + 240000));
	conn_complete(c);
	rig_end(r);
}

Test(session_mtu, outage)
{
	for (unsigned i = 0; i < 4; i++)
		outage(i & 1, i & 2);
}

/* Loss that knows no size: the size stays, or comes back at once. */
Test(session_mtu, loss_of_any_size)
{
	const unsigned seeds = SEEDS_OF(24, 8);
	unsigned lowered = 0;

	for (unsigned i = 0; i < seeds; i++) {
		struct kind k = {.stock = i & 1, .fec = i & 2, .smux = 2, .seed = 100 + i, .loss = 20u << (i % 4)};
		struct rig *r = rig_of(&k);
		struct conn *c = rig_connect(r, 0, BYTES, BYTES);

		cr_assert(rig_finish(r, RIG_START + 600000));
		conn_complete(c);
		for (int e = 0; e < 2; e++)
			lowered += rig_notes(&r->side[e], NOTE_MTU, NULL);
		rig_end(r);
	}
	cr_expect_eq(lowered, 0, "%u of %u", lowered, 2 * seeds);
}

/* What anybody can send who knows the flow, but has not seen a packet of it. */
Test(session_mtu, spoofed)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct kind k = {.v6 = v6, .smux = 2, .seed = 9};
		struct rig *r = rig_of(&k);
		struct conn *c = rig_connect(r, 0, BYTES, BYTES);
		struct rig_side *s = &r->side[CLIENT];
		const uint32_t bits = v6 ? NET_MARK_V6 : NET_MARK_V4, least = v6 ? 1280 : 68;
		struct sess *ss;
		uint16_t full;

		rig_run(r, RIG_START + 200, NULL, NULL);
		ss = sess_of(r, CLIENT);
		full = ss->pmtu.want;
		for (uint32_t i = 1; i <= bits; i += v6 ? 13 : 1)
			cr_assert_eq(rig_too_big(s, ss, 1290, full, (ss->pmtu.mark & bits) ^ i), DROP_ICMP_QUOTE);
		cr_assert_eq(rig_too_big(s, ss, 1290, (uint16_t)(full + 1), ss->pmtu.mark), DROP_ICMP_QUOTE);
		cr_assert_eq(rig_too_big(s, ss, full, full, ss->pmtu.mark), DROP_ICMP_MTU);
		cr_assert_eq(rig_too_big(s, ss, 9000, full, ss->pmtu.mark), DROP_ICMP_MTU);
		for (uint32_t mtu = v6 ? 0 : 1; mtu < least; mtu++)
			cr_assert_eq(rig_too_big(s, ss, mtu, full, ss->pmtu.mark), DROP_ICMP_MTU);
		cr_assert_eq(ss->pmtu.now, full);
		cr_assert_eq(ss->pmtu.how, SHARD_PMTU_CONFIGURED);
		cr_assert_eq(rig_notes(s, NOTE_MTU, NULL), 0);
		cr_assert(rig_finish(r, r->now + 120000));
		conn_complete(c);
		rig_end(r);
	}
}

/* ---- how low, and up again ---- */

/* A router of before RFC 1191 tells no size; one that tells little is believed down to what every host takes. */
Test(session_mtu, least)
{
	struct kind k = {.smux = 2, .seed = 1};
	struct rig *r = rig_of(&k);
	struct conn *c = rig_connect(r, 0, BYTES, 0);
	struct rig_side *s = &r->side[CLIENT];
	struct sess *ss;

	rig_run(r, RIG_START + 100, NULL, NULL);
	ss = sess_of(r, CLIENT);
	cr_assert_eq(rig_too_big(s, ss, 0, ss->pmtu.want, ss->pmtu.mark), VERDICT_BIG);
	cr_expect_eq(ss->pmtu.now, 1006, "%u", ss->pmtu.now);
	cr_assert_eq(rig_too_big(s, ss, 1200, ss->pmtu.want, ss->pmtu.mark), VERDICT_BIG);
	cr_expect_eq(ss->pmtu.now, 1006, "never raised");
	cr_assert_eq(rig_too_big(s, ss, 300, ss->pmtu.want, ss->pmtu.mark), VERDICT_BIG);
	cr_expect_eq(ss->pmtu.now, 576, "%u", ss->pmtu.now);
	cr_expect(pmtu_is_least(ss));
	cr_assert(rig_finish(r, r->now + 120000));
	conn_complete(c);
	rig_end(r);
}

/* Without a word: between 576 and what is configured, found to 16 bytes; of IPv6 nothing below 1280 is looked for. */
Test(session_mtu, any_size)
{
	for (unsigned i = 0; i < SEEDS_OF(24u, 8u); i++) {
		struct kind k = {.fec = i & 1, .stock = i & 2, .v6 = i % 3 == 2, .smux = 2, .seed = 50 + i};

		k.mtu = (k.v6 ? 1280 : 600) + (i * 7919) % (k.v6 ? 100 : 760);
		run(&k);
	}
}

static bool is_full(void *arg)
{
	const struct rig *r = arg;

	return r->side[CLIENT].shard->all[0]->pmtu.now == r->side[CLIENT].shard->all[0]->pmtu.want;
}

/* The path is wide again: ten minutes after it was narrow, larger sizes are tried, and while it is not, they hurt
 * nobody. */
static void raised(bool told, bool fec, bool stock)
{
	struct kind k = {.told = told, .fec = fec, .stock = stock, .smux = 2, .mtu = 1280, .seed = 21};
	struct rig *r = rig_of(&k);
	struct conn *c;
	uint64_t from;
	unsigned big;

	r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, BYTES, 0);
	c->hold_eof = true;
	rig_run(r, RIG_START + 200, NULL, NULL);
	narrow(r, k.mtu, told);
	conn_more(c, BYTES);
	busy(r, c, 30);
	cr_assert_leq(sess_of(r, CLIENT)->pmtu.now, 1280);
	from = r->now;
	for (unsigned i = 0; i < 65 * 10; i++) { /* something to send all the time */
		conn_more(c, 5000);
		rig_run(r, r->now + 1000, NULL, NULL);
		if (i == 0)
			big = r->path[CLIENT].big;
	}
	cr_expect_gt(r->path[CLIENT].big, big, "tried");
	cr_expect_leq(r->path[CLIENT].big, big + 12, "%u", r->path[CLIENT].big - big);
	cr_expect_leq(sess_of(r, CLIENT)->pmtu.now, 1280);
	narrow(r, 0, false);
	for (unsigned i = 0; i < 61 * 10 && !is_full(r); i++) {
		conn_more(c, 5000);
		rig_run(r, r->now + 1000, NULL, NULL);
	}
	cr_expect(is_full(r), "%u", sess_of(r, CLIENT)->pmtu.now);
	cr_expect_eq(sess_of(r, CLIENT)->pmtu.how, SHARD_PMTU_CONFIGURED);
	cr_expect_geq(r->now - from, 600000);
	conn_eof(c);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, r->now + 120000));
	conn_complete(c);
	rig_end(r);
}

Test(session_mtu, raised, .timeout = 300)
{
	for (unsigned i = 0; i < 8; i++)
		raised(i & 1, i & 2, i & 4);
}

/* Our own interface: lowered, raised, at once, with a word each time that it is too small. */
Test(session_mtu, interface)
{
	struct kind k = {.fec = true, .smux = 2, .seed = 4};
	struct rig *r = rig_of(&k);
	struct conn *c = rig_connect(r, 0, 2 * BYTES, 0);
	struct note n;
	struct sess *ss;

	rig_run(r, RIG_START + 200, NULL, NULL);
	ss = sess_of(r, CLIENT);
	pmtu_link(ss, 1280, r->now);
	cr_expect_eq(ss->pmtu.now, 1280);
	cr_expect_eq(ss->pmtu.kcp, 1280 - 28 - FEC_HEAD);
	cr_expect_eq(pmtu_payload(ss), 1252);
	cr_expect_eq(rig_notes(&r->side[CLIENT], NOTE_MTU, &n), 1);
	cr_expect(n.arg == (1378u << 16 | 1280) && n.arg2 == NOTE_MTU_INTERFACE);
	rig_run(r, r->now + 500, NULL, NULL);
	cr_expect_eq(r->path[CLIENT].wrong, 0);
	pmtu_link(ss, 1500, r->now);
	cr_expect_eq(ss->pmtu.now, 1378);
	cr_expect_eq(ss->pmtu.how, SHARD_PMTU_CONFIGURED);
	pmtu_link(ss, 1300, r->now);
	cr_expect_eq(ss->pmtu.now, 1300);
	cr_assert_eq(rig_too_big(&r->side[CLIENT], ss, 1290, 1300, ss->pmtu.mark), VERDICT_BIG);
	pmtu_link(ss, 1500, r->now);
	cr_expect_eq(ss->pmtu.now, 1290, "what a router has said stands");
	cr_assert(rig_finish(r, r->now + 120000));
	conn_complete(c);
	cr_expect_eq(r->path[CLIENT].wrong, 0);
	rig_end(r);
}
