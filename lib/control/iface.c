/* SPDX-License-Identifier: MIT */

/*
 * Gateway ports whose interface goes, comes, or gets another name.  A device that stood on an interface which is no
 * more is closed, and opened again once there is one of that name.  The workers learn of both by the snapshot: first
 * that the port is closed; when every worker has adopted that, none touches the device or its queues any more, and it
 * may go; then that it is open.
 */

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "ctl_int.h"

#define RETRY_MS 1000  /* as stock's client tries again */
#define TELL_MS	 60000 /* the same reason is told again */

void iface_tell(struct ctl *c, unsigned port, const char *reason)
{
	struct iface *f = &c->iface[port];

	if (strcmp(f->reason, reason) == 0 && c->now - f->told < TELL_MS)
		return;
	snprintf(f->reason, sizeof(f->reason), "%s", reason);
	f->told = c->now;
	log_warn("re-connecting: port %s: %s", c->conf.ports[port].name, reason);
}

/* Not in the mirror, which may be behind, and not in the kernel. */
static bool is_gone(const struct ctl *c, int index)
{
	char name[IF_NAMESIZE];

	return !nl_link_at(&c->nl, index) && !if_indextoname((unsigned)index, name);
}

static void renamed(struct ctl *c, unsigned port, char name[IF_NAMESIZE], int index)
{
	const struct nl_link *l = nl_link_at(&c->nl, index);

	if (!l || strcmp(l->name, name) == 0)
		return;
	log_info("port %s: interface %s is called %s now, and served as before", c->conf.ports[port].name, name,
		 l->name);
	memcpy(name, l->name, IF_NAMESIZE);
}

/* The kernel's interface, with its addresses and routes, is another than the one that the device stands on: the port's
 * TAP, or, where the port is in a VLAN of a trunk that it shares, the kernel's of that VLAN. */
static bool is_other(const struct ctl_port *p)
{
	return p->tap || p->vlan;
}

/* What an open port's device stands on, or has made. */
static void take_base(struct ctl *c, unsigned port)
{
	int index = c->conf.ports[port].port->ifindex;

	if (index > 0 && !if_indextoname((unsigned)index, c->iface[port].base))
		c->iface[port].base[0] = '\0';
}

bool iface_open(struct ctl *c, unsigned port, const char *ifname)
{
	const struct ctl_port *p = &c->conf.ports[port];
	struct iface *f = &c->iface[port];
	char why[256] = "";

	if (c->conf.port_open(c->conf.ctx, port, ifname, why, sizeof(why))) {
		iface_tell(c, port, why);
		return false;
	}
	f->state = IFACE_OPEN;
	f->elsewhere = false;
	f->reason[0] = '\0';
	take_base(c, port);
	if (!is_other(p))
		memcpy(f->name, f->base, sizeof(f->name));
	else if (c->tap[port].ifindex)
		rtnl_link_set(&c->rtnl, c->tap[port].ifindex, p->port->mac, p->mtu);
	if (p->port->id <= UINT8_MAX)
		c->port_of[p->port->id] = (uint16_t)port;
	lo_opened(c, port);
	link_opened(c, port);
	c->stats.ports_opened++;
	if (f->base[0])
		log_info("port %s: interface %s is there, and served from now on", p->name, f->base);
	else
		log_info("port %s: its device is there, and served from now on", p->name);
	nl_again(&c->nl);
	return true;
}

/* By the name of the configuration, or else by that which it had last. */
static void try_named(struct ctl *c, unsigned port)
{
	const struct ctl_port *p = &c->conf.ports[port];
	const char *name = p->base ? p->base : "";
	char text[64];

	if (name[0] != '\0' && if_nametoindex(name) == 0 && if_nametoindex(c->iface[port].base))
		name = c->iface[port].base;
	if (name[0] != '\0' && if_nametoindex(name) == 0) {
		snprintf(text, sizeof(text), "no interface %s", name);
		iface_tell(c, port, text);
		return;
	}
	iface_open(c, port, name);
}

static void retry(struct ctl *c, unsigned port)
{
	const struct ctl_port *p = &c->conf.ports[port];
	char why[256] = "";

	if (c->iface[port].state == IFACE_AWAY && p->seek)
		seek_try(c, port);
	else if (c->iface[port].state == IFACE_AWAY)
		try_named(c, port);
	if (p->tap && c->tap[port].ev.fd < 0 && tap_again(c, port, why, sizeof(why)))
		iface_tell(c, port, why);
	if (c->iface[port].state == IFACE_AWAY || (p->tap && c->tap[port].ev.fd < 0))
		ctl_arm(c, &c->iface[port].retry, RETRY_MS);
}

static void on_retry(struct ctl *c, struct timer *t)
{
	retry(c, (unsigned)(container_of(t, struct iface, retry) - c->iface));
}

/* A port's TAP: made again when somebody has removed it, or taken it to where we do not see it. */
static void look_tap(struct ctl *c, unsigned port)
{
	struct tap *t = &c->tap[port];
	char name[IF_NAMESIZE];

	if (t->ev.fd < 0)
		return; /* it is being tried already */
	if (!is_gone(c, t->ifindex)) {
		renamed(c, port, c->iface[port].name, t->ifindex);
		return;
	}
	if (tun_alive(t->ev.fd, name)) {
		iface_tell(c, port,
			   "its TAP is in another network namespace, where its addresses and routes are not seen");
		return;
	}
	log_warn("port %s: its interface %s has been removed: making it again", c->conf.ports[port].name,
		 c->iface[port].name);
	ctl_ev_close(&t->ev);
	snprintf(c->iface[port].name, IF_NAMESIZE, "%s", c->conf.ports[port].ifname);
	retry(c, port);
}

static void look_base(struct ctl *c, unsigned port)
{
	const struct ctl_port *p = &c->conf.ports[port];
	struct iface *f = &c->iface[port];

	if (p->port->ifindex == 0 || !c->conf.port_close || f->elsewhere)
		return; /* it stands on none of the kernel's, or on none that we could see */
	if (!is_gone(c, p->port->ifindex)) {
		renamed(c, port, is_other(p) ? f->base : f->name, p->port->ifindex);
		return;
	}
	/* A driver that makes its interface, as net_tap does, goes on when somebody takes that to another namespace. */
	f->elsewhere = !p->seek && !(p->base && p->base[0]) && tun_fd_named(f->base) >= 0;
	if (f->elsewhere)
		return;
	log_warn("port %s: interface %s has gone: what is to leave by it is dropped until it is back", p->name,
		 is_other(p) ? f->base : f->name);
	if (!is_other(p))
		memcpy(f->base, f->name, sizeof(f->base));
	f->state = IFACE_CLOSING;
	f->gen = 0;
	link_closed(c, port);
}

void iface_lost(struct ctl *c, unsigned port)
{
	struct iface *f = &c->iface[port];

	if (!c->conf.port_close)
		return;
	log_warn("port %s: its device is being removed: what is to leave by it is dropped until it is back",
		 c->conf.ports[port].name);
	f->state = IFACE_CLOSING;
	f->gen = 0;
	link_closed(c, port);
	nl_again(&c->nl);
}

/* By the index of what its device stands on, or what we have made; else by name. */
static int index_of(const struct ctl *c, unsigned port)
{
	const struct ctl_port *p = &c->conf.ports[port];
	const struct nl_link *l;

	if (p->tap && c->tap[port].ifindex)
		return nl_link_at(&c->nl, c->tap[port].ifindex) ? c->tap[port].ifindex : 0;
	if (!p->tap && c->iface[port].state != IFACE_OPEN)
		return 0;
	if (!is_other(p) && p->port->ifindex)
		return nl_link_at(&c->nl, p->port->ifindex) ? p->port->ifindex : 0;
	l = nl_link_named(&c->nl, c->iface[port].name);
	return l ? l->index : 0;
}

void iface_look(struct ctl *c)
{
	for (unsigned d = 0; d < c->conf.n_ports; d++) {
		if (c->iface[d].state == IFACE_OPEN)
			look_base(c, d);
		else if (c->iface[d].state == IFACE_AWAY)
			retry(c, d);
		if (c->conf.ports[d].tap && c->tap[d].ifindex)
			look_tap(c, d);
		c->nl.port[d].ifindex = index_of(c, d);
	}
	link_seen(c);
}

void iface_published(struct ctl *c)
{
	for (unsigned d = 0; d < c->conf.n_ports; d++)
		if (c->iface[d].state == IFACE_CLOSING && c->iface[d].gen == 0)
			c->iface[d].gen = c->nl.gen;
}

void iface_turn(struct ctl *c)
{
	for (unsigned d = 0; d < c->conf.n_ports; d++) {
		struct iface *f = &c->iface[d];

		if (f->state != IFACE_CLOSING || f->gen == 0 || mirror_adopted(c) < f->gen)
			continue;
		if (c->conf.ports[d].port->id <= UINT8_MAX)
			c->port_of[c->conf.ports[d].port->id] = UINT16_MAX;
		c->conf.port_close(c->conf.ctx, d);
		f->state = IFACE_AWAY;
		c->stats.ports_closed++;
		retry(c, d);
	}
}

int iface_up(struct ctl *c, char *why, size_t why_n)
{
	(void)why;
	(void)why_n;
	memset(c->port_of, 0xff, sizeof(c->port_of));
	for (unsigned d = 0; d < c->conf.n_ports; d++) {
		const struct ctl_port *p = &c->conf.ports[d];
		struct iface *f = &c->iface[d];

		wheel_ent_init(&f->retry.ent);
		f->retry.fn = on_retry;
		f->state = p->port->started || !c->conf.port_open ? IFACE_OPEN : IFACE_AWAY;
		snprintf(f->name, sizeof(f->name), "%s", p->ifname ? p->ifname : "");
		snprintf(f->base, sizeof(f->base), "%s", p->base ? p->base : "");
		seek_up(c, d);
		if (f->state != IFACE_OPEN)
			continue;
		take_base(c, d);
		if (p->port->id <= UINT8_MAX)
			c->port_of[p->port->id] = (uint16_t)d;
	}
	return 0;
}

void iface_down(struct ctl *c)
{
	for (unsigned d = 0; d < c->conf.n_ports; d++) {
		seek_down(c, d);
		wheel_disarm(&c->wheel, &c->iface[d].retry.ent);
	}
}
