/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "end.h"
#include "wanflow.h"
#include "le.h"
#include "smux_wire.h"
#include "stock_fec.h"
#include "stock_kcp.h"

/*
 * A stock kcptun: its KCP and FEC, and of smux what its sender makes of several streams: one frame at a time, picked
 * when the one before it was accepted by KCP, and then in nobody's way but KCP's.  What Go's scheduler takes is not
 * here; nor are keepalives, and readers take what there is at once.
 */

#define CTL_MAX 256
#define ROOM	64 /* before a datagram in its buffer */

struct frame {
	uint8_t cmd;
	uint8_t i; /* stream */
	uint16_t n;
};

struct str { /* a stream */
	bool open;
	uint64_t sent, consumed; /* what the peer has said that it took */
	uint32_t window;
	uint64_t took, told;
	uint64_t turn; /* 2026: when it last had a frame sent */
};

struct stock_end {
	struct end end; /* first */
	int year;
	struct sk k;
	struct sf fec;
	bool has_fec, known; /* known: conv is */
	uint64_t flush_at;   /* ns: the timer */
	struct str str[1 + FLOW_BULKS];
	unsigned opened;
	struct frame ctl[CTL_MAX]; /* a ring */
	unsigned ctl_head, ctl_n;
	struct frame held; /* picked, not yet accepted */
	bool holds;
	uint64_t turns;
	/* arriving */
	uint8_t head[MUX_HEAD + SMUX_UPD_BODY];
	uint32_t have, want;
	uint32_t body; /* of a PSH, still to come */
	unsigned body_of;
	struct pkt out[1 + FEC_MAX_SHARDS];
	uint8_t *parity[1 + FEC_MAX_SHARDS];
	uint64_t now;
};

static uint32_t ms(uint64_t now)
{
	return (uint32_t)(now / PATH_MS) + 1;
}

/* ---- datagrams ---- */

static void on_dgram(void *arg, uint8_t *p, uint16_t n)
{
	struct stock_end *s = arg;
	unsigned more;

	if (!s->has_fec) {
		end_send(&s->end, p, n, s->now);
		return;
	}
	s->out[0] = (struct pkt){.p = p, .n = n};
	for (unsigned i = 1; i <= s->end.conf.ps; i++)
		s->out[i] = (struct pkt){.p = s->parity[i] + ROOM};
	more = sf_encode(&s->fec, s->out, ms(s->now));
	for (unsigned i = 0; i <= more; i++)
		end_send(&s->end, s->out[i].p, s->out[i].n, s->now);
	s->end.parity += more;
}

/* ---- smux, going out ---- */

static void ctl_put(struct stock_end *s, uint8_t cmd, unsigned i)
{
	if (s->ctl_n == CTL_MAX)
		abort();
	s->ctl[(s->ctl_head + s->ctl_n++) % CTL_MAX] = (struct frame){.cmd = cmd, .i = (uint8_t)i};
}

/* Bytes that a stream's writer has in its hand: what it copied from its socket at once, within the window. */
static uint32_t in_hand(const struct stock_end *s, unsigned i)
{
	const struct str *t = &s->str[i];
	uint64_t n = wf_offer(s->end.flow, s->end.side, i, s->now) - t->sent, most = s->year == 2021 ? 4096 : 8192;

	if (s->end.conf.smuxver == 2) {
		uint64_t out = t->sent - t->consumed, win = t->window > out ? t->window - out : 0;

		most = most < win ? most : win;
	}
	return (uint32_t)(n < most ? n : most);
}

/* Of the writers that wait: in 2021 the one that has sent least, later each in turn. */
static bool pick(struct stock_end *s)
{
	uint64_t least = UINT64_MAX;

	if (s->ctl_n) {
		s->held = s->ctl[s->ctl_head++ % CTL_MAX];
		s->ctl_n--;
		return s->holds = true;
	}
	for (unsigned i = 0; i < 1 + FLOW_BULKS; i++) {
		const struct str *t = &s->str[i];
		uint64_t key = s->year == 2021 ? t->sent : t->turn;
		uint32_t n = t->open && key < least ? in_hand(s, i) : 0;

		if (!n)
			continue;
		least = key;
		s->held = (struct frame){.cmd = SMUX_PSH, .i = (uint8_t)i, .n = (uint16_t)n};
		s->holds = true;
	}
	if (s->holds) {
		s->str[s->held.i].sent += s->held.n;
		s->str[s->held.i].turn = ++s->turns;
	}
	return s->holds;
}

static void write_frame(struct stock_end *s)
{
	const struct frame *f = &s->held;
	struct str *t = &s->str[f->i];
	uint8_t buf[MUX_HEAD + 8192];
	uint32_t n = f->n;

	buf[SMUX_VER] = (uint8_t)s->end.conf.smuxver;
	buf[SMUX_CMD] = f->cmd;
	if (f->cmd == SMUX_PSH) {
		wf_fill(buf + MUX_HEAD, t->sent - f->n, f->n);
	} else if (f->cmd == SMUX_UPD) {
		n = SMUX_UPD_BODY;
		le32_put(buf + MUX_HEAD + SMUX_UPD_CONSUMED, (uint32_t)t->took);
		le32_put(buf + MUX_HEAD + SMUX_UPD_WINDOW, s->end.conf.streambuf);
	}
	le16_put(buf + SMUX_LEN, (uint16_t)n);
	le32_put(buf + SMUX_SID, 3 + 2 * (uint32_t)f->i);
	sk_send(&s->k, buf, MUX_HEAD + n);
	s->holds = false;
}

/* Each accepted write is flushed (wire.md 4.3). */
static void pump(struct stock_end *s)
{
	while ((s->holds || pick(s)) && sk_writable(&s->k)) {
		write_frame(s);
		sk_flush(&s->k, SK_FULL, ms(s->now));
	}
}

/* ---- smux, coming in ---- */

static void told_window(struct stock_end *s, unsigned i)
{
	struct str *t = &s->str[i];
	uint32_t consumed = le32_get(s->head + MUX_HEAD + SMUX_UPD_CONSUMED);

	t->consumed += consumed - (uint32_t)t->consumed;
	t->window = le32_get(s->head + MUX_HEAD + SMUX_UPD_WINDOW);
}

/* A header is whole: it tells what follows it. */
static void on_head(struct stock_end *s)
{
	uint32_t sid = le32_get(s->head + SMUX_SID), i = (sid - 3) / 2;
	bool ours = sid >= 3 && i < 1 + FLOW_BULKS && s->head[SMUX_CMD] != SMUX_NOP;

	s->have = 0;
	s->want = MUX_HEAD;
	if (!ours)
		return;
	if (s->head[SMUX_CMD] == SMUX_SYN) {
		s->str[i].open = true;
		s->str[i].window = MUX_INITIAL_WINDOW;
	} else if (s->head[SMUX_CMD] == SMUX_PSH) {
		s->body = le16_get(s->head + SMUX_LEN);
		s->body_of = i;
	} else if (s->head[SMUX_CMD] == SMUX_UPD) {
		told_window(s, i);
	}
}

/* The reader's part, with the window update that it may owe (wire.md 8.5). */
static void on_body(struct stock_end *s, const uint8_t *p, uint32_t n)
{
	struct str *t = &s->str[s->body_of];
	bool first = t->took == 0;

	wf_got(s->end.flow, s->end.side, s->body_of, p, n, s->now);
	t->took += n;
	s->body -= n;
	if (s->end.conf.smuxver != 2 || (!first && t->took - t->told < s->end.conf.streambuf / 2))
		return;
	t->told = t->took;
	ctl_put(s, SMUX_UPD, s->body_of);
}

static void on_bytes(struct stock_end *s, const uint8_t *p, uint32_t n)
{
	while (n) {
		uint32_t left = s->body ? s->body : s->want - s->have, part = n < left ? n : left;

		if (s->body) {
			on_body(s, p, part);
		} else {
			memcpy(s->head + s->have, p, part);
			s->have += part;
			if (s->have == MUX_HEAD && s->head[SMUX_CMD] == SMUX_UPD)
				s->want = MUX_HEAD + SMUX_UPD_BODY;
			if (s->have == s->want)
				on_head(s);
		}
		p += part;
		n -= part;
	}
}

static void read_all(struct stock_end *s)
{
	const uint8_t *p;
	uint16_t n;

	while ((p = sk_peek(&s->k, &n))) {
		on_bytes(s, p, n);
		sk_read(&s->k);
	}
}

/* ---- the end ---- */

/* A server has its conversation from the first datagram that tells it. */
static bool learn(struct stock_end *s, const uint8_t *p, uint16_t n)
{
	unsigned at = fec_is_fec(p, n) ? FEC_HEAD : 0;

	if (s->known || (at && p[4] != FEC_TYPE_DATA) || n < at + 24)
		return s->known;
	s->k.conv = le32_get(p + at);
	return s->known = true;
}

/* In 2021 a packet was decoded before its own segments were fed to KCP, later after it. */
static void take_fec(struct stock_end *s, uint8_t *p, uint16_t n)
{
	bool data = p[4] == FEC_TYPE_DATA, first = s->year == 2021;

	if (!s->has_fec || n < FEC_HEAD)
		return;
	if (first)
		sf_decode(&s->fec, p, n, ms(s->now));
	if (data)
		sk_input(&s->k, p + FEC_HEAD, n - FEC_HEAD, false, ms(s->now));
	if (!first)
		sf_decode(&s->fec, p, n, ms(s->now));
	for (unsigned i = 0; i < s->fec.got.n_data; i++)
		if (sk_input(&s->k, s->fec.got.data[i].p, s->fec.got.data[i].n, true, ms(s->now)) == 0)
			s->fec.cnt.FECRecovered += first;
}

static void take(struct end *e, uint8_t *p, uint16_t n, uint64_t now)
{
	struct stock_end *s = (struct stock_end *)e;

	s->now = now;
	if (!learn(s, p, n))
		return;
	if (fec_is_fec(p, n))
		take_fec(s, p, n);
	else
		sk_input(&s->k, p, n, false, ms(now));
	read_all(s);
}

static void turn(struct end *e, uint64_t now)
{
	struct stock_end *s = (struct stock_end *)e;
	unsigned want = e->side == CLIENT ? wf_streams(e->flow, now) : 0;

	s->now = now;
	for (; s->opened < want; s->opened++) {
		s->str[s->opened].open = true;
		s->str[s->opened].window = MUX_INITIAL_WINDOW;
		ctl_put(s, SMUX_SYN, s->opened);
	}
	if (now >= s->flush_at) {
		uint32_t delay = sk_flush(&s->k, SK_FULL, ms(now));

		s->flush_at = now + delay * PATH_MS;
	}
	pump(s);
}

static uint64_t next(const struct end *e)
{
	return ((const struct stock_end *)e)->flush_at;
}

static void look(const struct end *e, struct end_look *out)
{
	const struct stock_end *s = (const struct stock_end *)e;

	*out = (struct end_look){
		.in_flight = s->k.nxt - s->k.una,
		.snd_wnd = s->k.rmt < e->conf.sndwnd ? s->k.rmt : e->conf.sndwnd,
		.srtt = (uint32_t)s->k.srtt,
		.segs_out = s->k.segs_out,
		.timeouts = s->k.timeouts,
		.fast = s->k.fast,
		.early = s->k.early,
		.repeats = s->k.repeats,
		.parity = e->parity,
		.recovered = s->has_fec ? s->fec.cnt.FECRecovered : 0,
		.dgrams = e->dgrams,
	};
}

static void end_free(struct end *e)
{
	struct stock_end *s = (struct stock_end *)e;

	if (s->has_fec && s->fec.foreign)
		fprintf(stderr, "wan: a stock peer got %lu FEC packets of another shape, which it cannot read here\n",
			s->fec.foreign);
	sk_fini(&s->k);
	if (s->has_fec)
		sf_fini(&s->fec);
	for (unsigned i = 0; i <= FEC_MAX_SHARDS; i++)
		buf_put(s->parity[i]);
	free(s);
}

struct end *stock_end_new(struct wan_flow *f, int side, const struct end_conf *c, uint64_t seed)
{
	static const struct end_ops ops = {take, turn, next, look, end_free};
	struct stock_end *s = calloc(1, sizeof(*s));
	struct sk_conf kc = {
		.year = c->kind == END_STOCK_2021 ? 2021 : 2026,
		.snd_wnd = c->sndwnd,
		.rcv_wnd = c->rcvwnd,
		.nodelay = c->nodelay,
		.interval = c->interval,
		.resend = c->resend,
		.nc = c->nc,
		.acknodelay = c->acknodelay,
	};

	if (!s)
		abort();
	s->end = (struct end){.ops = &ops, .flow = f, .side = side, .conf = *c};
	s->year = kc.year;
	s->has_fec = c->ds && c->ps;
	s->known = side == CLIENT;
	s->want = MUX_HEAD;
	s->flush_at = f->conf.start + 100 * PATH_MS;
	kc.mtu = c->mtu - WAN_CRYPT_HEAD - (s->has_fec ? FEC_HEAD : 0u);
	sk_init(&s->k, &kc, (uint32_t)seed, on_dgram, s);
	if (s->has_fec)
		sf_init(&s->fec, kc.year, c->ds, c->ps);
	for (unsigned i = 1; s->has_fec && i <= c->ps; i++)
		s->parity[i] = buf_get();
	return &s->end;
}
