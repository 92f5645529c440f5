/* SPDX-License-Identifier: MIT */
#include "sess.h"

/*
 * Buckets that a flush takes from what it sent, be it more than there was; the debt is waited for, so that the rate
 * is exact in the long run however many datagrams a flush cannot divide.
 *
 * The rate of one session (wire.md 5.5): UDP payload, in thousandths of bytes, so that bytes a second are tokens a
 * millisecond.
 *
 * With stock's congestion control the beginning of each: datagrams, a portion each millisecond.  A peer's socket is
 * given by its kernel, where nobody has tuned that, room for 184 full datagrams, and its window is 1024 of them: all of
 * those at once, before anything is known of the path, are more than the half lost there.
 *
 * Otherwise the pace of the path: UDP payload again, parity included, in bursts of PACE_AT_ONCE datagrams or of a
 * millisecond.  Acknowledgements neither wait for it nor draw on it: they are as many as the peer's pace
 * makes them.
 */

#define PACE_BURST    96000 /* bytes: stock's */
#define PACE_TICKS    4	    /* ms: a bucket holds at least so much, lest a fast one runs over while we sleep */
#define PACE_SHORT    4	    /* a bucket that holds less than this part is what is waited for */
#define PACE_RATE_MAX (UINT64_C(1) << 50) /* bytes/s: what is beyond is no limit to anyone */
#define PACE_PORTION  32		  /* datagrams a ms, for the first PACE_YOUNG of a session */
#define PACE_YOUNG    1024
#define PACE_AT_ONCE  10   /* datagrams */
#define PACE_LUMP_US  1000 /* or what leaves in so long */
#define PACE_WAIT_US  500  /* what has to wait, waits for so much, or for a datagram: wider vectors are cheaper */

static uint64_t pace_rate(const struct sess *ss)
{
	uint64_t rate = atomic_load_explicit(&ss->tun->ratelimit, memory_order_relaxed);

	return rate < PACE_RATE_MAX ? rate : PACE_RATE_MAX;
}

static int64_t depth_of(uint64_t rate)
{
	uint64_t ticks = rate * PACE_TICKS;

	return ticks > PACE_BURST * 1000 ? (int64_t)ticks : PACE_BURST * 1000;
}

/* Of a full one, without FEC's header. */
static uint32_t dgram_len(const struct sess *ss)
{
	return (uint32_t)ss->pmtu.kcp + ss->tun->head + ss->tun->tail;
}

void pace_init(struct sess *ss, uint64_t now)
{
	ss->pace_at = UINT64_MAX;
	ss->tokens_at = now;
	ss->tokens = depth_of(pace_rate(ss));
	ss->young = !sess_is_auto(ss);
	ss->credit_us = shard_us(ss->shard, now);
	ss->credit = (PACE_AT_ONCE - 1) * dgram_len(ss);
	ss->young_left = PACE_YOUNG;
	ss->portion_at = (uint32_t)now;
	ss->portion = PACE_PORTION;
}

/* What has come since the last look.  The rate may have been another one then. */
static void pace_fill(struct sess *ss, uint64_t rate, uint64_t now)
{
	unsigned __int128 came = (unsigned __int128)(now - ss->tokens_at) * rate;
	int64_t depth = depth_of(rate);
	uint64_t room = depth > ss->tokens ? (uint64_t)(depth - ss->tokens) : 0;

	ss->tokens_at = now;
	if (ss->tokens > depth)
		ss->tokens = depth;
	ss->tokens += (int64_t)(came < room ? (uint64_t)came : room);
}

bool pace_is_short(struct sess *ss, uint64_t now)
{
	uint64_t rate = pace_rate(ss);

	if (!rate)
		return false;
	pace_fill(ss, rate, now);
	return ss->tokens < depth_of(rate) / PACE_SHORT;
}

/* Until `us`, by the finer of the shard's wheels. */
static void pace_wait(struct sess *ss, uint64_t us)
{
	ss->pace_at = (us + 999) / 1000;
	ss->pace_soft = ss->pace_due = true;
	wheel_arm(&ss->shard->fine, &ss->fine, SHARD_FINE(us) + 1);
}

void pace_over(struct sess *ss)
{
	ss->pace_at = UINT64_MAX;
	ss->pace_soft = false;
}

void pace_burden(struct sess *ss, unsigned parity)
{
	double mtu = ss->pmtu.kcp, over = ss->tun->head + ss->tun->tail;
	unsigned ds = shape_out(ss) ? fec_codec_ds(ss->enc.codec) : 1;

	if (!shape_out(ss) || ss->enc.send == FEC_PARITY_NONE)
		parity = 0;
	if (shape_heads(ss))
		over += FEC_HEAD;
	ss->burden = (mtu + over) / mtu * (1.0 + parity / (double)ds);
	kcp_parity(&ss->kcp, parity, ds);
}

double pace_of_path(const struct sess *ss)
{
	if (ss->tun->kcp.bandwidth)
		return (double)ss->tun->kcp.bandwidth * 1e-6;
	return (double)kcp_pace(&ss->kcp) * 1e-6 * ss->burden;
}

/* Of the path's. */
static unsigned path_room(struct sess *ss, unsigned want, uint64_t now)
{
	double rate = pace_of_path(ss), len = dgram_len(ss);
	double most = rate * PACE_LUMP_US > PACE_AT_ONCE * len ? rate * PACE_LUMP_US : PACE_AT_ONCE * len;
	uint64_t us = shard_us(ss->shard, now);

	ss->credit += (double)(us - ss->credit_us) * rate;
	ss->credit_us = us;
	if (ss->credit > most - len) {
		if (ss->pace_due)
			bound_missed(ss, ss->credit - (most - len));
		ss->credit = most - len; /* the last datagram may be in debt */
	}
	ss->pace_due = false;
	if (ss->credit <= 0) {
		double need = rate * PACE_WAIT_US > len ? rate * PACE_WAIT_US : len;

		pace_wait(ss, us + (uint64_t)((need - ss->credit) / rate) + 1);
		return 0;
	}
	return ss->credit >= (want - 1) * len ? want : (unsigned)(ss->credit / len) + 1;
}

/* Of a session's bytes. */
static unsigned rate_room(struct sess *ss, unsigned want, uint64_t rate, uint64_t now)
{
	uint64_t dgram = dgram_len(ss);

	pace_fill(ss, rate, now);
	if (ss->tokens <= 0) {
		ss->pace_at = now + (uint64_t)-ss->tokens / rate + 1;
		return 0;
	}
	if ((uint64_t)ss->tokens >= (want - 1) * 1000 * dgram)
		return want;
	return (unsigned)((uint64_t)ss->tokens / (1000 * dgram)) + 1;
}

/* Of a young session's datagrams. */
static unsigned young_room(struct sess *ss, unsigned want, uint64_t now)
{
	uint64_t came = (uint64_t)((uint32_t)now - ss->portion_at) * PACE_PORTION;
	uint32_t room = (uint32_t)(PACE_PORTION - ss->portion);

	ss->portion_at = (uint32_t)now;
	ss->portion += (int32_t)(came < room ? came : room);
	if (ss->portion <= 0) {
		ss->pace_at = now + 1;
		return 0;
	}
	return want < (unsigned)ss->portion ? want : (unsigned)ss->portion;
}

unsigned pace_room(struct sess *ss, unsigned want, uint64_t now)
{
	uint64_t rate = pace_rate(ss);

	pace_over(ss);
	if (ss->unproved) {
		want = confirm_room(ss, want, now);
		if (!want)
			return 0;
	}
	if (ss->young)
		want = young_room(ss, want, now);
	if (want && rate)
		want = rate_room(ss, want, rate, now);
	if (want && sess_is_auto(ss))
		return path_room(ss, want, now);
	ss->pace_due = false; /* another bucket is waited for, if any */
	return want;
}

void pace_spend(struct sess *ss, unsigned n, uint64_t bytes)
{
	if (ss->young) {
		ss->portion -= (int32_t)n;
		ss->young_left -= (int32_t)n;
		ss->young = ss->young_left > 0;
	}
	if (ss->unproved)
		ss->allowance -= (int32_t)bytes;
	if (ss->tun->ratelimit)
		ss->tokens -= (int64_t)(bytes * 1000);
	if (sess_is_auto(ss) && ss->out_kind != KCP_FLUSH_ACKS)
		ss->credit -= (double)bytes;
}
