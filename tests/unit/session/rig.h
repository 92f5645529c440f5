/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Two shards in one process, a client tunnel's and a server tunnel's, joined by a simulated link under a virtual clock.
 * The suite plays control on both sides: it owns the far ends of the chans, answers dialling, and is the application
 * behind every stream.  What an application sends is a pattern that its other end knows, so every byte is checked.
 */

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>

#include "sess.h"
#include "sim.h"

enum rig_end { CLIENT, SERVER };

#define RIG_START   1000 /* ms */
#define RIG_TUNNELS 2	 /* at most */
#define RIG_PORT    4000 /* the server's; the client's are counted up from RIG_PORT + 1 */

struct rig_conf {
	uint8_t smux;
	bool nocomp;
	unsigned ds, ps; /* 0: no FEC; rig_shape sets one end */
	bool hello[2];	 /* false: this end behaves as stock does */
	uint32_t closewait_ms[2], keepalive_ms;
	uint32_t smuxbuf, streambuf, max_streams;
	uint32_t wnd;	    /* segments, both windows */
	unsigned conn;	    /* client session slots */
	unsigned chunks[2]; /* of the chan pools */
	unsigned chans;	    /* streams at once, either end */
	unsigned sessions;  /* either end */
	unsigned qpp;	    /* pads; 0: off */
	unsigned tunnels;   /* of the server's end: others are copies of the first, for rig_feed_to */
	uint32_t autoexpire_ms, scavenge_ms;
	uint64_t ratelimit[2];
	uint8_t congestion;    /* enum kcp_congestion, of both ends */
	uint64_t bandwidth[2]; /* kcp_conf.bandwidth */
	bool fine;	       /* turns come by the us, and the shards are told it (shard_clock); else by the ms */
	size_t heap[2];
	size_t memory[RIG_TUNNELS], session_bytes; /* the server's limits; 0: none */
	bool v6;				   /* the two ends' addresses */
	struct sim_conf link;			   /* both ways */
	struct fresh_book *book;		   /* the server's; NULL: none */
	uint64_t seed;
};

/* Control's end of one stream, and the application behind it. */
struct conn {
	struct rig_side *side;
	struct chan *chan; /* NULL once GONE was posted */
	struct conn *peer; /* the same stream's other end; NULL before the server has it */
	uint64_t key;	   /* of the pattern that this end sends */
	uint64_t to_send, sent, got;
	uint64_t reply; /* client: what the server's end is to send */
	bool hold_eof;	/* does not end its direction after to_send */
	bool stopped;	/* reads nothing */
	bool up, eof_sent, eof_in, closed, aborted, reset;
	uint64_t last_at, eof_at, closed_at; /* ms: last byte, EOF, CLOSE */
	unsigned slot;			     /* client */
	uint16_t port;			     /* client: its session's, once it has one */
	uint32_t sid;
	bool starved;	/* the last write found no chunk */
	bool stop_peer; /* client: the server's end comes up with a stopped reader */
	bool refuse;	/* server: the target cannot be reached */
};

enum rig_dial { DIAL_OK, DIAL_FAILS, DIAL_SILENT };

struct rig_side {
	struct rig *rig;
	enum rig_end end;
	union {
		struct shard_tunnel tun; /* the first, which rig_connect's connections are of */
		struct shard_tunnel tuns[RIG_TUNNELS];
	};
	struct shard *shard;
	struct border *border;
	struct chan_pool pool;
	struct mem *mem;
	void *map;
	size_t map_len, mem_idle;
	struct sim_link *out;
	struct conn **conn;
	unsigned n_conn, cap_conn, live;
	bool stop_new;	    /* connections come up with a stopped reader */
	bool refuse_new;    /* server: no target can be reached */
	bool hold_new;	    /* connections do not end their direction */
	uint32_t ahead;	    /* bytes that a connection writes ahead of the shard */
	enum rig_dial dial; /* client */
	/* us: its worker makes one turn at each multiple of this, which sends so many datagrams at most; 0: it makes
	 * turns whenever there is something to do */
	uint64_t every_us;
	unsigned most;
	uint64_t turned; /* us: the last such turn */
	unsigned wants, drops, keeps;
	uint64_t wire; /* UDP payload that it has sent, without what the cipher adds */
	uint64_t dgrams;
	uint64_t framed, parity, odd_parity; /* of them: with an FEC header, parity packets, those with odd seqids */
	uint64_t lone;			     /* and those that are in no group */
	bool stock_fec; /* server: sends its own shape from the first packet on, whatever the client's is, as stock does
			 */
	uint64_t most_read; /* bytes above KCP in one turn */
	struct qpp_pads *qpp;
	uint64_t got;
	void (*sent)(void *arg, const struct rig_side *s, const struct pkt *k); /* sees each datagram that leaves */
	void *sent_arg;
};

struct rig {
	struct rig_conf conf;
	struct rig_side side[2];
	struct dial *dials;
	uint16_t next_port;
	uint64_t us;  /* what everything goes by */
	uint64_t now; /* the same in ms */
	uint64_t turns;
	bool cut[2];  /* what this end sends is lost */
	bool changed; /* what arrives is not always what was sent: bytes are not compared */
	/* The server sees the client's ports so much higher: by a NAT, which forgets what it had before when that
	 * changes (unless nat_keeps: then both ways stand). */
	uint16_t nat, nat_was;
	bool nat_keeps;
	struct {
		unsigned mtu;		    /* of the path that this end's packets take, 0: any size fits */
		bool told;		    /* its router says so, by ICMP */
		unsigned big, frags, wrong; /* packets lost to it; sent in fragments; larger than our interface */
	} path[2];
};

/* Is KCP_CONGESTION_AUTO, in turns by the us, what rig_defaults gives?  With RIG_CONGESTION=auto in the environment. */
bool rig_auto(void);
/* smux 2, snappy, no FEC, both ends kcpgate, a link of 20 ms without loss, and memory in plenty. */
struct rig_conf rig_defaults(void);
struct rig *rig_new(const struct rig_conf *conf);
/* Closes everything, and checks that every byte of memory, every chunk and every chan has come back. */
void rig_end(struct rig *r);

/* Gives one end another shape of FEC (0, 0: none), before it has sessions.  conf.ds was not 0. */
void rig_shape(struct rig_side *s, unsigned ds, unsigned ps);

/* A connection accepted at the client: sends `send` bytes and is sent `reply`, and each end then closes. */
struct conn *rig_connect(struct rig *r, unsigned slot, uint64_t send, uint64_t reply);
/* The application gives up: its connection was reset. */
void conn_reset(struct conn *c);
/* n more bytes to send. */
void conn_more(struct conn *c, uint64_t n);
/* The application ends its direction, if it did not. */
void conn_eof(struct conn *c);
/* Takes what there is, unless it is stopped. */
void conn_read(struct conn *c);
/* Writes what it has to send, as far as it may; ends its direction. */
void conn_write(struct conn *c);

/* It is `ms` now, whatever would have been due before. */
void rig_at(struct rig *r, uint64_t ms);
/* All that is due now, until nothing moves. */
void rig_settle(struct rig *r);
/* Goes on until `until` (ms), or until done(arg) is true: which it then returns. */
bool rig_run(struct rig *r, uint64_t until, bool (*done)(void *), void *arg);
/* Goes on until every connection at both ends is closed. */
bool rig_finish(struct rig *r, uint64_t ms);

/* Checks that both ends have got everything, and ended in order. */
void conn_complete(const struct conn *c);

/* One datagram, decrypted, into a shard: the verdict. */
unsigned rig_feed(struct rig *r, enum rig_end end, uint16_t client_port, const void *p, uint16_t n);
/* The same, of a server's tunnel other than the first. */
unsigned rig_feed_to(struct rig *r, uint16_t tunnel, uint16_t client_port, const void *p, uint16_t n);
/* A flow key as this end has it, of the client's port. */
struct flow_key rig_key(enum rig_end end, uint16_t client_port);

/* An ICMP message to this end's session, as of a router that takes `mtu`, of a packet of `len` with mark `mark`. */
unsigned rig_too_big(struct rig_side *s, struct sess *ss, uint32_t mtu, uint16_t len, uint32_t mark);

uint64_t rig_drops(const struct rig_side *s, unsigned verdict);
/* All drops of this end but those of the two reasons given (0: none). */
uint64_t rig_other_drops(const struct rig_side *s, unsigned a, unsigned b);
/* Takes all notes: how many are of this type; *last (may be NULL) is the latest of them. */
unsigned rig_notes(struct rig_side *s, enum note_type type, struct note *last);

void pattern_fill(uint8_t *p, uint64_t key, uint64_t at, uint32_t n);
