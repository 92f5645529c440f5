/* SPDX-License-Identifier: MIT */
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
	if (ss->dec)
		fec_dec_params(ss->dec, &r->fec_ds, &r->fec_ps);
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
	while (q->n < SHARD_QUERY_ROWS && q->cursor < s->n_all)
		row_fill(s->all[q->cursor++], now, &q->row[q->n++]);
	q->more = q->cursor < s->n_all;
	atomic_store_explicit(&q->state, SHARD_Q_DONE, memory_order_release);
}
