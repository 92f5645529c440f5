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
 * addresses there is no such need: what lies together there is together for them too.
 */
static unsigned pool_flags(void)
{
	return rte_eal_iova_mode() == RTE_IOVA_VA ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0;
}

static bool pool_fill(struct rte_mempool *mp)
{
	/* Its driver may not be installed: then the default stays, a ring, which goes through the whole pool. */
	(void)!rte_mempool_set_ops_byname(mp, "lf_stack", NULL);
	rte_pktmbuf_pool_init(mp, NULL);
	if (rte_mempool_populate_default(mp) < 0)
		return false;
	rte_mempool_obj_iter(mp, rte_pktmbuf_init, NULL);
	return true;
}

struct rte_mempool *worker_pool_create(const char *name, unsigned n, unsigned cache, int socket)
{
	unsigned size = sizeof(struct rte_mbuf) + RTE_MBUF_DEFAULT_BUF_SIZE;
	struct rte_mempool *mp = rte_mempool_create_empty(name, n, size, cache, sizeof(struct rte_pktmbuf_pool_private),
							  socket, pool_flags());

	if (!mp)
		return NULL;
	if (!pool_fill(mp)) {
		rte_mempool_free(mp);
		return NULL;
	}
	return mp;
}
