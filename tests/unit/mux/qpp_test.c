/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <gcrypt.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "qpp_int.h"
#include "rig.h"
#include "vectors.h"

/* QPP (wire.md section 7) against the Go code's bytes, and the fast path against a plain one. */

static const char *text(const json_t *v, const char *key)
{
	return json_string_value(json_object_get(v, key));
}

static struct qpp_pads *derive(const json_t *v)
{
	struct qpp_pads *q = NULL;
	const char *key = text(v, "key");

	cr_assert_eq(qpp_derive(&q, key, (uint32_t)strlen(key),
				(unsigned)json_integer_value(json_object_get(v, "qpp_count"))),
		     0);
	return q;
}

static void same(const json_t *v, const char *key, const uint8_t *got, size_t len)
{
	size_t n;
	uint8_t *want = vectors_hex(v, key, &n);

	cr_assert_eq(n, len);
	cr_assert_eq(memcmp(got, want, n), 0, "%s", key);
	free(want);
}

static void for_each(void (*check)(const json_t *v, const struct qpp_pads *q))
{
	json_t *all = vectors_load("qpp"), *list = json_object_get(all, "vectors");

	cr_assert_eq(json_array_size(list), 6);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i);
		struct qpp_pads *q = derive(v);

		check(v, q);
		qpp_pads_destroy(q);
	}
	json_decref(all);
}

static void check_pads(const json_t *v, const struct qpp_pads *q)
{
	uint8_t sum[32];

	gcry_md_hash_buffer(GCRY_MD_SHA256, sum, q->pad, (size_t)q->count * 256);
	same(v, "pads_sha256", sum, 32);
	same(v, "pad_0", q->pad[0], 256);
	same(v, "pad_last", q->pad[q->count - 1], 256);
	same(v, "reverse_pad_0", q->inverse[0], 256);
	for (uint32_t p = 0; p < q->count; p++)
		for (unsigned b = 0; b < 256; b++)
			cr_assert_eq(q->inverse[p][q->pad[p][b]], b);
}

Test(mux_qpp, pads)
{
	for_each(check_pads);
}

/* The generator's words: what a word permutes zeros to tells it, through the inverse of the pad that it picks. */
static void check_words(const json_t *v, const struct qpp_pads *q)
{
	const json_t *words = json_object_get(v, "prng_first_16_words");
	const json_t *index = json_object_get(v, "pad_index_for_first_16_words");
	static const uint8_t zeros[128];
	uint8_t out[128];
	struct qpp_prng r;

	qpp_prng_init(&r, q);
	qpp_encrypt(q, &r, out, zeros, sizeof(out));
	cr_assert_eq(json_array_size(words), 16);
	for (unsigned i = 0; i < 16; i++) {
		uint64_t w = strtoull(json_string_value(json_array_get(words, i)), NULL, 16);
		unsigned pad = (unsigned)json_integer_value(json_array_get(index, i));

		cr_assert_eq(pad, (w & 0xffff) % q->count);
		for (unsigned k = 0; k < 8; k++)
			cr_assert_eq(q->inverse[pad][out[8 * i + k]], (uint8_t)(w >> 8 * k), "word %u", i);
	}
}

Test(mux_qpp, words)
{
	for_each(check_words);
}

static void check_bytes(const json_t *v, const struct qpp_pads *q)
{
	const json_t *sizes = json_object_get(v, "write_sizes");
	struct qpp_prng e, d;
	uint8_t *plain, *cipher, out[514], back[514];
	size_t n, at = 0;

	plain = vectors_hex(v, "plain", &n);
	cr_assert_eq(n, sizeof(out));
	cipher = vectors_hex(v, "cipher", &n);
	cr_assert_eq(n, sizeof(out));
	qpp_prng_init(&e, q);
	qpp_prng_init(&d, q);
	for (size_t i = 0; i < json_array_size(sizes); i++) {
		uint32_t len = (uint32_t)json_integer_value(json_array_get(sizes, i));

		qpp_encrypt(q, &e, out + at, plain + at, len);
		qpp_decrypt(q, &d, back + at, cipher + at, len);
		at += len;
	}
	cr_assert_eq(at, sizeof(out));
	cr_assert_eq(memcmp(out, cipher, at), 0);
	cr_assert_eq(memcmp(back, plain, at), 0);
	free(plain);
	free(cipher);
}

Test(mux_qpp, bytes)
{
	for_each(check_bytes);
}

/* Byte by byte, as the specification says it. */
static void plain_encrypt(const struct qpp_pads *q, struct qpp_prng *r, uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (r->used == 8) {
			uint64_t *s = r->s, x = s[1] * 5, t = s[1] << 17;

			r->word = (x << 7 | x >> 57) * 9;
			s[2] ^= s[0];
			s[3] ^= s[1];
			s[1] ^= s[2];
			s[0] ^= s[3];
			s[2] ^= t;
			s[3] = s[3] << 45 | s[3] >> 19;
			r->used = 0;
		}
		p[i] = q->pad[(r->word & 0xffff) % q->count][p[i] ^ (uint8_t)(r->word >> 8 * r->used++)];
	}
}

Test(mux_qpp, any_offset_and_length)
{
	struct qpp_pads *q;
	struct rng g = {7};
	uint8_t buf[128], want[128], got[128], back[128];

	cr_assert_eq(qpp_pads_create(&q, "key", 3, 61), 0);
	for (uint32_t first = 0; first <= 24; first++) {
		for (uint32_t n = 0; n <= 64; n++) {
			struct qpp_prng a, b, c;

			for (unsigned i = 0; i < sizeof(buf); i++)
				buf[i] = (uint8_t)rng_next(&g);
			memcpy(want, buf, sizeof(buf));
			memset(got, 0xee, sizeof(got));
			qpp_prng_init(&a, q);
			b = c = a;
			plain_encrypt(q, &a, want, first + n);
			qpp_encrypt(q, &b, got, buf, first);
			qpp_encrypt(q, &b, got + first, buf + first, n);
			cr_assert_eq(memcmp(got, want, first + n), 0, "%u then %u", first, n);
			cr_assert_eq(got[first + n], 0xee);
			memcpy(back, got, sizeof(back));
			qpp_decrypt(q, &c, back, back, first); /* in place */
			qpp_decrypt(q, &c, back + first, back + first, n);
			cr_assert_eq(memcmp(back, buf, first + n), 0, "%u then %u", first, n);
			/* They go on from the same place. */
			memset(want, 0, 16);
			memset(buf, 0, 16);
			plain_encrypt(q, &a, want, 16);
			qpp_encrypt(q, &b, got, buf, 16);
			cr_assert_eq(memcmp(got, want, 16), 0, "behind %u and %u", first, n);
			qpp_decrypt(q, &c, back, got, 16);
			cr_assert_eq(memcmp(back, buf, 16), 0, "behind %u and %u", first, n);
		}
	}
	qpp_pads_destroy(q);
}

/* Whichever the count, the pad is the remainder's. */
Test(mux_qpp, remainder)
{
	for (uint32_t n = 1; n <= QPP_COUNT_MAX; n += n < 300 ? 1 : 997)
		for (uint32_t x = 0; x <= UINT16_MAX; x++)
			cr_assert_eq((uint64_t)(uint32_t)(x * (UINT32_MAX / n + 1)) * n >> 32, x % n);
}

Test(mux_qpp, refused_counts)
{
	static const unsigned primes[] = {2, 3, 5, 7, 11, 13, 61, 251, 257, 1021, 65521};
	static const unsigned small[] = {0, 1};
	static const unsigned composite[] = {4, 6, 8, 9, 15, 25, 49, 60, 1024, 65517};
	struct qpp_pads *q = NULL;

	for (unsigned i = 0; i < sizeof(primes) / sizeof(primes[0]); i++)
		cr_assert_eq(qpp_count_check(primes[i]), 0, "%u", primes[i]);
	for (unsigned i = 0; i < sizeof(small) / sizeof(small[0]); i++)
		cr_assert_eq(qpp_pads_create(&q, "k", 1, small[i]), -ERANGE, "%u", small[i]);
	for (unsigned i = 0; i < sizeof(composite) / sizeof(composite[0]); i++)
		cr_assert_eq(qpp_pads_create(&q, "k", 1, composite[i]), -EINVAL, "%u", composite[i]);
	for (unsigned i = 65522; i <= 65537; i++)
		cr_assert_eq(qpp_pads_create(&q, "k", 1, i), -ERANGE, "%u", i);
	cr_assert_null(q);
	cr_assert_eq(qpp_pads_create(&q, "k", 1, 2), 0);
	qpp_pads_destroy(q);
	qpp_pads_destroy(NULL);
}
