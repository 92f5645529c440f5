/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <rte_malloc.h>
#include <rte_mbuf.h>

#include "app.h"
#include "log.h"
#include "pool.h"

int app_fail(struct app *a, int err, const char *what)
{
	if (!a->why[0])
		snprintf(a->why, sizeof(a->why), "%s: %s%s", what, strerror(-err),
			 err == -ENOMEM ? ": raise eal.memory" : "");
	return err;
}

/* One node's pool.  The plan says that the node has memory; where DPDK got none there after all, any will do. */
static int pool_up(struct app *a, unsigned i)
{
	const struct place_pool *p = &a->plan.place.pool[i];
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "mbufs_%d", p->node);
	a->pools[i] = worker_pool_create(name, p->mbufs - 1, 256, p->node);
	if (!a->pools[i]) {
		a->pools[i] = worker_pool_create(name, p->mbufs - 1, 256, SOCKET_ID_ANY);
		if (a->pools[i])
			log_warn("packet buffers for NUMA node %d: no memory there, taken from another", p->node);
	}
	return a->pools[i] ? 0 : app_fail(a, -ENOMEM, "packet buffers");
}

/*
 * The workers' heaps, each in one piece: before all else, while pages of 1 GB and those of 2 MB, which do not join, are
 * whole.  Pools come in any number of pieces.
 */
static int heaps_up(struct app *a)
{
	a->heaps = calloc(a->plan.workers, sizeof(*a->heaps));
	if (!a->heaps)
		return app_fail(a, -ENOMEM, "sessions' memory");
	for (unsigned w = 0; w < a->plan.workers; w++) {
		int node = a->plan.place.worker[w];

		a->heaps[w] = rte_malloc_socket("heap", a->plan.heap, 65536, node);
		if (!a->heaps[w]) {
			a->heaps[w] = rte_malloc_socket("heap", a->plan.heap, 65536, SOCKET_ID_ANY);
			if (a->heaps[w])
				log_warn("sessions of worker %u: no memory on NUMA node %d, taken from another", w,
					 node);
		}
		if (!a->heaps[w]) {
			snprintf(a->why, sizeof(a->why), "sessions' memory: no %zu MB in one piece: raise eal.memory%s",
				 a->plan.heap >> 20, a->plan.huge ? ", or reserve hugepages of one size only" : "");
			return -ENOMEM;
		}
	}
	return 0;
}

static void warn(void *ctx, enum place_fault what, unsigned x, unsigned y)
{
	const struct app *a = ctx;
	char text[256];

	plan_fault_text(&a->plan, a->conf, what, x, y, text, sizeof(text));
	log_warn("%s", text);
}

/* What workers have to know of each other's sessions. */
static int roam_up(struct app *a)
{
	uint64_t key[2];

	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return -EIO;
	return flow_roam_create(&a->mesh->roam, a->plan.workers * a->conf->max_sessions, key);
}

int app_memory_up(struct app *a)
{
	const struct place *at = &a->plan.place;
	int sockets[CONF_WORKERS_MAX], ret;

	place_faults(at, &a->plan.in, warn, a);
	if (!a->plan.huge && a->plan.nodes & (a->plan.nodes - 1))
		log_warn("without hugepages the kernel chooses the NUMA node of all memory: see eal.hugepages");
	ret = heaps_up(a);
	if (ret)
		return ret;
	for (unsigned i = 0; i < at->n_pools; i++)
		if (pool_up(a, i))
			return -ENOMEM;
	ret = chan_pool_create_spare(&a->chans, a->plan.chunks, a->plan.chans, a->conf->n_tunnels,
				     a->conf->tunnels_room - a->conf->n_tunnels, at->ctl);
	if (ret)
		return app_fail(a, ret, "stream buffers");
	for (unsigned i = 0; i < a->conf->n_tunnels; i++)
		if (a->conf->tunnels[i].memory)
			chan_bound(&a->chans, i, (uint64_t)a->conf->tunnels[i].memory << 20);
	a->udp = calloc(1, sizeof(*a->udp));
	if (!a->udp)
		return app_fail(a, -ENOMEM, "port map");
	for (unsigned w = 0; w < a->plan.workers; w++)
		sockets[w] = at->worker[w];
	ret = worker_mesh_create(&a->mesh, a->plan.workers, a->conf->n_ports, PLAN_RING_FRAMES, sockets);
	if (ret == 0 && a->plan.workers > 1)
		ret = roam_up(a);
	for (unsigned i = 0; ret == 0 && i < a->conf->n_ports; i++)
		worker_mesh_punt_rate(a->mesh, i, a->conf->ports[i].punt_rate);
	return ret ? app_fail(a, ret, "rings between workers") : 0;
}

/*
 * Pools and heaps go with EAL.  To free them would write zeros over all of them first, and so take all the memory that
 * was never used.
 */
void app_memory_down(struct app *a)
{
	worker_mesh_destroy(a->mesh);
	free(a->udp);
	chan_pool_leave(&a->chans);
	free(a->heaps);
}
