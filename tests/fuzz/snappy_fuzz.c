/* SPDX-License-Identifier: MIT */

/*
 * The snappy framing, in pieces of any size, beside a plain reader of the whole: the same bytes, the same end.  And
 * what our side makes of the same bytes is what that reader makes the bytes of again.
 *
 *	mode(1): 1 encode; piece(1) stream
 */

#include <errno.h>

#include "fuzz.h"
#include "stream.h"

static struct comp_scratch *scratch;

static void decode(struct mem *mem, const uint8_t *p, size_t n, size_t step)
{
	struct bytes want = {0}, got = {0};
	struct comp_dec d;
	unsigned chunks;
	bool good = ref_read(p, n, &want, &chunks);
	int rc;

	comp_dec_init(&d, mem);
	rc = dec_all(&d, scratch, p, n, step, &got);
	/* What a chunk cannot become any more is told as soon as it shows, which the plain reader does not do for one
	 * that has not come to its end: all else is the same. */
	fuzz_must(rc == 0 || rc == -EBADMSG);
	if (rc == 0)
		fuzz_must(good, "the plain reader takes it for corrupt");
	fuzz_must(got.n == want.n && memcmp(got.p ? got.p : p, want.p ? want.p : p, got.n) == 0, "%zu bytes, not %zu",
		  got.n, want.n);
	comp_dec_fini(&d);
	bytes_free(&want);
	bytes_free(&got);
}

/* Blocks of `step` bytes or so, each in up to three slices; then all of it read by both. */
static void encode(struct mem *mem, const uint8_t *p, size_t n, size_t step)
{
	struct bytes wire = {0}, back = {0};
	struct comp_enc e;
	struct comp_dec d;
	unsigned chunks;

	comp_enc_init(&e);
	for (size_t at = 0; at < n;) {
		size_t k = step + at % 7 < n - at ? step + at % 7 : n - at, a = k / 3, b = k / 2;
		struct slice v[3] = {
			{p + at, (uint32_t)a}, {p + at + a, (uint32_t)(b - a)}, {p + at + b, (uint32_t)(k - b)}};

		enc_add(&e, scratch, v, 3, &wire);
		at += k;
	}
	fuzz_must(ref_read(wire.p, wire.n, &back, &chunks));
	fuzz_must(back.n == n && memcmp(back.p ? back.p : p, p, n) == 0, "%zu bytes become %zu", n, back.n);
	back.n = 0;
	comp_dec_init(&d, mem);
	fuzz_must(dec_all(&d, scratch, wire.p, wire.n, step * 3 + 1, &back) == 0 && !comp_dec_partial(&d));
	fuzz_must(back.n == n && memcmp(back.p ? back.p : p, p, n) == 0);
	comp_dec_fini(&d);
	bytes_free(&wire);
	bytes_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = {p, n};
	unsigned mode = fuzz_u8(&in), piece = fuzz_u8(&in);
	struct mem *mem = fuzz_heap(4 << 20);

	if (!scratch)
		scratch = comp_scratch_create();
	fuzz_must(scratch);
	if (mode & 1)
		encode(mem, in.p, in.n, 1 + 16u * piece);
	else
		decode(mem, in.p, in.n, piece);
	fuzz_heap_end();
	return 0;
}
