/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "speak.h"

/* The slots are whole before anybody sees them. */
int slots_add(struct shard *s, unsigned tunnel)
{
	const struct shard_tunnel *tun = &s->conf.tunnels[tunnel];
	struct slot *v;

	if (!tun->client)
		return 0;
	v = calloc(tun->conn, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (unsigned i = 0; i < tun->conn; i++) {
		struct slot *sl = &v[i];

		sl->shard = s;
		sl->dial = &tun->dials[i];
		sl->timer.kind = TIMER_SLOT;
		wheel_ent_init(&sl->timer.ent);
		list_init(&sl->waiting);
		if (sl->dial->worker_id == s->conf.id)
			sl->dial->worker = sl;
	}
	free(s->slots[tunnel]); /* of one that was not added after all */
	__atomic_store_n(&s->slots[tunnel], v, __ATOMIC_RELEASE);
	return 0;
}

int slots_create(struct shard *s)
{
	int ret = 0;

	s->slots = calloc(s->conf.n_tunnels, sizeof(*s->slots));
	if (!s->slots)
		return -ENOMEM;
	for (unsigned t = 0; t < s->conf.n_tunnels && ret == 0; t++)
		ret = slots_add(s, t);
	return ret;
}

void slots_destroy(struct shard *s)
{
	for (unsigned t = 0; s->slots && t < s->conf.n_tunnels; t++)
		free(s->slots[t]);
	free(s->slots);
}

static void slot_ask(struct slot *sl)
{
	if (sl->asked || sl->sess)
		return;
	sl->asked = true;
	mbox_post(sl->shard->border->to_ctl, &sl->dial->to_ctl, DIAL_EV_WANT);
}

void slot_forget(struct stream *st)
{
	if (!st->slot)
		return;
	list_del(&st->link);
	st->slot->n_waiting--;
	st->slot = NULL;
}

void slots_close(struct shard *s)
{
	for (unsigned t = 0; t < s->conf.n_tunnels; t++) {
		for (unsigned i = 0; s->slots[t] && i < s->conf.tunnels[t].conn; i++) {
			struct slot *sl = &s->slots[t][i];

			wheel_disarm(&s->wheel, &sl->timer.ent);
			while (!list_empty(&sl->waiting))
				stream_orphan(container_of(sl->waiting.next, struct stream, link));
		}
	}
}

static void slot_refuse(struct slot *sl, struct stream *st)
{
	shard_drop(sl->shard, DROP_STREAM_LIMIT);
	stream_orphan(st);
}

/* The slot has no session any more; control is told what becomes of its port. */
static void slot_leave(struct slot *sl, uint32_t ev)
{
	sl->sess = NULL;
	atomic_store_explicit(&sl->dial->busy, 0, memory_order_relaxed);
	mbox_post(sl->shard->border->to_ctl, &sl->dial->to_ctl, ev);
}

/* An expired session takes no new connections.  While it still carries some it goes on by itself, and keeps its port.
 */
static void slot_retire(struct slot *sl, uint64_t now)
{
	if (sess_idle(sl->sess)) {
		sess_close(sl->sess, 0, now);
		return;
	}
	sl->sess->slot = NULL;
	slot_leave(sl, DIAL_EV_KEEP);
}

/*
 * Its server owes an acknowledgement, and nothing has come for long.  Sessions that have never heard anything are left
 * later and later, so that a server that is gone is not dialled for ever.
 */
static bool slot_silent(struct slot *sl, uint64_t now)
{
	const struct sess *ss = sl->sess;
	uint64_t ms;

	if (!ss || ss->tries)
		return false;
	if (ss->last_in > ss->born)
		sl->unheard = 0;
	ms = (uint64_t)SLOT_SILENT_MS << sl->unheard;
	return now >= ss->last_in + ms && kcp_waited(&ss->kcp) + SLOT_SILENT_MS / 4 >= ms;
}

/* The session goes on by itself, for its server may only be late; what comes is for another. */
static void slot_give_up(struct slot *sl, uint64_t now)
{
	struct sess *ss = sl->sess;

	if (ss->last_in == ss->born && sl->unheard < SLOT_UNHEARD)
		sl->unheard++;
	ss->slot = NULL;
	ss->old_at = now;
	ss->age_at = now + SESS_AGE_MS; /* from then on it ends when it carries nothing */
	if (ss->age_at < ss->slow_at)
		ss->slow_at = ss->age_at;
	sess_rearm(ss);
	sl->shard->stats.given_up++;
	speak_forget(ss);
	slot_leave(sl, DIAL_EV_KEEP);
}

/* Has it a session that takes new connections? */
static bool slot_open(const struct slot *sl, uint64_t now)
{
	return sl->sess && now < sl->sess->old_at && !sl->sess->mux.dead;
}

/* What KCP has not got rid of yet, in powers of two from SLOT_QUIET segments on. */
static uint32_t slot_busy(const struct sess *ss)
{
	uint32_t n = kcp_backlog(&ss->kcp) / SLOT_QUIET;

	return n ? 32 - (uint32_t)__builtin_clz(n) : 0;
}

void slot_tell(struct sess *ss)
{
	uint32_t busy = slot_busy(ss);

	if (busy < SLOT_TELL)
		busy = 0;
	if (busy == ss->told_busy)
		return;
	ss->told_busy = (uint8_t)busy;
	atomic_store_explicit(&ss->slot->dial->busy, busy, memory_order_relaxed);
}

/*
 * How much there is beside which a new connection's bytes would go, and then streams.  What waits in mux is not before
 * it, but has its turns as they do.
 */
static uint64_t slot_load(const struct slot *sl)
{
	return (uint64_t)slot_busy(sl->sess) << 32 | sl->sess->mux.count;
}

/*
 * The slot for a new connection: the one whose turn it is, by control's count, or one of those behind it whose session
 * has less to do.  One without a session has nothing to do, and is dialled as before.
 */
static struct slot *slot_choose(struct shard *s, const struct chan *c, uint64_t now)
{
	unsigned conn = s->conf.tunnels[c->tunnel].conn, at = c->slot;
	struct slot *best = &s->slots[c->tunnel][at];
	uint64_t least;

	if (!slot_open(best, now))
		return best;
	least = slot_load(best);
	for (unsigned i = 1; i < conn && i < SLOT_LOOKS; i++) {
		struct slot *sl;
		uint64_t load;

		at = at + 1 < conn ? at + 1 : 0;
		sl = &s->slots[c->tunnel][at];
		load = slot_open(sl, now) ? slot_load(sl) : UINT64_MAX; /* or is another worker's */
		if (load < least) {
			best = sl;
			least = load;
		}
	}
	return best;
}

void slot_connect(struct shard *s, struct stream *st, uint64_t now)
{
	struct slot *sl;

	if (s->closing || s->conf.tunnels[st->chan->tunnel].drain_at) {
		stream_orphan(st);
		return;
	}
	sl = slot_choose(s, st->chan, now);
	st->chan->slot = (uint16_t)(sl - s->slots[st->chan->tunnel]);
	if (sl->sess && now >= sl->sess->old_at)
		slot_retire(sl, now);
	if (slot_silent(sl, now))
		slot_give_up(sl, now);
	if (sl->sess && stream_attach(st, sl->sess, now))
		return;
	/* A session whose stream ids are used up is replaced (wire.md 8.2). */
	if (sl->sess && sl->sess->mux.dead)
		sess_close(sl->sess, 0, now);
	if (sl->sess || sl->n_waiting >= SLOT_WAITING_MAX) {
		slot_refuse(sl, st);
		return;
	}
	st->slot = sl;
	st->last_in = now;
	list_add_tail(&sl->waiting, &st->link);
	sl->n_waiting++;
	if (!wheel_armed(&sl->timer.ent))
		slot_ask(sl);
}

static uint32_t slot_conv(struct shard *s)
{
	return (uint32_t)(shard_random(s) >> 32);
}

/* Gives every waiting connection to the session that has been made. */
static void slot_serve(struct slot *sl, uint64_t now)
{
	struct list *e;

	while ((e = sl->waiting.next) != &sl->waiting) {
		struct stream *st = container_of(e, struct stream, link);

		slot_forget(st);
		if (!stream_attach(st, sl->sess, now))
			slot_refuse(sl, st);
	}
}

/* Refuses those that have waited too long, and tries again for the rest. */
static void slot_retry(struct slot *sl, uint64_t now)
{
	struct list *e;

	while ((e = sl->waiting.next) != &sl->waiting) {
		struct stream *st = container_of(e, struct stream, link);

		if (now - st->last_in < SLOT_GIVE_UP_MS)
			break;
		slot_refuse(sl, st);
	}
	if (!list_empty(&sl->waiting))
		wheel_arm(&sl->shard->wheel, &sl->timer.ent, now + SLOT_RETRY_MS);
}

void slot_event(struct shard *s, struct dial *d, uint32_t ev, uint64_t now)
{
	struct slot *sl = d->worker;

	sl->asked = false;
	if ((ev & DIAL_EV_READY) && s->conf.tunnels[d->tunnel].drain_at) {
		mbox_post(s->border->to_ctl, &d->to_ctl, DIAL_EV_DROP);
	} else if ((ev & DIAL_EV_READY) && !sl->sess) {
		struct sess *ss = sess_open(s, d->tunnel, &d->key, flow_hash(&d->key), slot_conv(s), now);

		if (ss) {
			ss->slot = sl;
			sl->sess = ss;
			speak_try(ss, now);
			slot_serve(sl, now);
			return;
		}
		shard_drop(s, DROP_SESSION_LIMIT);
		mbox_post(s->border->to_ctl, &d->to_ctl, DIAL_EV_DROP);
	}
	slot_retry(sl, now);
}

void slot_take_back(struct sess *ss, uint64_t now)
{
	struct slot *sl = ss->slot;
	struct mux_stream *ms;
	uint32_t cursor = 0;

	while ((ms = mux_each(&ss->mux, &cursor))) {
		struct stream *st = ms->user;

		if (!st)
			continue;
		stream_detach(st);
		if (now - st->last_in >= SLOT_GIVE_UP_MS) {
			slot_refuse(sl, st);
			continue;
		}
		st->slot = sl;
		list_add_tail(&sl->waiting, &st->link);
		sl->n_waiting++;
	}
}

void slot_again(struct slot *sl, bool wait, uint64_t now)
{
	if (list_empty(&sl->waiting))
		return;
	if (wait)
		wheel_arm(&sl->shard->wheel, &sl->timer.ent, now + SLOT_RETRY_MS);
	else
		slot_ask(sl);
}

void slot_timer(struct slot *sl, uint64_t now)
{
	if (!list_empty(&sl->waiting))
		slot_ask(sl);
}

void slot_lost(struct slot *sl)
{
	slot_leave(sl, DIAL_EV_DROP);
}
