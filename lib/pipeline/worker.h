/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A worker: one lcore's poll loop round one shard.  A turn is a straight line: receive, parse, punt, steer, find, open,
 * input, pull, output, seal, push, send.  Whatever a turn calls is a leaf that returns.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "border.h"
#include "crypt.h"
#include "flow.h"
#include "net.h"
#include "shard.h"

struct rte_mempool;
struct rte_ring;
struct worker;

/*
 * The ring that AF_PACKET's driver sends by, to be looked at: the driver waits in the kernel for a frame that is still
 * in use, however long that takes, and all ports of the worker with it.  base NULL: the port has no such ring.
 */
struct worker_ring {
	const uint8_t *base;
	uint32_t frames, frame_size;
	uint32_t longest; /* packet that fits a frame */
	int fd;		  /* its socket */
};

/*
 * A gateway port as one worker sees it.  Whoever fills this in again does so while the port is closed in the snapshot
 * that the worker has adopted: until it adopts one in which the port is open, it does not look here.
 */
struct worker_port {
	uint16_t id;		    /* DPDK's */
	int32_t rxq;		    /* its receive queue here, or -1 */
	int32_t txq;		    /* its transmit queue, or -1: packets go to `tx_owner`, which sends them */
	uint16_t tx_owner;	    /* worker */
	uint64_t sends_for;	    /* bit a worker: those whose packets this one sends */
	bool steer;		    /* no RSS: packets go to their home worker in software */
	const struct flow_rss *rss; /* how the port spreads flows; NULL: without RSS */
	bool has_exc;		    /* its kernel interface is a device too, of a queue for each worker: */
	uint16_t exc;		    /* DPDK's */
	int exc_fd;		    /* of its queue here, an eventfd struck as with rx_intr; 0: there is none */
	int rx_fd;		    /* readable when the receive queue holds frames; 0: there is no such thing */
	bool rx_intr; /* it is an eventfd, struck by the next frame after rte_eth_dev_rx_intr_enable, and then no more
		       */
	struct worker_ring ring; /* of the transmit queue */
};

/* What a port may still hand the kernel (punt.c). */
struct worker_punts;

/* What the workers share: rings between each pair, written by the first and read by the second. */
struct worker_mesh {
	unsigned n, n_ports;
	struct worker_punts *punts; /* [port] */
	struct rte_ring **steer;    /* [from * n + to]: received frames on their way home */
	struct rte_ring **tx; /* [from * n_ports + port]: frames for a port whose queue another owns, who reads it */
	struct worker **worker;
	struct flow_roam *roam; /* flows that are not at their home; NULL: none are.  Freed with the mesh */
};

/* socket[worker]: where the rings that it reads lie; those of ports, which the first workers own, by the first one. */
int worker_mesh_create(struct worker_mesh **out, unsigned n, unsigned n_ports, unsigned frames, const int *socket);
void worker_mesh_destroy(struct worker_mesh *m);

/*
 * Frames a second that a port may hand the kernel, by all workers together: each kind of frame (enum net_kind) has a
 * part of its own, which a flood of another cannot take.  Before the workers run.  0, as it is at first: as many as
 * come.
 */
void worker_mesh_punt_rate(struct worker_mesh *m, unsigned port, unsigned rate);

#define RING_GONE 0x8000u

struct worker_conf {
	unsigned id;
	struct shard *shard;
	struct border *border;
	struct crypt_mb *mb;
	struct worker_mesh *mesh;
	const struct net_ports *udp;
	const struct crypt *const *crypts; /* [tunnel]; NULL: of a blank one */
	/*
	 * [tunnel]: the next of those that listen at its place, and RING_GONE for one that no datagram is tried with;
	 * and behind them: 0 while each is alone.  Whoever writes changes one at a time.  NULL: each is.
	 */
	const uint16_t *ring_next;
	unsigned n_tunnels;
	const struct worker_port *ports;
	unsigned n_ports;
	struct rte_mempool *pool;
	bool poll; /* never sleep */
	int socket;
};

/* Where a turn's cycles go, in the order of the turn. */
#define WORKER_STAGES(X)                                                                                     \
	X(RX, rx)	  /* the port's driver, and the vector */                                            \
	X(PARSE, parse)	  /* headers, what is not ours, steering */                                          \
	X(FIND, find)	  /* flow lookup, what needs no key to be refused */                                 \
	X(OPEN, open)	  /* decryption and checksum */                                                      \
	X(INPUT, input)	  /* FEC, KCP, decompression, smux, bytes towards TCP; buffers back to their pool */ \
	X(PULL, pull)	  /* what control posted */                                                          \
	X(TICK, tick)	  /* timers */                                                                       \
	X(OUTPUT, output) /* bytes from TCP, smux, compression, KCP, FEC; empty buffers from the pool */     \
	X(SEAL, seal)	  /* encryption and checksum */                                                      \
	X(SEND, send)	  /* headers and the port's driver */

enum worker_stage {
#define X(name, str) WORKER_##name,
	WORKER_STAGES(X)
#undef X
		WORKER_N_STAGES
};
const char *worker_stage_name(enum worker_stage s);

/* Where the time of packets goes, and how wide the bursts are.  Times are of one turn, from the TSC that each stage
 * ends with, and each packet counts; widths are bursts. */
#define WORKER_HISTS(X)                                                                                        \
	X(RX_TO_CHAN, rx_to_chan) /* cycles from the port's burst until the bytes lie where TCP takes them */  \
	X(CHAN_TO_TX, chan_to_tx) /* cycles from TCP's bytes being looked for until the port has the packet */ \
	X(RX_WIDTH, rx_width)	  /* frames of a turn */                                                       \
	X(OPEN_WIDTH, open_width) /* of them, datagrams that are deciphered together */                        \
	X(TX_WIDTH, tx_width)	  /* datagrams that are enciphered together */

enum worker_hists {
#define X(name, str) WORKER_##name,
	WORKER_HISTS(X)
#undef X
		WORKER_N_HISTS
};
const char *worker_hist_name(enum worker_hists h);

#define WORKER_BUCKETS 40
struct worker_hist {
	uint64_t
		n[WORKER_BUCKETS]; /* n[b]: those of 2^(b-1) and more, less than 2^b; n[0]: of 0; the last: all above */
	uint64_t sum;
};

struct worker_stats { /* writer: the worker */
	uint64_t turns, busy_turns;
	uint64_t busy_cycles;		 /* in turns that did something */
	uint64_t total_cycles;		 /* since the loop began */
	uint64_t stage[WORKER_N_STAGES]; /* cycles in turns that did something, by enum worker_stage */
	uint64_t sleeps;
	uint64_t interrupts, interrupts_missed; /* that woke us; frames that lay there when they should have */
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t steered_out, steered_in, punted;
	uint64_t injected;  /* frames of the kernel's, from devices (worker_port.exc) */
	uint64_t cut;	    /* fragments of packets that were longer than their paths take */
	uint64_t segmented; /* large segments of TCP among them, which were cut up */
	uint64_t max_burst;
	/*
	 * What has become of every frame that came: rx_packets + steered_in = delivered + answered + punted +
	 * steered_out + rx_dropped + joined, between two turns.  Each of rx_dropped has its reason in
	 * shard_stats.drops, where others, of what was to be sent and of streams, count too.
	 */
	uint64_t delivered; /* taken in by a session */
	uint64_t answered;  /* turned into their own answers */
	uint64_t rx_dropped;
	uint64_t joined; /* fragments that others have completed, or that wait for them */
	struct worker_hist hist[WORKER_N_HISTS];
};

/* The clock of all workers: TSC cycles to ms since worker_clock_init.  One for the process, read-only afterwards. */
struct worker_clock {
	uint64_t base; /* TSC */
	uint64_t mult; /* ms = (tsc - base) * mult >> 64 */
	uint64_t hz;
	uint64_t mult_us;
};
void worker_clock_init(struct worker_clock *c);
uint64_t worker_clock_ms(const struct worker_clock *c, uint64_t tsc);
/* The same in us. */
uint64_t worker_clock_us(const struct worker_clock *c, uint64_t tsc);

int worker_create(struct worker **out, const struct worker_conf *conf, const struct worker_clock *clock);
void worker_destroy(struct worker *w);

/* One turn at TSC time `tsc`; returns the amount of work that it found (0: nothing). */
unsigned worker_turn(struct worker *w, uint64_t tsc);

/* The lcore's main: turns, and sleeps between them, until worker_stop.  arg: struct worker. */
int worker_main(void *arg);
/* Between turns: has the kernel send what lies in rings that have no room, which otherwise a burst would tell it to. */
void worker_kick(const struct worker *w);
void worker_stop(struct worker *w);
/* Lets what is under way go out (shard_drain); worker_drained: it has, and was acknowledged. */
void worker_drain(struct worker *w);
bool worker_drained(const struct worker *w);
/*
 * A cipher of a tunnel that is added: the worker attaches it (crypt_mb_attach) between two turns, for it is the
 * worker's to use.  One at a time, by one thread; it may have to be woken.  worker_attached: it has, with this result.
 */
void worker_attach(struct worker *w, const struct crypt *c);
bool worker_attached(const struct worker *w, int *ret);
/* Some tunnel is drained (shard_tunnel.drain_at): what it has left is looked after from now on. */
void worker_drain_some(struct worker *w);
/* Lets the sessions end: from the next turn on the shard closes everything; then worker_stop. */
void worker_close(struct worker *w);
bool worker_closed(const struct worker *w);
/* What the peers had not got then; once worker_closed. */
const struct shard_unsent *worker_unsent(const struct worker *w);

/*
 * From the next turn on the worker copies what a capture wants; NULL: nothing.  worker_captures: the capture that it
 * knows of, for one that is to be freed; a worker that does not run knows of what it last saw.  By one thread.
 */
struct capture;
void worker_capture(struct worker *w, struct capture *c);
const struct capture *worker_captures(const struct worker *w);

const struct worker_stats *worker_stats(const struct worker *w);
/* Empty buffers that it keeps at hand to send with, as of its last turn.  Any thread may ask. */
unsigned worker_lent(const struct worker *w);
