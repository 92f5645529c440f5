/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Two gateways in one thread, back to back: a client with one worker, and a server with two that share one port with a
 * single queue, so that frames are steered and sent on in software.  Ports are rings; the suite carries the frames from
 * one to the other and does to them what it likes.  Behind the server's streams sits an echo.
 */

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "sess.h"
#include "worker.h"

enum { CLIENT, SERVER };

#define BED_CONN   8	/* client sessions */
#define BED_PORT   4000 /* the server's UDP port */
#define BED_CLIENT 7	/* its worker */
#define BED_MBUFS  8191
#define BED_PORTS  2

struct app { /* one connection at the client */
	struct chan *chan;
	uint32_t to_send, sent, got;
	bool eof_sent, eof_in, closed, aborted;
};

struct gate {
	struct bed *bed;
	unsigned n; /* workers */
	struct shard_tunnel tun;
	struct chan_pool chans;
	struct crypt *crypt;
	struct worker_mesh *mesh;
	struct net_tbl *tbl;
	struct net_ports *udp;
	struct rte_ring *rx[2], *tx[2]; /* behind the port's queues */
	unsigned n_q;			/* queues */
	struct flow_rss rss;
	uint16_t port;
	struct bed_port {
		uint16_t id;
		struct rte_ring *rx, *tx;
	} more;				     /* a second port, of one queue, where the bed has it */
	struct worker_port wp[2][BED_PORTS]; /* [worker][port] */
	struct shard *shard[2];
	struct border *border[2];
	struct crypt_mb *mb[2];
	struct worker *w[2];
	void *map[2];
	size_t mem_idle[2];
	struct fresh filter[2], *fresh[BED_CLIENT + 1]; /* what [worker] has seen */
	struct fresh_line *lines[2];
	uint32_t no_carry; /* bit a port: what it sends stays in its ring */
	bool still[2];	   /* the worker makes no turns */
};

struct bed {
	struct gate g[2];
	struct rte_mempool *pool;
	struct worker_clock clock;
	struct dial dials[BED_CONN];
	struct app app[64];
	unsigned n_app, n_ports;
	uint64_t ms;
	uint64_t most_held;
	uint8_t csum[NET_DEV_MAX];
	/* Takes a frame off its way: returns true when it has seen to m.  NULL: all go. */
	bool (*wire)(struct bed *b, struct gate *to, struct rte_mbuf *m);
	uint64_t seen; /* for `wire` */
};

struct bed_conf {
	const char *cipher;
	unsigned ds, ps;
	unsigned ring;	/* frames a port's ring holds */
	unsigned hold;	/* received buffers that a worker's FEC groups may keep; 0: 256 */
	bool rss;	/* the server's port spreads flows over a queue for each worker */
	bool tcp;	/* fake TCP */
	uint8_t csum;	/* NET_CSUM_* that the ports compute: the suite's `wire` must */
	unsigned ports; /* of each gateway, each a network of its own; slot s goes by port s % ports.  0: 1 */
};

struct bed *bed_new(const struct bed_conf *c);
/* Ends everything; every buffer must be back in its pool. */
void bed_end(struct bed *b);

struct app *bed_connect(struct bed *b, unsigned slot, uint32_t bytes);
/* A millisecond: turns of all workers, and what control does. */
void bed_step(struct bed *b);
void bed_steps(struct bed *b, unsigned ms);
/* Steps until all connections are closed. */
bool bed_finish(struct bed *b, unsigned ms);
void app_complete(const struct app *a);
/* A connection of so many bytes by each slot, whole, and what the sessions have to say after it. */
void bed_transfer(struct bed *b, uint32_t bytes);

/* Puts a frame into what the gateway's port receives: where its NIC does, or into this queue. */
void bed_receive(struct gate *g, struct rte_mbuf *m);
void bed_receive_at(struct gate *g, unsigned queue, struct rte_mbuf *m);
/* A frame of len bytes for all hosts, built of an Ethernet header of `type` and body. */
struct rte_mbuf *bed_frame(struct bed *b, uint16_t type, const void *body, uint16_t len);
/* A frame of these bytes. */
struct rte_mbuf *bed_bytes(struct bed *b, const void *frame, unsigned len);
/* A picture of the kernel's tables as gateway e begins with it: 10.0.0.(1 + e) and 2001:db8::(1 + e).  net_tbl_free. */
struct net_tbl *bed_tbl(int e, uint64_t gen);
/* A copy of a gateway's own, to be changed and given to bed_publish, which frees the one before. */
struct net_tbl *bed_copy(const struct gate *g);
void bed_publish(struct gate *g, struct net_tbl *t);
uint64_t bed_drops(const struct gate *g, unsigned verdict);
/* Buffers that are neither in the pool nor lent to a worker for what it sends. */
unsigned bed_mbufs_out(const struct bed *b);
