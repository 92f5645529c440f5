/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include <libmnl/libmnl.h>

#include "ctl_int.h"

#define NL_COALESCE_MS 3
#define NL_COST_FACTOR 10 /* at most a tenth of the time goes into reading tables */
#define NL_RETRY_MS    100
#define NL_TURN_BUFS   4 /* buffers read in one turn */
#define NL_BUF	       32768
#define NL_RCVBUF      (1 << 20)
#define NL_START_TURNS 100000 /* the first reading's limit: tables of some ten million entries */
#define NL_OLD_MAX     8      /* replaced snapshots that workers have not left yet: no new ones beyond that */

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

static void soil(struct ctl *c, unsigned bits)
{
	if (c->nl.dirty == 0 && c->nl.after < c->now + NL_COALESCE_MS)
		c->nl.after = c->now + NL_COALESCE_MS;
	c->nl.dirty |= bits;
}

void nl_again(struct ctl *c)
{
	soil(c, (1u << NL_TABLES) - 1);
}

static void on_events(struct ctl *c, struct ev *e, uint32_t events)
{
	char buf[NL_BUF] __attribute__((aligned(8)));
	ssize_t len;
	int left;

	(void)events;
	for (unsigned i = 0; i < NL_TURN_BUFS; i++) {
		len = recv(e->fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (len < 0 && errno == ENOBUFS) {
			soil(c, (1u << NL_TABLES) - 1);
			continue;
		}
		if (len <= 0)
			return;
		left = (int)len;
		for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
			soil(c, dirt(h->nlmsg_type));
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
static void read_next(struct ctl *c)
{
	struct nl *n = &c->nl;

	for (int t = 0; t < NL_TABLES; t++) {
		if (!(n->dirty & 1u << t))
			continue;
		n->dirty &= ~(1u << t);
		if (ask_dump(n, t)) {
			n->dirty |= 1u << t;
			n->after = c->now + NL_RETRY_MS;
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

static void read_end(struct ctl *c)
{
	struct nl *n = &c->nl;
	int t = n->reading;

	n->reading = -1;
	if (n->broken || n->fresh.short_of_memory) {
		n->dirty |= 1u << t;
		n->after = c->now + (n->fresh.short_of_memory ? NL_RETRY_MS : NL_COALESCE_MS);
		free(n->fresh.v);
	} else {
		free(n->table[t].v);
		n->table[t] = n->fresh;
		n->changed = true;
		if (t == NL_LINK)
			iface_look(c);
		if (t == NL_NEIGH)
			nl_use_sort(&n->table[t]);
	}
	memset(&n->fresh, 0, sizeof(n->fresh));
}

/* One buffer of the answer; false when there is none to be had. */
static bool read_some(struct ctl *c)
{
	char buf[NL_BUF] __attribute__((aligned(8)));
	struct nl *n = &c->nl;
	ssize_t len = recv(mnl_socket_get_fd(n->dump), buf, sizeof(buf), MSG_DONTWAIT);
	int left = (int)len;

	if (len < 0 && errno == EINTR)
		return true;
	if (len <= 0) {
		n->broken = true;
		read_end(c);
		return false;
	}
	for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
		if (h->nlmsg_seq != n->seq)
			continue;
		if (h->nlmsg_flags & NLM_F_DUMP_INTR)
			n->broken = true;
		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
			n->broken |= h->nlmsg_type == NLMSG_ERROR;
			read_end(c);
			return true;
		}
		nl_parse(n, h);
	}
	return true;
}

/* Everything that was dirty has been read: publish, and be quiet for a while that grows with what it cost. */
static void finish(struct ctl *c)
{
	struct nl *n = &c->nl;
	uint64_t quiet, now;

	if (nl_publish(c)) {
		n->after = c->now + NL_RETRY_MS;
		return;
	}
	n->changed = false;
	now = cpu_us();
	quiet = (n->cost_us + now - n->from_us) * NL_COST_FACTOR / 1000;
	n->cost_us = 0;
	n->from_us = now;
	n->after = c->now + (quiet > NL_COALESCE_MS ? quiet : NL_COALESCE_MS);
	nl_use_turn(c);
}

/* Reads as far as there is something to be had, a few buffers at most. */
static void read_on(struct ctl *c)
{
	struct nl *n = &c->nl;

	for (unsigned i = 0; i < NL_TURN_BUFS; i++) {
		if (n->reading >= 0) {
			if (!read_some(c))
				return;
			continue;
		}
		if (c->now < n->after || n->n_old >= NL_OLD_MAX)
			return;
		if (n->dirty) {
			read_next(c);
			continue;
		}
		if (n->changed)
			finish(c);
		return;
	}
}

void nl_turn(struct ctl *c)
{
	struct nl *n = &c->nl;

	nl_reap(c);
	if (n->reading < 0 && !n->dirty && !n->changed)
		return;
	n->from_us = cpu_us();
	read_on(c);
	n->cost_us += cpu_us() - n->from_us;
}

uint64_t nl_next(const struct ctl *c)
{
	const struct nl *n = &c->nl;

	if (n->n_old)
		return c->now + NL_COALESCE_MS;
	return n->dirty || n->changed || n->reading >= 0 ? n->after : UINT64_MAX;
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

int nl_up(struct ctl *c, char *why, size_t why_n)
{
	struct nl *n = &c->nl;
	int err = open_events(n);

	n->reading = -1;
	if (err)
		return ctl_fail(why, why_n, err, "rtnetlink: %s", strerror(-err));
	n->dump = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!n->dump || mnl_socket_bind(n->dump, 0, MNL_SOCKET_AUTOPID))
		return ctl_fail(why, why_n, -errno, "rtnetlink: %s", strerror(errno));
	/* Subscribed first, read afterwards: what changes in between is read again. */
	n->ev.fd = mnl_socket_get_fd(n->events);
	n->ev.fn = on_events;
	err = ctl_ev_add(c, &n->ev, EPOLLIN);
	if (err)
		return ctl_fail(why, why_n, err, "rtnetlink: %s", strerror(-err));
	nl_use_up(c);
	n->dirty = (1u << NL_TABLES) - 1;
	for (unsigned i = 0; !n->tbl && i < NL_START_TURNS; i++) {
		n->after = 0;
		nl_turn(c);
	}
	if (!n->tbl)
		return ctl_fail(why, why_n, -EAGAIN, "rtnetlink: the kernel's tables cannot be read");
	return 0;
}

void nl_down(struct ctl *c)
{
	struct nl *n = &c->nl;

	nl_forget(c);
	if (n->events)
		mnl_socket_close(n->events);
	if (n->dump)
		mnl_socket_close(n->dump);
	for (unsigned t = 0; t < NL_TABLES; t++)
		free(n->table[t].v);
	free(n->fresh.v);
	memset(n, 0, sizeof(*n));
}
