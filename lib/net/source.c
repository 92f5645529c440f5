/* SPDX-License-Identifier: MIT */

/* Which of our addresses speaks to a peer, where nothing else says so: as Linux chooses it for a socket. */

#include "net.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* What comes first of all that differ, in the highest bits: then the greater one is the better. */
struct score {
	uint64_t value;
	uint32_t order;
};

static bool better(const struct score *a, const struct score *b)
{
	return a->value != b->value ? a->value > b->value : a->order < b->order;
}

/*
 * IPv4 (the kernel's inet_select_addr): 0 is not to be taken but in need.  The kernel gives an address a scope when it
 * is added, and routes by a gateway want one that is good everywhere.
 */
static uint64_t score4(const struct net_local *l, const struct addr *via, unsigned scope)
{
	if (l->flags & NET_LOCAL_SECONDARY || l->scope > scope)
		return 0;
	return 1 + net_holds(&l->addr, l->plen, via);
}

/* RFC 4007's scopes, as in a multicast address. */
static unsigned scope6(const struct addr *a)
{
	static const struct addr loopback = {.b = {[15] = 1}};

	if (a->b[0] == 0xff)
		return a->b[1] & 0x0f;
	return net_is_link_local(a) || addr_eq(a, &loopback) ? 2 : 14;
}

/* RFC 6724, 2.1, with the labels that Linux has: IPv4's are no matter here. */
static unsigned label6(const struct addr *a)
{
	static const struct {
		struct addr prefix;
		uint8_t plen, label;
	} of[] = {
		{{.b = {[15] = 1}}, 128, 0},	    {{.b = {0}}, 96, 3},       {{.b = {0x20, 1, 0, 0}}, 32, 6},
		{{.b = {0x20, 1, 0, 0x10}}, 28, 7}, {{.b = {0x20, 2}}, 16, 2}, {{.b = {0xfc}}, 7, 5},
	};

	for (unsigned i = 0; i < LEN(of); i++)
		if (net_common(&of[i].prefix, a) >= of[i].plen)
			return of[i].label;
	return 1;
}

/* RFC 6724, 5, in the kernel's order: scope, deprecated, interface, label, temporary, longest prefix. */
static uint64_t score6(const struct net_tbl *t, unsigned dev, const struct net_local *l, const struct addr *dst)
{
	unsigned own = scope6(&l->addr), want = scope6(dst), common = net_common(&l->addr, dst);
	bool temporary = l->flags & NET_LOCAL_TEMPORARY;
	uint64_t v = own >= want ? 64 - own : own;

	v = v << 1 | !(l->flags & NET_LOCAL_DEPRECATED);
	v = v << 1 | (l->dev == dev);
	v = v << 1 | (label6(&l->addr) == label6(dst));
	v = v << 1 | (dev < t->n_dev && temporary == t->dev[dev].temporary);
	return v << 8 | (common < l->plen ? common : l->plen);
}

/* Others' addresses may speak for a port that has none of its own; link-local ones are the link's. */
static bool candidate(const struct net_local *l, unsigned dev, const struct addr *dst)
{
	if (addr_is_v4(&l->addr) != addr_is_v4(dst))
		return false;
	return l->dev == dev || !(net_is_link_local(dst) || net_is_link_local(&l->addr));
}

const struct addr *net_source(const struct net_tbl *t, unsigned dev, const struct addr *dst, const struct addr *via,
			      unsigned scope)
{
	const struct net_local *best = NULL;
	struct score most = {0}, s;
	bool v4 = addr_is_v4(dst);

	for (unsigned i = 0; i < t->n_local; i++) {
		const struct net_local *l = &t->local[i];

		if (!candidate(l, dev, dst))
			continue;
		s.value = v4 ? score4(l, via, scope) << 1 | (l->dev == dev) : score6(t, dev, l, dst);
		s.order = l->order;
		/* Of IPv4's a port's own come first, however they fit, unless they may not be taken at all. */
		if (v4 && l->dev == dev && s.value > 1)
			s.value += 8;
		if (!best || better(&s, &most)) {
			best = l;
			most = s;
		}
	}
	return best ? &best->addr : NULL;
}
