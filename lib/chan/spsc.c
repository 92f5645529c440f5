/* SPDX-License-Identifier: MIT */
#include <rte_common.h>
#include <rte_malloc.h>
#include <rte_ring.h>

#include "spsc.h"

struct rte_ring *spsc_create(const char *name, unsigned esize, unsigned count, int socket)
{
	struct rte_ring *r;
	ssize_t len;

	if (count == 0 || count >= RTE_RING_SZ_MASK)
		return NULL;
	len = rte_ring_get_memsize_elem(esize, rte_align32pow2(count + 1));
	if (len < 0)
		return NULL;
	r = rte_zmalloc_socket(name, (size_t)len, RTE_CACHE_LINE_SIZE, socket);
	if (!r)
		return NULL;
	if (rte_ring_init(r, name, count, RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ)) {
		rte_free(r);
		return NULL;
	}
	return r;
}

void spsc_free(struct rte_ring *r)
{
	rte_free(r);
}
