/* SPDX-License-Identifier: MIT */
#pragma once

/* Unaligned loads and stores.  kcptun's formats are little-endian (wire.md), those of the Internet big-endian. */

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "kcpgate is written for little-endian machines"
#endif

#define LE_ACCESSORS(bits)                                           \
	static inline uint##bits##_t le##bits##_get(const void *p)   \
	{                                                            \
		uint##bits##_t v;                                    \
		memcpy(&v, p, sizeof(v));                            \
		return v;                                            \
	}                                                            \
	static inline void le##bits##_put(void *p, uint##bits##_t v) \
	{                                                            \
		memcpy(p, &v, sizeof(v));                            \
	}                                                            \
	static inline uint##bits##_t be##bits##_get(const void *p)   \
	{                                                            \
		return __builtin_bswap##bits(le##bits##_get(p));     \
	}                                                            \
	static inline void be##bits##_put(void *p, uint##bits##_t v) \
	{                                                            \
		le##bits##_put(p, __builtin_bswap##bits(v));         \
	}

LE_ACCESSORS(16)
LE_ACCESSORS(32)
LE_ACCESSORS(64)
#undef LE_ACCESSORS
