/* SPDX-License-Identifier: MIT */
#pragma once

/* A gateway's addresses and ports, for the targets that read frames. */

#include "net.h"
#include "net_wire.h"

#define NETBED_TUNNEL 6	   /* of every port below */
#define NETBED_PORT   4000 /* UDP and fake TCP */
#define NETBED_DEVS   5

/* Addresses 192.0.2.1, 127.0.0.1, 2001:db8::1, fe80::2; devices: exclusive, shared, loopback, VLAN 7, sockets. */
const struct net_tbl *netbed_tbl(void);
const struct net_ports *netbed_ports(void);

/* One frame; the verdict is in *k. */
void netbed_parse(struct pkt *k, struct flow_key *key);
/* Takes a VERDICT_TAG's tag off, as the pipeline does; false: the frame ends within it. */
bool netbed_untag(struct pkt *k);

/* The header of an IPv4 or IPv6 packet of `n` bytes behind it from a peer to us, at p: its length. */
unsigned netbed_ip(uint8_t *p, bool v6, uint8_t proto, unsigned n);
