/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "kcp_seg.h"

/*
 * Flush: wire.md 4.4.  All that is decided is decided at its start (begin); the rest writes it out, phase by phase,
 * into the datagrams lent, and stops where they end.
 */

/* The datagrams lent for one call, the first i of them filled. */
struct lent {
	struct pkt *v;
	unsigned i, max;
	uint32_t mtu;
	uint32_t used; /* bytes in v[i] */
};

/* Datagrams come back from ports: the one after this is fetched while this one is written. */
static void lent_prefetch(const struct lent *o)
{
	if (o->i + 1 >= o->max)
		return;
	for (uint32_t at = 0; at < o->mtu; at += 64)
		__builtin_prefetch(o->v[o->i + 1].p + at, 1);
}

/* Makes sure that the datagram at hand takes n bytes more, or turns to the next; false when there is none.  A segment
 * that was cut for larger ones has one of its own. */
static bool lent_room(struct lent *o, uint32_t n)
{
	if (o->used && o->used + n > o->mtu) {
		o->v[o->i++].n = (uint16_t)o->used;
		o->used = 0;
		lent_prefetch(o);
	}
	return o->i < o->max;
}

static void lent_close(struct lent *o)
{
	if (o->used)
		o->v[o->i++].n = (uint16_t)o->used;
	o->used = 0;
}

/* Where a segment of n payload bytes goes, its header written; there is room. */
static uint8_t *put_head(struct kcp *k, struct lent *o, enum kcp_cmd cmd, uint8_t frg, uint32_t ts, uint32_t sn,
			 uint16_t n)
{
	uint8_t *p = o->v[o->i].p + o->used;

	kcp_head_put(p, &(struct kcp_head){.conv = k->conv,
					   .cmd = (uint8_t)cmd,
					   .frg = frg,
					   .wnd = k->run.wnd,
					   .ts = ts,
					   .sn = sn,
					   .una = k->run.una,
					   .len = n});
	o->used += KCP_HEAD + n;
	k->cnt->OutSegs++;
	return p + KCP_HEAD;
}

/* Step 2: a peer that has closed its window is asked from time to time. */
static void probe(struct kcp *k)
{
	if (k->rmt_wnd) {
		k->probe_wait = 0;
		k->ts_probe = 0;
		return;
	}
	if (k->probe_wait == 0) {
		k->probe_wait = KCP_PROBE_INIT;
	} else if (k->now >= k->ts_probe) {
		k->probe_wait += k->probe_wait / 2;
		if (k->probe_wait > KCP_PROBE_MAX)
			k->probe_wait = KCP_PROBE_MAX;
		k->ask_send = true;
	} else {
		return;
	}
	k->ts_probe = k->now + k->probe_wait;
}

/* Step 4 of KCP_CONGESTION_AUTO: what the window lets through, and may be in flight, and finds a place. */
static void number_some(struct kcp *k, unsigned max)
{
	int64_t room = kcp_model_room(k) - (int64_t)(k->snd_nxt - k->snd_sent) * k->mss;
	uint32_t end;

	k->run.window = kcp_window(k);
	end = k->snd_una + k->run.window;
	if (seq_lt(k->snd_end, end))
		end = k->snd_end;
	for (unsigned i = 0; i < k->limit && i < max && room > 0 && seq_lt(k->snd_nxt, end); i++) {
		struct kcp_seg *s = kcp_snd_seg(k, k->snd_nxt);

		room -= kcp_seg_cost(s);
		s->sn = k->snd_nxt++;
	}
}

/* Step 4: numbers what the window lets through.  True when there was any. */
static bool number(struct kcp *k)
{
	uint32_t first = k->snd_nxt, queued = k->snd_end - first;
	uint32_t end = first + (queued < k->limit ? queued : k->limit);

	k->run.window = kcp_window(k);
	for (; k->snd_nxt != end && seq_lt(k->snd_nxt, k->snd_una + k->run.window); k->snd_nxt++)
		kcp_snd_seg(k, k->snd_nxt)->sn = k->snd_nxt;
	return k->snd_nxt != first;
}

/* A flush that its caller did not carry through leaves what it had not written to the next. */
static void drop_rest(struct kcp *k)
{
	k->ask_send |= k->run.ask;
	k->ask_tell |= k->run.tell;
	if (k->run.ack) {
		k->acks.n -= k->run.ack;
		memmove(k->acks.v, k->acks.v + k->run.ack, k->acks.n * sizeof(*k->acks.v));
	}
}

/* What every header says from here on: the same to the end of the flush, unless time or input came in between. */
static void stamp(struct kcp *k, uint64_t now)
{
	kcp_set_now(k, now);
	k->run.una = k->rcv_nxt;
	k->run.wnd = (uint16_t)(k->rcv_wnd - k->rcv_ordered);
}

static void begin(struct kcp *k, enum kcp_flush_kind kind, uint64_t now, unsigned max)
{
	bool new;

	drop_rest(k);
	kcp_set_now(k, now);
	probe(k);
	k->run = (struct kcp_run){
		.phase = KCP_PHASE_ACKS,
		.kind = (uint8_t)kind,
		.ask = k->ask_send,
		.tell = k->ask_tell,
	};
	k->ask_send = k->ask_tell = false;
	stamp(k, now);
	if (kcp_is_auto(k)) {
		k->m.flush_from = k->snd_sent; /* of those before it there may be none any more */
		if (kind == KCP_FLUSH_ACKS) {
			kcp_tick_after(k, now);
			return;
		}
		k->loss->collect(k, false);
		number_some(k, max);
	} else {
		new = number(k);
		if (kind == KCP_FLUSH_ACKS)
			return;
		k->loss->collect(k, !new);
	}
	k->fresh = false;
	kcp_tick_after(k, now);
}

/* Room for those that are told twice, or not, for want of memory. */
static struct kcp_told *told_make(struct kcp *k)
{
	if (!k->told) {
		k->told = mem_get(k->mem, sizeof(*k->told));
		if (k->told)
			k->told->n = 0;
	}
	return k->told;
}

/* The ACKs above a hole that were told last, once more, where the datagram at hand has room. */
static void write_told(struct kcp *k, struct lent *o)
{
	for (uint32_t i = 0; k->told && i < k->told->n; i++) {
		const struct kcp_ack *a = &k->told->v[i];

		if (!o->used || o->used + KCP_HEAD > o->mtu)
			return;
		if (!seq_lt(a->sn, k->run.una))
			put_head(k, o, KCP_ACK, 0, a->ts, a->sn, 0);
	}
}

/* The latest of the ACKs that have just been told are the next to be told once more. */
static void keep_told(struct kcp *k)
{
	struct kcp_told *t = k->knows && k->rcv_stored ? told_make(k) : NULL;

	if (!t) {
		mem_put(k->mem, k->told, sizeof(*k->told));
		k->told = NULL;
		return;
	}
	t->n = 0;
	for (uint32_t i = k->acks.n; i-- && t->n < KCP_TOLD_MAX;)
		if (!seq_lt(k->acks.v[i].sn, k->run.una))
			t->v[t->n++] = k->acks.v[i];
}

/* Step 1.  An ACK below rcv_nxt says no more than una does; the last one is sent all the same, to carry una. */
static bool write_acks(struct kcp *k, struct lent *o)
{
	for (; k->run.ack < k->acks.n; k->run.ack++) {
		const struct kcp_ack *a = &k->acks.v[k->run.ack];

		if (!lent_room(o, KCP_HEAD))
			return false;
		if (seq_lt(a->sn, k->run.una) && k->run.ack != k->acks.n - 1)
			continue;
		put_head(k, o, KCP_ACK, 0, a->ts, a->sn, 0);
		k->run.ts = a->ts;
		k->run.sn = a->sn;
	}
	if (k->acks.n && kcp_is_auto(k)) {
		write_told(k, o);
		keep_told(k);
		k->acks_at = k->now;
	}
	kcp_acks_clear(k);
	k->run.ack = 0;
	return true;
}

/* Step 3.  ts and sn are left over from the last ACK, as in stock: receivers do not look at them. */
static bool write_probes(struct kcp *k, struct lent *o)
{
	if (k->run.ask) {
		if (!lent_room(o, KCP_HEAD))
			return false;
		put_head(k, o, KCP_WASK, 0, k->run.ts, k->run.sn, 0);
		k->run.ask = false;
	}
	if (k->run.tell) {
		if (!lent_room(o, KCP_HEAD))
			return false;
		put_head(k, o, KCP_WINS, 0, k->run.ts, k->run.sn, 0);
		k->run.tell = false;
	}
	return true;
}

static void count_again(struct kcp *k, enum kcp_why why)
{
	k->cnt->RetransSegs++;
	switch (why) {
	case KCP_WHY_FAST:
		k->cnt->FastRetransSegs++;
		k->again_fast++;
		k->run.fast = true;
		break;
	case KCP_WHY_EARLY:
		k->cnt->EarlyRetransSegs++;
		k->again_early++;
		k->run.fast = true;
		break;
	default:
		k->cnt->LostSegs++;
		k->again_late++;
		k->run.lost = true;
		break;
	}
}

static bool write_as_of(struct kcp *k, struct lent *o, const struct kcp_seg *s, uint32_t ts)
{
	if (!lent_room(o, KCP_HEAD + s->len))
		return false;
	memcpy(put_head(k, o, KCP_PUSH, s->frg, ts, s->sn, s->len), s->data, s->len);
	return true;
}

static bool write_segment(struct kcp *k, struct lent *o, const struct kcp_seg *s)
{
	return write_as_of(k, o, s, kcp_ts(k));
}

/* Segments that leave twice, as they were. */
static void write_twins(struct kcp *k, struct lent *o)
{
	struct kcp_seg *s;

	while ((s = kcp_twin_head(k))) {
		if (!write_as_of(k, o, s, s->ts))
			return;
		kcp_twin_sent(k, s);
		count_again(k, KCP_WHY_EARLY);
	}
}

static bool may_send(const struct kcp *k)
{
	return !kcp_is_auto(k) || kcp_may_send(k);
}

static bool write_again(struct kcp *k, struct lent *o)
{
	while (!list_empty(&k->again) && may_send(k)) {
		struct kcp_seg *s = container_of(k->again.next, struct kcp_seg, due);

		if (!write_segment(k, o, s))
			return false;
		list_del(&s->due);
		count_again(k, s->why);
		if (s->sn == k->snd_una || k->probing)
			kcp_size_again(k, s);
		k->loss->sent(k, s);
	}
	return true;
}

/* The datagram at hand becomes as long as is to be found out, and is full. */
static void pad(struct kcp *k, struct lent *o)
{
	while (o->used + KCP_HEAD <= k->probe_len)
		put_head(k, o, KCP_WINS, 0, k->run.ts, k->run.sn, 0);
	memset(o->v[o->i].p + o->used, 0, k->probe_len - o->used);
	o->used = k->probe_len;
	o->v[o->i].flags |= PKT_F_PROBE;
	lent_close(o);
}

/* The probe that was asked for, if s fits it. */
static bool write_probe(struct kcp *k, struct lent *o, struct kcp_seg *s)
{
	if (kcp_seg_cost(s) >= k->probe_len || kcp_seg_cost(s) > o->mtu)
		return write_segment(k, o, s);
	lent_close(o);
	if (!write_segment(k, o, s))
		return false;
	kcp_size_sent(k, s);
	pad(k, o);
	return true;
}

static bool write_new(struct kcp *k, struct lent *o)
{
	for (; k->snd_sent != k->snd_nxt && may_send(k); k->snd_sent++) {
		struct kcp_seg *s = kcp_snd_seg(k, k->snd_sent);

		if (!s) /* acknowledged before it was sent: not by a sane peer */
			continue;
		if (k->asked ? !write_probe(k, o, s) : !write_segment(k, o, s))
			return false;
		k->loss->sent(k, s);
	}
	if (kcp_is_auto(k))
		write_twins(k, o);
	return true;
}

/* The phases from where the last call stopped; false when the datagrams lent did not suffice. */
static bool write_out(struct kcp *k, struct lent *o)
{
	switch (k->run.phase) {
	case KCP_PHASE_ACKS:
		if (!write_acks(k, o))
			return false;
		k->run.phase = KCP_PHASE_PROBES;
		/* fall through */
	case KCP_PHASE_PROBES:
		if (!write_probes(k, o))
			return false;
		if (k->run.kind == KCP_FLUSH_ACKS)
			return true;
		k->run.phase = KCP_PHASE_AGAIN;
		/* fall through */
	case KCP_PHASE_AGAIN:
		if (!write_again(k, o))
			return false;
		k->run.phase = KCP_PHASE_NEW;
		/* fall through */
	default:
		return write_new(k, o);
	}
}

static void finish(struct kcp *k)
{
	k->cc->flushed(k);
	k->cnt->RingBufferSndQueue = k->snd_end - k->snd_nxt;
	k->cnt->RingBufferRcvQueue = k->rcv_ordered;
	k->cnt->RingBufferSndBuffer = k->snd_nxt - k->snd_una;
}

/* What was not written is for the next flush to decide on, with what is known then. */
static void end_anyway(struct kcp *k)
{
	drop_rest(k);
	k->run.ask = k->run.tell = false;
	k->run.ack = 0;
	k->run.phase = KCP_PHASE_IDLE;
}

unsigned kcp_flush(struct kcp *k, enum kcp_flush_kind kind, uint64_t now, struct pkt *out, unsigned max)
{
	struct lent o = {.v = out, .max = max, .mtu = k->mss + KCP_HEAD};

	if (!max)
		return 0;
	if (k->run.phase == KCP_PHASE_IDLE || k->run.kind != kind) {
		begin(k, kind, now, max);
	} else if (k->run.phase == KCP_PHASE_DONE) {
		k->run.phase = KCP_PHASE_IDLE;
		return 0;
	} else {
		stamp(k, now);
	}
	if (!write_out(k, &o)) {
		if (kcp_is_auto(k))
			end_anyway(k);
		return max;
	}
	finish(k);
	lent_close(&o);
	/* With every datagram used the caller cannot know that this was all: the call that it still makes finds it. */
	k->run.phase = o.i == max && !kcp_is_auto(k) ? KCP_PHASE_DONE : KCP_PHASE_IDLE;
	return o.i;
}
