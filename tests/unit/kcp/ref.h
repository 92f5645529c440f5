/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * KCP as wire.md section 4 tells it, line by line, with a walk over the window wherever the text has one, but that what
 * comes late tells neither the round trip nor the window (kcp/input.c).  The plain reference that lib/kcp is compared
 * with; never used for anything else.
 */

#include <stdbool.h>
#include <stdint.h>

#include "kcp.h"

#define REF_SEGS 2048
#define REF_OUT	 512

struct ref_seg {
	uint32_t sn, ts, rto, resendts, fastack, xmit;
	uint8_t frg;
	bool acked;
	bool timed_out; /* not stock's: see struct ref.stock */
	uint16_t len;
	uint8_t *data;
};

struct ref_ack {
	uint32_t sn, ts;
};

struct ref {
	const struct kcp_conf *conf;
	/* The one liberty of lib/kcp/loss.c that small windows can show: an acknowledged segment that had timed out
	 * does not ask for a flush.  true: it does, as in stock. */
	bool stock;
	uint32_t conv, mss;
	uint32_t una, nxt, rcv, rmt, cwnd, ssthresh, incr, rto, probe, probe_wait, ts_probe;
	int32_t srtt, rttvar;
	bool dead, told; /* told: rmt is the peer's word */
	bool credulous;	 /* as stock, to the letter: what comes late tells both */
	struct ref_seg sq[REF_SEGS], sb[REF_SEGS], rq[REF_SEGS], rb[REF_SEGS]; /* rb by no order */
	unsigned n_sq, n_sb, n_rq, n_rb;
	struct ref_ack acks[REF_SEGS];
	unsigned n_acks;
	uint8_t out[REF_OUT][KCP_MTU_MAX];
	uint16_t out_len[REF_OUT];
	unsigned n_out;
	uint32_t now;
	uint64_t lost, fast, early, out_segs, in_segs, repeat, in_errors;
};

struct ref *ref_new(uint32_t conv, const struct kcp_conf *conf);
void ref_free(struct ref *r);
void ref_start_at(struct ref *r, uint32_t sn);
bool ref_may_send(const struct ref *r);
void ref_send(struct ref *r, const uint8_t *p, uint32_t n);
uint32_t ref_flush(struct ref *r, enum kcp_flush_kind kind, uint32_t now);
int ref_input(struct ref *r, const uint8_t *p, uint32_t n, bool recovered, uint32_t now);

/* One message into buf (large enough); its length, or -1. */
int ref_recv(struct ref *r, uint8_t *buf);
