/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devarg.h"
#include "parse.h"
#include "pciaddr.h"

/* ---- rows ---- */

static bool matches(const char *pattern, const char *text)
{
	regex_t re;
	bool yes;

	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		return false;
	yes = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return yes;
}

/* Whoever reads the device finds each in one form only, and two that are the same as the same. */
static int put_device(void *field, const char *text, const char **allowed)
{
	char addr[PCI_ADDR_LEN], form[LIMIT_DEVICE + PCI_ADDR_LEN];
	int pci = pci_addr_read(text, addr);
	struct conf_port *p = field;

	if (strlen(text) > LIMIT_DEVICE) {
		*allowed = "a device of up to " LIMIT_TEXT(LIMIT_DEVICE) " bytes";
		return -EINVAL;
	}
	if (!matches("^[^,[:space:]]+(,[^,[:space:]][^[:space:]]*)?$", text))
		return -EINVAL;
	p->vdev = pci < 0;
	if (pci > 0)
		snprintf(form, sizeof(form), "%s%s", addr, text + pci);
	else if (matches("^eth_bond", text)) /* DPDK's older names */
		snprintf(form, sizeof(form), "net_bonding%s", text + strlen("eth_bond"));
	else if (matches("^eth_[a-z0-9_]+(,|$)", text))
		snprintf(form, sizeof(form), "net_%s", text + strlen("eth_"));
	else if (matches("^(net_[a-z0-9_]+|virtio_user[0-9]+)(,|$)", text))
		snprintf(form, sizeof(form), "%s", text);
	else
		return -EINVAL;
	p->sockets = p->vdev && matches("^net_kudp[0-9]*(,|$)", form);
	return conf_put_text(&p->device, form, allowed);
}

static bool ifname_ok(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n < sizeof(((struct conf_port *)0)->ifname) && strcspn(name, "/:% \t\r\n") == n &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int put_ifname(void *field, const char *text, const char **allowed)
{
	if (!ifname_ok(text))
		return -EINVAL;
	snprintf(field, sizeof(((struct conf_port *)0)->ifname), "%s", text);
	return 0;
}

/* An address that an interface or a router may have. */
static bool is_host(const struct addr *a)
{
	static const uint8_t loopback6[16] = {[15] = 1};

	if (addr_is_any(a))
		return false;
	if (addr_is_v4(a))
		return a->b[12] != 127 && a->b[12] < 224;
	return a->b[0] != 0xff && memcmp(a->b, loopback6, sizeof(loopback6)) != 0;
}

/* A literal in its own family's form: "::ffff:192.0.2.1" would have two lengths of prefix. */
static int parse_host(const char *text, struct addr *a)
{
	if (addr_parse(text, a) < 0 || !is_host(a) || (addr_is_v4(a) && strchr(text, ':')))
		return -EINVAL;
	return 0;
}

static int put_address(void *field, const char *text, const char **allowed)
{
	struct conf_port *p = field;
	const char *slash = strchr(text, '/');
	char literal[ADDR_STRLEN];
	struct conf_addr a = {0};
	unsigned long plen;
	char *end;

	if (!slash || slash - text >= (ptrdiff_t)sizeof(literal))
		return -EINVAL;
	snprintf(literal, sizeof(literal), "%.*s", (int)(slash - text), text);
	if (parse_host(literal, &a.addr) < 0 || slash[1] < '0' || slash[1] > '9')
		return -EINVAL;
	plen = strtoul(slash + 1, &end, 10);
	if (*end != '\0' || plen < 1 || plen > (addr_is_v4(&a.addr) ? 32 : 128)) {
		*allowed = addr_is_v4(&a.addr) ? "a prefix length from 1 to 32" : "a prefix length from 1 to 128";
		return -EINVAL;
	}
	a.plen = (uint8_t)plen;
	if (p->n_addresses == CONF_ADDRS_MAX) {
		*allowed = "at most 16 addresses";
		return -EINVAL;
	}
	p->addresses[p->n_addresses++] = a;
	return 0;
}

static int put_gateway(void *field, const char *text, const char **allowed)
{
	struct conf_port *p = field;
	struct addr a;

	if (parse_host(text, &a) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < p->n_gateway; i++) {
		if (addr_is_v4(&p->gateway[i]) == addr_is_v4(&a)) {
			*allowed = "one gateway of each family";
			return -EINVAL;
		}
	}
	p->gateway[p->n_gateway++] = a;
	return 0;
}

#define PORT(f) .offset = offsetof(struct conf_port, f), .size = sizeof(((struct conf_port *)0)->f)

static const char *const exception_words[] = {"tap", "kernel", "virtio-user", NULL};

static char *get_device(const void *field)
{
	const char *device = ((const struct conf_port *)field)->device;

	return strdup(device ? device : "");
}

static const struct conf_item items[] = {
	{"name", .kind = CONF_TEXT, PORT(name), .flags = CONF_F_NEEDED, .put = conf_put_name, .get = conf_get_name,
	 .allowed = "1 to 31 characters of A-Z a-z 0-9 . _ -", .help = "by which tunnels and telemetry know the port"},
	{"device", .kind = CONF_TEXT, .flags = CONF_F_NEEDED, .put = put_device, .get = get_device,
	 .allowed = "a PCI address \"0000:03:00.0\" or a DPDK vdev \"net_af_packet0,iface=eth0\"",
	 .help = "the DPDK device"},
	{"exception", .kind = CONF_ENUM, PORT(exception), .words = exception_words,
	 .help = "where frames go that are not ours: a TAP of the port's own, by way of control or (virtio-user) from "
		 "the "
		 "workers by vhost-net; or nowhere, as the kernel holds the interface"},
	{"ifname", .kind = CONF_TEXT, PORT(ifname), .put = put_ifname, .get = conf_get_name,
	 .allowed = "an interface's name of 1 to 15 characters", .help = "the kernel's interface; not given: kg-NAME"},
	{"addresses", .kind = CONF_TEXT, .flags = CONF_F_MANY, .put = put_address,
	 .allowed = "a host's ADDRESS/LENGTH, \"192.0.2.7/24\" or \"2001:db8::7/64\"", .help = "set on the TAP"},
	{"gateway", .kind = CONF_TEXT, .flags = CONF_F_MANY, .put = put_gateway,
	 .allowed = "a host's address, \"192.0.2.1\" or \"2001:db8::1\"", .help = "default routes through the TAP"},
	{"mtu", .kind = CONF_UINT, PORT(mtu), .min = 576, .max = LIMIT_PORT_MTU, .help = "largest IP packet"},
	{"vlan", .kind = CONF_UINT, PORT(vlan), .min = 0, .max = 4094,
	 .help = "of a trunk, the VLAN that the port is in: frames bear its tag outside, and none on the TAP; 0: no "
		 "tags. By AF_XDP beside the kernel, ifname is the kernel's interface of that VLAN"},
	{"punt_rate", .kind = CONF_UINT, PORT(punt_rate), .max = LIMIT_PUNT_RATE,
	 .help = "frames a second that the TAP is given at most, 0: all; each kind of frame has a part of its own"},
	{"local_peers", .kind = CONF_BOOL, PORT(local_peers),
	 .help = "on lo, for a stock kcptun on this host as the peer by IPv4: net.ipv4.conf.lo.route_localnet and "
		 "accept_local are on while the gateway runs"},
	{NULL},
};

const struct conf_table conf_port_table = {items, NULL};

/* ---- the port as a whole ---- */

void conf_port_defaults(struct conf_port *p)
{
	p->mtu = 1500;
	p->punt_rate = 100000;
}

/* Drivers that leave the interface to the kernel. */
static bool is_shared(const struct conf_port *p)
{
	return p->vdev && matches("^net_af_(packet|xdp)[0-9]*(,|$)", p->device);
}

void conf_port_iface(const struct conf_port *p, char *out, size_t out_n)
{
	out[0] = '\0';
	if (p->vdev)
		devarg_read(p->device, "iface", out, out_n);
}

/*
 * AF_XDP beside the kernel is kcpgate's own device, with its own program (lib/port/xdp_port.h), under the name and with
 * the arguments that DPDK's driver has for the like: its other arguments have no meaning there.
 */
static int finish_xdp(struct conf_reader *r, const struct conf_obj *o, const struct conf_port *p)
{
	char v[8];

	for (const char *at = strchr(p->device, ','); at; at = strchr(at, ',')) {
		size_t n = strcspn(++at, "=,");

		if ((n != strlen("iface") || strncmp(at, "iface", n)) &&
		    (n != strlen("force_copy") || strncmp(at, "force_copy", n)))
			return conf_obj_fail(
				r, o, "device",
				"found %.*s with net_af_xdp and exception \"kernel\"; allowed: iface=NAME and "
				"force_copy=1, as kcpgate brings its own XDP program and serves all queues",
				(int)n, at);
	}
	if (devarg_read(p->device, "force_copy", v, sizeof(v)) && strcmp(v, "0") != 0 && strcmp(v, "1") != 0)
		return conf_obj_fail(r, o, "device", "found force_copy=%s; allowed: 0 or 1", v);
	return 0;
}

/* What only an interface of the port's own can have. */
static int finish_shared(struct conf_reader *r, const struct conf_obj *o, const struct conf_port *p)
{
	if (p->n_addresses)
		return conf_obj_fail(r, o, "addresses",
				     "found with exception \"kernel\"; allowed: the kernel's own "
				     "addresses only (ip address add)");
	if (p->n_gateway)
		return conf_obj_fail(r, o, "gateway",
				     "found with exception \"kernel\"; allowed: the kernel's own "
				     "routes only (ip route add)");
	if (p->vlan && !matches("^net_af_xdp", p->device))
		return conf_obj_fail(
			r, o, "vlan",
			"found %u with exception \"kernel\"; allowed: the kernel's own interface of that VLAN "
			"(ip link add type vlan), as iface= in device",
			p->vlan);
	if (conf_obj_line(o, "punt_rate"))
		return conf_obj_fail(r, o, "punt_rate",
				     "found with exception \"kernel\"; allowed: with \"tap\" only, as the kernel "
				     "gets its frames by itself");
	return 0;
}

/* The kernel's sockets stand on no interface, or on all. */
static int finish_sockets(struct conf_reader *r, const struct conf_obj *o, const struct conf_port *p)
{
	if (p->exception != CONF_EXC_KERNEL)
		return conf_obj_fail(r, o, "exception", "found \"%s\" with %s; allowed: \"kernel\"",
				     exception_words[p->exception], p->device);
	if (strchr(p->device, ','))
		return conf_obj_fail(r, o, "device", "found \"%s\"; allowed: net_kudp without arguments", p->device);
	if (p->ifname[0] != '\0')
		return conf_obj_fail(r, o, "ifname",
				     "found \"%s\" with %s; allowed: none, as its sockets hear on all interfaces (a "
				     "tunnel's listen may name an address)",
				     p->ifname, p->device);
	return finish_shared(r, o, p);
}

static int finish_kernel(struct conf_reader *r, const struct conf_obj *o, struct conf_port *p)
{
	char iface[64];
	int rc;

	if (p->seek)
		return 0;
	rc = finish_shared(r, o, p);
	if (rc < 0)
		return rc;
	conf_port_iface(p, iface, sizeof(iface));
	if (iface[0] != '\0' && !ifname_ok(iface))
		return conf_obj_fail(r, o, "device",
				     "found iface=%s; allowed: an interface's name of 1 to 15 characters", iface);
	if (p->vlan && (p->ifname[0] == '\0' || strcmp(p->ifname, iface) == 0))
		return conf_obj_fail(r, o, "ifname",
				     "found \"%s\" with vlan %u; allowed: the kernel's own interface of that VLAN, "
				     "whose addresses and routes are the port's (ip link add type vlan)",
				     p->ifname, p->vlan);
	if (!p->vlan && p->ifname[0] != '\0' && iface[0] != '\0' && strcmp(p->ifname, iface) != 0)
		return conf_obj_fail(r, o, "ifname", "found \"%s\"; allowed: \"%s\", as in device", p->ifname, iface);
	if (p->ifname[0] == '\0' && iface[0] == '\0')
		return conf_obj_fail(r, o, "ifname",
				     "found nothing with exception \"kernel\"; allowed: the name of the "
				     "kernel's interface, here or as iface= in device");
	if (p->ifname[0] == '\0')
		snprintf(p->ifname, sizeof(p->ifname), "%.15s", iface);
	return matches("^net_af_xdp", p->device) ? finish_xdp(r, o, p) : 0;
}

static bool is_ours(const struct conf_port *p, const struct addr *a)
{
	for (unsigned i = 0; i < p->n_addresses; i++)
		if (addr_eq(&p->addresses[i].addr, a))
			return true;
	return false;
}

/* Whether the kernel would take `gw` as next hop of this interface. */
static bool on_link(const struct conf_port *p, const struct addr *gw)
{
	if (is_ours(p, gw))
		return false;
	if (!addr_is_v4(gw) && gw->b[0] == 0xfe && (gw->b[1] & 0xc0) == 0x80)
		return true;
	for (unsigned i = 0; i < p->n_addresses; i++) {
		const struct addr *a = &p->addresses[i].addr;
		unsigned bits = p->addresses[i].plen + (addr_is_v4(a) ? 96 : 0), same = 0;

		while (same < bits && !((a->b[same / 8] ^ gw->b[same / 8]) & (0x80 >> same % 8)))
			same++;
		if (same == bits)
			return true;
	}
	return false;
}

static int finish_tap(struct conf_reader *r, const struct conf_obj *o, struct conf_port *p)
{
	char buf[ADDR_STRLEN], iface[64];

	for (unsigned i = 0; i < p->n_gateway; i++)
		if (!on_link(p, &p->gateway[i]))
			return conf_obj_fail(r, o, "gateway",
					     "found \"%s\"; allowed: a neighbour within a prefix of addresses, or a "
					     "link-local address",
					     addr_str(&p->gateway[i], buf));
	conf_port_iface(p, iface, sizeof(iface));
	if (p->ifname[0] != '\0' && strcmp(p->ifname, iface) == 0)
		return conf_obj_fail(
			r, o, "ifname",
			"found \"%s\", on which the device stands; allowed: a name for the TAP, which is an "
			"interface of its own",
			iface);
	if (p->ifname[0] != '\0')
		return 0;
	if (strlen("kg-") + strlen(p->name) >= sizeof(p->ifname))
		return conf_obj_fail(r, o, "ifname", "found nothing; allowed: 1 to 15 characters, as kg-%s is too long",
				     p->name);
	snprintf(p->ifname, sizeof(p->ifname), "kg-%.12s", p->name);
	return 0;
}

/* EAL would take no PCI device at all. */
static bool no_pci(const struct conf *c)
{
	for (char **arg = c->eal.args; arg && *arg; arg++)
		if (strcmp(*arg, "--no-pci") == 0)
			return true;
	return false;
}

int conf_port_finish(struct conf_reader *r, const struct conf_obj *o)
{
	struct conf_port *p = o->base;
	int rc;

	p->line = (int)o->line;
	rc = conf_obj_roles(r, o, 0);
	if (rc < 0)
		return rc;
	if (!p->vdev && no_pci(r->c))
		return conf_obj_fail(r, o, "device",
				     "found a PCI address, and --no-pci in eal.args; allowed: one of the two");
	if (!conf_obj_line(o, "exception"))
		p->exception = is_shared(p) || p->sockets ? CONF_EXC_KERNEL : CONF_EXC_TAP;
	if (p->local_peers && (p->sockets || p->exception != CONF_EXC_KERNEL))
		return conf_obj_fail(r, o, "local_peers",
				     "found true with %s; allowed: with net_af_packet on lo, and exception \"kernel\"",
				     p->sockets ? p->device : "an interface of its own");
	if (p->sockets)
		return finish_sockets(r, o, p);
	if (p->mtu > LIMIT_AFP_MTU && p->vdev && matches("^net_af_packet[0-9]*(,|$)", p->device))
		return conf_obj_fail(r, o, "mtu", "found %u; allowed: an integer from 576 to %u with net_af_packet",
				     p->mtu, LIMIT_AFP_MTU);
	return p->exception == CONF_EXC_KERNEL ? finish_kernel(r, o, p) : finish_tap(r, o, p);
}
