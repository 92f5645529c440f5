/* SPDX-License-Identifier: MIT */

/*
 * A stock client always speaks first (wire.md 5.1), and what it says tells how it is set: of snappy the stream's
 * identifier, which begins with a byte that is no version of smux's, and of smux the first byte of its first frame.
 *
 * A client with smuxver "auto" tries 2, then 1.  A stock server says nothing to a stream that is opened, right or
 * wrong. Of what it does not understand it forgets the session, and makes a new one of the next datagram, which
 * acknowledges that but has nothing in order (wire.md 11).  So the first session opens its streams and sends none of
 * their bytes: when that is acknowledged, and a moment later, there is an empty frame.  If that, too, is acknowledged
 * in order, the server has understood; a frame of its own says so at once.  If not, or if a server says nothing at all
 * (those of 2016, and ours, do not acknowledge what ends a session), the streams go to another session, of the other
 * version.  What was found out is remembered: later sessions send at once.
 */

#include "smux_wire.h"
#include "snappy_wire.h"
#include "speak.h"

#define PEEKED	     (COMP_HEAD_MAX + 1) /* bytes: a raw chunk's head, as stock begins, and the first of a frame */
#define TRY_PAUSE_MS 200 /* in which a server that acknowledges has had the time to read, and to forget */

static struct tongue *tongue(const struct sess *ss)
{
	return &ss->shard->tongues[sess_tunnel(ss)];
}

static bool finds_out(const struct sess *ss)
{
	return ss->tun->client && !ss->tun->mux.version;
}

void speak_begin(struct sess *ss)
{
	const struct tongue *g = tongue(ss);

	ss->plain = ss->tun->nocomp && !ss->tun->nocomp_auto;
	ss->plain_open = ss->tun->nocomp_auto;
	if (ss->plain_open)
		mux_listen(&ss->mux);
	if (finds_out(ss))
		mux_hear(&ss->mux, g->known ? g->known : g->next ? g->next : 2);
	ss->tongue_told = !ss->plain_open && (ss->tun->mux.version || (ss->tun->client && g->known));
}

/* ---- a server's ---- */

void speak_hear(struct sess *ss, uint8_t first)
{
	ss->plain = first != SNAPPY_T_ID;
	ss->plain_open = false;
}

/* The first n bytes of what KCP has in order, as many as there are. */
static unsigned peek(struct sess *ss, uint8_t *to, unsigned n)
{
	struct slice v[16];
	unsigned got = 0, k = kcp_peek(&ss->kcp, v, 16);

	for (unsigned i = 0; i < k && got < n; i++) {
		unsigned take = v[i].n < n - got ? v[i].n : n - got;

		memcpy(to + got, v[i].p, take);
		got += take;
	}
	return got;
}

bool speak_known(struct sess *ss)
{
	uint8_t b[PEEKED];
	unsigned n, at;

	if (mux_version(&ss->mux))
		return true;
	n = peek(ss, b, PEEKED);
	if (n && ss->plain_open)
		speak_hear(ss, b[0]);
	at = ss->plain ? 0 : COMP_HEAD_MAX;
	/* A frame that opens a stream is too short to be compressed (wire.md section 6). */
	if (n <= at || (!ss->plain && b[SNAPPY_ID_LEN] != SNAPPY_T_RAW))
		return false;
	return mux_hear(&ss->mux, b[at]);
}

void speak_tell(struct sess *ss)
{
	if (!mux_version(&ss->mux) || ss->tries)
		return;
	ss->tongue_told = true;
	sess_note(ss, NOTE_SPEAKS, mux_version(&ss->mux), !ss->plain);
}

/* ---- a client's ---- */

static void wake_at(struct sess *ss, uint64_t at)
{
	ss->begin_at = at;
	if (at < ss->slow_at)
		ss->slow_at = at;
	sess_rearm(ss);
}

static uint64_t patience(const struct sess *ss)
{
	return (uint64_t)SLOT_SILENT_MS << ss->slot->unheard;
}

void speak_try(struct sess *ss, uint64_t now)
{
	if (!finds_out(ss) || tongue(ss)->known)
		return;
	ss->tries = true;
	mux_hold(&ss->mux, true);
	wake_at(ss, now + patience(ss));
}

static void understood(struct sess *ss)
{
	struct tongue *g = tongue(ss);

	g->known = (uint8_t)mux_version(&ss->mux);
	g->tries = 0;
	ss->tries = false;
	ss->begin_at = UINT64_MAX;
	if (ss->slot)
		ss->slot->unheard = 0;
	speak_tell(ss);
	mux_hold(&ss->mux, false);
	sess_ready(ss);
}

/* The streams go to another session, of the other version: they have sent nothing yet.  It may be that neither is
 * right, or that nobody is there: not to be asked at once without end. */
static void other(struct sess *ss, uint64_t now)
{
	struct tongue *g = tongue(ss);
	struct slot *sl = ss->slot;
	bool both;

	g->next = (uint8_t)(3 - mux_version(&ss->mux));
	if (g->tries < UINT8_MAX)
		g->tries++;
	both = g->tries > 1;
	if (sl)
		slot_take_back(ss, now);
	sess_close(ss, DROP_TRIED, now);
	if (sl)
		slot_again(sl, both, now);
}

static void not_understood(struct sess *ss, uint64_t now)
{
	if (tongue(ss)->tries == 1)
		sess_note(ss, NOTE_MISFIT, NOTE_MISFIT_NEITHER, 0);
	other(ss, now);
}

/* Has all that was said been acknowledged?  False also where nothing was. */
static bool acknowledged(const struct sess *ss)
{
	struct kcp_info k;

	kcp_info(&ss->kcp, &k);
	return k.snd_una && !k.snd_buf && !k.snd_queue;
}

void speak_heard(struct sess *ss, uint64_t now)
{
	if (ss->mux.frames_in)
		understood(ss);
	else if (ss->tried && kcp_backward(&ss->kcp))
		not_understood(ss, now);
	else if (acknowledged(ss) && ss->tried)
		understood(ss);
	else if (acknowledged(ss) && ss->begin_at > now + TRY_PAUSE_MS)
		wake_at(ss, now + TRY_PAUSE_MS);
}

/* A server that has not been heard: it is gone, or understands nothing. */
static bool silence(struct sess *ss, uint64_t now)
{
	struct kcp_info k;

	kcp_info(&ss->kcp, &k);
	if (!k.snd_nxt || !ss->slot) {
		wake_at(ss, now + SLOT_SILENT_MS);
		return true;
	}
	if (ss->slot->unheard < SLOT_UNHEARD)
		ss->slot->unheard++;
	other(ss, now);
	return false;
}

bool speak_timer(struct sess *ss, uint64_t now)
{
	if (!ss->tries)
		return true;
	if (ss->last_in == ss->born && !acknowledged(ss)) /* which may be within a ms */
		return silence(ss, now);
	if (!ss->tried && acknowledged(ss)) {
		ss->tried = true;
		mux_keepalive(&ss->mux);
		sess_ready(ss);
	}
	return true;
}

void speak_forget(struct sess *ss)
{
	if (finds_out(ss) && !ss->mux.frames_in)
		tongue(ss)->known = 0;
}

void speak_forgotten(struct sess *ss)
{
	if (!finds_out(ss) && !ss->mux.frames_in)
		sess_note(ss, NOTE_MISFIT, NOTE_MISFIT_FORGETS, mux_version(&ss->mux));
}

/* ---- both ---- */

/* A frame's beginning, of either version. */
static bool is_smux(const uint8_t *head)
{
	return (head[SMUX_VER] == 1 || head[SMUX_VER] == 2) && head[SMUX_CMD] <= SMUX_UPD;
}

static void misfit(struct sess *ss, const uint8_t *head)
{
	unsigned ours = ss->tun->mux.version;

	if (ss->plain && memcmp(head, SNAPPY_ID, SNAPPY_HEAD) == 0)
		sess_note(ss, NOTE_MISFIT, NOTE_MISFIT_SNAPPY, 0);
	else if (!ss->plain && !ss->comp_dec.begun && is_smux(head))
		sess_note(ss, NOTE_MISFIT, NOTE_MISFIT_PLAIN, 0);
	else if (ours && is_smux(head) && head[SMUX_VER] != ours)
		sess_note(ss, NOTE_MISFIT, NOTE_MISFIT_SMUX, (uint32_t)head[SMUX_VER] << 16 | ours);
}

void speak_failed(struct sess *ss, const uint8_t *head, unsigned why, uint64_t now)
{
	if (finds_out(ss) && why == DROP_MUX && is_smux(head) && head[SMUX_VER] != mux_version(&ss->mux)) {
		tongue(ss)->known = 0;
		tongue(ss)->next = head[SMUX_VER];
		if (ss->tries) {
			other(ss, now);
			return;
		}
	}
	misfit(ss, head);
	sess_close(ss, why, now);
}
