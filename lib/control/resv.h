/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A port taken from the kernel and entered in net_ports: a bound socket (for fake TCP, one that listens) that drops
 * whatever it is sent.  It keeps other processes off the port, and the kernel from answering our peers: with "port
 * unreachable", with RST, with a handshake of its own.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "net.h"

struct ctl;

struct resv {
	int fd; /* -1: none */
	uint16_t port;
	uint16_t proto; /* FLOW_* */
};

/*
 * Binds `port` (0: one that the kernel picks; it is in r->port then) on `host`, or on all addresses of both families
 * when host is NULL or unspecified.  Not in net_ports yet.  0 or -errno.
 */
int resv_bind(struct resv *r, const struct addr *host, uint16_t port, uint16_t proto);

/* Enters the port in the table as the tunnel's. */
void resv_enter(struct net_ports *t, const struct resv *r, uint16_t tunnel);

/* Takes the port out of the table and closes the socket. */
void resv_free(struct net_ports *t, struct resv *r);

/* The server tunnels' listen ports; with fake TCP, both UDP's and TCP's, as stock has it (wire.md 9.2). */
int resv_up(struct ctl *c, char *why, size_t why_n);
void resv_down(struct ctl *c);
/* True while the first lookup of a listen address is under way. */
bool resv_seeking(const struct ctl *c);
