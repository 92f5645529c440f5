/* SPDX-License-Identifier: MIT */
#pragma once

/* The mirror alone, in a network namespace (ns.h): the test is its loop, and the user of its snapshots. */

#include <stdbool.h>
#include <stdint.h>

#include "nl.h"
#include "ns.h"
#include "rtnl.h"

struct kern {
	const char *port[NET_DEV_MAX]; /* interface of each gateway port */
	unsigned n_ports;
	bool no_link; /* what their devices say */
	struct rtnl rtnl;
	struct nl nl;
	uint64_t ahead;	  /* ms: lead of the test's clock */
	uint64_t adopted; /* gen of the snapshot in use */
};

void kern_init(struct kern *k);
void kern_port(struct kern *k, unsigned i, const char *ifname);
/* Opens it and turns until there is a first snapshot. */
void kern_start(struct kern *k);
void kern_stop(struct kern *k);

uint64_t kern_now(const struct kern *k);
/* One turn, which waits for so long at most; nothing is adopted. */
void kern_turn(struct kern *k, int ms);
/* The newest snapshot is used from now on; and a turn. */
void kern_adopt(struct kern *k);
/* So much time passes at once, and then a few turns. */
void kern_skip(struct kern *k, uint64_t ms);

/* Turns that adopt, until cond() or about `ms` have passed; true on cond(). */
#define kern_until(k, ms, cond)                                                                             \
	({                                                                                                  \
		bool kern_ok_ = false;                                                                      \
		for (uint64_t kern_end_ = lab_ms() + (ms); !(kern_ok_ = (cond)) && lab_ms() < kern_end_;) { \
			kern_turn(k, 2);                                                                    \
			kern_adopt(k);                                                                      \
		}                                                                                           \
		kern_ok_;                                                                                   \
	})
