/* SPDX-License-Identifier: MIT */

/*
 * The end of the program: what is under way goes out and is acknowledged first, within the time that app allows.  And
 * that of a tunnel, of which there are no new sessions and streams while what there is goes on.
 */

#include "sess.h"

void shard_drain(struct shard *s)
{
	if (s->closing)
		return;
	s->closing = true;
	slots_close(s);
}

bool shard_sent_all(const struct shard *s)
{
	for (uint32_t i = 0; i < s->n_all; i++)
		if (!sess_idle(s->all[i]))
			return false;
	return list_empty(&s->spilled);
}

void shard_drain_tunnels(struct shard *s, uint64_t now)
{
	for (uint32_t i = s->n_all; i-- > 0;) {
		struct sess *ss = s->all[i];
		uint64_t at = ss->tun->drain_at;

		if (at && now >= at)
			sess_close(ss, DROP_DRAINING, now);
		else if (at && sess_idle(ss))
			sess_close(ss, 0, now);
	}
	shard_reap(s);
}

void shard_unsent(const struct shard *s, struct shard_unsent *u)
{
	struct mux_stream *ms;
	struct kcp_info k;

	*u = (struct shard_unsent){0};
	for (uint32_t i = 0; i < s->n_all; i++) {
		struct sess *ss = s->all[i];
		uint32_t cursor = 0;

		kcp_info(&ss->kcp, &k);
		u->segments += k.snd_queue + k.snd_buf;
		u->sessions += !sess_idle(ss);
		while ((ms = mux_each(&ss->mux, &cursor))) {
			const struct stream *st = ms->user;

			u->streams += st != NULL;
			u->bytes += st ? chan_used(&st->chan->up) : 0;
		}
	}
}
