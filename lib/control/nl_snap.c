/* SPDX-License-Identifier: MIT */

/* From the mirror to the snapshot that the workers see, and the end of those that they have left. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <net/if.h>
#include <linux/neighbour.h>

#include "ctl_int.h"

#define LINK_LOWER_UP 0x10000 /* IFF_LOWER_UP, which net/if.h does not have */
#define NUD_USABLE    (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)

struct nl_old {
	struct nl_old *next;
	struct net_tbl *tbl;
	uint64_t until; /* gen of its successor: free when every worker has adopted that or a later one */
};

/* It can send: up, and with a carrier (the kernel's own rule; whether it is ready for use is another question). */
static bool link_sends(const struct nl_link *l)
{
	return l && (l->flags & IFF_UP) && (l->flags & LINK_LOWER_UP);
}

static void put_devs(const struct ctl *c, struct net_tbl *t)
{
	t->n_dev = c->conf.n_ports;
	for (unsigned d = 0; d < c->conf.n_ports; d++) {
		const struct ctl_port *p = &c->conf.ports[d];
		const struct nl_link *l = nl_link_at(&c->nl, c->nl.ifindex[d]);
		struct net_dev *dev = &t->dev[d];

		/* Frames leave by the NIC: on an exclusive port its own address is the only one that replies reach. */
		memcpy(dev->mac, l && !p->tap ? l->mac : p->port->mac, sizeof(dev->mac));
		dev->mtu = (uint16_t)(l && l->mtu < p->mtu ? l->mtu : p->mtu);
		dev->exclusive = p->tap;
		dev->closed = c->iface[d].state != IFACE_OPEN;
		/* An exclusive port's device may stand on an interface of the kernel's, too. */
		dev->up = link_sends(l) && (p->port->ifindex == 0 || !nl_link_at(&c->nl, p->port->ifindex) ||
					    link_sends(nl_link_at(&c->nl, p->port->ifindex)));
	}
}

bool nl_is_loopback(const struct nl *n, int index)
{
	const struct nl_link *l = nl_link_at(n, index);

	return l && (l->flags & IFF_LOOPBACK);
}

/* The gateway port that stands for a loopback interface, or UINT16_MAX. */
static uint16_t loopback_port(const struct ctl *c)
{
	for (unsigned d = 0; d < c->conf.n_ports; d++)
		if (nl_is_loopback(&c->nl, c->nl.ifindex[d]))
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
static void put_locals(const struct ctl *c, struct net_tbl *t)
{
	const struct nl *n = &c->nl;
	const struct nl_addr *v = n->table[NL_ADDR].v;
	uint16_t lo = loopback_port(c);

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

static struct net_tbl *build(struct ctl *c)
{
	struct nl *n = &c->nl;
	struct net_tbl *t = net_tbl_alloc(n->table[NL_ROUTE].n, n->table[NL_NEIGH].n, 2 * n->table[NL_ADDR].n);

	if (!t)
		return NULL;
	put_devs(c, t);
	put_locals(c, t);
	put_neighs(n, t);
	nl_use_no_gateways(n);
	put_routes(n, t);
	net_tbl_sort(t);
	return t;
}

int nl_publish(struct ctl *c)
{
	struct nl *n = &c->nl;
	struct nl_old *old = calloc(1, sizeof(*old));
	struct net_tbl *t;

	if (!old)
		return -ENOMEM;
	t = build(c);
	if (!t) {
		free(old);
		return -ENOMEM;
	}
	if (same(n->tbl, t)) {
		net_tbl_free(t);
		free(old);
		iface_published(
			c); /* a port that was opened and has gone since: the last one says already that it is closed */
		return 0;
	}
	t->gen = ++n->gen;
	for (unsigned w = 0; w < c->conf.n_workers; w++) {
		atomic_store_explicit(&c->conf.borders[w]->tbl, t, memory_order_release);
		c->ring[w] = true;
	}
	if (n->tbl) {
		*old = (struct nl_old){.next = n->old, .tbl = n->tbl, .until = t->gen};
		n->old = old;
		n->n_old++;
	} else {
		free(old);
	}
	n->tbl = t;
	c->stats.snapshots++;
	iface_published(c);
	return 0;
}

uint64_t nl_adopted(const struct ctl *c)
{
	uint64_t adopted = UINT64_MAX;

	for (unsigned w = 0; w < c->conf.n_workers; w++) {
		uint64_t gen = atomic_load_explicit(&c->conf.borders[w]->adopted, memory_order_acquire);

		adopted = gen < adopted ? gen : adopted;
	}
	return adopted;
}

void nl_reap(struct ctl *c)
{
	struct nl_old **p = &c->nl.old;
	uint64_t adopted;

	if (!*p)
		return;
	adopted = nl_adopted(c);
	while (*p) {
		struct nl_old *o = *p;

		if (o->until > adopted) {
			p = &o->next;
			continue;
		}
		*p = o->next;
		net_tbl_free(o->tbl);
		free(o);
		c->nl.n_old--;
	}
}

void nl_forget(struct ctl *c)
{
	struct nl *n = &c->nl;

	for (unsigned w = 0; w < c->conf.n_workers; w++)
		atomic_store_explicit(&c->conf.borders[w]->tbl, NULL, memory_order_release);
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
