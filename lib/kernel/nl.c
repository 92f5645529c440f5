/* SPDX-License-Identifier: MIT */
#include <errno.h>
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
#define NL_RCVBUF      (1 << 20)
#define NL_OLD_MAX     8 /* replaced snapshots that workers have not left yet: no new ones beyond that */

static const struct {
	uint16_t type;
	size_t head, entry;
} tables[NL_TABLES] = {
	[NL_LINK] = {RTM_GETLINK, sizeof(struct ifinfomsg), sizeof(struct nl_link)},
	[NL_ADDR] = {RTM_GETADDR, sizeof(struct ifaddrmsg), sizeof(struct nl_addr)},
	[NL_ROUTE] = {RTM_GETROUTE, sizeof(struct rtmsg), sizeof(struct net_route)},
	[NL_NEIGH] = {RTM_GETNEIGH, sizeof(struct ndmsg), sizeof(struct nl_neigh)},
};

/* The thread's own time: waiting for a CPU, or for the next buffer while others are served, is not reading. */
static uint64_t cpu_us(void)
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
		return 1u << NL_LINK | 1u << NL_ADDR | 1u << NL_ROUTE | 1u << NL_NEIGH;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return 1u << NL_ADDR | 1u << NL_ROUTE;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return 1u << NL_ROUTE;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return 1u << NL_NEIGH;
	}
	return 0;
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
	n->after = 0;
}

int nl_fd(const struct nl *n)
{
	return mnl_socket_get_fd(n->events);
}

void nl_events(struct nl *n, uint64_t now)
{
	char buf[NL_BUF] __attribute__((aligned(8)));
	ssize_t len;
	int left;

	n->now = now;
	for (unsigned i = 0; i < NL_TURN_BUFS; i++) {
		len = recv(nl_fd(n), buf, sizeof(buf), MSG_DONTWAIT);
		if (len < 0 && errno == ENOBUFS) {
			soil(n, (1u << NL_TABLES) - 1);
			continue;
		}
		if (len <= 0)
			return;
		left = (int)len;
		for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
			soil(n, dirt(h->nlmsg_type));
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
		free(n->table[t].v);
		n->table[t] = n->fresh;
		n->changed = true;
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

/* Everything that was dirty has been read: publish, and be quiet for a while that grows with what it cost. */
static enum nl_got finish(struct nl *n)
{
	uint64_t quiet, now;

	if (nl_publish(n)) {
		n->after = n->now + NL_RETRY_MS;
		return NL_GOT_NONE;
	}
	n->changed = false;
	now = cpu_us();
	quiet = (n->cost_us + now - n->from_us) * NL_COST_FACTOR / 1000;
	n->cost_us = 0;
	n->from_us = now;
	n->after = n->now + (quiet > NL_COALESCE_MS ? quiet : NL_COALESCE_MS);
	nl_use_turn(n);
	return NL_GOT_SNAPSHOT;
}

/* Reads as far as there is something to be had, a few buffers at most. */
static enum nl_got read_on(struct nl *n)
{
	bool links = false;

	for (unsigned i = 0; i < NL_TURN_BUFS; i++) {
		if (n->reading >= 0) {
			if (!read_some(n, &links))
				return links ? NL_GOT_LINKS : NL_GOT_NONE;
			continue;
		}
		if (n->now < n->after || n->n_old >= NL_OLD_MAX)
			return NL_GOT_NONE;
		if (n->dirty) {
			read_next(n);
			continue;
		}
		return n->changed ? finish(n) : NL_GOT_NONE;
	}
	return NL_GOT_NONE;
}

enum nl_got nl_turn(struct nl *n, uint64_t now)
{
	enum nl_got got;

	n->now = now;
	if (now >= n->use_at)
		nl_use_turn(n);
	if (n->reading < 0 && !n->dirty && !n->changed)
		return NL_GOT_NONE;
	n->from_us = cpu_us();
	got = read_on(n);
	n->cost_us += cpu_us() - n->from_us;
	return got;
}

uint64_t nl_next(const struct nl *n, uint64_t now)
{
	uint64_t next = n->use_at;

	if (n->n_old)
		next = now + NL_COALESCE_MS < next ? now + NL_COALESCE_MS : next;
	else if ((n->dirty || n->changed || n->reading >= 0) && n->after < next)
		next = n->after;
	return next;
}

static int open_events(struct nl *n)
{
	static const unsigned groups[] = {RTNLGRP_LINK,	      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
					  RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_NEIGH};
	int size = NL_RCVBUF;

	n->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (!n->events || mnl_socket_bind(n->events, 0, MNL_SOCKET_AUTOPID))
		return -errno;
	setsockopt(mnl_socket_get_fd(n->events), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		int g = (int)groups[i];

		if (mnl_socket_setsockopt(n->events, NETLINK_ADD_MEMBERSHIP, &g, sizeof(g)))
			return -errno;
	}
	return 0;
}

int nl_open(struct nl *n, struct rtnl *rtnl, unsigned n_ports, uint64_t now)
{
	int err;

	*n = (struct nl){.rtnl = rtnl, .n_ports = n_ports, .now = now, .reading = -1, .use_at = UINT64_MAX};
	err = open_events(n);
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
	if (n->events)
		mnl_socket_close(n->events);
	if (n->dump)
		mnl_socket_close(n->dump);
	for (unsigned t = 0; t < NL_TABLES; t++)
		free(n->table[t].v);
	free(n->fresh.v);
	memset(n, 0, sizeof(*n));
}
