/* SPDX-License-Identifier: MIT */

/* Workers: each with its borders to control, its shard, its multi-buffer crypto and its queues, on its lcore. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include "app.h"

static int shard_up(struct app *a, unsigned w)
{
	struct shard_conf sc = {
		.id = w,
		.tunnels = a->tunnels,
		.n_tunnels = a->conf->tunnels_room,
		.max_sessions = a->conf->max_sessions,
		.session_bytes = a->conf->session_bytes,
		.origins = a->origins,
		.chans = &a->chans,
		.border = a->borders[w],
		.dev_csum = a->dev_csum,
		.fresh = a->fresh,
		.n_fresh = a->plan.workers,
		.mark_seed = a->mark_seed,
		.mbufs_to_hold = a->plan.hold,
		.socket = a->plan.place.worker[w],
		.roam = a->mesh->roam,
	};
	int ret;

	sc.mem = a->mems[w] = mem_init(a->heaps[w], a->plan.heap);
	if (!sc.mem)
		return app_fail(a, -ENOMEM, "sessions' memory");
	if (getrandom(&sc.seed, sizeof(sc.seed), 0) != sizeof(sc.seed) ||
	    getrandom(sc.secret, sizeof(sc.secret), 0) != sizeof(sc.secret))
		return app_fail(a, -EIO, "random numbers");
	ret = shard_create(&a->shards[w], &sc, worker_clock_ms(&a->clock, rte_rdtsc()));
	return ret ? app_fail(a, ret, "sessions' tables") : 0;
}

static int crypt_up(struct app *a, unsigned w, const uint8_t seed[32])
{
	struct timespec now;
	int ret;

	clock_gettime(CLOCK_REALTIME, &now);
	ret = crypt_mb_create(&a->mbs[w], seed, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000, w,
			      (uint32_t)getpid());
	for (unsigned i = 0; ret == 0 && i < a->conf->n_tunnels; i++)
		ret = crypt_mb_attach(a->mbs[w], a->crypts[i]);
	return ret ? app_fail(a, ret, "multi-buffer crypto") : 0;
}

/* seed: of the process's nonces (crypt_mb_create). */
static int worker_up(struct app *a, unsigned w, unsigned objects, const uint8_t seed[32])
{
	struct worker_conf wc = {
		.id = w,
		.mesh = a->mesh,
		.udp = a->udp,
		.crypts = (const struct crypt *const *)a->crypts,
		.ring_next = a->ring_next,
		.n_tunnels = a->conf->tunnels_room,
		.n_ports = a->conf->n_ports,
		.pool = a->pools[a->plan.place.tx_pool[w]],
		.poll = a->conf->eal.idle == CONF_IDLE_POLL,
		.socket = a->plan.place.worker[w],
	};
	int ret = border_create(&a->borders[w], w, objects, PLAN_RING_FRAMES, wc.socket);

	for (unsigned k = 1; k < a->plan.controls && ret == 0; k++)
		ret = border_join(a->borders[w], w, objects, wc.socket);
	if (ret)
		return app_fail(a, ret, "rings to the control side");
	ret = shard_up(a, w);
	if (ret)
		return ret;
	ret = crypt_up(a, w, seed);
	if (ret)
		return ret;
	a->worker_ports[w] = calloc(a->conf->n_ports, sizeof(struct worker_port));
	if (!a->worker_ports[w])
		return app_fail(a, -ENOMEM, "ports");
	app_worker_ports(a, w);
	wc.ports = a->worker_ports[w];
	wc.shard = a->shards[w];
	wc.border = a->borders[w];
	wc.mb = a->mbs[w];
	ret = worker_create(&a->workers[w], &wc, &a->clock);
	return ret ? app_fail(a, ret, "worker") : 0;
}

int app_workers_up(struct app *a)
{
	unsigned n = a->plan.workers, objects = a->plan.chans;
	uint8_t seed[32];
	int ret;

	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return app_fail(a, -EIO, "random numbers");
	for (unsigned i = 0; i < a->conf->n_tunnels; i++)
		objects += a->tunnels[i].client ? a->tunnels[i].conn : 0;
	if (a->conf->tunnels_room > a->conf->n_tunnels)
		objects += APP_SPARE_SLOTS;
	a->borders = calloc(n, sizeof(*a->borders));
	a->shards = calloc(n, sizeof(*a->shards));
	a->workers = calloc(n, sizeof(*a->workers));
	a->mbs = calloc(n, sizeof(*a->mbs));
	a->mems = calloc(n, sizeof(*a->mems));
	a->worker_ports = calloc(n, sizeof(*a->worker_ports));
	if (!a->borders || !a->shards || !a->workers || !a->mbs || !a->mems || !a->worker_ports)
		return app_fail(a, -ENOMEM, "workers");
	ret = app_fresh_up(a);
	for (unsigned w = 0; ret == 0 && w < n; w++)
		ret = worker_up(a, w, objects, seed);
	explicit_bzero(seed, sizeof(seed));
	return ret;
}

void app_workers_down(struct app *a)
{
	/* Tables are made before the first worker: where one is missing, there is none. */
	bool any = a->borders && a->shards && a->workers && a->mbs && a->mems && a->worker_ports;

	for (unsigned w = 0; any && w < a->plan.workers; w++) {
		worker_destroy(a->workers[w]);
		free(a->worker_ports[w]);
		crypt_mb_destroy(a->mbs[w]);
		if (a->shards[w])
			shard_destroy(a->shards[w]);
		if (a->mems[w])
			mem_fini(a->mems[w]);
		border_destroy(a->borders[w]);
	}
	app_fresh_down(a);
	free(a->worker_ports);
	free(a->mems);
	free(a->mbs);
	free(a->workers);
	free(a->shards);
	free(a->borders);
}

/* A further control instance's thread. */
static int control_main(void *arg)
{
	struct ctl *c = arg;

	while (!ctl_stopped(c))
		ctl_turn(c, -1);
	return 0;
}

int app_launch_up(struct app *a)
{
	unsigned lcore, i = 0, n = a->plan.workers;

	RTE_LCORE_FOREACH_WORKER(lcore)
	{
		int ret = i < n ? rte_eal_remote_launch(worker_main, a->workers[i], lcore)
				: rte_eal_remote_launch(control_main, a->ctl_more[i - n], lcore);

		i++;

		if (ret)
			return app_fail(a, ret, "lcore");
	}
	return 0;
}

void app_launch_down(struct app *a)
{
	for (unsigned w = 0; w < a->plan.workers; w++)
		worker_stop(a->workers[w]);
	for (unsigned k = 1; k < a->plan.controls; k++)
		ctl_stop(a->ctl_more[k - 1]);
	rte_eal_mp_wait_lcore();
}
