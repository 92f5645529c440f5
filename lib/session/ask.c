/* SPDX-License-Identifier: MIT */

/*
 * A server that was restarted, or has ended a session, cannot tell its peer: it drops what belongs to no session, and
 * stock clients find out within a minute.  A client of ours asks: when its server has said that it answers (HELLO),
 * owes an acknowledgement and has been silent for a second, a question goes out, and again while the silence lasts.  An
 * answer that the server does not know the session ends it at once.
 *
 * The server needs no memory for this: an answer is made of the question alone, in its place, no longer than it, and so
 * many a second at most.  The token proves to the client that the answer is younger than this silence; that nobody else
 * wrote it is the cipher's affair.
 *
 * Nothing is needed the other way: a client that was restarted begins from another port, and what its former sessions
 * hold at the server goes with their dead-peer time.
 */

#include "ask_wire.h"
#include "roam.h"
#include "speak.h"

#define ASK_AFTER_MS	1000  /* silence of a server that owes an acknowledgement */
#define ASK_AGAIN_MS	500   /* between questions while it lasts */
#define BACKWARD_MS	1000  /* a server says nothing but that it has nothing: for so long, */
#define BACKWARD_ROUNDS 4     /* and so many round trips */
#define ASK_ANSWERS	10000 /* a second and worker: enough for all sessions of one to be told within seconds */

void ask_arm(struct sess *ss, uint64_t now)
{
	ss->ask_ready = false;
	ss->ask_at = now + ASK_AFTER_MS;
	if (ss->ask_at < ss->slow_at)
		ss->slow_at = ss->ask_at;
}

/* Is there anything that the server has not acknowledged? */
static bool owed(const struct sess *ss)
{
	struct kcp_info k;

	kcp_info(&ss->kcp, &k);
	return k.snd_queue || k.snd_buf;
}

void ask_timer(struct sess *ss, uint64_t now)
{
	if (!owed(ss)) {
		ss->ask_at = UINT64_MAX;
		ss->ask_ready = true;
		return;
	}
	if (now < ss->last_in + ASK_AFTER_MS) {
		ss->ask_at = ss->last_in + ASK_AFTER_MS;
		return;
	}
	/* One token a silence, so that an answer counts however long it was under way. */
	if (!ss->ask_token || ss->last_in >= ss->ask_since) {
		ss->ask_token = shard_random(ss->shard) | 1;
		ss->ask_since = now;
	}
	ss->ask_at = now + ASK_AGAIN_MS;
	if (list_empty(&ss->ask))
		list_add_tail(&ss->shard->asks, &ss->ask);
}

/*
 * A stock server makes a new session of what belongs to one that it has forgotten, or whose client's address is
 * another now: that acknowledges single segments, for ever, and delivers nothing.  It says that it has nothing in
 * order, and a server that once had does not: what says so now and then is old, what says nothing else for long is not
 * ours.
 */
void ask_backward(struct sess *ss, uint64_t now)
{
	struct kcp_info k;

	if (mux_peer_answers(&ss->mux))
		return;
	if (!kcp_backward(&ss->kcp)) {
		ss->ask_since = 0;
		return;
	}
	if (!ss->ask_since) {
		ss->ask_since = now;
		/* Where nothing more is owed it says no more: by then it is asked for a word. */
		if (ss->keepalive_at > now + BACKWARD_MS)
			ss->keepalive_at = now + BACKWARD_MS;
		if (ss->keepalive_at < ss->slow_at)
			ss->slow_at = ss->keepalive_at;
		return;
	}
	kcp_info(&ss->kcp, &k);
	if (now - ss->ask_since >= BACKWARD_MS && now - ss->ask_since >= BACKWARD_ROUNDS * (uint64_t)k.srtt) {
		speak_forgotten(ss);
		sess_close(ss, DROP_FORGOTTEN, now);
	}
}

unsigned ask_output(struct shard *s, struct pkt *out, unsigned max, uint64_t now)
{
	struct list *e;
	unsigned n = 0;

	while (n < max && (e = list_pop(&s->asks))) {
		struct sess *ss = container_of(e, struct sess, ask);

		ask_put(out[n].p, ss->conv, ASK_QUERY, ss->ask_token);
		out[n].n = ASK_LEN;
		sess_address(ss, &out[n], 1, now);
		s->stats.asked++;
		n++;
	}
	return n;
}

/* The question in k becomes its answer. */
static void answer(struct shard *s, struct pkt *k, enum ask_code code, uint64_t now)
{
	const struct shard_tunnel *t = &s->conf.tunnels[k->tunnel];
	struct snmp *cnt = &s->snmp[k->tunnel];

	if (now >= s->answers_end) {
		s->answers_end = now + 1000;
		s->answers = 0;
	}
	if (s->answers == ASK_ANSWERS) {
		k->verdict = DROP_ASK_LIMIT;
		return;
	}
	s->answers++;
	s->stats.answered++;
	cnt->OutPkts++;
	cnt->OutBytes += k->n + t->head + t->tail;
	ask_put(k->p, le32_get(k->p + ASK_OFF_CONV), code, le64_get(k->p + ASK_OFF_TOKEN));
	k->verdict = VERDICT_ANSWER;
}

void ask_stranger(struct shard *s, struct pkt *k, uint64_t now)
{
	k->verdict = DROP_OOB;
	s->snmp[k->tunnel].OOBPackets++;
	/* A session whose client comes from elsewhere is known all the same. */
	if (s->conf.tunnels[k->tunnel].mux.hello && ask_code(k->p, k->n) == ASK_QUERY)
		answer(s, k, roam_knows(s, k, le32_get(k->p + ASK_OFF_CONV)) ? ASK_KNOWN : ASK_UNKNOWN, now);
}

/* What a client was told: nothing, unless it has asked this very thing. */
static void told(struct sess *ss, struct pkt *k, uint64_t now)
{
	unsigned code = ask_code(k->p, k->n);

	if ((code != ASK_UNKNOWN && code != ASK_KNOWN) || le32_get(k->p + ASK_OFF_CONV) != ss->conv)
		return;
	if (!ss->ask_token || le64_get(k->p + ASK_OFF_TOKEN) != ss->ask_token)
		return;
	k->verdict = VERDICT_OK;
	if (code == ASK_UNKNOWN) {
		sess_close(ss, DROP_FORGOTTEN, now);
		return;
	}
	/* It is there, and has not answered: maybe it is to be told anew where we are. */
	kcp_lost(&ss->kcp, 1);
	sess_ready(ss);
}

void ask_oob(struct sess *ss, struct pkt *k, uint64_t now)
{
	k->verdict = DROP_OOB;
	if (!ss->tun->mux.hello)
		return;
	if (ss->tun->client)
		told(ss, k, now);
	else if (ask_code(k->p, k->n) == ASK_QUERY) /* of a session that this one's client cannot have had, too */
		answer(ss->shard, k, sess_begun(ss) ? ASK_KNOWN : ASK_UNKNOWN, now);
}
