/* SPDX-License-Identifier: MIT */

/* From the mirror to the snapshot that the workers see, and the end of those that they have left. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <net/if.h>
#include <linux/neighbour.h>

#include "nl.h"

#define LINK_LOWER_UP 0x10000 /* IFF_LOWER_UP, which net/if.h does not have */
#define NUD_USABLE    (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)

struct nl_old {
	struct nl_old *next;
	struct net_tbl *tbl;
	uint64_t until; /* gen of its successor: free when every worker has adopted that or a later one */
};

bool nl_link_sends(const struct nl_link *l)
{
	return (l->flags & IFF_UP) && (l->flags & LINK_LOWER_UP);
}

static void put_devs(const struct nl *n, struct net_tbl *t)
{
	t->n_dev = n->n_ports;
	for (unsigned d = 0; d < n->n_ports; d++) {
		const struct nl_port *p = &n->port[d];
		const struct nl_link *l = nl_link_at(n, p->ifindex), *base = nl_link_at(n, p->base);
		struct net_dev *dev = &t->dev[d];

		/* Frames leave by the NIC: on an exclusive port its own address is the only one that replies reach. */
		memcpy(dev->mac, l && !p->exclusive ? l->mac : p->mac, sizeof(dev->mac));
		dev->mtu = (uint16_t)(l && l->mtu < p->mtu ? l->mtu : p->mtu);
		dev->vlan = p->vlan;
		dev->exclusive = p->exclusive;
		dev->closed = p->closed;
		dev->sockets = p->sockets;
		/* An exclusive port's device may stand on an interface of the kernel's, too. */
		dev->up = !p->closed && !p->no_link &&
			  (p->sockets || (l && nl_link_sends(l) && (!base || nl_link_sends(base))));
	}
}

bool nl_is_loopback(const struct nl *n, int index)
{
	const struct nl_link *l = nl_link_at(n, index);

	return l && (l->flags & IFF_LOOPBACK);
}

/* The gateway port that stands for a loopback interface, or UINT16_MAX. */
static uint16_t loopback_port(const struct nl *n)
{
	for (unsigned d = 0; d < n->n_ports; d++)
		if (nl_is_loopback(n, n->port[d].ifindex))
			return (uint16_t)d;
	return UINT16_MAX;
}

static void put_local(struct net_tbl *t, const struct net_local *l, uint16_t dev)
{
	t->local[t->n_local] = *l;
	t->local[t->n_local++].dev = dev;
}

/*
 * Our ports' addresses, and global ones on the loopback interface, which by custom belong to the host as a whole. Where
 * that is a port, it is the way to every address of the host, each for itself.
 */
static void put_locals(const struct nl *n, struct net_tbl *t)
{
	const struct nl_addr *v = n->table[NL_ADDR].v;
	uint16_t lo = loopback_port(n);

	for (unsigned i = 0; i < n->table[NL_ADDR].n; i++) {
		uint16_t dev = nl_dev(n, v[i].index);
		struct net_local own = v[i].local;

		if (dev != UINT16_MAX || (v[i].global && nl_is_loopback(n, v[i].index)))
			put_local(t, &own, dev);
		own.plen = 128;
		if (lo != UINT16_MAX && dev != lo)
			put_local(t, &own, lo);
	}
}

static void put_neighs(const struct nl *n, struct net_tbl *t)
{
	const struct nl_neigh *v = n->table[NL_NEIGH].v;

	for (unsigned i = 0; i < n->table[NL_NEIGH].n; i++)
		if (v[i].has_mac && (v[i].state & NUD_USABLE))
			t->neigh[t->n_neigh++] = v[i].n;
}

static int cmp_prefix(const void *pa, const void *pb)
{
	const struct net_route *a = pa, *b = pb;
	int d = memcmp(&a->prefix, &b->prefix, sizeof(a->prefix));

	return d ? d : (int)a->plen - b->plen;
}

/*
 * A route that leaves by another interface hides ours of the same prefix only from the kernel: a host whose own traffic
 * goes by a management port has its default route there, and another one for the gateway.
 */
static void put_routes(struct nl *n, struct net_tbl *t)
{
	struct net_route *v = n->table[NL_ROUTE].v, *end = v + n->table[NL_ROUTE].n, *e;

	if (v == end)
		return;
	qsort(v, (size_t)(end - v), sizeof(*v), cmp_prefix);
	for (; v < end; v = e) {
		bool ours = false;

		for (e = v; e < end && cmp_prefix(v, e) == 0; e++)
			ours |= !(e->flags & NL_ROUTE_FOREIGN);
		for (struct net_route *r = v; r < e; r++) {
			if (ours && (r->flags & NL_ROUTE_FOREIGN))
				continue;
			t->route[t->n_route] = *r;
			t->route[t->n_route++].flags &= (uint8_t)~NL_ROUTE_FOREIGN;
			if (r->flags == 0 && !addr_is_any(&r->via))
				nl_use_gateway(n, &r->via, r->dev);
		}
	}
}

static bool same(const struct net_tbl *a, const struct net_tbl *b)
{
	return a && a->n_dev == b->n_dev && a->n_route == b->n_route && a->n_neigh == b->n_neigh &&
	       a->n_local == b->n_local && memcmp(a->dev, b->dev, sizeof(a->dev)) == 0 &&
	       (a->n_route == 0 || memcmp(a->route, b->route, a->n_route * sizeof(*a->route)) == 0) &&
	       (a->n_neigh == 0 || memcmp(a->neigh, b->neigh, a->n_neigh * sizeof(*a->neigh)) == 0) &&
	       (a->n_local == 0 || memcmp(a->local, b->local, a->n_local * sizeof(*a->local)) == 0);
}

static struct net_tbl *build(struct nl *n)
{
	struct net_tbl *t = net_tbl_alloc(n->table[NL_ROUTE].n, n->table[NL_NEIGH].n, 2 * n->table[NL_ADDR].n);

	if (!t)
		return NULL;
	put_devs(n, t);
	put_locals(n, t);
	put_neighs(n, t);
	nl_use_no_gateways(n);
	put_routes(n, t);
	net_tbl_sort(t);
	return t;
}

int nl_publish(struct nl *n)
{
	struct nl_old *old = calloc(1, sizeof(*old));
	struct net_tbl *t;

	if (!old)
		return -ENOMEM;
	t = build(n);
	if (!t) {
		free(old);
		return -ENOMEM;
	}
	if (same(n->tbl, t)) {
		net_tbl_free(t);
		free(old);
		return 0;
	}
	t->gen = ++n->gen;
	if (n->tbl) {
		*old = (struct nl_old){.next = n->old, .tbl = n->tbl, .until = t->gen};
		n->old = old;
		n->n_old++;
	} else {
		free(old);
	}
	n->tbl = t;
	return 0;
}

void nl_reap(struct nl *n, uint64_t adopted)
{
	struct nl_old **p = &n->old;

	while (*p) {
		struct nl_old *o = *p;

		if (o->until > adopted) {
			p = &o->next;
			continue;
		}
		*p = o->next;
		net_tbl_free(o->tbl);
		free(o);
		n->n_old--;
	}
}

void nl_forget(struct nl *n)
{
	while (n->old) {
		struct nl_old *o = n->old;

		n->old = o->next;
		net_tbl_free(o->tbl);
		free(o);
	}
	if (n->tbl)
		net_tbl_free(n->tbl);
	n->tbl = NULL;
}
