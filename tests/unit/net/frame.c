/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "frame.h"

static uint32_t ref_add(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++) {
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
		while (sum >> 16)
			sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

uint16_t ref_csum(const uint8_t *p, size_t n)
{
	return (uint16_t)~ref_add(p, n, 0);
}

uint16_t ref_udp_csum(const uint8_t *ip, const uint8_t *udp, unsigned udp_n)
{
	bool v6 = ip[0] >> 4 == 6;
	uint8_t rest[4] = {0, 17, (uint8_t)(udp_n >> 8), (uint8_t)udp_n};
	uint32_t sum = ref_add(ip + (v6 ? 8 : 12), v6 ? 32 : 8, 0);

	sum = ref_add(rest, sizeof(rest), sum);
	sum = ref_add(udp, 6, sum);
	sum = ref_add(udp + 8, udp_n - 8, sum);
	sum = ~sum & 0xffff;
	return sum ? (uint16_t)sum : 0xffff;
}

struct addr addr_of(const char *text)
{
	struct addr a;

	cr_assert_eq(addr_parse(text, &a), 0, "%s", text);
	return a;
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void frame_fix_ip4(uint8_t *buf)
{
	uint8_t *ip = buf + 14;

	put16(ip + 10, 0);
	put16(ip + 10, ref_csum(ip, (ip[0] & 15) * 4u));
}

static uint8_t *put_v4(uint8_t *ip, const struct frame *f, const struct addr *src, const struct addr *dst)
{
	unsigned head = 20 + f->options_n;

	memset(ip, 0, head);
	ip[0] = (uint8_t)(0x40 | head / 4);
	put16(ip + 2, head + 8 + f->payload_n);
	put16(ip + 6, f->frag);
	ip[8] = 57;
	ip[9] = 17;
	memcpy(ip + 12, src->b + 12, 4);
	memcpy(ip + 16, dst->b + 12, 4);
	if (f->options_n)
		memcpy(ip + 20, f->options, f->options_n);
	put16(ip + 10, ref_csum(ip, head));
	return ip + head;
}

static uint8_t *put_v6(uint8_t *ip, const struct frame *f, const struct addr *src, const struct addr *dst)
{
	memset(ip, 0, 40);
	ip[0] = 0x60;
	put16(ip + 4, f->ext_n + 8 + f->payload_n);
	ip[6] = f->ext_n ? f->next : 17;
	ip[7] = 57;
	memcpy(ip + 8, src, 16);
	memcpy(ip + 24, dst, 16);
	if (f->ext_n)
		memcpy(ip + 40, f->ext, f->ext_n);
	return ip + 40 + f->ext_n;
}

unsigned frame_make(uint8_t *buf, const struct frame *f)
{
	struct addr src = addr_of(f->src), dst = addr_of(f->dst);
	bool v4 = addr_is_v4(&src);
	uint8_t *ip = buf + 14, *udp;

	memcpy(buf, f->dst_mac, 6);
	memcpy(buf + 6, f->src_mac, 6);
	put16(buf + 12, v4 ? 0x0800 : 0x86dd);
	udp = v4 ? put_v4(ip, f, &src, &dst) : put_v6(ip, f, &src, &dst);
	put16(udp, f->sport);
	put16(udp + 2, f->dport);
	put16(udp + 4, 8 + f->payload_n);
	for (unsigned i = 0; i < f->payload_n; i++)
		udp[8 + i] = (uint8_t)(i * 7 + 3);
	put16(udp + 6, ref_udp_csum(ip, udp, 8 + f->payload_n));
	return (unsigned)(udp - buf) + 8 + f->payload_n;
}
