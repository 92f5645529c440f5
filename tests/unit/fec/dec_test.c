/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bed.h"
#include "vectors.h"

static struct bed bed;

static void setup(void)
{
	bed_init(&bed, 2);
}

static void teardown(void)
{
	bed_fini(&bed);
}

TestSuite(dec, .init = setup, .fini = teardown);

/* ---- Go's vectors ---- */

static void load_packet(struct pkt *k, const json_t *hex)
{
	size_t n;
	uint8_t *p = vectors_unhex(hex, &n);

	bed_packet(k, le32_get(p), le16_get(p + FEC_TYPE_OFF), p + FEC_BODY_OFF, (unsigned)n - FEC_BODY_OFF);
	free(p);
}

/* The packet with this seqid among those that the case's encoder made. */
static const json_t *find_packet(json_t *encode, uint32_t seqid)
{
	json_t *step, *par;
	size_t i, j;

	json_array_foreach(encode, i, step)
	{
		json_t *hex = json_object_get(step, "data_packet");

		for (j = 0;; j++) {
			size_t n;
			uint8_t *p = vectors_unhex(hex, &n);
			uint32_t id = le32_get(p);

			free(p);
			if (id == seqid)
				return hex;
			par = json_array_get(json_object_get(step, "parity_packets"), j);
			if (!par)
				break;
			hex = par;
		}
	}
	cr_assert_fail("no packet %u", seqid);
	return NULL;
}

static void check_recovered(const struct bed_dec *t, const json_t *list)
{
	cr_assert_eq(t->got.n_data, json_array_size(list));
	for (unsigned i = 0; i < t->got.n_data; i++) {
		size_t n;
		uint8_t *body = vectors_unhex(json_array_get(list, i), &n);
		uint16_t size = le16_get(body);

		cr_assert_eq(t->got.data[i].n, size - FEC_SIZE_LEN);
		cr_assert_eq(memcmp(t->got.data[i].p, body + FEC_SIZE_LEN, t->got.data[i].n), 0);
		free(body);
	}
}

static void run_case(json_t *c, bool own)
{
	json_t *run, *id;
	size_t i, j;
	struct fec_codec *k;

	cr_assert_eq(fec_codec_get(&k, (unsigned)json_integer_value(json_object_get(c, "data_shards")),
				   (unsigned)json_integer_value(json_object_get(c, "parity_shards"))),
		     0);
	json_array_foreach(json_object_get(c, "decode"), i, run)
	{
		struct bed_dec t;

		bed_dec_init(&t, &bed, k, own);
		json_array_foreach(json_object_get(run, "fed_seqids"), j, id)
		{
			struct pkt in;

			load_packet(&in, find_packet(json_object_get(c, "encode"), (uint32_t)json_integer_value(id)));
			cr_assert_eq(bed_feed(&t, &in), 0);
			check_recovered(&t, json_array_get(json_object_get(run, "recovered_per_feed"), j));
		}
		bed_dec_fini(&t);
	}
	fec_codec_put(k);
}

Test(dec, go_s_packets)
{
	json_t *root = vectors_load("fec"), *c;
	size_t i;

	json_array_foreach(json_object_get(root, "cases"), i, c)
	{
		run_case(c, true);
		run_case(c, false);
	}
	json_decref(root);
}

Test(dec, oob_is_none_of_its_business)
{
	json_t *root = vectors_load("fec");
	struct bed_dec t;
	struct pkt in;

	load_packet(&in, json_object_get(json_object_get(json_object_get(root, "extra"), "oob"), "packet"));
	cr_assert(fec_is_fec(in.p, in.n));
	bed_dec_init(&t, &bed, NULL, true);
	cr_assert_eq(bed_feed(&t, &in), DROP_FEC);
	bed_dec_fini(&t);
	json_decref(root);
}

/* ---- erasures ---- */

/* Feeds the packets of g that `present` names, in random order; all missing data must come once ds are there. */
static void run_pattern(struct bed_dec *t, const struct bed_group *g, const bool *present)
{
	unsigned order[FEC_MAX_SHARDS], n = 0, size = g->ds + g->ps;
	bool have[FEC_MAX_SHARDS] = {false};

	for (unsigned i = 0; i < size; i++) {
		if (present[i])
			order[n++] = i;
	}
	for (unsigned i = n; i > 1; i--) {
		unsigned k = bed_below(&bed, i), x = order[k];

		order[k] = order[i - 1];
		order[i - 1] = x;
	}
	for (unsigned i = 0; i < n; i++) {
		unsigned missing = 0, r = 0;

		cr_assert_eq(bed_feed(t, &g->v[order[i]]), 0);
		have[order[i]] = true;
		if (i + 1 != g->ds) {
			/* With ps >= ds, what follows may complete the group once more. */
			if (i + 1 < g->ds || g->ps < g->ds)
				cr_assert_eq(t->got.n_data, 0);
			continue;
		}
		for (unsigned k = 0; k < g->ds; k++)
			missing += !have[k];
		cr_assert_eq(t->got.n_data, missing);
		for (unsigned k = 0; k < g->ds; k++) {
			if (!have[k])
				cr_assert(bed_is(t, r++, &g->v[k]), "(%u,%u) shard %u", g->ds, g->ps, k);
		}
	}
}

struct pair {
	struct fec_codec *c;
	struct fec_enc e;
	struct bed_dec t;
	struct bed_group g;
};

static struct pair pair;

static void pair_open(unsigned ds, unsigned ps, bool own)
{
	memset(&pair.g, 0, sizeof(pair.g));
	cr_assert_eq(fec_codec_get(&pair.c, ds, ps), 0);
	fec_enc_init(&pair.e, pair.c, bed.mem, &bed.cnt);
	pair.e.last_ms = 999;
	bed_dec_init(&pair.t, &bed, pair.c, own);
}

static void pair_close(void)
{
	bed_dec_fini(&pair.t);
	fec_enc_fini(&pair.e);
	fec_codec_put(pair.c);
}

static void encode_lengths(unsigned max)
{
	unsigned len[FEC_MAX_SHARDS];

	for (unsigned i = 0; i < FEC_MAX_SHARDS; i++)
		len[i] = 1 + bed_below(&bed, max);
	bed_encode(&bed, &pair.e, len, &pair.g);
}

Test(dec, every_erasure_pattern)
{
	for (unsigned ds = 1; ds <= 8; ds++) {
		for (unsigned ps = 1; ds + ps <= 9; ps++) {
			pair_open(ds, ps, (ds + ps) & 1);
			for (unsigned m = 0; m < 1u << (ds + ps); m++) {
				bool present[FEC_MAX_SHARDS];

				for (unsigned i = 0; i < ds + ps; i++)
					present[i] = m >> i & 1;
				encode_lengths(90);
				run_pattern(&pair.t, &pair.g, present);
			}
			pair_close();
		}
	}
}

/* One to ps packets lost at random, for every longest length there is. */
static void run_lengths(unsigned ds, unsigned ps, unsigned step, bool own)
{
	pair_open(ds, ps, own);
	for (unsigned n = 1; n <= BED_DATAGRAM; n += step) {
		bool present[FEC_MAX_SHARDS];

		memset(present, true, sizeof(present));
		for (unsigned i = 1 + bed_below(&bed, ps); i; i--)
			present[bed_below(&bed, ds + ps)] = false;
		encode_lengths(n);
		run_pattern(&pair.t, &pair.g, present);
	}
	pair_close();
}

Test(dec, every_length)
{
	run_lengths(1, 1, 1, true);
	run_lengths(2, 1, 1, false);
	run_lengths(3, 2, 1, true);
	run_lengths(10, 3, 1, true);
	run_lengths(10, 3, 1, false);
}

Test(dec, large_groups)
{
	run_lengths(20, 10, 13, true);
	run_lengths(70, 30, 97, true);
	run_lengths(128, 127, 211, true);
	run_lengths(128, 128, 211, false);
	run_lengths(255, 1, 211, true);
	run_lengths(1, 255, 211, true);
}

/* All data lost, at the longest body: the scratch is used to its end. */
Test(dec, everything_lost)
{
	static const unsigned sizes[][2] = {{128, 128}, {100, 156}, {7, 7}};

	for (unsigned s = 0; s < 3; s++) {
		bool present[FEC_MAX_SHARDS];

		pair_open(sizes[s][0], sizes[s][1], true);
		for (unsigned i = 0; i < FEC_MAX_SHARDS; i++)
			present[i] = i >= sizes[s][0];
		encode_lengths(BED_DATAGRAM);
		run_pattern(&pair.t, &pair.g, present);
		pair_close();
	}
}

/* Packets that end at an unmapped page: nothing behind a body is read, by any kernel. */
Test(dec, reads_nothing_behind_a_packet)
{
	for (unsigned n = 1; n <= 300; n++) {
		uint8_t body[3][302];
		uint8_t *scratch = malloc(FEC_SCRATCH);
		struct fec_got got;
		struct fec_dec *d;
		struct pkt in;

		pair_open(3, 2, true);
		for (unsigned i = 0; i < 3; i++)
			memset(body[i], (int)(7 * i + 1), sizeof(body[i]));
		d = fec_dec_create(pair.c, bed.mem, &bed.cnt);
		fec_dec_trust(d);
		bed_packet(&in, 1, FEC_TYPE_DATA, body[0], n < 2 ? 2 : n);
		in.own = &in;
		cr_assert_eq(fec_dec_packet(d, &in, scratch, &got), 0);
		cr_assert(got.kept);
		bed_packet(&in, 3, FEC_TYPE_PAR, body[1], n + 2);
		in.own = body;
		cr_assert_eq(fec_dec_packet(d, &in, scratch, &got), 0);
		bed_packet(&in, 4, FEC_TYPE_PAR, body[2], n + 2);
		cr_assert_eq(fec_dec_packet(d, &in, scratch, &got), 0);
		cr_assert_eq(got.n_freed, 2);
		cr_assert_not(got.kept);
		cr_assert_eq(fec_dec_release(d, got.freed, 1), 0);
		fec_dec_destroy(d);
		pair_close();
		free(scratch);
	}
	cr_assert_eq(bed.cnt.FECRecovered, 600);
}

/* ---- counters ---- */

static void feed(unsigned idx)
{
	cr_assert_eq(bed_feed(&pair.t, &pair.g.v[idx]), 0);
}

Test(dec, counts_as_stock_does)
{
	pair_open(3, 2, true);
	encode_lengths(100);
	feed(0);
	feed(1);
	feed(0);
	cr_assert_eq(bed.cnt.FECFullShardSet, 0, "a repeated packet counts once");
	feed(2);
	cr_assert_eq(bed.cnt.FECFullShardSet, 1);
	feed(3);
	feed(4);
	cr_assert_eq(bed.cnt.FECParityShards, 2);
	feed(4);
	cr_assert_eq(bed.cnt.FECParityShards, 2);
	cr_assert_not(pair.t.got.kept, "a complete group keeps nothing");
	cr_assert_eq(pair.t.kept, 0);
	encode_lengths(100);
	feed(4);
	feed(4);
	cr_assert_eq(bed.cnt.FECParityShards, 3);
	feed(3);
	cr_assert_eq(pair.t.kept, 2);
	feed(1);
	cr_assert_eq(pair.t.got.n_data, 2);
	cr_assert_eq(bed.cnt.FECRecovered, 2);
	cr_assert_eq(bed.cnt.FECFullShardSet, 1);
	cr_assert_eq(bed.cnt.FECParityShards, 4);
	cr_assert_eq(bed.cnt.FECSegs, 6, "a repeated one is counted too, as in 2016");
	cr_assert_eq(bed.cnt.FECShardSet, 2);
	cr_assert_eq(bed.cnt.FECShardMin, 1);
	cr_assert_eq(bed.cnt.FECErrs, 0);
	pair_close();
}

/* With ps >= ds, parity that comes after a whole group completes it once more. */
Test(dec, late_parity_delivers_again)
{
	pair_open(3, 3, true);
	encode_lengths(100);
	for (unsigned i = 0; i < 5; i++)
		feed(i);
	cr_assert_eq(pair.t.kept, 2);
	feed(5);
	cr_assert_eq(pair.t.got.n_data, 3);
	cr_assert_eq(bed.cnt.FECFullShardSet, 1);
	cr_assert_eq(bed.cnt.FECRecovered, 3);
	cr_assert_eq(pair.t.kept, 0);
	pair_close();
}

/* ---- what is not a packet ---- */

Test(dec, size_field_is_checked)
{
	static const struct {
		uint16_t size;
		bool good;
	} tries[] = {{0, false}, {1, false}, {2, true}, {50, true}, {51, false}, {0xffff, false}};
	uint8_t body[50] = {0};

	pair_open(1, 1, true);
	for (unsigned i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		struct pkt in;

		le16_put(body, tries[i].size);
		bed_packet(&in, 2 * i + 1, FEC_TYPE_PAR, body, sizeof(body));
		cr_assert_eq(bed_feed(&pair.t, &in), 0);
		cr_assert_eq(pair.t.got.n_data, tries[i].good);
		if (tries[i].good)
			cr_assert_eq(pair.t.got.data[0].n, tries[i].size - 2u);
	}
	cr_assert_eq(bed.cnt.FECRecovered, 6, "counted before the check");
	pair_close();
}

Test(dec, refuses_what_it_cannot_hold)
{
	static uint8_t body[FEC_MAX_BODY + 1];
	struct pkt in;

	pair_open(10, 3, true);
	bed_packet(&in, 0, FEC_TYPE_DATA, body, 1);
	cr_assert_eq(bed_feed(&pair.t, &in), DROP_FEC);
	bed_packet(&in, 0, FEC_TYPE_DATA, body, FEC_MAX_BODY + 1);
	cr_assert_eq(bed_feed(&pair.t, &in), DROP_FEC);
	bed_packet(&in, 0, FEC_TYPE_DATA, body, FEC_MAX_BODY);
	cr_assert_eq(bed_feed(&pair.t, &in), 0);
	cr_assert(pair.t.got.kept);
	bed_packet(&in, 1, 0x51, body, 100);
	cr_assert_eq(bed_feed(&pair.t, &in), DROP_FEC);
	bed_packet(&in, fec_paws(13), FEC_TYPE_DATA, body, 100);
	cr_assert_eq(bed_feed(&pair.t, &in), DROP_FEC);
	cr_assert_eq(pair.t.kept, 1);
	pair_close();
}

Test(dec, takes_noise)
{
	for (unsigned run = 0; run < 30; run++) {
		pair_open(1 + bed_below(&bed, 20), 1 + bed_below(&bed, 20), run & 1);
		for (unsigned i = 0; i < 2000; i++) {
			uint8_t p[FEC_BODY_OFF + FEC_MAX_BODY + 1];
			struct pkt in = {.p = p};
			unsigned kind = bed_below(&bed, 50);

			in.n = (uint16_t)(bed_below(&bed, 9) ? 8 + bed_below(&bed, 64) : bed_below(&bed, sizeof(p)));
			memset(p, (int)i, sizeof(p));
			le32_put(p, kind == 0 ? (uint32_t)bed_rand(&bed) : i + bed_below(&bed, 20));
			le16_put(p + 4, (uint16_t)(kind == 1 ? bed_rand(&bed) : 0xf1 + (i / 5 + kind / 48) % 2));
			le16_put(p + 6, (uint16_t)bed_below(&bed, 100));
			if (kind == 2)
				bed_exhaust(&bed);
			bed_feed(&pair.t, &in);
			if (kind == 2)
				bed_relieve(&bed);
			if (kind == 3)
				bed_release(&pair.t);
		}
		pair_close();
	}
}
