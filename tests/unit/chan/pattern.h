/* SPDX-License-Identifier: MIT */
#pragma once

/* A byte for each position of a stream, such that a shift, a repetition or a hole does not go unseen. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint8_t pattern_at(uint64_t pos)
{
	return (uint8_t)((pos * 0x9e3779b97f4a7c15ull) >> 56);
}

static inline void pattern_fill(void *p, uint64_t pos, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = pattern_at(pos + i);
}

static inline bool pattern_is(const void *p, uint64_t pos, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((const uint8_t *)p)[i] != pattern_at(pos + i))
			return false;
	return true;
}
