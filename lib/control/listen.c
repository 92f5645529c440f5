/* SPDX-License-Identifier: MIT */

/* Client tunnels' listeners, TCP or Unix: each connection gets a chan and a session slot. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cap.h"
#include "ctl_int.h"
#include "sock.h"

#define ACCEPT_TURN  64	 /* connections a listener and turn */
#define PAUSE_MS     100 /* without file descriptors or chans */
#define PAUSE_LINES  1
#define PAUSE_PERIOD 10
#define SPARE	     1024 /* listeners of tunnels that are added while it runs */
#define CHOICE_MAX   64	  /* slots that are looked at for a connection */

/* The port is left alone for a while: with level-triggered readiness a turn would come back at once. */
static void pause_listener(struct ctl *c, struct listener *l, const char *reason)
{
	uint32_t left_out;

	ctl_ev_mod(c, &l->ev, 0);
	ctl_arm(c, &l->pause, PAUSE_MS);
	c->stats.accept_paused++;
	if (log_allow(&l->limit, c->now / 1000, PAUSE_LINES, PAUSE_PERIOD, &left_out))
		log_warn("tunnel %s: accepting no connections for now: %s", c->tunnels[l->tunnel].conf->name, reason);
}

static void on_pause(struct ctl *c, struct timer *t)
{
	struct listener *l = container_of(t, struct listener, pause);

	ctl_ev_mod(c, &l->ev, EPOLLIN);
}

/*
 * The slot for the next connection: those with as little to do as any have their turns.  What a worker knows is a
 * little newer: among its own it may choose another.
 */
static unsigned choose_slot(struct tunnel *t)
{
	unsigned conn = t->conf->conn, first = t->accepted++ % conn, at = first, best = first;
	uint32_t least = UINT32_MAX;

	for (unsigned i = 0; t->conf->dials && i < conn && i < CHOICE_MAX; i++) {
		uint32_t busy = atomic_load_explicit(&t->conf->dials[at].busy, memory_order_relaxed);

		if (busy < least) {
			least = busy;
			best = at;
		}
		at = at + 1 < conn ? at + 1 : 0;
	}
	return best;
}

static void fill_chan(struct ctl *c, struct chan *ch, uint16_t tunnel, const struct sockaddr_storage *ss)
{
	struct tunnel *t = &c->tunnels[tunnel];
	unsigned slot = choose_slot(t);

	sock_addr_read(ss, &ch->peer, &ch->peer_port);
	ch->slot = (uint16_t)slot;
	ch->worker_id = t->conf->slot_worker[slot];
	ch->ctl_id = (uint16_t)team_choose(c);
	ch->sid = 0;
	ch->err = 0;
	ch->abort = false;
}

/* One connection; false when no more can be had in this turn. */
static bool accept_one(struct ctl *c, struct listener *l)
{
	struct sockaddr_storage ss = {0};
	socklen_t len = sizeof(ss);
	struct chan *ch;
	int fd;

	if (!fd_may(c, l->tunnel)) {
		pause_listener(c, l, "it has its share of the file descriptors (raise ulimit -n)");
		return false;
	}
	ch = chan_alloc(c->conf.chans, l->tunnel);
	if (!ch) {
		pause_listener(c, l, "the tunnel's share of streams is in use");
		return false;
	}
	do {
		fd = accept4(l->ev.fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (fd < 0 && errno == EMFILE && dial_give_up(c));
	if (fd < 0) {
		chan_free(c->conf.chans, ch);
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_listener(c, l, strerror(errno));
		/* Others than EAGAIN are about a connection that has gone already. */
		return errno == ECONNABORTED || errno == EINTR || errno == EPROTO;
	}
	fill_chan(c, ch, l->tunnel, &ss);
	if (ch->ctl_id != c->conf.id) {
		team_hand(c, ch->ctl_id, ch, fd);
	} else if (tcp_accepted(c, fd, ch)) {
		close(fd);
		chan_free(c->conf.chans, ch);
		pause_listener(c, l, "no memory");
		return false;
	}
	fd_add(c, l->tunnel);
	c->stats.accepted++;
	return true;
}

static void on_accept(struct ctl *c, struct ev *e, uint32_t events)
{
	struct listener *l = container_of(e, struct listener, ev);

	(void)events;
	for (unsigned i = 0; i < ACCEPT_TURN && accept_one(c, l); i++)
		;
}

static int open_one(const struct addr *a, const char *zone, uint16_t port, bool later, int *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sock_addr(a, port, &ss);
	int fd, on = 1, off = 0, err = sock_zone(&ss, zone);

	if (err)
		return err;
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ss.ss_family == AF_INET6 && addr_is_any(a))
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	/* An address that the host gets later, with its network, may be listened on now. */
	if (later)
		setsockopt(fd, ss.ss_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
			   ss.ss_family == AF_INET6 ? IPV6_FREEBIND : IP_FREEBIND, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&ss, len) || listen(fd, SOMAXCONN)) {
		err = -errno;
		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

static int open_any(uint16_t port, int *fd)
{
	const struct addr any6 = {{0}}, any4 = addr_v4(0);
	int err = open_one(&any6, NULL, port, false, fd);

	return err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL ? open_one(&any4, NULL, port, false, fd) : err;
}

/* A listener that accepts nothing yet, in the next place. */
static struct listener *new_listener(struct ctl *c, uint16_t tunnel)
{
	struct listener *l = &c->listeners[c->n_listeners];

	memset(l, 0, sizeof(*l));
	l->tunnel = tunnel;
	l->ev.fn = on_accept;
	l->ev.fd = -1;
	l->pause.fn = on_pause;
	wheel_ent_init(&l->pause.ent);
	return l;
}

static int start_unix(struct ctl *c, uint16_t tunnel, char *why, size_t why_n)
{
	struct listener *l = new_listener(c, tunnel);
	const struct ctl_tunnel *t = c->tunnels[tunnel].conf;
	int err = unix_listen(t->listen_path, &l->ev.fd, &l->file);

	if (err == -EADDRINUSE)
		return ctl_fail(why, why_n, err, "tunnel %s: %s is in use by another process", t->name, t->listen_path);
	if (err == -ENOTSOCK)
		return ctl_fail(why, why_n, err, "tunnel %s: %s exists and is no socket", t->name, t->listen_path);
	if (err)
		return ctl_fail(why, why_n, err, "tunnel %s: %s: %s", t->name, t->listen_path, strerror(-err));
	l->path = t->listen_path;
	c->n_listeners++;
	err = ctl_ev_add(c, &l->ev, EPOLLIN);
	return err ? ctl_fail(why, why_n, err, "tunnel %s: epoll: %s", t->name, strerror(-err)) : 0;
}

static int start_one(struct ctl *c, uint16_t tunnel, const struct name *host, unsigned port, char *why, size_t why_n)
{
	struct listener *l = new_listener(c, tunnel);
	const char *name = c->tunnels[tunnel].conf->name;
	char text[ADDR_STRLEN] = "all addresses";
	int err;

	err = host ? open_one(&host->addrs[0], host->zone, (uint16_t)port, false, &l->ev.fd)
		   : open_any((uint16_t)port, &l->ev.fd);
	if (host)
		addr_str(&host->addrs[0], text);
	if (host && err == -EADDRNOTAVAIL) {
		err = open_one(&host->addrs[0], host->zone, (uint16_t)port, true, &l->ev.fd);
		if (err == 0)
			log_warn("tunnel %s: listen address %s is not this host's (yet)", name, text);
	}
	if (err == -EADDRINUSE)
		return ctl_fail(why, why_n, err, "tunnel %s: TCP port %u on %s is in use by another process", name,
				port, text);
	if (err == -EADDRNOTAVAIL)
		return ctl_fail(why, why_n, err, "tunnel %s: listen address %s is not this host's", name, text);
	if (err)
		return ctl_fail(why, why_n, err, "tunnel %s: TCP port %u on %s: %s%s", name, port, text, strerror(-err),
				cap_of_listen(err, port));
	c->n_listeners++;
	err = ctl_ev_add(c, &l->ev, EPOLLIN);
	return err ? ctl_fail(why, why_n, err, "tunnel %s: epoll: %s", name, strerror(-err)) : 0;
}

static int start_tunnel(struct ctl *c, uint16_t tunnel, char *why, size_t why_n)
{
	const struct ctl_tunnel *t = c->tunnels[tunnel].conf;
	const struct name *host = NULL;
	struct name name;
	int err = 0;

	if (t->listen_path)
		return start_unix(c, tunnel, why, why_n);
	if (t->listen.host && *t->listen.host) {
		name_init(&name, t->listen.host);
		if (name_now(&name))
			return ctl_fail(why, why_n, -EADDRNOTAVAIL, "tunnel %s: listen address %s: %s", t->name,
					t->listen.host, name_error(&name));
		/* Either family's "any" is both families, as for Go. */
		if (!addr_is_any(&name.addrs[0]))
			host = &name;
	}
	for (unsigned p = t->listen.port_min; p <= t->listen.port_max && !err; p++)
		err = start_one(c, tunnel, host, p, why, why_n);
	return err;
}

int listen_up(struct ctl *c, char *why, size_t why_n)
{
	unsigned total = 0;
	int err = 0;

	for (unsigned i = 0; i < c->conf.n_tunnels; i++)
		if (c->conf.tunnels[i].client)
			total += 1u + c->conf.tunnels[i].listen.port_max - c->conf.tunnels[i].listen.port_min;
	c->max_listeners = total + SPARE;
	c->listeners = calloc(c->max_listeners, sizeof(*c->listeners));
	if (!c->listeners)
		return ctl_fail(why, why_n, -ENOMEM, "no memory for %u listeners", total);
	for (unsigned i = 0; i < c->conf.n_tunnels && !err; i++)
		if (c->conf.tunnels[i].client)
			err = start_tunnel(c, (uint16_t)i, why, why_n);
	return err;
}

int listen_open(struct ctl *c, unsigned tunnel, char *why, size_t why_n)
{
	unsigned before = c->n_listeners;
	int err;

	if (c->n_listeners == c->max_listeners)
		return ctl_fail(why, why_n, -ENOSPC,
				"tunnel %s: there is no room for one more listener before a restart",
				c->tunnels[tunnel].conf->name);
	err = start_tunnel(c, (uint16_t)tunnel, why, why_n);
	if (err)
		c->n_listeners = before; /* whoever failed has closed */
	return err;
}

static void close_one(struct ctl *c, struct listener *l)
{
	wheel_disarm(&c->wheel, &l->pause.ent);
	if (l->path && l->ev.fd >= 0)
		unix_unlink(l->path, &l->file);
	ctl_ev_close(&l->ev);
}

void listen_close(struct ctl *c, unsigned tunnel)
{
	for (unsigned i = 0; i < c->n_listeners; i++)
		if (c->listeners[i].tunnel == tunnel)
			close_one(c, &c->listeners[i]);
}

/* The array stays until the end: events of this turn may point into it. */
void listen_down(struct ctl *c)
{
	for (unsigned i = 0; i < c->n_listeners; i++)
		close_one(c, &c->listeners[i]);
}
