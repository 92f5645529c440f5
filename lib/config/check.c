/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "parse.h"

/* Rules between ports, tunnels and the rest.  Each compares pairs: a file has tens of them, a thousand at the most. */

static int check_presence(struct conf_reader *r)
{
	unsigned missing_line = 1;

	if (r->c->n_ports == 0)
		return conf_fail(r, missing_line, "ports: found nothing; allowed: 1 to %d ports", CONF_PORTS_MAX);
	if (r->c->n_tunnels == 0)
		return conf_fail(r, missing_line, "tunnels: found nothing; allowed: 1 to %d tunnels", CONF_TUNNELS_MAX);
	return 0;
}

/* ---- ports ---- */

static int check_port_addresses(struct conf_reader *r, unsigned i, unsigned j)
{
	const struct conf_port *p = &r->c->ports[i], *q = &r->c->ports[j];
	char buf[ADDR_STRLEN];

	for (unsigned a = 0; a < p->n_addresses; a++)
		for (unsigned b = 0; b < (i == j ? a : q->n_addresses); b++)
			if (addr_eq(&p->addresses[a].addr, &q->addresses[b].addr))
				return conf_obj_fail(r, &r->ports[i], "addresses",
						     "found \"%s\" twice%s%s; allowed: each address once",
						     addr_str(&p->addresses[a].addr, buf),
						     i == j ? "" : ", also in port ", i == j ? "" : q->name);
	return 0;
}

/* A device is its address or its name; what stands behind are arguments. */
static bool same_device(const struct conf_port *p, const struct conf_port *q)
{
	size_t n = strcspn(p->device, ",");

	return n == strcspn(q->device, ",") && memcmp(p->device, q->device, n) == 0;
}

/* The kernel's interfaces of both ports: the TAP or the shared one, and that which a vdev stands on or makes. */
static int check_port_ifaces(struct conf_reader *r, unsigned i, unsigned j)
{
	const struct conf_port *p = &r->c->ports[i], *q = &r->c->ports[j];
	char mine[64], other[64];
	const char *name[2] = {p->ifname, mine}, *theirs[2] = {q->ifname, other};

	conf_port_iface(p, mine, sizeof(mine));
	conf_port_iface(q, other, sizeof(other));
	for (unsigned a = 0; a < 2; a++)
		for (unsigned b = 0; b < 2; b++)
			if (name[a][0] != '\0' && strcmp(name[a], theirs[b]) == 0)
				return conf_obj_fail(r, &r->ports[i], a ? "device" : "ifname",
						     "found interface %s, as in port %s; allowed: an interface of its "
						     "own",
						     name[a], q->name);
	return 0;
}

/* What comes by an interface that the kernel keeps comes to its sockets too: it would be taken twice. */
static int check_port_sockets(struct conf_reader *r, unsigned i, unsigned j)
{
	const struct conf_port *p = &r->c->ports[i], *q = &r->c->ports[j];

	if (!(p->sockets || q->sockets) || p->exception != CONF_EXC_KERNEL || q->exception != CONF_EXC_KERNEL)
		return 0;
	return conf_obj_fail(r, &r->ports[i], "device",
			     "found %.*s beside port %s; allowed: one port of sockets, beside ports with interfaces of "
			     "their own",
			     (int)strcspn(p->device, ","), p->device, q->name);
}

static int check_port_pair(struct conf_reader *r, unsigned i, unsigned j)
{
	const struct conf_port *p = &r->c->ports[i], *q = &r->c->ports[j];
	int rc;

	if (strcmp(p->name, q->name) == 0)
		return conf_obj_fail(r, &r->ports[i], "name", "found \"%s\", as on line %d; allowed: a name of its own",
				     p->name, q->line);
	if (same_device(p, q))
		return conf_obj_fail(r, &r->ports[i], "device", "found %.*s, as in port %s; allowed: %s of its own",
				     (int)strcspn(p->device, ","), p->device, q->name,
				     p->vdev ? "a number" : "a device");
	rc = check_port_sockets(r, i, j);
	if (rc == 0)
		rc = check_port_ifaces(r, i, j);
	return rc < 0 ? rc : check_port_addresses(r, i, j);
}

static int check_port_workers(struct conf_reader *r, unsigned i)
{
	unsigned workers = conf_workers(r->c);

	if (r->c->ports[i].exception != CONF_EXC_VIRTIO || workers <= LIMIT_EXC_QUEUES)
		return 0;
	return conf_obj_fail(r, &r->ports[i], "exception",
			     "found \"virtio-user\" with %u workers; allowed: up to %d, a queue of it each; or \"tap\"",
			     workers, LIMIT_EXC_QUEUES);
}

static int check_ports(struct conf_reader *r)
{
	int rc = 0;

	for (unsigned i = 0; i < r->c->n_ports && rc == 0; i++) {
		rc = check_port_workers(r, i);
		if (rc == 0)
			rc = check_port_addresses(r, i, i);
		for (unsigned j = 0; j < i && rc == 0; j++)
			rc = check_port_pair(r, i, j);
	}
	return rc;
}

/* ---- tunnels ---- */

static const struct conf_port *named_port(const struct conf *c, const struct conf_tunnel *t)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		if (strcmp(c->ports[i].name, t->port) == 0)
			return &c->ports[i];
	return NULL;
}

static int check_tunnel_port(struct conf_reader *r)
{
	char all[CONF_PORTS_MAX * (CONF_NAME_MAX + 4)] = "";
	const struct conf *c = r->c;
	size_t n = 0;

	for (unsigned i = 0; i < c->n_ports; i++)
		n += (size_t)snprintf(all + n, sizeof(all) - n, "%s\"%s\"", i ? ", " : "", c->ports[i].name);
	for (unsigned i = 0; i < c->n_tunnels; i++)
		if (c->tunnels[i].port[0] != '\0' && !named_port(c, &c->tunnels[i]))
			return conf_obj_fail(r, &r->tunnels[i], "port", "found \"%s\"; allowed: %s", c->tunnels[i].port,
					     all);
	return 0;
}

static bool is_iface_of(const struct conf_port *p, const char *zone)
{
	char base[64];

	conf_port_iface(p, base, sizeof(base));
	return !strcmp(p->ifname, zone) || !strcmp(base, zone) || !strcmp(p->name, zone);
}

/* The zone of an address that datagrams go to, or come to, is a port: the tunnel is bound to it. */
static int check_zone(struct conf_reader *r, unsigned i)
{
	struct conf_tunnel *t = &r->c->tunnels[i];
	bool server = t->role == CONF_SERVER;
	const char *host = server ? t->listen.host : t->remote.host, *zone;
	struct addr a;

	if (!host || addr_parse_zone(host, &a, &zone) || !zone)
		return 0;
	for (unsigned p = 0; p < r->c->n_ports; p++) {
		const char *name = r->c->ports[p].name;

		if (!is_iface_of(&r->c->ports[p], zone) || (t->port[0] && strcmp(t->port, name) != 0))
			continue;
		memcpy(t->port, name, sizeof(t->port));
		return 0;
	}
	return conf_obj_fail(
		r, &r->tunnels[i], server ? "listen" : "remote",
		"found the zone %%%s, which is no interface of %s%s; allowed: one that a port stands on, or "
		"a port's name",
		zone, t->port[0] ? "port " : "a port", t->port);
}

static int check_zones(struct conf_reader *r)
{
	int rc = 0;

	for (unsigned i = 0; i < r->c->n_tunnels && rc == 0; i++)
		rc = check_zone(r, i);
	return rc;
}

/* Two addresses to listen on that one kernel would not give to two sockets: the same, or one of them any. */
static bool hosts_meet(const char *a, const char *b)
{
	struct addr x, y;
	bool lit_x = addr_parse(a, &x) == 0, lit_y = addr_parse(b, &y) == 0;

	if (a[0] == '\0' || b[0] == '\0' || (lit_x && addr_is_any(&x)) || (lit_y && addr_is_any(&y)))
		return true;
	return lit_x && lit_y ? addr_eq(&x, &y) : strcasecmp(a, b) == 0;
}

static int check_paths(struct conf_reader *r, unsigned i, unsigned j)
{
	const struct conf_tunnel *t = &r->c->tunnels[i], *u = &r->c->tunnels[j];

	if (!t->listen.path || !u->listen.path || strcmp(t->listen.path, u->listen.path) != 0)
		return 0;
	return conf_obj_fail(r, &r->tunnels[i], "listen", "found the path of tunnel %s; allowed: a path of its own",
			     u->name);
}

/* A server's fake TCP has the port of its UDP, which the kernel's TCP cannot have as well. */
static int check_fake_tcp(struct conf_reader *r, unsigned i, unsigned j)
{
	const struct conf_tunnel *t = &r->c->tunnels[i], *u = &r->c->tunnels[j];
	const struct conf_tunnel *server = t->role == CONF_SERVER ? t : u;

	if (!server->tcp || !hosts_meet(t->listen.host, u->listen.host))
		return 0;
	return conf_obj_fail(r, &r->tunnels[i], "listen",
			     "found port %u, which meets tunnel %s, as tunnel %s has `tcp'; allowed: a port of its own",
			     t->listen.port_min, u->name, server->name);
}

bool conf_same_place(const struct conf_tunnel *t, const struct conf_tunnel *u)
{
	const struct conf_hostport *x = &t->listen, *y = &u->listen;

	return strcmp(x->host, y->host) == 0 && x->port_min == y->port_min && x->port_max == y->port_max &&
	       strcmp(t->port, u->port) == 0 && t->tcp == u->tcp;
}

static bool same_key(const struct conf_tunnel *t, const struct conf_tunnel *u)
{
	if (strcmp(t->crypt, u->crypt) != 0)
		return false;
	return strcmp(t->crypt, "none") == 0 || (t->key_len == u->key_len && memcmp(t->key, u->key, t->key_len) == 0);
}

/* i listens where j does. */
static int check_ring(struct conf_reader *r, unsigned i, unsigned j)
{
	struct conf_tunnel *t = &r->c->tunnels[i], *u = &r->c->tunnels[j];

	if (strcmp(t->crypt, "null") == 0 || strcmp(u->crypt, "null") == 0)
		return conf_obj_fail(r, &r->tunnels[i], "crypt",
				     "found \"null\", here or in tunnel %s, which listens at the same place; allowed: "
				     "ciphers, whose keys tell them apart",
				     u->name);
	if (same_key(t, u))
		return conf_obj_fail(r, &r->tunnels[i], "key",
				     "found the key and cipher of tunnel %s, which listens at the same place; allowed: "
				     "others, which tell them apart",
				     u->name);
	if (t->ring == i)
		t->ring = u->ring;
	return 0;
}

static int check_tunnel_pair(struct conf_reader *r, unsigned i, unsigned j)
{
	const struct conf_tunnel *t = &r->c->tunnels[i], *u = &r->c->tunnels[j];
	const struct conf_hostport *x = &t->listen, *y = &u->listen;

	if (strcmp(t->name, u->name) == 0)
		return conf_obj_fail(r, &r->tunnels[i], "name",
				     "found \"%s\", as on line %d; allowed: a name of its own", t->name, u->line);
	if (x->path || y->path)
		return check_paths(r, i, j);
	if (x->port_min > y->port_max || y->port_min > x->port_max)
		return 0;
	if (t->role != u->role)
		return check_fake_tcp(r, i, j);
	if (t->role == CONF_SERVER && conf_same_place(t, u))
		return check_ring(r, i, j);
	/* Else a datagram's tunnel is told by its UDP port alone, whatever address it was sent to. */
	if (t->role == CONF_SERVER)
		return conf_obj_fail(r, &r->tunnels[i], "listen",
				     "found UDP ports %u-%u, which meet %u-%u of tunnel %s; allowed: ports of its own",
				     x->port_min, x->port_max, y->port_min, y->port_max, u->name);
	if (hosts_meet(x->host, y->host))
		return conf_obj_fail(r, &r->tunnels[i], "listen",
				     "found TCP port %u, as in tunnel %s; allowed: an address or port of its own",
				     x->port_min, u->name);
	return 0;
}

static int check_tunnels(struct conf_reader *r)
{
	int rc = 0;

	for (unsigned i = 0; i < r->c->n_tunnels; i++) {
		r->c->tunnels[i].ring = i;
		for (unsigned j = 0; j < i && rc == 0; j++)
			rc = check_tunnel_pair(r, i, j);
	}
	return rc;
}

/* Fake TCP needs frames: a port of sockets sends none. */
static int check_tcp_sockets(struct conf_reader *r)
{
	const struct conf *c = r->c;
	const char *sockets = NULL;
	bool other = false;

	for (unsigned i = 0; i < c->n_ports; i++) {
		if (c->ports[i].sockets)
			sockets = c->ports[i].device;
		else
			other = true;
	}
	for (unsigned i = 0; i < c->n_tunnels && sockets; i++) {
		const struct conf_port *own = named_port(c, &c->tunnels[i]);

		if (c->tunnels[i].tcp && (own ? own->sockets : !other))
			return conf_obj_fail(r, &r->tunnels[i], "tcp",
					     "found true by a port of UDP sockets (%s); allowed: a port that sends "
					     "frames, such as net_af_packet0,iface=NAME",
					     sockets);
	}
	return 0;
}

/* ---- sizes ---- */

#define FAKE_TCP_MORE 28 /* its head of 36 instead of UDP's 8, wire.md 1 */

/* What does not fit a port is no fault: sessions send what fits, as they do on a path that takes less. */
static int check_tunnel_mtu(struct conf_reader *r, unsigned i)
{
	const struct conf *c = r->c;
	const struct conf_tunnel *t = &c->tunnels[i];
	const struct conf_port *own = named_port(c, t);
	const unsigned more = t->tcp ? FAKE_TCP_MORE : 0, head = conf_ip_head(t), most = (head ? head : 48) + more;
	unsigned narrowest = UINT32_MAX;

	for (unsigned k = 0; k < c->n_ports; k++) {
		const struct conf_port *p = own ? own : &c->ports[k];

		narrowest = p->mtu < narrowest ? p->mtu : narrowest;
	}
	if (t->mtu + most > narrowest)
		conf_obj_warn(
			r, &r->tunnels[i], "mtu",
			"%u makes IP%s packets of %u: they do not fit a port mtu of %u, and smaller ones are sent",
			t->mtu, most == 48 + more ? "v6" : "v4", t->mtu + most, narrowest);
	return 0;
}

static int check_mtus(struct conf_reader *r)
{
	int rc = 0;

	for (unsigned i = 0; i < r->c->n_tunnels && rc == 0; i++)
		rc = check_tunnel_mtu(r, i);
	return rc;
}

/* Every session that the clients are told to open must have its place. */
static int check_sessions(struct conf_reader *r)
{
	uint64_t room = (uint64_t)r->c->max_sessions * conf_workers(r->c), want = 0;

	for (unsigned i = 0; i < r->c->n_tunnels; i++) {
		want += r->c->tunnels[i].conn;
		if (want > room)
			return conf_obj_fail(
				r, &r->tunnels[i], "conn",
				"found %u, which makes %llu sessions; allowed: %llu in all (limits.sessions x workers)",
				r->c->tunnels[i].conn, (unsigned long long)want, (unsigned long long)room);
	}
	return 0;
}

/* Halves of what there is, where nobody said: no source has all of it, and no household or carrier's NAT meets them. */
static int check_sources(struct conf_reader *r)
{
	uint64_t all = (uint64_t)r->c->max_sessions * conf_workers(r->c);
	uint64_t half = all / 2, most = all / 4 * 3;

	if (!conf_obj_line(&r->limits, "address_sessions"))
		r->c->max_address = (unsigned)(half > CONF_SOURCE_MIN ? half : CONF_SOURCE_MIN);
	if (!conf_obj_line(&r->limits, "prefix_sessions"))
		r->c->max_prefix = (unsigned)(most > CONF_SOURCE_MIN ? most : CONF_SOURCE_MIN);
	if (r->c->max_address > LIMIT_SESSIONS_ALL)
		r->c->max_address = LIMIT_SESSIONS_ALL;
	if (r->c->max_prefix > LIMIT_SESSIONS_ALL)
		r->c->max_prefix = LIMIT_SESSIONS_ALL;
	return 0;
}

/* Less than what a session has in any case is no limit; and a worker whose part is nothing could open none. */
static int check_memory(struct conf_reader *r)
{
	unsigned workers = conf_workers(r->c);

	if (r->c->session_bytes && r->c->session_bytes < CONF_SESSION_BYTES_MIN)
		return conf_obj_fail(r, &r->limits, "session_bytes", "found %u; allowed: %u or more, or 0: no limit",
				     r->c->session_bytes, CONF_SESSION_BYTES_MIN);
	for (unsigned i = 0; i < r->c->n_tunnels; i++) {
		unsigned mb = r->c->tunnels[i].memory;

		if (mb && mb < workers)
			return conf_obj_fail(r, &r->tunnels[i], "memory",
					     "found %u; allowed: 1 or more for each of %u workers, or 0: no limit", mb,
					     workers);
	}
	return 0;
}

/* Another process maps our memory by its files, and only hugepages have any. */
static int check_dumpcap(struct conf_reader *r)
{
	struct conf_eal *e = &r->c->eal;

	if (!e->dumpcap)
		return 0;
	if (e->hugepages == CONF_HUGE_NO)
		return conf_obj_fail(r, &r->eal, "dumpcap",
				     "found true, with hugepages = false; allowed: with hugepages, which are the "
				     "memory that another process can map");
	e->hugepages = CONF_HUGE_YES;
	return 0;
}

static int check_lcores(struct conf_reader *r)
{
	const struct conf_eal *e = &r->c->eal;

	if (e->control < e->n_lcores)
		return 0;
	return conf_obj_fail(r, &r->eal, "control",
			     "found %u; allowed: fewer than the %u of eal.lcores, for one worker at least", e->control,
			     e->n_lcores);
}

int conf_check(struct conf_reader *r)
{
	static int (*const rules[])(struct conf_reader *) = {
		check_lcores,	   check_dumpcap, check_ports,	  check_tunnel_port, check_zones,  check_tunnels,
		check_tcp_sockets, check_mtus,	  check_sessions, check_sources,     check_memory, conf_endpoint_check,
	};
	int rc = check_presence(r);

	for (unsigned i = 0; i < r->c->n_ports && rc == 0; i++)
		rc = conf_port_finish(r, &r->ports[i]);
	for (unsigned i = 0; i < r->c->n_tunnels && rc == 0; i++)
		rc = conf_tunnel_finish(r, &r->tunnels[i]);
	for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]) && rc == 0; i++)
		rc = rules[i](r);
	return rc;
}
