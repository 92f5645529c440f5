/* SPDX-License-Identifier: MIT */
#include "lazy.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <rte_stack.h>

#define OPS_NAME "kcpgate_lazy"
#define PIECES	 32 /* of memory, each in one piece; what comes in more is made ready at once */

struct piece {
	char *base;	/* of its first object's header */
	uint32_t first; /* the pool's number of that object */
	uint32_t n;
};

struct lazy {
	struct rte_stack *back; /* objects that were given back */
	lazy_init *init;
	uint32_t size; /* of one, with its header */
	uint32_t n_pieces;
	uint32_t total;		/* in all pieces */
	_Atomic uint32_t fresh; /* the first that was never handed out */
	struct piece piece[PIECES];
};

static int ops_index = -1;

/* ---- an object's first use ---- */

static void *ready(struct rte_mempool *mp, const struct lazy *l, void *obj)
{
	struct rte_mempool_objhdr *head = (void *)((char *)obj - sizeof(*head));

	head->mp = mp;
	head->iova = (rte_iova_t)(uintptr_t)obj;
	if (l->init)
		l->init(mp, obj);
	return obj;
}

/* Objects [at, at + n), which are this thread's alone. */
static void cut(struct rte_mempool *mp, const struct lazy *l, uint32_t at, void **obj, unsigned n)
{
	const struct piece *p = l->piece;

	while (n) {
		while (at - p->first >= p->n)
			p++;
		for (char *o = p->base + (size_t)(at - p->first) * l->size; n && at - p->first < p->n; n--, at++) {
			*obj++ = ready(mp, l, o + mp->header_size);
			o += l->size;
		}
	}
}

/* Up to n that were never used; how many there were. */
static unsigned take_fresh(struct rte_mempool *mp, struct lazy *l, void **obj, unsigned n)
{
	uint32_t at = atomic_load_explicit(&l->fresh, memory_order_relaxed);

	do {
		if (at == l->total)
			return 0;
		if (n > l->total - at)
			n = l->total - at;
	} while (!atomic_compare_exchange_weak_explicit(&l->fresh, &at, at + n, memory_order_relaxed,
							memory_order_relaxed));
	cut(mp, l, at, obj, n);
	return n;
}

/* ---- the pool's operations ---- */

static int lazy_dequeue(struct rte_mempool *mp, void **obj, unsigned n)
{
	struct lazy *l = mp->pool_data;
	unsigned got;

	if (rte_stack_pop(l->back, obj, n))
		return 0;
	got = take_fresh(mp, l, obj, n);
	if (got == n || rte_stack_pop(l->back, obj + got, n - got))
		return 0;
	if (got)
		rte_stack_push(l->back, obj, got);
	return -ENOBUFS;
}

static int lazy_enqueue(struct rte_mempool *mp, void *const *obj, unsigned n)
{
	const struct lazy *l = mp->pool_data;

	return rte_stack_push(l->back, (void **)(uintptr_t)obj, n) ? 0 : -ENOBUFS;
}

static unsigned lazy_count(const struct rte_mempool *mp)
{
	const struct lazy *l = mp->pool_data;

	return rte_stack_count(l->back) + l->total - atomic_load_explicit(&l->fresh, memory_order_relaxed);
}

static int lazy_alloc(struct rte_mempool *mp)
{
	struct lazy *l = rte_zmalloc_socket("lazy", sizeof(*l), RTE_CACHE_LINE_SIZE, mp->socket_id);
	char name[RTE_STACK_NAMESIZE];

	if (!l)
		return -ENOMEM;
	snprintf(name, sizeof(name), "lz_%.*s", (int)sizeof(name) - 4, mp->name);
	l->back = rte_stack_create(name, mp->size, mp->socket_id, RTE_STACK_F_LF);
	if (!l->back && rte_errno == ENOTSUP) /* this CPU exchanges no 128 bits at a time */
		l->back = rte_stack_create(name, mp->size, mp->socket_id, 0);
	if (!l->back) {
		rte_free(l);
		return -rte_errno;
	}
	l->init = *(lazy_init **)mp->pool_config;
	l->size = mp->header_size + mp->elt_size + mp->trailer_size;
	mp->pool_data = l;
	return 0;
}

static void lazy_free(struct rte_mempool *mp)
{
	struct lazy *l = mp->pool_data;

	rte_stack_free(l->back);
	rte_free(l);
}

/* Takes the memory for objects to be, untouched. */
static int lazy_place(struct rte_mempool *mp, unsigned max, void *vaddr, rte_iova_t iova, size_t len,
		      rte_mempool_populate_obj_cb_t *cb, void *arg)
{
	struct lazy *l = mp->pool_data;
	size_t n = len / l->size;

	if (l->n_pieces == PIECES)
		return rte_mempool_op_populate_default(mp, max, vaddr, iova, len, cb, arg);
	if (n > max)
		n = max;
	l->piece[l->n_pieces++] = (struct piece){.base = vaddr, .first = l->total, .n = (uint32_t)n};
	l->total += (uint32_t)n;
	mp->populated_size += (uint32_t)n;
	return (int)n;
}

static const struct rte_mempool_ops lazy_ops = {
	.name = OPS_NAME,
	.alloc = lazy_alloc,
	.free = lazy_free,
	.enqueue = lazy_enqueue,
	.dequeue = lazy_dequeue,
	.get_count = lazy_count,
	.populate = lazy_place,
};

/* ---- set-up ---- */

static void ready_now(struct rte_mempool *mp, void *lazy, void *obj, unsigned i)
{
	(void)i;
	ready(mp, lazy, obj);
}

/* After DPDK's own, of which there are nearly as many as there may be. */
static int ops_set(struct rte_mempool *mp, lazy_init **init)
{
#ifndef RTE_LIBRTE_MEMPOOL_DEBUG /* whose cookies are written when the pool is made */
	if (ops_index < 0)
		ops_index = rte_mempool_register_ops(&lazy_ops);
#endif
	if (ops_index < 0)
		return ops_index;
	return rte_mempool_set_ops_byname(mp, OPS_NAME, init);
}

int lazy_populate(struct rte_mempool *mp, lazy_init *init)
{
	const struct lazy plain = {.init = init};
	bool lazy = ops_set(mp, &init) == 0;
	int ret;

	/* Last in, first out, too; where that driver is not installed the default stays, a ring. */
	if (!lazy)
		(void)!rte_mempool_set_ops_byname(mp, "lf_stack", NULL);
	ret = rte_mempool_populate_default(mp);
	mp->pool_config = NULL; /* it has been read */
	if (ret < 0)
		return ret;
	rte_mempool_obj_iter(mp, ready_now, lazy ? mp->pool_data : (void *)(uintptr_t)&plain);
	return 0;
}

uint32_t lazy_touched(const struct rte_mempool *mp)
{
	const struct lazy *l = mp->pool_data;

	if (ops_index < 0 || mp->ops_index != ops_index)
		return 0;
	return atomic_load_explicit(&l->fresh, memory_order_relaxed);
}
