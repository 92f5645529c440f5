/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A chan carries one TCP stream's bytes between the worker that owns its session and the control lcore that owns its
 * socket: one single-producer single-consumer byte ring each way, and an event word each way (mbox.h).  Rings consist
 * of chunks from a shared pool, attached with the first byte and given back when the reader has drained them, so that
 * an idle stream holds none.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "addr.h"
#include "mbox.h"
#include "share.h"
#include "slice.h"

struct rte_mempool;

#define CHAN_CHUNK 16384 /* bytes a chunk, header included */
#define CHAN_IOV   8	 /* most iovecs that a call fills */

/*
 * The chunks of all chans of a process, and the chans themselves, shared out among the tunnels: what one's hung targets
 * hold is never another's.  Within a tunnel those that hold little go before those that hold much: a holder of many
 * compares what it has with chan_room, and stops at a part of it, so that there is always some left (Choudhury and
 * Hahne, "Dynamic queue length thresholds for shared-memory packet switches").
 */
struct chan_pool {
	struct rte_mempool *chunks;
	struct rte_mempool *chans;
	struct shares chunk_shares, chan_shares;
};

/* chunks, chans: how many of each there will be, among so many tunnels.  p stays where it is until it is destroyed.
 * 0 or -errno. */
int chan_pool_create(struct chan_pool *p, unsigned chunks, unsigned chans, unsigned tunnels, int socket);
/* The same, and so many tunnels more may come, which take from what is nobody's part. */
int chan_pool_create_spare(struct chan_pool *p, unsigned chunks, unsigned chans, unsigned tunnels, unsigned spare,
			   int socket);
void chan_pool_destroy(struct chan_pool *p);
/* The same at the end of the process: what is EAL's memory goes with EAL, which would first write zeros over all of it.
 */
void chan_pool_leave(struct chan_pool *p);
/* The tunnel never has chunks for more bytes than that.  Before it has any. */
void chan_bound(struct chan_pool *p, unsigned tunnel, uint64_t bytes);
/* Streams that this tunnel has now; any thread may ask. */
unsigned chan_streams(const struct chan_pool *p, unsigned tunnel);
/* Bytes that this tunnel could have chunks for now; any thread may ask. */
uint64_t chan_room(const struct chan_pool *p, unsigned tunnel);
/*
 * Share of the chunks that is free, 0..1000.  What lies in the lcores' caches (up to 1.5/64 of the pool each, nothing
 * in pools of fewer than 64) counts as in use.
 */
unsigned chan_pool_free_permille(const struct chan_pool *p);

struct chan_chunk;

/* One direction.  First line: producer's; second: consumer's.  bytes.c explains the protocol. */
struct chan_ring {
	_Atomic uint64_t tail; /* writer: producer; bytes ever written */
	struct chan_chunk *wchunk;
	struct chan_chunk *spare; /* lent by chan_space beyond wchunk, linked when committed */
	uint32_t woff;
	uint16_t tunnel; /* whose chunks these are */
	_Atomic uint64_t
		restart; /* writer: producer, only while empty; position that lies at restart_chunk's offset 0 */
	struct chan_chunk *_Atomic restart_chunk;
	_Atomic uint64_t head __attribute__((aligned(64))); /* writer: consumer; bytes ever taken */
	struct chan_chunk *rchunk;
	uint32_t roff;
	uint16_t rtunnel; /* the same, in the consumer's line */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct chan_ring) == 128, "a line for each side");

/* Events posted to control by a worker, and to a worker by control. */
#define CHAN_EV_OPEN  0x001 /* to control: dial the tunnel's target; to worker: open a stream for this connection */
#define CHAN_EV_DATA  0x002 /* bytes were written */
#define CHAN_EV_ROOM  0x004 /* bytes were taken: credit, or room for a writer that waited */
#define CHAN_EV_EOF   0x008 /* the poster writes no more; what is in the ring still counts */
#define CHAN_EV_UP    0x010 /* to worker: the target's connection stands; to control: the stream has its session */
#define CHAN_EV_RESET 0x020 /* to worker: the connection failed (err says how); what its ring holds still counts */
#define CHAN_EV_CLOSE 0x040 /* to control: the last event; write what the ring holds, then close (see `abort`) */
#define CHAN_EV_GONE  0x080 /* to worker: the last event, answers CLOSE; the worker frees the chan */
#define CHAN_EV_HAND  0x100 /* from one control instance to another, before OPEN: `fd` is yours from now on */

/* The socket is well, and more was to come of it, but control ends it: the peer must not take what it has for all. */
#define CHAN_ERR_STOPS ESHUTDOWN /* the program stops */
#define CHAN_ERR_DOWN  ENOBUFS	 /* the socket takes nothing, and others want the chunks of its ring */
#define CHAN_ERR_UP    ENOSPC	 /* the peer takes nothing, likewise: here the ring is void */
#define CHAN_ERR_DIALS EUSERS	 /* too many dials to the target wait already: this one was refused */

/*
 * Life: the opener takes a chan from the pool and posts OPEN.  Either side may then post DATA, ROOM, EOF; control posts
 * UP and RESET.  Only the worker closes: CLOSE is its last post, GONE is control's last post and answers it, after
 * which control never touches the chan again and the worker frees it.
 */
struct chan {
	struct mbox_ent to_ctl, to_worker; /* kind: MBOX_CHAN in both */
	void *ctl;			   /* control's side: its connection */
	void *worker;			   /* worker's side: its stream */
	uint16_t tunnel;		   /* index */
	union {
		uint16_t slot;	/* client: session slot of the tunnel; writer: control, then worker, before UP */
		uint16_t place; /* server: streams of its session whose dials are not over; writer: worker, before OPEN
				 */
	};
	uint16_t worker_id; /* the worker that owns the session */
	uint16_t ctl_id;    /* the control instance that owns the socket */
	union {
		int32_t err; /* errno of a failure, or CHAN_ERR_*; writer: control, before RESET */
		int32_t fd;  /* of HAND: the accepted socket */
	};
	bool abort; /* writer: worker, before CLOSE: bytes are missing behind the ring's last, so end by a reset */
	/*
	 * Who speaks.  Client: the application; port 0: by a Unix socket, without a name.  Server: the session's peer,
	 * as it was when the stream was opened.  Writer: the opener, before OPEN.
	 */
	struct addr peer;
	/* Client, for log lines: the session's peer; port 0: none yet; writer: worker, before UP.  Server: where `peer`
	 * sends to; writer: worker, before OPEN. */
	struct addr far;
	uint16_t peer_port, far_port;
	uint32_t sid;	       /* smux stream id; writer: worker */
	struct chan_ring up;   /* control -> worker: what TCP sent */
	struct chan_ring down; /* worker -> control: what the peer sent */
};

_Static_assert(sizeof(struct chan) == 384, "a stream that is idle is small");

#define MBOX_CHAN 1
#define MBOX_DIAL 2

/* Who speaks, for log lines: "IN" of "stream opened in: IN out: OUT"; "@" for whom there is no name.  Returns buf. */
const char *chan_peer_str(const struct chan *c, char buf[ADDR_STRLEN]);

/* A chan with empty rings for a tunnel, or NULL when its share of them is used up. */
struct chan *chan_alloc(struct chan_pool *p, unsigned tunnel);
/* Gives back the chan and whatever chunks its rings hold.  Both threads must be done with it. */
void chan_free(struct chan_pool *p, struct chan *c);

/* ---- producer ---- */

/* Copies v[0..n) in, as much as chunks could be had for; returns the bytes written.  One release store.  How far a
 * stream may run ahead of its reader is the caller's to limit (chan_used), to less than 4 GiB. */
uint32_t chan_write(struct chan_pool *p, struct chan_ring *r, const struct slice *v, unsigned n);

/* Free space of up to `want` bytes for a readv, in chunks that are already attached or lent now; returns the number of
 * iovecs (at most CHAN_IOV), 0 when no chunk could be had.  chan_commit must follow, before any other call of the
 * producer's but another chan_space, whose iovecs replace these. */
unsigned chan_space(struct chan_pool *p, struct chan_ring *r, uint32_t want, struct iovec *v);
/* The first n bytes of chan_space's iovecs hold data now; chunks beyond them go back.  n may be 0: then, if the ring is
 * empty, the last chunk goes back too. */
void chan_commit(struct chan_pool *p, struct chan_ring *r, uint32_t n);

/* Gives the producer's last chunk back if the reader has drained everything; call on ROOM.  True when none is left. */
bool chan_trim(struct chan_pool *p, struct chan_ring *r);

/* ---- consumer ---- */

/* Up to max slices (max <= CHAN_IOV) of what can be read, from the oldest byte on. */
unsigned chan_peek(struct chan_ring *r, struct iovec *v, unsigned max);
/* Takes n bytes off, at most what chan_peek has shown since the last call.  Chunks read to their end go back to the
 * pool, but for the producer's (chan_trim).  One release store. */
void chan_done(struct chan_pool *p, struct chan_ring *r, uint32_t n);

/* Takes off everything, unseen; returns how many bytes that were. */
uint32_t chan_junk(struct chan_pool *p, struct chan_ring *r);

/* ---- either side ---- */

/* Bytes written and not yet taken; any thread may ask. */
uint32_t chan_used(const struct chan_ring *r);
/* Bytes ever taken, low 32 bits: the producer learns from the difference how much was consumed. */
uint32_t chan_taken(const struct chan_ring *r);
