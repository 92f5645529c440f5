/* SPDX-License-Identifier: MIT */

/*
 * Datagrams that come again: a network's copies, and what a stranger has recorded and sends again, from wherever.  One
 * that we have sent is known as well: both ends of a tunnel have one key, so that it opens where it came from, too.
 *
 * The latter some ciphers know by themselves (crypt_reflected), and it need not be remembered.
 *
 * Within a session whose peer numbers its packets, as FEC does, a window of the latest numbers tells (fresh/window.h).
 * All else is in the filter: what begins or might begin a session, parity, what has no number, what comes from
 * elsewhere.
 *
 * A datagram's name is of its ciphertext, before it is opened, which is in place.  It is remembered once it has opened:
 * what a stranger makes up displaces nothing.
 */

#include "fec_wire.h"
#include "kcp_wire.h"
#include "replay.h"
#include "roam.h"
#include "warm.h"

static struct fresh *filter(const struct shard *s, unsigned worker, unsigned tunnel)
{
	return &s->conf.fresh[worker][tunnel];
}

/* Of the UDP payload of one of t's packets, sealed; 0: there is none. */
static uint64_t name(const struct shard *s, const struct shard_tunnel *t, const struct pkt *k)
{
	if (!t->mark_len || k->n < t->mark_at + t->mark_len)
		return 0;
	return fresh_name(k->p + t->mark_at, t->mark_len, s->conf.mark_seed);
}

void shard_mark(struct shard *s, const struct pkt *v, unsigned n)
{
	s->n_marks = 0;
	if (!s->conf.fresh || n > SHARD_MARKS)
		return;
	s->n_marks = n;
	for (unsigned i = 0; i < n; i++) {
		s->marks[i] = v[i].verdict == VERDICT_OK ? name(s, &s->conf.tunnels[v[i].tunnel], &v[i]) : 0;
		if (s->marks[i] && !v[i].sess)
			fresh_prefetch(filter(s, s->conf.id, v[i].tunnel), s->marks[i]);
	}
}

/* Of a data packet that is in a group: what numbers it, once in 2^32. */
static inline bool numbered(const struct pkt *k, uint32_t *seqid)
{
	if (!fec_is_fec(k->p, k->n) || k->p[4] != FEC_TYPE_DATA)
		return false;
	*seqid = le32_get(k->p + FEC_SEQID_OFF);
	return *seqid != 0; /* that of all that are in none (fec_lone) */
}

/*
 * Not one that could begin a session: its peer has heard something.  What is said of that is no less further on in a
 * datagram.
 */
static bool goes_on(const struct pkt *k, const struct begin *b)
{
	return le32_get(k->p + b->at + KCP_OFF_UNA) != 0 || begin_sn(k, b) >= BEGIN_WINDOW;
}

/*
 * What goes on within a session, and could never begin one, is known again by its number: it is for no other session,
 * and needs no line in the filter.  True: that says all, and *seen whether it was.
 */
static bool known_within(const struct shard *s, const struct pkt *k, bool *seen)
{
	struct sess *ss = k->sess;
	struct begin b;
	uint32_t seqid;

	if (!ss || ss->closed || s->burst_moved || !numbered(k, &seqid))
		return false;
	b = begin_look(k);
	if (!b.known || b.conv != ss->conv)
		return false;
	switch (fresh_window_add(&ss->recent, seqid)) {
	case FRESH_SEEN:
		return *seen = true;
	case FRESH_NEW:
		*seen = false;
		return ss->tun->client || goes_on(k, &b);
	default: /* so late that nobody knows */
		return false;
	}
}

bool replay_is(struct shard *s, const struct pkt *k, uint64_t now)
{
	unsigned i = s->at;
	bool seen;

	if (i >= s->n_marks || !s->marks[i])
		return false;
	if (known_within(s, k, &seen))
		return seen;
	return fresh_add(filter(s, s->conf.id, k->tunnel), s->marks[i], now);
}

/* Its session is warm by now: whether its peer numbers its packets. */
void replay_warm(const struct shard *s, const struct pkt *k, unsigned i)
{
	uint32_t seqid;

	if (i >= s->n_marks || !s->marks[i] || k->verdict != VERDICT_OK)
		return;
	if (!k->sess || !k->sess->recent.any || !numbered(k, &seqid))
		fresh_prefetch(filter(s, s->conf.id, k->tunnel), s->marks[i]);
}

bool replay_had(const struct sess *ss, const struct pkt *k)
{
	uint32_t seqid;

	return ss->tun->mark_len && numbered(k, &seqid) && fresh_window_has(&ss->recent, seqid) != FRESH_NEW;
}

bool replay_elsewhere(const struct shard *s, const struct pkt *k)
{
	unsigned i = s->at;
	bool seen = false;

	if (i >= s->n_marks || !s->marks[i])
		return false;
	for (unsigned w = 0; w < s->conf.n_fresh; w++)
		seen |= w != s->conf.id && fresh_seen(filter(s, w, k->tunnel), s->marks[i]);
	return seen;
}

/* The same of a packet that was sealed, but for those that are known without. */
static uint64_t name_sent(const struct shard *s, const struct pkt *k)
{
	const struct shard_tunnel *t = k->sess->tun;

	return t->knows_own ? 0 : name(s, t, k);
}

void shard_sent(struct shard *s, const struct pkt *v, unsigned n, uint64_t now)
{
	if (!s->conf.fresh || n > SHARD_MARKS)
		return;
	for (unsigned i = 0; i < n; i++) {
		s->marks[i] = name_sent(s, &v[i]);
		if (s->marks[i])
			fresh_prefetch(filter(s, s->conf.id, sess_tunnel(v[i].sess)), s->marks[i]);
	}
	for (unsigned i = 0; i < n; i++)
		if (s->marks[i])
			fresh_add(filter(s, s->conf.id, sess_tunnel(v[i].sess)), s->marks[i], now);
	s->n_marks = 0;
}
