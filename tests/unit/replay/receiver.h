/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One end of a session that only receives, made of the rooms themselves: crypt, fec, kcp, comp, mux and qpp.  What it
 * would send is thrown away; what it receives is gathered as the application would read it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture.h"
#include "comp.h"
#include "crypt.h"
#include "fec.h"
#include "kcp_state.h"
#include "mux.h"
#include "qpp.h"

/* A packet as it lies behind the cipher, without the rooms' help beyond that: for those who choose which to lose. */
struct inner {
	bool ok; /* the cipher took it */
	bool fec, parity;
	uint32_t seqid;
	bool push;   /* a KCP segment with data begins it */
	uint32_t sn; /* of that segment */
};

struct receiver {
	const struct capture *cap;
	enum way way;
	bool queued; /* the reader never takes data directly: everything goes through KCP's ordered queue */
	struct mem *mem;
	void *region;
	size_t idle;
	struct snmp cnt;
	struct crypt *crypt;
	struct crypt_mb *mb;
	struct fec_codec *codec;
	struct fec_dec *dec;
	struct fec_got *got;
	uint8_t *scratch;
	struct kcp_conf kconf;
	struct kcp kcp;
	bool begun; /* kcp has its conv */
	struct comp_scratch *comp;
	struct comp_dec cdec;
	struct mux_conf mconf;
	struct mux mux;
	struct mux_stream *st;
	struct qpp_pads *pads; /* NULL: off */
	struct qpp_prng prng;
	/* what came of it */
	uint8_t *app;
	size_t app_n, app_cap;
	unsigned bad;	  /* datagrams that the cipher refused */
	unsigned streams; /* that the peer opened */
	unsigned fins;
	unsigned errors; /* anything that a healthy session does not have */
};

void receiver_up(struct receiver *r, const struct capture *cap, enum way way, bool queued);
void receiver_down(struct receiver *r); /* asserts that all memory came back */

/* One datagram from the wire, at that time. */
void receiver_feed(struct receiver *r, const uint8_t *wire, size_t n, uint64_t ms);

/* True when it has read what the peer's application wrote, to the byte. */
bool receiver_complete(const struct receiver *r);

struct inner receiver_look(const struct receiver *r, const struct cap_pkt *p);
