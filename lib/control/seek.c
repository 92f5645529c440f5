/* SPDX-License-Identifier: MIT */

/*
 * The interface of a port that names none, as kcptun's command line does not: found by the kernel's routes once the
 * name resolves and there is one, and anew when it has gone: it need not be the same.
 */

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "ctl_int.h"
#include "route.h"
#include "sock.h"

/* The interface that has this address as its own: by the kernel, for the mirror may be behind. */
static bool owner(const struct addr *a, char ifname[IF_NAMESIZE])
{
	struct ifaddrs *all, *i;
	bool found = false;

	if (getifaddrs(&all))
		return false;
	for (i = all; i && !found; i = i->ifa_next) {
		struct sockaddr_storage ss = {0};
		struct addr own;
		uint16_t none;

		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		memcpy(&ss, i->ifa_addr,
		       i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
		sock_addr_read(&ss, &own, &none);
		found = addr_eq(&own, a);
		if (found)
			snprintf(ifname, IF_NAMESIZE, "%s", i->ifa_name);
	}
	freeifaddrs(all);
	return found;
}

static bool find(const struct ctl *c, unsigned port, const struct addr *a, char ifname[IF_NAMESIZE])
{
	bool found = route_iface(a, ifname, IF_NAMESIZE) == 0;

	/* Afterwards: the route to an address of our own leaves by loopback, whoever has it. */
	return (c->conf.ports[port].seek == CTL_SEEK_OWNER && owner(a, ifname)) || found;
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

bool ctl_seeking(const struct ctl *c)
{
	bool any = false;

	if (resv_seeking(c))
		return true;
	for (unsigned d = 0; d < c->conf.n_ports; d++) {
		if (!c->conf.ports[d].seek)
			continue;
		if (c->iface[d].state == IFACE_AWAY && c->iface[d].reason[0] == '\0')
			return true;
		any = true;
	}
	return any && (c->nl.dirty || c->nl.changed || c->nl.reading >= 0);
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
