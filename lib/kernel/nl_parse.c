/* SPDX-License-Identifier: MIT */
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "nl.h"

#define VEC_FIRST 16u
#define ATTRS	  64

struct attrs {
	const struct nlattr *of[ATTRS];
};

void *nl_push(struct nl_vec *v)
{
	if (v->n == v->cap) {
		unsigned cap = v->cap ? v->cap * 2 : VEC_FIRST;
		void *p = realloc(v->v, cap * v->size);

		if (!p) {
			v->short_of_memory = true;
			return NULL;
		}
		v->v = p;
		v->cap = cap;
	}
	return memset((char *)v->v + v->size * v->n++, 0, v->size);
}

uint16_t nl_dev(const struct nl *n, int index)
{
	for (uint16_t d = 0; d < NET_DEV_MAX; d++)
		if (index > 0 && n->port[d].ifindex == index)
			return d;
	return UINT16_MAX;
}

static int put_attr(const struct nlattr *a, void *data)
{
	struct attrs *v = data;
	unsigned type = mnl_attr_get_type(a);

	if (type < ATTRS)
		v->of[type] = a;
	return MNL_CB_OK;
}

static void read_attrs(const struct nlmsghdr *h, size_t head, struct attrs *v)
{
	memset(v, 0, sizeof(*v));
	mnl_attr_parse(h, (unsigned)head, put_attr, v);
}

/* An address attribute of either family; false when it is missing or of another length. */
static bool read_addr(const struct nlattr *a, int family, struct addr *out)
{
	size_t n = family == AF_INET ? 4 : 16;

	if (!a || mnl_attr_get_payload_len(a) != n)
		return false;
	if (family == AF_INET)
		*out = addr_v4(0);
	memcpy(out->b + 16 - n, mnl_attr_get_payload(a), n);
	return true;
}

static uint32_t read_u32(const struct nlattr *a, uint32_t none)
{
	return a && mnl_attr_get_payload_len(a) >= 4 ? mnl_attr_get_u32(a) : none;
}

static void parse_link(struct nl *n, const struct nlmsghdr *h)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	struct nl_link *l;
	struct attrs a;

	if (m->ifi_family != AF_UNSPEC)
		return;
	read_attrs(h, sizeof(*m), &a);
	l = a.of[IFLA_IFNAME] ? nl_push(&n->fresh) : NULL;
	if (!l)
		return;
	l->index = m->ifi_index;
	l->flags = m->ifi_flags;
	l->mtu = read_u32(a.of[IFLA_MTU], 0);
	strncpy(l->name, mnl_attr_get_str(a.of[IFLA_IFNAME]), sizeof(l->name) - 1);
	if (a.of[IFLA_ADDRESS] && mnl_attr_get_payload_len(a.of[IFLA_ADDRESS]) == 6)
		memcpy(l->mac, mnl_attr_get_payload(a.of[IFLA_ADDRESS]), 6);
}

static void parse_addr(struct nl *n, const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	struct nl_addr *e;
	struct addr addr;
	uint32_t flags;
	struct attrs a;

	if (m->ifa_family != AF_INET && m->ifa_family != AF_INET6)
		return;
	read_attrs(h, sizeof(*m), &a);
	flags = read_u32(a.of[IFA_FLAGS], m->ifa_flags);
	/* An IPv6 address that is being checked for duplicates, or is one, must not be used. */
	if ((flags & IFA_F_DADFAILED) || (flags & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC)) == IFA_F_TENTATIVE)
		return;
	if (!read_addr(a.of[IFA_LOCAL], m->ifa_family, &addr) && !read_addr(a.of[IFA_ADDRESS], m->ifa_family, &addr))
		return;
	e = nl_push(&n->fresh);
	if (!e)
		return;
	e->index = (int)m->ifa_index;
	e->global = m->ifa_scope == RT_SCOPE_UNIVERSE;
	e->local.addr = addr;
	e->local.plen = (uint8_t)(m->ifa_prefixlen + (m->ifa_family == AF_INET ? 96 : 0));
}

/* Next hop from the attributes of a route or of one member of a multipath route. */
static bool read_hop(const struct attrs *a, int family, struct addr *via)
{
	const struct rtvia *v;

	memset(via, 0, sizeof(*via));
	if (a->of[RTA_GATEWAY])
		return read_addr(a->of[RTA_GATEWAY], family, via);
	if (!a->of[RTA_VIA])
		return true;
	v = mnl_attr_get_payload(a->of[RTA_VIA]);
	if (mnl_attr_get_payload_len(a->of[RTA_VIA]) != sizeof(*v) + (v->rtvia_family == AF_INET ? 4 : 16))
		return false;
	if (v->rtvia_family == AF_INET)
		*via = addr_v4(0);
	memcpy(via->b + (v->rtvia_family == AF_INET ? 12 : 0), v->rtvia_addr, v->rtvia_family == AF_INET ? 4 : 16);
	return true;
}

/* A member of a multipath route into r: true when it leaves by one of our ports. */
static bool read_member(const struct nl *n, const struct rtnexthop *nh, int family, struct net_route *r)
{
	struct attrs a = {{0}};

	mnl_attr_parse_payload((const char *)nh + sizeof(*nh), nh->rtnh_len - sizeof(*nh), put_attr, &a);
	r->dev = nl_dev(n, nh->rtnh_ifindex);
	return r->dev != UINT16_MAX && !a.of[RTA_ENCAP] && read_hop(&a, family, &r->via);
}

/*
 * The first member of a multipath route that leaves by one of our ports, one with a carrier if there is such.  False:
 * none does.
 */
static bool read_multipath(const struct nl *n, const struct nlattr *mp, int family, struct net_route *r)
{
	const char *p = mnl_attr_get_payload(mp), *end = p + mnl_attr_get_payload_len(mp);
	struct net_route member = *r;
	bool found = false;

	while ((size_t)(end - p) >= sizeof(struct rtnexthop)) {
		const struct rtnexthop *nh = (const void *)p;
		bool dark = nh->rtnh_flags & RTNH_F_LINKDOWN;

		if (nh->rtnh_len < sizeof(*nh) || nh->rtnh_len > end - p)
			break;
		if (!(nh->rtnh_flags & RTNH_F_DEAD) && !(dark && found) && read_member(n, nh, family, &member)) {
			*r = member;
			found = true;
			if (!dark)
				break;
		}
		p += RTNH_ALIGN(nh->rtnh_len) <= end - p ? RTNH_ALIGN(nh->rtnh_len) : end - p;
	}
	return found;
}

static bool wanted_route(const struct rtmsg *m, const struct attrs *a)
{
	uint32_t table = read_u32(a->of[RTA_TABLE], m->rtm_table);

	if (m->rtm_family != AF_INET && m->rtm_family != AF_INET6)
		return false;
	if (table != RT_TABLE_MAIN && table != RT_TABLE_DEFAULT)
		return false;
	if (m->rtm_type != RTN_UNICAST && m->rtm_type != RTN_BLACKHOLE && m->rtm_type != RTN_UNREACHABLE &&
	    m->rtm_type != RTN_PROHIBIT)
		return false;
	return !(m->rtm_flags & (RTM_F_CLONED | RTNH_F_DEAD)) && m->rtm_src_len == 0 && m->rtm_tos == 0;
}

static void parse_route(struct nl *n, const struct nlmsghdr *h)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	struct net_route *r;
	struct attrs a;
	bool ours;

	read_attrs(h, sizeof(*m), &a);
	if (!wanted_route(m, &a))
		return;
	r = nl_push(&n->fresh);
	if (!r)
		return;
	if (!read_addr(a.of[RTA_DST], m->rtm_family, &r->prefix) && m->rtm_family == AF_INET)
		r->prefix = addr_v4(0);
	r->plen = (uint8_t)(m->rtm_dst_len + (m->rtm_family == AF_INET ? 96 : 0));
	r->metric = read_u32(a.of[RTA_PRIORITY], 0);
	read_addr(a.of[RTA_PREFSRC], m->rtm_family, &r->src);
	if (m->rtm_type != RTN_UNICAST) {
		ours = false;
	} else if (a.of[RTA_MULTIPATH]) {
		ours = read_multipath(n, a.of[RTA_MULTIPATH], m->rtm_family, r);
	} else {
		r->dev = nl_dev(n, (int)read_u32(a.of[RTA_OIF], 0));
		ours = r->dev != UINT16_MAX && !a.of[RTA_ENCAP] && read_hop(&a, m->rtm_family, &r->via);
	}
	if (!ours) {
		r->flags = NET_ROUTE_UNREACHABLE | (m->rtm_type == RTN_UNICAST ? NL_ROUTE_FOREIGN : 0);
		r->dev = UINT16_MAX;
		memset(&r->via, 0, sizeof(r->via));
	}
}

static void parse_neigh(struct nl *n, const struct nlmsghdr *h)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);
	uint16_t dev = nl_dev(n, m->ndm_ifindex);
	struct nl_neigh *e;
	struct addr addr;
	struct attrs a;

	if ((m->ndm_family != AF_INET && m->ndm_family != AF_INET6) || dev == UINT16_MAX || (m->ndm_flags & NTF_PROXY))
		return;
	read_attrs(h, sizeof(*m), &a);
	if (!read_addr(a.of[NDA_DST], m->ndm_family, &addr))
		return;
	e = nl_push(&n->fresh);
	if (!e)
		return;
	e->n.addr = addr;
	e->n.dev = dev;
	e->state = m->ndm_state;
	if (a.of[NDA_LLADDR] && mnl_attr_get_payload_len(a.of[NDA_LLADDR]) == 6) {
		memcpy(e->n.mac, mnl_attr_get_payload(a.of[NDA_LLADDR]), 6);
		e->has_mac = true;
	}
}

void nl_parse(struct nl *n, const struct nlmsghdr *h)
{
	static const struct {
		uint16_t type;
		size_t head;
		void (*fn)(struct nl *n, const struct nlmsghdr *h);
	} of[NL_TABLES] = {
		[NL_LINK] = {RTM_NEWLINK, sizeof(struct ifinfomsg), parse_link},
		[NL_ADDR] = {RTM_NEWADDR, sizeof(struct ifaddrmsg), parse_addr},
		[NL_ROUTE] = {RTM_NEWROUTE, sizeof(struct rtmsg), parse_route},
		[NL_NEIGH] = {RTM_NEWNEIGH, sizeof(struct ndmsg), parse_neigh},
	};

	if (h->nlmsg_type == of[n->reading].type && mnl_nlmsg_get_payload_len(h) >= of[n->reading].head)
		of[n->reading].fn(n, h);
}
