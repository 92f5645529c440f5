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

static void init_v4(uint8_t *ip, const struct net_ends *e, uint8_t proto)
{
	ip[0] = 0x45;
	ip[IP4_TOS] = e->traffic_class;
	/* Of what no router may cut the id is free (RFC 6864): it proves to us that who quotes it has seen it. */
	be16_put(ip + IP4_ID, (uint16_t)(e->mark & NET_MARK_V4));
	be16_put(ip + IP4_FRAG, e->cuttable ? 0 : IP4_DF);
	ip[IP4_TTL] = NET_HOPS;
	ip[IP4_PROTO] = proto;
	memcpy(ip + IP4_SRC, e->key->local.b + 12, 4);
	memcpy(ip + IP4_DST, e->key->peer.b + 12, 4);
}

static void init_v6(uint8_t *ip, const struct net_ends *e, uint8_t proto)
{
	be32_put(ip, 6u << 28 | (uint32_t)e->traffic_class << 20 | (e->mark & NET_MARK_V6));
	ip[IP6_NEXT] = proto;
	ip[IP6_HOPS] = NET_HOPS;
	memcpy(ip + IP6_SRC, e->key->local.b, 16);
	memcpy(ip + IP6_DST, e->key->peer.b, 16);
}

void net_path_init(struct net_path *p, const struct net_ends *e)
{
	uint8_t *ip = p->head + ETH_HEAD, *l4, proto;
	uint64_t sum;

	memset(p, 0, sizeof(*p));
	p->v6 = !addr_is_v4(&e->key->peer);
	p->tcp = e->key->proto == FLOW_TCP;
	proto = p->tcp ? PROTO_TCP : PROTO_UDP;
	p->l3 = ETH_HEAD;
	p->l3_n = p->v6 ? IP6_HEAD : IP4_HEAD;
	p->head_n = (uint8_t)(ETH_HEAD + p->l3_n + (p->tcp ? TCP_HEAD : UDP_HEAD));
	p->csum = p->tcp ? e->csum & (uint8_t)~NET_CSUM_UDP_HW : e->csum;
	p->dev = e->dev;
	p->most = e->most ? e->most : UINT16_MAX;
	memcpy(p->head, e->dst_mac, 6);
	memcpy(p->head + ETH_SRC, e->src_mac, 6);
	be16_put(p->head + ETH_TYPE, p->v6 ? ETH_T_IPV6 : ETH_T_IPV4);
	if (p->v6)
		init_v6(ip, e, proto);
	else
		init_v4(ip, e, proto);

	/* The ports lie in the same places. */
	l4 = ip + p->l3_n;
	be16_put(l4 + UDP_SRC, e->key->local_port);
	be16_put(l4 + UDP_DST, e->key->peer_port);

	/* The pseudo header; the port goes on over the UDP header by itself, otherwise that is constant too. */
	sum = net_sum(p->v6 ? ip + IP6_SRC : ip + IP4_SRC, p->v6 ? 32 : 8, sum_word(proto));
	if (!p->tcp && !(p->csum & NET_CSUM_UDP_HW))
		sum = net_sum(l4, UDP_HEAD, sum);
	p->sum_l4 = sum_partial(sum);
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
		csum = (uint16_t)sum_partial((uint64_t)path->sum_l4 + len);
	} else {
		csum = net_sum_fold(net_sum(udp + UDP_HEAD, n, (uint64_t)path->sum_l4 + 2 * len));
		if (!csum)
			csum = UINT16_MAX; /* 0 would say "none" */
	}
	le16_put(udp + UDP_CSUM, csum);
}

/* Puts the Ethernet and IP headers in front of n bytes of UDP or TCP at l4; returns where the frame begins. */
static uint8_t *push_ip(const struct net_path *path, uint8_t *l4, unsigned n)
{
	uint8_t *ip, *head;

	if (path->v6) {
		head = l4 - (ETH_HEAD + IP6_HEAD);
		memcpy(head, path->head, ETH_HEAD + IP6_HEAD);
		be16_put(head + ETH_HEAD + IP6_LEN, (uint16_t)n);
		return head;
	}
	head = l4 - (ETH_HEAD + IP4_HEAD);
	memcpy(head, path->head, ETH_HEAD + IP4_HEAD);
	ip = head + ETH_HEAD;
	be16_put(ip + IP4_LEN, (uint16_t)(IP4_HEAD + n));
	if (!(path->csum & NET_CSUM_IP_HW))
		le16_put(ip + IP4_CSUM, net_sum_fold((uint64_t)path->sum_ip + sum_word(IP4_HEAD + n)));
	return head;
}

void net_push(const struct net_path *path, struct pkt *k)
{
	uint8_t *udp = k->p - UDP_HEAD;
	unsigned n = k->n;

	memcpy(udp, path->head + ETH_HEAD + path->l3_n, UDP_HEAD);
	push_udp(path, udp, n);
	k->p = push_ip(path, udp, UDP_HEAD + n);
	k->n = (uint16_t)(n + path->head_n);
}

void net_whole(const struct net_path *path, struct pkt *k)
{
	uint8_t *ip = k->p + path->l3;

	if (path->v6)
		return;
	be16_put(ip + IP4_FRAG, IP4_DF);
	if (path->csum & NET_CSUM_IP_HW)
		return;
	le16_put(ip + IP4_CSUM, 0);
	le16_put(ip + IP4_CSUM, net_sum_fold(net_sum(ip, IP4_HEAD, 0)));
}

/* ---- fake TCP ---- */

/*
 * Largest segment 1460, windows in units of 1024: what firewalls on the way then take for possible covers any number of
 * datagrams in flight.
 */
static const uint8_t syn_options[TCP_SYN_HEAD - TCP_HEAD] = {2, 4, 0x05, 0xb4, 1, 3, 3, 10};

static void push_segment(const struct net_path *path, struct pkt *k, const struct net_tcp *t, uint8_t flags)
{
	unsigned head = flags & TCP_F_SYN ? TCP_SYN_HEAD : TCP_HEAD, n = head + k->n;
	uint8_t *tcp = k->p - head;

	memset(tcp, 0, TCP_HEAD);
	memcpy(tcp, path->head + ETH_HEAD + path->l3_n, TCP_SEQ);
	be32_put(tcp + TCP_SEQ, t->seq);
	be32_put(tcp + TCP_ACK, t->ack);
	tcp[TCP_OFF] = (uint8_t)(head / 4 << 4);
	tcp[TCP_FLAGS] = flags;
	be16_put(tcp + TCP_WINDOW, UINT16_MAX);
	if (flags & TCP_F_SYN)
		memcpy(tcp + TCP_HEAD, syn_options, sizeof(syn_options));
	le16_put(tcp + TCP_CSUM, net_sum_fold(net_sum(tcp, n, (uint64_t)path->sum_l4 + sum_word(n))));
	k->p = push_ip(path, tcp, n);
	k->n = (uint16_t)(n + path->l3 + path->l3_n);
}

void net_tcp_take(struct net_tcp *t, const struct pkt *k)
{
	if (k->flags & PKT_F_ACK)
		t->seq = k->tcp_ack;
	if ((k->flags & PKT_F_SYN) || t->ack == 0 || t->ack == k->tcp_seq)
		t->ack = k->tcp_end;
}

void net_push_tcp(const struct net_path *path, struct net_tcp *t, struct pkt *k)
{
	const struct net_tcp syn = {.seq = t->seq};
	unsigned n = k->n;

	if (k->flags & PKT_F_SYN) {
		k->n = 0;
		push_segment(path, k, &syn, TCP_F_SYN);
		return;
	}
	push_segment(path, k, t, TCP_F_PSH | TCP_F_ACK);
	t->seq += n;
}

void net_answer_syn(struct pkt *k, uint32_t isn, uint8_t csum)
{
	struct net_ends ends = {.key = k->key, .csum = csum};
	const bool to_answer = k->flags & PKT_F_ACK;
	struct net_tcp t = {.seq = to_answer ? k->tcp_ack : isn, .ack = k->tcp_end};
	struct net_path path;

	memcpy(ends.dst_mac, k->p + ETH_SRC, sizeof(ends.dst_mac));
	memcpy(ends.src_mac, k->p, sizeof(ends.src_mac));
	net_path_init(&path, &ends);
	k->p += NET_MAX_HEAD;
	k->n = 0;
	push_segment(&path, k, &t, to_answer ? TCP_F_ACK : TCP_F_SYN | TCP_F_ACK);
}

void net_push_back(const uint8_t *frame, struct pkt *k, uint8_t traffic_class, uint8_t csum)
{
	struct net_ends ends = {.key = k->key, .traffic_class = traffic_class, .csum = csum};
	struct net_tcp t = {.seq = k->tcp_ack, .ack = k->tcp_end};
	struct net_path path;

	memcpy(ends.dst_mac, frame + ETH_SRC, sizeof(ends.dst_mac));
	memcpy(ends.src_mac, frame, sizeof(ends.src_mac));
	net_path_init(&path, &ends);
	if (path.tcp)
		net_push_tcp(&path, &t, k);
	else
		net_push(&path, k);
}
