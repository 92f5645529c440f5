/* SPDX-License-Identifier: MIT */
#include <rte_ethdev.h>
#include <rte_prefetch.h>
#include <rte_ring.h>

#include "worker_int.h"

/* Whether the frame can be one of the vector's; otherwise it is counted and gone. */
static bool rx_takes(struct worker *w, struct rte_mbuf *m, unsigned dev)
{
	unsigned why = 0;

	if (m->nb_segs != 1)
		why = DROP_MULTI_SEGMENT;
	else if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED && !pl_tag_stripped(w, m, dev))
		why = DROP_VLAN;
	if (!why)
		return true;
	pl_lost(w, why, 1);
	rte_pktmbuf_free(m);
	return false;
}

/* What the driver says of a frame, as the parser wants to know it. */
static uint8_t rx_flags(const struct rte_mbuf *m)
{
	uint8_t flags = 0;

	/* Good, not looked at, and only half done as virtio has it from the same host: all of these go. */
	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		flags |= PKT_F_L4_BAD;
	if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED)
		flags |= PKT_F_UNTAGGED;
	return flags;
}

/* Turns received buffers into the packets of the vector, from rx[at] on.  Their bytes are added to *bytes. */
static unsigned rx_wrap(struct worker *w, struct rte_mbuf **m, unsigned n, unsigned at, uint8_t flags, uint64_t *bytes)
{
	for (unsigned i = 0; i < n; i++) {
		struct pkt *k;

		if (i + 4 < n)
			rte_prefetch0(rte_pktmbuf_mtod(m[i + 4], void *));
		if (!rx_takes(w, m[i], w->dev_of[m[i]->port]))
			continue;
		if (m[i]->pkt_len != m[i]->data_len)
			m[i]->pkt_len = m[i]->data_len; /* more than there is */
		k = &w->rx[at++];
		k->p = rte_pktmbuf_mtod(m[i], uint8_t *);
		k->n = m[i]->data_len;
		k->verdict = VERDICT_OK;
		k->flags = flags | rx_flags(m[i]);
		k->own = m[i];
		k->sess = NULL;
		k->dev = w->dev_of[m[i]->port];
		*bytes += k->n;
		if (w->vlan[k->dev])
			pl_untag_own(w, k);
	}
	return at;
}

/* A driver that stands on others (bonding) leaves theirs in the buffers; ours is the port that we received by. */
static void rx_mark(struct rte_mbuf **m, unsigned n, uint16_t port)
{
	for (unsigned i = 0; i < n; i++)
		if (m[i]->port != port)
			m[i]->port = port;
}

/* i's successor among n, in a circle. */
static unsigned after(unsigned i, unsigned n)
{
	return i + 1 < n ? i + 1 : 0;
}

/* Frames that siblings found to be this worker's: at most half a vector. */
static unsigned rx_siblings(struct worker *w)
{
	const struct worker_mesh *mesh = w->conf.mesh;
	struct rte_mbuf *m[PL_RX / 2];
	uint64_t counted = 0; /* where they were received */
	unsigned n = 0, got, from = w->first_sibling;

	w->first_sibling = after(from, mesh->n);
	for (unsigned i = 0; i < mesh->n && n < PL_RX / 2; i++, from = after(from, mesh->n)) {
		if (from == w->conf.id)
			continue;
		got = rte_ring_sc_dequeue_burst(mesh->steer[from * mesh->n + w->conf.id], (void **)m, PL_RX / 2 - n,
						NULL);
		w->stats.steered_in += got;
		n = rx_wrap(w, m, got, n, PKT_F_HOME | PKT_F_STEERED, &counted);
	}
	return n;
}

/* Frames from siblings and from this worker's queues: one vector.  Who comes first changes, so that none is left out.
 */
unsigned pl_rx(struct worker *w)
{
	struct rte_mbuf *m[PL_RX];
	unsigned n = rx_siblings(w), got, at = w->first_port;

	w->first_port = after(at, w->conf.n_ports);
	for (unsigned i = 0; i < w->conf.n_ports && n < PL_RX; i++, at = after(at, w->conf.n_ports)) {
		const struct worker_port *p = &w->conf.ports[at];

		if (pl_shut(w, at) || p->rxq < 0)
			continue;
		got = rte_eth_rx_burst(p->id, (uint16_t)p->rxq, m, (uint16_t)(PL_RX - n));
		w->stats.rx_packets += got;
		rx_mark(m, got, p->id);
		n = rx_wrap(w, m, got, n, p->steer ? 0 : PKT_F_HOME, &w->stats.rx_bytes);
	}
	if (n > w->stats.max_burst)
		w->stats.max_burst = n;
	return n;
}

/*
 * A fragment: when its datagram is whole, the frame goes through the parser once more, in this packet's place.  Without
 * ports to hash, the fragments were spread by their addresses alone: where they came need not be the flow's home.
 */
static void frag_one(struct worker *w, struct pkt *k, uint64_t tsc)
{
	struct rte_mbuf *m = frag_take(w->frag, k->own, tsc);

	pl_fragments_lost(w, frag_dropped(w->frag));
	w->stats.joined += !m;
	k->own = m;
	k->verdict = DROP_IP_FRAGMENT;
	if (!m)
		return;
	/* No device has seen the whole, nor its checksum. */
	m->ol_flags &= ~(uint64_t)RTE_MBUF_F_RX_L4_CKSUM_MASK;
	k->p = rte_pktmbuf_mtod(m, uint8_t *);
	k->n = m->data_len;
	k->verdict = VERDICT_OK;
	k->flags &= (uint8_t) ~(PKT_F_HOME | PKT_F_STEERED | PKT_F_L4_BAD);
	net_parse_burst(k, (struct flow_key *)&w->keys[k - w->rx], 1, w->tbl, w->conf.udp);
	if (k->verdict == VERDICT_FRAG)
		k->verdict = DROP_IP_FRAGMENT;
}

/* A datagram that nothing is sealed with has but its checksum, UDP's or TCP's, which the device may not have looked at.
 */
static void check_bare(const struct worker *w, struct pkt *k)
{
	struct rte_mbuf *m = k->own;

	if (!w->any_bare || crypt_head(k->crypt) || crypt_tail(k->crypt) || k->flags & (PKT_F_SYN | PKT_F_BIG) ||
	    (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		return;
	if (net_sum_ok(rte_pktmbuf_mtod(m, const uint8_t *), k))
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD; /* for a sibling that it goes to */
	else
		k->verdict = DROP_UDP_CHECKSUM;
}

/*
 * Sends on what is not ours, completes fragments, drops the rest, and keeps the tunnels' packets at the front of the
 * vector.  Returns how many those are.
 */
unsigned pl_punt(struct worker *w, unsigned n, uint64_t tsc)
{
	unsigned kept = 0;

	w->n_syn = w->n_big = 0;
	for (unsigned i = 0; i < n; i++) {
		struct pkt *k = &w->rx[i];

		if (k->verdict == VERDICT_FRAG)
			frag_one(w, k, tsc);
		if (k->verdict == VERDICT_SYN)
			pl_syn(w, k);
		if (k->verdict == VERDICT_BIG)
			pl_big(w, k);
		if (k->verdict == VERDICT_PUNT)
			pl_punt_one(w, k);
		if (k->verdict == VERDICT_OK) {
			k->crypt = w->conf.crypts[k->tunnel];
			check_bare(w, k);
		}
		if (k->verdict == VERDICT_OK) {
			if (i != kept)
				w->rx[kept] = *k;
			kept++;
			continue;
		}
		if (!k->own)
			continue; /* punted; or a fragment, which waits for the others or was counted */
		if (k->verdict > VERDICT_DROP)
			pl_lost(w, k->verdict, 1);
		rte_pktmbuf_free(k->own);
	}
	pl_punt_out(w);
	return kept;
}

/* A datagram that the shard has turned into its own answer. */
static void pl_answer(struct worker *w, struct pkt *k)
{
	crypt_seal_burst(w->conf.mb, k, 1);
	if (k->sess) /* a question of ours (roam.c) must not come back to us as its peer's word */
		shard_sent(w->conf.shard, k, 1, w->now);
	net_push_back(rte_pktmbuf_mtod((struct rte_mbuf *)k->own, const uint8_t *), k,
		      shard_class(w->conf.shard, k->tunnel), 0);
	pl_reply(w, k);
}

/* The turn is done with these packets: sends back what answers them, counts what was dropped and frees every buffer
 * that FEC did not keep. */
void pl_free(struct worker *w, unsigned n)
{
	struct rte_mbuf *m[PL_RX];
	unsigned k = 0, lost = 0, answers = 0;

	for (unsigned i = 0; i < n; i++) {
		if (w->rx[i].verdict == VERDICT_ANSWER) {
			pl_answer(w, &w->rx[i]);
			answers++;
		}
		if (w->rx[i].verdict > VERDICT_DROP) {
			pl_count(w, w->rx[i].verdict, 1);
			lost++;
		}
		if (w->rx[i].own)
			m[k++] = w->rx[i].own;
	}
	rte_pktmbuf_free_bulk(m, k);
	w->stats.answered += answers;
	w->stats.rx_dropped += lost;
	w->stats.delivered += n - answers - lost;
}
