/* SPDX-License-Identifier: MIT */

/* Rules of policy routing: not followed, but told. */

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "nl.h"
#include "nl_attr.h"

#define RULE_BUF 32768

/* What every kernel has from its start on. */
static bool is_usual(const struct nl_rule *r)
{
	if (r->src_plen || r->dst_plen || r->other || r->l3mdev || r->action != FR_ACT_TO_TBL)
		return false;
	return (r->prio == 0 && r->table == RT_TABLE_LOCAL) || (r->prio == 32766 && r->table == RT_TABLE_MAIN) ||
	       (r->prio == 32767 && r->table == RT_TABLE_DEFAULT);
}

bool nl_rule_read(const struct nlmsghdr *h, struct nl_rule *r)
{
	static const uint8_t selects[] = {FRA_IIFNAME,	 FRA_OIFNAME,  FRA_FWMARK,	FRA_FLOW,	FRA_TUN_ID,
					  FRA_UID_RANGE, FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE};
	const struct fib_rule_hdr *m = mnl_nlmsg_get_payload(h);
	struct nl_attrs a;

	memset(r, 0, sizeof(*r));
	if (mnl_nlmsg_get_payload_len(h) < sizeof(*m) || (m->family != AF_INET && m->family != AF_INET6))
		return false;
	nl_attrs_read(h, sizeof(*m), &a);
	r->family = m->family;
	r->src_plen = m->src_len;
	r->dst_plen = m->dst_len;
	r->action = m->action;
	r->other = m->tos || m->flags & FIB_RULE_INVERT;
	for (unsigned i = 0; i < sizeof(selects); i++)
		r->other |= a.of[selects[i]] != NULL;
	r->l3mdev = a.of[FRA_L3MDEV] && mnl_attr_get_payload_len(a.of[FRA_L3MDEV]) && mnl_attr_get_u8(a.of[FRA_L3MDEV]);
	r->prio = nl_attr_u32(a.of[FRA_PRIORITY], 0);
	r->table = nl_attr_u32(a.of[FRA_TABLE], m->table);
	nl_attr_addr(a.of[FRA_SRC], m->family, &r->src);
	nl_attr_addr(a.of[FRA_DST], m->family, &r->dst);
	return !is_usual(r);
}

const char *nl_rule_text(const struct nl_rule *r, char buf[NL_RULE_TEXT])
{
	char src[ADDR_STRLEN] = "all", dst[ADDR_STRLEN], lookup[32];
	int n;

	if (r->src_plen)
		addr_str(&r->src, src);
	n = snprintf(buf, NL_RULE_TEXT, "%u: from %s", r->prio, src);
	if (r->src_plen && r->src_plen < (r->family == AF_INET ? 32 : 128))
		n += snprintf(buf + n, NL_RULE_TEXT - (size_t)n, "/%u", r->src_plen);
	if (r->dst_plen)
		n += snprintf(buf + n, NL_RULE_TEXT - (size_t)n, " to %s/%u", addr_str(&r->dst, dst), r->dst_plen);
	snprintf(lookup, sizeof(lookup), "lookup %u", r->table);
	snprintf(buf + n, NL_RULE_TEXT - (size_t)n, "%s %s", r->other ? " ..." : "",
		 r->l3mdev			 ? "lookup [l3mdev-table]"
		 : r->action == FR_ACT_TO_TBL	 ? lookup
		 : r->action == FR_ACT_GOTO	 ? "goto"
		 : r->action == FR_ACT_NOP	 ? "nop"
		 : r->action == FR_ACT_BLACKHOLE ? "blackhole"
		 : r->action == FR_ACT_PROHIBIT	 ? "prohibit"
						 : "unreachable");
	return buf;
}

struct listing {
	int n;
	char *first;
};

static int on_rule(const struct nlmsghdr *h, void *data)
{
	struct listing *l = data;
	struct nl_rule r;

	if (h->nlmsg_type == RTM_NEWRULE && nl_rule_read(h, &r) && l->n++ == 0)
		nl_rule_text(&r, l->first);
	return MNL_CB_OK;
}

int nl_rules_now(char first[NL_RULE_TEXT])
{
	char buf[RULE_BUF] __attribute__((aligned(8)));
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct listing l = {.first = first};
	ssize_t n = -1;
	int rc = 1;

	h->nlmsg_type = RTM_GETRULE;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = 1;
	mnl_nlmsg_put_extra_header(h, sizeof(struct fib_rule_hdr));
	first[0] = 0;
	if (s && mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) == 0 && mnl_socket_sendto(s, h, h->nlmsg_len) >= 0)
		while (rc > MNL_CB_STOP && (n = mnl_socket_recvfrom(s, buf, sizeof(buf))) > 0)
			rc = mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(s), on_rule, &l);
	rc = n < 0 || rc < 0 ? -errno : l.n;
	if (s)
		mnl_socket_close(s);
	return rc;
}
