/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "sock.h"

socklen_t sock_addr(const struct addr *a, uint16_t port, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (addr_is_v4(a)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a->b + 12, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, a->b, 16);
	return sizeof(*in6);
}

int sock_zone(struct sockaddr_storage *ss, const char *zone)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	if (!zone || ss->ss_family != AF_INET6)
		return 0;
	in6->sin6_scope_id = if_nametoindex(zone);
	return in6->sin6_scope_id ? 0 : -ENODEV;
}

void sock_addr_read(const struct sockaddr_storage *ss, struct addr *a, uint16_t *port)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

	memset(a, 0, sizeof(*a));
	*port = 0;
	if (ss->ss_family == AF_INET) {
		*a = addr_v4(ntohl(in->sin_addr.s_addr));
		*port = ntohs(in->sin_port);
	} else if (ss->ss_family == AF_INET6) {
		memcpy(a->b, &in6->sin6_addr, 16);
		*port = ntohs(in6->sin6_port);
	}
}
