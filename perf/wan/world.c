/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "measure.h"

#define STUCK_MAX 100000

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void world_open(struct world *w, const struct world_conf *c, uint64_t seed)
{
	*w = (struct world){.conf = c};
	w->bulk_dir = c->n_flow && c->flow[0].up ? UP : DOWN;
	for (int d = 0; d < 2; d++)
		w->dir[d] = path_new(&c->path[d], seed * 2 + (uint64_t)d);
	w->n_bin = (uint32_t)(c->seconds / BIN_NS) + 1;
	w->link_bin = calloc(w->n_bin, sizeof(*w->link_bin));
	if (!w->link_bin)
		abort();
	for (unsigned i = 0; i < c->n_flow; i++)
		wf_init(&w->flow[i], &c->flow[i], (uint16_t)i, w->dir[UP], w->dir[DOWN], c->seconds,
			seed * WORLD_FLOWS + i);
}

static void world_close(struct world *w)
{
	for (unsigned i = 0; i < w->conf->n_flow; i++)
		wf_fini(&w->flow[i]);
	for (int d = 0; d < 2; d++)
		path_free(w->dir[d]);
	free(w->link_bin);
}

/* Everything that arrives at `now`. */
static void deliver(struct world *w, uint64_t now)
{
	struct path_pkt *k;

	for (int d = 0; d < 2; d++) {
		while ((k = path_recv(w->dir[d], now))) {
			struct end *e = w->flow[k->flow].end[d == UP ? SERVER : CLIENT];

			e->ops->take(e, k->data, k->n, now);
			e->touched = true;
			buf_put(k);
		}
	}
}

static void change(struct world *w, uint64_t now)
{
	while (w->changed < w->conf->n_change && w->conf->change[w->changed].at <= now) {
		measure_change(w, w->changed);
		for (int d = 0; d < 2; d++)
			path_set(w->dir[d], &w->conf->change[w->changed].path[d], now);
		w->changed++;
	}
}

/* Ends that were given something, or have something due, or whose application has. */
static void turns(struct world *w, uint64_t now)
{
	for (unsigned i = 0; i < w->conf->n_flow; i++) {
		struct wan_flow *f = &w->flow[i];
		bool app = now >= w->app_at[i];

		for (int side = 0; side < 2; side++) {
			struct end *e = f->end[side];

			if (!e->touched && !app && e->ops->next(e) > now)
				continue;
			e->touched = false;
			e->ops->turn(e, now);
		}
		if (app)
			w->app_at[i] = wf_next(f, now);
	}
}

static uint64_t next_time(const struct world *w)
{
	uint64_t t = min64(path_next(w->dir[UP]), path_next(w->dir[DOWN]));

	for (unsigned i = 0; i < w->conf->n_flow; i++) {
		t = min64(t, w->app_at[i]);
		for (int side = 0; side < 2; side++)
			t = min64(t, w->flow[i].end[side]->ops->next(w->flow[i].end[side]));
	}
	if (w->changed < w->conf->n_change)
		t = min64(t, w->conf->change[w->changed].at);
	return t;
}

void world_run(const struct world_conf *c, uint64_t seed, struct world_result *r, struct world_trace *trace)
{
	struct world *w = calloc(1, sizeof(*w));
	struct timespec begin, end;
	uint64_t now = 0, stuck = 0;

	if (!w)
		abort();
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin); /* for the speed alone */
	world_open(w, c, seed);
	w->trace = trace;
	while (now < c->seconds) {
		uint64_t next;

		measure_until(w, now);
		change(w, now);
		deliver(w, now);
		turns(w, now);
		next = next_time(w);
		stuck = next > now ? 0 : stuck + 1;
		if (stuck > STUCK_MAX) {
			fprintf(stderr, "wan: at %.6f s an end leaves undone what it says is due\n",
				(double)now / PATH_S);
			abort();
		}
		now = next > now ? next : now + 1;
	}
	measure_until(w, c->seconds);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	measure_end(w, r);
	r->cpu = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
	world_close(w);
	free(w);
}
