/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * AF_XDP sockets, as an ethdev's queue sees them.  The kernel binds a socket to one queue of an interface and gives it
 * that one's frames only; so that none is left out, a queue of ours reads all sockets of its share of the interface's,
 * and sends by the first.  Frames are copied between the sockets' memory and buffers: 1400 bytes out of a cache cost
 * less than buffers would that belong to a socket.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_ethdev.h>

#include <xdp/xsk.h>

#include "port_front.h"

struct rte_mbuf;
struct rte_mempool;
struct rte_ring;

struct port_xsk_conf {
	const char *iface;
	uint32_t queue;	 /* of the interface */
	uint32_t rx, tx; /* frames, powers of two; tx 0: it only receives */
	uint32_t frame;	 /* bytes of each, 2048 or 4096, of which the kernel keeps PORT_XSK_HEADROOM */
	bool copy;	 /* zero copy is not asked for */
};
#define PORT_XSK_HEADROOM 256

struct port_xsk {
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons rx, comp;
	uint8_t *area;
	size_t area_n;
	uint32_t frame;
	int fd;		/* readable while frames lie there */
	bool zero_copy; /* what the driver gave */
	uint32_t n_free;
	uint64_t *free; /* [tx] offsets of frames that may be sent by */
	struct xsk_umem *umem;
	struct xsk_socket *sock;
};

/* 0 or -errno: -EBUSY when another socket has the queue.  Undone by port_xsk_close, which takes zeros. */
int port_xsk_open(struct port_xsk *s, const struct port_xsk_conf *c);
void port_xsk_close(struct port_xsk *s);

/* Frames that the kernel had for the socket and could not give it, since it was opened. */
uint64_t port_xsk_lost(const struct port_xsk *s);

/* One queue of the ethdev. */
struct port_xdp_queue {
	struct port_xsk *sk; /* [n], by the first of which it sends */
	unsigned n, at;
	struct rte_mempool *pool;
	uint16_t port;
	struct port_front_queue *front;
	uint64_t too_long, no_buffer; /* sent frames that were dropped; times that frames waited for buffers */
};

/* As rte_eth_rx_burst and rte_eth_tx_burst have it; q: struct port_xdp_queue. */
uint16_t port_xdp_rx(void *q, struct rte_mbuf **m, uint16_t n);
uint16_t port_xdp_tx(void *q, struct rte_mbuf **m, uint16_t n);
