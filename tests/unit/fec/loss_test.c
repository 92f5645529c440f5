/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bed.h"

/*
 * A line that loses, repeats and reorders.  Every data packet begins with its own number, so that each recovered
 * datagram is found and compared; a group of which ds packets came while it was within reach must end up whole.
 */

#define GROUPS 400

static struct bed bed;
static struct bed_group *sent;
static uint8_t came[GROUPS][FEC_MAX_SHARDS]; /* times a packet came or was recovered */
static uint8_t fed[GROUPS][FEC_MAX_SHARDS];

static void setup(void)
{
	bed_init(&bed, 4);
	sent = calloc(GROUPS, sizeof(*sent));
}

static void teardown(void)
{
	free(sent);
	bed_fini(&bed);
}

TestSuite(loss, .init = setup, .fini = teardown);

static void send_all(const struct fec_codec *c)
{
	struct fec_enc e;

	fec_enc_init(&e, c, bed.mem, &bed.cnt);
	e.last_ms = 999;
	for (unsigned g = 0; g < GROUPS; g++) {
		unsigned len[FEC_MAX_SHARDS];

		for (unsigned i = 0; i < FEC_MAX_SHARDS; i++)
			len[i] = bed_below(&bed, 3) ? 400 : 4 + bed_below(&bed, 397);
		bed_encode(&bed, &e, len, &sent[g]);
	}
	fec_enc_fini(&e);
}

/* A recovered datagram is one of the group's, byte for byte, and one that had not come. */
static void account(const struct bed_dec *t, unsigned g)
{
	for (unsigned r = 0; r < t->got.n_data; r++) {
		unsigned i = 0;

		while (i < sent[g].ds && !bed_is(t, r, &sent[g].v[i]))
			i++;
		cr_assert_lt(i, sent[g].ds, "group %u: not a datagram that was sent", g);
		if (sent[g].ps < sent[g].ds)
			cr_assert_eq(came[g][i], 0, "group %u: %u was there", g, i);
		came[g][i]++;
	}
}

static void feed(struct bed_dec *t, unsigned g, unsigned i)
{
	cr_assert_eq(bed_feed(t, &sent[g].v[i]), 0);
	fed[g][i] = 1;
	if (i < sent[g].ds)
		came[g][i]++;
	account(t, g);
}

/* Packets in order, each lost with `loss` percent, some repeated, and some delayed by up to `late` places. */
static void run(unsigned ds, unsigned ps, unsigned loss, unsigned late, bool own)
{
	unsigned size = ds + ps, total = GROUPS * size, whole = 0;
	struct fec_codec *c;
	struct bed_dec t;
	struct {
		unsigned at, seqid;
	} *q = calloc(total, sizeof(*q));

	memset(came, 0, sizeof(came));
	memset(fed, 0, sizeof(fed));
	cr_assert_eq(fec_codec_get(&c, ds, ps), 0);
	send_all(c);
	bed_dec_init(&t, &bed, c, own);
	for (unsigned s = 0, due = 0; s < total + late; s++) {
		/* due..s are in flight: insertion by arrival, stable. */
		if (s < total) {
			unsigned at = s + (late ? bed_below(&bed, late + 1) : 0), k = s;

			for (; k > due && q[k - 1].at > at; k--)
				q[k] = q[k - 1];
			q[k].at = at;
			q[k].seqid = s;
		}
		for (; due < total && due <= s && q[due].at <= s; due++) {
			if (bed_below(&bed, 100) < loss)
				continue;
			feed(&t, q[due].seqid / size, q[due].seqid % size);
			if (!bed_below(&bed, 50))
				feed(&t, q[due].seqid / size, q[due].seqid % size);
		}
	}
	for (unsigned g = 0; g < GROUPS; g++) {
		unsigned n = 0;

		for (unsigned i = 0; i < size; i++)
			n += fed[g][i];
		for (unsigned i = 0; i < ds && n >= ds; i++)
			cr_assert_gt(came[g][i], 0, "(%u,%u) group %u lacks %u of %u", ds, ps, g, i, n);
		whole += n >= ds;
	}
	cr_assert_gt(whole, GROUPS / 10);
	cr_assert_gt(bed.cnt.FECRecovered, 0);
	bed_dec_fini(&t);
	fec_codec_put(c);
	free(q);
}

Test(loss, light_in_order)
{
	run(10, 3, 3, 0, true);
}

Test(loss, light_reordered)
{
	run(10, 3, 5, 13, false);
}

Test(loss, heavy_reordered)
{
	run(10, 3, 20, 20, true);
}

Test(loss, as_many_parities_as_data)
{
	run(3, 3, 40, 6, true);
}

Test(loss, wide)
{
	run(20, 10, 25, 30, true);
}

Test(loss, single)
{
	run(2, 1, 20, 4, true);
}
