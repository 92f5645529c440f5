/* SPDX-License-Identifier: MIT */
#include "pool.h"

#include <stdbool.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

/*
 * A pool keeps its objects from crossing pages, for a device must find each in one piece.  On pages of 4 KiB that puts
 * one buffer into each, all at the same offset, and so all in the same few sets of a cache.  Where devices use virtual
 * addresses there is no such need: what lies together there is together for them too.  The pool, told that pages do not
 * matter, then takes its objects for having no addresses that a device could use; they get theirs from us.
 */
static bool pool_is_virtual(void)
{
	return rte_eal_iova_mode() == RTE_IOVA_VA;
}

static void address_chunk(struct rte_mempool *mp, void *arg, struct rte_mempool_memhdr *chunk, unsigned i)
{
	(void)mp;
	(void)arg;
	(void)i;
	chunk->iova = (rte_iova_t)(uintptr_t)chunk->addr;
}

static void address_object(struct rte_mempool *mp, void *arg, void *obj, unsigned i)
{
	struct rte_mempool_objhdr *head = (void *)((char *)obj - sizeof(*head));

	(void)mp;
	(void)arg;
	(void)i;
	head->iova = (rte_iova_t)(uintptr_t)obj;
}

static bool pool_populate(struct rte_mempool *mp)
{
	if (!pool_is_virtual())
		return rte_mempool_populate_default(mp) >= 0;
	/* Drivers that register memory are called when the pool is full, and pass over one that says so. */
	mp->flags &= ~RTE_MEMPOOL_F_NON_IO;
	if (rte_mempool_populate_default(mp) < 0)
		return false;
	rte_mempool_mem_iter(mp, address_chunk, NULL);
	rte_mempool_obj_iter(mp, address_object, NULL);
	mp->flags &= ~RTE_MEMPOOL_F_NO_IOVA_CONTIG; /* now each is in one piece */
	return true;
}

static bool pool_fill(struct rte_mempool *mp)
{
	/* Its driver may not be installed: then the default stays, a ring, which goes through the whole pool. */
	(void)!rte_mempool_set_ops_byname(mp, "lf_stack", NULL);
	rte_pktmbuf_pool_init(mp, NULL);
	if (!pool_populate(mp))
		return false;
	rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL); /* a buffer's address comes from its object's */
	return true;
}

struct rte_mempool *worker_pool_create(const char *name, unsigned n, unsigned cache, int socket)
{
	unsigned size = sizeof(struct rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE;
	struct rte_mempool *mp = rte_mempool_create_empty(name, n, size, cache, sizeof(struct rte_pktmbuf_pool_private),
							  socket, pool_is_virtual() ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0);

	if (!mp)
		return NULL;
	if (!pool_fill(mp)) {
		rte_mempool_free(mp);
		return NULL;
	}
	return mp;
}
