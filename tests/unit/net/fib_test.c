/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

/* The trie against plain arrays: what is in it, in which order, in every version; and what net_resolve makes of it. */

#define ROUTES	 300
#define VERSIONS 6
#define PORTS	 4

struct plain {
	struct addr prefix;
	unsigned plen;
	uint32_t metric;
	const struct net_way *way;
};

struct version {
	struct net_fib_view view;
	struct plain v[ROUTES];
	unsigned n;
	struct net_waste waste; /* what the version after it replaced */
};

static struct net_fib fib;
static struct plain now[ROUTES];
static unsigned n_now;

/* Addresses out of few bits, so that prefixes meet. */
static struct addr any_addr(uint64_t *seed)
{
	struct addr a = {{0x20, 1}};
	uint64_t r = rnd(seed);

	if (r & 1)
		a = addr_v4(0);
	a.b[12] = (uint8_t)((r >> 8) & 3);
	a.b[13] = (uint8_t)(r >> 16);
	a.b[14] = (uint8_t)((r >> 24) & 0x81);
	a.b[15] = (uint8_t)((r >> 32) & 7);
	return a;
}

static struct net_way *any_way(uint64_t *seed)
{
	union {
		struct net_way way;
		uint8_t room[sizeof(struct net_way) + 3 * sizeof(struct net_member)];
	} w = {.room = {0}};
	uint64_t r = rnd(seed);

	w.way.flags = r % 8 == 0 ? NET_ROUTE_UNREACHABLE : 0;
	w.way.n_member = w.way.flags ? 0 : (uint16_t)(1 + (r >> 8) % 3);
	for (unsigned i = 0; i < w.way.n_member; i++, r = rnd(seed))
		w.way.member[i] = (struct net_member){.via = addr_v4(0x0a000000 + (uint32_t)(r >> 16) % 5),
						      .link = (int32_t)((r >> 32) % 7), /* 0, 5, 6: not ours */
						      .weight = 1 + (uint32_t)(r >> 40) % 3};
	return net_way_get(&fib, &w.way);
}

static int by_prefix(const void *pa, const void *pb)
{
	const struct plain *a = pa, *b = pb;
	int c = memcmp(&a->prefix, &b->prefix, 16);

	return c ? c : (int)a->plen - (int)b->plen;
}

static void add(uint64_t *seed)
{
	struct addr a = any_addr(seed);
	uint64_t r = rnd(seed);
	unsigned at, plen = (unsigned)(addr_is_v4(&a) ? 128 - r % 33 : r & 1 ? 128 - (r >> 8) % 17 : (r >> 8) % 129);
	struct plain p = {.prefix = net_masked(&a, plen), .plen = plen, .metric = (uint32_t)(r >> 32) % 3};

	if (n_now == ROUTES)
		return;
	p.way = any_way(seed);
	cr_assert_eq(net_fib_add(&fib, &p.prefix, plen, &(struct net_entry){.way = p.way, .metric = p.metric}), 0);
	/* In the order that the trie has: by prefix, then metric, then age. */
	for (at = n_now; at && (by_prefix(&now[at - 1], &p) > 0 ||
				(by_prefix(&now[at - 1], &p) == 0 && now[at - 1].metric > p.metric));
	     at--)
		now[at] = now[at - 1];
	now[at] = p;
	n_now++;
}

static void del(uint64_t *seed)
{
	unsigned at = (unsigned)(rnd(seed) % (n_now ? n_now : 1)), first = at;
	struct plain p = now[at];

	if (!n_now)
		return;
	while (first && by_prefix(&now[first - 1], &p) == 0)
		first--;
	cr_assert_eq(net_fib_del(&fib, &p.prefix, p.plen, at - first), 0);
	memmove(&now[at], &now[at + 1], (--n_now - at) * sizeof(p));
}

/* Going through all of it gives what there is, in order. */
static void same_as_plain(void)
{
	unsigned at = 0;

	cr_assert_eq(fib.n_route, n_now);
	for (unsigned v4 = 0; v4 < 2; v4++) {
		const struct net_leaf *l = net_fib_next(&fib, v4, NULL, 0);
		unsigned seen = 0, have = 0;

		for (at = 0; at < n_now; at++)
			have += addr_is_v4(&now[at].prefix) == v4;
		for (at = 0; l; l = net_fib_next(&fib, v4, &l->prefix, l->node.plen)) {
			for (unsigned i = 0; i < l->node.n; i++, at++, seen++) {
				while (at < n_now && addr_is_v4(&now[at].prefix) != v4)
					at++;
				cr_assert_lt(at, n_now);
				cr_assert(addr_eq(&l->prefix, &now[at].prefix) && l->node.plen == now[at].plen);
				cr_assert(l->entry[i].metric == now[at].metric && l->entry[i].way == now[at].way);
			}
			cr_assert_eq(net_fib_at(&fib, &l->prefix, l->node.plen), l);
		}
		cr_assert_eq(seen, have);
	}
}

/* What covers an address is the same by the trie and by looking at every route. */
static void covers(const struct version *v, const struct addr *dst)
{
	const struct net_leaf *leaf[NET_FIB_DEEP];
	unsigned n = net_fib_cover(&v->view, dst, leaf), at = 0, bits[129] = {0};

	for (unsigned i = 0; i < v->n; i++)
		if (addr_is_v4(&v->v[i].prefix) == addr_is_v4(dst) && net_common(&v->v[i].prefix, dst) >= v->v[i].plen)
			bits[v->v[i].plen]++;
	for (unsigned plen = 0; plen <= 128; plen++) {
		if (!bits[plen])
			continue;
		cr_assert_lt(at, n);
		cr_assert_eq(leaf[at]->node.plen, plen);
		cr_assert_eq(leaf[at++]->node.n, bits[plen]);
	}
	cr_assert_eq(at, n);
}

/* Versions stay as they were sealed, however many come after them; what each replaced is freed once, and all of it. */
Test(fib, versions)
{
	static struct version v[VERSIONS];
	uint64_t seed = 4;

	for (unsigned round = 0; round < 400; round++) {
		struct version *s = &v[round % VERSIONS];
		struct net_waste replaced;

		for (unsigned i = (unsigned)(rnd(&seed) % 40); i; i--) {
			if (rnd(&seed) % 16 < (round / 50 % 2 ? 4u : 11u))
				add(&seed);
			else
				del(&seed);
		}
		same_as_plain();
		/* The oldest goes: whatever it alone had may. */
		while (!net_waste_free(&s->waste, 7))
			;
		net_fib_seal(&fib, &s->view, &replaced);
		memcpy(s->v, now, sizeof(now));
		s->n = n_now;
		if (round)
			v[(round - 1) % VERSIONS].waste = replaced;
		else
			net_waste_free(&replaced, UINT32_MAX);
		for (unsigned i = 0; i < 60; i++) {
			struct addr dst = any_addr(&seed);

			for (unsigned k = 0; k < VERSIONS && k <= round; k++)
				covers(&v[k], &dst);
		}
	}
	for (unsigned k = 0; k < VERSIONS; k++)
		net_waste_free(&v[k].waste, UINT32_MAX);
	while (n_now)
		del(&seed);
	cr_assert_eq(fib.n_way, 0, "every way has been given back");
	cr_assert_eq(fib.bytes, 0);
	net_fib_free(&fib);
}

/* ---- net_resolve against the plain search ---- */

static struct net_tbl *tbl;

static uint16_t port_of(const struct net_member *m)
{
	for (unsigned d = 0; d < PORTS; d++)
		if (m->link && tbl->dev[d].link == m->link)
			return (uint16_t)d;
	return UINT16_MAX;
}

static bool ours(const struct net_way *w)
{
	bool any = w->flags & NET_ROUTE_UNREACHABLE;

	for (unsigned i = 0; i < w->n_member; i++)
		any |= port_of(&w->member[i]) != UINT16_MAX;
	return any;
}

static bool knows(const struct addr *via, uint16_t dev)
{
	bool found = false;

	for (unsigned i = 0; i < tbl->n_neigh; i++)
		found |= tbl->neigh[i].dev == dev && addr_eq(&tbl->neigh[i].addr, via);
	return found || dev == PORTS - 1; /* that one is bare */
}

static bool has(const struct addr *local, uint16_t dev)
{
	for (unsigned i = 0; local && i < tbl->n_local; i++)
		if (tbl->local[i].dev == dev && addr_eq(&tbl->local[i].addr, local))
			return true;
	return false;
}

/* The member that a way's flows of this hash take, one flow after the other counted off; up: only by ports that are. */
static const struct net_member *member(const struct net_way *w, const struct addr *dst, const struct addr *local,
				       uint32_t hash, bool up)
{
	const struct net_member *list[NET_WAY_MEMBERS * 3];
	unsigned n = 0;

	for (int rank = up ? 3 : 0; rank >= 0 && n == 0; rank--) {
		for (unsigned i = 0; i < w->n_member; i++) {
			const struct net_member *m = &w->member[i];
			uint16_t dev = port_of(m);
			const struct addr *via = addr_is_any(&m->via) ? dst : &m->via;

			if (dev == UINT16_MAX || tbl->dev[dev].up != up ||
			    (up && rank != 2 * knows(via, dev) + has(local, dev)))
				continue;
			for (unsigned k = 0; k < m->weight; k++)
				list[n++] = m;
		}
	}
	return n ? list[(uint64_t)hash * n >> 32] : NULL;
}

/* By every length from the longest on, every route, in their order. */
static const struct net_member *plain_search(const struct addr *dst, const struct addr *local, uint32_t hash)
{
	const struct net_member *dead = NULL, *m;

	for (int plen = 128; plen >= 0; plen--) {
		bool any = false;

		for (unsigned pass = 0; pass < 2; pass++) {
			for (unsigned i = 0; i < n_now; i++) {
				const struct plain *p = &now[i];

				if ((int)p->plen != plen || addr_is_v4(&p->prefix) != addr_is_v4(dst) ||
				    net_common(&p->prefix, dst) < p->plen)
					continue;
				if (pass == 0) {
					any |= ours(p->way);
					continue;
				}
				if (any && !ours(p->way))
					continue;
				if (p->way->flags || !ours(p->way))
					return dead;
				m = member(p->way, dst, local, hash, true);
				if (m)
					return m;
				dead = dead ? dead : member(p->way, dst, local, hash, false);
			}
		}
	}
	return dead;
}

/* Ports up and down, bare, and known by another number; neighbours known and not; addresses here and there. */
static void surroundings(uint64_t *seed)
{
	tbl->n_dev = PORTS;
	tbl->n_neigh = tbl->n_local = 0;
	for (unsigned d = 0; d < PORTS; d++) {
		uint64_t r = rnd(seed);

		tbl->dev[d] = (struct net_dev){.mac = {d < PORTS - 1 ? 2 : 0}, .up = r % 4 > 0, .link = (int)(1 + d)};
		if (r >> 8 & 1)
			tbl->neigh[tbl->n_neigh++] = (struct net_neigh){
				.addr = addr_v4(0x0a000000 + (uint32_t)(r >> 16) % 5), .dev = (uint16_t)d};
		tbl->local[tbl->n_local++] =
			(struct net_local){.addr = addr_v4(0xc0000201 + d), .plen = 128, .dev = (uint16_t)d};
		tbl->local[tbl->n_local++] = (struct net_local){
			.addr = {{0x20, 1, [15] = (uint8_t)(100 + d)}}, .plen = 128, .dev = (uint16_t)d};
	}
}

Test(fib, resolve_against_the_plain_search)
{
	struct net_waste waste;
	uint64_t seed = 9;
	unsigned found = 0;

	tbl = net_tbl_alloc(0, PORTS, 2 * PORTS);
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 60; i; i--)
			(rnd(&seed) % 16 < (round / 10 % 2 ? 4u : 12u) ? add : del)(&seed);
		surroundings(&seed);
		net_tbl_sort(tbl);
		net_fib_seal(&fib, &tbl->routes, &waste);
		net_waste_free(&waste, UINT32_MAX);
		for (unsigned i = 0; i < 100; i++) {
			struct addr dst = any_addr(&seed), zero = {{0}};
			uint64_t r = rnd(&seed);
			const struct net_local *l = &tbl->local[r % tbl->n_local];
			const struct addr *local =
				r >> 8 & 1 && addr_is_v4(&l->addr) == addr_is_v4(&dst) ? &l->addr : &zero;
			const struct net_member *want = plain_search(&dst, local, (uint32_t)(r >> 32));
			struct net_hop hop;
			int rc = net_resolve_flow(tbl, &dst, local, (uint32_t)(r >> 32), &hop);

			cr_assert_eq(rc, want ? 0 : -ENETUNREACH);
			found += want != NULL;
			if (!want)
				continue;
			cr_assert_eq(hop.dev, port_of(want));
			cr_assert(addr_eq(&hop.via, addr_is_any(&want->via) ? &dst : &want->via));
			cr_assert_eq(hop.resolved, knows(&hop.via, hop.dev));
			cr_assert(local == &zero || addr_eq(&hop.src, local));
		}
	}
	cr_assert(found > 2000 && found < 18000, "%u: both outcomes are met", found);
	net_tbl_free(tbl);
	net_fib_free(&fib);
}
