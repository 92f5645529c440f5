/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "bed.h"

/* What a decoder holds, for how long, and what it does when it cannot. */

static struct bed bed;
static struct fec_codec *codec;
static struct bed_dec t;

static void setup(void)
{
	bed_init(&bed, 3);
}

static void teardown(void)
{
	bed_dec_fini(&t);
	fec_codec_put(codec);
	bed_fini(&bed);
}

TestSuite(hold, .init = setup, .fini = teardown);

static void open_dec(unsigned ds, unsigned ps, bool own)
{
	cr_assert_eq(fec_codec_get(&codec, ds, ps), 0);
	bed_dec_init(&t, &bed, codec, own);
}

/* A packet of nothing in particular at its place. */
static unsigned feed(uint32_t seqid)
{
	static const uint8_t body[40] = {40};
	unsigned ds, ps;
	struct pkt in;

	fec_dec_params(t.d, &ds, &ps);
	bed_packet(&in, seqid, seqid % (ds + ps) < ds ? FEC_TYPE_DATA : FEC_TYPE_PAR, body, sizeof(body));
	return bed_feed(&t, &in);
}

Test(hold, groups_age)
{
	open_dec(3, 2, true);
	for (unsigned g = 0; g < 4; g++) {
		feed(5 * g);
		feed(5 * g + 1);
	}
	cr_assert_eq(t.kept, 8);
	cr_assert_eq(bed.cnt.FECShardSet, 4);
	feed(5 * 4);
	cr_assert_eq(t.got.n_freed, 2);
	cr_assert_eq(t.kept, 7);
	cr_assert_eq(bed.cnt.FECShardSet, 4);
	/* Too old: not kept, and nothing can come of it; parity counts all the same. */
	cr_assert_eq(feed(2), 0);
	cr_assert_not(t.got.kept);
	cr_assert_eq(feed(3), 0);
	cr_assert_eq(bed.cnt.FECParityShards, 1);
	cr_assert_eq(bed.cnt.FECFullShardSet, 0);
	/* The oldest that is still open can be completed. */
	feed(5 + 2);
	cr_assert_eq(bed.cnt.FECFullShardSet, 1);
	cr_assert_eq(t.kept, 5);
	/* A jump ends all of them. */
	feed(5 * 1000);
	cr_assert_eq(t.kept, 1);
	cr_assert_eq(bed.cnt.FECShardSet, 1);
	cr_assert_eq(bed.cnt.FECShardMin, 1000);
}

Test(hold, groups_of_one_need_no_memory)
{
	open_dec(1, 2, false);
	feed(0);
	bed_exhaust(&bed);
	cr_assert_eq(feed(300), 0);
	cr_assert_eq(feed(301), 0);
	cr_assert_eq(t.got.n_data, 1);
	/* Stock completes even a group that it will delete in the same breath. */
	cr_assert_eq(feed(1), 0);
	cr_assert_eq(t.got.n_data, 1);
	cr_assert_eq(bed.cnt.FECRecovered, 2);
	cr_assert_eq(bed.cnt.FECFullShardSet, 2);
	bed_relieve(&bed);
}

Test(hold, seqids_wrap)
{
	uint32_t last = fec_paws(5) - 5;

	open_dec(3, 2, true);
	feed(last - 5);
	feed(last);
	feed(last + 1);
	feed(0);
	feed(1);
	cr_assert_eq(bed.cnt.FECShardMin, 0);
	cr_assert_eq(bed.cnt.FECShardSet, 3);
	feed(last + 3);
	cr_assert_eq(t.got.n_data, 1);
	feed(4);
	cr_assert_eq(t.got.n_data, 1);
	feed(5 * 2);
	cr_assert_eq(bed.cnt.FECShardSet, 3, "last, 0 and 2");
	cr_assert_eq(t.kept, 1);
}

/* More falls due at once than `freed` takes: the rest comes with the next packets. */
Test(hold, freed_comes_in_portions)
{
	unsigned back = 0;

	open_dec(128, 127, true);
	for (unsigned g = 0; g < 4; g++) {
		for (unsigned i = 0; i < 127; i++)
			cr_assert_eq(feed(255 * g + i), 0);
	}
	cr_assert_eq(t.kept, 508);
	feed(255 * 100);
	cr_assert_eq(t.got.n_freed, FEC_MAX_SHARDS);
	back += t.got.n_freed;
	cr_assert_eq(t.kept, 509 - back);
	feed(255 * 100 + 1);
	cr_assert_eq(t.got.n_freed, 508 - back);
	feed(255 * 100 + 2);
	cr_assert_eq(t.got.n_freed, 0);
	cr_assert_eq(t.kept, 3);
}

Test(hold, release_is_a_pause)
{
	open_dec(3, 2, true);
	size_t empty = mem_used(bed.mem);

	feed(0);
	feed(1);
	feed(5);
	cr_assert_gt(mem_used(bed.mem), empty);
	bed_release(&t);
	cr_assert_eq(mem_used(bed.mem), empty);
	feed(2);
	cr_assert_eq(bed.cnt.FECFullShardSet, 0);
	feed(10);
	feed(11);
	feed(13);
	cr_assert_eq(t.got.n_data, 1);
}

Test(hold, short_memory_is_survived)
{
	static const bool own[] = {true, false};

	for (unsigned i = 0; i < 2; i++) {
		open_dec(3, 2, own[i]);
		bed_exhaust(&bed);
		cr_assert_eq(feed(0), DROP_NO_MEMORY);
		cr_assert_not(t.got.kept);
		cr_assert_eq(feed(3), DROP_NO_MEMORY);
		bed_relieve(&bed);
		cr_assert_eq(bed.cnt.FECParityShards, i * 2, "only what is stored counts");
		/* As if the two had been lost; they may come again. */
		feed(3);
		feed(0);
		bed_exhaust(&bed);
		cr_assert_eq(feed(4), 0, "the packet that completes a group needs no memory");
		cr_assert_eq(t.got.n_data, 2);
		cr_assert_eq(t.kept, 0);
		bed_relieve(&bed);
		if (!i) {
			bed_dec_fini(&t);
			fec_codec_put(codec);
		}
	}
}

Test(hold, no_decoder_without_memory)
{
	open_dec(3, 2, true);
	bed_exhaust(&bed);
	cr_assert_null(fec_dec_create(codec, bed.mem, &bed.cnt));
	bed_relieve(&bed);
	fec_dec_destroy(NULL);
}

enum { DS = 10, PS = 3 };

/* Some of a group's packets, in a circle from a random one on: the one that completes it brings all that is missing. */
static void feed_group(const struct bed_group *g)
{
	unsigned first = bed_below(&bed, DS + PS), n = DS + bed_below(&bed, PS + 1), n_got = 0;
	bool fed[DS + PS] = {false};

	for (unsigned i = 0; i < n; i++) {
		unsigned at = (first + i) % (DS + PS);

		fed[at] = true;
		cr_assert_eq(bed_feed(&t, &g->v[at]), 0);
		for (unsigned j = 0; i == DS - 1 && j < DS; j++)
			if (!fed[j])
				cr_assert(bed_is(&t, n_got++, &g->v[j]));
		cr_assert_eq(t.got.n_data, i == DS - 1 ? n_got : 0);
		if (bed_below(&bed, 3) == 0)
			bed_let_go(&t);
	}
}

Test(hold, copies_serve_as_well)
{
	unsigned len[DS];
	struct fec_enc e;
	struct bed_group g;

	open_dec(DS, PS, true);
	fec_enc_init(&e, codec, bed.mem, &bed.cnt);
	for (unsigned round = 0; round < 500; round++) {
		for (unsigned i = 0; i < DS; i++)
			len[i] = 1 + bed_below(&bed, BED_DATAGRAM);
		bed_encode(&bed, &e, len, &g);
		feed_group(&g);
	}
	cr_assert_gt(bed.cnt.FECRecovered, 500);
	cr_assert_eq(bed.cnt.FECErrs, 0);
	fec_enc_fini(&e);
}

/* Where there is no memory for copies, the packets are as good as lost: what else comes of the group still counts. */
Test(hold, no_memory_for_copies)
{
	open_dec(3, 2, true);
	feed(0);
	feed(4);
	bed_exhaust(&bed);
	bed_let_go(&t);
	bed_relieve(&bed);
	cr_assert_eq(bed.cnt.FECErrs, 2);
	feed(1);
	feed(3);
	cr_assert_eq(bed.cnt.FECFullShardSet + bed.cnt.FECRecovered, 0);
	/* They may come again. */
	cr_assert_eq(feed(0), 0);
	cr_assert_eq(t.got.n_data, 1);
	bed_let_go(&t);
}
