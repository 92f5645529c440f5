/* SPDX-License-Identifier: MIT */
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ring.h>

#include "worker_int.h"

/* What siblings have left for a port that is closed, or was when they did. */
static void drop_siblings(struct worker *w, unsigned dev)
{
	const struct worker_mesh *mesh = w->conf.mesh;
	struct rte_mbuf *m;

	for (unsigned from = 0; from < mesh->n; from++) {
		if (from == w->conf.id || !(w->conf.ports[dev].sends_for >> from & 1))
			continue;
		while (rte_ring_sc_dequeue(mesh->tx[from * mesh->n_ports + dev], (void **)&m) == 0) {
			pl_count(w, DROP_PORT_DOWN, 1);
			rte_pktmbuf_free(m);
		}
	}
}

#define EXC_STALE 1024 /* frames that its queue holds: what comes meanwhile is fresh */

/* What the kernel has sent while the port was closed is stale, as what comes to control then. */
static void drop_kernels(struct worker *w, unsigned dev)
{
	struct rte_mbuf *m[PL_EXC];

	if (!w->conf.ports[dev].has_exc)
		return;
	for (unsigned i = 0, n = PL_EXC; n && i < EXC_STALE; i += n) {
		n = rte_eth_rx_burst(w->conf.ports[dev].exc, (uint16_t)w->conf.id, m, PL_EXC);
		pl_count(w, DROP_PORT_DOWN, n);
		rte_pktmbuf_free_bulk(m, n);
	}
}

/* It may be another device than before, with other queues. */
static void dev_opened(struct worker *w, unsigned dev)
{
	w->dev_of[w->conf.ports[dev].id] = (uint8_t)dev;
	w->txq[dev].at = 0;
	w->txq[dev].refused = 0;
}

/*
 * What is longer than its port's MTU gets lost behind the port, and nobody tells; of AF_PACKET's it stays in the ring
 * for good, and all others behind it.  And AF_PACKET's driver passes over what is longer than a frame of its ring.
 */
static void see_frames(struct worker *w, const struct net_tbl *t)
{
	for (unsigned i = 0; i < w->conf.n_ports; i++) {
		uint32_t mtu = i < t->n_dev ? t->dev[i].mtu : 0;

		w->vlan[i] = i < t->n_dev ? t->dev[i].vlan : 0;
		w->longest[i] = mtu ? mtu + RTE_ETHER_HDR_LEN : UINT32_MAX;
		if (!(w->shut >> i & 1) && w->conf.ports[i].ring.base && w->conf.ports[i].ring.longest < w->longest[i])
			w->longest[i] = w->conf.ports[i].ring.longest;
	}
}

/*
 * What a new snapshot says of the ports.  One that is closed is not touched any more, from here on: so its adoption
 * tells control that the device may go.
 */
void pl_ports_adopt(struct worker *w, const struct net_tbl *t)
{
	uint32_t shut = 0, down = 0, before = w->shut;

	for (unsigned i = 0; i < w->conf.n_ports; i++) {
		shut |= (uint32_t)(i < t->n_dev && t->dev[i].closed) << i;
		down |= (uint32_t)(i < t->n_dev && !t->dev[i].up) << i;
	}
	w->down = down | shut;
	w->shut = shut;
	see_frames(w, t);
	if (before == shut)
		return;
	for (unsigned i = 0; i < w->conf.n_ports; i++) {
		if (before & ~shut & 1u << i)
			dev_opened(w, i);
		/* But for the first snapshot: siblings, and the kernel, may have begun before us. */
		if (before == UINT32_MAX || !((before ^ shut) & 1u << i))
			continue;
		drop_siblings(w, i);
		if (!(shut & 1u << i))
			drop_kernels(w, i);
	}
	worker_idle_init(w);
}
