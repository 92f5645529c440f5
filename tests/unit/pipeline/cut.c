/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ether.h>
#include <rte_ip.h>

#include "cut.h"
#include "flow.h"

#define V6_FRAG 44

void whole_udp(struct whole *w, int e, bool v6, uint16_t sport, uint16_t dport, unsigned payload)
{
	static const char *const addr[2][2] = {{"10.0.0.1", "2001:db8::1"}, {"10.0.0.2", "2001:db8::2"}};
	struct frame f = {
		.src = addr[!e][v6],
		.dst = addr[e][v6],
		.sport = sport,
		.dport = dport,
		.dst_mac = {2, 0, 0, 0, 0, (uint8_t)(1 + e)},
		.src_mac = {2, 0, 0, 0, 0, (uint8_t)(1 + !e)},
		.payload_n = payload,
	};

	cr_assert_leq(payload + 62, sizeof(w->p));
	w->n = frame_make(w->p, &f);
}

static struct rte_mbuf *cut_v4(struct bed *b, const struct whole *w, uint32_t id, unsigned from, unsigned n, bool more)
{
	const unsigned head = RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv4_hdr);
	uint8_t out[CUT_MAX];
	struct rte_ipv4_hdr *ip = (void *)(out + RTE_ETHER_HDR_LEN);

	memcpy(out, w->p, head);
	memcpy(out + head, w->p + head + from, n);
	ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + n));
	ip->packet_id = (uint16_t)id;
	ip->fragment_offset = rte_cpu_to_be_16((uint16_t)(from / 8 | (more ? RTE_IPV4_HDR_MF_FLAG : 0)));
	ip->hdr_checksum = 0;
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	return bed_bytes(b, out, head + n);
}

static struct rte_mbuf *cut_v6(struct bed *b, const struct whole *w, uint32_t id, unsigned from, unsigned n, bool more)
{
	const unsigned head = RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv6_hdr);
	uint8_t out[CUT_MAX];
	struct rte_ipv6_hdr *ip = (void *)(out + RTE_ETHER_HDR_LEN);
	uint8_t *ext = out + head;

	memcpy(out, w->p, head);
	memcpy(ext + 8, w->p + head + from, n);
	ext[0] = ip->proto;
	ext[1] = 0;
	ext[2] = (uint8_t)(from >> 8);
	ext[3] = (uint8_t)(from | more);
	memcpy(ext + 4, &id, sizeof(id));
	ip->proto = V6_FRAG;
	ip->payload_len = rte_cpu_to_be_16((uint16_t)(8 + n));
	return bed_bytes(b, out, head + 8 + n);
}

struct rte_mbuf *cut(struct bed *b, const struct whole *w, uint32_t id, unsigned from, unsigned n)
{
	bool v6 = w->p[14] >> 4 == 6;
	unsigned all = w->n - RTE_ETHER_HDR_LEN - (v6 ? sizeof(struct rte_ipv6_hdr) : sizeof(struct rte_ipv4_hdr));

	cr_assert(from % 8 == 0 && from < all);
	if (n > all - from)
		n = all - from;
	return v6 ? cut_v6(b, w, id, from, n, from + n < all) : cut_v4(b, w, id, from, n, from + n < all);
}

uint16_t port_of_home(uint16_t at, unsigned home)
{
	struct flow_key key = {.peer = addr_v4(0x0a000001), .local = addr_v4(0x0a000002), .local_port = BED_PORT};

	for (key.peer_port = at; flow_home_sw(flow_hash(&key), 2) != home; key.peer_port++)
		;
	return key.peer_port;
}
