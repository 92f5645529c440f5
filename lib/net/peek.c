/* SPDX-License-Identifier: MIT */

/* Frames that are not ours, and go to the kernel: as much of them as one must know to hand them over. */

#include <stdbool.h>

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

static void peek_v4(const uint8_t *p, unsigned n, struct peek *k)
{
	const uint8_t *ip = p + k->ip;
	unsigned room = n - k->ip, head, len;

	if (room < IP4_HEAD || ip[0] >> 4 != 4)
		return;
	k->proto = ip[IP4_PROTO];
	k->hops = ip[IP4_TTL];
	head = (ip[0] & 0xf) * 4u;
	len = be16_get(ip + IP4_LEN);
	if (head < IP4_HEAD || len < head || len > room || (be16_get(ip + IP4_FRAG) & IP4_MF_OR_OFF))
		return;
	k->l4 = k->ip + head;
	k->l4_n = len - head;
}

/* Past what may lie in front of TCP, UDP or ICMP.  A routing header would have another address in the pseudo header. */
static void peek_v6(const uint8_t *p, unsigned n, struct peek *k)
{
	const uint8_t *ip = p + k->ip;
	unsigned room = n - k->ip, at = IP6_HEAD, end;

	if (room < IP6_HEAD || ip[0] >> 4 != 6)
		return;
	k->proto = ip[IP6_NEXT];
	k->hops = ip[IP6_HOPS];
	end = IP6_HEAD + be16_get(ip + IP6_LEN);
	if (end > room)
		return;
	for (unsigned i = 0; i < IP6_EXT_MAX && (k->proto == PROTO_HOPOPTS || k->proto == PROTO_DSTOPTS); i++) {
		if (end - at < IP6_EXT_MIN || end - at < IP6_EXT_MIN + ip[at + 1] * 8u)
			return;
		k->proto = ip[at];
		at += IP6_EXT_MIN + ip[at + 1] * 8u;
	}
	k->l4 = k->ip + at;
	k->l4_n = end - at;
}

static struct peek peek(const uint8_t *p, unsigned n)
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
		peek_v4(p, n, &k);
	else if (k.type == ETH_T_IPV6)
		peek_v6(p, n, &k);
	return k;
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
