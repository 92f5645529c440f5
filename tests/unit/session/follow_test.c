/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "eal.h"
#include "rig.h"
#include "seeds.h"
#include "stock_dec.h"

/*
 * A server sends in its client's shape (shape.c).  What it sends goes to the client of the rig, whose bytes are all
 * checked, and past the decoders of every generation of stock's clients, of the client's shape and with losses of their
 * own, which must never rebuild a datagram that was not sent.
 */

TestSuite(session_follow, .init = eal_start, .timeout = 600);

#define SENT_BITS 18
#define LATE	  20 /* packets that one may come behind its turn */

/* What passes by. */
struct watch {
	struct stock_dec dec[STOCK_YEARS];
	struct sim_rng dice;
	uint32_t loss;
	uint64_t sent[1 << SENT_BITS]; /* marks of the KCP datagrams */
	unsigned n_sent;
	unsigned good[STOCK_YEARS], wrong[STOCK_YEARS];
	unsigned parity;
	uint8_t late[2048]; /* one that is overtaken */
	uint16_t late_n;
	unsigned late_by; /* packets still to come before it */
};

static uint64_t mark(const uint8_t *p, uint32_t n)
{
	uint64_t h = 0xcbf29ce484222325 + n;

	for (uint32_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3;
	return h | 1;
}

static bool known(struct watch *w, uint64_t m, bool add)
{
	uint32_t at = (uint32_t)(m >> (64 - SENT_BITS));

	for (; w->sent[at]; at = (at + 1) & ((1 << SENT_BITS) - 1))
		if (w->sent[at] == m)
			return true;
	if (add) {
		cr_assert_lt(w->n_sent++, 1 << (SENT_BITS - 1));
		w->sent[at] = m;
	}
	return false;
}

static void arrive(struct watch *w, uint8_t *p, uint16_t n)
{
	for (unsigned y = 0; y < STOCK_YEARS; y++) {
		struct stock_dec *d = &w->dec[y];

		if (sim_chance(&w->dice, w->loss))
			continue;
		stock_dec_take(d, p, n);
		for (unsigned i = 0; i < d->got.n_data; i++)
			(known(w, mark(d->got.data[i].p, d->got.data[i].n), false) ? w->good : w->wrong)[y]++;
	}
}

/* In its turn, twice, or late. */
static void pass(void *arg, const struct rig_side *s, const struct pkt *k)
{
	struct watch *w = arg;
	bool held = false;

	(void)s;
	if (!fec_is_fec(k->p, k->n))
		return;
	w->parity += k->p[4] == FEC_TYPE_PAR;
	if (k->p[4] == FEC_TYPE_DATA)
		known(w, mark(k->p + FEC_HEAD, k->n - FEC_HEAD), true);
	if (!w->late_by && sim_chance(&w->dice, 50)) {
		memcpy(w->late, k->p, k->n);
		w->late_n = k->n;
		w->late_by = 1 + sim_below(&w->dice, LATE);
		held = sim_chance(&w->dice, 700);
	}
	if (held)
		return;
	arrive(w, k->p, k->n);
	if (w->late_by && !--w->late_by)
		arrive(w, w->late, w->late_n);
}

static struct watch *watch_new(struct rig *r, uint32_t loss, uint64_t seed)
{
	struct watch *w = calloc(1, sizeof(*w));

	w->dice.s = seed;
	w->loss = loss;
	for (unsigned y = 0; y < STOCK_YEARS; y++)
		stock_dec_init(&w->dec[y], (enum stock_year)y, r->side[CLIENT].tun.fec, r->side[CLIENT].mem);
	r->side[SERVER].sent = pass;
	r->side[SERVER].sent_arg = w;
	return w;
}

static void watch_free(struct watch *w)
{
	for (unsigned y = 0; y < STOCK_YEARS; y++)
		stock_dec_fini(&w->dec[y]);
	free(w);
}

static bool automatic; /* congestion, and so how much parity is sent */

static struct rig *follow_rig(const unsigned client[2], const unsigned server[2], uint32_t loss, uint64_t seed)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.congestion = automatic ? KCP_CONGESTION_AUTO : KCP_CONGESTION_STOCK;
	conf.fine = automatic;
	conf.ds = 10;
	conf.ps = 3;
	conf.nocomp = true;
	conf.link.loss = loss;
	conf.seed = seed;
	r = rig_new(&conf);
	rig_shape(&r->side[CLIENT], client[0], client[1]);
	rig_shape(&r->side[SERVER], server[0], server[1]);
	return r;
}

/* Control's part: makes the codecs that the server asks for.  Returns how often it did. */
static unsigned make_codecs(struct rig *r)
{
	struct note n;
	unsigned asked = rig_notes(&r->side[SERVER], NOTE_SHAPE, &n);

	if (asked)
		fec_shapes_add(&r->side[SERVER].tun.others, n.arg >> 16, n.arg & UINT16_MAX);
	return asked;
}

/* Until all is there, but no longer than `ms`. */
static unsigned run_with_control(struct rig *r, uint64_t ms)
{
	unsigned asked = 0;

	for (uint64_t until = r->now + ms; r->now < until && !rig_finish(r, 10);)
		asked += make_codecs(r);
	return asked;
}

static const unsigned ours[2] = {10, 3};

struct sum {
	unsigned runs, with; /* that there were, and with parity */
	unsigned good[STOCK_YEARS], wrong[STOCK_YEARS];
	uint64_t recovered; /* by the rig's client */
};

static void follow(struct sum *sum, const unsigned client[2], const unsigned server[2], uint32_t loss, uint64_t seed)
{
	struct rig *r = follow_rig(client, server, loss, seed);
	struct watch *w = watch_new(r, loss, seed);
	struct conn *c = rig_connect(r, 0, 600000, 900000);
	unsigned asked = run_with_control(r, 300000);

	conn_complete(c);
	cr_expect_leq(asked, 1, "%u/%u asked %u times", client[0], client[1], asked);
	sum->runs++;
	sum->with += w->parity > 0;
	for (unsigned y = 0; y < STOCK_YEARS; y++) {
		sum->good[y] += w->good[y];
		sum->wrong[y] += w->wrong[y];
		cr_expect_eq(w->dec[y].ds, client[0]);
	}
	sum->recovered += shard_snmp(r->side[CLIENT].shard, 0)->FECRecovered;
	watch_free(w);
	rig_end(r);
}

#define SEEDS SEEDS_OF(5, 2)

static void every_shape(void)
{
	static const unsigned shape[][2] = {{20, 5}, {5, 5}, {10, 6}, {10, 2}, {11, 3}, {3, 2}, {1, 1}, {10, 3}};
	static const uint32_t losses[] = {0, 20, 50, 100, 200};
	unsigned least = automatic ? 0 : 4 * SEEDS; /* where parity is left out that nobody misses */

	for (unsigned i = 0; i < sizeof(shape) / sizeof(shape[0]); i++) {
		for (unsigned l = 0; l < 5; l++) {
			struct sum s = {0};

			for (unsigned seed = 1; seed <= SEEDS; seed++)
				follow(&s, shape[i], ours, losses[l], 100 * seed + l);
			for (unsigned y = 0; y < STOCK_YEARS; y++)
				cr_expect_eq(s.wrong[y], 0, "%u/%u, %u in a thousand lost: decoder %u: %u wrong",
					     shape[i][0], shape[i][1], losses[l], y, s.wrong[y]);
			printf("%u/%u %u: %u of %u with parity, rebuilt %u %u %u %u, %lu\n", shape[i][0], shape[i][1],
			       losses[l], s.with, s.runs, s.good[0], s.good[1], s.good[2], s.good[3], s.recovered);
			if (losses[l] > 50)
				continue; /* a client's shape shows between losses only */
			cr_expect_eq(s.with, s.runs, "%u/%u, %u lost: %u of %u with parity", shape[i][0], shape[i][1],
				     losses[l], s.with, s.runs);
			for (unsigned y = 0; y < STOCK_YEARS && losses[l]; y++)
				cr_expect_gt(s.good[y], least);
			cr_expect(s.recovered > least || !losses[l], "%lu recovered", s.recovered);
		}
	}
}

Test(session_follow, every_shape)
{
	every_shape();
}

/* Of a client that leaves out parity, which shows its shape for the server's sake. */
Test(session_follow, every_shape_auto)
{
	automatic = true;
	every_shape();
}
