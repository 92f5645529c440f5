/* SPDX-License-Identifier: MIT */

/* From the mirror to the snapshot that the workers see, and the end of those that they have left. */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <net/if.h>
#include <linux/neighbour.h>

#include "nl.h"

#define LINK_LOWER_UP 0x10000 /* IFF_LOWER_UP, which net/if.h does not have */

#define FREE_TURN 4096 /* pieces freed in one turn */

struct nl_old {
	struct nl_old *next;
	struct net_tbl *tbl;
	struct net_waste waste; /* of routes: what its successor does without */
	uint64_t until;		/* gen of its successor: free when every worker has adopted that or a later one */
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
		dev->link = p->ifindex;
		dev->temporary = l && l->temporary;
		/* An exclusive port's device may stand on an interface of the kernel's, too. */
		dev->up = !p->closed && !p->no_link &&
			  (p->sockets || (l && nl_link_sends(l) && (!base || nl_link_sends(base))));
	}
}

const struct nl_link *nl_vrf_of(const struct nl *n, unsigned dev)
{
	const struct nl_link *l = nl_link_at(n, n->port[dev].ifindex);

	l = l ? nl_link_at(n, l->master) : NULL;
	return l && l->vrf ? l : NULL;
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
		if (v[i].has_mac && (v[i].state & NL_NUD_USABLE))
			t->neigh[t->n_neigh++] = v[i].n;
}

/* All but the routes. */
static bool same_here(const struct net_tbl *a, const struct net_tbl *b)
{
	return a && a->n_dev == b->n_dev && a->n_neigh == b->n_neigh && a->n_local == b->n_local &&
	       memcmp(a->dev, b->dev, sizeof(a->dev)) == 0 &&
	       (a->n_neigh == 0 || memcmp(a->neigh, b->neigh, a->n_neigh * sizeof(*a->neigh)) == 0) &&
	       (a->n_local == 0 || memcmp(a->local, b->local, a->n_local * sizeof(*a->local)) == 0);
}

static struct net_tbl *build(struct nl *n)
{
	struct net_tbl *t = net_tbl_alloc(0, n->table[NL_NEIGH].n, 2 * n->table[NL_ADDR].n);

	if (!t)
		return NULL;
	put_devs(n, t);
	put_locals(n, t);
	put_neighs(n, t);
	net_tbl_sort(t);
	nl_use_no_gateways(n);
	nl_routes_gateways(n);
	return t;
}

int nl_publish(struct nl *n)
{
	struct nl_old *old = calloc(1, sizeof(*old));
	struct net_tbl *t;
	bool here;

	if (!old)
		return -ENOMEM;
	t = build(n);
	if (!t) {
		free(old);
		return -ENOMEM;
	}
	here = same_here(n->tbl, t);
	if (here && !n->routes.changed) {
		net_tbl_free(t);
		free(old);
		return 0;
	}
	t->gen = ++n->gen;
	t->gen_here = here ? n->tbl->gen_here : t->gen;
	n->routes.changed = false;
	net_fib_seal(&n->routes.fib, &t->routes, &old->waste);
	if (n->tbl) {
		old->next = n->old;
		old->tbl = n->tbl;
		old->until = t->gen;
		n->old = old;
		n->n_old++;
	} else {
		net_waste_free(&old->waste, UINT_MAX);
		free(old);
	}
	n->tbl = t;
	return 0;
}

/* What is left of it is freed by and by. */
static void give_up(struct nl *n, struct nl_old *o)
{
	struct net_waste *w = &n->waste;
	void **v;

	net_tbl_free(o->tbl);
	if (w->n == 0) {
		net_waste_free(w, 1);
		*w = o->waste;
	} else if (o->waste.n) {
		v = realloc(w->v, (w->n + o->waste.n) * sizeof(*v));
		if (v) {
			memcpy(v + w->n, o->waste.v, o->waste.n * sizeof(*v));
			w->v = v;
			w->n = w->cap = w->n + o->waste.n;
			o->waste.n = 0;
		}
		net_waste_free(&o->waste, UINT_MAX);
	}
	free(o);
}

void nl_free_some(struct nl *n)
{
	if (n->waste.v)
		net_waste_free(&n->waste, FREE_TURN);
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
		give_up(n, o);
		n->n_old--;
	}
}

void nl_forget(struct nl *n)
{
	while (n->old) {
		struct nl_old *o = n->old;

		n->old = o->next;
		net_tbl_free(o->tbl);
		net_waste_free(&o->waste, UINT_MAX);
		free(o);
	}
	net_waste_free(&n->waste, UINT_MAX);
	if (n->tbl)
		net_tbl_free(n->tbl);
	n->tbl = NULL;
}
