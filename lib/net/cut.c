/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "le.h"
#include "net.h"
#include "net_wire.h"

#define UNIT 8 /* bytes in which offsets of fragments count */

void net_cut_begin(struct net_cut *c, const struct net_path *path, uint8_t *frame, unsigned n, uint32_t id)
{
	const uint16_t first = (uint16_t)(path->l3 + path->l3_n);

	*c = (struct net_cut){.frame = frame,
			      .id = id,
			      .l3 = path->l3,
			      .l3_n = path->l3_n,
			      .most = path->most,
			      .at = first,
			      .end = (uint16_t)n,
			      .v6 = path->v6};
	if (path->csum & NET_CSUM_UDP_HW)
		net_finish_csum(frame, n, true);
}

/* The header of a fragment with `n` bytes from `off` of the packet's payload on; returns where those go. */
static uint8_t *cut_v4(const struct net_cut *c, uint8_t *ip, unsigned off, unsigned n, bool more)
{
	be16_put(ip + IP4_LEN, (uint16_t)(IP4_HEAD + n));
	be16_put(ip + IP4_ID, (uint16_t)c->id);
	be16_put(ip + IP4_FRAG, (uint16_t)((more ? IP4_MF : 0) | off / UNIT));
	le16_put(ip + IP4_CSUM, 0);
	le16_put(ip + IP4_CSUM, net_sum_fold(net_sum(ip, IP4_HEAD, 0)));
	return ip + IP4_HEAD;
}

static uint8_t *cut_v6(const struct net_cut *c, uint8_t *ip, unsigned off, unsigned n, bool more)
{
	uint8_t *ext = ip + IP6_HEAD;

	ext[0] = ip[IP6_NEXT];
	ext[1] = 0;
	be16_put(ext + IP6_FRAG_OFF, (uint16_t)(off | (more ? IP6_FRAG_MF : 0)));
	be32_put(ext + IP6_FRAG_ID, c->id);
	ip[IP6_NEXT] = PROTO_FRAGMENT;
	be16_put(ip + IP6_LEN, (uint16_t)(IP6_FRAG_HEAD + n));
	return ext + IP6_FRAG_HEAD;
}

unsigned net_cut_next(struct net_cut *c, uint8_t *to)
{
	const unsigned room = c->most - c->l3_n - (c->v6 ? IP6_FRAG_HEAD : 0u), left = c->end - c->at;
	const unsigned head = (unsigned)c->l3 + c->l3_n, n = left > room ? room & ~(UNIT - 1u) : left;
	uint8_t *p;

	if (!left)
		return 0;
	memcpy(to, c->frame, head);
	p = (c->v6 ? cut_v6 : cut_v4)(c, to + c->l3, c->at - head, n, n < left);
	memcpy(p, c->frame + c->at, n);
	c->at = (uint16_t)(c->at + n);
	return (unsigned)(p - to) + n;
}
