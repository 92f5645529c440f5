/* SPDX-License-Identifier: MIT */
#include <rte_mbuf.h>

#include "mute.h"
#include "roam.h"
#include "speak.h"

void sess_note(struct sess *ss, enum note_type type, uint32_t arg, uint32_t arg2)
{
	struct shard *s = ss->shard;
	struct note n = {
		.type = (uint8_t)type, .worker = (uint16_t)s->conf.id, .arg = arg, .arg2 = arg2, .key = ss->key};

	n.tunnel = (uint16_t)sess_tunnel(ss);
	border_note(s->border, &n);
}

void sess_note_window(struct sess *ss, uint32_t has, uint32_t wants, uint32_t kbits, uint16_t rtt)
{
	struct note n = {.type = NOTE_WINDOW,
			 .tunnel = (uint16_t)sess_tunnel(ss),
			 .worker = (uint16_t)ss->shard->conf.id,
			 .arg = has << 16 | wants,
			 .arg2 = kbits,
			 .rtt = rtt,
			 .key = ss->key,
			 .id = ss->id};

	border_note(ss->shard->border, &n);
}

static void sess_layers(struct sess *ss, uint64_t now)
{
	const struct shard_tunnel *t = ss->tun;

	share_open(ss);
	kcp_init(&ss->kcp, ss->conv, &t->kcp, &ss->mem, ss->cnt, now);
	mux_init(&ss->mux, &t->mux, &ss->mem_in);
	speak_begin(ss);
	comp_enc_init(&ss->comp_enc);
	comp_dec_init(&ss->comp_dec, &ss->mem_in);
	if (t->fec && t->client) {
		fec_enc_init(&ss->enc, t->fec, &ss->mem, ss->cnt);
		fec_enc_parity(&ss->enc, FEC_PARITY_EVEN); /* shape.c */
	}
	parity_init(ss);
}

/* How long a client's session takes new streams, and how long it then lives (wire.md 9.1). */
static void sess_age_init(struct sess *ss)
{
	uint32_t expire = ss->tun->autoexpire_ms;
	bool ages = ss->tun->client && expire;

	ss->old_at = ages ? ss->born + expire : UINT64_MAX;
	ss->end_at = ages ? ss->old_at + ss->tun->scavenge_ms : UINT64_MAX;
	ss->age_at = ss->old_at;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* After a change of any of them. */
static void sess_slow(struct sess *ss)
{
	ss->slow_at = min_u64(ss->age_at, min_u64(ss->keepalive_at, ss->check_at));
	ss->slow_at = min_u64(ss->slow_at, min_u64(ss->begin_at, ss->ask_at));
}

bool sess_idle(const struct sess *ss)
{
	struct kcp_info k;

	if (ss->mux.count || ss->held_frame || mux_pending(&ss->mux))
		return false;
	kcp_info(&ss->kcp, &k);
	return !k.snd_queue && !k.snd_buf;
}

static void sess_count_open(struct sess *ss)
{
	struct snmp *c = ss->cnt;

	if (ss->tun->client)
		c->ActiveOpens++;
	else
		c->PassiveOpens++;
	if (++c->CurrEstab > c->MaxConn)
		c->MaxConn = c->CurrEstab;
	ss->shard->stats.sessions++;
	ss->shard->stats.sessions_opened++;
}

struct sess *sess_open(struct shard *s, unsigned tunnel, const struct flow_key *key, uint32_t hash, uint32_t conv,
		       uint64_t now)
{
	struct mem_tunnel *account = &s->accounts[tunnel];
	struct sess *ss;

	/* Those that there are need more than they hold now. */
	if (s->closing || s->n_all >= s->conf.max_sessions || !places_may(s, tunnel) || mem_low(account))
		return NULL;
	ss = mem_get(&account->own, sizeof(*ss));
	if (!ss)
		return NULL;
	memset(ss, 0, sizeof(*ss));
	ss->shard = s;
	ss->tun = &s->conf.tunnels[tunnel];
	ss->cnt = &s->snmp[tunnel];
	ss->key = *key;
	ss->proto = key->proto;
	ss->hash = hash;
	ss->conv = conv;
	ss->id = s->next_id++;
	ss->born = ss->last_in = ss->last_out = now;
	ss->keepalive_at = now + ss->tun->keepalive_ms;
	ss->check_at = now + SESS_TIMEOUT_MS;
	ss->retry_at = UINT64_MAX;
	pmtu_init(ss);
	pace_init(ss, now);
	sess_age_init(ss);
	ss->begin_at = ss->tun->client ? UINT64_MAX : now + SESS_BEGIN_MS;
	ss->ask_at = UINT64_MAX;
	sess_slow(ss);
	ss->roam_at = (uint32_t)now;
	ss->fec_quiet = true;
	ss->timer.kind = TIMER_SESS;
	wheel_ent_init(&ss->timer.ent);
	wheel_ent_init(&ss->fine);
	list_init(&ss->ready);
	list_init(&ss->stalled_link);
	list_init(&ss->knock);
	list_init(&ss->ask);
	ss->knock_at = UINT64_MAX;
	if (flow_add(s->flows, key, hash, ss)) {
		mem_put(&account->own, ss, sizeof(*ss));
		return NULL;
	}
	ss->index = s->n_all;
	s->all[s->n_all++] = ss;
	places_take(ss);
	origin_take(ss);
	sess_layers(ss, now);
	confirm_begin(ss);
	roam_opened(ss, now);
	sess_count_open(ss);
	sess_note(ss, NOTE_SESS_OPEN, conv, ss->tongue_told ? mux_version(&ss->mux) : 0);
	if (ss->tun->client && key->proto == FLOW_TCP)
		tcp_begin(ss, now);
	sess_rearm(ss);
	return ss;
}

/* Gives back the receive buffers and copies that the decoder holds; it may go on. */
static void sess_dec_release(struct sess *ss)
{
	void *freed[64];
	unsigned n;

	while (ss->dec && (n = fec_dec_release(ss->dec, freed, 64))) {
		ss->shard->stats.held_mbufs -= n;
		rte_pktmbuf_free_bulk((struct rte_mbuf **)freed, n);
	}
}

static void sess_fec_fini(struct sess *ss)
{
	sess_dec_release(ss);
	if (ss->dec)
		fec_dec_destroy(ss->dec);
	ss->dec = NULL;
	if (ss->enc.codec)
		fec_enc_fini(&ss->enc);
}

void sess_free(struct sess *ss)
{
	mem_put(ss->mem.up, ss, sizeof(*ss));
}

static void sess_unlink(struct sess *ss)
{
	struct shard *s = ss->shard;

	flow_del(s->flows, &ss->key, ss->hash);
	roam_closed(ss);
	wheel_disarm(&s->wheel, &ss->timer.ent);
	wheel_disarm(&s->fine, &ss->fine);
	list_del(&ss->ready);
	list_del(&ss->stalled_link);
	list_del(&ss->knock);
	list_del(&ss->ask);
	confirm_end(ss);
	share_close(ss);
	places_give(ss);
	origin_give(ss);
	if (s->out_cur == ss)
		s->out_cur = NULL;
	s->all[ss->index] = s->all[--s->n_all];
	s->all[ss->index]->index = ss->index;
}

static uint32_t sess_aged(const struct sess *ss, uint64_t now)
{
	if (now < ss->old_at)
		return NOTE_AGED_NOT;
	return now < ss->end_at ? NOTE_AGED_IDLE : NOTE_AGED_TTL;
}

void sess_close(struct sess *ss, unsigned why, uint64_t now)
{
	struct shard *s = ss->shard;
	struct mux_stream *ms;
	uint32_t cursor = 0;

	if (ss->closed)
		return;
	ss->closed = true;
	speak_forget(ss);
	sess_unlink(ss);
	while ((ms = mux_each(&ss->mux, &cursor)))
		if (ms->user)
			stream_orphan(ms->user);
	mux_fini(&ss->mux);
	sess_fec_fini(ss);
	comp_dec_fini(&ss->comp_dec);
	kcp_fini(&ss->kcp);
	ss->cnt->CurrEstab--;
	s->stats.sessions--;
	s->stats.sessions_closed++;
	if (why)
		shard_drop(s, why);
	sess_note(ss, NOTE_SESS_CLOSE, why, why ? NOTE_AGED_NOT : sess_aged(ss, now));
	if (ss->slot)
		slot_lost(ss->slot);
	list_add_tail(&s->dead, &ss->ready);
}

void sess_ready(struct sess *ss)
{
	/* Neither without tokens nor over a flow that does not stand yet. */
	if (!ss->closed && !ss->muted && (!pace_waits(ss) || ss->pace_soft) && ss->knock_at == UINT64_MAX &&
	    list_empty(&ss->ready) && ss->shard->out_cur != ss)
		list_add_tail(&ss->shard->ready, &ss->ready);
}

static uint64_t sess_quiet_at(const struct sess *ss)
{
	return (ss->last_in > ss->last_out ? ss->last_in : ss->last_out) + SESS_IDLE_MS;
}

/* When there is something to send, or to try to. */
static uint64_t sess_work_at(const struct sess *ss)
{
	if (ss->muted)
		return UINT64_MAX;
	if (pace_waits(ss))
		return ss->pace_soft ? min_u64(ss->pace_at, kcp_owes(&ss->kcp)) : ss->pace_at;
	return min_u64(kcp_next(&ss->kcp), ss->retry_at);
}

static uint64_t sess_deadline(const struct sess *ss)
{
	uint64_t at = ss->slow_at;

	if (ss->knock_at != UINT64_MAX)
		return min_u64(at, ss->knock_at);
	at = min_u64(at, sess_work_at(ss));
	return ss->fec_quiet ? at : min_u64(at, sess_quiet_at(ss));
}

void sess_rearm(struct sess *ss)
{
	uint64_t at = sess_deadline(ss);

	if (ss->slot)
		slot_tell(ss);
	/* An entry that fires early finds nothing to do and is armed again: cheaper than moving it at every packet. */
	if (!wheel_armed(&ss->timer.ent) || at < ss->timer.ent.at)
		wheel_arm(&ss->shard->wheel, &ss->timer.ent, at);
}

bool sess_begun(const struct sess *ss)
{
	struct kcp_info k;

	kcp_info(&ss->kcp, &k);
	return k.rcv_nxt || ss->bytes_in;
}

/*
 * smux's dead-peer rule (wire.md 8.6): not one frame header since the last check, and we were willing to read.  And
 * whether we read or not: not one datagram.  A peer that lives acknowledges our keepalives, or answers for its window.
 */
static bool sess_dead_peer(struct sess *ss, uint64_t now)
{
	bool mute = ss->mux.frames_in == ss->frames_seen && mux_may_read(&ss->mux) && !ss->stalled;
	bool silent = ss->last_in < ss->check_at - SESS_TIMEOUT_MS;

	ss->frames_seen = ss->mux.frames_in;
	ss->check_at = now + SESS_TIMEOUT_MS;
	return mute || silent;
}

/*
 * The peer is asked for a sign of life.  A keepalive does not get through a closed window: then the window is asked
 * for, sooner than KCP's own probes, which come every two minutes in the end, and again if that is lost.  And none goes
 * to who has said nothing yet: to a client that was here before us it could look like its own session's first bytes.
 */
static void sess_keepalive(struct sess *ss, uint64_t now)
{
	uint64_t ms = ss->tun->keepalive_ms;

	ss->keepalive_at = now + ms;
	if (mute_look(ss, now))
		return;
	if (kcp_ask(&ss->kcp))
		ss->keepalive_at = now + min_u64(ms, SESS_PROBE_MS);
	else if (ss->tun->client || sess_begun(ss))
		mux_keepalive(&ss->mux);
	sess_ready(ss);
}

/* True when an expired session is over: it carries nothing, or has had its time. */
static bool sess_old(struct sess *ss, uint64_t now)
{
	ss->age_at = min_u64(now + SESS_AGE_MS, ss->end_at);
	return now >= ss->end_at || sess_idle(ss);
}

/* What comes every few seconds.  False: the session was closed. */
static bool sess_seldom(struct sess *ss, uint64_t now)
{
	if (now >= ss->age_at && sess_old(ss, now)) {
		sess_close(ss, 0, now);
		return false;
	}
	if (now >= ss->check_at && sess_dead_peer(ss, now)) {
		sess_close(ss, DROP_TIMEOUT, now);
		return false;
	}
	if (now >= ss->begin_at) {
		ss->begin_at = UINT64_MAX;
		if (ss->tun->client) {
			if (!speak_timer(ss, now))
				return false;
		} else if (ss->doubt || !sess_begun(ss)) {
			sess_close(ss, ss->doubt ? DROP_DOUBTED : DROP_NEVER_BEGAN, now);
			return false;
		}
	}
	if (now >= ss->keepalive_at)
		sess_keepalive(ss, now);
	if (now >= ss->ask_at)
		ask_timer(ss, now);
	sess_slow(ss);
	return true;
}

void sess_timer(struct sess *ss, uint64_t now)
{
	if (now >= ss->slow_at && !sess_seldom(ss, now))
		return;
	if (!ss->fec_quiet && now >= sess_quiet_at(ss)) {
		/* A few short accumulators stay: the next burst of an interactive session has their parity then. */
		if (ss->enc.codec && (uint32_t)ss->enc.stride * fec_codec_ps(ss->enc.codec) > SESS_IDLE_PARITY)
			fec_enc_idle(&ss->enc);
		sess_dec_release(ss);
		ss->fec_quiet = true;
	}
	if (ss->knock_at != UINT64_MAX) {
		tcp_timer(ss, now);
		return;
	}
	if (now < sess_work_at(ss)) {
		sess_rearm(ss);
		return;
	}
	if (!ss->pace_soft || now >= ss->pace_at)
		pace_over(ss);
	sess_ready(ss);
}
