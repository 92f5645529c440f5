/* SPDX-License-Identifier: MIT */

/*
 * Two servers of one key, and a datagram to one of them that names the other as its source.  A stock server makes a
 * session of whatever comes (wire.md 5.2), and asks it for signs of life as a client does that has nothing to do: each
 * would answer the other for ever.
 *
 * What tells a server from a client is that it never opens a stream.  A peer who has none, and has opened none nor said
 * anything of one since it proved that it receives what it is sent, is sent nothing any more, nor what acknowledges,
 * which a server would make its next session of.  Nothing is closed: the peer gives up after its 30 s, and we 30 s
 * after it was heard last.  A client that opens a stream after all is answered at once.
 */

#include "mute.h"

#define MUTE_MS 60000 /* so long any session is kept up */

void mute_heard(struct sess *ss)
{
	if (!kcp_proved(&ss->kcp)) /* it may have been anybody who said that */
		mux_unsaid(&ss->mux);
}

bool mute_look(struct sess *ss, uint64_t now)
{
	bool client = mux_can_half(&ss->mux) || ss->mux.count || (mux_said(&ss->mux) && !ss->unproved);

	if (!ss->tun->client && !client && now >= ss->born + MUTE_MS)
		ss->muted = true;
	return ss->muted;
}

void mute_end(struct sess *ss)
{
	if (!ss->muted)
		return;
	ss->muted = false;
	mux_keepalive(&ss->mux); /* it has waited for one */
	sess_ready(ss);
}
