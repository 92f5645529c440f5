/* SPDX-License-Identifier: MIT */
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "nl.h"
#include "nl_attr.h"

#define VEC_FIRST 16u

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

int nl_attr_put(const struct nlattr *a, void *data)
{
	struct nl_attrs *v = data;
	unsigned type = mnl_attr_get_type(a);

	if (type < NL_ATTRS)
		v->of[type] = a;
	return MNL_CB_OK;
}

void nl_attrs_read(const struct nlmsghdr *h, size_t head, struct nl_attrs *v)
{
	memset(v, 0, sizeof(*v));
	mnl_attr_parse(h, (unsigned)head, nl_attr_put, v);
}

bool nl_attr_addr(const struct nlattr *a, int family, struct addr *out)
{
	size_t n = family == AF_INET ? 4 : 16;

	if (!a || mnl_attr_get_payload_len(a) != n)
		return false;
	if (family == AF_INET)
		*out = addr_v4(0);
	memcpy(out->b + 16 - n, mnl_attr_get_payload(a), n);
	return true;
}

uint32_t nl_attr_u32(const struct nlattr *a, uint32_t none)
{
	return a && mnl_attr_get_payload_len(a) >= 4 ? mnl_attr_get_u32(a) : none;
}

/* Whether IPv6's settings of a link (IFLA_AF_SPEC) prefer temporary addresses. */
static bool wants_temporary(const struct nlattr *spec)
{
	const struct nlattr *family, *of;
	const uint32_t *conf;

	if (!spec)
		return false;
	mnl_attr_for_each_nested(family, spec)
	{
		if (mnl_attr_get_type(family) != AF_INET6)
			continue;
		mnl_attr_for_each_nested(of, family)
		{
			conf = mnl_attr_get_payload(of);
			if (mnl_attr_get_type(of) == IFLA_INET6_CONF &&
			    mnl_attr_get_payload_len(of) >= (DEVCONF_USE_TEMPADDR + 1) * sizeof(*conf))
				return (int32_t)conf[DEVCONF_USE_TEMPADDR] >= 2;
		}
	}
	return false;
}

static bool is_vrf(const struct nlattr *info)
{
	const struct nlattr *of;

	if (!info)
		return false;
	mnl_attr_for_each_nested(of, info) if (mnl_attr_get_type(of) == IFLA_INFO_KIND) return strncmp(
		mnl_attr_get_str(of), "vrf", mnl_attr_get_payload_len(of)) == 0;
	return false;
}

/* A name's end need not be in its attribute.  `to` is zeros. */
static void put_name(char to[IF_NAMESIZE], const struct nlattr *a)
{
	size_t len = mnl_attr_get_payload_len(a);

	strncpy(to, mnl_attr_get_str(a), len < IF_NAMESIZE ? len : IF_NAMESIZE - 1);
}

static void parse_link(struct nl *n, const struct nlmsghdr *h)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	struct nl_link *l;
	struct nl_attrs a;

	if (m->ifi_family != AF_UNSPEC)
		return;
	nl_attrs_read(h, sizeof(*m), &a);
	l = a.of[IFLA_IFNAME] ? nl_push(&n->fresh) : NULL;
	if (!l)
		return;
	l->index = m->ifi_index;
	l->flags = m->ifi_flags;
	l->mtu = nl_attr_u32(a.of[IFLA_MTU], 0);
	l->master = (int)nl_attr_u32(a.of[IFLA_MASTER], 0);
	l->vrf = is_vrf(a.of[IFLA_LINKINFO]);
	l->temporary = wants_temporary(a.of[IFLA_AF_SPEC]);
	put_name(l->name, a.of[IFLA_IFNAME]);
	if (a.of[IFLA_ADDRESS] && mnl_attr_get_payload_len(a.of[IFLA_ADDRESS]) == 6)
		memcpy(l->mac, mnl_attr_get_payload(a.of[IFLA_ADDRESS]), 6);
}

static void parse_addr(struct nl *n, const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	struct nl_addr *e;
	struct addr addr;
	uint32_t flags;
	struct nl_attrs a;

	if (m->ifa_family != AF_INET && m->ifa_family != AF_INET6)
		return;
	nl_attrs_read(h, sizeof(*m), &a);
	flags = nl_attr_u32(a.of[IFA_FLAGS], m->ifa_flags);
	/* An IPv6 address that is being checked for duplicates, or is one, must not be used. */
	if ((flags & IFA_F_DADFAILED) || (flags & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC)) == IFA_F_TENTATIVE)
		return;
	if (!nl_attr_addr(a.of[IFA_LOCAL], m->ifa_family, &addr) &&
	    !nl_attr_addr(a.of[IFA_ADDRESS], m->ifa_family, &addr))
		return;
	e = nl_push(&n->fresh);
	if (!e)
		return;
	e->index = (int)m->ifa_index;
	e->global = m->ifa_scope == RT_SCOPE_UNIVERSE;
	e->local.scope = m->ifa_family == AF_INET ? m->ifa_scope : 0;
	e->local.order = n->fresh.n;
	if (m->ifa_family == AF_INET)
		e->local.flags = flags & IFA_F_SECONDARY ? NET_LOCAL_SECONDARY : 0;
	else
		e->local.flags = (uint8_t)((flags & IFA_F_TEMPORARY ? NET_LOCAL_TEMPORARY : 0) |
					   (flags & IFA_F_DEPRECATED ? NET_LOCAL_DEPRECATED : 0));
	e->local.addr = addr;
	e->local.plen = (uint8_t)(m->ifa_prefixlen + (m->ifa_family == AF_INET ? 96 : 0));
}

static void parse_neigh(struct nl *n, const struct nlmsghdr *h)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);
	uint16_t dev = nl_dev(n, m->ndm_ifindex);
	struct nl_neigh *e;
	struct addr addr;
	struct nl_attrs a;

	if ((m->ndm_family != AF_INET && m->ndm_family != AF_INET6) || dev == UINT16_MAX || (m->ndm_flags & NTF_PROXY))
		return;
	nl_attrs_read(h, sizeof(*m), &a);
	if (!nl_attr_addr(a.of[NDA_DST], m->ndm_family, &addr))
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

static void parse_rule(struct nl *n, const struct nlmsghdr *h)
{
	struct nl_rule r, *e;

	e = nl_rule_read(h, &r) ? nl_push(&n->fresh) : NULL;
	if (e)
		*e = r;
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
		[NL_NEIGH] = {RTM_NEWNEIGH, sizeof(struct ndmsg), parse_neigh},
		[NL_RULE] = {RTM_NEWRULE, sizeof(struct fib_rule_hdr), parse_rule},
	};

	if (h->nlmsg_type == of[n->reading].type && mnl_nlmsg_get_payload_len(h) >= of[n->reading].head)
		of[n->reading].fn(n, h);
}
