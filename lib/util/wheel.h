/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Hierarchical timing wheel of 1 ms, pull style: nobody is called back, the owner asks which entry is due.
 * Arming, disarming and expiry are O(1); entries live in the objects that they wake.  One owner thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "list.h"

#define WHEEL_BITS   8 /* 256 slots a level */
#define WHEEL_SLOTS  (1u << WHEEL_BITS)
#define WHEEL_LEVELS 8 /* all of 64 bits: no deadline is too far to have a slot of its own */

struct wheel_ent {
	struct list link;
	uint64_t at; /* ms; valid while armed */
};

struct wheel {
	uint64_t now;	 /* every entry with at <= now has been moved to `due` */
	uint32_t armed;	 /* entries */
	uint32_t levels; /* bit l: map[l] is not empty */
	struct list due;
	uint64_t map[WHEEL_LEVELS][WHEEL_SLOTS / 64]; /* which slots hold anything */
	struct list slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, uint64_t now_ms);
void wheel_ent_init(struct wheel_ent *e);

/*
 * Arms e for time `at` (ms on the clock of wheel_init), moving it when it was armed.  A time in the past is due at
 * once, behind what is due already: who arms for the past while draining gets the entry again in the same drain.
 */
void wheel_arm(struct wheel *w, struct wheel_ent *e, uint64_t at);

/* No effect on an entry that is not armed. */
void wheel_disarm(struct wheel *w, struct wheel_ent *e);

static inline bool wheel_armed(const struct wheel_ent *e)
{
	return !list_empty(&e->link);
}

/*
 * Moves the clock to now_ms (never backward) and gives one entry whose time has come, disarmed; NULL when there is
 * none. Entries come in order of their deadline's millisecond.  A gap of any length is crossed without walking its
 * slots.
 */
struct wheel_ent *wheel_due(struct wheel *w, uint64_t now_ms);

/* What the next wheel_due at the same time will give, if it is known already: for its cache lines. */
static inline const struct wheel_ent *wheel_after(const struct wheel *w)
{
	return list_empty(&w->due) ? NULL : container_of(w->due.next, const struct wheel_ent, link);
}

/*
 * A time (ms) before which nothing is due; the clock's own when something is due now, UINT64_MAX when none is armed.
 * It is the next deadline, or before that a multiple of 256 ms at which entries that were armed for farther ahead have
 * to be dealt out to finer slots, for which wheel_due must be called: with nothing armed 256 ms or more ahead, it is
 * exact.
 */
uint64_t wheel_next(const struct wheel *w);
