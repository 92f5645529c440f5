/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fresh.h"
#include "window.h"

#define MAX 4096 /* lines */

static struct fresh_line *lines(uint32_t n)
{
	struct fresh_line *v = aligned_alloc(64, n * sizeof(*v));

	memset((void *)v, 0, n * sizeof(*v));
	return v;
}

/* The i-th datagram's name. */
static uint64_t name(uint64_t i)
{
	uint8_t p[16] = {0};

	i *= 0x9e3779b97f4a7c15u;
	memcpy(p, &i, 8);
	i ^= i >> 29;
	memcpy(p + 8, &i, 8);
	return fresh_name(p, 16, 42);
}

Test(fresh, what_was_added_is_seen_once_it_was)
{
	struct fresh_line *v = lines(MAX);
	struct fresh f;

	fresh_init(&f, v, MAX, 0);
	for (uint64_t i = 0; i < 100; i++) {
		cr_assert_not(fresh_seen(&f, name(i)));
		cr_assert_not(fresh_add(&f, name(i), 0));
		cr_assert(fresh_seen(&f, name(i)));
		cr_assert(fresh_add(&f, name(i), 0), "a second time");
	}
	cr_assert_eq(fresh_used(&f), FRESH_LEAST * 64);
	free((void *)v);
}

/* A fast sender: the table doubles on its way and forgets nothing by that, up to its end. */
Test(fresh, grows_with_the_rate_and_forgets_nothing_by_it)
{
	struct fresh_line *v = lines(MAX);
	struct fresh f;
	uint64_t n = MAX * 12;

	fresh_init(&f, v, MAX, 0);
	for (uint64_t i = 0; i < n; i++) {
		cr_assert_not(fresh_add(&f, name(i), i / 100), "%lu", i);
		if (i > 400)
			cr_assert(fresh_seen(&f, name(i - 400)), "%lu of %lu", i - 400, i);
	}
	for (uint64_t i = n - 2 * MAX; i < n; i++)
		cr_assert(fresh_seen(&f, name(i)), "%lu of %lu with %zu bytes", i, n, fresh_used(&f));
	cr_assert_eq(fresh_used(&f), MAX * 64, "%zu", fresh_used(&f));
	for (uint64_t i = n; i < 10 * n; i++)
		fresh_add(&f, name(i), i / 100);
	cr_assert_eq(fresh_used(&f), MAX * 64, "no more than it was given");
	free((void *)v);
}

/* A slow one has its minute with what there is at first. */
Test(fresh, stays_small_where_little_comes)
{
	struct fresh_line *v = lines(MAX);
	struct fresh f;
	uint64_t forgotten = 0;

	fresh_init(&f, v, MAX, 0);
	for (uint64_t i = 0; i < 20000; i++) {
		fresh_add(&f, name(i), i * 200);
		if (i >= 300) /* a minute ago */
			forgotten += !fresh_seen(&f, name(i - 300));
	}
	cr_assert_eq(fresh_used(&f), FRESH_LEAST * 64);
	cr_assert_leq(forgotten, 20, "%lu of 19700", forgotten);
	free((void *)v);
}

/* What the header promises of a full table: 15 in 2^32 of what was never there is taken for seen. */
Test(fresh, takes_hardly_anything_new_for_old)
{
	struct fresh_line *v = lines(MAX);
	struct fresh f;
	uint64_t wrong = 0, lost = 0;

	fresh_init(&f, v, MAX, 0);
	for (uint64_t i = 0; i < 40 * MAX; i++)
		fresh_add(&f, name(i), i / 1000);
	for (uint64_t i = 1 << 30; i < (1 << 30) + 20000000; i++)
		wrong += fresh_seen(&f, name(i));
	/* 0.07 are to be expected: more than 3 would be one case in a million. */
	cr_assert_leq(wrong, 3, "%lu of 20 million", wrong);
	for (uint64_t i = 35 * MAX; i < 40 * MAX; i++)
		lost += !fresh_seen(&f, name(i));
	cr_assert_leq(lost, 5 * MAX / 1000, "%lu of %d", lost, 5 * MAX);
	free((void *)v);
}

/* Each byte counts, for every length that a cipher has. */
Test(fresh, a_name_is_of_all_its_bytes)
{
	static const unsigned lens[] = {8, 12, 16};

	for (unsigned l = 0; l < 3; l++) {
		for (unsigned bit = 0; bit < 8 * lens[l]; bit++) {
			uint8_t p[16] = "0123456789abcde";
			uint64_t was = fresh_name(p, lens[l], 7);

			p[bit / 8] ^= (uint8_t)(1 << bit % 8);
			cr_expect_neq(fresh_name(p, lens[l], 7), was, "bit %u of %u bytes", bit, lens[l]);
		}
	}
}

/* ---- another thread that asks ---- */

struct other {
	struct fresh f;
	_Atomic uint64_t added;
	_Atomic bool over;
};

static void *ask(void *arg)
{
	struct other *o = arg;
	uintptr_t missed = 0;

	while (!atomic_load(&o->over)) {
		uint64_t n = atomic_load(&o->added);

		for (uint64_t i = n < 64 ? 0 : n - 64; i < n; i++)
			missed += !fresh_seen(&o->f, name(i)) && atomic_load(&o->added) < i + 400;
	}
	return (void *)missed;
}

Test(fresh, others_may_ask_while_it_grows)
{
	struct fresh_line *v = lines(1 << 16);
	struct other o = {0};
	pthread_t t;
	void *missed;

	fresh_init(&o.f, v, 1 << 16, 0);
	cr_assert_eq(pthread_create(&t, NULL, ask, &o), 0);
	for (uint64_t i = 0; i < 2000000; i++) {
		fresh_add(&o.f, name(i), i / 1000);
		atomic_store(&o.added, i + 1);
	}
	atomic_store(&o.over, true);
	pthread_join(t, &missed);
	cr_assert_null(missed, "%zu", (size_t)missed);
	free((void *)v);
}

/* ---- numbers of a sequence ---- */

/* The same of what was told the plain way: all numbers that were added, and the furthest. */
struct plain {
	uint32_t v[1 << 16], n, newest;
};

static enum fresh_place plain_add(struct plain *p, uint32_t x)
{
	if (p->n && (int32_t)(x - p->newest) <= -(FRESH_RECENT - 64))
		return FRESH_OLD;
	for (uint32_t i = 0; i < p->n; i++)
		if (p->v[i] == x)
			return FRESH_SEEN;
	if (!p->n || (int32_t)(x - p->newest) > 0)
		p->newest = x;
	p->v[p->n++] = x;
	return FRESH_NEW;
}

/* Up and down by `step` at most, over the edge of 2^32. */
static void walk(uint32_t from, uint32_t step, unsigned n)
{
	static struct plain p;
	struct fresh_window w = {0};
	uint64_t rng = step;
	uint32_t x = from;

	p.n = 0;
	for (unsigned i = 0; i < n; i++) {
		rng = rng * 6364136223846793005u + 1442695040888963407u;
		x += (uint32_t)(rng >> 33) % (2 * step + 1) - step + step / 8 + 1;
		enum fresh_place want = plain_add(&p, x), peek = fresh_window_has(&w, x);

		cr_assert_eq(fresh_window_add(&w, x), want, "%u after %u", x, w.newest);
		cr_assert_eq(peek, want);
		cr_assert_eq(fresh_window_has(&w, x), want == FRESH_OLD ? FRESH_OLD : FRESH_SEEN);
	}
}

Test(fresh, window_tells_what_the_plain_one_tells)
{
	static const uint32_t steps[] = {1, 2, 63, 64, 65, 300, 447, 448, 511, 512, 513, 1024, 5000};

	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		walk(0, steps[i], 4000);
		walk(UINT32_MAX - 1000, steps[i], 4000);
		walk(1u << 31, steps[i], 4000);
	}
}

/* However far the first one is, and however far it goes at once. */
Test(fresh, window_forgets_what_it_leaves_behind)
{
	struct fresh_window w = {0};

	cr_assert_eq(fresh_window_has(&w, 7), FRESH_NEW);
	cr_assert_eq(fresh_window_add(&w, 3000000000u), FRESH_NEW);
	cr_assert_eq(fresh_window_add(&w, 3000000000u), FRESH_SEEN);
	cr_assert_eq(fresh_window_add(&w, 3000000000u + FRESH_RECENT), FRESH_NEW);
	cr_assert_eq(fresh_window_add(&w, 3000000000u), FRESH_OLD);
	for (uint32_t i = 1; i < FRESH_RECENT - 64; i++)
		cr_assert_eq(fresh_window_add(&w, 3000000000u + FRESH_RECENT - i), FRESH_NEW, "%u", i);
	cr_assert_eq(fresh_window_add(&w, 3000000000u + (1u << 31) - 1), FRESH_NEW);
	cr_assert_eq(fresh_window_add(&w, 3000000000u + (1u << 31) - 2), FRESH_NEW);
}
