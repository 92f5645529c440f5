/* SPDX-License-Identifier: MIT */
#pragma once

/* Which datagrams begin a session, and sessions that are lost or whose flow becomes another: a server's, whose peer
 * comes from elsewhere, and a client's own. */

#include "sess.h"

/* begin.c: which datagrams begin a session */
/* What a server's datagram tells of its session (wire.md 5.2). */
struct begin {
	uint32_t conv;
	bool known; /* conv is; parity, and what is too short, has none */
	bool oob;   /* an out-of-band packet, which never begins one */
	uint8_t at; /* where KCP begins */
};
struct begin begin_look(const struct pkt *k);
/* The lowest sequence number of those in k that a peer sends who has heard nothing; UINT32_MAX: there is none. */
uint32_t begin_sn(const struct pkt *k, const struct begin *b);

/* roam.c: sessions whose peers come from elsewhere */
/* A session has begun, or is over. */
void roam_opened(struct sess *ss, uint64_t now);
void roam_closed(struct sess *ss);
/* Is there, with any worker, or may there be, a session of this conversation, of k's tunnel? */
bool roam_knows(const struct shard *s, const struct pkt *k, uint32_t conv);
/* Is k, which is not the session's that has its flow, if there is one, of another that there is?  begins: it could be a
 * session's first (begin.c). */
enum roam { ROAM_NOT, ROAM_HERE, ROAM_ELSEWHERE };
enum roam roam_look(struct shard *s, const struct pkt *k, const struct begin *b, bool begins, struct sess **of);
/* ROAM_HERE: the session that k is now of, for it has proved that; or NULL, and its verdict says what has become of k.
 */
struct sess *roam(struct sess *of, struct pkt *k, const struct begin *b, uint64_t now);
/* ROAM_ELSEWHERE: what comes of its flow next goes to the worker whose session it is.  Sets the verdict. */
void roam_send_home(struct shard *s, struct pkt *k, uint32_t conv, uint64_t now);

/* Another flow, for the flow table's caller to enter; the path to it begins anew. */
void roam_rekey(struct sess *ss, const struct flow_key *key, uint32_t hash, bool steered, uint64_t now);

/* home.c: clients' sessions whose own address is no longer one */
void homes_look(struct shard *s, uint64_t now);

/* ask.c: a client asks a silent server whether it knows the session */
/* Output has gone out, with ask_ready. */
void ask_arm(struct sess *ss, uint64_t now);
/* ask_at has come. */
void ask_timer(struct sess *ss, uint64_t now);
/* A datagram has come, that or a former one of a server that seems to have forgotten the session: one that does not
 * answer is found out by that. */
void ask_backward(struct sess *ss, uint64_t now);
/* Questions that are due, at most max. */
unsigned ask_output(struct shard *s, struct pkt *out, unsigned max, uint64_t now);
/* An out-of-band packet of no session, at a server. */
void ask_stranger(struct shard *s, struct pkt *k, uint64_t now);
/* One of a session, which an answer may close. */
void ask_oob(struct sess *ss, struct pkt *k, uint64_t now);
