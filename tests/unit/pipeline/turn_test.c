/* SPDX-License-Identifier: MIT */

/* What a turn begins with and what follows it: new tables are adopted, sleepers are woken, nobody sleeps on work. */

#include <string.h>
#include <sys/eventfd.h>

#include <rte_ether.h>

#include "cut.h"
#include "eal.h"
#include "worker_int.h"

TestSuite(pipeline_turn, .init = eal_start);

/* ---- snapshots ---- */

static const uint8_t old_mac[6] = {2, 0, 0, 0, 0, 1}, new_mac[6] = {2, 0, 0, 0, 0xaa, 1};
static const uint8_t *want;

static bool check_mac(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	if (to != &b->g[CLIENT])
		return false;
	cr_assert(!want || memcmp(rte_pktmbuf_mtod(m, void *), want, 6) == 0,
		  "a frame to a link address that is not valid");
	memcpy(rte_pktmbuf_mtod(m, void *), old_mac, 6);
	b->seen++;
	return false;
}

/*
 * A worker says which snapshot it uses, once it does and not before: control frees the others by that.  From that turn
 * on everything is built by the new one.
 */
Test(pipeline_turn, adopts_and_says_so)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct net_tbl *t = bed_tbl(SERVER, 2);

	want = old_mac;
	b->wire = check_mac;
	cr_assert_eq(s->border[0]->adopted, 0);
	bed_step(b);
	for (unsigned w = 0; w < 2; w++)
		cr_assert_eq(s->border[w]->adopted, 1, "worker %u uses the first", w);
	for (unsigned i = 0; i < BED_CONN; i++)
		bed_connect(b, i, 400000);
	for (unsigned i = 0; i < 1000 && b->seen < 20; i++)
		bed_step(b);
	cr_assert_geq(b->seen, 20);

	memcpy(t->neigh[0].mac, new_mac, 6);
	for (unsigned w = 0; w < 2; w++) {
		atomic_store(&s->border[w]->tbl, t);
		cr_assert_eq(s->border[w]->adopted, 1, "not yet");
	}
	want = NULL; /* what was built by the old one is on its way */
	bed_step(b);
	for (unsigned w = 0; w < 2; w++)
		cr_assert_eq(s->border[w]->adopted, 2, "worker %u uses the second", w);
	bed_steps(b, 2);
	want = new_mac;
	net_tbl_free(s->tbl);
	s->tbl = t;
	b->seen = 0;
	cr_assert(bed_finish(b, 20000));
	cr_assert_gt(b->seen, 20);
	for (unsigned i = 0; i < b->n_app; i++)
		app_complete(&b->app[i]);
	bed_end(b);
}

/* ---- bells ---- */

static bool rung(struct gate *g, unsigned w)
{
	eventfd_t n;

	return eventfd_read(g->border[w]->worker_bell, &n) == 0;
}

/* Who put something into a sibling's ring wakes it if it sleeps, and nobody else. */
Test(pipeline_turn, sleeping_siblings_are_rung)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct whole f;

	whole_udp(&f, SERVER, false, port_of_home(5000, 1), BED_PORT, 100);
	for (unsigned asleep = 0; asleep < 2; asleep++) {
		bed_receive(s, bed_bytes(b, f.p, f.n));
		bed_step(b);
		atomic_store(&s->w[1]->asleep, asleep);
		worker_bells(s->w[0]);
		cr_assert_eq(rung(s, 1), asleep, "asleep %u", asleep);
		cr_assert_not(rung(s, 0));
		cr_assert_eq(s->w[1]->asleep, 0);
		cr_assert_eq(s->w[0]->poked, 0);
		bed_step(b);
	}
	/* Nothing new: nobody is woken. */
	atomic_store(&s->w[1]->asleep, 1);
	worker_bells(s->w[0]);
	cr_assert_not(rung(s, 1));
	atomic_store(&s->w[1]->asleep, 0);
	bed_end(b);
}

/* ---- sleep ---- */

/* What worker_idle did after a turn with this much work, idle for `us`. */
static uint64_t sleeps(struct gate *g, unsigned w, unsigned work, uint64_t us)
{
	uint64_t before = worker_stats(g->w[w])->sleeps, ms = g->bed->ms;
	uint64_t hz = g->bed->clock.hz;
	uint64_t tsc = g->bed->clock.base + (uint64_t)((unsigned __int128)ms * hz / 1000) + 1;

	worker_idle(g->w[w], work, tsc - us * (hz / 1000000), tsc);
	return worker_stats(g->w[w])->sleeps - before;
}

/* With nothing to do it sleeps, after a moment's spinning; with work, or told to poll, it does not. */
Test(pipeline_turn, sleeps_when_idle)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];

	bed_steps(b, 5);
	cr_assert_eq(sleeps(s, 0, 0, 1), 0, "it spins first");
	cr_assert_eq(sleeps(s, 0, 0, 1000), 1);
	cr_assert_eq(sleeps(s, 0, 1, 1000), 0, "this turn had work");
	s->w[0]->conf.poll = true;
	cr_assert_eq(sleeps(s, 0, 0, 1000000), 0, "told to poll");
	s->w[0]->conf.poll = false;
	cr_assert_eq(s->w[0]->asleep, 0, "awake again");
	bed_end(b);
}

/* Whether worker_idle lay down at all: it silences the bell when it gets up again. */
static bool lies_down(struct gate *g, unsigned w)
{
	cr_assert_eq(eventfd_write(g->border[w]->worker_bell, 1), 0);
	cr_assert_eq(sleeps(g, w, 0, 10000000), 1);
	return !rung(g, w);
}

/* Whatever came between the last look and now, from a sibling or from control, is not slept on. */
Test(pipeline_turn, nobody_sleeps_on_work)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct rte_ring *rings[] = {s->mesh->steer[1 * 2 + 0], s->mesh->tx[1], s->border[0]->inject};
	struct net_tbl *t = bed_tbl(SERVER, 2);

	bed_steps(b, 5);
	cr_assert(lies_down(s, 0));
	for (unsigned i = 0; i < 3; i++) {
		struct rte_mbuf *m = bed_frame(b, RTE_ETHER_TYPE_ARP, (uint8_t[46]){0}, 46);

		m->port = s->port;
		cr_assert_eq(rte_ring_sp_enqueue(rings[i], m), 0);
		cr_assert_not(lies_down(s, 0), "with a frame in ring %u", i);
		if (i < 2)
			cr_assert(lies_down(s, 1), "ring %u is not worker 1's", i);
		bed_steps(b, 2);
		cr_assert(lies_down(s, 0), "ring %u is empty again", i);
	}
	atomic_store(&s->border[0]->tbl, t);
	cr_assert_not(lies_down(s, 0), "with a table to be adopted");
	atomic_store(&s->border[0]->tbl, s->tbl);
	net_tbl_free(t);
	bed_end(b);
}

/* Nor is a deadline: what is due now is done first. */
Test(pipeline_turn, nobody_sleeps_past_a_deadline)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *c = &b->g[CLIENT];

	bed_connect(b, 0, 30000);
	bed_steps(b, 20);
	c->still[0] = true;
	for (unsigned i = 0; i < 1000 && shard_next(c->shard[0]) > b->ms; i++)
		bed_step(b);
	cr_assert_leq(shard_next(c->shard[0]), b->ms);
	cr_assert_eq(sleeps(c, 0, 0, 10000000), 0);
	c->still[0] = false;
	cr_assert(bed_finish(b, 20000));
	app_complete(&b->app[0]);
	bed_end(b);
}
