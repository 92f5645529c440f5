/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Pools that take memory as it is used.  rte_mempool writes a header into every object when the pool is made, and so
 * has the kernel back all of it with pages, though most is for bursts that may never come.  Here an object is first
 * written to when it is first handed out: those that were given back go first, last in, first out, and only when they
 * are not enough is one taken of which nothing was ever used.  What is resident is then the most that was in use at a
 * time.  With hugepages nothing is gained by it, and nothing lost: they are the process's from the start.
 *
 * A page is the kernel's to find at the first touch, which is a fault in whatever thread takes the object: below a
 * microsecond, once a page in the pool's life.
 */

#include <stdint.h>

struct rte_mempool;

/* Makes an object ready, when it is handed out for the first time.  It is called in any thread. */
typedef void lazy_init(struct rte_mempool *mp, void *obj);

/*
 * Gives a pool of rte_mempool_create_empty all of its objects.  Their header says that an object's address for devices
 * is its virtual one, so either no device sees them or RTE_IOVA_VA is the mode; and RTE_MEMPOOL_F_NO_IOVA_CONTIG must
 * be set.  init may be NULL.  rte_mempool_obj_iter does not find objects that were never used.
 * Where DPDK has no room for one kind of pool more, all objects are made ready at once.  0 or -errno: then the pool is
 * good for rte_mempool_free only.
 */
int lazy_populate(struct rte_mempool *mp, lazy_init *init);
/* Objects that were handed out at least once; 0 for other pools.  Any thread may ask. */
uint32_t lazy_touched(const struct rte_mempool *mp);
