/* SPDX-License-Identifier: MIT */

/*
 * What a large routing table costs: a network namespace of its own with so many routes (root), the mirror that reads
 * them and follows changes, and workers' lookups in what it makes of them.
 *
 *     mirror [--routes N] [--routes6 N] [--rate CHANGES-A-SECOND] [--seconds S]
 *
 * Exits with 1 when the mirror and the kernel differ in the end.
 */

#include <errno.h>
#include <getopt.h>
#include <linux/rtnetlink.h>
#include <malloc.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "nl.h"
#include "rtnl.h"

#define BATCH 200 /* requests that go to the kernel at once */

static struct nl nl;
static struct rtnl rtnl;
static unsigned n4 = 1000000, n6 = 200000, rate = 10000, seconds = 5;
static struct mnl_socket *sock;
static int ifindex;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static double now_s(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint64_t now_ms(void)
{
	return (uint64_t)(now_s(CLOCK_MONOTONIC) * 1000);
}

/* Prefix i: IPv4's /24s from 1.0.0.0 on, IPv6's /48s from 2a00:: on; four next hops of each family. */
static void prefix_of(bool v4, unsigned i, uint8_t p[16])
{
	memset(p, 0, 16);
	p[0] = v4 ? (uint8_t)(1 + (i >> 16)) : 0x2a;
	if (v4) {
		p[1] = (uint8_t)(i >> 8);
		p[2] = (uint8_t)i;
		return;
	}
	for (unsigned k = 0; k < 4; k++)
		p[2 + k] = (uint8_t)(i * 2654435761u >> (24 - 8 * k));
}

static void put_route(struct nlmsghdr *h, bool v4, unsigned i, bool add)
{
	struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
	uint8_t dst[16], via4[4] = {192, 0, 2, (uint8_t)(250 + i % 4)}, via6[16] = {0x20, 1, 0xd, 0xb8};

	prefix_of(v4, i, dst);
	via6[15] = (uint8_t)(250 + i % 4);
	h->nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (add ? NLM_F_CREATE : 0));
	m->rtm_family = v4 ? AF_INET : AF_INET6;
	m->rtm_dst_len = v4 ? 24 : 48;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_type = RTN_UNICAST;
	mnl_attr_put(h, RTA_DST, v4 ? 4 : 16, dst);
	mnl_attr_put(h, RTA_GATEWAY, v4 ? 4 : 16, v4 ? via4 : via6);
	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)ifindex);
}

static void change(bool v4, unsigned from, unsigned n, bool add)
{
	static char buf[BATCH * 256] __attribute__((aligned(8)));

	for (unsigned done = 0; done < n;) {
		size_t at = 0;

		for (unsigned k = 0; k < BATCH && done < n; k++, done++) {
			struct nlmsghdr *h = mnl_nlmsg_put_header(buf + at);

			put_route(h, v4, from + done, add);
			at += NLMSG_ALIGN(h->nlmsg_len);
		}
		if (mnl_socket_sendto(sock, buf, at) < 0)
			die("rtnetlink");
	}
}

static void look(void)
{
	for (unsigned i = 0; i < nl.n_ports; i++)
		nl.port[i] = (struct nl_port){.ifindex = ifindex, .mtu = 1500};
}

static double longest; /* of a turn, in s of this thread */

/* As control does it; the workers adopt at once. */
static void turn(void)
{
	double from = now_s(CLOCK_THREAD_CPUTIME_ID), took;

	nl_events(&nl, now_ms());
	nl_reap(&nl, nl.gen);
	while (nl_turn(&nl, now_ms()) == NL_GOT_LINKS)
		look();
	took = now_s(CLOCK_THREAD_CPUTIME_ID) - from;
	longest = took > longest ? took : longest;
}

static bool knows(unsigned i)
{
	struct addr dst = addr_v4((uint32_t)(1 + (i >> 16)) << 24 | (i & 0xffff) << 8 | 1);
	struct net_hop hop;

	return net_resolve(nl.tbl, &dst, NULL, &hop) == 0;
}

static void read_all(void)
{
	struct mallinfo2 before = mallinfo2(), after;
	double from = now_s(CLOCK_MONOTONIC);

	if (nl_open(&nl, &rtnl, 1, now_ms()))
		die("mirror");
	while (!nl.tbl) {
		nl_at_once(&nl);
		turn();
	}
	after = mallinfo2();
	printf("read: %u routes in %.2f s, of it %.2f s of CPU for reading; the longest turn %.2f ms\n",
	       nl.tbl->routes.n_route, now_s(CLOCK_MONOTONIC) - from, (double)nl.routes.stats.read_us / 1e6,
	       longest * 1e3);
	printf("memory: %.1f MB, %.1f bytes a route; of malloc %.1f MB\n", (double)nl.routes.fib.bytes / 1e6,
	       (double)nl.routes.fib.bytes / nl.tbl->routes.n_route,
	       (double)(after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / 1e6);
}

static void lookups(void)
{
	unsigned n = 2000000, found = 0, seed = 1;
	double from = now_s(CLOCK_THREAD_CPUTIME_ID);

	for (unsigned i = 0; i < n; i++)
		found += knows((seed = seed * 1664525u + 1013904223u) % n4);
	printf("lookups of random addresses: %.0f ns each, %u of %u found\n",
	       (now_s(CLOCK_THREAD_CPUTIME_ID) - from) / n * 1e9, found, n);
}

/* Routes go and come; each tenth of a second it is seen when a snapshot shows what has been done last. */
static void follow(void)
{
	double from = now_s(CLOCK_MONOTONIC), cpu = 0, lag = 0, asked = 0;
	uint64_t gens = nl.gen, told = nl.routes.stats.changes;
	unsigned sent = 0, probe = 0;
	bool want = false;

	longest = 0;
	while (now_s(CLOCK_MONOTONIC) - from < seconds) {
		double t = now_s(CLOCK_MONOTONIC), c;
		unsigned due = (unsigned)((t - from) * rate);

		if (due > sent) {
			change(true, (sent / 2) % n4, 1, sent % 2);
			sent++;
			if (!asked) {
				probe = ((sent - 1) / 2) % n4;
				want = (sent - 1) % 2;
				asked = now_s(CLOCK_MONOTONIC);
			}
			if (due > sent)
				continue;
		}
		/* A loop that serves others in between: a turn each half a millisecond. */
		usleep(500);
		c = now_s(CLOCK_THREAD_CPUTIME_ID);
		turn();
		cpu += now_s(CLOCK_THREAD_CPUTIME_ID) - c;
		/* What was taken out may be back again by now. */
		if (asked && (knows(probe) == want || want == false)) {
			double l = now_s(CLOCK_MONOTONIC) - asked;

			lag = want && l > lag ? l : lag;
			asked = 0;
		}
	}
	printf("followed: %u changes in %u s (%llu told), %llu snapshots, %.1f %% of a CPU, the longest turn %.2f ms, "
	       "the "
	       "longest lag %.1f ms; overran %s\n",
	       sent, seconds, (unsigned long long)(nl.routes.stats.changes - told), (unsigned long long)(nl.gen - gens),
	       cpu * 100 / seconds, longest * 1e3, lag * 1e3, nl.routes.stats.reads > 1 ? "or looked" : "never");
	if (sent % 2)
		change(true, (sent / 2) % n4, 1, true);
}

/* What a reading finds to mend is what the messages have not told. */
static bool same(void)
{
	uint64_t reads, mended;

	for (uint64_t end = now_ms() + 300; now_ms() < end;)
		turn();
	reads = nl.routes.stats.reads;
	mended = nl.routes.stats.mended;
	longest = 0;
	nl.routes.dirty = true;
	nl.routes.after = 0;
	while (nl.routes.stats.reads == reads)
		turn();
	printf("read again: %llu routes to mend, %.2f s of CPU, the longest turn %.2f ms\n",
	       (unsigned long long)(nl.routes.stats.mended - mended), (double)nl.routes.stats.read_us / 1e6,
	       longest * 1e3);
	return nl.routes.stats.mended == mended;
}

static void options(int argc, char **argv)
{
	static const struct option of[] = {{"routes", 1, NULL, '4'},
					   {"routes6", 1, NULL, '6'},
					   {"rate", 1, NULL, 'r'},
					   {"seconds", 1, NULL, 's'},
					   {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", of, NULL)) >= 0) {
		unsigned *to = c == '4' ? &n4 : c == '6' ? &n6 : c == 'r' ? &rate : &seconds;

		if (c == '?')
			exit(2);
		*to = (unsigned)strtoul(optarg, NULL, 10);
	}
	if (n4 == 0 || optind < argc) {
		fprintf(stderr, "usage: mirror [--routes N] [--routes6 N] [--rate N] [--seconds N]\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	double from;
	bool ok;

	options(argc, argv);
	if (unshare(CLONE_NEWNET))
		die("a network namespace");
	if (system("ip link add ve0 type veth peer name ve1 && ip link set ve0 up && ip link set ve1 up &&"
		   "ip addr add 192.0.2.1/24 dev ve0 && ip addr add 2001:db8::1/64 dev ve0 nodad &&"
		   "sysctl -qw net.ipv6.route.max_size=2147483647"))
		die("ip");
	ifindex = (int)if_nametoindex("ve0");
	sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!sock || mnl_socket_bind(sock, 0, MNL_SOCKET_AUTOPID) || rtnl_open(&rtnl))
		die("rtnetlink");
	from = now_s(CLOCK_MONOTONIC);
	change(true, 0, n4, true);
	change(false, 0, n6, true);
	printf("the kernel took %u and %u routes in %.1f s\n", n4, n6, now_s(CLOCK_MONOTONIC) - from);
	read_all();
	lookups();
	follow();
	ok = same();
	nl_close(&nl);
	rtnl_close(&rtnl);
	mnl_socket_close(sock);
	return ok ? 0 : 1;
}
