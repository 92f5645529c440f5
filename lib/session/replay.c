/* SPDX-License-Identifier: MIT */

/*
 * Datagrams that come again: a network's copies, and what a stranger has recorded and sends again, from wherever.  One
 * that we have sent is known as well: both ends of a tunnel have one key, so that it opens where it came from, too.
 *
 * That some ciphers know by themselves (crypt_reflected), and it need not be remembered.
 *
 * A datagram's name is of its ciphertext, before it is opened, which is in place.  It is remembered once it has opened:
 * what a stranger makes up displaces nothing.
 */

#include "sess.h"

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
		if (s->marks[i])
			fresh_prefetch(filter(s, s->conf.id, v[i].tunnel), s->marks[i]);
	}
}

bool replay_is(struct shard *s, const struct pkt *k, uint64_t now)
{
	unsigned i = s->at;

	if (i >= s->n_marks || !s->marks[i])
		return false;
	return fresh_add(filter(s, s->conf.id, k->tunnel), s->marks[i], now);
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
