/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <criterion/criterion.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "border.h"
#include "eal.h"

static struct border *b;

static void up(void)
{
	eal_start();
	cr_assert_eq(border_create(&b, 3, 100, 64, 0), 0);
}

static void down(void)
{
	border_destroy(b);
}

TestSuite(border, .init = up, .fini = down);

static bool rings(int bell)
{
	eventfd_t n = 0;

	return eventfd_read(bell, &n) == 0 && n;
}

Test(border, starts_empty)
{
	struct note n;

	cr_assert_eq((uintptr_t)b % 64, 0);
	cr_assert(mbox_empty(b->to_ctl) && mbox_empty(b->to_worker));
	cr_assert(rte_ring_empty(b->inject));
	for (unsigned i = 0; i < BORDER_LANES; i++)
		cr_assert(rte_ring_empty(b->punt[i]));
	cr_assert(rte_ring_get_capacity(b->punt[0]) == 8 && rte_ring_get_capacity(b->punt[2]) == 32);
	cr_assert_eq(rte_ring_get_capacity(b->inject), 64);
	cr_assert_eq(border_notes(b, &n, 1), 0);
	cr_assert_null(atomic_load(&b->tbl));
}

Test(border, two_of_the_same_worker)
{
	struct border *other;

	cr_assert_eq(border_create(&other, 3, 1, 1, 0), 0, "another control instance's");
	border_destroy(other);
	border_destroy(NULL);
}

Test(border, bad_sizes)
{
	struct border *none = NULL;

	cr_assert_lt(border_create(&none, 0, 0, 64, 0), 0);
	cr_assert_lt(border_create(&none, 0, 100, 0, 0), 0);
	cr_assert_null(none);
}

Test(border, notes_in_order_and_counted_when_lost)
{
	struct note n = {.type = NOTE_SESS_CLOSE}, v[7];
	unsigned put = 0, got = 0, k;

	while (b->notes_lost == 0) {
		n.arg = put++;
		n.key.peer_port = (uint16_t)~n.arg;
		border_note(b, &n);
		cr_assert_lt(put, 1 << 20);
	}
	border_note(b, &n);
	cr_assert_eq(b->notes_lost, 2);
	while ((k = border_notes(b, v, 7))) {
		for (unsigned i = 0; i < k; i++, got++) {
			cr_assert_eq(v[i].type, NOTE_SESS_CLOSE);
			cr_assert_eq(v[i].arg, got);
			cr_assert_eq(v[i].key.peer_port, (uint16_t)~got);
		}
	}
	cr_assert_eq(got, put - 1);
	border_note(b, &n);
	cr_assert_eq(b->notes_lost, 2);
}

Test(border, control_is_rung_only_when_it_sleeps_and_something_waits)
{
	struct note n = {.type = NOTE_NEIGH};
	struct mbox_ent e = {0}, *got;
	uint32_t ev;
	void *frame = &n;

	for (unsigned what = 0; what < 2 + BORDER_LANES; what++) {
		cr_assert(border_sleep_ctl(b));
		border_ring_ctl(b);
		cr_assert_not(rings(b->ctl_bell), "nothing waits");
		if (what == 0)
			mbox_post(b->to_ctl, &e, 1);
		else if (what == 1)
			border_note(b, &n);
		else
			border_punt(b, what - 2, frame);
		border_ring_ctl(b);
		border_ring_ctl(b);
		cr_assert(rings(b->ctl_bell));
		border_awake_ctl(b);
		border_ring_ctl(b);
		cr_assert_not(rings(b->ctl_bell), "it is awake");
		cr_assert_not(border_sleep_ctl(b), "%u: not while something waits", what);
		border_ring_ctl(b);
		cr_assert_not(rings(b->ctl_bell), "it did not go to sleep");
		mbox_get(b->to_ctl, &got, &ev, 1);
		border_notes(b, &n, 1);
		border_punts(b, (struct rte_mbuf **)&frame, 1);
	}
	cr_assert(border_sleep_ctl(b));
	border_note(b, &n);
	border_ring_ctl(b);
	border_awake_ctl(b);
	cr_assert_not(rings(b->ctl_bell), "awake silences the bell");
}

Test(border, worker_is_rung_for_a_new_table_too)
{
	const struct net_tbl *tbl = (const struct net_tbl *)b;
	struct mbox_ent e = {0}, *got;
	uint32_t ev;
	void *frame = &e;

	cr_assert(border_sleep_worker(b, NULL));
	border_ring_worker(b);
	cr_assert_not(rings(b->worker_bell));
	atomic_store(&b->tbl, tbl);
	border_ring_worker(b);
	cr_assert(rings(b->worker_bell));
	border_awake_worker(b);
	cr_assert_not(border_sleep_worker(b, NULL), "an older table than the published one");
	cr_assert(border_sleep_worker(b, tbl));
	border_ring_worker(b);
	cr_assert_not(rings(b->worker_bell), "rung for it once");
	mbox_post(b->to_worker, &e, 1);
	border_ring_worker(b);
	cr_assert(rings(b->worker_bell));
	border_awake_worker(b);
	cr_assert_not(border_sleep_worker(b, tbl));
	mbox_get(b->to_worker, &got, &ev, 1);
	rte_ring_sp_enqueue(b->inject, frame);
	cr_assert_not(border_sleep_worker(b, tbl));
	rte_ring_sc_dequeue(b->inject, &frame);
	cr_assert(border_sleep_worker(b, tbl));
}

Test(border, destroy_frees_the_frames)
{
	struct rte_mempool *mp = rte_pktmbuf_pool_create("frames", 63, 0, 0, 256, 0);
	struct border *own;

	cr_assert_not_null(mp);
	cr_assert_eq(border_create(&own, 0, 1, 64, 0), 0);
	for (unsigned i = 0; i < 20; i++) {
		cr_assert(border_punt(own, i % BORDER_LANES, rte_pktmbuf_alloc(mp)));
		rte_ring_sp_enqueue(own->inject, rte_pktmbuf_alloc(mp));
	}
	cr_assert_eq(rte_mempool_avail_count(mp), 23);
	border_destroy(own);
	cr_assert_eq(rte_mempool_avail_count(mp), 63);
}

/* Further control instances: a mailbox each way of their own, and one bell of the worker's for all. */
Test(border, joined)
{
	static struct mbox_ent e[3];
	struct mbox_ent *got;
	uint32_t ev;

	for (unsigned k = 1; k < LIMIT_CONTROLS; k++)
		cr_assert_eq(border_join(b, 3, 100, 0), 0);
	cr_assert_eq(border_join(b, 3, 100, 0), -ENOSPC);
	cr_assert_eq(border_of(b, 0), b);
	cr_assert_neq(border_of(b, 1)->ctl_bell, b->ctl_bell);
	/* To each control its own. */
	cr_assert(border_sleep_ctl(b) && border_sleep_ctl(border_of(b, 1)) && border_sleep_ctl(border_of(b, 7)));
	mbox_post(border_of(b, 7)->to_ctl, &e[0], 1);
	border_ring_ctl(b);
	cr_assert(rings(border_of(b, 7)->ctl_bell));
	cr_assert(!rings(b->ctl_bell) && !rings(border_of(b, 1)->ctl_bell));
	cr_assert_not(border_sleep_ctl(border_of(b, 7)), "something waits");
	/* The worker sleeps on all, and each wakes it. */
	for (unsigned k = 0; k < LIMIT_CONTROLS; k++) {
		cr_assert(border_sleep_worker(b, NULL));
		mbox_post(border_of(b, k)->to_worker, &e[1], 1);
		border_ring_worker(border_of(b, k));
		cr_assert(rings(b->worker_bell), "control %u", k);
		border_awake_worker(b);
		cr_assert_not(border_sleep_worker(b, NULL), "control %u has posted", k);
		for (unsigned i = 0; i < LIMIT_CONTROLS; i++)
			cr_assert_not(mbox_wanted(border_of(b, i)->to_worker), "it is awake for all");
		cr_assert_eq(mbox_get(border_of(b, k)->to_worker, &got, &ev, 1), 1);
		cr_assert_eq(got, &e[1]);
	}
	cr_assert(border_sleep_worker(b, NULL));
	border_up_worker(b);
	cr_assert_not(rings(b->worker_bell));
	cr_assert_eq(mbox_get(border_of(b, 7)->to_ctl, &got, &ev, 1), 1);
}

/* Of what waits control takes a part of each lane, and then what is left in their order. */
Test(border, lanes_are_served_by_parts)
{
	static const unsigned want[2][BORDER_LANES] = {{8, 8, 32, 8, 0, 8}, {0, 0, 0, 0, 0, 24}};
	static char at[BORDER_LANES];
	struct rte_mbuf *v[64];

	for (unsigned i = 0; i < BORDER_LANES; i++)
		while (i != 4 && border_punt(b, i, (struct rte_mbuf *)&at[i]))
			;
	for (unsigned round = 0; round < 2; round++) {
		unsigned got[BORDER_LANES] = {0}, n = border_punts(b, v, 64);

		for (unsigned i = 0; i < n; i++)
			got[(char *)v[i] - at]++;
		for (unsigned i = 0; i < BORDER_LANES; i++)
			cr_expect_eq(got[i], want[round][i], "round %u: %u of lane %u", round, got[i], i);
	}
	cr_assert_eq(border_punts(b, v, 64), 0);
}
