/* SPDX-License-Identifier: MIT */
#include <linux/if_packet.h>

#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ring.h>

#include "fec.h"
#include "gso.h"
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

static void txq_drop(struct worker *w, struct txq *q, unsigned why)
{
	pl_count(w, why, q->n);
	rte_pktmbuf_free_bulk(q->m, q->n);
	q->n = 0;
}

/* Frames of the driver's ring that are free, one behind the other, up to as many as are wanted. */
static unsigned ring_room(const struct worker_ring *r, unsigned at, unsigned want)
{
	const uint32_t stamps = TP_STATUS_TS_SOFTWARE | TP_STATUS_TS_RAW_HARDWARE;
	unsigned n = 0;

	for (; n < want; n++) {
		const struct tpacket2_hdr *h = (const void *)(r->base + (size_t)at * r->frame_size);

		if (__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & ~stamps)
			break;
		at = at + 1 < r->frames ? at + 1 : 0;
	}
	return n;
}

/* By the port's own queue: no more than it takes without waiting for anything. */
static unsigned txq_burst(struct txq *q, const struct worker_port *p)
{
	unsigned n = p->ring.base ? ring_room(&p->ring, q->at, q->n) : q->n;
	unsigned sent = n ? rte_eth_tx_burst(p->id, (uint16_t)p->txq, q->m, (uint16_t)n) : 0;

	if (!p->ring.base)
		return sent;
	q->at += sent;
	if (q->at >= p->ring.frames)
		q->at -= p->ring.frames;
	return sent;
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
	if (w->down >> dev & 1) {
		txq_drop(w, q, DROP_PORT_DOWN);
		q->refused = 0;
		return;
	}
	if (p->txq >= 0) {
		sent = txq_burst(q, p);
		w->stats.tx_packets += sent;
	} else {
		sent = rte_ring_sp_enqueue_burst(mesh->tx[w->conf.id * mesh->n_ports + dev], (void **)q->m, q->n, NULL);
		w->poked |= 1ull << p->tx_owner;
	}
	q->n -= sent;
	if (sent)
		q->refused = 0;
	else if (!q->refused)
		q->refused = w->now;
	else if (w->now - q->refused >= PL_STUCK_MS)
		txq_drop(w, q, DROP_TX_FULL);
	if (q->n && sent)
		memmove(q->m, q->m + sent, q->n * sizeof(*q->m));
}

/*
 * A tag comes on top of an MTU, one: the port's own, or else one of the kernel's.  There is no asking whether a device,
 * and the network behind it, takes two.  A ring's frames have their end.
 */
static bool tx_long(const struct worker *w, unsigned dev, const struct rte_mbuf *m)
{
	const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
	const struct worker_ring *ring = &w->conf.ports[dev].ring;

	return eth->ether_type != rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN) ||
	       m->pkt_len > w->longest[dev] + RTE_VLAN_HLEN || (ring->base && m->pkt_len > ring->longest);
}

/* Why a frame cannot go to a port at all, or 0. */
static unsigned tx_refusal(const struct worker *w, unsigned dev, const struct rte_mbuf *m)
{
	if (w->down >> dev & 1)
		return DROP_PORT_DOWN;
	return m->pkt_len > w->longest[dev] && tx_long(w, dev, m) ? DROP_TX_LONG : 0;
}

static void txq_add(struct worker *w, unsigned dev, struct rte_mbuf *m)
{
	struct txq *q = &w->txq[dev];
	unsigned why = tx_refusal(w, dev, m);

	if (!why && q->n == PL_PENDING)
		txq_flush(w, dev);
	if (!why && q->n == PL_PENDING)
		why = DROP_TX_FULL;
	if (why) {
		pl_count(w, why, 1);
		rte_pktmbuf_free(m);
		return;
	}
	q->m[q->n++] = m;
}

/* Ports that are so far behind, a bit each, that their sessions had better keep their packets. */
uint32_t pl_tx_full(const struct worker *w)
{
	uint32_t full = 0;

	for (unsigned i = 0; i < w->conf.n_ports; i++)
		full |= (uint32_t)(w->txq[i].n >= PL_HOLD) << i;
	return full;
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
	if (k->flags & PKT_F_PROBE) {
		net_whole(path, k);
	} else if (k->n > path->l3 + path->most) {
		pl_cut(w, path, k);
		return;
	}
	tx_dress(k->own, k, path, w->conf.ports[path->dev].id);
	pl_tag(w, path->dev, k->own);
	if (unlikely(pl_capture(w)))
		pl_copy_sent(w, k, path->dev);
	w->stats.tx_bytes += k->n;
	txq_add(w, path->dev, k->own);
}

/*
 * Ethernet knows no frame of less than 60 bytes.  Some devices fill them up, some send what lies behind them.  A
 * datagram's frame is never so short; an acknowledgement's, and what the kernel says, may be.
 */
static void tx_pad(struct rte_mbuf *m)
{
	uint16_t least = RTE_ETHER_MIN_LEN - RTE_ETHER_CRC_LEN, more;
	char *tail;

	if (m->pkt_len >= least)
		return;
	more = (uint16_t)(least - m->pkt_len);
	tail = rte_pktmbuf_append(m, more);
	if (tail)
		memset(tail, 0, more);
}

/* Sends a fragment of k's frame. */
void pl_send_part(struct worker *w, unsigned dev, const struct pkt *k, struct rte_mbuf *m)
{
	struct pkt part = *k;

	m->port = w->conf.ports[dev].id;
	tx_pad(m);
	w->stats.tx_bytes += m->pkt_len;
	pl_tag(w, dev, m);
	part.own = m;
	if (unlikely(pl_capture(w)))
		pl_copy_sent(w, &part, dev);
	txq_add(w, dev, m);
}

/* Sends a received frame, as it has been rewritten, back by the port that it came from. */
void pl_reply(struct worker *w, struct pkt *k)
{
	struct rte_mbuf *m = k->own;

	m->port = w->conf.ports[k->dev].id;
	m->data_off = (uint16_t)(k->p - (uint8_t *)m->buf_addr);
	m->data_len = k->n;
	m->pkt_len = k->n;
	pl_forget(m);
	w->stats.tx_bytes += k->n;
	tx_pad(m);
	pl_tag(w, k->dev, m);
	if (unlikely(pl_capture(w)))
		pl_copy_reply(w, k);
	k->own = NULL;
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

static bool sends_for(const struct worker *w, unsigned from, unsigned dev)
{
	return !pl_shut(w, dev) && w->conf.ports[dev].sends_for >> from & 1;
}

/* Frames of one sibling for one port, while that takes them. */
static unsigned take_sibling(struct worker *w, unsigned from, unsigned dev)
{
	const struct worker_mesh *mesh = w->conf.mesh;
	struct rte_mbuf *m[64];
	unsigned total = 0, n;

	do {
		if (w->txq[dev].n >= PL_HOLD)
			break;
		n = rte_ring_sc_dequeue_burst(mesh->tx[from * mesh->n_ports + dev], (void **)m, 64, NULL);
		for (unsigned i = 0; i < n; i++)
			txq_add(w, dev, m[i]);
		total += n;
	} while (n == 64);
	return total;
}

/* A frame of the kernel's for a port. */
static void inject_one(struct worker *w, unsigned dev, struct rte_mbuf *m)
{
	tx_pad(m);
	pl_tag(w, dev, m);
	txq_add(w, dev, m);
}

/* A large segment of the kernel's, as frames; returns how many, 1 for one that is dropped. */
static unsigned inject_cut(struct worker *w, unsigned dev, struct rte_mbuf *m)
{
	struct gso g;
	unsigned why = w->down >> dev & 1 ? DROP_PORT_DOWN : gso_begin(&g, m, w->conf.pool), n = 0;

	if (why)
		pl_count(w, why, 1);
	else
		w->stats.segmented++;
	for (; !why && g.left; n++) {
		struct rte_mbuf *part = gso_next(&g, w->conf.pool);

		if (!part) {
			pl_count(w, DROP_NO_MBUF, gso_rest(&g));
			break;
		}
		part->port = w->conf.ports[dev].id;
		inject_one(w, dev, part);
	}
	rte_pktmbuf_free(m);
	return why ? 1 : n;
}

/* A frame that the kernel may have left unfinished; returns how many it is. */
static unsigned inject_raw(struct worker *w, unsigned dev, struct rte_mbuf *m)
{
	if (m->ol_flags & RTE_MBUF_F_RX_LRO)
		return inject_cut(w, dev, m);
	if (m->nb_segs > 1) { /* longer than a buffer, and so than any port's frames */
		pl_count(w, DROP_MULTI_SEGMENT, 1);
		rte_pktmbuf_free(m);
		return 0;
	}
	if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		net_finish_csum(rte_pktmbuf_mtod(m, uint8_t *), m->data_len, true);
	m->port = w->conf.ports[dev].id;
	pl_forget(m);
	inject_one(w, dev, m);
	return 1;
}

/*
 * From the kernel interface of a port, where that is a device: about a burst of frames, cut up as they are, and none
 * that had better wait in the kernel.
 */
static unsigned inject_dev(struct worker *w, unsigned dev)
{
	const struct worker_port *p = &w->conf.ports[dev];
	struct rte_mbuf *m[PL_EXC_LOT];
	unsigned total = 0, frames = 0, n = PL_EXC_LOT;

	while (n == PL_EXC_LOT && frames < PL_EXC && w->txq[dev].n < PL_HOLD) {
		n = rte_eth_rx_burst(p->exc, (uint16_t)w->conf.id, m, PL_EXC_LOT);
		for (unsigned i = 0; i < n; i++)
			frames += inject_raw(w, dev, m[i]);
		total += n;
	}
	return total;
}

static unsigned inject_exc(struct worker *w)
{
	unsigned total = 0;

	for (unsigned dev = 0; dev < w->conf.n_ports; dev++)
		if (!pl_shut(w, dev) && w->conf.ports[dev].has_exc)
			total += inject_dev(w, dev);
	w->stats.injected += total;
	return total;
}

/* Frames from the exception path, and from siblings whose port has its queue here. */
unsigned pl_inject(struct worker *w)
{
	const struct worker_mesh *mesh = w->conf.mesh;
	struct rte_mbuf *m[64];
	unsigned total, n;

	n = rte_ring_sc_dequeue_burst(w->conf.border->inject, (void **)m, 64, NULL);
	for (unsigned i = 0; i < n; i++)
		inject_one(w, w->dev_of[m[i]->port], m[i]);
	total = n + inject_exc(w);
	for (unsigned from = 0; from < mesh->n; from++) {
		if (from == w->conf.id)
			continue;
		for (unsigned dev = 0; dev < w->conf.n_ports; dev++)
			if (sends_for(w, from, dev))
				total += take_sibling(w, from, dev);
	}
	return total;
}

/* A sibling has left frames for a port whose queue is here. */
bool pl_sibling_sends(const struct worker *w, unsigned from)
{
	const struct worker_mesh *mesh = w->conf.mesh;

	for (unsigned dev = 0; dev < w->conf.n_ports; dev++)
		if (sends_for(w, from, dev) && !rte_ring_empty(mesh->tx[from * mesh->n_ports + dev]))
			return true;
	return false;
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
