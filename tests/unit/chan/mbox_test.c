/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "eal.h"
#include "mbox.h"
#include "rnd.h"

TestSuite(mbox, .init = eal_start);

Test(mbox, posts_coalesce)
{
	struct mbox_ent e[2] = {0}, *got[4];
	uint32_t ev[4];
	struct mbox *b;

	cr_assert_eq(mbox_create(&b, "test", 2, 0), 0);
	cr_assert(mbox_empty(b));
	cr_assert(mbox_post(b, &e[0], 1));
	cr_assert_not(mbox_post(b, &e[0], 4));
	cr_assert_not(mbox_post(b, &e[0], 4));
	cr_assert(mbox_post(b, &e[1], 2));
	cr_assert_eq(b->posted, 2);
	cr_assert_not(mbox_empty(b));
	cr_assert_eq(mbox_get(b, got, ev, 1), 1);
	cr_assert(got[0] == &e[0] && ev[0] == 5);
	cr_assert(mbox_post(b, &e[0], 8), "may be posted again at once");
	cr_assert_eq(mbox_get(b, got, ev, 4), 2);
	cr_assert(got[0] == &e[1] && ev[0] == 2 && got[1] == &e[0] && ev[1] == 8);
	cr_assert_eq(mbox_get(b, got, ev, 4), 0);
	mbox_destroy(b);
}

Test(mbox, holds_all_objects)
{
	static struct mbox_ent e[1000], *got[1000];
	static uint32_t ev[1000];
	struct mbox *b, *other;

	cr_assert_eq(mbox_create(&b, "test", 1000, 0), 0);
	cr_assert_eq(mbox_create(&other, "test", 1, 0), 0, "names need not differ");
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 1000; i++)
			cr_assert(mbox_post(b, &e[i], i + 1));
		cr_assert_eq(mbox_get(b, got, ev, 1000), 1000);
		for (unsigned i = 0; i < 1000; i++)
			cr_assert(got[i] == &e[i] && ev[i] == i + 1);
	}
	mbox_destroy(other);
	mbox_destroy(b);
	mbox_destroy(NULL);
}

Test(mbox, bad_sizes)
{
	struct mbox *b = NULL;

	cr_assert_lt(mbox_create(&b, "test", 0, 0), 0);
	cr_assert_lt(mbox_create(&b, "test", UINT32_MAX, 0), 0);
	cr_assert_null(b);
}

Test(mbox, wanted_once_a_sleep)
{
	struct mbox *b;

	cr_assert_eq(mbox_create(&b, "test", 1, 0), 0);
	cr_assert_not(mbox_wanted(b));
	mbox_sleep(b);
	cr_assert(mbox_wanted(b));
	cr_assert_not(mbox_wanted(b));
	mbox_awake(b);
	cr_assert_not(mbox_wanted(b));
	mbox_sleep(b);
	mbox_awake(b);
	cr_assert_not(mbox_wanted(b));
	mbox_destroy(b);
}

/* ---- two threads ---- */

#define OBJS  32
#define BITS  4
#define POSTS 200000

struct obj {
	struct mbox_ent ent;
	uint32_t val[BITS]; /* not atomic: the post hands it over, and nothing writes it again before it was seen */
	atomic_uint seen[BITS];
	uint32_t posted[BITS];
};

static struct obj objs[OBJS];
static struct mbox *box;
static int bell;
static atomic_uint lost; /* times that the reader slept although there was something, or saw an old value */
static atomic_bool finished;
static unsigned sleeps;

static void sleep_until_rung(void)
{
	struct pollfd p = {.fd = bell, .events = POLLIN};
	eventfd_t n;

	mbox_sleep(box);
	if (mbox_empty(box) && !finished) {
		sleeps++;
		if (poll(&p, 1, 60000) == 0)
			lost++;
	}
	mbox_awake(box);
	(void)!eventfd_read(bell, &n);
}

static void *reader(void *arg)
{
	uint64_t seed = 7;

	while (!lost) {
		struct mbox_ent *e[5];
		uint32_t ev[5];
		unsigned n = mbox_get(box, e, ev, 1 + (unsigned)rnd_next(&seed) % 5);

		for (unsigned i = 0; i < n; i++) {
			struct obj *o = (struct obj *)e[i];

			if (!ev[i])
				lost++;
			for (unsigned bit = 0; bit < BITS; bit++)
				if (ev[i] & 1u << bit)
					atomic_store(&o->seen[bit], o->val[bit]);
		}
		if (!n && finished)
			return NULL;
		if (!n)
			sleep_until_rung();
	}
	return NULL;
}

static void ring(void)
{
	if (mbox_wanted(box))
		eventfd_write(bell, 1);
}

/* Every value that was posted is seen, without a further post: else this, or the reader's poll, never ends well. */
static bool settled(void)
{
	unsigned spins = 0;

	for (unsigned i = 0; i < OBJS; i++)
		for (unsigned bit = 0; bit < BITS; bit++)
			while (atomic_load(&objs[i].seen[bit]) != objs[i].posted[bit]) {
				if (lost)
					return false;
				/* Seldom: the next post should come just when the reader lies down. */
				if (++spins % 1000 == 0)
					sched_yield();
			}
	return true;
}

Test(mbox, no_event_is_lost)
{
	uint64_t seed = 5;
	pthread_t t;

	bell = eventfd(0, EFD_NONBLOCK);
	cr_assert_geq(bell, 0);
	cr_assert_eq(mbox_create(&box, "test", OBJS, 0), 0);
	cr_assert_eq(pthread_create(&t, NULL, reader, NULL), 0);
	for (unsigned i = 1; i <= POSTS && !lost; i++) {
		uint64_t x = rnd_next(&seed);
		struct obj *o = &objs[x % OBJS];
		unsigned bit = x >> 8 & (BITS - 1);

		/* A value is written only when the last one was seen, so that it can be plain: TSan checks the
		 * hand-over. */
		if (atomic_load(&o->seen[bit]) == o->posted[bit]) {
			o->val[bit] = o->posted[bit] = i;
			mbox_post(box, &o->ent, 1u << bit);
		}
		if (x >> 16 & 3)
			ring(); /* the end of a turn */
		if ((x >> 20 & 3) == 0) {
			ring();
			if (!settled())
				break;
		}
	}
	ring();
	cr_assert(settled());
	finished = true;
	eventfd_write(bell, 1);
	pthread_join(t, NULL);
	cr_assert_eq(lost, 0);
	cr_assert(mbox_empty(box));
	cr_assert_gt(sleeps, 0);
	mbox_destroy(box);
	close(bell);
}
