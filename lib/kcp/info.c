/* SPDX-License-Identifier: MIT */
#include "kcp_seg.h"

/* What a session tells of itself: nothing of this is kept, it is made when somebody asks. */

#define WANT_STEP  100 /* segments: a window that somebody is to type is a round number */
#define SPARE_PART 4   /* of the congestion window, which is twice what a path takes that carries what was hinted at */

void kcp_info(const struct kcp *k, struct kcp_info *out)
{
	*out = (struct kcp_info){
		.conv = k->conv,
		.snd_una = k->snd_una,
		.snd_nxt = k->snd_nxt,
		.rcv_nxt = k->rcv_nxt,
		.rmt_wnd = k->rmt_wnd,
		.cwnd = k->cwnd,
		.ssthresh = k->ssthresh,
		.incr = k->incr,
		.srtt = (uint32_t)k->srtt,
		.rttvar = (uint32_t)k->rttvar,
		.rto = k->rto,
		.probe_wait = k->probe_wait,
		.ts_probe = k->ts_probe,
		.snd_queue = k->snd_end - k->snd_nxt,
		.snd_buf = k->snd_nxt - k->snd_una,
		.rcv_queue = k->rcv_ordered,
		.rcv_buf = k->rcv_stored,
		.acks = k->acks.n,
		.ask_send = k->ask_send,
		.ask_tell = k->ask_tell,
		.dead = k->dead,
	};
}

static bool all_sent(const struct kcp *k)
{
	return k->snd_sent == k->snd_end && list_empty(&k->again);
}

/* Which of the two ends' windows lets less through?  Of the peer's, a wider one of KCP's would help little where one
 * above it limits, too. */
static enum kcp_bound narrower(const struct kcp *k)
{
	if (k->rmt_wnd >= k->conf->snd_wnd)
		return KCP_BOUND_OWN_WINDOW;
	return k->m.limited & KCP_LIMITED_STREAM ? KCP_BOUND_PEER_STREAM : KCP_BOUND_PEER_WINDOW;
}

/* Of segments without a number, or of those that the caller still has, it takes none. */
static bool window_is_full(const struct kcp *k, bool more)
{
	if (k->snd_nxt != k->snd_end)
		return !kcp_may_number(k);
	return more && k->snd_end - k->snd_una >= k->conf->snd_wnd;
}

bool kcp_is_open(const struct kcp *k, bool more)
{
	if ((all_sent(k) && !more) || window_is_full(k, more))
		return false;
	return !kcp_is_auto(k) || kcp_may_send(k);
}

/* Its windows are all that stock knows, one of which its own congestion control moves. */
static enum kcp_bound stock_bound(const struct kcp *k, bool more)
{
	uint32_t wnd = k->conf->snd_wnd < k->rmt_wnd ? k->conf->snd_wnd : k->rmt_wnd;

	if (all_sent(k) && !more)
		return KCP_BOUND_APPLICATION;
	return kcp_window(k) < wnd ? KCP_BOUND_PATH : narrower(k);
}

/*
 * What has limited in the last round trip is still in m.limited: a window that acknowledgements open in lumps is not
 * full at every moment, and an application that the path outruns is not always behind.
 */
enum kcp_bound kcp_bound(const struct kcp *k, bool more)
{
	const struct kcp_model *m = &k->m;

	if (k->snd_end == 0)
		return KCP_BOUND_NONE;
	if (!kcp_is_auto(k))
		return stock_bound(k, more);
	if (window_is_full(k, more))
		return narrower(k);
	if (all_sent(k) && !more)
		return m->limited & KCP_LIMITED_STREAM ? KCP_BOUND_PEER_STREAM : KCP_BOUND_APPLICATION;
	if (m->limited & KCP_LIMITED_WINDOW)
		return narrower(k);
	if (m->limited & KCP_LIMITED_STREAM)
		return KCP_BOUND_PEER_STREAM;
	if (m->limited & KCP_LIMITED_APP)
		return KCP_BOUND_APPLICATION;
	return k->conf->bandwidth && m->flight < m->cwnd - m->cwnd / SPARE_PART ? KCP_BOUND_HINT : KCP_BOUND_PATH;
}

uint32_t kcp_window_wanted(const struct kcp *k)
{
	double hint = kcp_hint(k), rate = kcp_model_rate(k), want;

	if (!kcp_is_auto(k) || k->m.min_rtt == UINT32_MAX)
		return 0;
	if (rate < hint)
		rate = hint;
	want = 2 * rate * k->m.min_rtt / (k->mss + KCP_HEAD) + WANT_STEP;
	if (want > KCP_WND_MAX)
		return KCP_WND_MAX;
	return (uint32_t)want / WANT_STEP * WANT_STEP;
}

void kcp_look(const struct kcp *k, struct kcp_look *out)
{
	const struct kcp_model *m = &k->m;

	*out = (struct kcp_look){
		.snd_wnd = k->conf->snd_wnd,
		.rcv_wnd = k->rcv_wnd,
		.span = k->snd_sent - k->snd_una,
		.again_fast = k->again_fast,
		.again_early = k->again_early,
		.again_late = k->again_late,
	};
	if (!kcp_is_auto(k)) {
		out->cwnd = k->conf->nc ? 0 : k->cwnd * (k->mss + KCP_HEAD);
		return;
	}
	out->pace = kcp_pace(k);
	out->rate = (uint64_t)(kcp_model_rate(k) * 1e6);
	out->min_rtt = kcp_min_rtt(k);
	out->queue = m->queue_us;
	out->flight = m->flight;
	out->cwnd = m->cwnd;
	out->needless = m->needless;
}
