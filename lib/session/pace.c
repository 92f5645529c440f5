/* SPDX-License-Identifier: MIT */
#include "sess.h"

/*
 * The rate of one session (wire.md 5.5): a token bucket over UDP payload, in thousandths of bytes, so that bytes a
 * second are tokens a millisecond.  A flush takes what it sent, be it more than there was; the debt is waited for, so
 * that the rate is exact in the long run however many datagrams a flush cannot divide.
 */

#define PACE_BURST    96000 /* bytes: stock's */
#define PACE_TICKS    4	    /* ms: a bucket holds at least so much, lest a fast one runs over while we sleep */
#define PACE_RATE_MAX (UINT64_C(1) << 50) /* bytes/s: what is beyond is no limit to anyone */

static uint64_t pace_rate(const struct sess *ss)
{
	return ss->tun->ratelimit < PACE_RATE_MAX ? ss->tun->ratelimit : PACE_RATE_MAX;
}

static int64_t pace_depth(const struct sess *ss)
{
	uint64_t ticks = pace_rate(ss) * PACE_TICKS;

	return ticks > PACE_BURST * 1000 ? (int64_t)ticks : PACE_BURST * 1000;
}

void pace_init(struct sess *ss, uint64_t now)
{
	ss->pace_at = UINT64_MAX;
	ss->tokens_at = now;
	ss->tokens = pace_depth(ss);
}

/* What has come since the last look. */
static void pace_fill(struct sess *ss, uint64_t now)
{
	unsigned __int128 came = (unsigned __int128)(now - ss->tokens_at) * pace_rate(ss);
	uint64_t room = (uint64_t)(pace_depth(ss) - ss->tokens);

	ss->tokens_at = now;
	ss->tokens += (int64_t)(came < room ? (uint64_t)came : room);
}

unsigned pace_room(struct sess *ss, unsigned want, uint64_t now)
{
	uint64_t dgram = ss->tun->kcp.mtu + ss->tun->head + ss->tun->tail;

	ss->pace_at = UINT64_MAX;
	if (!ss->tun->ratelimit)
		return want;
	pace_fill(ss, now);
	if (ss->tokens <= 0) {
		ss->pace_at = now + (uint64_t)-ss->tokens / pace_rate(ss) + 1;
		return 0;
	}
	if ((uint64_t)ss->tokens >= (want - 1) * 1000 * dgram)
		return want;
	return (unsigned)((uint64_t)ss->tokens / (1000 * dgram)) + 1;
}

void pace_spend(struct sess *ss, uint64_t bytes)
{
	if (ss->tun->ratelimit)
		ss->tokens -= (int64_t)(bytes * 1000);
}
