/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A capture: workers copy what is asked for, as it is on the wire and, where that was asked for and allowed, as it is
 * without encryption, each into a ring of its own; one other thread takes it from there.  A full ring costs the capture
 * a packet, which is counted, and the worker nothing: it waits for nobody.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define CAPTURE_SESSIONS 16			 /* that can be named */
#define CAPTURE_LONGEST	 65535			 /* bytes of a packet */
#define CAPTURE_BLOCK	 (CAPTURE_LONGEST + 512) /* and of what capture_block makes of it */

/* Whose packets; all of it must fit. */
struct capture_want {
	int tunnel; /* -1: any */
	bool any_peer;
	struct addr peer;
	uint16_t peer_port;  /* 0: any */
	unsigned n_sessions; /* 0: any */
	uint64_t session[CAPTURE_SESSIONS];
	uint32_t snaplen; /* bytes of a packet that are kept, 1..CAPTURE_LONGEST */
	bool plain;	  /* decrypted, too */
};

/* As people know them. */
struct capture_names {
	const char *const *port;
	unsigned n_ports; /* at most LIMIT_PORTS */
	const char *const *tunnel;
};

struct capture;

/*
 * 0 and *out, or -ENOMEM.  names must live as long.  ring: bytes of each worker's, a power of two and at least twice
 * the longest record; they are made resident here.
 */
int capture_create(struct capture **out, const struct capture_want *want, const struct capture_names *names,
		   unsigned workers, size_t ring);
/* No worker may know it any more. */
void capture_destroy(struct capture *c);

/* ---- a worker's end: no locks, no memory, no system call ---- */

/* What is known of a packet beside its bytes. */
struct capture_of {
	uint64_t tsc;
	uint64_t session; /* its id; 0: it is none's */
	const struct flow_key *key;
	uint16_t tunnel, port;
	uint16_t tag; /* TCI of an 802.1Q tag that has been taken off, with `tagged` */
	bool tagged;
	bool out, plain; /* plain: p is a datagram's payload, not a frame */
};

bool capture_wants(const struct capture *c, const struct capture_of *of);
bool capture_plain(const struct capture *c);
/* Copies a packet that is wanted. */
void capture_put(struct capture *c, unsigned worker, const struct capture_of *of, const uint8_t *p, uint32_t n);

/* ---- the other end: one thread ---- */

/* The head of the file; 0 when `room` does not hold it. */
size_t capture_head(const struct capture *c, uint8_t *buf, size_t room, const char *app);

/* TSC as time: read at the same moment. */
struct capture_clock {
	uint64_t tsc, ns, hz;
};

/*
 * Takes the packet that has waited for the longest, as a block of the file.  Returns its length; 0: nothing waits.
 * room: CAPTURE_BLOCK at least.
 */
size_t capture_block(struct capture *c, const struct capture_clock *now, uint8_t *buf, size_t room);

/* The file's end; 0 when `room` does not hold it. */
size_t capture_tail(const struct capture *c, const struct capture_clock *now, uint8_t *buf, size_t room);

/* Packets that have been taken, and those that found their ring full.  Any thread. */
uint64_t capture_taken(const struct capture *c);
uint64_t capture_lost(const struct capture *c);
