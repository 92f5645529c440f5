/* SPDX-License-Identifier: MIT */

/*
 * The interface of a port that names none, as kcptun's command line does not: found by the kernel's routes once the
 * name resolves and there is one, and anew when it has gone: it need not be the same.
 */

#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "ctl_int.h"
#include "route.h"

/* The interface that has this address, as its own, by the mirror. */
static bool owner(const struct ctl *c, const struct addr *a, char ifname[IF_NAMESIZE])
{
	const struct nl_vec *addrs = &c->nl.table[NL_ADDR];

	for (unsigned i = 0; i < addrs->n; i++) {
		const struct nl_addr *e = (const struct nl_addr *)addrs->v + i;

		if (addr_eq(&e->local.addr, a))
			return if_indextoname((unsigned)e->index, ifname) != NULL;
	}
	return false;
}

static bool find(const struct ctl *c, unsigned port, const struct addr *a, char ifname[IF_NAMESIZE])
{
	if (c->conf.ports[port].seek == CTL_SEEK_OWNER && owner(c, a, ifname))
		return true;
	return route_iface(a, ifname, IF_NAMESIZE) == 0;
}

static void on_host(struct ctl *c, unsigned port)
{
	const struct name *n = &c->iface[port].host;
	char ifname[IF_NAMESIZE], text[160];

	if (c->iface[port].state != IFACE_AWAY)
		return;
	for (unsigned i = 0; i < n->n; i++) {
		if (find(c, port, &n->addrs[i], ifname)) {
			iface_open(c, port, ifname);
			return;
		}
	}
	if (n->n == 0)
		snprintf(text, sizeof(text), "%.80s: %s", n->host, name_error(n));
	else
		snprintf(text, sizeof(text), "the kernel has no route to %.80s", n->host);
	iface_tell(c, port, text);
}

static void on_name(struct ctl *c, struct name_wait *w)
{
	on_host(c, (unsigned)(container_of(w, struct iface, wait) - c->iface));
}

void seek_try(struct ctl *c, unsigned port)
{
	struct iface *f = &c->iface[port];
	char ifname[IF_NAMESIZE];

	if (c->conf.ports[port].seek == CTL_SEEK_DEFAULT) {
		if (route_iface(NULL, ifname, sizeof(ifname)) == 0)
			iface_open(c, port, ifname);
		else
			iface_tell(c, port, "the kernel has no default route");
		return;
	}
	if (list_empty(&f->wait.link) && name_ask(&c->names, &f->host, &f->wait, c->now))
		on_host(c, port);
}

void seek_up(struct ctl *c, unsigned port)
{
	struct iface *f = &c->iface[port];

	name_init(&f->host, c->conf.ports[port].seek_host);
	name_wait_init(&f->wait, on_name);
}

void seek_down(struct ctl *c, unsigned port)
{
	name_cancel(&c->iface[port].wait);
}
