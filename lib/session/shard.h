/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A shard: all sessions of one worker, with their streams, timers, memory and counters.  One thread owns it.  Packets
 * go in as bursts (decrypted), packets come out as bursts (to be encrypted); bytes of TCP cross by chans.  No clock, no
 * port, no key: the pipeline brings those.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "book.h"
#include "border.h"
#include "chan.h"
#include "fec.h"
#include "flow.h"
#include "fresh.h"
#include "kcp.h"
#include "mem.h"
#include "mux.h"
#include "net.h"
#include "qpp.h"
#include "snmp.h"

struct net_acl;
struct origins;
struct shard;

/*
 * A tunnel as the shards see it: filled by app, shared by all workers, immutable but for `others` and for what is
 * atomic, which control may change at any time (shard_live): who reads that twice may have two values.
 */
struct shard_tunnel {
	bool blank; /* nobody's yet: a place for one that comes while it runs (shard_tunnel_add) */
	bool client;
	bool nocomp;
	bool nocomp_auto;	   /* server: as each client has it, whatever nocomp says; mux.version 0: likewise */
	uint16_t head, tail;	   /* crypt_head, crypt_tail */
	uint8_t mark_at, mark_len; /* crypt_mark; without it, or with mark_len 0, nothing is known again */
	bool knows_own;		   /* crypt_knows_own: what it has sent need not be remembered */
	uint16_t dev;		   /* gateway port: server: all it hears; client: dialled by; UINT16_MAX: any */
	struct addr local;	   /* server: the address that it listens on; unspecified: any */
	const struct crypt *crypt; /* carried through to the packets, not used here */
	struct fec_codec *fec;	   /* NULL: off */
	struct fec_shapes others;  /* server with FEC: those of clients that use another shape */
	struct kcp_conf kcp;
	struct mux_conf mux;
	_Atomic uint32_t keepalive_ms;
	_Atomic uint32_t closewait_ms;
	_Atomic uint8_t traffic_class;	   /* of the IP header */
	_Atomic uint32_t autoexpire_ms;	   /* client: age at which a session takes no more streams, 0: never */
	_Atomic uint32_t scavenge_ms;	   /* client: and how much later it is closed */
	const struct net_acl *_Atomic acl; /* server: who may begin sessions; NULL: anybody */
	struct fresh_book *book;	   /* server: its conversations, all workers'; NULL: nobody remembers them */
	_Atomic unsigned max_sessions;	   /* server: of all workers, 0: as many as there is room for (origin.h) */
	size_t memory;		    /* bytes of one worker's that its sessions may hold; 0: as there is (share.c) */
	_Atomic uint64_t ratelimit; /* bytes/s that a session sends, 0: unlimited */
	/*
	 * 0: it serves.  Else it is drained: no session and no stream of its begins any more (`draining`), and what
	 * there is ends by itself, or at this time, ms (UINT64_MAX: none is set).
	 */
	_Atomic uint64_t drain_at;
	const struct qpp_pads *qpp; /* NULL: off; shared, immutable */
	bool tcp;		    /* fake TCP (wire.md 10) */
	unsigned conn;		    /* client: session slots of the whole tunnel */
	struct dial *dials;	    /* client: one for each slot; a worker uses those with its worker_id */
};

/* What of a tunnel may change while it runs: names as above.  The former acl is the caller's to free when no worker is
 * in a turn any more that began before (border.epoch). */
struct shard_live {
	uint32_t keepalive_ms, closewait_ms, autoexpire_ms, scavenge_ms;
	uint8_t traffic_class;
	unsigned max_sessions;
	uint64_t ratelimit;
	const struct net_acl *acl;
};
void shard_live_set(struct shard_tunnel *t, const struct shard_live *l);

/*
 * What a shard must have for a tunnel that was blank, and of which no packet, connection or dial has come yet: any
 * thread's.  0, -ENOMEM, or -ERANGE: its FEC has more parity than the vectors of this shard have room for.
 */
int shard_tunnel_add(struct shard *s, unsigned tunnel);

struct shard_conf {
	unsigned id; /* worker */
	const struct shard_tunnel *tunnels;
	unsigned n_tunnels;
	unsigned max_sessions;
	size_t session_bytes;	 /* that a session may hold, 0: its part of what there is (share.c) */
	struct origins *origins; /* all workers'; NULL: nobody counts where sessions come from */
	struct mem *mem;
	struct chan_pool *chans;
	struct border *border;
	const uint8_t *dev_csum; /* NET_CSUM_* of each gateway port */
	unsigned mbufs_to_hold;	 /* received buffers that FEC groups may keep */
	uint64_t seed;		 /* of conversation ids */
	/*
	 * What was seen already: [worker][tunnel], of all workers; each adds to its own (`id`) and may ask the others.
	 * NULL: nothing is filtered.  mark_seed: random, the same for all workers.
	 */
	struct fresh *const *fresh;
	unsigned n_fresh; /* workers */
	uint64_t mark_seed;
	uint64_t secret[2];	/* of what others may see and must not guess; none may be another shard's */
	struct flow_roam *roam; /* shared with the other workers; NULL: there are none */
	int socket;
};

struct shard_stats {
	uint64_t drops[DROP_COUNT]; /* by verdict - VERDICT_DROP: the whole worker counts here */
	uint64_t sessions, streams; /* now */
	uint64_t sessions_opened, sessions_closed;
	uint64_t streams_opened, streams_closed;
	uint64_t held_mbufs;	  /* now, by FEC groups */
	uint64_t unproved;	  /* sessions now whose peers have acknowledged nothing, */
	uint64_t in_doubt;	  /* those of them whose conversations there have been before, */
	uint64_t doubted;	  /* and how many such have begun */
	uint64_t asked, answered; /* "do you know this session?" (lib/README.md) */
	uint64_t challenged;	  /* peers asked whether they receive where they send from, */
	uint64_t moves;		  /* and sessions that have moved there */
	uint64_t given_up;	  /* clients' sessions that take no new connections, for their servers are silent */
	uint64_t spilled;	  /* bytes now waiting in `mem` because no chunk could be had */
};

int shard_create(struct shard **out, const struct shard_conf *conf, uint64_t now);
/* Ends every session; what crosses the border must have come back before (shard_drained). */
void shard_destroy(struct shard *s);

/*
 * The program is to end: no session begins any more, and connections that wait for one are closed.  Those that there
 * are go on.  shard_sent_all: no stream is left, and the peers have acknowledged everything.  shard_unsent: what there
 * is that they have not.  Both walk all sessions: between turns, and at the end of the program only.
 */
struct shard_unsent {
	uint64_t sessions;	 /* with anything left */
	uint64_t segments;	 /* not acknowledged */
	uint64_t streams, bytes; /* read from TCP and not sent, and the streams that are still open */
};
void shard_drain(struct shard *s);
bool shard_sent_all(const struct shard *s);
void shard_unsent(const struct shard *s, struct shard_unsent *u);

/* Between turns, now and then, once a tunnel is drained: ends those of its sessions that carry nothing any more, and
 * all whose time has come.  Walks all sessions. */
void shard_drain_tunnels(struct shard *s, uint64_t now);
/* A tunnel's sessions here, now; any thread may ask. */
unsigned shard_tunnel_sessions(const struct shard *s, unsigned tunnel);

/* The finer time of the calls of a turn, in us of the clock whose ms they are given: for the path's pace.  Where it is
 * not told, their ms count. */
void shard_clock(struct shard *s, uint64_t us);

/* Between turns, now and then: whether the worker has lately had so little to spare that what it serves may be late for
 * that (bound.c). */
void shard_load(struct shard *s, bool saturated);

/* Ends every session at once: silently towards the peers, streams closed towards control. */
void shard_close_all(struct shard *s, uint64_t now);
/* True when control has given back every stream. */
bool shard_drained(const struct shard *s);

const struct flow_tbl *shard_flows(const struct shard *s);

/* Adopts a snapshot: paths are built anew as sessions next send. */
void shard_adopt(struct shard *s, const struct net_tbl *tbl);

/*
 * Before decryption, after flow_find_burst: refuses what needs no key to be refused, datagrams for client ports from
 * strangers (InErrs), for addresses or ports that their tunnel does not listen on, and, where there is no session, from
 * who may have none.
 */
void shard_screen(struct shard *s, struct pkt *v, unsigned n);

/*
 * Before decryption, after shard_screen: the names of v[0..n), n <= SHARD_MARKS, by which datagrams that come again are
 * known (`replayed`), for the shard_input that follows with the same v.  shard_sent: the same of what was sealed, which
 * somebody may send back to us; where its cipher does not know it again (crypt_reflected).
 */
#define SHARD_MARKS 512
void shard_mark(struct shard *s, const struct pkt *v, unsigned n);
void shard_sent(struct shard *s, const struct pkt *v, unsigned n, uint64_t now);

/*
 * Takes decrypted packets, v[i].sess from flow_find_burst.  Sets `own` to NULL where the shard keeps the buffer;
 * verdicts that are not VERDICT_OK are skipped, and those set here are counted by the caller.  With VERDICT_ANSWER the
 * packet has become one to be sealed and sent back where it came from.
 */
void shard_input(struct shard *s, struct pkt *v, unsigned n, uint64_t now);

/* Takes what control posted: opened, readable, writable, closed streams and dialling results; and goes on reading where
 * the last turns had to stop.  Returns how much there was to do. */
unsigned shard_pull(struct shard *s, uint64_t now);

/* Expires timers: sessions whose time has come become ready for output. */
void shard_tick(struct shard *s, uint64_t now);

/* Frees the sessions that ended in this turn: nothing of the vectors may point at them any more. */
void shard_reap(struct shard *s);

/* A vector lent to shard_output must hold at least shard_out_min packets: some of a session's, and their parity. */
#define SHARD_OUT_MIN (16 + FEC_MAX_SHARDS) /* the most that shard_out_min says */
unsigned shard_out_min(const struct shard *s);

/*
 * Fills lent packets (p: room for the longest datagram, NET_MAX_HEAD + CRYPT head + FEC_HEAD before it) with what is to
 * be sent now: p/n, crypt and sess set, ready for crypt_seal_burst and net_push with shard_path.  Returns how many; at
 * less than `max` - shard_out_min nothing is left for this turn.
 */
unsigned shard_output(struct shard *s, struct pkt *out, unsigned max, uint64_t now);

/*
 * A session whose next hop is not known (yet) keeps what it has for PATH_RETRY_MS, until a table that is adopted has
 * it.
 *
 * Sessions that leave by these gateway ports, a bit each, keep what they have: shard_output leaves them out, and
 * shard_ready knows nothing of them, until a later call no longer names their port.
 */
void shard_hold(struct shard *s, uint32_t ports);

/* The headers for a packet of this session, or NULL when its next hop is not known: *why is the drop reason. */
const struct net_path *shard_path(struct shard *s, struct sess *sess, uint64_t now, unsigned *why);

/*
 * Fake TCP.  A client's session sends nothing before its flow stands: shard_knock gives each session whose SYN is due,
 * once (NULL: no more), for net_push_tcp with PKT_F_SYN.  shard_syn_answered takes the answer (PKT_F_SYN and PKT_F_ACK,
 * k->sess set); true when it is one to this flow's SYN, which net_answer_syn then acknowledges.  shard_tcp is what
 * net_push_tcp wants beside the path; shard_listens tells whether k's tunnel answers SYNs there, shard_welcomes whether
 * whoever it comes from may have an answer.
 */
struct sess *shard_knock(struct shard *s, uint64_t now);
bool shard_syn_answered(const struct pkt *k);
struct net_tcp *shard_tcp(struct sess *sess);
bool shard_listens(const struct shard *s, const struct pkt *k);
bool shard_welcomes(const struct shard *s, const struct pkt *k);

/* Whose a packet is, for people: the id is telemetry's (shard_row), dev the port by which it leaves, or last came. */
struct shard_who {
	uint64_t id;
	const struct flow_key *key;
	uint16_t tunnel, dev;
};
struct shard_who shard_who(const struct shard *s, const struct sess *sess);
uint16_t shard_tunnel_of(const struct sess *sess);

/* The traffic class of what a tunnel sends, for those packets that are no session's: VERDICT_ANSWER. */
uint8_t shard_class(const struct shard *s, unsigned tunnel);

/*
 * An ICMP message that a packet was too big, k->sess the session of the flow that it quotes (VERDICT_BIG).  It is
 * believed when it quotes a packet that the session can have sent: then what it sends fits from here on, and
 * VERDICT_BIG is returned; otherwise why not, a DROP_*.
 */
uint8_t shard_too_big(struct shard *s, const struct pkt *k, uint64_t now);

/* True when a session waits for output now. */
bool shard_ready(const struct shard *s);
/* True when a session or stream waits for chunks, of whose return nobody tells. */
bool shard_waits(const struct shard *s);
/* A time (ms) before which no timer is due; UINT64_MAX when there is none. */
uint64_t shard_next(const struct shard *s);
/* A time (us) before which no session may go on at its path's pace; UINT64_MAX: none waits for that. */
uint64_t shard_next_us(const struct shard *s);

/* Written by the worker alone; others may read at any time. */
const struct snmp *shard_snmp(const struct shard *s, unsigned tunnel);
struct shard_stats *shard_stats(struct shard *s);
size_t shard_mem_used(const struct shard *s);
size_t shard_mem_total(const struct shard *s);
/* Of the heap: what a tunnel's sessions hold here, and how much of it is theirs whatever others do. */
size_t shard_tunnel_mem(const struct shard *s, unsigned tunnel);
size_t shard_tunnel_share(const struct shard *s, unsigned tunnel);

/* ---- looking in from another thread ---- */

/* What a session's packets are as long as they are for. */
#define SHARD_PMTU_LIST(X)                                                    \
	X(CONFIGURED, "configured") /* the tunnel's mtu: the path takes it */ \
	X(INTERFACE, "interface")                                             \
	X(ICMP, "icmp")                                                       \
	X(LOSS, "loss")	  /* what is larger is lost, and nobody tells */      \
	X(PROBE, "probe") /* larger than once thought: one of this size arrived */
enum shard_pmtu {
#define X(name, str) SHARD_PMTU_##name,
	SHARD_PMTU_LIST(X)
#undef X
};
const char *shard_pmtu_name(unsigned how);

struct shard_row {   /* one session */
	uint64_t id; /* unique in the process's life; SHARD_ID_WORKER tells whose it is */
	uint16_t tunnel, worker;
	bool client, kcpgate_peer;
	uint8_t smux; /* version; 0: the peer has not said anything yet */
	bool snappy;
	struct flow_key key;
	uint64_t age_ms, idle_ms;
	uint32_t streams, held;
	uint32_t moves;	   /* server: how often its peer has come from elsewhere */
	const char *waits; /* what its reading waits for; NULL: it does not wait */
	uint64_t memory;   /* bytes of the worker's heap */
	struct kcp_info kcp;
	struct kcp_look look;
	bool modelled;		    /* congestion "auto" */
	uint64_t pace;		    /* bytes/s of UDP payload, as far as it is modelled */
	const char *limited_by;	    /* what its sending is limited by */
	uint16_t wants_peer_rcvwnd; /* segments that the peer's window should have, where it was too narrow for long; or
				       0 */
	uint16_t path_mtu, datagram; /* bytes: IP packets that go whole, and the UDP payload of those */
	const char *mtu_from;	     /* how that is known */
	uint64_t parity_sent, parity_left;
	uint64_t bytes_in, bytes_out;	   /* above KCP */
	unsigned fec_ds, fec_ps;	   /* of what arrives, 0 when none did */
	unsigned sends_ds, sends_ps;	   /* of what is sent, likewise */
	uint32_t parity_in, fec_recovered; /* parity packets that came, datagrams that were rebuilt; they wrap */
	bool unproved;			   /* server: its peer has acknowledged nothing yet, */
	bool in_doubt;			   /* and its conversation is one of before */
};

#define SHARD_ID_WORKER 48 /* bits of a session's id below its worker's number */

struct shard_stream {		    /* one stream of a session */
	uint32_t id;		    /* smux's */
	bool local_ends, peer_ends; /* TCP's side, or the peer's, sends no more */
	bool closing;		    /* we have let go of it, and its last bytes are on their way */
	uint64_t up, down;	    /* bytes that TCP has sent, and has been given */
	uint64_t to_send;	    /* bytes of TCP's that wait to be sent; what KCP has is not among them */
	uint64_t to_tcp;	    /* bytes of the peer's that wait for TCP */
	int64_t window;		    /* smux 2: bytes that the peer takes still; else -1 */
	const char *waits;	    /* what it waits for; NULL: for nothing */
	char peer[ADDR_STRLEN];	    /* client: the application's address; server: the session's peer */
};

#define SHARD_QUERY_ROWS 32
/*
 * A question that telemetry puts to a worker; the worker answers between two turns.  Asker: set `what`, `id`, and
 * `cursor` and `at` to 0, store SHARD_Q_ASKED, wait for SHARD_Q_DONE, read the rows, and ask again while `more`, which
 * a portion without rows may say, too; store SHARD_Q_IDLE at the end.
 * Sessions that come or go between two portions may be missed or told twice, and so may streams.
 */
enum { SHARD_Q_IDLE, SHARD_Q_ASKED, SHARD_Q_DONE };
enum shard_what {
	SHARD_SESSIONS, /* all */
	SHARD_SESSION,	/* the one with this id: one row, or none */
	SHARD_STREAMS,	/* of the one with this id */
	SHARD_PING,	/* the one with this id is sent what its peer answers at once; without `taken` it may not be */
	SHARD_PONG,	/* of the last ping of the one with this id: `us` */
	SHARD_KICK,	/* the one with this id ends: its connections are reset */
};
struct shard_query {
	_Atomic int state; /* writer: asker IDLE->ASKED and DONE->IDLE, worker ASKED->DONE */
	uint32_t cursor;   /* asker: 0 at first; worker: where to go on */
	uint32_t at;	   /* where the session with the id was looked for, likewise */
	enum shard_what what;
	uint64_t id;
	bool more;
	bool found; /* worker: there is a session with the id */
	bool taken;
	uint32_t us; /* until the answer came, by the turns' clock; 0: it has not */
	unsigned n;
	union {
		struct shard_row row[SHARD_QUERY_ROWS];
		struct shard_stream stream[SHARD_QUERY_ROWS];
	};
};
struct shard_query *shard_query(struct shard *s);
/* Worker, between turns: answers a question if there is one. */
void shard_answer(struct shard *s, uint64_t now);
