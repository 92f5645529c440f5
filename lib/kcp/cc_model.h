/* SPDX-License-Identifier: MIT */
#pragma once

/* What the two halves of KCP_CONGESTION_AUTO share: cc_tell.c, which finds out, and cc_auto.c, which acts on it. */

#include "best.h"
#include "kcp_seg.h"

#define KCP_RATE_ROUNDS 10
#define KCP_HELD_ROUNDS 8    /* in KCP_MODEL_STARTUP: then it is a window that limits */
#define KCP_QUEUE_US	5000 /* a queue that is none, */
#define KCP_QUEUE_PART	4    /* or this part of the least round trip */

/* Bytes of segments that the path takes beside their parity, a microsecond. */
static inline double kcp_seg_rate(const struct kcp *k)
{
	return kcp_best_of(&k->m.rate) / (1.0 + k->m.parity);
}

/* Those that are under way then. */
static inline double kcp_bdp(const struct kcp *k)
{
	return kcp_seg_rate(k) * kcp_min_rtt(k);
}

static inline uint32_t kcp_queue_most(const struct kcp *k)
{
	uint32_t part = kcp_min_rtt(k) / KCP_QUEUE_PART;

	return part > KCP_QUEUE_US ? part : KCP_QUEUE_US;
}

static inline bool kcp_queue_is_long(const struct kcp *k)
{
	return k->m.queue_us > kcp_queue_most(k);
}

/* us: what a round trip has beyond the least one. */
static inline uint32_t kcp_beyond_min(const struct kcp *k, uint32_t rtt)
{
	return rtt > kcp_min_rtt(k) ? rtt - kcp_min_rtt(k) : 0;
}

/* cc_tell.c: takes what a datagram acknowledged, `acked` bytes of it. */
void kcp_tell(struct kcp *k, uint32_t acked);

/* cc_auto.c: what KCP_MODEL_CRUISE does from now on, 0 to look for more, 1 to let a queue drain, others to go on. */
#define KCP_PHASE_LEVEL 2 /* the first of them */
void kcp_enter_phase(struct kcp *k, unsigned phase);

/* cc_police.c: a round ends, which delivered `got` bytes and lost m.lost. */
void kcp_police_round(struct kcp *k, uint32_t got);
/* A probe is over; less is to be sent now if it is to be found out who loses. */
void kcp_police_slow(struct kcp *k);
/* Less is sent to find that out. */
bool kcp_police_judges(const struct kcp *k);
