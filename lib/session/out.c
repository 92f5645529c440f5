/* SPDX-License-Identifier: MIT */
#include "roam.h"
#include "warm.h"

#define AHEAD_BYTES 4096

/* Another core wrote these bytes: while one frame is copied, the next one's come over. */
static void frame_prefetch(const struct iovec *v, uint32_t from)
{
	uint32_t to = from + AHEAD_BYTES < v->iov_len ? from + AHEAD_BYTES : (uint32_t)v->iov_len;

	for (; from < to; from += 64)
		__builtin_prefetch((const uint8_t *)v->iov_base + from);
}

/* Bytes of a frame's payload as they lie in the chan. */
static unsigned frame_slices(const struct mux_out *f, struct stream *st, struct slice *v)
{
	struct iovec iov[CHAN_IOV];
	uint32_t left = f->n;
	unsigned n = 0, got;

	v[n++] = (struct slice){f->head, f->head_n};
	got = left ? chan_peek(&st->chan->up, iov, CHAN_IOV) : 0;
	for (unsigned i = 0; i < got && left; i++) {
		uint32_t len = iov[i].iov_len < left ? (uint32_t)iov[i].iov_len : left;

		v[n++] = (struct slice){iov[i].iov_base, len};
		left -= len;
		if (!left)
			frame_prefetch(&iov[i], len);
	}
	return n;
}

/* The payload among v[0..n) goes through the stream's pads, into one slice of worker memory. */
static unsigned frame_permute(const struct sess *ss, struct stream *st, struct slice *v, unsigned n)
{
	uint8_t *to = ss->shard->qpp_scratch;
	uint32_t at = 0;

	for (unsigned i = 1; i < n; i++) {
		qpp_encrypt(ss->tun->qpp, &st->qpp[QPP_OUT], to + at, v[i].p, v[i].n);
		at += v[i].n;
	}
	v[1] = (struct slice){to, at};
	return 2;
}

/* Frame -> pads -> compression -> KCP.  False: no memory now; nothing has happened. */
static bool sess_send_frame(struct sess *ss, const struct mux_out *f)
{
	struct slice in[1 + CHAN_IOV], packed[COMP_OUT_MAX(1 + CHAN_IOV)];
	struct comp_enc undo = ss->comp_enc;
	const struct slice *out = in;
	struct stream *st = f->user;
	unsigned n = frame_slices(f, st, in);
	struct qpp_prng qpp_undo;

	if (f->n && ss->tun->qpp) {
		qpp_undo = st->qpp[QPP_OUT];
		n = frame_permute(ss, st, in, n);
	}
	if (!ss->plain) {
		n = comp_enc(&ss->comp_enc, ss->shard->comp, in, n, packed);
		out = packed;
	}
	if (kcp_send(&ss->kcp, out, n)) {
		ss->comp_enc = undo;
		if (f->n && ss->tun->qpp)
			st->qpp[QPP_OUT] = qpp_undo;
		return false;
	}
	for (unsigned i = 0; i < n; i++)
		ss->bytes_out += out[i].n;
	if (f->n && f->n <= PARITY_THIN)
		ss->parity.thin = true;
	if (f->n) {
		chan_done(ss->shard->chans, &st->chan->up, f->n);
		stream_owe(st, CHAN_EV_ROOM);
	}
	return true;
}

/* The next frame to write: one that waited for memory, or a new one.  smux forgets a stream with its last frame, so
 * the stream must be let go of now, however long the frame may wait. */
static bool sess_next_frame(struct sess *ss)
{
	struct mux_out *f = &ss->frame;

	if (ss->held_frame)
		return true;
	ss->held_frame = mux_out(&ss->mux, f);
	if (ss->held_frame && f->last && f->user) {
		stream_sent_last(f->user);
		f->user = NULL;
	}
	return ss->held_frame;
}

/* Data packets to the end of the open FEC group. */
static uint32_t group_left(const struct sess *ss)
{
	return shape_out(ss) ? fec_enc_left(&ss->enc) : 0;
}

/* With more at hand than was pulled: full segments only, and of FEC groups whole ones, which cost half of what their
 * packets cost one by one. */
static uint32_t pull_limit(const struct sess *ss)
{
	uint32_t full = kcp_waiting(&ss->kcp), n = group_left(ss);

	if (!n)
		return full;
	for (unsigned ds = fec_codec_ds(ss->enc.codec); n + ds <= full;)
		n += ds;
	return n;
}

/* Moves frames into KCP while it takes them: a little at a time, which is still warm when it is flushed.  True when
 * anything moved. */
static bool sess_pull(struct sess *ss)
{
	uint32_t moved = 0, whole = group_left(ss);
	bool stuck = false, more;

	while ((moved < SESS_PULL_BYTES || kcp_waiting(&ss->kcp) < whole) && kcp_room(&ss->kcp) &&
	       sess_next_frame(ss)) {
		/* A stream's end that the peer is not told (mux_abort) is no frame. */
		stuck = ss->frame.head_n && !sess_send_frame(ss, &ss->frame);
		if (stuck)
			break;
		ss->held_frame = false;
		moved += ss->frame.head_n + ss->frame.n;
	}
	/* Then sess_end brings it back within this turn. */
	more = !stuck && moved >= SESS_PULL_BYTES && kcp_room(&ss->kcp) && mux_pending(&ss->mux);
	kcp_limit(&ss->kcp, more ? pull_limit(ss) : UINT32_MAX);
	return moved != 0;
}

/* What does not wait for the path's pace. */
static bool acks_begin(struct sess *ss, uint64_t now)
{
	if (!(ss->want & KCP_WANT_ACKS) && kcp_owes(&ss->kcp) > now)
		return false;
	ss->want &= (uint8_t)~KCP_WANT_ACKS;
	ss->out_kind = KCP_FLUSH_ACKS;
	return true;
}

/* Begins a session's output for this turn.  False when there is nothing to flush. */
static bool sess_begin(struct sess *ss, uint64_t now)
{
	bool full;

	if (!pace_room(ss, 1, now))
		return ss->pace_soft && acks_begin(ss, now);
	if (ss->mid_flush)
		return true;
	full = sess_pull(ss) || (ss->want & KCP_WANT_FULL) || kcp_next(&ss->kcp) <= now;

	if (!full && !(ss->want & KCP_WANT_ACKS))
		return false;
	ss->out_kind = full ? KCP_FLUSH_FULL : KCP_FLUSH_ACKS;
	ss->want = 0;
	return true;
}

static void sess_end(struct sess *ss, uint64_t now)
{
	struct shard *s = ss->shard;

	ss->retry_at = UINT64_MAX;
	share_look(ss);
	if (pace_waits(ss)) {
		sess_rearm(ss);
		return;
	}
	if (sess_is_auto(ss) && !mux_pending(&ss->mux))
		kcp_limited(&ss->kcp, !mux_starved(&ss->mux));
	if (ss->held_frame && kcp_room(&ss->kcp)) {
		ss->retry_at = now + MEM_RETRY_MS; /* out of memory: others may give some back */
	} else if (ss->want || (kcp_room(&ss->kcp) && mux_pending(&ss->mux))) {
		list_add_tail(&s->ready, &ss->ready);
		return;
	}
	sess_rearm(ss);
}

/* The same; a session with nothing to flush is done with. */
static bool output_begin(struct sess *ss, uint64_t now)
{
	if (sess_begin(ss, now))
		return true;
	sess_end(ss, now);
	return false;
}

void sess_address(struct sess *ss, struct pkt *v, unsigned n, uint64_t now)
{
	const struct shard_tunnel *t = ss->tun;
	unsigned over = t->head + t->tail;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++) {
		struct pkt *k = &v[i];

		k->sess = ss;
		k->crypt = t->crypt;
		k->key = &ss->key;
		k->verdict = VERDICT_OK;
		bytes += k->n + over;
	}
	pace_spend(ss, n, bytes);
	ss->cnt->OutBytes += bytes;
	ss->cnt->OutPkts += n;
	ss->last_out = now;
}

/* Gives n datagrams their FEC headers; returns the parity packets behind them. */
static unsigned sess_encode(struct sess *ss, struct pkt *out, unsigned n, uint64_t now)
{
	bool closes = n == fec_enc_left(&ss->enc);
	unsigned made;

	for (unsigned i = 0; i < n && ss->pmtu.size; i++)
		if (out[i].flags & PKT_F_PROBE)
			fec_enc_mute(&ss->enc);
	made = fec_enc_burst(&ss->enc, out, n, now);

	if (closes) {
		ss->parity_sent += made;
		ss->parity_left += fec_codec_ps(ss->enc.codec) - made;
	}
	return made;
}

/* Completes n datagrams of one session in out[0..n): FEC, counters, addressing.  Returns how many they became. */
static unsigned sess_dress(struct sess *ss, struct pkt *out, unsigned n, uint64_t now)
{
	if (n == 0)
		return 0;
	if (shape_out(ss)) {
		n += sess_encode(ss, out, n, now);
		ss->fec_quiet = false;
	} else if (shape_heads(ss)) {
		fec_lone(out, n);
	}
	sess_address(ss, out, n, now);
	if (ss->ask_ready)
		ask_arm(ss, now);
	return n;
}

/* Flushes one session into out[0..room).  *over is set when the flush is complete: else it lacked room, or tokens. */
static unsigned sess_flush(struct sess *ss, struct pkt *out, unsigned room, uint64_t now, bool *over)
{
	const struct fec_codec *fec = shape_out(ss);
	unsigned ps = fec ? fec_codec_ps(fec) : 0;
	unsigned total = 0;

	*over = false;
	kcp_clock(&ss->kcp, shard_us(ss->shard, now));
	pmtu_look(ss, now);
	if (sess_is_auto(ss)) {
		parity_look(ss, now);
		bound_look(ss, now);
	}
	while (room > ps) {
		unsigned max = room - ps, n;

		if (ps && fec_enc_left(&ss->enc) < max)
			max = fec_enc_left(&ss->enc);
		if (!ss->pace_soft)
			max = pace_room(ss, max, now);
		if (!max)
			break;
		n = kcp_flush(&ss->kcp, ss->out_kind, now, out + total, max);
		*over = n < max;
		n = sess_dress(ss, out + total, n, now);
		total += n;
		room -= n;
		if (*over)
			break;
	}
	return total;
}

/* A session is at hand: the one after it gets its links, and the one after that its lines. */
static void output_warm(const struct shard *s)
{
	const struct list *e = s->ready.next;

	if (e == &s->ready)
		return;
	warm_flush(container_of(e, struct sess, ready));
	if (e->next != &s->ready)
		warm_out(container_of(e->next, struct sess, ready));
}

/* Each session that is ready has its turn once. */
static unsigned output_round(struct shard *s, struct pkt *out, unsigned max, uint64_t now)
{
	struct list *last = s->ready.prev; /* sessions that come back to the list wait for the next round */
	unsigned n = 0;

	while (n + s->out_min <= max) {
		struct sess *ss = s->out_cur;
		bool over = true, resumed;

		if (!ss) {
			struct list *e = list_pop(&s->ready);

			if (!e)
				break;
			ss = container_of(e, struct sess, ready);
			output_warm(s);
			if (sess_park(ss, now) || !output_begin(ss, now)) {
				if (e == last)
					break;
				continue;
			}
			s->out_cur = ss;
		} else if (sess_park(ss, now)) {
			ss->mid_flush = true; /* as one that waits for tokens */
			s->out_cur = NULL;
			continue;
		}
		resumed = ss->mid_flush;
		n += sess_flush(ss, out + n, max - n, now, &over);
		if (!over && !pace_waits(ss))
			break; /* the vector is full: this session goes on with the next one */
		ss->mid_flush = !over && !sess_is_auto(ss);
		if (over && resumed && sess_begin(ss, now))
			continue; /* with what has come since that flush began */
		s->out_cur = NULL;
		sess_end(ss, now);
		if (&ss->ready == last)
			break;
	}
	return n;
}

/* Rounds until the vector is full: a session takes little from its streams at a time, so that it is still warm when it
 * is flushed, and comes back until the burst is as wide as ciphers like it. */
unsigned shard_output(struct shard *s, struct pkt *out, unsigned max, uint64_t now)
{
	unsigned n = list_empty(&s->asks) ? 0 : ask_output(s, out, max - s->out_min, now), got;

	if (s->ping.due)
		n += ping_output(s, &out[n], now);
	do {
		got = output_round(s, out + n, max - n, now);
		n += got;
	} while (got && n + s->out_min <= max && shard_ready(s));
	shard_settle(s);
	return n;
}
