/* SPDX-License-Identifier: MIT */
#pragma once

/* KCP on the wire (wire.md 4.1): offsets, commands and constants, and the one place that reads or writes a header. */

#include <assert.h>
#include <stdint.h>

#include "kcp.h"
#include "le.h"

enum kcp_cmd {
	KCP_PUSH = 81,
	KCP_ACK = 82,
	KCP_WASK = 83, /* asks for the peer's window */
	KCP_WINS = 84, /* tells ours */
};

#define KCP_OFF_CONV 0
#define KCP_OFF_CMD  4
#define KCP_OFF_FRG  5
#define KCP_OFF_WND  6
#define KCP_OFF_TS   8
#define KCP_OFF_SN   12
#define KCP_OFF_UNA  16
#define KCP_OFF_LEN  20

static_assert(KCP_OFF_LEN + 4 == KCP_HEAD, "the length ends the header");
static_assert(KCP_MTU_MIN > KCP_HEAD, "a segment carries at least one byte");
static_assert(KCP_MTU_MAX - KCP_HEAD <= UINT16_MAX, "payload lengths are kept in 16 bits");
static_assert(KCP_GOT_MAX >= KCP_MTU_MAX / KCP_HEAD, "a datagram's segments fit in kcp_got");
static_assert(KCP_WND_MAX <= UINT16_MAX, "windows are 16 bits on the wire");

#define KCP_FRG_MAX	  255	 /* pieces of a message */
#define KCP_WND_INIT	  32	 /* the remote window before its owner has spoken */
#define KCP_INTERVAL_INIT 100	 /* ms from creation to the first tick */
#define KCP_INTERVAL_MIN  10	 /* ms */
#define KCP_INTERVAL_MAX  5000	 /* ms */
#define KCP_RTO_INIT	  200	 /* ms */
#define KCP_RTO_MIN	  100	 /* ms, nodelay 0 */
#define KCP_RTO_MIN_NODLY 30	 /* ms, nodelay 1 and 2 */
#define KCP_RTO_MAX	  60000	 /* ms */
#define KCP_RCV_FIRST	  1024	 /* segments: the window that KCP_CONGESTION_AUTO begins to tell: stock's server's */
#define KCP_PROBE_INIT	  500	 /* ms */
#define KCP_PROBE_MAX	  120000 /* ms */
#define KCP_SSTHRESH_MIN  2	 /* segments */
#define KCP_DEAD_XMIT	  20	 /* transmissions that mark a link as dead */

/* A header, decoded. */
struct kcp_head {
	uint32_t conv, ts, sn, una, len;
	uint16_t wnd;
	uint8_t cmd, frg;
};

static inline void kcp_head_get(struct kcp_head *h, const uint8_t *p)
{
	h->conv = le32_get(p + KCP_OFF_CONV);
	h->cmd = p[KCP_OFF_CMD];
	h->frg = p[KCP_OFF_FRG];
	h->wnd = le16_get(p + KCP_OFF_WND);
	h->ts = le32_get(p + KCP_OFF_TS);
	h->sn = le32_get(p + KCP_OFF_SN);
	h->una = le32_get(p + KCP_OFF_UNA);
	h->len = le32_get(p + KCP_OFF_LEN);
}

/* Three stores: the fields lie in little-endian order in each eighth of the header. */
static inline void kcp_head_put(uint8_t *p, const struct kcp_head *h)
{
	le64_put(p + KCP_OFF_CONV,
		 (uint64_t)h->wnd << 48 | (uint64_t)h->frg << 40 | (uint64_t)h->cmd << 32 | (uint64_t)h->conv);
	le64_put(p + KCP_OFF_TS, (uint64_t)h->sn << 32 | h->ts);
	le64_put(p + KCP_OFF_UNA, (uint64_t)h->len << 32 | h->una);
}
