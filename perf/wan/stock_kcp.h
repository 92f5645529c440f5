/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Stock's KCP (wire.md section 4), of the generation of 2021 or of 2026, in stream mode and without a clock: the yard-
 * stick of this folder.  What stock walks over, this walks over, in rings by number rather than in slices.  Of 2026 it
 * is what tests/unit/kcp/ref.c is; a test compares them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sk_conf {
	int year; /* 2021, 2026 */
	uint32_t mtu, snd_wnd, rcv_wnd;
	int nodelay, interval, resend, nc;
	bool acknodelay;
};

struct sk_seg {
	uint32_t ts, rto, resendts, fastack, xmit;
	uint16_t len;
	bool acked, held;
	uint8_t *data; /* a buf */
};

struct sk_ack {
	uint32_t sn, ts;
};

struct sk {
	struct sk_conf conf;
	uint32_t conv, mss;
	/* snd_una <= snd_nxt <= snd_end: in flight, and queued; rcv_read <= rcv_nxt: in order, and not yet read */
	uint32_t una, nxt, end, rcv_read, rcv, rmt;
	uint32_t cwnd, ssthresh, incr, rto, probe, probe_wait, ts_probe, now;
	int32_t srtt, rttvar;
	struct sk_seg *snd, *got; /* rings by sn */
	uint32_t snd_mask, got_mask;
	struct sk_ack *acks;
	uint32_t n_acks, cap_acks;
	uint64_t timeouts, fast, early, segs_out, segs_in, repeats, errors;
	/* A datagram is complete.  Called within sk_flush and sk_input. */
	void (*out)(void *arg, uint8_t *p, uint16_t n);
	void *arg;
	uint8_t *dgram; /* room for one, with room before and behind it that `out` may use */
	uint16_t n;
};

enum sk_flush { SK_ACKS, SK_FULL };

void sk_init(struct sk *k, const struct sk_conf *conf, uint32_t conv, void (*out)(void *, uint8_t *, uint16_t),
	     void *arg);
void sk_fini(struct sk *k);

/* True while a write is taken (wire.md 4.3). */
bool sk_writable(const struct sk *k);
/* Queues n bytes; the caller flushes. */
void sk_send(struct sk *k, const uint8_t *p, uint32_t n);
/* Returns ms until the next periodic flush. */
uint32_t sk_flush(struct sk *k, enum sk_flush kind, uint32_t now);
/* One datagram, with the flush that it asks for. */
int sk_input(struct sk *k, const uint8_t *p, uint32_t n, bool recovered, uint32_t now);
/* The oldest segment in order, NULL: none; and it was read. */
const uint8_t *sk_peek(const struct sk *k, uint16_t *n);
void sk_read(struct sk *k);
