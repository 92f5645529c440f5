/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "eal.h"
#include "fec_wire.h"
#include "rig.h"
#include "stock_fec.h"

/*
 * How much parity is sent (congestion auto): as much as the path needs, of a code whose shape stays.  A path of 20
 * Mbit/s with 50 ms there and back takes 93 datagrams.
 */

TestSuite(session_parity, .init = eal_start);

#define DS	10
#define PS	3
#define RATE	20000000 /* bits/s */
#define DELAY	25000	 /* us */
#define LONG	400000	 /* bytes: a queue that all windows fit in */
#define SHORT	60000	 /* one that overflows */
#define LOTS	(UINT64_C(1) << 40)
#define THIN_MS 50
#define THIN	200 /* bytes */
#define WARM_MS 10000
#define LOOK_MS 5000

struct bed {
	struct rig *r;
	struct rig_side *s;
	struct conn *bulk, *thin;
};

static struct bed bed(uint32_t wnd, uint32_t loss, uint64_t queue, bool bulk)
{
	struct rig_conf conf = rig_defaults();
	struct bed b;

	conf.congestion = KCP_CONGESTION_AUTO;
	conf.fine = true;
	conf.nocomp = true;
	conf.ds = DS;
	conf.ps = PS;
	conf.wnd = wnd;
	conf.link = (struct sim_conf){.delay_us = DELAY, .rate_bps = RATE, .queue = queue, .loss = loss};
	b.r = rig_new(&conf);
	b.s = &b.r->side[CLIENT];
	b.r->side[CLIENT].hold_new = b.r->side[SERVER].hold_new = true;
	b.bulk = rig_connect(b.r, 0, bulk ? LOTS : 1000, 0);
	b.thin = rig_connect(b.r, 0, THIN, 0);
	return b;
}

/* For `ms`, with a few bytes each THIN_MS on the other stream, or not. */
static void run_for(struct bed *b, uint64_t ms, bool thin)
{
	for (uint64_t i = 0; i < ms / THIN_MS; i++) {
		if (thin)
			conn_more(b->thin, THIN);
		rig_run(b->r, b->r->now + THIN_MS, NULL, NULL);
	}
}

/* Parity packets for each of data, in the next LOOK_MS. */
static double parity(struct bed *b, bool thin)
{
	uint64_t p = b->s->parity, d = b->s->dgrams - p;

	run_for(b, LOOK_MS, thin);
	d = b->s->dgrams - b->s->parity - d;
	p = b->s->parity - p;
	printf("%lu parity for %lu of data, lost %lu, overflow %lu\n", p, d, sim_link_stats(b->s->out)->lost,
	       sim_link_stats(b->s->out)->overflow);
	return (double)p / (double)d;
}

#define FULL ((double)PS / DS)

/* A clean path is paid for with nothing, whatever goes over it; as one does that makes its queue overflow itself. */
Test(session_parity, none_on_a_clean_path)
{
	static const struct {
		uint32_t wnd;
		uint64_t queue;
		bool thin;
	} v[] = {{1024, LONG, false}, {1024, LONG, true},   {64, LONG, false},
		 {64, LONG, true},    {1024, SHORT, false}, {1024, SHORT, true}};

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct bed b = bed(v[i].wnd, 0, v[i].queue, true);
		double p;

		run_for(&b, WARM_MS, v[i].thin);
		p = parity(&b, v[i].thin);
		cr_expect_leq(p, 0.01, "%u: %f", i, p);
		rig_end(b.r);
	}
}

/* Where somebody waits for each of a few bytes, beside bulk, all of it is sent as long as the path loses; at one in a
 * hundred it is long enough between two losses to try with less. */
Test(session_parity, all_beside_a_thin_stream)
{
	static const uint32_t losses[] = {10, 50, 100};
	static const double least[] = {FULL / 2, FULL * 0.9, FULL * 0.9};

	for (unsigned i = 0; i < 3; i++) {
		struct bed b = bed(1024, losses[i], LONG, true);
		double p;

		run_for(&b, WARM_MS, true);
		p = parity(&b, true);
		cr_expect_geq(p, least[i], "%u in a thousand lost: %f", losses[i], p);
		rig_end(b.r);
	}
}

/* Where windows are so narrow that each hole stops everything, most is sent; where they are wide, less. */
Test(session_parity, all_where_holes_block)
{
	struct bed b = bed(64, 50, LONG, true);
	double p;

	run_for(&b, WARM_MS, false);
	p = parity(&b, false);
	cr_expect_geq(p, FULL * 0.6, "%f", p);
	rig_end(b.r);
	b = bed(4096, 20, LONG, true);
	run_for(&b, WARM_MS, false);
	p = parity(&b, false);
	cr_expect_leq(p, FULL / 2, "%f", p);
	rig_end(b.r);
}

/* Who sends little has all of it, whatever the path; at once where there was bulk before. */
Test(session_parity, all_for_little)
{
	struct bed b = bed(1024, 0, LONG, false);
	double p;

	run_for(&b, WARM_MS, true);
	p = parity(&b, true);
	cr_expect_geq(p, FULL * 0.9, "%f", p);
	conn_more(b.bulk, 20 << 20);
	run_for(&b, 5000, true);
	cr_assert_eq(b.s->shard->all[0]->parity.send, 0);
	run_for(&b, 15000, true);
	cr_assert_eq(b.bulk->peer->got, b.bulk->to_send);
	p = parity(&b, true);
	cr_expect_geq(p, FULL * 0.9, "%f", p);
	rig_end(b.r);
}

/* ---- what a stock decoder makes of it ---- */

#define GROUP  (DS + PS)
#define GROUPS 8 /* remembered */
#define BODY   1500

/* Between the sender and its link: looks at every packet, and gives a stock decoder most of them. */
struct tap {
	struct rig *r;
	struct sf sf;
	struct sim_rng g;
	uint32_t loss; /* per mille */
	uint32_t next; /* seqid */
	struct {
		uint32_t group;
		uint16_t n[DS]; /* 0: not lost */
		uint8_t body[DS][BODY];
	} lost[GROUPS];
	uint64_t parity, n_lost, recovered;
};

/* Is that one of those that were lost in this group?  Then it no longer is. */
static bool was_lost(struct tap *t, uint32_t group, struct slice v)
{
	for (unsigned i = 0; i < DS; i++) {
		uint16_t *n = &t->lost[group % GROUPS].n[i];

		if (*n != v.n || memcmp(t->lost[group % GROUPS].body[i], v.p, v.n))
			continue;
		*n = 0;
		return true;
	}
	return false;
}

static void take_down(struct tap *t, uint32_t seqid, const struct pkt *k)
{
	uint32_t group = seqid / GROUP, i = seqid % GROUP;

	t->n_lost++;
	t->lost[group % GROUPS].n[i] = (uint16_t)(k->n - FEC_HEAD);
	memcpy(t->lost[group % GROUPS].body[i], k->p + FEC_HEAD, k->n - FEC_HEAD);
}

static void tapped(void *arg, const struct rig_side *s, const struct pkt *k)
{
	uint32_t seqid = le32_get(k->p), group = seqid / GROUP;
	struct tap *t = arg;
	bool data = k->p[FEC_TYPE_OFF] == FEC_TYPE_DATA;
	uint8_t copy[BODY];

	(void)s;
	cr_assert(fec_is_fec(k->p, k->n));
	cr_assert_eq(data, seqid % GROUP < DS, "what stands at %u of a group", seqid % GROUP);
	/* Nothing but parity is left out, and never is a seqid given twice. */
	for (; t->next < seqid; t->next++)
		cr_assert_geq(t->next % GROUP, DS, "%u is missing", t->next);
	cr_assert_eq(t->next++, seqid);
	t->parity += !data;
	if (t->lost[group % GROUPS].group != group) {
		memset(t->lost[group % GROUPS].n, 0, sizeof(t->lost[0].n));
		t->lost[group % GROUPS].group = group;
	}
	if (sim_chance(&t->g, t->loss)) {
		if (data)
			take_down(t, seqid, k);
		return;
	}
	memcpy(copy, k->p, k->n);
	sf_decode(&t->sf, copy, k->n, t->r->now);
	for (unsigned i = 0; i < t->sf.got.n_data; i++)
		cr_assert(was_lost(t, group, t->sf.got.data[i]), "wrong bytes in group %u", group);
	t->recovered += t->sf.got.n_data;
}

/*
 * Over a path that is clean, then loses, and is clean again, all degrees of parity are sent; a decoder that knows
 * nothing of that rebuilds what it can, each byte of it right.
 */
static void stock_takes_it(int year)
{
	struct bed b = bed(256, 0, LONG, true);
	struct sim_conf link = b.r->conf.link;
	struct tap t = {.r = b.r, .g = {(uint64_t)year}, .loss = 80};
	uint64_t degrees = 0;

	sf_init(&t.sf, year, DS, PS);
	b.s->sent = tapped;
	b.s->sent_arg = &t;
	for (unsigned i = 0; i < 120; i++) {
		link.loss = i / 30 % 2 ? 50 : 0;
		sim_link_set(b.s->out, &link);
		run_for(&b, 250, i / 15 % 2);
		degrees |= 1u << b.s->shard->all[0]->parity.send;
	}
	printf("%d: %lu parity for %lu lost: %lu recovered\n", year, t.parity, t.n_lost, t.recovered);
	cr_assert_eq(degrees, 0xf, "all degrees: %lx", degrees);
	cr_assert_gt(t.recovered, 100);
	cr_assert_eq(t.sf.foreign, 0);
	b.s->sent = NULL;
	sf_fini(&t.sf);
	buf_drain();
	rig_end(b.r);
}

Test(session_parity, stock_2021)
{
	stock_takes_it(2021);
}

Test(session_parity, stock_2026)
{
	stock_takes_it(2026);
}
