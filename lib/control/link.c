/* SPDX-License-Identifier: MIT */

/*
 * Ports' links: logged, in telemetry, in the snapshot (a port without one is down), and the carrier of the port's TAP.
 *
 * A device that stands on an interface of the kernel's has that one's carrier, which the mirror shows; whether it is
 * being taken out is looked at all the same.  All others are asked from time to time.  Their interrupts would tell
 * sooner, but not all: a driver with one interrupt for everything gives it to the receive queues and says nothing, and
 * with them on, nobody can ask the device itself any more.
 */

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "ctl_int.h"

#define LINK_MS	     100
#define LINK_MOST_MS 2000
#define GONE_MS	     1000 /* while there is none to ask: whether a device is being taken out */
#define LINK_COST    500 /* of the time one part in so many goes into asking, until then: some drivers wait for a PHY */

static uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static bool is_open(const struct ctl *c, unsigned port)
{
	return c->iface[port].state == IFACE_OPEN;
}

/* It must be asked: no interface shows it. */
static bool to_ask(const struct ctl *c, unsigned port)
{
	return c->conf.port_link && is_open(c, port) && !c->conf.ports[port].port->ifindex;
}

/* When it is to be looked at next; 0: never.  A device may go whose interface is the kernel's (mlx5), too. */
static unsigned next_look(const struct ctl *c, unsigned port)
{
	if (to_ask(c, port))
		return LINK_MS;
	return c->conf.port_close && is_open(c, port) ? GONE_MS : 0;
}

static struct port_link link_now(struct ctl *c, unsigned port)
{
	const struct port *dev = c->conf.ports[port].port;
	struct port_link l = {.up = is_open(c, port), .gone = is_open(c, port) && atomic_load(&dev->gone)};
	const struct nl_link *base;

	if (to_ask(c, port)) {
		c->conf.port_link(c->conf.ctx, port, &l);
		return l;
	}
	base = nl_link_at(&c->nl, dev->ifindex);
	/* Not in the mirror: it is new, or where we do not see it. */
	l.up = l.up && (!base || nl_link_sends(base));
	return l;
}

static void tell(const struct ctl *c, unsigned port)
{
	const struct port_link *l = &c->iface[port].link;
	const char *name = c->conf.ports[port].name;

	if (!l->up)
		log_warn("port %s: link is down", name);
	else if (l->mbps)
		log_info("port %s: link is up, %u Mb/s, %s duplex", name, l->mbps, l->full ? "full" : "half");
	else
		log_info("port %s: link is up", name);
}

/* Since the port was opened: how it is found first is told only when it is down. */
static void begin(struct ctl *c, unsigned port)
{
	struct iface *f = &c->iface[port];

	f->link = link_now(c, port);
	tap_carrier(c, port, f->link.up);
	if (f->state == IFACE_OPEN && !f->link.up)
		tell(c, port);
}

void link_opened(struct ctl *c, unsigned port)
{
	unsigned ms = next_look(c, port);

	begin(c, port);
	if (!ms)
		return;
	/* The timer may wait for longer, for ports that are only looked at. */
	wheel_disarm(&c->wheel, &c->link_timer.ent);
	ctl_arm(c, &c->link_timer, ms);
}

void link_closed(struct ctl *c, unsigned port)
{
	begin(c, port);
}

static void look(struct ctl *c, unsigned port)
{
	struct port_link l = link_now(c, port);
	struct iface *f = &c->iface[port];
	bool was = f->link.up;

	if (l.gone) {
		iface_lost(c, port);
		return;
	}
	if (f->state != IFACE_OPEN || (was == l.up && f->link.mbps == l.mbps && f->link.full == l.full))
		return;
	f->link = l;
	tell(c, port);
	if (was == l.up)
		return;
	f->link_changes++;
	tap_carrier(c, port, l.up);
	nl_again(&c->nl);
}

void link_seen(struct ctl *c)
{
	for (unsigned d = 0; d < c->conf.n_ports; d++)
		if (!to_ask(c, d))
			look(c, d);
}

static void on_timer(struct ctl *c, struct timer *t)
{
	uint64_t from = clock_us(), ms;
	unsigned next = 0;

	for (unsigned d = 0; d < c->conf.n_ports; d++) {
		unsigned due = next_look(c, d);

		if (due)
			look(c, d);
		next = due && (!next || due < next) ? due : next;
	}
	ms = (clock_us() - from) * LINK_COST / 1000;
	ms = ms < LINK_MOST_MS ? ms : LINK_MOST_MS;
	if (next)
		ctl_arm(c, t, ms > next ? ms : next);
}

int link_up(struct ctl *c, char *why, size_t why_n)
{
	(void)why;
	(void)why_n;
	wheel_ent_init(&c->link_timer.ent);
	c->link_timer.fn = on_timer;
	for (unsigned d = 0; d < c->conf.n_ports; d++)
		link_opened(c, d);
	return 0;
}

void link_down(struct ctl *c)
{
	wheel_disarm(&c->wheel, &c->link_timer.ent);
}

struct ctl_port_now ctl_port_now(const struct ctl *c, unsigned port)
{
	const struct iface *f = &c->iface[port];

	return (struct ctl_port_now){.open = f->state == IFACE_OPEN, .link = f->link, .changes = f->link_changes};
}
