/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "le.h"
#include "stream.h"

static struct comp_scratch *scratch;
static struct mem *mem;
static void *region;
static uint8_t buf[COMP_BLOCK_MAX];

static void up(void)
{
	scratch = comp_scratch_create();
	mem = heap(&region, 1 << 20);
}

static void down(void)
{
	comp_scratch_destroy(scratch);
	free(region);
}

TestSuite(comp_enc, .init = up, .fini = down);

/* buf[0..n) in `parts` slices. */
static unsigned cut(struct rng *r, uint32_t n, unsigned parts, struct slice *v)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < parts; i++) {
		uint32_t k = i == parts - 1 ? n - at : rng_below(r, n - at + 1);

		v[i] = (struct slice){buf + at, k};
		at += k;
	}
	return parts;
}

static void round_trip(struct comp_enc *e, struct comp_dec *d, uint32_t n, const struct slice *v, unsigned parts)
{
	struct bytes wire = {}, ref = {}, plain = {};
	bool first = !e->begun;
	uint32_t len;
	unsigned chunks;

	enc_add(e, scratch, v, parts, &wire);
	cr_assert_eq(!memcmp(wire.p, "\xff\x06\0\0sNaPpY", 10), first, "identifier once, in front");
	len = le32_get(wire.p + (first ? 10 : 0)) >> 8;
	cr_assert_eq(wire.n, (first ? 10 : 0) + 4 + len, "one chunk a call");
	if (wire.p[first ? 10 : 0] == 0)
		cr_assert(len - 4 < n - n / 8, "%u bytes as %u", n, len - 4);
	else
		cr_assert_eq(len - 4, n);
	if (!first)
		bytes_add(&ref, "\xff\x06\0\0sNaPpY", 10);
	bytes_add(&ref, wire.p, wire.n);
	cr_assert(ref_read(ref.p, ref.n, &plain, &chunks));
	cr_assert_eq(chunks, 1);
	cr_assert_eq(plain.n, n);
	cr_assert(memcmp(plain.p, buf, n) == 0);
	plain.n = 0;
	cr_assert_eq(dec_all(d, scratch, wire.p, wire.n, n > 3000 ? 1298 : 0, &plain), 0);
	cr_assert_eq(plain.n, n);
	cr_assert(memcmp(plain.p, buf, n) == 0);
	bytes_free(&wire);
	bytes_free(&ref);
	bytes_free(&plain);
}

/* Every length where something changes, every kind of data, on one stream a kind. */
Test(comp_enc, lengths)
{
	static const struct {
		uint32_t from, to, step;
	} ranges[] = {{1, 330, 1},	 {500, 520, 1},	    {1020, 1030, 1},   {4090, 4110, 1}, {8184, 8208, 1},
		      {16380, 16390, 1}, {32764, 32772, 1}, {65527, 65536, 1}, {1, 65536, 2311}};
	struct rng r = {1};

	for (int kind = 0; kind < KIND_COUNT; kind++) {
		struct comp_enc e;
		struct comp_dec d;

		comp_enc_init(&e);
		comp_dec_init(&d, mem);
		for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
			for (uint32_t n = ranges[i].from; n <= ranges[i].to; n += ranges[i].step) {
				struct slice v[4];
				unsigned parts = 1 + rng_below(&r, 4);

				fill(&r, kind, buf, n);
				round_trip(&e, &d, n, v, cut(&r, n, parts, v));
			}
		}
		comp_dec_fini(&d);
	}
}

Test(comp_enc, small_frames_stay_raw)
{
	struct comp_enc e;
	struct bytes wire = {};

	comp_enc_init(&e);
	e.begun = true;
	memset(buf, 0, 64);
	for (uint32_t n = 1; n <= 40; n++) {
		wire.n = 0;
		enc_add(&e, scratch, &(struct slice){buf, n}, 1, &wire);
		cr_assert_eq(wire.p[0], n < 17, "%u zeros", n);
	}
	bytes_free(&wire);
}

/* Raw chunks pass the caller's own slices on, empty ones left out; compressed ones are a single slice. */
Test(comp_enc, slices)
{
	struct rng r = {2};
	struct comp_enc e;
	struct slice in[3] = {{buf, 8}, {buf + 8, 0}, {buf + 8, 1000}}, out[4];

	comp_enc_init(&e);
	fill(&r, KIND_RANDOM, buf, 1008);
	cr_assert_eq(comp_enc(&e, scratch, in, 3, out), 3);
	cr_assert_eq(out[0].n, COMP_HEAD_MAX);
	cr_assert(out[1].p == in[0].p && out[1].n == 8);
	cr_assert(out[2].p == in[2].p && out[2].n == 1000);
	fill(&r, KIND_TEXT, buf, 1008);
	cr_assert_eq(comp_enc(&e, scratch, in, 3, out), 1);
	cr_assert(out[0].n < 1008);
}

/* Chunks untried between tries of data that does not shrink: counted by feeding zeros that would. */
Test(comp_enc, gives_up_and_tries_again)
{
	struct rng r = {3};
	struct comp_enc e, probe;
	struct slice out[2], in = {buf, 8200};
	unsigned tried = 0, since = 0, longest = 0;

	comp_enc_init(&e);
	e.begun = true;
	for (unsigned i = 0; i < 1000; i++) {
		memset(buf, 0, 8200);
		probe = e;
		if (comp_enc(&probe, scratch, &in, 1, out) == 1) {
			tried++;
			since = 0;
		} else if (++since > longest) {
			longest = since;
		}
		fill(&r, KIND_RANDOM, buf, 8200);
		cr_assert_eq(comp_enc(&e, scratch, &in, 1, out), 2);
	}
	cr_assert_eq(longest, 64);
	cr_assert(tried >= 1000 / 65 && tried < 30, "%u tries in 1000 chunks", tried);
	/* Small frames in between are always tried, and one chunk that shrinks ends the abstinence. */
	memset(buf, 0, 8200);
	in.n = 200;
	cr_assert_eq(comp_enc(&e, scratch, &in, 1, out), 1);
	in.n = 8200;
	for (unsigned i = 0; i <= 64; i++)
		comp_enc(&e, scratch, &in, 1, out);
	cr_assert_eq(comp_enc(&e, scratch, &in, 1, out), 1);
	cr_assert_eq(e.misses, 0);
	cr_assert_eq(e.skip, 0);
}

/* Seldom misses cost nothing: each hit starts the count afresh. */
Test(comp_enc, mixed_traffic_is_always_tried)
{
	struct rng r = {4};
	struct comp_enc e;
	struct slice out[2], in = {buf, 4104};

	comp_enc_init(&e);
	e.begun = true;
	for (unsigned i = 0; i < 100; i++) {
		fill(&r, i % 2 ? KIND_RANDOM : KIND_TEXT, buf, 4104);
		cr_assert_eq(comp_enc(&e, scratch, &in, 1, out), i % 2 ? 2 : 1);
	}
}
