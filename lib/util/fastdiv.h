/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Division by a number that stays: one multiplication, where the instruction takes ten times as long.  The reciprocal
 * is rounded up to (2^64 + e) / d with e < d; what x / d gains by it is x * e / (d * 2^64), which is below 1 / d for
 * all 32-bit x and so never reaches the next whole number.
 */

#include <stdint.h>

struct fastdiv {
	uint64_t m;
};

/* For quotients by d, at least 2.  This divides. */
static inline struct fastdiv fastdiv_by(uint32_t d)
{
	return (struct fastdiv){UINT64_MAX / d + 1};
}

/* x / d */
static inline uint32_t fastdiv(struct fastdiv f, uint32_t x)
{
	return (uint32_t)(((unsigned __int128)x * f.m) >> 64);
}
