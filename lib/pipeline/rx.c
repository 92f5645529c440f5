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
	pl_count(w, why, 1);
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
		n = rx_wrap(w, m, got, n, PKT_F_HOME, &counted);
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

/* A datagram that the shard has turned into its own answer. */
static void pl_answer(struct worker *w, struct pkt *k)
{
	crypt_seal_burst(w->conf.mb, k, 1);
	net_push_back(rte_pktmbuf_mtod((struct rte_mbuf *)k->own, const uint8_t *), k,
		      shard_class(w->conf.shard, k->tunnel), 0);
	pl_reply(w, k);
}

/* The turn is done with these packets: sends back what answers them, counts what was dropped and frees every buffer
 * that FEC did not keep. */
void pl_free(struct worker *w, unsigned n)
{
	struct rte_mbuf *m[PL_RX];
	unsigned k = 0;

	for (unsigned i = 0; i < n; i++) {
		if (w->rx[i].verdict == VERDICT_ANSWER)
			pl_answer(w, &w->rx[i]);
		if (w->rx[i].verdict > VERDICT_DROP)
			pl_count(w, w->rx[i].verdict, 1);
		if (w->rx[i].own)
			m[k++] = w->rx[i].own;
	}
	rte_pktmbuf_free_bulk(m, k);
}
