/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * kcpgate-mkpcap: packets from clients to a server's tunnel, as a capture file that packet generators replay, and
 * beside it what a gateway must make of them.  Sessions are made by the same rooms that make the gateway's own, so that
 * what is meant to be valid is; what is meant to be refused is told by its reason.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "crypt.h"
#include "drop.h"
#include "pkt.h"

enum mk_kind {
	MK_NEW,	      /* begins a session */
	MK_STEADY,    /* further data of one */
	MK_REPEAT,    /* a segment that was sent before: the same sn */
	MK_GARBAGE,   /* random bytes from a stranger */
	MK_TRUNCATED, /* a session's next packet, cut short somewhere */
	MK_PICKS,     /* those that a mix gives weights to */
	MK_PARITY = MK_PICKS,
	MK_KINDS
};
extern const char *const mk_kind_names[MK_KINDS];

struct mk_opts {
	const char *pcap, *expect; /* files; expect NULL: standard output */
	const char *crypt, *key;
	unsigned ds, ps;
	bool nocomp, text;
	unsigned smuxver, mtu, streams;
	unsigned length;		   /* bytes of UDP payload of a data packet that is full */
	unsigned garbage_min, garbage_max; /* bytes of UDP payload */
	unsigned sessions, packets;	   /* picks are their product */
	unsigned flows;			   /* 0: one a session */
	unsigned strangers;		   /* flows that garbage comes from */
	unsigned weight[MK_PICKS];
	uint64_t seed;
	struct addr src, dst;
	unsigned sport, dport;
	uint8_t smac[6], dmac[6];
	unsigned pps; /* by the capture's timestamps */
};

/* What a gateway that starts with the file's first packet must have counted after its last. */
struct mk_sum {
	uint64_t packets, bytes; /* of frames */
	uint64_t kinds[MK_KINDS];
	uint64_t sessions, replaced, streams;
	uint64_t in_pkts, in_bytes, in_segs, repeat_segs; /* as kcptun's SNMP counters have them */
	uint64_t stream_bytes;				  /* above KCP: with the headers of smux and snappy */
	uint64_t payload;				  /* of smux: what the target reads */
	uint64_t drops[VERDICT_MAX];			  /* by verdict */
};

/* Seeded, and the same on every machine. */
static inline uint64_t mk_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* min..max, both included. */
static inline unsigned mk_between(uint64_t *state, unsigned min, unsigned max)
{
	return min + (unsigned)(mk_random(state) % (max - min + 1u));
}

/* ---- mkpcap_frame.c: datagrams to frames in the file ---- */

/* How a frame is cut short. */
enum mk_cut {
	MK_WHOLE,
	MK_CUT_DATAGRAM, /* lengths and checksums fit what is left */
	MK_CUT_UDP,	 /* UDP's length is the old one */
	MK_CUT_FRAME,	 /* all lengths are the old ones */
};

#define MK_HEADROOM 128
#define MK_BUF	    2304 /* a datagram of 1500 bytes, all that goes round it, and FEC's padding */
#define MK_BATCH    512

struct mk_writer;

/* 0 or -errno.  `crypt` must outlive the writer, which seals everything but garbage with it. */
int mk_writer_open(struct mk_writer **out, const struct mk_opts *o, const struct crypt *crypt, struct mk_sum *sum);
/* n places in the vector, each with MK_HEADROOM bytes before p; n <= MK_BATCH.  NULL: the file cannot be written. */
struct pkt *mk_lend(struct mk_writer *w, unsigned n);
/* The first place lent holds a datagram: plaintext, or with `raw` the UDP payload itself. */
void mk_commit(struct mk_writer *w, enum mk_kind kind, unsigned flow, bool raw, enum mk_cut cut, unsigned cut_n);
/* Writes what is left and closes the file.  0 or -errno of whatever went wrong since it was opened. */
int mk_writer_close(struct mk_writer *w);
unsigned mk_head(const struct mk_opts *o); /* bytes of Ethernet, IP and UDP header */

/* ---- mkpcap_traffic.c: sessions and the mix ---- */

/* Writes all packets.  0, -errno, or -ERANGE: `length` has no room for what a first packet must say. */
int mk_traffic(const struct mk_opts *o, const struct crypt *crypt, struct mk_writer *w, struct mk_sum *sum);
