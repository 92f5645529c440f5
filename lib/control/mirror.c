/* SPDX-License-Identifier: MIT */

/* The mirror of the kernel's tables (lib/kernel) in control's turn, and its snapshots on their way to the workers. */

#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

#include "ctl_int.h"

#define START_TURNS 100000 /* the first reading's limit: tables of some ten million entries */

uint64_t mirror_adopted(const struct ctl *c)
{
	uint64_t adopted = UINT64_MAX;

	for (unsigned w = 0; w < c->conf.n_workers; w++) {
		uint64_t gen = atomic_load_explicit(&c->conf.borders[w]->adopted, memory_order_acquire);

		adopted = gen < adopted ? gen : adopted;
	}
	return adopted;
}

/* What the mirror must know of the ports that iface_look has just looked at. */
static void tell_ports(struct ctl *c)
{
	for (unsigned d = 0; d < c->conf.n_ports; d++) {
		const struct ctl_port *p = &c->conf.ports[d];
		struct nl_port *n = &c->nl.port[d];

		n->base = p->port->ifindex;
		memcpy(n->mac, p->port->mac, sizeof(n->mac));
		n->mtu = p->mtu;
		n->vlan = p->vlan;
		n->exclusive = p->tap;
		n->sockets = p->port->kudp;
		n->closed = c->iface[d].state != IFACE_OPEN;
		n->no_link = !c->iface[d].link.up;
	}
}

static void publish(struct ctl *c)
{
	if (c->published != c->nl.gen) {
		c->published = c->nl.gen;
		for (unsigned w = 0; w < c->conf.n_workers; w++) {
			atomic_store_explicit(&c->conf.borders[w]->tbl, c->nl.tbl, memory_order_release);
			c->ring[w] = true;
		}
		c->stats.snapshots++;
	}
	/* Also when nothing is new: a port that was opened and has gone since is closed in the last one already. */
	iface_published(c);
}

void mirror_turn(struct ctl *c)
{
	enum nl_got got;

	if (c->nl.n_old)
		nl_reap(&c->nl, mirror_adopted(c));
	do {
		got = nl_turn(&c->nl, c->now);
		if (got == NL_GOT_LINKS) {
			iface_look(c);
			tell_ports(c);
		}
	} while (got == NL_GOT_LINKS);
	if (got == NL_GOT_SNAPSHOT)
		publish(c);
}

static void on_events(struct ctl *c, struct ev *e, uint32_t events)
{
	(void)e;
	(void)events;
	nl_events(&c->nl, c->now);
}

int mirror_up(struct ctl *c, char *why, size_t why_n)
{
	int err = nl_open(&c->nl, &c->rtnl, c->conf.n_ports, c->now);

	if (err)
		return ctl_fail(why, why_n, err, "rtnetlink: %s", strerror(-err));
	c->nl_ev = (struct ev){.fd = nl_fd(&c->nl), .fn = on_events};
	err = ctl_ev_add(c, &c->nl_ev, EPOLLIN);
	if (err)
		return ctl_fail(why, why_n, err, "rtnetlink: %s", strerror(-err));
	for (unsigned i = 0; !c->nl.tbl && i < START_TURNS; i++) {
		nl_at_once(&c->nl);
		mirror_turn(c);
	}
	if (!c->nl.tbl)
		return ctl_fail(why, why_n, -EAGAIN, "rtnetlink: the kernel's tables cannot be read");
	return 0;
}

void mirror_down(struct ctl *c)
{
	for (unsigned w = 0; w < c->conf.n_workers; w++)
		atomic_store_explicit(&c->conf.borders[w]->tbl, NULL, memory_order_release);
	nl_close(&c->nl);
}
