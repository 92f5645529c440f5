/* SPDX-License-Identifier: MIT */
#pragma once

/* What a chunk looks like, and how chunks leave and enter the pool; for chan.c and bytes.c alone. */

#include <stddef.h>

#include <rte_mempool.h>

#include "chan.h"

/* Data start on a cache line of their own: the producer writes `next` while the consumer reads. */
struct chan_chunk {
	struct chan_chunk *next; /* written by the producer before it publishes a byte behind this chunk's last */
	uint8_t data[CHAN_CHUNK - 64] __attribute__((aligned(64)));
};

#define CHUNK_DATA ((uint32_t)sizeof(((struct chan_chunk *)0)->data))

_Static_assert(sizeof(struct chan_chunk) == CHAN_CHUNK, "the header is part of the chunk");

/*
 * The pool orders one thread's use of an object before the next one's, but with inline assembly in a library that is
 * not instrumented; ThreadSanitizer has to be told.
 */
#if defined(__SANITIZE_THREAD__)
#define CHAN_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHAN_TSAN 1
#endif
#endif

#ifdef CHAN_TSAN
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#else
#define __tsan_acquire(addr) ((void)0)
#define __tsan_release(addr) ((void)0)
#endif

static inline void *pool_get(struct rte_mempool *mp)
{
	void *obj;

	if (rte_mempool_get(mp, &obj))
		return NULL;
	__tsan_acquire(obj);
	return obj;
}

static inline void pool_put(struct rte_mempool *mp, void *obj)
{
	__tsan_release(obj);
	rte_mempool_put(mp, obj);
}

static inline struct chan_chunk *chunk_get(struct chan_pool *p, unsigned tunnel)
{
	struct chan_chunk *c;

	if (!shares_take(&p->chunk_shares, tunnel))
		return NULL;
	c = pool_get(p->chunks);
	if (!c)
		shares_give(&p->chunk_shares, tunnel);
	return c;
}

static inline void chunk_put(struct chan_pool *p, struct chan_chunk *c, unsigned tunnel)
{
	pool_put(p->chunks, c);
	shares_give(&p->chunk_shares, tunnel);
}
