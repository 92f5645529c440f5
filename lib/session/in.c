/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include <rte_mbuf.h>

#include "acl.h"
#include "fec_wire.h"
#include "kcp_wire.h"
#include "le.h"
#include "mute.h"
#include "roam.h"
#include "speak.h"
#include "warm.h"

#define MIN_PAYLOAD 12 /* shorter ones no listener looks at (wire.md 5.2) */

/*
 * A session of which TCP has much to take yet reads no more: more than a part of what the tunnel has left.  So there is
 * always something left, and those that hold little go on, for their peers' credit comes by the same way as data, and
 * is what frees the chunks of the other direction.
 */
static bool sess_may_read(const struct sess *ss)
{
	int64_t held = mux_held(&ss->mux);
	unsigned tunnel;

	if (ss->doubt || !mux_may_read(&ss->mux))
		return false;
	if (held < SESS_LOW_BYTES)
		return true;
	tunnel = sess_tunnel(ss);
	return (uint64_t)held < chan_room(ss->shard->chans, tunnel) / SESS_ROOM_PART;
}

void sess_stall(struct sess *ss)
{
	if (!ss->stalled) {
		ss->stalled = true;
		list_add_tail(&ss->shard->stalled, &ss->stalled_link);
	}
}

/* Can what is taken from KCP be kept until its chunk is whole?  Otherwise KCP has to keep it, or the peer. */
static bool sess_has_room(struct sess *ss, uint32_t n)
{
	ss->lacks_room = !ss->plain && !comp_dec_room(&ss->comp_dec, n);
	return !ss->lacks_room;
}

static void sess_event(struct sess *ss, const struct mux_ev *ev, uint64_t now)
{
	struct stream *st = ev->stream ? ev->stream->user : NULL;

	switch (ev->type) {
	case MUX_EV_OPEN:
		mute_end(ss);
		stream_accept(ss, ev->stream, now);
		break;
	case MUX_EV_DATA:
		if (st)
			stream_data(st, ev->data, now);
		else
			mux_taken(&ss->mux, ev->stream, ev->data.n);
		break;
	case MUX_EV_FIN:
		if (st)
			stream_fin(st);
		break;
	case MUX_EV_RESET:
		if (st)
			stream_peer_reset(st);
		break;
	case MUX_EV_HALF:
		if (st)
			stream_half(st);
		break;
	case MUX_EV_HELLO:
		stream_hello(ss);
		kcp_knows(&ss->kcp);
		ss->ask_ready = ss->tun->client && mux_peer_answers(&ss->mux);
		break;
	case MUX_EV_BROKEN:
		if (st)
			stream_broken(st);
		break;
	case MUX_EV_REFUSED:
		shard_drop(ss->shard, DROP_STREAM_LIMIT);
		break;
	default:
		break;
	}
}

/* Frames of one run of the byte stream.  False: the session was closed. */
static bool sess_frames(struct sess *ss, struct slice *in, uint64_t now)
{
	struct mux_ev ev;

	do {
		if (mux_next(&ss->mux, in, &ev)) {
			speak_failed(ss, mux_failed_at(&ss->mux), DROP_MUX, now);
			return false;
		}
		sess_event(ss, &ev, now);
	} while (ev.type != MUX_EV_NONE);
	if (!ss->tongue_told)
		speak_tell(ss);
	if (mux_pending(&ss->mux))
		sess_ready(ss);
	return true;
}

/* Bytes of the KCP stream, in order, to the streams they are for.  False: the session was closed. */
static bool sess_bytes(struct sess *ss, struct slice in, uint64_t now)
{
	struct slice out;
	int ret;

	if (!ss->bytes_in)
		confirm_begun(ss);
	ss->bytes_in += in.n;
	if (ss->plain_open)
		speak_hear(ss, in.p[0]);
	if (ss->plain)
		return sess_frames(ss, &in, now);
	do {
		while ((ret = comp_dec(&ss->comp_dec, ss->shard->comp, &in, &out)) > 0)
			if (!sess_frames(ss, &out, now))
				return false;
	} while (ret == -ENOMEM && share_relieve(ss, now));
	if (ret == 0)
		return true;
	if (ret == -ENOMEM)
		sess_close(ss, share_why(ss), now);
	else
		speak_failed(ss, comp_dec_failed_at(&ss->comp_dec), DROP_COMP, now);
	return false;
}

/* What has waited in the reorder store for a round trip has left the caches. */
static void slice_prefetch(const struct slice *v)
{
	for (uint32_t at = 0; at < v->n; at += 64)
		__builtin_prefetch(v->p + at);
}

unsigned sess_read(struct sess *ss, uint64_t now)
{
	struct slice v[16];
	unsigned n, i, total = 0;

	while ((n = kcp_peek(&ss->kcp, v, 16))) {
		for (i = 0; i < n && sess_may_read(ss) && sess_has_room(ss, v[i].n); i++) {
			if (i + 1 < n)
				slice_prefetch(&v[i + 1]);
			if (!sess_bytes(ss, v[i], now))
				return total;
		}
		ss->want |= (uint8_t)kcp_consume(&ss->kcp, i);
		total += i;
		/* A gap that closes after a round trip frees a window at once: the rest waits for the next turn. */
		if (i < n || total >= SESS_READ_MAX) {
			if (kcp_queued(&ss->kcp))
				sess_stall(ss);
			break;
		}
	}
	if (ss->want)
		sess_ready(ss);
	return total;
}

/* One KCP datagram of the session, as received or as rebuilt by FEC. */
static int sess_kcp(struct sess *ss, const uint8_t *p, uint32_t n, unsigned flags, uint64_t now)
{
	bool direct = sess_may_read(ss) && sess_has_room(ss, n);
	struct kcp_got got;
	int ret;

	if (ss->shard->ping.id == ss->id)
		ping_heard(ss, p, n, now);
	got.n = 0;
	kcp_clock(&ss->kcp, shard_us(ss->shard, now));
	ret = kcp_input(&ss->kcp, p, (uint16_t)n, flags, now, direct ? &got : NULL);
	if (sess_is_auto(ss))
		mux_grow(&ss->mux, kcp_takes(&ss->kcp));
	for (unsigned i = 0; i < got.n; i++)
		if (!sess_bytes(ss, got.v[i], now))
			return 0;
	if (ret > 0)
		ss->want |= (uint8_t)ret;
	if (kcp_queued(&ss->kcp) && !ss->stalled && !ss->doubt)
		sess_read(ss, now);
	return ret;
}

static bool sess_dec_make(struct sess *ss)
{
	if (!ss->dec)
		ss->dec = fec_dec_create(ss->tun->fec, &ss->mem, ss->cnt);
	return ss->dec != NULL;
}

static void shard_fec_freed(struct shard *s, void **own, unsigned n)
{
	s->stats.held_mbufs -= n;
	rte_pktmbuf_free_bulk((struct rte_mbuf **)own, n);
}

/* The first of the sessions in shard->over, if there are too many buffers held still, lets go of those that it holds.
 */
static void shard_fec_settle_one(struct shard *s)
{
	struct fec_dec *d = s->over[s->over_at++ % OVER_MAX]->dec; /* none: it has been closed */
	void *freed[64];
	unsigned n;

	if (!d || s->stats.held_mbufs <= s->conf.mbufs_to_hold)
		return;
	while ((n = fec_dec_let_go(d, freed, 64)))
		shard_fec_freed(s, freed, n);
}

/*
 * Whoever kept a buffer when there were too many is on the list, so that with the last of them at the latest there are
 * no longer too many.
 */
static void shard_fec_settle(struct shard *s)
{
	while (s->over_at != s->over_end)
		shard_fec_settle_one(s);
}

/*
 * FEC groups keep more receive buffers than they may.  What this session's hold is not copied at once: when packets
 * come in trains, most groups are complete before other sessions have had their turn, or the vector ends.
 */
static void shard_fec_over(struct sess *ss)
{
	struct shard *s = ss->shard;

	for (uint32_t i = s->over_at; i != s->over_end; i++)
		if (s->over[i % OVER_MAX] == ss)
			return;
	if (s->over_end - s->over_at == OVER_MAX)
		shard_fec_settle_one(s);
	s->over[s->over_end++ % OVER_MAX] = ss;
}

/* An FEC packet goes to the decoder after its own payload went to KCP (wire.md 3.4). */
static void sess_fec(struct sess *ss, struct pkt *k, uint64_t now)
{
	struct shard *s = ss->shard;
	struct fec_got *got = s->got;
	struct pkt in = *k;
	unsigned why;

	ss->fec_quiet = false;
	if (!sess_dec_make(ss)) {
		k->verdict = DROP_NO_MEMORY;
		return;
	}
	if (k->n < FEC_HOLD_MIN)
		in.own = NULL;
	ss->parity_in += k->p[4] == FEC_TYPE_PAR;
	why = fec_dec_packet(ss->dec, &in, s->fec_scratch, got);
	ss->fec_recovered += got->n_data;
	if (got->n_freed)
		shard_fec_freed(s, got->freed, got->n_freed);
	if (got->tuned)
		shape_tuned(ss);
	else if (shape_waits(ss))
		shape_look(ss);
	if (got->kept) {
		k->own = NULL;
		if (++s->stats.held_mbufs > s->conf.mbufs_to_hold)
			shard_fec_over(ss);
	}
	s->stats.drops[DROP_FEC_UNPROVED - VERDICT_DROP] += got->withheld;
	for (unsigned i = 0; i < got->n_data && !ss->closed; i++) {
		if (sess_kcp(ss, got->data[i].p, got->data[i].n, KCP_IN_RECOVERED, now) < 0 && !ss->closed) {
			fec_dec_doubt(ss->dec); /* what was never sent is no group's */
			break;
		}
	}
	if (why)
		k->verdict = (uint8_t)why;
}

static void sess_packet(struct sess *ss, struct pkt *k, uint64_t now)
{
	int ret = 0;

	ss->cnt->InPkts++;
	ss->cnt->InBytes += k->n;
	ss->last_in = now;
	if (ss->proto == FLOW_TCP)
		net_tcp_take(&ss->tcp, k);
	if (!fec_is_fec(k->p, k->n)) {
		ret = sess_kcp(ss, k->p, k->n, 0, now);
		if (ss->peer_fec == PEER_SILENT && ret >= 0)
			shape_heard(ss, false);
	} else if (k->p[4] == FEC_TYPE_OOB) {
		ss->cnt->OOBPackets++;
		ask_oob(ss, k, now);
	} else {
		if (k->p[4] == FEC_TYPE_DATA && k->n >= FEC_HEAD)
			ret = sess_kcp(ss, k->p + FEC_HEAD, k->n - (uint32_t)FEC_HEAD, 0, now);
		if (ss->peer_fec <= PEER_BARE && ret >= 0)
			shape_heard(ss, true);
		ss->peer_lone = ss->tun->client && le32_get(k->p + FEC_SEQID_OFF) == 0;
		if (!ss->closed && ret != -EINVAL)
			sess_fec(ss, k, now);
		else if (!ss->closed && ss->dec)
			fec_dec_doubt(ss->dec); /* another conversation's: so may be parity, which does not say so */
	}
	if (ret < 0)
		k->verdict = DROP_KCP_INPUT;
	if (ss->tries && !ss->closed)
		speak_heard(ss, now);
	else if (!ss->closed && ss->tun->client && (kcp_backward(&ss->kcp) || ss->ask_since))
		ask_backward(ss, now);
	if (ss->closed)
		return;
	if (ss->unproved || (!ss->tun->client && ss->rival_at))
		confirm_heard(ss, k->n + ss->tun->head + ss->tun->tail);
	share_look(ss);
	if (ss->want)
		sess_ready(ss);
	else
		sess_rearm(ss);
}

/*
 * A server's tunnel that is bound to a port hears that one alone, its sessions too: a flow is known by its addresses,
 * whichever port it comes by.  A client's names the port that its sessions are dialled by; from then on they go by the
 * kernel's routes, and are answered from where those lead.
 */
static bool by_other_port(const struct shard_tunnel *t, const struct pkt *k)
{
	return !t->client && t->dev != UINT16_MAX && t->dev != k->dev;
}

static bool listens(const struct shard_tunnel *t, const struct pkt *k)
{
	return !by_other_port(t, k) && (addr_is_any(&t->local) || addr_eq(&t->local, &k->key->local));
}

uint8_t shard_class(const struct shard *s, unsigned tunnel)
{
	return s->conf.tunnels[tunnel].traffic_class;
}

bool shard_listens(const struct shard *s, const struct pkt *k)
{
	const struct shard_tunnel *t = &s->conf.tunnels[k->tunnel];

	return !t->client && listens(t, k);
}

bool shard_welcomes(const struct shard *s, const struct pkt *k)
{
	const struct net_acl *acl = s->conf.tunnels[k->tunnel].acl;

	return !acl || net_acl_allows(acl, &k->key->peer);
}

void shard_screen(struct shard *s, struct pkt *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct pkt *k = &v[i];
		const struct shard_tunnel *t = &s->conf.tunnels[k->tunnel];

		if (k->verdict != VERDICT_OK)
			continue;
		if (by_other_port(t, k)) {
			k->verdict = DROP_NO_LISTENER;
			continue;
		}
		if (k->sess)
			continue;
		if (t->client) {
			s->snmp[k->tunnel].InErrs++;
			k->verdict = DROP_FOREIGN;
		} else if (!listens(t, k)) {
			k->verdict = DROP_NO_LISTENER;
		} else if (!shard_welcomes(s, k)) {
			k->verdict = DROP_ACL;
		}
	}
}

static struct sess *find_sess(struct shard *s, struct pkt *k, uint64_t now)
{
	const struct shard_tunnel *t = &s->conf.tunnels[k->tunnel];

	/* The bulk lookup came before this burst opened, closed or moved anything. */
	if (!k->sess || k->sess->closed || s->burst_moved)
		k->sess = flow_find(s->flows, k->key, k->hash);
	if (k->n < MIN_PAYLOAD) {
		k->verdict = DROP_SHORT;
		if (t->client && k->sess)
			s->snmp[k->tunnel].KCPInErrors++;
		return NULL;
	}
	if (!t->client)
		return admit(s, k, now);
	if (!k->sess) {
		s->snmp[k->tunnel].InErrs++;
		k->verdict = DROP_FOREIGN;
	}
	return k->sess;
}

/* The session of v[i], where it is not the one before it, too: that one is warm. */
static const struct sess *other_sess(const struct pkt *v, unsigned i, unsigned n)
{
	return i < n && v[i].verdict == VERDICT_OK && (i == 0 || v[i].sess != v[i - 1].sess) ? v[i].sess : NULL;
}

/* v[i] is at hand: each of the packets behind it gets a link further. */
static void input_warm(const struct pkt *v, unsigned i, unsigned n)
{
	const struct sess *ss;

	if ((ss = other_sess(v, i + 4 * WARM_STEP, n)))
		warm_sess(ss);
	if ((ss = other_sess(v, i + 3 * WARM_STEP, n)))
		warm_links(ss);
	if ((ss = other_sess(v, i + 2 * WARM_STEP, n)))
		warm_stream(ss);
	if ((ss = other_sess(v, i + WARM_STEP, n)))
		warm_stream_chan(ss);
}

void shard_input(struct shard *s, struct pkt *v, unsigned n, uint64_t now)
{
	s->burst_moved = false;
	for (unsigned i = 0; i < n; i++) {
		struct pkt *k = &v[i];
		struct sess *ss;

		input_warm(v, i, n);
		if (k->verdict == DROP_CRYPT_BAD)
			shard_bad_key(s, k, now);
		if (k->verdict != VERDICT_OK)
			continue;
		s->at = i;
		if (replay_is(s, k, now)) {
			k->verdict = DROP_REPLAYED;
			continue;
		}
		ss = find_sess(s, k, now);
		if (ss)
			sess_packet(ss, k, now);
	}
	s->n_marks = 0;
	shard_fec_settle(s);
	shard_settle(s);
}
