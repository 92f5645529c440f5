/* SPDX-License-Identifier: MIT */
#include "worker_int.h"

/*
 * Does the worker keep up?  A few times a second its shard is told, by what it had to spare:
 *
 * Turns that found nothing, and what it spun after them.  One that took long was not spent by us.
 *
 * Rests, as long as they were meant to be: who is woken late, for another has his core, has not rested longer.
 *
 * Short turns, whatever they found: a worker that falls behind finds more in each, until they are as long as its
 * vectors, so many short ones are one that has the time to look often (idle = "poll", or too few packets for a nap).
 *
 * It need not be nothing: with a core that others want, too, a worker may rest now and then, and yet come late.  So
 * this is one half of an answer, and the sessions that were served late know the other.
 */

#define LOADS_A_SECOND 4
#define SPARE_PART     4
#define SHORT_US       20

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void worker_load(struct worker *w, unsigned work, uint64_t turn, uint64_t rest, uint64_t meant)
{
	uint64_t brief = w->clock->hz / 1000000 * SHORT_US;

	if (!work || turn < brief)
		w->spare += least(turn, brief);
	if (meant || !work)
		w->spare += least(rest, meant ? meant : brief);
	w->passed += turn + rest;
	if (w->passed < w->clock->hz / LOADS_A_SECOND)
		return;
	shard_load(w->conf.shard, w->spare < w->passed / SPARE_PART);
	w->passed = w->spare = 0;
}
