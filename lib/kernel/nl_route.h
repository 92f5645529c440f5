/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The kernel's routes, in a trie (net's fib.h).  Each change is taken from its own message, as it comes; the whole
 * table is read at the beginning, after messages were lost, where a message does not tell what it led to, and now and
 * then to see whether all is well: IPv4 routes may vanish without a word.  A reading goes on beside the changes, a
 * bounded piece each turn: what it has not seen in the end is taken out, a bounded piece each turn again.
 *
 * Nothing marks in the answer what came before which change.  But the kernel fills one buffer of the answer ahead, and
 * no more: so the one that is waiting is taken before changes are that were got after it had been asked for.
 */

#include <stdbool.h>
#include <stdint.h>

#include "fib.h"

struct mnl_socket;
struct nlmsghdr;
struct nl;

struct nl_route_stats {
	uint64_t changes; /* messages of routes in the main table */
	uint64_t unclear; /* of them those that did not tell what they led to */
	uint64_t reads;	  /* of the whole table, to the end */
	uint64_t mended;  /* routes that a reading has put right after the first one */
	uint64_t read_us; /* CPU time of the last reading */
};

enum nl_reading { NL_READ_NOT, NL_READ_ASKED, NL_READ_SWEEP };

struct nl_routes {
	struct net_fib fib;
	struct mnl_socket *sock;
	enum nl_reading state;
	bool dirty;	    /* must be read */
	bool read;	    /* has been, to the end */
	bool lost;	    /* of the reading under way something is missing: nothing is taken out after it */
	bool churn6;	    /* IPv6 routes changed during it: the kernel may have passed over some */
	bool changed;	    /* since the last snapshot */
	bool doubt;	    /* it is looked at once more after the reading: that may have come before what it is for */
	bool strict;	    /* the kernel can be asked for one table */
	unsigned table;	    /* that it has been asked for */
	uint32_t seq, mark; /* mark: of the newest reading, on all that it or a later message has shown */
	uint64_t after;	    /* ms: no reading before */
	uint64_t look_at;   /* ms: read then, to see whether all is well; 0: nothing has changed since */
	uint64_t cost_us;   /* of the reading under way */
	bool sweep_v4;	    /* how far it has got */
	struct addr sweep_at;
	unsigned sweep_plen; /* UINT_MAX: at its beginning */
	struct nl_route_stats stats;
};

/* 0 or -errno; close is owed in both cases. */
int nl_routes_open(struct nl_routes *r);
void nl_routes_close(struct nl_routes *r);
/* A message about a route that is no answer. */
void nl_routes_event(struct nl *n, const struct nlmsghdr *h);
/* Messages were lost, or could not be taken. */
void nl_routes_lost(struct nl *n);
/* Something that may take IPv4 routes by this link with it, without telling. */
void nl_routes_suspect(struct nl *n, int link);
/* Changes have been got that are to be taken next. */
void nl_routes_before_events(struct nl *n);
/* A turn's share of reading. */
void nl_routes_turn(struct nl *n);
/* Whether there is more to do at once, or from *at (ms) on, which is lowered to that. */
void nl_routes_next(const struct nl *n, uint64_t *at);
/* The next hops by gateway ports join those in use. */
void nl_routes_gateways(struct nl *n);
