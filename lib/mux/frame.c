/* SPDX-License-Identifier: MIT */
#include "le.h"
#include "mux.h"
#include "smux_wire.h"
#include "stream.h"

/* The header of a frame with `len` bytes of payload. */
static bool head(const struct mux *m, struct mux_out *o, enum smux_cmd cmd, uint32_t sid, uint32_t len)
{
	o->head[SMUX_VER] = m->version;
	o->head[SMUX_CMD] = (uint8_t)cmd;
	le16_put(o->head + SMUX_LEN, (uint16_t)len);
	le32_put(o->head + SMUX_SID, sid);
	o->head_n = MUX_HEAD;
	return true;
}

/* How a stream that failed is ended (section 14): by nothing where bytes were lost and the peer knows no word for it.
 */
static bool out_reset(const struct mux *m, struct mux_out *o, uint32_t sid, bool lost)
{
	if (m->peer_resets && sid <= SMUX_RESET_ID_MAX)
		return head(m, o, SMUX_NOP, SMUX_NOP_RESET | sid, 0);
	return lost ? true : head(m, o, SMUX_FIN, sid, 0);
}

/* Ends of streams that were never let in.  The ring goes back with its last. */
static bool out_refused(struct mux *m, struct mux_out *o)
{
	struct mux_refused *r = m->refused;
	uint32_t id = r->id[r->at];

	r->at = (r->at + 1) % MUX_REFUSED_MAX;
	if (!--r->n) {
		mem_put(m->mem, r, sizeof(*r));
		m->refused = NULL;
	}
	return out_reset(m, o, id, false);
}

/* The SYN of a stream, or its UPD; a stream with both comes back for the second. */
static bool out_ctl(struct mux *m, struct mux_out *o)
{
	struct mux_stream *s = container_of(list_pop(&m->ctl), struct mux_stream, ctl);

	if (s->flags & MUX_S_SYN) {
		s->flags &= ~MUX_S_SYN;
		if (s->flags & MUX_S_UPD)
			list_add_tail(&m->ctl, &s->ctl);
		if (m->conf->hello && m->conf->client && !m->hello_sent)
			m->hello_due = true;
		return head(m, o, SMUX_SYN, s->id, 0);
	}
	s->flags &= ~MUX_S_UPD;
	s->told = s->taken;
	head(m, o, SMUX_UPD, s->id, SMUX_UPD_BODY);
	le32_put(o->head + MUX_HEAD + SMUX_UPD_CONSUMED, s->taken);
	le32_put(o->head + MUX_HEAD + SMUX_UPD_WINDOW, mux_streambuf(m));
	o->head_n += SMUX_UPD_BODY;
	return true;
}

static bool out_psh(struct mux *m, struct mux_stream *s, uint32_t n, struct mux_out *o)
{
	s->avail -= n;
	s->sent += n;
	mux_ready(m, s);
	o->n = n;
	o->user = s->user;
	return head(m, o, SMUX_PSH, s->id, n);
}

/* The turn of the next stream that may send: payload, or what follows the last of it. */
static bool out_run(struct mux *m, struct mux_out *o)
{
	uint32_t n;
	struct mux_stream *s = mux_turn(m, &n);

	if (n)
		return out_psh(m, s, n, o);
	if (s->flags & MUX_S_FIN) { /* which says as much as a half-close */
		if (s->flags & MUX_S_RESET)
			out_reset(m, o, s->id, s->flags & MUX_S_LOST);
		else
			head(m, o, SMUX_FIN, s->id, 0);
		o->user = s->user;
		o->last = !(s->flags & MUX_S_GONE);
		mux_forget(m, s);
		return true;
	}
	s->flags = (uint16_t)((s->flags & ~MUX_S_HALF) | MUX_S_HALFSENT);
	return head(m, o, SMUX_NOP, s->id, 0);
}

/* What this end can do.  Only servers are asked. */
static uint32_t hello(const struct mux *m)
{
	return SMUX_NOP_HELLO | SMUX_HELLO_HALF | SMUX_HELLO_RESET |
	       (m->conf->client ? 0 : SMUX_HELLO_ANSWERS | SMUX_HELLO_ROAMS);
}

static bool runs(const struct mux *m)
{
	return !list_empty(&m->run) && !m->holds;
}

bool mux_out(struct mux *m, struct mux_out *o)
{
	*o = (struct mux_out){};
	if (!m->version)
		return false;
	if (m->hello_due) {
		m->hello_due = false;
		m->hello_sent = true;
		return head(m, o, SMUX_NOP, hello(m), 0);
	}
	if (m->nop) {
		m->nop = false;
		return head(m, o, SMUX_NOP, 0, 0);
	}
	if (m->refused)
		return out_refused(m, o);
	if (!list_empty(&m->ctl))
		return out_ctl(m, o);
	if (runs(m))
		return out_run(m, o);
	return false;
}

bool mux_pending(const struct mux *m)
{
	return m->version && (m->hello_due || m->nop || m->refused || !list_empty(&m->ctl) || runs(m));
}
