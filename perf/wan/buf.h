/* SPDX-License-Identifier: MIT */
#pragma once

/* Buffers of one size for packets and segments, and dice: one thread, and the same everywhere. */

#include <stdint.h>
#include <stdlib.h>

#define BUF_SIZE 2048

struct buf {
	struct buf *next;
};

extern struct buf *buf_free;

static inline void *buf_get(void)
{
	struct buf *b = buf_free;

	if (b) {
		buf_free = b->next;
		return b;
	}
	b = malloc(BUF_SIZE);
	if (!b)
		abort();
	return b;
}

static inline void buf_put(void *p)
{
	struct buf *b = p;

	if (!b)
		return;
	b->next = buf_free;
	buf_free = b;
}

/* What was given back, to the system: at the end, so that a leak is one. */
void buf_drain(void);

/* splitmix64 */
struct rng {
	uint64_t s;
};

static inline uint64_t rng_next(struct rng *g)
{
	uint64_t z = g->s += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* 0 <= x < 1 */
static inline double rng_unit(struct rng *g)
{
	return (double)(rng_next(g) >> 11) * 0x1p-53;
}
