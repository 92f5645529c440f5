/* SPDX-License-Identifier: MIT */

/* The mirror of the kernel's tables (lib/kernel) in control's turn, and its snapshots on their way to the workers. */

#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

#include "ctl_int.h"
#include "xdp_port.h"

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

/* Rules that lead to other tables, and VRFs, which have one each: what is not followed is said. */
static void tell_rules(struct ctl *c)
{
	const struct nl_vec *v = &c->nl.table[NL_RULE];
	char text[NL_RULE_TEXT];

	if (c->rules_told == c->nl.rules_gen)
		return;
	c->rules_told = c->nl.rules_gen;
	c->stats.rules = v->n;
	if (v->n)
		log_warn(
			"policy routing: %u rules of the kernel's are not followed, the first \"%s\": what the gateway "
			"sends goes by the main table",
			v->n, nl_rule_text(v->v, text));
	else
		log_info("policy routing: there are no rules any more that would not be followed");
}

static void tell_vrfs(struct ctl *c)
{
	for (unsigned d = 0; d < c->conf.n_ports; d++) {
		const struct nl_link *vrf = nl_vrf_of(&c->nl, d);
		int index = vrf ? vrf->index : 0;

		if (index && c->vrf_told[d] != index)
			log_warn(
				"port %s: its interface is part of the VRF %s, whose routes are not followed: what the "
				"gateway sends goes by the main table",
				c->conf.ports[d].name, vrf->name);
		c->vrf_told[d] = index;
	}
}

static void tell(struct ctl *c)
{
	const struct nl_routes *r = &c->nl.routes;

	tell_rules(c);
	tell_vrfs(c);
	c->stats.routes = r->fib.n_route;
	c->stats.route_bytes = r->fib.bytes;
	c->stats.route_changes = r->stats.changes;
	c->stats.route_reads = r->stats.reads;
}

static void publish(struct ctl *c)
{
	if (c->published != c->nl.gen) {
		c->published = c->nl.gen;
		port_xdp_locals(c->nl.tbl);
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
	if (got == NL_GOT_SNAPSHOT) {
		tell(c);
		publish(c);
	}
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
