/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "route.h"

#define ROUTE_BUF 32768 /* what the kernel fills at most when it lists a table */

struct answer {
	bool list; /* of all routes: only default routes count */
	bool found;
	uint32_t oif, metric;
};

static void on_attr(const struct nlattr *at, const struct nlattr **of, uint16_t max)
{
	if (mnl_attr_get_type(at) <= max)
		of[mnl_attr_get_type(at)] = at;
}

static uint32_t attr_u32(const struct nlattr *a, uint32_t otherwise)
{
	return a && mnl_attr_get_payload_len(a) >= sizeof(uint32_t) ? mnl_attr_get_u32(a) : otherwise;
}

/* The first next hop stands for them all. */
static uint32_t first_hop(const struct nlattr *a)
{
	if (!a || mnl_attr_get_payload_len(a) < sizeof(struct rtnexthop))
		return 0;
	return (uint32_t)((const struct rtnexthop *)mnl_attr_get_payload(a))->rtnh_ifindex;
}

static int on_route(const struct nlmsghdr *h, void *ctx)
{
	const struct nlattr *of[RTA_MAX + 1] = {0};
	const struct rtmsg *rm = mnl_nlmsg_get_payload(h);
	struct answer *a = ctx;
	const struct nlattr *at;
	uint32_t oif, metric;

	if (h->nlmsg_type != RTM_NEWROUTE)
		return MNL_CB_OK;
	mnl_attr_for_each(at, h, sizeof(*rm)) on_attr(at, of, RTA_MAX);
	if (a->list && (rm->rtm_dst_len != 0 || attr_u32(of[RTA_TABLE], rm->rtm_table) != RT_TABLE_MAIN))
		return MNL_CB_OK;
	if (rm->rtm_type != RTN_UNICAST && rm->rtm_type != RTN_LOCAL)
		return MNL_CB_OK;
	oif = attr_u32(of[RTA_OIF], first_hop(of[RTA_MULTIPATH]));
	metric = attr_u32(of[RTA_PRIORITY], 0);
	if (oif == 0 || (a->found && metric >= a->metric))
		return MNL_CB_OK;
	a->found = true;
	a->oif = oif;
	a->metric = metric;
	return MNL_CB_OK;
}

static int ask(struct mnl_socket *s, const struct addr *dst, uint8_t family, struct answer *a)
{
	char buf[ROUTE_BUF] __attribute__((aligned(8)));
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct rtmsg *rm;
	ssize_t n;
	int rc;

	h->nlmsg_type = RTM_GETROUTE;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (dst ? NLM_F_ACK : NLM_F_DUMP));
	h->nlmsg_seq = 1;
	rm = mnl_nlmsg_put_extra_header(h, sizeof(*rm));
	rm->rtm_family = family;
	if (dst) {
		rm->rtm_dst_len = family == AF_INET ? 32 : 128;
		mnl_attr_put(h, RTA_DST, family == AF_INET ? 4 : 16, family == AF_INET ? dst->b + 12 : dst->b);
	}
	if (mnl_socket_sendto(s, h, h->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(s, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		rc = mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(s), on_route, a);
	} while (rc > MNL_CB_STOP);
	return rc < 0 ? -errno : 0;
}

static int ask_each(struct mnl_socket *s, const struct addr *dst, struct answer *a)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	int rc = 0;

	if (dst)
		return ask(s, dst, addr_is_v4(dst) ? AF_INET : AF_INET6, a);
	a->list = true;
	for (unsigned i = 0; i < 2 && rc == 0 && !a->found; i++)
		rc = ask(s, NULL, families[i], a);
	return rc;
}

int route_iface(const struct addr *dst, char *ifname, size_t n)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	struct answer a = {0};
	char name[IF_NAMESIZE];
	int rc;

	if (!s)
		return -errno;
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0)
		rc = -errno;
	else
		rc = ask_each(s, dst, &a);
	mnl_socket_close(s);
	if (rc < 0)
		return rc == -EHOSTUNREACH ? -ENETUNREACH : rc;
	if (!a.found || !if_indextoname(a.oif, name))
		return -ENETUNREACH;
	return snprintf(ifname, n, "%s", name) < (int)n ? 0 : -ENOSPC;
}
