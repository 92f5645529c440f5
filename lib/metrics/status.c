/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drop.h"
#include "status.h"

/* ---- texts ---- */

static void text(struct om *o, const char *s)
{
	om_bytes(o, "\"", 1);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			om_text(o, "\\%c", *s);
		else if ((unsigned char)*s < ' ')
			om_text(o, "\\u%04x", (unsigned)*s);
		else
			om_bytes(o, s, 1);
	}
	om_bytes(o, "\"", 1);
}

static void key_text(struct om *o, const char *key, const char *s)
{
	om_text(o, "\"%s\":", key);
	text(o, s);
	om_bytes(o, ",", 1);
}

static void number(struct om *o, float v)
{
	if (isfinite(v))
		om_text(o, "%.5g", (double)v);
	else
		om_bytes(o, "null", 4);
}

static void key_number(struct om *o, const char *key, float v)
{
	om_text(o, "\"%s\":", key);
	number(o, v);
	om_bytes(o, ",", 1);
}

/* Takes a comma back that nothing followed, and ends the object or list. */
static void close_with(struct om *o, char c)
{
	if (o->n && o->buf[o->n - 1] == ',')
		o->n--;
	om_bytes(o, &c, 1);
}

/* ---- tunnels ---- */

static const struct {
	const char *name;
	size_t at;
} series[] = {
#define S(field)                                             \
	{                                                    \
#field, offsetof(struct glance_point, field) \
	}
	S(in), S(out), S(wire_in), S(wire_out), S(lost), S(recovered), S(parity), S(rtt), S(queue), S(cpu), S(sessions),
#undef S
};
#define N_SERIES (sizeof(series) / sizeof(series[0]))

static float value(const struct glance_point *p, unsigned k)
{
	float v;

	memcpy(&v, (const char *)p + series[k].at, sizeof(v));
	return v;
}

static void bounds(struct om *o, const struct glance_tunnel *t)
{
	om_text(o, "\"limited_by\":{");
	for (unsigned b = 0; b < t->n_bounds; b++)
		om_text(o, "\"%s\":%u,", t->bound[b].by, t->bound[b].n);
	close_with(o, '}');
}

static void tunnel(struct om *o, const struct tlm_src *src, const struct glance *l, unsigned i)
{
	const struct conf_tunnel *t = &src->conf->tunnels[i];
	char fec[24];

	snprintf(fec, sizeof(fec), "%u/%u", t->datashard, t->parityshard);
	om_text(o, "{");
	key_text(o, "name", t->name);
	key_text(o, "role", t->role == CONF_SERVER ? "server" : "client");
	key_text(o, "crypt", t->crypt);
	key_text(o, "fec", fec);
	if (glance_seconds(l))
		for (unsigned k = 0; k < N_SERIES; k++)
			key_number(o, series[k].name, value(glance_point(l, i, glance_seconds(l)), k));
	key_number(o, "rtt99", glance_holds(l, i) ? glance_tunnel(l, i)->rtt[2] : NAN);
	bounds(o, glance_tunnel(l, i));
	om_text(o, "},");
}

/* ---- their last minutes ---- */

struct busy {
	unsigned tunnel;
	double moved;
};

static int by_moved(const void *a, const void *b)
{
	const struct busy *x = a, *y = b;

	if (x->moved != y->moved)
		return x->moved > y->moved ? -1 : 1;
	return x->tunnel < y->tunnel ? -1 : 1;
}

static uint64_t first_second(const struct glance *l, uint64_t since)
{
	uint64_t now = glance_seconds(l), oldest = now > GLANCE_POINTS ? now - GLANCE_POINTS + 1 : 1;

	if (since > now)
		since = now;
	return since + 1 > oldest ? since + 1 : oldest;
}

static void lines_of(struct om *o, const struct glance *l, unsigned i, uint64_t from)
{
	om_text(o, "\"%u\":{", i);
	for (unsigned k = 0; k < N_SERIES; k++) {
		om_text(o, "\"%s\":[", series[k].name);
		for (uint64_t s = from; s <= glance_seconds(l); s++) {
			number(o, value(glance_point(l, i, s), k));
			om_bytes(o, ",", 1);
		}
		close_with(o, ']');
		om_bytes(o, ",", 1);
	}
	close_with(o, '}');
	om_bytes(o, ",", 1);
}

static void history(struct om *o, const struct tlm_src *src, const struct glance *l, const struct status_ask *ask)
{
	unsigned n = src->conf->n_tunnels;
	struct busy *v = calloc(n, sizeof(*v));
	uint64_t from = first_second(l, ask->since);

	om_text(o, "\"from\":%llu,\"history\":{", (unsigned long long)from);
	for (unsigned i = 0; v && i < n; i++) {
		v[i].tunnel = i;
		for (uint64_t s = first_second(l, 0); s <= glance_seconds(l); s++)
			v[i].moved += (double)(glance_point(l, i, s)->in + glance_point(l, i, s)->out);
	}
	if (v && ask->tunnel < 0)
		qsort(v, n, sizeof(*v), by_moved);
	if (v && ask->tunnel >= 0)
		lines_of(o, l, (unsigned)ask->tunnel, from);
	for (unsigned i = 0; v && ask->tunnel < 0 && i < n && i < STATUS_LINES; i++)
		lines_of(o, l, v[i].tunnel, from);
	free(v);
	close_with(o, '}');
	om_bytes(o, ",", 1);
}

/* ---- sessions ---- */

static const char *const sorts[] = {"", "in", "out", "lost", "rtt", "queue", "streams", "flight", "memory", "age"};

bool status_sort(const char *word, struct status_ask *ask)
{
	for (unsigned i = 1; i < sizeof(sorts) / sizeof(sorts[0]); i++) {
		if (strcmp(sorts[i], word) == 0) {
			ask->sort = i;
			return true;
		}
	}
	return false;
}

static double weight(const struct glance_row *r, unsigned sort)
{
	double v[] = {(double)r->in + (double)r->out,
		      (double)r->in,
		      (double)r->out,
		      (double)r->lost,
		      (double)r->rtt,
		      (double)r->queue,
		      (double)r->streams,
		      (double)r->flight,
		      (double)r->memory,
		      (double)r->age_ms};

	return isnan(v[sort]) ? -1 : v[sort];
}

struct ranked {
	const struct glance_row *row;
	double weight;
};

/* The least of those that are kept is on top. */
static void sink(struct ranked *v, unsigned n, unsigned i)
{
	for (unsigned k; (k = 2 * i + 1) < n; i = k) {
		struct ranked t = v[i];

		k += k + 1 < n && v[k + 1].weight < v[k].weight;
		if (v[i].weight <= v[k].weight)
			return;
		v[i] = v[k];
		v[k] = t;
	}
}

static unsigned choose(const struct glance *l, const struct status_ask *ask, struct ranked v[STATUS_ROWS])
{
	const struct glance_row *r;
	unsigned n = 0, at = 0;

	while ((r = glance_table_next(l, &at))) {
		struct ranked one = {r, weight(r, ask->sort)};

		if (ask->tunnel >= 0 && r->tunnel != ask->tunnel)
			continue;
		if (n < STATUS_ROWS) {
			v[n++] = one;
			for (unsigned i = n / 2; n == STATUS_ROWS && i > 0; i--)
				sink(v, n, i - 1);
		} else if (one.weight > v[0].weight) {
			v[0] = one;
			sink(v, n, 0);
		}
	}
	return n;
}

static int by_weight(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->weight != y->weight)
		return x->weight > y->weight ? -1 : 1;
	return x->row->id < y->row->id ? -1 : x->row->id > y->row->id;
}

static void session(struct om *o, const struct glance_row *r)
{
	char peer[ADDR_STRLEN];

	/* As text: a number of 64 bits is none in JavaScript. */
	om_text(o, "{\"id\":\"%llu\",\"tunnel\":%u,\"worker\":%u,", (unsigned long long)r->id, r->tunnel, r->worker);
	key_text(o, "peer", addr_port_str(&r->key.peer, r->key.peer_port, peer));
	key_text(o, "kind", r->kcpgate ? "kcpgate" : "stock");
	key_text(o, "limited_by", r->by);
	key_number(o, "in", r->in);
	key_number(o, "out", r->out);
	key_number(o, "lost", r->lost);
	key_number(o, "rtt", r->rtt);
	key_number(o, "min_rtt", r->min_rtt);
	key_number(o, "queue", r->queue);
	om_text(o, "\"streams\":%u,\"flight\":%u,\"memory\":%llu,\"age\":%llu,\"bytes_in\":%llu,\"bytes_out\":%llu},",
		r->streams, r->flight, (unsigned long long)r->memory, (unsigned long long)r->age_ms / 1000,
		(unsigned long long)r->bytes_in, (unsigned long long)r->bytes_out);
}

static void sessions(struct om *o, const struct tlm_src *src, const struct glance *l, const struct status_ask *ask)
{
	struct ranked *v = calloc(STATUS_ROWS, sizeof(*v));
	unsigned n = v ? choose(l, ask, v) : 0, all = 0, at = 0;

	while (glance_table_next(l, &at))
		all++;
	if (v)
		qsort(v, n, sizeof(*v), by_weight);
	om_text(o, "\"followed\":%u,\"not_followed\":%u,\"sessions\":[", all, glance_table_missing(l));
	for (unsigned i = 0; i < n; i++)
		session(o, v[i].row);
	close_with(o, ']');
	om_bytes(o, ",", 1);
	free(v);
}

/* ---- the rest ---- */

static void loads(struct om *o, const struct tlm_src *src, const struct glance *l)
{
	om_text(o, "\"workers\":[");
	for (unsigned w = 0; w < src->n_workers; w++) {
		om_text(o, "{\"sessions\":%llu,\"streams\":%llu,",
			(unsigned long long)shard_stats(src->shards[w])->sessions,
			(unsigned long long)shard_stats(src->shards[w])->streams);
		key_number(o, "busy", glance_load(l, w));
		close_with(o, '}');
		om_bytes(o, ",", 1);
	}
	close_with(o, ']');
	om_bytes(o, ",", 1);
}

static void drops(struct om *o, const struct tlm_src *src)
{
	om_text(o, "\"drops\":[");
	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++) {
		uint64_t n = tlm_drops(src, v);

		if (!n)
			continue;
		om_text(o, "{\"n\":%llu,", (unsigned long long)n);
		key_text(o, "reason", drop_name(v));
		key_text(o, "why", drop_why(v));
		close_with(o, '}');
		om_bytes(o, ",", 1);
	}
	close_with(o, ']');
}

void status_put(struct om *o, const struct tlm_src *src, const struct glance *l, double started,
		const struct status_ask *ask)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	om_text(o, "{");
	key_text(o, "version", KCPGATE_VERSION);
	om_text(o, "\"now\":%.3f,\"started\":%.3f,\"second\":%llu,\"points\":%u,",
		(double)ts.tv_sec + (double)ts.tv_nsec / 1e9, started, (unsigned long long)glance_seconds(l),
		GLANCE_POINTS);
	om_text(o, "\"tunnels\":[");
	for (unsigned i = 0; i < src->conf->n_tunnels; i++)
		tunnel(o, src, l, i);
	close_with(o, ']');
	om_bytes(o, ",", 1);
	history(o, src, l, ask);
	loads(o, src, l);
	sessions(o, src, l, ask);
	drops(o, src);
	om_text(o, "}\n");
}
