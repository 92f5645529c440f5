/* SPDX-License-Identifier: MIT */
#include "port_front.h"

#include <errno.h>
#include <stdio.h>

#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#define THROUGH 1024 /* slots of a ring, which is empty between bursts, and longer than any */
#define PIECE	256

static struct rte_ring *ring_new(const char *name, const char *what, unsigned i)
{
	char text[RTE_RING_NAMESIZE];

	snprintf(text, sizeof(text), "%.13s-%.2s%u", name, what, i);
	return rte_ring_create(text, THROUGH, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

int port_front_make(struct port_front *f, const char *name, unsigned n)
{
	struct rte_ring *rx[PORT_FRONT_QUEUES], *tx[PORT_FRONT_QUEUES];
	int id;

	for (f->n = 0; f->n < n; f->n++) {
		struct port_front_queue *q = &f->queue[f->n];

		rx[f->n] = q->through[0] = ring_new(name, "rx", f->n);
		tx[f->n] = q->through[1] = ring_new(name, "tx", f->n);
		if (!q->through[0] || !q->through[1]) {
			f->n++; /* of which one may be there */
			return rte_errno ? -rte_errno : -ENOMEM;
		}
	}
	id = rte_eth_from_rings(name, rx, n, tx, n, SOCKET_ID_ANY);
	if (id < 0)
		return rte_errno ? -rte_errno : -ENODEV;
	f->id = (uint16_t)id;
	return 0;
}

void port_front_start(struct port_front *f, void *const *arg, eth_rx_burst_t rx, eth_tx_burst_t tx)
{
	struct rte_eth_fp_ops *ops = &rte_eth_fp_ops[f->id];

	for (unsigned i = 0; i < f->n; i++) {
		struct port_front_queue *q = &f->queue[i];

		q->below_rx = ops->rx_pkt_burst;
		q->below_tx = ops->tx_pkt_burst;
		q->below[0] = ops->rxq.data[i];
		q->below[1] = ops->txq.data[i];
		f->arg[i] = arg[i];
	}
	ops->rxq.data = f->arg;
	ops->txq.data = f->arg;
	ops->rx_pkt_burst = rx;
	ops->tx_pkt_burst = tx;
}

void port_front_free(struct port_front *f)
{
	for (unsigned i = 0; i < f->n; i++) {
		rte_ring_free(f->queue[i].through[0]);
		rte_ring_free(f->queue[i].through[1]);
	}
	f->n = 0;
}

uint16_t port_front_received(struct port_front_queue *q, struct rte_mbuf **m, uint16_t n)
{
	unsigned passed = rte_ring_sp_enqueue_burst(q->through[0], (void **)m, n, NULL);

	rte_pktmbuf_free_bulk(m + passed, n - passed);
	return q->below_rx(q->below[0], m, (uint16_t)passed);
}

void port_front_sent(struct port_front_queue *q, struct rte_mbuf **m, uint16_t n)
{
	struct rte_mbuf *done[PIECE];

	while (n) {
		uint16_t some = n < PIECE ? n : PIECE;
		unsigned got;

		q->below_tx(q->below[1], m, some);
		got = rte_ring_sc_dequeue_burst(q->through[1], (void **)done, PIECE, NULL);
		rte_pktmbuf_free_bulk(done, got);
		m += some;
		n = (uint16_t)(n - some);
	}
}
