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

/* KCP_CONGESTION_AUTO waits for no tick with what it may send. */
static bool send_wanted(const struct kcp *k)
{
	if (!kcp_may_send(k))
		return false;
	return !list_empty(&k->again) || k->snd_sent != k->snd_nxt || kcp_may_number(k);
}

/* Does something wait for the tick? */
static bool tick_wanted(const struct kcp *k)
{
	if (k->acks.n || k->ask_send || k->ask_tell)
		return true;
	if (kcp_is_auto(k))
		return (k->rmt_wnd == 0) != (k->probe_wait != 0);
	if (k->snd_sent != k->snd_nxt)
		return true;
	if (kcp_may_number(k))
		return true;
	if ((k->rmt_wnd == 0) != (k->probe_wait != 0)) /* probing must begin, or end */
		return true;
	return k->loss->early(k);
}

uint64_t kcp_owes(const struct kcp *k)
{
	return k->acks.n || k->ask_send || k->ask_tell ? k->tick : UINT64_MAX;
}

void kcp_wake(struct kcp *k)
{
	k->ask_send = true;
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
	uint64_t at = UINT64_MAX, lost;

	if (kcp_is_auto(k) ? send_wanted(k) : k->fresh || !list_empty(&k->again) || k->run.phase != KCP_PHASE_IDLE)
		return k->now;
	if (tick_wanted(k))
		at = k->tick;
	if (k->rmt_wnd == 0 && k->probe_wait && k->ts_probe < at)
		at = k->ts_probe;
	lost = k->loss->next(k);
	return lost < at ? lost : at;
}
