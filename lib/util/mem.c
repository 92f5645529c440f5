/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdbool.h>

#include "heap.h"

/* Accounts: who holds what of a heap, and who may have more.  heap.c has the memory itself. */

#define WASTE 32 /* this part of all is nobody's: what lies unused in pages that are used */

/* The heap's own account, at the begin of the region. */
struct root {
	struct mem own; /* first */
	size_t spare;	/* bytes that are no tunnel's share */
	size_t over;	/* of them, what tunnels hold */
	struct heap *heap;
};

_Static_assert(sizeof(struct root) <= HEAP_HEAD, "the heap begins behind it");

static struct root *root_of(const struct mem *m)
{
	while (m->up)
		m = m->up;
	return (struct root *)m;
}

/* Of one that is not the heap's own. */
static struct mem_tunnel *tunnel_of(struct mem *m)
{
	return (struct mem_tunnel *)(m->up->up ? m->up : m);
}

static size_t over_share(const struct mem_tunnel *t)
{
	return t->own.used > t->share ? t->own.used - t->share : 0;
}

/* What a tunnel could still take, if it may. */
static size_t there_is(const struct root *r, const struct mem_tunnel *t)
{
	size_t own = t->share > t->own.used ? t->share - t->own.used : 0;

	return own + (r->spare > r->over ? r->spare - r->over : 0);
}

static size_t may_have(const struct mem_tunnel *t)
{
	return t->most > t->own.used ? t->most - t->own.used : 0;
}

static size_t left_for(const struct root *r, const struct mem_tunnel *t)
{
	size_t a = there_is(r, t), b = may_have(t);

	return a < b ? a : b;
}

/* m is a session's, which holds all that it may. */
static bool is_full(const struct mem *m, const struct mem_tunnel *t, size_t n)
{
	size_t all = m->used + n;

	if (t->session_most == SIZE_MAX || m->firm || all <= MEM_LEAST)
		return false;
	if (m->beside)
		all += ((const struct mem *)((const char *)m + m->beside))->used;
	return all > t->session_most;
}

/* m's tunnel has passed its share, or m what is surely left: looks at what is left for all. */
static bool charge_slow(struct root *r, struct mem *m, struct mem_tunnel *t, size_t n)
{
	size_t left = left_for(r, t), before = over_share(t);

	m->greedy = n <= left && !m->firm && m->used + n > (left < MEM_LEAST ? MEM_LEAST : left);
	if (n > left || m->greedy)
		return false;
	if (m != &t->own)
		m->used += n;
	t->own.used += n;
	r->over += over_share(t) - before;
	return true;
}

/* n bytes more in m's account and in those above it; m is not the heap's own.  False: it may not have them. */
static bool charge(struct root *r, struct mem *m, size_t n)
{
	struct mem_tunnel *t = tunnel_of(m);
	size_t all = t->own.used + n;

	m->full = is_full(m, t, n);
	if (m->full) {
		m->greedy = true;
		return false;
	}
	if (m == &t->own || all > t->share || (!m->firm && m->used > t->share - all))
		return charge_slow(r, m, t, n);
	m->used += n;
	t->own.used = all;
	return true;
}

static void discharge(struct root *r, struct mem *m, size_t n)
{
	struct mem_tunnel *t = tunnel_of(m);
	size_t before = over_share(t);

	if (m != &t->own)
		m->used -= n;
	t->own.used -= n;
	if (before)
		r->over -= before - over_share(t);
}

void mem_tunnel(struct mem_tunnel *t, struct mem *heap, size_t share)
{
	*t = (struct mem_tunnel){
		.own = {.up = heap, .firm = true}, .share = share, .most = SIZE_MAX, .session_most = SIZE_MAX};
	root_of(heap)->spare -= share;
}

void mem_bound(struct mem_tunnel *t, size_t most, size_t session_most)
{
	t->most = most;
	t->session_most = session_most;
}

bool mem_is_bound(const struct mem_tunnel *t)
{
	return may_have(t) < there_is(root_of((struct mem *)&t->own), t);
}

void mem_session(struct mem *a, struct mem_tunnel *t, bool firm)
{
	*a = (struct mem){.up = &t->own, .firm = firm};
}

void mem_beside(struct mem *a, const struct mem *b)
{
	a->beside = (uint16_t)((const char *)b - (const char *)a);
}

size_t mem_spare(const struct mem *heap)
{
	return root_of(heap)->spare;
}

size_t mem_over(const struct mem *heap)
{
	return root_of(heap)->over;
}

void mem_leave(struct mem *m, size_t n)
{
	m->used -= heap_class(n);
}

bool mem_low(const struct mem_tunnel *t)
{
	const struct root *r = root_of(&t->own);

	size_t all = t->share + r->spare;

	return left_for(r, t) < (all < t->most ? all : t->most) / 16;
}

struct mem *mem_init(void *region, size_t len)
{
	struct heap *h = heap_init(region, len);
	struct root *r = region;

	if (!h)
		return NULL;
	*r = (struct root){.heap = h, .spare = heap_total(h) / WASTE * (WASTE - 1)};
	return &r->own;
}

void mem_fini(struct mem *m)
{
	heap_fini(root_of(m)->heap);
}

void *mem_get(struct mem *m, size_t n)
{
	struct root *r = root_of(m);
	size_t c = heap_class(n);
	void *p = NULL;

	if (!c) /* 0, or too much */
		return NULL;
	if (!m->up)
		return heap_get(r->heap, n);
	if (charge(r, m, c)) {
		p = heap_get(r->heap, n);
		if (!p)
			discharge(r, m, c);
	}
	if (!p)
		m->missed = true;
	return p;
}

void mem_prefetch(const struct mem *m, size_t n)
{
	heap_prefetch(root_of(m)->heap, n);
}

void mem_put(struct mem *m, void *p, size_t n)
{
	struct root *r = root_of(m);

	if (!p)
		return;
	heap_put(r->heap, p, n);
	if (m->up)
		discharge(r, m, heap_class(n));
}

size_t mem_used(const struct mem *m)
{
	return heap_used(root_of(m)->heap);
}

size_t mem_total(const struct mem *m)
{
	return heap_total(root_of(m)->heap);
}
