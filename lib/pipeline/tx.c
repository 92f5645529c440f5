/* SPDX-License-Identifier: MIT */
#include <rte_ethdev.h>
#include <rte_ring.h>

#include "fec.h"
#include "worker_int.h"

_Static_assert(NET_MAX_HEAD + CRYPT_MAX_HEAD + FEC_HEAD <= RTE_PKTMBUF_HEADROOM, "headers fit the headroom");

static void tx_lend(struct worker *w, unsigned i, struct rte_mbuf *m)
{
	struct pkt *k = &w->tx[i];

	w->txm[i] = m;
	k->own = m;
	k->p = rte_pktmbuf_mtod(m, uint8_t *);
	k->flags = 0;
}

/* Tops up the lent vector to n_tx empty buffers; returns how many there are. */
unsigned pl_txbuf(struct worker *w)
{
	unsigned want = w->n_tx - w->n_lent;

	if (want && rte_pktmbuf_alloc_bulk(w->conf.pool, w->txm + w->n_lent, want) == 0)
		while (w->n_lent < w->n_tx) {
			tx_lend(w, w->n_lent, w->txm[w->n_lent]);
			w->n_lent++;
		}
	return w->n_lent;
}

/* The first n of the lent vector are gone: as many from its end, which nobody has touched, take their places. */
static void tx_close_up(struct worker *w, unsigned n)
{
	unsigned end = w->n_lent;

	w->n_lent -= n;
	for (unsigned i = 0; i < n && i < w->n_lent; i++)
		tx_lend(w, i, w->txm[--end]);
}

/* Gives a port what waits for it, by its own queue or over the worker that owns one. */
static void txq_flush(struct worker *w, unsigned dev)
{
	const struct worker_port *p = &w->conf.ports[dev];
	const struct worker_mesh *mesh = w->conf.mesh;
	struct txq *q = &w->txq[dev];
	unsigned sent;

	if (q->n == 0)
		return;
	if (p->txq >= 0) {
		sent = rte_eth_tx_burst(p->id, (uint16_t)p->txq, q->m, (uint16_t)q->n);
		w->stats.tx_packets += sent;
	} else {
		sent = rte_ring_sp_enqueue_burst(mesh->tx[w->conf.id * mesh->n + p->tx_owner], (void **)q->m, q->n,
						 NULL);
		w->poked |= 1ull << p->tx_owner;
	}
	q->n -= sent;
	if (q->n && sent)
		memmove(q->m, q->m + sent, q->n * sizeof(*q->m));
}

static void txq_add(struct worker *w, unsigned dev, struct rte_mbuf *m)
{
	struct txq *q = &w->txq[dev];

	if (q->n == PL_PENDING)
		txq_flush(w, dev);
	if (q->n == PL_PENDING) {
		pl_count(w, DROP_TX_FULL, 1);
		rte_pktmbuf_free(m);
		return;
	}
	q->m[q->n++] = m;
}

/* True when a port is so far behind that sessions had better keep their packets. */
bool pl_tx_full(const struct worker *w)
{
	for (unsigned i = 0; i < w->conf.n_ports; i++)
		if (w->txq[i].n >= PL_HOLD)
			return true;
	return false;
}

static void tx_dress(struct rte_mbuf *m, const struct pkt *k, const struct net_path *path, uint16_t port)
{
	m->port = port; /* tells a sibling that sends it for us where to */
	m->data_off = (uint16_t)(k->p - (uint8_t *)m->buf_addr);
	m->data_len = k->n;
	m->pkt_len = k->n;
	if (path->csum) {
		m->l2_len = path->l3;
		m->l3_len = path->l3_n;
		m->ol_flags |= path->v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
		if (path->csum & NET_CSUM_UDP_HW)
			m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
		if (!path->v6 && (path->csum & NET_CSUM_IP_HW))
			m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	}
}

/* Pushes the headers of a session's packet and adds it to its port's. */
void pl_send_one(struct worker *w, struct pkt *k, uint64_t now)
{
	unsigned why;
	const struct net_path *path = shard_path(w->conf.shard, k->sess, now, &why);

	if (!path) {
		pl_count(w, why, 1);
		rte_pktmbuf_free(k->own);
		return;
	}
	if (path->tcp)
		net_push_tcp(path, shard_tcp(k->sess), k);
	else
		net_push(path, k);
	tx_dress(k->own, k, path, w->conf.ports[path->dev].id);
	w->stats.tx_bytes += k->n;
	txq_add(w, path->dev, k->own);
}

/* Sends a received frame, as it has been rewritten, back by the port that it came from. */
void pl_reply(struct worker *w, struct pkt *k)
{
	struct rte_mbuf *m = k->own;

	m->port = w->conf.ports[k->dev].id;
	m->data_off = (uint16_t)(k->p - (uint8_t *)m->buf_addr);
	m->data_len = k->n;
	m->pkt_len = k->n;
	m->ol_flags = 0;
	k->own = NULL;
	w->stats.tx_bytes += k->n;
	txq_add(w, k->dev, m);
}

/* Pushes the headers of tx[0..n) and hands the frames to their ports; the lent vector shrinks by n. */
void pl_send(struct worker *w, unsigned n, uint64_t now)
{
	for (unsigned i = 0; i < n; i++)
		pl_send_one(w, &w->tx[i], now);
	tx_close_up(w, n);
	for (unsigned i = 0; i < w->conf.n_ports; i++)
		txq_flush(w, i);
}

/* Frames from the exception path, and from siblings whose port has its queue here. */
unsigned pl_inject(struct worker *w)
{
	const struct worker_mesh *mesh = w->conf.mesh;
	struct rte_mbuf *m[64];
	unsigned total = 0, n;

	n = rte_ring_sc_dequeue_burst(w->conf.border->inject, (void **)m, 64, NULL);
	for (unsigned i = 0; i < n; i++)
		txq_add(w, w->dev_of[m[i]->port], m[i]);
	total += n;
	for (unsigned from = 0; from < mesh->n; from++) {
		if (from == w->conf.id || pl_tx_full(w))
			continue;
		do {
			n = rte_ring_sc_dequeue_burst(mesh->tx[from * mesh->n + w->conf.id], (void **)m, 64, NULL);
			for (unsigned i = 0; i < n; i++)
				txq_add(w, w->dev_of[m[i]->port], m[i]);
			total += n;
		} while (n == 64 && !pl_tx_full(w));
	}
	return total;
}

/* Frames that a port did not take before.  Returns how many are left. */
unsigned pl_drain(struct worker *w)
{
	unsigned left = 0;

	for (unsigned i = 0; i < w->conf.n_ports; i++) {
		txq_flush(w, i);
		left += w->txq[i].n;
	}
	return left;
}
