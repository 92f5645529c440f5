/* SPDX-License-Identifier: MIT */
#include "cc_model.h"

/*
 * What acknowledgements tell KCP_CONGESTION_AUTO of the path.
 *
 * A sample of the rate is what was delivered between the state that a segment was sent with and its acknowledgement,
 * over the longer of the times that sending and acknowledging took: at least a round trip.  Receivers acknowledge in
 * lumps, at their tick; a lump is counted whole at both ends of a sample.  The rate is the path's, with the parity that
 * went beside: so it stays what it is when there is more or less of that.
 *
 * Some things can only be said of a whole round: what it lost, what it was limited by, whether a queue stood all the
 * while.  A queue that grows is not waited for so long (look_now).
 */

#define EARLY_US       40000 /* ticks are not longer, */
#define EARLY_KNOWS_US 10000 /* and who knows what we need does not wait for his */
#define EARLY_PART     4     /* of the least round trip: a look takes so long, */
#define EARLY_ROUNDS   4     /* or more, up to so many of them, until there are */
#define EARLY_LEAST    16    /* segments, */
#define EARLY_SEEN     2     /* of which so many told of their round trip: what is in order is told by una alone */
#define WARY_PART      20    /* of a queue that is one */
#define WARY_LEAST     64    /* segments: below that rate lumps are all that shows */
#define GROWTH	       1.25  /* of a round in KCP_MODEL_STARTUP, or the path is full */
#define FLAT_ROUNDS    3
#define FULL_LEAST     32 /* segments that a round must have to tell what the path itself loses */
#define SPARED_MIN     0.5
#define SPARE_LEAST    8      /* segments that a round must have for its losses to say anything */
#define SETTLED	       6      /* rounds after the startup */
#define LOST_PART      0.02   /* of what was delivered: a queue that loses */
#define LOST_MUCH      0.1    /* so much more than the path itself is lost by a policer */
#define MASKED	       0.92   /* a round, while parity may hide what the queue loses */
#define EXTRA_US       100000 /* lumps are not longer */

/* Of what was sent between two times: with how much parity?  With the less, if that changed meanwhile. */
static double parity_of(const struct kcp *k, uint32_t from, uint32_t to)
{
	const struct kcp_model *m = &k->m;

	if (seq_diff(from, m->parity_us) >= 0)
		return m->parity;
	if (seq_diff(to, m->parity_us) <= 0)
		return m->parity_was;
	return m->parity < m->parity_was ? m->parity : m->parity_was;
}

/*
 * Parity makes good what a queue loses: then all that is sent is delivered, and says nothing of what could be.  In a
 * queue that others keep long, what we get is our part of what is sent into it: who sends less there, for fear of that,
 * ends with nothing.
 */
static bool is_masked(const struct kcp *k)
{
	return k->m.full && k->m.parity > 0 && k->m.now_us > kcp_queue_most(k) / 2 && k->m.us >= k->m.foreign_until;
}

static void sample_rate(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	uint32_t sent = m->best.sent_us - m->best.first_us, acked = (uint32_t)m->us - m->best.had_us;
	uint32_t us = sent > acked ? sent : acked;
	double rate;

	rate = 1.0 + parity_of(k, m->best.first_us, m->best.sent_us);
	m->first_us = m->best.sent_us;
	if (us == 0 || us < kcp_min_rtt(k))
		return;
	rate *= (double)(m->delivered - m->best.had) / us;
	if (rate > m->round_rate)
		m->round_rate = rate;
	if (is_masked(k) && rate > kcp_best_of(&m->rate))
		return;
	if (kcp_is_policed(k)) /* what is let through is looked for in another way */
		return;
	if (!m->best.limited || rate > kcp_best_of(&m->rate))
		kcp_best_add(&m->rate, m->round, KCP_RATE_ROUNDS, rate);
}

/* What has come beyond the rate since it last kept up. */
static void sample_extra(struct kcp *k, uint32_t acked)
{
	struct kcp_model *m = &k->m;
	double rate = kcp_seg_rate(k), due = rate * (double)(m->us - m->epoch_us), most = rate * EXTRA_US;
	double extra = (double)(m->delivered - m->epoch_had) - due;

	if (!m->full || extra <= acked) {
		m->epoch_us = m->us;
		m->epoch_had = m->delivered - acked;
		extra = acked;
	}
	if (m->full)
		kcp_best_add(&m->extra, m->round, KCP_RATE_ROUNDS, extra < most ? extra : most);
}

/*
 * A queue stands for a whole round.  If it loses what does not fit, and less came through than was thought to, then the
 * path's rate has fallen, or others want their part: that is no time to remember better ones.  What parity makes good
 * is not seen to be lost, and counts as delivered while it is parity that is lost: there we find down step by step.
 */
static void look_fallen(struct kcp *k, uint32_t got)
{
	struct kcp_model *m = &k->m;
	double rate = kcp_best_of(&m->rate);

	if (!m->full || !kcp_queue_is_long(k))
		return;
	if (m->lost > got * LOST_PART && m->round_rate > 0 && m->round_rate < rate)
		rate = m->round_rate;
	if (m->parity > 0 && m->us >= m->foreign_until)
		rate *= MASKED;
	if (rate < kcp_best_of(&m->rate))
		kcp_best_reset(&m->rate, m->round, rate);
}

/*
 * What gets through of what is sent when we send least, behind a probe: two rounds tell of that, and the better one is
 * believed.
 */
static void look_spared(struct kcp *k, float part)
{
	struct kcp_model *m = &k->m;

	m->round_spared = part > SPARED_MIN ? part : SPARED_MIN;
	if (m->state != KCP_MODEL_CRUISE)
		return;
	if (m->phase == 2 && part > m->phase_spared)
		m->phase_spared = part;
	if (m->phase == 3 && m->phase_spared >= 0) {
		if (part > m->phase_spared)
			m->phase_spared = part;
		m->spared += (m->phase_spared - m->spared) / 2;
		m->phase_spared = -1;
	}
	if (m->phase == 1)
		m->phase_spared = 0;
}

/* A queue that has stood for a round, whosever it is, is no use to anyone: it is let drain. */
static void look_queue(struct kcp *k)
{
	struct kcp_model *m = &k->m;

	if (m->state == KCP_MODEL_CRUISE && m->phase > 1 && kcp_queue_is_long(k) && m->us >= m->foreign_until)
		kcp_enter_phase(k, 1);
}

/*
 * Losses that are the path's, not our doing: of rounds that send no more than before, and have no queue, when those of
 * the startup's end, or of a probe, have come to light; and in KCP_MODEL_STARTUP of those that another round followed.
 */
static void look_lossy(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	bool lossy = m->lost > 0;

	if (m->state == KCP_MODEL_STARTUP) {
		m->lossy_rounds += m->maybe_lossy && !m->full;
		m->maybe_lossy = lossy;
		m->blocked_rounds += m->blocked && !m->full;
	} else if (m->state == KCP_MODEL_CRUISE && m->phase > 2 && m->round - m->full_round > SETTLED &&
		   !kcp_queue_is_long(k)) {
		m->lossy_rounds += lossy;
		m->blocked_rounds += m->blocked;
	}
}

/* Has this round shown that there is no more? */
static void look_full(struct kcp *k, uint32_t got)
{
	struct kcp_model *m = &k->m;
	float part = (float)got / (got + m->lost + 1);

	if (got + m->lost >= FULL_LEAST * k->mss && part > m->full_spared)
		m->full_spared = part;
	if (kcp_best_of(&m->rate) >= m->full_rate * GROWTH || !(m->best.limited & KCP_LIMITED_WINDOW))
		m->held = 0;
	else if (m->held < KCP_HELD_ROUNDS)
		m->held++;
	if ((m->best.limited & (KCP_LIMITED_APP | KCP_LIMITED_STREAM)) && part > m->full_spared * (1 - LOST_MUCH))
		return;
	if (kcp_best_of(&m->rate) >= m->full_rate * GROWTH) {
		m->full_rate = kcp_best_of(&m->rate);
		m->flat = 0;
	} else if (!m->wary && ++m->flat >= FLAT_ROUNDS) {
		m->full = true;
	}
}

static void end_round(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	uint32_t got = m->delivered - m->round_had;

	m->round++;
	if (m->round_rtt != UINT32_MAX)
		m->queue_us = kcp_beyond_min(k, m->round_rtt);
	if (got + m->lost >= SPARE_LEAST * k->mss)
		look_spared(k, (float)got / (got + m->lost));
	if (m->state == KCP_MODEL_STARTUP)
		look_full(k, got);
	else
		look_fallen(k, got);
	kcp_police_round(k, got);
	look_queue(k);
	m->round_segs = m->segs;
	m->segs = 0;
	look_lossy(k);
	m->was_blocked = m->blocked;
	m->blocked = false;
	m->round_end = m->round_had = m->delivered;
	m->round_rtt = UINT32_MAX;
	m->round_rate = 0;
	m->lost = 0;
}

/*
 * A long queue, as of now: what comes through meanwhile is all that the path takes, whatever it was before.  For a
 * round trip that is the doing of what was sent before; what we send less from here on shows afterwards.
 */
static void look_brake(struct kcp *k, float rate)
{
	struct kcp_model *m = &k->m;

	if (m->state != KCP_MODEL_CRUISE || m->us < m->foreign_until)
		return;
	if (m->now_us > kcp_queue_most(k) && m->brake == 0) {
		kcp_enter_phase(k, 1);
		m->brake = rate;
		m->brake_us = m->now_us;
		m->brake_had = m->delivered;
	} else if (m->brake > 0 && m->us - m->phase_at < kcp_min_rtt(k)) {
		m->brake = (m->delivered - m->brake_had) / (float)(m->us - m->phase_at);
	}
}

/*
 * The first sign of a queue in KCP_MODEL_STARTUP, which will have grown by what was sent in this round trip before the
 * next one tells more: for one the rate stands.  If there is nothing of it then, it was none.
 */
static void look_wary(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	bool sign = m->early_rtt != UINT32_MAX && kcp_beyond_min(k, m->early_rtt) > kcp_queue_most(k) / WARY_PART;

	if (m->state != KCP_MODEL_STARTUP)
		return;
	if (m->wary && m->us >= m->until) {
		m->full |= sign;
		m->wary = false;
	} else if (!m->wary && sign && k->knows && m->early_n >= WARY_LEAST && m->early_seen >= EARLY_SEEN) {
		m->wary = true;
		m->until = m->us + kcp_min_rtt(k);
	}
}

/*
 * The queue, as of now.  Of what a lump acknowledges the latest has waited least: so a part of a round trip, or a tick,
 * shows what all have to wait.  KCP_MODEL_STARTUP cannot wait for a round's end, for what it sends doubles meanwhile.
 */
static void look_now(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	uint32_t lump = k->knows ? EARLY_KNOWS_US : EARLY_US;
	uint32_t window = kcp_min_rtt(k) / EARLY_PART > lump ? kcp_min_rtt(k) / EARLY_PART : lump;
	bool enough = m->early_n >= EARLY_LEAST && m->early_seen >= (k->knows ? EARLY_SEEN : EARLY_LEAST);

	look_wary(k);
	if (m->us - m->early_at < window || (!enough && m->us - m->early_at < EARLY_ROUNDS * (uint64_t)kcp_min_rtt(k)))
		return;
	if (enough) {
		m->now_us = kcp_beyond_min(k, m->early_rtt);
		if (m->state == KCP_MODEL_STARTUP && m->now_us > kcp_queue_most(k) / 2)
			m->full = true;
		look_brake(k, (m->delivered - m->early_had) / (float)(m->us - m->early_at));
	}
	m->early_had = m->delivered;
	m->early_at = m->us;
	m->early_rtt = UINT32_MAX;
	m->early_seen = m->early_n = 0;
}

void kcp_tell(struct kcp *k, uint32_t acked)
{
	struct kcp_model *m = &k->m;

	if (m->best.any) {
		sample_rate(k);
		if (seq_diff(m->best.had, m->round_end) >= 0)
			end_round(k);
	}
	m->best.any = false;
	look_now(k);
	sample_extra(k, acked);
}
