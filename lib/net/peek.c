/* SPDX-License-Identifier: MIT */

/* Frames that are not ours, and go to the kernel: as much of them as one must know to hand them over. */

#include <stdbool.h>
#include <string.h>

#include "le.h"
#include "net.h"
#include "net_wire.h"

#define TAGS_MAX 2 /* 802.1ad outside, 802.1Q inside */

/* What lies where in a frame. */
struct peek {
	uint16_t type; /* behind VLAN tags */
	unsigned ip;   /* offset of the IP header */
	unsigned l4;   /* and of what follows it and its extensions; 0: not found, or a fragment */
	unsigned l4_n; /* length by the IP header, without the frame's padding */
	uint8_t proto; /* of it */
	uint8_t hops;  /* TTL, hop limit */
};

/* Of a frame of `whole` bytes the first n are at p, here and below. */
static void peek_v4(const uint8_t *p, unsigned n, unsigned whole, struct peek *k)
{
	const uint8_t *ip = p + k->ip;
	unsigned head, len;

	if (n - k->ip < IP4_HEAD || ip[0] >> 4 != 4)
		return;
	k->proto = ip[IP4_PROTO];
	k->hops = ip[IP4_TTL];
	head = (ip[0] & 0xf) * 4u;
	len = be16_get(ip + IP4_LEN);
	if (head < IP4_HEAD || len < head || len > whole - k->ip || (be16_get(ip + IP4_FRAG) & IP4_MF_OR_OFF))
		return;
	k->l4 = k->ip + head;
	k->l4_n = len - head;
}

/* Past what may lie in front of TCP, UDP or ICMP.  A routing header would have another address in the pseudo header. */
static void peek_v6(const uint8_t *p, unsigned n, unsigned whole, struct peek *k)
{
	const uint8_t *ip = p + k->ip;
	unsigned room = n - k->ip, at = IP6_HEAD, end;

	if (room < IP6_HEAD || ip[0] >> 4 != 6)
		return;
	k->proto = ip[IP6_NEXT];
	k->hops = ip[IP6_HOPS];
	end = IP6_HEAD + be16_get(ip + IP6_LEN);
	if (end > whole - k->ip)
		return;
	for (unsigned i = 0; i < IP6_EXT_MAX && (k->proto == PROTO_HOPOPTS || k->proto == PROTO_DSTOPTS); i++) {
		if (end - at < IP6_EXT_MIN || room < at + IP6_EXT_MIN || end - at < IP6_EXT_MIN + ip[at + 1] * 8u)
			return;
		k->proto = ip[at];
		at += IP6_EXT_MIN + ip[at + 1] * 8u;
	}
	k->l4 = k->ip + at;
	k->l4_n = end - at;
}

static struct peek peek_part(const uint8_t *p, unsigned n, unsigned whole)
{
	struct peek k = {.ip = ETH_HEAD};

	if (n < ETH_HEAD)
		return k;
	k.type = be16_get(p + ETH_TYPE);
	for (unsigned i = 0; i < TAGS_MAX && (k.type == ETH_T_VLAN || k.type == ETH_T_QINQ) && n >= k.ip + ETH_VLAN;
	     i++) {
		k.type = be16_get(p + k.ip + 2);
		k.ip += ETH_VLAN;
	}
	if (k.type == ETH_T_IPV4)
		peek_v4(p, n, whole, &k);
	else if (k.type == ETH_T_IPV6)
		peek_v6(p, n, whole, &k);
	return k;
}

static struct peek peek(const uint8_t *p, unsigned n)
{
	return peek_part(p, n, n);
}

/* The pseudo header's sum: addresses, protocol and length as big-endian words in memory. */
static uint64_t pseudo(const uint8_t *p, const struct peek *k)
{
	bool v6 = k->type == ETH_T_IPV6;
	uint64_t words = (uint64_t)__builtin_bswap16(k->proto) + __builtin_bswap16((uint16_t)k->l4_n);

	return net_sum(p + k->ip + (v6 ? IP6_SRC : IP4_SRC), v6 ? 32 : 8, words);
}

bool net_finish_csum(uint8_t *p, unsigned n, bool partial)
{
	const struct peek k = peek(p, n);
	bool tcp = k.proto == PROTO_TCP;
	uint16_t sum;
	uint8_t *at;

	if (!k.l4 || (!tcp && k.proto != PROTO_UDP) || k.l4_n < (tcp ? TCP_HEAD : UDP_HEAD))
		return false;
	at = p + k.l4 + (tcp ? TCP_CSUM : UDP_CSUM);
	sum = (uint16_t)~net_sum_fold(pseudo(p, &k));
	if (!partial && le16_get(at) != sum)
		return false;
	le16_put(at, 0);
	sum = net_sum_fold(net_sum(p + k.l4, k.l4_n, sum));
	le16_put(at, sum || tcp ? sum : UINT16_MAX); /* UDP's 0 would say "none" */
	return true;
}

bool net_find_tcp(const uint8_t *p, unsigned n, unsigned whole, struct net_tcp_at *at)
{
	const struct peek k = peek_part(p, n, whole);
	unsigned head;

	if (!k.l4 || k.proto != PROTO_TCP || k.l4_n < TCP_HEAD || n < k.l4 + TCP_HEAD)
		return false;
	head = (p[k.l4 + TCP_OFF] >> 4) * 4u;
	if (head < TCP_HEAD || head > k.l4_n || n < k.l4 + head)
		return false;
	*at = (struct net_tcp_at){
		.ip = (uint16_t)k.ip, .tcp = (uint16_t)k.l4, .data = (uint16_t)(k.l4 + head), .data_n = k.l4_n - head};
	at->v6 = k.type == ETH_T_IPV6;
	return true;
}

/* ---- what it is to the kernel ---- */

/* Of the link's own groups, 01:80:c2:00:00:0x: spanning tree, LACP, LLDP, pause frames. */
static bool is_link_group(const uint8_t *p)
{
	static const uint8_t group[5] = {0x01, 0x80, 0xc2, 0, 0};

	return memcmp(p, group, sizeof(group)) == 0;
}

/*
 * BGP is TCP to the kernel; what a neighbour has sent of it with the TTL that proves it (RFC 5082) is with the routing,
 * where nobody from farther away can follow.
 */
static enum net_kind kind_tcp(const uint8_t *p, const struct peek *k)
{
	unsigned flags;
	bool bgp;

	if (p[0] & 1 || k->l4_n < TCP_HEAD)
		return NET_KIND_OTHER;
	flags = p[k->l4 + TCP_FLAGS];
	if ((flags & (TCP_F_SYN | TCP_F_ACK)) != TCP_F_ACK)
		return NET_KIND_SYN;
	bgp = be16_get(p + k->l4 + TCP_SRC) == TCP_BGP || be16_get(p + k->l4 + TCP_DST) == TCP_BGP;
	return bgp && k->hops == HOPS_ON_LINK ? NET_KIND_ROUTING : NET_KIND_TCP;
}

/* Liveness of a next hop cannot come from farther away, and says so by its TTL (RFC 5881, 5; RFC 5883 for the other).
 */
static enum net_kind kind_udp(const uint8_t *p, const struct peek *k)
{
	unsigned to;

	if (k->l4_n < UDP_HEAD)
		return NET_KIND_OTHER;
	to = be16_get(p + k->l4 + UDP_DST);
	switch (to) {
	case UDP_BFD:
	case UDP_BFD_ECHO:
		return k->hops == HOPS_ON_LINK ? NET_KIND_ROUTING : NET_KIND_OTHER;
	case UDP_BFD_FAR:
	case UDP_DHCP_SERVER:
	case UDP_DHCP_CLIENT:
	case UDP_DHCP6_CLIENT:
	case UDP_DHCP6_SERVER:
		return NET_KIND_ICMP;
	default:
		return NET_KIND_OTHER;
	}
}

/* Neighbour discovery is of this link, or it is forged (RFC 4861, 6.1). */
static enum net_kind kind_icmp6(const uint8_t *p, const struct peek *k)
{
	uint8_t type = k->l4_n ? p[k->l4] : 0;

	if (type < ICMP6_ND_FIRST || type > ICMP6_ND_LAST)
		return NET_KIND_ICMP;
	return k->hops == HOPS_ON_LINK ? NET_KIND_LINK : NET_KIND_OTHER;
}

static enum net_kind kind_ip(const uint8_t *p, const struct peek *k)
{
	if (!k->l4)
		return NET_KIND_OTHER;
	switch (k->proto) {
	case PROTO_TCP:
		return kind_tcp(p, k);
	case PROTO_UDP:
		return kind_udp(p, k);
	case PROTO_ICMP:
		return k->type == ETH_T_IPV4 ? NET_KIND_ICMP : NET_KIND_OTHER;
	case PROTO_IGMP:
		return NET_KIND_ICMP;
	case PROTO_ICMP6:
		return k->type == ETH_T_IPV6 ? kind_icmp6(p, k) : NET_KIND_OTHER;
	case PROTO_OSPF:
	case PROTO_PIM:
	case PROTO_VRRP:
		return NET_KIND_ROUTING;
	default:
		return NET_KIND_OTHER;
	}
}

enum net_kind net_kind(const uint8_t *p, unsigned n)
{
	struct peek k;

	if (n < ETH_HEAD)
		return NET_KIND_OTHER;
	if (is_link_group(p))
		return NET_KIND_LINK;
	k = peek(p, n);
	if (k.type == ETH_T_ARP)
		return NET_KIND_LINK;
	if (k.type == ETH_T_IPV4 || k.type == ETH_T_IPV6)
		return kind_ip(p, &k);
	/* An LLC length instead of a type: IS-IS, to groups that begin with 01:80:c2 or 09:00:2b. */
	return k.type <= ETH_LLC_MAX && p[0] & 1 ? NET_KIND_ROUTING : NET_KIND_OTHER;
}
