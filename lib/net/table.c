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

bool net_holds(const struct addr *prefix, unsigned plen, const struct addr *a)
{
	return net_common(prefix, a) >= plen && addr_is_v4(prefix) == addr_is_v4(a);
}

bool net_is_link_local(const struct addr *a)
{
	return addr_is_v4(a) ? a->b[12] == 169 && a->b[13] == 254 : a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

struct net_tbl *net_tbl_alloc(unsigned routes, unsigned neighs, unsigned locals)
{
	size_t at_local = sizeof(struct net_tbl) + routes * sizeof(struct net_route);
	size_t at_neigh = at_local + locals * sizeof(struct net_local);
	struct net_tbl *t = calloc(1, at_neigh + neighs * sizeof(struct net_neigh));

	if (!t)
		return NULL;
	/* Strictest alignment first: each array begins where the one before it may end. */
	_Static_assert(_Alignof(struct net_tbl) >= _Alignof(struct net_route) &&
			       _Alignof(struct net_route) >= _Alignof(struct net_local) &&
			       _Alignof(struct net_local) >= _Alignof(struct net_neigh),
		       "one block");
	t->route = (struct net_route *)(t + 1);
	t->local = (struct net_local *)((char *)t + at_local);
	t->neigh = (struct net_neigh *)((char *)t + at_neigh);
	return t;
}

void net_tbl_free(struct net_tbl *t)
{
	if (!t)
		return;
	net_fib_free(&t->own);
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

static int put_route(struct net_tbl *t, const struct net_route *r)
{
	union {
		struct net_way way;
		uint8_t room[sizeof(struct net_way) + sizeof(struct net_member)];
	} w = {.room = {0}};
	struct net_entry e = {.metric = r->metric};

	w.way.src = r->src;
	w.way.flags = r->flags;
	if (!(r->flags & NET_ROUTE_UNREACHABLE)) {
		w.way.n_member = 1;
		w.way.member[0] = (struct net_member){.via = r->via, .link = NET_LINK_OF(r->dev), .weight = 1};
	}
	e.way = net_way_get(&t->own, &w.way);
	return e.way ? net_fib_add(&t->own, &r->prefix, r->plen, &e) : -ENOMEM;
}

static int put_routes(struct net_tbl *t)
{
	int err = 0;

	net_fib_free(&t->own);
	for (unsigned i = 0; i < t->n_route && !err; i++)
		err = put_route(t, &t->route[i]);
	t->routes = (struct net_fib_view){.root = {t->own.root[0], t->own.root[1]}, .n_route = t->own.n_route};
	return err;
}

int net_tbl_sort(struct net_tbl *t)
{
	int err = 0;

	for (unsigned i = 0; i < t->n_route; i++)
		t->route[i].prefix = net_masked(&t->route[i].prefix, t->route[i].plen);
	qsort(t->route, t->n_route, sizeof(*t->route), route_cmp);
	qsort(t->neigh, t->n_neigh, sizeof(*t->neigh), neigh_cmp);
	qsort(t->local, t->n_local, sizeof(*t->local), local_cmp);
	if (t->n_route || t->own.n_route)
		err = put_routes(t);
	t->has_bare = false;
	t->sockets = NET_DEV_MAX;
	for (unsigned i = t->n_dev; i > 0; i--) {
		t->has_bare |= dev_is_bare(t, i - 1);
		if (t->dev[i - 1].sockets)
			t->sockets = (uint16_t)(i - 1);
	}
	return err;
}

static bool dev_up(const struct net_tbl *t, unsigned dev)
{
	return dev < t->n_dev && t->dev[dev].up;
}

/* The gateway port of what a way calls a link; UINT16_MAX: none. */
static uint16_t dev_of(const struct net_tbl *t, int32_t link)
{
	if (link < 0)
		return (uint16_t)(-1 - link);
	for (unsigned d = 0; link && d < t->n_dev; d++)
		if (t->dev[d].link == link)
			return (uint16_t)d;
	return UINT16_MAX;
}

/* By no port of ours, and not meant to be unreachable either. */
static bool is_foreign(const struct net_tbl *t, const struct net_way *w)
{
	for (unsigned i = 0; i < w->n_member; i++)
		if (dev_of(t, w->member[i].link) != UINT16_MAX)
			return false;
	return !(w->flags & NET_ROUTE_UNREACHABLE);
}

static const struct net_neigh *neigh_at(const struct net_tbl *t, const struct addr *a, uint16_t dev)
{
	const struct net_neigh want = {.addr = *a, .dev = dev};

	return t->n_neigh ? bsearch(&want, t->neigh, t->n_neigh, sizeof(want), neigh_cmp) : NULL;
}

static bool local_on(const struct net_tbl *t, const struct addr *a, uint16_t dev)
{
	const struct net_local want = {.addr = *a, .dev = dev};

	return bsearch(&want, t->local, t->n_local, sizeof(want), local_cmp) != NULL;
}

/* What is looked for, and the way that was found. */
struct search {
	const struct net_tbl *t;
	const struct addr *dst, *local;
	uint32_t hash;
	const struct net_way *way; /* NULL: none, or none that is reachable */
	const struct net_member *member;
	uint16_t dev;
};

/* How good a member of a way is: 0 by no port, 1 by one that is down. */
static unsigned rank_of(const struct search *s, const struct net_member *m, uint16_t dev)
{
	const struct addr *via = addr_is_any(&m->via) ? s->dst : &m->via;
	unsigned rank = 2;

	if (dev == UINT16_MAX)
		return 0;
	if (!dev_up(s->t, dev))
		return 1;
	if (dev_is_bare(s->t, dev) || neigh_at(s->t, via, dev))
		rank += 2;
	return rank + (s->local && s->t->n_local && local_on(s->t, s->local, dev));
}

/* Chooses among a way's members; returns the rank of what it has chosen, the first of which `s` then holds. */
static unsigned choose(struct search *s, const struct net_way *w)
{
	uint8_t rank[NET_WAY_MEMBERS];
	uint64_t total = 0, at;
	unsigned best = 0;

	for (unsigned i = 0; i < w->n_member && i < NET_WAY_MEMBERS; i++) {
		rank[i] = (uint8_t)rank_of(s, &w->member[i], dev_of(s->t, w->member[i].link));
		if (rank[i] > best) {
			best = rank[i];
			total = 0;
		}
		if (rank[i] == best)
			total += w->member[i].weight;
	}
	at = s->hash * total >> 32;
	for (unsigned i = 0; best && i < w->n_member && i < NET_WAY_MEMBERS; i++) {
		if (rank[i] != best)
			continue;
		if (at < w->member[i].weight) {
			s->member = &w->member[i];
			s->dev = dev_of(s->t, s->member->link);
			s->way = w;
			break;
		}
		at -= w->member[i].weight;
	}
	return best;
}

/* The routes to one prefix, from the cheapest on.  True: that was it. */
static bool search_leaf(struct search *s, const struct net_leaf *l)
{
	struct search dead = *s, now;
	bool ours = false;

	for (unsigned i = 0; i < l->node.n && !ours; i++)
		ours = !is_foreign(s->t, l->entry[i].way);
	for (unsigned i = 0; i < l->node.n; i++) {
		const struct net_way *w = l->entry[i].way;
		bool foreign = is_foreign(s->t, w);

		if (foreign && ours)
			continue;
		if (foreign || w->flags & NET_ROUTE_UNREACHABLE) {
			*s = dead;
			return true;
		}
		now = *s;
		if (choose(&now, w) > 1) {
			*s = now;
			return true;
		}
		if (!dead.way)
			dead = now;
	}
	*s = dead;
	return false;
}

/*
 * The longest prefix's cheapest route.  One that leaves by a port that is down gives way to the next that does not, of
 * the same prefix or a shorter one; where there is none, it is the one all the same.
 */
static void route_find(struct search *s)
{
	const struct net_leaf *leaf[NET_FIB_DEEP];
	unsigned n = net_fib_cover(&s->t->routes, s->dst, leaf);

	while (n && !search_leaf(s, leaf[n - 1]))
		n--;
}

/* The address of a port without link addresses whose prefix holds dst: 127/8, which the kernel's routes do not show. */
static const struct net_local *bare_find(const struct net_tbl *t, const struct addr *dst)
{
	for (unsigned i = 0; t->has_bare && i < t->n_local; i++) {
		const struct net_local *l = &t->local[i];

		if (dev_is_bare(t, l->dev) && net_holds(&l->addr, l->plen, dst))
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

int net_resolve_flow(const struct net_tbl *t, const struct addr *dst, const struct addr *local, uint32_t hash,
		     struct net_hop *hop)
{
	const struct net_local *bare = bare_find(t, dst); /* before all routes, as the kernel's local table */
	struct search s = {.t = t, .dst = dst, .hash = hash};
	const struct net_neigh *neigh;
	const struct addr *src;

	if (local && !addr_is_any(local) && addr_is_v4(local) == addr_is_v4(dst) && net_is_local(t, local))
		s.local = local;
	if (!bare)
		route_find(&s);
	if ((!bare && !s.way) || is_kernels(t, dst, local))
		return by_sockets(t, dst, hop);
	memset(hop, 0, sizeof(*hop));
	hop->dev = bare ? bare->dev : s.dev;
	hop->via = s.way && !addr_is_any(&s.member->via) ? s.member->via : *dst;
	if (s.local)
		src = s.local;
	else if (s.way && !addr_is_any(&s.way->src))
		src = &s.way->src;
	else
		src = net_source(t, hop->dev, dst, &hop->via, s.way ? s.way->scope : 0);
	if (!src)
		return -EADDRNOTAVAIL;
	hop->src = *src;
	neigh = neigh_at(t, &hop->via, hop->dev);
	if (neigh)
		memcpy(hop->mac, neigh->mac, sizeof(hop->mac));
	hop->resolved = neigh || dev_is_bare(t, hop->dev);
	return 0;
}

int net_resolve(const struct net_tbl *t, const struct addr *dst, const struct addr *local, struct net_hop *hop)
{
	return net_resolve_flow(t, dst, local, 0, hop);
}

int net_resolve_in(const struct net_tbl *t, unsigned zone, const struct addr *dst, const struct addr *local,
		   uint32_t hash, struct net_hop *hop)
{
	const struct net_neigh *neigh;
	const struct addr *src;

	if (!zone || !addr_needs_zone(dst))
		return net_resolve_flow(t, dst, local, hash, hop);
	if (zone > t->n_dev)
		return -ENETUNREACH;
	if (t->dev[zone - 1].sockets)
		return by_sockets(t, dst, hop);
	memset(hop, 0, sizeof(*hop));
	hop->dev = (uint16_t)(zone - 1);
	hop->via = *dst;
	src = local && !addr_is_any(local) && net_is_local(t, local) ? local : net_source(t, hop->dev, dst, dst, 0);
	if (!src)
		return -EADDRNOTAVAIL;
	hop->src = *src;
	neigh = neigh_at(t, dst, hop->dev);
	if (neigh)
		memcpy(hop->mac, neigh->mac, sizeof(hop->mac));
	hop->resolved = neigh || dev_is_bare(t, hop->dev);
	return 0;
}
