/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "glance_int.h"

const double glance_quantile[GLANCE_QUANTILES] = {0.5, 0.9, 0.99, 1};

/* ---- what each tunnel has done since the last second ---- */

static uint64_t busy(const struct glance *l, unsigned w)
{
	return __atomic_load_n(&worker_stats(l->src->workers[w])->busy_cycles, __ATOMIC_RELAXED);
}

/* A worker's busy time, shared out among its tunnels by the datagrams that they had. */
static void share_cpu(struct glance *l, unsigned w, float *cpu, double dt)
{
	unsigned n = l->src->conf->n_tunnels;
	uint64_t *last = l->datagrams + (size_t)w * conf_room(l->src->conf), all = 0, cycles = busy(l, w) - l->busy[w];
	double used = (double)cycles / (double)l->src->tsc_hz / dt;

	l->busy[w] += cycles;
	l->load[w] = (float)used;
	for (unsigned t = 0; t < n; t++) {
		const struct snmp *s = shard_snmp(l->src->shards[w], t);
		uint64_t now =
			__atomic_load_n(&s->InPkts, __ATOMIC_RELAXED) + __atomic_load_n(&s->OutPkts, __ATOMIC_RELAXED);

		l->moved[t] = now - last[t];
		last[t] = now;
		all += l->moved[t];
	}
	for (unsigned t = 0; all && t < n; t++)
		cpu[t] += (float)(used * (double)l->moved[t] / (double)all);
}

static float rate(uint64_t now, uint64_t before, double dt)
{
	return (float)((double)(now - before) / dt);
}

static void point(struct glance *l, unsigned t, double dt)
{
	struct glance_point *p = &l->points[t * GLANCE_POINTS + l->seconds % GLANCE_POINTS];
	const struct glance_tunnel *k = &l->tunnels[t];
	struct snmp now, *was = &l->before[t];
	bool known = glance_holds(l, t);
	uint64_t sent;

	tlm_snmp(l->src, (int)t, &now);
	sent = now.OutSegs - was->OutSegs;
	*p = (struct glance_point){
		.in = rate(now.BytesReceived, was->BytesReceived, dt),
		.out = rate(now.BytesSent, was->BytesSent, dt),
		.wire_in = rate(now.InBytes, was->InBytes, dt),
		.wire_out = rate(now.OutBytes, was->OutBytes, dt),
		.lost = sent ? (float)(now.RetransSegs - was->RetransSegs) / (float)sent : 0,
		.recovered = rate(now.FECRecovered, was->FECRecovered, dt),
		.parity = rate(now.FECParityShards, was->FECParityShards, dt),
		.rtt = known ? k->rtt[0] : NAN,
		.queue = known ? k->queue[0] : NAN,
		.cpu = l->cpu[t],
		.sessions = (float)now.CurrEstab,
	};
	*was = now;
}

static void points(struct glance *l, uint64_t now_ms)
{
	double dt = (double)(now_ms - l->last_ms) / 1000;

	memset(l->cpu, 0, l->src->conf->n_tunnels * sizeof(*l->cpu));
	for (unsigned w = 0; w < l->src->n_workers; w++)
		share_cpu(l, w, l->cpu, dt > 0 ? dt : 1);
	l->seconds += l->last_ms != 0; /* the first time there is nothing to compare with */
	for (unsigned t = 0; t < l->src->conf->n_tunnels; t++)
		point(l, t, dt > 0 ? dt : 1);
	l->last_ms = now_ms;
}

/* ---- its sessions ---- */

static int by_rtt(const void *a, const void *b)
{
	const struct glance_sample *x = a, *y = b;

	if (x->tunnel != y->tunnel)
		return x->tunnel < y->tunnel ? -1 : 1;
	return x->rtt < y->rtt ? -1 : x->rtt > y->rtt;
}

static int by_queue(const void *a, const void *b)
{
	const struct glance_sample *x = a, *y = b;

	if (x->tunnel != y->tunnel)
		return x->tunnel < y->tunnel ? -1 : 1;
	return x->queue < y->queue ? -1 : x->queue > y->queue;
}

/* The q-th part of n sorted ones: the least of which at least q are not above it. */
static unsigned rank(unsigned n, double q)
{
	unsigned i = (unsigned)ceil(q * n);

	return i ? i - 1 : 0;
}

static void quantiles(struct glance *l, bool queue)
{
	unsigned end;

	qsort(l->samples, l->n_samples, sizeof(*l->samples), queue ? by_queue : by_rtt);
	for (unsigned i = 0; i < l->n_samples; i = end) {
		struct glance_tunnel *t = &l->tunnels[l->samples[i].tunnel];

		for (end = i; end < l->n_samples && l->samples[end].tunnel == l->samples[i].tunnel; end++)
			;
		for (unsigned q = 0; q < GLANCE_QUANTILES; q++) {
			const struct glance_sample *s = &l->samples[i + rank(end - i, glance_quantile[q])];

			*(queue ? &t->queue[q] : &t->rtt[q]) = queue ? s->queue : s->rtt;
		}
	}
}

static void bound(struct glance_tunnel *t, const char *by)
{
	unsigned i = 0;

	while (i < t->n_bounds && strcmp(t->bound[i].by, by) != 0)
		i++;
	if (i == GLANCE_BOUNDS)
		return;
	if (i == t->n_bounds)
		t->bound[t->n_bounds++] = (struct glance_bound){by, 0};
	t->bound[i].n++;
}

/* The first session of this second takes the place of what was known. */
static void begin_anew(struct glance *l, struct glance_tunnel *t)
{
	if (t->at == l->seconds + 1)
		return;
	*t = (struct glance_tunnel){.at = l->seconds + 1, .min_rtt = NAN};
	for (unsigned q = 0; q < GLANCE_QUANTILES; q++)
		t->rtt[q] = t->queue[q] = NAN;
}

float glance_rtt(const struct shard_row *r)
{
	if (r->kcp.srtt)
		return (float)r->kcp.srtt / 1e3f;
	return r->modelled && r->look.min_rtt ? (float)(r->look.min_rtt + r->look.queue) / 1e6f : NAN;
}

static void sample(struct glance *l, const struct shard_row *r)
{
	struct glance_tunnel *t = &l->tunnels[r->tunnel];
	float least = (float)r->look.min_rtt / 1e6f;

	begin_anew(l, t);
	t->n++;
	bound(t, r->limited_by);
	if (r->idle_ms > GLANCE_FRESH_MS || isnan(glance_rtt(r)) || l->n_samples == l->samples_max)
		return;
	t->fresh++;
	l->samples[l->n_samples++] =
		(struct glance_sample){.tunnel = r->tunnel, .rtt = glance_rtt(r), .queue = (float)r->look.queue / 1e6f};
	if (r->modelled && least > 0 && !(t->min_rtt < least))
		t->min_rtt = least;
}

static void on_row(void *ctx, const struct shard_row *r)
{
	struct glance *l = ctx;

	pthread_mutex_lock(&l->lock);
	sample(l, r);
	if (l->watched)
		glance_table_row(l, r, l->now_ms);
	pthread_mutex_unlock(&l->lock);
}

/* A worker's sessions from where the last second ended, once round at most. */
static void walk(struct glance *l, unsigned w, unsigned budget)
{
	struct glance_cursor *c = &l->cursor[w];
	bool more = true;

	for (unsigned n = 0; more && n < budget; n += SHARD_QUERY_ROWS) {
		if (c->at == 0)
			c->began_ms = l->now_ms;
		if (tlm_sessions(l->src, w, &c->at, &more, on_row, l))
			return; /* it does not answer: its tunnels are as they were last */
	}
	if (more)
		return;
	c->at = 0;
	pthread_mutex_lock(&l->lock);
	glance_table_sweep(l, (uint16_t)w, c->began_ms);
	pthread_mutex_unlock(&l->lock);
}

void glance_turn(struct glance *l, uint64_t now_ms)
{
	unsigned budget;

	pthread_mutex_lock(&l->lock);
	l->now_ms = now_ms;
	l->n_samples = 0;
	l->watched = l->asked_at && l->seconds < l->asked_at + GLANCE_WATCHED_S && glance_table_up(l);
	if (!l->watched)
		glance_table_down(l);
	budget = l->watched ? GLANCE_MANY : GLANCE_FEW;
	pthread_mutex_unlock(&l->lock);
	for (unsigned w = 0; w < l->src->n_workers; w++)
		walk(l, w, budget);
	pthread_mutex_lock(&l->lock);
	quantiles(l, false);
	quantiles(l, true);
	points(l, now_ms);
	pthread_mutex_unlock(&l->lock);
}

/* ---- for who shows it ---- */

void glance_lock(struct glance *l)
{
	pthread_mutex_lock(&l->lock);
}

void glance_unlock(struct glance *l)
{
	pthread_mutex_unlock(&l->lock);
}

void glance_watch(struct glance *l)
{
	l->asked_at = l->seconds + 1;
}

const struct glance_tunnel *glance_tunnel(const struct glance *l, unsigned tunnel)
{
	return &l->tunnels[tunnel];
}

bool glance_holds(const struct glance *l, unsigned tunnel)
{
	const struct glance_tunnel *t = &l->tunnels[tunnel];

	return t->at && t->fresh && l->seconds < t->at + GLANCE_HOLD_S;
}

float glance_load(const struct glance *l, unsigned worker)
{
	return l->load[worker];
}

uint64_t glance_seconds(const struct glance *l)
{
	return l->seconds;
}

const struct glance_point *glance_point(const struct glance *l, unsigned tunnel, uint64_t second)
{
	return &l->points[tunnel * GLANCE_POINTS + second % GLANCE_POINTS];
}

/* ---- made, and ended ---- */

static int fill(struct glance *l)
{
	size_t n = conf_room(l->src->conf), w = l->src->n_workers;

	l->samples_max = (unsigned)w * (GLANCE_MANY + SHARD_QUERY_ROWS);
	l->points = calloc(n * GLANCE_POINTS, sizeof(*l->points));
	l->tunnels = calloc(n, sizeof(*l->tunnels));
	l->before = calloc(n, sizeof(*l->before));
	l->moved = calloc(n, sizeof(*l->moved));
	l->cpu = calloc(n, sizeof(*l->cpu));
	l->load = calloc(w, sizeof(*l->load));
	l->busy = calloc(w, sizeof(*l->busy));
	l->datagrams = calloc(w * n, sizeof(*l->datagrams));
	l->cursor = calloc(w, sizeof(*l->cursor));
	l->samples = calloc(l->samples_max, sizeof(*l->samples));
	return l->points && l->tunnels && l->before && l->moved && l->cpu && l->load && l->busy && l->datagrams &&
			       l->cursor && l->samples
		       ? 0
		       : -ENOMEM;
}

int glance_create(struct glance **out, const struct tlm_src *src)
{
	struct glance *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->src = src;
	pthread_mutex_init(&l->lock, NULL);
	if (fill(l)) {
		glance_destroy(l);
		return -ENOMEM;
	}
	*out = l;
	return 0;
}

void glance_destroy(struct glance *l)
{
	if (!l)
		return;
	glance_table_down(l);
	free(l->points);
	free(l->tunnels);
	free(l->before);
	free(l->moved);
	free(l->cpu);
	free(l->load);
	free(l->busy);
	free(l->datagrams);
	free(l->cursor);
	free(l->samples);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
