/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "le.h"
#include "rig.h"

static struct mem *mem;
static size_t idle;
static struct mux m;
static struct mux_conf conf;

static void start(uint8_t version, bool client)
{
	if (m.conf)
		mux_fini(&m);
	conf = (struct mux_conf){.version = version,
				 .client = client,
				 .framesize = 8192,
				 .smuxbuf = 4 << 20,
				 .streambuf = 100000,
				 .max_streams = 1000,
				 .hello = false};
	mux_init(&m, &conf, mem);
}

static void up(void)
{
	mem = rig_heap(64 << 20);
	idle = mem_used(mem);
	start(2, true);
}

static void down(void)
{
	mux_fini(&m);
	cr_assert_eq(mem_used(mem), idle);
}

TestSuite(mux_stream, .init = up, .fini = down);

/* ---- ids and table ---- */

Test(mux_stream, ids)
{
	struct mux_out o;

	for (uint32_t id = 3; id < 100; id += 2) {
		mux_open(&m, NULL);
		expect_frame(&m, &o, SYN, id, 0);
	}
	m.next_id = UINT32_MAX - 4;
	cr_assert_eq(mux_open(&m, NULL)->id, UINT32_MAX - 2);
	cr_assert_eq(mux_open(&m, NULL)->id, UINT32_MAX);
	cr_assert_null(mux_open(&m, NULL));
	cr_assert(m.dead, "ids used up for good");
	cr_assert_null(mux_open(&m, NULL));
	cr_assert_eq(feed(&m, PSH, 3, 10, 0).type, MUX_EV_DATA, "the streams that there are live on");
	start(2, false);
	cr_assert_eq(mux_open(&m, NULL)->id, 2, "a server's ids are even");
	m.next_id = UINT32_MAX - 3;
	cr_assert_eq(mux_open(&m, NULL)->id, UINT32_MAX - 1);
	cr_assert_null(mux_open(&m, NULL));
	cr_assert(m.dead);
}

/*
 * Ids that a peer may choose: those whose place was the same in every table of up to 2^16 slots when the table's
 * multiplier stood here in the open (`back` is its inverse), steps of two as honest peers count, and steps of 2^16.
 */
enum { CHOSEN_FORMER, CHOSEN_HONEST, CHOSEN_HIGH, CHOSEN_KINDS };

static uint32_t chosen(unsigned kind, uint32_t i)
{
	static const uint32_t back = 0x0e8b2f51;

	return kind == CHOSEN_FORMER ? i * back : kind == CHOSEN_HONEST ? 2 * i + 3 : i << 16 | i >> 16;
}

/* The longest row of taken slots, which no probe is longer than, and the sum of what finding each id costs. */
static uint32_t longest_row(const struct mux *t, uint64_t *steps)
{
	uint32_t row = 0, most = 0;

	/* Twice around: a row may go over the end. */
	for (uint32_t i = 0; i < 2 * t->cap; i++) {
		row = t->table[i & (t->cap - 1)] ? row + 1 : 0;
		if (row > most)
			most = row;
	}
	*steps = 0;
	for (uint32_t i = 0; i < t->cap; i++) {
		row = t->table[i] ? row + 1 : 0;
		*steps += row; /* nothing stands further from its place than the row's begin */
	}
	return most;
}

static void meet(unsigned kind, struct rng *r)
{
	uint32_t most, worst = 0;
	uint64_t steps;

	start(2, false);
	conf.max_streams = 30000;
	conf.hash_key[0] = rng_next(r);
	conf.hash_key[1] = rng_next(r);
	for (uint32_t i = 0; i < 30000; i++) {
		cr_assert_eq(feed(&m, SYN, chosen(kind, i), 0, 0).type, MUX_EV_OPEN);
		if (i % 1000)
			continue;
		most = longest_row(&m, &steps);
		worst = most > worst ? most : worst;
		cr_assert_leq(most, 200, "%u ids of kind %u: a row of %u slots", i + 1, kind, most);
	}
	most = longest_row(&m, &steps);
	cr_assert_leq(most, 200);
	cr_assert_lt(steps, 8 * 30000);
	printf("30,000 ids of kind %u: longest row %u slots, at most %.2f steps an id\n", kind, worst,
	       (double)steps / 30000);
}

Test(mux_stream, chosen_ids_do_not_meet)
{
	struct rng r = {2026};

	cr_assert_eq(chosen(CHOSEN_FORMER, 1) * 0x9e3779b1u, 1);
	for (unsigned kind = 0; kind < CHOSEN_KINDS; kind++)
		for (unsigned k = 0; k < 8; k++)
			meet(kind, &r);
}

/* Where an id stands is the key's to say: what somebody finds out about one process tells him nothing of another. */
Test(mux_stream, places_follow_the_key)
{
	uint32_t same = 0;
	static bool first[1 << 10];

	for (unsigned k = 0; k < 2; k++) {
		start(2, false);
		conf.hash_key[0] = 0x0123456789abcdefull * (k + 1);
		conf.hash_key[1] = 0xfedcba9876543210ull >> k;
		mux_fini(&m);
		mux_init(&m, &conf, mem);
		for (uint32_t id = 3; id < 403; id += 2)
			feed(&m, SYN, id, 0, 0);
		for (uint32_t i = 0; i < m.cap; i++) {
			if (!k)
				first[i] = m.table[i] != NULL;
			else
				same += first[i] && m.table[i];
		}
	}
	printf("%u of 200 places the same, cap %u\n", same, m.cap);
	cr_assert_lt(same, 160);
}

/* The table against a plain array over a random life of 3,000 ids, then down to nothing. */
Test(mux_stream, table_follows_a_plain_one)
{
	static struct mux_stream *plain[6000];
	struct rng r = {1};
	unsigned n = 0;
	struct mux_out o;

	start(2, false);
	conf.max_streams = 6000;
	for (unsigned step = 0; step < 60000; step++) {
		uint32_t id = rng_below(&r, step < 30000 ? 6000 : 300) * (step % 3 ? 1 : 715827883);
		uint32_t slot = id % 6000;
		bool grow = step < 20000 ? rng_below(&r, 4) != 0 : rng_below(&r, 4) == 0;

		if (!plain[slot] && grow) {
			struct mux_ev ev = feed(&m, SYN, id, 0, 0);

			cr_assert_eq(ev.type, MUX_EV_OPEN);
			plain[slot] = ev.stream;
			n++;
		} else if (plain[slot] && !grow) {
			mux_close(&m, plain[slot], false);
			cr_assert(out(&m, &o));
			plain[slot] = NULL;
			n--;
		} else if (plain[slot]) {
			cr_assert_eq(feed(&m, PSH, plain[slot]->id, 1, 0).stream, plain[slot]);
		}
		cr_assert_eq(m.count, n);
		cr_assert(m.cap >= 2 * n && (m.cap <= 8 || m.cap <= 16 * n + 16), "%u streams, %u slots", n, m.cap);
	}
	for (unsigned i = 0; i < 6000; i++) {
		if (!plain[i])
			continue;
		mux_close(&m, plain[i], false);
		cr_assert(out(&m, &o));
	}
	cr_assert_eq(m.cap, 0);
	cr_assert_eq(mem_used(mem), idle, "an idle session holds nothing");
}

Test(mux_stream, each_sees_all_but_the_gone)
{
	struct mux_stream *s[50], *got;
	uint32_t cursor = 0, seen = 0;
	struct mux_out o;

	for (unsigned i = 0; i < 50; i++)
		s[i] = mux_open(&m, NULL);
	while (out(&m, &o))
		;
	for (unsigned i = 0; i < 50; i += 5)
		mux_close(&m, s[i], false);
	for (unsigned i = 1; i < 50; i += 5)
		mux_close(&m, s[i], true);
	while ((got = mux_each(&m, &cursor))) {
		cr_assert_neq((got->id - 3) / 2 % 5, 0, "%u has gone", got->id);
		seen++;
	}
	cr_assert_eq(seen, 40);
	cr_assert_null(mux_each(&m, &cursor));
}

Test(mux_stream, no_memory)
{
	struct mem *tight = rig_heap(1 << 20);
	size_t before = mem_used(tight);
	unsigned n = 0;

	mux_init(&m, &conf, tight);
	while (mux_open(&m, NULL))
		n++;
	cr_assert(n > 1000, "%u streams in a MiB", n);
	cr_assert_not(m.dead);
	cr_assert_eq(m.count, n);
	for (uint32_t id = 3; id < 3 + 2 * n; id += 2)
		cr_assert_eq(feed(&m, PSH, id, 1, 0).type, MUX_EV_DATA);
	cr_assert_eq(feed(&m, SYN, 2, 0, 0).type, MUX_EV_REFUSED);
	mux_fini(&m);
	cr_assert_eq(mem_used(tight), before);
	mem = tight;
	idle = before;
}

/* ---- refusal ---- */

Test(mux_stream, too_many)
{
	struct mux_out o;
	struct mux_stream *first;

	start(2, false);
	conf.max_streams = 2;
	first = feed(&m, SYN, 3, 0, 0).stream;
	feed(&m, SYN, 5, 0, 0);
	cr_assert_eq(feed(&m, SYN, 7, 0, 0).type, MUX_EV_REFUSED);
	cr_assert_eq(feed(&m, SYN, 9, 0, 0).type, MUX_EV_REFUSED);
	cr_assert_eq(feed(&m, PSH, 7, 100, 0).type, MUX_EV_NONE);
	expect_frame(&m, &o, FIN, 7, 0);
	cr_assert(!o.user && !o.last);
	expect_frame(&m, &o, FIN, 9, 0);
	expect_nothing(&m);
	mux_close(&m, first, false);
	cr_assert_eq(feed(&m, SYN, 11, 0, 0).type, MUX_EV_REFUSED, "counted until its FIN is out");
	while (out(&m, &o))
		;
	cr_assert_eq(feed(&m, SYN, 13, 0, 0).type, MUX_EV_OPEN);
}

Test(mux_stream, refusals_are_bounded)
{
	struct mux_out o;
	uint32_t id = 3;

	start(2, false);
	conf.max_streams = 0;
	for (unsigned round = 0; round < 3; round++) {
		uint32_t first = id;
		size_t most;

		for (unsigned i = 0; i < 5000; i++, id += 2)
			cr_assert_eq(feed(&m, SYN, id, 0, 0).type, MUX_EV_REFUSED);
		most = mem_used(mem);
		for (unsigned i = 0; i < MUX_REFUSED_MAX / 2; i++)
			expect_frame(&m, &o, FIN, first + 2 * i, 0);
		feed(&m, SYN, id += 2, 0, 0);
		for (unsigned i = MUX_REFUSED_MAX / 2; i < MUX_REFUSED_MAX; i++)
			expect_frame(&m, &o, FIN, first + 2 * i, 0);
		expect_frame(&m, &o, FIN, id, 0);
		expect_nothing(&m);
		cr_assert(most > idle);
		cr_assert_eq(mem_used(mem), idle);
	}
}

/* ---- flow control ---- */

Test(mux_stream, v2_first_read_and_cadence)
{
	struct mux_stream *s = mux_open(&m, NULL);
	struct mux_out o;

	expect_frame(&m, &o, SYN, 3, 0);
	for (unsigned i = 0; i < 20; i++)
		feed(&m, PSH, 3, 10000, 0);
	mux_taken(&m, s, 0);
	expect_nothing(&m);
	mux_taken(&m, s, 1);
	expect_frame(&m, &o, UPD, 3, 0);
	cr_assert_eq(le32_get(o.head + 8), 1);
	cr_assert_eq(le32_get(o.head + 12), 100000);
	mux_taken(&m, s, 49999);
	expect_nothing(&m);
	mux_taken(&m, s, 1);
	cr_assert(mux_pending(&m));
	mux_taken(&m, s, 70000); /* one UPD tells the latest */
	expect_frame(&m, &o, UPD, 3, 0);
	cr_assert_eq(le32_get(o.head + 8), 120001);
	expect_nothing(&m);
}

Test(mux_stream, v2_counters_wrap)
{
	struct mux_stream *s = mux_open(&m, NULL);
	struct mux_out o;

	expect_frame(&m, &o, SYN, 3, 0);
	s->taken = s->told = s->sent = s->peer_consumed = UINT32_MAX - 999;
	s->flags |= MUX_S_READ;
	feed(&m, PSH, 3, 60000, 0);
	mux_taken(&m, s, 49999);
	expect_nothing(&m);
	mux_taken(&m, s, 10001);
	expect_frame(&m, &o, UPD, 3, 0);
	cr_assert_eq(le32_get(o.head + 8), 59000);
	feed_upd(&m, 3, UINT32_MAX - 999, 10000);
	mux_avail(&m, s, 20000);
	expect_frame(&m, &o, PSH, 3, 8192);
	expect_frame(&m, &o, PSH, 3, 1808);
	expect_nothing(&m);
	cr_assert_eq(feed_upd(&m, 3, 9000, 10000).type, MUX_EV_CREDIT);
	expect_frame(&m, &o, PSH, 3, 8192);
	expect_frame(&m, &o, PSH, 3, 1808);
	cr_assert_eq(feed_upd(&m, 3, 19001, 10000).type, MUX_EV_BROKEN, "one byte more than was sent");
}

Test(mux_stream, v1_has_no_windows)
{
	struct mux_stream *s;
	struct mux_out o;
	uint32_t n = 0;

	start(1, true);
	s = mux_open(&m, NULL);
	expect_frame(&m, &o, SYN, 3, 0);
	mux_avail(&m, s, 10000000);
	while (out(&m, &o))
		n += o.n;
	cr_assert_eq(n, 10000000);
	feed(&m, PSH, 3, 60000, 0);
	mux_taken(&m, s, 60000);
	expect_nothing(&m);
}

Test(mux_stream, credit_event_only_for_the_blocked)
{
	struct mux_stream *s = mux_open(&m, NULL);
	struct mux_out o;
	uint32_t n = 0;

	mux_avail(&m, s, 300000);
	while (out(&m, &o))
		n += o.n;
	cr_assert_eq(n, MUX_INITIAL_WINDOW);
	cr_assert_eq(feed_upd(&m, 3, 1, MUX_INITIAL_WINDOW - 1).type, MUX_EV_NONE);
	cr_assert_eq(feed_upd(&m, 3, 1, MUX_INITIAL_WINDOW).type, MUX_EV_CREDIT);
	cr_assert_eq(feed_upd(&m, 3, 1, MUX_INITIAL_WINDOW + 1).type, MUX_EV_NONE);
	expect_frame(&m, &o, PSH, 3, 2);
	cr_assert_eq(feed_upd(&m, 3, 1, UINT32_MAX).type, MUX_EV_CREDIT);
	expect_frame(&m, &o, PSH, 3, 8192);
	/* However large the window, less than 2^31 bytes fly. */
	s->sent = 1u + INT32_MAX - 5;
	expect_frame(&m, &o, PSH, 3, 5);
	expect_nothing(&m);
	s->sent = MUX_INITIAL_WINDOW;
	feed_upd(&m, 3, 1, UINT32_MAX);
	/* A window that shrinks takes the stream off its turn. */
	cr_assert_eq(feed_upd(&m, 3, 1, 5).type, MUX_EV_NONE);
	expect_nothing(&m);
}

Test(mux_stream, broken)
{
	struct mux_stream *s = mux_open(&m, NULL);
	struct mux_out o;
	struct mux_ev ev;

	expect_frame(&m, &o, SYN, 3, 0);
	mux_avail(&m, s, 5000);
	ev = feed_upd(&m, 3, 1, 100000);
	cr_assert_eq(ev.type, MUX_EV_BROKEN);
	cr_assert_eq(ev.stream, s);
	expect_nothing(&m);
	cr_assert_eq(feed_upd(&m, 3, 0, 100000).type, MUX_EV_NONE, "told once, and for good");
	mux_avail(&m, s, 5000);
	expect_nothing(&m);
	cr_assert_eq(feed(&m, PSH, 3, 10, 0).type, MUX_EV_DATA, "reading goes on");
	mux_close(&m, s, true);
	expect_frame(&m, &o, FIN, 3, 0);
	cr_assert(o.last);
	/* While it drains there is no event, and the FIN need not wait any more. */
	s = mux_open(&m, &m);
	expect_frame(&m, &o, SYN, 5, 0);
	mux_avail(&m, s, 5000);
	mux_close(&m, s, true);
	cr_assert_eq(feed_upd(&m, 5, 1, 100000).type, MUX_EV_NONE);
	expect_frame(&m, &o, FIN, 5, 0);
	cr_assert(o.last && o.user == &m);
}

/* ---- ends ---- */

Test(mux_stream, close_at_once)
{
	struct mux_stream *s = mux_open(&m, &m);
	struct mux_out o;

	expect_frame(&m, &o, SYN, 3, 0);
	mux_avail(&m, s, 100);
	feed(&m, PSH, 3, 1000, 0);
	mux_taken(&m, s, 1); /* and a UPD waits */
	mux_close(&m, s, false);
	cr_assert_eq(m.bucket, 4 << 20);
	cr_assert_eq(feed(&m, PSH, 3, 1000, 0).type, MUX_EV_NONE);
	cr_assert_eq(feed(&m, FIN, 3, 0, 0).type, MUX_EV_NONE);
	cr_assert_eq(m.bucket, 4 << 20);
	expect_frame(&m, &o, FIN, 3, 0);
	cr_assert(!o.user && !o.last);
	expect_nothing(&m);
	cr_assert_eq(m.count, 0);
}

Test(mux_stream, close_before_syn)
{
	struct mux_stream *s = mux_open(&m, &m);
	struct mux_out o;

	mux_avail(&m, s, 100);
	mux_close(&m, s, false);
	expect_nothing(&m);
	cr_assert_eq(mem_used(mem), idle);
	s = mux_open(&m, &m);
	mux_avail(&m, s, 100);
	mux_close(&m, s, true);
	expect_frame(&m, &o, SYN, 5, 0);
	expect_frame(&m, &o, PSH, 5, 100);
	cr_assert(o.user == &m && !o.last);
	expect_frame(&m, &o, FIN, 5, 0);
	cr_assert(o.user == &m && o.last);
	expect_nothing(&m);
}

Test(mux_stream, drain_waits_for_the_window)
{
	struct mux_stream *s = mux_open(&m, &m);
	struct mux_out o;
	uint32_t n = 0;

	feed(&m, PSH, 3, 500, 0);
	mux_avail(&m, s, MUX_INITIAL_WINDOW + 10);
	mux_close(&m, s, true);
	while (out(&m, &o))
		n += o.n;
	cr_assert_eq(n, MUX_INITIAL_WINDOW);
	cr_assert_eq(m.bucket, (4 << 20) - 500);
	mux_taken(&m, s, 200);
	cr_assert_eq(m.bucket, (4 << 20) - 300);
	while (out(&m, &o))
		cr_assert_eq(o.head[1], UPD);
	cr_assert_eq(feed_upd(&m, 3, 100, MUX_INITIAL_WINDOW).type, MUX_EV_NONE);
	expect_frame(&m, &o, PSH, 3, 10);
	expect_frame(&m, &o, FIN, 3, 0);
	cr_assert(o.last);
	cr_assert_eq(m.bucket, 4 << 20, "what was held returns with the FIN");
}

/* What arrives for a draining stream is thrown away and announced as read, so that neither waits for the other. */
Test(mux_stream, drain_reads_on)
{
	struct mux_stream *s = mux_open(&m, &m);
	struct mux_out o;

	expect_frame(&m, &o, SYN, 3, 0);
	mux_avail(&m, s, MUX_INITIAL_WINDOW + 10);
	mux_close(&m, s, true);
	while (out(&m, &o))
		;
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(feed(&m, PSH, 3, 10000, 0).type, MUX_EV_NONE);
	cr_assert_eq(m.bucket, 4 << 20);
	expect_frame(&m, &o, UPD, 3, 0);
	cr_assert_eq(le32_get(o.head + 8), 200000);
	expect_nothing(&m);
}

Test(mux_stream, drain_can_be_forced)
{
	struct mux_stream *s = mux_open(&m, &m);
	struct mux_out o;

	mux_avail(&m, s, MUX_INITIAL_WINDOW + 10);
	feed(&m, PSH, 3, 500, 0);
	mux_close(&m, s, true);
	while (out(&m, &o))
		;
	mux_close(&m, s, false);
	cr_assert_eq(m.bucket, 4 << 20);
	expect_frame(&m, &o, FIN, 3, 0);
	cr_assert(!o.user && !o.last);
	cr_assert_eq(m.count, 0);
}

/* The peer's FIN ends both ways (8.3): nothing but our FIN goes out after it. */
Test(mux_stream, fin_from_the_peer)
{
	struct mux_stream *s = mux_open(&m, &m);
	struct mux_out o;
	struct mux_ev ev;

	expect_frame(&m, &o, SYN, 3, 0);
	mux_avail(&m, s, MUX_INITIAL_WINDOW + 10);
	expect_frame(&m, &o, PSH, 3, 8192);
	feed(&m, PSH, 3, 1000, 0);
	mux_taken(&m, s, 100);
	ev = feed(&m, FIN, 3, 0, 0);
	cr_assert_eq(ev.type, MUX_EV_FIN);
	cr_assert_eq(ev.stream, s);
	cr_assert_eq(feed(&m, FIN, 3, 0, 0).type, MUX_EV_NONE);
	cr_assert_eq(feed(&m, PSH, 3, 1000, 0).type, MUX_EV_NONE);
	expect_nothing(&m);
	mux_avail(&m, s, 10);
	mux_taken(&m, s, 900);
	expect_nothing(&m);
	cr_assert_eq(m.bucket, 4 << 20);
	mux_close(&m, s, true);
	expect_frame(&m, &o, FIN, 3, 0);
	cr_assert(o.last && o.user == &m);
	/* In the middle of a drain it ends the wait, without an event. */
	s = mux_open(&m, &m);
	mux_avail(&m, s, MUX_INITIAL_WINDOW + 10);
	mux_close(&m, s, true);
	while (out(&m, &o))
		;
	cr_assert_eq(feed(&m, FIN, 5, 0, 0).type, MUX_EV_NONE);
	expect_frame(&m, &o, FIN, 5, 0);
	cr_assert(o.last);
}

/* ---- section 14 ---- */

Test(mux_stream, hello_of_a_client)
{
	struct mux_out o;

	conf.hello = true;
	mux_keepalive(&m);
	expect_frame(&m, &o, NOP, 0, 0);
	expect_nothing(&m);
	mux_open(&m, NULL);
	mux_open(&m, NULL);
	mux_keepalive(&m);
	expect_frame(&m, &o, NOP, 0, 0);
	expect_frame(&m, &o, SYN, 3, 0);
	expect_frame(&m, &o, NOP, 0x80000003, 0);
	expect_frame(&m, &o, SYN, 5, 0);
	mux_open(&m, NULL);
	expect_frame(&m, &o, SYN, 7, 0);
	expect_nothing(&m);
}

Test(mux_stream, hello_of_a_server)
{
	struct mux_out o;

	start(2, false);
	conf.hello = true;
	expect_nothing(&m);
	feed(&m, SYN, 3, 0, 0);
	mux_keepalive(&m);
	expect_frame(&m, &o, NOP, 0x8000000f, 0);
	expect_frame(&m, &o, NOP, 0, 0);
	feed(&m, SYN, 5, 0, 0);
	expect_nothing(&m);
}

Test(mux_stream, hello_from_the_peer)
{
	static const uint32_t without[] = {0x80000000, 0x80000002, 0xfffffffe, 0xc0000005,
					   0xffffffff, 1,	   0x7fffffff, 0};
	struct mux_stream *s;
	struct mux_out o;

	start(2, false);
	conf.hello = true;
	s = feed(&m, SYN, 3, 0, 0).stream;
	expect_frame(&m, &o, NOP, 0x8000000f, 0);
	for (unsigned i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
		cr_assert_eq(feed(&m, NOP, without[i], 0, 0).type, MUX_EV_NONE);
		cr_assert_not(mux_can_half(&m));
	}
	cr_assert_eq(mux_half(&m, s), -ENOTSUP);
	cr_assert_eq(feed(&m, NOP, 0x80008001, 0, 0).type, MUX_EV_HELLO, "bits to come do not hide bit 0");
	cr_assert(mux_can_half(&m));
	cr_assert_not(mux_peer_answers(&m));
	cr_assert_eq(feed(&m, NOP, 0x80000001, 0, 0).type, MUX_EV_NONE, "told once");
	cr_assert_eq(mux_half(&m, s), 0);
	expect_frame(&m, &o, NOP, 3, 0);
	cr_assert(!o.user && !o.last);
}

/* A server says that it answers questions after sessions; a client, whom nobody asks, does not. */
Test(mux_stream, hello_of_who_answers)
{
	struct mux_out o;

	conf.hello = true;
	mux_open(&m, NULL);
	expect_frame(&m, &o, SYN, 3, 0);
	expect_frame(&m, &o, NOP, 0x80000003, 0);
	cr_assert_eq(feed(&m, NOP, 0x80000005, 0, 0).type, MUX_EV_HELLO);
	cr_assert(mux_peer_answers(&m));
	cr_assert(mux_can_half(&m));
}

Test(mux_stream, half_close_out)
{
	struct mux_stream *s;
	struct mux_out o;

	start(2, false);
	conf.hello = true;
	s = feed(&m, SYN, 3, 0, 0).stream;
	expect_frame(&m, &o, NOP, 0x8000000f, 0);
	feed(&m, NOP, 0x80000001, 0, 0);
	mux_avail(&m, s, 10000);
	cr_assert_eq(mux_half(&m, s), 0);
	expect_frame(&m, &o, PSH, 3, 8192);
	expect_frame(&m, &o, PSH, 3, 1808);
	expect_frame(&m, &o, NOP, 3, 0);
	cr_assert_eq(mux_half(&m, s), 0);
	expect_nothing(&m);
	cr_assert_eq(feed(&m, PSH, 3, 100, 0).type, MUX_EV_DATA, "we read on");
	mux_taken(&m, s, 100);
	expect_frame(&m, &o, UPD, 3, 0);
	mux_close(&m, s, true);
	expect_frame(&m, &o, FIN, 3, 0);
	/* FIN makes a half-close that is not out yet needless. */
	s = feed(&m, SYN, 5, 0, 0).stream;
	mux_half(&m, s);
	mux_close(&m, s, true);
	expect_frame(&m, &o, FIN, 5, 0);
	expect_nothing(&m);
	/* And an id that no signal can name has no half-close. */
	s = feed(&m, SYN, 0x80000001, 0, 0).stream;
	cr_assert_eq(mux_half(&m, s), -ENOTSUP);
	s = feed(&m, SYN, 0, 0, 0).stream;
	cr_assert_eq(mux_half(&m, s), -ENOTSUP);
	s = feed(&m, SYN, 0x7fffffff, 0, 0).stream;
	cr_assert_eq(mux_half(&m, s), 0);
	expect_frame(&m, &o, NOP, 0x7fffffff, 0);
}

Test(mux_stream, half_close_in)
{
	struct mux_stream *s;
	struct mux_out o;
	struct mux_ev ev;

	conf.hello = true;
	s = mux_open(&m, NULL);
	expect_frame(&m, &o, SYN, 3, 0);
	expect_frame(&m, &o, NOP, 0x80000003, 0);
	cr_assert_eq(feed(&m, NOP, 5, 0, 0).type, MUX_EV_NONE, "unknown stream");
	ev = feed(&m, NOP, 3, 0, 0);
	cr_assert_eq(ev.type, MUX_EV_HALF);
	cr_assert_eq(ev.stream, s);
	cr_assert_eq(feed(&m, NOP, 3, 0, 0).type, MUX_EV_NONE, "told once");
	cr_assert_eq(feed(&m, PSH, 3, 10, 0).type, MUX_EV_NONE, "it said that there would be none");
	cr_assert_eq(m.bucket, 4 << 20);
	mux_avail(&m, s, 10);
	expect_frame(&m, &o, PSH, 3, 10);
	cr_assert_eq(feed(&m, FIN, 3, 0, 0).type, MUX_EV_FIN);
	/* After a FIN there is no half-close. */
	s = mux_open(&m, NULL);
	feed(&m, FIN, 5, 0, 0);
	cr_assert_eq(feed(&m, NOP, 5, 0, 0).type, MUX_EV_NONE);
}

/* A stream that failed: behind its bytes a reset for who understands it, else a FIN, or nothing where that would lie.
 */
Test(mux_stream, reset_out)
{
	static const struct {
		uint32_t hello, id, sid;
		bool lost;
		uint8_t cmd;
	} v[] = {
		{0x80000003, 3, 0xc0000003, false, NOP},
		{0x80000003, 3, 0xc0000003, true, NOP},
		{0x80000003, 0x1fffffff, 0xdfffffff, true, NOP},
		{0x80000003, 0x20000001, 0x20000001, false, FIN},
		{0x80000001, 3, 3, false, FIN},
		{0, 3, 3, false, FIN},
		{0x80000001, 3, 0, true, 0xff},
		{0, 3, 0, true, 0xff},
		{0x80000003, 0x20000001, 0, true, 0xff},
	};
	struct mux_stream *s;
	struct mux_out o;

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		start(2, false);
		conf.hello = true;
		s = feed(&m, SYN, v[i].id, 0, 0).stream;
		s->user = &m;
		expect_frame(&m, &o, NOP, 0x8000000f, 0);
		if (v[i].hello)
			feed(&m, NOP, v[i].hello, 0, 0);
		cr_assert_eq(mux_can_reset(&m), v[i].hello == 0x80000003);
		mux_avail(&m, s, 10);
		mux_abort(&m, s, true, v[i].lost);
		expect_frame(&m, &o, PSH, v[i].id, 10);
		if (v[i].cmd == 0xff) {
			cr_assert(mux_out(&m, &o));
			cr_assert(o.head_n == 0 && o.n == 0);
		} else {
			expect_frame(&m, &o, v[i].cmd, v[i].sid, 0);
		}
		cr_assert(o.last && o.user == &m);
		expect_nothing(&m);
		cr_assert_eq(m.count, 0);
	}
}

/* One that drains already changes how it ends, and one that is let go of says it at once. */
Test(mux_stream, reset_out_at_once)
{
	struct mux_stream *s;
	struct mux_out o;

	start(2, false);
	conf.hello = true;
	s = feed(&m, SYN, 3, 0, 0).stream;
	expect_frame(&m, &o, NOP, 0x8000000f, 0);
	feed(&m, NOP, 0x80000003, 0, 0);
	mux_avail(&m, s, 10);
	mux_close(&m, s, true);
	mux_abort(&m, s, true, false);
	expect_frame(&m, &o, PSH, 3, 10);
	expect_frame(&m, &o, NOP, 0xc0000003, 0);
	s = feed(&m, SYN, 5, 0, 0).stream;
	mux_avail(&m, s, 10);
	mux_abort(&m, s, false, true);
	expect_frame(&m, &o, NOP, 0xc0000005, 0);
	cr_assert(!o.user && !o.last);
	expect_nothing(&m);
}

Test(mux_stream, reset_in)
{
	struct mux_stream *s;
	struct mux_out o;
	struct mux_ev ev;

	conf.hello = true;
	s = mux_open(&m, NULL);
	expect_frame(&m, &o, SYN, 3, 0);
	expect_frame(&m, &o, NOP, 0x80000003, 0);
	mux_avail(&m, s, 10);
	cr_assert_eq(feed(&m, NOP, 0xc0000005, 0, 0).type, MUX_EV_NONE, "unknown stream");
	cr_assert_eq(feed(&m, NOP, 0xe0000003, 0, 0).type, MUX_EV_NONE, "reserved");
	ev = feed(&m, NOP, 0xc0000003, 0, 0);
	cr_assert_eq(ev.type, MUX_EV_RESET);
	cr_assert_eq(ev.stream, s);
	cr_assert_eq(feed(&m, NOP, 0xc0000003, 0, 0).type, MUX_EV_NONE, "told once");
	cr_assert_eq(feed(&m, PSH, 3, 10, 0).type, MUX_EV_NONE);
	expect_nothing(&m); /* nobody reads what was still to be sent */
	mux_close(&m, s, false);
	expect_frame(&m, &o, FIN, 3, 0);
	/* Between a half-close and it, too. */
	s = mux_open(&m, NULL);
	expect_frame(&m, &o, SYN, 5, 0);
	cr_assert_eq(feed(&m, NOP, 5, 0, 0).type, MUX_EV_HALF);
	cr_assert_eq(feed(&m, NOP, 0xc0000005, 0, 0).type, MUX_EV_RESET);
}

Test(mux_stream, without_hello_we_are_stock)
{
	struct mux_stream *s = mux_open(&m, NULL);
	struct mux_out o;

	expect_frame(&m, &o, SYN, 3, 0);
	expect_nothing(&m);
	cr_assert_eq(feed(&m, NOP, 0x80000001, 0, 0).type, MUX_EV_NONE);
	cr_assert_eq(feed(&m, NOP, 3, 0, 0).type, MUX_EV_NONE);
	cr_assert_not(mux_can_half(&m));
	cr_assert_eq(mux_half(&m, s), -ENOTSUP);
	expect_nothing(&m);
}
