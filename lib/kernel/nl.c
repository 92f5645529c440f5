/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <libmnl/libmnl.h>

#include "nl.h"

#define NL_COALESCE_MS 3
#define NL_COST_FACTOR 10 /* at most a tenth of the time goes into reading tables */
#define NL_RETRY_MS    100
#define NL_TURN_BUFS   4 /* buffers read in one turn */
#define NL_BUF	       32768
#define NL_RCVBUF      (8 << 20) /* of messages that wait: a router's table that is changed at once */
#define NL_EVENTS      64	 /* messages got at once; each is at most NL_EVENT long, or is not looked into */
#define NL_EVENT       4096
#define NL_EVENT_GETS  4
#define NL_GAP_MS      10 /* between snapshots, at least */
#define NL_QUIET_MS    50 /* and, where they cost much, at most */
#define NL_OLD_MAX     8  /* replaced snapshots that workers have not left yet: no new ones beyond that */

static const struct {
	uint16_t type;
	size_t head, entry;
} tables[NL_TABLES] = {
	[NL_LINK] = {RTM_GETLINK, sizeof(struct ifinfomsg), sizeof(struct nl_link)},
	[NL_ADDR] = {RTM_GETADDR, sizeof(struct ifaddrmsg), sizeof(struct nl_addr)},
	[NL_NEIGH] = {RTM_GETNEIGH, sizeof(struct ndmsg), sizeof(struct nl_neigh)},
	[NL_RULE] = {RTM_GETRULE, sizeof(struct fib_rule_hdr), sizeof(struct nl_rule)},
};

uint64_t nl_cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static unsigned dirt(uint16_t type)
{
	switch (type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return 1u << NL_LINK | 1u << NL_ADDR | 1u << NL_NEIGH;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return 1u << NL_ADDR;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return 1u << NL_NEIGH;
	case RTM_NEWRULE:
	case RTM_DELRULE:
		return 1u << NL_RULE;
	}
	return 0;
}

void nl_touch(struct nl *n)
{
	if (!n->changed && n->make_at < n->now + NL_COALESCE_MS)
		n->make_at = n->now + NL_COALESCE_MS;
	n->changed = true;
}

static void soil(struct nl *n, unsigned bits)
{
	if (n->dirty == 0 && n->after < n->now + NL_COALESCE_MS)
		n->after = n->now + NL_COALESCE_MS;
	n->dirty |= bits;
}

void nl_again(struct nl *n)
{
	soil(n, (1u << NL_TABLES) - 1);
}

void nl_at_once(struct nl *n)
{
	n->after = n->make_at = n->routes.after = 0;
}

int nl_fd(const struct nl *n)
{
	return mnl_socket_get_fd(n->events);
}

/* A link that went down, or an address that went, takes IPv4 routes with it, and nobody tells. */
static void suspect(struct nl *n, const struct nlmsghdr *h, size_t len)
{
	const struct ifinfomsg *link = mnl_nlmsg_get_payload(h);
	const struct ifaddrmsg *addr = mnl_nlmsg_get_payload(h);
	const struct nl_link *was;

	if (len < sizeof(*h) + sizeof(*link))
		return;
	switch (h->nlmsg_type) {
	case RTM_DELLINK:
		nl_routes_suspect(n, link->ifi_index);
		break;
	case RTM_NEWLINK:
		was = nl_link_at(n, link->ifi_index);
		if (was && (was->flags ^ link->ifi_flags) & IFF_UP)
			nl_routes_suspect(n, link->ifi_index);
		break;
	case RTM_DELADDR:
		nl_routes_suspect(n, (int)addr->ifa_index);
		break;
	}
}

static void lost(struct nl *n)
{
	soil(n, (1u << NL_TABLES) - 1);
	nl_routes_lost(n);
}

/* One message, or as much of it as fits. */
static void event(struct nl *n, const struct nlmsghdr *h, size_t len)
{
	bool whole = h->nlmsg_len <= len;

	soil(n, dirt(h->nlmsg_type));
	switch (h->nlmsg_type) {
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		if (whole)
			nl_routes_event(n, h);
		else
			nl_routes_lost(n);
		break;
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		n->routes.dirty = true;
		break;
	case RTM_NEWNEIGH:
		/* The first datagram of a session may lie there until then. */
		if (whole && h->nlmsg_len >= sizeof(*h) + sizeof(struct ndmsg) && nl_use_waits(n, h))
			n->after = n->make_at = n->now;
		break;
	default:
		suspect(n, h, len);
	}
}

static void events(struct nl *n, const uint8_t *p, size_t len)
{
	while (len >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *h = (const void *)p;
		size_t step = NLMSG_ALIGN(h->nlmsg_len);

		if (h->nlmsg_len < sizeof(*h))
			return;
		event(n, h, len);
		if (step >= len)
			return;
		p += step;
		len -= step;
	}
}

void nl_events(struct nl *n, uint64_t now)
{
	struct mmsghdr m[NL_EVENTS];
	struct iovec iov[NL_EVENTS];

	n->now = now;
	for (unsigned i = 0; i < NL_EVENTS; i++) {
		iov[i] = (struct iovec){.iov_base = n->room + i * NL_EVENT, .iov_len = NL_EVENT};
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
	}
	for (unsigned i = 0; i < NL_EVENT_GETS; i++) {
		int got = recvmmsg(nl_fd(n), m, NL_EVENTS, MSG_DONTWAIT, NULL);

		if (got < 0 && errno == ENOBUFS) {
			lost(n);
			continue;
		}
		if (got <= 0)
			return;
		nl_routes_before_events(n);
		for (int k = 0; k < got; k++)
			events(n, iov[k].iov_base, m[k].msg_len);
		if (got < NL_EVENTS)
			return;
	}
}

static int ask_dump(struct nl *n, int table)
{
	char buf[128] __attribute__((aligned(8)));
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

	mnl_nlmsg_put_extra_header(h, tables[table].head); /* zeroed: AF_UNSPEC, all */
	h->nlmsg_type = tables[table].type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = ++n->seq;
	return mnl_socket_sendto(n->dump, h, h->nlmsg_len) < 0 ? -errno : 0;
}

/* Begins to read the first table that is dirty. */
static void read_next(struct nl *n)
{
	for (int t = 0; t < NL_TABLES; t++) {
		if (!(n->dirty & 1u << t))
			continue;
		n->dirty &= ~(1u << t);
		if (ask_dump(n, t)) {
			n->dirty |= 1u << t;
			n->after = n->now + NL_RETRY_MS;
			return;
		}
		n->reading = t;
		n->broken = false;
		n->fresh = (struct nl_vec){.size = tables[t].entry};
		return;
	}
}

const struct nl_link *nl_link_at(const struct nl *n, int index)
{
	const struct nl_link *v = n->table[NL_LINK].v;

	for (unsigned i = 0; index > 0 && i < n->table[NL_LINK].n; i++)
		if (v[i].index == index)
			return &v[i];
	return NULL;
}

const struct nl_link *nl_link_named(const struct nl *n, const char *name)
{
	const struct nl_link *v = n->table[NL_LINK].v;

	for (unsigned i = 0; i < n->table[NL_LINK].n; i++)
		if (strcmp(v[i].name, name) == 0)
			return &v[i];
	return NULL;
}

static bool differ(const struct nl_vec *a, const struct nl_vec *b)
{
	return a->n != b->n || (a->n && memcmp(a->v, b->v, a->n * b->size) != 0);
}

/* The end of a table's reading, well or not.  True: links are new. */
static bool read_end(struct nl *n)
{
	bool taken = !n->broken && !n->fresh.short_of_memory;
	int t = n->reading;

	n->reading = -1;
	if (!taken) {
		n->dirty |= 1u << t;
		n->after = n->now + (n->fresh.short_of_memory ? NL_RETRY_MS : NL_COALESCE_MS);
		free(n->fresh.v);
	} else {
		if (t == NL_RULE)
			n->rules_gen += differ(&n->table[t], &n->fresh);
		free(n->table[t].v);
		n->table[t] = n->fresh;
		nl_touch(n);
		if (t == NL_NEIGH)
			nl_use_sort(&n->table[t]);
	}
	memset(&n->fresh, 0, sizeof(n->fresh));
	return taken && t == NL_LINK;
}

/* One buffer of the answer; false when there is none to be had, or when *links are new. */
static bool read_some(struct nl *n, bool *links)
{
	char buf[NL_BUF] __attribute__((aligned(8)));
	ssize_t len = recv(mnl_socket_get_fd(n->dump), buf, sizeof(buf), MSG_DONTWAIT);
	int left = (int)len;

	if (len < 0 && errno == EINTR)
		return true;
	if (len <= 0) {
		n->broken = true;
		read_end(n);
		return false;
	}
	for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
		if (h->nlmsg_seq != n->seq)
			continue;
		if (h->nlmsg_flags & NLM_F_DUMP_INTR)
			n->broken = true;
		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
			n->broken |= h->nlmsg_type == NLMSG_ERROR;
			*links = read_end(n);
			return !*links;
		}
		nl_parse(n, h);
	}
	return true;
}

/*
 * A snapshot, where there is something new and all tables have been read once.  Then it is quiet for a while that grows
 * with what it cost.
 */
static enum nl_got make(struct nl *n)
{
	uint64_t from, gen = n->gen, quiet;

	if (!n->changed || n->dirty || n->reading >= 0 || !n->routes.read)
		return NL_GOT_NONE;
	if (n->now < n->make_at || n->n_old >= NL_OLD_MAX)
		return NL_GOT_NONE;
	from = nl_cpu_us();
	if (nl_publish(n)) {
		n->make_at = n->now + NL_RETRY_MS;
		return NL_GOT_NONE;
	}
	n->changed = false;
	quiet = (nl_cpu_us() - from) * NL_COST_FACTOR / 1000;
	quiet = quiet < NL_QUIET_MS ? quiet : NL_QUIET_MS;
	if (n->gen != gen && quiet < NL_GAP_MS)
		quiet = NL_GAP_MS;
	n->make_at = n->now + quiet;
	nl_use_turn(n);
	return NL_GOT_SNAPSHOT;
}

/* All that was dirty has been read: for a while that grows with what it cost nothing is. */
static void rest(struct nl *n)
{
	uint64_t now = nl_cpu_us(), quiet = (n->cost_us + now - n->from_us) * NL_COST_FACTOR / 1000;

	n->cost_us = 0;
	n->from_us = now;
	n->after = n->now + (quiet > NL_COALESCE_MS ? quiet : NL_COALESCE_MS);
}

/* Reads as far as there is something to be had, a few buffers at most; true when links are new. */
static bool read_on(struct nl *n)
{
	bool links = false;

	for (unsigned i = 0; i < NL_TURN_BUFS; i++) {
		if (n->reading < 0) {
			if (!n->dirty || n->now < n->after)
				return false;
			read_next(n);
			continue;
		}
		if (!read_some(n, &links))
			return links;
		if (n->reading < 0 && !n->dirty)
			rest(n);
	}
	return false;
}

enum nl_got nl_turn(struct nl *n, uint64_t now)
{
	bool links = false;

	n->now = now;
	if (now >= n->use_at)
		nl_use_turn(n);
	nl_free_some(n);
	nl_routes_turn(n);
	if (n->reading >= 0 || (n->dirty && now >= n->after)) {
		n->from_us = nl_cpu_us();
		links = read_on(n);
		n->cost_us += nl_cpu_us() - n->from_us;
	}
	return links ? NL_GOT_LINKS : make(n);
}

uint64_t nl_next(const struct nl *n, uint64_t now)
{
	uint64_t next = n->use_at, soon = now + NL_COALESCE_MS;

	nl_routes_next(n, &next);
	if (n->waste.n)
		next = 0;
	if (n->n_old && soon < next)
		next = soon;
	if ((n->dirty || n->reading >= 0) && n->after < next)
		next = n->after;
	if (n->changed && n->routes.read && !n->dirty && n->reading < 0 && n->n_old < NL_OLD_MAX && n->make_at < next)
		next = n->make_at;
	return next;
}

static int open_events(struct nl *n)
{
	static const unsigned groups[] = {RTNLGRP_LINK,	      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
					  RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_NEIGH,
					  RTNLGRP_IPV4_RULE,  RTNLGRP_IPV6_RULE,   RTNLGRP_NEXTHOP};
	int size = NL_RCVBUF;

	n->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (!n->events || mnl_socket_bind(n->events, 0, MNL_SOCKET_AUTOPID))
		return -errno;
	if (setsockopt(mnl_socket_get_fd(n->events), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(mnl_socket_get_fd(n->events), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		int g = (int)groups[i];

		/* Kernels before 5.3 have no next hops of their own to tell of. */
		if (mnl_socket_setsockopt(n->events, NETLINK_ADD_MEMBERSHIP, &g, sizeof(g)) && g != RTNLGRP_NEXTHOP)
			return -errno;
	}
	return 0;
}

int nl_open(struct nl *n, struct rtnl *rtnl, unsigned n_ports, uint64_t now)
{
	int err;

	*n = (struct nl){.rtnl = rtnl, .n_ports = n_ports, .now = now, .reading = -1, .use_at = UINT64_MAX};
	n->room = malloc(NL_EVENTS * NL_EVENT);
	err = n->room ? open_events(n) : -ENOMEM;
	err = err ? err : nl_routes_open(&n->routes);
	if (err)
		return err;
	n->dump = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!n->dump || mnl_socket_bind(n->dump, 0, MNL_SOCKET_AUTOPID))
		return -errno;
	/* Subscribed first, read afterwards: what changes in between is read again. */
	n->dirty = (1u << NL_TABLES) - 1;
	return 0;
}

void nl_close(struct nl *n)
{
	nl_forget(n);
	nl_routes_close(&n->routes);
	free(n->room);
	if (n->events)
		mnl_socket_close(n->events);
	if (n->dump)
		mnl_socket_close(n->dump);
	for (unsigned t = 0; t < NL_TABLES; t++)
		free(n->table[t].v);
	free(n->fresh.v);
	memset(n, 0, sizeof(*n));
}
