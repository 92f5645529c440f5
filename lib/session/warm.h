/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Asking for cache lines ahead of their use.  Among very many sessions every packet finds another one's memory cold,
 * and what it needs hangs in a chain: session, smux stream, stream, chan.  While one packet is handled, each of those
 * after it gets one link further.  Nothing here changes anything, and a pointer that is out of date does no harm: what
 * a session points at is never unmapped.
 */

#include "sess.h"

#define WARM_STEP 3 /* packets from one link of the chain to the next */

static inline void warm_lines(const void *p, size_t from, size_t to)
{
	for (size_t at = from; at < to; at += 64)
		__builtin_prefetch((const char *)p + at, 1);
}

/* What every datagram comes by, in or out. */
static inline void warm_sess(const struct sess *ss)
{
	warm_lines(ss, 0, offsetof(struct sess, kcp) + offsetof(struct kcp, marks));
	warm_lines(ss, offsetof(struct sess, mux), offsetof(struct sess, mem_in) + sizeof(struct mem));
}

/* And for those out. */
static inline void warm_out(const struct sess *ss)
{
	warm_sess(ss);
	warm_lines(ss, offsetof(struct sess, path), offsetof(struct sess, comp_dec));
}

/* What the session points at: the segment that is acknowledged next, the stream that was heard last, FEC's groups. */
static inline void warm_links(const struct sess *ss)
{
	const struct kcp *k = &ss->kcp;

	if (k->snd.slot)
		__builtin_prefetch(&k->snd.slot[k->snd_una & k->snd.mask]);
	if (k->due.next != &k->due)
		__builtin_prefetch(k->due.next, 1);
	if (ss->mux.body_of)
		__builtin_prefetch(ss->mux.body_of, 1);
	if (ss->dec)
		warm_lines(ss->dec, 0, 256);
	if (sess_is_auto(ss)) {
		warm_lines(ss, offsetof(struct sess, kcp) + offsetof(struct kcp, m),
			   offsetof(struct sess, kcp) + sizeof(struct kcp));
		warm_lines(ss, offsetof(struct sess, fine), offsetof(struct sess, bound) + sizeof(struct bound));
	}
}

/* What a flush will come to: the segment that times out first, and the sums of the group that is open. */
static inline void warm_flush(const struct sess *ss)
{
	const struct fec_enc *e = &ss->enc;

	if (ss->kcp.due.next != &ss->kcp.due)
		__builtin_prefetch(ss->kcp.due.next, 1);
	if (!e->parity)
		return;
	/* Into the second level only: they are longer than what the first can wait for. */
	for (size_t at = 0, n = (size_t)e->stride * e->rows; at < n; at += 64)
		__builtin_prefetch(e->parity + at, 0, 2);
}

static inline void warm_stream(const struct sess *ss)
{
	if (ss->mux.body_of && ss->mux.body_of->user)
		__builtin_prefetch(ss->mux.body_of->user, 1);
}

static inline void warm_chan(const struct chan *c)
{
	__builtin_prefetch(c, 1);
	warm_lines(&c->down, 0, sizeof(c->down));
}

static inline void warm_stream_chan(const struct sess *ss)
{
	const struct stream *st = ss->mux.body_of ? ss->mux.body_of->user : NULL;

	if (st)
		warm_chan(st->chan);
}
