/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What stands at the two ends of a path, and what is between the applications: a flow.  An end takes packets, does what
 * is due, and says when it wants to be asked again.
 */

#include <stdbool.h>
#include <stdint.h>

#include "path.h"

enum { CLIENT, SERVER };

enum end_kind { END_KCPGATE, END_STOCK_2021, END_STOCK_2026, END_CUBIC, END_RENO };

/* The options of a tunnel, by kcptun's names. */
struct end_conf {
	enum end_kind kind;
	int nodelay, interval, resend, nc;
	bool acknodelay;
	unsigned ds, ps; /* 0: no FEC */
	unsigned mtu, sndwnd, rcvwnd;
	unsigned smuxver, smuxbuf, streambuf;
	uint64_t ratelimit; /* bytes a second; kcpgate */
	uint64_t bandwidth; /* bytes a second; kcpgate; 0: it finds out */
	bool stock;	    /* kcpgate: congestion = "stock" */
	bool hello;	    /* kcpgate: false: it does not say that it is one */
};

#define WAN_CRYPT_HEAD 20 /* bytes that aes adds to a datagram: they take room, nobody enciphers them here */
#define WAN_FRAME_HEAD 42 /* Ethernet, IPv4, UDP */

struct wan_flow;

/* As it is now, for plots; and what it has done. */
struct end_look {
	uint32_t in_flight;			  /* segments sent, una not past them */
	uint32_t snd_wnd;			  /* what bounds them: the smaller of both windows */
	uint32_t srtt;				  /* ms */
	uint64_t segs_out, timeouts, fast, early; /* retransmissions by cause */
	uint64_t repeats;			  /* segments that came again */
	uint64_t parity, recovered;
	uint64_t dgrams;
	uint32_t window_told; /* kcpgate: how often it told that the peer's window limits, */
	uint32_t rcvwnd;      /* and which one it would have */
};

struct end;

struct end_ops {
	void (*take)(struct end *e, uint8_t *p, uint16_t n, uint64_t now);
	/* Everything that is due, until nothing moves. */
	void (*turn)(struct end *e, uint64_t now);
	uint64_t (*next)(const struct end *e);
	void (*look)(const struct end *e, struct end_look *out);
	void (*free)(struct end *e);
};

struct end {
	const struct end_ops *ops;
	struct wan_flow *flow;
	int side; /* CLIENT, SERVER */
	struct end_conf conf;
	uint64_t dgrams, parity;
	bool touched; /* something came: it has a turn */
};

struct end *shard_end_new(struct wan_flow *f, int side, const struct end_conf *conf, uint64_t seed);
struct end *stock_end_new(struct wan_flow *f, int side, const struct end_conf *conf, uint64_t seed);
struct end *tcp_end_new(struct wan_flow *f, int side, const struct end_conf *conf, uint64_t seed);

/* A datagram of UDP payload without what the cipher adds goes out. */
void end_send(struct end *e, const void *p, uint16_t n, uint64_t now);
