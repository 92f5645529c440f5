/* SPDX-License-Identifier: MIT */
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "nl_attr.h"
#include "nl_told.h"

/* Next hop from the attributes of a route or of one member of a multipath route; false: it is none that we can take. */
static bool read_hop(const struct nl_attrs *a, int family, struct addr *via)
{
	const struct rtvia *v;
	size_t n;

	memset(via, 0, sizeof(*via));
	if (a->of[RTA_ENCAP])
		return false;
	if (a->of[RTA_GATEWAY])
		return nl_attr_addr(a->of[RTA_GATEWAY], family, via);
	if (!a->of[RTA_VIA])
		return true;
	v = mnl_attr_get_payload(a->of[RTA_VIA]);
	if (mnl_attr_get_payload_len(a->of[RTA_VIA]) < sizeof(*v))
		return false;
	n = v->rtvia_family == AF_INET ? 4 : 16;
	if (mnl_attr_get_payload_len(a->of[RTA_VIA]) != sizeof(*v) + n)
		return false;
	if (n == 4)
		*via = addr_v4(0);
	memcpy(via->b + 16 - n, v->rtvia_addr, n);
	return true;
}

/* A member joins the way; what cannot be taken leaves by no link of ours. */
static void put_member(struct nl_told *t, const struct nl_attrs *a, int link, unsigned weight)
{
	struct net_member *m = &t->way.member[t->way.n_member];

	if (t->way.n_member == NET_WAY_MEMBERS)
		return;
	m->weight = weight;
	m->link = link > 0 ? link : 0; /* net's numbers below 0 name ports */
	if (!read_hop(a, t->family, &m->via)) {
		memset(&m->via, 0, sizeof(m->via));
		m->link = 0;
	}
	t->way.n_member++;
}

static void read_multipath(struct nl_told *t, const struct nlattr *mp)
{
	const char *p = mnl_attr_get_payload(mp), *end = p + mnl_attr_get_payload_len(mp);

	while ((size_t)(end - p) >= sizeof(struct rtnexthop)) {
		const struct rtnexthop *nh = (const void *)p;
		struct nl_attrs a = {{0}};

		if (nh->rtnh_len < sizeof(*nh) || nh->rtnh_len > end - p)
			break;
		mnl_attr_parse_payload(p + sizeof(*nh), nh->rtnh_len - sizeof(*nh), nl_attr_put, &a);
		put_member(t, &a, nh->rtnh_ifindex, 1u + nh->rtnh_hops);
		p += RTNH_ALIGN(nh->rtnh_len) <= end - p ? RTNH_ALIGN(nh->rtnh_len) : end - p;
	}
}

static int cmp_member(const void *pa, const void *pb)
{
	const struct net_member *a = pa, *b = pb;

	return a->link != b->link ? (a->link < b->link ? -1 : 1) : memcmp(&a->via, &b->via, sizeof(a->via));
}

static bool wanted(const struct rtmsg *m, const struct nl_attrs *a)
{
	uint32_t table = nl_attr_u32(a->of[RTA_TABLE], m->rtm_table);

	if (m->rtm_family != AF_INET && m->rtm_family != AF_INET6)
		return false;
	if (table != RT_TABLE_MAIN && table != RT_TABLE_DEFAULT)
		return false;
	if (m->rtm_type != RTN_UNICAST && m->rtm_type != RTN_BLACKHOLE && m->rtm_type != RTN_UNREACHABLE &&
	    m->rtm_type != RTN_PROHIBIT)
		return false;
	return !(m->rtm_flags & RTM_F_CLONED) && m->rtm_src_len == 0 && m->rtm_tos == 0 &&
	       m->rtm_dst_len <= (m->rtm_family == AF_INET ? 32 : 128);
}

bool nl_told_read(const struct nlmsghdr *h, struct nl_told *t)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	struct nl_attrs a;

	if (mnl_nlmsg_get_payload_len(h) < sizeof(*m))
		return false;
	nl_attrs_read(h, sizeof(*m), &a);
	if (!wanted(m, &a))
		return false;
	memset(&t->way, 0, sizeof(t->room));
	t->family = m->rtm_family;
	t->prefix = m->rtm_family == AF_INET ? addr_v4(0) : (struct addr){{0}};
	if (a.of[RTA_DST] && !nl_attr_addr(a.of[RTA_DST], m->rtm_family, &t->prefix))
		return false;
	t->plen = m->rtm_dst_len + (m->rtm_family == AF_INET ? 96 : 0);
	t->prefix = net_masked(&t->prefix, t->plen);
	/* IPv4's addresses as IPv6's: nobody sends to them on a wire. */
	if (m->rtm_family == AF_INET6 && addr_is_v4(&t->prefix))
		return false;
	t->metric = nl_attr_u32(a.of[RTA_PRIORITY], 0);
	t->way.scope = m->rtm_scope;
	nl_attr_addr(a.of[RTA_PREFSRC], m->rtm_family, &t->way.src);
	if (m->rtm_type != RTN_UNICAST)
		t->way.flags = NET_ROUTE_UNREACHABLE;
	else if (a.of[RTA_MULTIPATH])
		read_multipath(t, a.of[RTA_MULTIPATH]);
	else
		put_member(t, &a, (int)nl_attr_u32(a.of[RTA_OIF], 0), 1);
	/* IPv6's are a ring, told from whichever is at hand. */
	if (m->rtm_family == AF_INET6 && t->way.n_member > 1)
		qsort(t->way.member, t->way.n_member, sizeof(t->way.member[0]), cmp_member);
	return true;
}
