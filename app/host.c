/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host.h"
#include "port.h"
#include "route.h"

#define MTU_LEAST 576 /* of conf_port.mtu */
#define MTU_MOST  1500

/* ---- CPUs ---- */

/* "0@(0,2),1@(0,2)": the kernel's scheduler places the threads, as it would kcptun's. */
static void cpus(char *out, size_t out_n)
{
	char set[2000] = "";
	cpu_set_t allowed;
	size_t n = 0;

	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		CPU_SET(0, &allowed);
	for (int i = 0; i < CPU_SETSIZE && n < sizeof(set) - 8; i++)
		if (CPU_ISSET(i, &allowed))
			n += (size_t)snprintf(set + n, sizeof(set) - n, "%s%d", n ? "," : "", i);
	snprintf(out, out_n, "0@(%s),1@(%s)", set, set);
}

/* ---- interfaces ---- */

static bool sockaddr_addr(const struct sockaddr *sa, struct addr *a)
{
	if (sa && sa->sa_family == AF_INET) {
		*a = addr_v4(ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr));
		return true;
	}
	if (sa && sa->sa_family == AF_INET6)
		memcpy(a->b, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
	return sa && sa->sa_family == AF_INET6;
}

/* The interface that has the address. */
static int iface_owner(const struct addr *want, char ifname[16])
{
	struct ifaddrs *all, *i;
	struct addr a;
	int rc = -ENOENT;

	if (getifaddrs(&all))
		return -errno;
	for (i = all; i && rc; i = i->ifa_next) {
		if (!sockaddr_addr(i->ifa_addr, &a) || !addr_eq(&a, want))
			continue;
		snprintf(ifname, 16, "%s", i->ifa_name);
		rc = 0;
	}
	freeifaddrs(all);
	return rc;
}

static int resolve(const char *name, struct addr *a)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found;
	int rc = -ENOENT;

	if (addr_parse(name, a) == 0)
		return 0;
	if (getaddrinfo(name, NULL, &hints, &found))
		return -ENOENT;
	if (sockaddr_addr(found->ai_addr, a))
		rc = 0;
	freeaddrinfo(found);
	return rc;
}

/* The network, or a part of it, may come later; anything else is an error. */
static int later(int rc, const char *what, const char *of, char *why, size_t why_n)
{
	if (rc < 0)
		snprintf(why, why_n, "%s%.100s (%s)", what, of, strerror(-rc));
	return rc == -ENETUNREACH ? -EAGAIN : rc;
}

/*
 * A client's: that of the route to the server.  A server's: that of its address, or of the default route.  A gateway
 * that runs resolves names by itself, without holding up its start, nor its end.
 */
static int iface(void *ctx, const struct conf_tunnel *t, char ifname[16], char *why, size_t why_n)
{
	const char *name = t->role == CONF_CLIENT ? t->remote.host : t->listen.host;
	const struct host *h = ctx;
	const char *zone;
	struct addr a;

	if (name && addr_parse_zone(name, &a, &zone) == 0 && zone) {
		snprintf(ifname, 16, "%s", zone);
		return 0;
	}
	if (!name || name[0] == '\0' || (addr_parse(name, &a) == 0 && addr_is_any(&a)))
		return later(route_iface(NULL, ifname, 16), "the kernel has no default route", "", why, why_n);
	if (!h->lookup && addr_parse(name, &a))
		return -EAGAIN;
	if (resolve(name, &a) < 0) {
		snprintf(why, why_n, "%.100s has no address", name);
		return -EAGAIN;
	}
	if (t->role == CONF_SERVER && iface_owner(&a, ifname) == 0)
		return 0;
	return later(route_iface(&a, ifname, 16), "the kernel has no route to ", name, why, why_n);
}

unsigned host_mtu(const char *ifname)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {0};
	unsigned mtu = MTU_MOST;

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", ifname);
	if (fd >= 0 && ioctl(fd, SIOCGIFMTU, &r) == 0)
		mtu = (unsigned)r.ifr_mtu;
	if (fd >= 0)
		close(fd);
	if (mtu < MTU_LEAST)
		return MTU_LEAST;
	return mtu < MTU_MOST ? mtu : MTU_MOST;
}

unsigned host_mbps(const char *ifname)
{
	struct ethtool_cmd cmd = {.cmd = ETHTOOL_GSET};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {.ifr_data = (void *)&cmd};
	uint32_t mbps = 0;

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", ifname);
	if (fd >= 0 && ioctl(fd, SIOCETHTOOL, &r) == 0)
		mbps = ethtool_cmd_speed(&cmd);
	if (fd >= 0)
		close(fd);
	return mbps == (uint32_t)SPEED_UNKNOWN ? 0 : mbps;
}

void host_ports_mbps(const struct conf *c, unsigned mbps[CONF_PORTS_MAX])
{
	char base[IF_NAMESIZE];

	for (unsigned i = 0; i < c->n_ports; i++) {
		struct port_conf pc = {.device = c->ports[i].device, .vdev = c->ports[i].vdev};

		mbps[i] = !c->ports[i].seek && port_base(&pc, base, sizeof(base)) ? host_mbps(base) : 0;
	}
}

static unsigned iface_mtu(void *ctx, const char *ifname)
{
	(void)ctx;
	return host_mtu(ifname);
}

void host_init(struct host *h, bool lookup)
{
	h->lookup = lookup;
	cpus(h->lcores, sizeof(h->lcores));
	snprintf(h->file_prefix, sizeof(h->file_prefix), "kcpgate-%d", (int)getpid());
	h->conf = (struct conf_host){
		.key = getenv("KCPTUN_KEY"),
		.lcores = h->lcores,
		.ctx = h,
		.sockets = true, /* takes less CPU than AF_PACKET (perf/README.md), and needs no privileges */
		.file_prefix = h->file_prefix,
		.iface = iface,
		.mtu = iface_mtu,
	};
}

void host_wipe(struct host *h)
{
	char *key = getenv("KCPTUN_KEY");

	if (key)
		memset(key, 'x', strlen(key));
	unsetenv("KCPTUN_KEY");
	h->conf.key = NULL;
}
