/* SPDX-License-Identifier: MIT */
#include "frame.h"

#define ETH_IP4	    0x0800
#define ETH_IP6	    0x86dd
#define ETH_ARP	    0x0806
#define PROTO_UDP   17
#define PROTO_ICMP6 58
#define ND_FIRST    133
#define ND_LAST	    137
#define UDP_HEAD    8u

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

bool frame_is_link(const uint8_t *p, uint32_t n)
{
	if (n < FRAME_ETH)
		return false;
	if (be16(p + 12) == ETH_ARP)
		return true;
	return n >= FRAME_ETH + 41 && be16(p + 12) == ETH_IP6 && p[FRAME_ETH + 6] == PROTO_ICMP6 &&
	       p[FRAME_ETH + 40] >= ND_FIRST && p[FRAME_ETH + 40] <= ND_LAST;
}

/* Where a whole UDP header begins; 0: there is none.  Later fragments have none. */
static uint32_t udp_at(const uint8_t *p, uint32_t n)
{
	uint32_t at = 0;

	if (n < FRAME_ETH + 20)
		return 0;
	if (be16(p + 12) == ETH_IP4 && p[FRAME_ETH + 9] == PROTO_UDP && !(be16(p + FRAME_ETH + 6) & 0x1fff))
		at = FRAME_ETH + (p[FRAME_ETH] & 15) * 4u;
	else if (be16(p + 12) == ETH_IP6 && p[FRAME_ETH + 6] == PROTO_UDP)
		at = FRAME_ETH + 40;
	return at && at + UDP_HEAD <= n ? at : 0;
}

void frame_nat(uint8_t *p, uint32_t n, bool source, uint16_t by)
{
	uint32_t at = udp_at(p, n), sum;
	uint8_t *port = p + at + (source ? 0 : 2), *check = p + at + 6;
	uint16_t was, is;

	if (!at || !by)
		return;
	was = be16(port);
	is = was ^ by;
	put16(port, is);
	if (!be16(check))
		return;
	sum = (uint16_t)~be16(check) + (uint32_t)(uint16_t)~was + is; /* RFC 1624 */
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	is = (uint16_t)~sum;
	put16(check, is ? is : 0xffff);
}

bool frame_spoil(uint8_t *p, uint32_t n, uint64_t dice)
{
	uint32_t from = udp_at(p, n) + UDP_HEAD;

	if (from == UDP_HEAD || from >= n)
		return false;
	p[from + (uint32_t)(dice >> 8) % (n - from)] ^= (uint8_t)(1 << dice % 8);
	return true;
}
