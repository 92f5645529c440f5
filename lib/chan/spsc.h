/* SPDX-License-Identifier: MIT */
#pragma once

/* Rings for one producer and one consumer thread, as this room makes them; rte_ring's own functions use them. */

struct rte_ring;

/*
 * A ring of exactly `count` elements of `esize` bytes (a multiple of 4).  It lies in EAL's heap, not in a memzone:
 * names need not differ, and their number has no limit.  NULL when there is no memory, or count is 0 or too large.
 */
struct rte_ring *spsc_create(const char *name, unsigned esize, unsigned count, int socket);
void spsc_free(struct rte_ring *r);
