/* SPDX-License-Identifier: MIT */
#pragma once

#include <rte_cycles.h>
#include <poll.h>

#include <rte_mbuf.h>

#include "frag.h"
#include "worker.h"

#define PL_RX	    256	 /* packets a turn */
#define PL_TX_LONG  512	 /* packets a vector out, where wide FEC groups need so many */
#define PL_TX	    128	 /* and otherwise: a vector stays in the caches on its way through the stages */
#define PL_TURN	    512	 /* packets sent a turn: the rest stays ready for the next */
#define PL_PENDING  1024 /* frames that wait for a port */
#define PL_EXC	    64	 /* frames from a kernel interface that is a device, a burst */
#define PL_EXC_LOT  4	 /* taken of it at a time: one may be a large segment, which becomes fifty frames */
#define PL_HOLD	    512	 /* with so many waiting, the port's sessions make no new ones */
#define PL_STUCK_MS 3000 /* a port that has taken nothing for so long loses what waits for it */

_Static_assert(PL_TX_LONG >= SHARD_OUT_MIN + 32, "a vector must hold a session's packets and their parity");
_Static_assert(PL_RX <= SHARD_MARKS && PL_TX_LONG <= SHARD_MARKS,
	       "of each packet there is a name, or it could come again");

/* Frames for one port, in order; what the port does not take waits. */
struct txq {
	unsigned n;
	unsigned at;	  /* next frame of the driver's ring, where we see that */
	uint64_t refused; /* ms: since when it has taken nothing of what waits; 0: it takes */
	struct rte_mbuf *m[PL_PENDING];
};

/* What a worker has taken of a port's allowance for the kernel, and not used yet; ms when there was none. */
struct punt_lot {
	uint16_t n[NET_KINDS];
	uint64_t none[NET_KINDS];
};

/* A turn's frames for the device that is a port's kernel interface: those that go first, and the rest. */
struct punt_burst {
	unsigned n_first, n_rest;
	struct rte_mbuf *first[PL_RX], *rest[PL_RX];
};

struct worker {
	struct worker_conf conf;
	const struct worker_clock *clock;
	struct worker_stats stats;
	uint64_t *drops;		    /* the shard's, by verdict - VERDICT_DROP */
	const struct net_tbl *tbl;	    /* snapshot in use */
	uint64_t epoch;			    /* of border, at this turn's start */
	uint8_t dev_of[RTE_MAX_ETHPORTS];   /* DPDK port -> gateway port */
	unsigned first_port, first_sibling; /* to be received from first, in this turn */
	uint64_t poked;			    /* bit a worker: something was put into its rings */
	uint64_t now;			    /* ms, of this turn */
	uint32_t longest[NET_DEV_MAX];	    /* frame without a tag that a port takes */
	uint16_t vlan[NET_DEV_MAX];	    /* whose tag its frames bear outside, or 0 */
	bool any_bare;			    /* a tunnel has no cipher */
	uint16_t *ring_last; /* [tunnel], ring.c: of a circle's first, whose key has opened last; NULL: no circles */
	uint64_t keys_at;    /* ms: when keys_left was right: so many keys may still be tried */
	unsigned keys_left;
	uint8_t keys_try[2048];
	uint32_t shut, down; /* bit a gateway port: nobody may touch it; it sends nothing */
	struct punt_lot lot[NET_DEV_MAX];
	struct punt_burst burst[NET_DEV_MAX];
	struct frag *frag;
	unsigned n_tx;			   /* packets a vector out */
	unsigned n_lent;		   /* buffers ready in tx[] */
	unsigned n_syn;			   /* of rx[]: answers to our SYNs */
	unsigned n_big;			   /* and PKT_F_BIG */
	uint32_t cut_id;		   /* of the next packet that is cut up */
	uint64_t lap;			   /* TSC when the stage under way began */
	uint64_t began, pulled;		   /* and when this turn did, and its look at what control has posted */
	uint64_t in_turn[WORKER_N_STAGES]; /* cycles of this turn */
	_Atomic bool stop, drain, drained, close, closed;
	_Atomic(struct capture *) wanted;   /* a capture that somebody has asked for, */
	_Atomic(struct capture *) copies;   /* and that of this turn; writer: the worker */
	struct shard_unsent unsent;	    /* what was left at `close`; written before `closed` */
	bool closing;			    /* `close` was seen */
	uint64_t drain_look;		    /* ms: when the shard is asked again */
	const struct crypt *_Atomic attach; /* writer: another thread, and the worker when it has done that */
	int attach_ret;
	atomic_bool drain_some;			 /* of tunnels */
	uint64_t drain_some_look;		 /* ms */
	_Atomic uint32_t asleep;		 /* writer: the worker */
	struct pollfd wake[1 + 2 * NET_DEV_MAX]; /* the bell, and the receive queues that can wake us */
	uint8_t wake_bit[1 + 2 * NET_DEV_MAX];	 /* of each in the following: */
	unsigned n_wake;
	bool all_wake; /* every receive queue can */
	/* bit a gateway port, or NET_DEV_MAX + that for its kernel interface: its queue strikes when told to; it was
	 * told, and has not struck since */
	uint32_t intr, armed;
	uint64_t timed_out; /* frames taken when all were armed and the sleep ended by itself; UINT64_MAX: it did not
			     */
	unsigned missed;    /* such sleeps in a row with frames behind them */
	unsigned rate;	    /* packets received a ms */
	uint64_t rate_at, rate_from; /* ms and packets when it was last taken */
	uint64_t passed, spare;	     /* load.c: cycles since the worker's load was last told, and those to spare */
	struct pkt rx[PL_RX];
	struct flow_key keys[PL_RX];
	struct pkt tx[PL_TX_LONG];
	struct rte_mbuf *txm[PL_TX_LONG]; /* the buffers behind tx[] */
	struct txq txq[];		  /* [gateway port] */
};

/* A stage is over: its cycles are since the one before it. */
static inline void pl_lap(struct worker *w, enum worker_stage s)
{
	uint64_t t = rte_rdtsc();

	w->in_turn[s] += t - w->lap;
	w->lap = t;
}

static inline void pl_count(struct worker *w, unsigned verdict, unsigned n)
{
	w->drops[verdict - VERDICT_DROP] += n;
}

/* Of what was received. */
static inline void pl_lost(struct worker *w, unsigned verdict, unsigned n)
{
	pl_count(w, verdict, n);
	w->stats.rx_dropped += n;
}

/* They have come in earlier turns, or in this one. */
static inline void pl_fragments_lost(struct worker *w, unsigned n)
{
	pl_lost(w, DROP_IP_FRAGMENT, n);
	w->stats.joined -= n;
}

/* n times v. */
static inline void pl_hist(struct worker *w, enum worker_hists h, uint64_t v, unsigned n)
{
	struct worker_hist *to = &w->stats.hist[h];
	unsigned b = v ? 64 - (unsigned)__builtin_clzll(v) : 0;

	to->n[b < WORKER_BUCKETS ? b : WORKER_BUCKETS - 1] += n;
	to->sum += v * n;
}

/*
 * A received buffer goes on to be sent: what its device has said of it is of no other's business, and would be taken
 * for what is to be done.  But for whose memory it is, which whoever frees it must know.
 */
static inline void pl_forget(struct rte_mbuf *m)
{
	m->ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
	m->tx_offload = 0;
}

/* rx.c */
unsigned pl_rx(struct worker *w);
void pl_free(struct worker *w, unsigned n);
unsigned pl_punt(struct worker *w, unsigned n, uint64_t tsc);
/* punt.c */
void pl_punt_one(struct worker *w, struct pkt *k);
void pl_punt_out(struct worker *w);
struct worker_punts *pl_punts_create(unsigned n_ports);
/* tcp.c */
void pl_syn(struct worker *w, struct pkt *k);
void pl_answered(struct worker *w, unsigned n);
void pl_knock(struct worker *w, uint64_t now);
/* big.c */
void pl_big(struct worker *w, struct pkt *k);
void pl_too_big(struct worker *w, unsigned n, uint64_t now);
void pl_cut(struct worker *w, const struct net_path *path, struct pkt *k);
/* tag.c */
bool pl_tag_stripped(const struct worker *w, struct rte_mbuf *m, unsigned dev);
void pl_untag_own(const struct worker *w, struct pkt *k);
void pl_untag(struct worker *w, unsigned n);
void pl_tag(const struct worker *w, unsigned dev, struct rte_mbuf *m);
/* steer.c */
unsigned pl_steer(struct worker *w, unsigned n);
/* ring.c: whose the packets are, where several tunnels listen at one place; behind flow_find_burst. */
void pl_ring(struct worker *w, unsigned n);
/* tx.c */
unsigned pl_txbuf(struct worker *w);
void pl_send(struct worker *w, unsigned n, uint64_t now);
void pl_send_one(struct worker *w, struct pkt *k, uint64_t now);
void pl_send_part(struct worker *w, unsigned dev, const struct pkt *k, struct rte_mbuf *m);
void pl_reply(struct worker *w, struct pkt *k);
unsigned pl_inject(struct worker *w);
bool pl_sibling_sends(const struct worker *w, unsigned from);
unsigned pl_drain(struct worker *w);
uint32_t pl_tx_full(const struct worker *w);
/* copy.c */
/* The capture of this turn, or NULL. */
static inline struct capture *pl_capture(const struct worker *w)
{
	return atomic_load_explicit(&w->copies, memory_order_relaxed);
}
void pl_copy_begin(struct worker *w);
void pl_copy_frame(struct worker *w, const struct pkt *k);
void pl_copy_frames(struct worker *w, unsigned n);
void pl_copy_opened(struct worker *w, unsigned n);
void pl_copy_unsealed(struct worker *w, const struct pkt *v, unsigned n);
void pl_copy_sent(struct worker *w, const struct pkt *k, unsigned dev);
void pl_copy_reply(struct worker *w, const struct pkt *k);
/* port.c */
void pl_ports_adopt(struct worker *w, const struct net_tbl *t);
static inline bool pl_shut(const struct worker *w, unsigned dev)
{
	return w->shut >> dev & 1;
}
/* idle.c */
void worker_idle_init(struct worker *w);
/* Rests, or does not, after a turn that ended at `tsc`, the last one with work at `since`.  us: how long that was meant
 * to be at most; 0: not at all. */
uint64_t worker_idle(struct worker *w, unsigned work, uint64_t since, uint64_t tsc);
void worker_bells(struct worker *w);
/* load.c */
/* A turn of so many cycles has found `work`, and so many went by until the next, of which it meant to rest `meant`. */
void worker_load(struct worker *w, unsigned work, uint64_t turn, uint64_t rest, uint64_t meant);
