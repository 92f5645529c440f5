/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The control instances of a process.  The first one has everything that there is one of: ports, the mirror, dialling
 * of sessions, listeners, signals.  TCP connections are shared out among all: whoever accepts hands one over by a
 * mailbox (listen.c), and of those that peers ask for the worker chooses the instance (session/stream.c).  What all
 * take from in common is counted here, by atomics.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "limit.h"
#include "mbox.h"
#include "quota.h"

struct chan;
struct ctl;

struct tunnel_now;

struct team_tunnel {
	_Atomic(struct tunnel_now *) now; /* what it has become while it runs (change.c); NULL: as it began */
	struct part fds;		  /* descriptors of connections, and of sessions that were replaced */
	struct part dials;		  /* server: under way */
	_Atomic uint32_t ended; /* bit an instance: it has connections whose stream has ended and that take nothing */
};

struct team_one {
	struct ctl *ctl;	      /* NULL: not there yet, or no more */
	struct mbox *hand;	      /* connections for it that another one has accepted */
	int bell;		      /* eventfd, struck by any of the others */
	_Atomic uint32_t streams;     /* connections, those on their way to it included */
	_Atomic bool stop, drain;     /* asked of it */
	_Atomic unsigned followed;    /* of `changes` */
	_Atomic uint64_t undelivered; /* while it drains: bytes, */
	_Atomic uint32_t cut;	      /* and of how many connections */
};

struct team {
	unsigned n;
	struct team_one one[LIMIT_CONTROLS];
	struct team_tunnel *tunnel;
	struct quota fds, dials;
	_Atomic unsigned changes; /* how often anything was changed, */
	_Atomic bool quiet;	  /* and then what it is: */
	_Atomic uint32_t dial_ms;
	uint32_t ring;		/* the first one's: bit an instance that it has handed something to in this turn */
	_Atomic uint32_t waits; /* bit an instance: dials wait there for what any other may give back */
	_Atomic uint32_t held;	/* ports of ended sessions that the first one could give up, */
	_Atomic uint32_t want;	/* and how many the others want to be */
};

int team_up(struct ctl *c, char *why, size_t why_n);
void team_down(struct ctl *c);

/* Takes what was handed over and what was asked. */
void team_turn(struct ctl *c);
/* The turn's end: those who were handed something are woken; while draining, what is left is told. */
void team_end(struct ctl *c);

/* The instance for one more connection: with as few as any. */
unsigned team_choose(const struct ctl *c);
/* Gives an accepted socket and its chan, filled in but for ctl, to another instance.  The first one's alone. */
void team_hand(struct ctl *c, unsigned to, struct chan *ch, int fd);

/* A descriptor or a dial was given back: others' dials may wait for it. */
void team_given(struct ctl *c);
/* Some dial of ours waits: true when that was not known, so that it must be tried once more. */
bool team_wait(struct ctl *c);
/* Asks the first one to give up a port that it holds, for there are no descriptors.  False: it holds none. */
bool team_want_fd(struct ctl *c);

/* Before blocking: true when nothing waits for this instance, and its bell would ring; after it. */
bool team_sleep(struct ctl *c);
void team_awake(struct ctl *c);
