/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A port taken from the kernel and entered in net_ports: a bound socket (for fake TCP, one that listens) that drops
 * whatever it is sent.  It keeps other processes off the port, and the kernel from answering our peers: with "port
 * unreachable", with RST, with a handshake of its own.  Where a gateway port is one of sockets, UDP's are its own
 * (port/kudp.h), which hear and send.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "net.h"

struct ctl;
struct kudp_set;

struct resv {
	int fd;		      /* -1: none */
	struct kudp_set *set; /* in place of it; NULL: none */
	uint16_t port;
	uint16_t proto; /* FLOW_* */
};

static inline bool resv_held(const struct resv *r)
{
	return r->fd >= 0 || r->set;
}

/*
 * Binds `port` (0: one that the kernel picks; it is in r->port then) on `host`, or on all addresses of both families
 * when host is NULL or unspecified.  Not in net_ports yet.  0 or -errno.
 */
int resv_bind(struct resv *r, const struct addr *host, uint16_t port, uint16_t proto);

/* The same for a tunnel's UDP by the gateway port of sockets: a client's, for this worker, or (RESV_SERVER) a server's.
 */
#define RESV_SERVER UINT16_MAX
int resv_sockets(const struct ctl *c, struct resv *r, unsigned tunnel, const struct addr *host, uint16_t port,
		 uint16_t worker);
/* The gateway port of sockets, or NULL. */
const struct port *resv_by_sockets(const struct ctl *c);

/* Enters the port in the table as the tunnel's. */
void resv_enter(struct net_ports *t, const struct resv *r, uint16_t tunnel);

/* Closes the socket. */
void resv_close(const struct ctl *c, struct resv *r);
/* Takes the port out of the table and closes the socket. */
/* Of a tunnel that is added: it listens, or why not. */
int resv_open(struct ctl *c, unsigned tunnel, char *why, size_t why_n);
/* All that a server's tunnel has, and what it would still have. */
void resv_leave(struct ctl *c, unsigned tunnel);
void resv_free(struct ctl *c, struct resv *r);

/* The server tunnels' listen ports; with fake TCP, both UDP's and TCP's, as stock has it (wire.md 9.2). */
int resv_up(struct ctl *c, char *why, size_t why_n);
void resv_down(struct ctl *c);
/* True while the first lookup of a listen address is under way. */
bool resv_seeking(const struct ctl *c);
