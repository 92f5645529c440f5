/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "crypt_int.h"

#define PAD 80

static uint8_t noise(unsigned i)
{
	return (uint8_t)(i * 167 + (i >> 3) * 29 + (i >> 8));
}

/* n bytes at two alignments, and not a byte beside them. */
static void check(crypt_xor_fn *form, unsigned n, unsigned at, unsigned stream_at)
{
	static uint8_t buf[2048 + 3 * PAD], want[sizeof(buf)];
	static _Alignas(64) uint8_t stream[sizeof(buf)];
	uint8_t *p = buf + PAD + at;

	for (unsigned i = 0; i < n + 3 * PAD; i++) {
		buf[i] = want[i] = noise(i + n);
		stream[i] = noise(3 * i + 11);
	}
	for (unsigned i = 0; i < n; i++)
		want[PAD + at + i] ^= stream[stream_at + i];
	form(p, stream + stream_at, n);
	if (memcmp(buf, want, n + 3 * PAD))
		cr_assert_fail("%u bytes at +%u, stream +%u", n, at, stream_at);
}

Test(crypt_xor, every_form)
{
	unsigned forms = 0;

	for (; crypt_xor_form(forms); forms++) {
		for (unsigned n = 1; n <= 320; n++) {
			for (unsigned at = 0; at < 64; at += 7)
				check(crypt_xor_form(forms), n, at, (n + at) % 4 * 16);
		}
		for (unsigned n = 321; n <= 2048; n++)
			check(crypt_xor_form(forms), n, n % 64, n % 61);
	}
	cr_assert_geq(forms, 1);
	cr_assert_null(crypt_xor_form(99));
}
