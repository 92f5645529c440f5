/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A table of pointers indexed by sequence number.  The owner knows which run of numbers is in use; the ring only finds
 * the place of one.  Capacity is a power of two that follows the run: doubling when it grows, halving when it has
 * fallen to an eighth, nothing at all when it is empty.  Each move is paid for by the segments that came or went since
 * the last, so the cost of one segment does not depend on the window.
 */

#include <errno.h>
#include <stdint.h>

#include "kcp_state.h"

#define KCP_RING_MIN 8 /* slots: one cache line */

/* The slot of sn, which must lie in the run that the ring was last fitted to. */
static inline void **kcp_ring_at(const struct kcp_ring *r, uint32_t sn)
{
	return &r->slot[sn & r->mask];
}

static inline uint32_t kcp_ring_cap(const struct kcp_ring *r)
{
	return r->slot ? r->mask + 1 : 0;
}

/* Slow path of kcp_ring_fit. */
int kcp_ring_grow(struct kcp_ring *r, struct mem *mem, uint32_t lo, uint32_t used, uint32_t want);

/*
 * Makes room for the run [lo, lo + want), of which [lo, lo + used) is kept; slots not in use hold NULL, and their owner
 * leaves them so.  0, or -ENOMEM with the ring as it was.
 */
static inline int kcp_ring_fit(struct kcp_ring *r, struct mem *mem, uint32_t lo, uint32_t used, uint32_t want)
{
	return want <= kcp_ring_cap(r) ? 0 : kcp_ring_grow(r, mem, lo, used, want);
}

/* Gives back what a run [lo, lo + used) does not need.  Slots outside it must hold NULL. */
void kcp_ring_trim(struct kcp_ring *r, struct mem *mem, uint32_t lo, uint32_t used);
