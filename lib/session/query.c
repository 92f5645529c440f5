/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "sess.h"

static void row_fill(struct sess *ss, uint64_t now, struct shard_row *r)
{
	memset(r, 0, sizeof(*r));
	r->id = ss->id;
	r->tunnel = (uint16_t)sess_tunnel(ss);
	r->worker = (uint16_t)ss->shard->conf.id;
	r->client = ss->tun->client;
	r->kcpgate_peer = mux_can_half(&ss->mux);
	r->smux = (uint8_t)mux_version(&ss->mux);
	r->snappy = !ss->plain && !ss->plain_open;
	r->key = ss->key;
	r->age_ms = now - ss->born;
	r->idle_ms = now - ss->last_in;
	r->streams = ss->mux.count;
	r->moves = ss->moves;
	r->held = (uint32_t)(mux_held(&ss->mux));
	if (ss->stalled)
		r->waits = ss->lacks_room	    ? "memory"
			   : mux_may_read(&ss->mux) ? "the tunnel's share of chunks"
						    : "smuxbuf: TCP takes too little";
	r->memory = sizeof(*ss) + ss->mem.used + ss->mem_in.used;
	kcp_info(&ss->kcp, &r->kcp);
	kcp_look(&ss->kcp, &r->look);
	r->modelled = sess_is_auto(ss);
	r->pace = (uint64_t)((double)r->look.pace * ss->burden);
	r->limited_by = bound_name(ss, now);
	r->wants_peer_rcvwnd = ss->bound.wants;
	r->path_mtu = ss->pmtu.now;
	r->datagram = (uint16_t)pmtu_payload(ss);
	r->mtu_from = shard_pmtu_name(ss->pmtu.how);
	r->parity_sent = ss->parity_sent;
	r->parity_left = ss->parity_left;
	r->bytes_in = ss->bytes_in;
	r->bytes_out = ss->bytes_out;
	r->parity_in = ss->parity_in;
	r->fec_recovered = ss->fec_recovered;
	if (ss->dec)
		fec_dec_params(ss->dec, &r->fec_ds, &r->fec_ps);
	if (shape_out(ss)) {
		r->sends_ds = fec_codec_ds(shape_out(ss));
		r->sends_ps = fec_codec_ps(shape_out(ss));
	}
	r->unproved = ss->unproved;
	r->in_doubt = ss->doubt;
}

/* Of a stream that waits, the nearest cause. */
static const char *stream_waits(const struct stream *st, const struct mux_stream *ms, const struct shard_stream *r)
{
	if (!(st->flags & ST_UP))
		return "the target's answer to the dial";
	if (ms->flags & MUX_S_STARVED)
		return "the peer's stream window";
	if (r->to_send)
		return "its session";
	return r->to_tcp ? "TCP, which takes too little" : NULL;
}

/* What came and TCP has not taken: in the ring, and in want of chunks before it. */
static uint64_t to_tcp(const struct stream *st)
{
	uint64_t head = atomic_load_explicit(&st->chan->down.head, memory_order_acquire);
	uint64_t n = atomic_load_explicit(&st->chan->down.tail, memory_order_relaxed) - head;
	const struct spill *sp = st->spill;

	while (sp && (sp = sp->next)) {
		n += sp->n - sp->off;
		if (sp == st->spill)
			break;
	}
	return n;
}

static void stream_fill(const struct sess *ss, const struct mux_stream *ms, struct shard_stream *r)
{
	const struct stream *st = ms->user;

	memset(r, 0, sizeof(*r));
	r->id = ms->id;
	r->peer_ends = ms->flags & (MUX_S_FIN_IN | MUX_S_HALF_IN);
	r->closing = ms->flags & MUX_S_FIN;
	r->window = -1;
	if (ss->mux.conf->version == 2)
		r->window = (int64_t)ms->peer_window - (int32_t)(ms->sent - ms->peer_consumed);
	r->to_send = ms->avail;
	if (!st || !st->chan)
		return;
	r->local_ends = st->flags & ST_LOCAL_EOF;
	r->up = atomic_load_explicit(&st->chan->up.tail, memory_order_relaxed);
	r->down = atomic_load_explicit(&st->chan->down.head, memory_order_relaxed);
	r->to_tcp = to_tcp(st);
	r->waits = stream_waits(st, ms, r);
	chan_peer_str(st->chan, r->peer);
}

/* Sessions looked at in one go: each lies somewhere else in memory. */
#define FIND_PORTION 256

/* The session that is asked for, or NULL: it is not among those that were looked at now, q->more tells of others. */
static struct sess *find(struct shard *s, struct shard_query *q)
{
	uint32_t end = q->at + FIND_PORTION;

	for (; q->at < s->n_all && q->at < end; q->at++) {
		if (s->all[q->at]->id == q->id) {
			q->found = true;
			return s->all[q->at];
		}
	}
	/* Where it was found before, it is no more: it has ended, or another's end has moved it. */
	q->more = q->at < s->n_all;
	return NULL;
}

static void tell_session(struct shard *s, struct shard_query *q, uint64_t now)
{
	struct sess *ss = find(s, q);

	if (ss)
		row_fill(ss, now, &q->row[q->n++]);
}

static void tell_streams(struct shard *s, struct shard_query *q)
{
	struct sess *ss = find(s, q);
	struct mux_stream *ms = NULL;

	if (!ss)
		return;
	while (q->n < SHARD_QUERY_ROWS && (ms = mux_each(&ss->mux, &q->cursor)))
		stream_fill(ss, ms, &q->stream[q->n++]);
	q->more = ms != NULL;
}

static void tell_ping(struct shard *s, struct shard_query *q)
{
	struct sess *ss = find(s, q);

	if (ss)
		q->taken = ping_start(ss);
}

static void tell_pong(struct shard *s, struct shard_query *q)
{
	q->found = s->ping.id == q->id;
	q->us = q->found ? s->ping.us : 0;
}

static void do_kick(struct shard *s, struct shard_query *q, uint64_t now)
{
	struct sess *ss = find(s, q);

	if (ss)
		sess_close(ss, DROP_KICKED, now);
}

static void tell_sessions(struct shard *s, struct shard_query *q, uint64_t now)
{
	while (q->n < SHARD_QUERY_ROWS && q->cursor < s->n_all)
		row_fill(s->all[q->cursor++], now, &q->row[q->n++]);
	q->more = q->cursor < s->n_all;
}

struct shard_query *shard_query(struct shard *s)
{
	return &s->query;
}

void shard_answer(struct shard *s, uint64_t now)
{
	struct shard_query *q = &s->query;

	if (atomic_load_explicit(&q->state, memory_order_acquire) != SHARD_Q_ASKED)
		return;
	q->n = 0;
	q->more = q->found = q->taken = false;
	switch (q->what) {
	case SHARD_SESSIONS:
		tell_sessions(s, q, now);
		break;
	case SHARD_SESSION:
		tell_session(s, q, now);
		break;
	case SHARD_STREAMS:
		tell_streams(s, q);
		break;
	case SHARD_PING:
		tell_ping(s, q);
		break;
	case SHARD_PONG:
		tell_pong(s, q);
		break;
	case SHARD_KICK:
		do_kick(s, q, now);
		break;
	}
	atomic_store_explicit(&q->state, SHARD_Q_DONE, memory_order_release);
}
