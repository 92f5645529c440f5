/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "top.h"

struct line {
	const char *id;
	const json_t *row;
	double in, out; /* bits/s */
	double lost;	/* part of what was sent that was sent again; of one that sent nothing 0 */
};

int top_look(struct look *l, const char *tunnel, uint64_t us, struct top_look *out)
{
	*out = (struct top_look){.us = us};
	out->sessions = look_all(l, "/kcpgate/sessions", tunnel);
	if (out->sessions)
		out->workers = look_all(l, "/kcpgate/workers", NULL);
	if (out->workers)
		out->drops = look_get(l, "/kcpgate/drops", NULL);
	return out->drops ? 0 : -EPROTO;
}

void top_forget(struct top_look *t)
{
	json_decref(t->sessions);
	json_decref(t->workers);
	json_decref(t->drops);
	*t = (struct top_look){0};
}

/* How much a counter has grown; what is new has grown by all of it. */
static double grown(const json_t *before, const json_t *now, const char *name)
{
	uint64_t a = before ? look_u64(before, name) : 0, b = look_u64(now, name);

	return b > a ? (double)(b - a) : 0;
}

static double seconds(const struct top_look *before, const struct top_look *now)
{
	return now->us > before->us ? (double)(now->us - before->us) / 1e6 : 1;
}

/* ---- sessions ---- */

static enum top_order by;

static double key(const struct line *l)
{
	switch (by) {
	case TOP_LOSS:
		return l->lost;
	case TOP_RTT:
		return (double)look_u64(l->row, "srtt_ms");
	case TOP_MEMORY:
		return (double)look_u64(l->row, "memory");
	default:
		return l->in + l->out;
	}
}

static int most_first(const void *a, const void *b)
{
	double x = key(a), y = key(b);

	if (x != y)
		return x < y ? 1 : -1;
	return strcmp(((const struct line *)a)->id, ((const struct line *)b)->id);
}

static struct line as_line(const char *id, const json_t *was, const json_t *row, double s)
{
	double again = grown(was, row, "retrans"), sent = grown(was, row, "segs_out");

	return (struct line){
		.id = id,
		.row = row,
		.in = grown(was, row, "bytes_in") * 8 / s,
		.out = grown(was, row, "bytes_out") * 8 / s,
		.lost = again > 0 ? again / (sent + again) : 0,
	};
}

static struct line *lines(const struct top_look *before, const struct top_look *now, size_t *n)
{
	struct line *v = calloc(json_object_size(now->sessions) + 1, sizeof(*v));
	const char *id;
	json_t *row;

	*n = 0;
	if (!v)
		return NULL;
	json_object_foreach(now->sessions, id, row)
	{
		/* One that was not there has moved nothing that we know of the time of. */
		const json_t *was = json_object_get(before->sessions, id);

		v[(*n)++] = as_line(id, was ? was : row, row, seconds(before, now));
	}
	return v;
}

static void session(struct look_table *t, const struct line *l)
{
	char text[LOOK_NUM];

	look_cell(t, "%s", l->id);
	look_cell(t, "%s", look_str(l->row, "tunnel"));
	look_cell(t, "%s", look_str(l->row, "peer"));
	look_cell(t, "%s", look_rate(l->in, text));
	look_cell(t, "%s", look_rate(l->out, text));
	look_cell(t, "%s", look_part(l->lost, text));
	look_cell(t, "%" PRIu64 " ms", look_u64(l->row, "srtt_ms"));
	look_cell(t, "%s", look_ms(look_u64(l->row, "queue_us"), text));
	look_cell(t, "%" PRIu64, look_u64(l->row, "streams"));
	look_cell(t, "%s", look_bytes(look_u64(l->row, "memory"), text));
	look_cell(t, "%s", look_str(l->row, "limited_by"));
}

/* ---- what stands above them ---- */

static double all_drops(const struct top_look *before, const struct top_look *now)
{
	const char *name;
	double sum = 0;
	json_t *v;

	json_object_foreach(now->drops, name, v) sum += grown(before->drops, now->drops, name);
	return sum;
}

static void summary(const struct top_look *before, const struct top_look *now, const struct line *v, size_t n, FILE *f)
{
	static const char *const orders[TOP_ORDERS] = {"rate", "loss", "RTT", "memory"};
	char in[LOOK_NUM], out[LOOK_NUM];
	double sum_in = 0, sum_out = 0;
	uint64_t streams = 0;

	for (size_t i = 0; i < n; i++) {
		sum_in += v[i].in;
		sum_out += v[i].out;
		streams += look_u64(v[i].row, "streams");
	}
	fprintf(f, "%zu sessions, %" PRIu64 " streams: %s in, %s out, %.0f drops/s; sorted by %s\n", n, streams,
		look_rate(sum_in, in), look_rate(sum_out, out), all_drops(before, now) / seconds(before, now),
		orders[by]);
}

static unsigned workers(const struct top_look *before, const struct top_look *now, FILE *f)
{
	double s = seconds(before, now);
	unsigned n = 0;
	const char *id;
	json_t *w;

	json_object_foreach(now->workers, id, w)
	{
		const json_t *was = json_object_get(before->workers, id);
		double all = grown(was, w, "total_cycles");
		char busy[LOOK_NUM], memory[LOOK_NUM];

		fprintf(f, "worker %s: busy %s, %.0f packets/s in, %.0f out, %" PRIu64 " sessions, %s\n", id,
			look_part(all > 0 ? grown(was, w, "busy_cycles") / all : 0, busy),
			grown(was, w, "rx_packets") / s, grown(was, w, "tx_packets") / s, look_u64(w, "sessions"),
			look_bytes(look_u64(w, "memory_used"), memory));
		n++;
	}
	return n;
}

int top_draw(const struct top_look *before, const struct top_look *now, const struct top_view *v, FILE *f)
{
	static const char *const heads[] = {"SESSION", "TUNNEL", "PEER",     ">IN",	">OUT",	      ">RESENT",
					    ">RTT",    ">QUEUE", ">STREAMS", ">MEMORY", "LIMITED BY", NULL};
	struct look_table t;
	struct line *all;
	unsigned head;
	size_t n;
	int ret;

	all = lines(before, now, &n);
	if (!all)
		return -ENOMEM;
	by = v->order;
	qsort(all, n, sizeof(*all), most_first);
	summary(before, now, all, n, f);
	head = 1 + workers(before, now, f);
	look_table_begin(&t, heads);
	for (size_t i = v->from; i < n && (!v->rows || i < (size_t)v->from + v->rows); i++)
		session(&t, &all[i]);
	free(all);
	ret = look_table_end(&t, f, 0);
	return ret ? ret : (int)head;
}
