/* SPDX-License-Identifier: MIT */

/*
 * What changes while it runs.  The first instance makes what is new, and counts; each instance follows in a turn of its
 * own, and what was there before goes with the last that has left it.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "ctl_int.h"

/* A tunnel as it is now. */
struct tunnel_now {
	struct ctl_tunnel conf; /* first */
	_Atomic unsigned refs;	/* instances that have it, or will */
	char *host, *path;
};

static void now_put(struct tunnel_now *n)
{
	if (!n || atomic_fetch_sub(&n->refs, 1) > 1)
		return;
	free(n->host);
	free(n->path);
	free(n);
}

static struct tunnel_now *now_new(const struct ctl *c, unsigned tunnel, const struct ctl_tunnel *t)
{
	struct tunnel_now *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->conf = *t;
	atomic_init(&n->refs, c->team->n);
	n->host = strdup(t->target.host ? t->target.host : "");
	n->path = t->target_path ? strdup(t->target_path) : NULL;
	if (!n->host || (t->target_path && !n->path)) {
		atomic_store(&n->refs, 1);
		now_put(n);
		return NULL;
	}
	n->conf.target = (struct ctl_addr){n->host, t->target.port_min, t->target.port_max};
	n->conf.target_path = n->path;
	return n;
}

static void follow(struct ctl *c, unsigned tunnel)
{
	struct tunnel_now *n = atomic_load_explicit(&c->team->tunnel[tunnel].now, memory_order_acquire);
	struct tunnel *t = &c->tunnels[tunnel];
	const struct ctl_tunnel *old = t->conf;

	if (!n || old == &n->conf)
		return;
	t->conf = &n->conf;
	if (n->conf.client && old->blank)
		name_change(&t->host, c, n->conf.remote.host);
	if (!n->conf.client && (t->host.literal || strcmp(t->host.host, n->host) != 0))
		name_change(&t->host, c, n->host);
	else if (!n->conf.client)
		t->host.host = n->host; /* and what is known of it */
	if (old != &c->conf.tunnels[tunnel])
		now_put(container_of(old, struct tunnel_now, conf));
}

void change_turn(struct ctl *c)
{
	unsigned changes = atomic_load_explicit(&c->team->changes, memory_order_acquire);

	if (changes == c->changes)
		return;
	c->changes = changes;
	c->conf.quiet = atomic_load(&c->team->quiet);
	c->dial_ms = atomic_load(&c->team->dial_ms);
	for (unsigned i = 0; i < c->conf.n_tunnels; i++)
		follow(c, i);
	atomic_store_explicit(&c->team->one[c->conf.id].followed, changes, memory_order_release);
}

bool ctl_followed(const struct ctl *c)
{
	unsigned changes = atomic_load_explicit(&c->team->changes, memory_order_relaxed);

	for (unsigned k = 0; k < c->team->n; k++)
		if (atomic_load_explicit(&c->team->one[k].followed, memory_order_acquire) != changes)
			return false;
	return true;
}

int ctl_tunnel_open(struct ctl *c, unsigned tunnel, char *why, size_t why_n)
{
	if (c->tunnels[tunnel].conf->beside)
		return 0;
	return c->tunnels[tunnel].conf->client ? listen_open(c, tunnel, why, why_n) : resv_open(c, tunnel, why, why_n);
}

void change_down(struct ctl *c)
{
	for (unsigned i = 0; i < c->conf.n_tunnels; i++) {
		struct tunnel_now *n = atomic_load(&c->team->tunnel[i].now);

		if (!n)
			continue;
		atomic_store(&n->refs, 1);
		now_put(n);
	}
}

/* Others are woken at once, this one has its turn. */
static void count(struct ctl *c)
{
	atomic_fetch_add_explicit(&c->team->changes, 1, memory_order_release);
	for (unsigned k = 1; k < c->team->n; k++)
		eventfd_write(c->team->one[k].bell, 1);
	change_turn(c);
}

int ctl_tunnel_change(struct ctl *c, unsigned tunnel, const struct ctl_tunnel *t)
{
	struct tunnel_now *n = now_new(c, tunnel, t);

	if (!n)
		return -ENOMEM;
	if (!c->changes)
		ctl_change(c, c->conf.quiet, c->dial_ms);
	atomic_store_explicit(&c->team->tunnel[tunnel].now, n, memory_order_release);
	count(c);
	return 0;
}

void ctl_change(struct ctl *c, bool quiet, uint32_t dial_ms)
{
	atomic_store(&c->team->quiet, quiet);
	atomic_store(&c->team->dial_ms, dial_ms);
	count(c);
}

void ctl_tunnel_close(struct ctl *c, unsigned tunnel)
{
	listen_close(c, tunnel);
}

void ctl_tunnel_gone(struct ctl *c, unsigned tunnel)
{
	if (!c->tunnels[tunnel].conf->client)
		resv_leave(c, tunnel);
}

void ctl_wake(struct ctl *c)
{
	/* To be woken is all: whoever looks for names finds none. */
	eventfd_write(c->names.bell, 1);
}

void ctl_epoch(struct ctl *c)
{
	for (unsigned w = 0; w < c->conf.n_workers; w++) {
		atomic_fetch_add_explicit(&c->conf.borders[w]->epoch, 1, memory_order_release);
		c->ring[w] = true;
	}
}

bool ctl_epoch_seen(const struct ctl *c)
{
	for (unsigned w = 0; w < c->conf.n_workers; w++)
		if (atomic_load_explicit(&c->conf.borders[w]->seen, memory_order_acquire) !=
		    atomic_load_explicit(&c->conf.borders[w]->epoch, memory_order_relaxed))
			return false;
	return true;
}
