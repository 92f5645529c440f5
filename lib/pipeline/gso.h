/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The kernel hands a device that takes it TCP by up to 64 KB at once, with the headers of one segment and its checksum
 * undone.  Here that is cut into the segments that it stands for, as Linux's own software does it.
 */

#include <stdint.h>

#include "net.h"

struct rte_mbuf;
struct rte_mempool;

struct gso {
	const uint8_t *head; /* the headers, in the first buffer */
	struct net_tcp_at at;
	const struct rte_mbuf *buf; /* that the next byte is in */
	uint32_t off;		    /* of it in there */
	uint32_t mss;		    /* bytes a segment */
	uint32_t left, done;	    /* bytes of the stream */
	uint16_t id;		    /* IPv4: of the next segment */
	uint64_t addr_sum;	    /* of the pseudo header but for the length */
};

/*
 * 0, or DROP_*: m is no frame of TCP whose headers lie in its first buffer (DROP_SEGMENT), or its segments are longer
 * than a buffer of the pool (DROP_TX_LONG).  m stays the caller's, who keeps it until the last segment.
 */
unsigned gso_begin(struct gso *g, const struct rte_mbuf *m, const struct rte_mempool *pool);

/* The next segment, while g->left: a whole frame in one buffer.  NULL: the pool has none. */
struct rte_mbuf *gso_next(struct gso *g, struct rte_mempool *pool);

/* How many segments are still to come. */
unsigned gso_rest(const struct gso *g);
