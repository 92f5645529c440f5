/* SPDX-License-Identifier: MIT */

/*
 * Opening AES-CFB with vector AES, in place and in one pass: P = C ^ E(C one block earlier), E(IV) for the first block.
 * From the end of the packet to its beginning, so that every block is read before it is written.
 */

#include "crypt_int.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define WIDE	__attribute__((target("avx512f,avx512bw,vaes")))
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

/* Not among the names that every compiler's __builtin_cpu_supports takes. */
static bool has_vaes(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_VAES);
}
#endif

crypt_cfb_fn *crypt_cfb_form(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && has_vaes())
		return open_vaes;
#endif
	return NULL;
}
