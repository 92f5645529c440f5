/* SPDX-License-Identifier: MIT */
#include "sess.h"

/*
 * What limits a session.  Telemetry asks when somebody looks; and where it is the peer's window that limits for
 * seconds, which only who runs the peer can change, control is told, once a session.
 *
 * That is looked for now and then, with what is sent.  A window that the peer's reader makes narrow, because it takes
 * too little, is not one that a larger one would help.
 *
 * The CPU it is where two things come together: the worker has little time to spare (shard_load), and this session may
 * send more than the worker comes round for.  The first alone says nothing of a session on a slow path, to which even a
 * worker without rest comes in time; the second alone may be one long turn.  A session with a pace is served late when
 * it waited for that, and then finds more than it may send at once (pace.c): what goes beyond is lost to it.  How much
 * that is depends on the model, which takes what the worker can do for what the path carries, and so loses little but
 * while it looks for more, every few round trips.  Without a pace, what a turn leaves over, though the windows take it,
 * is what the worker could not do; a window that fills up in one turn may be the worker's doing, too, for the
 * acknowledgements wait for the next one, but nobody here can tell: it is told as the window.
 */

#define LOOK_MS	   250
#define LOOK_MAX   500	/* a longer time than this between two looks counts as so much */
#define LIMITED_MS 4000 /* more than the other looks have seen something else */
#define OPEN_PART  4	/* of the widest window: so much less, and the reader is slow */
#define WORTH_PART 8	/* a window that should be only so much wider is wide enough */
#define LATE_PART  32	/* of what its pace lets leave: so much lost, and it is served late */
#define LATE_MS	   2000 /* and counts so for a while: see above */

static const char *const names[KCP_N_BOUNDS] = {
	[KCP_BOUND_NONE] = "nothing",
	[KCP_BOUND_APPLICATION] = "application",
	[KCP_BOUND_PEER_WINDOW] = "peer window",
	[KCP_BOUND_PEER_STREAM] = "peer window", /* a stream's */
	[KCP_BOUND_OWN_WINDOW] = "own window",
	[KCP_BOUND_HINT] = "bandwidth hint",
	[KCP_BOUND_PATH] = "congestion",
};

static bool has_more(const struct sess *ss)
{
	return ss->held_frame || mux_pending(&ss->mux);
}

static enum kcp_bound bound(const struct sess *ss)
{
	return kcp_bound(&ss->kcp, has_more(ss));
}

/* It waits for the next turn, and neither for a port nor for its next hop. */
static bool left_over(const struct sess *ss)
{
	const struct shard *s = ss->shard;

	if (ss->path_ok ? s->held >> ss->path.dev & 1 : ss->path_why == DROP_NO_NEIGHBOUR)
		return false;
	return s->out_cur == ss || !list_empty(&ss->ready);
}

static bool is_cpu(const struct sess *ss, enum kcp_bound b)
{
	if (!ss->shard->saturated)
		return false;
	if (sess_is_auto(ss))
		return ss->bound.late_ms && (b == KCP_BOUND_HINT || b == KCP_BOUND_PATH);
	return left_over(ss) && kcp_is_open(&ss->kcp, has_more(ss));
}

/*
 * What is certain goes first: a way that is not there; a frame that found no memory, a bucket that is empty just now; a
 * worker that came late would have found that full.  Then the CPU, before a hint and a path that are not used up
 * because of it; a window that is full, and an application that has no more, keep a session from sending whenever its
 * turn comes.
 */
const char *bound_name(struct sess *ss, uint64_t now)
{
	enum kcp_bound b = bound(ss);

	if (!ss->path_ok && ss->path_why)
		return ss->path_why == DROP_NO_NEIGHBOUR ? "next hop" : "route";
	if (ss->held_frame)
		return "memory";
	if (b != KCP_BOUND_APPLICATION && b != KCP_BOUND_NONE && pace_is_short(ss, now))
		return "rate limit";
	return is_cpu(ss, b) ? "CPU" : names[b];
}

/* Is it the width of the peer's window? */
static bool is_window(struct sess *ss)
{
	struct bound *w = &ss->bound;
	struct kcp_info k;

	kcp_info(&ss->kcp, &k);
	if (k.rmt_wnd > w->widest)
		w->widest = (uint16_t)k.rmt_wnd;
	return bound(ss) == KCP_BOUND_PEER_WINDOW && k.rmt_wnd >= (uint32_t)w->widest - w->widest / OPEN_PART;
}

/* A number for the peer, and what is got without it. */
static void tell(struct sess *ss)
{
	struct bound *w = &ss->bound;
	uint32_t want = kcp_window_wanted(&ss->kcp);
	struct kcp_look k;

	if (want <= (uint32_t)w->widest + w->widest / WORTH_PART)
		return;
	w->wants = (uint16_t)want;
	kcp_look(&ss->kcp, &k);
	sess_note_window(ss, w->widest, w->wants, (uint32_t)(k.rate / 125), (uint16_t)(k.min_rtt / 1000));
}

void bound_missed(struct sess *ss, double bytes)
{
	if (kcp_is_open(&ss->kcp, has_more(ss)))
		ss->bound.missed += (float)bytes;
}

static void look_late(struct sess *ss, uint32_t past)
{
	struct bound *w = &ss->bound;

	if (w->missed * LATE_PART > pace_of_path(ss) * past * 1000)
		w->late_ms = LATE_MS;
	else
		w->late_ms = w->late_ms > past ? (uint16_t)(w->late_ms - past) : 0;
	w->missed = 0;
}

static void look_window(struct sess *ss, uint32_t past)
{
	struct bound *w = &ss->bound;

	if (w->wants)
		return;
	if (is_window(ss))
		w->limited_ms = (uint16_t)(w->limited_ms + past);
	else
		w->limited_ms = w->limited_ms > past ? (uint16_t)(w->limited_ms - past) : 0;
	if (w->limited_ms < LIMITED_MS)
		return;
	w->limited_ms = 0;
	tell(ss);
}

void bound_look(struct sess *ss, uint64_t now)
{
	uint32_t past = (uint32_t)now - ss->bound.at;

	if (past < LOOK_MS)
		return;
	ss->bound.at = (uint32_t)now;
	if (past > LOOK_MAX)
		past = LOOK_MAX;
	look_late(ss, past);
	look_window(ss, past);
}
