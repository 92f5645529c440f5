/* SPDX-License-Identifier: MIT */
#include "kcp_seg.h"
#include "kcp_wire.h"

/* Stock's congestion window (wire.md 4.4 step 6, 4.5), counted in segments; incr is the same in bytes, with its
 * fraction. */

static uint32_t stock_window(const struct kcp *k, uint32_t wnd)
{
	return k->cwnd < wnd ? k->cwnd : wnd;
}

static void stock_acked(struct kcp *k)
{
	uint32_t mss = k->mss;

	if (k->cwnd >= k->rmt_wnd)
		return;
	if (k->cwnd < k->ssthresh) {
		k->cwnd++;
		k->incr += mss;
	} else {
		if (k->incr < mss)
			k->incr = mss;
		k->incr += mss * mss / k->incr + mss / 16;
		if ((k->cwnd + 1) * mss <= k->incr)
			k->cwnd = (k->incr + mss - 1) / mss;
	}
	if (k->cwnd > k->rmt_wnd) {
		k->cwnd = k->rmt_wnd;
		k->incr = k->rmt_wnd * mss;
	}
}

static void stock_flushed(struct kcp *k)
{
	if (k->run.fast) {
		/* With resend <= 0 stock adds the 0xffffffff that stands for "never", and so do we: ssthresh - 1. */
		uint32_t resend = k->conf->resend > 0 ? (uint32_t)k->conf->resend : UINT32_MAX;

		k->ssthresh = (k->snd_nxt - k->snd_una) / 2;
		if (k->ssthresh < KCP_SSTHRESH_MIN)
			k->ssthresh = KCP_SSTHRESH_MIN;
		k->cwnd = k->ssthresh + resend;
		k->incr = k->cwnd * k->mss;
	}
	if (k->run.lost) {
		k->ssthresh = k->run.window / 2;
		if (k->ssthresh < KCP_SSTHRESH_MIN)
			k->ssthresh = KCP_SSTHRESH_MIN;
		k->cwnd = 1;
		k->incr = k->mss;
	}
	if (k->cwnd < 1) {
		k->cwnd = 1;
		k->incr = k->mss;
	}
}

const struct kcp_cc_ops kcp_cc_stock = {
	.window = stock_window,
	.acked = stock_acked,
	.flushed = stock_flushed,
};

static uint32_t none_window(const struct kcp *k, uint32_t wnd)
{
	return wnd;
}

static void none_nothing(struct kcp *k)
{
}

const struct kcp_cc_ops kcp_cc_none = {
	.window = none_window,
	.acked = none_nothing,
	.flushed = none_nothing,
};
