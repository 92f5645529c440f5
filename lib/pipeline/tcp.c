/* SPDX-License-Identifier: MIT */

/*
 * Fake TCP's handshake.  A SYN is answered where it arrives, by nothing but what it bears itself; the answer to ours
 * goes through the vector to the session's home like a datagram, and leaves it before anyone opens it.
 */

#include <rte_mbuf.h>

#include "worker_int.h"

/* The same for the same flow, so that a repeated SYN gets the same answer; another one after a restart. */
static uint32_t syn_isn(const struct worker *w, const struct flow_key *key)
{
	return flow_hash(key) * 2654435761u + (uint32_t)w->clock->base;
}

/* A segment with VERDICT_SYN: answered, on its way home as VERDICT_OK, or to be dropped. */
void pl_syn(struct worker *w, struct pkt *k)
{
	const bool listens = shard_listens(w->conf.shard, k);
	const bool answer = k->flags & PKT_F_ACK;

	if (listens == answer) {
		k->verdict = DROP_TCP_CONTROL;
		return;
	}
	if (answer) {
		k->verdict = VERDICT_OK;
		w->n_syn++;
		return;
	}
	if (!shard_welcomes(w->conf.shard, k)) {
		k->verdict = DROP_ACL;
		return;
	}
	if (unlikely(pl_capture(w)))
		pl_copy_frame(w, k);
	net_answer_syn(k, syn_isn(w, k->key), 0);
	pl_reply(w, k);
	w->stats.answered++;
}

/* Takes the answers to our SYNs out of the vector, whose sessions have been found. */
void pl_answered(struct worker *w, unsigned n)
{
	for (unsigned i = 0; w->n_syn && i < n; i++) {
		struct pkt *k = &w->rx[i];

		if (k->verdict != VERDICT_OK || !(k->flags & PKT_F_SYN))
			continue;
		k->verdict = DROP_TCP_CONTROL;
		if (!shard_syn_answered(k))
			continue;
		k->verdict = VERDICT_SYN;
		net_answer_syn(k, 0, 0);
		pl_reply(w, k);
	}
}

/* The SYNs that are due. */
void pl_knock(struct worker *w, uint64_t now)
{
	struct sess *ss;

	while ((ss = shard_knock(w->conf.shard, now))) {
		struct pkt k = {.flags = PKT_F_SYN, .sess = ss};
		struct rte_mbuf *m = rte_pktmbuf_alloc(w->conf.pool);

		if (!m) {
			pl_count(w, DROP_NO_MBUF, 1); /* the next one in a second */
			continue;
		}
		k.own = m;
		k.p = rte_pktmbuf_mtod(m, uint8_t *);
		pl_send_one(w, &k, now);
	}
}
