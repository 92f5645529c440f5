/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The mirror of the kernel's tables.  Of links, addresses, neighbours and rules notifications only say what has
 * changed, not to what: a while later the tables concerned are read anew, a bounded piece each turn.  Routes, of which
 * there may be a million, follow their messages one by one (nl_route.h).  A snapshot is made of all of them; what it
 * shares with the one before is not copied.
 *
 * It knows no loop: it hands out a descriptor, is called, and says what has become of it.  Times are the caller's
 * clock, in ms.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net.h"
#include "nl_route.h"

struct mnl_socket;
struct rtnl;
struct nlmsghdr;

enum nl_table { NL_LINK, NL_ADDR, NL_NEIGH, NL_RULE, NL_TABLES };

struct nl_link {
	int index;
	char name[IF_NAMESIZE];
	uint8_t mac[6];
	unsigned flags, mtu;
	int master;	/* index of the link that it is a part of, 0: none */
	bool vrf;	/* it is a VRF */
	bool temporary; /* of its IPv6 addresses the temporary ones are preferred */
};

struct nl_addr {
	int index;
	bool global;
	struct net_local local; /* dev not set yet */
};

/* A rule of policy routing that is none of those which every kernel has: what it says is not followed. */
struct nl_rule {
	uint8_t family, src_plen, dst_plen, action;
	bool other; /* selects by more than source and destination */
	bool l3mdev;
	uint32_t prio, table;
	struct addr src, dst;
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

/* A gateway port, as its owner tells it whenever the links have been read (nl_turn). */
struct nl_port {
	int ifindex; /* of the interface that the kernel knows it by, 0: none now */
	int base;    /* of the interface that its device stands on, or has made; 0: none of the kernel's */
	uint8_t mac[6];
	unsigned mtu;	/* at most */
	uint16_t vlan;	/* as in struct net_dev */
	bool exclusive; /* the kernel's interface is a TAP: frames leave with `mac` */
	bool closed;	/* its device is nobody's to touch */
	bool no_link;	/* its device says that it has no link */
	bool sockets;	/* as in struct net_dev: it stands on no interface */
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

/* What nl_turn has come to. */
enum nl_got {
	NL_GOT_NONE,
	NL_GOT_LINKS,	 /* the table of links is new: bring nl->port up to date, and call again */
	NL_GOT_SNAPSHOT, /* everything was read, and nl->tbl is of it: another one than before where its gen is */
};

struct nl {
	struct rtnl *rtnl;
	struct mnl_socket *events, *dump;
	uint64_t now;	/* ms, of this call */
	unsigned dirty; /* bit for each nl_table that must be read anew */
	int reading;	/* enum nl_table, or -1 */
	bool broken;	/* the table changed while it was read: once more */
	bool changed;	/* read since the last snapshot */
	uint32_t seq;
	uint64_t after;	  /* ms: no reading before */
	uint64_t make_at; /* ms: no snapshot before */
	uint64_t from_us; /* the thread's CPU time at the beginning of this turn */
	uint64_t cost_us; /* of the reading under way, in the turns before */
	struct nl_vec table[NL_TABLES];
	struct nl_vec fresh; /* the table that is being read */
	uint8_t *room;	     /* that messages of changes are received in */
	struct nl_routes routes;
	struct nl_port port[NET_DEV_MAX]; /* the caller's to fill */
	unsigned n_ports;
	uint64_t gen;
	struct net_tbl *tbl;	/* the newest snapshot */
	uint64_t rules_gen;	/* how often the table of rules became another one */
	struct net_waste waste; /* what is freed a piece each turn */
	struct nl_old *old;	/* replaced, perhaps still in use; newest first */
	unsigned n_old;
	struct nl_use use[NL_USES];
	unsigned n_use;
	uint64_t use_at; /* ms: they are gone through next */
};

/* The link of this index or name in the mirror, or NULL. */
const struct nl_link *nl_link_at(const struct nl *n, int index);
const struct nl_link *nl_link_named(const struct nl *n, const char *name);
/* Opens the sockets; everything is to be read.  rtnl must outlive it.  0 or -errno; nl_close is owed in both cases. */
int nl_open(struct nl *n, struct rtnl *rtnl, unsigned n_ports, uint64_t now);
/* Frees the snapshots too: nobody uses one any more. */
void nl_close(struct nl *n);

/* Readable when something has changed: nl_events is to be called. */
int nl_fd(const struct nl *n);
void nl_events(struct nl *n, uint64_t now);
/* All tables are read again but for routes, which are followed by themselves. */
void nl_again(struct nl *n);
/* What is to be read is read without waiting for more that might change. */
void nl_at_once(struct nl *n);

/* One turn's share; cheap when nothing has changed. */
enum nl_got nl_turn(struct nl *n, uint64_t now);
/* A time by which nl_turn has something to do again; UINT64_MAX: none. */
uint64_t nl_next(const struct nl *n, uint64_t now);
/* Frees the replaced snapshots that nobody uses any more: all users have adopted that of `adopted` or a later one. */
void nl_reap(struct nl *n, uint64_t adopted);

/* Traffic needs this neighbour of gateway port dev: makes the kernel resolve or verify it.  Rate-limited by address. */
void nl_need(struct nl *n, const struct addr *a, uint16_t dev, uint64_t now);

/* Text of a rule, as `ip rule` has it; returns buf. */
#define NL_RULE_TEXT 160
const char *nl_rule_text(const struct nl_rule *r, char buf[NL_RULE_TEXT]);
/* Asks the kernel, now: how many rules it has that are not followed, and the text of the first; or -errno.  Blocks. */
int nl_rules_now(char first[NL_RULE_TEXT]);
/* The VRF that gateway port dev's interface is a part of, or NULL: its routes are in a table that is not followed. */
const struct nl_link *nl_vrf_of(const struct nl *n, unsigned dev);

/* It can send: up, and with a carrier (the kernel's own rule; whether it is ready for use is another question). */
bool nl_link_sends(const struct nl_link *l);
bool nl_is_loopback(const struct nl *n, int index);

/* ---- nl.c ---- */
/* Something has changed that a snapshot is to be made of. */
void nl_touch(struct nl *n);
/* The thread's own time: waiting for a CPU, or for the next buffer while others are served, is not reading. */
uint64_t nl_cpu_us(void);

/* ---- nl_parse.c: one message of a table into an entry at the end of n->fresh ---- */
void nl_parse(struct nl *n, const struct nlmsghdr *h);
/* Gateway port of an interface index, or UINT16_MAX. */
uint16_t nl_dev(const struct nl *n, int index);
/* A zeroed entry at the end, or NULL without memory. */
void *nl_push(struct nl_vec *v);

/* ---- nl_rule.c ---- */
/* False: one that every kernel has, or of another family. */
bool nl_rule_read(const struct nlmsghdr *h, struct nl_rule *r);

/* ---- nl_snap.c ---- */
/* Builds a snapshot from the tables, which takes the place of n->tbl if it differs.  0 or -ENOMEM. */
int nl_publish(struct nl *n);
/* A turn's share of freeing what nobody uses any more. */
void nl_free_some(struct nl *n);
/* Frees them all. */
void nl_forget(struct nl *n);

/* ---- nl_use.c ---- */
/* States in which a neighbour can be sent to. */
#define NL_NUD_USABLE (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)
/* Whether a message of a neighbour (RTM_NEWNEIGH) is what traffic waits for: one in use can be sent to, and could not.
 */
bool nl_use_waits(struct nl *n, const struct nlmsghdr *h);
/* Sorts a newly read table of neighbours, as lookups want it. */
void nl_use_sort(struct nl_vec *neighs);
/* No next hop is in use, until nl_use_gateway says so: before a snapshot is built. */
void nl_use_no_gateways(struct nl *n);
/* Tells the kernel about neighbours in use that are not freshly known. */
void nl_use_turn(struct nl *n);
/* A route's next hop joins those in use. */
void nl_use_gateway(struct nl *n, const struct addr *a, uint16_t dev);
