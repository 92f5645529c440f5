/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Reed-Solomon FEC, wire.md section 3: encoder, decoder and parameter detection of one session and direction.  The
 * room works on plaintext datagrams; crypt comes after it on the way out and before it on the way in.
 */

#include <stdbool.h>
#include <stdint.h>

#include "limit.h"
#include "mem.h"
#include "pkt.h"
#include "slice.h"
#include "snmp.h"

#define FEC_HEAD       8 /* seqid 4, type 2, size 2 */
#define FEC_PARITY_OFF 6 /* parity bytes begin where a data packet has its size field */
#define FEC_MAX_SHARDS LIMIT_FEC_SHARDS
#define FEC_TYPE_DATA  0xf1
#define FEC_TYPE_PAR   0xf2
#define FEC_TYPE_OOB   0xf3
#define FEC_MAX_BODY   2048 /* longest body (size field and datagram) that is handled */

struct fec_codec; /* tables of one (ds, ps): immutable, shared by all sessions and workers */

/*
 * The codec for ds data and ps parity shards, from a process-wide cache or made anew; control side only, takes a lock.
 * -EINVAL unless 1 <= ds, 1 <= ps, ds + ps <= 256.  Freed by fec_codec_put when the last user has gone.
 */
int fec_codec_get(struct fec_codec **out, unsigned ds, unsigned ps);
void fec_codec_put(struct fec_codec *c);
unsigned fec_codec_ds(const struct fec_codec *c);
unsigned fec_codec_ps(const struct fec_codec *c);

/*
 * The codecs of shapes that a tunnel's peers were found to use beside its own: made by control, found by workers while
 * it goes on.  All zero: none.
 */
#define FEC_SHAPES 8
struct fec_shapes {
	_Atomic(struct fec_codec *) codec[FEC_SHAPES]; /* writer: control; from the first on, and for good */
};

/* Control: adds one, unless it is there.  0, or as fec_codec_get, and -ENOSPC when there are FEC_SHAPES. */
int fec_shapes_add(struct fec_shapes *s, unsigned ds, unsigned ps);
/* Any thread: NULL while there is none of that shape. */
const struct fec_codec *fec_shapes_find(const struct fec_shapes *s, unsigned ds, unsigned ps);
/* When nobody uses them any more. */
void fec_shapes_drop(struct fec_shapes *s);

/* What does the sums on this machine: "gfni" (matrices of bits, with AVX-512) or "isal" (ISA-L by its own choice). */
const char *fec_form(void);

/* What a payload is by its bytes 4..5 (wire.md 3.1). */
static inline bool fec_is_fec(const uint8_t *p, uint16_t n)
{
	return n >= 6 && p[5] == 0 && p[4] >= FEC_TYPE_DATA && p[4] <= FEC_TYPE_OOB;
}

/* ---- encoder ---- */

struct fec_enc {
	const struct fec_codec *codec;
	struct mem *mem;
	struct snmp *cnt;
	uint8_t *parity; /* `rows` accumulators of `stride` bytes, while a group is open; NULL between groups */
	uint32_t next;	 /* seqid of the next packet */
	uint32_t paws;
	uint16_t stride;  /* bytes an accumulator, grows with the longest body */
	uint16_t longest; /* longest body of this group */
	uint8_t in_group; /* data packets so far */
	uint8_t rows;	  /* parity packets that this group has sums for; 0, too, when memory ran out, or it idled */
	uint8_t most;	  /* fec_enc_send */
	uint8_t send : 7; /* enum fec_parity */
	bool mute : 1;	  /* this group sends no parity */
	uint64_t last_ms; /* time of the previous data packet, 0 before the first (wire.md 3.2) */
};

void fec_enc_init(struct fec_enc *e, const struct fec_codec *codec, struct mem *mem, struct snmp *cnt);
void fec_enc_fini(struct fec_enc *e);

/*
 * Gives v[0..n) the header of a data packet that is in no group, as fec_enc_burst does: seqid 0, a data packet's place
 * in every shape, and the same for all, so that a decoder of whatever shape has nothing to rebuild from.  Who goes on
 * with groups begins with the second, which fec_enc_after_lone sees to: the first one's place has been taken.
 */
void fec_lone(struct pkt *v, unsigned n);
void fec_enc_after_lone(struct fec_enc *e);

/* Data packets that the open group still takes, 1..ds: the most that one fec_enc_burst may be given. */
unsigned fec_enc_left(const struct fec_enc *e);

/*
 * Gives v[0..n) (n <= fec_enc_left) their FEC headers in the FEC_HEAD bytes before p, moving p and n.  When they close
 * the group and the 500 ms rule allows (wire.md 3.2), fills v[n..n+ps) with the parity packets and returns how many are
 * sent (ps, but for fec_enc_parity and fec_enc_send), else 0.
 * The caller lends v[n..n+ps) always.  On entry every v[i].p, data or lent, points where a KCP datagram begins:
 * FEC_HEAD writable bytes before it, and behind it room for the longest datagram of the session.  Parity packets get p,
 * n and PKT_F_PARITY.  Bytes behind a data packet may be overwritten (with padding), within that room.
 * Only the last packet's distance to its predecessor counts for the 500 ms; now_ms is any clock that is not 0.
 */
unsigned fec_enc_burst(struct fec_enc *e, struct pkt *v, unsigned n, uint64_t now_ms);

/*
 * The session has gone quiet: gives back the accumulators of the open group, which will be sent without parity (peers
 * take holes: wire.md 3.2).  An idle session then holds no FEC memory.
 */
void fec_enc_idle(struct fec_enc *e);

/*
 * Which parity packets are sent; what counts is how it stands when a group closes.  The rest are holes: of a code whose
 * other packets mean the same without them.  A stock decoder that was not told of FEC begins as (1,1), to which an even
 * seqid is a data packet's place, so that a parity packet there can never make it rebuild anything.
 */
enum fec_parity { FEC_PARITY_ALL, FEC_PARITY_EVEN, FEC_PARITY_NONE };
void fec_enc_parity(struct fec_enc *e, enum fec_parity send);

/*
 * At most the first n of each group's parity packets are sent (0 .. ps, and more is ps; ps at first), the rest are
 * holes; of those n, fec_enc_parity may leave out more.  A group that is open has sums for as many packets as were
 * wanted when it opened, and never gets more: less takes effect as it closes, more with the next one.  What was opened
 * with 0 costs neither time nor memory.
 */
void fec_enc_send(struct fec_enc *e, unsigned n);

/* The group that the next packet belongs to sends no parity: its packets prove by themselves that they arrived. */
void fec_enc_mute(struct fec_enc *e);

/* ---- decoder ---- */

struct fec_dec; /* made on the first FEC packet */

/* What one packet brought.  Slices lie in `scratch`: valid until it is used again. */
struct fec_got {
	struct slice data[FEC_MAX_SHARDS]; /* recovered KCP datagrams, size field checked and cut off */
	unsigned n_data;
	void *freed[FEC_MAX_SHARDS]; /* `own` handles that the decoder no longer needs: the caller frees them */
	unsigned n_freed;
	unsigned withheld; /* datagrams that might have been recovered, had the shape been proved, and are given up */
	bool tuned;	   /* the decoder adopted other parameters: fec_dec_params */
	bool kept;	   /* the decoder kept in->own: the caller must not free it until it comes back in `freed` */
};

/*
 * A decoder for groups of codec's size; `codec` may be NULL (FEC not configured): it then starts as (1,1) and tunes
 * itself.  Tuned parameters are limited to ds + ps < 256 (wire.md 3.7).  The codec is only read here, not kept.  NULL
 * when memory is short.
 */
struct fec_dec *fec_dec_create(const struct fec_codec *codec, struct mem *mem, struct snmp *cnt);

/*
 * A group decoded by another shape than its sender's gives wrong bytes under headers that come out right (wire.md 3.8).
 * So nothing is recovered before the shape is proved: by a group of which more packets than ds are here and agree, and
 * as many packets as two groups have that fit their places.  What waits for the proof and is still at hand when it
 * comes is recovered then.  A packet that does not fit its place, or its group, withdraws the proof, a gap of a group's
 * length does until the next group that agrees, and so does the caller, when what was recovered cannot have been sent.
 */
void fec_dec_doubt(struct fec_dec *d);
bool fec_dec_proved(const struct fec_dec *d);

/* Takes every shape for proved, for good, as stock does: for models of stock, and for tests. */
void fec_dec_trust(struct fec_dec *d);

/*
 * Gives back all that the decoder holds besides itself; handles still held come out through `freed` in portions of at
 * most max: call until it returns 0.  The decoder may go on afterwards, with its parameters, as after a pause: an idle
 * session gives its packets back this way.
 */
unsigned fec_dec_release(struct fec_dec *d, void **freed, unsigned max);

/*
 * Copies what the decoder still holds of the caller's memory.  The handles come out through `freed` in portions of at
 * most max: call until it returns 0.  Where there is no memory for a copy, the packet is as good as lost (FECErrs).
 */
unsigned fec_dec_let_go(struct fec_dec *d, void **freed, unsigned max);

void fec_dec_destroy(struct fec_dec *d); /* after fec_dec_release returned 0 */

/*
 * Takes one FEC packet (in->p at the seqid, type data or parity), after its own KCP payload was fed to KCP.  `scratch`
 * is worker memory of FEC_SCRATCH bytes in which recovered bodies are built.  With in->own != NULL the decoder may keep
 * the packet's memory itself instead of copying (got->kept), and nobody may then write to it: not even to decipher the
 * payload in place.  With NULL it copies what it must keep at once.  Handles in got->freed are from earlier calls and
 * are no longer read once this one returns; where more than FEC_MAX_SHARDS are due, the rest follows in the next calls.
 * Returns 0, or why the packet was of no use: DROP_FEC (too short or long for FEC, neither data nor parity, or a seqid
 * beyond the wrap), DROP_NO_MEMORY.  *got is always filled in.
 */
#define FEC_SCRATCH (FEC_MAX_SHARDS * FEC_MAX_BODY + 51200) /* bodies, and a work area for decode tables */
unsigned fec_dec_packet(struct fec_dec *d, const struct pkt *in, uint8_t *scratch, struct fec_got *got);

/* Current parameters of the decoder, for telemetry and tests. */
void fec_dec_params(const struct fec_dec *d, unsigned *ds, unsigned *ps);
