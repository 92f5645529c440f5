/* SPDX-License-Identifier: MIT */
#pragma once
/* The room's own view of sessions and streams.  Everything here belongs to one worker thread. */

#include "comp.h"
#include "kcp_state.h"
#include "origin.h"
#include "ping.h"
#include "qpp.h"
#include "shard.h"
#include "wheel.h"

#define SESS_TIMEOUT_MS	 30000 /* smux's fixed dead-peer check (wire.md 8.6) */
#define SESS_BEGIN_MS	 20000 /* a server's session whose first bytes have not come by then never will */
#define SESS_PROBE_MS	 3000  /* a closed window is asked for so often at least */
#define SESS_PULL_BYTES	 16384 /* taken from streams a session and turn, so that sessions share a turn */
#define OWING_MAX	 256   /* streams that are to be told of in one go */
#define HEAVY_CLASSES	 32    /* lists of sessions by what they hold */
#define OVER_MAX	 8     /* sessions that wait for their groups to be completed before buffers are copied */
#define SESS_READ_MAX	 256   /* segments read a session and turn, from those that were queued */
#define SESS_LOW_BYTES	 16384 /* held towards TCP: so much a session may in any case, */
#define SESS_ROOM_PART	 4     /* and beyond it this part of what its tunnel has left */
#define SESS_LOW_STREAMS 16   /* streams: so many a session may have in any case, and as many as are left beyond them */
#define SESS_IDLE_MS	 2000 /* without a packet for so long, what open FEC groups hold goes back */
#define SESS_IDLE_PARITY 1024 /* bytes of accumulators that an idle session may keep */
#define FEC_HOLD_MIN	 512  /* shorter packets are copied rather than holding a receive buffer */
#define SLOT_WAITING_MAX 1024 /* connections that wait for a client session to be dialled */
#define SLOT_LOOKS	 16   /* sessions looked at for the one with least to do */
#define SLOT_QUIET	 8    /* segments under way: fewer are as good as none */
#define SLOT_TELL	 3    /* slot_busy's: less is not worth telling control */
#define SLOT_SILENT_MS	 2500 /* new connections do not wait longer for a server that owes an answer; */
#define SLOT_UNHEARD	 4    /* so often twice as long, while none of theirs has answered either */
#define SLOT_RETRY_MS	 1000 /* as stock's client */
#define SLOT_GIVE_UP_MS	 30000 /* a connection that has waited so long for a session is refused */
#define RESET_HOLD_MS \
	3000 /* a client's reset waits so long for the session's first frame, which tells whom it is for */
#define HOME_MS	      1000 /* a client's own address that has gone may come back for so long */
#define MEM_RETRY_MS  5	   /* a frame that found no memory is tried again */
#define BAD_KEY_MS    1000 /* checksum failures are gathered for so long before control is told */
#define SESS_AGE_MS   5000 /* an expired session is looked at so often: stock's scavenger */
#define KNOCK_MS      1000 /* fake TCP: the SYN is repeated, as stock's client dials again */
#define KNOCK_HOP_MS  20   /* and looked for, where a next hop is to become known */
#define PATH_LOOK_MS  500  /* in so long a session's way is looked up PATH_LOOKS times for changed routes, no more */
#define PATH_LOOKS    4
#define PATH_RETRY_MS 1000 /* the kernel is asked again for a next hop that it does not know */

/* Bytes for a chan that had no chunk to take them. */
struct spill {
	struct spill *next; /* of the last: the first */
	uint32_t n, off;
	uint8_t data[];
};

#define ST_LOCAL_EOF  0x01 /* TCP side sends no more */
#define ST_HALF_SENT  0x02 /* and the peer was told by a half-close */
#define ST_HALF_IN    0x04 /* peer sends no more */
#define ST_FIN_IN     0x08 /* peer closed */
#define ST_UP	      0x10 /* server: the target's connection stands; client: always */
#define ST_CLOSED     0x20 /* CLOSE was posted: waiting for GONE */
#define ST_CLOSE_LATE 0x40 /* CLOSE follows when the spill is gone */
#define ST_FINISHING  0x80 /* FIN goes out behind the last bytes */
#define ST_QPP	      0x100
#define ST_RESET      0x200 /* TCP side failed: what it had sent before still goes out, then the peer is told */
#define ST_DIALLED    0x800 /* server: its dial is over, and no longer counted */
#define ST_ABORT      0x400 /* CLOSE is to say that bytes are missing: a reset instead of a FIN */

enum { QPP_OUT, QPP_IN };

/* What a wheel entry is embedded in. */
enum timer_kind { TIMER_SESS, TIMER_STREAM, TIMER_SLOT, TIMER_BAD_KEY };
struct timer {
	struct wheel_ent ent;
	enum timer_kind kind;
	uint32_t counted; /* a server's stream, in what would be padding: where in shard->chans_of, plus 1 */
};

/* What is known of the FEC that the peer sends, and so of what its decoder takes (shape.c). */
enum peer_fec {
	PEER_SILENT, /* nothing yet: a client sends parity with even seqids only */
	PEER_BARE,   /* none: it is sent none */
	PEER_FEC, /* some: a client takes it for ours until it knows better, a server sends no parity before it knows */
	PEER_SAME,  /* a server's: what it sends itself */
	PEER_OTHER, /* another shape than is sent it: no parity */
};

#define PARITY_THIN 512 /* a frame of so little is somebody's who waits */

/* How many parity packets of a group are sent (parity.c). */
struct parity {
	uint8_t send;	   /* the rest are left out */
	uint16_t calm;	   /* rounds since one was missed, */
	uint16_t patience; /* and how many of them it takes to try with one less */
	uint32_t round;	   /* of kcp_rounds, the last that was looked at */
	uint32_t blocked, lossy;
	bool was_blocked; /* that one, or the one before */
	bool policed;
	bool thin;	  /* a stream had just a few bytes to send, in this round, */
	uint64_t thin_at; /* and ms: when that last was so */
};

/* How long the peer's window has been what limits, and whether the worker comes in time (bound.c). */
struct bound {
	uint32_t at;	     /* ms, low bits: the last look */
	uint16_t limited_ms; /* less what it was not */
	uint16_t widest;     /* segments, of those that the peer has told */
	uint16_t wants;	     /* and what they should be; 0: it has not limited for long */
	uint16_t late_ms;    /* so long it still counts as served late */
	float missed;	     /* since that look: bytes that its pace would have let leave, had it been served in time */
};

/*
 * How large packets may be on the session's path (pmtu.c).  Sizes are IP packets', but for `kcp`.
 */
struct pmtu {
	uint16_t want; /* a full datagram's, as configured */
	uint16_t link; /* what the port that it leaves by takes */
	uint16_t now;  /* what goes whole: want, or less */
	uint16_t high; /* while it is more than `now`: larger ones are looked for, up to here */
	uint16_t size; /* of the probe under way, 0: there is none */
	uint16_t kcp;  /* KCP's datagrams for `now` */
	uint8_t how;   /* enum shard_pmtu */
	uint8_t tries; /* of that size, in vain */
	bool doubt;    /* lowered for what was lost, and not known yet whether for its size */
	uint32_t mark;
	uint32_t raise_at; /* ms, low bits: more is tried, where it is not at the top */
};

/* One TCP stream: between a mux_stream and a chan, outliving the first and living until control says GONE. */
struct stream { /* two cache lines, the first of them for every packet */
	struct shard *shard;
	struct sess *sess;     /* NULL before the session is there, and once it has ended */
	struct mux_stream *ms; /* NULL likewise, and once smux has forgotten it */
	struct chan *chan;
	struct spill *spill;  /* the last of a circle; NULL: none */
	uint64_t last_in;     /* ms: last byte from the peer; while waiting: since when */
	uint32_t announced;   /* bytes of chan->up that mux knows of, cumulative */
	uint32_t taken;	      /* bytes of chan->down whose consumption mux knows of, cumulative */
	uint16_t flags;	      /* ST_* */
	uint16_t owed;	      /* events that control gets at the end of this part of the turn */
	uint32_t owing_at;    /* then: where it stands in shard->owing */
	struct list link;     /* on slot->waiting before there is a session, then on shard->spilled */
	struct slot *slot;    /* client: waits there for a session */
	struct timer timer;   /* closewait */
	struct qpp_prng *qpp; /* [2], QPP_OUT and QPP_IN; NULL where the tunnel has no QPP: no ST_QPP */
};

_Static_assert(sizeof(struct stream) <= 128, "100,000 idle streams have to be cheap");

/* A client tunnel's place for one session. */
struct slot {
	struct shard *shard;
	struct timer timer; /* next dialling attempt */
	struct dial *dial;
	struct sess *sess;
	struct list waiting; /* streams, oldest first */
	unsigned n_waiting;
	bool asked;	 /* WANT was posted, no answer yet */
	uint8_t unheard; /* sessions left in a row that have never heard their server */
};

/*
 * Of many sessions each packet finds another one's memory cold, and what it costs is lines: so the fields lie in the
 * order in which a packet comes by them, and sess_warm (warm.c) asks for the lines beforehand.
 */
struct sess {
	/* every packet */
	struct shard *shard;
	const struct shard_tunnel *tun;
	struct snmp *cnt;
	struct list ready;  /* on shard->ready (or parked, or hopless) while output is due; closed: on shard->dead */
	struct timer timer; /* earliest of KCP, keepalive, dead check, FEC idle */
	uint8_t want;	    /* KCP_WANT_* collected in this turn */
	bool closed;	    /* unlinked, freed at the end of the turn */
	bool stalled;	    /* reading stopped: on shard->stalled */
	bool held_frame;    /* `frame` was taken from mux and waits for memory */
	bool mid_flush;	    /* the flush under way waits for tokens, or for its port */
	bool fec_quiet;	    /* open FEC groups hold nothing */
	bool peer_lone;	    /* client: what came last is in no group, of a server that does not know our shape yet */
	bool ask_ready;	    /* client whose server answers, and no ask_at is set */
	uint8_t proto;	    /* key.proto */
	/* of the flush under way, enum kcp_flush_kind; what the peer sends, enum peer_fec; few datagrams sent yet */
	uint8_t out_kind : 3, peer_fec : 4, young : 1;
	bool unproved : 1;  /* server: its peer has acknowledged nothing yet: on shard->unproved (confirm.c) */
	bool muted : 1;	    /* server: its peer seems to be one too, and is sent nothing (mute.c) */
	bool doubt : 1;	    /* and its conversation is one of before: what it says is kept back until then */
	bool pace_soft : 1; /* what is waited for is the path's pace: acknowledgements may leave */
	bool pace_due : 1;  /* it was, when `credit` was last looked at */
	/* speak.h: no snappy; whether there is any is its client's to say, or control's to be told */
	bool plain : 1, plain_open : 1, tongue_told : 1;
	uint8_t told_busy; /* slot_tell */
	bool lacks_room;   /* what came last could not be taken in for want of memory */
	uint32_t conv;
	struct comp_enc comp_enc;
	uint64_t last_in; /* ms: last authenticated datagram */
	uint64_t last_out;
	struct fec_dec *dec; /* made on the first FEC packet */
	uint64_t slow_at;    /* ms: the earliest of keepalive_at, check_at, age_at, begin_at, ask_at */
	uint64_t retry_at;   /* ms: a frame waits for memory; UINT64_MAX when none does */
	uint64_t pace_at;    /* ms: tokens come; UINT64_MAX: none are waited for */
	uint64_t knock_at;   /* ms: the next SYN; UINT64_MAX once the flow stands, before which nothing else is sent */
	uint64_t bytes_in, bytes_out;
	uint64_t path_gen;   /* of the snapshot that `path` was built from: a later one may lie where it lay */
	uint64_t path_retry; /* ms: look again, where the next hop was not resolved */
	bool path_ok : 1;
	bool hop_waited : 1;	   /* for the next hop's address, for long enough */
	bool steered : 1;	   /* roam.c: its flow is sent here from another home */
	bool mac_known : 1;	   /* reply_mac: link address that the peer's first packet came from */
	bool fec_told : 1;	   /* control knows that the two sides differ in FEC, */
	bool shape_asked : 1;	   /* and that a codec of the client's shape is wanted */
	bool tries : 1, tried : 1; /* client: its version of smux (speak.c), and that is acknowledged */
	uint8_t path_why;	   /* DROP_* when not */
	uint16_t reply_dev;
	uint32_t frames_seen; /* mux.frames_in at the last check */
	struct kcp kcp __attribute__((aligned(64)));
	struct mux mux __attribute__((aligned(64)));
	struct mem mem; /* what it may do with less of: segments, FEC groups */
	struct mem
		mem_in; /* what it needs to go on, and has bounds of its own: the chunk that arrives, streams, spills */
	/* every packet out */
	struct net_path path;
	struct fec_enc enc;		   /* in use when it has a codec: shape_out */
	uint64_t parity_sent, parity_left; /* packets, of groups that closed: sent, and left out */
	/* with compression, fake TCP */
	struct comp_dec comp_dec;
	struct net_tcp tcp; /* key.proto == FLOW_TCP */
	/* cold */
	struct slot *slot; /* client */
	struct flow_key key;
	uint32_t hash;
	uint32_t index; /* in shard->all */
	uint64_t id, born;
	uint64_t keepalive_at, check_at;
	uint64_t tokens_at;
	int64_t tokens;	 /* thousandths of a byte that may be sent; negative: debt */
	uint64_t old_at; /* ms: no more new streams (wire.md 9.1); UINT64_MAX: never */
	uint64_t end_at; /* ms: closed, whatever it carries; UINT64_MAX: never */
	uint64_t age_at; /* ms: when its age is looked at */
	uint64_t
		begin_at; /* ms: server: ends unless it has begun; client: speak.c; UINT64_MAX: nothing is waited for */
	uint64_t ask_at;  /* ms: client: is an acknowledgement owed, and nothing heard?  UINT64_MAX: see ask_ready */
	union {
		struct { /* client: of the question last sent, and ms since when it is that one; 0: none */
			uint64_t ask_token, ask_since;
		};
		struct {		    /* server: */
			uint32_t origin[2]; /* origin.c: its address's count, and its prefix's */
			/* confirm.c: bytes that may be sent while it is unproved, negative: debt; and ms, low bits,
			 * since when it is asked whether it lives, 0: it is not */
			int32_t allowance;
			uint32_t rival_at;
		};
	};
	struct sess *conv_next; /* roam.c: server: in its chain of shard->convs */
	uint8_t reply_mac[6];
	uint16_t fec_fits; /* packets since the client's shape was proved */
	/* with the path's pace: sess_warm asks for these with KCP's model */
	struct wheel_ent fine; /* on shard->fine while the path's pace is waited for */
	uint64_t credit_us;    /* us: when `credit` was right */
	double credit;	       /* bytes of UDP payload that the path's pace lets leave; negative: debt */
	double burden;	       /* bytes that leave for each of KCP's */
	struct parity parity;
	struct pmtu pmtu;
	struct bound bound;
	/* datagrams: of this ms, while it is young, and until it no longer is */
	int32_t portion, young_left;
	uint32_t portion_at, fec_recovered; /* ms, low bits: when `portion` was right; datagrams that FEC rebuilt, */
	struct list stalled_link;
	struct list knock; /* client: on shard->knocks when it is due; server: on shard->unproved while it is that */
	struct list ask;   /* on shard->asks while a question is to go out */
	struct list heavy; /* on shard->heavy[weight] while it holds MEM_LEAST or more */
	uint32_t parity_in, path_from; /* parity that came; ms: looked up path_looks times since for changed routes */
	uint8_t weight;
	uint8_t path_looks;
	uint16_t moves;	  /* roam.c: how often it has moved; */
	uint32_t roam_at; /* ms, low bits: before it nobody is asked whether he is its peer */
	struct mux_out frame;
};

/* How much of something there was in the second that ends at `end` (ms). */
struct roam_limit {
	uint64_t end;
	uint32_t n;
};

/* A server session's: chans, and those of them whose dials are not over. */
struct chans_of {
	uint32_t all, dials;
};

struct shard {
	struct shard_conf conf;
	struct mem *mem;
	struct border *border;
	struct chan_pool *chans;
	uint32_t ctl_streams[LIMIT_CONTROLS]; /* whose sockets a control instance has */
	unsigned ctl_next;		      /* the first one to be looked at for the next stream */
	struct wheel wheel;
	struct wheel fine; /* of SHARD_FINE_US: sessions that wait for the path's pace */
	uint64_t us;	   /* the turn's time, if it was told */
	struct flow_tbl *flows;
	const struct net_tbl *tbl;
	struct list ready;		  /* sessions with output due, round robin */
	struct list parked;		  /* sessions with output due whose port takes nothing now */
	struct list hopless;		  /* those whose next hop's address is not known, the longest first */
	uint32_t held;			  /* bit a gateway port: those ports */
	struct list stalled;		  /* sessions that read no more until tokens or chunks come back */
	struct list dead;		  /* closed in this turn */
	struct list knocks;		  /* sessions whose SYN is due */
	struct list asks;		  /* sessions that ask whether their server knows them */
	struct list unproved;		  /* sessions whose peers have acknowledged nothing, the oldest first; */
	uint32_t n_unproved;		  /* as many */
	struct list spilled;		  /* streams whose bytes wait for chunks */
	struct mem_tunnel *accounts;	  /* [tunnel] */
	struct list heavy[HEAVY_CLASSES]; /* sessions by what they hold, in powers of two */
	uint32_t heavies;		  /* bit c: heavy[c] is not empty */
	struct sess *short_of_mem;	  /* one that lacked memory in this turn, and not for its own greed; or NULL */
	struct stream
		*owing[OWING_MAX]; /* streams with events for control, of this part of the turn; NULL: told before */
	uint32_t n_owing;
	uint32_t over_at, over_end;
	struct sess *over[OVER_MAX];	    /* kept buffers beyond mbufs_to_hold, in this vector: a ring */
	struct sess *out_cur;		    /* session in the middle of a flush when the vector was full */
	struct places *places;		    /* [tunnel] */
	unsigned places_spare, places_over; /* nobody's; what tunnels have beyond their own */
	struct chans_of *chans_of;	    /* stream.c: of a session, by its id */
	uint32_t chans_mask;
	struct sess **all; /* dense, for telemetry and shutdown */
	uint32_t n_all;
	struct slot **slots;	/* [tunnel][slot], NULL for other workers' */
	struct snmp *snmp;	/* [tunnel] */
	struct bad_key *bad;	/* [tunnel] */
	struct tongue *tongues; /* [tunnel] */
	struct comp_scratch *comp;
	uint8_t *fec_scratch;
	uint8_t *qpp_scratch; /* MUX_FRAME_MAX bytes, where any tunnel has QPP */
	struct fec_got *got;
	uint64_t next_id, rng;
	unsigned out_min;	 /* packets that a vector must have left for a session to be flushed */
	bool closing, saturated; /* shard_close_all was called; the worker is, as shard_load was told */
	uint32_t answers;	 /* to questions, in the second that ends at answers_end */
	uint64_t answers_end;
	uint64_t marks[SHARD_MARKS]; /* of the packets at hand; 0: has none */
	unsigned n_marks;	     /* 0: there are none */
	unsigned at;		     /* of shard_input's vector, the one that is being taken in */
	struct sess **convs;	     /* chains of servers' sessions, by conv */
	uint32_t conv_mask;
	struct roam_limit roam_asks, roam_wrong;
	uint64_t gen_here, homes_at; /* of `tbl`; ms: when clients' own addresses are looked at */
	bool burst_moved;	     /* a session has another flow than at the beginning of this burst */
	struct shard_stats stats;
	struct shard_query query;
	struct ping ping;
};

#define SHARD_FINE_BITS 6 /* 64 us */
#define SHARD_FINE(us)	((us) >> SHARD_FINE_BITS)

static inline uint64_t shard_us(const struct shard *s, uint64_t now)
{
	return s->us > now * 1000 ? s->us : now * 1000;
}

static inline unsigned sess_tunnel(const struct sess *ss)
{
	return (unsigned)(ss->tun - ss->shard->conf.tunnels);
}

static inline bool sess_is_auto(const struct sess *ss)
{
	return ss->tun->kcp.congestion == KCP_CONGESTION_AUTO;
}

static inline void shard_drop(struct shard *s, unsigned verdict)
{
	s->stats.drops[verdict - VERDICT_DROP]++;
}

/* sess.c */
struct sess *sess_open(struct shard *s, unsigned tunnel, const struct flow_key *key, uint32_t hash, uint32_t conv,
		       uint64_t now);
/* why: a DROP_* reason, 0 for an ordinary end.  The struct stays until shard_reap. */
void sess_close(struct sess *ss, unsigned why, uint64_t now);
/* The struct of one that has been closed. */
void sess_free(struct sess *ss);
void sess_ready(struct sess *ss);
/* True when it has no streams, and nothing that the peer has not acknowledged. */
bool sess_idle(const struct sess *ss);
/* True when something of the peer's byte stream has arrived in order. */
bool sess_begun(const struct sess *ss);
/* Re-arms the wheel entry if something is due earlier than it says. */
void sess_rearm(struct sess *ss);
void sess_timer(struct sess *ss, uint64_t now);
void sess_note(struct sess *ss, enum note_type type, uint32_t arg, uint32_t arg2);
/* NOTE_WINDOW: segments that the peer's window has and should have, kbit/s, ms. */
void sess_note_window(struct sess *ss, uint32_t has, uint32_t wants, uint32_t kbits, uint16_t rtt);

/* shard.c */
void shard_bad_key(struct shard *s, const struct pkt *k, uint64_t now);
/* Random bits: unlike each other, and no secret from who sees many of them. */
uint64_t shard_random(struct shard *s);

/* places.c */
int places_up(struct shard *s);
void places_down(struct shard *s);
/* May the tunnel have one more session here? */
bool places_may(const struct shard *s, unsigned tunnel);
void places_take(struct sess *ss);
void places_give(struct sess *ss);
/* Of a server's session: chans, those included that control has still to give back. */
unsigned chans_of(const struct sess *ss);
/* st is one more of its; returns how many of its dials are not over.  st's dial is over; st's chan comes back. */
uint16_t chans_take(struct stream *st, const struct sess *ss);
void chans_dialled(struct stream *st);
void chans_give(struct stream *st);

/* share.c */
int share_up(struct shard *s);
void share_down(struct shard *s);
/* Opens a session's accounts. */
void share_open(struct sess *ss);
/* Looks what the session holds now, and whether it lacked memory: at the end of every packet, and of its output. */
void share_look(struct sess *ss);
void share_close(struct sess *ss);
/* Closes the session that holds most, if that is much more than ss does, who lacked memory.  False: ss has to pay. */
bool share_relieve(struct sess *ss, uint64_t now);
/* The reason to give when it does. */
unsigned share_why(const struct sess *ss);
/* Between packets: relieves whoever lacked memory in the turn before. */
void share_tick(struct shard *s, uint64_t now);

/* pace.c */
void pace_init(struct sess *ss, uint64_t now);
/* How many datagrams, of the `want` asked for, may go now.  With none, ss->pace_at tells when to ask again. */
unsigned pace_room(struct sess *ss, unsigned want, uint64_t now);
/* So many datagrams, and bytes of UDP payload, have gone. */
void pace_spend(struct sess *ss, unsigned n, uint64_t bytes);
void pace_over(struct sess *ss); /* nothing is waited for any more */
/* So many of each group's parity packets are sent from now on, which the path's pace has to count in. */
void pace_burden(struct sess *ss, unsigned parity);
/* A rate limit has taken what could be sent at once. */
bool pace_is_short(struct sess *ss, uint64_t now);
/* KCP_CONGESTION_AUTO: bytes of UDP payload a microsecond that the path takes: those of a hint whatever they carry, or
 * what KCP has found out of its datagrams, and what comes on top of them. */
double pace_of_path(const struct sess *ss);
/* True while tokens are waited for: until pace_at nothing can be sent (but acknowledgements, with
 * pace_soft), and nothing need be looked at. */
static inline bool pace_waits(const struct sess *ss)
{
	return ss->pace_at != UINT64_MAX;
}

/* shape.c */
/* The peer was heard with (or without) FEC, the first time that it says something new. */
void shape_heard(struct sess *ss, bool fec);
/* The decoder has found out another shape than it had. */
void shape_tuned(struct sess *ss);
/* The decoder has had a packet more, and shape_waits. */
void shape_look(struct sess *ss);
/* A server waits for its client's shape: to be proved, or for its codec. */
static inline bool shape_waits(const struct sess *ss)
{
	return !ss->tun->client && ss->tun->fec &&
	       (ss->peer_fec == PEER_FEC || (ss->peer_fec == PEER_OTHER && !ss->enc.codec));
}
/* What this session sends now has FEC's headers. */
static inline bool shape_heads(const struct sess *ss)
{
	return ss->tun->fec && ss->peer_fec != PEER_BARE;
}
/* The codec of what it sends now; NULL: it sends no groups. */
static inline const struct fec_codec *shape_out(const struct sess *ss)
{
	return ss->peer_fec == PEER_BARE ? NULL : ss->enc.codec;
}

/* parity.c */
/* The session begins, or its groups do. */
void parity_init(struct sess *ss);
/* Before a flush: what the rounds that have ended since the last say. */
void parity_look(struct sess *ss, uint64_t now);

/* bound.c */
/* What limits the session now, in a word or two. */
const char *bound_name(struct sess *ss, uint64_t now);
/* With KCP_CONGESTION_AUTO, before a flush: whether the peer's window is what limits, or its own worker. */
void bound_look(struct sess *ss, uint64_t now);
/* It waited for its pace, and was served so late that so many bytes may no longer leave. */
void bound_missed(struct sess *ss, double bytes);

/* pmtu.c */
void pmtu_init(struct sess *ss);
/* The path leaves by a port whose interface takes IP packets of `mtu`; 0: of any size. */
void pmtu_link(struct sess *ss, unsigned mtu, uint64_t now);
/* The session has moved: what is known of its former path may not hold. */
void pmtu_moved(struct sess *ss, uint64_t now);
/* UDP payload of a packet of that size. */
unsigned pmtu_payload(const struct sess *ss);
/* It is as small as it ever gets, and the path may take less: of IPv4, routers may cut it. */
bool pmtu_is_least(const struct sess *ss);
/* Before a flush: what probes and losses say. */
void pmtu_look(struct sess *ss, uint64_t now);

/* confirm.c: sessions whose peers have yet to prove that they receive what they are sent */
void confirm_begin(struct sess *ss);
void confirm_end(struct sess *ss);
void confirm_begun(struct sess *ss); /* its first bytes are handed on: others of its conv are in doubt */
/* Closes the oldest, where there are too many for one more. */
void confirm_evict(struct shard *s, uint64_t now);
/* A datagram of `bytes` of UDP payload has been taken in. */
void confirm_heard(struct sess *ss, uint32_t bytes);
/* Datagrams that may go now, of `want`; 0: it waits. */
unsigned confirm_room(struct sess *ss, unsigned want, uint64_t now);
/* Somebody at its address begins another session.  True: it has had its time to speak, and was silent. */
bool confirm_yields(struct sess *ss, uint64_t now);

/* replay.c: what was seen before */
/* Of the packet that shard_input is taking in, which has opened.  True: it was seen before, by this worker, or sent;
 * else it is from now on. */
bool replay_is(struct shard *s, const struct pkt *k, uint64_t now);
/* And by another worker?  For what begins, replaces or moves a session: the flow, and so the worker, may be another
 * than where the datagram was recorded. */
bool replay_elsewhere(const struct shard *s, const struct pkt *k);

/* admit.c: which session a server's datagram is for, made where it begins one.  NULL: none, and its verdict says why.
 */
struct sess *admit(struct shard *s, struct pkt *k, uint64_t now);

/* out.c: completes packets that are the session's, as far as this room can */
void sess_address(struct sess *ss, struct pkt *v, unsigned n, uint64_t now);

/* path.c */
/*
 * Where its port takes nothing now, or its next hop is to become known, the session leaves shard->ready until that has
 * changed.  True: so it is.
 */
bool sess_park(struct sess *ss, uint64_t now);
/* The next hop's address is being asked for: what would leave now would be lost. */
bool sess_lacks_hop(struct sess *ss, uint64_t now);
/* Sessions that have waited for their next hop for long enough go on without: they are told, and what they send is
 * dropped with its reason. */
void hop_tick(struct shard *s, uint64_t now);
/* ms: when that is so for the next one; UINT64_MAX: none waits. */
uint64_t hop_next(const struct shard *s);
void sess_learn_mac(struct sess *ss, const struct pkt *k);

/* in.c */
/* Feeds what KCP has queued to the streams while they have room, a bounded number of segments: the rest follows with
 * the next turns (sess_stall).  Returns how many. */
unsigned sess_read(struct sess *ss, uint64_t now);
void sess_stall(struct sess *ss);

/* stream.c */
struct stream *stream_new(struct shard *s, struct chan *c, uint64_t now);
/* Server: the peer opened ms.  False: no room, and the stream has been refused. */
bool stream_accept(struct sess *ss, struct mux_stream *ms, uint64_t now);
/* Client: gives a waiting stream its session.  False: the session takes no more. */
bool stream_attach(struct stream *st, struct sess *ss, uint64_t now);
/* And takes it from it again, before a byte of it was sent. */
void stream_detach(struct stream *st);
void stream_data(struct stream *st, struct slice data, uint64_t now);
void stream_fin(struct stream *st);
void stream_half(struct stream *st);
/* The peer's side of it has failed: TCP gets what came before, and a reset. */
void stream_peer_reset(struct stream *st);
/* The peer claims more than it was sent: the stream cannot go on (wire.md 8.5). */
void stream_broken(struct stream *st);
/* The peer turned out to be kcpgate: tells it what was held back. */
void stream_hello(struct sess *ss);
/* smux has made the stream's last frame, if there is any, and forgotten it. */
void stream_sent_last(struct stream *st);
/* The session has ended, or never came: closes towards TCP, with a reset behind what came before. */
void stream_orphan(struct stream *st);
void stream_timer(struct stream *st, uint64_t now);
/* Posts bytes of spills into chans that have room again; a bounded number a turn. */
void shard_pump_spilled(struct shard *s);
/* Events for control that need not go out at once: shard_settle, with which every part of a turn that may owe some
 * ends. */
void stream_owe(struct stream *st, uint32_t ev);
void shard_settle(struct shard *s);
void stream_event(struct shard *s, struct chan *c, uint32_t ev, uint64_t now);

/* tcp.c: a client's fake TCP flow before it stands */
void tcp_begin(struct sess *ss, uint64_t now);
void tcp_timer(struct sess *ss, uint64_t now);

/* slot.c */
int slots_create(struct shard *s);
int slots_add(struct shard *s, unsigned tunnel);
void slots_destroy(struct shard *s);
/* Closes the connections that wait for a session. */
void slots_close(struct shard *s);
void slot_connect(struct shard *s, struct stream *st, uint64_t now);
void slot_event(struct shard *s, struct dial *d, uint32_t ev, uint64_t now);
void slot_timer(struct slot *sl, uint64_t now);
/* The slot's session has ended. */
void slot_lost(struct slot *sl);
/* Control is told how much ss, which has a slot, has to do. */
void slot_tell(struct sess *ss);
/* A stream no longer waits. */
void slot_forget(struct stream *st);
