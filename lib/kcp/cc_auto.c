/* SPDX-License-Identifier: MIT */
#include "kcp_seg.h"

/*
 * A model of the path: the rate at which it delivers, and its least round trip; in the manner of BBR
 * (draft-ietf-ccwg-bbr), from what a KCP receiver of any year tells its sender.
 *
 * - A sample of the rate is what was delivered between the state that a segment was sent with and its acknowledgement,
 *   over the longer of the times that sending and acknowledging took: at least a round trip.  Receivers acknowledge in
 *   lumps, at their tick; a lump is counted whole at both ends of a sample.  What came beyond the rate at once (extra)
 *   may be in flight besides.
 * - What leaves is paced by the greatest rate of the last RATE_ROUNDS rounds; a probe from time to time looks for more,
 *   and lets the queue that it made drain.
 * - Loss alone is no reason to be slower, for the path's own is not our doing.  A part of what is sent that is lost in
 *   every round, also in those behind a probe, when we send least, is made good by sending so much more, up to
 *   SPARE_MAX and while there is no queue.  A policer, which loses what is too much and holds nothing back, loses
 *   nothing in those rounds.
 */

#define RATE_ROUNDS    10
#define RATE_FIRST     13.75 /* bytes a microsecond, before anything is known: 110 Mbit/s */
#define RTT_LEAST_US   1000
#define CWND_FIRST     32 /* segments */
#define CWND_MIN       8
#define PACE_MIN       4     /* segments a round trip */
#define EARLY_US       40000 /* ticks are not longer, */
#define EARLY_KNOWS_US 10000 /* and who knows what we need does not wait for his */
#define EARLY_LEAST    16    /* samples */
#define EARLY_PART     4     /* of the least round trip */
#define GAIN_STARTUP   2.2
#define GAIN_DRAIN     0.45
#define GAIN_PROBE     1.25
#define GAIN_AGAIN     2.0 /* behind a probe that found more */
#define GROWN	       1.12
#define GAIN_AFTER     0.75
#define GAIN_CWND      2.0
#define GROWTH	       1.25 /* of a round in KCP_MODEL_STARTUP, or the path is full */
#define FLAT_ROUNDS    3
#define PHASES	       8    /* of KCP_MODEL_CRUISE: up, down, and level ones */
#define SPARE_MAX      0.25 /* of what is sent */
#define SPARED_MIN     0.5
#define SPARE_LEAST    8	/* segments that a round must have for its losses to say anything */
#define MIN_RTT_US     10000000 /* the least round trip is looked for again when it was not seen for so long, */
#define PROBE_RTT_US   200000	/* with half of what it takes in flight */
#define SETTLED	       6	/* rounds after the startup */
#define LOST_PART      0.02	/* of what was delivered: a queue that loses */
#define MASKED	       0.92	/* a round, while parity may hide what the queue loses */
#define LOST_MUCH      0.1	/* so much is lost by a policer, if it is not the path's own */
#define EXTRA_US       100000	/* lumps are not longer */
#define QUEUE_US       5000	/* a queue that is none */
#define QUEUE_PART     4	/* of the least round trip */

/* ---- the greatest of a window's samples ---- */

static void best_reset(struct kcp_best *b, uint32_t round, float v)
{
	for (unsigned i = 0; i < 3; i++) {
		b->s[i].round = round;
		b->s[i].v = v;
	}
}

/* The best has left the window: the others move up. */
static void best_expire(struct kcp_best *b, uint32_t round, uint32_t window, float v)
{
	for (unsigned i = 0; i < 2 && round - b->s[0].round > window; i++) {
		b->s[0] = b->s[1];
		b->s[1] = b->s[2];
		b->s[2].round = round;
		b->s[2].v = v;
	}
}

static void best_add(struct kcp_best *b, uint32_t round, uint32_t window, float v)
{
	if (v >= b->s[0].v || round - b->s[2].round > window) {
		best_reset(b, round, v);
		return;
	}
	if (v >= b->s[1].v) {
		b->s[1].round = b->s[2].round = round;
		b->s[1].v = b->s[2].v = v;
	} else if (v >= b->s[2].v) {
		b->s[2].round = round;
		b->s[2].v = v;
	}
	best_expire(b, round, window, v);
	/* A quarter and a half of the window without a better second and third: take what there is now. */
	if (b->s[1].round == b->s[0].round && round - b->s[1].round > window / 4) {
		b->s[1].round = b->s[2].round = round;
		b->s[1].v = b->s[2].v = v;
	} else if (b->s[2].round == b->s[1].round && round - b->s[2].round > window / 2) {
		b->s[2].round = round;
		b->s[2].v = v;
	}
}

static float best_of(const struct kcp_best *b)
{
	return b->s[0].v;
}

/* ---- what is known ---- */

/* Bytes that the path takes. */
static double bdp(const struct kcp *k)
{
	return best_of(&k->m.rate) * kcp_min_rtt(k);
}

static uint32_t queue_most(const struct kcp *k)
{
	uint32_t part = kcp_min_rtt(k) / QUEUE_PART;

	return part > QUEUE_US ? part : QUEUE_US;
}

static bool queue_is_long(const struct kcp *k)
{
	return k->m.queue_us > queue_most(k);
}

static double spare(const struct kcp *k)
{
	double lost = 1.0 - k->m.spared;

	if (queue_is_long(k) || lost <= 0)
		return 1.0;
	return 1.0 / (1.0 - (lost < SPARE_MAX ? lost : SPARE_MAX));
}

static double phase_gain(const struct kcp *k)
{
	switch (k->m.phase) {
	case 0:
		return k->m.probe_gain;
	case 1:
		return GAIN_AFTER;
	default:
		return 1.0;
	}
}

static double pace_gain(const struct kcp *k)
{
	switch (k->m.state) {
	case KCP_MODEL_STARTUP:
		return GAIN_STARTUP;
	case KCP_MODEL_DRAIN:
		return GAIN_DRAIN;
	case KCP_MODEL_CRUISE:
		return phase_gain(k);
	default:
		return 1.0;
	}
}

/* At first, also what may be in flight over a round trip: one sample of little says nothing. */
static double startup_rate(const struct kcp *k)
{
	uint32_t rtt = kcp_min_rtt(k) > RTT_LEAST_US ? kcp_min_rtt(k) : RTT_LEAST_US;
	double most = k->m.cwnd / (double)rtt, rate = best_of(&k->m.rate) * GAIN_STARTUP / k->m.round_spared;

	return rate > most ? rate : most;
}

static void set_pace(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	double least = PACE_MIN * (double)k->mss / (kcp_min_rtt(k) > RTT_LEAST_US ? kcp_min_rtt(k) : RTT_LEAST_US);

	if (k->conf->bandwidth) { /* however little that is in a round trip */
		m->pace = kcp_hint(k);
		return;
	}
	if (m->state == KCP_MODEL_STARTUP)
		m->pace = startup_rate(k);
	else
		m->pace = best_of(&m->rate) * pace_gain(k) * spare(k);
	if (m->pace < least)
		m->pace = least;
}

static void set_cwnd(struct kcp *k, uint32_t acked)
{
	struct kcp_model *m = &k->m;
	double gain = m->state == KCP_MODEL_STARTUP ? GAIN_STARTUP : GAIN_CWND;
	double want = bdp(k), least = CWND_MIN * (double)(k->mss + KCP_HEAD);

	if (k->conf->bandwidth && kcp_hint(k) * kcp_min_rtt(k) > want)
		want = kcp_hint(k) * kcp_min_rtt(k);
	want = m->state == KCP_MODEL_PROBE_RTT ? want / 2
					       : gain * want * spare(k) + best_of(&m->extra) + 3 * least / CWND_MIN;
	if (want < least)
		want = least;
	if (want > UINT32_MAX / 2)
		want = UINT32_MAX / 2;
	if (m->state == KCP_MODEL_PROBE_RTT)
		m->cwnd = (uint32_t)want;
	else if (m->full && m->cwnd + acked > want)
		m->cwnd = (uint32_t)want;
	else if (m->full || m->cwnd < want || m->delivered < CWND_FIRST * k->mss)
		m->cwnd += m->full ? acked : (uint32_t)(acked / m->round_spared);
}

/* ---- states ---- */

static void enter_cruise(struct kcp *k)
{
	struct kcp_model *m = &k->m;

	m->state = KCP_MODEL_CRUISE;
	m->phase = 2 + (uint8_t)(k->conv % (PHASES - 2)); /* sessions beside each other do not probe together */
	m->phase_at = m->us;
	m->probe_rate = best_of(&m->rate);
	m->grown = false;
}

/* Has this round shown that there is no more? */
static void look_full(struct kcp *k, uint32_t got)
{
	struct kcp_model *m = &k->m;

	if ((m->best.limited & (KCP_LIMITED_APP | KCP_LIMITED_STREAM)) && m->lost < got * LOST_MUCH)
		return;
	if (best_of(&m->rate) >= m->full_rate * GROWTH) {
		m->full_rate = best_of(&m->rate);
		m->flat = 0;
	} else if (++m->flat >= FLAT_ROUNDS) {
		m->full = true;
	}
}

static bool phase_is_over(const struct kcp *k)
{
	const struct kcp_model *m = &k->m;
	uint64_t past = m->us - m->phase_at;

	switch (m->phase) {
	case 0:
		return past >= kcp_min_rtt(k) &&
		       (m->flight >= m->probe_gain * bdp(k) || m->lost || past > 2 * (uint64_t)kcp_min_rtt(k));
	case 1:
		return m->flight <= bdp(k) || past > 3 * (uint64_t)kcp_min_rtt(k);
	default:
		return past >= kcp_min_rtt(k);
	}
}

static void enter_phase(struct kcp *k, unsigned phase)
{
	struct kcp_model *m = &k->m;

	m->phase = (uint8_t)(phase % PHASES);
	m->phase_at = m->us;
	if (m->phase != 0)
		return;
	m->probe_gain = m->grown ? GAIN_AGAIN : GAIN_PROBE;
	m->grown = false;
	m->probe_rate = best_of(&m->rate);
}

/* Behind a probe that has found more, and made no queue, there may be much more. */
static void walk_cruise(struct kcp *k)
{
	struct kcp_model *m = &k->m;

	if (m->phase && !m->grown && best_of(&m->rate) > m->probe_rate * GROWN && !queue_is_long(k))
		m->grown = true;
	if (m->grown && m->phase > 1)
		enter_phase(k, 0);
	else if (phase_is_over(k))
		enter_phase(k, m->phase + 1u);
}

/* The least round trip has not been seen for long: there may be a queue that never drains. */
static void walk_rtt(struct kcp *k)
{
	struct kcp_model *m = &k->m;

	if (m->state == KCP_MODEL_CRUISE && m->us - m->min_rtt_at >= MIN_RTT_US) {
		m->state = KCP_MODEL_PROBE_RTT;
		m->probe_rtt_until = m->us + PROBE_RTT_US + kcp_min_rtt(k);
		m->seen_rtt = UINT32_MAX;
	} else if (m->state == KCP_MODEL_PROBE_RTT && m->us >= m->probe_rtt_until) {
		if (m->seen_rtt != UINT32_MAX)
			m->min_rtt = m->seen_rtt;
		m->min_rtt_at = m->us;
		enter_cruise(k);
	}
}

static void walk(struct kcp *k)
{
	struct kcp_model *m = &k->m;

	if (m->state == KCP_MODEL_STARTUP && m->full) {
		m->state = KCP_MODEL_DRAIN;
		m->full_round = m->round;
	}
	if (m->state == KCP_MODEL_DRAIN && m->flight <= bdp(k))
		enter_cruise(k);
	if (m->state == KCP_MODEL_CRUISE)
		walk_cruise(k);
	walk_rtt(k);
}

/* ---- what a datagram tells ---- */

/* Parity makes good what a queue loses: then all that is sent is delivered, and says nothing of what could be. */
static bool is_masked(const struct kcp *k)
{
	return k->m.full && k->m.parity > 0 && k->m.now_us > queue_most(k) / 2;
}

static void sample_rate(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	uint32_t sent = m->best.sent_us - m->best.first_us, acked = (uint32_t)m->us - m->best.had_us;
	uint32_t us = sent > acked ? sent : acked;
	double rate;

	m->first_us = m->best.sent_us;
	if (us == 0 || us < kcp_min_rtt(k))
		return;
	rate = (double)(m->delivered - m->best.had) / us;
	if (rate > m->round_rate)
		m->round_rate = rate;
	if (is_masked(k) && rate > best_of(&m->rate))
		return;
	if (!m->best.limited || rate > best_of(&m->rate))
		best_add(&m->rate, m->round, RATE_ROUNDS, rate);
}

/* What has come beyond the rate since it last kept up. */
static void sample_extra(struct kcp *k, uint32_t acked)
{
	struct kcp_model *m = &k->m;
	double rate = best_of(&m->rate), due = rate * (double)(m->us - m->epoch_us), most = rate * EXTRA_US;
	double extra = (double)(m->delivered - m->epoch_had) - due;

	if (!m->full || extra <= acked) {
		m->epoch_us = m->us;
		m->epoch_had = m->delivered - acked;
		extra = acked;
	}
	if (m->full)
		best_add(&m->extra, m->round, RATE_ROUNDS, extra < most ? extra : most);
}

/*
 * A queue stands for a whole round.  If it loses what does not fit, and less came through than was thought to, then the
 * path's rate has fallen, or others want their part: that is no time to remember better ones.  What parity makes good
 * is not seen to be lost, and counts as delivered while it is parity that is lost: there we find down step by step.
 */
static void look_fallen(struct kcp *k, uint32_t got)
{
	struct kcp_model *m = &k->m;
	double rate = best_of(&m->rate);

	if (!m->full || !queue_is_long(k))
		return;
	if (m->lost > got * LOST_PART && m->round_rate > 0 && m->round_rate < rate)
		rate = m->round_rate;
	if (m->parity > 0)
		rate *= MASKED;
	if (rate < best_of(&m->rate))
		best_reset(&m->rate, m->round, rate);
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

	if (m->state == KCP_MODEL_CRUISE && m->phase > 1 && queue_is_long(k))
		enter_phase(k, 1);
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
		   !queue_is_long(k)) {
		m->lossy_rounds += lossy;
		m->blocked_rounds += m->blocked;
	}
}

static void end_round(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	uint32_t got = m->delivered - m->round_had;

	m->round++;
	if (m->round_rtt != UINT32_MAX)
		m->queue_us = m->round_rtt - kcp_min_rtt(k);
	if (got + m->lost >= SPARE_LEAST * k->mss)
		look_spared(k, (float)got / (got + m->lost));
	if (m->state == KCP_MODEL_STARTUP)
		look_full(k, got);
	else
		look_fallen(k, got);
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

/* What was lost, and parity makes good, arrives when its group is complete: it is not missing before. */
static void set_batch(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	double us = m->batch * (double)k->mss / m->pace, most = kcp_min_rtt(k) / 2.0;

	m->batch_us = (uint32_t)(us < most ? us : most);
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

	if (m->us - m->early_at < window)
		return;
	if (m->early_seen >= EARLY_LEAST) {
		m->now_us = m->early_rtt - kcp_min_rtt(k);
		if (m->state == KCP_MODEL_STARTUP && m->now_us > queue_most(k) / 2)
			m->full = true;
	}
	m->early_at = m->us;
	m->early_rtt = UINT32_MAX;
	m->early_seen = m->early_n = 0;
}

static void auto_acked(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	uint32_t acked = m->delivered - m->seen;

	m->seen = m->delivered;
	m->news = false;
	if (m->limited && seq_diff(m->delivered, m->limited_until) >= 0)
		m->limited = 0;
	if (m->best.any) {
		sample_rate(k);
		if (seq_diff(m->best.had, m->round_end) >= 0)
			end_round(k);
	}
	m->best.any = false;
	look_now(k);
	sample_extra(k, acked);
	walk(k);
	set_pace(k);
	set_cwnd(k, acked);
	set_batch(k);
}

static void limited(struct kcp *k, uint8_t by)
{
	k->m.limited |= by;
	k->m.limited_until = k->m.delivered + k->m.flight;
}

void kcp_limited(struct kcp *k, bool app)
{
	if (k->snd_sent == k->snd_end && list_empty(&k->again) && kcp_model_room(k) > 0)
		limited(k, app ? KCP_LIMITED_APP : KCP_LIMITED_STREAM);
}

void kcp_parity(struct kcp *k, unsigned n, unsigned ds)
{
	k->m.parity = n / (double)ds;
	k->m.batch = n ? (uint16_t)(ds + n) : 0;
}

void kcp_rounds(const struct kcp *k, struct kcp_rounds *out)
{
	*out = (struct kcp_rounds){
		.all = k->m.round,
		.blocked = k->m.blocked_rounds,
		.lossy = k->m.lossy_rounds,
		.segments = k->m.round_segs,
	};
}

/* Is what everything waits for one that was lost? */
static bool is_hole(const struct kcp *k)
{
	const struct kcp_seg *s = k->snd_una == k->snd_sent ? NULL : kcp_snd_seg(k, k->snd_una);

	return s && (s->resent || s->why);
}

/* What the peer's window, or ours, keeps back says nothing of the path either. */
static void auto_flushed(struct kcp *k)
{
	kcp_twin_plan(k);
	if (k->snd_nxt == k->snd_end || kcp_may_number(k))
		return;
	limited(k, KCP_LIMITED_WINDOW);
	if (is_hole(k))
		k->m.blocked = true;
}

static uint32_t auto_window(const struct kcp *k, uint32_t wnd)
{
	return wnd;
}

void kcp_model_init(struct kcp *k)
{
	struct kcp_model *m = &k->m;

	*m = (struct kcp_model){
		.us = k->now * 1000,
		.reorder_at = UINT64_MAX,
		.lossy_until = UINT32_MAX, /* not yet */
		.reorder_mult = 1,
		.min_rtt = UINT32_MAX,
		.round_rtt = UINT32_MAX,
		.early_rtt = UINT32_MAX,
		.spared = 1.0,
		.round_spared = 1.0,
		.phase_spared = -1,
		.cwnd = CWND_FIRST * (k->mss + KCP_HEAD),
		.pace = k->conf->bandwidth ? kcp_hint(k) : RATE_FIRST,
	};
	m->min_rtt_at = m->delivered_us = m->epoch_us = m->us;
}

float kcp_model_rate(const struct kcp *k)
{
	return best_of(&k->m.rate);
}

uint64_t kcp_pace(const struct kcp *k)
{
	return kcp_is_auto(k) ? (uint64_t)(k->m.pace * 1e6) : 0;
}

const struct kcp_cc_ops kcp_cc_auto = {
	.window = auto_window,
	.acked = auto_acked,
	.flushed = auto_flushed,
};
