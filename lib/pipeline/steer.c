/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "flow.h"
#include "spsc.h"
#include "worker_int.h"

int worker_mesh_create(struct worker_mesh **out, unsigned n, unsigned n_ports, unsigned frames, const int *socket)
{
	struct worker_mesh *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->n = n;
	m->n_ports = n_ports;
	m->steer = calloc(n * n, sizeof(*m->steer));
	m->tx = calloc(n * n_ports, sizeof(*m->tx));
	m->worker = calloc(n, sizeof(*m->worker));
	m->punts = pl_punts_create(n_ports);
	if (!m->steer || !m->tx || !m->worker || !m->punts)
		goto fail;
	for (unsigned i = 0; i < n * n; i++) {
		if (i / n == i % n)
			continue;
		/* No memzone each: DPDK has 2560 of them, which 36 workers would use up. */
		m->steer[i] = spsc_create("steer", sizeof(struct rte_mbuf *), frames - 1, socket[i % n]);
		if (!m->steer[i])
			goto fail;
	}
	/* One for each port: what one port does not take must not stand in another's way. */
	for (unsigned i = 0; n > 1 && i < n * n_ports; i++) {
		m->tx[i] = spsc_create("tx", sizeof(struct rte_mbuf *), frames - 1, socket[0]);
		if (!m->tx[i])
			goto fail;
	}
	*out = m;
	return 0;
fail:
	worker_mesh_destroy(m);
	return -ENOMEM;
}

static void mesh_ring_free(struct rte_ring *r)
{
	struct rte_mbuf *m;

	while (r && rte_ring_dequeue(r, (void **)&m) == 0)
		rte_pktmbuf_free(m);
	spsc_free(r);
}

void worker_mesh_destroy(struct worker_mesh *m)
{
	if (!m)
		return;
	for (unsigned i = 0; m->steer && i < m->n * m->n; i++)
		mesh_ring_free(m->steer[i]);
	for (unsigned i = 0; m->tx && i < m->n * m->n_ports; i++)
		mesh_ring_free(m->tx[i]);
	flow_roam_destroy(m->roam);
	free(m->steer);
	free(m->tx);
	free(m->worker);
	free(m->punts);
	free(m);
}

/* Where a packet belongs that its port has not brought there itself. */
static uint16_t steer_home(const struct worker *w, const struct pkt *k)
{
	const struct flow_rss *rss = w->conf.ports[k->dev].rss;

	return rss && rss->hw ? flow_home(rss, k->key) : flow_home_sw(k->hash, (uint16_t)w->conf.mesh->n);
}

static bool any_moved(const struct worker_mesh *m)
{
	return m->roam && flow_moved_any(m->roam);
}

/* The same, where sessions stay with their workers although their flows have another home. */
static uint16_t steer_moved(const struct worker *w, const struct pkt *k, uint16_t home)
{
	uint16_t to;

	if (k->flags & PKT_F_STEERED || !any_moved(w->conf.mesh))
		return home;
	to = flow_moved(w->conf.mesh->roam, k->key, k->hash, w->now);
	return to < w->conf.mesh->n ? to : home;
}

/*
 * RSS's twin: a packet from a port without RSS goes to the worker that its hash names.  Keeps this worker's packets at
 * the front of the vector; returns how many.
 */
unsigned pl_steer(struct worker *w, unsigned n)
{
	const struct worker_mesh *mesh = w->conf.mesh;
	unsigned kept = 0;

	flow_hash_burst(w->rx, n);
	if (mesh->n == 1)
		return n;
	if (any_moved(mesh))
		flow_moved_sweep(mesh->roam, w->now);
	for (unsigned i = 0; i < n; i++) {
		struct pkt *k = &w->rx[i];
		uint16_t home = w->conf.id;

		if (!(k->flags & PKT_F_HOME))
			home = steer_home(w, k);
		home = steer_moved(w, k, home);
		if (home == w->conf.id) {
			if (i != kept)
				w->rx[kept] = *k;
			kept++;
			continue;
		}
		if (rte_ring_sp_enqueue(mesh->steer[w->conf.id * mesh->n + home], k->own)) {
			pl_lost(w, DROP_STEER_FULL, 1);
			rte_pktmbuf_free(k->own);
			continue;
		}
		w->stats.steered_out++;
		w->poked |= 1ull << home;
	}
	return kept;
}
