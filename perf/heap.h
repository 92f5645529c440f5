/* SPDX-License-Identifier: MIT */
#pragma once

/* Memory for the benchmarks without an EAL: a mapping, on transparent hugepages with --huge, as a worker's heap. */

#include <stdlib.h>
#include <sys/mman.h>

#include "bench.h"
#include "mem.h"

#define HEAP_HUGE (2u << 20)

/* len bytes, zero and aligned to a hugepage, that live as long as the program; ends it when there are none. */
static inline void *heap_region(size_t len)
{
	size_t all = len + HEAP_HUGE;
	char *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		abort();
	p = (char *)(((uintptr_t)p + HEAP_HUGE - 1) & ~(uintptr_t)(HEAP_HUGE - 1));
	madvise(p, len, bench_opts.huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return p;
}

/* A heap of len bytes, a multiple of 64 KiB. */
static inline struct mem *heap_make(size_t len)
{
	struct mem *m = mem_init(heap_region(len), len);

	if (!m)
		abort();
	return m;
}
