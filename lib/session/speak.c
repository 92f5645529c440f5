/* SPDX-License-Identifier: MIT */

/*
 * A stock client always speaks first (wire.md 5.1), and what it says tells how it is set: of snappy the stream's
 * identifier, which begins with a byte that is no version of smux's, and of smux the first byte of its first frame.
 */

#include "smux_wire.h"
#include "snappy_wire.h"
#include "speak.h"

#define PEEKED (COMP_HEAD_MAX + 1) /* bytes: a raw chunk's head, as stock begins, and the first of a frame */

void speak_begin(struct sess *ss)
{
	ss->plain = ss->tun->nocomp && !ss->tun->nocomp_auto;
	ss->plain_open = ss->tun->nocomp_auto;
	ss->tongue_told = !ss->plain_open && ss->tun->mux.version;
	if (ss->plain_open)
		mux_listen(&ss->mux);
}

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
	if (!mux_version(&ss->mux))
		return;
	ss->tongue_told = true;
	sess_note(ss, NOTE_SPEAKS, mux_version(&ss->mux), !ss->plain);
}

/* A frame's beginning, of either version. */
static bool is_smux(const uint8_t *head)
{
	return (head[SMUX_VER] == 1 || head[SMUX_VER] == 2) && head[SMUX_CMD] <= SMUX_UPD;
}

void speak_misfit(struct sess *ss, const uint8_t *head)
{
	unsigned ours = ss->mux.conf->version;

	if (ss->plain && memcmp(head, SNAPPY_ID, SNAPPY_HEAD) == 0)
		sess_note(ss, NOTE_MISFIT, NOTE_MISFIT_SNAPPY, 0);
	else if (!ss->plain && !ss->comp_dec.begun && is_smux(head))
		sess_note(ss, NOTE_MISFIT, NOTE_MISFIT_PLAIN, 0);
	else if (ours && is_smux(head) && head[SMUX_VER] != ours)
		sess_note(ss, NOTE_MISFIT, NOTE_MISFIT_SMUX, (uint32_t)head[SMUX_VER] << 16 | ours);
}
