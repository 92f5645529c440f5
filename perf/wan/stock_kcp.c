/* SPDX-License-Identifier: MIT */
#include "stock_kcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "kcp_wire.h"
#include "seq.h"

#define HEAD_ROOM 64 /* before a datagram */
#define NEVER	  UINT32_MAX
#define WRITE_MAX 65536 /* bytes of the one write that may overshoot the window */

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t max32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static struct sk_seg *ring_new(uint32_t least, uint32_t *mask)
{
	uint32_t n = 64;
	struct sk_seg *v;

	while (n < least)
		n *= 2;
	*mask = n - 1;
	v = calloc(n, sizeof(*v));
	if (!v)
		abort();
	return v;
}

static void ring_free(struct sk_seg *v, uint32_t mask)
{
	for (uint32_t i = 0; i <= mask; i++)
		buf_put(v[i].data);
	free(v);
}

void sk_init(struct sk *k, const struct sk_conf *conf, uint32_t conv, void (*out)(void *, uint8_t *, uint16_t),
	     void *arg)
{
	*k = (struct sk){.conf = *conf, .conv = conv, .out = out, .arg = arg};
	k->mss = conf->mtu - KCP_HEAD;
	k->rmt = KCP_WND_INIT;
	k->ssthresh = KCP_SSTHRESH_MIN;
	k->rto = KCP_RTO_INIT;
	k->snd = ring_new(conf->snd_wnd + WRITE_MAX / k->mss + 2, &k->snd_mask);
	k->got = ring_new(2 * conf->rcv_wnd + 2, &k->got_mask);
	k->dgram = (uint8_t *)buf_get() + HEAD_ROOM;
}

void sk_fini(struct sk *k)
{
	ring_free(k->snd, k->snd_mask);
	ring_free(k->got, k->got_mask);
	buf_put(k->dgram - HEAD_ROOM);
	free(k->acks);
}

static struct sk_seg *snd_at(const struct sk *k, uint32_t sn)
{
	return &k->snd[sn & k->snd_mask];
}

static struct sk_seg *got_at(const struct sk *k, uint32_t sn)
{
	return &k->got[sn & k->got_mask];
}

/* ---- sending ---- */

bool sk_writable(const struct sk *k)
{
	uint32_t waits = k->end - k->una;

	return waits < k->conf.snd_wnd && (k->conf.year != 2021 || waits < k->rmt);
}

void sk_send(struct sk *k, const uint8_t *p, uint32_t n)
{
	while (n) {
		struct sk_seg *s = snd_at(k, k->end - 1);
		uint32_t part;

		if (k->end == k->nxt || s->len == k->mss) {
			s = snd_at(k, k->end++);
			*s = (struct sk_seg){.data = buf_get()};
		}
		part = min32(n, k->mss - s->len);
		memcpy(s->data + s->len, p, part);
		s->len = (uint16_t)(s->len + part);
		p += part;
		n -= part;
	}
}

static void emit(struct sk *k)
{
	if (k->n)
		k->out(k->arg, k->dgram, k->n);
	k->n = 0;
}

static void room(struct sk *k, uint32_t n)
{
	if (k->n + n > k->conf.mtu)
		emit(k);
}

static void put(struct sk *k, uint8_t cmd, uint16_t wnd, uint32_t una, struct sk_ack a, const struct sk_seg *s)
{
	struct kcp_head h = {.conv = k->conv, .cmd = cmd, .wnd = wnd, .ts = a.ts, .sn = a.sn, .una = una};
	uint8_t *p = k->dgram + k->n;

	if (s) {
		h.len = s->len;
		memcpy(p + KCP_HEAD, s->data, s->len);
	}
	kcp_head_put(p, &h);
	k->n = (uint16_t)(k->n + KCP_HEAD + h.len);
	k->segs_out++;
}

static void probe_timer(struct sk *k)
{
	uint32_t wait = k->conf.year == 2021 ? 7000 : KCP_PROBE_INIT;

	if (k->rmt) {
		k->ts_probe = k->probe_wait = 0;
	} else if (!k->probe_wait) {
		k->probe_wait = wait;
		k->ts_probe = k->now + k->probe_wait;
	} else if (seq_diff(k->now, k->ts_probe) >= 0) {
		k->probe_wait = min32(k->probe_wait + k->probe_wait / 2, KCP_PROBE_MAX);
		k->ts_probe = k->now + k->probe_wait;
		k->probe |= 1;
	}
}

/* The rule of step 5 that applies to one segment; false when it stays. */
static bool due(struct sk *k, struct sk_seg *s, uint32_t resend, bool none_new, bool *change, bool *lost)
{
	bool latch = k->conf.year != 2021;

	if (s->xmit == 0) {
		s->rto = k->rto;
	} else if (s->fastack != NEVER && s->fastack >= resend) {
		s->fastack = latch ? NEVER : 0;
		s->rto = k->rto;
		*change = true;
		k->fast++;
	} else if (s->fastack != NEVER && s->fastack > 0 && none_new) {
		s->fastack = latch ? NEVER : 0;
		s->rto = k->rto;
		*change = true;
		k->early++;
	} else if (seq_diff(k->now, s->resendts) >= 0) {
		s->rto += k->conf.nodelay ? k->rto / 2 : k->rto;
		s->fastack = 0;
		*lost = true;
		k->timeouts++;
	} else {
		return false;
	}
	s->resendts = k->now + s->rto;
	return true;
}

static void congestion(struct sk *k, uint32_t resend, uint32_t window, bool change, bool lost)
{
	if (k->conf.nc)
		return;
	if (change) {
		k->ssthresh = max32((k->nxt - k->una) / 2, KCP_SSTHRESH_MIN);
		k->cwnd = k->ssthresh + resend;
		k->incr = k->cwnd * k->mss;
	}
	if (lost) {
		k->ssthresh = max32(window / 2, KCP_SSTHRESH_MIN);
		k->cwnd = 1;
		k->incr = k->mss;
	}
	if (k->cwnd < 1) {
		k->cwnd = 1;
		k->incr = k->mss;
	}
}

/* Steps 1 to 3; the last ACK's numbers are left over for WASK and WINS. */
static void flush_acks(struct sk *k, enum sk_flush kind, uint16_t wnd)
{
	struct sk_ack last = {0};

	for (uint32_t i = 0; i < k->n_acks; i++) {
		room(k, KCP_HEAD);
		if (seq_diff(k->acks[i].sn, k->rcv) < 0 && i != k->n_acks - 1)
			continue;
		last = k->acks[i];
		put(k, KCP_ACK, wnd, k->rcv, last, NULL);
	}
	k->n_acks = 0;
	if (kind == SK_ACKS && k->conf.year == 2021)
		return;
	probe_timer(k);
	for (unsigned bit = 1; bit <= 2; bit++) {
		if (!(k->probe & bit))
			continue;
		room(k, KCP_HEAD);
		put(k, bit == 1 ? KCP_WASK : KCP_WINS, wnd, k->rcv, last, NULL);
	}
	k->probe = 0;
}

static uint32_t flush_data(struct sk *k, uint16_t wnd, uint32_t window, bool none_new)
{
	uint32_t resend = k->conf.resend > 0 ? (uint32_t)k->conf.resend : NEVER, delay = (uint32_t)k->conf.interval;
	bool change = false, lost = false;

	for (uint32_t sn = k->una; sn != k->nxt; sn++) {
		struct sk_seg *s = snd_at(k, sn);
		int32_t left;

		if (s->acked)
			continue;
		if (due(k, s, resend, none_new, &change, &lost)) {
			s->xmit++;
			s->ts = k->now;
			room(k, KCP_HEAD + s->len);
			put(k, KCP_PUSH, wnd, k->rcv, (struct sk_ack){sn, k->now}, s);
		}
		left = seq_diff(s->resendts, k->now);
		if (left > 0 && (uint32_t)left < delay)
			delay = (uint32_t)left;
	}
	congestion(k, resend, window, change, lost);
	return delay;
}

uint32_t sk_flush(struct sk *k, enum sk_flush kind, uint32_t now)
{
	uint32_t unread = k->rcv - k->rcv_read, delay = (uint32_t)k->conf.interval, window, from;
	uint16_t wnd = (uint16_t)(unread < k->conf.rcv_wnd ? k->conf.rcv_wnd - unread : 0);

	k->now = now;
	flush_acks(k, kind, wnd);
	if (kind == SK_ACKS && k->conf.year == 2021) {
		emit(k);
		return delay;
	}
	window = min32(k->conf.snd_wnd, k->rmt);
	if (!k->conf.nc)
		window = min32(window, k->cwnd);
	for (from = k->nxt; k->nxt != k->end && seq_diff(k->nxt, k->una + window) < 0;)
		k->nxt++;
	if (kind == SK_FULL)
		delay = flush_data(k, wnd, window, k->nxt == from);
	emit(k);
	return delay;
}

/* ---- receiving ---- */

static void ack_later(struct sk *k, uint32_t sn, uint32_t ts)
{
	if (k->n_acks == k->cap_acks) {
		k->cap_acks = k->cap_acks ? 2 * k->cap_acks : 256;
		k->acks = realloc(k->acks, k->cap_acks * sizeof(*k->acks));
		if (!k->acks)
			abort();
	}
	k->acks[k->n_acks++] = (struct sk_ack){sn, ts};
}

/* Moves what is in order while the queue of the unread is shorter than the window. */
static void drain(struct sk *k)
{
	while (k->rcv - k->rcv_read < k->conf.rcv_wnd && got_at(k, k->rcv)->held)
		k->rcv++;
}

static void take_push(struct sk *k, const struct kcp_head *h, const uint8_t *data, bool recovered)
{
	struct sk_seg *s = got_at(k, h->sn);

	if (seq_diff(h->sn, k->rcv + k->conf.rcv_wnd) >= 0) {
		k->repeats += !recovered;
		return;
	}
	ack_later(k, h->sn, h->ts);
	if (seq_diff(h->sn, k->rcv) < 0 || s->held) {
		k->repeats += !recovered;
	} else {
		*s = (struct sk_seg){.held = true, .len = (uint16_t)h->len, .data = buf_get()};
		memcpy(s->data, data, h->len);
	}
	drain(k);
}

static bool take_ack(struct sk *k, uint32_t sn, uint32_t ts)
{
	bool flush = false;

	if (seq_diff(sn, k->una) < 0 || seq_diff(sn, k->nxt) >= 0)
		return false;
	snd_at(k, sn)->acked = true;
	for (uint32_t i = k->una; i != sn; i++) {
		struct sk_seg *s = snd_at(k, i);

		if (s->fastack == NEVER || seq_diff(s->ts, ts) > 0)
			continue;
		s->fastack++;
		flush |= s->fastack >= (uint32_t)k->conf.resend;
	}
	return flush && k->conf.year != 2021;
}

static bool take_una(struct sk *k, uint32_t una)
{
	uint32_t was = k->una;

	while (k->una != k->nxt && seq_diff(una, k->una) > 0) {
		struct sk_seg *s = snd_at(k, k->una++);

		buf_put(s->data);
		s->data = NULL;
	}
	return k->una != was;
}

static void take_rtt(struct sk *k, int32_t rtt)
{
	uint32_t min = k->conf.nodelay ? KCP_RTO_MIN_NODLY : KCP_RTO_MIN;

	if (k->srtt == 0) {
		k->srtt = rtt;
		k->rttvar = rtt >> 1;
	} else {
		int32_t d = rtt - k->srtt;

		k->srtt += d >> 3;
		d = d < 0 ? -d : d;
		if (rtt < k->srtt - k->rttvar)
			k->rttvar += (d - k->rttvar) >> 5;
		else
			k->rttvar += (d - k->rttvar) >> 2;
	}
	k->rto = (uint32_t)k->srtt + max32((uint32_t)k->conf.interval, 4 * (uint32_t)k->rttvar);
	k->rto = min32(max32(k->rto, min), KCP_RTO_MAX);
}

static void grow(struct sk *k)
{
	if (k->conf.nc || k->cwnd >= k->rmt)
		return;
	if (k->cwnd < k->ssthresh) {
		k->cwnd++;
		k->incr += k->mss;
	} else {
		k->incr = max32(k->incr, k->mss);
		k->incr += k->mss * k->mss / k->incr + k->mss / 16;
		if ((k->cwnd + 1) * k->mss <= k->incr)
			k->cwnd = (k->incr + k->mss - 1) / k->mss;
	}
	if (k->cwnd > k->rmt) {
		k->cwnd = k->rmt;
		k->incr = k->rmt * k->mss;
	}
}

static void after(struct sk *k, bool flush, uint32_t now)
{
	if (flush)
		sk_flush(k, SK_FULL, now);
	else if (k->n_acks && (k->conf.acknodelay || (k->conf.year != 2021 && k->n_acks >= k->conf.mtu / KCP_HEAD)))
		sk_flush(k, SK_ACKS, now);
}

int sk_input(struct sk *k, const uint8_t *p, uint32_t n, bool recovered, uint32_t now)
{
	uint32_t una = k->una, segs = 0, latest = 0;
	bool flush = false, acked = false;
	struct kcp_head h;

	k->now = now;
	k->errors++;
	if (n < KCP_HEAD)
		return -EINVAL;
	while (n >= KCP_HEAD) {
		kcp_head_get(&h, p);
		if (h.conv != k->conv)
			return -EINVAL;
		p += KCP_HEAD;
		n -= KCP_HEAD;
		if (n < h.len)
			return -EBADMSG;
		if (h.cmd < KCP_PUSH || h.cmd > KCP_WINS)
			return -EPROTO;
		if (!recovered)
			k->rmt = h.wnd;
		flush |= take_una(k, h.una);
		if (h.cmd == KCP_ACK) {
			flush |= take_ack(k, h.sn, h.ts);
			acked = true;
			latest = h.ts;
		} else if (h.cmd == KCP_PUSH) {
			take_push(k, &h, p, recovered);
		} else if (h.cmd == KCP_WASK) {
			k->probe |= 2;
		}
		segs++;
		p += h.len;
		n -= h.len;
	}
	k->errors--;
	k->segs_in += segs;
	if (acked && !recovered && seq_diff(now, latest) >= 0)
		take_rtt(k, seq_diff(now, latest));
	if (seq_diff(k->una, una) > 0)
		grow(k);
	after(k, flush, now);
	return 0;
}

const uint8_t *sk_peek(const struct sk *k, uint16_t *n)
{
	const struct sk_seg *s = got_at(k, k->rcv_read);

	if (k->rcv_read == k->rcv)
		return NULL;
	*n = s->len;
	return s->data;
}

void sk_read(struct sk *k)
{
	bool full = k->rcv - k->rcv_read >= k->conf.rcv_wnd;
	struct sk_seg *s = got_at(k, k->rcv_read++);

	buf_put(s->data);
	*s = (struct sk_seg){0};
	drain(k);
	if (full && k->rcv - k->rcv_read < k->conf.rcv_wnd)
		k->probe |= 2;
}
