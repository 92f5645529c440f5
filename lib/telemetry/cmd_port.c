/* SPDX-License-Identifier: MIT */

/* /kcpgate/ports: what the ports stand on, and what has become of it. */

#include <stdio.h>

#include "cmd_int.h"
#include "kudp.h"
#include "port.h"
#include "xdp_port.h"

static const char *spreads(const struct port *p)
{
	if (!p->has_rss || !p->rss.hw)
		return p->rss.workers > 1 ? "software" : "no";
	return p->rss.hw_l4 ? "addresses and ports" : "addresses";
}

/* AF_XDP beside the kernel: how far down its program stands, and what its sockets have lost. */
static void xdp(struct rte_tel_data *d, const struct port *p)
{
	struct port_xdp_stats now;

	if (!port_xdp_stats(p->xdp, &now))
		return;
	rte_tel_data_add_dict_string(d, "xdp_mode", now.skb ? "skb" : "native");
	rte_tel_data_add_dict_string(d, "xdp_copy", now.zero_copy ? "zero copy" : "copy");
	rte_tel_data_add_dict_string(d, "xdp_beside_others", now.alone ? "no" : "yes");
	dict_u64(d, "xdp_sockets", now.sockets);
	dict_u64(d, "xdp_lost", now.lost);
	dict_u64(d, "xdp_too_long", now.too_long);
	dict_u64(d, "xdp_no_buffer", now.no_buffer);
}

static void device(struct rte_tel_data *d, const struct port *p)
{
	char text[32];

	rte_tel_data_add_dict_string(d, "driver", p->driver);
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", p->mac[0], p->mac[1], p->mac[2], p->mac[3],
		 p->mac[4], p->mac[5]);
	rte_tel_data_add_dict_string(d, "mac", text);
	dict_u64(d, "dpdk_port", p->id);
	dict_u64(d, "numa_node", (uint64_t)p->socket);
	dict_u64(d, "rx_queues", p->n_rxq);
	dict_u64(d, "tx_queues", p->n_txq);
	dict_u64(d, "rx_descriptors", p->rx_desc);
	dict_u64(d, "tx_descriptors", p->tx_desc);
	rte_tel_data_add_dict_string(d, "woken_by", p->rx_intr ? "interrupts" : p->rx_fd[0] ? "sockets" : "time");
	rte_tel_data_add_dict_string(d, "rss", spreads(p));
	rte_tel_data_add_dict_string(d, "tx_checksum", p->csum ? "device" : "software");
	rte_tel_data_add_dict_string(d, "rx_checksum", p->rx_csum ? "device" : "software");
	xdp(d, p);
}

static struct rte_tel_data *sockets(const struct kudp *k)
{
	struct rte_tel_data *d = rte_tel_data_alloc();
	struct kudp_stats s;

	if (!d)
		return NULL;
	kudp_stats(k, &s);
	rte_tel_data_start_dict(d);
#define X(name, str) dict_u64(d, str, s.name);
	KUDP_COUNTERS(X)
#undef X
	return d;
}

static struct rte_tel_data *one_port(const struct tlm_src *src, unsigned i)
{
	const struct ctl_port_now now = ctl_port_now(src->ctl, i);
	const struct conf_port *conf = &src->conf->ports[i];
	struct rte_tel_data *d = rte_tel_data_alloc();

	if (!d)
		return NULL;
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "name", conf->name);
	rte_tel_data_add_dict_string(d, "device", conf->device);
	rte_tel_data_add_dict_string(d, "state", now.open ? "open" : "away");
	rte_tel_data_add_dict_string(d, "link", now.link.up ? "up" : "down");
	rte_tel_data_add_dict_string(d, "link_of", now.link.told ? "device" : "interface");
	dict_u64(d, "link_mbps", now.link.mbps);
	rte_tel_data_add_dict_string(d, "duplex", !now.link.mbps ? "" : now.link.full ? "full" : "half");
	dict_u64(d, "link_changes", now.changes);
	if (now.open)
		device(d, &src->ports[i]);
	if (now.open && src->ports[i].kudp)
		tlm_row(d, "sockets", sockets(src->ports[i].kudp));
	return d;
}

int tlm_cmd_ports(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	(void)params;
	rte_tel_data_start_dict(d);
	for (unsigned i = 0; i < src->conf->n_ports; i++)
		tlm_row(d, src->conf->ports[i].name, one_port(src, i));
	return 0;
}
