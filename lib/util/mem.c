/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "mem.h"

/* Interim form over the C library, replaced before anything runs on it. */
struct mem {
	size_t used, total;
};

struct mem *mem_init(void *region, size_t len)
{
	struct mem *m = region;

	m->used = 0;
	m->total = len;
	return m;
}

size_t mem_class(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

void *mem_get(struct mem *m, size_t n)
{
	if (!n || m->used + mem_class(n) > m->total)
		return NULL;
	m->used += mem_class(n);
	return aligned_alloc(64, mem_class(n));
}

void mem_put(struct mem *m, void *p, size_t n)
{
	if (p)
		m->used -= mem_class(n);
	free(p);
}

size_t mem_used(const struct mem *m)
{
	return m->used;
}

size_t mem_total(const struct mem *m)
{
	return m->total;
}
