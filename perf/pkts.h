/* SPDX-License-Identifier: MIT */
#pragma once

/* Packets for the benchmarks of the packet rooms: vectors over buffers that lie as far apart as mbufs do. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pkt.h"

#define PKTS_HEAD   256	 /* writable bytes before a payload: what an mbuf has, and its own struct */
#define PKTS_STRIDE 2368 /* an mbuf of 2 KiB with its head, and a line more: pools spread objects so */
#define PKTS_BYTES  1344 /* the payload that the rooms see of a full packet at mtu 1350 */

struct pkts {
	struct pkt *v;
	uint8_t *mem;
	unsigned n;
};

/* xorshift64*: bytes and choices that are the same in every run. */
static inline uint64_t pkts_rnd(uint64_t *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1du;
}

static inline void pkts_fill(void *p, size_t n, uint64_t seed)
{
	uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		b[i] = (uint8_t)(pkts_rnd(&seed) >> 56);
}

/* The payload of packet i in its buffer. */
static inline uint8_t *pkts_at(const struct pkts *s, unsigned i)
{
	return s->mem + (size_t)i * PKTS_STRIDE + PKTS_HEAD;
}

/* Every packet as new: `bytes` of payload at its place. */
static inline void pkts_reset(struct pkts *s, uint16_t bytes)
{
	for (unsigned i = 0; i < s->n; i++) {
		s->v[i].p = pkts_at(s, i);
		s->v[i].n = bytes;
		s->v[i].verdict = VERDICT_OK;
		s->v[i].flags = 0;
	}
}

/* n packets of random bytes.  Lives as long as the program; ends it when there is no memory. */
static inline void pkts_make(struct pkts *s, unsigned n, uint16_t bytes)
{
	s->n = n;
	s->v = aligned_alloc(64, n * sizeof(*s->v));
	s->mem = aligned_alloc(64, (size_t)n * PKTS_STRIDE);
	if (!s->v || !s->mem)
		abort();
	memset(s->v, 0, n * sizeof(*s->v));
	pkts_fill(s->mem, (size_t)n * PKTS_STRIDE, 1);
	pkts_reset(s, bytes);
}
