/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>

#include "chan.h"
#include "chan_impl.h"
#include "lazy.h"

#define CACHE_MAX 64

/* Caches hide objects from other lcores; a pool must stay worth its size with one on every lcore. */
static unsigned cache_size(unsigned n)
{
	return n / 64 < CACHE_MAX ? n / 64 : CACHE_MAX;
}

/*
 * Last in, first out: what was just given back is still in the CPU's cache, and memory that no burst has needed so far
 * is never touched.  The default, a ring, goes through the whole pool again and again.
 */
static struct rte_mempool *pool_make(const struct chan_pool *p, const char *what, unsigned n, unsigned size, int socket)
{
	char name[RTE_MEMPOOL_NAMESIZE];
	struct rte_mempool *mp;
	int err;

	/* By address: a process may have more than one. */
	snprintf(name, sizeof(name), "%s_%lx", what, (unsigned long)(uintptr_t)p);
	/* No device sees these objects: they may cross the borders of pages, which saves a fifth of ordinary ones. */
	mp = rte_mempool_create_empty(name, n, size, cache_size(n), 0, socket,
				      RTE_MEMPOOL_F_NO_SPREAD | RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	if (!mp)
		return NULL;
	/* Objects are multiples of cache lines: they need no padding to spread over memory channels. */
	err = lazy_populate(mp, NULL);
	if (err) {
		rte_mempool_free(mp);
		rte_errno = -err;
		return NULL;
	}
	return mp;
}

/* What may lie in the caches of lcores that have no use for it now is nobody's to count on. */
static unsigned cached(unsigned n, unsigned tunnels)
{
	unsigned most = cache_size(n) * 3 / 2 * rte_lcore_count();

	if (tunnels == 1)
		return 0; /* who has all need not be promised any */
	return most < n / 4 ? most : n / 4;
}

int chan_pool_create(struct chan_pool *p, unsigned chunks, unsigned chans, unsigned tunnels, int socket)
{
	return chan_pool_create_spare(p, chunks, chans, tunnels, 0, socket);
}

int chan_pool_create_spare(struct chan_pool *p, unsigned chunks, unsigned chans, unsigned tunnels, unsigned spare,
			   int socket)
{
	int err;

	memset(p, 0, sizeof(*p));
	err = shares_init_spare(&p->chunk_shares, chunks - cached(chunks, tunnels), tunnels, spare);
	if (!err)
		err = shares_init_spare(&p->chan_shares, chans - cached(chans, tunnels), tunnels, spare);
	if (err)
		goto err_shares;

	p->chunks = pool_make(p, "chunks", chunks, sizeof(struct chan_chunk), socket);
	if (!p->chunks) {
		err = -rte_errno;
		goto err_shares;
	}
	p->chans = pool_make(p, "chans", chans, sizeof(struct chan), socket);
	if (!p->chans) {
		err = -rte_errno;
		goto err_chunks;
	}
	return 0;

err_chunks:
	rte_mempool_free(p->chunks);
	p->chunks = NULL;
err_shares:
	shares_fini(&p->chunk_shares);
	shares_fini(&p->chan_shares);
	return err;
}

void chan_pool_leave(struct chan_pool *p)
{
	p->chans = p->chunks = NULL;
	shares_fini(&p->chunk_shares);
	shares_fini(&p->chan_shares);
}

void chan_pool_destroy(struct chan_pool *p)
{
	rte_mempool_free(p->chans);
	rte_mempool_free(p->chunks);
	chan_pool_leave(p);
}

void chan_bound(struct chan_pool *p, unsigned tunnel, uint64_t bytes)
{
	uint64_t most = bytes / CHUNK_DATA;

	shares_bound(&p->chunk_shares, tunnel, most < UINT32_MAX ? (uint32_t)most : UINT32_MAX);
}

const char *chan_peer_str(const struct chan *c, char buf[ADDR_STRLEN])
{
	if (c->peer_port)
		return addr_port_str(&c->peer, c->peer_port, buf);
	return strcpy(buf, "@"); /* as Go prints it */
}

unsigned chan_streams(const struct chan_pool *p, unsigned tunnel)
{
	return atomic_load_explicit(&p->chan_shares.of[tunnel].used, memory_order_relaxed);
}

uint64_t chan_room(const struct chan_pool *p, unsigned tunnel)
{
	return (uint64_t)shares_room(&p->chunk_shares, tunnel) * CHUNK_DATA;
}

/* Not rte_mempool_avail_count, which adds up the caches of all possible lcores, a cache line each. */
static uint64_t chunks_free(const struct chan_pool *p)
{
	return rte_mempool_get_ops(p->chunks->ops_index)->get_count(p->chunks);
}

unsigned chan_pool_free_permille(const struct chan_pool *p)
{
	return (unsigned)(chunks_free(p) * 1000 / p->chunks->size);
}

struct chan *chan_alloc(struct chan_pool *p, unsigned tunnel)
{
	struct chan *c;

	if (!shares_take(&p->chan_shares, tunnel))
		return NULL;
	c = pool_get(p->chans);
	if (!c) {
		shares_give(&p->chan_shares, tunnel);
		return NULL;
	}
	memset(c, 0, sizeof(*c));
	c->tunnel = c->up.tunnel = c->up.rtunnel = c->down.tunnel = c->down.rtunnel = (uint16_t)tunnel;
	c->to_ctl.kind = MBOX_CHAN;
	c->to_worker.kind = MBOX_CHAN;
	return c;
}

static void ring_drop(struct chan_pool *p, struct chan_ring *r)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
	struct chan_chunk *c = r->wchunk, *next;

	/* Of an empty ring only the producer's chunk is left; else every one from the reader's to it. */
	if (head != tail)
		c = atomic_load_explicit(&r->restart, memory_order_relaxed) == head
			    ? atomic_load_explicit(&r->restart_chunk, memory_order_relaxed)
			    : r->rchunk;
	for (; c; c = next) {
		next = c == r->wchunk ? NULL : c->next;
		chunk_put(p, c, r->tunnel);
	}
	for (c = r->spare; c; c = next) {
		next = c->next;
		chunk_put(p, c, r->tunnel);
	}
}

void chan_free(struct chan_pool *p, struct chan *c)
{
	if (!c)
		return;
	ring_drop(p, &c->up);
	ring_drop(p, &c->down);
	shares_give(&p->chan_shares, c->tunnel);
	pool_put(p->chans, c);
}
