/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eal.h"
#include "kcp_state.h"
#include "rig.h"
#include "seeds.h"

/*
 * Sessions that have lived long: each counter that wraps, or changes its sign, does so within one transfer.  Sequence
 * numbers, the clock of 49.7 days and of 71 minutes, seqids of FEC, windows of smux and positions in rings at 4 GiB of
 * one stream, all at once, in both directions, so that either end is sender and receiver of each.
 */

TestSuite(session_wrap, .init = eal_start);

#define BYTES  (3u << 20)
#define BEFORE 50000	    /* bytes that a stream carries before its counters are moved */
#define SEGS   300	    /* and so many segments, */
#define NEAR   (300u << 10) /* bytes, */
#define MS     60	    /* ms and */
#define GROUPS 5	    /* groups of packets before the edge it goes on */
#define LEAD   6000	    /* ms before the edge it begins */
#define SEEDS  SEEDS_OF(3, 1)

static struct sess *sess_of(struct rig *r, enum rig_end e)
{
	cr_assert_eq(r->side[e].shard->n_all, 1);
	return r->side[e].shard->all[0];
}

/* ---- each layer's counters, moved on while it is at rest ---- */

static void check_rest(const struct kcp *k)
{
	cr_assert_eq(k->snd_una, k->snd_end);
	cr_assert_eq(k->rcv_nxt, k->rcv_top);
	cr_assert_eq(k->rcv_ordered + k->rcv_stored, 0);
	cr_assert_eq(k->acks.n, 0);
}

static void move_model(struct kcp_model *m, uint32_t bytes)
{
	uint32_t *const had[] = {&m->delivered, &m->limited_until, &m->round_end, &m->round_had, &m->early_had,
				 &m->brake_had, &m->seen,	   &m->epoch_had, &m->best.had};

	for (size_t i = 0; i < sizeof(had) / sizeof(had[0]); i++)
		*had[i] += bytes;
}

/* One direction of KCP: the sender's numbers and the receiver's. */
static void move_kcp(struct kcp *s, struct kcp *to, uint32_t edge)
{
	uint32_t by = edge - SEGS - s->snd_una;

	check_rest(s);
	cr_assert_eq(s->snd_una, to->rcv_nxt);
	s->snd_una += by;
	s->snd_sent = s->snd_nxt = s->snd_end = s->fast = s->plain = s->m.hole = s->snd_una;
	s->m.flush_from += by;
	for (unsigned i = 0; i < KCP_RESEND_MAX; i++)
		s->marks[i] += by;
	to->rcv_nxt = to->rcv_top = s->snd_una;
	if (to->told)
		to->told->n = 0;
	move_model(&s->m, edge - NEAR - s->m.delivered);
}

static void move_ring(struct chan_ring *ring, uint64_t to)
{
	cr_assert_eq(atomic_load(&ring->head), atomic_load(&ring->tail));
	cr_assert(!ring->wchunk, "a chunk is held");
	atomic_store(&ring->head, to);
	atomic_store(&ring->tail, to);
	atomic_store(&ring->restart, to - 1);
}

/* A stream's end: what it has sent, and what it has taken. */
static void move_stream(struct conn *c, uint32_t edge)
{
	struct stream *st = c->chan->worker;
	struct mux_stream *ms = st->ms;
	uint32_t at = edge - NEAR, peer = ms->sent - ms->peer_consumed, told = ms->taken - ms->told;

	cr_assert_eq(st->announced, (uint32_t)atomic_load(&c->chan->up.tail));
	cr_assert_eq(st->taken, (uint32_t)atomic_load(&c->chan->down.head));
	move_ring(&c->chan->up, (3ull << 32) + at);
	move_ring(&c->chan->down, (3ull << 32) + at);
	st->announced = st->taken = at;
	ms->sent = ms->taken = at;
	ms->peer_consumed = at - peer;
	ms->told = at - told;
}

/* Of an encoder that no decoder has heard yet. */
static void move_fec(struct fec_enc *e)
{
	uint32_t size = fec_codec_ds(e->codec) + fec_codec_ps(e->codec);

	e->next = e->paws - GROUPS * size + e->next % size;
}

/* ---- a transfer over all the edges ---- */

static bool rests(const struct kcp *k)
{
	return k->snd_una == k->snd_end && !k->rcv_ordered && !k->rcv_stored && !k->acks.n;
}

static bool quiet(void *arg)
{
	struct rig *r = arg;

	for (unsigned e = 0; e < 2; e++) {
		const struct rig_side *s = &r->side[e];

		if (s->n_conn != 1 || !s->conn[0]->up || s->conn[0]->got != BEFORE || !rests(&sess_of(r, e)->kcp) ||
		    chan_used(&s->conn[0]->chan->up))
			return false;
	}
	return true;
}

static bool server_encodes(void *arg)
{
	struct rig *r = arg;

	return r->side[SERVER].shard->n_all && sess_of(r, SERVER)->enc.codec;
}

/* A stream each way, of which BEFORE bytes have gone; FEC is at its edge from its first packet on that arrives. */
static struct rig *begin(const struct rig_conf *conf, uint64_t edge)
{
	struct rig *r = rig_new(conf);

	rig_at(r, edge - LEAD);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	r->cut[CLIENT] = r->cut[SERVER] = conf->ds;
	rig_connect(r, 0, BEFORE, BEFORE);
	if (conf->ds) {
		rig_run(r, r->now + 30, NULL, NULL);
		move_fec(&sess_of(r, CLIENT)->enc);
		r->cut[CLIENT] = false;
		/* Who loses nothing sends no parity: its encoder may come later, and begins with 0. */
		if (rig_run(r, r->now + 1000, server_encodes, r))
			move_fec(&sess_of(r, SERVER)->enc);
		r->cut[SERVER] = false;
	}
	cr_assert(rig_run(r, edge - MS, quiet, r), "not at rest");
	rig_run(r, edge - MS, NULL, NULL);
	return r;
}

static void move_all(struct rig *r, uint32_t edge)
{
	struct kcp *k[2] = {&sess_of(r, CLIENT)->kcp, &sess_of(r, SERVER)->kcp};

	for (unsigned e = 0; e < 2; e++) {
		move_kcp(k[e], k[!e], edge);
		move_stream(r->side[e].conn[0], edge);
	}
}

static void check_moved(struct rig *r, uint64_t edge)
{
	for (unsigned e = 0; e < 2; e++) {
		const struct sess *ss = sess_of(r, e);

		cr_assert_lt(ss->kcp.snd_una - (uint32_t)edge, 1u << 20, "%x", ss->kcp.snd_una);
		cr_assert_lt(ss->kcp.rcv_nxt - (uint32_t)edge, 1u << 20);
		if (ss->tun->kcp.congestion == KCP_CONGESTION_AUTO)
			cr_assert_lt(ss->kcp.m.delivered - (uint32_t)edge, 16u << 20);
		if (ss->enc.codec)
			cr_assert_lt(ss->enc.next, 1u << 20, "FEC has not come round: %x", ss->enc.next);
	}
	cr_assert_gt(r->now, edge);
}

static uint64_t transfer(const struct rig_conf *conf, uint64_t edge)
{
	struct rig *r = begin(conf, edge);
	struct conn *c = r->side[CLIENT].conn[0];
	uint64_t ms;

	move_all(r, (uint32_t)edge);
	conn_more(c, BYTES);
	conn_more(c->peer, BYTES);
	conn_eof(c);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, 600000), "edge %lx: %lu up, %lu down", edge, c->peer->got, c->got);
	ms = r->now - (edge - MS);
	conn_complete(c);
	check_moved(r, edge);
	cr_assert_eq(rig_other_drops(&r->side[CLIENT], 0, 0), 0);
	cr_assert_eq(rig_other_drops(&r->side[SERVER], conf->ds ? DROP_PARITY_ALONE : 0, 0), 0);
	rig_end(r);
	return ms;
}

/* As long as far from any edge, or nearly: no timer is off by a lap, and nothing waits for a time that has gone by. */
static void over(uint8_t smux, unsigned ds, unsigned congestion)
{
	static const uint64_t edges[] = {1ull << 32, 1ull << 31, 0x41000000};

	for (unsigned loss = 0; loss <= 50; loss += 50) {
		uint64_t ms[3] = {0};

		for (unsigned i = 0; i < 3; i++)
			for (uint64_t seed = 1; seed <= SEEDS; seed++) {
				struct rig_conf c = rig_defaults();

				c.smux = smux;
				c.ds = ds;
				c.ps = ds ? 3 : 0;
				c.nocomp = true;
				c.congestion = (uint8_t)congestion;
				c.fine = congestion == KCP_CONGESTION_AUTO;
				c.seed = seed;
				c.link = (struct sim_conf){.delay_us = 20000, .loss = loss};
				c.link.dup = c.link.reorder = loss / 2;
				c.link.jitter_us = loss ? 4000 : 0;
				ms[i] += transfer(&c, edges[i]);
			}
		printf("smux %u FEC %u congestion %u loss %u: %lu, %lu; far from edges %lu ms\n", smux, ds, congestion,
		       loss, ms[0] / SEEDS, ms[1] / SEEDS, ms[2] / SEEDS);
		for (unsigned i = 0; i < 2; i++)
			cr_assert_lt(ms[i], ms[2] * 3 / 2);
	}
}

Test(session_wrap, stock)
{
	over(1, 0, KCP_CONGESTION_STOCK);
	over(2, 0, KCP_CONGESTION_STOCK);
}

Test(session_wrap, stock_fec)
{
	over(2, 10, KCP_CONGESTION_STOCK);
}

Test(session_wrap, autos)
{
	over(1, 0, KCP_CONGESTION_AUTO);
	over(2, 0, KCP_CONGESTION_AUTO);
}

Test(session_wrap, autos_fec)
{
	over(2, 10, KCP_CONGESTION_AUTO);
}
