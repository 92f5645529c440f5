/* SPDX-License-Identifier: MIT */
#include "kcp_seg.h"

/*
 * What leaves more than once, whatever became of it: a little later, just as it was, so that an ACK is that of either.
 * None of it counts as being in flight; the pace is drawn on as by everything.
 *
 * - Who sends a few bytes at a time waits for each of them, and little follows by whose arrival their loss would be
 *   seen.  Where the path loses packets, such a segment leaves twice; where two are often not enough, three times.
 * - Where a window is full of what waits for a hole, the path has room, and who fills the hole is waited for by
 *   everything behind it: what is sent again leaves twice, and three times when that was in vain before.
 */

#define TWINS	   2	/* segments at a time */
#define TWIN_HITS  4	/* losses within the time for which a path is taken for lossy: two are not enough */
#define TWIN_US	   3000 /* from one to the next */
#define TWIN_AGAIN 3	/* transmissions: the one before was in vain */

static uint64_t twin_due(const struct kcp *k, const struct kcp_seg *s)
{
	uint32_t ago = (uint32_t)k->m.us - s->sent_us;

	return k->m.us - ago + TWIN_US * (s->twins_sent + 1u);
}

static void add(struct kcp *k, struct kcp_seg *s, unsigned n)
{
	if (s->twins_left || s->twins_sent)
		return;
	s->twins_left = n & 3;
	list_add_tail(&k->due, &s->due);
}

static unsigned thin_times(const struct kcp *k)
{
	return k->m.hits < TWIN_HITS ? 1 : 2;
}

void kcp_twin_plan(struct kcp *k)
{
	struct kcp_model *m = &k->m;
	uint32_t n = k->snd_sent - m->flush_from;

	if (!n || n > TWINS || !kcp_is_thin(k) || seq_lt(m->lossy_until, m->round))
		return;
	for (uint32_t sn = m->flush_from; sn != k->snd_sent; sn++) {
		struct kcp_seg *s = kcp_snd_seg(k, sn);

		if (s && !s->why && !s->probe)
			add(k, s, thin_times(k));
	}
}

void kcp_twin_again(struct kcp *k, struct kcp_seg *s)
{
	const struct kcp_model *m = &k->m;
	bool vain = s->xmit >= TWIN_AGAIN;

	if (!m->started || m->probes > 1) /* into a silence that lasts once is enough */
		return;
	if (m->blocked || m->was_blocked || m->limited & KCP_LIMITED_STREAM || (vain && s->sn == k->snd_una))
		add(k, s, vain ? 2 : 1);
	else if (kcp_is_thin(k))
		add(k, s, thin_times(k));
}

uint64_t kcp_twin_at(const struct kcp *k)
{
	return list_empty(&k->due) ? UINT64_MAX : twin_due(k, container_of(k->due.next, struct kcp_seg, due));
}

struct kcp_seg *kcp_twin_head(const struct kcp *k)
{
	return kcp_twin_at(k) <= k->m.us ? container_of(k->due.next, struct kcp_seg, due) : NULL;
}

/* Those behind it may be due earlier than it is the next time: by less than TWIN_US. */
void kcp_twin_sent(struct kcp *k, struct kcp_seg *s)
{
	list_del(&s->due);
	s->twins_sent++;
	if (--s->twins_left)
		list_add_tail(&k->due, &s->due);
}
