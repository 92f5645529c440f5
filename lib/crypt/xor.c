/* SPDX-License-Identifier: MIT */

/*
 * The XOR pass behind every keystream.  One body over the compiler's vectors, built for each vector width; the CPU's
 * widest is chosen when a worker's crypt_mb is made.
 */

#include <string.h>

#include "crypt_int.h"

#define FORM static inline __attribute__((always_inline))

/* n >= W bytes in steps of W.  The last step is computed before the loop changes what it overlaps. */
#define STEP(name, W)                                                                    \
	typedef uint8_t name __attribute__((vector_size(W), aligned(1), may_alias));     \
	FORM void name##_xor(uint8_t *p, const uint8_t *s, uint32_t n)                   \
	{                                                                                \
		name last = *(const name *)(p + n - (W)) ^ *(const name *)(s + n - (W)); \
		uint32_t i;                                                              \
                                                                                         \
		for (i = 0; i + (W) < n; i += (W))                                       \
			*(name *)(p + i) ^= *(const name *)(s + i);                      \
		*(name *)(p + n - (W)) = last;                                           \
	}

STEP(v8, 8)
STEP(v16, 16)
STEP(v32, 32)
STEP(v64, 64)

FORM void xor_short(uint8_t *p, const uint8_t *s, uint32_t n)
{
	if (n >= 16) {
		v16_xor(p, s, n);
	} else if (n >= 8) {
		v8_xor(p, s, n);
	} else {
		for (uint32_t i = 0; i < n; i++)
			p[i] ^= s[i];
	}
}

static void xor_sse(uint8_t *p, const uint8_t *stream, uint32_t n)
{
	xor_short(p, stream, n);
}

__attribute__((target("avx2"))) static void xor_avx2(uint8_t *p, const uint8_t *stream, uint32_t n)
{
	if (n >= 32)
		v32_xor(p, stream, n);
	else
		xor_short(p, stream, n);
}

__attribute__((target("avx512f,avx512bw"))) static void xor_avx512(uint8_t *p, const uint8_t *stream, uint32_t n)
{
	if (n >= 64)
		v64_xor(p, stream, n);
	else if (n >= 32)
		v32_xor(p, stream, n);
	else
		xor_short(p, stream, n);
}

crypt_xor_fn *crypt_xor_form(unsigned i)
{
	if (i == 0)
		return xor_sse;
	if (i == 1 && __builtin_cpu_supports("avx2"))
		return xor_avx2;
	if (i == 2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512bw"))
		return xor_avx512;
	return NULL;
}
