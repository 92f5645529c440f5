/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * struct kcp, for those who hold one by value.  Its fields are this room's own: others go through kcp.h.
 *
 * Sending.  Sequence numbers run snd_una <= snd_sent <= snd_nxt <= snd_end.  [snd_una, snd_sent) is in flight,
 * [snd_sent, snd_nxt) is numbered but not yet transmitted (an ack-only flush does that), [snd_nxt, snd_end) is queued.
 * One ring holds them all.  A segment that was acknowledged by itself is freed at once and leaves a mark in its slot,
 * for it counts toward the window until snd_una passes it.
 *
 * What stock's loss detection looks at (loss.c):
 *   due    all segments in flight, by deadline
 *   late   those that timed out and have not been sent again since, in order of transmission
 *   again  those that the next full flush sends again
 *   marks  the highest acknowledged sequence numbers
 *
 * Receiving.  [rcv_nxt - rcv_ordered, rcv_nxt) is the ordered queue, what lies above rcv_nxt the reorder store.
 */

#include <stdbool.h>
#include <stdint.h>

#include "kcp.h"
#include "list.h"
#include "model.h"

#define KCP_RESEND_MAX 8 /* a larger `resend` counts as this: the number of marks that are kept */

struct kcp_cc_ops;
struct kcp_loss_ops;
struct kcp_seg;

struct kcp_ring {
	void **slot;
	uint32_t mask;
};

#define KCP_TOLD_MAX 31

/* An acknowledgement that waits to be sent. */
struct kcp_ack {
	uint32_t sn, ts;
};

/* Those above a hole that the last ACKs were: a stock receiver tells each once, and when that is lost it is lost. */
struct kcp_told {
	uint32_t n;
	struct kcp_ack v[KCP_TOLD_MAX];
};

enum kcp_phase { KCP_PHASE_IDLE, KCP_PHASE_ACKS, KCP_PHASE_PROBES, KCP_PHASE_AGAIN, KCP_PHASE_NEW, KCP_PHASE_DONE };

/* A flush that may be resumed: what was fixed at its start, and how far it got. */
struct kcp_run {
	uint32_t una;	 /* of every header in it */
	uint32_t ts, sn; /* of the last ACK written: left over in WASK and WINS */
	uint32_t ack;	 /* next of acks.v */
	uint32_t window; /* of step 4 */
	uint16_t wnd;	 /* of every header in it; afterwards, what the peer was last told */
	uint8_t phase;	 /* enum kcp_phase */
	uint8_t kind;	 /* enum kcp_flush_kind */
	bool lost, fast; /* something timed out; something was sent again early */
	bool ask, tell;	 /* WASK and WINS to be written */
};

/* Four cache lines that every packet comes by, and what only loss and closed windows need behind them. */
struct kcp {
	const struct kcp_conf *conf;
	struct mem *mem;
	struct snmp *cnt;
	const struct kcp_cc_ops *cc;
	const struct kcp_loss_ops *loss;
	uint64_t now;  /* ms: the latest time that this session was told */
	uint64_t tick; /* ms: next tick */
	uint32_t conv;
	uint32_t mss;

	/* receiving */
	uint32_t rcv_nxt;
	uint32_t rcv_top;		  /* above the highest of those held */
	uint32_t rcv_ordered, rcv_stored; /* segments */
	uint32_t rcv_bytes;		  /* in the ordered queue */
	uint32_t rcv_wnd;		  /* segments that are taken in, ordered ones included */
	uint32_t rmt_wnd;
	uint32_t stuck_at; /* ms: since when it `stands` */
	struct kcp_ring rcv;
	struct {
		struct kcp_ack *v;
		uint32_t n, cap;
	} acks;

	/* sending */
	struct kcp_ring snd;
	uint32_t snd_una, snd_sent, snd_nxt, snd_end;
	uint32_t fast;	  /* below it no segment in flight waits for its first retransmission */
	uint32_t plain;	  /* the first sequence number, acknowledged or not, that was never sent again */
	uint32_t touched; /* segments of `late` with a fastack count */
	uint16_t limit;	  /* new segments a flush; UINT16_MAX: what the window lets through */
	uint8_t n_marks;
	bool ask_send : 1, ask_tell : 1; /* WASK, WINS requested */
	bool fresh : 1;			 /* kcp_send since the last full flush */
	bool wnd_told : 1;		 /* rmt_wnd is the peer's word */
	bool proved : 1;		 /* kcp_proved */
	bool stands : 1;		 /* size.c: the oldest segment was sent again; */
	bool probing : 1, asked : 1;	 /* a probe is under way, or to leave */
	struct list due, again, late;
	struct kcp_seg *due_last; /* the last put into `due`, NULL once it has left */
	int32_t srtt, rttvar;	  /* ms */
	uint32_t rto;		  /* ms */
	uint32_t cwnd;
	uint32_t probe_wait; /* ms; 0: not probing a closed window */
	struct kcp_run run;

	uint32_t marks[KCP_RESEND_MAX]; /* descending, n_marks of them, never below snd_una */
	uint64_t ts_probe;		/* ms */
	uint32_t ssthresh, incr;
	bool dead;
	uint8_t stuck, probed; /* size.c: vain retransmissions of what `stands`; enum kcp_probed */
	uint32_t again_fast, again_early, again_late; /* segments sent again; they wrap */

	/* KCP_CONGESTION_AUTO: `late` holds all segments in flight, in order of transmission, and `due` those that
	 * leave once more */
	struct kcp_model m;
	struct kcp_police *police; /* NULL: nothing is lost without a queue */
	struct kcp_told *told;	   /* what is to be told once more; NULL: nothing */
	uint64_t acks_at;	   /* ms: last ACK */
	bool knows : 1;		   /* the peer makes sense of an ACK that comes again */
	bool backward : 1;	   /* kcp_backward */
	bool rcv_half;		   /* half of the window waited behind a hole, */
	uint16_t probe_len;	   /* size.c: of the datagram */
	uint32_t rcv_count;	   /* and so many segments came, since rcv_since */
	uint64_t rcv_since;	   /* ms */
};
