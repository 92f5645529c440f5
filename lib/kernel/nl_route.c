/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#include "nl.h"
#include "nl_told.h"

#define ROUTE_BUF    32768
#define ROUTE_BUFS   4	  /* read in one turn */
#define SWEEP_TURN   1000 /* prefixes looked at in one turn */
#define READ_AGAIN   10	  /* at most a tenth of the time goes into readings that are needed */
#define LOOK_AGAIN   100  /* and a hundredth into those that only look */
#define LOOK_MS	     1000
#define RETRY_MS     100
#define SUSPECT_MS   3
#define UNSEEN_TWICE 2 /* readings that must have passed over an IPv6 route while others changed */

/* Entries of this metric among a prefix's, from *first on, and the one of this way, if any. */
static unsigned same_metric(const struct net_leaf *l, uint32_t metric, const struct net_way *way, unsigned *first,
			    int *same)
{
	unsigned n = 0;

	*first = 0;
	*same = -1;
	for (unsigned i = 0; l && i < l->node.n; i++) {
		if (l->entry[i].metric != metric)
			continue;
		*first = n ? *first : i;
		n++;
		if (l->entry[i].way == way)
			*same = (int)i;
	}
	return n;
}

static void changed(struct nl *n)
{
	n->routes.changed = true;
	nl_touch(n);
}

/* It cannot be told from messages any more what there is: out of memory, or a message that fits nothing. */
static void unclear(struct nl *n)
{
	n->routes.stats.unclear++;
	n->routes.dirty = true;
}

/* Takes over the reference to `way`. */
static bool put(struct nl *n, const struct nl_told *t, struct net_way *way)
{
	struct net_entry e = {.way = way, .metric = t->metric, .mark = n->routes.mark};

	if (net_fib_add(&n->routes.fib, &t->prefix, t->plen, &e) == 0) {
		changed(n);
		return true;
	}
	net_way_put(&n->routes.fib, way);
	unclear(n);
	return false;
}

static void take_out(struct nl *n, const struct addr *prefix, unsigned plen, unsigned i)
{
	if (net_fib_del(&n->routes.fib, prefix, plen, i))
		unclear(n);
	else
		changed(n);
}

static bool member_in(const struct net_member *m, const struct net_way *w)
{
	for (unsigned i = 0; i < w->n_member; i++)
		if (w->member[i].link == m->link && addr_eq(&w->member[i].via, &m->via))
			return true;
	return false;
}

static bool members_in(const struct net_way *part, const struct net_way *whole)
{
	for (unsigned i = 0; i < part->n_member; i++)
		if (!member_in(&part->member[i], whole))
			return false;
	return part->n_member > 0;
}

/* An IPv6 route with several next hops is told whole whenever one joins: what it was before is a part of it. */
static void drop_parts(struct nl *n, const struct nl_told *t, const struct net_way *whole)
{
	struct net_leaf *l = net_fib_at(&n->routes.fib, &t->prefix, t->plen);

	for (unsigned i = l ? l->node.n : 0; i-- > 0;) {
		if (l->entry[i].metric != t->metric || l->entry[i].way == whole || !members_in(l->entry[i].way, whole))
			continue;
		take_out(n, &t->prefix, t->plen, i);
		l = net_fib_at(&n->routes.fib, &t->prefix, t->plen);
		if (!l)
			return;
	}
}

/* IPv4: a route that is added, and not appended, comes before those of its metric: they move behind it. */
static void move_behind(struct nl *n, const struct nl_told *t, unsigned first, unsigned k)
{
	for (; k; k--) {
		struct net_leaf *l = net_fib_at(&n->routes.fib, &t->prefix, t->plen);
		struct net_entry e;

		if (!l || first >= l->node.n)
			return;
		e = l->entry[first];
		((struct net_way *)(uintptr_t)e.way)->refs++;
		if (net_fib_add(&n->routes.fib, &t->prefix, t->plen, &e)) {
			net_way_put(&n->routes.fib, (struct net_way *)(uintptr_t)e.way);
			unclear(n);
			return;
		}
		take_out(n, &t->prefix, t->plen, first);
	}
}

/*
 * Whether it is known which route has given way to this one: the only one of its metric.  IPv6's may have none, or
 * another kind's, where one leads by a gateway and the other on link: kernels differ.
 */
static bool known_victim(const struct nl_told *t, const struct net_leaf *l, unsigned first, unsigned k)
{
	const struct net_way *was = l->entry[first].way;

	if (k != 1)
		return false;
	return t->family == AF_INET || (was->n_member && t->way.n_member &&
					addr_is_any(&was->member[0].via) == addr_is_any(&t->way.member[0].via));
}

static void event_new(struct nl *n, const struct nl_told *t, unsigned flags)
{
	struct net_way *way = net_way_get(&n->routes.fib, &t->way);
	struct net_leaf *l = net_fib_at(&n->routes.fib, &t->prefix, t->plen);
	bool replaces, known;
	unsigned first, k;
	int same;

	if (!way) {
		unclear(n);
		return;
	}
	k = same_metric(l, t->metric, way, &first, &same);
	replaces = k && flags & NLM_F_REPLACE;
	known = replaces && known_victim(t, l, first, k);
	if (same >= 0) {
		l->entry[same].mark = n->routes.mark;
		net_way_put(&n->routes.fib, way);
		if (replaces && k > 1)
			unclear(n);
		return;
	}
	if (!put(n, t, way))
		return;
	if (known)
		take_out(n, &t->prefix, t->plen, first);
	else if (replaces)
		unclear(n);
	else if (t->family == AF_INET6)
		drop_parts(n, t, way);
	else if (k && !(flags & NLM_F_APPEND))
		move_behind(n, t, first, k);
}

/* Of an IPv6 route with several next hops some go. */
static bool del_members(struct nl *n, struct nl_told *t)
{
	struct net_leaf *l = net_fib_at(&n->routes.fib, &t->prefix, t->plen);
	struct nl_told rest = *t;

	for (unsigned i = 0; l && i < l->node.n; i++) {
		const struct net_way *w = l->entry[i].way;
		struct net_way *left;

		if (l->entry[i].metric != t->metric || !members_in(&t->way, w))
			continue;
		memset(&rest.way, 0, sizeof(rest.room));
		rest.way.src = w->src;
		rest.way.scope = w->scope;
		for (unsigned k = 0; k < w->n_member; k++)
			if (!member_in(&w->member[k], &t->way))
				rest.way.member[rest.way.n_member++] = w->member[k];
		left = rest.way.n_member ? net_way_get(&n->routes.fib, &rest.way) : NULL;
		if (rest.way.n_member && (!left || !put(n, &rest, left)))
			return false;
		take_out(n, &t->prefix, t->plen, i);
		return true;
	}
	return false;
}

static void event_del(struct nl *n, struct nl_told *t)
{
	struct net_way *way = net_way_get(&n->routes.fib, &t->way);
	struct net_leaf *l = net_fib_at(&n->routes.fib, &t->prefix, t->plen);
	unsigned first, k;
	int same;

	if (!way) {
		unclear(n);
		return;
	}
	k = same_metric(l, t->metric, way, &first, &same);
	net_way_put(&n->routes.fib, way);
	if (same >= 0)
		take_out(n, &t->prefix, t->plen, (unsigned)same);
	else if (k && !(t->family == AF_INET6 && del_members(n, t)))
		unclear(n);
}

/* It is read in a while to see whether all is well. */
static void look_later(struct nl *n)
{
	struct nl_routes *r = &n->routes;

	if (!r->look_at)
		r->look_at = n->now + LOOK_MS + r->stats.read_us * LOOK_AGAIN / 1000;
}

void nl_routes_event(struct nl *n, const struct nlmsghdr *h)
{
	struct nl_routes *r = &n->routes;
	struct nl_told t;

	if (!nl_told_read(h, &t))
		return;
	r->stats.changes++;
	if (t.family == AF_INET6)
		r->churn6 = true;
	look_later(n);
	if (h->nlmsg_type == RTM_NEWROUTE)
		event_new(n, &t, h->nlmsg_flags);
	else
		event_del(n, &t);
}

void nl_routes_lost(struct nl *n)
{
	n->routes.dirty = true;
	n->routes.lost = true;
}

static bool leads_by(const struct net_fib *f, int link)
{
	for (unsigned b = 0; b < f->way_cap; b++)
		for (const struct net_way *w = f->way[b]; w; w = w->next)
			for (unsigned i = 0; i < w->n_member; i++)
				if (w->member[i].link == link)
					return true;
	return false;
}

void nl_routes_suspect(struct nl *n, int link)
{
	struct nl_routes *r = &n->routes;

	if (!leads_by(&r->fib, link))
		return;
	/* The kernel tells of the link first, and lets go of its routes a moment later. */
	if (!r->dirty && r->after < n->now + SUSPECT_MS)
		r->after = n->now + SUSPECT_MS;
	r->dirty = r->doubt = true;
}

/* ---- the whole table ---- */

static void answer_route(struct nl *n, const struct nlmsghdr *h)
{
	struct net_way *way;
	struct net_leaf *l;
	struct nl_told t;
	unsigned first;
	int same;

	if (!nl_told_read(h, &t))
		return;
	way = net_way_get(&n->routes.fib, &t.way);
	if (!way) {
		nl_routes_lost(n);
		return;
	}
	l = net_fib_at(&n->routes.fib, &t.prefix, t.plen);
	same_metric(l, t.metric, way, &first, &same);
	if (same >= 0) {
		l->entry[same].mark = n->routes.mark;
		net_way_put(&n->routes.fib, way);
		return;
	}
	n->routes.stats.mended += n->routes.read;
	put(n, &t, way);
}

static int ask_table(struct nl_routes *r, unsigned table)
{
	char buf[128] __attribute__((aligned(8)));
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m)); /* zeroed: AF_UNSPEC, all */

	h->nlmsg_type = RTM_GETROUTE;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = ++r->seq;
	m->rtm_table = (uint8_t)table;
	r->table = table;
	return mnl_socket_sendto(r->sock, h, h->nlmsg_len) < 0 ? -errno : 0;
}

static void read_failed(struct nl *n)
{
	n->routes.state = NL_READ_NOT;
	n->routes.dirty = true;
	n->routes.after = n->now + RETRY_MS;
}

static void read_ended(struct nl *n)
{
	struct nl_routes *r = &n->routes;

	if (r->table == RT_TABLE_MAIN) {
		if (ask_table(r, RT_TABLE_DEFAULT))
			read_failed(n);
		return;
	}
	r->state = NL_READ_SWEEP;
	r->sweep_v4 = true;
	r->sweep_plen = UINT_MAX;
}

/* One buffer of the answer; false when there is none to be had. */
static bool read_some(struct nl *n)
{
	char buf[ROUTE_BUF] __attribute__((aligned(8)));
	struct nl_routes *r = &n->routes;
	ssize_t len = recv(mnl_socket_get_fd(r->sock), buf, sizeof(buf), MSG_DONTWAIT);
	int left = (int)len;

	if (len < 0 && errno == EINTR)
		return true;
	if (len <= 0) {
		read_failed(n);
		return false;
	}
	for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
		if (h->nlmsg_seq != r->seq)
			continue;
		if (h->nlmsg_flags & NLM_F_DUMP_INTR)
			r->churn6 = true;
		/* There need not be a table for what no rule leads to. */
		if (h->nlmsg_type == NLMSG_ERROR && r->table != RT_TABLE_DEFAULT) {
			read_failed(n);
			return false;
		}
		if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
			read_ended(n);
			return false;
		}
		if (h->nlmsg_type == RTM_NEWROUTE)
			answer_route(n, h);
	}
	return true;
}

/* What the reading has not seen is not there any more.  Of IPv6 the kernel may pass over some while others change. */
static void sweep_leaf(struct nl *n, struct net_leaf *l)
{
	struct nl_routes *r = &n->routes;
	uint32_t most = !r->sweep_v4 && r->churn6 ? UNSEEN_TWICE : 0;
	struct addr prefix = l->prefix;
	unsigned plen = l->node.plen;

	for (unsigned i = l->node.n; i-- > 0;) {
		l = net_fib_at(&r->fib, &prefix, plen);
		if (r->mark - l->entry[i].mark <= most)
			continue;
		r->stats.mended += r->read;
		take_out(n, &prefix, plen, i);
	}
}

static void sweep_ended(struct nl *n)
{
	struct nl_routes *r = &n->routes;

	r->state = NL_READ_NOT;
	if (!r->read)
		changed(n);
	r->read = true;
	r->stats.reads++;
	r->stats.read_us = r->cost_us;
	r->after = n->now + r->cost_us * READ_AGAIN / 1000;
	r->cost_us = 0;
	if (r->doubt)
		look_later(n);
	r->doubt = false;
}

static void sweep_some(struct nl *n)
{
	struct nl_routes *r = &n->routes;

	for (unsigned i = 0; i < SWEEP_TURN && r->state == NL_READ_SWEEP; i++) {
		bool begin = r->sweep_plen == UINT_MAX;
		struct net_leaf *l = r->lost ? NULL
					     : net_fib_next(&r->fib, r->sweep_v4, begin ? NULL : &r->sweep_at,
							    begin ? 0 : r->sweep_plen);

		if (l) {
			r->sweep_at = l->prefix;
			r->sweep_plen = l->node.plen;
			sweep_leaf(n, l);
		} else if (r->sweep_v4) {
			r->sweep_v4 = false;
			r->sweep_plen = UINT_MAX;
		} else {
			sweep_ended(n);
		}
	}
}

static void read_begin(struct nl *n)
{
	struct nl_routes *r = &n->routes;

	if (ask_table(r, r->strict ? RT_TABLE_MAIN : RT_TABLE_UNSPEC)) {
		r->after = n->now + RETRY_MS;
		return;
	}
	r->dirty = r->lost = r->churn6 = false;
	r->look_at = 0;
	r->cost_us = 0;
	r->mark++;
	r->state = NL_READ_ASKED;
}

void nl_routes_before_events(struct nl *n)
{
	if (n->routes.state == NL_READ_ASKED)
		read_some(n);
}

void nl_routes_turn(struct nl *n)
{
	struct nl_routes *r = &n->routes;
	uint64_t from;

	if (r->look_at && n->now >= r->look_at)
		r->dirty = true;
	if (r->state == NL_READ_NOT && (!r->dirty || n->now < r->after))
		return;
	from = nl_cpu_us();
	if (r->state == NL_READ_NOT)
		read_begin(n);
	for (unsigned i = 0; i < ROUTE_BUFS && r->state == NL_READ_ASKED; i++)
		read_some(n);
	r->cost_us += nl_cpu_us() - from;
	if (r->state == NL_READ_SWEEP)
		sweep_some(n);
}

void nl_routes_next(const struct nl *n, uint64_t *at)
{
	const struct nl_routes *r = &n->routes;
	uint64_t next = r->look_at ? r->look_at : UINT64_MAX;

	if (r->state != NL_READ_NOT)
		next = 0;
	else if (r->dirty)
		next = r->after;
	else if (next < r->after)
		next = r->after;
	*at = next < *at ? next : *at;
}

int nl_routes_open(struct nl_routes *r)
{
	int on = 1;

	r->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!r->sock || mnl_socket_bind(r->sock, 0, MNL_SOCKET_AUTOPID))
		return -errno;
	/*
	 * A table by itself, since Linux 4.20.  The others would only be passed over here; and in the kernel the local
	 * table lies among the main one's leaves, so that it looks at all of these once more, at one go.
	 */
	r->strict = mnl_socket_setsockopt(r->sock, NETLINK_GET_STRICT_CHK, &on, sizeof(on)) == 0;
	r->dirty = true;
	return 0;
}

void nl_routes_close(struct nl_routes *r)
{
	if (r->sock)
		mnl_socket_close(r->sock);
	net_fib_free(&r->fib);
}

void nl_routes_gateways(struct nl *n)
{
	const struct net_fib *f = &n->routes.fib;

	for (unsigned b = 0; b < f->way_cap; b++) {
		for (const struct net_way *w = f->way[b]; w; w = w->next) {
			for (unsigned i = 0; i < w->n_member; i++) {
				uint16_t dev = nl_dev(n, w->member[i].link);

				if (dev != UINT16_MAX && !addr_is_any(&w->member[i].via))
					nl_use_gateway(n, &w->member[i].via, dev);
			}
		}
	}
}
