/* SPDX-License-Identifier: MIT */
#include "kcp_seg.h"

/*
 * The segments in flight, by deadline: a sorted list.  Segments that were sent in one flush share their deadline, so it
 * is a list of runs of equal deadlines, and the first and the last of a run point at each other.  Deadlines mostly rise
 * with time and a new one belongs to the tail; where they do not (the RTO fell; a timeout doubled another segment's)
 * the walk from the tail goes from run to run, never from segment to segment, and the next one of the same flush begins
 * where the last one ended.
 */

/* Runs that an insertion may pass.  Behind more than these a deadline is put off to that of the run reached. */
#define DUE_WALK_MAX 64

static struct kcp_seg *due_seg(const struct list *l)
{
	return container_of(l, struct kcp_seg, due);
}

static bool due_same(const struct kcp *k, const struct list *l, uint32_t deadline)
{
	return l != &k->due && due_seg(l)->deadline == deadline;
}

/* Makes [first, last] a run. */
static void due_pair(struct kcp_seg *first, struct kcp_seg *last)
{
	first->peer = last;
	last->peer = first;
}

void kcp_due_add(struct kcp *k, struct kcp_seg *s)
{
	struct list *at = k->due.prev; /* s goes behind it: the last of a run, or the head */

	if (k->due_last && k->due_last->deadline == s->deadline)
		at = &k->due_last->due;
	for (unsigned i = 0; at != &k->due && seq_lt(s->deadline, due_seg(at)->deadline); i++) {
		if (i == DUE_WALK_MAX) {
			s->deadline = due_seg(at)->deadline;
			break;
		}
		at = due_seg(at)->peer->due.prev;
	}

	list_add_before(at->next, &s->due);
	due_pair(due_same(k, at, s->deadline) ? due_seg(at)->peer : s, s);
	k->due_last = s;
}

void kcp_due_del(struct kcp *k, struct kcp_seg *s)
{
	bool first = !due_same(k, s->due.prev, s->deadline);
	bool last = !due_same(k, s->due.next, s->deadline);

	if (first && !last)
		due_pair(due_seg(s->due.next), s->peer);
	else if (last && !first)
		due_pair(s->peer, due_seg(s->due.prev));
	if (k->due_last == s)
		k->due_last = NULL;
	list_del(&s->due);
}

struct kcp_seg *kcp_due_head(const struct kcp *k)
{
	return list_empty(&k->due) ? NULL : due_seg(k->due.next);
}
