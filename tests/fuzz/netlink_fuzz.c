/* SPDX-License-Identifier: MIT */

/*
 * Netlink messages about links, addresses, neighbours, rules and routes, and the tables that are made of them.
 * Attributes lie in memory that ends where the message ends.
 *
 *	messages: kind(1) flags(1) length(2) the bytes behind the header
 */

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <libmnl/libmnl.h>

#include "fuzz.h"
#include "nl.h"
#include "nl_route.h"

#define MESSAGES 100

static const struct {
	uint16_t type;
	int table; /* enum nl_table, -1: routes */
	size_t head;
} kinds[] = {
	{RTM_NEWLINK, NL_LINK, sizeof(struct ifinfomsg)}, {RTM_NEWADDR, NL_ADDR, sizeof(struct ifaddrmsg)},
	{RTM_NEWNEIGH, NL_NEIGH, sizeof(struct ndmsg)},	  {RTM_NEWRULE, NL_RULE, sizeof(struct fib_rule_hdr)},
	{RTM_NEWROUTE, -1, sizeof(struct rtmsg)},	  {RTM_DELROUTE, -1, sizeof(struct rtmsg)},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const size_t entry[NL_TABLES] = {sizeof(struct nl_link), sizeof(struct nl_addr), sizeof(struct nl_neigh),
					sizeof(struct nl_rule)};

static void message(struct nl *n, struct fuzz_in *in)
{
	unsigned kind = fuzz_u8(in) % KINDS, flags = fuzz_u8(in);
	struct fuzz_in b = fuzz_bytes(in, fuzz_u16(in));
	size_t len = NLMSG_HDRLEN + b.n;
	struct nlmsghdr *h = calloc(1, NLMSG_ALIGN(len)); /* libmnl looks for attributes up to there */

	if (b.n)
		memcpy((char *)h + NLMSG_HDRLEN, b.p, b.n);
	h->nlmsg_len = (uint32_t)len;
	h->nlmsg_type = kinds[kind].type;
	h->nlmsg_flags = (uint16_t)((flags & 1 ? NLM_F_REPLACE : 0) | (flags & 2 ? NLM_F_APPEND : 0));
	if (kinds[kind].table < 0) {
		nl_routes_event(n, h);
	} else {
		n->reading = kinds[kind].table;
		n->fresh = n->table[n->reading];
		nl_parse(n, h);
		n->table[kinds[kind].table] = n->fresh;
	}
	if (kinds[kind].table == NL_NEIGH && b.n >= kinds[kind].head)
		nl_use_waits(n, h);
	free(h);
}

static void look(struct nl *n)
{
	struct addr dst = addr_v4(0x08080808);
	struct net_hop hop;
	char text[NL_RULE_TEXT];

	nl_use_sort(&n->table[NL_NEIGH]);
	for (unsigned i = 0; i < n->table[NL_RULE].n; i++)
		fuzz_must(strlen(nl_rule_text((struct nl_rule *)n->table[NL_RULE].v + i, text)) < NL_RULE_TEXT);
	fuzz_must(nl_publish(n) == 0 && n->tbl);
	if (net_resolve(n->tbl, &dst, NULL, &hop) == 0)
		fuzz_must(hop.dev < NET_DEV_MAX);
	memset(&dst, 0x20, sizeof(dst));
	if (net_resolve(n->tbl, &dst, NULL, &hop) == 0)
		fuzz_must(hop.dev < NET_DEV_MAX);
	nl_routes_gateways(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = {p, n};
	struct nl *nl = calloc(1, sizeof(*nl));

	for (unsigned i = 0; i < NL_TABLES; i++)
		nl->table[i].size = entry[i];
	nl->reading = -1;
	nl->now = 1000;
	nl->n_ports = 2;
	nl->port[0] = (struct nl_port){.ifindex = 2, .mtu = 1500};
	nl->port[1] = (struct nl_port){.ifindex = 3, .mtu = 1500, .exclusive = true};
	for (unsigned i = 0; in.n && i < MESSAGES; i++)
		message(nl, &in);
	look(nl);
	nl_forget(nl);
	nl_routes_close(&nl->routes);
	for (unsigned i = 0; i < NL_TABLES; i++)
		free(nl->table[i].v);
	free(nl);
	return 0;
}
