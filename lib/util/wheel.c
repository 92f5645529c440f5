/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "wheel.h"

/*
 * A slot of level l is 2^(8l) ms wide.  An armed entry lies in the lowest level in which it is fewer than 256 slots
 * ahead of the clock, so the slot of the clock itself is empty in every level, and the 255 others hold one lap: a
 * slot's place relative to the clock's tells its time.  The clock stops at the start of every slot that holds anything;
 * there a slot of level 0 is due, and one of a higher level is dealt out to the levels below.
 */

#define SLOT_MASK (WHEEL_SLOTS - 1)
#define MAP_WORDS (WHEEL_SLOTS / 64)
#define SHIFT(l)  ((l)*WHEEL_BITS)

_Static_assert(WHEEL_LEVELS *WHEEL_BITS == 64, "the last level reaches to the end of time");

void wheel_init(struct wheel *w, uint64_t now_ms)
{
	w->now = now_ms;
	w->armed = 0;
	w->levels = 0;
	list_init(&w->due);
	for (unsigned l = 0; l < WHEEL_LEVELS; l++) {
		memset(w->map[l], 0, sizeof(w->map[l]));
		for (unsigned s = 0; s < WHEEL_SLOTS; s++)
			list_init(&w->slot[l][s]);
	}
}

void wheel_ent_init(struct wheel_ent *e)
{
	list_init(&e->link);
	e->at = 0;
}

static void place(struct wheel *w, struct wheel_ent *e)
{
	unsigned l, s;

	if (e->at <= w->now) {
		list_add_tail(&w->due, &e->link);
		return;
	}
	/* The highest bit in which they differ gives a level that will do; after a carry a lower one may, too. */
	l = (63 - (unsigned)__builtin_clzll(e->at ^ w->now)) / WHEEL_BITS;
	while (l && (e->at >> SHIFT(l - 1)) - (w->now >> SHIFT(l - 1)) < WHEEL_SLOTS)
		l--;
	s = (e->at >> SHIFT(l)) & SLOT_MASK;
	list_add_tail(&w->slot[l][s], &e->link);
	w->map[l][s / 64] |= 1ull << s % 64;
	w->levels |= 1u << l;
}

static void slot_emptied(struct wheel *w, unsigned l, unsigned s)
{
	uint64_t any = 0;

	w->map[l][s / 64] &= ~(1ull << s % 64);
	for (unsigned i = 0; i < MAP_WORDS; i++)
		any |= w->map[l][i];
	if (!any)
		w->levels &= ~(1u << l);
}

static void unlink_ent(struct wheel *w, struct wheel_ent *e)
{
	struct list *rest = e->link.next;
	uintptr_t off = (uintptr_t)rest - (uintptr_t)w->slot;
	unsigned i;

	list_del(&e->link);
	/* What was left alone is the head, and if it is a slot's, its place tells which. */
	if (!list_empty(rest) || off >= sizeof(w->slot))
		return;
	i = (unsigned)(off / sizeof(struct list));
	slot_emptied(w, i / WHEEL_SLOTS, i % WHEEL_SLOTS);
}

void wheel_arm(struct wheel *w, struct wheel_ent *e, uint64_t at)
{
	if (wheel_armed(e))
		unlink_ent(w, e);
	else
		w->armed++;
	e->at = at;
	place(w, e);
}

void wheel_disarm(struct wheel *w, struct wheel_ent *e)
{
	if (!wheel_armed(e))
		return;
	unlink_ent(w, e);
	w->armed--;
}

/* Distance in slots, 1..255, from slot `from` (which is empty) to the next that holds anything; the level has one. */
static unsigned next_slot(const uint64_t map[MAP_WORDS], unsigned from)
{
	unsigned start = (from + 1) & SLOT_MASK;
	unsigned word = start / 64;
	uint64_t bits = map[word] >> start % 64 << start % 64;

	/* Comes back to the first word, whose lower bits are then the farthest. */
	while (!bits) {
		word = (word + 1) % MAP_WORDS;
		bits = map[word];
	}
	return (word * 64 + (unsigned)__builtin_ctzll(bits) - from) & SLOT_MASK;
}

/* When the first slot that holds anything starts; *levels is the set of those levels of which a slot starts then. */
static uint64_t first_start(const struct wheel *w, uint32_t *levels)
{
	uint64_t best = UINT64_MAX;

	*levels = 0;
	for (uint32_t rest = w->levels; rest; rest &= rest - 1) {
		unsigned l = (unsigned)__builtin_ctz(rest);
		uint64_t at = w->now >> SHIFT(l);

		at = (at + next_slot(w->map[l], at & SLOT_MASK)) << SHIFT(l);
		if (at < best)
			*levels = 0;
		if (at <= best) {
			*levels |= 1u << l;
			best = at;
		}
	}
	return best;
}

/* Empties the slot of level l in which the clock now stands. */
static void deal(struct wheel *w, unsigned l)
{
	unsigned s = (w->now >> SHIFT(l)) & SLOT_MASK;
	struct list taken, *e;

	list_init(&taken);
	list_splice_tail(&taken, &w->slot[l][s]);
	slot_emptied(w, l, s);
	if (l == 0)
		list_splice_tail(&w->due, &taken);
	while ((e = list_pop(&taken)))
		place(w, container_of(e, struct wheel_ent, link));
}

static void advance(struct wheel *w, uint64_t to)
{
	uint32_t levels;

	while (w->levels) {
		uint64_t at = first_start(w, &levels);

		if (at > to)
			break;
		w->now = at;
		for (; levels; levels &= levels - 1)
			deal(w, (unsigned)__builtin_ctz(levels));
	}
	w->now = to;
}

struct wheel_ent *wheel_due(struct wheel *w, uint64_t now_ms)
{
	struct list *e;

	if (now_ms > w->now)
		advance(w, now_ms);
	e = list_pop(&w->due);
	if (!e)
		return NULL;
	w->armed--;
	return container_of(e, struct wheel_ent, link);
}

uint64_t wheel_next(const struct wheel *w)
{
	uint32_t levels;

	return list_empty(&w->due) ? first_start(w, &levels) : w->now;
}
