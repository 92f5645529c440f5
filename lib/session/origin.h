/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How many sessions come from where: of an address, of its /24 (IPv4) or /56 (IPv6, what one customer is given), and of
 * each tunnel, over all workers together, for a flow's worker is chosen by its ports too.  Looked at where a session of
 * a server begins or ends, and nowhere else.
 *
 * An address or prefix that has sessions has a cell: its tag and its count in one word, so that one atomic step takes,
 * counts and gives back.  It is one of sixteen, in two lines of the table, that a keyed hash names: nobody can aim at
 * another's.  The table has two cells and more for each session that there can be; whoever finds all sixteen taken is
 * let in uncounted, which the limit of all sessions still bounds.  Each worker looks before it counts, so that there
 * may be one session more than a limit for each worker but one.
 *
 * New sessions a second are told by a time: each moves its address's by its part of a second, and one that would be
 * further than the burst ahead of the clock is refused.  A time that has gone by is as good as none, so its cell is
 * whoever's comes next.
 */

#include <stdbool.h>
#include <stdint.h>

struct origins;
struct pkt;
struct sess;
struct shard;

struct origins_conf {
	uint64_t sessions; /* that there can be at once, of all workers */
	/* at most, 0: as many as come */
	unsigned address, prefix; /* sessions */
	unsigned rate;		  /* sessions a second that begin, of an address; up to 1,000,000 */
	unsigned burst;		  /* and so many at once after a rest; with a rate 1 or more */
	unsigned n_tunnels;
	uint64_t key[2]; /* random, and nobody else's */
};

/* 0 or -ENOMEM.  Memory: about 48 bytes for each session that there can be, taken as it is used. */
int origins_create(struct origins **out, const struct origins_conf *conf);
/* Limits of a conf for what begins from now on; workers may be looking at them. */
void origins_limit(struct origins *o, const struct origins_conf *conf);
/* o may be NULL; no session is left. */
void origins_destroy(struct origins *o);

/* ---- for telemetry, from any thread, which walks the tables ---- */

struct origins_look {
	uint64_t addresses, prefixes;	      /* that have sessions */
	uint64_t address_most, prefix_most;   /* sessions of the one that has most */
	unsigned address_limit, prefix_limit; /* 0: none */
	unsigned rate, burst;
	uint64_t uncounted; /* sessions that found no cell, ever */
};
void origins_look(const struct origins *o, struct origins_look *out);
/* Sessions of a tunnel, now. */
unsigned origins_of_tunnel(const struct origins *o, unsigned tunnel);

/* ---- the shard's own ---- */

/* A server's: may the flow of k have a (or, if k->sess, another) session?  If not, k's verdict says why. */
bool origin_admits(struct shard *s, struct pkt *k, uint64_t now);
/* ss has begun; ss has ended, or never was counted. */
void origin_take(struct sess *ss);
void origin_give(struct sess *ss);
