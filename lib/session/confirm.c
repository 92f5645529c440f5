/* SPDX-License-Identifier: MIT */

/*
 * A server's session is confirmed when its peer acknowledges a segment, with a ts that only who has received it can
 * know (kcp_conf.ts_key).  Until then its beginning may have been anybody's who holds a recording, with whatever
 * address he likes.  It works at once all the same, but is sent little: CONFIRM_FIRST bytes, as much as it sends, and a
 * little more as time goes by, lest a peer whose first packets were all lost is left alone.  And such sessions may be
 * so many at most: the oldest goes first.
 *
 * One whose conversation there has been before (shard_tunnel.book) is in doubt: a recording, or one client in 17,000
 * whose random number is one of the last 245,760.  KCP keeps what it says, which reaches nobody, until it is confirmed;
 * and it is sent no more bytes than it has sent: an empty frame, so that there is something to be acknowledged.
 *
 * Where another one begins at the address of a session, that may be its client, which was restarted, or a recording.
 * The session is asked for a sign of life and keeps its place if one comes.
 */

#include "kcp_wire.h"
#include "mute.h"
#include "speak.h"

#define CONFIRM_FIRST	49152 /* bytes of UDP payload */
#define CONFIRM_RATE	350   /* bytes a second more: a datagram every four */
#define CONFIRM_LOOK_MS 100
#define DOUBT_COMP	18   /* bytes that compression adds to the first frame (wire.md section 6) */
#define CONFIRM_LEAST	64   /* sessions: so many may be unproved in any case, */
#define CONFIRM_PART	8    /* and this part of all otherwise, */
#define CONFIRM_MS	3000 /* beside those that are so young: many clients may come at once */
#define RIVAL_LEAST_MS	200
#define RIVAL_MOST_MS	1000

static uint32_t most(const struct shard *s)
{
	uint32_t part = s->conf.max_sessions / CONFIRM_PART;

	return part > CONFIRM_LEAST ? part : CONFIRM_LEAST;
}

void confirm_begin(struct sess *ss)
{
	struct shard *s = ss->shard;

	if (ss->tun->client)
		return;
	ss->unproved = true;
	ss->allowance = CONFIRM_FIRST;
	list_add_tail(&s->unproved, &ss->knock);
	s->stats.unproved = ++s->n_unproved;
	ss->doubt = ss->tun->book && fresh_book_has(ss->tun->book, ss->conv);
	if (!ss->doubt)
		return;
	ss->allowance = 0;
	s->stats.in_doubt++;
	s->stats.doubted++;
}

void confirm_begun(struct sess *ss)
{
	if (ss->tun->book)
		fresh_book_add(ss->tun->book, ss->conv);
}

/* The oldest one, where there are too many. */
void confirm_evict(struct shard *s, uint64_t now)
{
	struct sess *ss = container_of(s->unproved.next, struct sess, knock);

	if ((s->n_unproved >= most(s) || (s->n_unproved && s->n_all == s->conf.max_sessions)) &&
	    now >= ss->born + CONFIRM_MS)
		sess_close(ss, DROP_UNCONFIRMED, now);
}

void confirm_end(struct sess *ss)
{
	if (!ss->unproved)
		return;
	ss->unproved = false;
	list_del(&ss->knock);
	ss->shard->stats.unproved = --ss->shard->n_unproved;
	ss->shard->stats.in_doubt -= ss->doubt;
	ss->doubt = false;
}

/* What KCP has kept back goes on, within this turn or the next. */
static void confirmed(struct sess *ss)
{
	confirm_end(ss);
	if (kcp_queued(&ss->kcp))
		sess_stall(ss);
}

/*
 * One that has said anything in order gets something to acknowledge.  To others nothing: a client that was here before
 * a restart, and had heard nothing, could take it for the beginning of what it waits for.
 */
static void doubt_asks(struct sess *ss)
{
	if (ss->bytes_out || !kcp_queued(&ss->kcp) || !speak_known(ss))
		return;
	mux_keepalive(&ss->mux);
	sess_ready(ss);
}

void confirm_heard(struct sess *ss, uint32_t bytes)
{
	ss->rival_at = 0;
	if (!ss->unproved)
		return;
	mute_heard(ss);
	if (kcp_proved(&ss->kcp))
		confirmed(ss);
	else if (ss->allowance < CONFIRM_FIRST)
		ss->allowance += (int32_t)bytes;
	if (ss->doubt)
		doubt_asks(ss);
	if (pace_waits(ss) && !ss->pace_soft) { /* it may be this that was waited for */
		pace_over(ss);
		sess_ready(ss);
	}
}

/* Bytes of UDP payload that the next datagram to one in doubt may have: acknowledgements, and empty frames. */
static int32_t doubt_needs(const struct sess *ss)
{
	const struct kcp *k = &ss->kcp;
	uint32_t over = ss->tun->head + ss->tun->tail + (ss->tun->fec ? FEC_HEAD : 0), most = over + ss->pmtu.kcp;
	uint32_t frame = KCP_HEAD + MUX_HEAD + (ss->plain ? 0 : DOUBT_COMP);
	uint32_t frames = kcp_backlog(k) + (mux_pending(&ss->mux) || ss->held_frame);
	uint32_t n = over + KCP_HEAD * (k->acks.n + k->ask_send + k->ask_tell) + frame * frames;

	n = n < most ? n : most;
	if (shape_out(ss) && fec_enc_left(&ss->enc) == 1)
		n += most * fec_codec_ps(ss->enc.codec);
	return (int32_t)n;
}

unsigned confirm_room(struct sess *ss, unsigned want, uint64_t now)
{
	uint64_t grown = (now - ss->born) * CONFIRM_RATE / 1000;
	int64_t left = (int64_t)ss->allowance + (int64_t)grown;
	uint32_t len = ss->pmtu.kcp;
	unsigned n = 1;

	if (ss->doubt) {
		left = ss->allowance >= doubt_needs(ss);
		want = 1;
	}
	if (left <= 0) {
		ss->pace_at = now + CONFIRM_LOOK_MS;
		return 0;
	}
	while (n < want && (int64_t)n * len < left)
		n++;
	return n;
}

bool confirm_yields(struct sess *ss, uint64_t now)
{
	struct kcp_info k;
	uint32_t wait;

	if (ss->unproved)
		return true;
	kcp_info(&ss->kcp, &k);
	wait = 4 * k.srtt;
	wait = wait < RIVAL_LEAST_MS ? RIVAL_LEAST_MS : wait > RIVAL_MOST_MS ? RIVAL_MOST_MS : wait;
	if (ss->rival_at && (int32_t)((uint32_t)now - ss->rival_at) >= (int32_t)wait)
		return true;
	if (!ss->rival_at)
		ss->rival_at = (uint32_t)now | 1;
	kcp_wake(&ss->kcp);
	ss->want |= KCP_WANT_FULL;
	sess_ready(ss);
	return false;
}
