/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "rnd.h"
#include "wheel.h"

#define ENTS 200

static struct wheel w;
static struct wheel_ent ent[ENTS];

/* The plain form: a time an entry, UINT64_MAX for none, searched from end to end. */
static uint64_t ref_at[ENTS]; /* as it counts: a time in the past is the clock's when it was armed */
static bool ref_armed[ENTS];
static uint64_t ref_now;

static void start(uint64_t now)
{
	wheel_init(&w, now);
	ref_now = now;
	for (unsigned i = 0; i < ENTS; i++) {
		wheel_ent_init(&ent[i]);
		ref_armed[i] = false;
	}
}

static uint64_t ref_first(void)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < ENTS; i++)
		if (ref_armed[i] && ref_at[i] < best)
			best = ref_at[i];
	return best;
}

static void arm(unsigned i, uint64_t at)
{
	wheel_arm(&w, &ent[i], at);
	ref_armed[i] = true;
	ref_at[i] = at > ref_now ? at : ref_now;
	cr_assert_eq(ent[i].at, at);
	cr_assert(wheel_armed(&ent[i]));
}

static void disarm(unsigned i)
{
	wheel_disarm(&w, &ent[i]);
	ref_armed[i] = false;
	cr_assert_not(wheel_armed(&ent[i]));
}

/* Takes one entry from both; false when none is due. */
static bool take(uint64_t now, unsigned *which)
{
	struct wheel_ent *e = wheel_due(&w, now);
	uint64_t first = ref_first();

	if (now > ref_now)
		ref_now = now;
	cr_assert_eq(w.now, ref_now);
	if (!e) {
		cr_assert(first > ref_now || first == UINT64_MAX, "missed one at %lu", first);
		return false;
	}
	*which = (unsigned)(e - ent);
	cr_assert(ref_armed[*which], "gave one that is not armed");
	cr_assert_eq(ref_at[*which], first, "out of order: %lu before %lu", ref_at[*which], first);
	cr_assert_leq(first, ref_now, "too early");
	cr_assert_not(wheel_armed(e));
	ref_armed[*which] = false;
	return true;
}

static void check_next(void)
{
	uint64_t first = ref_first(), next = wheel_next(&w);
	unsigned armed = 0;

	for (unsigned i = 0; i < ENTS; i++) {
		cr_assert_eq(wheel_armed(&ent[i]), ref_armed[i]);
		armed += ref_armed[i];
	}
	cr_assert_eq(w.armed, armed);
	if (!armed) {
		cr_assert_eq(next, UINT64_MAX);
		cr_assert_eq(w.levels, 0);
		return;
	}
	cr_assert_leq(next, first > ref_now ? first : ref_now);
	cr_assert_geq(next, ref_now);
	cr_assert_eq(next == ref_now, first <= ref_now);
	cr_assert(next == first || next == ref_now || next % 256 == 0, "%lu is no time to wake up", next);
}

static uint64_t later(uint64_t delta)
{
	return delta > UINT64_MAX - ref_now ? UINT64_MAX : ref_now + delta;
}

static uint64_t any_delta(uint64_t *seed)
{
	uint64_t r = rnd_next(seed);

	return (r >> 14) >> (r & 63) % 51;
}

static void random_run(uint64_t seed, uint64_t now, unsigned steps, unsigned max_shift)
{
	unsigned i;

	start(now);
	while (steps--) {
		uint64_t r = rnd_next(&seed), delta = any_delta(&seed) >> max_shift;

		i = (unsigned)(r >> 32) % ENTS;
		switch (r & 7) {
		case 0:
			disarm(i);
			break;
		case 1:
			arm(i, ref_now - delta % (ref_now + 1));
			break;
		case 2:
		case 3:
			delta = later(delta);
			while (take(delta, &i)) {
				/* One in four is armed again while the drain is on, never for the past (it would not
				 * end). */
				if (rnd_next(&seed) % 4 == 0 && ref_now < UINT64_MAX - 100000)
					arm(i, ref_now + 1 + any_delta(&seed) % 100000);
				if (rnd_next(&seed) % 8 == 0)
					disarm((unsigned)rnd_next(&seed) % ENTS);
			}
			break;
		case 4: /* not drained: a part of what is due stays */
			take(later(delta), &i);
			break;
		default:
			arm(i, later(delta));
		}
		check_next();
	}
}

Test(wheel, as_the_plain_list)
{
	for (uint64_t seed = 1; seed <= 30; seed++)
		random_run(seed, 0, 1500, 0);
}

Test(wheel, as_the_plain_list_with_near_deadlines)
{
	for (uint64_t seed = 100; seed < 130; seed++)
		random_run(seed, 0xfffffff0 - seed * 1000, 1500, 30 + seed % 10);
}

Test(wheel, exact_within_256_ms)
{
	for (uint64_t now = 1000; now < 1600; now += 7) {
		start(now);
		for (uint64_t d = 1; d < 256; d++) {
			arm(0, now + d);
			cr_assert_eq(wheel_next(&w), now + d);
		}
		arm(0, now);
		cr_assert_eq(wheel_next(&w), now);
		disarm(0);
		cr_assert_eq(wheel_next(&w), UINT64_MAX);
	}
}

/* Sleeping until wheel_next, again and again, ends at the deadline, after a few steps however far it is. */
Test(wheel, sleeping_until_next_arrives)
{
	uint64_t seed = 5;

	for (unsigned i = 0; i < 2000; i++) {
		uint64_t now = rnd_next(&seed) >> (1 + rnd_next(&seed) % 60);
		uint64_t at = now + 1 + any_delta(&seed);
		unsigned steps = 0, which;

		start(now);
		arm(0, at);
		while (!take(wheel_next(&w), &which))
			cr_assert_leq(++steps, WHEEL_LEVELS);
		cr_assert_eq(w.now, at);
	}
}

Test(wheel, every_distance_across_every_boundary)
{
	for (unsigned bit = 2; bit < 64; bit++) {
		for (int d = -3; d <= 3; d++) {
			uint64_t at = (1ull << bit) + (uint64_t)d;
			unsigned which;

			for (uint64_t back = 1; back <= at && back; back = back * 2 + 1) {
				start(at - back);
				arm(3, at);
				cr_assert_not(take(at - 1, &which));
				cr_assert_leq(wheel_next(&w), at);
				cr_assert(take(at, &which));
				cr_assert_eq(w.levels, 0);
			}
		}
	}
}

Test(wheel, time_goes_forward_only)
{
	unsigned which;

	start(5000);
	arm(0, 4000);
	arm(1, 5001);
	cr_assert(take(10, &which));
	cr_assert_eq(which, 0);
	cr_assert_not(take(10, &which));
	cr_assert_eq(w.now, 5000);
	cr_assert(take(UINT64_MAX, &which));
	cr_assert_eq(w.now, UINT64_MAX);
	arm(1, UINT64_MAX);
	cr_assert(take(0, &which));
}

Test(wheel, never_is_a_time_too)
{
	unsigned which;

	start(77);
	arm(0, UINT64_MAX);
	arm(1, UINT64_MAX - 1);
	cr_assert_not(take(UINT64_MAX - 2, &which));
	cr_assert_eq(wheel_next(&w), UINT64_MAX - 1);
	cr_assert(take(UINT64_MAX, &which));
	cr_assert_eq(which, 1);
	cr_assert(take(UINT64_MAX, &which));
	cr_assert_eq(which, 0);
}

/* An entry that is armed for the present while the drain is on comes in the same drain. */
Test(wheel, armed_again_while_draining)
{
	unsigned which, seen = 0;

	start(0);
	for (unsigned i = 0; i < 10; i++)
		arm(i, 10 + i);
	while (take(1000, &which)) {
		if (seen < 10)
			arm(which, seen % 2 ? 0 : 1000);
		seen++;
	}
	cr_assert_eq(seen, 20);
}
