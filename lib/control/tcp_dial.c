/* SPDX-License-Identifier: MIT */

/* Server tunnels: from a stream that the peer opened to a connection with the target. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sock.h"
#include "tcp.h"

#define DIAL_LINES  10
#define DIAL_PERIOD 10
#define UNIX_TRIES  500 /* while the target's backlog is full */
#define UNIX_MS	    10

static void dial_failed(struct ctl *c, struct tcp *t, int err, const char *text)
{
	struct tunnel *tun = &c->tunnels[t->tunnel];
	uint32_t left_out = 0;

	c->stats.dial_failed++;
	if (log_allow(&tun->dial_limit, c->now / 1000, DIAL_LINES, DIAL_PERIOD, &left_out)) {
		if (left_out)
			log_info("tunnel %s: %u lines like the next one left out", tun->conf->name, left_out);
		if (tun->conf->target_path)
			log_info("tunnel %s: dial %s: %s", tun->conf->name, tun->conf->target_path, text);
		else
			log_info("tunnel %s: dial %s:%u: %s", tun->conf->name, tun->host.host,
				 tun->conf->target.port_min, text);
	}
	tcp_fail(c, t, err);
}

/* Begins to connect a new socket.  0, or -errno. */
static int connect_new(struct ctl *c, struct tcp *t, const struct sockaddr *to, socklen_t len)
{
	int err;

	t->flags &= (uint16_t)~TCP_F_RDHUP; /* of the address tried before */
	t->ev.fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->ev.fd < 0)
		return -errno;
	if (connect(t->ev.fd, to, len) && errno != EINPROGRESS)
		err = -errno;
	else
		err = tcp_watch(c, t);
	if (err)
		ctl_ev_close(&t->ev);
	return err;
}

/* A Unix socket connects at once, or not; one whose backlog is full only does not wait, as TCP's would. */
static void dial_unix(struct ctl *c, struct tcp *t)
{
	const char *path = c->tunnels[t->tunnel].conf->target_path;
	struct sockaddr_un un;
	socklen_t len;
	int err = sock_unix(path, &un, &len);

	if (!err)
		err = connect_new(c, t, (struct sockaddr *)&un, len);
	if (!err) {
		t->state = TCP_CONNECT;
		if (t->flags & TCP_F_CLOSING)
			ctl_arm(c, &t->timer, TCP_LAST_DIAL_MS);
	} else if (err == -EAGAIN && t->looks++ < UNIX_TRIES) {
		ctl_arm(c, &t->timer, UNIX_MS);
	} else {
		dial_failed(c, t, err, strerror(-err));
	}
}

/* Begins to connect to one address.  0, or -errno. */
static int connect_to(struct ctl *c, struct tcp *t, const struct addr *a)
{
	struct sockaddr_storage ss;
	socklen_t len = sock_addr(a, c->tunnels[t->tunnel].conf->target.port_min, &ss);

	t->target = *a;
	return connect_new(c, t, (struct sockaddr *)&ss, len);
}

/* The next address of the target that can be tried at all; err: why the last one failed. */
static void dial_next(struct ctl *c, struct tcp *t, int err)
{
	struct name *host = &c->tunnels[t->tunnel].host;

	t->state = TCP_CONNECT;
	while (t->tries < host->n) {
		err = connect_to(c, t, &host->addrs[t->tries++]);
		if (!err)
			return;
	}
	dial_failed(c, t, err, strerror(-err));
}

void tcp_dial(struct ctl *c, struct tcp *t)
{
	struct name *host = &c->tunnels[t->tunnel].host;

	t->state = TCP_RESOLVE;
	if (c->tunnels[t->tunnel].conf->target_path) {
		dial_unix(c, t);
		return;
	}
	if (!name_ask(&c->names, host, &t->wait, c->now))
		return;
	if (host->n == 0)
		dial_failed(c, t, -EHOSTUNREACH, name_error(host));
	else
		dial_next(c, t, -EHOSTUNREACH);
}

void tcp_dialled(struct ctl *c, struct tcp *t)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(t->ev.fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (err) {
		ctl_ev_close(&t->ev);
		dial_next(c, t, -err);
		return;
	}
	t->state = TCP_OPEN;
	wheel_disarm(&c->wheel, &t->timer.ent);
	/* The edge that told of the connection may have told of its first bytes, or of its end, too. */
	t->flags |= TCP_F_READABLE | TCP_F_WRITABLE;
	c->stats.dialled++;
	tcp_log_opened(c, t);
	if (!(t->flags & TCP_F_CLOSING))
		t->post |= CHAN_EV_UP;
	tcp_ready(c, t);
}
