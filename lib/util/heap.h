/* SPDX-License-Identifier: MIT */
#pragma once

/* Under mem.h: the pages of a region and the objects in them, whoever holds them. */

#include "mem.h"

struct heap;

#define HEAP_HEAD 64 /* bytes at the region's begin that are the caller's */

#define PAGE_BITS 16
#define PAGE_SIZE ((size_t)1 << PAGE_BITS)
#define UNIT_BITS 4 /* offsets within a page are counted in units of 16 bytes */

/*
 * X(size, next smaller).  From 64 on, sizes are multiples of 64, and the largest of their kind that fill a page with
 * that number of objects.  The steps are of 64 bytes where KCP's segments lie (an MTU of 1200 to 1500 and a header).
 */
#define CLASS_LIST(X)   \
	X(64, 48)       \
	X(128, 64)      \
	X(192, 128)     \
	X(256, 192)     \
	X(320, 256)     \
	X(384, 320)     \
	X(448, 384)     \
	X(512, 448)     \
	X(640, 512)     \
	X(768, 640)     \
	X(896, 768)     \
	X(1024, 896)    \
	X(1152, 1024)   \
	X(1280, 1152)   \
	X(1344, 1280)   \
	X(1408, 1344)   \
	X(1472, 1408)   \
	X(1536, 1472)   \
	X(1600, 1536)   \
	X(1792, 1600)   \
	X(2048, 1792)   \
	X(2304, 2048)   \
	X(2560, 2304)   \
	X(3072, 2560)   \
	X(3584, 3072)   \
	X(4096, 3584)   \
	X(4672, 4096)   \
	X(5440, 4672)   \
	X(6528, 5440)   \
	X(8192, 6528)   \
	X(10880, 8192)  \
	X(13056, 10880) \
	X(16384, 13056) \
	X(21824, 16384) \
	X(32768, 21824)

#define TINY_MAX  48 /* classes of 16, 32 and 48 bytes, aligned to 16 */
#define CLASS_MAX 32768

enum class {
	CLASS_16,
	CLASS_32,
	CLASS_48,
#define X(size, below) CLASS_##size,
	CLASS_LIST(X)
#undef X
		CLASSES
};

_Static_assert(CLASSES <= 64, "mem.spares has one bit a class");

static const uint16_t class_size[CLASSES] = {16, 32, 48,
#define X(size, below) size,
					     CLASS_LIST(X)
#undef X
};

/* Class of n > TINY_MAX bytes at [(n + 63) / 64]. */
static const uint8_t class_of[CLASS_MAX / 64 + 1] = {
#define X(size, below) [(below) / 64 + 1 ...(size) / 64] = CLASS_##size,
	CLASS_LIST(X)
#undef X
};

static inline unsigned class_index(size_t n)
{
	return n <= TINY_MAX ? (unsigned)(n - 1) >> UNIT_BITS : class_of[(n + 63) / 64];
}

static inline uint32_t pages_of(size_t n)
{
	return (uint32_t)((n + PAGE_SIZE - 1) >> PAGE_BITS);
}

/* mem_class */
static inline size_t heap_class(size_t n)
{
	if (n - 1 >= MEM_MAX_ALLOC)
		return 0;
	return n <= CLASS_MAX ? class_size[class_index(n)] : (size_t)pages_of(n) << PAGE_BITS;
}

/* As mem_init, but for accounts; it lies behind HEAP_HEAD. */
struct heap *heap_init(void *region, size_t len);
void heap_fini(struct heap *h);

/* n bytes, 1..MEM_MAX_ALLOC, or NULL. */
void *heap_get(struct heap *h, size_t n);
void heap_put(struct heap *h, void *p, size_t n);
void heap_prefetch(const struct heap *h, size_t n);

size_t heap_used(const struct heap *h);
size_t heap_total(const struct heap *h);
