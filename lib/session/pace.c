/* SPDX-License-Identifier: MIT */
#include "sess.h"

/*
 * Two buckets that a flush takes from what it sent, be it more than there was; the debt is waited for, so that the rate
 * is exact in the long run however many datagrams a flush cannot divide.
 *
 * The rate of one session (wire.md 5.5): UDP payload, in thousandths of bytes, so that bytes a second are tokens a
 * millisecond.
 *
 * And the beginning of each: datagrams, a portion each millisecond.  A peer's socket is given by its kernel, where
 * nobody has tuned that, room for 184 full datagrams, and its window is 1024 of them: all of those at once, before
 * anything is known of the path, are more than the half lost there.
 */

#define PACE_BURST    96000 /* bytes: stock's */
#define PACE_TICKS    4	    /* ms: a bucket holds at least so much, lest a fast one runs over while we sleep */
#define PACE_RATE_MAX (UINT64_C(1) << 50) /* bytes/s: what is beyond is no limit to anyone */
#define PACE_PORTION  32		  /* datagrams a ms, for the first PACE_YOUNG of a session */
#define PACE_YOUNG    1024

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
	ss->young = true;
	ss->young_left = PACE_YOUNG;
	ss->portion_at = now;
	ss->portion = PACE_PORTION;
}

/* What has come since the last look. */
static void pace_fill(struct sess *ss, uint64_t now)
{
	unsigned __int128 came = (unsigned __int128)(now - ss->tokens_at) * pace_rate(ss);
	uint64_t room = (uint64_t)(pace_depth(ss) - ss->tokens);

	ss->tokens_at = now;
	ss->tokens += (int64_t)(came < room ? (uint64_t)came : room);
}

/* Of a session's bytes. */
static unsigned rate_room(struct sess *ss, unsigned want, uint64_t now)
{
	uint64_t dgram = ss->tun->kcp.mtu + ss->tun->head + ss->tun->tail;

	pace_fill(ss, now);
	if (ss->tokens <= 0) {
		ss->pace_at = now + (uint64_t)-ss->tokens / pace_rate(ss) + 1;
		return 0;
	}
	if ((uint64_t)ss->tokens >= (want - 1) * 1000 * dgram)
		return want;
	return (unsigned)((uint64_t)ss->tokens / (1000 * dgram)) + 1;
}

/* Of a young session's datagrams. */
static unsigned young_room(struct sess *ss, unsigned want, uint64_t now)
{
	uint64_t came = (now - ss->portion_at) * PACE_PORTION;
	uint32_t room = (uint32_t)(PACE_PORTION - ss->portion);

	ss->portion_at = now;
	ss->portion += (int32_t)(came < room ? came : room);
	if (ss->portion <= 0) {
		ss->pace_at = now + 1;
		return 0;
	}
	return want < (unsigned)ss->portion ? want : (unsigned)ss->portion;
}

unsigned pace_room(struct sess *ss, unsigned want, uint64_t now)
{
	ss->pace_at = UINT64_MAX;
	if (ss->young)
		want = young_room(ss, want, now);
	if (want && ss->tun->ratelimit)
		want = rate_room(ss, want, now);
	return want;
}

void pace_spend(struct sess *ss, unsigned n, uint64_t bytes)
{
	if (ss->young) {
		ss->portion -= (int32_t)n;
		ss->young_left -= (int32_t)n;
		ss->young = ss->young_left > 0;
	}
	if (ss->tun->ratelimit)
		ss->tokens -= (int64_t)(bytes * 1000);
}
