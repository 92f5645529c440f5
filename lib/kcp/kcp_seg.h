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

#define KCP_THIN 8 /* segments */

/* Why a segment is on the list `again`. */
enum kcp_why { KCP_WHY_NONE, KCP_WHY_FAST, KCP_WHY_EARLY, KCP_WHY_LOST };

/* One segment to be sent: a cache line, then the payload. */
struct kcp_seg {
	struct list due;  /* in `due` (twin.c's with loss by time), or in `again` when why is set, or in none */
	struct list late; /* in `late`, or in none */
	union {
		struct { /* loss.c */
			struct kcp_seg
				*peer;	   /* first and last of a run of equal deadlines in `due` point at each other */
			uint32_t rto;	   /* ms */
			uint32_t deadline; /* ms: ts + rto, unless loss.c had to delay it */
		};
		struct {		  /* timed.c: struct kcp_model, when it was last sent */
			uint32_t sent_us; /* low bits of the time */
			uint32_t had, had_us, first_us;
		};
	};
	uint32_t sn;
	uint32_t ts;	   /* ms, of the last transmission */
	uint16_t len, cap; /* bytes of payload, and that fit */
	uint8_t frg;
	uint8_t xmit; /* transmissions, up to 255 */
	union {
		uint8_t fastack; /* loss.c: while in `late`: acknowledgements of later segments, up to n_marks */
		struct {	 /* twin.c: how often it is to leave once more, and how often it has */
			uint8_t twins_left : 4;
			uint8_t twins_sent : 4;
		};
	};
	uint8_t why : 2;     /* enum kcp_why */
	bool resent : 1;     /* transmitted more than once */
	bool latched : 1;    /* loss.c: sent again early: not again before a timeout */
	uint8_t limited : 3; /* timed.c: KCP_LIMITED_*, when it was sent */
	bool probe : 1;	     /* size.c: its datagram was filled up to a size that is tried */
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

/* ms: the time, as it is written into segments. */
static inline uint32_t kcp_ts(const struct kcp *k)
{
	return (uint32_t)k->now + (k->conv * k->conf->ts_key >> 3);
}

/* send.c */
void kcp_seg_free(struct kcp *k, struct kcp_seg *s);

/* Which segments are sent again, and when. */
struct kcp_loss_ops {
	void (*sent)(struct kcp *k, struct kcp_seg *s); /* s was transmitted; its why says as what */
	/* s is acknowledged, by its own ACK that echoes *ts, or (NULL) by una; afterwards it is freed. */
	void (*forget)(struct kcp *k, struct kcp_seg *s, const uint32_t *ts);
	bool (*ack)(struct kcp *k, uint32_t sn, uint32_t ts); /* an ACK was taken; true: "must flush" of wire.md 4.5 */
	void (*una)(struct kcp *k);			      /* snd_una has moved */
	void (*collect)(struct kcp *k, bool early);	      /* fills `again`, in order of sn */
	bool (*early)(const struct kcp *k);	   /* a flush without new segments would send something again */
	void (*lost)(struct kcp *k, unsigned max); /* kcp_lost */
	uint64_t (*next)(
		const struct kcp *k); /* ms: when collect will find something; UINT64_MAX: when more is known */
};

extern const struct kcp_loss_ops kcp_loss_counted; /* loss.c: stock's, by counting */
extern const struct kcp_loss_ops kcp_loss_timed;   /* timed.c */

void kcp_loss_init(struct kcp *k);

/* due.c: the segments in flight by deadline */
void kcp_due_add(struct kcp *k, struct kcp_seg *s);
void kcp_due_del(struct kcp *k, struct kcp_seg *s);
struct kcp_seg *kcp_due_head(const struct kcp *k);

/* size.c: s has been sent as the probe; s, the oldest or a probe, is sent again; with kcp_size_looks, s is
 * acknowledged, by its own ACK that echoes *ts, or (NULL) by una. */
void kcp_size_sent(struct kcp *k, struct kcp_seg *s);
void kcp_size_again(struct kcp *k, const struct kcp_seg *s);
void kcp_size_acked(struct kcp *k, const struct kcp_seg *s, const uint32_t *ts);
static inline bool kcp_size_looks(const struct kcp *k)
{
	return k->stands || k->probing;
}

/* rto.c */
void kcp_rtt_sample(struct kcp *k, int32_t rtt);

/* recv.c */
void kcp_recv_push(struct kcp *k, uint32_t sn, uint32_t ts, const uint8_t *data, uint16_t len, bool recovered,
		   struct kcp_got *got);
void kcp_recv_fini(struct kcp *k);
void kcp_acks_clear(struct kcp *k);
bool kcp_acks_wanted(const struct kcp *k); /* without waiting for the tick */

/* next.c: brings the tick up to a time */
void kcp_tick_after(struct kcp *k, uint64_t now);

/* Congestion control: cc_stock.c, cc_auto.c.  A policy sees the session; what it moves is its own. */
struct kcp_cc_ops {
	/* The window of step 4, in segments from snd_una, from that of the two ends. */
	uint32_t (*window)(const struct kcp *k, uint32_t wnd);
	/* A datagram has been taken in, and snd_una has advanced (or, with loss by time, anything was acknowledged). */
	void (*acked)(struct kcp *k);
	/* A flush is over: run.fast, run.lost and run.window say how it went. */
	void (*flushed)(struct kcp *k);
};

extern const struct kcp_cc_ops kcp_cc_stock; /* nc = 0 */
extern const struct kcp_cc_ops kcp_cc_none;  /* nc = 1 */
extern const struct kcp_cc_ops kcp_cc_auto;

/* cc_auto.c */
void kcp_model_init(struct kcp *k);

/* twin.c: what leaves more than once.  After a flush: what it sent alone; and s, which was just sent again. */
void kcp_twin_plan(struct kcp *k);
void kcp_twin_again(struct kcp *k, struct kcp_seg *s);
/* us: when the next is to leave; UINT64_MAX: none is. */
uint64_t kcp_twin_at(const struct kcp *k);
/* The segment that is to leave now, or NULL; and when it has. */
struct kcp_seg *kcp_twin_head(const struct kcp *k);
void kcp_twin_sent(struct kcp *k, struct kcp_seg *s);

/* Bytes a microsecond that the path was seen to deliver; 0: not yet. */
float kcp_model_rate(const struct kcp *k);
/* us: the least round trip; 0: none was seen. */
static inline uint32_t kcp_min_rtt(const struct kcp *k)
{
	return k->m.min_rtt == UINT32_MAX ? 0 : k->m.min_rtt;
}

/* Bytes a microsecond that the path was said to take; 0: it was not. */
static inline double kcp_hint(const struct kcp *k)
{
	return (double)k->conf->bandwidth * 1e-6;
}

/* Bytes more that may be in flight; not positive: none. */
static inline int64_t kcp_model_room(const struct kcp *k)
{
	return (int64_t)k->m.cwnd - k->m.flight;
}

/* s, of which its fate is known now: it has arrived, or is lost. */
static inline void kcp_police_fate(struct kcp *k, const struct kcp_seg *s, bool lost)
{
	struct kcp_police *p = k->police;

	if (!p || seq_diff(s->sent_us, p->from) < 0 || seq_diff(s->sent_us, p->to) >= 0)
		return;
	if (lost)
		p->lost++;
	else
		p->got++;
}

static inline bool kcp_is_policed(const struct kcp *k)
{
	return k->police && k->police->rate > 0;
}

/* cc_police.c: gives back what it holds. */
void kcp_police_fini(struct kcp *k);

static inline bool kcp_is_auto(const struct kcp *k)
{
	return k->conf->congestion == KCP_CONGESTION_AUTO;
}

/* KCP_CONGESTION_AUTO: may a segment leave, whichever it is? */
static inline bool kcp_may_send(const struct kcp *k)
{
	return kcp_model_room(k) > 0 || k->m.probe;
}

/* Is so little in flight that nothing of it shows by its arrival what was lost before? */
static inline bool kcp_is_thin(const struct kcp *k)
{
	return k->m.flight <= KCP_THIN * k->mss;
}

/* Brings the time up to that of a call. */
static inline void kcp_set_now(struct kcp *k, uint64_t now)
{
	k->now = now;
	if (kcp_is_auto(k) && k->m.us < now * 1000)
		k->m.us = now * 1000;
}

static inline uint32_t kcp_seg_cost(const struct kcp_seg *s)
{
	return KCP_HEAD + s->len;
}

static inline uint32_t kcp_window(const struct kcp *k)
{
	uint32_t wnd = k->conf->snd_wnd < k->rmt_wnd ? k->conf->snd_wnd : k->rmt_wnd;

	return k->cc->window(k, wnd);
}

/* Is there a segment without number, and does the window take it? */
static inline bool kcp_may_number(const struct kcp *k)
{
	return k->snd_nxt != k->snd_end && seq_lt(k->snd_nxt, k->snd_una + kcp_window(k));
}
