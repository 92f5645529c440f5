/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Routes by longest prefix, in versions.  A binary trie without chains (each node is a route's prefix, or a fork with
 * two children), of which a sealed version never changes again: an edit copies the nodes from the root to what it
 * changes, once each, and shares all others with the version before.  So a change costs some twenty nodes however many
 * routes there are, readers need no lock, and what an edit has replaced is handed out, to be freed when nobody reads an
 * older version any more.
 *
 * One writer; any number of readers, of sealed versions.  Memory comes from malloc, in the writer only: a route takes
 * 56 bytes, a fork 24 (at most one a route), and what malloc adds to each.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define NET_WAY_MEMBERS 64	  /* next hops of one route at most */
#define NET_FIB_DEEP	(1 + 128) /* prefixes that may hold one address */

/* One next hop. */
struct net_member {
	struct addr via; /* unspecified: on link */
	int32_t link;	 /* by which it leaves (struct net_dev); 0: by none that could be ours */
	uint32_t weight; /* share of the flows, from 1 on */
};

/* Where a route leads: one for all routes that lead there.  Readers look at src and what comes behind it. */
struct net_way {
	struct net_way *next;
	uint32_t refs, hash, edit;
	struct addr src;   /* preferred source; unspecified: none */
	uint8_t flags;	   /* NET_ROUTE_* */
	uint8_t scope;	   /* of the kernel's: an IPv4 source's may not be narrower, that is, greater */
	uint16_t n_member; /* 0 with NET_ROUTE_UNREACHABLE only */
	struct net_member member[];
};

struct net_entry {
	const struct net_way *way;
	uint32_t metric;
	uint32_t mark; /* the writer's own, in sealed versions too: readers do not look at it */
};

struct net_fib_node {
	struct net_fib_node *child[2];
	uint32_t edit; /* in which it was made */
	uint16_t n;    /* entries; 0: a fork */
	uint8_t plen;
};

/* A node with entries: the routes to one prefix, by metric, then as they were added. */
struct net_leaf {
	struct net_fib_node node;
	struct addr prefix;
	struct net_entry entry[];
};

/* A version, as readers have it. */
struct net_fib_view {
	const struct net_fib_node *root[2]; /* IPv4, IPv6 */
	unsigned n_route;
};

/* Memory that a version of before may still use. */
struct net_waste {
	void **v;
	unsigned n, cap;
};

/* The writer's; all zero is an empty one. */
struct net_fib {
	struct net_fib_node *root[2];
	unsigned n_route, n_way, way_cap;
	size_t bytes;  /* of nodes and ways of the newest version */
	uint32_t edit; /* nodes of this number are in no sealed version yet */
	struct net_way **way;
	struct net_waste waste; /* replaced in this edit */
};

/* The prefix of `plen` bits that holds a. */
struct addr net_masked(const struct addr *a, unsigned plen);
/* How many bits two addresses have in common: 0..128. */
unsigned net_common(const struct addr *a, const struct addr *b);

/*
 * The way that is like this one in all that readers see, with one reference more; NULL: out of memory.  What pads
 * `like` and its members must be zero.
 */
struct net_way *net_way_get(struct net_fib *f, const struct net_way *like);
/* Gives one reference back. */
void net_way_put(struct net_fib *f, struct net_way *w);

/* Adds a route, whose reference to `way` is the fib's then; prefix without host bits.  0 or -ENOMEM: nothing changed.
 */
int net_fib_add(struct net_fib *f, const struct addr *prefix, unsigned plen, const struct net_entry *e);
/* Takes entry i of exactly this prefix out, and gives its way back.  0, -ENOENT or -ENOMEM: nothing changed. */
int net_fib_del(struct net_fib *f, const struct addr *prefix, unsigned plen, unsigned i);
/* The routes to exactly this prefix, until the next edit; NULL: none. */
struct net_leaf *net_fib_at(const struct net_fib *f, const struct addr *prefix, unsigned plen);
/*
 * The prefix that comes next after this one, which need not be there (any more), of the same family: by bits, the
 * shorter first.  after NULL: the first one of IPv4 (v4) or IPv6.  NULL: that was the last.
 */
struct net_leaf *net_fib_next(const struct net_fib *f, bool v4, const struct addr *after, unsigned plen);

/* Ends the edit: the version that *view shows stays as it is.  What it no longer needs is *waste's, whose old content
 * must have been taken. */
void net_fib_seal(struct net_fib *f, struct net_fib_view *view, struct net_waste *waste);
/* Frees up to `most` pieces; true when nothing is left. */
bool net_waste_free(struct net_waste *w, unsigned most);
/* All of it; no reader is left. */
void net_fib_free(struct net_fib *f);

/* The routes whose prefixes hold dst, the shortest first; returns how many. */
unsigned net_fib_cover(const struct net_fib_view *v, const struct addr *dst, const struct net_leaf *out[NET_FIB_DEEP]);
