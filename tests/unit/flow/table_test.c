/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include <rte_malloc.h>

#include "eal.h"
#include "flow.h"
#include "keys.h"

/* The table never looks into a session. */
struct sess {
	struct flow_key key;
	uint32_t hash;
	bool in;
};

#define MANY 20000

static struct sess sess[MANY];

TestSuite(table, .init = eal_start);

static struct flow_tbl *create(unsigned max)
{
	struct flow_tbl *t = NULL;

	cr_assert_eq(flow_tbl_create(&t, "flow-test", max, 0), 0);
	cr_assert_not_null(t);
	return t;
}

static void sess_make(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		sess[i].key = key_v4(0x0a000000 + i / 5, (uint16_t)(1024 + i % 5));
		sess[i].hash = flow_hash(&sess[i].key);
		sess[i].in = false;
	}
}

static int add(struct flow_tbl *t, struct sess *s)
{
	return flow_add(t, &s->key, s->hash, s);
}

static struct sess *find(const struct flow_tbl *t, const struct sess *s)
{
	return flow_find(t, &s->key, s->hash);
}

Test(table, one_flow)
{
	struct flow_tbl *t = create(1);
	struct flow_key lent;

	sess_make(2);
	cr_assert_null(find(t, &sess[0]));
	lent = sess[0].key;
	cr_assert_eq(flow_add(t, &lent, sess[0].hash, &sess[0]), 0);
	memset(&lent, 0xee, sizeof(lent)); /* the key was copied */
	cr_assert_eq(find(t, &sess[0]), &sess[0]);
	cr_assert_eq(add(t, &sess[0]), -EEXIST, "even when full");
	cr_assert_eq(add(t, &sess[1]), -ENOSPC);
	cr_assert_null(find(t, &sess[1]));
	cr_assert_eq(flow_count(t), 1);
	flow_del(t, &sess[1].key, sess[1].hash);
	cr_assert_eq(flow_count(t), 1, "it was not there");
	flow_del(t, &sess[0].key, sess[0].hash);
	flow_del(t, &sess[0].key, sess[0].hash);
	cr_assert_eq(flow_count(t), 0);
	cr_assert_null(find(t, &sess[0]));
	cr_assert_eq(add(t, &sess[1]), 0);
	flow_tbl_destroy(t);
	flow_tbl_destroy(NULL);
}

Test(table, refuses_bad_arguments)
{
	struct flow_tbl *t = NULL, *other = NULL;

	cr_assert_eq(flow_tbl_create(&t, "zero", 0, 0), -EINVAL);
	cr_assert_eq(flow_tbl_create(&t, "huge", UINT32_MAX, 0), -EINVAL);
	cr_assert_eq(flow_tbl_create(&t, "a-name-of-26-characters-..", 8, 0), -ENAMETOOLONG);
	cr_assert_eq(flow_tbl_create(&t, "more-than-there-is", 16u << 20, 0), -ENOMEM);
	cr_assert_null(t);
	cr_assert_eq(flow_tbl_create(&t, "a-name-of-25-characters-.", 8, 0), 0);
	cr_assert_eq(flow_tbl_create(&other, "a-name-of-25-characters-.", 8, 0), -EEXIST);
	cr_assert_null(other);
	flow_tbl_destroy(t);
}

/* A table takes as many flows as it was made for, always, and not one more. */
Test(table, fills_to_the_brim)
{
	/* The last of a size of the table's own, where it is fullest, and all around powers of two. */
	static const unsigned sizes[] = {1,   2,   7,	 8,    9,    63,   64,	 113,	170,
					 398, 853, 1016, 1763, 3584, 4088, 7225, 14506, 16376};

	sess_make(MANY);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned max = sizes[i];
		struct flow_tbl *t = create(max);

		for (unsigned k = 0; k < max; k++)
			cr_assert_eq(add(t, &sess[k]), 0, "flow %u of %u", k, max);
		cr_assert_eq(flow_count(t), max);
		cr_assert_eq(add(t, &sess[max]), -ENOSPC);
		for (unsigned k = 0; k < max; k++)
			cr_assert_eq(find(t, &sess[k]), &sess[k]);
		cr_assert_null(find(t, &sess[max]));
		flow_tbl_destroy(t);
	}
}

/* The flows of one worker of many share the high bits of their hashes: their table fills as well. */
Test(table, fills_with_one_workers_flows)
{
	enum { MAX = 3400 };
	struct flow_tbl *t = create(MAX);
	uint64_t seed = 1;

	for (unsigned n = 0; n < MAX;) {
		sess[n].key = key_rnd(&seed);
		sess[n].hash = flow_hash(&sess[n].key);
		if (flow_home_sw(sess[n].hash, 64) != 5)
			continue;
		cr_assert_eq(add(t, &sess[n]), 0, "flow %u", n);
		n++;
	}
	flow_tbl_destroy(t);
}

/* Thousands of flows that come and go, against an array that says what should be there. */
Test(table, comes_and_goes)
{
	enum { MAX = 700, N = 1000 };
	struct flow_tbl *t = create(MAX);
	uint64_t seed = 2;
	unsigned n = 0, full = 0;

	sess_make(N);
	for (unsigned round = 0; round < 200000; round++) {
		struct sess *s = &sess[rnd(&seed) % N];

		cr_assert_eq(find(t, s), s->in ? s : NULL);
		if (rnd(&seed) % 8 < 6) {
			int want = s->in ? -EEXIST : n == MAX ? -ENOSPC : 0;

			cr_assert_eq(add(t, s), want, "round %u", round);
			full += want == -ENOSPC;
			n += want == 0;
			s->in |= want == 0;
		} else {
			flow_del(t, &s->key, s->hash);
			n -= s->in;
			s->in = false;
		}
		cr_assert_eq(flow_count(t), n);
	}
	cr_assert_gt(full, 100);
	flow_tbl_destroy(t);
}

/* Keys whose hashes are the same are told apart. */
Test(table, equal_hashes)
{
	struct flow_tbl *t = create(64);
	struct pkt v[8];

	sess_make(8);
	for (unsigned i = 0; i < 8; i++) {
		sess[i].hash = 0xdeadbeef;
		if (i < 6)
			cr_assert_eq(add(t, &sess[i]), 0);
		v[i] = (struct pkt){.key = &sess[i].key, .hash = sess[i].hash, .sess = &sess[MANY - 1]};
	}
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(find(t, &sess[i]), i < 6 ? &sess[i] : NULL);
	flow_find_burst(t, v, 8);
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(v[i].sess, i < 6 ? &sess[i] : NULL);
	flow_tbl_destroy(t);
}

/* Bursts of every length: known and unknown flows, runs of one flow, packets that are none of ours in between. */
Test(table, burst_is_one_by_one)
{
	enum { MAX = 500, N = 1000, BURST_MAX = 300 };
	static struct pkt v[BURST_MAX];
	static struct flow_key copy[BURST_MAX];
	struct flow_tbl *t = create(MAX);
	uint64_t seed = 3;

	sess_make(N);
	for (unsigned i = 0; i < MAX; i++)
		cr_assert_eq(add(t, &sess[2 * i]), 0);
	for (unsigned n = 0; n <= BURST_MAX; n++) {
		struct sess *s = &sess[rnd(&seed) % N];

		for (unsigned i = 0; i < n; i++) {
			if (rnd(&seed) % 3)
				s = &sess[rnd(&seed) % N];
			copy[i] = s->key;
			v[i] = (struct pkt){.key = &copy[i], .hash = s->hash, .sess = &sess[1], .own = s};
			if (rnd(&seed) % 4 == 0)
				v[i] = (struct pkt){.verdict = DROP_IP_HEADER, .sess = &sess[1]};
		}
		flow_find_burst(t, v, n);
		for (unsigned i = 0; i < n; i++) {
			if (v[i].verdict != VERDICT_OK)
				cr_assert_eq(v[i].sess, &sess[1], "not to be touched");
			else
				cr_assert_eq(v[i].sess, find(t, v[i].own));
		}
	}
	flow_tbl_destroy(t);
}

Test(table, gives_its_memory_back)
{
	struct rte_malloc_socket_stats before, after;

	flow_tbl_destroy(create(100)); /* whatever is made once and kept */
	cr_assert_eq(rte_malloc_get_socket_stats(0, &before), 0);
	for (unsigned i = 0; i < 50; i++) {
		struct flow_tbl *t = create(1 + 100 * i);

		sess_make(1);
		cr_assert_eq(add(t, &sess[0]), 0);
		flow_tbl_destroy(t);
	}
	cr_assert_eq(rte_malloc_get_socket_stats(0, &after), 0);
	cr_assert_eq(after.heap_allocsz_bytes, before.heap_allocsz_bytes);
	cr_assert_eq(after.alloc_count, before.alloc_count);
}
