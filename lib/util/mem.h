/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A worker's memory: one lent region, one owner thread, one budget.  Requests are rounded up to a size class; pages of
 * 64 KiB move between the classes, and runs of pages serve large rings, so that what one kind of load gives back
 * another kind can use.  Every call is O(1) or O(log pages); none makes a system call, and none touches memory that was
 * not handed out but for the bookkeeping: the region may be a mapping that is faulted in as it is used.
 */

#include <stddef.h>
#include <stdint.h>

struct mem;

#define MEM_MAX_ALLOC (16u << 20) /* largest single request */

/*
 * Makes a heap of `len` bytes at `region` (aligned to 64 KiB, len a multiple of 64 KiB, at least 1 MiB); the heap's own
 * bookkeeping lives inside it.  The region stays the caller's and must outlive the heap.  Returns NULL on bad
 * arguments.
 */
struct mem *mem_init(void *region, size_t len);

/* Gives the region back to its owner: only a build with AddressSanitizer, which marks what is free, has work to do. */
void mem_fini(struct mem *m);

/* n bytes, 64-byte aligned for n >= 64 and 16-byte aligned below, not zeroed; NULL when the budget is used up or n is 0
 * or beyond MEM_MAX_ALLOC. */
void *mem_get(struct mem *m, size_t n);

/* Fetches into the cache, to be written, what the next mem_get(m, n) is likely to give; nothing else happens. */
void mem_prefetch(const struct mem *m, size_t n);

/* Gives back what mem_get(m, n) gave, with the same n.  p may be NULL. */
void mem_put(struct mem *m, void *p, size_t n);

/* The size that a request of n bytes really takes: one for mem_class(n) bytes takes no more.  0 for n that mem_get
 * refuses. */
size_t mem_class(size_t n);

size_t mem_used(const struct mem *m);  /* bytes in pages that hold anything, at most mem_total */
size_t mem_total(const struct mem *m); /* bytes of all pages but the bookkeeping's */
