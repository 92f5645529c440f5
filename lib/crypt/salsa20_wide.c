/* SPDX-License-Identifier: MIT */

/*
 * Salsa20 in 16 lanes, a block each, of any packets of one key: a packet's blocks alone would leave lanes idle at its
 * end.  The state's words lie across the lanes, so that a round is plain vector arithmetic; then they are turned around
 * and added to the packets where they lie.
 */

#include "crypt_int.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define WIDE   __attribute__((target("avx512f,avx512bw")))
#define INLINE WIDE static inline __attribute__((always_inline))
#define WORDS  16

static const uint32_t sigma[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

/* A macro, for the rotation's distance is part of the instruction. */
#define STEP(to, a, b, by) (to) = _mm512_xor_si512(to, _mm512_rol_epi32(_mm512_add_epi32(a, b), by))
#define QUARTER(a, b, c, d)                 \
	do {                                \
		STEP(x[b], x[a], x[d], 7);  \
		STEP(x[c], x[b], x[a], 9);  \
		STEP(x[d], x[c], x[b], 13); \
		STEP(x[a], x[d], x[c], 18); \
	} while (0)

INLINE void rounds(__m512i *x)
{
	for (unsigned i = 0; i < 20; i += 2) {
		QUARTER(0, 4, 8, 12);
		QUARTER(5, 9, 13, 1);
		QUARTER(10, 14, 2, 6);
		QUARTER(15, 3, 7, 11);
		QUARTER(0, 1, 2, 3);
		QUARTER(5, 6, 7, 4);
		QUARTER(10, 11, 8, 9);
		QUARTER(15, 12, 13, 14);
	}
}

INLINE void begin(__m512i *x, const uint32_t *key, const struct crypt_salsa_lanes *l)
{
	for (unsigned i = 0; i < 4; i++) {
		x[5 * i] = _mm512_set1_epi32((int)sigma[i]);
		x[1 + i] = _mm512_set1_epi32((int)key[i]);
		x[11 + i] = _mm512_set1_epi32((int)key[4 + i]);
	}
	x[6] = _mm512_load_si512(l->nonce[0]);
	x[7] = _mm512_load_si512(l->nonce[1]);
	x[8] = _mm512_load_si512(l->block);
	x[9] = _mm512_setzero_si512();
}

/* Word w of lane i becomes word i of vector w, and the other way round: 16 x 16 words in place. */
INLINE void turn(__m512i *x)
{
	__m512i t[WORDS], u[WORDS];

#pragma GCC unroll 8
	for (unsigned i = 0; i < WORDS; i += 2) {
		t[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
	}
#pragma GCC unroll 4
	for (unsigned i = 0; i < WORDS; i += 4) {
		u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++) {
		__m512i even_a = _mm512_shuffle_i32x4(u[i], u[4 + i], 0x88);
		__m512i even_b = _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0x88);
		__m512i odd_a = _mm512_shuffle_i32x4(u[i], u[4 + i], 0xdd);
		__m512i odd_b = _mm512_shuffle_i32x4(u[8 + i], u[12 + i], 0xdd);

		x[i] = _mm512_shuffle_i32x4(even_a, even_b, 0x88);
		x[4 + i] = _mm512_shuffle_i32x4(odd_a, odd_b, 0x88);
		x[8 + i] = _mm512_shuffle_i32x4(even_a, even_b, 0xdd);
		x[12 + i] = _mm512_shuffle_i32x4(odd_a, odd_b, 0xdd);
	}
}

WIDE static void salsa_avx512(const uint32_t *key, const struct crypt_salsa_lanes *l)
{
	__m512i x[WORDS], was[WORDS];

	begin(x, key, l);
#pragma GCC unroll 16
	for (unsigned i = 0; i < WORDS; i++)
		was[i] = x[i];
	rounds(x);
#pragma GCC unroll 16
	for (unsigned i = 0; i < WORDS; i++)
		x[i] = _mm512_add_epi32(x[i], was[i]);
	turn(x);
#pragma GCC unroll 16
	for (unsigned i = 0; i < WORDS; i++) {
		__mmask64 mask = l->n[i] ? ~(__mmask64)0 >> (CRYPT_SALSA_BLOCK - l->n[i]) : 0;
		__m512i data = _mm512_maskz_loadu_epi8(mask, l->p[i]);

		_mm512_mask_storeu_epi8(l->p[i], mask, _mm512_xor_si512(data, x[i]));
	}
	_mm256_zeroupper();
}
#endif

crypt_salsa_fn *crypt_salsa_form(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
		return salsa_avx512;
#endif
	return NULL;
}
