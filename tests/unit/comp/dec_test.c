/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "le.h"
#include "stream.h"

#define ID "\xff\x06\0\0sNaPpY"

static struct comp_scratch *scratch;
static struct mem *mem;
static void *region;
static size_t idle;
static struct comp_dec d;
static struct bytes wire, plain;

static void up(void)
{
	scratch = comp_scratch_create();
	mem = heap(&region, 1 << 20);
	idle = mem_used(mem);
	comp_dec_init(&d, mem);
	bytes_add(&wire, ID, 10);
}

static void down(void)
{
	comp_dec_fini(&d);
	cr_assert_eq(mem_used(mem), idle);
	comp_scratch_destroy(scratch);
	bytes_free(&wire);
	bytes_free(&plain);
	free(region);
}

TestSuite(comp_dec, .init = up, .fini = down);

/* A chunk of that type and body as it is. */
static void chunk(uint8_t type, const void *body, size_t n)
{
	uint8_t head[4];

	le32_put(head, type | (uint32_t)n << 8);
	bytes_add(&wire, head, 4);
	bytes_add(&wire, body, n);
}

/* A data chunk: checksum of p[0..n), then body. */
static void data(uint8_t type, const void *body, size_t body_n, const void *p, size_t n)
{
	uint8_t *b = malloc(4 + body_n);

	le32_put(b, ref_masked(p, n));
	memcpy(b + 4, body, body_n);
	chunk(type, b, 4 + body_n);
	free(b);
}

static int run(size_t step)
{
	comp_dec_fini(&d);
	comp_dec_init(&d, mem);
	plain.n = 0;
	return dec_all(&d, scratch, wire.p, wire.n, step, &plain);
}

/* A stream of all chunk types, cut in two at every byte, and byte by byte. */
Test(comp_dec, cut_anywhere)
{
	struct comp_enc e = {.begun = true};
	uint8_t text[700], skip[300] = {7};
	struct rng r = {5};
	struct bytes want = {};

	for (int kind = 0; kind < KIND_COUNT; kind++) {
		fill(&r, kind, text, sizeof(text));
		enc_add(&e, scratch, &(struct slice){text, sizeof(text)}, 1, &wire);
		bytes_add(&want, text, sizeof(text));
		chunk((uint8_t)(0x80 + 40 * kind), skip, 100u * (unsigned)kind);
		bytes_add(&wire, ID, kind == 2 ? 10 : 0);
	}
	for (size_t cut = 0; cut <= wire.n; cut++) {
		comp_dec_fini(&d);
		comp_dec_init(&d, mem);
		plain.n = 0;
		cr_assert_eq(dec_all(&d, scratch, wire.p, cut, 0, &plain), 0);
		cr_assert_eq(dec_all(&d, scratch, wire.p + cut, wire.n - cut, 0, &plain), 0);
		cr_assert_eq(plain.n, want.n, "cut at %zu", cut);
		cr_assert(memcmp(plain.p, want.p, want.n) == 0);
		cr_assert_eq(mem_used(mem), idle);
	}
	for (size_t step = 1; step < 40; step++) {
		cr_assert_eq(run(step), 0);
		cr_assert(plain.n == want.n && memcmp(plain.p, want.p, want.n) == 0);
	}
	bytes_free(&want);
}

/* A whole chunk in the input is not copied; what waits takes what came from the heap, not what was announced. */
Test(comp_dec, borrows_and_keeps)
{
	uint8_t raw[9000];
	struct rng r = {6};
	struct slice in, out;

	fill(&r, KIND_RANDOM, raw, sizeof(raw));
	data(1, raw, sizeof(raw), raw, sizeof(raw));
	in = (struct slice){wire.p, (uint32_t)wire.n};
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), 1);
	cr_assert(out.p == wire.p + 18 && out.n == sizeof(raw));
	cr_assert_eq(mem_used(mem), idle);
	in = (struct slice){wire.p + 10, 18};
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), 0);
	cr_assert(comp_dec_partial(&d));
	cr_assert_leq(d.cap, 64, "%u bytes for the 14 that came", d.cap);
	cr_assert(mem_used(mem) > idle);
	in = (struct slice){wire.p + 28, (uint32_t)wire.n - 28};
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), 1);
	cr_assert(out.n == sizeof(raw) && memcmp(out.p, raw, sizeof(raw)) == 0);
	cr_assert_not(comp_dec_partial(&d));
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), 0);
	cr_assert_eq(mem_used(mem), idle);
}

/* However much a head announces, memory is held for what came behind it: a few times as much, and never more than the
 * chunk takes. */
Test(comp_dec, holds_what_came)
{
	static uint8_t body[COMP_CHUNK_MAX];
	uint8_t head[4];

	for (uint8_t type = 0; type < 2; type++) {
		uint32_t len = type ? COMP_BLOCK_MAX + 4 : COMP_CHUNK_MAX, most = 0;

		comp_dec_fini(&d);
		comp_dec_init(&d, mem);
		wire.n = 10;
		le32_put(head, type | len << 8);
		bytes_add(&wire, head, 4);
		cr_assert_eq(dec_all(&d, scratch, wire.p, wire.n, 0, &plain), 0);
		cr_assert_eq(mem_used(mem), idle);
		for (uint32_t n = 1; n < len; n++) {
			struct slice in = {body, 1}, out;

			cr_assert_eq(comp_dec(&d, scratch, &in, &out), 0);
			cr_assert_leq(d.cap, 4 * n + 64, "%u bytes held, %u came", d.cap, n);
			cr_assert_leq(d.cap, len);
			most = d.cap > most ? d.cap : most;
		}
		cr_assert_eq(most, len);
		cr_assert_eq(mem_class(d.cap), mem_class(len));
	}
}

Test(comp_dec, out_of_memory_can_be_retried)
{
	uint8_t raw[9000] = {1};
	struct slice in, out;
	void *hog[64];
	unsigned n = 0;

	data(1, raw, sizeof(raw), raw, sizeof(raw));
	while (n < 64 && (hog[n] = mem_get(mem, 65536)))
		n++;
	cr_assert(n > 0 && n < 64);
	/* Below a page too. */
	void *small[4096];
	unsigned k = 0;

	while (k < 4096 && (small[k] = mem_get(mem, 9004)))
		k++;
	cr_assert_not(comp_dec_room(&d, 4000), "a chunk may begin");
	in = (struct slice){wire.p, 4000};
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), -ENOMEM);
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), -ENOMEM);
	cr_assert_not(comp_dec_room(&d, 4000), "one has");
	while (k)
		mem_put(mem, small[--k], 9004);
	while (n)
		mem_put(mem, hog[--n], 65536);
	cr_assert(comp_dec_room(&d, 4000));
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), 0);
	in = (struct slice){wire.p + 4000, (uint32_t)wire.n - 4000};
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), 1);
	cr_assert(out.n == sizeof(raw) && memcmp(out.p, raw, sizeof(raw)) == 0);
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), 0);
}

Test(comp_dec, largest_raw_chunk)
{
	uint8_t *zeros = calloc(1, COMP_BLOCK_MAX + 1);

	data(1, zeros, COMP_BLOCK_MAX, zeros, COMP_BLOCK_MAX);
	for (size_t step = 0; step < 3000; step += 1298) {
		cr_assert_eq(run(step), 0);
		cr_assert_eq(plain.n, COMP_BLOCK_MAX);
	}
	wire.n = 10;
	data(1, zeros, COMP_BLOCK_MAX + 1, zeros, COMP_BLOCK_MAX + 1);
	cr_assert_eq(run(0), -EBADMSG);
	cr_assert_eq(plain.n, 0);
	free(zeros);
}

/* A block of 64 KiB of zeros: length, a literal, then copies; `extra` bytes more than the limit. */
static void zero_block(struct bytes *b, uint32_t n)
{
	uint8_t len[3] = {(uint8_t)(n | 0x80), (uint8_t)(n >> 7 | 0x80), (uint8_t)(n >> 14)};

	bytes_add(b, len, 3);
	bytes_add(b, "\0\0", 2); /* literal of one byte */
	for (uint32_t left = n - 1; left;) {
		uint32_t k = left < 64 ? left : 64;
		uint8_t copy[3] = {(uint8_t)((k - 1) << 2 | 2), 1, 0};

		bytes_add(b, copy, 3);
		left -= k;
	}
}

Test(comp_dec, largest_block)
{
	uint8_t *zeros = calloc(1, COMP_BLOCK_MAX + 1);
	struct bytes b = {};

	zero_block(&b, COMP_BLOCK_MAX);
	data(0, b.p, b.n, zeros, COMP_BLOCK_MAX);
	cr_assert_eq(run(0), 0);
	cr_assert_eq(plain.n, COMP_BLOCK_MAX);
	cr_assert_eq(run(100), 0);
	cr_assert_eq(plain.n, COMP_BLOCK_MAX);
	wire.n = 10;
	b.n = 0;
	zero_block(&b, COMP_BLOCK_MAX + 1);
	data(0, b.p, b.n, zeros, COMP_BLOCK_MAX + 1);
	cr_assert_eq(run(0), -EBADMSG, "one byte over the limit");
	cr_assert_eq(plain.n, 0);
	/* The length field lies: says 10, holds far more; says 4 GiB, holds little. */
	wire.n = 10;
	b.n = 0;
	zero_block(&b, COMP_BLOCK_MAX);
	memcpy(b.p, "\x8a\x80\0", 3);
	data(0, b.p, b.n, zeros, 10);
	cr_assert_eq(run(0), -EBADMSG);
	wire.n = 10;
	data(0, "\xff\xff\xff\xff\x0f\0x", 7, "x", 1);
	cr_assert_eq(run(0), -EBADMSG);
	bytes_free(&b);
	free(zeros);
}

Test(comp_dec, empty_chunks)
{
	struct slice in, out;

	data(1, "", 0, "", 0);
	data(0, "\0", 1, "", 0);
	in = (struct slice){wire.p, (uint32_t)wire.n};
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), 1);
	cr_assert_eq(out.n, 0);
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), 1);
	cr_assert_eq(out.n, 0);
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), 0);
	wire.n = 10;
	data(0, "", 0, "", 0);
	cr_assert_eq(run(0), -EBADMSG, "a block has at least its length");
}

/* Longer than any buffer: 80..fe of 16 MiB - 1, in pieces, without memory. */
Test(comp_dec, skips_any_length)
{
	static const uint8_t block[65536];
	uint32_t len = (1u << 24) - 1;
	struct slice in, out;
	uint8_t head[4];

	for (unsigned type = 0x80; type <= 0xfe; type += 0x7e) {
		le32_put(head, type | len << 8);
		bytes_add(&wire, head, 4);
		in = (struct slice){wire.p, (uint32_t)wire.n};
		cr_assert_eq(comp_dec(&d, scratch, &in, &out), 0);
		wire.n = 0;
		for (uint32_t left = len; left;) {
			in = (struct slice){block, left < sizeof(block) ? left : (uint32_t)sizeof(block)};
			left -= in.n;
			cr_assert(comp_dec_partial(&d));
			cr_assert_eq(comp_dec(&d, scratch, &in, &out), 0);
			cr_assert_eq(mem_used(mem), idle);
		}
		cr_assert_not(comp_dec_partial(&d));
	}
	data(1, "abc", 3, "abc", 3);
	in = (struct slice){wire.p, (uint32_t)wire.n};
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), 1);
	cr_assert(out.n == 3 && memcmp(out.p, "abc", 3) == 0);
}

Test(comp_dec, every_type)
{
	for (unsigned type = 2; type <= 0xff; type++) {
		wire.n = 0;
		bytes_add(&wire, ID, 10);
		chunk((uint8_t)type, "sNaPpY", 6);
		data(1, "abc", 3, "abc", 3);
		cr_assert_eq(run(0), type < 0x80 ? -EBADMSG : 0, "type %02x", type);
		cr_assert_eq(plain.n, type < 0x80 ? 0u : 3u);
		memmove(wire.p, wire.p + 10, wire.n - 10);
		wire.n -= 10;
		cr_assert_eq(run(0), type < 0xff ? -EBADMSG : 0, "type %02x first", type);
	}
}

/* What is broken stays broken, good input or not. */
Test(comp_dec, error_is_final)
{
	struct slice in, out;

	chunk(2, "", 0);
	cr_assert_eq(run(0), -EBADMSG);
	wire.n = 10;
	data(1, "abc", 3, "abc", 3);
	in = (struct slice){wire.p, (uint32_t)wire.n};
	cr_assert_eq(comp_dec(&d, scratch, &in, &out), -EBADMSG);
	cr_assert_eq(in.n, wire.n);
}

/* Seeded damage of good streams: the same verdict and the same bytes as the reference, whatever the pieces. */
Test(comp_dec, damaged_streams, .timeout = 300)
{
	struct rng r = {7};
	uint8_t text[2000];
	unsigned bad = 0;

	for (unsigned round = 0; round < 4000; round++) {
		struct comp_enc e;
		struct bytes want = {};
		unsigned chunks, hits = rng_below(&r, 4);
		bool good;
		int got;

		comp_enc_init(&e);
		wire.n = 0;
		for (unsigned k = 1 + rng_below(&r, 4); k; k--) {
			uint32_t n = 1 + rng_below(&r, k % 2 ? 60 : sizeof(text));

			fill(&r, rng_below(&r, KIND_COUNT), text, n);
			enc_add(&e, scratch, &(struct slice){text, n}, 1, &wire);
		}
		for (; hits; hits--) {
			uint32_t near = rng_below(&r, 2) ? (uint32_t)wire.n : wire.n < 40 ? (uint32_t)wire.n : 40;

			wire.p[rng_below(&r, near)] ^= (uint8_t)(1u << rng_below(&r, 8));
		}
		if (rng_below(&r, 8) == 0)
			wire.n -= rng_below(&r, (uint32_t)wire.n);
		good = ref_read(wire.p, wire.n, &want, &chunks);
		got = run(rng_below(&r, 2) ? 1 + rng_below(&r, 100) : 0);
		cr_assert_eq(got, good ? 0 : -EBADMSG, "round %u: %d", round, got);
		cr_assert_eq(plain.n, want.n, "round %u", round);
		cr_assert(!want.n || memcmp(plain.p, want.p, want.n) == 0, "round %u", round);
		bad += !good;
		bytes_free(&want);
	}
	cr_assert(bad > 1000 && bad < 3900, "%u of 4000 streams were bad", bad);
}

/* Appends one element to b and what it means to p; `wild` elements may be wrong in any way. */
static void element(struct rng *r, bool wild, struct bytes *b, struct bytes *p)
{
	uint32_t len = 1 + rng_below(r, 60), dist = p->n ? 1 + rng_below(r, (uint32_t)p->n) : 0;
	uint8_t e[5] = {(uint8_t)((len - 1) << 2), (uint8_t)dist, (uint8_t)(dist >> 8), (uint8_t)(dist >> 16)};
	uint8_t text[64];

	if (wild) {
		le32_put(e, (uint32_t)rng_next(r));
		bytes_add(b, e, 1 + rng_below(r, 4));
	} else if (!dist || rng_below(r, 2)) {
		fill(r, KIND_RANDOM, text, len);
		bytes_add(b, e, 1);
		bytes_add(b, text, len);
		bytes_add(p, text, len);
	} else {
		e[0] |= rng_below(r, 2) ? 2 : 3;
		bytes_add(b, e, e[0] & 1 ? 5 : 3);
		while (len--)
			bytes_add(p, &(uint8_t){p->p[p->n - dist]}, 1);
	}
}

/* Blocks of good and bad elements: libsnappy and the reference agree on which are sound and what they say. */
Test(comp_dec, damaged_blocks, .timeout = 300)
{
	struct rng r = {8};
	unsigned good = 0;

	for (unsigned round = 0; round < 20000; round++) {
		struct bytes body = {}, says = {}, block = {}, ref = {};
		uint8_t len[2];
		bool ok;

		for (unsigned k = 1 + rng_below(&r, 8); k; k--)
			element(&r, rng_below(&r, 20) == 0, &body, &says);
		says.n += rng_below(&r, 20) == 0;
		len[0] = (uint8_t)(says.n | 0x80);
		len[1] = (uint8_t)(says.n >> 7);
		bytes_add(&block, len, 2);
		bytes_add(&block, body.p, body.n);
		ok = ref_block(block.p, block.n, &ref);
		wire.n = 10;
		data(0, block.p, block.n, ref.p, ok ? ref.n : 0);
		cr_assert_eq(run(rng_below(&r, 2) * 9), ok ? 0 : -EBADMSG, "round %u", round);
		cr_assert_eq(plain.n, ok ? ref.n : 0);
		cr_assert(!ok || memcmp(plain.p, ref.p, ref.n) == 0);
		good += ok;
		bytes_free(&body);
		bytes_free(&says);
		bytes_free(&block);
		bytes_free(&ref);
	}
	cr_assert(good > 10000 && good < 18000, "%u of 20000 blocks were sound", good);
}
