/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A number of things that tunnels share: dials under way, file descriptors.  Each tunnel has a share that nobody else
 * may use, and what is nobody's share is for whoever comes first.  Several threads may add and give: each step of
 * `used` beyond the share is one of `over`, whatever order they come in; and as quota_may only looks, each thread but
 * one may have one too many.
 */

#include <stdatomic.h>
#include <stdbool.h>

struct quota {
	unsigned spare;	  /* nobody's share */
	_Atomic int over; /* what tunnels have beyond theirs; below 0 only while one adds and another gives */
};

struct part { /* a tunnel's */
	_Atomic unsigned used;
	unsigned share;
};

/* Shares out `all` among n: half of it, at least one for each. */
static inline unsigned quota_init(struct quota *q, unsigned all, unsigned n)
{
	unsigned share = n > 1 ? all / (2 * n) : all;

	share += share == 0;
	q->spare = n && all > n * share ? all - n * share : 0;
	atomic_store_explicit(&q->over, 0, memory_order_relaxed);
	return share;
}

/* May the tunnel have one more? */
static inline bool quota_may(const struct quota *q, const struct part *p)
{
	return atomic_load_explicit(&p->used, memory_order_relaxed) < p->share ||
	       atomic_load_explicit(&q->over, memory_order_relaxed) < (int)q->spare;
}

/* It has one more, whether it may or not. */
static inline void quota_add(struct quota *q, struct part *p)
{
	if (atomic_fetch_add_explicit(&p->used, 1, memory_order_relaxed) >= p->share)
		atomic_fetch_add_explicit(&q->over, 1, memory_order_relaxed);
}

static inline void quota_give(struct quota *q, struct part *p)
{
	if (atomic_fetch_sub_explicit(&p->used, 1, memory_order_relaxed) > p->share)
		atomic_fetch_sub_explicit(&q->over, 1, memory_order_relaxed);
}
