/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fresh.h"

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
