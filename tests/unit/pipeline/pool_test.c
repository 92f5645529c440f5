/* SPDX-License-Identifier: MIT */

/* Where a device finds the packet buffers: by physical or virtual address, in hugepages and in ordinary pages. */

#include <stdio.h>

#include <criterion/criterion.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_memory.h>
#include <rte_mempool.h>

#include "eal.h"
#include "pool.h"

#define BUFS 900 /* with 2.3 KB each over more than one hugepage */

/* What a device must be given for the byte at p. */
static rte_iova_t want(const void *p)
{
	return rte_eal_iova_mode() == RTE_IOVA_VA ? (rte_iova_t)(uintptr_t)p : rte_mem_virt2iova(p);
}

static void look_at_buffer(const struct rte_mempool *mp, const void *obj, unsigned i)
{
	const struct rte_mbuf *m = obj;
	const char *last = (const char *)m->buf_addr + m->buf_len - 1;

	cr_assert_eq(rte_mempool_virt2iova(obj), want(obj), "object %u of %s: %#lx, not %#lx", i, mp->name,
		     rte_mempool_virt2iova(obj), want(obj));
	cr_assert_eq(rte_mbuf_iova_get(m), want(m->buf_addr), "buffer %u of %s: %#lx, not %#lx", i, mp->name,
		     rte_mbuf_iova_get(m), want(m->buf_addr));
	cr_assert_eq(rte_pktmbuf_iova(m), want(rte_pktmbuf_mtod(m, const void *)));
	/* In one piece: its last byte is where its first one makes a device look for it. */
	cr_assert_eq(rte_mbuf_iova_get(m) + m->buf_len - 1, want(last), "buffer %u of %s is torn", i, mp->name);
}

static void look_at_chunk(struct rte_mempool *mp, void *arg, struct rte_mempool_memhdr *chunk, unsigned i)
{
	(void)arg;
	cr_assert_eq(chunk->iova, want(chunk->addr), "chunk %u of %s: %#lx, not %#lx", i, mp->name, chunk->iova,
		     want(chunk->addr));
}

static void look_at_pool(void)
{
	struct rte_mempool *mp = worker_pool_create("frames", BUFS, 0, SOCKET_ID_ANY);
	struct rte_mbuf *m[BUFS];

	cr_assert_not_null(mp, "%s", rte_strerror(rte_errno));
	cr_assert_eq(rte_pktmbuf_alloc_bulk(mp, m, BUFS), 0);
	for (unsigned i = 0; i < BUFS; i++)
		look_at_buffer(mp, m[i], i);
	cr_assert_gt(rte_mempool_mem_iter(mp, look_at_chunk, NULL), 0);
	/* Drivers that register memory pass over a pool that says so. */
	cr_assert_eq(mp->flags & RTE_MEMPOOL_F_NON_IO, 0);
	rte_pktmbuf_free_bulk(m, BUFS);
	cr_assert(rte_mempool_full(mp));
	rte_mempool_free(mp);
}

/* Buffers in hugepages have no need of --no-huge's loose pages; without such pages on the machine there is no test. */
static void start_huge(const char *mode)
{
	char *argv[] = {"test",	       "--in-memory",	"--no-pci", "-m",    "16",	    "--no-telemetry",
			"--log-level", "lib.eal:error", "--lcores", "0@(0)", "--iova-mode", (char *)mode,
			NULL};
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
	unsigned n = 0;

	if (f) {
		(void)!fscanf(f, "%u", &n);
		fclose(f);
	}
	if (n < 8)
		cr_skip_test("%u hugepages of 2 MB are free, 8 are needed", n);
	cr_assert_geq(rte_eal_init(12, argv), 0, "EAL: %s", rte_strerror(rte_errno));
	cr_assert(rte_eal_has_hugepages());
}

Test(pipeline_pool, virtual_addresses_in_ordinary_pages)
{
	eal_start_args(1, (const char *[]){"--iova-mode=va", NULL});
	cr_assert_eq(rte_eal_iova_mode(), RTE_IOVA_VA);
	look_at_pool();
}

Test(pipeline_pool, virtual_addresses_in_hugepages)
{
	start_huge("va");
	cr_assert_eq(rte_eal_iova_mode(), RTE_IOVA_VA);
	look_at_pool();
}

Test(pipeline_pool, physical_addresses_in_hugepages)
{
	start_huge("pa");
	cr_assert_eq(rte_eal_iova_mode(), RTE_IOVA_PA);
	look_at_pool();
}
