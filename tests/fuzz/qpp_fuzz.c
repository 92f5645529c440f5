/* SPDX-License-Identifier: MIT */

/*
 * QPP in pieces of any size beside one byte at a time, both ways; and back.
 *
 *	pads(1) piece sizes: n(1), that many sizes(2); bytes
 */

#include "fuzz.h"
#include "qpp.h"

#define MOST 8192

static void in_pieces(const struct qpp_pads *q, struct fuzz_in sizes, uint8_t *to, const uint8_t *from, uint32_t n,
		      bool seal)
{
	struct qpp_prng r;

	qpp_prng_init(&r, q);
	for (uint32_t at = 0; at < n;) {
		uint32_t k = sizes.n ? fuzz_u16(&sizes) : n;

		if (k > n - at)
			k = n - at;
		(seal ? qpp_encrypt : qpp_decrypt)(q, &r, to + at, from + at, k);
		at += k;
	}
}

static void one_by_one(const struct qpp_pads *q, uint8_t *to, const uint8_t *from, uint32_t n, bool seal)
{
	struct qpp_prng r;

	qpp_prng_init(&r, q);
	for (uint32_t i = 0; i < n; i++)
		(seal ? qpp_encrypt : qpp_decrypt)(q, &r, to + i, from + i, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const unsigned counts[] = {7, 61, 61, 251};
	static struct qpp_pads *pads[4];
	static uint8_t fast[MOST], plain[MOST], back[MOST];
	struct fuzz_in in = {p, n}, sizes;
	unsigned which = fuzz_u8(&in) & 3;
	const bool seal = which != 2;
	uint32_t len;

	if (!pads[which])
		fuzz_must(qpp_pads_create(&pads[which], "it's a secrect", 14, counts[which]) == 0);
	sizes = fuzz_bytes(&in, 2u * fuzz_u8(&in));
	len = in.n < MOST ? (uint32_t)in.n : MOST;
	in_pieces(pads[which], sizes, fast, in.p, len, seal);
	one_by_one(pads[which], plain, in.p, len, seal);
	fuzz_must(memcmp(fast, plain, len) == 0);
	in_pieces(pads[which], (struct fuzz_in){0}, back, fast, len, !seal);
	fuzz_must(len == 0 || memcmp(back, in.p, len) == 0);
	return 0;
}
