/* SPDX-License-Identifier: MIT */
#include "sess.h"

#define PUMP_A_TURN 32		 /* streams */
#define PUMP_BYTES  (256u << 10) /* and bytes, of spills a turn */

/* At once, with what it owes: CLOSE has to be the last. */
static void stream_post(struct stream *st, uint32_t ev)
{
	if (st->owed) {
		ev |= st->owed;
		st->owed = 0;
		st->shard->owing[st->owing_at] = NULL;
	}
	mbox_post(border_of(st->shard->border, st->chan->ctl_id)->to_ctl, &st->chan->to_ctl, ev);
}

/* What may be told of every packet is told once: the word it is written to is control's as well. */
void stream_owe(struct stream *st, uint32_t ev)
{
	struct shard *s = st->shard;

	if (!st->owed) {
		if (s->n_owing == OWING_MAX)
			shard_settle(s);
		st->owing_at = s->n_owing;
		s->owing[s->n_owing++] = st;
	}
	st->owed |= (uint16_t)ev;
}

void shard_settle(struct shard *s)
{
	for (uint32_t i = 0; i < s->n_owing; i++)
		if (s->owing[i])
			stream_post(s->owing[i], 0);
	s->n_owing = 0;
}

/* A stream outlives its session: its memory is the tunnel's. */
static struct mem *stream_mem(struct shard *s, const struct chan *c)
{
	return &s->accounts[c->tunnel].own;
}

static void stream_qpp_free(struct stream *st)
{
	mem_put(stream_mem(st->shard, st->chan), st->qpp, 2 * sizeof(*st->qpp));
}

/* Both directions of every stream begin with the same bytes (wire.md section 7).  False: no memory. */
static bool stream_qpp(struct stream *st)
{
	const struct qpp_pads *pads = st->shard->conf.tunnels[st->chan->tunnel].qpp;

	if (!pads)
		return true;
	st->qpp = mem_get(stream_mem(st->shard, st->chan), 2 * sizeof(*st->qpp));
	if (!st->qpp)
		return false;
	qpp_prng_init(&st->qpp[QPP_OUT], pads);
	qpp_prng_init(&st->qpp[QPP_IN], pads);
	st->flags |= ST_QPP;
	return true;
}

/* Of a chan whose tunnel is filled in. */
struct stream *stream_new(struct shard *s, struct chan *c, uint64_t now)
{
	struct stream *st = mem_get(stream_mem(s, c), sizeof(*st));

	if (!st)
		return NULL;
	memset(st, 0, sizeof(*st));
	st->shard = s;
	st->chan = c;
	if (!stream_qpp(st)) {
		mem_put(stream_mem(s, c), st, sizeof(*st));
		return NULL;
	}
	st->last_in = now;
	st->timer.kind = TIMER_STREAM;
	wheel_ent_init(&st->timer.ent);
	list_init(&st->link);
	c->worker = st;
	s->ctl_streams[c->ctl_id]++;
	s->stats.streams++;
	s->stats.streams_opened++;
	return st;
}

static void stream_free(struct stream *st)
{
	struct shard *s = st->shard;
	struct chan *c = st->chan;

	stream_qpp_free(st);
	chans_give(st);
	mem_put(stream_mem(s, c), st, sizeof(*st));
	s->ctl_streams[c->ctl_id]--;
	chan_free(s->chans, c);
	s->stats.streams--;
	s->stats.streams_closed++;
}

/* ---- bytes that no chunk could be had for ---- */

static struct spill *spill_first(const struct stream *st)
{
	return st->spill ? st->spill->next : NULL;
}

/* The first is done with: gives back its memory. */
static void spill_pop(struct stream *st)
{
	struct spill *sp = st->spill->next;

	if (sp == st->spill)
		st->spill = NULL;
	else
		st->spill->next = sp->next;
	mem_put(st->sess ? &st->sess->mem_in : stream_mem(st->shard, st->chan), sp, sizeof(*sp) + sp->n);
}

/* The stream leaves its session, with what waits: which is the tunnel's from now on. */
static void stream_leave(struct stream *st)
{
	struct spill *sp = spill_first(st);

	for (; sp && st->sess; sp = sp == st->spill ? NULL : sp->next)
		mem_leave(&st->sess->mem_in, sizeof(*sp) + sp->n);
	st->ms = NULL;
	st->sess = NULL;
}

static bool spill_add(struct stream *st, const uint8_t *p, uint32_t n)
{
	struct spill *sp = mem_get(&st->sess->mem_in, sizeof(*sp) + n);

	if (!sp)
		return false;
	*sp = (struct spill){.next = sp, .n = n};
	memcpy(sp->data, p, n);
	if (st->spill) {
		sp->next = st->spill->next;
		st->spill->next = sp;
	}
	st->spill = sp;
	st->shard->stats.spilled += n;
	if (list_empty(&st->link))
		list_add_tail(&st->shard->spilled, &st->link);
	return true;
}

/* ---- the end ---- */

/* CLOSE is the worker's last word on a chan; it waits while bytes are still on this side of the border.  abort: what
 * came is not all that there was: TCP gets it, and a reset behind it. */
static void stream_close_chan(struct stream *st, bool abort)
{
	if (st->flags & ST_CLOSED)
		return;
	if (abort)
		st->flags |= ST_ABORT;
	if (st->spill) {
		st->flags |= ST_CLOSE_LATE;
		return;
	}
	wheel_disarm(&st->shard->wheel, &st->timer.ent);
	st->chan->abort = st->flags & ST_ABORT;
	st->flags |= ST_CLOSED;
	stream_post(st, CHAN_EV_CLOSE);
}

/* Takes the stream from smux at once, and what was not sent is dropped.  lost: the peer still reads, and must not take
 * what it has for all (mux_abort). */
static void stream_cut(struct stream *st, bool lost)
{
	struct sess *ss = st->sess;

	if (st->ms) {
		/* A frame that waits for memory has its bytes in our chan: it goes with us, and nobody will miss it. */
		if (ss->held_frame && ss->frame.user == st)
			ss->held_frame = false;
		if (lost)
			mux_abort(&ss->mux, st->ms, false, true);
		else
			mux_close(&ss->mux, st->ms, false);
		sess_ready(ss);
	}
	stream_leave(st);
}

/* FIN behind what has been read from TCP; stream_sent_last follows. */
static void stream_finish(struct stream *st)
{
	if (!st->ms || (st->flags & ST_FINISHING))
		return;
	st->flags |= ST_FINISHING;
	mux_close(&st->sess->mux, st->ms, true);
	sess_ready(st->sess);
}

void stream_sent_last(struct stream *st)
{
	stream_leave(st);
	stream_close_chan(st, st->flags & ST_RESET);
}

void stream_orphan(struct stream *st)
{
	slot_forget(st);
	stream_leave(st);
	stream_close_chan(st, true);
}

/* ---- from the peer ---- */

/* A chan for one more stream that the peer opens; NULL when the session has more than its part of the tunnel's. */
static struct chan *accept_chan(const struct sess *ss)
{
	struct shard *s = ss->shard;
	unsigned tunnel = sess_tunnel(ss), chans = chans_of(ss);

	if (ss->tun->client)
		return NULL;
	if (chans > SESS_LOW_STREAMS && chans > shares_room(&s->chans->chan_shares, tunnel))
		return NULL;
	return chan_alloc(s->chans, tunnel);
}

/* The control instance for one more stream: with as little to do as any, and of those each in turn. */
static unsigned choose_ctl(struct shard *s)
{
	unsigned n = 1 + s->border->n_more, at = s->ctl_next, best = at;

	for (unsigned i = 0; i < n; i++, at = at + 1 < n ? at + 1 : 0)
		if (s->ctl_streams[at] < s->ctl_streams[best])
			best = at;
	s->ctl_next = best + 1 < n ? best + 1 : 0;
	return best;
}

bool stream_accept(struct sess *ss, struct mux_stream *ms, uint64_t now)
{
	struct shard *s = ss->shard;
	bool draining = ss->tun->drain_at != 0;
	struct chan *c = draining ? NULL : accept_chan(ss);
	struct stream *st = NULL;

	if (c) {
		c->ctl_id = (uint16_t)choose_ctl(s);
		st = stream_new(s, c, now);
	}
	if (!st) {
		if (c)
			chan_free(s->chans, c);
		mux_abort(&ss->mux, ms, false, false);
		shard_drop(s, draining ? DROP_DRAINING : DROP_STREAM_LIMIT);
		return false;
	}
	c->place = chans_take(st, ss);
	st->sess = ss;
	st->ms = ms;
	ms->user = st;
	c->worker_id = (uint16_t)s->conf.id;
	c->sid = ms->id;
	c->peer = ss->key.peer;
	c->peer_port = ss->key.peer_port;
	c->far = ss->key.local;
	c->far_port = ss->key.local_port;
	stream_post(st, CHAN_EV_OPEN);
	return true;
}

/* What arrived is deciphered elsewhere: FEC may hold on to the buffer that it lies in. */
static struct slice stream_plain(struct stream *st, struct slice in)
{
	uint8_t *to = st->shard->qpp_scratch;

	qpp_decrypt(st->sess->tun->qpp, &st->qpp[QPP_IN], to, in.p, in.n);
	return (struct slice){to, in.n};
}

void stream_data(struct stream *st, struct slice data, uint64_t now)
{
	uint32_t done = 0;

	st->last_in = now;
	if (st->flags & ST_QPP)
		data = stream_plain(st, data);
	if (!st->spill)
		done = chan_write(st->shard->chans, &st->chan->down, &data, 1);
	if (done)
		stream_owe(st, CHAN_EV_DATA);
	while (done < data.n && !spill_add(st, data.p + done, data.n - done)) {
		if (share_relieve(st->sess, now))
			continue;
		shard_drop(st->shard, DROP_NO_MEMORY);
		stream_cut(st, true);
		stream_close_chan(st, true);
		break;
	}
}

void stream_fin(struct stream *st)
{
	/* A FIN means that the peer neither sends nor reads any more (wire.md 8.3): ours follows at once. */
	st->flags |= ST_FIN_IN;
	stream_cut(st, false);
	stream_close_chan(st, false);
}

void stream_peer_reset(struct stream *st)
{
	st->flags |= ST_FIN_IN;
	stream_cut(st, false); /* nobody is there to take it for a clean end */
	stream_close_chan(st, true);
}

void stream_broken(struct stream *st)
{
	shard_drop(st->shard, DROP_MUX);
	stream_cut(st, true);
	stream_close_chan(st, true);
}

void stream_half(struct stream *st)
{
	st->flags |= ST_HALF_IN;
	if (!st->spill)
		stream_post(st, CHAN_EV_EOF);
	if (st->flags & ST_HALF_SENT)
		stream_finish(st);
}

/* ---- from TCP ---- */

static void stream_announce(struct stream *st)
{
	const struct chan_ring *up = &st->chan->up;
	uint32_t written = chan_taken(up) + chan_used(up);

	if (!st->ms || written == st->announced)
		return;
	mux_avail(&st->sess->mux, st->ms, written - st->announced);
	st->announced = written;
	sess_ready(st->sess);
}

/* TCP took bytes: tokens and window go back to the peer. */
static void stream_room(struct stream *st)
{
	struct chan_ring *down = &st->chan->down;
	uint32_t taken = chan_taken(down), n = taken - st->taken;

	st->taken = taken;
	chan_trim(st->shard->chans, down);
	if (!st->ms || !n)
		return;
	mux_taken(&st->sess->mux, st->ms, n);
	if (mux_pending(&st->sess->mux))
		sess_ready(st->sess);
}

/* The local side sends no more: wire.md section 14's half-close rule. */
static void stream_local_eof(struct stream *st, uint64_t now)
{
	struct sess *ss = st->sess;

	st->flags |= ST_LOCAL_EOF;
	if (!st->ms)
		return; /* said again by stream_attach, if it is not over already */
	st->last_in = now;
	if (mux_half(&ss->mux, st->ms) == 0) {
		st->flags |= ST_HALF_SENT;
		sess_ready(ss);
		if (st->flags & ST_HALF_IN)
			stream_finish(st);
	} else if (ss->tun->closewait_ms == 0) {
		stream_finish(st);
	} else { /* at once where it has become 0 since */
		wheel_arm(&st->shard->wheel, &st->timer.ent, now + ss->tun->closewait_ms);
	}
}

/* The end of a stream whose TCP side failed, behind what that had sent before. */
static void stream_end_reset(struct stream *st)
{
	bool lost = st->chan->err == CHAN_ERR_STOPS || st->chan->err == CHAN_ERR_DOWN;

	wheel_disarm(&st->shard->wheel, &st->timer.ent);
	st->flags |= ST_FINISHING;
	mux_abort(&st->sess->mux, st->ms, true, lost);
	sess_ready(st->sess);
}

/* TCP has failed.  What it sent before is in chan->up, and is delivered; nothing can be delivered to it any more. */
static void stream_reset(struct stream *st, uint64_t now)
{
	st->flags |= ST_RESET;
	if (!st->ms) {
		/* Waits for its session still, and goes on to while it has something for it. */
		if (!st->slot || chan_used(&st->chan->up) == 0 || st->chan->err == CHAN_ERR_UP)
			stream_orphan(st);
		return;
	}
	if (!(st->flags & ST_UP))
		shard_drop(st->shard, st->chan->err == CHAN_ERR_DIALS ? DROP_DIAL_LIMIT : DROP_TARGET);
	if (st->chan->err == CHAN_ERR_UP) {
		stream_cut(st, true);
		stream_close_chan(st, true);
		return;
	}
	stream_announce(st);
	stream_room(st);
	/* Whether the peer has a word for it is told with its first frame. */
	if (st->sess->tun->client && st->sess->mux.frames_in == 0 && !mux_can_reset(&st->sess->mux))
		wheel_arm(&st->shard->wheel, &st->timer.ent, now + RESET_HOLD_MS);
	else
		stream_end_reset(st);
}

void stream_hello(struct sess *ss)
{
	struct mux_stream *ms;
	uint32_t cursor = 0;

	while ((ms = mux_each(&ss->mux, &cursor))) {
		struct stream *st = ms->user;

		if (st && st->flags & ST_RESET)
			stream_end_reset(st);
		if (!st || (st->flags & (ST_LOCAL_EOF | ST_HALF_SENT | ST_RESET)) != ST_LOCAL_EOF)
			continue;
		if (mux_half(&ss->mux, ms) == 0) {
			st->flags |= ST_HALF_SENT;
			wheel_disarm(&st->shard->wheel, &st->timer.ent);
		}
	}
	sess_ready(ss);
}

void stream_timer(struct stream *st, uint64_t now)
{
	uint64_t until;

	if (!st->ms)
		return;
	if (st->flags & ST_RESET) {
		stream_end_reset(st);
		return;
	}
	until = st->last_in + st->sess->tun->closewait_ms;
	if (now >= until)
		stream_finish(st);
	else
		wheel_arm(&st->shard->wheel, &st->timer.ent, until);
}

bool stream_attach(struct stream *st, struct sess *ss, uint64_t now)
{
	st->ms = mux_open(&ss->mux, st);
	if (!st->ms)
		return false;
	st->sess = ss;
	st->chan->sid = st->ms->id;
	st->chan->far = ss->key.peer;
	st->chan->far_port = ss->key.peer_port;
	st->flags |= ST_UP;
	stream_announce(st);
	if (st->flags & ST_LOCAL_EOF)
		stream_local_eof(st, now);
	sess_ready(ss);
	stream_post(st, CHAN_EV_UP);
	if (st->flags & ST_RESET)
		stream_reset(st, now);
	return true;
}

void stream_detach(struct stream *st)
{
	wheel_disarm(&st->shard->wheel, &st->timer.ent);
	st->flags &= (uint16_t) ~(ST_FINISHING | ST_HALF_SENT);
	st->announced = chan_taken(&st->chan->up);
	st->ms->user = NULL;
	stream_leave(st);
}

/* A connection that control has accepted: with no memory for it, it is closed at once, and GONE comes back without us.
 */
static struct stream *stream_opened(struct shard *s, struct chan *c, uint64_t now)
{
	struct stream *st = stream_new(s, c, now);

	if (!st) {
		shard_drop(s, DROP_STREAM_LIMIT);
		c->abort = true;
		mbox_post(border_of(s->border, c->ctl_id)->to_ctl, &c->to_ctl, CHAN_EV_CLOSE);
	}
	return st;
}

void stream_event(struct shard *s, struct chan *c, uint32_t ev, uint64_t now)
{
	struct stream *st = c->worker;

	if (ev & CHAN_EV_OPEN) {
		st = stream_opened(s, c, now);
		if (st)
			slot_connect(s, st, now);
	}
	if (ev & CHAN_EV_GONE) {
		if (st)
			stream_free(st);
		else
			chan_free(s->chans, c);
		return;
	}
	if (!st || (st->flags & ST_CLOSED))
		return;
	if (ev & (CHAN_EV_UP | CHAN_EV_RESET))
		chans_dialled(st);
	if (ev & CHAN_EV_UP)
		st->flags |= ST_UP;
	if (ev & CHAN_EV_DATA)
		stream_announce(st);
	if (ev & CHAN_EV_ROOM)
		stream_room(st);
	if (ev & CHAN_EV_RESET)
		stream_reset(st, now);
	else if (ev & CHAN_EV_EOF)
		stream_local_eof(st, now);
}

/* ---- spills, again ---- */

/* True when the stream's spill is in its chan now. */
static bool stream_pump(struct stream *st, uint32_t *budget)
{
	struct shard *s = st->shard;
	struct spill *sp;

	while ((sp = spill_first(st))) {
		struct slice rest = {sp->data + sp->off, sp->n - sp->off};
		uint32_t done;

		if (*budget == 0)
			return false;
		if (rest.n > *budget)
			rest.n = *budget;
		done = chan_write(s->chans, &st->chan->down, &rest, 1);
		*budget -= done;
		sp->off += done;
		s->stats.spilled -= done;
		if (done)
			stream_owe(st, CHAN_EV_DATA);
		if (sp->off < sp->n)
			return false;
		spill_pop(st);
	}
	return true;
}

void shard_pump_spilled(struct shard *s)
{
	uint32_t budget = PUMP_BYTES;
	struct list *last = s->spilled.prev;

	for (unsigned i = 0; i < PUMP_A_TURN && budget && !list_empty(&s->spilled); i++) {
		struct list *e = s->spilled.next;
		struct stream *st = container_of(e, struct stream, link);

		list_del(&st->link);
		if (!stream_pump(st, &budget)) {
			/* Its tunnel has no chunk: others may. */
			list_add_tail(&s->spilled, &st->link);
			if (e == last)
				return;
			continue;
		}
		if (st->flags & ST_CLOSE_LATE)
			stream_close_chan(st, false);
		else if (st->flags & ST_HALF_IN)
			stream_post(st, CHAN_EV_EOF);
	}
}
