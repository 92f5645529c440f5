/* SPDX-License-Identifier: MIT */

/*
 * AES-CFB with vector AES, in place and in one pass: C = P ^ E(C one block earlier), E(IV) for the first block.
 *
 * Opening knows all C from the start: it goes from the end of the packet to its beginning, so that every block is read
 * before it is written.  Sealing is serial within a packet, so sixteen packets of one key go abreast, four a vector.
 */

#include <string.h>

#include "crypt_int.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define WIDE	__attribute__((target("avx512f,avx512bw,avx512vl,vaes")))
#define INLINE	WIDE static inline __attribute__((always_inline))
#define VEC	64
#define ABREAST 4 /* vectors: enough to hide a round's latency */
#define CHUNK	(ABREAST * VEC)

INLINE __mmask64 bytes(uint32_t n)
{
	return n >= VEC ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
}

/* The blocks before those of p[0..n): the packet's own, and the IV before its first. */
INLINE __m512i before(const uint8_t *p, uint32_t n, bool first, __m512i iv)
{
	__mmask64 whole = bytes((n + CRYPT_BLOCK - 1) & ~(uint32_t)(CRYPT_BLOCK - 1));

	if (first)
		return _mm512_mask_loadu_epi8(iv, whole & ~(__mmask64)0xffff, p - CRYPT_BLOCK);
	return _mm512_maskz_loadu_epi8(whole, p - CRYPT_BLOCK);
}

/* The `count` vectors that hold p[0..n). */
INLINE void chunk(uint8_t *p, uint32_t n, unsigned count, bool first, __m512i iv, const __m512i *key, unsigned rounds)
{
	__m512i x[ABREAST];

#pragma GCC unroll 4
	for (unsigned i = 0; i < count; i++)
		x[i] = _mm512_xor_si512(before(p + i * VEC, n - i * VEC, first && i == 0, iv), key[0]);
#pragma GCC unroll 14
	for (unsigned r = 1; r < rounds; r++) {
#pragma GCC unroll 4
		for (unsigned i = 0; i < count; i++)
			x[i] = _mm512_aesenc_epi128(x[i], key[r]);
	}
#pragma GCC unroll 4
	for (unsigned i = 0; i < count; i++) {
		__mmask64 mask = bytes(n - i * VEC);
		__m512i c = _mm512_maskz_loadu_epi8(mask, p + i * VEC);

		x[i] = _mm512_xor_si512(_mm512_aesenclast_epi128(x[i], key[rounds]), c);
	}
	/* All are read by now: a vector's blocks reach into the one before. */
#pragma GCC unroll 4
	for (unsigned i = 0; i < count; i++)
		_mm512_mask_storeu_epi8(p + i * VEC, bytes(n - i * VEC), x[i]);
}

INLINE void open_rounds(uint8_t *p, uint32_t n, const uint8_t *enc, unsigned rounds)
{
	static const uint8_t iv_bytes[CRYPT_BLOCK] = CRYPT_IV;
	const __m512i iv = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)iv_bytes));
	uint32_t at = (n - 1) / CHUNK * CHUNK;
	__m512i key[15];

#pragma GCC unroll 15
	for (unsigned r = 0; r <= rounds; r++)
		key[r] = _mm512_broadcast_i32x4(_mm_load_si128((const __m128i *)(const void *)(enc + r * CRYPT_BLOCK)));
	switch ((n - at + VEC - 1) / VEC) {
	case 1:
		chunk(p + at, n - at, 1, at == 0, iv, key, rounds);
		break;
	case 2:
		chunk(p + at, n - at, 2, at == 0, iv, key, rounds);
		break;
	case 3:
		chunk(p + at, n - at, 3, at == 0, iv, key, rounds);
		break;
	default:
		chunk(p + at, n - at, ABREAST, at == 0, iv, key, rounds);
		break;
	}
	while (at) {
		at -= CHUNK;
		chunk(p + at, CHUNK, ABREAST, at == 0, iv, key, rounds);
	}
	_mm256_zeroupper();
}

WIDE static void open_vaes(uint8_t *p, uint32_t n, const uint8_t *enc, unsigned key_len)
{
	switch (key_len) {
	case 16:
		open_rounds(p, n, enc, 10);
		break;
	case 24:
		open_rounds(p, n, enc, 12);
		break;
	default:
		open_rounds(p, n, enc, 14);
		break;
	}
}

/* ---- sealing ---- */

/* What the next block of every lane is added to; x: the blocks before. */
INLINE void encrypt(__m512i *x, const __m512i *key, unsigned rounds)
{
#pragma GCC unroll 4
	for (unsigned i = 0; i < ABREAST; i++)
		x[i] = _mm512_xor_si512(x[i], key[0]);
#pragma GCC unroll 14
	for (unsigned r = 1; r < rounds; r++) {
#pragma GCC unroll 4
		for (unsigned i = 0; i < ABREAST; i++)
			x[i] = _mm512_aesenc_epi128(x[i], key[r]);
	}
#pragma GCC unroll 4
	for (unsigned i = 0; i < ABREAST; i++)
		x[i] = _mm512_aesenclast_epi128(x[i], key[rounds]);
}

INLINE __m128i load(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

INLINE void store(uint8_t *p, __m128i b)
{
	_mm_storeu_si128((__m128i *)(void *)p, b);
}

/* A whole block of four lanes. */
INLINE __m512i add_blocks(uint8_t *const *p, uint32_t at, __m512i x)
{
	__m512i b = _mm512_castsi128_si512(load(p[0] + at));

	b = _mm512_inserti32x4(b, load(p[1] + at), 1);
	b = _mm512_inserti32x4(b, load(p[2] + at), 2);
	b = _mm512_inserti32x4(b, load(p[3] + at), 3);
	x = _mm512_xor_si512(x, b);
	store(p[0] + at, _mm512_castsi512_si128(x));
	store(p[1] + at, _mm512_extracti32x4_epi32(x, 1));
	store(p[2] + at, _mm512_extracti32x4_epi32(x, 2));
	store(p[3] + at, _mm512_extracti32x4_epi32(x, 3));
	return x;
}

/* The same where some lanes have less of a block left, or nothing: n of them from `at` on. */
INLINE __m512i add_rests(uint8_t *const *p, const uint32_t *n, uint32_t at, __m512i x)
{
	_Alignas(64) uint8_t b[VEC];

	_mm512_store_si512(b, x);
	for (unsigned i = 0; i < VEC / CRYPT_BLOCK; i++) {
		uint32_t left = n[i] <= at ? 0 : n[i] - at < CRYPT_BLOCK ? n[i] - at : CRYPT_BLOCK;
		__mmask16 mask = (__mmask16)((1u << left) - 1);
		__m128i c = _mm_xor_si128(_mm_load_si128((const __m128i *)(const void *)(b + i * CRYPT_BLOCK)),
					  _mm_maskz_loadu_epi8(mask, p[i] + at));

		_mm_mask_storeu_epi8(p[i] + at, mask, c);
		_mm_store_si128((__m128i *)(void *)(b + i * CRYPT_BLOCK), c);
	}
	return _mm512_load_si512(b);
}

/* Lanes whose packet has ended by `at` go on in the scratch; returns where the next one ends, 0: all have. */
INLINE uint32_t next_end(const struct crypt_cfb_lanes *l, uint32_t at, uint8_t **p)
{
	uint32_t end = UINT32_MAX;

	for (unsigned i = 0; i < CRYPT_CFB_LANES; i++) {
		if (l->n[i] <= at)
			p[i] = l->scratch;
		else if (l->n[i] < end)
			end = l->n[i];
	}
	return end == UINT32_MAX ? 0 : end;
}

INLINE void seal_rounds(const struct crypt_cfb_lanes *l, const uint8_t *enc, unsigned rounds)
{
	static const uint8_t iv[CRYPT_BLOCK] = CRYPT_IV;
	uint8_t *p[CRYPT_CFB_LANES];
	uint32_t end, at = 0;
	__m512i key[15], x[ABREAST];

	memcpy(p, l->p, sizeof(p));
#pragma GCC unroll 15
	for (unsigned r = 0; r <= rounds; r++)
		key[r] = _mm512_broadcast_i32x4(load(enc + r * CRYPT_BLOCK));
#pragma GCC unroll 4
	for (unsigned i = 0; i < ABREAST; i++)
		x[i] = _mm512_broadcast_i32x4(load(iv));
	while ((end = next_end(l, at, p))) {
		for (; at + CRYPT_BLOCK <= end; at += CRYPT_BLOCK) {
			encrypt(x, key, rounds);
#pragma GCC unroll 4
			for (unsigned i = 0; i < ABREAST; i++)
				x[i] = add_blocks(p + i * ABREAST, at, x[i]);
		}
		if (at == end)
			continue;
		encrypt(x, key, rounds);
		for (unsigned i = 0; i < ABREAST; i++)
			x[i] = add_rests(p + i * ABREAST, l->n + i * ABREAST, at, x[i]);
		at += CRYPT_BLOCK;
	}
	_mm256_zeroupper();
}

WIDE static void seal_vaes(const struct crypt_cfb_lanes *l, const uint8_t *enc, unsigned key_len)
{
	switch (key_len) {
	case 16:
		seal_rounds(l, enc, 10);
		break;
	case 24:
		seal_rounds(l, enc, 12);
		break;
	default:
		seal_rounds(l, enc, 14);
		break;
	}
}

static const struct crypt_cfb_form vaes = {open_vaes, seal_vaes};

/* Not among the names that every compiler's __builtin_cpu_supports takes. */
static bool has_vaes(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_VAES);
}
#endif

const struct crypt_cfb_form *crypt_cfb_form(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512vl") && has_vaes())
		return &vaes;
#endif
	return NULL;
}
