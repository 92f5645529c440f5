/* SPDX-License-Identifier: MIT */
#include "kcp_seg.h"

/*
 * The size of datagrams: what the path was found to take, probes of more, and the signs that it takes less than it is
 * given.  What becomes of them is the session's to decide.
 */

#define STUCK_MS 200 /* beyond two round trips */

void kcp_mtu(struct kcp *k, uint32_t mtu)
{
	k->mss = mtu - KCP_HEAD;
}

static void fate(struct kcp *k, enum kcp_probed fate)
{
	k->probed = (uint8_t)fate;
	k->probing = fate == KCP_PROBE_SENT;
	k->asked = fate == KCP_PROBE_ASKED;
}

void kcp_probe(struct kcp *k, uint32_t len)
{
	k->probe_len = (uint16_t)len;
	fate(k, len ? KCP_PROBE_ASKED : KCP_PROBE_NONE);
}

enum kcp_probed kcp_probed(const struct kcp *k)
{
	return k->probed;
}

bool kcp_stands(const struct kcp *k)
{
	return k->stands;
}

uint32_t kcp_waited(const struct kcp *k)
{
	return k->stands ? (uint32_t)k->now - k->stuck_at : 0;
}

unsigned kcp_stuck(const struct kcp *k)
{
	return k->stands && (uint32_t)k->now - k->stuck_at >= 2 * (uint32_t)k->srtt + STUCK_MS ? k->stuck : 0;
}

void kcp_size_sent(struct kcp *k, struct kcp_seg *s)
{
	s->probe = true;
	fate(k, KCP_PROBE_SENT);
}

void kcp_size_again(struct kcp *k, const struct kcp_seg *s)
{
	if (s->probe && k->probing)
		fate(k, KCP_PROBE_LOST);
	if (s->sn != k->snd_una)
		return;
	if (!k->stands) {
		k->stuck = 0;
		k->stuck_at = (uint32_t)k->now;
	}
	k->stands = true;
	if (k->stuck < UINT8_MAX)
		k->stuck++;
}

void kcp_size_acked(struct kcp *k, const struct kcp_seg *s, const uint32_t *ts)
{
	const struct kcp_seg *oldest = k->stands ? kcp_snd_seg(k, k->snd_una) : NULL;

	if (s->probe && k->probing)
		fate(k, s->resent ? KCP_PROBE_LOST : KCP_PROBE_ARRIVED);
	/* As large, and sent since: so it is not the size. */
	if (oldest && oldest != s && ts && s->len >= oldest->len && seq_diff(*ts, k->stuck_at) >= 0)
		k->stands = false;
}
