/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A shared interface by AF_XDP: a port whose device is ours.  "net_af_xdp0,iface=eth0" is DPDK's name for it; DPDK's
 * own driver would take every frame of the interface from the kernel, and never stands on one that is shared.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

struct net_tbl;
struct port_conf;
struct port_xdp;
struct rte_mempool;

/* ---- control's: what the programs of all such ports steer.  Any thread that sets up or controls. ---- */

/* A UDP or fake TCP port (proto: FLOW_*) becomes ours, or ceases to be, on all interfaces, those too that come later.
 */
void port_xdp_serve(uint16_t proto, uint16_t port, bool ours);
/* The addresses that are ours are those of this snapshot. */
void port_xdp_locals(const struct net_tbl *t);

/* ---- port.c's ---- */

/* Whether the port is to stand on a device of this kind. */
bool port_xdp_wanted(const struct port_conf *conf);

/*
 * Attaches the program, binds the sockets, makes the ethdev: *id.  0 or -errno and why.  Undone by port_xdp_close,
 * after the ethdev was stopped and before it is removed.
 */
int port_xdp_open(const struct port_conf *conf, struct port_xdp **out, uint16_t *id, char *why, size_t why_n);
void port_xdp_close(struct port_xdp *x); /* NULL does nothing */

/* Puts the sockets in front of the device that was just started; rx_fd[queue]: what wakes each. */
void port_xdp_start(struct port_xdp *x, struct rte_mempool *const *pools, int *rx_fd);

unsigned port_xdp_queues(const struct port_xdp *x); /* of the ethdev, each way */
int port_xdp_ifindex(const struct port_xdp *x);
const uint8_t *port_xdp_mac(const struct port_xdp *x);

/* For telemetry. */
struct port_xdp_stats {
	bool skb;	    /* behind the kernel's sk_buffs: the driver has no XDP */
	bool zero_copy;	    /* of all its sockets */
	bool alone;	    /* no other XDP program finds a place beside ours */
	unsigned sockets;   /* as many as the interface has queues */
	uint64_t lost;	    /* frames that found no room in a socket */
	uint64_t too_long;  /* to be sent, and dropped */
	uint64_t no_buffer; /* times that frames waited, as there were no buffers */
};
/* By any thread: false when the port is not (or no more) such a one. */
bool port_xdp_stats(const struct port_xdp *x, struct port_xdp_stats *out);
