/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fib.h"
#include "le.h"

#define WASTE_EDIT (2 * NET_FIB_DEEP) /* pieces that one change replaces at most: a path's nodes, a leaf, a way */

struct addr net_masked(const struct addr *a, unsigned plen)
{
	struct addr m = *a;

	for (unsigned i = 0; i < 16; i++) {
		unsigned bits = plen > 8 * i ? plen - 8 * i : 0;

		if (bits < 8)
			m.b[i] &= (uint8_t)(0xff00 >> bits);
	}
	return m;
}

unsigned net_common(const struct addr *a, const struct addr *b)
{
	for (unsigned i = 0; i < 16; i += 8) {
		uint64_t d = be64_get(a->b + i) ^ be64_get(b->b + i);

		if (d)
			return 8 * i + (unsigned)__builtin_clzll(d);
	}
	return 128;
}

static unsigned bit_at(const struct addr *a, unsigned i)
{
	return a->b[i / 8] >> (7 - i % 8) & 1;
}

static struct net_leaf *leaf_of(const struct net_fib_node *n)
{
	return (struct net_leaf *)(uintptr_t)n;
}

static size_t node_size(unsigned entries)
{
	return entries ? sizeof(struct net_leaf) + entries * sizeof(struct net_entry) : sizeof(struct net_fib_node);
}

/* Room for all that one change may replace: from there on nothing can go wrong with it. */
static int waste_room(struct net_fib *f)
{
	struct net_waste *w = &f->waste;
	unsigned cap = w->cap ? 2 * w->cap : 2 * WASTE_EDIT;
	void **v;

	if (w->cap - w->n >= WASTE_EDIT)
		return 0;
	v = realloc(w->v, cap * sizeof(*v));
	if (!v)
		return -ENOMEM;
	w->v = v;
	w->cap = cap;
	return 0;
}

/* It is not in the trie any more: freed where no sealed version has it. */
static void retire(struct net_fib *f, void *piece, uint32_t edit)
{
	if (edit == f->edit)
		free(piece);
	else
		f->waste.v[f->waste.n++] = piece;
}

static void node_retire(struct net_fib *f, struct net_fib_node *n)
{
	f->bytes -= node_size(n->n);
	retire(f, n, n->edit);
}

static struct net_fib_node *node_new(struct net_fib *f, unsigned plen, unsigned entries)
{
	struct net_fib_node *n = calloc(1, node_size(entries));

	if (!n)
		return NULL;
	f->bytes += node_size(entries);
	n->edit = f->edit;
	n->n = (uint16_t)entries;
	n->plen = (uint8_t)plen;
	return n;
}

/* *at as a node that may be written, or NULL without memory. */
static struct net_fib_node *node_own(struct net_fib *f, struct net_fib_node **at)
{
	struct net_fib_node *n;

	if ((*at)->edit == f->edit)
		return *at;
	n = node_new(f, (*at)->plen, (*at)->n);
	if (!n)
		return NULL;
	memcpy(n, *at, node_size(n->n));
	n->edit = f->edit;
	node_retire(f, *at);
	*at = n;
	return n;
}

static struct net_leaf *first_leaf(const struct net_fib_node *n)
{
	while (n && n->n == 0)
		n = n->child[0]; /* a fork has both */
	return leaf_of(n);
}

/* How many bits of a prefix the trie's nearest has in common with it. */
static unsigned meet(const struct net_fib_node *n, const struct addr *prefix, unsigned plen)
{
	const struct net_leaf *near = NULL;
	unsigned common;

	while (n && n->plen < plen) {
		if (n->n)
			near = leaf_of(n);
		n = n->child[bit_at(prefix, n->plen)];
	}
	if (n)
		near = first_leaf(n);
	if (!near)
		return 0;
	common = net_common(&near->prefix, prefix);
	common = common < near->node.plen ? common : near->node.plen;
	return common < plen ? common : plen;
}

static struct net_fib_node **root_of(struct net_fib *f, const struct addr *prefix)
{
	return &f->root[addr_is_v4(prefix) ? 0 : 1];
}

/* The entry joins a node: behind those with the same metric. */
static void put_entry(struct net_leaf *to, const struct net_leaf *from, const struct net_entry *e)
{
	unsigned n = from ? from->node.n : 0, at = 0;

	while (at < n && from->entry[at].metric <= e->metric)
		at++;
	if (at)
		memcpy(to->entry, from->entry, at * sizeof(*e));
	to->entry[at] = *e;
	if (n > at)
		memcpy(to->entry + at + 1, from->entry + at, (n - at) * sizeof(*e));
}

/* A new leaf where a node hangs that is another prefix's, or none: above it, or beside it under a fork. */
static int link_leaf(struct net_fib *f, struct net_fib_node **at, struct net_leaf *l, unsigned common)
{
	struct net_fib_node *n = *at, *fork;
	unsigned side;

	if (n && common < l->node.plen) {
		fork = node_new(f, common, 0);
		if (!fork)
			return -ENOMEM;
		side = bit_at(&l->prefix, common);
		fork->child[side] = &l->node;
		fork->child[!side] = n;
		*at = fork;
		return 0;
	}
	if (n)
		l->node.child[bit_at(&first_leaf(n)->prefix, l->node.plen)] = n;
	*at = &l->node;
	return 0;
}

int net_fib_add(struct net_fib *f, const struct addr *prefix, unsigned plen, const struct net_entry *e)
{
	struct net_fib_node **at = root_of(f, prefix), *n;
	unsigned common = meet(*at, prefix, plen), before;
	struct net_leaf *l;

	if (waste_room(f))
		return -ENOMEM;
	while ((n = *at) && n->plen <= common && n->plen < plen) {
		n = node_own(f, at);
		if (!n)
			return -ENOMEM;
		at = &n->child[bit_at(prefix, n->plen)];
	}
	before = n && n->plen == plen && common == plen ? n->n : 0;
	if (before == UINT16_MAX)
		return -ENOMEM;
	l = leaf_of(node_new(f, plen, before + 1));
	if (!l)
		return -ENOMEM;
	l->prefix = *prefix;
	put_entry(l, before ? leaf_of(n) : NULL, e);
	if (n && n->plen == plen && common == plen) {
		memcpy(l->node.child, n->child, sizeof(n->child));
		*at = &l->node;
		node_retire(f, n);
	} else if (link_leaf(f, at, l, common)) {
		node_retire(f, &l->node);
		return -ENOMEM;
	}
	f->n_route++;
	return 0;
}

struct net_leaf *net_fib_at(const struct net_fib *f, const struct addr *prefix, unsigned plen)
{
	const struct net_fib_node *n = f->root[addr_is_v4(prefix) ? 0 : 1];

	while (n && n->plen < plen)
		n = n->child[bit_at(prefix, n->plen)];
	return n && n->plen == plen && n->n && addr_eq(&leaf_of(n)->prefix, prefix) ? leaf_of(n) : NULL;
}

/* A node whose last entry goes, and the fork above it that is none without it. */
static int unlink_leaf(struct net_fib *f, struct net_fib_node **at, struct net_fib_node **up)
{
	struct net_fib_node *n = *at, *fork = NULL, *parent;

	if (n->child[0] && n->child[1]) {
		fork = node_new(f, n->plen, 0);
		if (!fork)
			return -ENOMEM;
		memcpy(fork->child, n->child, sizeof(n->child));
	}
	*at = fork ? fork : n->child[0] ? n->child[0] : n->child[1];
	node_retire(f, n);
	parent = up ? *up : NULL;
	if (!*at && parent && parent->n == 0) {
		*up = parent->child[0] ? parent->child[0] : parent->child[1];
		node_retire(f, parent);
	}
	return 0;
}

static int shrink_leaf(struct net_fib *f, struct net_fib_node **at, unsigned i)
{
	struct net_leaf *old = leaf_of(*at), *l = leaf_of(node_new(f, (*at)->plen, (*at)->n - 1u));

	if (!l)
		return -ENOMEM;
	memcpy(l->node.child, old->node.child, sizeof(old->node.child));
	l->prefix = old->prefix;
	memcpy(l->entry, old->entry, i * sizeof(*l->entry));
	memcpy(l->entry + i, old->entry + i + 1, (old->node.n - i - 1u) * sizeof(*l->entry));
	*at = &l->node;
	node_retire(f, &old->node);
	return 0;
}

int net_fib_del(struct net_fib *f, const struct addr *prefix, unsigned plen, unsigned i)
{
	struct net_fib_node **at = root_of(f, prefix), **up = NULL, *n;
	struct net_leaf *l = net_fib_at(f, prefix, plen);
	const struct net_way *way;
	int err;

	if (!l || i >= l->node.n)
		return -ENOENT;
	if (waste_room(f))
		return -ENOMEM;
	way = l->entry[i].way;
	while ((*at)->plen < plen) {
		n = node_own(f, at);
		if (!n)
			return -ENOMEM;
		up = at;
		at = &n->child[bit_at(prefix, n->plen)];
	}
	err = (*at)->n > 1 ? shrink_leaf(f, at, i) : unlink_leaf(f, at, up);
	if (err)
		return err;
	f->n_route--;
	net_way_put(f, (struct net_way *)(uintptr_t)way);
	return 0;
}

struct net_leaf *net_fib_next(const struct net_fib *f, bool v4, const struct addr *after, unsigned plen)
{
	const struct net_fib_node *n = f->root[v4 ? 0 : 1], *later = NULL;
	unsigned common;

	if (!after)
		return first_leaf(n);
	common = meet(n, after, plen);
	while (n && n->plen <= common && n->plen < plen) {
		unsigned side = bit_at(after, n->plen);

		if (side == 0 && n->child[1])
			later = n->child[1];
		n = n->child[side];
	}
	if (!n)
		return first_leaf(later);
	if (n->plen == plen && common == plen) /* itself */
		n = n->child[0] ? n->child[0] : n->child[1] ? n->child[1] : later;
	else if (common < plen && bit_at(after, common)) /* all of n comes before */
		n = later;
	return first_leaf(n);
}

void net_fib_seal(struct net_fib *f, struct net_fib_view *view, struct net_waste *waste)
{
	*view = (struct net_fib_view){.root = {f->root[0], f->root[1]}, .n_route = f->n_route};
	*waste = f->waste;
	f->waste = (struct net_waste){0};
	f->edit++;
}

bool net_waste_free(struct net_waste *w, unsigned most)
{
	for (; w->n && most; most--)
		free(w->v[--w->n]);
	if (w->n)
		return false;
	free(w->v);
	*w = (struct net_waste){0};
	return true;
}

static void free_below(struct net_fib_node *n)
{
	if (!n)
		return;
	free_below(n->child[0]);
	free_below(n->child[1]);
	free(n);
}

void net_fib_free(struct net_fib *f)
{
	free_below(f->root[0]);
	free_below(f->root[1]);
	for (unsigned i = 0; i < f->way_cap; i++) {
		while (f->way[i]) {
			struct net_way *w = f->way[i];

			f->way[i] = w->next;
			free(w);
		}
	}
	free(f->way);
	net_waste_free(&f->waste, UINT32_MAX);
	memset(f, 0, sizeof(*f));
}

unsigned net_fib_cover(const struct net_fib_view *v, const struct addr *dst, const struct net_leaf *out[NET_FIB_DEEP])
{
	const struct net_fib_node *n = v->root[addr_is_v4(dst) ? 0 : 1];
	unsigned k = 0, common;

	while (n) {
		if (n->n)
			out[k++] = leaf_of(n);
		n = n->plen < 128 ? n->child[bit_at(dst, n->plen)] : NULL;
	}
	/* The way down looked at some bits only: what all of them are, the last one tells for all. */
	common = k ? net_common(&out[k - 1]->prefix, dst) : 0;
	while (k && out[k - 1]->node.plen > common)
		k--;
	return k;
}

/* ---- ways ---- */

static size_t way_size(const struct net_way *w)
{
	return sizeof(*w) + w->n_member * sizeof(w->member[0]);
}

#define WAY_SEEN offsetof(struct net_way, src)

static uint32_t way_hash(const struct net_way *w)
{
	const uint8_t *p = (const uint8_t *)w;
	uint32_t h = 2166136261u;

	for (size_t i = WAY_SEEN; i < way_size(w); i++)
		h = (h ^ p[i]) * 16777619u;
	return h ^ h >> 15;
}

/* Buckets for one way more. */
static int way_room(struct net_fib *f)
{
	unsigned cap = f->way_cap ? 2 * f->way_cap : 64;
	struct net_way **v, *w;

	if (f->n_way < f->way_cap)
		return 0;
	v = calloc(cap, sizeof(struct net_way *));
	if (!v)
		return -ENOMEM;
	for (unsigned i = 0; i < f->way_cap; i++) {
		while ((w = f->way[i])) {
			f->way[i] = w->next;
			w->next = v[w->hash & (cap - 1)];
			v[w->hash & (cap - 1)] = w;
		}
	}
	free(f->way);
	f->way = v;
	f->way_cap = cap;
	return 0;
}

struct net_way *net_way_get(struct net_fib *f, const struct net_way *like)
{
	size_t n = way_size(like);
	uint32_t h = way_hash(like);
	struct net_way *w;

	if (way_room(f))
		return NULL;
	for (w = f->way[h & (f->way_cap - 1)]; w; w = w->next) {
		if (w->hash == h && way_size(w) == n &&
		    memcmp((char *)w + WAY_SEEN, (const char *)like + WAY_SEEN, n - WAY_SEEN) == 0) {
			w->refs++;
			return w;
		}
	}
	w = malloc(n);
	if (!w)
		return NULL;
	memcpy(w, like, n);
	w->refs = 1;
	w->hash = h;
	w->edit = f->edit;
	w->next = f->way[h & (f->way_cap - 1)];
	f->way[h & (f->way_cap - 1)] = w;
	f->n_way++;
	f->bytes += n;
	return w;
}

void net_way_put(struct net_fib *f, struct net_way *w)
{
	struct net_way **p;

	if (--w->refs)
		return;
	for (p = &f->way[w->hash & (f->way_cap - 1)]; *p != w;)
		p = &(*p)->next;
	*p = w->next;
	f->n_way--;
	f->bytes -= way_size(w);
	if (waste_room(f) == 0)
		retire(f, w, w->edit);
	/* Without memory to write it down, it is lost: a reader may have it. */
}
