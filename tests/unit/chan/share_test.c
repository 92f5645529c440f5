/* SPDX-License-Identifier: MIT */

/* Shares of a pool: what is whose, and that the sums hold whatever order threads come in. */

#include <criterion/criterion.h>
#include <pthread.h>

#include "share.h"

static struct shares s;

static unsigned take(unsigned i, unsigned n)
{
	unsigned got = 0;

	while (got < n && shares_take(&s, i))
		got++;
	return got;
}

Test(share, one_has_all)
{
	cr_assert_eq(shares_init(&s, 100, 1), 0);
	cr_assert_eq(shares_room(&s, 0), 100);
	cr_assert_eq(take(0, 1000), 100);
	cr_assert_eq(shares_room(&s, 0), 0);
	cr_assert_eq(s.of[0].refused, 1);
	shares_give(&s, 0);
	cr_assert_eq(shares_room(&s, 0), 1);
	shares_fini(&s);
}

/* A limit: what it takes from a tunnel's own part, others may have. */
Test(share, bound)
{
	cr_assert_eq(shares_init(&s, 160, 4), 0); /* 20 each, 80 common */
	shares_bound(&s, 1, 30);
	shares_bound(&s, 2, 5);
	shares_bound(&s, 3, 1000);
	cr_assert_eq(shares_room(&s, 1), 30);
	cr_assert_eq(shares_room(&s, 2), 5);
	cr_assert_eq(take(1, 1000), 30);
	cr_assert_eq(take(2, 1000), 5);
	cr_assert_eq(take(3, 1000), 80);
	cr_assert_eq(take(0, 1000), 45);
	cr_assert_eq(s.of[0].used + s.of[1].used + s.of[2].used + s.of[3].used, 160);
	for (unsigned i = 0; i < 5; i++)
		shares_give(&s, 2);
	cr_assert_eq(take(2, 1000), 5);
	shares_fini(&s);
}

/* Whoever takes all that it can leaves the others what is theirs, and a quarter of what is common. */
Test(share, greedy)
{
	cr_assert_eq(shares_init(&s, 160, 4), 0); /* 20 each, 80 common */
	cr_assert_eq(shares_room(&s, 2), 80);
	cr_assert_eq(take(2, 1000), 80);
	cr_assert_eq(shares_room(&s, 2), 0);
	for (unsigned i = 0; i < 4; i++)
		cr_assert(i == 2 || shares_room(&s, i) == 40, "%u", shares_room(&s, i));
	cr_assert_eq(take(0, 1000), 40);
	cr_assert_eq(take(1, 1000), 20);
	cr_assert_eq(take(3, 1000), 20);
	cr_assert_eq(s.of[0].used + s.of[1].used + s.of[2].used + s.of[3].used, 160);
	/* What comes back from beyond its own part is common again. */
	shares_give(&s, 2);
	cr_assert_eq(shares_room(&s, 3), 1);
	cr_assert_eq(take(3, 2), 1);
	cr_assert_eq(take(2, 1), 0);
	shares_fini(&s);
}

/* Too few to share: what there is is common, and none has it all. */
Test(share, more_tunnels_than_objects)
{
	cr_assert_eq(shares_init(&s, 8, 64), 0);
	cr_assert_eq(take(0, 100), 6);
	cr_assert_eq(take(63, 100), 2);
	shares_fini(&s);
}

static void *churn(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg, held[3] = {0}, rnd = me * 2654435761u + 1;

	for (unsigned n = 0; n < 300000; n++) {
		unsigned i;

		rnd = rnd * 1664525u + 1013904223u;
		i = (rnd >> 16) % 3;
		if (rnd >> 31 && held[i]) {
			shares_give(&s, i);
			held[i]--;
		} else if (shares_take(&s, i)) {
			held[i]++;
		}
	}
	for (unsigned i = 0; i < 3; i++)
		while (held[i]--)
			shares_give(&s, i);
	return NULL;
}

Test(share, threads)
{
	pthread_t t[4];

	cr_assert_eq(shares_init(&s, 60, 3), 0);
	for (uintptr_t i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, churn, (void *)i), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(s.of[i].used, 0);
	cr_assert_eq(s.common_used, 0);
	shares_fini(&s);
}
