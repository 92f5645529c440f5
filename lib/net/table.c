/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "le.h"
#include "net.h"

#define PLEN_V4 96 /* where an IPv4 address begins in the 128-bit form */

static int addr_cmp(const struct addr *a, const struct addr *b)
{
	for (unsigned i = 0; i < 16; i += 8) {
		uint64_t x = be64_get(a->b + i), y = be64_get(b->b + i);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return 0;
}

static struct addr addr_masked(const struct addr *a, unsigned plen)
{
	struct addr m = *a;

	for (unsigned i = 0; i < 16; i++) {
		unsigned bits = plen > 8 * i ? plen - 8 * i : 0;

		if (bits < 8)
			m.b[i] &= (uint8_t)(0xff00 >> bits);
	}
	return m;
}

static bool prefix_holds(const struct addr *prefix, unsigned plen, const struct addr *a)
{
	struct addr p = addr_masked(prefix, plen), m = addr_masked(a, plen);

	return addr_eq(&p, &m) && addr_is_v4(prefix) == addr_is_v4(a);
}

static bool addr_is_link_local(const struct addr *a)
{
	return addr_is_v4(a) ? a->b[12] == 169 && a->b[13] == 254 : a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

struct net_tbl *net_tbl_alloc(unsigned routes, unsigned neighs, unsigned locals)
{
	size_t at_neigh = sizeof(struct net_tbl) + routes * sizeof(struct net_route);
	size_t at_local = at_neigh + neighs * sizeof(struct net_neigh);
	struct net_tbl *t = calloc(1, at_local + locals * sizeof(struct net_local));

	if (!t)
		return NULL;
	/* Strictest alignment first: each array begins where the one before it may end. */
	_Static_assert(_Alignof(struct net_tbl) >= _Alignof(struct net_route) &&
			       _Alignof(struct net_route) >= _Alignof(struct net_neigh) &&
			       _Alignof(struct net_neigh) >= _Alignof(struct net_local),
		       "one block");
	t->route = (struct net_route *)(t + 1);
	t->neigh = (struct net_neigh *)((char *)t + at_neigh);
	t->local = (struct net_local *)((char *)t + at_local);
	return t;
}

void net_tbl_free(struct net_tbl *t)
{
	free(t);
}

/* Ties beyond what the lookup needs are broken too, so that equal tables are equal in memory. */
static int route_cmp(const void *pa, const void *pb)
{
	const struct net_route *a = pa, *b = pb;
	int c;

	if (a->plen != b->plen)
		return a->plen > b->plen ? -1 : 1;
	c = addr_cmp(&a->prefix, &b->prefix);
	if (c)
		return c;
	if (a->metric != b->metric)
		return a->metric < b->metric ? -1 : 1;
	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	return addr_cmp(&a->via, &b->via);
}

static int neigh_cmp(const void *pa, const void *pb)
{
	const struct net_neigh *a = pa, *b = pb;
	int c = addr_cmp(&a->addr, &b->addr);

	return c ? c : (int)a->dev - (int)b->dev;
}

static int local_cmp(const void *pa, const void *pb)
{
	const struct net_local *a = pa, *b = pb;
	int c = addr_cmp(&a->addr, &b->addr);

	return c ? c : (int)a->dev - (int)b->dev;
}

static bool dev_is_bare(const struct net_tbl *t, unsigned dev)
{
	static const uint8_t none[6];

	return dev < t->n_dev && !t->dev[dev].sockets && memcmp(t->dev[dev].mac, none, sizeof(none)) == 0;
}

void net_tbl_sort(struct net_tbl *t)
{
	for (unsigned i = 0; i < t->n_route; i++)
		t->route[i].prefix = addr_masked(&t->route[i].prefix, t->route[i].plen);
	qsort(t->route, t->n_route, sizeof(*t->route), route_cmp);
	qsort(t->neigh, t->n_neigh, sizeof(*t->neigh), neigh_cmp);
	qsort(t->local, t->n_local, sizeof(*t->local), local_cmp);

	t->n_run = 0;
	for (unsigned i = 0; i < t->n_route; i++) {
		if (i == 0 || t->route[i].plen != t->route[i - 1].plen)
			t->run[t->n_run++] = (struct net_run){.plen = t->route[i].plen, .first = i};
	}
	t->has_bare = false;
	t->sockets = NET_DEV_MAX;
	for (unsigned i = t->n_dev; i > 0; i--) {
		t->has_bare |= dev_is_bare(t, i - 1);
		if (t->dev[i - 1].sockets)
			t->sockets = (uint16_t)(i - 1);
	}
}

/* The first, that is the cheapest, of the routes to exactly this prefix in [lo, hi). */
static const struct net_route *run_find(const struct net_tbl *t, unsigned lo, unsigned hi, const struct addr *prefix)
{
	unsigned end = hi;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (addr_cmp(&t->route[mid].prefix, prefix) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < end && addr_eq(&t->route[lo].prefix, prefix) ? &t->route[lo] : NULL;
}

static bool dev_up(const struct net_tbl *t, unsigned dev)
{
	return dev < t->n_dev && t->dev[dev].up;
}

/*
 * The longest prefix's cheapest route.  One that leaves by a port that is down gives way to the next that does not, of
 * the same prefix or a shorter one; where there is none, it is the one all the same.
 */
static const struct net_route *route_find(const struct net_tbl *t, const struct addr *dst)
{
	const struct net_route *dead = NULL;
	bool v4 = addr_is_v4(dst);

	for (unsigned i = 0; i < t->n_run; i++) {
		const struct net_run *run = &t->run[i];
		unsigned end = i + 1 < t->n_run ? run[1].first : t->n_route;
		struct addr prefix = addr_masked(dst, run->plen);
		const struct net_route *r;

		if (v4 && run->plen < PLEN_V4)
			break; /* ::/0 and its like hold IPv6 only */
		r = run_find(t, run->first, end, &prefix);
		for (; r && r < t->route + end && addr_eq(&r->prefix, &prefix); r++) {
			if (r->flags & NET_ROUTE_UNREACHABLE)
				return dead ? dead : r;
			if (dev_up(t, r->dev))
				return r;
			if (!dead)
				dead = r;
		}
	}
	return dead;
}

/* The address of a port without link addresses whose prefix holds dst: 127/8, which the kernel's routes do not show. */
static const struct net_local *bare_find(const struct net_tbl *t, const struct addr *dst)
{
	for (unsigned i = 0; t->has_bare && i < t->n_local; i++) {
		const struct net_local *l = &t->local[i];

		if (dev_is_bare(t, l->dev) && prefix_holds(&l->addr, l->plen, dst))
			return l;
	}
	return NULL;
}

bool net_is_local(const struct net_tbl *t, const struct addr *a)
{
	unsigned lo = 0, hi = t->n_local;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;
		int c = addr_cmp(&t->local[mid].addr, a);

		if (c == 0)
			return true;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* On loopback a whole prefix is the host's own, as 127/8 is. */
	return bare_find(t, a) != NULL;
}

/* The port's address to speak to dst from, next hop `via`; NULL when it has none of that family. */
static const struct addr *source_find(const struct net_tbl *t, unsigned dev, const struct addr *dst,
				      const struct addr *via)
{
	const struct addr *best = NULL;
	bool v4 = addr_is_v4(dst), link = addr_is_link_local(dst);
	int best_rank = -1;

	for (unsigned i = 0; i < t->n_local; i++) {
		const struct net_local *l = &t->local[i];
		int rank;

		if (l->dev != dev || addr_is_v4(&l->addr) != v4)
			continue;
		rank = 2 * (addr_is_link_local(&l->addr) == link) + prefix_holds(&l->addr, l->plen, via);
		if (rank > best_rank) {
			best = &l->addr;
			best_rank = rank;
		}
	}
	return best;
}

static void neigh_find(const struct net_tbl *t, struct net_hop *hop)
{
	const struct net_neigh want = {.addr = hop->via, .dev = hop->dev};
	const struct net_neigh *found = NULL;

	if (t->n_neigh)
		found = bsearch(&want, t->neigh, t->n_neigh, sizeof(want), neigh_cmp);
	if (found)
		memcpy(hop->mac, found->mac, sizeof(hop->mac));
	hop->resolved = found || dev_is_bare(t, hop->dev);
}

/* The address in use is not one that another port answers from. */
static bool is_kernels(const struct net_tbl *t, const struct addr *dst, const struct addr *local)
{
	return t->sockets < t->n_dev && local &&
	       (addr_is_any(local) || addr_is_v4(local) != addr_is_v4(dst) || !net_is_local(t, local));
}

static int by_sockets(const struct net_tbl *t, const struct addr *dst, struct net_hop *hop)
{
	if (t->sockets >= t->n_dev)
		return -ENETUNREACH;
	*hop = (struct net_hop){.via = *dst, .dev = t->sockets, .resolved = true};
	if (addr_is_v4(dst))
		hop->src = addr_v4(0);
	return 0;
}

int net_resolve(const struct net_tbl *t, const struct addr *dst, const struct addr *local, struct net_hop *hop)
{
	const struct net_local *bare = bare_find(t, dst); /* before all routes, as the kernel's local table */
	const struct net_route *r = bare ? NULL : route_find(t, dst);
	const struct addr *src;

	if ((!r && !bare) || (r && r->flags & NET_ROUTE_UNREACHABLE) || is_kernels(t, dst, local))
		return by_sockets(t, dst, hop);
	memset(hop, 0, sizeof(*hop));
	hop->dev = r ? r->dev : bare->dev;
	hop->via = r && !addr_is_any(&r->via) ? r->via : *dst;

	if (local && !addr_is_any(local) && addr_is_v4(local) == addr_is_v4(dst) && net_is_local(t, local))
		src = local;
	else if (r && !addr_is_any(&r->src))
		src = &r->src;
	else
		src = source_find(t, hop->dev, dst, &hop->via);
	if (!src)
		return -EADDRNOTAVAIL;
	hop->src = *src;
	neigh_find(t, hop);
	return 0;
}
