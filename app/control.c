/* SPDX-License-Identifier: MIT */

/* The control instance: tunnels and ports as it sees them. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>

#include "app.h"

static struct ctl_addr ctl_addr(const struct conf_hostport *h)
{
	return (struct ctl_addr){h->host ? h->host : "", h->port_min, h->port_max};
}

struct ctl_tunnel app_ctl_tunnel(const struct app *a, unsigned i, const struct conf_tunnel *t)
{
	return (struct ctl_tunnel){
		.name = a->conf->tunnels[i].name,
		.client = t->role == CONF_CLIENT,
		.listen = ctl_addr(&t->listen),
		.target = ctl_addr(&t->target),
		.remote = ctl_addr(&t->remote),
		.port = a->tunnels[i].dev,
		.conn = t->conn,
		.slot_worker = a->slot_worker[i],
		.dials = a->tunnels[i].dials,
		.scavenge_ms = a->tunnels[i].scavenge_ms,
		.listen_path = t->listen.path,
		.target_path = t->target.path,
		.proxy = t->proxy_protocol,
		.tcp = t->tcp,
		.sockbuf = t->sockbuf,
		.beside = t->ring != i,
	};
}

/* A port without an interface's name is a command line's, and so its one tunnel's. */
static const char *seek_host(const struct conf *c)
{
	const struct conf_tunnel *t = &c->tunnels[0];

	return t->role == CONF_CLIENT ? t->remote.host : t->listen.host;
}

static enum ctl_seek seek(const struct conf *c, const struct conf_port *p)
{
	const char *host = seek_host(c);
	struct addr a;

	if (!p->seek)
		return CTL_SEEK_NO;
	if (c->tunnels[0].role == CONF_CLIENT)
		return CTL_SEEK_ROUTE;
	return !host || !host[0] || (addr_parse(host, &a) == 0 && addr_is_any(&a)) ? CTL_SEEK_DEFAULT : CTL_SEEK_OWNER;
}

static void ctl_port(struct app *a, unsigned i)
{
	const struct conf_port *p = &a->conf->ports[i];
	struct net_local *addr = a->ctl_addrs + i * CONF_ADDRS_MAX;

	for (unsigned k = 0; k < p->n_addresses; k++) {
		addr[k].addr = p->addresses[k].addr;
		addr[k].plen = p->addresses[k].plen + (addr_is_v4(&addr[k].addr) ? 96 : 0);
		addr[k].dev = (uint16_t)i;
	}
	a->ctl_ports[i] = (struct ctl_port){
		.name = p->name,
		.port = &a->ports[i],
		.tap = p->exception != CONF_EXC_KERNEL,
		.tap_made = p->exception == CONF_EXC_VIRTIO,
		.ifname = p->ifname,
		.base = a->bases[i],
		.seek = seek(a->conf, p),
		.seek_host = seek_host(a->conf),
		.mtu = p->mtu,
		.vlan = (uint16_t)p->vlan,
		.local_peers = p->local_peers,
		.addresses = addr,
		.n_addresses = p->n_addresses,
		.gateway = p->gateway,
		.n_gateway = p->n_gateway,
	};
}

/* Further instances differ in their borders, and have no part in what there is one of. */
static int more_up(struct app *a, const struct ctl_conf *first)
{
	for (unsigned k = 1; k < a->plan.controls; k++) {
		struct border **b = a->ctl_borders[k - 1] = calloc(a->plan.workers, sizeof(struct border *));
		struct ctl_conf cc = *first;
		int ret;

		if (!b)
			return app_fail(a, -ENOMEM, "control");
		for (unsigned w = 0; w < a->plan.workers; w++)
			b[w] = border_of(a->borders[w], k);
		cc.id = k;
		cc.first = a->ctl;
		cc.borders = b;
		sigemptyset(&cc.signals);
		ret = ctl_create(&a->ctl_more[k - 1], &cc, a->why, sizeof(a->why));
		if (ret)
			return app_fail(a, ret, "control");
	}
	return 0;
}

/* Beside DPDK's folder of this process, which goes with it: the switches are all gateways' of the host. */
static const char *lo_dir(struct app *a)
{
	const char *dir = rte_eal_get_runtime_dir(), *slash = dir ? strrchr(dir, '/') : NULL;

	if (!slash || slash == dir || (size_t)(slash - dir) >= sizeof(a->lo_dir))
		return NULL;
	snprintf(a->lo_dir, sizeof(a->lo_dir), "%.*s", (int)(slash - dir), dir);
	return a->lo_dir;
}

int app_ctl_up(struct app *a)
{
	struct ctl_conf cc = {
		.n_controls = a->plan.controls,
		.n_tunnels = a->conf->tunnels_room,
		.n_ports = a->conf->n_ports,
		.borders = a->borders,
		.n_workers = a->plan.workers,
		.chans = &a->chans,
		.udp = a->udp,
		.frames = a->pools[a->plan.place.ctl_pool],
		.quiet = a->conf->log.quiet,
		.port_open = app_port_open,
		.port_close = app_port_close,
		.port_link = app_port_link,
		.listens = app_listens,
		.fec_shape = app_fec_shape,
		.lo_dir = lo_dir(a),
		.ctx = a,
		.dials = a->conf->max_dials,
		.spared = app_metrics_descriptors(a),
		.dial_ms = a->conf->dial_timeout * 1000,
	};
	int ret;

	a->ctl_tunnels = calloc(cc.n_tunnels, sizeof(*a->ctl_tunnels));
	a->ctl_ports = calloc(cc.n_ports, sizeof(*a->ctl_ports));
	a->ctl_addrs = calloc(cc.n_ports * CONF_ADDRS_MAX, sizeof(*a->ctl_addrs));
	if (!a->ctl_tunnels || !a->ctl_ports || !a->ctl_addrs)
		return app_fail(a, -ENOMEM, "control");
	for (unsigned i = 0; i < cc.n_tunnels; i++)
		a->ctl_tunnels[i] = i < a->conf->n_tunnels ? app_ctl_tunnel(a, i, &a->conf->tunnels[i])
							   : (struct ctl_tunnel){.blank = true, .name = ""};
	for (unsigned i = 0; i < cc.n_ports; i++)
		ctl_port(a, i);
	cc.tunnels = a->ctl_tunnels;
	cc.ports = a->ctl_ports;
	sigemptyset(&cc.signals);
	sigaddset(&cc.signals, SIGINT);
	sigaddset(&cc.signals, SIGTERM);
	sigaddset(&cc.signals, SIGUSR1);
	if (app_takes_hup(a->conf))
		sigaddset(&cc.signals, SIGHUP);
	ret = ctl_create(&a->ctl, &cc, a->why, sizeof(a->why));
	return ret ? app_fail(a, ret, "control") : more_up(a, &cc);
}

void app_ctl_down(struct app *a)
{
	for (unsigned k = 0; k < LIMIT_CONTROLS - 1; k++) {
		ctl_destroy(a->ctl_more[k]);
		free(a->ctl_borders[k]);
	}
	if (a->ctl)
		ctl_destroy(a->ctl);
	free(a->ctl_addrs);
	free(a->ctl_ports);
	free(a->ctl_tunnels);
}
