/* SPDX-License-Identifier: MIT */

/* Client tunnels' sessions: remote address, route, source port whose replies come home, reservation. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "ctl_int.h"

#define DIAL_TRIES  64	  /* source ports tried, times the number of workers: about one in as many fits */
#define HOLD_MS	    60000 /* a stock peer may go on sending to an ended session for so long (wire.md 12, 18 and 19) */
#define FAIL_LINES  5
#define FAIL_PERIOD 10

/* Control's side of a struct dial. */
struct dialer {
	struct list all;
	struct dial *d;
	struct name_wait wait;
	struct resv resv; /* of the session that runs now */
	bool asked;	  /* WANT came, its answer is due */
};

/* The port of an ended session, or of one that was replaced and goes on. */
struct hold {
	struct grave grave; /* first */
	struct list all;
	struct timer timer;
	struct resv resv;
	uint16_t tunnel;
	uint64_t lost; /* notes, when it began */
	bool kept;     /* on ctl->kept: its session goes on, and counts for its tunnel's descriptors */
};

static void free_hold(struct ctl *c, struct hold *h)
{
	if (h->kept)
		fd_give(c, h->tunnel);
	else
		c->stats.holds--;
	resv_free(c, &h->resv);
	wheel_disarm(&c->wheel, &h->timer.ent);
	list_del(&h->all);
	ctl_bury(c, &h->grave);
}

static uint64_t notes_lost(const struct ctl *c)
{
	uint64_t n = 0;

	for (unsigned w = 0; w < c->conf.n_workers; w++)
		n += c->conf.borders[w]->notes_lost;
	return n;
}

/* The session that a port is kept for may go on for as long as it likes: but its end may have been among lost notes. */
static void on_hold(struct ctl *c, struct timer *t)
{
	struct hold *h = container_of(t, struct hold, timer);

	if (h->kept && h->lost == notes_lost(c))
		ctl_arm(c, t, HOLD_MS);
	else
		free_hold(c, h);
}

bool dial_give_up(struct ctl *c)
{
	if (list_empty(&c->holds))
		return false;
	free_hold(c, container_of(c->holds.next, struct hold, all));
	c->stats.holds_given_up++;
	return true;
}

/* One more port of an ended session: of more than are allowed the oldest goes. */
static void hold_ended(struct ctl *c, struct hold *h)
{
	list_add_tail(&c->holds, &h->all);
	h->kept = false;
	ctl_arm(c, &h->timer, HOLD_MS);
	if (++c->stats.holds > c->max_holds)
		dial_give_up(c);
}

/* The port is no longer the slot's: its session has ended, or was replaced and goes on. */
static void hold(struct ctl *c, struct dialer *d, bool kept)
{
	struct hold *h;

	if (!resv_held(&d->resv))
		return;
	h = calloc(1, sizeof(*h));
	if (!h) {
		resv_free(c, &d->resv);
		return;
	}
	h->resv = d->resv;
	d->resv = (struct resv){.fd = -1};
	h->timer.fn = on_hold;
	h->tunnel = d->d->tunnel;
	h->lost = notes_lost(c);
	wheel_ent_init(&h->timer.ent);
	if (!kept) {
		hold_ended(c, h);
		return;
	}
	list_add_tail(&c->kept, &h->all);
	h->kept = true;
	fd_add(c, h->tunnel);
	/* A note may be lost: so a port that is kept has its time, too. */
	ctl_arm(c, &h->timer, (uint64_t)c->tunnels[h->tunnel].conf->scavenge_ms + HOLD_MS);
}

void dial_ended(struct ctl *c, uint16_t port)
{
	list_for_each_safe (l, next, &c->kept) {
		struct hold *h = container_of(l, struct hold, all);

		if (h->resv.port != port)
			continue;
		list_del(&h->all);
		fd_give(c, h->tunnel);
		hold_ended(c, h);
		return;
	}
}

static void fail(struct ctl *c, struct dialer *d, int err, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void fail(struct ctl *c, struct dialer *d, int err, const char *fmt, ...)
{
	struct tunnel *t = &c->tunnels[d->d->tunnel];
	uint32_t left_out = 0;
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (log_allow(&t->dial_limit, c->now / 1000, FAIL_LINES, FAIL_PERIOD, &left_out)) {
		if (left_out)
			log_info("tunnel %s: %u lines like the next one left out", t->conf->name, left_out);
		if (c->conf.n_tunnels > 1 && !c->conf.tunnels[1].blank)
			log_info("re-connecting: tunnel %s: %s", t->conf->name, text);
		else
			log_info("re-connecting: %s", text);
	}
	c->stats.sessions_failed++;
	d->asked = false;
	d->d->err = -err;
	ctl_post(c, d->d->worker_id, &d->d->to_worker, DIAL_EV_FAIL);
}

static uint16_t random_port(const struct ctl_addr *a)
{
	uint32_t r = 0, n = 1u + a->port_max - a->port_min;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		r = 0;
	return (uint16_t)(a->port_min + r % n);
}

/* The first address of the remote that the tunnel can reach; or false, and the answer was given. */
static bool find_route(struct ctl *c, struct dialer *d, struct addr *peer, struct net_hop *hop)
{
	const struct tunnel *t = &c->tunnels[d->d->tunnel];
	char text[ADDR_STRLEN];
	int err = -EHOSTUNREACH;

	for (unsigned i = 0; i < t->host.n; i++) {
		*peer = t->host.addrs[i];
		/* Of several ways each dial takes its own, and its session then the one that its address is on. */
		err = net_resolve_in(c->nl.tbl, t->conf->port == UINT16_MAX ? 0 : t->conf->port + 1u, peer, NULL,
				     (uint32_t)c->stats.sessions_dialled * 2654435761u, hop);
		if (err == 0 && (t->conf->port == UINT16_MAX || t->conf->port == hop->dev))
			return true;
	}
	addr_str(peer, text);
	if (err == 0)
		fail(c, d, -ENETUNREACH, "the route to %s leaves by port %s, not by %s", text,
		     c->conf.ports[hop->dev].name, c->conf.ports[t->conf->port].name);
	else if (err == -EADDRNOTAVAIL)
		fail(c, d, err, "no source address for %s on the port that the route leaves by", text);
	else
		fail(c, d, err, "no route to %s by any gateway port", text);
	return false;
}

/* Reserves a source port whose replies come to the worker, where they come by gateway port dev.  0 or -errno. */
static int find_port(struct ctl *c, const struct dialer *d, unsigned dev, struct flow_key *key, struct resv *r)
{
	const struct port *p = c->conf.ports[dev].port;
	int err;

	for (unsigned i = 0; i < DIAL_TRIES * c->conf.n_workers; i++) {
		do {
			err = p->kudp ? resv_sockets(c, r, d->d->tunnel, NULL, 0, d->d->worker_id)
				      : resv_bind(r, NULL, 0, key->proto);
		} while (err == -EMFILE && dial_give_up(c));
		if (err)
			return err;
		key->local_port = r->port;
		if (p->at_home || flow_home(&p->rss, key) == d->d->worker_id)
			return 0;
		resv_close(c, r);
	}
	return -EADDRNOTAVAIL;
}

static void dial_now(struct ctl *c, struct dialer *d)
{
	struct tunnel *t = &c->tunnels[d->d->tunnel];
	struct flow_key key = {.proto = t->conf->tcp ? FLOW_TCP : FLOW_UDP};
	struct net_hop hop;
	int err;

	if (t->host.n == 0) {
		fail(c, d, -EHOSTUNREACH, "%s: %s", t->host.host, name_error(&t->host));
		return;
	}
	if (!find_route(c, d, &key.peer, &hop))
		return;
	nl_need(&c->nl, &hop.via, hop.dev, c->now);
	key.local = hop.src;
	key.dev = addr_needs_zone(&key.peer) ? (uint16_t)(hop.dev + 1) : 0;
	key.peer_port = random_port(&t->conf->remote);
	err = find_port(c, d, hop.dev, &key, &d->resv);
	if (err) {
		fail(c, d, err, "no %s source port: %s", key.proto == FLOW_TCP ? "TCP" : "UDP", strerror(-err));
		return;
	}
	resv_enter(c->conf.udp, &d->resv, d->d->tunnel);
	d->asked = false;
	d->d->key = key;
	d->d->err = 0;
	c->stats.sessions_dialled++;
	ctl_post(c, d->d->worker_id, &d->d->to_worker, DIAL_EV_READY);
}

static void on_name(struct ctl *c, struct name_wait *w)
{
	dial_now(c, container_of(w, struct dialer, wait));
}

static struct dialer *dialer_of(struct ctl *c, struct dial *d)
{
	struct dialer *r = d->ctl;

	if (r)
		return r;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->d = d;
	r->resv.fd = -1;
	name_wait_init(&r->wait, on_name);
	list_add_tail(&c->dials, &r->all);
	d->ctl = r;
	return r;
}

void dial_mail(struct ctl *c, struct dial *d, uint32_t events)
{
	struct dialer *r = dialer_of(c, d);

	if (!r) {
		d->err = ENOMEM;
		if (events & DIAL_EV_WANT)
			ctl_post(c, d->worker_id, &d->to_worker, DIAL_EV_FAIL);
		return;
	}
	if (events & DIAL_EV_KEEP)
		hold(c, r, true);
	/* DROP and WANT at once: the old session ended before the new one was wanted.  Nor is its port used again
	 * without DROP. */
	hold(c, r, false);
	if (!(events & DIAL_EV_WANT) || r->asked)
		return;
	r->asked = true;
	if (c->draining)
		fail(c, r, -ESHUTDOWN, "shutting down");
	else if (name_ask(&c->names, &c->tunnels[d->tunnel].host, &r->wait, c->now))
		dial_now(c, r);
}

void dial_down(struct ctl *c)
{
	struct list *l;

	while ((l = list_pop(&c->dials))) {
		struct dialer *d = container_of(l, struct dialer, all);

		name_cancel(&d->wait);
		resv_free(c, &d->resv);
		d->d->ctl = NULL;
		free(d);
	}
	list_for_each_safe (h, next, &c->holds)
		free_hold(c, container_of(h, struct hold, all));
	list_for_each_safe (k, next, &c->kept)
		free_hold(c, container_of(k, struct hold, all));
}
