/* SPDX-License-Identifier: MIT */

/*
 * Packets that are longer than their path takes: what ICMP says of them, which goes through the vector to the session's
 * home like a datagram, and leaves it before anyone opens it; and those that must leave all the same, as fragments.
 */

#include "worker_int.h"

/* A message with VERDICT_BIG, on its way home: no device has spread it by the flow that it is about. */
void pl_big(struct worker *w, struct pkt *k)
{
	k->flags = (uint8_t)((k->flags & ~(PKT_F_HOME | PKT_F_STEERED)) | PKT_F_BIG);
	k->verdict = VERDICT_OK;
	w->n_big++;
}

/* Takes them out of the vector, whose sessions have been found. */
void pl_too_big(struct worker *w, unsigned n, uint64_t now)
{
	for (unsigned i = 0; w->n_big && i < n; i++) {
		struct pkt *k = &w->rx[i];

		if (k->verdict == VERDICT_OK && k->flags & PKT_F_BIG)
			k->verdict = k->sess ? shard_too_big(w->conf.shard, k, now) : DROP_ICMP_QUOTE;
	}
}

/* Sends k, a whole frame that is too long for `path`, in fragments. */
void pl_cut(struct worker *w, const struct net_path *path, struct pkt *k)
{
	struct net_cut c;

	net_cut_begin(&c, path, k->p, k->n, w->cut_id++);
	while (c.at < c.end) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(w->conf.pool);

		if (!m) {
			pl_count(w, DROP_NO_MBUF, 1);
			break;
		}
		m->data_len = (uint16_t)net_cut_next(&c, rte_pktmbuf_mtod(m, uint8_t *));
		m->pkt_len = m->data_len;
		m->l2_len = path->l3;
		w->stats.cut++;
		pl_send_part(w, path->dev, k, m);
	}
	rte_pktmbuf_free(k->own);
}
