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

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t clock_ms(void)
{
	return clock_ns() / 1000000;
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
		for (unsigned k = 0; k < DIAL_CLASSES; k++)
			list_init(&c->tunnels[i].dial_wait[k]);
		list_init(&c->tunnels[i].turn);
		name_init(&c->tunnels[i].host, t->client ? t->remote.host : t->target.host);
	}
	return 0;
}

static void down_tunnels(struct ctl *c)
{
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
static const struct part_of_ctl {
	int (*up)(struct ctl *c, char *why, size_t why_n);
	void (*down)(struct ctl *c);
	bool one; /* the first instance's alone */
} parts[] = {
	{up_tunnels, down_tunnels, false}, {team_up, team_down, false},
	{up_bells, down_bells, false},	   {up_rtnl, down_rtnl, true},
	{iface_up, iface_down, true},	   {tap_up, tap_down, true},
	{link_up, link_down, true},	   {resv_up, resv_down, true},
	{mirror_up, mirror_down, true},	   {lo_up, lo_down, true},
	{listen_up, listen_down, true},	   {limits_up, limits_down, false},
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

static bool has_part(const struct ctl *c, unsigned i)
{
	return !parts[i].one || c->conf.id == 0;
}

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
	while (n-- > 0)
		if (has_part(c, n))
			parts[n].down(c);
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

	if (conf->n_workers == 0 || conf->n_workers > CTL_WORKERS_MAX || conf->n_ports > NET_DEV_MAX ||
	    conf->n_controls > LIMIT_CONTROLS || (conf->id && (!conf->first || conf->id >= conf->first->team->n)))
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
		err = has_part(c, i) ? parts[i].up(c, why, why_n) : 0;
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
void ctl_ring(struct ctl *c)
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
	uint64_t next = wheel_next(&c->wheel), nl = c->conf.id ? UINT64_MAX : nl_next(&c->nl, c->now), ms;

	next = nl < next ? nl : next;
	if (next == UINT64_MAX)
		return timeout_ms;
	ms = next > c->now ? next - c->now : 0;
	return timeout_ms >= 0 && ms > (uint64_t)timeout_ms ? timeout_ms : ms > INT32_MAX ? INT32_MAX : (int)ms;
}

/* Blocks only when nothing waits for us on any side and every bell would wake us (border_sleep_ctl). */
static int wait_events(struct ctl *c, struct epoll_event *v, int timeout_ms)
{
	unsigned w = 0;
	int n, ms;

	ms = sleep_ms(c, timeout_ms);
	if (ms == 0)
		return epoll_wait(c->epoll, v, CTL_EVENTS, 0);
	while (w < c->conf.n_workers && border_sleep_ctl(c->conf.borders[w]))
		w++;
	n = epoll_wait(c->epoll, v, CTL_EVENTS, w == c->conf.n_workers && team_sleep(c) ? ms : 0);
	team_awake(c);
	while (w > 0)
		mbox_awake(c->conf.borders[--w]->to_ctl);
	return n;
}

/* The times before and behind the wait: what lies between is no work. */
static int wait_timed(struct ctl *c, struct epoll_event *v, int timeout_ms)
{
	uint64_t begin = clock_ns(), end;
	int n;

	c->now = begin / 1000000;
	n = wait_events(c, v, list_empty(&c->ready) ? timeout_ms : 0);
	end = clock_ns();
	c->now = end / 1000000;
	if (c->stats.turns++) {
		c->stats.busy_ns += begin - c->turned;
		c->stats.total_ns += end - c->turned;
	}
	c->turned = end;
	return n;
}

/* What there is one of. */
static void turn_one(struct ctl *c)
{
	mirror_turn(c);
	iface_turn(c);
}

uint64_t ctl_turn(struct ctl *c, int timeout_ms)
{
	struct epoll_event v[CTL_EVENTS];
	int n = wait_timed(c, v, timeout_ms);
	uint64_t signals;

	for (int i = 0; i < n; i++) {
		struct ev *e = v[i].data.ptr;

		/* Closed by an earlier event of this turn: its memory waits in the grave. */
		if (e->fd >= 0)
			e->fn(c, e, v[i].events);
	}
	if (c->conf.id == 0)
		note_turn(c); /* a session's line before its streams' */
	team_turn(c);
	take_mail(c);
	if (c->conf.id == 0)
		tap_punts(c);
	run_timers(c);
	tcp_turn(c);
	tcp_dial_turn(c);
	if (c->conf.id == 0)
		turn_one(c);
	ctl_ring(c);
	team_end(c);
	free_dead(c);
	signals = c->signals;
	c->signals = 0;
	return signals;
}

const struct ctl_stats *ctl_stats(const struct ctl *c)
{
	return &c->stats;
}
