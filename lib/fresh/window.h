/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Which of the latest numbers of a sequence were seen (the bitmap of RFC 6479): exact, and in the caller's cache, where
 * a filter (fresh.h) asks for a line of its own memory.  For sequences whose numbers nobody gives twice, and that go
 * round at 2^32 or a little earlier.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FRESH_RECENT 512 /* bits; the FRESH_RECENT - 64 latest numbers at least are told apart */

struct fresh_window {
	bool any; /* newest is one */
	uint32_t newest;
	uint64_t bits[FRESH_RECENT / 64];
};

enum fresh_place {
	FRESH_NEW,
	FRESH_SEEN,
	FRESH_OLD, /* so far behind the newest that nobody knows */
};

/* Moves on to n, which is ahead: what lay a window before is forgotten. */
static inline void fresh_window_move(struct fresh_window *w, uint32_t n)
{
	uint32_t words = w->any ? ((n >> 6) - (w->newest >> 6)) & (UINT32_MAX >> 6) : FRESH_RECENT / 64;

	if (words > FRESH_RECENT / 64)
		words = FRESH_RECENT / 64;
	for (uint32_t i = 0; i < words; i++)
		w->bits[((n >> 6) - i) % (FRESH_RECENT / 64)] = 0;
	w->any = true;
	w->newest = n;
}

static inline enum fresh_place fresh_window_has(const struct fresh_window *w, uint32_t n)
{
	int32_t ahead = (int32_t)(n - w->newest);

	if (!w->any || ahead > 0)
		return FRESH_NEW;
	if (ahead <= -(FRESH_RECENT - 64))
		return FRESH_OLD;
	return w->bits[(n >> 6) % (FRESH_RECENT / 64)] >> (n & 63) & 1 ? FRESH_SEEN : FRESH_NEW;
}

/* The same, and n has been seen from now on, unless it is old. */
static inline enum fresh_place fresh_window_add(struct fresh_window *w, uint32_t n)
{
	enum fresh_place place = fresh_window_has(w, n);

	if (place != FRESH_NEW)
		return place;
	if (!w->any || (int32_t)(n - w->newest) > 0)
		fresh_window_move(w, n);
	w->bits[(n >> 6) % (FRESH_RECENT / 64)] |= (uint64_t)1 << (n & 63);
	return FRESH_NEW;
}
