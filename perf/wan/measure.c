/* SPDX-License-Identifier: MIT */
#include "measure.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW 20 /* bins over which a rate is told */
#define NINE   0.9

static struct end *sender(const struct wan_flow *f)
{
	return f->end[f->conf.up ? CLIENT : SERVER];
}

/* ---- under way ---- */

static void trace_point(struct world *w)
{
	struct world_trace *t = w->trace;
	const struct path_stats *p = path_stats(w->dir[w->bulk_dir]);
	const struct wan_flow *f = &w->flow[0];
	double s = (double)t->every / PATH_S;
	struct world_point *v;
	struct end_look k;
	uint64_t again;

	if (t->n % 1024 == 0) {
		t->v = realloc(t->v, (t->n + 1024) * sizeof(*t->v));
		if (!t->v)
			abort();
	}
	sender(f)->ops->look(sender(f), &k);
	again = k.timeouts + k.fast + k.early;
	v = &t->v[t->n++];
	*v = (struct world_point){
		.t = (double)w->trace_at / PATH_S,
		.link = (double)(p->fwd_bytes - w->trace_link) * 8e-6 / s,
		.good = (double)(f->bulk_got - w->trace_good) * 8e-6 / s,
		.wait = (double)path_wait(w->dir[w->bulk_dir], w->trace_at) / PATH_MS,
		.in_flight = k.in_flight,
		.window = k.snd_wnd,
		.srtt = k.srtt,
		.parity = (double)(k.parity - w->trace_parity),
		.again = (double)(again - w->trace_again),
	};
	w->trace_link = p->fwd_bytes;
	w->trace_good = f->bulk_got;
	w->trace_parity = k.parity;
	w->trace_again = again;
}

void measure_until(struct world *w, uint64_t now)
{
	while (w->bin < w->n_bin && (w->bin + 1) * BIN_NS <= now) {
		uint64_t bytes;

		path_queued(w->dir[w->bulk_dir], (w->bin + 1) * BIN_NS);
		bytes = path_stats(w->dir[w->bulk_dir])->fwd_bytes;
		w->link_bin[w->bin++] = (uint32_t)(bytes - w->link_bytes);
		w->link_bytes = bytes;
	}
	while (w->trace && w->trace_at + w->trace->every <= now) {
		w->trace_at += w->trace->every;
		trace_point(w);
	}
}

void measure_change(struct world *w, unsigned i)
{
	w->dropped[i] = path_stats(w->dir[w->bulk_dir])->queue_drops;
}

/* ---- at the end ---- */

static int cmp(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void echo_result(struct wan_flow *f, struct wf_result *r)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < f->n_rtt; i++)
		if (f->rtt[i] > 0)
			f->rtt[n++] = f->rtt[i];
	r->echo_n = n;
	r->echo_lost = f->n_rtt - n;
	if (!n)
		return;
	qsort(f->rtt, n, sizeof(*f->rtt), cmp);
	r->echo[0] = f->rtt[n / 2];
	r->echo[1] = f->rtt[(unsigned)(n * 0.99) < n ? (unsigned)(n * 0.99) : n - 1];
	r->echo[2] = f->rtt[n - 1];
}

/* Mbit/s of a flow's bulk between two times. */
static double rate_between(const struct wan_flow *f, uint64_t from, uint64_t to)
{
	uint64_t bytes = 0;

	if (to <= from)
		return 0;
	for (uint64_t i = from / BIN_NS; i < to / BIN_NS && i < f->n_bin; i++)
		bytes += f->bin[i];
	return (double)bytes * 8e-6 / ((double)(to - from) / PATH_S);
}

static double longest_stall(const struct wan_flow *f, uint64_t stop)
{
	uint32_t run = 0, most = 0;
	bool begun = false;

	for (uint64_t i = 0; i < stop / BIN_NS && i < f->n_bin; i++) {
		begun |= f->bin[i] > 0;
		run = begun && !f->bin[i] ? run + 1 : 0;
		most = run > most ? run : most;
	}
	return (double)most * BIN_NS / PATH_MS;
}

static void wf_result(struct world *w, struct wan_flow *f, struct wf_result *r)
{
	uint64_t begin = f->conf.start + f->conf.lead, stop = w->conf->seconds;
	int from = f->conf.up ? CLIENT : SERVER;

	echo_result(f, r);
	r->mbit = rate_between(f, begin + w->conf->from, stop);
	r->recent = rate_between(f, stop - stop / 5, stop);
	r->ratio = f->bulk_got ? (double)f->sent_bytes[from] / (double)f->bulk_got : 0;
	r->stall = longest_stall(f, stop);
	r->wrong = f->wrong;
	for (int e = 0; e < 2; e++)
		f->end[e]->ops->look(f->end[e], &r->end[e]);
}

static void dir_result(const struct world *w, int d, struct dir_result *r)
{
	const struct path_stats *p = path_stats(w->dir[d]);

	r->mbit = (double)p->fwd_bytes * 8e-6 / ((double)w->conf->seconds / PATH_S);
	r->wait[0] = path_waited(w->dir[d], 0.5);
	r->wait[1] = path_waited(w->dir[d], 0.99);
	r->wait[2] = (double)p->wait_most / PATH_MS;
	r->in = p->in;
	r->lost = p->lost;
	r->dropped = p->queue_drops;
	r->policed = p->policed;
	r->black = p->black;
}

static void change_result(struct world *w, unsigned i, struct change_result *r)
{
	const struct world_conf *c = w->conf;
	uint64_t at = c->change[i].at, stop = i + 1 < c->n_change ? c->change[i + 1].at : c->seconds;
	double want = NINE * (double)c->change[i].path[w->bulk_dir].rate / 8 * BIN_NS / PATH_S * WINDOW, sum = 0;
	uint64_t from = (at + BIN_NS - 1) / BIN_NS;

	r->first = r->nine = -1;
	r->dropped = (i + 1 < c->n_change ? w->dropped[i + 1] : path_stats(w->dir[w->bulk_dir])->queue_drops) -
		     w->dropped[i];
	for (uint64_t b = from; b < stop / BIN_NS && b < w->n_bin; b++) {
		bool came = false;

		sum += w->link_bin[b];
		sum -= b >= from + WINDOW ? w->link_bin[b - WINDOW] : 0;
		for (unsigned f = 0; f < c->n_flow; f++)
			came |= w->flow[f].bin[b] > 0;
		if (came && r->first < 0)
			r->first = (double)((b + 1) * BIN_NS - at) / PATH_MS;
		if (want > 0 && sum >= want && b + 1 >= from + WINDOW && r->nine < 0)
			r->nine = (double)((b + 1) * BIN_NS - at) / PATH_MS;
	}
}

void measure_end(struct world *w, struct world_result *r)
{
	double sum = 0, squares = 0;
	unsigned n = 0;

	memset(r, 0, sizeof(*r));
	for (int d = 0; d < 2; d++)
		dir_result(w, d, &r->dir[d]);
	for (unsigned i = 0; i < w->conf->n_flow; i++) {
		wf_result(w, &w->flow[i], &r->flow[i]);
		if (!w->flow[i].conf.bulks)
			continue;
		n++;
		sum += r->flow[i].recent;
		squares += r->flow[i].recent * r->flow[i].recent;
	}
	r->jain = squares > 0 ? sum * sum / (n * squares) : 0;
	for (unsigned i = 0; i < w->conf->n_change; i++)
		change_result(w, i, &r->change[i]);
}
