/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Two gateways in one thread, a client's worker and a server's, joined by in-memory ports: whole worker turns without a
 * kernel.  TCP is replaced by byte sources and sinks on the chans, which neither write nor read the bytes that they
 * pass; the wire copies frames out of their buffers and into new ones, as NICs do.  What the sources, sinks and the
 * wire cost is not counted: only worker_turn is.  Time is virtual, a fixed step a round of turns, so a run does the
 * same work on any machine.
 */

#include <stdbool.h>
#include <stdint.h>

#include "sess.h"
#include "worker.h"

struct rte_mempool;
struct rte_ring;

enum { BED_CLIENT, BED_SERVER };

struct bed_conf {
	const char *cipher;
	unsigned ds, ps; /* 0: no FEC */
	unsigned wnd;	 /* KCP's send and receive window, segments */
	bool comp;
	bool nic_csum;		 /* the ports compute checksums, as NICs do */
	unsigned sessions;	 /* conn */
	unsigned streams;	 /* of each */
	unsigned loss_permille;	 /* of what the client sends */
	unsigned step_us;	 /* virtual time between two turns of a worker */
	unsigned delay;		 /* steps that a frame is on the wire: what is in flight grows with it */
	struct origins *origins; /* the servers'; NULL: sessions come from anywhere */
	uint64_t ratelimit;	 /* bytes/s that a client's session sends, 0: unlimited */
	bool unfiltered;	 /* datagrams that come again are not looked for */
	bool model;		 /* congestion auto instead of stock's; parity is left out, for nothing is lost */
	uint64_t bandwidth;	 /* bytes/s that the path is said to take; 0: the model finds out */
	uint32_t ahead;		 /* bytes that a source keeps in its chan; 0: 128 KiB */
	size_t heap;		 /* bytes of each worker; 0: 256 MiB */
};

/* Frames on their way to a gate. */
struct bed_wire {
	struct bed_frame *slot; /* a ring, of BED_WIRE */
	uint32_t head, tail;
};

struct bed_gate {
	struct bed *bed;
	struct bed_gate *shares; /* what is immutable, pools and the mesh are this one's; NULL: they are its own */
	struct shard_tunnel tun;
	struct fresh filter, *filters[16]; /* [shard's id] */
	void *filter_mem;
	struct chan_pool *chans, own_chans;
	struct crypt *crypt;
	struct worker_mesh *mesh;
	struct net_tbl *tbl;
	struct net_ports *udp;
	struct rte_ring *rx, *tx; /* behind the port */
	struct bed_wire wire;	  /* to rx */
	uint16_t port;
	struct worker_port wp;
	struct shard *shard;
	struct border *border;
	struct crypt_mb *mb;
	struct worker *w;
	void *heap;
	size_t heap_n, mem_empty;
	uint64_t cycles; /* in worker_turn since bed_zero */
	uint64_t turns;
};

struct bed_app { /* a stream at the client: a source without end */
	struct chan *chan;
	bool on;
};

struct bed {
	struct bed_conf conf;
	unsigned index; /* among beds side by side */
	struct bed_gate g[2];
	struct rte_mempool *pool;
	struct worker_clock clock;
	struct dial *dials;
	struct bed_app *app;
	unsigned n_app;
	uint64_t us; /* virtual time */
	uint64_t step;
	uint64_t got;	    /* bytes that the sinks took since bed_zero */
	uint64_t frames[2]; /* that the gates sent since bed_zero */
	uint64_t lost;	    /* of them, on the wire */
	uint64_t rng;
};

/* EAL must run.  Exits with a message when something cannot be had: a benchmark has no other way out. */
struct bed *bed_new(const struct bed_conf *c);
/* A second one, for another lcore: the same gateways' second workers, with a port of their own, as a NIC's second
 * queue. Ends before the first. */
struct bed *bed_new_beside(struct bed *first);
/* Ends all sessions and checks that everything came back (bench_wrong where it did not). */
void bed_end(struct bed *b);

/* Opens every stream of every session and waits until bytes have come by each. */
void bed_start(struct bed *b);
/* Sources on (all streams) or off. */
void bed_flow(struct bed *b, bool on);
/* One step: each worker takes turns until its port's receive ring is empty. */
void bed_step(struct bed *b);
/* The pieces of a step, for those who keep time in their own way (b->us, and b->step in the unit of `delay`): frames
 * that have arrived go to a gate's port, `max` at most, and how many that were; one turn, with what control and the
 * wire do after it, and its cycles. */
unsigned bed_give(struct bed *b, int to, unsigned max);
uint64_t bed_turn(struct bed *b, int e);
/* Frames that have arrived at a gate are lost, as where a port's ring is full.  Returns how many. */
unsigned bed_lose(struct bed *b, int to);
/* Begins a measurement. */
void bed_zero(struct bed *b);
/* Steps until the sinks have taken so many bytes, or 10 virtual seconds are over: false. */
bool bed_carry(struct bed *b, uint64_t bytes);
