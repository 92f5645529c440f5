/* SPDX-License-Identifier: MIT */
#pragma once

/* Keys for the suites of flow. */

#include <stdint.h>

#include "addr.h"

/* A seeded generator (splitmix64). */
static inline uint64_t rnd(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* A flow of a gateway at 192.0.2.1:4000. */
static inline struct flow_key key_v4(uint32_t peer, uint16_t port)
{
	return (struct flow_key){
		.peer = addr_v4(peer), .local = addr_v4(0xc0000201), .peer_port = port, .local_port = 4000};
}

static inline struct flow_key key_rnd(uint64_t *seed)
{
	struct flow_key k = key_v4((uint32_t)rnd(seed), (uint16_t)rnd(seed));

	if (rnd(seed) & 1) {
		for (unsigned i = 0; i < 16; i++) {
			k.peer.b[i] = (uint8_t)rnd(seed);
			k.local.b[i] = (uint8_t)rnd(seed);
		}
	}
	k.local_port = (uint16_t)rnd(seed);
	k.dev = (uint16_t)(rnd(seed) % 16);
	return k;
}
