/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include <criterion/criterion.h>
#include <rte_mempool.h>

#include "chan.h"
#include "eal.h"
#include "pattern.h"
#include "rnd.h"

/* Two threads, one ring each way, a pool of so few chunks that it runs out all the time. */

#define CHUNKS 6
#define TOTAL  (24u << 20)

static struct chan_pool pool;
static struct chan *c;
static atomic_uint errors; /* Criterion's assertions belong to the main thread */

struct side {
	struct chan_ring *r;
	uint64_t seed, pos;
	unsigned shorts, trims;
};

static void check_used(const struct chan_ring *r)
{
	/* Twice the pool: the reader gives chunks back, and they may be full again, before it stores the new head. */
	if (chan_used(r) > 2 * CHUNKS * CHAN_CHUNK)
		errors++;
}

static uint32_t produce_copy(struct side *s, uint64_t x, uint32_t most)
{
	static _Thread_local uint8_t buf[40000];
	struct slice v[3];
	uint32_t n = 0, k;

	for (unsigned i = 0; i < 3; i++) {
		v[i].p = buf + n;
		v[i].n = (uint32_t)(x >> 16 * i & 0xffff) % (x >> 60 ? 1500 : 13000);
		if (v[i].n > most - n)
			v[i].n = most - n;
		n += v[i].n;
	}
	pattern_fill(buf, s->pos, n);
	k = chan_write(&pool, s->r, v, 3);
	s->shorts += k < n;
	return k;
}

static uint32_t produce_lent(struct side *s, uint64_t x, uint32_t most)
{
	struct iovec v[CHAN_IOV];
	uint32_t want = 1 + (uint32_t)(x >> 16) % 65536, n = 0, keep;
	unsigned k = chan_space(&pool, s->r, want < most ? want : most, v);

	for (unsigned i = 0; i < k; i++)
		n += (uint32_t)v[i].iov_len;
	keep = x >> 60 < 4 ? n : (uint32_t)(x >> 36 & 0xffff) % (n + 1);
	n = 0;
	for (unsigned i = 0; i < k && n < keep; i++) {
		uint32_t len = v[i].iov_len < keep - n ? (uint32_t)v[i].iov_len : keep - n;

		pattern_fill(v[i].iov_base, s->pos + n, len);
		n += len;
	}
	chan_commit(&pool, s->r, keep);
	return keep;
}

static void produce(struct side *s)
{
	uint64_t x = rnd_next(&s->seed);
	uint32_t most = TOTAL - (uint32_t)s->pos, n = 0;

	switch (x >> 56 & 3) {
	case 0:
		s->trims += chan_trim(&pool, s->r);
		break;
	case 1:
		n = produce_lent(s, x, most);
		break;
	default:
		n = produce_copy(s, x, most);
	}
	s->pos += n;
	check_used(s->r);
	if (!n)
		sched_yield();
}

static void consume(struct side *s)
{
	uint64_t x = rnd_next(&s->seed);
	struct iovec v[CHAN_IOV];
	unsigned k = chan_peek(s->r, v, 1 + (unsigned)(x & 7));
	uint32_t n = 0;

	if (!k) {
		sched_yield();
		return;
	}
	if (x >> 8 & 1)
		k = chan_peek(s->r, v, k);
	for (unsigned i = 0; i < k; i++) {
		uint32_t len = (uint32_t)v[i].iov_len;

		if (i == k - 1 && x >> 9 & 1)
			len = (uint32_t)(x >> 16 & 0xffff) % (len + 1);
		if (!pattern_is(v[i].iov_base, s->pos + n, len))
			errors++;
		n += len;
	}
	s->pos += n;
	chan_done(&pool, s->r, n);
	check_used(s->r);
	if (chan_taken(s->r) != (uint32_t)s->pos)
		errors++;
}

/* out: the ring that this thread writes; in: the one that it reads. */
static void run(struct side *out, struct side *in)
{
	while ((out->pos < TOTAL || in->pos < TOTAL) && !errors) {
		if (out->pos < TOTAL)
			produce(out);
		else
			chan_trim(&pool, out->r); /* the other direction needs the chunks */
		if (in->pos < TOTAL)
			consume(in);
	}
	while (!chan_trim(&pool, out->r) && !errors)
		sched_yield();
}

static struct side up_w, up_r, down_w, down_r;

static void *control(void *arg)
{
	run(&up_w, &down_r);
	return NULL;
}

static void both_ways(void)
{
	pthread_t t;

	cr_assert_eq(chan_pool_create(&pool, CHUNKS, 4, 1, 0), 0);
	c = chan_alloc(&pool, 0);
	cr_assert_not_null(c);
	up_w = (struct side){.r = &c->up, .seed = 1};
	up_r = (struct side){.r = &c->up, .seed = 2};
	down_w = (struct side){.r = &c->down, .seed = 3};
	down_r = (struct side){.r = &c->down, .seed = 4};
	cr_assert_eq(pthread_create(&t, NULL, control, NULL), 0);
	run(&down_w, &up_r);
	pthread_join(t, NULL);
	cr_assert_eq(errors, 0);
	cr_assert(up_r.pos == TOTAL && down_r.pos == TOTAL);
	cr_assert_eq(chan_used(&c->up) + chan_used(&c->down), 0);
	cr_assert_eq(rte_mempool_avail_count(pool.chunks), CHUNKS, "all were trimmed");
	chan_free(&pool, c);
	chan_pool_destroy(&pool);
}

Test(stress, two_threads_few_chunks, .init = eal_start)
{
	both_ways();
}
