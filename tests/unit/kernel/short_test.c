/* SPDX-License-Identifier: MIT */

/* Messages that end before what is read of them: nothing behind their end is looked at. */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <criterion/criterion.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/rtnetlink.h>

#include "nl.h"
#include "nl_told.h"

#define PAGE 4096

/* A message of n bytes behind its header, which is followed by no memory but what aligns the next one. */
static struct nlmsghdr *message(uint16_t type, const void *body, size_t n)
{
	uint8_t *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct nlmsghdr *h;

	cr_assert_neq((void *)p, MAP_FAILED);
	cr_assert_eq(mprotect(p + PAGE, PAGE, PROT_NONE), 0);
	h = (struct nlmsghdr *)(p + PAGE - NLMSG_HDRLEN - NLMSG_ALIGN(n));
	*h = (struct nlmsghdr){.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + n), .nlmsg_type = type};
	memcpy((char *)h + NLMSG_HDRLEN, body, n);
	return h;
}

Test(short_messages, route)
{
	struct {
		struct rtmsg m;
		struct nlattr a;
		uint8_t dst[4];
	} whole = {{.rtm_family = AF_INET, .rtm_dst_len = 24, .rtm_table = RT_TABLE_MAIN, .rtm_type = RTN_UNICAST},
		   {.nla_len = 8, .nla_type = RTA_DST},
		   {10, 1, 2, 0}};
	struct addr want = addr_v4(0x0a010200);
	struct nl_told t;

	for (size_t n = 0; n < sizeof(whole.m); n += 4)
		cr_expect_not(nl_told_read(message(RTM_NEWROUTE, &whole, n), &t), "%zu bytes", n);
	cr_assert(nl_told_read(message(RTM_NEWROUTE, &whole, sizeof(whole)), &t));
	cr_expect(addr_eq(&t.prefix, &want));
	cr_expect_eq(t.plen, 96 + 24);
}

/* A link's number that no link has must not pass for a port's (NET_LINK_OF). */
Test(short_messages, link_below_zero)
{
	struct {
		struct rtmsg m;
		struct nlattr a;
		int32_t link;
	} b = {{.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_type = RTN_UNICAST},
	       {.nla_len = 8, .nla_type = RTA_OIF},
	       NET_LINK_OF(254)};
	struct nl_told t;

	cr_assert(nl_told_read(message(RTM_NEWROUTE, &b, sizeof(b)), &t));
	cr_assert_eq(t.way.n_member, 1);
	cr_expect_eq(t.way.member[0].link, 0, "link %d", t.way.member[0].link);
	b.link = 7;
	cr_assert(nl_told_read(message(RTM_NEWROUTE, &b, sizeof(b)), &t));
	cr_expect_eq(t.way.member[0].link, 7);
}

static struct nl n;

/* One link of this name; the mirror's entry. */
static struct nl_link *link_of(const struct nlmsghdr *h)
{
	n = (struct nl){.reading = NL_LINK, .fresh = {.size = sizeof(struct nl_link)}};
	nl_parse(&n, h);
	cr_assert_eq(n.fresh.n, 1);
	return n.fresh.v;
}

Test(short_messages, name_without_an_end)
{
	struct {
		struct ifinfomsg m;
		struct nlattr a;
		char name[20];
	} b = {{.ifi_index = 7}, {.nla_len = 4 + 20, .nla_type = IFLA_IFNAME}, "eth0"};

	b.a.nla_len = 4 + 4; /* "eth0", and there it ends */
	cr_expect_str_eq(link_of(message(RTM_NEWLINK, &b, sizeof(b.m) + 8))->name, "eth0");
	free(n.fresh.v);
	b.a.nla_len = 4 + 20;
	memset(b.name, 'x', sizeof(b.name));
	cr_expect_str_eq(link_of(message(RTM_NEWLINK, &b, sizeof(b)))->name, "xxxxxxxxxxxxxxx");
	free(n.fresh.v);
}

/* IFLA_AF_SPEC { AF_INET6 { IFLA_INET6_CONF: `bytes` of them } }, all of the value `v`. */
static bool temporary(int32_t v, unsigned bytes)
{
	struct {
		struct ifinfomsg m;
		struct nlattr name;
		char eth0[4];
		struct nlattr spec, family, conf;
		int32_t value[DEVCONF_USE_TEMPADDR + 1];
	} b = {.name = {.nla_len = 8, .nla_type = IFLA_IFNAME}, .eth0 = "eth"};
	size_t n_all = offsetof(__typeof__(b), value) + bytes;
	bool wants;

	b.spec = (struct nlattr){.nla_len = (uint16_t)(12 + bytes), .nla_type = IFLA_AF_SPEC};
	b.family = (struct nlattr){.nla_len = (uint16_t)(8 + bytes), .nla_type = AF_INET6};
	b.conf = (struct nlattr){.nla_len = (uint16_t)(4 + bytes), .nla_type = IFLA_INET6_CONF};
	for (unsigned i = 0; i <= DEVCONF_USE_TEMPADDR; i++)
		b.value[i] = v;
	wants = link_of(message(RTM_NEWLINK, &b, n_all))->temporary;
	free(n.fresh.v);
	return wants;
}

Test(short_messages, settings_cut_off)
{
	const unsigned whole = 4 * (DEVCONF_USE_TEMPADDR + 1);

	cr_expect(temporary(2, whole));
	cr_expect_not(temporary(1, whole));
	for (unsigned bytes = whole - 4; bytes < whole; bytes++)
		cr_expect_not(temporary(2, bytes), "%u bytes", bytes);
}
