/* SPDX-License-Identifier: MIT */
#include "sess.h"

/*
 * What limits a session.  Telemetry asks when somebody looks; and where it is the peer's window that limits for
 * seconds, which only who runs the peer can change, control is told, once a session.
 *
 * That is looked for now and then, with what is sent.  A window that the peer's reader makes narrow, because it takes
 * too little, is not one that a larger one would help.
 */

#define LOOK_MS	   250
#define LOOK_MAX   500	/* a longer time than this between two looks counts as so much */
#define LIMITED_MS 4000 /* more than the other looks have seen something else */
#define OPEN_PART  4	/* of the widest window: so much less, and the reader is slow */
#define WORTH_PART 8	/* a window that should be only so much wider is wide enough */

static const char *const names[KCP_N_BOUNDS] = {
	[KCP_BOUND_NONE] = "nothing",
	[KCP_BOUND_APPLICATION] = "application",
	[KCP_BOUND_PEER_WINDOW] = "peer window",
	[KCP_BOUND_PEER_STREAM] = "peer window", /* a stream's */
	[KCP_BOUND_OWN_WINDOW] = "own window",
	[KCP_BOUND_HINT] = "bandwidth hint",
	[KCP_BOUND_PATH] = "congestion",
};

static enum kcp_bound bound(const struct sess *ss)
{
	return kcp_bound(&ss->kcp, ss->held_frame || mux_pending(&ss->mux));
}

const char *bound_name(struct sess *ss, uint64_t now)
{
	enum kcp_bound b = bound(ss);

	if (ss->held_frame)
		return "memory";
	if (b != KCP_BOUND_APPLICATION && b != KCP_BOUND_NONE && pace_is_short(ss, now))
		return "rate limit";
	return names[b];
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

void bound_look(struct sess *ss, uint64_t now)
{
	struct bound *w = &ss->bound;
	uint32_t past = (uint32_t)now - w->at;

	if (past < LOOK_MS || w->wants)
		return;
	w->at = (uint32_t)now;
	if (past > LOOK_MAX)
		past = LOOK_MAX;
	if (is_window(ss))
		w->limited_ms = (uint16_t)(w->limited_ms + past);
	else
		w->limited_ms = w->limited_ms > past ? (uint16_t)(w->limited_ms - past) : 0;
	if (w->limited_ms < LIMITED_MS)
		return;
	w->limited_ms = 0;
	tell(ss);
}
