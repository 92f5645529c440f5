/* SPDX-License-Identifier: MIT */
#include "kcp_seg.h"

/*
 * When to flush next (wire.md 4.7).  Stock runs a timer in every session; here the tick is a phase on the clock, and a
 * time is named only when that tick would find something to do.
 */

/* The first tick after `now`. */
void kcp_tick_after(struct kcp *k, uint64_t now)
{
	uint64_t ms = kcp_interval(k);

	if (k->tick > now)
		return;
	k->tick += ms;
	if (k->tick <= now)
		k->tick += ((now - k->tick) / ms + 1) * ms;
}

/* Does something wait for the tick? */
static bool tick_wanted(const struct kcp *k)
{
	if (k->acks.n || k->ask_send || k->ask_tell)
		return true;
	if (k->snd_sent != k->snd_nxt)
		return true;
	if (k->snd_nxt != k->snd_end && seq_lt(k->snd_nxt, k->snd_una + kcp_window(k)))
		return true;
	if ((k->rmt_wnd == 0) != (k->probe_wait != 0)) /* probing must begin, or end */
		return true;
	return kcp_loss_early(k);
}

bool kcp_ask(struct kcp *k)
{
	if (k->rmt_wnd)
		return false;
	k->ask_send = true;
	return true;
}

uint64_t kcp_next(const struct kcp *k)
{
	const struct kcp_seg *s = kcp_due_head(k);
	uint64_t at = UINT64_MAX;

	if (k->fresh || !list_empty(&k->again) || k->run.phase != KCP_PHASE_IDLE)
		return k->now;
	if (tick_wanted(k))
		at = k->tick;
	if (k->rmt_wnd == 0 && k->probe_wait && k->ts_probe < at)
		at = k->ts_probe;
	if (s) {
		uint64_t due = k->now + (uint64_t)(int64_t)seq_diff(s->deadline, (uint32_t)k->now);

		if (due < at)
			at = due;
	}
	return at;
}
