/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include <jansson.h>

#include "buf.h"
#include "scenario.h"

/*
 * Runs the rows of scenarios, a line of JSON for each run.  report.py, behind `perf/run wan`, makes tables of them.
 */

struct opts {
	unsigned seeds, first;
	const char *only; /* rows whose name contains it */
	bool list;	  /* only reads the files */
	uint64_t trace;	  /* ns between its points; 0: none */
};

static json_t *numbers(const double *v, unsigned n)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(a, json_real(v[i]));
	return a;
}

static json_t *json_end(const struct end_look *k)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "dgrams", (json_int_t)k->dgrams, "segs",
			 (json_int_t)k->segs_out, "timeouts", (json_int_t)k->timeouts, "fast", (json_int_t)k->fast,
			 "early", (json_int_t)k->early, "repeats", (json_int_t)k->repeats, "parity",
			 (json_int_t)k->parity, "recovered", (json_int_t)k->recovered);
}

static json_t *json_flow(const struct wf_conf *c, const struct wf_result *r)
{
	return json_pack("{s:f,s:f,s:f,s:o,s:i,s:i,s:f,s:I,s:b,s:i,s:o,s:o}", "mbit", r->mbit, "recent", r->recent,
			 "ratio", r->ratio, "echo", numbers(r->echo, 3), "echo_n", (int)r->echo_n, "echo_lost",
			 (int)r->echo_lost, "stall", r->stall, "wrong", (json_int_t)r->wrong, "up", c->up, "streams",
			 (int)c->bulks, "client", json_end(&r->end[CLIENT]), "server", json_end(&r->end[SERVER]));
}

static json_t *json_dir(const struct dir_result *r)
{
	return json_pack("{s:f,s:o,s:I,s:I,s:I,s:I,s:I}", "mbit", r->mbit, "wait", numbers(r->wait, 3), "in",
			 (json_int_t)r->in, "lost", (json_int_t)r->lost, "dropped", (json_int_t)r->dropped, "policed",
			 (json_int_t)r->policed, "black", (json_int_t)r->black);
}

static json_t *json_trace(const struct world_trace *t)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < t->n; i++) {
		const struct world_point *p = &t->v[i];
		double v[] = {p->t, p->link, p->good, p->wait, p->in_flight, p->window, p->srtt, p->parity, p->again};

		json_array_append_new(a, numbers(v, sizeof(v) / sizeof(v[0])));
	}
	return a;
}

static json_t *json_result(const struct world_conf *c, const struct world_result *r)
{
	json_t *o = json_object(), *flows = json_array(), *changes = json_array();

	for (unsigned i = 0; i < c->n_flow; i++)
		json_array_append_new(flows, json_flow(&c->flow[i], &r->flow[i]));
	for (unsigned i = 0; i < c->n_change; i++)
		json_array_append_new(
			changes, json_pack("{s:f,s:f,s:f,s:I,s:b}", "at", (double)c->change[i].at / PATH_S, "first",
					   r->change[i].first, "nine", r->change[i].nine, "dropped",
					   (json_int_t)r->change[i].dropped, "black", c->change[i].path[DOWN].black));
	json_object_set_new(o, "flows", flows);
	json_object_set_new(o, "changes", changes);
	json_object_set_new(o, "up", json_dir(&r->dir[UP]));
	json_object_set_new(o, "down", json_dir(&r->dir[DOWN]));
	json_object_set_new(o, "jain", json_real(r->jain));
	json_object_set_new(o, "speed", json_real((double)c->seconds / PATH_S / r->cpu));
	return o;
}

/* True: every byte was right. */
static bool run(const struct scenario *s, unsigned row, const struct world_conf *c, uint64_t seed, const struct opts *o)
{
	struct world_trace trace = {.every = o->trace};
	struct world_result r;
	const char *name = s->n_row ? s->row[row].name : "";
	bool well = true;
	json_t *j;

	world_run(c, seed, &r, o->trace ? &trace : NULL);
	j = json_result(c, &r);
	json_object_set_new(j, "scenario", json_string(s->file));
	json_object_set_new(j, "title", json_string(s->title ? s->title : ""));
	json_object_set_new(j, "row", json_string(name));
	json_object_set_new(j, "seed", json_integer((json_int_t)seed));
	if (o->trace)
		json_object_set_new(j, "trace", json_trace(&trace));
	json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7));
	putchar('\n');
	fflush(stdout);
	json_decref(j);
	free(trace.v);
	for (unsigned i = 0; i < c->n_flow; i++) {
		if (!r.flow[i].wrong)
			continue;
		fprintf(stderr, "wan: %s, %s, seed %lu: %lu bytes of flow %u are not what was sent\n", s->file, name,
			seed, r.flow[i].wrong, i);
		well = false;
	}
	return well;
}

static bool run_file(const char *file, const struct opts *o)
{
	static struct world_conf c;
	struct scenario s;
	char err[256];
	bool well = scenario_load(&s, file, err, sizeof(err)) == 0;
	unsigned rows = s.n_row ? s.n_row : 1;

	/* All of it is read before anything runs. */
	for (unsigned i = 0; well && i < rows; i++)
		well = scenario_world(&s, i, &c, err, sizeof(err)) == 0;
	if (!well)
		fprintf(stderr, "wan: %s\n", err);
	for (unsigned i = 0; well && i < rows && !o->list; i++) {
		if (o->only && s.n_row && !strstr(s.row[i].name, o->only))
			continue;
		scenario_world(&s, i, &c, err, sizeof(err));
		for (unsigned k = 0; k < o->seeds; k++)
			well &= run(&s, i, &c, o->first + k, o);
	}
	scenario_free(&s);
	return well;
}

/* Memory of its own, no pages, no devices, and any CPU that the process may use. */
static bool eal(void)
{
	static char map[1024] = "0@(";
	static char *argv[] = {"wan",	      "--no-huge",     "--no-shconf", "--no-pci", "-m", "512", "--no-telemetry",
			       "--log-level", "lib.eal:error", "--lcores",    map,	  NULL};
	size_t n = strlen(map);
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return false;
	for (unsigned cpu = 0; cpu < CPU_SETSIZE && n < sizeof(map) - 8; cpu++)
		if (CPU_ISSET(cpu, &set))
			n += (size_t)snprintf(map + n, sizeof(map) - n, "%u,", cpu);
	map[n - 1] = ')';
	if (rte_eal_init(11, argv) >= 0)
		return true;
	fprintf(stderr, "EAL: %s\n", rte_strerror(rte_errno));
	return false;
}

static void usage(FILE *to)
{
	fputs("usage: wan [--seeds N] [--first SEED] [--only TEXT] [--trace MS] [--check] FILE.wan...\n", to);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"seeds", 1, NULL, 'n'},
					      {"first", 1, NULL, 'f'},
					      {"only", 1, NULL, 'o'},
					      {"trace", 1, NULL, 't'},
					      {"check", 0, NULL, 'c'},
					      {"help", 0, NULL, 'h'},
					      {0}};
	struct opts o = {.seeds = 1, .first = 1};
	bool well = true;
	int k;

	while ((k = getopt_long(argc, argv, "h", longs, NULL)) >= 0) {
		if (k == 'n')
			o.seeds = (unsigned)atoi(optarg);
		else if (k == 'f')
			o.first = (unsigned)atoi(optarg);
		else if (k == 'o')
			o.only = optarg;
		else if (k == 't')
			o.trace = (uint64_t)atoi(optarg) * PATH_MS;
		else if (k == 'c')
			o.list = true;
		else {
			usage(k == 'h' ? stdout : stderr);
			return k == 'h' ? 0 : 2;
		}
	}
	if (optind == argc || !o.seeds) {
		usage(stderr);
		return 2;
	}
	if (!o.list && !eal())
		return 1;
	for (int i = optind; i < argc; i++)
		well &= run_file(argv[i], &o);
	buf_drain();
	return well ? 0 : 1;
}
