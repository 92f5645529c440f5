/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "kcp_seg.h"

/*
 * Whether the peer receives where it seems to send from, asked by what every speaker of the protocol answers: a segment
 * is acknowledged however often it comes (wire.md trap 13), and its ts comes back.  One that was acknowledged before is
 * thrown away, and so has no need of its bytes.  What the answer echoes must tell nobody of a round trip: it lies in
 * the future, from which no sample is taken.
 */

uint32_t kcp_prove_put(const struct kcp *k, uint8_t *p, uint32_t room, uint32_t ts)
{
	const bool again = k->snd_una != 0; /* the peer has said that it has what lies below */
	const struct kcp_seg *s = !again && k->snd_sent ? kcp_snd_seg(k, 0) : NULL;
	struct kcp_head h = {.conv = k->conv,
			     .cmd = KCP_PUSH,
			     .wnd = (uint16_t)(k->rcv_wnd - k->rcv_ordered),
			     .ts = ts,
			     .sn = k->snd_una - again,
			     .una = k->rcv_nxt,
			     .len = s ? s->len : 0};

	if ((!again && !s) || room < KCP_HEAD + h.len)
		return 0;
	kcp_head_put(p, &h);
	if (s)
		memcpy(p + KCP_HEAD, s->data, s->len);
	k->cnt->OutSegs++;
	return KCP_HEAD + h.len;
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
			*ts = h.ts;
			return true;
		}
	}
	return false;
}

void kcp_lost(struct kcp *k, unsigned max)
{
	k->loss->lost(k, max);
}
