/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A number of things that tunnels share: dials under way, file descriptors.  Each tunnel has a share that nobody else
 * may use, and what is nobody's share is for whoever comes first.
 */

#include <stdbool.h>

struct quota {
	unsigned spare; /* nobody's share */
	unsigned over;	/* what tunnels have beyond theirs */
};

struct part { /* a tunnel's */
	unsigned used, share;
};

/* Shares out `all` among n: half of it, at least one for each. */
static inline unsigned quota_init(struct quota *q, unsigned all, unsigned n)
{
	unsigned share = n > 1 ? all / (2 * n) : all;

	share += share == 0;
	*q = (struct quota){.spare = n && all > n * share ? all - n * share : 0};
	return share;
}

/* May the tunnel have one more? */
static inline bool quota_may(const struct quota *q, const struct part *p)
{
	return p->used < p->share || q->over < q->spare;
}

/* It has one more, whether it may or not. */
static inline void quota_add(struct quota *q, struct part *p)
{
	q->over += p->used++ >= p->share;
}

static inline void quota_give(struct quota *q, struct part *p)
{
	q->over -= --p->used >= p->share;
}
