/* SPDX-License-Identifier: MIT */
#include "kcp_seg.h"

/*
 * Whether the peer receives where it seems to send from, asked by what every speaker of the protocol answers: a segment
 * is acknowledged however often it comes (wire.md trap 13), and its ts comes back.  The one below snd_una is old to the
 * peer whatever it has received, be it nothing at all: it is thrown away, and has no need of bytes.  What the answer
 * echoes must tell nobody of a round trip: it lies in the future, from which no sample is taken.
 */

uint32_t kcp_prove_put(const struct kcp *k, uint8_t *p, uint32_t room, uint32_t ts)
{
	struct kcp_head h = {.conv = k->conv,
			     .cmd = KCP_PUSH,
			     .wnd = (uint16_t)(k->rcv_wnd - k->rcv_ordered),
			     .ts = ts + (kcp_ts(k) - (uint32_t)k->now),
			     .sn = k->snd_una - 1,
			     .una = k->rcv_nxt};

	if (room < KCP_HEAD)
		return 0;
	kcp_head_put(p, &h);
	k->cnt->OutSegs++;
	return KCP_HEAD;
}

bool kcp_prove_next(const struct kcp *k, const uint8_t **p, uint32_t *n, uint32_t *ts)
{
	struct kcp_head h;

	while (*n >= KCP_HEAD) {
		kcp_head_get(&h, *p);
		if (h.conv != k->conv || h.len > *n - KCP_HEAD)
			return false;
		*p += KCP_HEAD + h.len;
		*n -= KCP_HEAD + h.len;
		if (h.cmd == KCP_ACK) {
			*ts = h.ts - (kcp_ts(k) - (uint32_t)k->now);
			return true;
		}
	}
	return false;
}

bool kcp_backward(const struct kcp *k)
{
	return k->backward;
}

void kcp_lost(struct kcp *k, unsigned max)
{
	k->loss->lost(k, max);
}
