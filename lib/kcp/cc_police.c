/* SPDX-License-Identifier: MIT */
#include "cc_model.h"

/*
 * A policer: a token bucket without a queue.  What is too much for it is lost at once; nothing is held back, and so
 * the model, which is told by queues that it sends too much, is told nothing.  Worse, parity makes good what is lost,
 * and what is made good counts as having come through.
 *
 * - Where a probe's round and those behind it lose much and no queue is seen, the path itself may lose so much, or a
 *   policer.  Behind the next probe less is sent for a whole round trip, and of what left in that time each segment's
 *   fate is counted: a path loses as much of it as of the rest, a policer nothing.
 * - Where it is a policer, what it lets through is looked for directly: a round that loses something says by how much
 *   the rate was too high; where nothing was lost for POLICE_HOLD rounds it is raised a little, round by round, until
 *   something is.  There are no probes of the other kind, and no parity (session/parity.c) for what is not lost.
 * - It is forgotten when it turns out to be something else: when a queue stands, when it lets through twice as much, or
 *   when it goes on to lose whatever we do.
 *
 * All of this is kept only while something is lost (struct kcp_police).
 */

#define CYCLE_ROUNDS  8
#define SUSPECT_PART  0.04 /* of what was sent was lost in a cycle */
#define CLEAR_PART    4	   /* of that part lost where less is sent: it was a policer */
#define JUDGE_LEAST   12   /* segments that a path would have lost: then it is no chance that it has not */
#define JUDGE_TRIES   8	   /* probes that it may take to see so many */
#define JUDGE_ROUNDS  6	   /* and by then all of their fates are known */
#define GAIN_FOUND    0.9  /* of what came through, when one is found */
#define GAIN_GROW     1.02
#define LOST_LITTLE   0.005 /* of a round: none of it is the policer's */
#define POLICE_SETTLE 2	    /* rounds until a change of the rate shows */
#define POLICE_HOLD   48
#define CUTS_MAX      6
#define REST_ROUNDS   256 /* until a path that was judged is judged again */

enum { WATCH, SUSPECT, JUDGED, FOUND, REST };

static void forget(struct kcp *k)
{
	mem_put(k->mem, k->police, sizeof(*k->police));
	k->police = NULL;
}

static void rest(struct kcp *k)
{
	struct kcp_police *p = k->police;

	*p = (struct kcp_police){.state = REST, .round = k->m.round + REST_ROUNDS};
}

void kcp_police_fini(struct kcp *k)
{
	if (k->police)
		forget(k);
}

/* Something was lost without a queue: from now on it is counted. */
static void watch(struct kcp *k)
{
	k->police = mem_get(k->mem, sizeof(*k->police));
	if (k->police)
		*k->police = (struct kcp_police){.state = WATCH, .round = k->m.round + CYCLE_ROUNDS};
}

static void end_watch(struct kcp *k)
{
	struct kcp_police *p = k->police;

	p->part = (float)p->lost / (p->got + p->lost + 1);
	if (p->part < SUSPECT_PART) {
		forget(k);
		return;
	}
	p->state = SUSPECT;
	p->got = p->lost = 0;
}

bool kcp_police_judges(const struct kcp *k)
{
	const struct kcp_police *p = k->police;

	return p && p->state == JUDGED && seq_diff((uint32_t)k->m.us, p->to) < 0;
}

void kcp_police_slow(struct kcp *k)
{
	struct kcp_police *p = k->police;

	if (!p || p->state != SUSPECT)
		return;
	p->state = JUDGED;
	p->from = (uint32_t)k->m.us;
	p->to = p->from + kcp_min_rtt(k);
	p->round = k->m.round + JUDGE_ROUNDS;
}

static void found(struct kcp *k)
{
	struct kcp_police *p = k->police;

	p->rate = p->first = kcp_best_of(&k->m.rate) * (1 - p->part) * GAIN_FOUND;
	p->state = FOUND;
	p->cuts = 0;
	p->round = k->m.round + POLICE_SETTLE;
	kcp_enter_phase(k, KCP_PHASE_LEVEL);
}

static void judge(struct kcp *k)
{
	struct kcp_police *p = k->police;
	float lost = p->part * (p->got + p->lost); /* by a path */

	p->to = p->from;
	if (lost < JUDGE_LEAST && ++p->cuts < JUDGE_TRIES)
		p->state = SUSPECT;
	else if (lost >= JUDGE_LEAST && p->lost * CLEAR_PART < lost)
		found(k);
	else
		rest(k);
}

/* A round at the rate that was found. */
static void keep(struct kcp *k, uint32_t got, uint32_t lost)
{
	struct kcp_police *p = k->police;
	struct kcp_model *m = &k->m;
	float part = (float)lost / (got + lost + 1);

	if (part > LOST_LITTLE) {
		p->rate *= 1 - part;
		p->cuts++;
		p->hold = m->round + POLICE_HOLD;
	} else if (seq_diff(m->round, p->hold) >= 0 && !m->limited) {
		p->rate *= GAIN_GROW;
		p->cuts = 0;
	} else {
		return;
	}
	p->round = m->round + POLICE_SETTLE;
}

static bool is_over(const struct kcp *k)
{
	const struct kcp_police *p = k->police;

	return kcp_queue_is_long(k) || p->cuts > CUTS_MAX || p->rate > 2 * p->first;
}

void kcp_police_round(struct kcp *k, uint32_t got)
{
	struct kcp_model *m = &k->m;
	struct kcp_police *p = k->police;
	bool due = p && seq_diff(m->round, p->round) >= 0;

	if (!p) {
		if (m->state == KCP_MODEL_CRUISE && m->lost > got * SUSPECT_PART && !kcp_queue_is_long(k) &&
		    !k->conf->bandwidth)
			watch(k);
		return;
	}
	switch (p->state) {
	case WATCH:
		p->got += got;
		p->lost += m->lost;
		if (due)
			end_watch(k);
		break;
	case JUDGED:
		if (due)
			judge(k);
		break;
	case FOUND:
		if (is_over(k))
			rest(k);
		else if (due)
			keep(k, got, m->lost);
		break;
	case REST:
		if (due)
			forget(k);
		break;
	}
	if (kcp_is_policed(k))
		kcp_best_reset(&m->rate, m->round, k->police->rate);
}
