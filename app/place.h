/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Which NUMA node everything lies on, decided before anything is made, from nothing but where ports and lcores are.
 *
 * A port's receive queues fill buffers of the port's own node: the card writes there through the cache of its own
 * processor.  A port of software has no node; its frames are copied by the worker that polls the queue, so they lie on
 * that worker's.  What a worker writes itself lies on the worker's node: sessions, tables, and the buffers that it
 * fills to send, for the card waits for memory of another node in its queue, the worker would wait in its turn.
 */

#include <stdint.h>

#include "conf.h"
#include "topo.h"

/* Packet buffers, by what needs them. */
#define PLACE_BASE    4096u /* control's frames */
#define PLACE_RX      8192u /* a worker's first port on a node: its receive ring, a vector, FEC groups, steering rings */
#define PLACE_RX_MORE 1024u /* every further port on that node: its ring */
#define PLACE_TX      4096u /* a worker's first port: its transmit ring, a vector lent, frames that wait for the port */
#define PLACE_TX_MORE 2048u /* every further port: its ring, and frames that wait for it */

#define PLACE_EXC 2048u /* every port whose kernel interface is a device: that one's rings */

struct place_in {
	unsigned n_ports, n_workers;
	unsigned n_exc;			  /* ports whose kernel interface is a device (exception "virtio-user") */
	int8_t port_node[CONF_PORTS_MAX]; /* TOPO_ANY: of software, or unknown */
	int8_t lcore_node[1 + CONF_WORKERS_MAX]; /* control's, then the workers'; TOPO_ANY: CPUs of several nodes */
	uint64_t has_memory;			 /* bit a node: what may be allocated on */
};

struct place_pool {
	int8_t node;
	unsigned mbufs;
};

struct place {
	unsigned n_pools;
	struct place_pool pool[TOPO_NODES_MAX]; /* one a node that needs buffers, in the order of need */
	int8_t ctl;				/* node of what control shares with all workers */
	int8_t worker[CONF_WORKERS_MAX];	/* node of what is a worker's own */
	/* indices of pool[] */
	uint8_t ctl_pool;
	uint8_t tx_pool[CONF_WORKERS_MAX];
	uint8_t rx_pool[CONF_PORTS_MAX][CONF_WORKERS_MAX]; /* of the receive queue that is that worker's */
};

void place_make(struct place *p, const struct place_in *in);

enum place_fault {
	PLACE_FAR,	 /* worker `a` and port `b` are on different nodes */
	PLACE_FLOATS,	 /* lcore `a` (0: control) may run on CPUs of several nodes */
	PLACE_NO_MEMORY, /* node `a`, where an lcore or a port is, has no memory: that of node `b` is taken */
};

/* Says all that costs speed and could be otherwise.  Nothing on a machine with one node. */
typedef void place_say(void *ctx, enum place_fault what, unsigned a, unsigned b);
void place_faults(const struct place *p, const struct place_in *in, place_say *say, void *ctx);
