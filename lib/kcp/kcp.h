/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * KCP, the ARQ of one session: wire.md section 4.  No clock, no output callback, no malloc: the caller gives the time,
 * lends the datagrams that a flush fills and asks when to flush next.  Nothing here costs more with a larger window:
 * segments lie in rings by sn, lists in order of transmission say which are lost, and acknowledgements move watermarks.
 *
 * Times are milliseconds on any clock that does not run backward; the wire carries their low 32 bits.
 */

#include <stdbool.h>
#include <stdint.h>

#include "limit.h"
#include "list.h"
#include "mem.h"
#include "pkt.h"
#include "slice.h"
#include "snmp.h"

#define KCP_HEAD    24 /* bytes of a segment's header */
#define KCP_MTU_MIN 50
#define KCP_MTU_MAX LIMIT_UDP
#define KCP_WND_MAX LIMIT_KCP_WND /* of what the header can say (wire.md trap 17); send windows too */

/* Who decides what is in flight: stock's windows and timers to the letter, or a model of the path. */
enum kcp_congestion { KCP_CONGESTION_STOCK, KCP_CONGESTION_AUTO };

struct kcp_conf {
	uint32_t mtu;	    /* kcp_mtu of wire.md section 1: largest datagram, 50..1500 */
	uint32_t snd_wnd;   /* segments, 1..65535; with KCP_CONGESTION_AUTO the most that there may be */
	uint32_t rcv_wnd;   /* likewise */
	uint8_t congestion; /* enum kcp_congestion */
	uint64_t bandwidth; /* KCP_CONGESTION_AUTO: bytes/s of UDP payload that the path takes; 0: to be found out */
	int nodelay;	    /* 0, 1, 2 */
	int interval;	    /* ms, 10..5000 */
	int resend;	    /* fast retransmit after so many later ACKs, more than 8 count as 8; <= 0: never */
	int nc;		    /* 1: no congestion window */
	bool acknodelay;
	/*
	 * The times that the wire carries, which peers only echo, are ahead of ours by a part of this and the
	 * conversation, less than 2^29 ms.  Where nobody knows the key, an echo proves that its sender has received
	 * what it acknowledges, and has not recorded an acknowledgement of another session.  0: they are ours.
	 */
	uint32_t ts_key;
	bool message; /* kcp_send numbers fragments (never on kcptun's wire): for the vectors; input ignores them */
};

/* Defined in kcp_state.h, so that a session can hold it by value.  Once initialised it must not move. */
struct kcp;

/*
 * conf and cnt stay the caller's, must outlive k, and are only read (conf) or counted in (cnt).  The rings are taken
 * from mem on first use and go back when they are empty: at rest a session holds its struct alone.  now: ms; the first
 * tick comes 100 ms later (wire.md 4.7).
 */
void kcp_init(struct kcp *k, uint32_t conv, const struct kcp_conf *conf, struct mem *mem, struct snmp *cnt,
	      uint64_t now);
void kcp_fini(struct kcp *k);

/*
 * The finer time of the next calls, in us of the same clock; it never runs backward, and where it is behind their ms
 * these count.  Only KCP_CONGESTION_AUTO looks at it.
 */
void kcp_clock(struct kcp *k, uint64_t us);

/* The peer has echoed, with an acknowledgement of what it acknowledges, the time at which that was sent: see ts_key. */
bool kcp_proved(const struct kcp *k);

/* ---- sending ---- */

/* KCP_CONGESTION_AUTO: bytes/s of datagrams at which the session is to send; 0: as fast as it gives them. */
uint64_t kcp_pace(const struct kcp *k);

/* KCP_CONGESTION_AUTO: the caller has no more to send; `app`: and is not kept from it by the peer.  If everything has
 * been sent, and more could have been, then what is delivered from here on says nothing of what the path could take. */
void kcp_limited(struct kcp *k, bool app);

/* KCP_CONGESTION_AUTO: bytes that the peer may have under way to us; 0 until the path turned out to hold more than the
 * window that we began with. */
uint32_t kcp_takes(const struct kcp *k);

/* KCP_CONGESTION_AUTO: from now on n parity packets are sent for every ds datagrams. */
void kcp_parity(struct kcp *k, unsigned n, unsigned ds);

/* KCP_CONGESTION_AUTO: what has become of the path's rounds (round trips with anything under way): their number, those
 * in which a hole kept everything back, and those in which segments were lost, where that was not a queue's doing. */
struct kcp_rounds {
	uint32_t all, blocked, lossy;
	uint32_t segments; /* delivered in the last one */
	bool policed;	   /* what is lost is what is sent too much: parity is, too */
};
void kcp_rounds(const struct kcp *k, struct kcp_rounds *out);

/* ms: when acknowledgements, or what else is owed to the peer, should leave at the latest, where pace keeps back the
 * rest: a KCP_FLUSH_ACKS.  UINT64_MAX: there are none. */
uint64_t kcp_owes(const struct kcp *k);

/*
 * The path takes datagrams of `mtu` bytes, KCP_MTU_MIN .. conf's mtu: what is queued from here on is cut for it.
 * Segments that were cut larger stay as they are, and leave in datagrams of their own.
 */
void kcp_mtu(struct kcp *k, uint32_t mtu);

/*
 * The next segment that leaves for the first time does so alone in a datagram of `len` bytes (above that mtu, up to
 * conf's; 0: none does), filled up with window tells and, at the end, with less than a header, which all receivers pass
 * over (wire.md 4.5).  It bears PKT_F_PROBE.  No parity may be sent for its group: what it proves is that it arrived.
 */
void kcp_probe(struct kcp *k, uint32_t len);
enum kcp_probed { KCP_PROBE_NONE, KCP_PROBE_ASKED, KCP_PROBE_SENT, KCP_PROBE_ARRIVED, KCP_PROBE_LOST };
/* What has become of the last that was asked for. */
enum kcp_probed kcp_probed(const struct kcp *k);

/*
 * How often the oldest segment was sent again for nothing, while none of its size or larger arrived; 0 also while less
 * time than twice the round trip has passed since: it is only delayed, or lost by chance.
 */
unsigned kcp_stuck(const struct kcp *k);
/* Whether the oldest segment was sent again, and nothing has been heard of it yet. */
bool kcp_stands(const struct kcp *k);

/* Bytes that kcp_send takes now; 0 while segments in flight and queued fill the send window (wire.md 4.3), or (with
 * KCP_CONGESTION_AUTO) while as much waits as leaves in 8 ms or a twelfth of a round trip. */
uint32_t kcp_room(const struct kcp *k);

/*
 * Queues the bytes of v[0..n), all or nothing.  -EAGAIN when kcp_room is 0 (one accepted write may overshoot it, as
 * stock's does), -ENOMEM when the budget is used up, -EMSGSIZE for more than 255 pieces in message mode.
 */
int kcp_send(struct kcp *k, const struct slice *v, unsigned n);

/* Full segments that wait for their first transmission: a last one that more bytes could fill up is not counted. */
uint32_t kcp_waiting(const struct kcp *k);

/* Segments that the peer has not acknowledged yet, sent or not. */
uint32_t kcp_backlog(const struct kcp *k);

/*
 * From now on a flush begins with so many new segments at most (UINT32_MAX: all that the window lets through).  For a
 * caller with more bytes at hand, who rather fills a segment up or sends a group whole: he sees to it that another
 * kcp_send and flush follow, or a flush without limit.
 */
void kcp_limit(struct kcp *k, uint32_t segments);

enum kcp_flush_kind { KCP_FLUSH_ACKS, KCP_FLUSH_FULL };

/*
 * Writes what is due into the lent datagrams: each out[i].p points at kcp_mtu writable bytes; sets n of those it used.
 * Returns how many; when that is `max` the flush may not be over: call again, same kind, with fresh ones, until it
 * returns less than `max`.  Order and content as wire.md 4.4.  Between these calls time may pass and input may come:
 * the rest then goes out with the new time, una and window.  A call with the other kind begins anew; nothing is lost by
 * it.  With KCP_CONGESTION_AUTO every call begins anew: what the datagrams did not suffice for waits for the next.
 */
unsigned kcp_flush(struct kcp *k, enum kcp_flush_kind kind, uint64_t now, struct pkt *out, unsigned max);

/*
 * The time at which the next KCP_FLUSH_FULL has something to do (acknowledgements that wait for the tick, a
 * retransmission, a window probe, data that the window lets through), or UINT64_MAX when only input or kcp_send can
 * change that.  Acknowledgements wait for stock's tick of `interval` ms, whose phase is kept without a timer; a full
 * flush in the tick's millisecond is the tick.  After kcp_send, and while a flush is not over, the time is past: flush
 * now.
 */
uint64_t kcp_next(const struct kcp *k);

/* Asks for the peer's window with the next full flush, whatever it is: a peer that lives answers. */
void kcp_wake(struct kcp *k);
/* Where the peer has closed its window: asks for it with the next flush, ahead of the probe that is due.  False: it is
 * open. */
bool kcp_ask(struct kcp *k);

/*
 * A segment that the peer answers with an ACK which echoes `ts`, wherever it receives it, and that does it no harm:
 * into p, of at most `room` bytes.  ts: ms of the clock of `now`, in the future by 2^30 ms or more, so that the echo is
 * no sample of a round trip. Returns the bytes written; 0: there is no room.
 */
uint32_t kcp_prove_put(const struct kcp *k, uint8_t *p, uint32_t room, uint32_t ts);
/* The next ACK of a datagram of this session, of which *p and *n are moved behind it: what it echoes.  False: no more.
 */
bool kcp_prove_next(const struct kcp *k, const uint8_t **p, uint32_t *n, uint32_t *ts);

/* What is under way is lost, most likely: `max` of its segments, those whose time would come first, leave again with
 * the next flush.  KCP_CONGESTION_AUTO needs no telling: it asks every 70 to 150 ms, and one answer tells the rest. */
void kcp_lost(struct kcp *k, unsigned max);

/* The last datagram said that the peer has nothing of ours, who has said before that it has: it is old, or of another
 * session, which a server that has forgotten this one has made of what it was sent (wire.md 5.4). */
bool kcp_backward(const struct kcp *k);
/* ms since the oldest segment was sent for the second time; 0: it was not, or is another by now. */
uint32_t kcp_waited(const struct kcp *k);

/* ---- receiving ---- */

#define KCP_IN_RECOVERED 0x01 /* rebuilt by FEC: no window update, no RTT sample (wire.md 4.5) */

/* Payload that arrived in order and was not queued: it lies in the datagram itself and counts as taken. */
#define KCP_GOT_MAX 64
struct kcp_got {
	struct slice v[KCP_GOT_MAX];
	unsigned n;
};

#define KCP_WANT_FULL 0x1 /* "must flush" of wire.md 4.5: run a full flush at the end of the turn */
#define KCP_WANT_ACKS 0x2 /* enough acknowledgements wait: run an ack-only flush */

/*
 * Takes one datagram.  With `got` (emptied first) in-order payload comes back there as slices of p while nothing is
 * queued before it; everything else is copied to the ordered queue, read by kcp_peek, which comes after got.  With NULL
 * (the reader has no room) all of it is queued and the advertised window shrinks.
 * Returns KCP_WANT_* bits, or -EINVAL (short, wrong conv), -EBADMSG (length), -EPROTO (unknown command): segments
 * before the fault stay applied (their got too), as stock's do, and KCPInErrors counts.
 */
int kcp_input(struct kcp *k, const uint8_t *p, uint16_t n, unsigned flags, uint64_t now, struct kcp_got *got);

/* Up to max slices of the ordered queue, oldest first; valid until the next call on k other than kcp_flush. */
unsigned kcp_peek(const struct kcp *k, struct slice *v, unsigned max);

/* Takes the oldest n segments (slices of kcp_peek; more than there are: all) from the ordered queue; may ask for a
 * window tell (wire.md 4.6).  Returns KCP_WANT_FULL when one should be sent now, for the peer was last told a window of
 * 0, else 0: it then leaves with the next tick. */
unsigned kcp_consume(struct kcp *k, unsigned n);

/* Bytes in the ordered queue that kcp_peek would give. */
uint32_t kcp_queued(const struct kcp *k);

/* KCP_CONGESTION_AUTO: the peer detects losses as we do.  It is told of what lies above a hole at once, and twice. */
void kcp_knows(struct kcp *k);

/* ---- for telemetry and tests ---- */

struct kcp_info {
	uint32_t conv, snd_una, snd_nxt, rcv_nxt, rmt_wnd, cwnd, ssthresh, incr;
	uint32_t srtt, rttvar, rto;
	uint32_t probe_wait;
	uint64_t ts_probe;
	uint32_t snd_queue, snd_buf, rcv_queue, rcv_buf, acks; /* segments, as stock counts them */
	bool ask_send, ask_tell, dead;
};
void kcp_info(const struct kcp *k, struct kcp_info *out);

/* What bounds a session's rate now. */
enum kcp_bound {
	KCP_BOUND_NONE, /* nothing has been sent yet */
	KCP_BOUND_APPLICATION,
	KCP_BOUND_PEER_WINDOW,
	KCP_BOUND_PEER_STREAM, /* what kcp_limited was told of the peer, above KCP */
	KCP_BOUND_OWN_WINDOW,  /* conf's snd_wnd */
	KCP_BOUND_HINT,	       /* conf's bandwidth */
	KCP_BOUND_PATH,	       /* the model of it, or stock's congestion window */
	KCP_N_BOUNDS
};

/* `more`: the caller has bytes that wait for kcp_room. */
enum kcp_bound kcp_bound(const struct kcp *k, bool more);
/* Is there something to send, `more` as above, that the windows take, and (KCP_CONGESTION_AUTO) what may be in flight?
 */
bool kcp_is_open(const struct kcp *k, bool more);

/*
 * KCP_CONGESTION_AUTO: segments that a peer's window should have: twice what the path holds at the rate that was seen,
 * or hinted at, rounded up to a number that somebody may type.  Where that window is the limit, what was seen is what
 * it let through.  0: nothing is known yet.
 */
uint32_t kcp_window_wanted(const struct kcp *k);

/* With KCP_CONGESTION_STOCK what is the model's is 0. */
struct kcp_look {
	uint64_t pace, rate;	 /* bytes/s of segments: that are to leave; that were seen to arrive */
	uint32_t min_rtt, queue; /* us: the path's least round trip, and what the last one's least had above it */
	uint32_t flight, cwnd;	 /* bytes under way, and that may be; without a congestion window 0 */
	uint32_t snd_wnd;	 /* segments: the most that our side lets be under way */
	uint32_t rcv_wnd;	 /* and the peer's, told to it but for those that wait to be read */
	uint32_t span;		 /* from the oldest that is not acknowledged to the last sent */
	/* segments sent again for later acknowledgements; by stock's early rule, or twice from the start; and for want
	   of any: a probe, or stock's timeout; they wrap; of all, those that proved needless */
	uint32_t again_fast, again_early, again_late;
	uint64_t needless;
};
void kcp_look(const struct kcp *k, struct kcp_look *out);
