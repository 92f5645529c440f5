/* SPDX-License-Identifier: MIT */

/*
 * A gateway port on the loopback interface: both ends of a tunnel on one host.  Our frames enter there from outside the
 * kernel's own output, and its IPv4 input takes 127/8 and other addresses of the host itself for forged then, unless
 * two switches of that interface say otherwise.  Two gateways hear each other without; a program with a UDP socket,
 * such as a stock kcptun, needs them.  They concern frames that come in by the loopback interface alone, which only a
 * process with CAP_NET_RAW can send; so they are left as they are at the end, when another gateway may still need them.
 */

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl_int.h"

/* 1 when it was changed, 0 when it is on already, -errno. */
static int switch_on(const char *ifname, const char *key)
{
	char path[128], now = 0;
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", ifname, key);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (read(fd, &now, 1) != 1)
		err = -EIO;
	close(fd);
	if (err || now == '1')
		return err;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, "1", 1) != 1)
		err = -errno;
	close(fd);
	return err ? err : 1;
}

static void prepare(const struct ctl_port *p, const char *ifname)
{
	static const char *const keys[] = {"route_localnet", "accept_local"};

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		int err = switch_on(ifname, keys[i]);

		if (err > 0)
			log_info("port %s: net.ipv4.conf.%s.%s is on now, for stock kcptun on this host", p->name,
				 ifname, keys[i]);
		else if (err)
			log_warn("port %s: net.ipv4.conf.%s.%s cannot be set (%s): a stock kcptun on this host gets no "
				 "IPv4 from this gateway",
				 p->name, ifname, keys[i], strerror(-err));
	}
}

void lo_opened(struct ctl *c, unsigned port)
{
	if (nl_is_loopback(&c->nl, c->conf.ports[port].port->ifindex) && !c->conf.ports[port].tap)
		prepare(&c->conf.ports[port], c->iface[port].name);
}

int lo_up(struct ctl *c, char *why, size_t why_n)
{
	(void)why;
	(void)why_n;
	for (unsigned d = 0; d < c->conf.n_ports; d++)
		if (nl_is_loopback(&c->nl, c->nl.port[d].ifindex) && !c->conf.ports[d].tap)
			prepare(&c->conf.ports[d], c->iface[d].name);
	return 0;
}

void lo_down(struct ctl *c)
{
	(void)c;
}
