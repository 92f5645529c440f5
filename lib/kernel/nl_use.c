/* SPDX-License-Identifier: MIT */

/*
 * Neighbours in use.  The kernel ages what it sees no traffic to, and all of ours passes it by: so it is told of use,
 * and asks the neighbour as it would for itself.  Known are the next hops of routes, and those that workers and dials
 * asked for.
 */

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>

#include "nl.h"
#include "nl_attr.h"
#include "rtnl.h"

#define USE_KEEP_MS 600000 /* after the last request; a worker asks again when the entry has gone */
#define USE_ASK_MS  1000   /* at most one request to the kernel an address and second */
#define USE_LOOK_MS 5000

static int cmp_neigh(const void *pa, const void *pb)
{
	const struct nl_neigh *a = pa, *b = pb;
	int d = memcmp(&a->n.addr, &b->n.addr, sizeof(a->n.addr));

	return d ? d : (int)a->n.dev - b->n.dev;
}

void nl_use_sort(struct nl_vec *neighs)
{
	if (neighs->n)
		qsort(neighs->v, neighs->n, sizeof(struct nl_neigh), cmp_neigh);
}

/* State of a neighbour in the mirror; 0 when the kernel does not know it. */
static unsigned neigh_state(const struct nl *n, const struct addr *a, uint16_t dev)
{
	const struct nl_vec *v = &n->table[NL_NEIGH];
	const struct nl_neigh want = {.n = {.addr = *a, .dev = dev}}, *found = NULL;

	if (v->n)
		found = bsearch(&want, v->v, v->n, sizeof(want), cmp_neigh);
	return found ? found->state : 0;
}

static struct nl_use *find_use(struct nl *n, const struct addr *a, uint16_t dev)
{
	for (unsigned i = 0; i < n->n_use; i++)
		if (n->use[i].dev == dev && addr_eq(&n->use[i].addr, a))
			return &n->use[i];
	return NULL;
}

static uint64_t last_use(const struct nl_use *u)
{
	return u->gateway ? UINT64_MAX : u->until;
}

/* The entry for an address; when the table is full, in place of the one that would be forgotten first. */
static struct nl_use *get_use(struct nl *n, const struct addr *a, uint16_t dev)
{
	struct nl_use *u = find_use(n, a, dev);

	if (u)
		return u;
	if (n->n_use < NL_USES) {
		u = &n->use[n->n_use++];
	} else {
		u = &n->use[0];
		for (unsigned i = 1; i < n->n_use; i++)
			if (last_use(&n->use[i]) < last_use(u))
				u = &n->use[i];
	}
	*u = (struct nl_use){.addr = *a, .dev = dev};
	return u;
}

/* Resolving and verifying go on by themselves, and what is permanent or fresh needs neither. */
static void ask(struct nl *n, struct nl_use *u)
{
	unsigned state = neigh_state(n, &u->addr, u->dev);

	if (state & (NUD_REACHABLE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP | NUD_INCOMPLETE))
		return;
	if (u->asked && n->now - u->asked < USE_ASK_MS)
		return;
	if (u->dev >= NET_DEV_MAX || n->port[u->dev].ifindex == 0)
		return;
	u->asked = n->now;
	rtnl_neigh_use(n->rtnl, n->port[u->dev].ifindex, &u->addr);
}

void nl_need(struct nl *n, const struct addr *a, uint16_t dev, uint64_t now)
{
	struct nl_use *u;

	n->now = now;
	if (dev >= n->n_ports || addr_is_any(a) || nl_is_loopback(n, n->port[dev].ifindex))
		return;
	u = get_use(n, a, dev);
	u->until = n->now + USE_KEEP_MS;
	ask(n, u);
}

void nl_use_no_gateways(struct nl *n)
{
	for (unsigned i = 0; i < n->n_use; i++)
		n->use[i].gateway = false;
}

void nl_use_gateway(struct nl *n, const struct addr *a, uint16_t dev)
{
	struct nl_use *u = n->n_use < NL_USES ? get_use(n, a, dev) : find_use(n, a, dev);

	if (u)
		u->gateway = true;
}

bool nl_use_waits(struct nl *n, const struct nlmsghdr *h)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);
	uint16_t dev = nl_dev(n, m->ndm_ifindex);
	struct nl_attrs a;
	struct addr addr;

	if (!(m->ndm_state & NL_NUD_USABLE) || dev == UINT16_MAX)
		return false;
	nl_attrs_read(h, sizeof(*m), &a);
	return nl_attr_addr(a.of[NDA_DST], m->ndm_family, &addr) && find_use(n, &addr, dev) &&
	       !(neigh_state(n, &addr, dev) & NL_NUD_USABLE);
}

void nl_use_turn(struct nl *n)
{
	for (unsigned i = 0; i < n->n_use;) {
		struct nl_use *u = &n->use[i];

		if (!u->gateway && u->until <= n->now) {
			*u = n->use[--n->n_use];
			continue;
		}
		ask(n, u);
		i++;
	}
	n->use_at = n->now + USE_LOOK_MS;
}
