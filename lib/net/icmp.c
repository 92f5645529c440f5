/* SPDX-License-Identifier: MIT */
#include "icmp.h"

#include <stdatomic.h>
#include <string.h>

#include "le.h"
#include "net_wire.h"

/*
 * What routers say of packets that are too big for the way on: RFC 1191, RFC 8201.  Anybody can write such a message.
 * Here it is only made sure that it is whole, and whose flow it means.
 */

/* The packet that a message quotes, as much of it as there is. */
struct quote {
	const uint8_t *ip, *l4; /* NULL: it ends before its ports */
	uint8_t proto;
};

bool net_says_big4(const uint8_t *ip, unsigned room)
{
	unsigned head = (ip[0] & 0xf) * 4u;

	return ip[IP4_PROTO] == PROTO_ICMP && room > head + ICMP_CODE && ip[head] == ICMP_UNREACH &&
	       ip[head + ICMP_CODE] == ICMP_TOO_BIG && !(be16_get(ip + IP4_FRAG) & IP4_MF_OR_OFF);
}

bool net_says_big6(const uint8_t *ip, unsigned room)
{
	return ip[IP6_NEXT] == PROTO_ICMP6 && room > IP6_HEAD && ip[IP6_HEAD] == ICMP6_TOO_BIG;
}

static struct quote quote4(const uint8_t *q, unsigned n)
{
	struct quote r = {.ip = q};
	unsigned head;

	if (n < IP4_HEAD || q[0] >> 4 != 4)
		return r;
	head = (q[0] & 0xf) * 4u;
	if (head < IP4_HEAD || n < head + ICMP_QUOTE_MIN)
		return r;
	r.l4 = q + head;
	r.proto = be16_get(q + IP4_FRAG) & IP4_OFF ? UINT8_MAX : q[IP4_PROTO]; /* no first fragment: no ports */
	return r;
}

/* Of ours only the fragment header lies before UDP's, or TCP's. */
static struct quote quote6(const uint8_t *q, unsigned n)
{
	struct quote r = {.ip = q};
	unsigned head = IP6_HEAD;

	if (n < IP6_HEAD + ICMP_QUOTE_MIN || q[0] >> 4 != 6)
		return r;
	r.proto = q[IP6_NEXT];
	if (r.proto == PROTO_FRAGMENT) {
		head += IP6_FRAG_HEAD;
		if (n < head + ICMP_QUOTE_MIN)
			return r;
		r.proto = be16_get(q + IP6_HEAD + IP6_FRAG_OFF) & (uint16_t)~IP6_FRAG_MF ? UINT8_MAX : q[IP6_HEAD];
	}
	r.l4 = q + head;
	return r;
}

static bool sum_ok(const uint8_t *ip, const uint8_t *msg, unsigned n, bool v6)
{
	uint64_t sum = 0;

	if (v6)
		sum = net_sum(ip + IP6_SRC, 32,
			      (uint64_t)__builtin_bswap16(PROTO_ICMP6) + __builtin_bswap16((uint16_t)n));
	return net_sum_fold(net_sum(msg, n, sum)) == 0;
}

/* The flow's ends, as in a packet of the peer's; false: it is not from the address that the message was sent to. */
static bool take_ends(struct flow_key *key, const struct quote *q, bool v6)
{
	const uint8_t *src = q->ip + (v6 ? IP6_SRC : IP4_SRC), *dst = q->ip + (v6 ? IP6_DST : IP4_DST);
	const unsigned from = v6 ? 0 : 12;

	if (memcmp(key->local.b + from, src, 16 - from) != 0)
		return false;
	key->peer = addr_v4(0);
	memcpy(key->peer.b + from, dst, 16 - from);
	key->local_port = be16_get(q->l4 + UDP_SRC);
	key->peer_port = be16_get(q->l4 + UDP_DST);
	key->proto = q->proto == PROTO_TCP ? FLOW_TCP : FLOW_UDP;
	return true;
}

uint8_t net_parse_big(struct pkt *k, struct flow_key *key, const uint8_t *ip, uint8_t *msg, unsigned n,
		      const struct net_ports *ports, uint8_t stray)
{
	const bool v6 = !addr_is_v4(&key->local);
	struct quote q;
	unsigned tunnel;

	if (n < ICMP_HEAD)
		return DROP_FRAME_SHORT;
	q = v6 ? quote6(msg + ICMP_HEAD, n - ICMP_HEAD) : quote4(msg + ICMP_HEAD, n - ICMP_HEAD);
	if (!q.l4)
		return DROP_FRAME_SHORT;
	if ((q.proto != PROTO_UDP && q.proto != PROTO_TCP) || !take_ends(key, &q, v6))
		return stray;
	key->dev = addr_needs_zone(&key->peer) ? (uint16_t)(k->dev + 1) : 0;
	tunnel = atomic_load_explicit(q.proto == PROTO_TCP ? &ports->tcp[key->local_port] : &ports->of[key->local_port],
				      memory_order_relaxed);
	if (!tunnel)
		return stray;
	if (!sum_ok(ip, msg, n, v6))
		return DROP_ICMP_CHECKSUM;
	k->key = key;
	k->tunnel = (uint16_t)(tunnel - 1);
	k->p = msg;
	k->n = (uint16_t)n;
	return VERDICT_BIG;
}

void net_too_big(const struct pkt *k, struct net_too_big *b)
{
	const uint8_t *q = k->p + ICMP_HEAD;

	b->v6 = !addr_is_v4(&k->key->local);
	if (b->v6) {
		b->mtu = be32_get(k->p + ICMP6_MTU);
		b->mark = be32_get(q) & NET_MARK_V6;
		b->len = (uint16_t)(IP6_HEAD + be16_get(q + IP6_LEN));
	} else {
		b->mtu = be16_get(k->p + ICMP_MTU);
		b->mark = be16_get(q + IP4_ID);
		b->len = be16_get(q + IP4_LEN);
	}
}
