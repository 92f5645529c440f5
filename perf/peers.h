/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The far ends of very many sessions of a server's gate, as raw datagrams: clients of which nothing is kept but what
 * their next datagram must say.  They open sessions with one stream each, answer what the gate sends after a round trip
 * of PEERS_RTT_MS, and send keepalives.  Control's side of the streams is played here, too.  Only the gate's own turns
 * are counted (bed_gate.cycles).
 */

#include "bed.h"

#define PEERS_RTT_MS 20

struct peer {
	uint32_t sn;	 /* of its next PUSH */
	uint32_t una;	 /* the gate's next sn */
	uint32_t dgrams; /* sent */
	uint64_t nop_at; /* ms; 0: none */
};

struct peers;

/* b: of its gates only the server's is used.  n: as many as b has sessions, or fewer. */
struct peers *peers_new(struct bed *b, unsigned n);
void peers_free(struct peers *p);

/* Peer i opens its session, with `streams` streams; after it has ended, a new one from the same port. */
void peers_open(struct peers *p, unsigned i, unsigned streams);
/* From `at` (ms) on peer i sends a NOP every `every` ms; every is the same for all. */
void peers_keepalive(struct peers *p, unsigned i, uint64_t at, unsigned every);
/* Sends what was made since, as far as the gate's ring has room, and lets time go on by a step: a turn of the gate. */
void peers_step(struct peers *p);
/* As many steps as make `ms`. */
void peers_wait(struct peers *p, uint64_t ms);
uint64_t peers_now(const struct peers *p); /* ms */
/* Datagrams that the gate got and sent since the last bed_zero. */
uint64_t peers_in(const struct peers *p);
uint64_t peers_out(const struct peers *p);
