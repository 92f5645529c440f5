/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "kcp_seg.h"

/* Birth and death of a session's ARQ. */

void kcp_init(struct kcp *k, uint32_t conv, const struct kcp_conf *conf, struct mem *mem, struct snmp *cnt,
	      uint64_t now)
{
	memset(k, 0, sizeof(*k));
	k->conf = conf;
	k->mem = mem;
	k->cnt = cnt;
	k->cc = conf->nc ? &kcp_cc_none : &kcp_cc_stock;
	k->loss = &kcp_loss_counted;
	k->now = now;
	k->tick = now + KCP_INTERVAL_INIT;
	k->conv = conv;
	k->mss = conf->mtu - KCP_HEAD;
	k->rmt_wnd = KCP_WND_INIT;
	k->limit = UINT16_MAX;
	k->rcv_wnd = kcp_is_auto(k) && conf->rcv_wnd > KCP_RCV_FIRST ? KCP_RCV_FIRST : conf->rcv_wnd;
	k->run.wnd = (uint16_t)k->rcv_wnd;
	k->rcv_since = now;
	k->rto = KCP_RTO_INIT;
	k->ssthresh = KCP_SSTHRESH_MIN;
	kcp_loss_init(k);
	if (!kcp_is_auto(k))
		return;
	k->cc = &kcp_cc_auto;
	k->loss = &kcp_loss_timed;
	kcp_model_init(k);
}

bool kcp_proved(const struct kcp *k)
{
	return k->proved;
}

void kcp_clock(struct kcp *k, uint64_t us)
{
	if (kcp_is_auto(k))
		k->m.us = us;
}

void kcp_fini(struct kcp *k)
{
	for (uint32_t sn = k->snd_una; sn != k->snd_end; sn++) {
		struct kcp_seg *s = kcp_snd_seg(k, sn);

		if (s)
			kcp_seg_free(k, s);
		*kcp_ring_at(&k->snd, sn) = NULL;
	}
	kcp_ring_trim(&k->snd, k->mem, k->snd_una, 0);
	k->snd_una = k->snd_sent = k->snd_nxt = k->fast = k->plain = k->snd_end;
	k->due_last = NULL;
	k->touched = 0;
	kcp_police_fini(k);
	kcp_loss_init(k);
	kcp_recv_fini(k);
}
