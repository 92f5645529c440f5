/* SPDX-License-Identifier: MIT */

/*
 * What a capture wants of a turn: frames of flows that have been found, as they came and before anyone opens them;
 * payloads once they are opened, and before they are sealed; frames as they leave.  Where nobody captures, none of this
 * is called.
 */

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include "capture.h"
#include "worker_int.h"

void worker_capture(struct worker *w, struct capture *c)
{
	atomic_store_explicit(&w->wanted, c, memory_order_release);
}

const struct capture *worker_captures(const struct worker *w)
{
	return atomic_load_explicit(&w->copies, memory_order_acquire);
}

/* Behind this nothing of the turn before looks at another capture. */
void pl_copy_begin(struct worker *w)
{
	struct capture *c = atomic_load_explicit(&w->wanted, memory_order_acquire);

	if (c != pl_capture(w))
		atomic_store_explicit(&w->copies, c, memory_order_release);
}

static void copy(struct worker *w, const struct capture_of *of, const uint8_t *p, uint32_t n)
{
	struct capture *c = pl_capture(w);

	if (capture_wants(c, of))
		capture_put(c, w->conf.id, of, p, n);
}

static struct capture_of received(const struct worker *w, const struct pkt *k)
{
	const struct rte_mbuf *m = k->own;

	return (struct capture_of){
		.tsc = rte_rdtsc(),
		.session = k->sess ? shard_who(w->conf.shard, k->sess).id : 0,
		.key = k->key,
		.tunnel = k->tunnel,
		.port = k->dev,
		.tag = m->vlan_tci,
		.tagged = k->flags & PKT_F_UNTAGGED,
	};
}

/* A received frame, whole, wherever in it k->p may be. */
void pl_copy_frame(struct worker *w, const struct pkt *k)
{
	const struct rte_mbuf *m = k->own;
	struct capture_of of = received(w, k);

	copy(w, &of, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
}

/* Those of rx[0..n), whose sessions have been found. */
void pl_copy_frames(struct worker *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pl_copy_frame(w, &w->rx[i]);
}

/* rx[0..n) opened. */
void pl_copy_opened(struct worker *w, unsigned n)
{
	for (unsigned i = 0; i < n && capture_plain(pl_capture(w)); i++) {
		const struct pkt *k = &w->rx[i];
		struct capture_of of = received(w, k);

		of.plain = true;
		if (k->verdict == VERDICT_OK)
			copy(w, &of, k->p, k->n);
	}
}

static struct capture_of sent(const struct worker *w, const struct pkt *k)
{
	const struct shard_who who = shard_who(w->conf.shard, k->sess);

	return (struct capture_of){
		.tsc = rte_rdtsc(),
		.session = who.id,
		.key = who.key,
		.tunnel = who.tunnel,
		.port = who.dev,
		.out = true,
	};
}

/* v[0..n) of sessions, which are about to be sealed. */
void pl_copy_unsealed(struct worker *w, const struct pkt *v, unsigned n)
{
	for (unsigned i = 0; i < n && capture_plain(pl_capture(w)); i++) {
		struct capture_of of = sent(w, &v[i]);

		of.plain = true;
		copy(w, &of, v[i].p, v[i].n);
	}
}

/* A session's frame, with all its headers. */
void pl_copy_sent(struct worker *w, const struct pkt *k, unsigned dev)
{
	const struct rte_mbuf *m = k->own;
	struct capture_of of = sent(w, k);

	of.port = (uint16_t)dev;
	copy(w, &of, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
}

/* A frame that has become its own answer, to the flow of k->key. */
void pl_copy_reply(struct worker *w, const struct pkt *k)
{
	struct capture_of of = received(w, k);
	const struct rte_mbuf *m = k->own;

	of.out = true;
	of.tagged = false; /* it bears it */
	copy(w, &of, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
}
