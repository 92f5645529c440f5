/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How a pool that all tunnels take from is shared out.  Each has a part that is its own, which nobody else can use up;
 * the rest is common, and of that none may have more than three quarters.  Taking and giving are a few relaxed atomics,
 * from any thread; a chunk is 16 KB, so they are rare.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct share {			  /* of one tunnel */
	_Atomic uint32_t used;	  /* objects that it holds */
	_Atomic uint64_t refused; /* times that it wanted one and had to wait */
	uint32_t sure, most;	  /* its own part; the most that it may ever hold */
} __attribute__((aligned(64)));

struct shares {
	struct share *of; /* [n] */
	unsigned n;
	uint32_t common; /* objects beyond all `sure` */
	_Atomic uint32_t common_used __attribute__((aligned(64)));
};

/* total objects among n tunnels (n > 0).  0 or -ENOMEM. */
int shares_init(struct shares *s, uint32_t total, unsigned n);
/* The same, and places for `spare` tunnels more that may come: they have no part of their own. */
int shares_init_spare(struct shares *s, uint32_t total, unsigned n, unsigned spare);
void shares_fini(struct shares *s);

/* Tunnel i may hold no more than `most`; what it loses of its own part is common.  Before anything is taken. */
void shares_bound(struct shares *s, unsigned i, uint32_t most);

/* One object for tunnel i.  False, and counted: it has to wait. */
bool shares_take(struct shares *s, unsigned i);
void shares_give(struct shares *s, unsigned i);

/* How many more tunnel i could have now. */
uint32_t shares_room(const struct shares *s, unsigned i);
