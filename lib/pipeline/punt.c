/* SPDX-License-Identifier: MIT */

/*
 * What is not ours goes on to the kernel, by way of control; no more of it than the kernel is to be given, and no kind
 * of it so much that another has none: a flood of datagrams must not take an operator's SSH, nor one of connections the
 * neighbours' ARP.
 *
 * Of a port's rate each kind has a part, in a bucket that all workers draw from, for they cannot know whose queue a
 * kind comes by.  They draw a lot at a time, and having found a bucket empty not again within the millisecond: however
 * much is dropped, the bucket's cache line has rest.
 */

#include <stdatomic.h>
#include <stdlib.h>

#include <rte_ethdev.h>
#include <rte_ring.h>

#include "worker_int.h"

#define PARTS	 16
#define LOT	 32	      /* frames drawn at once */
#define DEPTH	 16	      /* a bucket holds its part of a second */
#define FRAME	 (1ull << 20) /* a frame, in what buckets count in: parts of it gather too */
#define CATCH_UP 60000	      /* ms that are made up for at most */

/* How many of PARTS each kind has. */
static const uint8_t part_of[NET_KINDS] = {
	[NET_KIND_LINK] = 2, [NET_KIND_ROUTING] = 2, [NET_KIND_TCP] = 6,
	[NET_KIND_SYN] = 2,  [NET_KIND_ICMP] = 2,    [NET_KIND_OTHER] = 2,
};

#define X(name, str)                                                                                       \
	_Static_assert((unsigned)DROP_PUNT_##name - (unsigned)DROP_PUNT_LINK == (unsigned)NET_KIND_##name, \
		       "in one order");
NET_KINDS_LIST(X)
#undef X

struct worker_punts {
	bool limited;
	uint64_t per_ms[NET_KINDS], most[NET_KINDS];
	_Atomic uint64_t at __attribute__((aligned(64))); /* ms: filled up to then */
	_Atomic uint64_t left[NET_KINDS];
};

struct worker_punts *pl_punts_create(unsigned n_ports)
{
	size_t len = (n_ports + 1) * sizeof(struct worker_punts);
	struct worker_punts *p = aligned_alloc(_Alignof(struct worker_punts), len);

	if (p)
		memset(p, 0, len);
	return p;
}

void worker_mesh_punt_rate(struct worker_mesh *m, unsigned port, unsigned rate)
{
	struct worker_punts *p = &m->punts[port];

	p->limited = rate > 0;
	for (unsigned i = 0; i < NET_KINDS; i++) {
		uint64_t a_second = rate * FRAME / PARTS * part_of[i];

		p->per_ms[i] = a_second / 1000;
		p->most[i] = a_second / DEPTH > LOT * FRAME ? a_second / DEPTH : LOT * FRAME;
		atomic_store(&p->left[i], p->most[i]);
	}
}

/* By the one worker that sees a new millisecond first. */
static void fill(struct worker_punts *p, uint64_t now)
{
	uint64_t at = atomic_load_explicit(&p->at, memory_order_relaxed), ms;

	if (now <= at || !atomic_compare_exchange_strong(&p->at, &at, now))
		return;
	ms = now - at < CATCH_UP ? now - at : CATCH_UP;
	for (unsigned i = 0; i < NET_KINDS; i++) {
		uint64_t left = atomic_load_explicit(&p->left[i], memory_order_relaxed), full;

		do
			full = left + ms * p->per_ms[i] < p->most[i] ? left + ms * p->per_ms[i] : p->most[i];
		while (!atomic_compare_exchange_weak(&p->left[i], &left, full));
	}
}

/* Up to a lot of whole frames. */
static uint16_t draw(struct worker_punts *p, enum net_kind kind, uint64_t now)
{
	uint64_t left, n;

	fill(p, now);
	left = atomic_load_explicit(&p->left[kind], memory_order_relaxed);
	do
		n = left < LOT * FRAME ? left & ~(FRAME - 1) : LOT * FRAME;
	while (n && !atomic_compare_exchange_weak(&p->left[kind], &left, left - n));
	return (uint16_t)(n / FRAME);
}

static bool may_punt(struct worker *w, unsigned dev, enum net_kind kind)
{
	struct worker_punts *p = &w->conf.mesh->punts[dev];
	struct punt_lot *lot = &w->lot[dev];

	if (!p->limited)
		return true;
	if (!lot->n[kind]) {
		if (lot->none[kind] == w->now)
			return false;
		lot->n[kind] = draw(p, kind, w->now);
	}
	if (!lot->n[kind]) {
		lot->none[kind] = w->now;
		return false;
	}
	lot->n[kind]--;
	return true;
}

/* What the host and its neighbours cannot do without. */
static bool needed(enum net_kind kind)
{
	return kind <= NET_KIND_TCP;
}

_Static_assert(BORDER_LANES == NET_KINDS, "each kind has a lane to control of its own");

/* Why a kind's frame is lost when there is no room for it. */
static unsigned full(enum net_kind kind)
{
	return needed(kind) ? DROP_PUNT_FIRST_FULL : DROP_PUNT_FULL;
}

static unsigned burst_some(struct worker *w, unsigned dev, struct rte_mbuf **m, unsigned n)
{
	return n ? rte_eth_tx_burst(w->conf.ports[dev].exc, (uint16_t)w->conf.id, m, (uint16_t)n) : 0;
}

/*
 * First what the host and its neighbours cannot do without: how much room a device has is not known, but what it has is
 * theirs.  What it does not take is lost, as in a card's queue.
 */
static void burst_out(struct worker *w, unsigned dev)
{
	struct punt_burst *b = &w->burst[dev];
	unsigned first = burst_some(w, dev, b->first, b->n_first), rest = burst_some(w, dev, b->rest, b->n_rest);

	w->stats.punted += first + rest;
	pl_lost(w, DROP_PUNT_FIRST_FULL, b->n_first - first);
	pl_lost(w, DROP_PUNT_FULL, b->n_rest - rest);
	rte_pktmbuf_free_bulk(b->first + first, b->n_first - first);
	rte_pktmbuf_free_bulk(b->rest + rest, b->n_rest - rest);
	b->n_first = b->n_rest = 0;
}

/* By the device that is the port's kernel interface; with a whole checksum, as control gives it to a TAP. */
static void burst_add(struct worker *w, struct pkt *k, enum net_kind kind)
{
	struct punt_burst *b = &w->burst[k->dev];
	struct rte_mbuf *m = k->own;

	net_finish_csum(k->p, k->n, (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE);
	pl_forget(m);
	k->own = NULL;
	if (needed(kind))
		b->first[b->n_first++] = m;
	else
		b->rest[b->n_rest++] = m;
}

void pl_punt_one(struct worker *w, struct pkt *k)
{
	enum net_kind kind = net_kind(k->p, k->n);

	if (!may_punt(w, k->dev, kind)) {
		k->verdict = (uint8_t)(DROP_PUNT_LINK + kind);
		return;
	}
	if (w->conf.ports[k->dev].has_exc) {
		burst_add(w, k, kind);
		return;
	}
	if (!border_punt(w->conf.border, kind, k->own)) {
		k->verdict = (uint8_t)full(kind);
		return;
	}
	k->own = NULL;
	w->stats.punted++;
}

void pl_punt_out(struct worker *w)
{
	for (unsigned i = 0; i < w->conf.n_ports; i++)
		if (w->burst[i].n_first + w->burst[i].n_rest)
			burst_out(w, i);
}
