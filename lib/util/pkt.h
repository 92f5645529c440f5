/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The one struct in which packets travel from room to room, one cache line each, always in vectors.  The buffer behind
 * `p` belongs to whoever made the vector (the pipeline's mbufs, a test's arrays); a room may move `p` and `n` within
 * it.
 */

#include <stdint.h>

#include "addr.h"
#include "drop.h"

struct crypt;
struct sess;

#define PKT_F_L4_BAD   0x01 /* the driver checked the UDP or TCP checksum and found it wrong */
#define PKT_F_PARITY   0x02 /* out: an FEC parity packet */
#define PKT_F_STEERED  0x02 /* in: a sibling worker steered it here */
#define PKT_F_HOME     0x04 /* in: it, or its port, has brought it to its flow's home */
#define PKT_F_SYN      0x08 /* fake TCP: a segment of the handshake, in and out */
#define PKT_F_ACK      0x10 /* fake TCP, in: the segment acknowledges: tcp_ack holds */
#define PKT_F_UNTAGGED 0x20 /* in: an 802.1Q tag has been taken off: the port's VLAN, or a priority only */
#define PKT_F_PROBE    0x80 /* out: probes its path's MTU: never cut */
#define PKT_F_BIG      0x40 /* in: an ICMP message about a packet of the flow, on its way to the flow's home */

struct pkt {
	uint8_t *p;		    /* first byte of what the room at work sees */
	uint16_t n;		    /* bytes at p */
	uint8_t verdict;	    /* enum verdict */
	uint8_t flags;		    /* PKT_F_* */
	uint32_t hash;		    /* of *key */
	void *own;		    /* the buffer, opaque below pipeline */
	const struct flow_key *key; /* in: filled by net; out: the session's */
	const struct crypt *crypt;  /* the tunnel's cipher and key */
	struct sess *sess;	    /* owner session, opaque below session */
	uint16_t tunnel;	    /* in: index of the tunnel whose port was hit, from net_ports */
	uint16_t dev;		    /* gateway port: in, where it came from */
	uint32_t tcp_seq;	    /* in, fake TCP: of the segment's first byte */
	uint32_t tcp_ack;	    /* in, fake TCP: what it acknowledges, with PKT_F_ACK */
	uint32_t tcp_end;	    /* in, fake TCP: of the byte after its last */
};

_Static_assert(sizeof(struct pkt) == 64, "a packet is one cache line");
