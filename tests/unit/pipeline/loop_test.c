/* SPDX-License-Identifier: MIT */

/* The worker's loop round its turns: how much a turn sends, what is counted, and how the loop ends; and the pool. */

#include <pthread.h>
#include <unistd.h>

#include <rte_mempool.h>

#include "bed.h"
#include "eal.h"
#include "pool.h"
#include "worker_int.h"

TestSuite(pipeline_loop, .init = eal_start);

/*
 * However much is ready, a turn sends 512 packets and then receives: two thousand segments that are overdue together,
 * for the worker was away, are no reason to leave a port's queue to itself.
 */
Test(pipeline_loop, a_turn_sends_so_much)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes", .ring = 4096});
	struct gate *c = &b->g[CLIENT], *s = &b->g[SERVER];
	uint64_t before, most = 0;

	for (unsigned i = 0; i < BED_CONN; i++)
		bed_connect(b, i, 8000000);
	bed_steps(b, 100); /* the windows are open, and the sessions no longer young */
	s->still[0] = s->still[1] = true;
	bed_steps(b, 15); /* and full */
	c->still[0] = true;
	bed_steps(b, 1000);
	c->still[0] = false;
	for (unsigned i = 0; i < 4; i++) {
		before = worker_stats(c->w[0])->tx_packets;
		bed_step(b);
		before = worker_stats(c->w[0])->tx_packets - before;
		most = before > most ? before : most;
	}
	/* One vector may be begun before the limit. */
	cr_assert(most >= 512 && most <= 512 + 128, "%lu packets", most);
	s->still[0] = s->still[1] = false;
	bed_end(b);
}

/* ---- the loop ---- */

static void *loop(void *arg)
{
	cr_assert_eq(worker_main(arg), 0);
	return NULL;
}

/* Waits for what must come; the suite's time limit is the guard. */
#define await(cond)           \
	do {                  \
		usleep(1000); \
	} while (!(cond))

/* Told to close, the worker ends its sessions, says so once all streams are back, and goes on until it is stopped. */
Test(pipeline_loop, closes_and_stops, .timeout = 90)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *c = &b->g[CLIENT];
	pthread_t t;

	bed_connect(b, 0, 10000000);
	bed_steps(b, 10);
	cr_assert_not(b->app[0].closed);
	cr_assert_gt(shard_stats(c->shard[0])->sessions, 0);
	cr_assert_not(worker_closed(c->w[0]));

	worker_close(c->w[0]);
	cr_assert_eq(pthread_create(&t, NULL, loop, c->w[0]), 0);
	await(shard_stats(c->shard[0])->sessions == 0);
	for (unsigned i = 0; i < 20; i++) {
		usleep(1000);
		cr_assert_not(worker_closed(c->w[0]), "control still holds a stream");
	}
	/* The test's control gives the stream back. */
	for (;;) {
		struct mbox_ent *e;
		uint32_t ev;

		if (mbox_get(c->border[0]->to_ctl, &e, &ev, 1) && e->kind == MBOX_CHAN && (ev & CHAN_EV_CLOSE)) {
			struct chan *ch = container_of(e, struct chan, to_ctl);

			b->app[0].closed = true;
			mbox_post(c->border[0]->to_worker, &ch->to_worker, CHAN_EV_GONE);
			border_ring_worker(c->border[0]);
			break;
		}
		usleep(1000);
	}
	await(worker_closed(c->w[0]));
	worker_stop(c->w[0]);
	pthread_join(t, NULL);
	bed_end(b);
}

/* With nothing to do, turns are counted as idle, it sleeps between them, and no cycle counts as busy. */
Test(pipeline_loop, idle_turns, .timeout = 90)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	const struct worker_stats *st = worker_stats(s->w[0]);
	pthread_t t;

	bed_steps(b, 5);
	cr_assert_eq(pthread_create(&t, NULL, loop, s->w[0]), 0);
	await(__atomic_load_n(&st->turns, __ATOMIC_RELAXED) > 50);
	worker_stop(s->w[0]);
	pthread_join(t, NULL);
	cr_assert_eq(st->busy_turns, 0);
	cr_assert_eq(st->busy_cycles, 0);
	cr_assert_gt(st->total_cycles, 0);
	cr_assert_gt(st->sleeps, 0);
	for (unsigned i = 0; i < WORKER_N_STAGES; i++)
		cr_assert_eq(st->stage[i], 0, "%s", worker_stage_name(i));
	bed_end(b);
}

/* ---- what its shard is told of its load ---- */

struct lap {
	unsigned work;
	uint64_t turn, rest, meant; /* us */
};

/* So many ms of these, one after the other: is it saturated then? */
static bool saturated(struct bed *b, const struct lap *v, unsigned n, uint64_t ms)
{
	struct worker *w = b->g[CLIENT].w[0];
	uint64_t us = b->clock.hz / 1000000, went = 0;

	for (unsigned i = 0; went < ms * 1000; i++) {
		const struct lap *l = &v[i % n];

		worker_load(w, l->work, l->turn * us, l->rest * us, l->meant * us);
		went += l->turn + l->rest;
	}
	return b->g[CLIENT].shard[0]->saturated;
}

#define always(b, ms, ...) \
	saturated(b, (const struct lap[]){__VA_ARGS__}, sizeof((struct lap[]){__VA_ARGS__}) / sizeof(struct lap), ms)

/* One turn full of work after another, with nothing between them but bells; until there is less to do. */
Test(pipeline_loop, saturated)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});

	cr_assert_not(b->g[CLIENT].shard[0]->saturated);
	cr_assert_not(always(b, 200, {300, 600, 40, 0}), "not before it has lasted");
	cr_assert(always(b, 100, {300, 600, 40, 0}));
	cr_assert(always(b, 1000, {300, 600, 0, 0}, {0, 1, 1, 0}, {200, 400, 0, 0}),
		  "one turn finds nothing, two much");
	cr_assert(always(b, 600, {20, 300, 4000, 500}), "another has its core: it wakes much later than it wanted");
	cr_assert(always(b, 600, {0, 5000, 10, 0}, {300, 600, 0, 0}), "or it was away in a turn that found nothing");
	cr_assert_not(always(b, 600, {20, 100, 200, 200}), "naps");
	bed_end(b);
}

Test(pipeline_loop, not_saturated)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});

	shard_load(b->g[CLIENT].shard[0], true);
	cr_assert_not(always(b, 600, {0, 1, 1, 0}), "spins");
	cr_assert_not(always(b, 600, {0, 1, 2500, 2500}), "sleeps");
	cr_assert_not(always(b, 600, {0, 1, 30, 2500}), "is woken before it wanted to be");
	cr_assert_not(always(b, 600, {1, 3, 0, 0}), "looks so often that each turn finds a packet");
	cr_assert_not(always(b, 600, {300, 600, 250, 250}), "has a long turn, and then time");
	bed_end(b);
}

/* The loop tells it: of a worker that has nothing to do, that it is not. */
Test(pipeline_loop, load_is_told, .timeout = 90)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	pthread_t t;

	shard_load(s->shard[0], true);
	cr_assert_eq(pthread_create(&t, NULL, loop, s->w[0]), 0);
	await(!__atomic_load_n(&s->shard[0]->saturated, __ATOMIC_RELAXED));
	worker_stop(s->w[0]);
	pthread_join(t, NULL);
	bed_end(b);
}

/* ---- packet buffers ---- */

#define BUFS 500

/* As many as were asked for, each ready for a frame, and the last to go is the first to come. */
Test(pipeline_loop, pool)
{
	struct rte_mempool *mp = worker_pool_create("loop", BUFS, 0, 0);
	static struct rte_mbuf *m[BUFS + 1];
	unsigned n = 0;

	cr_assert_not_null(mp);
	while ((m[n] = rte_pktmbuf_alloc(mp)))
		n++;
	cr_assert_eq(n, BUFS);
	for (unsigned i = 0; i < n; i++) {
		cr_assert_eq(m[i]->pool, mp);
		cr_assert_eq(rte_pktmbuf_headroom(m[i]), RTE_PKTMBUF_HEADROOM);
		cr_assert_eq(rte_pktmbuf_tailroom(m[i]), RTE_MBUF_DEFAULT_DATAROOM);
		cr_assert_eq(m[i]->nb_segs, 1);
		cr_assert_eq(m[i]->ol_flags, 0);
	}
	rte_pktmbuf_free(m[7]);
	cr_assert_eq(rte_pktmbuf_alloc(mp), m[7]);
	rte_pktmbuf_free_bulk(m, n);
	cr_assert(rte_mempool_full(mp));
	rte_mempool_free(mp);
	cr_assert_null(worker_pool_create("loop", 4000000, 0, 0), "no memory for so many");
}
