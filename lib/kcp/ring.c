/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "ring.h"

static size_t ring_bytes(uint32_t cap)
{
	return (size_t)cap * sizeof(void *);
}

static int ring_resize(struct kcp_ring *r, struct mem *mem, uint32_t cap, uint32_t lo, uint32_t used)
{
	uint32_t old = kcp_ring_cap(r);
	void **slot = mem_get(mem, ring_bytes(cap));

	if (!slot)
		return -ENOMEM;
	memset(slot, 0, ring_bytes(cap));
	for (uint32_t sn = lo; sn != lo + used; sn++)
		slot[sn & (cap - 1)] = *kcp_ring_at(r, sn);
	if (old)
		mem_put(mem, r->slot, ring_bytes(old));
	r->slot = slot;
	r->mask = cap - 1;
	return 0;
}

int kcp_ring_grow(struct kcp_ring *r, struct mem *mem, uint32_t lo, uint32_t used, uint32_t want)
{
	uint32_t cap = kcp_ring_cap(r) ? 2 * kcp_ring_cap(r) : KCP_RING_MIN;

	if (want > MEM_MAX_ALLOC / sizeof(void *))
		return -ENOMEM;
	while (cap < want)
		cap *= 2;
	return ring_resize(r, mem, cap, lo, used);
}

void kcp_ring_trim(struct kcp_ring *r, struct mem *mem, uint32_t lo, uint32_t used)
{
	uint32_t cap = kcp_ring_cap(r);

	if (!cap)
		return;
	if (!used) {
		mem_put(mem, r->slot, ring_bytes(cap));
		r->slot = NULL;
		r->mask = 0;
	} else if (cap > KCP_RING_MIN && used <= cap / 8) {
		/* Without memory for the smaller one the larger one serves on. */
		(void)ring_resize(r, mem, cap / 2, lo, used);
	}
}
