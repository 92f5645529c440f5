/* SPDX-License-Identifier: MIT */
#include "acl.h"

#include <errno.h>
#include <stdlib.h>

#define DEEP (128 + 1) /* prefixes that hold one another */

struct key {
	uint64_t hi, lo;
};

/* From here up to the next one. */
struct edge {
	struct key from;
	bool allow;
};

struct net_acl {
	unsigned n; /* 1 at least: the first is at 0 */
	struct edge edge[];
};

static struct key key_of(const struct addr *a)
{
	struct key k;

	memcpy(&k, a, sizeof(k));
	return (struct key){__builtin_bswap64(k.hi), __builtin_bswap64(k.lo)};
}

static bool below(const struct key *a, const struct key *b)
{
	return a->hi != b->hi ? a->hi < b->hi : a->lo < b->lo;
}

/* The last address of a prefix. */
static struct key last_of(const struct net_acl_rule *r)
{
	struct key k = key_of(&r->prefix);

	if (r->plen < 64)
		k.hi |= UINT64_MAX >> r->plen;
	if (r->plen <= 64)
		k.lo = UINT64_MAX;
	else if (r->plen < 128)
		k.lo |= UINT64_MAX >> (r->plen - 64);
	return k;
}

/* By where they begin, who holds another before it. */
static int order(const void *a, const void *b)
{
	const struct net_acl_rule *x = a, *y = b;
	int by = memcmp(&x->prefix, &y->prefix, sizeof(x->prefix));

	return by ? by : (int)x->plen - (int)y->plen;
}

/* What begins where the last one does takes its place. */
static void edge_at(struct net_acl *a, struct key from, bool allow)
{
	struct edge *last = a->n ? &a->edge[a->n - 1] : NULL;

	if (last && !below(&last->from, &from))
		last->allow = allow;
	else
		a->edge[a->n++] = (struct edge){from, allow};
}

/* Behind the last address of r its holder's word counts again. */
static void edge_behind(struct net_acl *a, const struct net_acl_rule *r, bool allow)
{
	struct key k = last_of(r);

	if (++k.lo == 0 && ++k.hi == 0)
		return; /* nothing is behind it */
	edge_at(a, k, allow);
}

static void edges(struct net_acl *a, const struct net_acl_rule *v, unsigned n, bool otherwise)
{
	const struct net_acl_rule *in[DEEP];
	unsigned deep = 0;

	edge_at(a, (struct key){0, 0}, otherwise);
	for (unsigned i = 0; i <= n; i++) {
		struct key at = i < n ? key_of(&v[i].prefix) : (struct key){0, 0}, end;

		while (deep && (end = last_of(in[deep - 1]), i == n || below(&end, &at))) {
			deep--;
			edge_behind(a, in[deep], deep ? in[deep - 1]->allow : otherwise);
		}
		if (i < n) {
			edge_at(a, at, v[i].allow);
			in[deep++] = &v[i];
		}
	}
}

int net_acl_create(struct net_acl **out, const struct net_acl_rule *v, unsigned n, bool otherwise)
{
	struct net_acl_rule *sorted = malloc((n + 1) * sizeof(*v));
	struct net_acl *a = malloc(sizeof(*a) + (2 * (size_t)n + 1) * sizeof(a->edge[0]));

	if (!sorted || !a) {
		free(sorted);
		free(a);
		return -ENOMEM;
	}
	if (n)
		memcpy(sorted, v, n * sizeof(*v));
	qsort(sorted, n, sizeof(*v), order);
	a->n = 0;
	edges(a, sorted, n, otherwise);
	free(sorted);
	*out = a;
	return 0;
}

void net_acl_destroy(struct net_acl *a)
{
	free(a);
}

bool net_acl_allows(const struct net_acl *a, const struct addr *from)
{
	struct key k = key_of(from);
	unsigned lo = 0, n = a->n;

	/* The last edge that is not beyond it lies in the n from lo on. */
	while (n > 1) {
		unsigned half = n >> 1;

		if (!below(&k, &a->edge[lo + half].from))
			lo += half;
		n -= half;
	}
	return a->edge[lo].allow;
}
