/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "ctl_int.h"

#define CTL_EVENTS 256 /* taken from epoll a turn */
#define CTL_MAIL   256 /* taken from a worker's mailbox a turn */

int ctl_fail(char *why, size_t why_n, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_n, fmt, ap);
	va_end(ap);
	return err;
}

static uint64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int ctl_ev_add(struct ctl *c, struct ev *e, uint32_t events)
{
	struct epoll_event ee = {.events = events, .data.ptr = e};

	return epoll_ctl(c->epoll, EPOLL_CTL_ADD, e->fd, &ee) ? -errno : 0;
}

void ctl_ev_mod(struct ctl *c, struct ev *e, uint32_t events)
{
	struct epoll_event ee = {.events = events, .data.ptr = e};

	epoll_ctl(c->epoll, EPOLL_CTL_MOD, e->fd, &ee);
}

void ctl_ev_close(struct ev *e)
{
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}

void ctl_bury(struct ctl *c, struct grave *g)
{
	g->next = c->dead;
	c->dead = g;
}

void ctl_post(struct ctl *c, unsigned worker, struct mbox_ent *e, uint32_t events)
{
	if (mbox_post(c->conf.borders[worker]->to_worker, e, events))
		c->ring[worker] = true;
}

/* To have woken is all that it is for.  Edge-triggered, it rings again at the next strike without being read. */
static void on_bell(struct ctl *c, struct ev *e, uint32_t events)
{
	(void)c;
	(void)e;
	(void)events;
}

static void on_names(struct ctl *c, struct ev *e, uint32_t events)
{
	(void)e;
	(void)events;
	names_turn(&c->names, c, c->now);
}

static void on_signal(struct ctl *c, struct ev *e, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)events;
	while (read(e->fd, &si, sizeof(si)) == sizeof(si))
		if (si.ssi_signo < 64)
			c->signals |= UINT64_C(1) << si.ssi_signo;
}

static int up_bells(struct ctl *c, char *why, size_t why_n)
{
	int err = 0;

	for (unsigned w = 0; w < c->conf.n_workers && !err; w++) {
		c->bell[w].fd = c->conf.borders[w]->ctl_bell;
		c->bell[w].fn = on_bell;
		err = ctl_ev_add(c, &c->bell[w], EPOLLIN | EPOLLET);
	}
	if (!err)
		err = names_init(&c->names);
	c->names_ev.fd = err ? -1 : c->names.bell;
	c->names_ev.fn = on_names;
	if (!err)
		err = ctl_ev_add(c, &c->names_ev, EPOLLIN);
	if (!err && !sigisemptyset(&c->conf.signals)) {
		c->sig.fn = on_signal;
		c->sig.fd = signalfd(-1, &c->conf.signals, SFD_NONBLOCK | SFD_CLOEXEC);
		err = c->sig.fd < 0 ? -errno : ctl_ev_add(c, &c->sig, EPOLLIN);
	}
	return err ? ctl_fail(why, why_n, err, "control: %s", strerror(-err)) : 0;
}

static void down_bells(struct ctl *c)
{
	ctl_ev_close(&c->sig);
	if (c->names_ev.fd >= 0)
		names_fini(&c->names);
}

static int up_tunnels(struct ctl *c, char *why, size_t why_n)
{
	c->tunnels = calloc(c->conf.n_tunnels + 1, sizeof(*c->tunnels));
	if (!c->tunnels)
		return ctl_fail(why, why_n, -ENOMEM, "no memory for %u tunnels", c->conf.n_tunnels);
	for (unsigned i = 0; i < c->conf.n_tunnels; i++) {
		const struct ctl_tunnel *t = &c->conf.tunnels[i];

		c->tunnels[i].conf = t;
		list_init(&c->tunnels[i].blocked[0]);
		list_init(&c->tunnels[i].blocked[1]);
		list_init(&c->tunnels[i].waiting);
		list_init(&c->tunnels[i].dial_wait);
		list_init(&c->tunnels[i].turn);
		name_init(&c->tunnels[i].host, t->client ? t->remote.host : t->target.host);
		if (!t->client)
			continue;
		c->tunnels[i].slot = calloc(t->conn, sizeof(*c->tunnels[i].slot));
		if (!c->tunnels[i].slot)
			return ctl_fail(why, why_n, -ENOMEM, "tunnel %s: no memory for %u sessions", t->name, t->conn);
	}
	return 0;
}

static void down_tunnels(struct ctl *c)
{
	for (unsigned i = 0; c->tunnels && i < c->conf.n_tunnels; i++)
		free(c->tunnels[i].slot);
	free(c->tunnels);
	c->tunnels = NULL;
}

static int up_rtnl(struct ctl *c, char *why, size_t why_n)
{
	int err = rtnl_open(&c->rtnl);

	return err ? ctl_fail(why, why_n, err, "rtnetlink: %s", strerror(-err)) : 0;
}

static void down_rtnl(struct ctl *c)
{
	rtnl_close(&c->rtnl);
}

/*
 * Forward to start, backward to stop; a part's down copes with an up that failed half-way.  Lookups under way (bells)
 * point at the tunnels' names.
 */
static const struct {
	int (*up)(struct ctl *c, char *why, size_t why_n);
	void (*down)(struct ctl *c);
} parts[] = {
	{up_tunnels, down_tunnels}, {up_bells, down_bells},   {up_rtnl, down_rtnl},	{iface_up, iface_down},
	{tap_up, tap_down},	    {link_up, link_down},     {resv_up, resv_down},	{mirror_up, mirror_down},
	{lo_up, lo_down},	    {listen_up, listen_down}, {limits_up, limits_down},
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

static void free_dead(struct ctl *c)
{
	while (c->dead) {
		struct grave *g = c->dead;

		c->dead = g->next;
		free(g);
	}
}

static void stop(struct ctl *c, unsigned n)
{
	tcp_down(c);
	dial_down(c);
	while (n > 0)
		parts[--n].down(c);
	free_dead(c);
	free(c->listeners);
	if (c->epoll >= 0)
		close(c->epoll);
	free(c);
}

int ctl_create(struct ctl **out, const struct ctl_conf *conf, char *why, size_t why_n)
{
	struct ctl *c;
	int err;

	if (conf->n_workers == 0 || conf->n_workers > CTL_WORKERS_MAX || conf->n_ports > NET_DEV_MAX)
		return ctl_fail(why, why_n, -EINVAL, "control: %u workers, %u ports", conf->n_workers, conf->n_ports);
	c = calloc(1, sizeof(*c));
	if (!c)
		return ctl_fail(why, why_n, -ENOMEM, "no memory for the control instance");
	c->conf = *conf;
	c->now = clock_ms();
	wheel_init(&c->wheel, c->now);
	list_init(&c->conns);
	list_init(&c->ready);
	list_init(&c->starved);
	list_init(&c->lingering);
	list_init(&c->dials);
	list_init(&c->holds);
	list_init(&c->kept);
	list_init(&c->dial_turn);
	tcp_up(c);
	c->sig.fd = c->names_ev.fd = -1;
	for (unsigned d = 0; d < NET_DEV_MAX; d++)
		c->tap[d].ev.fd = -1;
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll < 0) {
		err = ctl_fail(why, why_n, -errno, "epoll: %s", strerror(errno));
		stop(c, 0);
		return err;
	}
	for (unsigned i = 0; i < PARTS; i++) {
		err = parts[i].up(c, why, why_n);
		if (err) {
			stop(c, i + 1);
			return err;
		}
	}
	*out = c;
	return 0;
}

void ctl_destroy(struct ctl *c)
{
	if (c)
		stop(c, PARTS);
}

/* ---- a turn ---- */

static void take_mail(struct ctl *c)
{
	struct mbox_ent *ent[CTL_MAIL];
	uint32_t ev[CTL_MAIL];

	for (unsigned w = 0; w < c->conf.n_workers; w++) {
		unsigned n = mbox_get(c->conf.borders[w]->to_ctl, ent, ev, CTL_MAIL);

		for (unsigned i = 0; i < n; i++) {
			if (ent[i]->kind == MBOX_CHAN)
				tcp_mail(c, container_of(ent[i], struct chan, to_ctl), ev[i]);
			else
				dial_mail(c, container_of(ent[i], struct dial, to_ctl), ev[i]);
		}
	}
}

static void run_timers(struct ctl *c)
{
	struct wheel_ent *e;

	while ((e = wheel_due(&c->wheel, c->now))) {
		struct timer *t = container_of(e, struct timer, ent);

		t->fn(c, t);
	}
}

/* Workers that were given something and sleep are woken, once. */
static void ring_bells(struct ctl *c)
{
	for (unsigned w = 0; w < c->conf.n_workers; w++) {
		if (!c->ring[w])
			continue;
		c->ring[w] = false;
		border_ring_worker(c->conf.borders[w]);
	}
}

/* How long epoll may sleep: to the caller's limit, the next timer, or netlink's next reading. */
static int sleep_ms(const struct ctl *c, int timeout_ms)
{
	uint64_t next = wheel_next(&c->wheel), nl = nl_next(&c->nl, c->now), ms;

	next = nl < next ? nl : next;
	if (next == UINT64_MAX)
		return timeout_ms;
	ms = next > c->now ? next - c->now : 0;
	return timeout_ms >= 0 && ms > (uint64_t)timeout_ms ? timeout_ms : ms > INT32_MAX ? INT32_MAX : (int)ms;
}

/* Blocks only when every worker's side of the border is empty and its bell would wake us (border_sleep_ctl). */
static int wait_events(struct ctl *c, struct epoll_event *v, int timeout_ms)
{
	unsigned w = 0;
	int n, ms;

	c->now = clock_ms();
	ms = sleep_ms(c, timeout_ms);
	if (ms == 0)
		return epoll_wait(c->epoll, v, CTL_EVENTS, 0);
	while (w < c->conf.n_workers && border_sleep_ctl(c->conf.borders[w]))
		w++;
	n = epoll_wait(c->epoll, v, CTL_EVENTS, w == c->conf.n_workers ? ms : 0);
	while (w > 0)
		mbox_awake(c->conf.borders[--w]->to_ctl);
	return n;
}

uint64_t ctl_turn(struct ctl *c, int timeout_ms)
{
	struct epoll_event v[CTL_EVENTS];
	int n = wait_events(c, v, list_empty(&c->ready) ? timeout_ms : 0);
	uint64_t signals;

	c->now = clock_ms();
	for (int i = 0; i < n; i++) {
		struct ev *e = v[i].data.ptr;

		/* Closed by an earlier event of this turn: its memory waits in the grave. */
		if (e->fd >= 0)
			e->fn(c, e, v[i].events);
	}
	note_turn(c); /* a session's line before its streams' */
	take_mail(c);
	tap_punts(c);
	run_timers(c);
	tcp_turn(c);
	tcp_dial_turn(c);
	mirror_turn(c);
	iface_turn(c);
	ring_bells(c);
	free_dead(c);
	signals = c->signals;
	c->signals = 0;
	return signals;
}

void ctl_drain(struct ctl *c)
{
	if (c->draining)
		return;
	c->draining = true;
	listen_down(c);
	tcp_drain(c);
	ring_bells(c);
}

bool ctl_idle(const struct ctl *c)
{
	return list_empty(&c->conns);
}

uint64_t ctl_undelivered(const struct ctl *c, unsigned *conns)
{
	return tcp_undelivered(c, conns);
}

const struct ctl_stats *ctl_stats(const struct ctl *c)
{
	return &c->stats;
}

struct ctl_parts ctl_parts(const struct ctl *c, unsigned tunnel)
{
	const struct tunnel *t = &c->tunnels[tunnel];

	return (struct ctl_parts){t->dials.used, t->n_dial_wait, t->fds.used};
}
