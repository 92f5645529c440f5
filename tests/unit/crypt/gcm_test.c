/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "crypt_int.h"

#define MAX 256

static struct crypt_mb *mb;
static struct crypt *c;
static uint8_t wire[MAX], buf[1 + 8 * MAX][MAX];
static struct pkt v[1 + 8 * MAX];

static void up(void)
{
	const uint8_t seed[32] = {1}, key[CRYPT_KEY_LEN] = {2};

	cr_assert_eq(crypt_mb_create(&mb, seed, 1, 0, 0), 0);
	cr_assert_eq(crypt_create(&c, "aes-128-gcm", key), 0);
	cr_assert_eq(crypt_mb_attach(mb, c), 0);
}

static void down(void)
{
	crypt_destroy(c);
	crypt_mb_destroy(mb);
}

TestSuite(crypt_gcm, .init = up, .fini = down);

static unsigned make(unsigned len)
{
	struct pkt k = {.p = wire + CRYPT_GCM_NONCE, .n = (uint16_t)len, .crypt = c};

	for (unsigned i = 0; i < len; i++)
		wire[CRYPT_GCM_NONCE + i] = (uint8_t)(i * 5 + len);
	crypt_seal_burst(mb, &k, 1);
	cr_assert_eq(k.n, len + CRYPT_GCM_NONCE + CRYPT_GCM_TAG);
	return k.n;
}

static void put(unsigned i, unsigned n)
{
	memcpy(buf[i], wire, n);
	v[i] = (struct pkt){.p = buf[i], .n = (uint16_t)n, .crypt = c};
}

/* Every single bit of nonce, body and tag, all in one burst with the one packet that is whole. */
Test(crypt_gcm, any_flipped_bit_is_refused)
{
	static const unsigned lens[] = {0, 1, 15, 16, 17, 64, 100, 220};

	for (unsigned l = 0; l < sizeof(lens) / sizeof(lens[0]); l++) {
		unsigned n = make(lens[l]), whole = n * 8;

		for (unsigned bit = 0; bit < n * 8; bit++) {
			put(bit, n);
			buf[bit][bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		put(whole, n);
		crypt_open_burst(mb, v, n * 8 + 1);
		for (unsigned bit = 0; bit < n * 8; bit++)
			cr_assert_eq(v[bit].verdict, DROP_CRYPT_BAD, "bit %u of byte %u of %u", bit % 8, bit / 8, n);
		cr_assert_eq(v[whole].verdict, VERDICT_OK);
		cr_assert_eq(v[whole].n, lens[l]);
	}
}

Test(crypt_gcm, cut_or_longer_is_refused)
{
	unsigned n = make(100);

	for (unsigned i = 0; i < n; i++)
		put(i, i);
	put(n, n + 1);
	crypt_open_burst(mb, v, n + 1);
	for (unsigned i = 0; i <= n; i++)
		cr_assert_eq(v[i].verdict, i < CRYPT_GCM_NONCE + CRYPT_GCM_TAG ? DROP_CRYPT_SHORT : DROP_CRYPT_BAD,
			     "%u bytes", i);
}
