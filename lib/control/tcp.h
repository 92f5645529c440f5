/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One TCP connection: the kernel's socket on one side, a chan on the other.  Readiness is edge-triggered and remembered
 * here, so that a connection costs one epoll_ctl in its life; one that has bytes to move stands on ctl's ready list and
 * gets a bounded share of every turn.
 */

#include "ctl_int.h"

enum tcp_state {
	TCP_WAIT,    /* server: waits for its turn to dial */
	TCP_RESOLVE, /* server: the target's name is being looked up, or a Unix target is busy */
	TCP_CONNECT, /* server: connect is under way */
	TCP_OPEN,
	TCP_FAILED, /* RESET was posted, the socket is closed: waits for the worker's CLOSE */
	TCP_LINGER, /* GONE was posted: the kernel still has bytes to deliver, or the peer to end; on ctl->lingering */
};

#define TCP_F_READABLE 0x0001 /* the socket may have bytes */
#define TCP_F_WRITABLE 0x0002 /* the socket may have room */
#define TCP_F_RDHUP    0x0004 /* the peer's FIN has come: read on until it shows */
#define TCP_F_EOF_IN   0x0008 /* read to the end, and EOF was posted */
#define TCP_F_EOF_OUT  0x0010 /* the worker writes no more */
#define TCP_F_SHUT     0x0020 /* our FIN was sent */
#define TCP_F_CLOSING  0x0040 /* the worker's CLOSE has come: write what the ring holds, then end */
#define TCP_F_DRAIN    0x0080 /* RESET was posted by ctl_drain: nothing is read any more */
#define TCP_F_STARVED  0x0100 /* on ctl->starved */
#define TCP_F_LOGGED   0x0200 /* "stream opened" was said */
#define TCP_F_ERROR    0x0400 /* epoll said so: ask SO_ERROR, once everything was read */
#define TCP_F_UNIX     0x0800 /* a Unix socket: what comes with descriptors ends a read early */
#define TCP_F_BROKEN   0x1000 /* the socket takes no more bytes: what is for it is thrown away */
#define TCP_F_ABORT    0x2000 /* to be ended by a reset, when the peer has everything that came before */

struct tcp {
	struct grave grave; /* first */
	struct ev ev;
	struct list all, ready, starved; /* starved: on ctl->lingering at the end */
	struct list blocked; /* on a list of its tunnel while its socket takes nothing of what the ring holds */
	struct list waiting; /* on a list of its tunnel while its ring holds what the worker has not taken */
	uint64_t blocked_at, waiting_at; /* ms: since when, or since the last progress */
	struct timer timer;
	struct name_wait wait;
	struct chan *ch; /* NULL from GONE on */
	uint16_t tunnel;
	uint16_t flags;	     /* TCP_F_* */
	uint8_t state;	     /* enum tcp_state */
	uint8_t tries;	     /* addresses of the target that were tried */
	uint8_t lead;	     /* bytes of the target's PROXY header that are still to be written */
	uint32_t post;	     /* events for the worker, posted when this connection's turn ends */
	uint32_t want;	     /* bytes to ask of the next readv */
	struct addr target;  /* that was dialled last */
	int err;	     /* -errno of the socket's failure, told when everything was read */
	unsigned looks;	     /* while lingering: how often */
	struct list dial;    /* on tunnel.dial_wait */
	uint64_t dial_until; /* ms: then the dial has failed */
	bool dialling;	     /* counts as a dial under way */
	bool has_fd;	     /* counts as a descriptor */
};

/* ---- tcp.c ---- */

/* Puts t on the ready list if it is not there. */
void tcp_ready(struct ctl *c, struct tcp *t);
/* The connection is over with -err: RESET to the worker behind what was read, or the end if that has closed already. */
void tcp_fail(struct ctl *c, struct tcp *t, int err);
/* CLOSE has been obeyed: GONE to the worker, which frees the chan; the socket lingers or closes. */
void tcp_finish(struct ctl *c, struct tcp *t);
/* The peer has been given everything: FIN behind it, which the kernel delivers whatever becomes of us. */
void tcp_shut(struct tcp *t);
void tcp_free(struct ctl *c, struct tcp *t);
/* Sets a new socket's options and puts it into the epoll set, for its whole life. */
int tcp_watch(struct ctl *c, struct tcp *t);
/* No chunk for t's bytes could be had: its reading goes on a few ms later. */
void tcp_starve(struct ctl *c, struct tcp *t);

/* ---- tcp_io.c ---- */

/* Moves a bounded number of bytes both ways.  True when more could be moved now.  t may be gone (state of its grave).
 */
bool tcp_move(struct ctl *c, struct tcp *t);
/* Reads and throws away; false when the peer has ended (or an error says so). */
bool tcp_discard(struct tcp *t);

/* ---- tcp_share.c ---- */
void tcp_share_up(struct ctl *c);
/* A connection of some tunnel found no chunk to read to. */
void tcp_share_wanted(struct ctl *c);
/* The worker has taken something of t's ring, or t has read into an empty one. */
void tcp_share_taken(struct ctl *c, struct tcp *t);
/* After each attempt to write: `moved` bytes went. */
void tcp_share_wrote(struct ctl *c, struct tcp *t, uint32_t moved);
/* CLOSE has come: nobody adds to what it holds, nor is there to miss it. */
void tcp_share_closing(struct ctl *c, struct tcp *t);

/* ---- tcp_dial.c ---- */

/* Server: dials the tunnel's target, now or when it is its turn; failures are told to the worker. */
void tcp_dial(struct ctl *c, struct tcp *t);
/* The target's name has been looked up. */
void tcp_dial_named(struct ctl *c, struct tcp *t);
static inline bool tcp_dialling(const struct tcp *t)
{
	return t->state <= TCP_CONNECT;
}
/* While it does: the timer. */
void tcp_dial_timer(struct ctl *c, struct tcp *t);
/* Neither waits nor dials any more, however that ended. */
void tcp_dial_over(struct ctl *c, struct tcp *t);
/* The socket of a connection under way is ready: it stands, or the next address is tried. */
void tcp_dialled(struct ctl *c, struct tcp *t);

/* ---- tcp_log.c ---- */
void tcp_log_up(struct ctl *c);
void tcp_log_opened(struct ctl *c, struct tcp *t);
void tcp_log_closed(struct ctl *c, struct tcp *t);
