/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The border between one worker and one control instance: every object that the two threads share, each with its
 * direction.  Bytes cross in chans, events in mailboxes, foreign frames and notes in rings, and the picture of the
 * kernel's tables as an immutable snapshot that the worker adopts at a turn's start.
 *
 * There may be further control instances, which have TCP connections and nothing else: a worker's borders with them
 * hang on the first one's, carry chans alone, and ring the same bell of the worker's.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "limit.h"
#include "mbox.h"

struct net_tbl;
struct rte_mbuf;
struct rte_ring;

/* What a worker has to tell: control makes log lines of it, or acts.  Lost when the ring is full, which is counted. */
enum note_type {
	NOTE_SESS_OPEN =
		1,	 /* key: the new session; arg: conv; arg2: smux version, 0: the peer's, as NOTE_SPEAKS tells */
	NOTE_SESS_CLOSE, /* key; arg: a DROP_* reason, 0 for an ordinary end; arg2: NOTE_AGED_* */
	NOTE_NEIGH,	 /* key.peer: next hop whose link address is wanted, key.dev: its port */
	NOTE_BAD_KEY,	 /* tunnel: nothing but checksum failures; arg: how many in the last second */
	NOTE_FEC,	 /* key: a session whose sides differ in FEC; arg: the peer's, arg2: ours, as NOTE_FEC_SHAPE */
	NOTE_SHAPE,	 /* the same, of a client whose shape it is to be sent: control makes the codec */
	NOTE_WINDOW, /* key, id: a session that its peer's window limits; arg: segments that it has << 16 | should have;
			arg2: kbit/s that it lets through; rtt: ms */
	NOTE_MOVED,  /* key: a server's session, which goes on with this peer; arg: conv */
	NOTE_MTU, /* key: a session whose path takes less than it was to send; arg: bytes of a full packet of it << 16 |
		     of those that go; arg2: NOTE_MTU_* */
	NOTE_SPEAKS, /* key: a server's session whose client has said what it speaks; arg: smux version; arg2: 1: snappy
		      */
	NOTE_MISFIT, /* key: a session whose two sides cannot understand each other; arg: NOTE_MISFIT_*; arg2: of smux,
			the peer's version << 16 | ours */
};

/* A client session that ended for its age (wire.md 9.1): with nothing to carry, or with its streams. */
enum { NOTE_AGED_NOT, NOTE_AGED_IDLE, NOTE_AGED_TTL };

/* How that is known. */
enum { NOTE_MTU_INTERFACE = 1, NOTE_MTU_ICMP, NOTE_MTU_LOSS };

/* What they differ in: smux's version; the peer sends no snappy; it sends some; and what a server forgets at once,
 * which is how stock takes what it does not understand: our version; both. */
enum { NOTE_MISFIT_SMUX = 1, NOTE_MISFIT_PLAIN, NOTE_MISFIT_SNAPPY, NOTE_MISFIT_FORGETS, NOTE_MISFIT_NEITHER };

/* Data and parity packets of a group; 0: no FEC. */
#define NOTE_FEC_SHAPE(ds, ps) ((uint32_t)(ds) << 16 | (uint32_t)(ps))

struct note {
	uint8_t type;
	uint8_t pad;
	uint16_t tunnel;
	uint16_t worker;
	uint16_t rtt;
	uint32_t arg;
	uint32_t arg2;
	struct flow_key key;
	uint64_t id;
};

_Static_assert(sizeof(struct note) == 64, "notes travel in a ring of whole elements");

/*
 * A client session slot's dialling.  The worker asks for a source address and port; control resolves the remote name,
 * picks the remote port, a source address by route and a source port whose replies come home to this worker, reserves
 * it in the kernel, enters it in net_ports, and answers.  One request at a time: between WANT and its answer the fields
 * are control's.
 */
#define DIAL_EV_WANT  0x1 /* to control */
#define DIAL_EV_DROP  0x2 /* to control: the session on `key` has ended; its port may go (control keeps it a while) */
#define DIAL_EV_READY 0x4 /* to worker: key is filled in */
#define DIAL_EV_FAIL  0x8 /* to worker: err says why; control has logged it */
/*
 * To control: the session on `key` has expired and is replaced, but goes on until its NOTE_SESS_CLOSE, or for at most
 * what the tunnel's scavengettl allows: so long its port stays.
 */
#define DIAL_EV_KEEP 0x10

struct dial {
	struct mbox_ent to_ctl, to_worker; /* kind: MBOX_DIAL */
	uint16_t tunnel, slot, worker_id;
	int32_t err;
	struct flow_key key;
	void *ctl;    /* control's side */
	void *worker; /* worker's side */
	/* writer: worker; what the slot's session has still to get rid of, as a power of two; 0: little, or none */
	_Atomic uint32_t busy;
};

/*
 * Frames for the kernel, in lanes that share nothing: by what they are to it (enum net_kind), those first that the host
 * and its neighbours cannot do without.
 */
#define BORDER_LANES 6

struct border {
	struct mbox *to_ctl, *to_worker;
	struct rte_ring *punt[BORDER_LANES]; /* worker -> control: mbufs, whole frames, mbuf->port as received */
	struct rte_ring *inject;	     /* control -> worker: mbufs, whole frames, mbuf->port where to */
	struct rte_ring *notes;		     /* worker -> control: struct note */
	uint64_t notes_lost;		     /* writer: worker */
	int ctl_bell;			     /* eventfd, rung by the worker between turns when mbox_wanted(to_ctl) */
	int worker_bell; /* eventfd, rung by control when mbox_wanted(to_worker); the worker's only one */
	struct border *more[LIMIT_CONTROLS - 1]; /* the first one's: of the same worker with control 1, 2, ... */
	unsigned n_more;
	bool joined;			/* one of those: it has neither frames nor notes nor a table */
	const struct net_tbl *rung_tbl; /* control's own: what tbl was when border_ring_worker last looked */
	uint64_t rung_epoch;		/* likewise */
	_Atomic(const struct net_tbl *) tbl __attribute__((aligned(64))); /* writer: control */
	/*
	 * Writer: control, one more each time that something which workers look at was replaced: a worker that has
	 * begun a turn since says so in `seen`, and holds nothing any more of what there was before.
	 */
	_Atomic uint64_t epoch;
	_Atomic uint64_t adopted __attribute__((aligned(64))); /* writer: worker; gen of the table in use */
	_Atomic uint64_t seen;				       /* writer: worker; epoch of its turn */
};

/*
 * Everything but tbl; `objects`: chans and dials that can ever be posted, `frames`: room in inject, and in
 * the lanes of punt an eighth or half of it each.  0 or -errno.
 */
int border_create(struct border **out, unsigned worker, unsigned objects, unsigned frames, int socket);
/* Frees the mbufs that are still in its rings too, and the borders that joined it; all threads must be done with them.
 * b may be NULL. */
void border_destroy(struct border *b);
/* One more, of the same worker with the next control instance.  0 or -errno; b is unchanged then. */
int border_join(struct border *b, unsigned worker, unsigned objects, int socket);

/* A worker's border with a control instance, given the first one's. */
static inline struct border *border_of(struct border *b, unsigned ctl)
{
	return ctl ? b->more[ctl - 1] : b;
}

/* A frame for the kernel (worker only).  False: its lane is full. */
bool border_punt(struct border *b, unsigned lane, struct rte_mbuf *m);
/*
 * Takes up to max of them (control only), lane after lane in their order: each its part of max first, so that none
 * waits for ever, and then what is left.
 */
unsigned border_punts(struct border *b, struct rte_mbuf **v, unsigned max);

/* Leaves a note (worker only); lost and counted when the ring is full. */
void border_note(struct border *b, const struct note *n);
unsigned border_notes(struct border *b, struct note *v, unsigned max);

/*
 * Rings the other side if it sleeps and anything waits for it: an event, a frame, a note, or (for the worker) a table
 * that was published since.  A system call when it does ring, so between turns only; cheap enough for every turn.
 * A worker gives its first border, and rings all control instances; each of those rings by its own.
 */
void border_ring_ctl(struct border *b);
void border_ring_worker(struct border *b);

/*
 * Before a side blocks on its bell: true when it may.  False when something waits for it, and then it is not marked as
 * asleep.  tbl: the table that the worker uses; a newer one counts as something that waits.  A worker gives its first
 * border, and sleeps on all.
 */
bool border_sleep_ctl(struct border *b);
bool border_sleep_worker(struct border *b, const struct net_tbl *tbl);

/* After it has blocked, whatever woke it: no longer asleep, and the bell is silent.  One system call. */
void border_awake_ctl(struct border *b);
void border_awake_worker(struct border *b);
/* The same of a worker whose bell has not rung: no system call. */
void border_up_worker(struct border *b);
