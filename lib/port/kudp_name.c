/* SPDX-License-Identifier: MIT */

/*
 * Addresses and control messages as the kernel has them.  A link-local address is known with its interface: in struct
 * addr that lies in its bytes 4 to 7, which are zeros on the wire (RFC 4291, 2.5.6).
 */

#include <time.h>
/* wants timespec */
#include <linux/errqueue.h>
#include <netinet/udp.h>
#include <string.h>

#include "kudp_int.h"
#include "le.h"

#define ZONE 4

static bool is_link_local(const uint8_t *b)
{
	return b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

static uint32_t zone_take(struct in6_addr *a)
{
	uint32_t zone = 0;

	if (is_link_local(a->s6_addr)) {
		zone = be32_get(a->s6_addr + ZONE);
		be32_put(a->s6_addr + ZONE, 0);
	}
	return zone;
}

socklen_t kudp_name_put(const struct kudp_sock *s, const struct addr *a, uint16_t port, struct sockaddr_in6 *to)
{
	struct sockaddr_in *in = (struct sockaddr_in *)to;

	if (!s->v6) {
		*in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
		memcpy(&in->sin_addr, a->b + 12, 4);
		return sizeof(*in);
	}
	*to = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
	memcpy(&to->sin6_addr, a->b, 16);
	to->sin6_scope_id = zone_take(&to->sin6_addr);
	return sizeof(*to);
}

void kudp_name_get(const struct sockaddr_in6 *from, struct addr *a, uint16_t *port)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)from;

	if (from->sin6_family == AF_INET) {
		*a = addr_v4(ntohl(in->sin_addr.s_addr));
		*port = ntohs(in->sin_port);
		return;
	}
	memcpy(a->b, &from->sin6_addr, 16);
	*port = ntohs(from->sin6_port);
	if (is_link_local(a->b))
		be32_put(a->b + ZONE, from->sin6_scope_id);
}

static size_t put(uint8_t *at, int level, int type, const void *data, size_t n)
{
	struct cmsghdr *c = (struct cmsghdr *)at;

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(n);
	memcpy(CMSG_DATA(c), data, n);
	return CMSG_SPACE(n);
}

size_t kudp_source_put(const struct kudp_sock *s, const struct addr *a, uint8_t *at)
{
	struct in6_pktinfo info6 = {.ipi6_ifindex = 0};
	struct in_pktinfo info = {.ipi_ifindex = 0};

	if (!s->v6) {
		memcpy(&info.ipi_spec_dst, a->b + 12, 4);
		return put(at, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	}
	memcpy(&info6.ipi6_addr, a->b, 16);
	info6.ipi6_ifindex = zone_take(&info6.ipi6_addr);
	return put(at, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
}

size_t kudp_segment_put(uint16_t bytes, uint8_t *at)
{
	return put(at, IPPROTO_UDP, UDP_SEGMENT, &bytes, sizeof(bytes));
}

static void get_ip(const struct cmsghdr *c, struct kudp_info *info)
{
	const void *data = CMSG_DATA(c);
	struct in_pktinfo p;

	if (c->cmsg_type == IP_TOS)
		info->tclass = *(const uint8_t *)data;
	if (c->cmsg_type == IP_RECVERR)
		info->err = data;
	if (c->cmsg_type != IP_PKTINFO)
		return;
	memcpy(&p, data, sizeof(p));
	info->local = addr_v4(ntohl(p.ipi_addr.s_addr));
	info->has_local = true;
}

static void get_ip6(const struct cmsghdr *c, struct kudp_info *info)
{
	const void *data = CMSG_DATA(c);
	struct in6_pktinfo p;

	if (c->cmsg_type == IPV6_TCLASS)
		info->tclass = *(const uint8_t *)data;
	if (c->cmsg_type == IPV6_RECVERR)
		info->err = data;
	if (c->cmsg_type != IPV6_PKTINFO)
		return;
	memcpy(&p, data, sizeof(p));
	memcpy(info->local.b, &p.ipi6_addr, 16);
	if (is_link_local(info->local.b))
		be32_put(info->local.b + ZONE, (uint32_t)p.ipi6_ifindex);
	info->has_local = true;
}

void kudp_info_get(const struct msghdr *m, struct kudp_info *info)
{
	*info = (struct kudp_info){.segment = 0};
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)m, c)) {
		int bytes;

		if (c->cmsg_level == IPPROTO_IP)
			get_ip(c, info);
		else if (c->cmsg_level == IPPROTO_IPV6)
			get_ip6(c, info);
		else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(&bytes, CMSG_DATA(c), sizeof(bytes));
			info->segment = (uint16_t)bytes;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
			memcpy(&info->lost, CMSG_DATA(c), sizeof(info->lost));
			info->has_lost = true;
		}
	}
}
