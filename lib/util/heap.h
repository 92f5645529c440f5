/* SPDX-License-Identifier: MIT */
#pragma once

/* Under mem.h: the pages of a region and the objects in them, whoever holds them. */

#include "mem.h"

struct heap;

#define HEAP_HEAD 64 /* bytes at the region's begin that are the caller's */

/* As mem_init, but for accounts; it lies behind HEAP_HEAD. */
struct heap *heap_init(void *region, size_t len);
void heap_fini(struct heap *h);

/* n bytes, 1..MEM_MAX_ALLOC, or NULL. */
void *heap_get(struct heap *h, size_t n);
void heap_put(struct heap *h, void *p, size_t n);
void heap_prefetch(const struct heap *h, size_t n);

size_t heap_used(const struct heap *h);
size_t heap_total(const struct heap *h);
