/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kcp_wire.h"
#include "ref.h"
#include "seq.h"

#define NEVER UINT32_MAX

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t max32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

struct ref *ref_new(uint32_t conv, const struct kcp_conf *conf)
{
	struct ref *r = calloc(1, sizeof(*r));

	r->conf = conf;
	r->conv = conv;
	r->mss = conf->mtu - 24;
	r->rmt = 32;
	r->ssthresh = 2;
	r->rto = 200;
	return r;
}

static void free_all(struct ref_seg *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(v[i].data);
}

void ref_free(struct ref *r)
{
	free_all(r->sq, r->n_sq);
	free_all(r->sb, r->n_sb);
	free_all(r->rq, r->n_rq);
	free_all(r->rb, r->n_rb);
	free(r);
}

void ref_start_at(struct ref *r, uint32_t sn)
{
	r->una = r->nxt = r->rcv = sn;
}

static void remove_at(struct ref_seg *v, unsigned *n, unsigned i)
{
	memmove(v + i, v + i + 1, (--*n - i) * sizeof(*v));
}

bool ref_may_send(const struct ref *r)
{
	return r->n_sq + r->n_sb < r->conf->snd_wnd;
}

void ref_send(struct ref *r, const uint8_t *p, uint32_t n)
{
	uint32_t pieces, part;

	if (!r->conf->message && r->n_sq && r->sq[r->n_sq - 1].len < r->mss) {
		struct ref_seg *s = &r->sq[r->n_sq - 1];

		part = min32(n, r->mss - s->len);
		memcpy(s->data + s->len, p, part);
		s->len = (uint16_t)(s->len + part);
		p += part;
		n -= part;
	}
	pieces = (n + r->mss - 1) / r->mss;
	for (uint32_t i = 0; i < pieces; i++) {
		struct ref_seg *s = &r->sq[r->n_sq++];

		*s = (struct ref_seg){.data = malloc(r->mss)};
		part = min32(n, r->mss);
		memcpy(s->data, p, part);
		s->len = (uint16_t)part;
		s->frg = r->conf->message ? (uint8_t)(pieces - 1 - i) : 0;
		p += part;
		n -= part;
	}
}

/* The datagram being filled is out[n_out], with out_len[n_out] bytes so far. */
static void room(struct ref *r, uint32_t n)
{
	if (r->out_len[r->n_out] + n > r->conf->mtu)
		r->out_len[++r->n_out] = 0;
}

static void put(struct ref *r, uint8_t cmd, uint8_t frg, uint16_t wnd, uint32_t ts, uint32_t sn, uint32_t una,
		const uint8_t *data, uint16_t len)
{
	uint8_t *p = r->out[r->n_out] + r->out_len[r->n_out];

	le32_put(p, r->conv);
	p[4] = cmd;
	p[5] = frg;
	le16_put(p + 6, wnd);
	le32_put(p + 8, ts);
	le32_put(p + 12, sn);
	le32_put(p + 16, una);
	le32_put(p + 20, len);
	if (len)
		memcpy(p + 24, data, len);
	r->out_len[r->n_out] = (uint16_t)(r->out_len[r->n_out] + 24 + len);
	r->out_segs++;
}

static void probe_timer(struct ref *r)
{
	if (r->rmt) {
		r->ts_probe = r->probe_wait = 0;
	} else if (!r->probe_wait) {
		r->probe_wait = 500;
		r->ts_probe = r->now + r->probe_wait;
	} else if (seq_diff(r->now, r->ts_probe) >= 0) {
		r->probe_wait = min32(r->probe_wait + r->probe_wait / 2, 120000);
		r->ts_probe = r->now + r->probe_wait;
		r->probe |= 1;
	}
}

/* The rule of step 5 that applies to one segment; false when it stays. */
static bool due(struct ref *r, struct ref_seg *s, uint32_t resend, unsigned new, unsigned *change, unsigned *lost)
{
	if (s->xmit == 0) {
		s->rto = r->rto;
	} else if (s->fastack != NEVER && s->fastack >= resend) {
		s->fastack = NEVER;
		s->rto = r->rto;
		++*change;
		r->fast++;
	} else if (s->fastack != NEVER && s->fastack > 0 && new == 0) {
		s->fastack = NEVER;
		s->rto = r->rto;
		++*change;
		r->early++;
	} else if (seq_diff(r->now, s->resendts) >= 0) {
		s->rto += r->conf->nodelay ? r->rto / 2 : r->rto;
		s->fastack = 0;
		s->timed_out = true;
		++*lost;
		r->lost++;
	} else {
		return false;
	}
	s->resendts = r->now + s->rto;
	return true;
}

static void congestion(struct ref *r, uint32_t resend, uint32_t window, unsigned change, unsigned lost)
{
	if (r->conf->nc)
		return;
	if (change) {
		r->ssthresh = max32((r->nxt - r->una) / 2, 2);
		r->cwnd = r->ssthresh + resend;
		r->incr = r->cwnd * r->mss;
	}
	if (lost) {
		r->ssthresh = max32(window / 2, 2);
		r->cwnd = 1;
		r->incr = r->mss;
	}
	if (r->cwnd < 1) {
		r->cwnd = 1;
		r->incr = r->mss;
	}
}

uint32_t ref_flush(struct ref *r, enum kcp_flush_kind kind, uint32_t now)
{
	uint16_t wnd = (uint16_t)(r->n_rq < r->conf->rcv_wnd ? r->conf->rcv_wnd - r->n_rq : 0);
	uint32_t una = r->rcv, ts = 0, sn = 0, window, delay = (uint32_t)r->conf->interval;
	uint32_t resend = r->conf->resend > 0 ? (uint32_t)r->conf->resend : NEVER;
	unsigned new = 0, change = 0, lost = 0;

	r->now = now;
	r->n_out = 0;
	r->out_len[0] = 0;
	for (unsigned i = 0; i < r->n_acks; i++) {
		room(r, 24);
		if (seq_diff(r->acks[i].sn, r->rcv) < 0 && i != r->n_acks - 1)
			continue;
		ts = r->acks[i].ts;
		sn = r->acks[i].sn;
		put(r, 82, 0, wnd, ts, sn, una, NULL, 0);
	}
	r->n_acks = 0;
	probe_timer(r);
	for (unsigned bit = 1; bit <= 2; bit++) {
		if (!(r->probe & bit))
			continue;
		room(r, 24);
		put(r, bit == 1 ? 83 : 84, 0, wnd, ts, sn, una, NULL, 0);
	}
	r->probe = 0;

	window = min32(r->conf->snd_wnd, r->rmt);
	if (!r->conf->nc)
		window = min32(window, r->cwnd);
	while (r->n_sq && seq_diff(r->nxt, r->una + window) < 0) {
		struct ref_seg *s = &r->sb[r->n_sb++];

		*s = r->sq[0];
		remove_at(r->sq, &r->n_sq, 0);
		s->sn = r->nxt++;
		new ++;
	}
	for (unsigned i = 0; kind == KCP_FLUSH_FULL && i < r->n_sb; i++) {
		struct ref_seg *s = &r->sb[i];
		int32_t left;

		if (s->acked)
			continue;
		if (due(r, s, resend, new, &change, &lost)) {
			s->xmit++;
			s->ts = now;
			room(r, 24 + s->len);
			put(r, 81, s->frg, wnd, now, s->sn, una, s->data, s->len);
			if (s->xmit >= 20)
				r->dead = true;
		}
		left = seq_diff(s->resendts, now);
		if (left > 0 && (uint32_t)left < delay)
			delay = (uint32_t)left;
	}
	congestion(r, resend, window, change, lost);
	if (r->out_len[r->n_out])
		r->n_out++;
	return delay;
}

static void drain(struct ref *r)
{
	for (unsigned i = 0; i < r->n_rb && r->n_rq < r->conf->rcv_wnd;) {
		if (r->rb[i].sn != r->rcv) {
			i++;
			continue;
		}
		r->rq[r->n_rq++] = r->rb[i];
		remove_at(r->rb, &r->n_rb, i);
		r->rcv++;
		i = 0;
	}
}

static void take_push(struct ref *r, const struct kcp_head *h, const uint8_t *data, bool recovered)
{
	bool held = false;

	if (seq_diff(h->sn, r->rcv + r->conf->rcv_wnd) >= 0) {
		r->repeat += !recovered;
		return;
	}
	r->acks[r->n_acks++] = (struct ref_ack){h->sn, h->ts};
	for (unsigned i = 0; i < r->n_rb; i++)
		held |= r->rb[i].sn == h->sn;
	if (held || seq_diff(h->sn, r->rcv) < 0) {
		r->repeat += !recovered;
	} else {
		struct ref_seg *s = &r->rb[r->n_rb++];

		*s = (struct ref_seg){.sn = h->sn, .frg = h->frg, .len = (uint16_t)h->len, .data = malloc(h->len + 1)};
		memcpy(s->data, data, h->len);
	}
	drain(r);
}

static bool take_ack(struct ref *r, uint32_t sn, uint32_t ts)
{
	bool flush = false;

	if (seq_diff(sn, r->una) < 0 || seq_diff(sn, r->nxt) >= 0)
		return false;
	for (unsigned i = 0; i < r->n_sb; i++)
		if (r->sb[i].sn == sn)
			r->sb[i].acked = true;
	for (unsigned i = 0; i < r->n_sb && seq_diff(sn, r->sb[i].sn) > 0; i++) {
		struct ref_seg *s = &r->sb[i];

		if (s->fastack == NEVER || seq_diff(s->ts, ts) > 0)
			continue;
		s->fastack++;
		if (s->fastack >= (uint32_t)r->conf->resend && (r->stock || !s->acked || !s->timed_out))
			flush = true;
	}
	return flush;
}

static bool take_una(struct ref *r, uint32_t una)
{
	bool any = false;

	while (r->n_sb && seq_diff(una, r->sb[0].sn) > 0) {
		free(r->sb[0].data);
		remove_at(r->sb, &r->n_sb, 0);
		any = true;
	}
	r->una = r->n_sb ? r->sb[0].sn : r->nxt;
	return any;
}

static void take_rtt(struct ref *r, int32_t rtt)
{
	uint32_t min = r->conf->nodelay ? 30 : 100;

	if (r->srtt == 0) {
		r->srtt = rtt;
		r->rttvar = rtt >> 1;
	} else {
		int32_t d = rtt - r->srtt;

		r->srtt += d >> 3;
		d = d < 0 ? -d : d;
		if (rtt < r->srtt - r->rttvar)
			r->rttvar += (d - r->rttvar) >> 5;
		else
			r->rttvar += (d - r->rttvar) >> 2;
	}
	r->rto = (uint32_t)r->srtt + max32((uint32_t)r->conf->interval, 4 * (uint32_t)r->rttvar);
	r->rto = min32(max32(r->rto, min), 60000);
}

static void grow(struct ref *r)
{
	if (r->conf->nc || r->cwnd >= r->rmt)
		return;
	if (r->cwnd < r->ssthresh) {
		r->cwnd++;
		r->incr += r->mss;
	} else {
		r->incr = max32(r->incr, r->mss);
		r->incr += r->mss * r->mss / r->incr + r->mss / 16;
		if ((r->cwnd + 1) * r->mss <= r->incr)
			r->cwnd = (r->incr + r->mss - 1) / r->mss;
	}
	if (r->cwnd > r->rmt) {
		r->cwnd = r->rmt;
		r->incr = r->rmt * r->mss;
	}
}

/* Not stock's: the window of a segment that others have overtaken is not taken. */
static bool is_news(const struct ref *r, const struct kcp_head *h)
{
	int32_t age = seq_diff(h->una, r->una);

	return r->credulous || age > 0 || (age == 0 && (!r->told || h->wnd > r->rmt));
}

/* Nor is a round trip seen in an acknowledgement of what had been acknowledged before this datagram. */
static bool is_echo(const struct ref *r, const struct kcp_head *h, uint32_t una)
{
	if (r->credulous)
		return true;
	for (unsigned i = 0; i < r->n_sb; i++) {
		const struct ref_seg *s = &r->sb[i];

		if (s->sn == h->sn)
			return !s->acked && s->xmit && (s->xmit > 1 || seq_diff(h->ts, s->ts) >= 0);
	}
	return seq_diff(h->sn, una) >= 0 && seq_diff(h->sn, r->una) < 0;
}

int ref_input(struct ref *r, const uint8_t *p, uint32_t n, bool recovered, uint32_t now)
{
	uint32_t una = r->una, segs = 0, latest = 0;
	bool flush = false, acked = false, echo;
	struct kcp_head h;

	r->now = now;
	r->in_errors++;
	if (n < 24)
		return -EINVAL;
	while (n >= 24) {
		kcp_head_get(&h, p);
		if (h.conv != r->conv)
			return -EINVAL;
		p += 24;
		n -= 24;
		if (n < h.len)
			return -EBADMSG;
		if (h.cmd != 81 && h.cmd != 82 && h.cmd != 83 && h.cmd != 84)
			return -EPROTO;
		if (!recovered && is_news(r, &h)) {
			r->rmt = h.wnd;
			r->told = true;
		}
		echo = is_echo(r, &h, una);
		flush |= take_una(r, h.una);
		if (h.cmd == 82) {
			flush |= take_ack(r, h.sn, h.ts);
			acked |= echo;
			latest = echo ? h.ts : latest;
		} else if (h.cmd == 81) {
			take_push(r, &h, p, recovered);
		} else if (h.cmd == 83) {
			r->probe |= 2;
		}
		segs++;
		p += h.len;
		n -= h.len;
	}
	r->in_errors--;
	r->in_segs += segs;
	if (acked && !recovered && seq_diff(now, latest) >= 0)
		take_rtt(r, seq_diff(now, latest));
	if (seq_diff(r->una, una) > 0)
		grow(r);
	if (flush)
		return KCP_WANT_FULL;
	if (r->n_acks >= r->conf->mtu / 24 || (r->conf->acknodelay && r->n_acks))
		return KCP_WANT_ACKS;
	return 0;
}

int ref_recv(struct ref *r, uint8_t *buf)
{
	bool full = r->n_rq >= r->conf->rcv_wnd;
	int n;

	if (!r->n_rq)
		return -1;
	n = r->rq[0].len;
	memcpy(buf, r->rq[0].data, (size_t)n);
	free(r->rq[0].data);
	remove_at(r->rq, &r->n_rq, 0);
	drain(r);
	if (full && r->n_rq < r->conf->rcv_wnd)
		r->probe |= 2;
	return n;
}
