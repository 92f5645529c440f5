/* SPDX-License-Identifier: MIT */
#include "kcp_seg.h"

/*
 * Loss by time: the idea of RFC 8985 in KCP's terms.
 *
 * An ACK names a transmission, for it echoes the time that this bore.  Segments in flight lie in order of transmission;
 * of those that have arrived one is the last sent, and what was sent before it and has not arrived when a reordering
 * window has passed is lost, were it sent for the first time or again.  That window grows where a segment turns out to
 * have been sent again without need, and shrinks again when that has not happened for REORDER_ROUNDS round trips.
 *
 * Where nothing is heard, the segment at snd_una is sent again as a probe: it is what the peer surely lacks, unless all
 * its answers were lost, and in both cases what it answers tells of everything that was sent before.
 *
 * Nothing here costs more than O(1) a segment and transmission: each is looked at when it is lost, and the first that
 * is not ends the look.
 */

#define REORDER_PART	 8    /* of the least round trip, */
#define REORDER_MIN	 3000 /* us: at least */
#define REORDER_MAX	 64   /* times as much */
#define REORDER_ROUNDS	 16
#define PROBE_AGAIN	 70000 /* us from one probe into a silence to the next, */
#define PROBES_OFTEN	 75
#define PROBE_SELDOM	 150000 /* and after so many, for there may be very many sessions whose peers are gone */
#define PROBE_FIRST	 200000 /* us: before any round trip is known */
#define ACKS_LATE	 20000	/* us: what a peer may be late with its ACKs beyond what it was so far, */
#define ACKS_LATE_LITTLE 5000	/* and with those of a few segments */
#define SAME_PART	 16	/* of the least round trip: one that has so little more is the same */
#define LOSSY_ROUNDS	 512
#define AGAIN_WALK_MAX	 64
#define TS_MAX_MS	 60000 /* a time that an ACK echoes may lie so far back */

static uint32_t low(uint64_t us)
{
	return (uint32_t)us;
}

/* ---- what was needless ---- */

static uint32_t reorder_us(const struct kcp *k)
{
	const struct kcp_model *m = &k->m;
	uint32_t us = kcp_min_rtt(k) / REORDER_PART, most = kcp_min_rtt(k) > REORDER_MIN ? kcp_min_rtt(k) : REORDER_MIN;

	if (us < REORDER_MIN)
		us = REORDER_MIN;
	us *= m->reorder_mult > 3 && (m->blocked || m->was_blocked) ? 3 : m->reorder_mult;
	return (us < most ? us : most) + m->batch_us;
}

static void widen(struct kcp *k)
{
	struct kcp_model *m = &k->m;

	if (m->reorder_round != m->round && m->reorder_mult < REORDER_MAX)
		m->reorder_mult *= 2;
	m->reorder_round = m->round;
}

static void narrow(struct kcp *k)
{
	struct kcp_model *m = &k->m;

	if (m->reorder_mult > 1 && m->round - m->reorder_round >= REORDER_ROUNDS) {
		m->reorder_mult = 1;
		m->reorder_round = m->round;
	}
}

/*
 * s had arrived when it was taken for lost.  It was late, and the next may be, if its own ACK says so now, or if una
 * had last been said to stand at it.  Otherwise its ACK has been lost.
 */
static void was_needless(struct kcp *k, const struct kcp_seg *s, const uint32_t *ts)
{
	struct kcp_model *m = &k->m;
	uint32_t n = kcp_seg_cost(s);

	m->lost -= m->lost < n ? m->lost : n;
	m->needless += s->resent;
	if (ts || s->sn == m->hole)
		widen(k);
}

/* ---- acknowledgements ---- */

/* Was it the last transmission of s that has arrived?  una names none: what follows a transmission sooner than any
 * answer could is none of its. */
static bool is_last(const struct kcp *k, const struct kcp_seg *s, const uint32_t *ts)
{
	if (ts)
		return *ts == s->ts;
	return !s->resent || low(k->m.us) - s->sent_us >= kcp_min_rtt(k);
}

static void sample_rtt(struct kcp *k, uint32_t rtt)
{
	struct kcp_model *m = &k->m;

	if (rtt == 0)
		rtt = 1;
	if (rtt < m->round_rtt)
		m->round_rtt = rtt;
	if (rtt < m->early_rtt)
		m->early_rtt = rtt;
	m->early_seen++;
	if (rtt < m->seen_rtt)
		m->seen_rtt = rtt;
	if (rtt < m->min_rtt)
		m->min_rtt = rtt;
	if (rtt - m->min_rtt <= m->min_rtt / SAME_PART)
		m->min_rtt_at = m->us;
}

/* What was sent then has arrived. */
static void rack(struct kcp *k, uint32_t sent_us)
{
	struct kcp_model *m = &k->m;

	if (m->started && seq_diff(sent_us, m->rack_us) < 0)
		return;
	m->rack_us = sent_us;
	m->rack_at = m->us;
	m->started = true;
}

/* An earlier transmission has, of which no more is known than its ACK tells, to the millisecond. */
static void rack_earlier(struct kcp *k, uint32_t ts)
{
	uint32_t ago = (uint32_t)k->now - ts;

	if (ago < TS_MAX_MS)
		rack(k, low(k->m.us) - 1000 * ago - 1000);
}

/* The transmission of s has arrived. */
static void arrived(struct kcp *k, const struct kcp_seg *s)
{
	struct kcp_model *m = &k->m;

	rack(k, s->sent_us);
	if (m->best.any && seq_diff(s->sent_us, m->best.sent_us) < 0)
		return;
	m->best.any = true;
	m->best.sent_us = s->sent_us;
	m->best.had = s->had;
	m->best.had_us = s->had_us;
	m->best.first_us = s->first_us;
	m->best.limited = s->limited;
}

static void timed_forget(struct kcp *k, struct kcp_seg *s, const uint32_t *ts)
{
	struct kcp_model *m = &k->m;
	bool last;

	if (!s->xmit)
		return; /* acknowledged before it was sent: not by a sane peer */
	last = is_last(k, s, ts);
	list_del(&s->due); /* whether it was to leave again, or once more */
	if (s->why) {
		was_needless(k, s, ts);
	} else {
		list_del(&s->late);
		m->flight -= kcp_seg_cost(s);
		kcp_police_fate(k, s, false);
		if (!last)
			was_needless(k, s, ts);
	}
	if (!s->why) { /* what was not under way may have been sent any time ago: no sample counts it */
		m->delivered += kcp_seg_cost(s);
		m->segs++;
		m->early_n++;
	}
	if (m->probes) /* a silence is no time in which a shorter round trip could have been seen */
		m->min_rtt_at += m->us - m->delivered_us;
	m->delivered_us = m->us;
	m->news = true;
	m->silent |= m->probes > 0;
	m->probes = 0;
	if (!last && ts)
		rack_earlier(k, *ts);
	if (!last || s->why)
		return;
	if (ts)
		sample_rtt(k, low(m->us) - s->sent_us);
	arrived(k, s);
}

static bool timed_ack(struct kcp *k, uint32_t sn, uint32_t ts)
{
	return k->m.news;
}

/* ---- losses ---- */

/* Something was lost.  With what leaves twice that is rare, unless twice is not enough. */
static void lossy(struct kcp *k)
{
	struct kcp_model *m = &k->m;

	if (m->round - m->hits_from > LOSSY_ROUNDS) {
		m->hits_from = m->round;
		m->hits = 0;
	}
	if (m->hits < UINT8_MAX)
		m->hits++;
	m->lossy_until = m->round + LOSSY_ROUNDS;
}

/* Adds s to `again`, in order of sn where that is near. */
static void again_add(struct kcp *k, struct kcp_seg *s, enum kcp_why why)
{
	struct list *at = k->again.prev;

	for (unsigned i = 0; i < AGAIN_WALK_MAX && at != &k->again; i++) {
		if (seq_lt(container_of(at, struct kcp_seg, due)->sn, s->sn))
			break;
		at = at->prev;
	}
	s->why = why;
	list_add_before(at->next, &s->due);
}

static void lose(struct kcp *k, struct kcp_seg *s, enum kcp_why why)
{
	list_del(&s->late);
	list_del(&s->due);
	k->m.flight -= kcp_seg_cost(s);
	again_add(k, s, why);
}

/* A silence has ended, and what una stands at was sent before it: nothing that follows will show that sooner. */
static void lose_hole(struct kcp *k)
{
	struct kcp_seg *s = k->snd_una == k->snd_sent ? NULL : kcp_snd_seg(k, k->snd_una);

	if (!s || !s->xmit || s->why || low(k->m.us) - s->sent_us < kcp_min_rtt(k) + reorder_us(k))
		return;
	lossy(k);
	lose(k, s, KCP_WHY_LOST);
}

static void timed_una(struct kcp *k)
{
	if (seq_lt(k->snd_sent, k->snd_una))
		k->snd_sent = k->snd_una;
	if (k->m.silent)
		lose_hole(k);
	k->m.silent = false;
	k->fast = k->plain = k->m.hole = k->snd_una;
}

/* Takes for lost what is. */
static void detect(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	uint32_t window = reorder_us(k);

	m->reorder_at = UINT64_MAX;
	while (!list_empty(&k->late)) {
		struct kcp_seg *s = container_of(k->late.next, struct kcp_seg, late);
		int32_t before = seq_diff(m->rack_us, s->sent_us);
		uint64_t gone;

		if (!m->started || before <= 0)
			return;
		gone = (uint64_t)before + (m->us - m->rack_at);
		if (gone < window) {
			m->reorder_at = m->us + (window - gone);
			return;
		}
		m->lost += kcp_seg_cost(s);
		kcp_police_fate(k, s, true);
		lossy(k);
		lose(k, s, KCP_WHY_FAST);
	}
}

/* ---- silence ---- */

/* Each time after so long, for the path may be back; and where that has long been hoped for, less often. */
static uint64_t probe_wait(const struct kcp *k)
{
	const struct kcp_model *m = &k->m;
	uint32_t rto;

	if (m->probes)
		return m->probes < PROBES_OFTEN ? PROBE_AGAIN : PROBE_SELDOM;
	if (!m->started)
		return PROBE_FIRST;
	if (!kcp_is_thin(k)) /* its ACKs are late together */
		return 2000 * (uint64_t)k->srtt + 1000 * kcp_interval(k) + ACKS_LATE;
	rto = (uint32_t)k->srtt + kcp_interval(k);
	return 1000 * (uint64_t)(k->rto > rto ? k->rto : rto) + ACKS_LATE_LITTLE;
}

/* Since when an answer could have come.  Where little is under way, what is sent next comes too late to wait for. */
static uint64_t silent_from(const struct kcp *k)
{
	const struct kcp_model *m = &k->m;

	if (!m->probes && kcp_is_thin(k) && !list_empty(&k->late))
		return m->us - (low(m->us) - container_of(k->late.next, struct kcp_seg, late)->sent_us);
	return m->sent_us > m->delivered_us ? m->sent_us : m->delivered_us;
}

/* When to send into it; UINT64_MAX: nothing is under way. */
static uint64_t probe_at(const struct kcp *k)
{
	return k->m.flight ? silent_from(k) + probe_wait(k) : UINT64_MAX;
}

static void probe(struct kcp *k)
{
	struct kcp_seg *s = kcp_snd_seg(k, k->snd_una);

	if (s && s->xmit && !s->why) {
		lose(k, s, KCP_WHY_LOST);
	} else if (s && s->why) { /* it waits to be sent again already, but maybe behind others */
		list_del(&s->due);
		list_add_head(&k->again, &s->due);
	} else if (list_empty(&k->again) && !list_empty(&k->late)) { /* una is still to come: any will do */
		lose(k, container_of(k->late.next, struct kcp_seg, late), KCP_WHY_LOST);
	}
	lossy(k);
	k->m.probe = true;
	if (k->m.probes < UINT16_MAX)
		k->m.probes++;
}

/* ---- the rest of what the other files ask ---- */

static void timed_sent(struct kcp *k, struct kcp_seg *s)
{
	struct kcp_model *m = &k->m;

	if (!m->flight) { /* what was sent before says nothing of the rate from here on, nor of what is lost */
		m->min_rtt_at += m->us - m->delivered_us; /* nor was there a round trip to see */
		m->first_us = m->rack_us = low(m->us);
		m->delivered_us = m->us;
	}
	s->resent = s->why != KCP_WHY_NONE;
	s->why = KCP_WHY_NONE;
	if (s->xmit < UINT8_MAX)
		s->xmit++;
	s->ts = kcp_ts(k);
	s->sent_us = low(m->us);
	s->had = m->delivered;
	s->had_us = low(m->delivered_us);
	s->first_us = m->first_us;
	s->limited = m->limited;
	m->flight += kcp_seg_cost(s);
	m->sent_us = m->us;
	m->probe = false;
	list_add_tail(&k->late, &s->late);
	s->twins_left = s->twins_sent = 0;
	if (s->resent)
		kcp_twin_again(k, s);
}

static void timed_collect(struct kcp *k, bool early)
{
	narrow(k);
	detect(k);
	if (k->m.us >= probe_at(k))
		probe(k);
}

static void timed_lost(struct kcp *k, unsigned max)
{
}

static bool timed_early(const struct kcp *k)
{
	return false;
}

static uint64_t timed_next(const struct kcp *k)
{
	uint64_t us = probe_at(k);

	if (k->m.reorder_at < us)
		us = k->m.reorder_at;
	if (kcp_twin_at(k) < us)
		us = kcp_twin_at(k);
	return us == UINT64_MAX ? us : (us + 999) / 1000;
}

const struct kcp_loss_ops kcp_loss_timed = {
	.sent = timed_sent,
	.forget = timed_forget,
	.ack = timed_ack,
	.una = timed_una,
	.collect = timed_collect,
	.early = timed_early,
	.lost = timed_lost,
	.next = timed_next,
};
