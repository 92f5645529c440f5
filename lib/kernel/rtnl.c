/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "rtnl.h"

#define REQ_MAX	    512
#define ANSWER_MAX  4096
#define METRIC_V6   1024 /* what the kernel gives an IPv6 route that names none */
#define METRIC_MORE 16

int rtnl_open(struct rtnl *r)
{
	int on = 1;

	r->seq = 0;
	r->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!r->sock)
		return -errno;
	if (mnl_socket_bind(r->sock, 0, MNL_SOCKET_AUTOPID)) {
		int err = -errno;

		rtnl_close(r);
		return err;
	}
	mnl_socket_setsockopt(r->sock, NETLINK_CAP_ACK, &on, sizeof(on));
	return 0;
}

void rtnl_close(struct rtnl *r)
{
	if (r->sock)
		mnl_socket_close(r->sock);
	r->sock = NULL;
}

static int talk(struct rtnl *r, struct nlmsghdr *h)
{
	char buf[ANSWER_MAX];
	ssize_t n;

	h->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_seq = ++r->seq;
	if (mnl_socket_sendto(r->sock, h, h->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(r->sock, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
	} while (n <= 0 || mnl_cb_run(buf, (size_t)n, r->seq, mnl_socket_get_portid(r->sock), NULL, NULL) > 0);
	return mnl_cb_run(buf, (size_t)n, r->seq, mnl_socket_get_portid(r->sock), NULL, NULL) < 0 ? -errno : 0;
}

static void put_addr(struct nlmsghdr *h, uint16_t type, const struct addr *a)
{
	bool v4 = addr_is_v4(a);

	mnl_attr_put(h, type, v4 ? 4 : 16, v4 ? a->b + 12 : a->b);
}

static uint8_t family(const struct addr *a)
{
	return addr_is_v4(a) ? AF_INET : AF_INET6;
}

int rtnl_link_set(struct rtnl *r, int ifindex, const uint8_t *mac, unsigned mtu)
{
	char buf[REQ_MAX] __attribute__((aligned(8)));
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));

	h->nlmsg_type = RTM_NEWLINK;
	m->ifi_index = ifindex;
	if (mac)
		mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	mnl_attr_put_u32(h, IFLA_MTU, mtu);
	return talk(r, h);
}

int rtnl_link_up(struct rtnl *r, int ifindex)
{
	char buf[REQ_MAX] __attribute__((aligned(8)));
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));

	h->nlmsg_type = RTM_NEWLINK;
	m->ifi_index = ifindex;
	m->ifi_flags = IFF_UP;
	m->ifi_change = IFF_UP;
	return talk(r, h);
}

int rtnl_addr_add(struct rtnl *r, int ifindex, const struct addr *a, unsigned plen)
{
	char buf[REQ_MAX] __attribute__((aligned(8)));
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	bool v4 = addr_is_v4(a);

	h->nlmsg_type = RTM_NEWADDR;
	h->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	m->ifa_family = family(a);
	m->ifa_prefixlen = (uint8_t)(v4 ? plen - 96 : plen);
	m->ifa_flags = v4 ? 0 : IFA_F_NODAD;
	m->ifa_index = (uint32_t)ifindex;
	put_addr(h, IFA_LOCAL, a);
	put_addr(h, IFA_ADDRESS, a);
	if (v4 && plen < 127) {
		struct addr bcast = *a;

		for (unsigned i = plen; i < 128; i++)
			bcast.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
		put_addr(h, IFA_BROADCAST, &bcast);
	}
	return talk(r, h);
}

static int default_add(struct rtnl *r, int ifindex, const struct addr *gw, uint32_t metric)
{
	char buf[REQ_MAX] __attribute__((aligned(8)));
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));

	h->nlmsg_type = RTM_NEWROUTE;
	h->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	m->rtm_family = family(gw);
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	m->rtm_flags = RTNH_F_ONLINK; /* a gateway outside of the port's own prefix is common in clouds */
	put_addr(h, RTA_GATEWAY, gw);
	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)ifindex);
	if (metric)
		mnl_attr_put_u32(h, RTA_PRIORITY, metric);
	return talk(r, h);
}

int rtnl_default_add(struct rtnl *r, int ifindex, const struct addr *gw)
{
	uint32_t base = addr_is_v4(gw) ? 0 : METRIC_V6;
	int err = -EEXIST;

	for (uint32_t m = base; m < base + METRIC_MORE && err == -EEXIST; m++)
		err = default_add(r, ifindex, gw, m);
	return err;
}

int rtnl_neigh_use(struct rtnl *r, int ifindex, const struct addr *a)
{
	char buf[REQ_MAX] __attribute__((aligned(8)));
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ndmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));

	h->nlmsg_type = RTM_NEWNEIGH;
	h->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	m->ndm_family = family(a);
	m->ndm_ifindex = ifindex;
	m->ndm_flags = NTF_USE;
	put_addr(h, NDA_DST, a);
	return talk(r, h);
}
