/* SPDX-License-Identifier: MIT */
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "le.h"
#include "net.h"

/*
 * The Internet checksum does not care in which word size, word order or byte order it is summed (RFC 1071, section 2),
 * so 32-bit words are added as they lie in memory into 64 bits: carries need no care below 2^32 words.
 */

/*
 * Fewer bytes than a word.  What is read under a condition a compiler may read without, where it believes that to be
 * harmless, and gcc 14 did: volatile says that these are read or not as written here.
 */
static uint64_t sum_few(const volatile uint8_t *p, size_t n, uint64_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += (uint64_t)p[i] << (i & 1) * 8;
	return sum;
}

/* Eight bytes before p + n can be read, be they summed already or not: what is not wanted of a word is cut off. */
static uint64_t sum_words(const uint8_t *p, size_t n, uint64_t sum)
{
	const uint8_t *last = p + n - 8;
	uint64_t other = 0, eight, rest;

	for (; n >= 16; p += 16, n -= 16) {
		uint64_t a = le64_get(p), b = le64_get(p + 8);

		sum += (a & UINT32_MAX) + (a >> 32);
		other += (b & UINT32_MAX) + (b >> 32);
	}
	eight = le64_get(n >= 8 ? p : last) & -(uint64_t)(n >= 8);
	rest = le64_get(last) >> 1 >> (63 - n % 8 * 8); /* in two steps: by 64, when nothing is left */
	sum += (eight & UINT32_MAX) + (eight >> 32);
	other += (rest & UINT32_MAX) + (rest >> 32);
	return sum + other;
}

#if defined(__x86_64__)
#define WIDE_MIN 128 /* below, setting up the lanes costs more than they save */

__attribute__((target("avx2"))) static uint64_t sum_avx2(const uint8_t *p, size_t n, uint64_t sum)
{
	const __m256i low = _mm256_set1_epi64x(UINT32_MAX);
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
	__m128i half;

	for (; n >= 64; p += 64, n -= 64) {
		__m256i x = _mm256_loadu_si256((const __m256i *)(const void *)p);
		__m256i y = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));

		a = _mm256_add_epi64(a, _mm256_and_si256(x, low));
		b = _mm256_add_epi64(b, _mm256_srli_epi64(x, 32));
		c = _mm256_add_epi64(c, _mm256_and_si256(y, low));
		d = _mm256_add_epi64(d, _mm256_srli_epi64(y, 32));
	}
	a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
	half = _mm_add_epi64(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
	sum += (uint64_t)_mm_cvtsi128_si64(half) + (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(half, half));
	_mm256_zeroupper(); /* which the compiler leaves out before a tail call: the next SSE instruction would stall */
	return sum_words(p, n, sum);
}
#endif

uint64_t net_sum(const void *p, size_t n, uint64_t sum)
{
#if defined(__x86_64__)
	if (n >= WIDE_MIN && __builtin_cpu_supports("avx2"))
		return sum_avx2(p, n, sum);
#endif
	return n < 8 ? sum_few(p, n, sum) : sum_words(p, n, sum);
}

uint16_t net_sum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)~sum;
}
