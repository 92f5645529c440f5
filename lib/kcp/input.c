/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "kcp_seg.h"

/* Input of one datagram: wire.md 4.5. */

/* What the segments of one datagram ask for together. */
struct intake {
	struct kcp_got *got;
	bool recovered;
	bool full;    /* "must flush" */
	bool acked;   /* there was an ACK that says something of the round trip ... */
	uint32_t ts;  /* ... and this is what the last one echoed */
	uint32_t una; /* snd_una before it */
	uint32_t segs;
};

#define AHEAD	 8     /* segments */
#define PROOF_MS 60000 /* a segment that was sent again was first sent so long ago at most */

/* Acknowledged segments lie in memory that was last used a round trip ago; those that follow are likely to be next. */
static inline void ahead_prefetch(const struct kcp *k, uint32_t sn)
{
	const uint8_t *s = *kcp_ring_at(&k->snd, sn + AHEAD);

	__builtin_prefetch(s, 1);
}

/* Frees what the peer has received in one piece. */
static void take_una(struct kcp *k, uint32_t una, struct intake *in)
{
	uint32_t old = k->snd_una;

	for (; k->snd_una != k->snd_nxt && seq_lt(k->snd_una, una); k->snd_una++) {
		struct kcp_seg *s = kcp_snd_seg(k, k->snd_una);

		ahead_prefetch(k, k->snd_una);
		if (s) {
			if (kcp_size_looks(k))
				kcp_size_acked(k, s, NULL);
			k->loss->forget(k, s, NULL);
			kcp_seg_free(k, s);
		}
		*kcp_ring_at(&k->snd, k->snd_una) = NULL;
	}
	if (k->snd_una == old)
		return;
	k->stands = false;
	k->loss->una(k);
	kcp_ring_trim(&k->snd, k->mem, k->snd_una, k->snd_end - k->snd_una);
	in->full = true;
}

/*
 * Does this ACK, before anything else of it is looked at, tell of a round trip?  One that comes late or again, or that
 * somebody has recorded, does not: it was told before.  What an earlier ACK's una freed counts, for each of a
 * datagram's ACKs has the una of the last; and one of a segment that was sent again may be of any transmission of it.
 * An echo from after the last one is a peer's own affair, who makes his round trip look shorter than it is.
 */
static void take_echo(struct kcp *k, const struct kcp_head *h, struct intake *in)
{
	const struct kcp_seg *s;

	if (seq_lt(h->sn, k->snd_una)) {
		if (seq_lt(h->sn, in->una))
			return;
	} else {
		s = seq_lt(h->sn, k->snd_nxt) ? kcp_snd_seg(k, h->sn) : NULL;
		if (!s || !s->xmit || (seq_lt(h->ts, s->ts) && !s->resent))
			return;
		/* Of any of its transmissions; and by nobody who has received more than was ever sent here: he knows
		 * another session of this conversation. */
		if (!seq_lt(k->snd_nxt, h->una))
			k->proved |= s->ts == h->ts || (s->resent && s->ts - h->ts < PROOF_MS);
	}
	in->acked = true;
	in->ts = h->ts;
}

static void take_ack(struct kcp *k, const struct kcp_head *h, struct intake *in)
{
	bool known = seq_lt(h->sn, k->snd_una) || !seq_lt(h->sn, k->snd_nxt);
	struct kcp_seg *s = known ? NULL : kcp_snd_seg(k, h->sn);

	if (known)
		return;

	ahead_prefetch(k, h->sn);
	if (s) {
		*kcp_ring_at(&k->snd, h->sn) = s->resent ? KCP_ACKED_RESENT : KCP_ACKED;
		if (kcp_size_looks(k))
			kcp_size_acked(k, s, &h->ts);
		k->loss->forget(k, s, &h->ts);
		kcp_seg_free(k, s);
	}
	in->full |= k->loss->ack(k, h->sn, h->ts);
}

/*
 * The peer's window, of a segment that was not overtaken and is no recording: una says how old it is.  Of one una the
 * widest is the latest: what is received in order shows in una, and what was is only ever read.
 */
static void take_wnd(struct kcp *k, const struct kcp_head *h)
{
	int32_t news = seq_diff(h->una, k->snd_una);

	if (news < 0 || (news == 0 && k->wnd_told && h->wnd < k->rmt_wnd))
		return;
	k->rmt_wnd = h->wnd;
	k->wnd_told = true;
}

static void take_segment(struct kcp *k, const struct kcp_head *h, const uint8_t *data, struct intake *in)
{
	if (!in->recovered)
		k->backward = !h->una && k->snd_una;
	if (!in->recovered)
		take_wnd(k, h);
	if (h->cmd == KCP_ACK)
		take_echo(k, h, in);
	/* Its own ACK says of a segment when it was sent, una does not. */
	if (h->cmd == KCP_ACK && kcp_is_auto(k))
		take_ack(k, h, in);
	take_una(k, h->una, in);
	switch (h->cmd) {
	case KCP_ACK:
		if (!kcp_is_auto(k))
			take_ack(k, h, in);
		break;
	case KCP_PUSH:
		kcp_recv_push(k, h->sn, h->ts, data, (uint16_t)h->len, in->recovered, in->got);
		break;
	case KCP_WASK:
		k->ask_tell = true;
		break;
	default: /* KCP_WINS: its window has been taken */
		break;
	}
	in->segs++;
}

/* All segments up to the end or the first fault; trailing bytes short of a header are ignored. */
static int take_datagram(struct kcp *k, const uint8_t *p, uint32_t n, struct intake *in)
{
	struct kcp_head h;

	if (n < KCP_HEAD)
		return -EINVAL;
	do {
		kcp_head_get(&h, p);
		if (h.conv != k->conv)
			return -EINVAL;
		p += KCP_HEAD;
		n -= KCP_HEAD;
		if (h.len > n)
			return -EBADMSG;
		if (h.cmd < KCP_PUSH || h.cmd > KCP_WINS)
			return -EPROTO;
		take_segment(k, &h, p, in);
		p += h.len;
		n -= h.len;
	} while (n >= KCP_HEAD);
	return 0;
}

int kcp_input(struct kcp *k, const uint8_t *p, uint16_t n, unsigned flags, uint64_t now, struct kcp_got *got)
{
	struct intake in = {.got = got, .recovered = flags & KCP_IN_RECOVERED, .una = k->snd_una};
	int err;

	if (got)
		got->n = 0;
	kcp_set_now(k, now);
	if (k->tick < now)
		kcp_tick_after(k, now - 1);

	err = take_datagram(k, p, n, &in);
	if (err) {
		k->cnt->KCPInErrors++;
		return err;
	}
	k->cnt->InSegs += in.segs;

	if (in.acked && !in.recovered && seq_diff(kcp_ts(k), in.ts) >= 0)
		kcp_rtt_sample(k, seq_diff(kcp_ts(k), in.ts));
	if (k->snd_una != in.una || (kcp_is_auto(k) && k->m.news))
		k->cc->acked(k);

	if (in.full)
		return KCP_WANT_FULL;
	return kcp_acks_wanted(k) ? KCP_WANT_ACKS : 0;
}
