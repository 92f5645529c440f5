/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <string.h>

#include "place.h"

static bool has_memory(const struct place_in *in, int node)
{
	return node >= 0 && node < TOPO_NODES_MAX && in->has_memory >> node & 1;
}

/* The first of the nodes, in the order of preference, that has memory; else any that has; else 0. */
static int8_t choose(const struct place_in *in, const int8_t *want, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (has_memory(in, want[i]))
			return want[i];
	for (int8_t i = 0; i < TOPO_NODES_MAX; i++)
		if (has_memory(in, i))
			return i;
	return 0;
}

/* The first port that has a node. */
static int8_t any_port(const struct place_in *in)
{
	for (unsigned i = 0; i < in->n_ports; i++)
		if (in->port_node[i] != TOPO_ANY)
			return in->port_node[i];
	return TOPO_ANY;
}

/* The pool of a node, made if it is not there, with n buffers more. */
static uint8_t pool_add(struct place *p, int8_t node, unsigned n)
{
	unsigned i = 0;

	while (i < p->n_pools && p->pool[i].node != node)
		i++;
	if (i == p->n_pools)
		p->pool[p->n_pools++] = (struct place_pool){.node = node};
	p->pool[i].mbufs += n;
	return (uint8_t)i;
}

static void place_rx(struct place *p, const struct place_in *in, unsigned w)
{
	uint64_t seen = 0;

	for (unsigned i = 0; i < in->n_ports; i++) {
		int8_t at = in->port_node[i] == TOPO_ANY ? p->worker[w] : choose(in, &in->port_node[i], 1);

		p->rx_pool[i][w] = pool_add(p, at, seen >> at & 1 ? PLACE_RX_MORE : PLACE_RX);
		seen |= UINT64_C(1) << at;
	}
}

void place_make(struct place *p, const struct place_in *in)
{
	const int8_t port = any_port(in);

	memset(p, 0, sizeof(*p));
	p->ctl = choose(in, (int8_t[]){in->lcore_node[0], port}, 2);
	p->ctl_pool = pool_add(p, p->ctl, PLACE_BASE);
	for (unsigned w = 0; w < in->n_workers; w++) {
		p->worker[w] = choose(in, (int8_t[]){in->lcore_node[1 + w], port, p->ctl}, 3);
		p->tx_pool[w] =
			pool_add(p, p->worker[w], PLACE_TX + PLACE_TX_MORE * (in->n_ports - 1) + PLACE_EXC * in->n_exc);
		place_rx(p, in, w);
	}
}

/* ---- what is not as it could be ---- */

static bool many_nodes(const struct place_in *in)
{
	uint64_t nodes = in->has_memory;

	for (unsigned i = 0; i <= in->n_workers; i++)
		if (in->lcore_node[i] != TOPO_ANY)
			nodes |= UINT64_C(1) << in->lcore_node[i];
	for (unsigned i = 0; i < in->n_ports; i++)
		if (in->port_node[i] != TOPO_ANY)
			nodes |= UINT64_C(1) << in->port_node[i];
	return nodes & (nodes - 1);
}

static void no_memory(const struct place_in *in, int8_t node, int8_t taken, uint64_t *said, place_say *say, void *ctx)
{
	if (node == TOPO_ANY || has_memory(in, node) || *said >> node & 1)
		return;
	*said |= UINT64_C(1) << node;
	say(ctx, PLACE_NO_MEMORY, (unsigned)node, (unsigned)taken);
}

void place_faults(const struct place *p, const struct place_in *in, place_say *say, void *ctx)
{
	uint64_t said = 0;

	if (!many_nodes(in))
		return;
	no_memory(in, in->lcore_node[0], p->ctl, &said, say, ctx);
	for (unsigned w = 0; w < in->n_workers; w++)
		no_memory(in, in->lcore_node[1 + w], p->worker[w], &said, say, ctx);
	for (unsigned i = 0; i < in->n_ports; i++)
		no_memory(in, in->port_node[i], p->pool[p->rx_pool[i][0]].node, &said, say, ctx);
	for (unsigned i = 0; i <= in->n_workers; i++)
		if (in->lcore_node[i] == TOPO_ANY)
			say(ctx, PLACE_FLOATS, i, 0);
	for (unsigned w = 0; w < in->n_workers; w++)
		for (unsigned i = 0; i < in->n_ports; i++)
			if (in->lcore_node[1 + w] != TOPO_ANY && in->port_node[i] != TOPO_ANY &&
			    in->lcore_node[1 + w] != in->port_node[i])
				say(ctx, PLACE_FAR, w, i);
}
