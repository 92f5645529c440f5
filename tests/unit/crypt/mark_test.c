/* SPDX-License-Identifier: MIT */

/*
 * What a stranger can make of a datagram that he has recorded: whatever bits he changes, if it still opens, it bears
 * the same mark.
 */

#include <criterion/criterion.h>
#include <string.h>

#include "crypt_int.h"

#define LEN 61 /* payload: no whole blocks */

static const uint8_t seed[32] = {3}, key[CRYPT_KEY_LEN] = {1, 2, 3};

struct sealed {
	struct crypt *c;
	struct crypt_mb *mb;
	unsigned at, len; /* of the mark */
	uint16_t n;
	uint8_t p[128];
};

static void seal(struct sealed *s, const char *name)
{
	uint8_t buf[256] = {0};
	struct pkt k = {.p = buf + 64, .n = LEN};

	cr_assert_eq(crypt_create(&s->c, name, key), 0);
	cr_assert_eq(crypt_mb_create(&s->mb, seed, 1, 0, 0), 0);
	cr_assert_eq(crypt_mb_attach(s->mb, s->c), 0);
	s->len = crypt_mark(s->c, &s->at);
	for (unsigned i = 0; i < LEN; i++)
		k.p[i] = (uint8_t)(7 * i);
	k.crypt = s->c;
	crypt_seal_burst(s->mb, &k, 1);
	s->n = k.n;
	memcpy(s->p, k.p, k.n);
}

static void unseal(struct sealed *s)
{
	crypt_mb_destroy(s->mb);
	crypt_destroy(s->c);
}

static bool opens(struct sealed *s, const uint8_t *p)
{
	uint8_t buf[256];
	struct pkt k = {.p = buf + 64, .n = s->n, .crypt = s->c};

	memcpy(k.p, p, s->n);
	crypt_open_burst(s->mb, &k, 1);
	return k.verdict == VERDICT_OK;
}

static bool keeps_none_out(const char *name)
{
	return !strcmp(name, "xor") || !strcmp(name, "none") || !strcmp(name, "null");
}

Test(crypt_mark, no_bit_of_it_can_be_changed)
{
	for (unsigned i = 0; crypt_name(i); i++) {
		const char *name = crypt_name(i);
		struct sealed s;

		seal(&s, name);
		cr_assert(opens(&s, s.p), "%s", name);
		cr_assert_leq(s.len, CRYPT_MARK_MAX);
		cr_assert_leq(s.at + s.len, crypt_head(s.c), "%s", name);
		cr_expect_eq(s.len == 0, !strcmp(name, "null"), "%s", name);
		for (unsigned bit = 8 * s.at; bit < 8 * (s.at + s.len) && !keeps_none_out(name); bit++) {
			uint8_t p[128];

			memcpy(p, s.p, s.n);
			p[bit / 8] ^= (uint8_t)(1 << bit % 8);
			cr_expect_not(opens(&s, p), "%s: bit %u", name, bit);
		}
		unseal(&s);
	}
}

/* Of each pair of bytes elsewhere, a bit of each: CFB lets the nonce's first block of 8 bytes be changed, for one. */
Test(crypt_mark, what_can_be_changed_is_outside_of_it)
{
	unsigned changed = 0;

	for (unsigned i = 0; crypt_name(i); i++) {
		struct sealed s;

		seal(&s, crypt_name(i));
		for (unsigned b = 0; b < s.n && !keeps_none_out(crypt_name(i)); b++) {
			uint8_t p[128];

			memcpy(p, s.p, s.n);
			p[b] ^= 0x10;
			if (opens(&s, p)) {
				cr_expect(b < s.at || b >= s.at + s.len, "%s: byte %u", crypt_name(i), b);
				changed++;
			}
		}
		unseal(&s);
	}
	cr_assert_geq(changed, 5 * 8, "blowfish, cast5, 3des, tea, xtea have 8 such bytes each: %u", changed);
}

/*
 * Salsa20 is a stream: who flips bits of the payload can flip those of the checksum that they make differ, for CRC32 is
 * linear.  So anything can be made of a datagram but another mark.
 */
Test(crypt_mark, a_forgery_under_salsa20_bears_it)
{
	uint8_t flip[128] = {0}, none[128] = {0}, p[128];
	uint32_t crc;
	struct sealed s;

	seal(&s, "salsa20");
	flip[30] = 0xff;
	crc = crypt_crc(flip, LEN) ^ crypt_crc(none, LEN);
	memcpy(p, s.p, s.n);
	p[CRYPT_HEAD_LEN + 30] ^= 0xff;
	le32_put(p + CRYPT_CRC_OFF, le32_get(p + CRYPT_CRC_OFF) ^ crc);
	cr_assert(opens(&s, p));
	cr_assert_eq(memcmp(p + s.at, s.p + s.at, s.len), 0);
	unseal(&s);
}

/* It tells datagrams apart. */
Test(crypt_mark, differs_from_datagram_to_datagram)
{
	for (unsigned i = 0; crypt_name(i); i++) {
		uint8_t buf[2][256] = {{0}};
		struct pkt k[2] = {{.p = buf[0] + 64, .n = LEN}, {.p = buf[1] + 64, .n = LEN}};
		struct sealed s;

		seal(&s, crypt_name(i));
		k[0].crypt = k[1].crypt = s.c;
		crypt_seal_burst(s.mb, k, 2);
		if (s.len)
			cr_expect_neq(memcmp(k[0].p + s.at, k[1].p + s.at, s.len), 0, "%s", crypt_name(i));
		unseal(&s);
	}
}
