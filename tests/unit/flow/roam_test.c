/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "eal.h"
#include "flow.h"
#include "keys.h"

/* Whose conversations are, and which flows are not at home. */

TestSuite(roam, .init = eal_start);

#define NOW 5000000

static const uint64_t secret[2] = {1, 2};

static struct flow_roam *create(unsigned sessions)
{
	struct flow_roam *r = NULL;

	cr_assert_eq(flow_roam_create(&r, sessions, secret), 0);
	return r;
}

Test(roam, refuses_nothing)
{
	struct flow_roam *r;

	cr_assert_eq(flow_roam_create(&r, 0, secret), -EINVAL);
	flow_roam_destroy(NULL);
}

Test(roam, conversations)
{
	struct flow_roam *r = create(100);

	cr_assert_eq(flow_conv_other(r, 1, 77, 0), FLOW_NOBODY);
	flow_conv_add(r, 1, 77, 3);
	flow_conv_add(r, 1, 77, 3);
	flow_conv_add(r, 1, 77, 0);
	cr_assert_eq(flow_conv_other(r, 1, 77, 0), 3);
	cr_assert_eq(flow_conv_other(r, 1, 77, 3), 0);
	cr_assert_eq(flow_conv_other(r, 2, 77, 0), FLOW_NOBODY, "another tunnel's");
	cr_assert_eq(flow_conv_other(r, 1, 78, 0), FLOW_NOBODY);
	flow_conv_del(r, 1, 77, 3);
	cr_assert_eq(flow_conv_other(r, 1, 77, 0), 3, "it was there twice");
	flow_conv_del(r, 1, 77, 3);
	cr_assert_eq(flow_conv_other(r, 1, 77, 0), FLOW_NOBODY);
	flow_conv_del(r, 1, 77, 3);
	cr_assert_eq(flow_conv_other(r, 1, 77, 3), 0);
	cr_assert_not(flow_conv_partial(r));
	flow_roam_destroy(r);
}

/* As many as there can be find their places, again and again; of more than that it is known that some are not known. */
Test(roam, many_conversations)
{
	struct flow_roam *r = create(20000);
	uint64_t seed = 1;

	for (unsigned round = 0; round < 3; round++) {
		uint64_t s = seed;

		for (unsigned i = 0; i < 20000; i++)
			flow_conv_add(r, (uint16_t)(i % 3), (uint32_t)rnd(&s), (uint16_t)(i % 7));
		cr_assert_not(flow_conv_partial(r));
		s = seed;
		for (unsigned i = 0; i < 20000; i++)
			cr_assert_eq(flow_conv_other(r, (uint16_t)(i % 3), (uint32_t)rnd(&s), 200), i % 7);
		s = seed;
		for (unsigned i = 0; i < 20000; i++)
			flow_conv_del(r, (uint16_t)(i % 3), (uint32_t)rnd(&s), (uint16_t)(i % 7));
		seed += 1000003;
	}
	for (unsigned i = 0; i < 200000; i++)
		flow_conv_add(r, 0, i, 1);
	cr_assert(flow_conv_partial(r));
	flow_roam_destroy(r);
}

Test(roam, flows)
{
	struct flow_roam *r = create(100);
	struct flow_key a = key_v4(1, 1), b = key_v4(1, 2);
	uint32_t ha = flow_hash(&a), hb = flow_hash(&b);

	cr_assert_not(flow_moved_any(r));
	cr_assert_eq(flow_moved(r, &a, ha, NOW), FLOW_NOBODY);
	cr_assert(flow_move(r, &a, ha, 2, false, NOW));
	cr_assert(flow_moved_any(r));
	cr_assert_eq(flow_moved(r, &a, ha, NOW), 2);
	cr_assert_eq(flow_moved(r, &a, ha, NOW + FLOW_PEND_MS - 2000), 2);
	cr_assert_eq(flow_moved(r, &a, ha, NOW + FLOW_PEND_MS + 3000), FLOW_NOBODY, "only for a while");
	cr_assert_eq(flow_moved(r, &b, hb, NOW), FLOW_NOBODY);
	/* What stays does so whatever others say, until its end. */
	cr_assert(flow_move(r, &a, ha, 1, true, NOW));
	cr_assert(flow_move(r, &a, ha, 2, false, NOW));
	cr_assert_eq(flow_moved(r, &a, ha, NOW + 3600000), 1);
	flow_move_end(r, &b, hb);
	cr_assert_eq(flow_moved(r, &a, ha, NOW), 1);
	flow_move_end(r, &a, ha);
	cr_assert_eq(flow_moved(r, &a, ha, NOW), FLOW_NOBODY);
	cr_assert_not(flow_moved_any(r));
	flow_roam_destroy(r);
}

/* A flood of flows for a while fills the table, does not push out what stays, and is gone after its time. */
Test(roam, flood)
{
	struct flow_roam *r = create(1000);
	struct flow_key own = key_v4(7, 7);
	uint64_t seed = 3;

	cr_assert(flow_move(r, &own, flow_hash(&own), 5, true, NOW));
	for (unsigned i = 0; i < 100000; i++) {
		struct flow_key k = key_rnd(&seed);

		cr_assert(flow_move(r, &k, flow_hash(&k), 1, false, NOW));
		cr_assert_eq(flow_moved(r, &k, flow_hash(&k), NOW), 1, "the newest goes first");
	}
	cr_assert_eq(flow_moved(r, &own, flow_hash(&own), NOW), 5);
	for (unsigned i = 0; i < 1000; i++)
		flow_moved_sweep(r, NOW + FLOW_PEND_MS + 3000);
	cr_assert_eq(flow_moved(r, &own, flow_hash(&own), NOW), 5);
	flow_move_end(r, &own, flow_hash(&own));
	cr_assert_not(flow_moved_any(r), "all are gone");
	flow_roam_destroy(r);
}

/* No more of what stays in one place than there is room for: it is said, and nothing else gives way. */
Test(roam, full)
{
	struct flow_roam *r = create(1);
	uint64_t seed = 4;
	struct flow_key k[9];

	for (unsigned i = 0; i < 9; i++) {
		k[i] = key_rnd(&seed);
		cr_assert_eq(flow_move(r, &k[i], 64, 1, true, NOW), i < 8);
	}
	cr_assert_not(flow_move(r, &k[8], 64, 1, false, NOW));
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(flow_moved(r, &k[i], 64, NOW), 1);
	flow_roam_destroy(r);
}
