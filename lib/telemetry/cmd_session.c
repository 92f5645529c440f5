/* SPDX-License-Identifier: MIT */

/* /kcpgate/sessions, /kcpgate/session and /kcpgate/streams: asked of the workers, a page at a time. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd_int.h"

/* Rows of one answer: DPDK's has 16 KiB. */
#define PAGE_ROWS    13
#define PAGE_STREAMS 40

#define ANSWER_SOON  20	  /* a worker that is awake answers at once: so often it is looked after 50 us, */
#define ANSWER_TURNS 2020 /* and in all, 1 ms apart */
#define NO_ANSWER    "a worker does not answer"

/* What a session sends, and what keeps it from sending more.  Of stock's congestion control the model's are 0. */
static void dict_sending(struct rte_tel_data *d, const struct shard_row *r)
{
	const struct kcp_look *k = &r->look;

	rte_tel_data_add_dict_string(d, "congestion", r->modelled ? "auto" : "stock");
	rte_tel_data_add_dict_string(d, "limited_by", r->limited_by);
	dict_u64(d, "path_mtu", r->path_mtu);
	dict_u64(d, "datagram", r->datagram);
	rte_tel_data_add_dict_string(d, "mtu_from", r->mtu_from);
	dict_u64(d, "pacing_bps", r->pace * 8);
	dict_u64(d, "bandwidth_bps", k->rate * 8);
	dict_u64(d, "min_rtt_us", k->min_rtt);
	dict_u64(d, "queue_us", k->queue);
	dict_u64(d, "in_flight", k->flight);
	dict_u64(d, "cwnd", k->cwnd);
	dict_u64(d, "snd_wnd", k->snd_wnd);
	dict_u64(d, "snd_span", k->span);
	dict_u64(d, "rcv_wnd", k->rcv_wnd);
	dict_u64(d, "wants_peer_rcvwnd", r->wants_peer_rcvwnd);
	dict_u64(d, "retrans", (uint64_t)k->again_fast + k->again_early + k->again_late);
	dict_u64(d, "retrans_fast", k->again_fast);
	dict_u64(d, r->modelled ? "retrans_twice" : "retrans_early", k->again_early);
	dict_u64(d, r->modelled ? "retrans_probe" : "retrans_timeout", k->again_late);
	dict_u64(d, "retrans_needless", k->needless);
	dict_u64(d, "parity_sent", r->parity_sent);
	dict_u64(d, "parity_left_out", r->parity_left);
	dict_u64(d, "parity_in", r->parity_in);
	dict_u64(d, "fec_recovered", r->fec_recovered);
}

/* A peer's address, a link-local one with its port. */
static void peer_text(const struct tlm_src *src, const struct flow_key *key, char *buf, size_t n)
{
	char text[ADDR_STRLEN];

	if (!key->dev || key->dev > src->conf->n_ports) {
		snprintf(buf, n, "%s", addr_port_str(&key->peer, key->peer_port, text));
		return;
	}
	snprintf(buf, n, "[%s%%%s]:%u", addr_str(&key->peer, text), src->conf->ports[key->dev - 1].name,
		 key->peer_port);
}

static void session_fill(struct rte_tel_data *d, const struct tlm_src *src, const struct shard_row *r)
{
	char text[ADDR_STRLEN], peer[ADDR_STRLEN + CONF_NAME_MAX];

	peer_text(src, &r->key, peer, sizeof(peer));
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "tunnel", src->conf->tunnels[r->tunnel].name);
	rte_tel_data_add_dict_string(d, "peer", peer);
	rte_tel_data_add_dict_string(d, "local", addr_port_str(&r->key.local, r->key.local_port, text));
	rte_tel_data_add_dict_string(d, "peer_is", r->kcpgate_peer ? "kcpgate" : "stock");
	dict_u64(d, "smux", r->smux);
	dict_u64(d, "worker", r->worker);
	dict_u64(d, "conv", r->kcp.conv);
	dict_u64(d, "age_ms", r->age_ms);
	dict_u64(d, "idle_ms", r->idle_ms);
	dict_u64(d, "moves", r->moves);
	dict_u64(d, "streams", r->streams);
	dict_u64(d, "held_bytes", r->held);
	rte_tel_data_add_dict_string(d, "reading_waits_for", r->waits ? r->waits : "");
	dict_u64(d, "memory", r->memory);
	dict_u64(d, "srtt_ms", r->kcp.srtt);
	dict_u64(d, "rto_ms", r->kcp.rto);
	dict_u64(d, "rmt_wnd", r->kcp.rmt_wnd);
	dict_u64(d, "snd_buf", r->kcp.snd_buf);
	dict_u64(d, "snd_queue", r->kcp.snd_queue);
	dict_u64(d, "rcv_buf", r->kcp.rcv_buf);
	dict_u64(d, "rcv_queue", r->kcp.rcv_queue);
	dict_u64(d, "segs_out", r->kcp.snd_nxt);
	dict_u64(d, "segs_in", r->kcp.rcv_nxt);
	dict_u64(d, "bytes_in", r->bytes_in);
	dict_u64(d, "bytes_out", r->bytes_out);
	dict_sending(d, r);
}

static struct rte_tel_data *session_dict(const struct tlm_src *src, const struct shard_row *r)
{
	struct rte_tel_data *d = rte_tel_data_alloc();

	if (d)
		session_fill(d, src, r);
	return d;
}

static void dict_shape(struct rte_tel_data *d, const char *name, unsigned ds, unsigned ps)
{
	char text[24];

	snprintf(text, sizeof(text), "%u/%u", ds, ps);
	rte_tel_data_add_dict_string(d, name, ds ? text : "off");
}

/* What a row of many has no room for. */
static void session_more(struct rte_tel_data *d, const struct tlm_src *src, const struct shard_row *r)
{
	const struct conf_tunnel *t = &src->conf->tunnels[r->tunnel];
	char id[24];

	snprintf(id, sizeof(id), "%llu", (unsigned long long)r->id);
	rte_tel_data_add_dict_string(d, "id", id); /* beyond what JSON's readers take for a number whole */
	rte_tel_data_add_dict_string(d, "role", r->client ? "client" : "server");
	rte_tel_data_add_dict_string(d, "crypt", t->crypt);
	rte_tel_data_add_dict_string(d, "mode", t->mode);
	dict_bool(d, "compressed", r->snappy);
	dict_shape(d, "fec_in", r->fec_ds, r->fec_ps);
	dict_shape(d, "fec_out", r->sends_ds, r->sends_ps);
	/* Of a group that lost nothing, parity came for nothing. */
	dict_u64(d, "parity_in_wasted", r->parity_in > r->fec_recovered ? r->parity_in - r->fec_recovered : 0);
	dict_u64(d, "rttvar_ms", r->kcp.rttvar);
	dict_u64(d, "acks_waiting", r->kcp.acks);
	dict_u64(d, "ratelimit", t->ratelimit);
	dict_u64(d, "bandwidth_up_bps", t->bandwidth.up);
	dict_u64(d, "bandwidth_down_bps", t->bandwidth.down);
	dict_u64(d, "conf_sndwnd", t->sndwnd);
	dict_u64(d, "conf_rcvwnd", t->rcvwnd);
	if (r->client)
		return;
	dict_bool(d, "proved", !r->unproved);
	dict_bool(d, "in_doubt", r->in_doubt);
}

/* Waits until the worker owes no answer: its turns are short, but it may be stopped in a debugger. */
static int await_answer(struct shard_query *q)
{
	for (unsigned i = 0; i < ANSWER_TURNS; i++) {
		const struct timespec pause = {.tv_nsec = i < ANSWER_SOON ? 50000 : 1000000};

		if (atomic_load_explicit(&q->state, memory_order_acquire) != SHARD_Q_ASKED)
			return 0;
		nanosleep(&pause, NULL);
	}
	return -ETIMEDOUT;
}

struct question {
	enum shard_what what;
	uint64_t id;
	uint32_t cursor, at;
};

/* Puts a question to a worker; one that was given up on must have been answered first. */
static int ask(struct shard_query *q, const struct question *a)
{
	if (await_answer(q))
		return -ETIMEDOUT;
	q->what = a->what;
	q->id = a->id;
	q->cursor = a->cursor;
	q->at = a->at;
	atomic_store_explicit(&q->state, SHARD_Q_ASKED, memory_order_release);
	return await_answer(q);
}

static void heard(struct shard_query *q)
{
	atomic_store_explicit(&q->state, SHARD_Q_IDLE, memory_order_release);
}

int tlm_sessions(const struct tlm_src *src, unsigned w, uint32_t *cursor, bool *more,
		 void (*fn)(void *ctx, const struct shard_row *row), void *ctx)
{
	struct shard_query *q = shard_query(src->shards[w]);
	int ret;

	tlm_lock(); /* two askers would take each other's answers */
	ret = ask(q, &(struct question){.what = SHARD_SESSIONS, .cursor = *cursor});
	for (unsigned i = 0; ret == 0 && i < q->n; i++)
		fn(ctx, &q->row[i]);
	if (ret == 0) {
		*cursor = q->cursor;
		*more = q->more;
		heard(q);
	}
	tlm_unlock();
	return ret;
}

/* Rows of one worker from its cursor on, into the page.  Returns how many; *more tells whether the worker has others.
 */
static int page_fill(const struct tlm_src *src, unsigned w, int tunnel, struct rte_tel_data *rows, unsigned room,
		     uint32_t *cursor, bool *more)
{
	struct shard_query *q = shard_query(src->shards[w]);
	unsigned used = 0;

	*more = true;
	while (*more && used < room) {
		uint32_t at = *cursor;

		if (ask(q, &(struct question){.what = SHARD_SESSIONS, .cursor = at}))
			return -ETIMEDOUT;
		*more = q->more;
		*cursor = q->cursor;
		for (unsigned i = 0; i < q->n; i++) {
			char id[24];

			if (tunnel >= 0 && q->row[i].tunnel != tunnel)
				continue;
			if (used == room) { /* the page ends within this portion */
				*cursor = at + i;
				*more = true;
				break;
			}
			snprintf(id, sizeof(id), "%llu", (unsigned long long)q->row[i].id);
			tlm_row(rows, id, session_dict(src, &q->row[i]));
			used++;
		}
		heard(q);
	}
	return (int)used;
}

/* "[TUNNEL][,WORKER.CURSOR]": a page of rows by session id; `next`, where there is more, is what to ask with. */
int tlm_cmd_sessions(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	size_t len = params ? strcspn(params, ",") : 0;
	int tunnel = tlm_tunnel(src, params, len);
	const char *at = params && params[len] ? params + len + 1 : NULL;
	uint64_t w = 0, from = 0;
	unsigned used = 0;
	bool more = false;
	uint32_t cursor;
	char next[32];

	if (tunnel < 0 && len)
		return tlm_sorry(d, "found %s; allowed: the name of a tunnel, or nothing", params);
	if (at && (!tlm_number(&at, '.', &w) || !tlm_number(&at, '\0', &from) || from > UINT32_MAX))
		return tlm_sorry(d, "found %s; allowed: behind the comma what `next` was", params);
	rte_tel_data_start_dict(d);
	for (cursor = (uint32_t)from; w < src->n_workers; w++, cursor = 0) {
		int n = page_fill(src, (unsigned)w, tunnel, d, PAGE_ROWS - used, &cursor, &more);

		if (n < 0) { /* DPDK would leak the rows of an answer that fails */
			rte_tel_data_add_dict_string(d, "error", NO_ANSWER);
			return 0;
		}
		used += (unsigned)n;
		if (more)
			break;
	}
	if (more) {
		snprintf(next, sizeof(next), "%llu.%u", (unsigned long long)w, cursor);
		rte_tel_data_add_dict_string(d, "next", next);
	}
	return 0;
}

/* ---- one of them ---- */

/* The worker whose session it is, or NULL. */
static struct shard_query *whose(const struct tlm_src *src, uint64_t id)
{
	uint64_t w = id >> SHARD_ID_WORKER;

	return w < src->n_workers ? shard_query(src->shards[w]) : NULL;
}

static int no_session(struct rte_tel_data *d, const char *params)
{
	return tlm_sorry(d, "no session %s (/kcpgate/sessions tells which there are)", params);
}

/* "ID": all that is known of a session. */
int tlm_cmd_session(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	struct question a = {.what = SHARD_SESSION};
	struct shard_query *q;
	const char *at = params;
	bool more, found = false;

	if (!params || !tlm_number(&at, '\0', &a.id))
		return tlm_sorry(d, "found %s; allowed: the id of a session", params ? params : "");
	q = whose(src, a.id);
	do {
		if (q && ask(q, &a))
			return tlm_sorry(d, NO_ANSWER);
		more = q && q->more;
		if (q && q->n) {
			found = true;
			session_fill(d, src, &q->row[0]);
			session_more(d, src, &q->row[0]);
		}
		if (q) {
			a.at = q->at;
			heard(q);
		}
	} while (more);
	return found ? 0 : no_session(d, params);
}

static struct rte_tel_data *stream_dict(const struct shard_stream *s)
{
	struct rte_tel_data *d = rte_tel_data_alloc();

	if (!d)
		return NULL;
	rte_tel_data_start_dict(d);
	dict_u64(d, "stream", s->id);
	rte_tel_data_add_dict_string(d, "from", s->peer);
	rte_tel_data_add_dict_string(d, "state",
				     s->closing			     ? "closing"
				     : s->local_ends && s->peer_ends ? "ended"
				     : s->local_ends		     ? "TCP has ended"
				     : s->peer_ends		     ? "peer has ended"
								     : "open");
	rte_tel_data_add_dict_string(d, "waits_for", s->waits ? s->waits : "");
	dict_u64(d, "bytes_from_tcp", s->up);
	dict_u64(d, "bytes_to_tcp", s->down);
	dict_u64(d, "to_send", s->to_send);
	dict_u64(d, "held_for_tcp", s->to_tcp);
	if (s->window >= 0)
		dict_u64(d, "peer_window", (uint64_t)s->window);
	return d;
}

/* Rows of a portion, from the first that is not told yet. */
static unsigned portion(struct rte_tel_data *d, const struct shard_query *q, unsigned skip, unsigned room)
{
	unsigned n = 0;

	for (unsigned i = skip; i < q->n && n < room; i++, n++) {
		char id[16];

		snprintf(id, sizeof(id), "%u", q->stream[i].id);
		tlm_row(d, id, stream_dict(&q->stream[i]));
	}
	return n;
}

/*
 * "ID[,CURSOR.SKIP]": a page of a session's streams by their ids; `next` as ever.  A page may end within a worker's
 * portion: the next one asks for that portion again, and passes over what was told.
 */
int tlm_cmd_streams(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	struct question a = {.what = SHARD_STREAMS};
	uint64_t cursor = 0, skip = 0;
	const char *at = params;
	struct shard_query *q;
	unsigned used = 0;
	bool found = false, more = true;
	char next[32];

	if (!params || !tlm_number(&at, ',', &a.id) ||
	    (*at && (!tlm_number(&at, '.', &cursor) || !tlm_number(&at, '\0', &skip) || cursor > UINT32_MAX ||
		     skip >= SHARD_QUERY_ROWS)))
		return tlm_sorry(d, "found %s; allowed: the id of a session[,what `next` was]", params ? params : "");
	q = whose(src, a.id);
	if (!q)
		return no_session(d, params);
	rte_tel_data_start_dict(d);
	a.cursor = (uint32_t)cursor;
	while (more && used < PAGE_STREAMS) {
		unsigned n;

		if (ask(q, &a)) {
			rte_tel_data_add_dict_string(d, "error", NO_ANSWER);
			return 0;
		}
		found |= q->found;
		n = portion(d, q, (unsigned)skip, PAGE_STREAMS - used);
		used += n;
		skip += n;
		more = q->more || skip < q->n;
		if (q->found && skip >= q->n) {
			a.cursor = q->cursor;
			skip = 0;
		}
		a.at = q->at;
		heard(q);
	}
	if (!found)
		return no_session(d, params);
	if (more) {
		snprintf(next, sizeof(next), "%u.%u", a.cursor, (unsigned)skip);
		rte_tel_data_add_dict_string(d, "next", next);
	}
	return 0;
}

/* ---- how long a word takes ---- */

/* One question about a session to its worker, until it has been found or is not there. */
static struct shard_query *put(const struct tlm_src *src, struct question *a, int *err)
{
	struct shard_query *q = whose(src, a->id);

	*err = q ? 0 : -ENOENT;
	for (bool more = true; q && more && !*err;) {
		*err = ask(q, a);
		if (*err)
			break;
		more = q->more && !q->found;
		a->at = q->at;
		if (!more && !q->found)
			*err = -ENOENT;
		if (more || *err)
			heard(q);
	}
	return q;
}

/* What is done to a session, or was. */
static int do_to(const struct tlm_src *src, enum shard_what what, const char *params, struct rte_tel_data *d)
{
	struct question a = {.what = what};
	const char *at = params;
	struct shard_query *q;
	bool taken;
	uint32_t us;
	int err;

	if (!params || !tlm_number(&at, '\0', &a.id))
		return tlm_sorry(d, "found %s; allowed: the id of a session", params ? params : "");
	q = put(src, &a, &err);
	if (err == -ETIMEDOUT)
		return tlm_sorry(d, NO_ANSWER);
	if (err)
		return no_session(d, params);
	taken = q->taken;
	us = q->us;
	heard(q);
	if (what == SHARD_PING && !taken)
		return tlm_sorry(d, "session %s may not be sent anything yet: its peer has acknowledged nothing",
				 params);
	rte_tel_data_start_dict(d);
	if (what == SHARD_PONG)
		dict_u64(d, "us", us);
	return 0;
}

/* "ID": its peer is asked; /kcpgate/pong tells how long it took, 0 while the answer is not there. */
int tlm_cmd_ping(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	return do_to(src, SHARD_PING, params, d);
}

/* "ID": it ends. */
int tlm_cmd_kick(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	return do_to(src, SHARD_KICK, params, d);
}

int tlm_cmd_pong(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	return do_to(src, SHARD_PONG, params, d);
}
