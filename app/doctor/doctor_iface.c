/* SPDX-License-Identifier: MIT */

/* Interfaces of the kernel's: those that ports share with it, and those that a card's other traffic goes through. */

#include <linux/capability.h>
#include <string.h>

#include "doctor_int.h"

/* ---- shared with the kernel ---- */

static void shared(struct doctor *d, const struct conf_port *p)
{
	long long mtu = 0, carrier = 0;

	if (p->sockets) {
		doctor_add(d, DOCTOR_OK,
			   "port %s: UDP sockets of the kernel's, which need no interface and no privileges", p->name);
		return;
	}
	if (p->seek || !p->ifname[0]) {
		doctor_add(d, DOCTOR_OK, "port %s: its interface is found at the start", p->name);
		return;
	}
	if (!doctor_exists(d, "/sys/class/net/%s", p->ifname)) {
		doctor_add(d, DOCTOR_HINT, "port %s: no interface %s now", p->name, p->ifname);
		doctor_why(d, "the gateway starts, and waits for it");
		doctor_mend(d, "ip link: is it there under another name?");
		return;
	}
	doctor_number(d, &mtu, "/sys/class/net/%s/mtu", p->ifname);
	/* Of an interface that is down there is nothing to be read. */
	if (!doctor_number(d, &carrier, "/sys/class/net/%s/carrier", p->ifname) || carrier == 0) {
		doctor_add(d, DOCTOR_HINT, "port %s: interface %s is down, or has no carrier", p->name, p->ifname);
		doctor_why(d, "nothing goes through it meanwhile");
		doctor_mend(d, "ip link set %s up; then the cable, or the other end", p->ifname);
		return;
	}
	doctor_add(d, DOCTOR_OK, "port %s: interface %s, up, MTU %lld, %u receive queues", p->name, p->ifname, mtu,
		   doctor_names(d, "rx-", "/sys/class/net/%s/queues", p->ifname));
}

/* ---- the exception path's ---- */

/* A device file by which the exception interface is made; before: what stands before its name in the line. */
static bool file_can(struct doctor *d, const char *before, const char *file, const char *module, const char *why)
{
	bool there = doctor_exists(d, "%s", file);

	if (doctor_open(d, "%s", file))
		return true;
	doctor_add(d, DOCTOR_MISSING, "%s%s %s", before, file, there ? "may not be opened" : "is not there");
	doctor_why(d, "%s", why);
	if (there)
		doctor_mend(d, "run it as root; or give %s to this user, to read and write", file);
	else
		doctor_mend(d, "modprobe %s; for every boot: echo %s >/etc/modules-load.d/%s.conf", module, module,
			    module);
	return false;
}

static void tap_can(struct doctor *d)
{
	if (!file_can(d, "", "/dev/net/tun", "tun", "exception = \"tap\" makes an interface by it"))
		return;
	if (doctor_cap(d, CAP_NET_ADMIN)) {
		doctor_add(d, DOCTOR_OK, "/dev/net/tun, and CAP_NET_ADMIN for it");
		return;
	}
	doctor_add(d, DOCTOR_MISSING, "CAP_NET_ADMIN is missing, for exception = \"tap\"");
	doctor_why(d, "the gateway makes interfaces and sets their addresses");
	doctor_mend(d, "run it as root; or AmbientCapabilities=CAP_NET_ADMIN of the systemd unit; or setcap");
}

static void vhost_can(struct doctor *d, const struct conf_port *p)
{
	char before[64];

	snprintf(before, sizeof(before), "port %s: ", p->name);
	file_can(d, before, "/dev/vhost-net", "vhost_net",
		 "exception = \"virtio-user\" gives the kernel its frames by it");
}

static void tap_name(struct doctor *d, const struct conf_port *p)
{
	if (!doctor_exists(d, "/sys/class/net/%s", p->ifname))
		return;
	if (doctor_exists(d, "/sys/class/net/%s/tun_flags", p->ifname)) {
		doctor_add(d, DOCTOR_HINT, "port %s: a TAP interface %s is there already", p->name, p->ifname);
		doctor_why(d, "it is this gateway's, if that runs; if it is another's, this one does not start");
		doctor_mend(d, "another ports.%s.ifname", p->name);
		return;
	}
	doctor_add(d, DOCTOR_MISSING, "port %s: interface %s is there, and is no TAP", p->name, p->ifname);
	doctor_why(d, "the gateway would make one of that name");
	doctor_mend(d, "another ports.%s.ifname", p->name);
}

static bool any_v6(const struct conf_port *p)
{
	for (unsigned i = 0; i < p->n_addresses; i++)
		if (!addr_is_v4(&p->addresses[i].addr))
			return true;
	return false;
}

static void tap_v6(struct doctor *d, const struct conf_port *p)
{
	long long off = 0;

	if (!any_v6(p) || !doctor_number(d, &off, "/proc/sys/net/ipv6/conf/default/disable_ipv6") || !off)
		return;
	doctor_add(d, DOCTOR_MISSING, "port %s: IPv6 is off for new interfaces", p->name);
	doctor_why(d, "its IPv6 addresses cannot be set");
	doctor_mend(d, "sysctl -w net.ipv6.conf.default.disable_ipv6=0");
}

/* The stricter of what holds for all and for this one counts. */
static void tap_filter(struct doctor *d, const struct conf_port *p)
{
	long long all = 0, one = 0;

	doctor_number(d, &all, "/proc/sys/net/ipv4/conf/all/rp_filter");
	if (!doctor_number(d, &one, "/proc/sys/net/ipv4/conf/%s/rp_filter", p->ifname))
		doctor_number(d, &one, "/proc/sys/net/ipv4/conf/default/rp_filter");
	if ((all > one ? all : one) != 1)
		return;
	doctor_add(d, DOCTOR_HINT, "port %s: reverse path filter of %s is strict", p->name, p->ifname);
	doctor_why(d, "the kernel drops what arrives there from addresses that it would answer by another interface; "
		      "tunnels are not concerned");
	doctor_mend(d, "sysctl -w net.ipv4.conf.all.rp_filter=2, in /etc/sysctl.d for every boot");
}

static void policy(struct doctor *d)
{
	char first[DOCTOR_TEXT / 2];
	int n = d->ask.rules(first, sizeof(first));

	if (n <= 0)
		return;
	doctor_add(d, DOCTOR_HINT, "policy routing: %d rules that the gateway does not follow, the first \"%s\"", n,
		   first);
	doctor_why(d, "what it sends goes by the main table, whatever a rule says of its addresses");
	doctor_mend(d, "ip route add: what its peers need, to the main table");
}

void doctor_interfaces(struct doctor *d)
{
	const struct conf *c = d->conf;
	bool tap = false;

	policy(d);
	for (unsigned i = 0; i < c->n_ports; i++) {
		const struct conf_port *p = &c->ports[i];

		if (p->exception == CONF_EXC_KERNEL) {
			shared(d, p);
			continue;
		}
		if (!tap)
			tap_can(d);
		tap = true;
		if (p->exception == CONF_EXC_VIRTIO)
			vhost_can(d, p);
		tap_name(d, p);
		tap_v6(d, p);
		tap_filter(d, p);
	}
}
