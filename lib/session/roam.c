/* SPDX-License-Identifier: MIT */

/*
 * A client whose NAT gives it another port or address goes on (lib/README.md, "How a session moves").  What it sends
 * comes from a flow that no session has, with the conversation id of one.  That alone proves nothing: a copy of an old
 * datagram can come from anywhere.  So it is answered where it came from with a segment that whoever is there
 * acknowledges if he is the session's peer, and whose ts, which comes back, nobody else can know.  When it does, the
 * session moves.
 *
 * The answer is made of the datagram alone, in its place, and no longer than it; its ts of the flow, the time, and how
 * often the session has moved: so there is nothing to be remembered, or to be pushed out by others, and a proof counts
 * once.  What else such datagrams bear is not looked at: their peer sends it again.
 */

#include "fec_wire.h"
#include "kcp_wire.h"
#include "roam.h"
#include "siphash.h"

#define EPOCH_BITS 13	      /* of ms: an answer counts for 8 to 16 s */
#define AHEAD	   0x40000000 /* ms: what is echoed lies so far in the future at least (kcp_prove_put) */
#define GAP_MS	   4	      /* between a session's questions: stock answers every 10 to 40 */
#define ASKS	   10000 /* questions a second and worker: all sessions of a NAT that begins anew are heard in time */
#define WRONG	   1000	 /* and wrong answers, with 2^30 possible ones */

static bool has_elsewhere(const struct shard *s)
{
	return s->conf.roam != NULL;
}

static struct sess **chain(const struct shard *s, uint32_t conv)
{
	uint64_t w = conv;

	return &s->convs[siphash_words(s->conf.secret, &w, 1) & s->conv_mask];
}

void roam_opened(struct sess *ss, uint64_t now)
{
	struct shard *s = ss->shard;
	struct sess **at = chain(s, ss->conv);

	if (ss->tun->client)
		return;
	ss->conv_next = *at;
	*at = ss;
	if (!has_elsewhere(s))
		return;
	flow_conv_add(s->conf.roam, (uint16_t)sess_tunnel(ss), ss->conv, (uint16_t)s->conf.id);
	/* It begins where its flow is sent for a while, because of another session: then it stays. */
	if (flow_moved_any(s->conf.roam) && flow_moved(s->conf.roam, &ss->key, ss->hash, now) == s->conf.id)
		ss->steered = flow_move(s->conf.roam, &ss->key, ss->hash, (uint16_t)s->conf.id, true, now);
}

static void steer_end(struct sess *ss)
{
	if (ss->steered)
		flow_move_end(ss->shard->conf.roam, &ss->key, ss->hash);
	ss->steered = false;
}

void roam_closed(struct sess *ss)
{
	struct shard *s = ss->shard;
	struct sess **at = chain(s, ss->conv);

	if (ss->tun->client) {
		steer_end(ss);
		return;
	}
	while (*at != ss)
		at = &(*at)->conv_next;
	*at = ss->conv_next;
	if (!has_elsewhere(s))
		return;
	flow_conv_del(s->conf.roam, (uint16_t)sess_tunnel(ss), ss->conv, (uint16_t)s->conf.id);
	steer_end(ss);
}

/* This worker's session of that conversation. */
static struct sess *find(const struct shard *s, const struct pkt *k, uint32_t conv)
{
	struct sess *ss = *chain(s, conv);

	while (ss && (ss->conv != conv || ss->tun != &s->conf.tunnels[k->tunnel] || ss->proto != k->key->proto))
		ss = ss->conv_next;
	return ss;
}

static uint16_t elsewhere(const struct shard *s, const struct pkt *k, uint32_t conv)
{
	return has_elsewhere(s) ? flow_conv_other(s->conf.roam, k->tunnel, conv, (uint16_t)s->conf.id) : FLOW_NOBODY;
}

bool roam_knows(const struct shard *s, const struct pkt *k, uint32_t conv)
{
	return find(s, k, conv) || elsewhere(s, k, conv) != FLOW_NOBODY ||
	       (has_elsewhere(s) && flow_conv_partial(s->conf.roam));
}

/*
 * A client that has acknowledged anything of ours never says again that it has heard nothing: what does so is an old
 * datagram, or of another client, whose conversation bears the same number.  And where nothing in order has come yet,
 * there is nothing to be kept.
 */
static bool is_of(const struct sess *ss, bool begins)
{
	struct kcp_info k;

	kcp_info(&ss->kcp, &k);
	return begins ? !k.snd_una && sess_begun(ss) : sess_begun(ss);
}

enum roam roam_look(struct shard *s, const struct pkt *k, const struct begin *b, bool begins, struct sess **of)
{
	*of = b->known && !b->oob ? find(s, k, b->conv) : NULL;
	if (*of)
		return is_of(*of, begins) ? ROAM_HERE : ROAM_NOT;
	/* How far another worker's session has come is not known: what can begin one of its own does. */
	if (!b->known || b->oob || begins || elsewhere(s, k, b->conv) == FLOW_NOBODY)
		return ROAM_NOT;
	return ROAM_ELSEWHERE;
}

void roam_send_home(struct shard *s, struct pkt *k, uint32_t conv, uint64_t now)
{
	k->verdict = DROP_MOVING;
	flow_move(s->conf.roam, k->key, k->hash, elsewhere(s, k, conv), false, now);
}

/* ---- the question, and its answer ---- */

static uint32_t token(const struct sess *ss, const struct flow_key *key, uint64_t epoch)
{
	uint64_t w[3 + sizeof(*key) / 8] = {ss->id, epoch, ss->moves};

	memcpy(w + 3, key, sizeof(*key));
	return (uint32_t)(epoch << EPOCH_BITS) + AHEAD +
	       (uint32_t)(siphash_words(ss->shard->conf.secret, w, sizeof(w) / sizeof(w[0])) >> 34);
}

/* So many a second. */
static bool allowed(struct roam_limit *l, uint32_t most, uint64_t now)
{
	if (now >= l->end) {
		l->end = now + 1000;
		l->n = 0;
	}
	return l->n < most && ++l->n;
}

/* Does k bear the answer?  One that is none, but might be meant to be, is counted. */
static bool proves(struct sess *ss, const struct pkt *k, const struct begin *b, uint64_t now)
{
	const uint8_t *p = k->p + b->at;
	uint32_t n = k->n - b->at, ts, epoch = (uint32_t)(now >> EPOCH_BITS);

	while (kcp_prove_next(&ss->kcp, &p, &n, &ts)) {
		if ((uint32_t)(ts - (uint32_t)now) < AHEAD / 2 || (int32_t)(ts - (uint32_t)now) < 0)
			continue; /* of an ordinary segment */
		if (!allowed(&ss->shard->roam_wrong, WRONG, now))
			return false;
		if (ts == token(ss, k->key, epoch) || ts == token(ss, k->key, epoch - 1ull)) {
			ss->shard->roam_wrong.n--;
			return true;
		}
	}
	return false;
}

/* The datagram in k becomes the question. */
static void ask(struct sess *ss, struct pkt *k, uint64_t now)
{
	const struct shard_tunnel *t = ss->tun;
	uint32_t head = shape_heads(ss) ? FEC_HEAD : 0, n;

	k->verdict = DROP_MOVING;
	if ((int32_t)((uint32_t)now - ss->roam_at) < 0 || k->n < head)
		return;
	if (!allowed(&ss->shard->roam_asks, ASKS, now)) {
		k->verdict = DROP_MOVE_LIMIT;
		return;
	}
	n = kcp_prove_put(&ss->kcp, k->p + head, k->n - head, token(ss, k->key, now >> EPOCH_BITS));
	ss->roam_at = (uint32_t)now + GAP_MS;
	if (!n)
		return;
	k->p += head;
	k->n = (uint16_t)n;
	if (head)
		fec_lone(k, 1);
	k->verdict = VERDICT_ANSWER;
	k->sess = ss;
	ss->shard->stats.challenged++;
	ss->cnt->OutPkts++;
	ss->cnt->OutBytes += k->n + t->head + t->tail;
}

/* ---- the move ---- */

void roam_rekey(struct sess *ss, const struct flow_key *key, uint32_t hash, bool steered, uint64_t now)
{
	struct shard *s = ss->shard;

	origin_give(ss);
	ss->key = *key;
	ss->hash = hash;
	origin_take(ss);
	ss->steered = steered;
	ss->moves++;
	s->burst_moved = true;
	ss->path_ok = ss->mac_known = ss->hop_waited = false;
	ss->path_gen = ss->path_retry = 0;
	pmtu_moved(ss, now);
	if (!list_empty(&ss->ready)) { /* whatever it waited for there */
		list_del(&ss->ready);
		list_add_tail(&s->ready, &ss->ready);
	}
}

/* Its datagrams come here by the tables' word only: then that is to last. */
static bool keep_steered(const struct shard *s, const struct pkt *k, uint64_t now, bool *steered)
{
	*steered = has_elsewhere(s) && flow_moved_any(s->conf.roam) &&
		   flow_moved(s->conf.roam, k->key, k->hash, now) == s->conf.id;
	return !*steered || flow_move(s->conf.roam, k->key, k->hash, (uint16_t)s->conf.id, true, now);
}

/*
 * Whoever had the flow before gets the one that is left: NATs that begin anew shuffle ports among their clients, and
 * his own datagrams will tell.  Nobody else is sent anything by that: both have been proved.
 */
static bool move(struct sess *ss, struct sess *there, const struct pkt *k, uint64_t now)
{
	struct shard *s = ss->shard;
	const struct flow_key old = ss->key;
	uint32_t old_hash = ss->hash;
	bool old_steered = ss->steered, steered = there && there->steered;

	if (!there && !keep_steered(s, k, now, &steered))
		return false;
	flow_del(s->flows, &old, old_hash);
	if (there)
		flow_del(s->flows, k->key, k->hash);
	else
		steer_end(ss);
	roam_rekey(ss, k->key, k->hash, steered, now);
	if (there)
		roam_rekey(there, &old, old_hash, old_steered, now);
	/* There is room: as many have gone. */
	if (flow_add(s->flows, &ss->key, ss->hash, ss) ||
	    (there && flow_add(s->flows, &there->key, there->hash, there)))
		return false;
	return true;
}

struct sess *roam(struct sess *ss, struct pkt *k, const struct begin *b, uint64_t now)
{
	struct shard *s = ss->shard;

	/* Parity does not say whose it is: what comes of it from here on may be the other's. */
	if (k->sess && k->sess->dec)
		fec_dec_doubt(k->sess->dec);
	if (!proves(ss, k, b, now)) {
		if (has_elsewhere(s) && flow_moved_any(s->conf.roam) &&
		    flow_moved(s->conf.roam, k->key, k->hash, now) == s->conf.id)
			flow_move(s->conf.roam, k->key, k->hash, (uint16_t)s->conf.id, false, now);
		ask(ss, k, now);
		return NULL;
	}
	if (!move(ss, k->sess, k, now)) {
		k->verdict = DROP_MOVE_LIMIT;
		return NULL;
	}
	sess_learn_mac(ss, k);
	kcp_lost(&ss->kcp, UINT16_MAX);
	sess_ready(ss);
	s->stats.moves++;
	sess_note(ss, NOTE_MOVED, ss->conv, 0);
	return ss;
}
