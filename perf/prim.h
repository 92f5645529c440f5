/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The bare primitives that a packet cannot do without, on packets like the worker's own: what figures F1 to F3 set the
 * whole turn against.  Bursts of 256 packet buffers of the pool's stride, in memory that a turn would have as warm.
 */

#include <stdint.h>

struct prim;
struct prim_cost {    /* ns a datagram that is sent or received, parity counted in */
	double crypt; /* seal or open, CRC32 and nonce in it */
	double fec;   /* parity: the fastest kernel over whole groups; received: the decoder's books */
	double copy;  /* memcpy of a data packet's payload */
};

/* cipher: kcptun's name; ds, ps: 0 without FEC; datagram: bytes that KCP puts into one, header and all. */
struct prim *prim_new(const char *cipher, unsigned ds, unsigned ps, unsigned datagram);
void prim_free(struct prim *p);
/* A round of each. */
struct prim_cost prim_send(struct prim *p);
struct prim_cost prim_receive(struct prim *p);
static inline double prim_sum(struct prim_cost c)
{
	return c.crypt + c.fec + c.copy;
}
