/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "le.h"
#include "qpp_int.h"
#include "vault.h"

_Static_assert(sizeof(struct qpp_prng) == 48, "what a stream pays for each direction");

int qpp_count_check(unsigned count)
{
	if (count < QPP_COUNT_MIN || count > QPP_COUNT_MAX)
		return -ERANGE;
	return limit_qpp_count(count) ? 0 : -EINVAL;
}

int qpp_pads_create(struct qpp_pads **out, const char *key, uint32_t key_len, unsigned count)
{
	int ret = qpp_count_check(count);

	return ret ? ret : qpp_derive(out, key, key_len, count);
}

void qpp_pads_destroy(struct qpp_pads *q)
{
	vault_put(q);
}

void qpp_prng_init(struct qpp_prng *r, const struct qpp_pads *q)
{
	*r = q->start;
}

static uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

/* xoshiro256** of Blackman and Vigna. */
static uint64_t prng_next(struct qpp_prng *r)
{
	uint64_t *s = r->s, out = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return out;
}

/* Number (word & 0xffff) % count, without a division: exact for operands of 16 bits. */
static const uint8_t *pad_of(const struct qpp_pads *q, const uint8_t (*pads)[256], uint64_t word)
{
	uint32_t frac = (uint32_t)(word & 0xffff) * q->recip;

	return pads[(uint64_t)frac * q->count >> 32];
}

/* The part of a word from byte `used` on, up to n bytes.  Returns how many. */
static inline __attribute__((always_inline)) uint32_t part(const struct qpp_pads *q, struct qpp_prng *r, uint8_t *out,
							   const uint8_t *in, uint32_t n, bool enc)
{
	const uint8_t *pad =
		pad_of(q, enc ? (const uint8_t(*)[256])q->pad : (const uint8_t(*)[256])q->inverse, r->word);
	uint32_t i;

	for (i = 0; i < n && r->used < 8; i++, r->used++) {
		uint8_t key = (uint8_t)(r->word >> 8 * r->used);

		out[i] = enc ? pad[in[i] ^ key] : pad[in[i]] ^ key;
	}
	return i;
}

/* Eight bytes through one pad. */
static inline uint64_t look_up(const uint8_t *pad, uint64_t x)
{
	uint64_t y = 0;

	for (unsigned i = 0; i < 64; i += 8)
		y |= (uint64_t)pad[x >> i & 0xff] << i;
	return y;
}

static inline __attribute__((always_inline)) void run(const struct qpp_pads *q, struct qpp_prng *r, uint8_t *out,
						      const uint8_t *in, uint32_t n, bool enc)
{
	const uint8_t(*pads)[256] = enc ? (const uint8_t(*)[256])q->pad : (const uint8_t(*)[256])q->inverse;
	uint32_t at = part(q, r, out, in, n, enc);

	for (; n - at >= 8; at += 8) {
		uint64_t x = le64_get(in + at), word = prng_next(r);
		const uint8_t *pad = pad_of(q, pads, word);

		le64_put(out + at, enc ? look_up(pad, x ^ word) : look_up(pad, x) ^ word);
	}
	if (at == n)
		return;
	r->word = prng_next(r);
	r->used = 0;
	part(q, r, out + at, in + at, n - at, enc);
}

void qpp_encrypt(const struct qpp_pads *q, struct qpp_prng *r, uint8_t *out, const uint8_t *in, uint32_t n)
{
	run(q, r, out, in, n, true);
}

void qpp_decrypt(const struct qpp_pads *q, struct qpp_prng *r, uint8_t *out, const uint8_t *in, uint32_t n)
{
	run(q, r, out, in, n, false);
}
