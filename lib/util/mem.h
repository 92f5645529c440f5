/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A worker's memory: one lent region, one owner thread, one budget.  Requests are rounded up to a size class; pages of
 * 64 KiB move between the classes, and runs of pages serve large rings, so that what one kind of load gives back
 * another kind can use.  Every call is O(1) or O(log pages); none makes a system call, and none touches memory that was
 * not handed out but for the bookkeeping: the region may be a mapping that is faulted in as it is used.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEM_MAX_ALLOC (16u << 20) /* largest single request */
#define MEM_LEAST     (64u << 10) /* what an account may hold as long as there is any memory for it */

/*
 * An account: who takes memory of a heap, and how much he has.  Accounts form two levels below the heap's own, tunnels
 * and their sessions; whoever takes memory is given one, and need not know which it is.
 *
 * A tunnel has a share that nobody else may use, and what is nobody's share is for whoever comes first.  A session may
 * hold MEM_LEAST, and beyond that no more than its tunnel could still take: so whoever holds most is refused first,
 * each greedy one leaves half for those that come later, and where there is plenty nobody notices.
 */
struct mem {
	struct mem *up;	 /* its bytes count there too; NULL: the heap's own */
	size_t used;	 /* bytes out, in size classes; not kept in the heap's own */
	bool firm;	 /* may take all that its tunnel may: what it takes has bounds of its own */
	bool missed;	 /* a request was refused: for the owner to see, and to clear */
	bool greedy;	 /* and the last such one only because of what this account holds */
	bool full;	 /* and that is all that a session may hold */
	uint16_t beside; /* bytes from here to an account that counts against the same limit; 0: none */
};

struct mem_tunnel {
	struct mem own; /* first */
	size_t share;
	size_t most, session_most; /* mem_bound */
};

/*
 * Makes a heap of `len` bytes at `region` (aligned to 64 KiB, len a multiple of 64 KiB, at least 1 MiB); the heap's own
 * bookkeeping lives inside it.  The region stays the caller's and must outlive the heap.  Returns the heap's own
 * account, which may take everything, or NULL on bad arguments.
 */
struct mem *mem_init(void *region, size_t len);

/* Gives the region back to its owner: only a build with AddressSanitizer, which marks what is free, has work to do. */
void mem_fini(struct mem *m);

/* Opens a tunnel's account below the heap's own, with a share of what mem_spare says. */
void mem_tunnel(struct mem_tunnel *t, struct mem *heap, size_t share);
/*
 * The tunnel never holds more than `most`, at least its share; and a session, that has MEM_LEAST in any case, takes
 * nothing for an account that is not firm beyond session_most.  SIZE_MAX, as at first: what memory there is.
 */
void mem_bound(struct mem_tunnel *t, size_t most, size_t session_most);
/* True when it is `most` that keeps it from having more, and not what others hold. */
bool mem_is_bound(const struct mem_tunnel *t);
/* What b holds counts against a's limit: another account in the same struct, behind it. */
void mem_beside(struct mem *a, const struct mem *b);
/* Bytes of the heap that are nobody's share; and how much of them tunnels hold. */
size_t mem_spare(const struct mem *heap);
size_t mem_over(const struct mem *heap);
/* Opens a session's account below a tunnel's.  Nothing but what it holds has to go back before it is forgotten. */
void mem_session(struct mem *a, struct mem_tunnel *t, bool firm);

/* n bytes, 64-byte aligned for n >= 64 and 16-byte aligned below, not zeroed; NULL when the budget is used up, or the
 * account's part of it, or n is 0 or beyond MEM_MAX_ALLOC. */
void *mem_get(struct mem *m, size_t n);

/* Fetches into the cache, to be written, what the next mem_get(m, n) is likely to give; nothing else happens. */
void mem_prefetch(const struct mem *m, size_t n);

/* Gives back what mem_get(m, n) gave, with the same n.  p may be NULL. */
void mem_put(struct mem *m, void *p, size_t n);

/* What mem_get(m, n) gave is from now on held by m->up alone. */
void mem_leave(struct mem *m, size_t n);

/* True when less than a sixteenth of all that a tunnel might hold is left for it. */
bool mem_low(const struct mem_tunnel *t);

/* The size that a request of n bytes really takes: one for mem_class(n) bytes takes no more.  0 for n that mem_get
 * refuses. */
size_t mem_class(size_t n);

size_t mem_used(const struct mem *m);  /* of the whole heap: bytes in pages that hold anything, at most mem_total */
size_t mem_total(const struct mem *m); /* of the whole heap: bytes of all pages but the bookkeeping's */
