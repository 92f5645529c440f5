/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/* splitmix64: the same numbers for the same seed on every machine. */
static inline uint64_t rnd_next(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}
