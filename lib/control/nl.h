/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The mirror of the kernel's tables.  Notifications only say what has changed, not to what: a while later the tables
 * concerned are read anew, a bounded piece each turn, and a snapshot is made of all of them.  So no sequence of events,
 * no lost event and no route that vanishes without one (IPv4 does that) can leave the mirror wrong.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ev.h"
#include "net.h"

struct ctl;
struct mnl_socket;
struct nlmsghdr;

enum nl_table { NL_LINK, NL_ADDR, NL_ROUTE, NL_NEIGH, NL_TABLES };

struct nl_link {
	int index;
	char name[IF_NAMESIZE];
	uint8_t mac[6];
	unsigned flags, mtu;
};

struct nl_addr {
	int index;
	bool global;
	struct net_local local; /* dev not set yet */
};

struct nl_neigh {
	struct net_neigh n; /* dev set; only those on our ports are kept */
	uint16_t state;
	bool has_mac;
};

/* A growing array of one kind of entry. */
struct nl_vec {
	void *v;
	unsigned n, cap;
	size_t size;
	bool short_of_memory; /* an entry is missing */
};

/* A neighbour that traffic is sent to: the kernel, which sees none of it, is told so from time to time. */
struct nl_use {
	struct addr addr;
	uint16_t dev;
	bool gateway;	/* a route's next hop: kept as long as the route */
	uint64_t asked; /* ms: last told */
	uint64_t until; /* ms: forgotten then, unless asked for again */
};

#define NL_USES 256

/* In net_route.flags of the tables only: unreachable because it leaves by an interface that is not ours. */
#define NL_ROUTE_FOREIGN 0x80

struct nl {
	struct ev ev;
	struct mnl_socket *events, *dump;
	unsigned dirty; /* bit for each nl_table that must be read anew */
	int reading;	/* enum nl_table, or -1 */
	bool broken;	/* the table changed while it was read: once more */
	bool changed;	/* read since the last snapshot */
	uint32_t seq;
	uint64_t after;	  /* ms: no reading before */
	uint64_t from_us; /* the thread's CPU time at the beginning of this turn */
	uint64_t cost_us; /* of the reading under way, in the turns before */
	struct nl_vec table[NL_TABLES];
	struct nl_vec fresh;	  /* the table that is being read */
	int ifindex[NET_DEV_MAX]; /* of each gateway port, 0: none now */
	uint64_t gen;
	struct net_tbl *tbl; /* the newest snapshot */
	struct nl_old *old;  /* replaced, perhaps still in use; newest first */
	unsigned n_old;
	struct nl_use use[NL_USES];
	unsigned n_use;
	struct timer use_timer;
};

/* The link of this index or name in the mirror, or NULL. */
const struct nl_link *nl_link_at(const struct nl *n, int index);
const struct nl_link *nl_link_named(const struct nl *n, const char *name);
/* All tables are read again. */
void nl_again(struct ctl *c);
/* The oldest snapshot that a worker has adopted last. */
uint64_t nl_adopted(const struct ctl *c);

/* Opens the sockets, reads everything, publishes the first snapshot.  0 or -errno. */
int nl_up(struct ctl *c, char *why, size_t why_n);
void nl_down(struct ctl *c);

/* One turn's share; cheap when nothing has changed. */
void nl_turn(struct ctl *c);
/* A time (ms) by which nl_turn has something to do again. */
uint64_t nl_next(const struct ctl *c);

/* Traffic needs this neighbour of gateway port dev: makes the kernel resolve or verify it.  Rate-limited by address. */
void nl_need(struct ctl *c, const struct addr *a, uint16_t dev);

/* ---- nl_parse.c: one message of a table into an entry at the end of n->fresh ---- */
void nl_parse(struct nl *n, const struct nlmsghdr *h);
/* Gateway port of an interface index, or UINT16_MAX. */
uint16_t nl_dev(const struct nl *n, int index);
/* A zeroed entry at the end, or NULL without memory. */
void *nl_push(struct nl_vec *v);

/* ---- nl_snap.c ---- */
bool nl_is_loopback(const struct nl *n, int index);
/* Builds a snapshot from the tables and publishes it if it differs from the last one.  0 or -ENOMEM. */
int nl_publish(struct ctl *c);
/* Frees replaced snapshots that no worker uses any more. */
void nl_reap(struct ctl *c);
/* Frees them all, and takes the last one back from the borders.  The workers must have stopped. */
void nl_forget(struct ctl *c);

/* ---- nl_use.c ---- */
void nl_use_up(struct ctl *c);
/* Sorts a newly read table of neighbours, as lookups want it. */
void nl_use_sort(struct nl_vec *neighs);
/* No next hop is in use, until nl_use_gateway says so: before a snapshot is built. */
void nl_use_no_gateways(struct nl *n);
/* Tells the kernel about neighbours in use that are not freshly known. */
void nl_use_turn(struct ctl *c);
/* A route's next hop joins those in use. */
void nl_use_gateway(struct nl *n, const struct addr *a, uint16_t dev);
