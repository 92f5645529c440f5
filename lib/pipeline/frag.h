/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

struct frag;
struct rte_mbuf;
struct rte_mempool;

/* Reassembly of the rare datagram that arrives in IP fragments, on DPDK's library; a few at a time, for one worker. */
int frag_create(struct frag **out, struct rte_mempool *pool, int socket);
void frag_destroy(struct frag *f);

/* Takes a fragment; gives the whole frame in one buffer once the last has come, NULL before (or when it is dropped).
 * The caller no longer owns m. */
struct rte_mbuf *frag_take(struct frag *f, struct rte_mbuf *m, uint64_t tsc);

/* Fragments that frag_take has given up since the last call of this, of any datagram. */
unsigned frag_dropped(struct frag *f);
