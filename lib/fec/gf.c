/* SPDX-License-Identifier: MIT */
#include "fec_gf.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <isa-l/erasure_code.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "upper.h"

/* ---- ISA-L ---- */

static void isal_tables(unsigned k, unsigned rows, const uint8_t *coef, uint8_t *tables)
{
	ec_init_tables((int)k, (int)rows, (uint8_t *)coef, tables);
	upper_clean();
}

static void isal_sum(unsigned n, unsigned k, unsigned rows, const uint8_t *tables, uint8_t *const *src,
		     uint8_t *const *dst)
{
	ec_encode_data((int)n, (int)k, (int)rows, (uint8_t *)tables, (uint8_t **)src, (uint8_t **)dst);
	upper_clean();
}

static void isal_add(unsigned n, unsigned k, unsigned rows, unsigned i, const uint8_t *tables, const uint8_t *src,
		     uint8_t *const *dst)
{
	ec_encode_data_update((int)n, (int)k, (int)rows, (int)i, (uint8_t *)tables, (uint8_t *)src, (uint8_t **)dst);
	upper_clean();
}

static const struct fec_gf isal = {"isa-l", isal_tables, isal_sum, isal_add, 6};

/* ---- bit matrices ---- */

#if defined(__x86_64__)

/*
 * Multiplying by c is linear over bits: a matrix of 8 x 8 of them, in the order that GF2P8AFFINEQB wants, and itself
 * linear in c.  Those of the numbers below 16, and of their multiples by 16, in the field 0x11d.
 */
/* clang-format off */
static const uint64_t low[16] = {
	0x0000000000000000, 0x0102040810204080, 0x8001828488102040, 0x8103868c983060c0,
	0x408041c2c4881020, 0x418245cad4a850a0, 0xc081c3464c983060, 0xc183c74e5cb870e0,
	0x2040a061e2c48810, 0x2142a469f2e4c890, 0xa04122e56ad4a850, 0xa14326ed7af4e8d0,
	0x60c0e1a3264c9830, 0x61c2e5ab366cd8b0, 0xe0c16327ae5cb870, 0xe1c3672fbe7cf8f0,
};

static const uint64_t high[16] = {
	0x0000000000000000, 0x102050b071e2c488, 0x8810a8d83871e2c4, 0x9830f8684993264c,
	0xc488d46c1c3871e2, 0xd4a884dc6ddab56a, 0x4c987cb424499326, 0x5cb82c0455ab57ae,
	0xe2c46a368e1c3871, 0xf2e43a86fffefcf9, 0x6ad4c2eeb66ddab5, 0x7af4925ec78f1e3d,
	0x264cbe5a92244993, 0x366ceeeae3c68d1b, 0xae5c1682aa55ab57, 0xbe7c4632dbb76fdf,
};
/* clang-format on */

#define WIDE	 __attribute__((target("avx512f,avx512bw,avx512vl,gfni")))
#define ROWS_MAX 6 /* sums that stay in registers, two vectors each */
#define VEC	 64

static void gfni_tables(unsigned k, unsigned rows, const uint8_t *coef, uint8_t *tables)
{
	for (unsigned i = 0; i < k * rows; i++) {
		uint64_t m = low[coef[i] & 15] ^ high[coef[i] >> 4];

		memcpy(tables + i * sizeof(m), &m, sizeof(m));
	}
}

WIDE static inline __attribute__((always_inline)) __m512i matrix(const uint8_t *tables, unsigned at)
{
	long long m;

	memcpy(&m, tables + at * sizeof(m), sizeof(m));
	return _mm512_set1_epi64(m);
}

WIDE static inline __attribute__((always_inline)) __m512i times(__m512i x, const uint8_t *tables, unsigned at)
{
	return _mm512_gf2p8affine_epi64_epi8(x, matrix(tables, at), 0);
}

/* The bytes at p that `mask` lets through, 0 for the others: nothing beyond is touched. */
WIDE static inline __attribute__((always_inline)) __m512i load(const uint8_t *p, __mmask64 mask)
{
	return _mm512_maskz_loadu_epi8(mask, p);
}

/* Columns [at, at + 2 * VEC) of `rows` sums; `mask` is for the second half of them, or for the first if that is all. */
WIDE static inline __attribute__((always_inline)) void columns(unsigned at, bool two, __mmask64 mask, unsigned k,
							       unsigned rows, const uint8_t *tables,
							       uint8_t *const *src, uint8_t *const *dst)
{
	const __mmask64 first = two ? ~(__mmask64)0 : mask;
	__m512i a[ROWS_MAX], b[ROWS_MAX];

#pragma GCC unroll 6
	for (unsigned r = 0; r < rows; r++)
		a[r] = b[r] = _mm512_setzero_si512();
	for (unsigned i = 0; i < k; i++) {
		__m512i x = load(src[i] + at, first), y = two ? load(src[i] + at + VEC, mask) : x;

#pragma GCC unroll 6
		for (unsigned r = 0; r < rows; r++) {
			a[r] = _mm512_xor_si512(a[r], times(x, tables, r * k + i));
			if (two)
				b[r] = _mm512_xor_si512(b[r], times(y, tables, r * k + i));
		}
	}
#pragma GCC unroll 6
	for (unsigned r = 0; r < rows; r++) {
		_mm512_mask_storeu_epi8(dst[r] + at, first, a[r]);
		if (two)
			_mm512_mask_storeu_epi8(dst[r] + at + VEC, mask, b[r]);
	}
}

WIDE static inline __attribute__((always_inline)) void sum_rows(unsigned n, unsigned k, unsigned rows,
								const uint8_t *tables, uint8_t *const *src,
								uint8_t *const *dst)
{
	unsigned at = 0;

	for (; n - at >= 2 * VEC; at += 2 * VEC)
		columns(at, true, ~(__mmask64)0, k, rows, tables, src, dst);
	if (n - at > VEC)
		columns(at, true, ~(__mmask64)0 >> (2 * VEC - (n - at)), k, rows, tables, src, dst);
	else if (n > at)
		columns(at, false, ~(__mmask64)0 >> (VEC - (n - at)), k, rows, tables, src, dst);
}

/* f(n, k, rows, ...) for up to ROWS_MAX rows at a time, their number a constant. */
#define ROWS_CASE(f, c, n, k, ...)            \
	case c:                               \
		f(n, k, c, __VA_ARGS__, dst); \
		return
#define BY_ROWS(f, n, k, ...)                                                                             \
	for (;; dst += ROWS_MAX, tables += (size_t)ROWS_MAX * (k) * sizeof(uint64_t), rows -= ROWS_MAX) { \
		switch (rows) {                                                                           \
		case 0:                                                                                   \
			return;                                                                           \
			ROWS_CASE(f, 1, n, k, __VA_ARGS__);                                               \
			ROWS_CASE(f, 2, n, k, __VA_ARGS__);                                               \
			ROWS_CASE(f, 3, n, k, __VA_ARGS__);                                               \
			ROWS_CASE(f, 4, n, k, __VA_ARGS__);                                               \
			ROWS_CASE(f, 5, n, k, __VA_ARGS__);                                               \
		default:                                                                                  \
			f(n, k, ROWS_MAX, __VA_ARGS__, dst);                                              \
		}                                                                                         \
	}

WIDE static void gfni_sum(unsigned n, unsigned k, unsigned rows, const uint8_t *tables, uint8_t *const *src,
			  uint8_t *const *dst)
{
	BY_ROWS(sum_rows, n, k, tables, src);
}

/* Where the sums lie and what they take of the source, in registers: a store to a sum might change either in memory. */
struct adding {
	uint8_t *to[ROWS_MAX];
	__m512i by[ROWS_MAX];
};

WIDE static inline __attribute__((always_inline)) void add_column(unsigned at, __mmask64 mask, unsigned rows,
								  const struct adding *t, const uint8_t *src)
{
	__m512i x = load(src + at, mask);

#pragma GCC unroll 6
	for (unsigned r = 0; r < rows; r++) {
		__m512i sum = load(t->to[r] + at, mask);

		sum = _mm512_xor_si512(sum, _mm512_gf2p8affine_epi64_epi8(x, t->by[r], 0));
		_mm512_mask_storeu_epi8(t->to[r] + at, mask, sum);
	}
}

WIDE static inline __attribute__((always_inline)) void add_rows(unsigned n, unsigned k, unsigned rows, unsigned i,
								const uint8_t *tables, const uint8_t *src,
								uint8_t *const *dst)
{
	struct adding t;
	unsigned at = 0;

#pragma GCC unroll 6
	for (unsigned r = 0; r < rows; r++) {
		t.to[r] = dst[r];
		t.by[r] = matrix(tables, r * k + i);
	}
	for (; n - at >= VEC; at += VEC)
		add_column(at, ~(__mmask64)0, rows, &t, src);
	if (n > at)
		add_column(at, ~(__mmask64)0 >> (VEC - (n - at)), rows, &t, src);
}

WIDE static void gfni_add(unsigned n, unsigned k, unsigned rows, unsigned i, const uint8_t *tables, const uint8_t *src,
			  uint8_t *const *dst)
{
	BY_ROWS(add_rows, n, k, i, tables, src);
}

static const struct fec_gf gfni = {"gfni", gfni_tables, gfni_sum, gfni_add, UINT8_MAX};

static bool has_gfni(void)
{
	return __builtin_cpu_supports("gfni") && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

#else
static const struct fec_gf gfni;

static bool has_gfni(void)
{
	return false;
}
#endif

const struct fec_gf *fec_gf(void)
{
	return has_gfni() ? &gfni : &isal;
}

const struct fec_gf *fec_gf_form(unsigned i)
{
	if (i == 0)
		return fec_gf();
	return i == 1 && has_gfni() ? &isal : NULL;
}
