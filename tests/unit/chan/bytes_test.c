/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <rte_mempool.h>

#include "chan.h"
#include "eal.h"
#include "pattern.h"
#include "rnd.h"

static struct chan_pool pool;
static struct chan *c;
static struct chan_ring *r;
static uint32_t data; /* bytes that a chunk holds */

static void eight_chunks(void)
{
	struct iovec v[CHAN_IOV];

	eal_start();
	cr_assert_eq(chan_pool_create(&pool, 8, 4, 1, 0), 0);
	c = chan_alloc(&pool, 0);
	cr_assert_not_null(c);
	r = &c->up;
	cr_assert_eq(chan_space(&pool, r, CHAN_CHUNK, v), 2);
	data = (uint32_t)v[0].iov_len;
	chan_commit(&pool, r, 0);
	cr_assert_eq(chan_pool_free_permille(&pool), 1000);
}

static void done(void)
{
	chan_free(&pool, c);
	cr_assert_eq(rte_mempool_avail_count(pool.chunks), pool.chunks->size, "a chunk is lost");
	cr_assert_eq(rte_mempool_avail_count(pool.chans), pool.chans->size);
	chan_pool_destroy(&pool);
}

TestSuite(bytes, .init = eight_chunks, .fini = done);

static unsigned held(void)
{
	return pool.chunks->size - rte_mempool_avail_count(pool.chunks);
}

/* Writes n bytes of the pattern in one slice, from position `at`. */
static uint32_t put(uint64_t at, uint32_t n)
{
	static uint8_t buf[1 << 18];
	struct slice s = {buf, n};

	pattern_fill(buf, at, n);
	return chan_write(&pool, r, &s, 1);
}

/* Takes n bytes, which must be there and be those of the pattern from `at` on. */
static void take(uint64_t at, uint32_t n)
{
	struct iovec v[CHAN_IOV];

	while (n) {
		unsigned k = chan_peek(r, v, CHAN_IOV);
		uint32_t got = 0;

		cr_assert(k);
		for (unsigned i = 0; i < k && n; i++) {
			uint32_t len = v[i].iov_len < n ? (uint32_t)v[i].iov_len : n;

			cr_assert(pattern_is(v[i].iov_base, at, len));
			at += len;
			got += len;
			n -= len;
		}
		chan_done(&pool, r, got);
	}
}

Test(bytes, a_new_ring_is_empty_and_holds_nothing)
{
	struct iovec v[CHAN_IOV];

	cr_assert_eq(chan_used(r), 0);
	cr_assert_eq(chan_taken(r), 0);
	cr_assert_eq(chan_peek(r, v, CHAN_IOV), 0);
	chan_done(&pool, r, 0);
	cr_assert(chan_trim(&pool, r));
	chan_commit(&pool, r, 0);
	cr_assert_eq(chan_write(&pool, r, NULL, 0), 0);
	cr_assert_eq(chan_space(&pool, r, 0, v), 0);
	cr_assert_eq(held(), 0);
	cr_assert_eq(c->to_ctl.kind, MBOX_CHAN);
	cr_assert_eq(c->to_worker.kind, MBOX_CHAN);
	cr_assert(data > CHAN_CHUNK - 128 && data < CHAN_CHUNK);
	cr_assert_eq((uintptr_t)c % 64, 0);
}

Test(bytes, small_writes_share_a_chunk)
{
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(put(i * 10, 10), 10);
	cr_assert_eq(held(), 1);
	cr_assert_eq(chan_used(r), 1000);
	take(0, 1000);
	cr_assert_eq(chan_taken(r), 1000);
	cr_assert_eq(held(), 1);
	cr_assert(chan_trim(&pool, r));
	cr_assert_eq(held(), 0);
}

Test(bytes, trim_waits_for_the_reader)
{
	put(0, 100);
	cr_assert_not(chan_trim(&pool, r));
	take(0, 99);
	cr_assert_not(chan_trim(&pool, r));
	take(99, 1);
	cr_assert(chan_trim(&pool, r));
	put(100, 50);
	take(100, 50);
	cr_assert_eq(held(), 1);
}

Test(bytes, a_chunk_filled_to_its_end_and_read_to_its_end)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < 20; i++, at += data) {
		cr_assert_eq(put(at, data), data);
		take(at, data);
		cr_assert_eq(held(), 1, "begun anew, not a second one");
	}
	put(at, data);
	cr_assert_eq(put(at + data, 1), 1);
	cr_assert_eq(held(), 2);
	take(at, data);
	take(at + data, 1);
	cr_assert_eq(held(), 1);
}

Test(bytes, exhaustion_makes_a_short_write)
{
	cr_assert_eq(put(0, 7 * data + 5), 7 * data + 5);
	cr_assert_eq(chan_pool_free_permille(&pool), 0);
	cr_assert_eq(put(7 * data + 5, data), data - 5);
	cr_assert_eq(put(8 * data, 1), 0);
	take(0, data + 1);
	cr_assert_eq(held(), 7);
	cr_assert_eq(chan_pool_free_permille(&pool), 125);
	cr_assert_eq(put(8 * data, data + 1), data);
	take(data + 1, 8 * data - 1);
	cr_assert_eq(chan_used(r), 0);
}

Test(bytes, exhaustion_by_another_chan)
{
	struct chan *other = chan_alloc(&pool, 0);
	struct iovec v[CHAN_IOV];

	cr_assert_eq(put(0, 8 * data), 8 * data);
	r = &other->down;
	cr_assert_eq(put(0, 1), 0);
	cr_assert_eq(chan_space(&pool, r, 1, v), 0);
	chan_commit(&pool, r, 0);
	r = &c->up;
	take(0, 8 * data);
	cr_assert(chan_trim(&pool, r));
	r = &other->down;
	cr_assert_eq(put(0, 1), 1);
	chan_free(&pool, other);
}

Test(bytes, the_pool_of_chans_ends_too)
{
	struct chan *v[3];

	for (unsigned i = 0; i < 3; i++)
		cr_assert_not_null(v[i] = chan_alloc(&pool, 0));
	cr_assert_null(chan_alloc(&pool, 0));
	for (unsigned i = 0; i < 3; i++)
		chan_free(&pool, v[i]);
}

Test(bytes, gather)
{
	uint8_t buf[1000];
	struct slice v[5] = {{buf, 10}, {buf + 10, 0}, {NULL, 0}, {buf + 10, 500}, {buf + 510, 490}};

	pattern_fill(buf, 0, sizeof(buf));
	cr_assert_eq(chan_write(&pool, r, v, 5), 1000);
	take(0, 1000);
}

Test(bytes, space_lends_and_commit_returns)
{
	struct iovec v[CHAN_IOV];
	uint32_t sum = 0;
	unsigned n;

	put(0, 1000);
	n = chan_space(&pool, r, 65536, v);
	cr_assert_eq(n, 5);
	for (unsigned i = 0; i < n; i++)
		sum += (uint32_t)v[i].iov_len;
	cr_assert_eq(sum, 65536);
	cr_assert_eq(v[0].iov_len, data - 1000);
	cr_assert_eq(held(), 5);
	cr_assert_eq(chan_space(&pool, r, 100, v), 1, "asked again: the lent ones stay");
	cr_assert_eq(v[0].iov_len, 100);
	cr_assert_eq(chan_space(&pool, r, 65536, v), 5);
	cr_assert_eq(held(), 5);
	pattern_fill(v[0].iov_base, 1000, data - 1000);
	pattern_fill(v[1].iov_base, data, 7);
	chan_commit(&pool, r, data - 1000 + 7);
	cr_assert_eq(held(), 2);
	cr_assert_eq(chan_used(r), data + 7);
	chan_space(&pool, r, 65536, v);
	chan_commit(&pool, r, 0);
	cr_assert_eq(held(), 2);
	take(0, data + 7);
	cr_assert_eq(chan_space(&pool, r, 65536, v), 5);
	cr_assert_eq(v[0].iov_len, data, "drained: begun anew");
	chan_commit(&pool, r, 0);
	cr_assert_eq(held(), 0, "nothing came: an idle stream holds nothing");
	put(data + 7, 3);
	take(data + 7, 3);
}

Test(bytes, space_is_limited)
{
	struct iovec v[CHAN_IOV];

	put(0, data);
	cr_assert_eq(chan_space(&pool, r, 1 << 20, v), 7, "as many as the pool had");
	cr_assert_eq(v[0].iov_len, data);
	chan_commit(&pool, r, 0);
	take(0, data);
	cr_assert_eq(chan_space(&pool, r, 1 << 20, v), 8);
	for (unsigned i = 0; i < 8; i++)
		pattern_fill(v[i].iov_base, data + i * data, data);
	chan_commit(&pool, r, 8 * data);
	take(data, 8 * data);
}

Test(bytes, peek_shows_no_more_than_asked)
{
	struct iovec v[CHAN_IOV];

	put(0, 5 * data);
	cr_assert_eq(chan_peek(r, v, 1), 1);
	cr_assert_eq(v[0].iov_len, data);
	cr_assert_eq(chan_peek(r, v, 3), 3);
	cr_assert_eq(chan_peek(r, v, CHAN_IOV), 5);
	cr_assert(pattern_is(v[4].iov_base, 4 * data, data));
}

Test(bytes, free_takes_what_is_left)
{
	struct iovec v[CHAN_IOV];

	/* Each of the forms in which a ring can be left. */
	for (unsigned form = 0; form < 7; form++) {
		struct chan *d = chan_alloc(&pool, 0);

		r = form & 1 ? &d->up : &d->down;
		if (form >= 1)
			put(0, 2 * data);
		if (form == 2 || form == 6)
			take(0, data);
		if (form == 3 || form == 5)
			take(0, 2 * data);
		if (form == 4)
			chan_space(&pool, r, 40000, v);
		if (form == 5) {
			chan_trim(&pool, r);
			put(2 * data, 3 * data);
		}
		if (form == 6) {
			put(2 * data, data + 1);
			take(data, data + 1);
		}
		chan_free(&pool, d);
		cr_assert_eq(held(), 0, "form %u", form);
	}
	chan_free(&pool, NULL);
}

/* Fills at most n bytes of lent space from position `at` and keeps a part of it. */
static uint32_t lend(uint64_t at, uint32_t n, uint64_t x)
{
	struct iovec v[CHAN_IOV];
	unsigned k = chan_space(&pool, r, n, v);
	uint32_t got = 0;

	for (unsigned i = 0; i < k; i++) {
		pattern_fill(v[i].iov_base, at + got, v[i].iov_len);
		got += (uint32_t)v[i].iov_len;
	}
	cr_assert_leq(got, n);
	if (x & 3)
		got = (uint32_t)(x >> 8) % (got + 1);
	chan_commit(&pool, r, got);
	return got;
}

/* Every order of calls, by seed, on one thread: the bytes, the counts and the number of chunks are those expected. */
Test(bytes, random_interleavings)
{
	uint64_t seed = 11, wr = 0, rd = 0;
	unsigned shorts = 0, trims = 0, empties = 0;

	for (unsigned step = 0; step < 100000; step++) {
		uint64_t x = rnd_next(&seed);
		uint32_t n = (uint32_t)(x >> 16) % (x >> 8 & 7 ? 3000 : 70000), k;

		switch (x & 7) {
		case 0:
		case 1:
			k = put(wr, n);
			shorts += k < n;
			wr += k;
			break;
		case 2:
			wr += lend(wr, n, x >> 40);
			break;
		case 3:
			if (chan_trim(&pool, r)) {
				trims++;
				cr_assert_eq(held(), 0);
			}
			break;
		default:
			k = x >> 60 < 4 || n > wr - rd ? (uint32_t)(wr - rd) : n;
			take(rd, k);
			rd += k;
			empties += rd == wr;
		}
		cr_assert_eq(chan_used(r), wr - rd);
		cr_assert_eq(chan_taken(r), (uint32_t)rd);
		/* A partly read one, a partly written one, and one that was read to its end but not left. */
		cr_assert_leq(held(), (wr - rd) / data + 3);
	}
	cr_assert(shorts > 100 && trims > 100 && empties > 100, "%u %u %u", shorts, trims, empties);
}
