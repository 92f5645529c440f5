/* SPDX-License-Identifier: MIT */
#pragma once

/* What the files of this room share: a segment, and the steps from file to file.  For this room and its tests. */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kcp_state.h"
#include "kcp_wire.h"
#include "ring.h"
#include "seq.h"

/* Why a segment is on the list `again`. */
enum kcp_why { KCP_WHY_NONE, KCP_WHY_FAST, KCP_WHY_EARLY, KCP_WHY_LOST };

/* One segment to be sent: a cache line, then the payload. */
struct kcp_seg {
	struct list due;      /* in `due`, or in `again` when why is set, or in none */
	struct list late;     /* in `late`, or in none */
	struct kcp_seg *peer; /* first and last of a run of equal deadlines in `due` point at each other */
	uint32_t sn;
	uint32_t ts;	   /* ms, of the last transmission */
	uint32_t rto;	   /* ms */
	uint32_t deadline; /* ms: ts + rto, unless loss.c had to delay it */
	uint16_t len, cap; /* bytes of payload, and that fit */
	uint8_t frg;
	uint8_t xmit;	  /* transmissions, up to 255 */
	uint8_t fastack;  /* while in `late`: acknowledgements of later segments, up to n_marks */
	uint8_t why : 2;  /* enum kcp_why */
	bool resent : 1;  /* transmitted more than once */
	bool latched : 1; /* sent again early: not again before a timeout */
	uint8_t data[];
};

static_assert(sizeof(struct kcp_seg) == 64, "a segment's head is one cache line");

/* A slot of the send ring holds a segment, or one of these for a segment that was acknowledged by itself. */
#define KCP_ACKED	 ((void *)1)
#define KCP_ACKED_RESENT ((void *)3)

static inline struct kcp_seg *kcp_snd_seg(const struct kcp *k, uint32_t sn)
{
	void *p = *kcp_ring_at(&k->snd, sn);

	return (uintptr_t)p & 1 ? NULL : p;
}

static inline bool kcp_snd_resent(const struct kcp *k, uint32_t sn)
{
	const struct kcp_seg *s = kcp_snd_seg(k, sn);

	return s ? s->resent : *kcp_ring_at(&k->snd, sn) == KCP_ACKED_RESENT;
}

static inline uint32_t kcp_interval(const struct kcp *k)
{
	int ms = k->conf->interval;

	return (uint32_t)(ms < KCP_INTERVAL_MIN ? KCP_INTERVAL_MIN : ms > KCP_INTERVAL_MAX ? KCP_INTERVAL_MAX : ms);
}

/* send.c */
void kcp_seg_free(struct kcp *k, struct kcp_seg *s);

/* loss.c: which segments are sent again, and when */
void kcp_loss_init(struct kcp *k);
void kcp_loss_sent(struct kcp *k, struct kcp_seg *s);	    /* s was transmitted; its why says as what */
void kcp_loss_forget(struct kcp *k, struct kcp_seg *s);	    /* s is acknowledged */
bool kcp_loss_ack(struct kcp *k, uint32_t sn, uint32_t ts); /* true: "must flush" of wire.md 4.5 */
void kcp_loss_una(struct kcp *k);			    /* snd_una has moved */
void kcp_loss_collect(struct kcp *k, bool early);	    /* fills `again`, in order of sn */
bool kcp_loss_early(const struct kcp *k); /* a flush without new segments would send something again */

/* due.c: the segments in flight by deadline */
void kcp_due_add(struct kcp *k, struct kcp_seg *s);
void kcp_due_del(struct kcp *k, struct kcp_seg *s);
struct kcp_seg *kcp_due_head(const struct kcp *k);

/* rto.c */
void kcp_rtt_sample(struct kcp *k, int32_t rtt);

/* recv.c */
void kcp_recv_push(struct kcp *k, uint32_t sn, uint32_t ts, const uint8_t *data, uint16_t len, bool recovered,
		   struct kcp_got *got);
void kcp_recv_fini(struct kcp *k);
void kcp_acks_clear(struct kcp *k);

/* next.c: brings the tick up to a time */
void kcp_tick_after(struct kcp *k, uint64_t now);

/* cc.c: congestion control.  A policy sees the session and moves cwnd, ssthresh and incr. */
struct kcp_cc_ops {
	/* The window of step 4, in segments, from that of the two ends. */
	uint32_t (*window)(const struct kcp *k, uint32_t wnd);
	/* snd_una has advanced by a datagram. */
	void (*acked)(struct kcp *k);
	/* A flush is over: run.fast, run.lost and run.window say how it went. */
	void (*flushed)(struct kcp *k);
};

extern const struct kcp_cc_ops kcp_cc_stock; /* nc = 0 */
extern const struct kcp_cc_ops kcp_cc_none;  /* nc = 1 */

static inline uint32_t kcp_window(const struct kcp *k)
{
	uint32_t wnd = k->conf->snd_wnd < k->rmt_wnd ? k->conf->snd_wnd : k->rmt_wnd;

	return k->cc->window(k, wnd);
}
