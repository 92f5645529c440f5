/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Which datagrams were seen already: a rolling window of the last ones, so that one that somebody has recorded and
 * sends again is known.  No clock, no malloc: time and memory are arguments.  One thread adds, others may ask at any
 * time.
 *
 * A table of cache lines, 15 fingerprints of 32 bits each, the oldest of a line overwritten by the next that falls into
 * it: a question is one line, and answers "seen" of what was not with a chance of 15 in 2^32 (with the line full:
 * 3.5e-9).  What was added is found again for certain until 15 others have fallen into its line; of a table of n lines
 * that is after 15 n others on an average, and in one case of a thousand after 5 n already.
 *
 * It begins with FRESH_LEAST lines and doubles, a line an addition, whenever it would be overwritten within
 * FRESH_WINDOW_MS: up to the memory that it was given, of which it touches what it uses, and never gives back.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRESH_WAYS	15
#define FRESH_LEAST	64    /* lines: 4 KiB, 960 datagrams */
#define FRESH_WINDOW_MS 60000 /* so long it remembers, as far as its memory goes */

struct fresh_line {
	uint32_t at; /* where the next one goes */
	_Atomic uint32_t print[FRESH_WAYS];
};

struct fresh {
	struct fresh_line *v;
	_Atomic uint32_t n; /* lines in use */
	uint32_t half;	    /* the power of two not above n: lines [n - half, half) have yet to be halved */
	uint32_t want, max; /* lines: n on its way, and at its end; powers of two */
	uint32_t added;	    /* since `since` */
	uint64_t since;	    /* ms */
};

/*
 * lines: a power of two, FRESH_LEAST at least, of memory that is zero, aligned to 64 bytes, and the caller's.
 */
void fresh_init(struct fresh *f, struct fresh_line *lines, uint32_t max, uint64_t now);

/* A name of 64 bits for the n bytes at p, 1 .. 16; seed: random, the same for all filters that are asked for it. */
static inline uint64_t fresh_name(const uint8_t *p, unsigned n, uint64_t seed)
{
	uint64_t a = 0, b = 0;
	unsigned __int128 m;

	if (n == 16) {
		__builtin_memcpy(&a, p, 8);
		__builtin_memcpy(&b, p + 8, 8);
	} else if (n >= 8) { /* both halves overlap */
		__builtin_memcpy(&a, p, 8);
		__builtin_memcpy(&b, p + n - 8, 8);
	} else {
		for (unsigned i = 0; i < n; i++)
			a |= (uint64_t)p[i] << (8 * i);
	}
	m = (unsigned __int128)(a ^ seed ^ 0x9e3779b97f4a7c15u) * (b ^ (seed >> 32 | seed << 32) ^ 0xd1b54a32d192ed03u);
	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint32_t fresh_print(uint64_t name)
{
	uint32_t p = (uint32_t)(name >> 32);

	return p < FRESH_WAYS ? p + FRESH_WAYS : p; /* 0: nothing yet; and none is taken for `at` */
}

static inline struct fresh_line *fresh_at(const struct fresh *f, uint64_t name)
{
	uint32_t n = atomic_load_explicit(&f->n, memory_order_acquire);
	uint32_t top = n > 1 ? 1u << (31 - __builtin_clz(n - 1)) : 1; /* below n, n <= 2 top */
	uint32_t i = (uint32_t)name & (2 * top - 1);

	return &f->v[i < n ? i : i - top];
}

static inline void fresh_prefetch(const struct fresh *f, uint64_t name)
{
	__builtin_prefetch(fresh_at(f, name), 1);
}

/* Was it added, and not overwritten since?  Any thread. */
bool fresh_seen(const struct fresh *f, uint64_t name);
/* Its thread: the same, and it is from now on. */
bool fresh_add(struct fresh *f, uint64_t name, uint64_t now);

/* Bytes touched so far. */
static inline size_t fresh_used(const struct fresh *f)
{
	return atomic_load_explicit(&f->n, memory_order_relaxed) * sizeof(struct fresh_line);
}
