/* SPDX-License-Identifier: MIT */

/*
 * Tunnels that take nothing new.  A client's refuses connections, a server's refuses sessions and streams; what there
 * is ends by itself, or at its time.  Workers look after the sessions (shard_drain_tunnels), control counts what is
 * left.
 */

#include <inttypes.h>
#include <stdatomic.h>
#include <time.h>

#include <rte_cycles.h>

#include "app.h"
#include "log.h"

#define UNTIL_S 60 /* for what there is, when a tunnel's time has come */

unsigned app_drain_sessions(const struct app *a, unsigned tunnel)
{
	unsigned n = 0;

	for (unsigned w = 0; w < a->plan.workers; w++)
		n += shard_tunnel_sessions(a->shards[w], tunnel);
	return n;
}

bool app_draining(const struct app *a, unsigned tunnel)
{
	return atomic_load_explicit(&a->tunnels[tunnel].drain_at, memory_order_relaxed) != 0;
}

static void drain_one(struct app *a, unsigned tunnel, unsigned deadline_s)
{
	uint64_t now = worker_clock_ms(&a->clock, rte_rdtsc());
	const char *name = a->conf->tunnels[tunnel].name;

	atomic_store(&a->tunnels[tunnel].drain_at, deadline_s ? now + deadline_s * UINT64_C(1000) : UINT64_MAX);
	ctl_tunnel_close(a->ctl, tunnel);
	a->drained[tunnel] = false;
	a->draining++;
	if (deadline_s)
		log_info("tunnel %s: is drained: it takes nothing new, and ends in %u s", name, deadline_s);
	else
		log_info("tunnel %s: is drained: it takes nothing new", name);
}

void app_drain(struct app *a, int tunnel, unsigned deadline_s)
{
	for (unsigned i = 0; i < a->conf->n_tunnels; i++)
		if ((unsigned)tunnel == i || (tunnel < 0 && !a->removed[i]))
			drain_one(a, i, deadline_s);
	for (unsigned w = 0; w < a->plan.workers; w++)
		worker_drain_some(a->workers[w]);
	ctl_epoch(a->ctl);
}

void app_until_turn(struct app *a)
{
	int64_t now = time(NULL);

	if (now == a->until_looked)
		return;
	a->until_looked = now;
	for (unsigned i = 0; i < a->conf->n_tunnels; i++) {
		const struct conf_tunnel *t = &a->conf->tunnels[i];

		if (!t->until || now < t->until || app_draining(a, i))
			continue;
		log_info("tunnel %s: its time has come (until)", t->name);
		app_drain(a, (int)i, UNTIL_S);
	}
}

/* Of the first of those that listen at a place, when none of them is left. */
static void ports_back(struct app *a, unsigned first)
{
	if (a->removed[first] && a->drained[first] && !app_circle_shared(a, first))
		ctl_tunnel_gone(a->ctl, first);
}

/* A worker that sleeps is woken, to look whether anything has ended. */
void app_drain_turn(struct app *a)
{
	if (!a->draining)
		return;
	a->draining = 0;
	for (unsigned i = 0; i < a->conf->n_tunnels; i++) {
		if (!app_draining(a, i) || a->drained[i])
			continue;
		a->drained[i] = !app_drain_sessions(a, i) && !chan_streams(&a->chans, i);
		if (a->drained[i] && a->removed[i])
			ports_back(a, a->conf->tunnels[i].ring);
		if (a->drained[i])
			log_info("tunnel %s: drained: it has no session and no connection any more",
				 a->conf->tunnels[i].name);
		else
			a->draining++;
	}
	ctl_epoch(a->ctl);
}
