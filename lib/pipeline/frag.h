/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct frag;
struct rte_mbuf;
struct rte_mempool;

/* Reassembly of the rare datagram that arrives in IP fragments, on DPDK's library; a few at a time, for one worker. */
int frag_create(struct frag **out, struct rte_mempool *pool, int socket);
void frag_destroy(struct frag *f);

/* Takes a fragment; gives the whole frame in one buffer once the last has come, NULL before (or when it is dropped).
 * The caller no longer owns m.  frag_expire must follow. */
struct rte_mbuf *frag_take(struct frag *f, struct rte_mbuf *m, uint64_t tsc);

/* Frees fragments whose rest has not come in time, and those that frag_take refused; returns how many (and at least one
 * for a datagram that was whole and could not be kept).  After every frag_take, whose list of refused ones has little
 * room, and when frag_due. */
unsigned frag_expire(struct frag *f, uint64_t tsc);
/* True when fragments may wait whose time is over. */
bool frag_due(const struct frag *f, uint64_t tsc);
