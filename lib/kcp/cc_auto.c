/* SPDX-License-Identifier: MIT */
#include "cc_model.h"

/*
 * A model of the path: the rate at which it delivers, and its least round trip; in the manner of BBR
 * (draft-ietf-ccwg-bbr), from what a KCP receiver of any year tells its sender.
 *
 * - How that is seen is cc_tell.c's.  What came beyond the rate at once (extra), for receivers acknowledge in
 *   lumps, may be in flight besides.
 * - What leaves is paced by the greatest rate of the last KCP_RATE_ROUNDS rounds; a probe from time to time looks
 *   for more, and lets the queue that it made drain.  A session that has little asks for more than one that has
 *   much: so those that share a path come to have the same.
 * - A long queue, whosever it is, is let drain: for a few round trips less leaves than comes through (brake).  If it
 *   does not drain, others keep it long, and we send as they do: for the longer the oftener that was so.
 * - Loss alone is no reason to be slower, for the path's own is not our doing.  A part of what is sent that is lost in
 *   every round, also in those behind a probe, when we send least, is made good by sending so much more, up to
 *   SPARE_MAX and while there is no queue.  A policer, which loses what is too much and holds nothing back, loses
 *   nothing in those rounds.
 */

#define RATE_FIRST     13.75 /* bytes a microsecond, before anything is known: 110 Mbit/s */
#define RTT_LEAST_US   1000
#define CWND_FIRST     32 /* segments */
#define CWND_MIN       8
#define PACE_MIN       4 /* segments a round trip */
#define GAIN_STARTUP   2.0
#define GAIN_WARY      0.8 /* while a queue begins to show, if it is one */
#define GAIN_HELD      1.15
#define GAIN_DRAIN     0.45 /* at most, and at least */
#define DRAIN_MIN      0.1
#define GAIN_PROBE     1.2
#define PROBE_SEGS     64  /* or so many more, where that is more, */
#define GAIN_LITTLE    1.4 /* up to this */
#define GAIN_AGAIN     1.5 /* behind a probe that found more */
#define GROWN	       1.1
#define GAIN_AFTER     0.75
#define GAIN_JUDGE     0.6
#define GAIN_CWND      2.0
#define PHASES	       8	/* of KCP_MODEL_CRUISE: up, down, and level ones */
#define BRAKE_MIN      0.5	/* of what comes through */
#define BRAKE_ROUNDS   4	/* a queue that is ours has drained by then; */
#define FOREIGN_ROUNDS 20	/* if it has not, it is left alone for so many, */
#define VAIN_MAX       2	/* and each time that this follows for twice as many, up to so often */
#define SPARE_MAX      0.3	/* of what is sent */
#define MIN_RTT_US     10000000 /* the least round trip is looked for again when it was not seen for so long, */
#define PROBE_RTT_US   200000	/* with half of what it takes in flight */

/* ---- what may leave ---- */

static double spare(const struct kcp *k)
{
	double lost = 1.0 - k->m.spared;

	if (kcp_queue_is_long(k) || lost <= 0 || kcp_is_policed(k))
		return 1.0;
	return 1.0 / (1.0 - (lost < SPARE_MAX ? lost : SPARE_MAX));
}

static double phase_gain(const struct kcp *k)
{
	switch (k->m.phase) {
	case 0:
		return k->m.probe_gain;
	case 1:
		return kcp_police_judges(k) ? GAIN_JUDGE : GAIN_AFTER;
	default:
		return 1.0;
	}
}

/* What is in flight beyond what the path holds, half of that in half a round trip. */
static double drain_gain(const struct kcp *k)
{
	double over = k->m.flight / (kcp_bdp(k) + 1) - 1.0, gain = 1.0 - 2.0 * over;

	if (gain > GAIN_DRAIN)
		return GAIN_DRAIN;
	return gain > DRAIN_MIN ? gain : DRAIN_MIN;
}

/* Behind the startup, which has startup_rate. */
static double pace_gain(const struct kcp *k)
{
	switch (k->m.state) {
	case KCP_MODEL_DRAIN:
		return drain_gain(k);
	case KCP_MODEL_CRUISE:
		return phase_gain(k);
	default:
		return 1.0;
	}
}

/* us: what a division takes, before there is a round trip as well. */
static double some_rtt(const struct kcp *k)
{
	return kcp_min_rtt(k) > RTT_LEAST_US ? kcp_min_rtt(k) : RTT_LEAST_US;
}

/*
 * At first, also what may be in flight over a round trip: one sample of little says nothing.  Where a window is what
 * limits, more of a pace would only make lumps of what that lets through, and a queue of the lumps.
 */
static double startup_rate(const struct kcp *k)
{
	double most = k->m.cwnd / some_rtt(k), rate = kcp_seg_rate(k) * GAIN_STARTUP / k->m.round_spared;

	if (k->m.held == KCP_HELD_ROUNDS)
		return kcp_seg_rate(k) * GAIN_HELD / k->m.round_spared;
	if (k->m.wary)
		return kcp_seg_rate(k) * GAIN_WARY / k->m.round_spared;
	return rate > most ? rate : most;
}

/* A queue drains in about two round trips. */
static double brake_gain(const struct kcp *k)
{
	double gain = 1.0 - k->m.brake_us / (2.0 * kcp_min_rtt(k) + k->m.brake_us);

	return gain > BRAKE_MIN ? gain : BRAKE_MIN;
}

static void set_pace(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	double least = PACE_MIN * k->mss / some_rtt(k);

	if (k->conf->bandwidth) { /* however little that is in a round trip */
		m->pace = kcp_hint(k);
		return;
	}
	if (m->state == KCP_MODEL_STARTUP)
		m->pace = startup_rate(k);
	else
		m->pace = kcp_seg_rate(k) * pace_gain(k) * spare(k);
	if (m->brake > 0 && m->pace > m->brake * brake_gain(k))
		m->pace = m->brake * brake_gain(k);
	if (m->pace < least)
		m->pace = least;
}

static void set_cwnd(struct kcp *k, uint32_t acked)
{
	struct kcp_model *m = &k->m;
	double gain = m->state == KCP_MODEL_STARTUP ? GAIN_STARTUP / (m->round_spared * m->round_spared) : GAIN_CWND;
	double want = kcp_bdp(k), least = CWND_MIN * (double)(k->mss + KCP_HEAD);

	if (k->conf->bandwidth && kcp_hint(k) * kcp_min_rtt(k) > want)
		want = kcp_hint(k) * kcp_min_rtt(k);
	want = m->state == KCP_MODEL_PROBE_RTT ? want / 2
					       : gain * want * spare(k) + kcp_best_of(&m->extra) + 3 * least / CWND_MIN;
	if (want < least)
		want = least;
	if (want > UINT32_MAX / 2)
		want = UINT32_MAX / 2;
	if (m->state == KCP_MODEL_PROBE_RTT)
		m->cwnd = (uint32_t)want;
	else if (m->full && m->cwnd + acked > want)
		m->cwnd = (uint32_t)want;
	else if (m->wary && m->cwnd > want / 2)
		return;
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
	m->probe_rate = kcp_best_of(&m->rate);
	m->grown = false;
}

/* What was held back has not let the queue drain: it is not ours alone. */
static bool brake_is_vain(const struct kcp *k)
{
	const struct kcp_model *m = &k->m;

	return m->brake > 0 && m->us - m->phase_at > BRAKE_ROUNDS * (uint64_t)(kcp_min_rtt(k) + m->brake_us);
}

static bool phase_is_over(const struct kcp *k)
{
	const struct kcp_model *m = &k->m;
	uint64_t past = m->us - m->phase_at;

	switch (m->phase) {
	case 0:
		return past >= kcp_min_rtt(k) &&
		       (m->flight >= m->probe_gain * kcp_bdp(k) || m->lost || past > 2 * (uint64_t)kcp_min_rtt(k));
	case 1:
		if (m->brake > 0)
			return m->now_us < kcp_queue_most(k) / 2 || brake_is_vain(k);
		if (kcp_police_judges(k))
			return false;
		return m->flight <= kcp_bdp(k) || past > 3 * (uint64_t)kcp_min_rtt(k);
	default:
		return past >= kcp_min_rtt(k);
	}
}

/* Who has little of a path that he shares asks for more of it than who has much. */
static float probe_gain(const struct kcp *k)
{
	double part = PROBE_SEGS * (double)k->mss / (kcp_bdp(k) + 1);

	return part < GAIN_PROBE - 1 ? GAIN_PROBE : part < GAIN_LITTLE - 1 ? 1 + part : GAIN_LITTLE;
}

void kcp_enter_phase(struct kcp *k, unsigned phase)
{
	struct kcp_model *m = &k->m;

	if (brake_is_vain(k)) {
		m->foreign_until = m->us + (FOREIGN_ROUNDS << m->vain) * (uint64_t)kcp_min_rtt(k);
		if (m->vain < VAIN_MAX)
			m->vain++;
	} else if (m->brake > 0) {
		m->vain = 0;
	}
	m->phase = (uint8_t)(phase % PHASES);
	m->phase_at = m->us;
	m->brake = 0;
	if (m->phase != 0)
		return;
	m->probe_gain = m->grown ? GAIN_AGAIN : probe_gain(k);
	m->grown = false;
	m->probe_rate = kcp_best_of(&m->rate);
}

/* Behind a probe that has found more, and made no queue, there may be much more. */
static void walk_cruise(struct kcp *k)
{
	struct kcp_model *m = &k->m;

	if (m->phase && !m->grown && kcp_best_of(&m->rate) > m->probe_rate * GROWN && !kcp_queue_is_long(k))
		m->grown = true;
	if (m->grown && m->phase > 1) {
		kcp_enter_phase(k, 0);
	} else if (phase_is_over(k) && !(kcp_is_policed(k) && m->phase == KCP_PHASE_LEVEL)) {
		kcp_enter_phase(k, m->phase + 1u);
		if (m->phase == 1)
			kcp_police_slow(k);
	}
}

/* The least round trip has not been seen for long: there may be a queue that never drains. */
static void walk_rtt(struct kcp *k)
{
	struct kcp_model *m = &k->m;

	if (m->state == KCP_MODEL_CRUISE && m->us - m->min_rtt_at >= MIN_RTT_US) {
		m->state = KCP_MODEL_PROBE_RTT;
		m->brake = 0; /* it is of a phase of KCP_MODEL_CRUISE, and ends with that */
		m->until = m->us + PROBE_RTT_US + kcp_min_rtt(k);
		m->seen_rtt = UINT32_MAX;
	} else if (m->state == KCP_MODEL_PROBE_RTT && m->us >= m->until) {
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
	if (m->state == KCP_MODEL_DRAIN && m->flight <= kcp_bdp(k))
		enter_cruise(k);
	if (m->state == KCP_MODEL_CRUISE)
		walk_cruise(k);
	walk_rtt(k);
}

/* What was lost, and parity makes good, arrives when its group is complete: it is not missing before. */
static void set_batch(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	double us = m->batch * (double)k->mss / m->pace, most = kcp_min_rtt(k) / 2.0;

	m->batch_us = (uint32_t)(us < most ? us : most);
}

static void auto_acked(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	uint32_t acked = m->delivered - m->seen;

	m->seen = m->delivered;
	m->news = false;
	if (m->limited && seq_diff(m->delivered, m->limited_until) >= 0)
		m->limited = 0;
	kcp_tell(k, acked);
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
	if (k->m.parity != n / (float)ds) {
		k->m.parity_was = k->m.parity;
		k->m.parity_us = (uint32_t)k->m.us;
	}
	k->m.parity = n / (float)ds;
	k->m.batch = n ? (uint16_t)(ds + n) : 0;
}

void kcp_rounds(const struct kcp *k, struct kcp_rounds *out)
{
	*out = (struct kcp_rounds){
		.all = k->m.round,
		.blocked = k->m.blocked_rounds,
		.lossy = k->m.lossy_rounds,
		.segments = k->m.round_segs,
		.policed = kcp_is_policed(k),
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
	if (seq_lt(k->snd_nxt, k->snd_una + kcp_window(k)))
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
	return kcp_seg_rate(k);
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
