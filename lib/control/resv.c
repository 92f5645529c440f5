/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cap.h"
#include "ctl_int.h"
#include "kudp.h"
#include "sock.h"
#include "xdp_port.h"

#define RETRY_MS 1000
#define SPARE	 4096 /* ports of tunnels that are added while it runs */

/*
 * Of family `af`, deaf: its filter drops everything, before it is bound.  For TCP that keeps a listening socket from
 * seeing a SYN, and whatever else finds no connection of its own comes to it too.
 */
static int deaf_socket(int af, uint16_t proto)
{
	struct sock_filter drop[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
	struct sock_fprog prog = {.len = 1, .filter = drop};
	int type = proto == FLOW_TCP ? SOCK_STREAM : SOCK_DGRAM, off = 0, on = 1, tiny = 1, err;
	int fd = socket(af, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny));
	/* An address of a port that comes up later may be reserved now. */
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ||
	    (af == AF_INET6 && (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) ||
				setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on))))) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int bind_one(struct resv *r, const struct addr *host, uint16_t port, uint16_t proto)
{
	struct sockaddr_storage ss;
	socklen_t len = sock_addr(host, port, &ss);
	struct addr got;
	int fd = deaf_socket(ss.ss_family, proto), on = 1, err;

	if (fd < 0)
		return fd;
	/* Connections that another server left in TIME_WAIT do not count. */
	if (proto == FLOW_TCP && port)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&ss, len) || (proto == FLOW_TCP && listen(fd, 1)))
		goto fail;
	len = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &len))
		goto fail;
	sock_addr_read(&ss, &got, &r->port);
	r->fd = fd;
	r->proto = proto;
	return 0;
fail:
	err = -errno;
	close(fd);
	return err;
}

int resv_bind(struct resv *r, const struct addr *host, uint16_t port, uint16_t proto)
{
	const struct addr any6 = {{0}}, any4 = addr_v4(0);
	int err;

	r->fd = -1;
	r->set = NULL;
	/* A link-local address is the kernel's with its interface only, which may come later: no other's loss. */
	if (host && !addr_is_any(host) && !addr_needs_zone(host))
		return bind_one(r, host, port, proto);
	err = bind_one(r, &any6, port, proto);
	if (err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL)
		err = bind_one(r, &any4, port, proto);
	return err;
}

const struct port *resv_by_sockets(const struct ctl *c)
{
	for (unsigned d = 0; d < c->conf.n_ports; d++)
		if (c->conf.ports[d].port->kudp)
			return c->conf.ports[d].port;
	return NULL;
}

int resv_sockets(const struct ctl *c, struct resv *r, unsigned tunnel, const struct addr *host, uint16_t port,
		 uint16_t worker)
{
	const struct port *p = resv_by_sockets(c);
	struct kudp_conf kc = {.host = host,
			       .port = port,
			       .queue = worker == RESV_SERVER ? KUDP_ALL : worker % p->n_rxq,
			       .floating = worker != RESV_SERVER,
			       .buffer = c->tunnels[tunnel].conf->sockbuf};

	r->fd = -1;
	r->proto = FLOW_UDP;
	return kudp_open(p->kudp, &kc, &r->set, &r->port);
}

void resv_close(const struct ctl *c, struct resv *r)
{
	const struct port *p = resv_by_sockets(c);

	if (r->set && p)
		kudp_close(p->kudp, r->set);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	r->set = NULL;
}

static _Atomic uint16_t *entry(struct net_ports *t, uint16_t proto, unsigned port)
{
	return proto == FLOW_TCP ? &t->tcp[port] : &t->of[port];
}

void resv_enter(struct net_ports *t, const struct resv *r, uint16_t tunnel)
{
	atomic_store_explicit(entry(t, r->proto, r->port), (uint16_t)(tunnel + 1), memory_order_release);
	port_xdp_serve(r->proto, r->port, true);
}

void resv_free(struct ctl *c, struct resv *r)
{
	if (!resv_held(r))
		return;
	port_xdp_serve(r->proto, r->port, false);
	atomic_store_explicit(entry(c->conf.udp, r->proto, r->port), 0, memory_order_relaxed);
	resv_close(c, r);
}

static int reserve(struct ctl *c, unsigned tunnel, const struct addr *host, unsigned port, uint16_t proto, char *why,
		   size_t why_n)
{
	const char *name = c->tunnels[tunnel].conf->name, *what = proto == FLOW_TCP ? "TCP" : "UDP";
	struct resv *r = &c->resv[c->n_resv];
	unsigned other = atomic_load_explicit(entry(c->conf.udp, proto, port), memory_order_relaxed);
	int err;

	if (other)
		return ctl_fail(why, why_n, -EADDRINUSE, "tunnel %s: %s port %u is tunnel %s's already", name, what,
				port, c->tunnels[other - 1].conf->name);
	if (c->n_resv == c->max_resv)
		return ctl_fail(why, why_n, -ENOSPC, "tunnel %s: there is no room for more ports before a restart",
				name);
	if (proto == FLOW_UDP && resv_by_sockets(c))
		err = resv_sockets(c, r, tunnel, host, (uint16_t)port, RESV_SERVER);
	else
		err = resv_bind(r, host, (uint16_t)port, proto);
	if (err == -EADDRINUSE)
		return ctl_fail(why, why_n, err, "tunnel %s: %s port %u is in use by another process", name, what,
				port);
	if (err == -EMFILE || err == -ENFILE)
		return ctl_fail(why, why_n, err, "tunnel %s: %s port %u: too many open files (raise ulimit -n)", name,
				what, port);
	if (err)
		return ctl_fail(why, why_n, err, "tunnel %s: %s port %u: %s%s", name, what, port, strerror(-err),
				cap_of_listen(err, port));
	c->n_resv++;
	resv_enter(c->conf.udp, r, (uint16_t)tunnel);
	return 0;
}

/* All ports of a server tunnel, or none. */
static int reserve_all(struct ctl *c, unsigned tunnel, const struct addr *host, char *why, size_t why_n)
{
	const struct ctl_tunnel *t = c->tunnels[tunnel].conf;
	unsigned before = c->n_resv;
	int err = 0;

	for (unsigned p = t->listen.port_min; p <= t->listen.port_max && !err; p++) {
		err = reserve(c, tunnel, host, p, FLOW_UDP, why, why_n);
		if (err == 0 && t->tcp)
			err = reserve(c, tunnel, host, p, FLOW_TCP, why, why_n);
	}
	while (err && c->n_resv > before)
		resv_free(c, &c->resv[--c->n_resv]);
	return err;
}

/* It listens from now on, or the next attempt is due. */
static void listen_now(struct ctl *c, unsigned tunnel)
{
	struct tunnel *t = &c->tunnels[tunnel];
	char why[256], text[ADDR_STRLEN];
	int err = -EADDRNOTAVAIL;

	if (t->listen.n == 0) {
		snprintf(why, sizeof(why), "tunnel %s: listen address %s: %s", t->conf->name, t->listen.host,
			 name_error(&t->listen));
	} else {
		if (c->conf.listens)
			c->conf.listens(c->conf.ctx, tunnel, &t->listen.addrs[0]);
		err = reserve_all(c, tunnel, &t->listen.addrs[0], why, sizeof(why));
	}
	if (err) {
		if (!t->listen_told)
			log_warn("%s: trying again each second", why);
		t->listen_told = true;
		ctl_arm(c, &t->listen_retry, RETRY_MS);
		return;
	}
	t->deaf = false;
	if (t->listen_told)
		log_info("tunnel %s: listens on %s now", t->conf->name, addr_str(&t->listen.addrs[0], text));
}

static void on_listen_name(struct ctl *c, struct name_wait *w)
{
	listen_now(c, (unsigned)(container_of(w, struct tunnel, listen_wait) - c->tunnels));
}

static void ask_listen(struct ctl *c, struct tunnel *t)
{
	if (name_ask(&c->names, &t->listen, &t->listen_wait, c->now))
		listen_now(c, (unsigned)(t - c->tunnels));
}

static void on_retry(struct ctl *c, struct timer *timer)
{
	ask_listen(c, container_of(timer, struct tunnel, listen_retry));
}

bool resv_seeking(const struct ctl *c)
{
	for (unsigned i = 0; i < c->conf.n_tunnels; i++)
		if (c->tunnels[i].deaf && !c->tunnels[i].listen_told)
			return true;
	return false;
}

/* Where a tunnel listens: at once, or, where a name must be resolved first, as soon as it is. */
static int up_one(struct ctl *c, unsigned tunnel, char *why, size_t why_n)
{
	struct tunnel *t = &c->tunnels[tunnel];
	const char *host = t->conf->listen.host;
	struct addr any = {{0}};

	wheel_ent_init(&t->listen_retry.ent);
	t->listen_retry.fn = on_retry;
	name_wait_init(&t->listen_wait, on_listen_name);
	if (!host || !*host)
		return reserve_all(c, tunnel, &any, why, why_n);
	name_init(&t->listen, host);
	if (t->listen.literal)
		return reserve_all(c, tunnel, &t->listen.addrs[0], why, why_n);
	t->deaf = true;
	ask_listen(c, t);
	return 0;
}

int resv_up(struct ctl *c, char *why, size_t why_n)
{
	unsigned total = 0;
	int err = 0;

	for (unsigned i = 0; i < c->conf.n_tunnels; i++)
		if (!c->conf.tunnels[i].client && !c->conf.tunnels[i].blank)
			total += (1u + c->conf.tunnels[i].listen.port_max - c->conf.tunnels[i].listen.port_min) *
				 (c->conf.tunnels[i].tcp ? 2 : 1);
	c->max_resv = total + SPARE;
	c->resv = calloc(c->max_resv, sizeof(*c->resv));
	if (!c->resv)
		return ctl_fail(why, why_n, -ENOMEM, "no memory for %u port reservations", total);
	for (unsigned i = 0; i < c->conf.n_tunnels && !err; i++)
		if (!c->conf.tunnels[i].client && !c->conf.tunnels[i].blank && !c->conf.tunnels[i].beside)
			err = up_one(c, i, why, why_n);
	return err;
}

int resv_open(struct ctl *c, unsigned tunnel, char *why, size_t why_n)
{
	return up_one(c, tunnel, why, why_n);
}

/* Its ports are those whose entries name it. */
void resv_leave(struct ctl *c, unsigned tunnel)
{
	if (c->tunnels[tunnel].listen_retry.fn) {
		name_cancel(&c->tunnels[tunnel].listen_wait);
		wheel_disarm(&c->wheel, &c->tunnels[tunnel].listen_retry.ent);
	}
	for (unsigned i = c->n_resv; i-- > 0;) {
		struct resv *r = &c->resv[i];

		if (atomic_load_explicit(entry(c->conf.udp, r->proto, r->port), memory_order_relaxed) != tunnel + 1)
			continue;
		resv_free(c, r);
		*r = c->resv[--c->n_resv];
	}
}

void resv_down(struct ctl *c)
{
	for (unsigned i = 0; i < c->conf.n_tunnels; i++) {
		if (!c->tunnels[i].listen_retry.fn)
			continue;
		name_cancel(&c->tunnels[i].listen_wait);
		wheel_disarm(&c->wheel, &c->tunnels[i].listen_retry.ent);
	}
	while (c->n_resv > 0)
		resv_free(c, &c->resv[--c->n_resv]);
	free(c->resv);
	c->resv = NULL;
}
