/* SPDX-License-Identifier: MIT */
#include "pool.h"

#include <stdbool.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "lazy.h"

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

/* A buffer's address comes from its object's. */
static void make_buffer(struct rte_mempool *mp, void *obj)
{
	rte_pktmbuf_init(mp, NULL, obj, 0);
}

static int fill_virtual(struct rte_mempool *mp)
{
	int ret;

	/* Drivers that register memory are called when the pool is full, and pass over one that says so. */
	mp->flags &= ~RTE_MEMPOOL_F_NON_IO;
	ret = lazy_populate(mp, make_buffer);
	if (ret)
		return ret;
	rte_mempool_mem_iter(mp, address_chunk, NULL);
	mp->flags &= ~RTE_MEMPOOL_F_NO_IOVA_CONTIG; /* now each is in one piece */
	return 0;
}

/* Whose buffers have addresses of their own, which the pool finds. */
static int fill_physical(struct rte_mempool *mp)
{
	int ret;

	/* Its driver may not be installed: then the default stays, a ring, which goes through the whole pool. */
	(void)!rte_mempool_set_ops_byname(mp, "lf_stack", NULL);
	ret = rte_mempool_populate_default(mp);
	if (ret < 0)
		return ret;
	rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
	return 0;
}

struct rte_mempool *worker_pool_create(const char *name, unsigned n, unsigned cache, int socket)
{
	unsigned size = sizeof(struct rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE;
	struct rte_mempool *mp = rte_mempool_create_empty(name, n, size, cache, sizeof(struct rte_pktmbuf_pool_private),
							  socket, pool_is_virtual() ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0);
	int ret;

	if (!mp)
		return NULL;
	rte_pktmbuf_pool_init(mp, NULL);
	ret = pool_is_virtual() ? fill_virtual(mp) : fill_physical(mp);
	if (ret) {
		rte_mempool_free(mp);
		rte_errno = -ret;
		return NULL;
	}
	return mp;
}
