/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A device of our own.  DPDK's packages bring no headers for drivers, but two things that together are one: a ring
 * device (rte_eth_from_rings), and the table in which the burst functions of every started device stand
 * (rte_eth_fp_ops).  Ours stand before the ring driver's, and hand it what they have received and sent, so that its
 * counters, capture and configuration are the device's.
 */

#include <stdint.h>

#include <rte_ethdev.h>

struct rte_ring;

#define PORT_FRONT_QUEUES 16 /* at most: the ring driver's */

struct port_front_queue {
	struct rte_ring *through[2]; /* the device's own, which frames pass: received, sent */
	void *below[2];		     /* the ring driver's queues */
	eth_rx_burst_t below_rx;
	eth_tx_burst_t below_tx;
};

struct port_front {
	uint16_t id; /* DPDK's */
	unsigned n;
	struct port_front_queue queue[PORT_FRONT_QUEUES];
	void *arg[PORT_FRONT_QUEUES]; /* of the burst functions */
};

/* Makes the ethdev with n queues each way; `name` is the process's only one.  0 or -errno; undone by port_front_free.
 */
int port_front_make(struct port_front *f, const char *name, unsigned n);

/* The ethdev has been started: from now on its bursts are these, of queue i with arg[i]. */
void port_front_start(struct port_front *f, void *const *arg, eth_rx_burst_t rx, eth_tx_burst_t tx);

/* The rings; the ethdev has been removed.  Takes one that was not made, if it is zeros. */
void port_front_free(struct port_front *f);

/* n received frames, fewer than 1,024, through the ring driver: how many there are then.  By the queue's reader. */
uint16_t port_front_received(struct port_front_queue *q, struct rte_mbuf **m, uint16_t n);
/* The same of n that were sent, which end here, in their pool.  By the queue's sender. */
void port_front_sent(struct port_front_queue *q, struct rte_mbuf **m, uint16_t n);
