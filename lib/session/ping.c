/* SPDX-License-Identifier: MIT */
#include "sess.h"

#define AHEAD 0x40000000 /* ms: what is echoed lies so far in the future at least (kcp_prove_put) */

bool ping_start(struct sess *ss)
{
	struct ping *p = &ss->shard->ping;

	if (ss->closed || ss->unproved || ss->muted || ss->knock_at != UINT64_MAX)
		return false;
	*p = (struct ping){.id = ss->id, .due = true, .ts = (uint32_t)shard_random(ss->shard)};
	return true;
}

static struct sess *find(struct shard *s)
{
	for (uint32_t i = 0; i < s->n_all; i++)
		if (s->all[i]->id == s->ping.id && !s->all[i]->closed)
			return s->all[i];
	return NULL;
}

unsigned ping_output(struct shard *s, struct pkt *out, uint64_t now)
{
	struct sess *ss = find(s);
	struct ping *p = &s->ping;

	p->due = false;
	if (!ss) {
		p->id = 0;
		return 0;
	}
	/* From half a turn of the clock ahead on to three quarters: random, so that no other's echo is taken for it. */
	p->ts = (uint32_t)now + AHEAD + (p->ts & (AHEAD / 2 - 1));
	out->n = (uint16_t)kcp_prove_put(&ss->kcp, out->p, KCP_HEAD, p->ts);
	if (shape_heads(ss))
		fec_lone(out, 1);
	p->at = shard_us(s, now);
	sess_address(ss, out, 1, now);
	return 1;
}

void ping_heard(struct sess *ss, const uint8_t *p, uint32_t n, uint64_t now)
{
	struct ping *ping = &ss->shard->ping;
	uint64_t us;
	uint32_t ts;

	while (kcp_prove_next(&ss->kcp, &p, &n, &ts)) {
		if (ts != ping->ts || ping->due || ping->us)
			continue;
		us = shard_us(ss->shard, now) - ping->at;
		ping->us = us ? (uint32_t)us : 1;
	}
}
