/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bed.h"
#include "fec_tune.h"
#include "seq.h"
#include "vectors.h"

static struct bed bed;

static void setup(void)
{
	bed_init(&bed, 5);
}

static void teardown(void)
{
	bed_fini(&bed);
}

TestSuite(tune, .init = setup, .fini = teardown);

/* Go's decoder of (10,3) that is sent (5,2): its parameters after every packet, and what it recovers. */
Test(tune, go_s_packets)
{
	json_t *root = vectors_load("fec"), *step;
	struct fec_codec *c;
	struct bed_dec t;
	size_t i;

	cr_assert_eq(fec_codec_get(&c, 10, 3), 0);
	bed_dec_init(&t, &bed, c, true);
	json_array_foreach(json_object_get(json_object_get(root, "extra"), "autotune_5_2_into_10_3"), i, step)
	{
		json_t *recovered = json_object_get(step, "recovered");
		unsigned ds, ps;
		struct pkt in = {0};
		size_t n;

		if (!json_is_true(json_object_get(step, "lost"))) {
			in.p = vectors_hex(step, "packet", &n);
			in.n = (uint16_t)n;
			cr_assert_eq(bed_feed(&t, &in), 0);
			cr_assert_eq(t.got.n_data, json_array_size(recovered));
			free(in.p);
		}
		fec_dec_params(t.d, &ds, &ps);
		cr_assert_eq(ds, json_integer_value(json_object_get(step, "decoder_ds")));
		cr_assert_eq(ps, json_integer_value(json_object_get(step, "decoder_ps")));
		if (json_array_size(recovered)) {
			uint8_t *body = vectors_unhex(json_array_get(recovered, 0), &n);

			cr_assert_eq(t.got.data[0].n, le16_get(body) - 2u);
			cr_assert_eq(memcmp(t.got.data[0].p, body + 2, t.got.data[0].n), 0);
			free(body);
		}
	}
	bed_dec_fini(&t);
	fec_codec_put(c);
	json_decref(root);
}

/* ---- against the detection as it is written down: sort, then walk ---- */

struct sample {
	uint32_t seqid;
	bool data;
};

static int by_seqid(const void *a, const void *b)
{
	return seq_diff(((const struct sample *)a)->seqid, ((const struct sample *)b)->seqid);
}

static unsigned ref_period(const struct sample *s, unsigned n, bool kind)
{
	unsigned left = 0;

	for (unsigned i = 1; i < n; i++) {
		if (s[i].seqid != s[i - 1].seqid + 1)
			return 0;
		if (!left && s[i - 1].data != kind && s[i].data == kind)
			left = i;
		else if (left && s[i - 1].data == kind && s[i].data != kind)
			return i - left;
	}
	return 0;
}

static bool ref_find(const struct sample *last, unsigned n, unsigned *ds, unsigned *ps)
{
	struct sample s[FEC_TUNE_SAMPLES];

	memcpy(s, last, n * sizeof(s[0]));
	qsort(s, n, sizeof(s[0]), by_seqid);
	*ds = ref_period(s, n, true);
	*ps = ref_period(s, n, false);
	return *ds && *ps && *ds + *ps < 256;
}

static void run_reference(unsigned ds, unsigned ps, unsigned loss, unsigned repeats, unsigned swaps)
{
	static struct sample s[4000];
	uint32_t seqid = (uint32_t)bed_rand(&bed);
	unsigned n = 0, found = 0;
	struct fec_tune *t = NULL;

	while (n + 2 < 1500) {
		seqid++;
		if (bed_below(&bed, 1000) < loss)
			continue;
		s[n++] = (struct sample){seqid, seqid % (ds + ps) < ds};
		if (bed_below(&bed, 1000) < repeats) {
			s[n] = s[n - 1];
			n++;
		}
	}
	for (unsigned i = 1; i < n; i++) {
		if (bed_below(&bed, 1000) < swaps) {
			struct sample x = s[i];

			s[i] = s[i - 1];
			s[i - 1] = x;
		}
	}
	for (unsigned i = 0; i < n; i++) {
		unsigned from = i < FEC_TUNE_SAMPLES ? 0 : i + 1 - FEC_TUNE_SAMPLES, want[2] = {0}, have[2] = {0};
		bool w, h;

		fec_tune_sample(&t, bed.mem, s[i].data, s[i].seqid);
		w = ref_find(s + from, i + 1 - from, &want[0], &want[1]);
		h = fec_tune_find(t, &have[0], &have[1]);
		cr_assert_eq(w, h, "(%u,%u) at %u", ds, ps, i);
		if (w) {
			cr_assert_eq(have[0], want[0]);
			cr_assert_eq(have[1], want[1]);
		}
		found += w;
	}
	fec_tune_free(&t, bed.mem);
	if (!loss && !repeats && ds + ps < 256)
		cr_assert_gt(found, 0);
	if (ds + ps >= 256)
		cr_assert_eq(found, 0);
}

Test(tune, equals_sorting)
{
	static const unsigned sizes[][2] = {{1, 1},   {2, 1},	{1, 4},	    {10, 3},
					    {30, 10}, {70, 30}, {128, 127}, {129, 127}};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		run_reference(sizes[i][0], sizes[i][1], 0, 0, 0);
		run_reference(sizes[i][0], sizes[i][1], 0, 0, 100);
		run_reference(sizes[i][0], sizes[i][1], 20, 0, 50);
		run_reference(sizes[i][0], sizes[i][1], 10, 10, 50);
	}
}

Test(tune, nothing_from_nothing)
{
	struct fec_tune *t = NULL;
	unsigned ds, ps;

	cr_assert_not(fec_tune_find(t, &ds, &ps));
	fec_tune_sample(&t, bed.mem, true, 5);
	cr_assert_not(fec_tune_find(t, &ds, &ps));
	fec_tune_free(&t, bed.mem);
}

/* ---- a decoder among peers of another size ---- */

/* Feeds n groups of a peer that uses (ds, ps), with the first data packet of each lost from group `from` on. */
static unsigned feed_peer(struct bed_dec *t, unsigned ds, unsigned ps, uint32_t first_seqid, unsigned n, unsigned from)
{
	static struct bed_group g;
	struct fec_codec *c;
	struct fec_enc e;
	unsigned recovered = 0;

	memset(&g, 0, sizeof(g));
	cr_assert_eq(fec_codec_get(&c, ds, ps), 0);
	fec_enc_init(&e, c, bed.mem, &bed.cnt);
	e.last_ms = 999;
	e.next = first_seqid;
	for (unsigned k = 0; k < n; k++) {
		unsigned len[FEC_MAX_SHARDS];

		for (unsigned i = 0; i < ds; i++)
			len[i] = 30 + i;
		bed_encode(&bed, &e, len, &g);
		for (unsigned i = k >= from; i < ds + ps; i++) {
			bed_feed(t, &g.v[i]);
			if (k >= from && t->got.n_data) {
				cr_assert(bed_is(t, 0, &g.v[0]));
				recovered++;
			}
		}
	}
	fec_enc_fini(&e);
	fec_codec_put(c);
	return recovered;
}

Test(tune, unconfigured_decoder_finds_its_peer)
{
	static const unsigned sizes[][2] = {{10, 3}, {2, 1}, {3, 2}, {70, 30}, {128, 127}};

	for (unsigned i = 0; i < 5; i++) {
		unsigned ds, ps, size = sizes[i][0] + sizes[i][1];
		struct bed_dec t;

		bed_dec_init(&t, &bed, NULL, i & 1);
		/* Mid-stream, far from seqid 0: group ids of the old size must not be taken for newer ones. */
		cr_assert_eq(feed_peer(&t, sizes[i][0], sizes[i][1], 100000 * size, 6, 3), 3);
		fec_dec_params(t.d, &ds, &ps);
		cr_assert_eq(ds, sizes[i][0]);
		cr_assert_eq(ps, sizes[i][1]);
		bed_dec_fini(&t);
	}
}

Test(tune, packets_of_the_old_size_come_back)
{
	struct fec_codec *c;
	struct bed_dec t;
	unsigned ds, ps;

	cr_assert_eq(fec_codec_get(&c, 100, 50), 0);
	bed_dec_init(&t, &bed, c, true);
	feed_peer(&t, 4, 2, 0, 1, 1);
	cr_assert_gt(t.kept, 0);
	cr_assert_gt(feed_peer(&t, 4, 2, 6, 5, 2), 0);
	fec_dec_params(t.d, &ds, &ps);
	cr_assert_eq(ds, 4);
	cr_assert_eq(ps, 2);
	cr_assert_leq(t.kept, 4 * 3);
	bed_dec_fini(&t);
	fec_codec_put(c);
}

/* One packet with the wrong type stops decoding until the samples have shown that the parameters were right. */
Test(tune, recovers_from_a_stray)
{
	struct fec_codec *c;
	struct bed_dec t;
	struct pkt stray;
	unsigned ds, ps;

	cr_assert_eq(fec_codec_get(&c, 10, 3), 0);
	bed_dec_init(&t, &bed, c, true);
	feed_peer(&t, 10, 3, 0, 2, 2);
	bed_packet(&stray, 26, FEC_TYPE_PAR, "\x04\x00xy", 4);
	cr_assert_eq(bed_feed(&t, &stray), 0);
	cr_assert_geq(feed_peer(&t, 10, 3, 39, 25, 2), 1);
	fec_dec_params(t.d, &ds, &ps);
	cr_assert_eq(ds, 10);
	cr_assert_eq(ps, 3);
	bed_dec_fini(&t);
	fec_codec_put(c);
}
