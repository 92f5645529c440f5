/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdbool.h>

#include "heap.h"

/*
 * Two levels.  A buddy allocator hands out runs of 64 KiB pages; a request beyond the largest class is such a run, cut
 * to whole pages.  Smaller requests come from a page that is cut into objects of one class.  What is known about a page
 * lies in a descriptor at the region's head, never in the page, so that objects pack well and keep their alignment, and
 * so that neither mem_init nor a search touches a page that holds nothing: the region may be a mapping of which most is
 * never faulted in.  For the same reason a page's objects are cut off one by one (`fresh`), not listed beforehand.
 *
 * The pages are at all times partitioned into aligned power-of-two blocks, and the descriptor of every block's first
 * page is valid; no other descriptor is ever read.  Given an aligned block, the first page of its buddy is the first
 * page of a block too (one that held both would contain the given one), so merging never reads a stale descriptor.
 */

#define MAX_ORDER  8	      /* a block of MEM_MAX_ALLOC */
#define NONE	   UINT32_MAX /* no page */
#define NO_OBJ	   UINT16_MAX /* no offset */
#define MIN_REGION ((size_t)1 << 20)

_Static_assert(MEM_MAX_ALLOC == PAGE_SIZE << MAX_ORDER, "the largest block serves the largest request");

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif

#ifdef ASAN
#include <sanitizer/asan_interface.h>
#define NO_ASAN __attribute__((no_sanitize("address"), noinline))
static void poison(void *p, size_t n)
{
	__asan_poison_memory_region(p, n);
}

static void unpoison(void *p, size_t n)
{
	__asan_unpoison_memory_region(p, n);
}

/* Objects start poisoned and end poisoned: a second mem_put of one is seen here. */
static bool is_live(const void *p)
{
	return !__asan_address_is_poisoned(p);
}
#else
#define NO_ASAN
static inline void poison(void *p, size_t n)
{
}

static inline void unpoison(void *p, size_t n)
{
}

__attribute__((unused)) static inline bool is_live(const void *p)
{
	return true;
}
#endif

enum state { PAGE_FREE = 1, PAGE_RUN, PAGE_SLAB };

struct page {
	uint32_t next, prev; /* free block: of its order; slab: of its class, while it has room */
	uint8_t state;	     /* enum state */
	uint8_t kind;	     /* free block: its order; slab: its class */
	uint16_t used;	     /* slab: objects out; run: pages, at its first */
	uint16_t free;	     /* slab: offset of the first object given back, which holds the next one's */
	uint16_t fresh;	     /* slab: offset from which no object was ever cut */
};

_Static_assert(sizeof(struct page) == 16, "the bookkeeping is 1/4096 of the region");

struct heap {
	uint8_t *base; /* first page behind the bookkeeping; pages are counted from it, so that all blocks are whole */
	uint32_t pages;
	uint32_t used;	 /* pages that hold anything */
	uint32_t orders; /* bit o: free_of[o] is not empty */
	uint32_t free_of[MAX_ORDER + 1];
	uint32_t room_in[CLASSES]; /* slabs with objects left, at least one of them out */
	uint32_t spare[CLASSES];   /* one slab of which nothing is out, kept against thrashing */
	uint64_t spares;	   /* bit c: spare[c] is a page */
	struct page page[];
};

/* ---- lists of pages ---- */

static void page_link(struct heap *m, uint32_t *head, uint32_t i)
{
	m->page[i].prev = NONE;
	m->page[i].next = *head;
	if (*head != NONE)
		m->page[*head].prev = i;
	*head = i;
}

static void page_unlink(struct heap *m, uint32_t *head, uint32_t i)
{
	const struct page *d = &m->page[i];

	if (d->prev != NONE)
		m->page[d->prev].next = d->next;
	else
		*head = d->next;
	if (d->next != NONE)
		m->page[d->next].prev = d->prev;
}

static void *page_addr(const struct heap *m, uint32_t i)
{
	return m->base + ((size_t)i << PAGE_BITS);
}

/* ---- runs of pages ---- */

static void block_link(struct heap *m, uint32_t i, unsigned order)
{
	m->page[i].state = PAGE_FREE;
	m->page[i].kind = (uint8_t)order;
	page_link(m, &m->free_of[order], i);
	m->orders |= 1u << order;
}

static void block_unlink(struct heap *m, uint32_t i, unsigned order)
{
	page_unlink(m, &m->free_of[order], i);
	if (m->free_of[order] == NONE)
		m->orders &= ~(1u << order);
}

static void block_free(struct heap *m, uint32_t i, unsigned order)
{
	for (; order < MAX_ORDER; order++) {
		uint32_t buddy = i ^ 1u << order;

		if (buddy + (1u << order) > m->pages)
			break;
		if (m->page[buddy].state != PAGE_FREE || m->page[buddy].kind != order)
			break;
		block_unlink(m, buddy, order);
		i &= ~(1u << order);
	}
	block_link(m, i, order);
}

/* Order of the first block when [i, i + n) is cut into aligned blocks from the left. */
static unsigned first_order(uint32_t i, uint32_t n)
{
	unsigned fits = 31 - (unsigned)__builtin_clz(n);
	unsigned align = i ? (unsigned)__builtin_ctz(i) : MAX_ORDER;

	if (fits > align)
		fits = align;
	return fits < MAX_ORDER ? fits : MAX_ORDER;
}

static void run_free(struct heap *m, uint32_t i, uint32_t n)
{
	while (n) {
		unsigned order = first_order(i, n);

		block_free(m, i, order);
		i += 1u << order;
		n -= 1u << order;
	}
}

/* First of n pages in a row, or NONE. */
static uint32_t run_get(struct heap *m, uint32_t n)
{
	unsigned order = n > 1 ? 32 - (unsigned)__builtin_clz(n - 1) : 0;
	uint32_t avail = m->orders >> order << order;
	uint32_t i, at;
	unsigned o;

	if (!avail)
		return NONE;
	o = (unsigned)__builtin_ctz(avail);
	i = m->free_of[o];
	block_unlink(m, i, o);
	while (o > order) {
		o--;
		block_link(m, i + (1u << o), o);
	}
	/* Every block that the run consists of is marked, for their buddies look at it. */
	for (at = i; at < i + n; at += 1u << first_order(at, i + n - at))
		m->page[at].state = PAGE_RUN;
	run_free(m, i + n, (1u << order) - n);
	return i;
}

static void spares_free(struct heap *m)
{
	while (m->spares) {
		unsigned c = (unsigned)__builtin_ctzll(m->spares);

		m->spares &= m->spares - 1;
		block_free(m, m->spare[c], 0);
	}
}

/* As run_get, falling back on the pages that the classes keep. */
static uint32_t run_get_hard(struct heap *m, uint32_t n)
{
	uint32_t i = run_get(m, n);

	if (i == NONE && m->spares) {
		spares_free(m);
		i = run_get(m, n);
	}
	return i;
}

/* ---- objects in a page ---- */

NO_ASAN static uint16_t obj_next(const void *p)
{
	return *(const uint16_t *)p;
}

NO_ASAN static void obj_set_next(void *p, uint16_t next)
{
	*(uint16_t *)p = next;
}

static bool slab_full(const struct page *d)
{
	unsigned size = class_size[d->kind];

	return d->free == NO_OBJ && ((size_t)d->fresh << UNIT_BITS) + size > PAGE_SIZE;
}

/* A page with room for class c at the head of its list, or NONE. */
static uint32_t slab_find(struct heap *m, unsigned c)
{
	uint32_t i = m->room_in[c];

	if (i != NONE)
		return i;
	if (m->spares & 1ull << c) {
		m->spares &= ~(1ull << c);
		i = m->spare[c];
	} else {
		i = run_get_hard(m, 1);
		if (i == NONE)
			return NONE;
		m->page[i] = (struct page){.state = PAGE_SLAB, .kind = (uint8_t)c, .free = NO_OBJ};
		poison(page_addr(m, i), PAGE_SIZE);
	}
	m->used++;
	page_link(m, &m->room_in[c], i);
	return i;
}

static void *slab_get(struct heap *m, unsigned c)
{
	uint32_t i = slab_find(m, c);
	struct page *d;
	uint8_t *p;

	if (i == NONE)
		return NULL;
	d = &m->page[i];
	p = page_addr(m, i);
	if (d->free != NO_OBJ) {
		p += (size_t)d->free << UNIT_BITS;
		d->free = obj_next(p);
	} else {
		p += (size_t)d->fresh << UNIT_BITS;
		d->fresh = (uint16_t)(d->fresh + (class_size[c] >> UNIT_BITS));
	}
	d->used++;
	if (slab_full(d))
		page_unlink(m, &m->room_in[c], i);
	return p;
}

static void slab_put(struct heap *m, unsigned c, uint8_t *p)
{
	size_t off = (size_t)(p - m->base);
	uint32_t i = (uint32_t)(off >> PAGE_BITS);
	struct page *d = &m->page[i];
	bool was_full;

	assert(i < m->pages && d->state == PAGE_SLAB && d->kind == c && d->used);
	was_full = slab_full(d);
	obj_set_next(p, d->free);
	d->free = (uint16_t)((off & (PAGE_SIZE - 1)) >> UNIT_BITS);
	d->used--;
	if (d->used) {
		if (was_full)
			page_link(m, &m->room_in[c], i);
		return;
	}
	if (!was_full)
		page_unlink(m, &m->room_in[c], i);
	m->used--;
	if (m->spares & 1ull << c) {
		block_free(m, i, 0);
	} else {
		m->spares |= 1ull << c;
		m->spare[c] = i;
	}
}

void *heap_get(struct heap *m, size_t n)
{
	uint32_t i, pages;
	void *p;

	if (n <= CLASS_MAX) {
		p = slab_get(m, class_index(n));
		if (!p)
			return NULL;
	} else {
		pages = pages_of(n);
		i = run_get_hard(m, pages);
		if (i == NONE)
			return NULL;
		m->page[i].used = (uint16_t)pages;
		m->used += pages;
		p = page_addr(m, i);
		poison(p, (size_t)pages << PAGE_BITS);
	}
	unpoison(p, n);
	return p;
}

void heap_put(struct heap *m, void *p, size_t n)
{
	uint32_t i, pages;

	assert(n - 1 < MEM_MAX_ALLOC && is_live(p));
	poison(p, heap_class(n));
	if (n <= CLASS_MAX) {
		slab_put(m, class_index(n), p);
		return;
	}
	i = (uint32_t)((size_t)((uint8_t *)p - m->base) >> PAGE_BITS);
	pages = pages_of(n);
	assert(i < m->pages && m->page[i].state == PAGE_RUN && m->page[i].used == pages);
	m->used -= pages;
	run_free(m, i, pages);
}

struct heap *heap_init(void *region, size_t len)
{
	struct heap *m = (struct heap *)((uint8_t *)region + HEAP_HEAD);
	size_t pages = len >> PAGE_BITS;
	size_t head;

	if (!region || ((uintptr_t)region | len) & (PAGE_SIZE - 1) || len < MIN_REGION || pages > UINT32_MAX / 2)
		return NULL;
	head = HEAP_HEAD + sizeof(*m) + pages * sizeof(m->page[0]);
	unpoison(region, head);
	*m = (struct heap){
		.base = (uint8_t *)region + ((size_t)pages_of(head) << PAGE_BITS),
		.pages = (uint32_t)pages - pages_of(head),
	};
	for (unsigned o = 0; o <= MAX_ORDER; o++)
		m->free_of[o] = NONE;
	for (unsigned c = 0; c < CLASSES; c++)
		m->room_in[c] = NONE;
	run_free(m, 0, m->pages);
	return m;
}

void heap_fini(struct heap *m)
{
	unpoison(m->base, heap_total(m));
}

void heap_prefetch(const struct heap *h, size_t n)
{
	const struct page *d;
	const uint8_t *p;
	uint32_t i;

	if (n - 1 >= CLASS_MAX)
		return;
	i = h->room_in[class_index(n)];
	if (i == NONE)
		return;
	d = &h->page[i];
	p = (const uint8_t *)page_addr(h, i) + ((size_t)(d->free != NO_OBJ ? d->free : d->fresh) << UNIT_BITS);
	for (size_t at = 0; at < n; at += 64)
		__builtin_prefetch(p + at, 1);
}

size_t mem_class(size_t n)
{
	return heap_class(n);
}

size_t heap_used(const struct heap *m)
{
	return (size_t)m->used << PAGE_BITS;
}

size_t heap_total(const struct heap *m)
{
	return (size_t)m->pages << PAGE_BITS;
}
