/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The inside of a control instance.  One thread owns all of it.  A part (listen, tcp, dial, tap, nl ...) is a file with
 * its state in struct ctl, an up and a down function, and handlers for its file descriptors and timers.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl.h"
#include "ev.h"
#include "limit.h"
#include "list.h"
#include "log.h"
#include "name.h"
#include "nl.h"
#include "quota.h"
#include "resv.h"
#include "rtnl.h"
#include "sock_unix.h"
#include "team.h"

#define CTL_WORKERS_MAX LIMIT_WORKERS

/* What lives as long as the turn in which it died: later events of the same epoll_wait may still point at it. */
struct grave {
	struct grave *next;
};

struct listener {
	struct ev ev;
	struct timer pause;
	uint16_t tunnel;
	const char *path; /* of a Unix socket; NULL: TCP */
	struct unix_file file;
	struct log_limit limit;
};

struct tap {
	struct ev ev; /* fd -1: this gateway port has none */
	int ifindex;
	bool no_carrier; /* what tap_carrier was last told */
};

/* A gateway port's interface, which may go and come: what its device stands on. */
enum iface_state {
	IFACE_OPEN,
	IFACE_CLOSING, /* it has gone, and workers are being told */
	IFACE_AWAY,    /* the device is closed */
};

struct iface {
	enum iface_state state;
	char name[IF_NAMESIZE]; /* the kernel's, by which it knows the port: an exclusive port's TAP, else the base */
	char base[IF_NAMESIZE]; /* what the device stands on, or stood on last */
	uint64_t gen;		/* closing: of the first snapshot that says so; 0: none does yet */
	bool elsewhere;		/* the driver made it, and somebody took it to another network namespace */
	struct timer retry;
	char reason[160]; /* last told why it is not there */
	uint64_t told;	  /* ms */
	struct name host; /* sought */
	struct name_wait wait;
	struct port_link link; /* as it was last found; down while the port is not open */
	uint64_t link_changes;
};

#define DIAL_CLASSES 12

/* A tunnel as it runs. */
struct tunnel {
	const struct ctl_tunnel *conf;
	struct name host;  /* client: remote; server: target */
	unsigned accepted; /* client: connections so far, which picks the slot */
	struct log_limit dial_limit, key_limit, sess_limit, share_limit, fec_limit, wnd_limit, mtu_limit, misfit_limit;
	struct list blocked[2]; /* struct tcp.blocked, longest first: streams, and [1] those whose CLOSE has come */
	struct list waiting;	/* struct tcp.waiting, longest first */
	uint64_t refused;	/* what the tunnel's share of chunks had counted at the last look */
	uint64_t starved, starved_seen; /* times that reading waited for chunks, and of them at the last look */
	/* server: where it listens, when that is a name; until it is known the tunnel hears nothing */
	struct name listen;
	struct name_wait listen_wait;
	struct timer listen_retry;
	bool listen_told; /* why it does not yet */
	bool deaf;
	struct list dial_wait[DIAL_CLASSES]; /* server: struct tcp.dial, in order, by class (tcp_dial.c) */
	unsigned n_dial_wait;
	struct list turn; /* server: on ctl->dial_turn while any wait */
};

/* lo.c: the switches of the loopback interface. */
struct lo {
	int fd; /* the record of how they were, plus 1; 0: no part in it */
};

struct ctl {
	struct ctl_conf conf;
	struct ctl_stats stats;
	int epoll;
	uint64_t now; /* ms, CLOCK_MONOTONIC, of this turn */
	bool draining;
	bool ring[CTL_WORKERS_MAX]; /* workers that were posted to in this turn */
	struct wheel wheel;
	struct grave *dead;
	struct ev bell[CTL_WORKERS_MAX];
	struct ev sig, names_ev;
	uint64_t signals;
	struct tunnel *tunnels;
	struct listener *listeners;
	unsigned n_listeners, max_listeners;
	struct list conns;     /* struct tcp.all */
	struct list ready;     /* struct tcp.ready: has bytes to move */
	struct list starved;   /* struct tcp.starved: waits for chunks */
	struct list lingering; /* struct tcp.starved, oldest first: the kernel delivers what is left */
	unsigned linger_max;
	struct timer starved_timer;
	struct timer share_timer; /* looks after tunnels with blocked connections */
	struct timer lines_timer; /* ends a period of lines about streams */
	unsigned lines, lines_left_out;
	struct list dials; /* struct dialer.all */
	struct list holds; /* struct hold.all: ports of ended sessions, the oldest first */
	unsigned max_holds;
	struct list kept;    /* struct hold.all: ports of sessions that were replaced, and go on */
	unsigned dial_queue; /* dials of a tunnel that may wait */
	uint32_t dial_ms;
	struct list dial_turn; /* struct tunnel.turn: those whose dials wait */
	bool dial_wake;	       /* something was given back that they may wait for */
	unsigned changes;      /* of the team's, that this instance has followed */
	struct names names;
	struct resv *resv; /* server ports */
	unsigned n_resv, max_resv;
	struct tap tap[NET_DEV_MAX];
	struct iface iface[NET_DEV_MAX];
	uint16_t port_of[UINT8_MAX + 1]; /* DPDK port id -> gateway port, UINT16_MAX: none */
	uint8_t *frame;			 /* where TAP frames go when there is no mbuf, or several for one */
	struct rtnl rtnl;
	struct nl nl;
	struct ev nl_ev;
	struct timer link_timer; /* devices are asked for their links */
	uint64_t published;	 /* gen of the snapshot that workers were given last */
	uint64_t rules_told;	 /* nl.rules_gen when rules were told last */
	int vrf_told[NET_DEV_MAX];
	struct lo lo;
	struct team *team;
	struct ev team_ev;
	uint64_t turned; /* ns: the last turn's end */
};

/* ---- ctl.c ---- */

/* Writes one line to why and returns err, a negative errno. */
int ctl_fail(char *why, size_t why_n, int err, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

int ctl_ev_add(struct ctl *c, struct ev *e, uint32_t events);
void ctl_ev_mod(struct ctl *c, struct ev *e, uint32_t events);
/* Closes e->fd (which leaves the epoll set) and sets it to -1; no effect when it is -1. */
void ctl_ev_close(struct ev *e);

static inline void ctl_arm(struct ctl *c, struct timer *t, uint64_t ms)
{
	wheel_arm(&c->wheel, &t->ent, c->now + ms);
}

/* Frees malloc'ed memory that begins with a struct grave at the end of the turn. */
void ctl_bury(struct ctl *c, struct grave *g);

/* Posts events to a worker, whose bell is rung at the end of the turn. */
void ctl_post(struct ctl *c, unsigned worker, struct mbox_ent *e, uint32_t events);

/* Wakes the workers that were posted to. */
void ctl_ring(struct ctl *c);

/* ---- note.c ---- */
void note_turn(struct ctl *c);

/* ---- mirror.c ---- */
int mirror_up(struct ctl *c, char *why, size_t why_n);
void mirror_down(struct ctl *c);
void mirror_turn(struct ctl *c);
/* The oldest snapshot that a worker has adopted last. */
uint64_t mirror_adopted(const struct ctl *c);

/* ---- change.c ---- */
/* Follows what was changed while it runs. */
void change_turn(struct ctl *c);
void change_down(struct ctl *c);

/* ---- tap.c ---- */
int tap_up(struct ctl *c, char *why, size_t why_n);
void tap_down(struct ctl *c);
void tap_punts(struct ctl *c);

/* Makes a TAP again that somebody has removed; 0, or -errno and why. */
int tap_again(struct ctl *c, unsigned port, char *why, size_t why_n);

/*
 * The TAP's carrier as the port's link is; a TAP that is made again has it too.  No effect on a port without a TAP, and
 * on kernels that know no carrier of a TAP (before 5.0).
 */
void tap_carrier(struct ctl *c, unsigned port, bool up);

/* ---- tun.c ---- */
/* The interface of this TUN or TAP descriptor, wherever it is: another network namespace may have it.  False: it is no
 * more. */
bool tun_alive(int fd, char name[IF_NAMESIZE]);
/* A descriptor of this process, a driver's, whose TUN or TAP is called so: its number, or -1. */
int tun_fd_named(const char *ifname);

/* ---- iface.c ---- */
int iface_up(struct ctl *c, char *why, size_t why_n);
void iface_down(struct ctl *c);
/* The table of links has been read: which interface each port stands for now, in c->nl.port[].ifindex. */
void iface_look(struct ctl *c);
/* The port's device is being taken out: the port is closed when no worker touches it, and sought from then on. */
void iface_lost(struct ctl *c, unsigned port);
/* The newest snapshot says of every port what its interface is now. */
void iface_published(struct ctl *c);
void iface_turn(struct ctl *c);
/* Opens a port that is away on this interface.  True when it is open. */
bool iface_open(struct ctl *c, unsigned port, const char *ifname);
/* Says why a port is not there: each reason once, and again after a while. */
void iface_tell(struct ctl *c, unsigned port, const char *reason);

/* ---- link.c ---- */
int link_up(struct ctl *c, char *why, size_t why_n);
void link_down(struct ctl *c);
/* A port's device is served from now on, or no more. */
void link_opened(struct ctl *c, unsigned port);
void link_closed(struct ctl *c, unsigned port);
/* The table of links has been read. */
void link_seen(struct ctl *c);

/* ---- seek.c ---- */
void seek_up(struct ctl *c, unsigned port);
void seek_down(struct ctl *c, unsigned port);
/* Looks once for the interface of a port that is away; goes on by itself when a name must be resolved first. */
void seek_try(struct ctl *c, unsigned port);

/* ---- lo.c: after the tables have been read ---- */
int lo_up(struct ctl *c, char *why, size_t why_n);
void lo_down(struct ctl *c);
/* The same for a port that was opened later. */
void lo_opened(struct ctl *c, unsigned port);

/* ---- listen.c ---- */
int listen_up(struct ctl *c, char *why, size_t why_n);
void listen_down(struct ctl *c);
/* Those of one tunnel. */
void listen_close(struct ctl *c, unsigned tunnel);
int listen_open(struct ctl *c, unsigned tunnel, char *why, size_t why_n);

/* ---- limits.c ---- */
int limits_up(struct ctl *c, char *why, size_t why_n);
void limits_down(struct ctl *c);
/* A descriptor for a connection: may the tunnel have one, it has one, it has given one back. */
bool fd_may(const struct ctl *c, unsigned tunnel);
void fd_add(struct ctl *c, unsigned tunnel);
void fd_give(struct ctl *c, unsigned tunnel);

/* ---- tcp_dial.c ---- */
/* Begins dials that waited, where that has become possible. */
void tcp_dial_turn(struct ctl *c);

/* ---- tcp.c ---- */
/* Takes over an accepted socket, for which fd_add was called, and a chan that is filled in but for ctl; posts OPEN.
 * 0, or -errno: all stay the caller's. */
int tcp_accepted(struct ctl *c, int fd, struct chan *ch);
void tcp_mail(struct ctl *c, struct chan *ch, uint32_t events);
/* Moves bytes for connections that are ready, each a bounded share. */
void tcp_turn(struct ctl *c);
void tcp_drain(struct ctl *c);
/* Bytes for TCP that no peer has got, and of how many connections. */
uint64_t tcp_undelivered(const struct ctl *c, unsigned *conns);
void tcp_up(struct ctl *c);
void tcp_down(struct ctl *c);

/* ---- dial.c ---- */
void dial_mail(struct ctl *c, struct dial *d, uint32_t events);
/* The session on one of our UDP ports has ended. */
void dial_ended(struct ctl *c, uint16_t port);
void dial_down(struct ctl *c);
/* Gives up the oldest of the ports that are held, for there are no descriptors.  False: none is held. */
bool dial_give_up(struct ctl *c);
