/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "le.h"
#include "net.h"
#include "net_wire.h"

/* A sum that may still be added to: the complement undone. */
static uint32_t sum_partial(uint64_t sum)
{
	return (uint16_t)~net_sum_fold(sum);
}

/* A length or a protocol number as the sum sees it: a big-endian word in memory. */
static uint32_t sum_word(unsigned v)
{
	return __builtin_bswap16((uint16_t)v);
}

static void init_v4(uint8_t *ip, const struct net_ends *e)
{
	ip[0] = 0x45;
	ip[IP4_TOS] = e->traffic_class;
	be16_put(ip + IP4_FRAG, IP4_DF); /* never fragmented, so that the id may stay 0 (RFC 6864) */
	ip[IP4_TTL] = NET_HOPS;
	ip[IP4_PROTO] = PROTO_UDP;
	memcpy(ip + IP4_SRC, e->key->local.b + 12, 4);
	memcpy(ip + IP4_DST, e->key->peer.b + 12, 4);
}

static void init_v6(uint8_t *ip, const struct net_ends *e)
{
	be32_put(ip, 6u << 28 | (uint32_t)e->traffic_class << 20);
	ip[IP6_NEXT] = PROTO_UDP;
	ip[IP6_HOPS] = NET_HOPS;
	memcpy(ip + IP6_SRC, e->key->local.b, 16);
	memcpy(ip + IP6_DST, e->key->peer.b, 16);
}

void net_path_init(struct net_path *p, const struct net_ends *e)
{
	uint8_t *ip = p->head + ETH_HEAD, *udp;
	uint64_t sum;

	memset(p, 0, sizeof(*p));
	p->v6 = !addr_is_v4(&e->key->peer);
	p->head_n = p->v6 ? NET_HEAD_V6 : NET_HEAD_V4;
	p->l3 = ETH_HEAD;
	p->csum = e->csum;
	p->dev = e->key->dev;
	memcpy(p->head, e->dst_mac, 6);
	memcpy(p->head + ETH_SRC, e->src_mac, 6);
	be16_put(p->head + ETH_TYPE, p->v6 ? ETH_T_IPV6 : ETH_T_IPV4);
	if (p->v6)
		init_v6(ip, e);
	else
		init_v4(ip, e);

	udp = p->head + p->head_n - UDP_HEAD;
	be16_put(udp + UDP_SRC, e->key->local_port);
	be16_put(udp + UDP_DST, e->key->peer_port);

	/* The pseudo header; the port goes on over the UDP header by itself, otherwise that is constant too. */
	sum = net_sum(p->v6 ? ip + IP6_SRC : ip + IP4_SRC, p->v6 ? 32 : 8, sum_word(PROTO_UDP));
	if (!(p->csum & NET_CSUM_UDP_HW))
		sum = net_sum(udp, UDP_HEAD, sum);
	p->sum_udp = sum_partial(sum);
	if (!p->v6)
		p->sum_ip = sum_partial(net_sum(ip, IP4_HEAD, 0));
}

/* Completes the UDP header in front of n bytes of payload. */
static void push_udp(const struct net_path *path, uint8_t *udp, unsigned n)
{
	uint32_t len = sum_word(UDP_HEAD + n);
	uint16_t csum;

	be16_put(udp + UDP_LEN, (uint16_t)(UDP_HEAD + n));
	if (path->csum & NET_CSUM_UDP_HW) {
		csum = (uint16_t)sum_partial((uint64_t)path->sum_udp + len);
	} else {
		csum = net_sum_fold(net_sum(udp + UDP_HEAD, n, (uint64_t)path->sum_udp + 2 * len));
		if (!csum)
			csum = UINT16_MAX; /* 0 would say "none" */
	}
	le16_put(udp + UDP_CSUM, csum);
}

void net_push(const struct net_path *path, struct pkt *k)
{
	unsigned n = k->n, total = IP4_HEAD + UDP_HEAD + n;
	uint8_t *head, *ip;

	if (path->v6) {
		head = k->p - NET_HEAD_V6;
		memcpy(head, path->head, NET_HEAD_V6);
		be16_put(head + ETH_HEAD + IP6_LEN, (uint16_t)(UDP_HEAD + n));
	} else {
		head = k->p - NET_HEAD_V4;
		memcpy(head, path->head, NET_HEAD_V4);
		ip = head + ETH_HEAD;
		be16_put(ip + IP4_LEN, (uint16_t)total);
		if (!(path->csum & NET_CSUM_IP_HW))
			le16_put(ip + IP4_CSUM, net_sum_fold((uint64_t)path->sum_ip + sum_word(total)));
	}
	push_udp(path, k->p - UDP_HEAD, n);
	k->n = (uint16_t)(n + path->head_n);
	k->p = head;
}
