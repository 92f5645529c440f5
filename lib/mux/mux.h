/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * smux v1 and v2, wire.md section 8, and kcpgate's signals in NOP frames, section 14.  A `mux` is one session's: it
 * parses what arrives, knows the streams, and says which frame goes out next.  Payload bytes stay with the caller:
 * arriving data comes as slices of the input, departing data is announced by mux_avail and fetched by the caller for
 * the frame that mux_out asked for.
 */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "limit.h"
#include "list.h"
#include "mem.h"
#include "slice.h"

#define MUX_HEAD	   8
#define MUX_FRAME_MAX	   LIMIT_FRAME
#define MUX_INITIAL_WINDOW 262144 /* v2: what may be sent before the first UPD */
#define MUX_REFUSED_MAX	   1024	  /* refused SYNs that wait for their FIN; more are left unanswered (stock's backlog) */

struct mux_conf {
	uint8_t version;      /* 1 or 2; 0: as mux_hear says, or a server's client */
	bool client;	      /* odd ids from 3 */
	uint16_t framesize;   /* largest payload of a PSH that we send, 1..65535 */
	uint32_t smuxbuf;     /* bytes received and not yet consumed, whole session, before reading stops */
	uint32_t streambuf;   /* v2: the window that we announce, a stream, where mux_grow says no more */
	uint32_t max_streams; /* SYNs beyond this are answered with FIN */
	bool hello;	      /* announce half-close (section 14) */
	/* Secret random bits: no peer can choose ids that meet in the table of streams.  All 0 works, without that. */
	uint64_t hash_key[2];
};

/* A stream, made by mux; the fields are for mux only, but for `user`. */
struct mux_stream {
	void *user;	 /* caller's */
	struct list run; /* on mux.run while it has bytes and credit, or what follows the last of them */
	uint32_t id;
	uint32_t avail;			     /* bytes that the caller has ready to send */
	uint32_t sent;			     /* v2: bytes sent, mod 2^32 */
	uint32_t peer_consumed, peer_window; /* v2, from UPD */
	uint32_t taken;			     /* bytes that our reader took, mod 2^32 */
	uint32_t told;			     /* v2: `taken` at the last UPD */
	uint32_t held;			     /* bytes delivered and not yet taken */
	uint16_t flags;			     /* MUX_S_* */
	uint16_t round;			     /* turn.c: of mux.round, the one that `budget` is for */
	uint32_t budget;		     /* bytes with headers that it may still send in that round */
	struct list ctl; /* on mux.ctl while a SYN or UPD is to be sent: the only field beyond a cache line */
};

#define MUX_S_SYN      0x001 /* SYN to be sent */
#define MUX_S_UPD      0x002 /* UPD to be sent */
#define MUX_S_HALF     0x004 /* half-close NOP to be sent after the bytes in avail */
#define MUX_S_FIN      0x008 /* FIN to be sent after the bytes in avail, then the stream is forgotten */
#define MUX_S_HALFSENT 0x010
#define MUX_S_FIN_IN   0x020  /* peer's FIN arrived */
#define MUX_S_HALF_IN  0x040  /* peer's half-close arrived */
#define MUX_S_READ     0x080  /* v2: first read happened */
#define MUX_S_BROKEN   0x100  /* v2: peer claimed bytes that were never sent: nothing more goes out but FIN */
#define MUX_S_GONE     0x200  /* the caller has let go of it; kept until its FIN is out */
#define MUX_S_RESET    0x400  /* ends by a reset instead of a FIN, where the peer understands one */
#define MUX_S_LOST     0x800  /* and where it does not, by nothing at all: a FIN would be a lie */
#define MUX_S_STARVED  0x1000 /* v2: has bytes, and has used up its window */

/* Ids to answer with FIN. */
struct mux_refused {
	uint16_t at, n;
	uint32_t id[MUX_REFUSED_MAX]; /* a ring */
};

#define MUX_GROW_BITS 20
#define MUX_GROW_MAX  (16u << 20) /* `grown` holds it */

struct mux { /* two cache lines */
	const struct mux_conf *conf;
	struct mux_stream **table; /* open addressing by id; NULL until the first stream */
	uint32_t cap : 23;
	uint32_t version : 2; /* 1 or 2; 0: the peer's, which has not said anything yet: nor do we */
	uint32_t holds : 1;   /* mux_hold */
	uint32_t opened : 1;  /* the peer has opened a stream, ever */
	uint32_t grown : 5;   /* MiB: what the windows and the bucket have beyond conf's */
	uint32_t count;
	int64_t bucket;		    /* smuxbuf minus what is held: at <= 0 the caller stops feeding (wire.md 8.4) */
	struct mux_stream *body_of; /* stream of the PSH that arrives; NULL: unknown, thrown away */
	uint32_t frames_in;	    /* frame headers seen: the keepalive check compares it */
	uint16_t body;		    /* bytes of body_of's PSH still to come */
	uint8_t have : 5;	    /* bytes of `head` */
	bool nop : 1;		    /* keepalive due */
	bool hello_due : 1, hello_sent : 1; /* section 14 */
	bool peer_half : 1, peer_resets : 1, peer_answers : 1, peer_roams : 1;
	bool starved : 1; /* a stream has bytes, and has used up its window */
	bool dead : 1;	  /* ids used up, or protocol error: no more streams can be opened */
	bool said : 1;	  /* a frame of a stream that the peer has opened has come */
	bool broken : 1;  /* protocol error: mux_next fails for good */
	uint8_t head[16]; /* header (and UPD body) while it arrives in pieces */
	struct list run;  /* streams with something to send, in turn: new ones, then old ones (turn.c) */
	struct list *new; /* the last of the new ones; &run: none */
	struct list ctl;  /* streams with a SYN or UPD to send, which go first */
	uint16_t round;	  /* of turns of the old ones */
	uint16_t ahead;	  /* 16 bytes: what new ones were given since an old one had its turn */
	uint32_t next_id;
	struct mux_refused *refused; /* NULL: none */
	struct mem *mem;
};

static_assert(sizeof(struct mux) <= 128, "100,000 idle sessions have to be cheap");

/* conf stays the caller's.  Memory is taken from mem as streams come. */
void mux_init(struct mux *m, const struct mux_conf *conf, struct mem *mem);
/* Frees all streams; walk them first with mux_each if their `user` matters. */
void mux_fini(struct mux *m);

/*
 * Every stream that the caller has not let go of, through a cursor: start with 0; NULL at the end.  Streams may not be
 * added, closed or sent for (mux_out) between.
 */
struct mux_stream *mux_each(struct mux *m, uint32_t *cursor);

/*
 * A server's session does not say anything before its client has, whose version it then takes if conf has none.  For
 * who has to see the client's first frame before anything can be sent at all; at once behind mux_init.
 */
static inline void mux_listen(struct mux *m)
{
	m->version = 0;
}

/*
 * While `on`, streams are opened and keepalives sent, but nothing of what streams have to say goes out, nor their ends.
 * For a client that does not know yet whether its peer understands it.
 */
static inline void mux_hold(struct mux *m, bool on)
{
	m->holds = on;
}

/*
 * The peer's first frame has, or will have, this version: what mux_next does by itself.  False: it is none, or another
 * than conf's.  A client that has none in conf is told so which one to speak.
 */
bool mux_hear(struct mux *m, uint8_t version);

/* 1 or 2; 0: not known yet. */
static inline unsigned mux_version(const struct mux *m)
{
	return m->version;
}

/* The frame header that mux_next failed at, MUX_HEAD bytes, for who wants to say why. */
static inline const uint8_t *mux_failed_at(const struct mux *m)
{
	return m->head;
}

/* ---- arriving ---- */

enum mux_ev_type {
	MUX_EV_NONE,   /* input used up */
	MUX_EV_OPEN,   /* peer opened `stream` (a stock server never does): set user, or mux_close it */
	MUX_EV_DATA,   /* `data` for stream; charged to it and the bucket until mux_taken */
	MUX_EV_FIN,    /* peer closed: neither sends nor reads any more; its avail is dropped, no event of it follows */
	MUX_EV_HALF,   /* peer sends no more, still reads (section 14) */
	MUX_EV_RESET,  /* peer's side failed: as FIN, but what came is not all that there was (section 14) */
	MUX_EV_CREDIT, /* v2: stream had used up its window and may send again */
	MUX_EV_HELLO,  /* peer is kcpgate: mux_can_half is true from now on */
	MUX_EV_REFUSED, /* SYN over max_streams or without memory: FIN goes out, nothing else to do (count it) */
	MUX_EV_BROKEN, /* v2: peer claims to have read what was never sent; stream's writes are over (8.5): mux_close it
			*/
};

struct mux_ev {
	enum mux_ev_type type;
	struct mux_stream *stream;
	struct slice data;
};

/*
 * Consumes from *in up to and including the next event.  0 and an event (MUX_EV_NONE when the input is used up), or
 * -EPROTO (wrong version, unknown command, UPD in v1): the session is to be closed.  A DATA event may be part of a
 * frame. Frames cross input borders anywhere.  Data of unknown streams is consumed silently, without charge; so is data
 * behind a FIN or half-close, and that of a stream in mux_close's care, which has no events any more.
 *
 * ev->stream is NULL for NONE, HELLO and REFUSED.  ev->data lies in the input.  Between two calls anything may be done
 * with any stream.
 */
int mux_next(struct mux *m, struct slice *in, struct mux_ev *ev);

/*
 * The reader took n bytes of s (after they were handed to TCP, or thrown away): returns tokens, may queue a UPD (8.5).
 * n is at most what DATA events brought and was not taken yet.
 */
void mux_taken(struct mux *m, struct mux_stream *s, uint32_t n);

static inline bool mux_may_read(const struct mux *m)
{
	return m->bucket > 0;
}

/* ---- departing ---- */

/* Opens a stream (client): its SYN goes out first.  NULL: no memory, ids used up (m->dead), or protocol error. */
struct mux_stream *mux_open(struct mux *m, void *user);

/*
 * The caller has n bytes more to send on s, 2^32 - 1 at most in all that wait.  Not after mux_half or mux_close.  After
 * MUX_EV_FIN or MUX_EV_BROKEN nobody will read them: they are not asked for any more.
 */
void mux_avail(struct mux *m, struct mux_stream *s, uint32_t n);

/*
 * The local side sends no more: queues the half-close NOP behind the bytes in avail, once.  -ENOTSUP when the peer is
 * stock, or the id is none that a signal can name (0, and 2^31 on).
 */
int mux_half(struct mux *m, struct mux_stream *s);

/*
 * The stream is over for us.  drain: FIN follows the bytes in avail; otherwise they are dropped and FIN goes at once.
 * With `drain` the caller goes on serving mux_out for it until the FIN is out (mux_out's `last`), after which s is
 * freed; without, s is gone when this returns and its held bytes return to the bucket.
 *
 * While it drains, s gives no events.  Bytes held before are the caller's to take as ever (what is left returns to the
 * bucket with the FIN); bytes that arrive are thrown away and count as taken, lest a peer that writes before it reads
 * blocks on its own window and us with it.  In v2 the peer's window can hold the FIN back without end: a timer is the
 * caller's, and mux_close(m, s, false) ends it.  A stream whose SYN is not out yet and that does not drain vanishes
 * without a frame.
 */
void mux_close(struct mux *m, struct mux_stream *s, bool drain);

/*
 * As mux_close, for a stream that ends by an error: a peer that understands it gets a reset behind what it was sent,
 * not a FIN.  Toward one that does not: `lost` says that bytes which the other end of the stream was promised will
 * never come; then it is told nothing at all, for a FIN would make what it has look whole.  Otherwise a FIN, as stock
 * does. May be called for a stream that drains already: it changes how it ends.
 */
void mux_abort(struct mux *m, struct mux_stream *s, bool drain, bool lost);

/* A keepalive NOP goes out next (every `keepalive` seconds, wire.md 8.6). */
void mux_keepalive(struct mux *m);

static inline bool mux_can_half(const struct mux *m)
{
	return m->peer_half;
}

static inline bool mux_can_reset(const struct mux *m)
{
	return m->peer_resets;
}

/* The peer is a server that answers those who ask whether it knows a session: HELLO said so. */
static inline bool mux_peer_answers(const struct mux *m)
{
	return m->peer_answers;
}

/* The peer is a server whose sessions go on from another address of their client's: HELLO said so. */
static inline bool mux_peer_roams(const struct mux *m)
{
	return m->peer_roams;
}

/* At a server: the peer has opened a stream, or said something of one that it had opened, since mux_unsaid. */
static inline bool mux_said(const struct mux *m)
{
	return m->said;
}

static inline void mux_unsaid(struct mux *m)
{
	m->said = false;
}

/* One frame to write: header bytes, then n payload bytes of `stream` (0 for control frames). */
struct mux_out {
	uint8_t head[16];
	uint8_t head_n; /* 8, or 16 for a UPD; 0: nothing is written, only `last` is told */
	uint32_t n;
	void *user; /* of the stream whose payload is asked for, NULL for control frames */
	bool last;  /* with this frame the stream is forgotten: `user` is given for the last time */
};

/*
 * `last` comes with a FIN (or reset, or nothing) of its own, never with payload, and only after mux_close(drain): else
 * the caller let go before. It may come before all announced bytes were asked for, when the peer has left meanwhile
 * (FIN, or a UPD that breaks it).
 */

/*
 * The next frame, fairly: control frames first, then one PSH a stream in turn, each at most framesize and within the
 * peer's window.  Turns are of equal bytes, and streams that had nothing to send go before those that had (turn.c).
 * False: nothing to send.  The caller must send what it was given.  Pure FINs set user and last too.  O(1): streams
 * without anything to send, or without window, cost nothing.
 */
bool mux_out(struct mux *m, struct mux_out *o);

/* True when mux_out would give something. */
bool mux_pending(const struct mux *m);

/*
 * v2: true while what streams have to send waits for the peer to announce more window, and for nothing else.  May say
 * so no longer as soon as one of them has more.
 */
static inline bool mux_starved(const struct mux *m)
{
	return m->starved;
}

/*
 * The path holds so many bytes: a stream may have them under way beside what its reader has yet to take, and the
 * session, too.  It never becomes less.
 */
void mux_grow(struct mux *m, uint32_t bytes);

/* Bytes that are held for streams, of those that the bucket may hold. */
static inline int64_t mux_held(const struct mux *m)
{
	return (int64_t)m->conf->smuxbuf + ((int64_t)m->grown << MUX_GROW_BITS) - m->bucket;
}

/* v2: the window that a stream has. */
static inline uint32_t mux_streambuf(const struct mux *m)
{
	return m->conf->streambuf + ((uint32_t)m->grown << MUX_GROW_BITS);
}
