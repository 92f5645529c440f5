/* SPDX-License-Identifier: MIT */
#include "kcp_seg.h"

/*
 * Which segments are sent again (wire.md 4.4 step 5, 4.5), without stock's walk over the window for every ACK.
 *
 * Stock keeps a number with each segment, fastack: how many ACKs of later segments came in since it was sent, not
 * counting those that answer a transmission older than its own.
 *
 * - A segment sent once lies in order of transmission as it does in order of sn, so its fastack is the number of
 *   acknowledged sn above its own: it has reached R when the R-th highest of them (marks[R - 1]) is above it.  Those to
 *   be sent again are always a prefix, and the cursor `fast`, which only moves up, is where the rest begins.
 * - Sent again early, it is latched: nothing but its deadline counts.
 * - Timed out, it goes to `late`, ordered by (ts, sn), and counts again from 0.  An ACK walks the prefix of segments
 *   not sent after what it answers and adds one to each that lies below it.  A segment leaves when it has its R, so
 *   each is counted at most R times a timeout.
 *
 * Where this is not stock to the letter: acknowledged segments ask for a flush like others when they were sent once,
 * not when they timed out; and an ACK passes at most LATE_WALK_MAX late segments that it has nothing to add to (which
 * takes segments sent again out of order, or resend <= 0), beyond them a count may come an ACK late.
 */

#define LATE_WALK_MAX 64

static struct kcp_seg *late_seg(struct list *l)
{
	return container_of(l, struct kcp_seg, late);
}

static struct kcp_seg *again_seg(struct list *l)
{
	return container_of(l, struct kcp_seg, due);
}

/* Is `resend` acknowledgements a reason to send a segment again?  Otherwise only the early rule applies. */
static bool fast_on(const struct kcp *k)
{
	return k->conf->resend > 0;
}

void kcp_loss_init(struct kcp *k)
{
	int resend = k->conf->resend;

	list_init(&k->due);
	list_init(&k->late);
	list_init(&k->again);
	k->n_marks = (uint8_t)(resend < 1 ? 1 : resend > KCP_RESEND_MAX ? KCP_RESEND_MAX : resend);
}

/* Moves the cursors to where they say something. */
static void settle(struct kcp *k)
{
	while (seq_lt(k->fast, k->snd_sent)) {
		const struct kcp_seg *s = kcp_snd_seg(k, k->fast);

		if (s && !s->resent && !s->why)
			break;
		k->fast++;
	}
	while (seq_lt(k->plain, k->snd_nxt) && kcp_snd_resent(k, k->plain))
		k->plain++;
}

static void raise_to(uint32_t *sn, uint32_t floor)
{
	if (seq_lt(*sn, floor))
		*sn = floor;
}

static void counted_una(struct kcp *k)
{
	raise_to(&k->snd_sent, k->snd_una);
	raise_to(&k->fast, k->snd_una);
	raise_to(&k->plain, k->snd_una);
	for (unsigned i = 0; i < k->n_marks; i++)
		raise_to(&k->marks[i], k->snd_una);
	settle(k);
}

static void counted_sent(struct kcp *k, struct kcp_seg *s)
{
	if (s->why == KCP_WHY_LOST) {
		s->rto += k->conf->nodelay ? k->rto / 2 : k->rto;
		s->fastack = 0;
		s->latched = false;
		list_add_tail(&k->late, &s->late);
	} else {
		s->rto = k->rto;
		s->latched = s->why != KCP_WHY_NONE;
	}
	s->resent = s->why != KCP_WHY_NONE;
	s->why = KCP_WHY_NONE;
	if (s->xmit < UINT8_MAX)
		s->xmit++;
	if (s->xmit >= KCP_DEAD_XMIT)
		k->dead = true;
	s->ts = kcp_ts(k);
	s->deadline = (uint32_t)k->now + s->rto;
	kcp_due_add(k, s);
}

/* Takes s off `late`, if it is there. */
static void late_del(struct kcp *k, struct kcp_seg *s)
{
	if (list_empty(&s->late))
		return;
	if (s->fastack)
		k->touched--;
	list_del(&s->late);
}

static void counted_forget(struct kcp *k, struct kcp_seg *s, const uint32_t *ts)
{
	late_del(k, s);
	if (s->why)
		list_del(&s->due);
	else if (s->xmit)
		kcp_due_del(k, s);
}

/* Chooses s to be sent again by the next full flush. */
static void choose(struct kcp *k, struct kcp_seg *s, enum kcp_why why)
{
	late_del(k, s);
	kcp_due_del(k, s);
	s->why = why;
	list_add_tail(&k->again, &s->due);
}

/* One more acknowledgement from beyond the late segment s. */
static void late_count(struct kcp *k, struct kcp_seg *s)
{
	if (s->fastack++ == 0)
		k->touched++;
	if (s->fastack == k->n_marks && fast_on(k))
		choose(k, s, KCP_WHY_FAST);
}

/* Counts an ACK for the late segments that lie below it; true when one of them has all it needs. */
static bool late_ack(struct kcp *k, uint32_t sn, uint32_t ts)
{
	unsigned passed = 0;
	bool full = false;

	list_for_each_safe (l, t, &k->late) {
		struct kcp_seg *s = late_seg(l);
		bool below = seq_lt(s->sn, sn);

		if (seq_diff(s->ts, ts) > 0 || (s->ts == ts && !below))
			break;
		if (below && s->fastack < k->n_marks)
			late_count(k, s);
		else if (++passed == LATE_WALK_MAX)
			break;
		full |= below && s->fastack == k->n_marks;
	}
	return full;
}

static void mark(struct kcp *k, uint32_t sn)
{
	unsigned i = k->n_marks;

	if (!seq_lt(k->marks[i - 1], sn))
		return;
	for (; --i > 0 && seq_lt(k->marks[i - 1], sn);)
		k->marks[i] = k->marks[i - 1];
	k->marks[i] = sn;
}

static bool counted_ack(struct kcp *k, uint32_t sn, uint32_t ts)
{
	bool full;

	mark(k, sn);
	full = late_ack(k, sn, ts);
	settle(k);
	if (k->conf->resend < 0)
		return false;

	/* Of the segments sent once the first has the highest count; with resend 0 any count will do. */
	if (seq_lt(k->plain, sn) && (!fast_on(k) || seq_lt(k->plain, k->marks[k->n_marks - 1])))
		full = true;
	return full;
}

static bool counted_early(const struct kcp *k)
{
	return k->touched || (seq_lt(k->fast, k->snd_sent) && seq_lt(k->fast, k->marks[0]));
}

/* Merges two lists of segments that are in order of sn; `from` is empty afterwards. */
static void merge(struct list *to, struct list *from)
{
	struct list *at = to->next, *l;

	while ((l = list_pop(from))) {
		while (at != to && seq_lt(again_seg(at)->sn, again_seg(l)->sn))
			at = at->next;
		list_add_before(at, l);
	}
}

/* Cuts the longest ascending run from the head of `from`. */
static void cut_run(struct list *from, struct list *run)
{
	struct list *l;

	list_init(run);
	do {
		l = list_pop(from);
		list_add_tail(run, l);
	} while (!list_empty(from) && seq_lt(again_seg(l)->sn, again_seg(from->next)->sn));
}

/* Natural merge sort, bin[i] holding 2^i runs: what comes from each source is mostly in order already. */
static void sort_again(struct kcp *k)
{
	struct list bin[32], run;
	unsigned top = 0, i;

	while (!list_empty(&k->again)) {
		cut_run(&k->again, &run);
		for (i = 0; i < top && !list_empty(&bin[i]); i++)
			merge(&run, &bin[i]);
		if (i == top)
			list_init(&bin[top++]);
		list_splice_tail(&bin[i], &run);
	}
	for (i = 0; i < top; i++)
		merge(&k->again, &bin[i]);
}

static void collect_early(struct kcp *k)
{
	unsigned passed = 0;

	list_for_each_safe (l, t, &k->late) {
		if (!k->touched)
			break;
		if (late_seg(l)->fastack)
			choose(k, late_seg(l), KCP_WHY_EARLY);
		else if (++passed == LATE_WALK_MAX)
			break;
	}
}

static void counted_collect(struct kcp *k, bool early)
{
	uint32_t fast = fast_on(k) ? k->marks[k->n_marks - 1] : k->snd_una;
	uint32_t end = early ? k->marks[0] : fast;
	struct kcp_seg *s;

	if (seq_lt(k->snd_sent, end))
		end = k->snd_sent;
	for (; seq_lt(k->fast, end); k->fast++) {
		s = kcp_snd_seg(k, k->fast);
		if (s && !s->resent && !s->why)
			choose(k, s, seq_lt(k->fast, fast) ? KCP_WHY_FAST : KCP_WHY_EARLY);
	}
	if (early)
		collect_early(k);
	while ((s = kcp_due_head(k)) && seq_diff((uint32_t)k->now, s->deadline) >= 0)
		choose(k, s, KCP_WHY_LOST);
	sort_again(k);
	settle(k);
}

/* Each as if for the first time: what was waited for in vain says nothing of what is to come. */
static void counted_lost(struct kcp *k, unsigned max)
{
	struct kcp_seg *s;

	for (; max && (s = kcp_due_head(k)); max--)
		choose(k, s, KCP_WHY_FAST);
	settle(k);
}

static uint64_t counted_next(const struct kcp *k)
{
	const struct kcp_seg *s = kcp_due_head(k);

	return s ? k->now + (uint64_t)(int64_t)seq_diff(s->deadline, (uint32_t)k->now) : UINT64_MAX;
}

const struct kcp_loss_ops kcp_loss_counted = {
	.sent = counted_sent,
	.forget = counted_forget,
	.ack = counted_ack,
	.una = counted_una,
	.collect = counted_collect,
	.early = counted_early,
	.lost = counted_lost,
	.next = counted_next,
};
