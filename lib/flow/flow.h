/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Flow key -> session, for one worker; and flow key -> worker, by the NIC's arithmetic or by our own; and where flows
 * are that are not where that says.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pkt.h"

struct flow_tbl;

/*
 * A table for at most `max` flows, for one thread at a time; all its memory (about 80 bytes a flow, from EAL's heap) is
 * taken here.  name: unique in the process, at most 25 characters.  0 or -errno: EINVAL for a max of 0 or beyond 2^29,
 * ENAMETOOLONG, EEXIST, ENOMEM.
 */
int flow_tbl_create(struct flow_tbl **out, const char *name, unsigned max, int socket);

/* Takes NULL.  Sessions that are still in the table are not touched. */
void flow_tbl_destroy(struct flow_tbl *t);

/*
 * In all of these, hash is flow_hash(key).  -ENOSPC when max flows are there, -EEXIST when the key is.  The key is
 * copied; s is the caller's and not NULL.
 */
int flow_add(struct flow_tbl *t, const struct flow_key *key, uint32_t hash, struct sess *s);

/* No effect when the key is not there. */
void flow_del(struct flow_tbl *t, const struct flow_key *key, uint32_t hash);

/* NULL: unknown. */
struct sess *flow_find(const struct flow_tbl *t, const struct flow_key *key, uint32_t hash);

unsigned flow_count(const struct flow_tbl *t);

/* Sets v[i].sess (NULL: unknown) for every packet with verdict VERDICT_OK, by v[i].key and v[i].hash: bulk lookup, and
 * the sessions' first lines are prefetched. */
void flow_find_burst(const struct flow_tbl *t, struct pkt *v, unsigned n);

/* Hash of a key, for the table and for steering in software: the same in every process, for all time. */
uint32_t flow_hash(const struct flow_key *key);

/* Sets v[i].hash for every packet with verdict VERDICT_OK. */
void flow_hash_burst(struct pkt *v, unsigned n);

/* How a port spreads flows over workers. */
#define FLOW_RSS_KEY_MAX 52
#define FLOW_RETA_MAX	 512
struct flow_rss {
	bool hw;		       /* the port hashes; false: workers steer by flow_hash */
	uint16_t workers;	       /* 1.. */
	uint8_t key[FLOW_RSS_KEY_MAX]; /* hw: Toeplitz key */
	uint16_t reta_n;	       /* hw: size of the redirection table, a power of two */
	uint16_t reta[FLOW_RETA_MAX];  /* hw: worker of each entry, below `workers` */
	bool hw_l4;		       /* hw: UDP ports are part of the port's hash */
	bool hw_tcp;		       /* hw: TCP ports are */
};

/*
 * The Toeplitz hash that the port (rss->hw) computes for datagrams of this flow as they come from the peer: source is
 * key->peer, destination key->local; with the ports if hw_l4 (UDP) or hw_tcp.  Wants 40 bytes of rss->key for IPv6,
 * 16 for IPv4.
 */
uint32_t flow_rss_hash(const struct flow_rss *rss, const struct flow_key *key);

/* The worker to which a datagram of this flow (peer -> local) comes, 0..workers-1. */
uint16_t flow_home(const struct flow_rss *rss, const struct flow_key *key);

/* The software form alone, for packets whose flow_hash is known. */
static inline uint16_t flow_home_sw(uint32_t hash, uint16_t workers)
{
	return (uint16_t)(((uint64_t)hash * workers) >> 32);
}

/*
 * What several workers have to know of each other's sessions, because a server's session stays with its worker when its
 * flow changes (lib/README.md, "How a session moves"): whose a conversation is, and which flows go to another worker
 * than their home.  Two tables of single words: each is written by compare and swap, read by all, and nobody waits.
 */
struct flow_roam;

#define FLOW_NOBODY  0xffff /* no worker */
#define FLOW_PEND_MS 10000  /* so long a flow is sent to a worker that has not taken it yet */

/* For `sessions` of all workers (of which there are 254 at most); key: secret.  0, -EINVAL or -ENOMEM. */
int flow_roam_create(struct flow_roam **out, unsigned sessions, const uint64_t key[2]);
/* Takes NULL. */
void flow_roam_destroy(struct flow_roam *r);

/* The worker has a session with this conversation id, or no longer; the same may be there several times.  One that
 * finds no place is not known to others: flow_conv_partial is true from then on. */
void flow_conv_add(struct flow_roam *r, uint16_t tunnel, uint32_t conv, uint16_t worker);
void flow_conv_del(struct flow_roam *r, uint16_t tunnel, uint32_t conv, uint16_t worker);
/* A worker other than `worker` that has one; FLOW_NOBODY: none is known. */
uint16_t flow_conv_other(const struct flow_roam *r, uint16_t tunnel, uint32_t conv, uint16_t worker);
bool flow_conv_partial(const struct flow_roam *r);

/*
 * The flow goes to this worker: for FLOW_PEND_MS, or until flow_move_end.  A flow for a while gives way to any other;
 * false: as many as there is room for are there until their end.  hash: flow_hash(key).  now: ms of a clock that all
 * workers share.
 */
bool flow_move(struct flow_roam *r, const struct flow_key *key, uint32_t hash, uint16_t worker, bool stays,
	       uint64_t now);
void flow_move_end(struct flow_roam *r, const struct flow_key *key, uint32_t hash);
/* Where it goes; FLOW_NOBODY: home. */
uint16_t flow_moved(const struct flow_roam *r, const struct flow_key *key, uint32_t hash, uint64_t now);
/* Is any flow not at its home?  Costs one load. */
bool flow_moved_any(const struct flow_roam *r);
/* Now and then, while there are: forgets some of those whose time is over. */
void flow_moved_sweep(struct flow_roam *r, uint64_t now);
