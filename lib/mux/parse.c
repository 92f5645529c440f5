/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "le.h"
#include "mux.h"
#include "seq.h"
#include "smux_wire.h"
#include "stream.h"

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Fills m->head up to `n` bytes; false when the input ends before. */
static bool gather(struct mux *m, struct slice *in, uint32_t n)
{
	uint32_t k = min32(n - m->have, in->n);

	if (k)
		memcpy(m->head + m->have, in->p, k);
	m->have = (m->have + k) & 0x1f;
	in->p += k;
	in->n -= k;
	return m->have == n;
}

static int broken(struct mux *m)
{
	m->broken = m->dead = true;
	return -EPROTO;
}

static void on_syn(struct mux *m, uint32_t id, struct mux_ev *ev)
{
	if (mux_find(m, id))
		return;
	ev->stream = m->count < m->conf->max_streams ? mux_add(m, id) : NULL;
	ev->type = ev->stream ? MUX_EV_OPEN : MUX_EV_REFUSED;
	if (!ev->stream)
		mux_refuse(m, id);
}

/* The peer writes no more (`why` HALF_IN), or has left (FIN_IN). */
static void on_end(struct mux *m, uint32_t id, uint16_t why, struct mux_ev *ev)
{
	struct mux_stream *s = mux_find(m, id);
	bool told;

	if (!s || s->flags & (why | MUX_S_FIN_IN | MUX_S_GONE))
		return;
	told = !(s->flags & MUX_S_FIN);
	if (why == MUX_S_FIN_IN)
		mux_write_off(m, s, why);
	else
		s->flags |= why;
	if (told) {
		ev->type = why == MUX_S_FIN_IN ? MUX_EV_FIN : MUX_EV_HALF;
		ev->stream = s;
	}
}

static void on_reset(struct mux *m, uint32_t id, struct mux_ev *ev)
{
	on_end(m, id, MUX_S_FIN_IN, ev);
	if (ev->type == MUX_EV_FIN)
		ev->type = MUX_EV_RESET;
}

/* Section 14: nothing of it is known to a stock peer, nor to us when we do not announce it. */
static void on_nop(struct mux *m, uint32_t sid, struct mux_ev *ev)
{
	if (!sid || !m->conf->hello)
		return;
	if (sid <= SMUX_NOP_HALF_MAX) {
		on_end(m, sid, MUX_S_HALF_IN, ev);
	} else if (sid >= SMUX_NOP_RESET) {
		if (sid - SMUX_NOP_RESET <= SMUX_RESET_ID_MAX)
			on_reset(m, sid - SMUX_NOP_RESET, ev);
	} else if (sid & SMUX_HELLO_HALF && !m->peer_half) {
		m->peer_half = true;
		m->peer_resets = sid & SMUX_HELLO_RESET;
		m->peer_answers = sid & SMUX_HELLO_ANSWERS;
		m->peer_roams = sid & SMUX_HELLO_ROAMS;
		ev->type = MUX_EV_HELLO;
	}
}

static void on_upd(struct mux *m, uint32_t id, const uint8_t *body, struct mux_ev *ev)
{
	struct mux_stream *s = mux_find(m, id);
	uint32_t consumed = le32_get(body + SMUX_UPD_CONSUMED), before;

	if (!s || s->flags & (MUX_S_GONE | MUX_S_FIN_IN | MUX_S_BROKEN))
		return;
	if (seq_diff(s->sent, consumed) < 0) {
		mux_write_off(m, s, MUX_S_BROKEN);
		ev->type = MUX_EV_BROKEN;
	} else {
		before = mux_credit(m, s);
		s->peer_consumed = consumed;
		s->peer_window = le32_get(body + SMUX_UPD_WINDOW);
		mux_ready(m, s);
		ev->type = !before && mux_credit(m, s) ? MUX_EV_CREDIT : MUX_EV_NONE;
	}
	if (s->flags & MUX_S_FIN)
		ev->type = MUX_EV_NONE;
	else if (ev->type != MUX_EV_NONE)
		ev->stream = s;
}

/* Up to n bytes of the present PSH: an event where somebody waits for them. */
static void on_body(struct mux *m, struct slice *in, struct mux_ev *ev)
{
	uint32_t n = min32(m->body, in->n);
	struct mux_stream *s = m->body_of;

	if (s && s->flags & MUX_S_FIN) {
		mux_consumed(m, s, n);
	} else if (s && !(s->flags & (MUX_S_FIN_IN | MUX_S_HALF_IN))) {
		s->held += n;
		m->bucket -= n;
		*ev = (struct mux_ev){MUX_EV_DATA, s, {in->p, n}};
	}
	in->p += n;
	in->n -= n;
	m->body -= (uint16_t)n;
}

/* At a server, of a stream.  Who speaks of one and has opened none here is no client. */
static void on_word(struct mux *m)
{
	if (m->head[SMUX_CMD] == SMUX_SYN)
		m->opened = true;
	m->said = m->said || m->opened;
}

/* A whole header, with a UPD's body.  SYN, FIN and NOP have none whatever their length says (wire.md 8.1). */
static void on_frame(struct mux *m, struct mux_ev *ev)
{
	uint32_t sid = le32_get(m->head + SMUX_SID);

	if (!m->conf->client && m->head[SMUX_CMD] != SMUX_NOP)
		on_word(m);
	switch (m->head[SMUX_CMD]) {
	case SMUX_SYN:
		on_syn(m, sid, ev);
		break;
	case SMUX_FIN:
		on_end(m, sid, MUX_S_FIN_IN, ev);
		break;
	case SMUX_PSH:
		m->body = le16_get(m->head + SMUX_LEN);
		if (!m->body_of || m->body_of->id != sid) /* one stream's frames come in rows */
			m->body_of = mux_find(m, sid);
		break;
	case SMUX_NOP:
		on_nop(m, sid, ev);
		break;
	case SMUX_UPD:
		on_upd(m, sid, m->head + MUX_HEAD, ev);
		break;
	}
}

bool mux_hear(struct mux *m, uint8_t version)
{
	if (version != 1 && version != 2)
		return false;
	if (m->conf->version && version != m->conf->version)
		return false;
	m->version = version & 3;
	return true;
}

/* Checks a header that has just become complete. */
static int on_head(struct mux *m)
{
	enum smux_cmd cmd = m->head[SMUX_CMD];

	m->frames_in++;
	if (!m->version && !mux_hear(m, m->head[SMUX_VER]))
		return broken(m);
	if (m->head[SMUX_VER] != m->version || cmd > SMUX_UPD || (cmd == SMUX_UPD && m->version == 1))
		return broken(m);
	/* A server answers with its HELLO; a client's follows its first SYN. */
	if (m->conf->hello && !m->conf->client && !m->hello_sent)
		m->hello_due = true;
	return 0;
}

int mux_next(struct mux *m, struct slice *in, struct mux_ev *ev)
{
	*ev = (struct mux_ev){MUX_EV_NONE};
	if (m->broken)
		return -EPROTO;
	while (ev->type == MUX_EV_NONE && in->n) {
		if (m->body) {
			on_body(m, in, ev);
			continue;
		}
		if (m->have < MUX_HEAD) {
			if (!gather(m, in, MUX_HEAD))
				return 0;
			if (on_head(m))
				return -EPROTO;
		}
		if (m->head[SMUX_CMD] == SMUX_UPD && !gather(m, in, MUX_HEAD + SMUX_UPD_BODY))
			return 0;
		m->have = 0;
		on_frame(m, ev);
	}
	return 0;
}
