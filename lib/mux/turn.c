/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include "stream.h"

/*
 * Whose turn it is: deficit round robin, with new streams first.
 *
 * In each round every stream that has something to send may send a quantum: a whole frame with its header.  What it
 * left of that is kept for the next, if it was too little for a frame.  Streams that have used theirs up wait in the
 * row of the old ones, for the next round.
 *
 * One that had nothing to send, and now has, goes before all of those, behind others that are new: an echo waits for no
 * bulk but the frame that is being written.  It has one quantum for the round under way, at once or bit by bit, and is
 * an old one after that; nobody gains by falling silent and coming back.  And since there may always be others that
 * have sent nothing in this round yet, those that come when enough went before the old ones join the old ones' row.
 *
 * A frame that is longer than what its stream may still send is cut, but for one that is alone.
 *
 * Both rows are one list with a border in it.  Of the old ones each has the number of the round that it waits for; when
 * the first of them has its turn, that round has begun.
 */

#define LEAST	  256 /* bytes: a stream with less of its budget left waits, rather than cutting a frame so short */
#define AHEAD	  8   /* quanta that new streams may have before an old one has its turn */
#define AHEAD_BIT 4   /* mux.ahead is in units of 16 bytes, rounded up */

static uint32_t quantum(const struct mux *m)
{
	return MUX_HEAD + (uint32_t)m->conf->framesize;
}

/* Payload bytes of the frame that s has to send. */
static uint32_t frame_of(const struct mux *m, const struct mux_stream *s)
{
	uint32_t n = mux_credit(m, s);

	if (n > s->avail)
		n = s->avail;
	return n < m->conf->framesize ? n : m->conf->framesize;
}

/* Is its budget enough for that frame, or for a good part of it? */
static bool affords(const struct mux *m, const struct mux_stream *s)
{
	return s->budget >= MUX_HEAD + LEAST || s->budget >= MUX_HEAD + frame_of(m, s);
}

static bool may_go_ahead(const struct mux *m)
{
	return m->ahead < (quantum(m) * AHEAD) >> AHEAD_BIT;
}

static void join_new(struct mux *m, struct mux_stream *s)
{
	list_add_head(m->new, &s->run);
	m->new = &s->run;
}

/* s has something to send, and is on no list. */
static void join(struct mux *m, struct mux_stream *s)
{
	uint16_t next = (uint16_t)(m->round + 1);

	/* Numbers of rounds come again: what a stream has from a long time ago may not be what it says. */
	if (s->round == next && affords(m, s)) {
		list_add_tail(&m->run, &s->run);
		return;
	}
	if (s->round != m->round) {
		s->round = m->round;
		s->budget = may_go_ahead(m) ? quantum(m) : 0;
	}
	if (affords(m, s)) {
		join_new(m, s);
		return;
	}
	s->round = next;
	s->budget += quantum(m);
	list_add_tail(&m->run, &s->run);
}

void mux_unready(struct mux *m, struct mux_stream *s)
{
	if (m->new == &s->run)
		m->new = s->run.prev; /* the head itself before the first */
	list_del(&s->run);
}

/* Of several that are, the first that no longer is may end it: it sends, and will say so again if that lasts. */
static void note_starved(struct mux *m, struct mux_stream *s, bool starved)
{
	if (starved)
		s->flags |= MUX_S_STARVED;
	else if (s->flags & MUX_S_STARVED)
		s->flags &= (uint16_t)~MUX_S_STARVED;
	else
		return;
	m->starved = starved;
}

void mux_ready(struct mux *m, struct mux_stream *s)
{
	bool ready = s->avail ? mux_credit(m, s) != 0 : (s->flags & (MUX_S_HALF | MUX_S_FIN)) != 0;

	note_starved(m, s, s->avail && !ready);
	if (ready == !list_empty(&s->run))
		return;
	if (ready)
		join(m, s);
	else
		mux_unready(m, s);
}

/* s, which is off the list now, sends a frame: how many bytes, with its header. */
static uint32_t spend(const struct mux *m, struct mux_stream *s)
{
	uint32_t n = MUX_HEAD + frame_of(m, s), most = s->budget;

	s->budget -= n < most ? n : most;
	return n < most || list_empty(&m->run) ? n : most;
}

struct mux_stream *mux_turn(struct mux *m, uint32_t *n)
{
	struct mux_stream *s = container_of(m->run.next, struct mux_stream, run);
	bool old = m->new == &m->run;
	uint32_t ahead = 0;

	assert(s->budget >= MUX_HEAD + (s->avail != 0));
	mux_unready(m, s);
	*n = spend(m, s) - MUX_HEAD;
	if (old)
		m->round = s->round;
	else if (m->new->next != &m->run) /* before old ones */
		ahead = m->ahead + ((*n + MUX_HEAD - 1) >> AHEAD_BIT) + 1;
	m->ahead = (uint16_t)(ahead < UINT16_MAX ? ahead : UINT16_MAX);
	return s;
}
