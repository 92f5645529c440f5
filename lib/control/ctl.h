/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The control side: kernel TCP sockets, the exception path, the mirror of the kernel's tables, dialling, signals; one
 * epoll turn.  It is an instance without globals.  It never touches a session: everything goes over the borders.
 *
 * Further instances, each in a thread of its own, take part in the TCP connections, and in nothing else.
 */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "border.h"
#include "chan.h"
#include "net.h"
#include "port.h"

struct ctl;

struct ctl_addr { /* host: literal, name or empty (any); ports min..max */
	const char *host;
	uint16_t port_min, port_max;
};

struct ctl_tunnel {
	const char *name;
	bool blank; /* nobody's yet: a place for one that comes while it runs */
	bool client;
	struct ctl_addr listen;	     /* client: TCP to accept on; server: ports to reserve and enter in net_ports */
	struct ctl_addr target;	     /* server: TCP to dial for each stream */
	struct ctl_addr remote;	     /* client: the server's UDP */
	uint16_t port;		     /* gateway port index, or UINT16_MAX: any */
	unsigned conn;		     /* client: session slots */
	const uint16_t *slot_worker; /* client: worker of each slot */
	const struct dial *dials; /* client: of each slot, from whose `busy` follows where a connection goes; or NULL */
	uint32_t scavenge_ms;	  /* client: for so long at most a session outlives the start of its successor */
	/*
	 * client: Unix stream socket to accept on instead of `listen`, server: to dial instead of `target`; NULL: none.
	 * Up to 107 bytes; '@' first names an abstract socket.  The one to accept on takes the place of a socket file
	 * on which nobody answers, never of anything else, and is removed at the end.
	 */
	const char *listen_path;
	const char *target_path;
	bool proxy;	  /* server: a PROXY header with the peer's address goes to the target first (proxy.h) */
	bool tcp;	  /* fake TCP: the tunnel's ports are TCP ports (wire.md 10) */
	bool beside;	  /* server: another one before it listens at the same place, and has the ports for both */
	unsigned sockbuf; /* bytes of its UDP sockets' buffers, on a gateway port of sockets; 0: the kernel's default */
};

/* How the interface of a port that names none is found, again and again until there is one. */
enum ctl_seek {
	CTL_SEEK_NO,	  /* it is named */
	CTL_SEEK_ROUTE,	  /* by the kernel's route to seek_host: a client's remote */
	CTL_SEEK_OWNER,	  /* it has the address seek_host, or else by the route to it: a server's listen address */
	CTL_SEEK_DEFAULT, /* by the kernel's default route */
};

struct ctl_port {
	const char *name;
	const struct port *port; /* not started: its interface is not there yet */
	bool tap_made; /* the TAP is a device's of the workers: it is there, and its frames do not pass here */
	bool tap;      /* exclusive, with a kernel TAP; false: shared, `ifname` is the kernel's own interface: the
			* device's, or with vlan that of the VLAN */
	const char *ifname;
	const char *base; /* kernel interface that the device stands on, and waits for; "": none, or it is sought */
	enum ctl_seek seek;
	const char *seek_host; /* literal or name */
	unsigned mtu;
	uint16_t vlan;			   /* whose tag all frames bear outside, 1..4094; 0: none */
	const struct net_local *addresses; /* tap: to be configured; plen in bits of the 128-bit form; dev ignored */
	unsigned n_addresses;
	bool local_peers;	    /* on lo: the kernel's switches for a stock peer on this host, while we run */
	const struct addr *gateway; /* tap: default routes to be set */
	unsigned n_gateway;
};

struct ctl_conf {
	unsigned id;	     /* 0: the first instance; others 1, 2, ... */
	unsigned n_controls; /* of the first: how many there will be, itself included, up to LIMIT_CONTROLS; 0: one */
	struct ctl *first;   /* of the others */
	const struct ctl_tunnel *tunnels;
	unsigned n_tunnels;
	const struct ctl_port *ports; /* index = gateway port index */
	unsigned n_ports;
	struct border *const *borders; /* one a worker: with this instance */
	unsigned n_workers;
	struct chan_pool *chans;
	struct net_ports *udp;
	struct rte_mempool *frames; /* mbufs for frames from the TAP */
	bool quiet;		    /* no "stream opened/closed" lines */
	unsigned dials;		    /* under way at once, to all targets; 0: 512 */
	uint32_t dial_ms;	    /* after which a dial has failed, waiting for its turn included; 0: 30 s */
	unsigned spared;	    /* descriptors that others of this process may come to need */
	unsigned descriptors;	    /* for connections and sessions' ports; 0: what RLIMIT_NOFILE leaves */
	const char
		*lo_dir;  /* folder for the record of how those switches were; NULL: there is none, and they are left */
	sigset_t signals; /* blocked by the caller in all threads; read here by signalfd */
	/*
	 * Opens a port's device on the interface `ifname`, or closes it, when no worker touches it: port_of ctl_port is
	 * started, or not, afterwards.  0, or -errno and why.  NULL: ports are open, and stay so.
	 */
	int (*port_open)(void *ctx, unsigned port, const char *ifname, char *why, size_t why_n);
	void (*port_close)(void *ctx, unsigned port);
	/* What the device of a port that is started says of its link.  NULL: nothing. */
	void (*port_link)(void *ctx, unsigned port, struct port_link *l);
	/* A server's listen address, given as a name, was found: before any port of the tunnel is in `udp`.  May be
	 * NULL. */
	void (*listens)(void *ctx, unsigned tunnel, const struct addr *a);
	/* A server's client uses this shape of FEC: makes workers find its codec.  0, or -errno: there can be none.
	 * NULL: there is none. */
	int (*fec_shape)(void *ctx, unsigned tunnel, unsigned ds, unsigned ps);
	void *ctx;
};

struct ctl_stats {
	uint64_t accepted;    /* connections of client tunnels */
	uint64_t dialled;     /* connections to targets that came to stand */
	uint64_t dial_failed; /* and those that did not */
	uint64_t streams;     /* connections now, those being dialled or ended included */
	uint64_t tcp_in_bytes, tcp_out_bytes;
	uint64_t punted, injected; /* frames to and from the TAPs */
	uint64_t punt_errors;	   /* frames for no TAP, or that it refused */
	uint64_t punt_finished;	   /* of punted: their sender had left the checksum undone */
	uint64_t inject_no_mbuf, inject_full;
	uint64_t inject_down;			    /* frames from TAPs whose port is closed */
	uint64_t ports_closed, ports_opened;	    /* while running: an interface went, or came */
	uint64_t snapshots;			    /* published */
	uint64_t routes, route_bytes;		    /* in the mirror now, and what it takes of memory */
	uint64_t route_changes, route_reads;	    /* messages followed; times that the whole table was read */
	uint64_t rules;				    /* of policy routing now, that are not followed */
	uint64_t sessions_dialled, sessions_failed; /* client tunnels' session slots */
	uint64_t accept_paused;			    /* times that a listener waited for file descriptors or chans */
	uint64_t no_chunk;			    /* times that a connection's reading waited for chunks */
	uint64_t evicted;    /* connections reset, since what they did not take was wanted by others of their tunnel */
	uint64_t lingering;  /* connections now whose last bytes the kernel still delivers */
	uint64_t linger_cut; /* and those that were reset, the oldest, since there were too many */
	uint64_t dials, dials_limit;		 /* under way now, and at most */
	uint64_t dials_waiting;			 /* now, for one of those, or for a descriptor */
	uint64_t dial_refused;			 /* streams for which too many waited */
	uint64_t dial_timeouts;			 /* of dial_failed */
	uint64_t descriptors, descriptors_limit; /* of connections now, and at most */
	uint64_t holds, holds_given_up;		 /* ports of ended sessions now; those given up before their time */
	uint64_t turns, busy_ns, total_ns;	 /* turns; time in them, and in all since the first one's end */
};

/*
 * What conf points at must outlive the instance; conf itself is copied.
 *
 * Makes TAPs, addresses and routes, reserves UDP ports, reads the kernel's tables, publishes the first snapshot to
 * every border, and listens on TCP.  Everything is undone by ctl_destroy, before which the workers must have stopped:
 * it takes the snapshot back from the borders.  0, or -errno and one line in why.
 *
 * A further instance only listens to its bells.  It is made behind the first, and destroyed before it, by the first
 * one's thread while its own does not run.
 */
int ctl_create(struct ctl **out, const struct ctl_conf *conf, char *why, size_t why_n);
void ctl_destroy(struct ctl *c);

/*
 * One turn: mailboxes, sockets, TAPs, netlink, timers.  Blocks up to timeout_ms when there is nothing to do (0: never;
 * negative: for as long as it takes).  Returns the set of signals that arrived as a bit mask (1 << signo), or 0.
 */
uint64_t ctl_turn(struct ctl *c, int timeout_ms);

/* Of a further instance, whose thread makes turns until ctl_stopped; ctl_stop is any thread's to call. */
void ctl_stop(struct ctl *c);
bool ctl_stopped(const struct ctl *c);

/* True while the first attempt to find a port's interface is under way, or what it found is not in use yet. */
bool ctl_seeking(const struct ctl *c);

/*
 * Stops accepting, reads no more, and asks the workers to end all streams (RESET with ESHUTDOWN) behind what was read;
 * what has come from the peers is still written out, and then the connections are reset, for more was to come.
 * ctl_turn must go on until ctl_idle, which a target that reads no more delays for ever.  Of the first instance: it
 * has the others do the same, whose turns must go on, too.
 */
void ctl_drain(struct ctl *c);
bool ctl_idle(const struct ctl *c);
/* Bytes for TCP that no peer has got, and of how many connections. */
uint64_t ctl_undelivered(const struct ctl *c, unsigned *conns);

/* ---- what changes while it runs (change.c) ---- */

/* Any thread's: a turn begins soon. */
void ctl_wake(struct ctl *c);

/*
 * The first instance's thread; the others follow in their next turns.  A tunnel is t from then on, whose target's
 * strings are copied; of one that was not blank only target, target_path, proxy and scavenge_ms may differ.  0 or
 * -ENOMEM.
 */
int ctl_tunnel_change(struct ctl *c, unsigned tunnel, const struct ctl_tunnel *t);
/* Likewise: as in ctl_conf. */
void ctl_change(struct ctl *c, bool quiet, uint32_t dial_ms);

/*
 * A tunnel in a place that was blank.  First ctl_tunnel_change with all that it is; when every instance has followed
 * (ctl_followed, any thread) and workers know it, ctl_tunnel_open: it listens from then on, or why not and all is as
 * before.  A client's listen is no name.
 */
bool ctl_followed(const struct ctl *c);
int ctl_tunnel_open(struct ctl *c, unsigned tunnel, char *why, size_t why_n);
/* Likewise the first instance's thread: a client's tunnel accepts no connection any more (they are refused); a server's
 * is the workers' to drain. */
void ctl_tunnel_close(struct ctl *c, unsigned tunnel);
/* A tunnel without sessions: its ports are others' to have. */
void ctl_tunnel_gone(struct ctl *c, unsigned tunnel);

/*
 * Something that workers look at was replaced (the first instance's thread).  Once ctl_epoch_seen (any thread), no
 * worker has anything of what there was before.
 */
void ctl_epoch(struct ctl *c);
bool ctl_epoch_seen(const struct ctl *c);

const struct ctl_stats *ctl_stats(const struct ctl *c);
/* Instance k, given the first; NULL: there is none. */
const struct ctl *ctl_instance(const struct ctl *c, unsigned k);
/* Sums of all instances', given the first; limits are the process's. */
void ctl_stats_all(const struct ctl *c, struct ctl_stats *sum);

/* A port as it is now. */
struct ctl_port_now {
	bool open;
	struct port_link link; /* told: by the device; else it is its interface's */
	uint64_t changes;      /* of the link: from up to down, or back, while the port was open */
};
struct ctl_port_now ctl_port_now(const struct ctl *c, unsigned port);

/* What a tunnel has of what tunnels share. */
struct ctl_parts {
	unsigned dials, dials_waiting, descriptors;
};
struct ctl_parts ctl_parts(const struct ctl *c, unsigned tunnel);
