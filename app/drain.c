/* SPDX-License-Identifier: MIT */

/*
 * Tunnels that take nothing new.  A client's refuses connections, a server's refuses sessions and streams; what there
 * is ends by itself, or at its time.  Workers look after the sessions (shard_drain_tunnels), control counts what is
 * left.
 */

#include <inttypes.h>
#include <stdatomic.h>

#include <rte_cycles.h>

#include "app.h"
#include "log.h"

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
			ctl_tunnel_gone(a->ctl, i);
		if (a->drained[i])
			log_info("tunnel %s: drained: it has no session and no connection any more",
				 a->conf->tunnels[i].name);
		else
			a->draining++;
	}
	ctl_epoch(a->ctl);
}
