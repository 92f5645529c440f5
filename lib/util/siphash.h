/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * SipHash-2-4 of whole words (Aumasson, Bernstein 2012): what must not be guessed by who sees many of its values, or be
 * made to collide by who chooses what goes in.  Not of bytes: the length word of the original is left out, so all
 * inputs under one key are to be of one length.
 */

#include <stdint.h>

static inline uint64_t siphash_rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline void siphash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = siphash_rotl(v[1], 13) ^ v[0];
	v[0] = siphash_rotl(v[0], 32);
	v[2] += v[3];
	v[3] = siphash_rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = siphash_rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = siphash_rotl(v[1], 17) ^ v[2];
	v[2] = siphash_rotl(v[2], 32);
}

static inline uint64_t siphash_words(const uint64_t key[2], const uint64_t *w, unsigned n)
{
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
			 key[1] ^ 0x7465646279746573};

	for (unsigned i = 0; i < n; i++) {
		v[3] ^= w[i];
		siphash_round(v);
		siphash_round(v);
		v[0] ^= w[i];
	}
	v[2] ^= 0xff;
	for (unsigned i = 0; i < 4; i++)
		siphash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
