/* SPDX-License-Identifier: MIT */

/* The sockets of a port of ours: opened, handed to their queues while those run, and closed when nobody sees them. */

#include <errno.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kudp_int.h"

static bool is_any(const struct kudp_conf *c)
{
	return !c->host || addr_is_any(c->host);
}

static void set(int fd, int level, int what, int value)
{
	setsockopt(fd, level, what, &value, sizeof(value));
}

static void set_buffers(int fd, unsigned bytes)
{
	if (!bytes)
		return;
	/* Beyond net.core.rmem_max, where that may be; else as much as is allowed. */
	set(fd, SOL_SOCKET, SO_RCVBUF, (int)bytes);
	set(fd, SOL_SOCKET, SO_SNDBUF, (int)bytes);
	set(fd, SOL_SOCKET, SO_RCVBUFFORCE, (int)bytes);
	set(fd, SOL_SOCKET, SO_SNDBUFFORCE, (int)bytes);
}

/* What an old kernel does not know of these it does without. */
static void set_options(const struct kudp_sock *s, const struct kudp_conf *c)
{
	set(s->fd, IPPROTO_UDP, UDP_GRO, 1);
	set(s->fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
	set(s->fd, IPPROTO_IP, IP_RECVERR, 1);
	set(s->fd, IPPROTO_IP, IP_RECVTOS, 1);
	set(s->fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (s->v6) {
		set(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
		set(s->fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
		set(s->fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
		set(s->fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
	}
	if (s->exact)
		set(s->fd, s->v6 ? IPPROTO_IPV6 : IPPROTO_IP, s->v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, 1);
	set_buffers(s->fd, c->buffer);
}

static int socket_new(struct kudp_sock *s, bool v6, const struct kudp_conf *c)
{
	s->v6 = v6;
	s->exact = is_any(c) && !c->floating;
	if (!is_any(c))
		s->local = *c->host;
	s->fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return -errno;
	set_options(s, c);
	return 0;
}

/* Deaf until all sockets of a port are there: which of them a flow comes to depends on how many they are. */
static void deafen(const struct kudp_sock *s)
{
	struct sock_filter drop[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog prog = {.len = 1, .filter = drop};

	setsockopt(s->fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

static int socket_bind(struct kudp_sock *s, const struct kudp_conf *c, uint16_t *port)
{
	struct addr any = s->v6 ? (struct addr){{0}} : addr_v4(0);
	struct sockaddr_in6 name;
	socklen_t n = kudp_name_put(s, is_any(c) ? &any : c->host, *port, &name);
	struct addr got;

	if (bind(s->fd, (struct sockaddr *)&name, n))
		return -errno;
	n = sizeof(name);
	if (getsockname(s->fd, (struct sockaddr *)&name, &n))
		return -errno;
	kudp_name_get(&name, &got, port);
	s->port = *port;
	return 0;
}

/*
 * The first is bound alone: SO_REUSEPORT would let it share the port with another process of the same user.  Those that
 * follow share it with the first.
 */
static int open_one(struct kudp_set *set_, unsigned i, bool v6, const struct kudp_conf *c)
{
	struct kudp_sock *s = &set_->sock[i];
	int err = socket_new(s, v6, c);

	if (err)
		return err;
	if (set_->n > 1)
		deafen(s);
	if (i > 0)
		set(s->fd, SOL_SOCKET, SO_REUSEPORT, 1);
	err = socket_bind(s, c, &set_->port);
	if (err == 0 && i == 0 && set_->n > 1)
		set(s->fd, SOL_SOCKET, SO_REUSEPORT, 1);
	return err;
}

static void close_fds(struct kudp_set *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (s->sock[i].fd >= 0)
			close(s->sock[i].fd);
		s->sock[i].fd = -1;
	}
}

static int open_all(struct kudp_set *s, bool v6, const struct kudp_conf *c)
{
	int err = 0;

	s->port = c->port;
	for (unsigned i = 0; i < s->n; i++)
		s->sock[i].fd = -1;
	for (unsigned i = 0; i < s->n && !err; i++)
		err = open_one(s, i, v6, c);
	if (err)
		close_fds(s);
	return err;
}

/* ---- the queues' ---- */

static struct kudp_queue *queue_of(const struct kudp *k, const struct kudp_set *s, unsigned i)
{
	return k->queue[(unsigned)s->first + i];
}

static void take_away(struct kudp_queue *q, struct kudp_sock *s)
{
	epoll_ctl(q->rx.epoll, EPOLL_CTL_DEL, s->fd, NULL);
	atomic_store_explicit(&q->by_port[s->port], NULL, memory_order_seq_cst);
	atomic_fetch_add_explicit(&q->rx.half.changed, 1, memory_order_seq_cst);
	atomic_fetch_add_explicit(&q->tx.half.changed, 1, memory_order_seq_cst);
}

static int hand_over(struct kudp *k, struct kudp_set *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.ptr = &s->sock[i]};
		struct kudp_queue *q = queue_of(k, s, i);

		atomic_store_explicit(&q->by_port[s->port], &s->sock[i], memory_order_release);
		if (epoll_ctl(q->rx.epoll, EPOLL_CTL_ADD, s->sock[i].fd, &e)) {
			int err = -errno;

			do
				take_away(queue_of(k, s, i), &s->sock[i]);
			while (i-- > 0);
			return err;
		}
	}
	for (unsigned i = 0; i < s->n && s->n > 1; i++)
		set(s->sock[i].fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
	return 0;
}

int kudp_open(struct kudp *k, const struct kudp_conf *c, struct kudp_set **out, uint16_t *port)
{
	unsigned n = c->queue == KUDP_ALL ? k->n : 1;
	struct kudp_set *s;
	int err;

	kudp_reap(k);
	if (c->queue != KUDP_ALL && (unsigned)c->queue >= k->n)
		return -EINVAL;
	s = calloc(1, sizeof(*s) + n * sizeof(s->sock[0]));
	if (!s)
		return -ENOMEM;
	list_init(&s->dying);
	s->n = n;
	s->first = c->queue == KUDP_ALL ? 0 : c->queue;
	err = open_all(s, true, c);
	/* Without IPv6 on the host; and an IPv4 address that is bound in its own family asks nothing of it. */
	if (err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL)
		err = is_any(c) || addr_is_v4(c->host) ? open_all(s, false, c) : err;
	if (err) {
		free(s);
		return err;
	}
	err = hand_over(k, s);
	if (err) {
		kudp_close(k, s);
		return err;
	}
	*out = s;
	*port = s->port;
	return 0;
}

/* ---- the end ---- */

/* A half that was at work when the sockets went may see them until that burst is over. */
static bool seen(const struct kudp *k, const struct kudp_set *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		const struct kudp_queue *q = queue_of(k, s, i);
		const struct kudp_half *h[2] = {&q->rx.half, &q->tx.half};

		for (unsigned j = 0; j < 2; j++)
			if ((s->turns[i][j] & 1) && atomic_load(&h[j]->turn) == s->turns[i][j])
				return true;
	}
	return false;
}

void kudp_reap(struct kudp *k)
{
	list_for_each_safe (l, next, &k->dying) {
		struct kudp_set *s = container_of(l, struct kudp_set, dying);

		if (seen(k, s))
			continue;
		list_del(&s->dying);
		close_fds(s);
		free(s);
	}
}

void kudp_close(struct kudp *k, struct kudp_set *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct kudp_queue *q = queue_of(k, s, i);

		take_away(q, &s->sock[i]);
		s->turns[i][0] = atomic_load(&q->rx.half.turn);
		s->turns[i][1] = atomic_load(&q->tx.half.turn);
	}
	list_add_tail(&k->dying, &s->dying);
	kudp_reap(k);
}
