/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "end.h"
#include "wanflow.h"

/*
 * A competitor like the kernel's TCP: Cubic or Reno, selective acknowledgement of each segment, loss told by later
 * transmissions, one reduction a round trip, a retransmission timer, slow start that ends when the delay rises.  Its
 * sender is the end that the flow's bulk comes from; segments carry numbers and no bytes.
 */

#define MSS	  1448u
#define HEADERS	  (42u + 32u - 8u) /* Ethernet, IPv4, TCP with timestamps */
#define SLOTS	  65536u	   /* segments in flight at most: a power of two */
#define DUP	  3u		   /* transmissions acknowledged behind one that is lost */
#define RTO_LEAST (200 * PATH_MS)

struct seg {
	uint64_t sent; /* when, and as which transmission */
	uint32_t xid;
	bool acked, lost;
};

struct tcp_end {
	struct end end; /* first */
	bool sends;
	/* sender */
	struct seg *seg;
	uint32_t una, nxt, out; /* out: in flight by our reckoning */
	uint32_t xid, top_xid, lost_from;
	uint32_t n_lost;
	double cwnd, ssthresh, w_max, w_tcp, w_epoch;
	uint64_t epoch; /* Cubic's, 0: none */
	uint32_t recover;
	bool recovering;
	uint64_t srtt, rttvar, rtt_least, rtt_round;
	uint32_t round_end;
	uint64_t rto_at;
	unsigned backoff;
	uint64_t segs, timeouts, fast;
	/* receiver */
	uint8_t *got;
	uint32_t rcv;
	uint64_t repeats;
};

struct wire { /* what a packet carries */
	uint32_t sn, xid, cum;
	uint32_t is_ack;
	uint64_t stamp;
};

static void put(struct tcp_end *t, const struct wire *w, uint64_t now)
{
	struct wan_flow *f = t->end.flow;
	uint32_t wire = HEADERS + (w->is_ack ? 0 : MSS);

	t->end.dgrams++;
	f->sent_bytes[t->end.side] += wire;
	path_send(f->out[t->end.side], w, sizeof(*w), wire, f->id, f->conf.delay, now);
}

/* ---- receiver ---- */

static void receive(struct tcp_end *t, const struct wire *w, uint64_t now)
{
	uint32_t was = t->rcv;
	struct wire ack = {.sn = w->sn, .xid = w->xid, .is_ack = 1, .stamp = w->stamp};

	if ((int32_t)(w->sn - t->rcv) < 0 || t->got[w->sn % SLOTS])
		t->repeats++;
	else
		t->got[w->sn % SLOTS] = 1;
	for (; t->got[t->rcv % SLOTS]; t->rcv++)
		t->got[t->rcv % SLOTS] = 0;
	if (t->rcv != was)
		wf_count(t->end.flow, (uint64_t)(t->rcv - was) * MSS, now);
	ack.cum = t->rcv;
	put(t, &ack, now);
}

/* ---- sender ---- */

static struct seg *seg_at(struct tcp_end *t, uint32_t sn)
{
	return &t->seg[sn % SLOTS];
}

static uint64_t rto(const struct tcp_end *t)
{
	uint64_t r = t->srtt ? t->srtt + 4 * t->rttvar : PATH_S;

	return (r > RTO_LEAST ? r : RTO_LEAST) << (t->backoff < 6 ? t->backoff : 6);
}

static void transmit(struct tcp_end *t, uint32_t sn, uint64_t now)
{
	struct seg *s = seg_at(t, sn);

	*s = (struct seg){.sent = now, .xid = ++t->xid};
	t->out++;
	t->segs++;
	put(t, &(struct wire){.sn = sn, .xid = s->xid, .stamp = now}, now);
	if (t->rto_at == PATH_NEVER)
		t->rto_at = now + rto(t);
}

static void send_all(struct tcp_end *t, uint64_t now)
{
	while (t->n_lost && t->out < (uint32_t)t->cwnd) {
		for (; !seg_at(t, t->lost_from)->lost; t->lost_from++)
			;
		t->n_lost--;
		transmit(t, t->lost_from++, now);
	}
	while (t->out < (uint32_t)t->cwnd && t->nxt - t->una < SLOTS - 1)
		transmit(t, t->nxt++, now);
}

static void reduce(struct tcp_end *t)
{
	bool cubic = t->end.conf.kind == END_CUBIC;

	t->recovering = true;
	t->recover = t->nxt;
	t->w_max = t->cwnd < t->w_max ? t->cwnd * 0.85 : t->cwnd; /* fast convergence */
	t->ssthresh = fmax(2, t->cwnd * (cubic ? 0.7 : 0.5));
	t->cwnd = t->ssthresh;
	t->epoch = 0;
}

/* What was sent so many transmissions before one that has arrived, and has not, is lost. */
static void find_lost(struct tcp_end *t)
{
	bool any = false;

	for (uint32_t sn = t->una; sn != t->nxt; sn++) {
		struct seg *s = seg_at(t, sn);

		if (s->acked || s->lost || (int32_t)(t->top_xid - s->xid) < (int32_t)DUP)
			continue;
		s->lost = true;
		t->n_lost++;
		t->out--;
		t->fast++;
		any = true;
		if ((int32_t)(sn - t->lost_from) < 0)
			t->lost_from = sn;
	}
	if (any && !t->recovering)
		reduce(t);
}

/* Cubic's window (RFC 9438), in segments; never below what Reno would have. */
static void grow_cubic(struct tcp_end *t, uint64_t now)
{
	double rtt = (double)t->srtt / PATH_S, k, at, want;

	if (!t->epoch) {
		t->epoch = now;
		t->w_tcp = t->w_epoch = t->cwnd;
		if (t->w_max < t->cwnd)
			t->w_max = t->cwnd;
	}
	k = cbrt((t->w_max - t->w_epoch) / 0.4);
	at = (double)(now - t->epoch) / PATH_S + rtt - k;
	want = 0.4 * at * at * at + t->w_max;
	t->w_tcp += 0.53 / t->cwnd;
	want = fmax(want, t->w_tcp);
	if (want > t->cwnd)
		t->cwnd += fmin((want - t->cwnd) / t->cwnd, 0.5);
}

static void grow(struct tcp_end *t, uint64_t now)
{
	if (t->recovering)
		return;
	if (t->cwnd < t->ssthresh) {
		uint64_t rise = t->rtt_least / 8 > 4 * PATH_MS ? t->rtt_least / 8 : 4 * PATH_MS;

		t->cwnd += 1;
		if (t->cwnd > 16 && t->rtt_round > t->rtt_least + rise)
			t->ssthresh = t->cwnd;
	} else if (t->end.conf.kind == END_CUBIC) {
		grow_cubic(t, now);
	} else {
		t->cwnd += 1 / t->cwnd;
	}
}

static void take_rtt(struct tcp_end *t, uint64_t rtt, uint32_t sn)
{
	uint64_t d = rtt > t->srtt ? rtt - t->srtt : t->srtt - rtt;

	if ((int32_t)(sn - t->round_end) >= 0) {
		t->round_end = t->nxt;
		t->rtt_round = rtt;
	}
	t->rtt_round = rtt < t->rtt_round ? rtt : t->rtt_round;
	t->rtt_least = !t->rtt_least || rtt < t->rtt_least ? rtt : t->rtt_least;
	t->rttvar = t->srtt ? (3 * t->rttvar + d) / 4 : rtt / 2;
	t->srtt = t->srtt ? (7 * t->srtt + rtt) / 8 : rtt;
}

static void leave(struct tcp_end *t, struct seg *s)
{
	if (s->acked)
		return;
	if (s->lost)
		t->n_lost--;
	else
		t->out--;
	s->acked = true;
	s->lost = false;
}

static void acked(struct tcp_end *t, const struct wire *w, uint64_t now)
{
	bool new = (int32_t)(w->sn - t->una) >= 0 && !seg_at(t, w->sn)->acked;

	take_rtt(t, now - w->stamp, w->sn);
	if ((int32_t)(w->sn - t->una) >= 0)
		leave(t, seg_at(t, w->sn));
	if ((int32_t)(w->xid - t->top_xid) > 0)
		t->top_xid = w->xid;
	if ((int32_t)(w->cum - t->una) > 0) {
		for (; t->una != w->cum; t->una++)
			leave(t, seg_at(t, t->una));
		t->backoff = 0;
		t->rto_at = now + rto(t);
		if ((int32_t)(t->lost_from - t->una) < 0)
			t->lost_from = t->una;
	}
	if (t->recovering && (int32_t)(t->una - t->recover) >= 0)
		t->recovering = false;
	find_lost(t);
	if (new)
		grow(t, now);
	send_all(t, now);
}

static void timeout(struct tcp_end *t, uint64_t now)
{
	t->timeouts++;
	t->backoff++;
	reduce(t);
	t->cwnd = 1;
	for (uint32_t sn = t->una; sn != t->nxt; sn++) {
		struct seg *s = seg_at(t, sn);

		if (s->acked || s->lost)
			continue;
		s->lost = true;
		t->n_lost++;
		t->out--;
	}
	t->recovering = false;
	t->lost_from = t->una;
	t->rto_at = now + rto(t);
	send_all(t, now);
}

/* ---- the end ---- */

static void take(struct end *e, uint8_t *p, uint16_t n, uint64_t now)
{
	struct tcp_end *t = (struct tcp_end *)e;
	struct wire w;

	memcpy(&w, p, sizeof(w));
	if (w.is_ack)
		acked(t, &w, now);
	else
		receive(t, &w, now);
}

static void turn(struct end *e, uint64_t now)
{
	struct tcp_end *t = (struct tcp_end *)e;

	if (!t->sends || now < e->flow->conf.start + e->flow->conf.lead)
		return;
	if (!t->nxt)
		send_all(t, now);
	if (now >= t->rto_at)
		timeout(t, now);
}

static uint64_t next(const struct end *e)
{
	const struct tcp_end *t = (const struct tcp_end *)e;

	return t->sends ? t->rto_at : PATH_NEVER;
}

static void look(const struct end *e, struct end_look *out)
{
	const struct tcp_end *t = (const struct tcp_end *)e;

	*out = (struct end_look){
		.in_flight = t->out,
		.snd_wnd = (uint32_t)t->cwnd,
		.srtt = (uint32_t)(t->srtt / PATH_MS),
		.segs_out = t->segs,
		.timeouts = t->timeouts,
		.fast = t->fast,
		.repeats = t->repeats,
		.dgrams = e->dgrams,
	};
}

static void end_free(struct end *e)
{
	struct tcp_end *t = (struct tcp_end *)e;

	free(t->seg);
	free(t->got);
	free(t);
}

struct end *tcp_end_new(struct wan_flow *f, int side, const struct end_conf *conf, uint64_t seed)
{
	static const struct end_ops ops = {take, turn, next, look, end_free};
	struct tcp_end *t = calloc(1, sizeof(*t));

	(void)seed;
	if (!t)
		abort();
	t->end = (struct end){.ops = &ops, .flow = f, .side = side, .conf = *conf};
	t->sends = (side == CLIENT) == f->conf.up;
	t->seg = calloc(SLOTS, sizeof(*t->seg));
	t->got = calloc(SLOTS, 1);
	if (!t->seg || !t->got)
		abort();
	t->cwnd = 10;
	t->ssthresh = 1e9;
	t->rto_at = PATH_NEVER;
	return &t->end;
}
