/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#define ROUND_NS 3e6 /* long against the clock, short against the scheduler's slice */
#define GO_MAX	 1000000u

struct bench_opts bench_opts;

static const char *prog;
static json_t *root, *rows, *values, *figures, *notes;
static double tsc_hz;
static bool wrong;

static double tsc_rate(void)
{
	struct timespec a, b;
	uint64_t t = bench_tsc();
	double s;

	clock_gettime(CLOCK_MONOTONIC, &a);
	do {
		clock_gettime(CLOCK_MONOTONIC, &b);
		s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
	} while (s < 0.05);
	return (double)(bench_tsc() - t) / s;
}

static int last_cpu(void)
{
	cpu_set_t set;
	int cpu = CPU_SETSIZE - 1;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 0;
	while (cpu > 0 && !CPU_ISSET(cpu, &set))
		cpu--;
	return cpu;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fprintf(stderr, "%s: cannot run on CPU %d alone: the figures float\n", prog, cpu);
}

static void __attribute__((noreturn)) usage(const char *what)
{
	fprintf(stderr,
		"%s: %s\n"
		"  --json FILE   writes the results there too\n"
		"  --only TEXT   rows and figures whose name contains TEXT\n"
		"  --core N      CPU to measure on (default: the last)\n"
		"  --rounds N    of each measurement, 3..%u\n"
		"  --quick       shorter: to see that it works\n"
		"  --huge        memory on hugepages, where the program has an EAL\n",
		prog, what, BENCH_ROUNDS_MAX);
	exit(2);
}

static void options(int argc, char **argv, const char *what)
{
	static const struct option known[] = {
		{"json", 1, 0, 'j'},
		{"only", 1, 0, 'o'},
		{"core", 1, 0, 'c'},
		{"rounds", 1, 0, 'r'},
		{"quick", 0, 0, 'q'},
		{"huge", 0, 0, 'H'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'j':
			bench_opts.json = optarg;
			break;
		case 'o':
			bench_opts.only = optarg;
			break;
		case 'c':
			bench_opts.core = atoi(optarg);
			break;
		case 'r':
			bench_opts.rounds = (unsigned)atoi(optarg);
			break;
		case 'q':
			bench_opts.quick = true;
			break;
		case 'H':
			bench_opts.huge = true;
			break;
		default:
			usage(what);
		}
	}
	if (optind < argc)
		usage(what);
	if (bench_opts.rounds == 0)
		bench_opts.rounds = bench_opts.quick ? 5 : 41;
	if (bench_opts.rounds < 3 || bench_opts.rounds > BENCH_ROUNDS_MAX || bench_opts.core < 0)
		usage(what);
}

void bench_begin(int argc, char **argv, const char *program, const char *what)
{
	prog = program;
	bench_opts.core = last_cpu();
	options(argc, argv, what);
	pin(bench_opts.core);
	tsc_hz = tsc_rate();
	root = json_object();
	rows = json_array();
	values = json_array();
	figures = json_array();
	notes = json_array();
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%s: %s (CPU %d, TSC %.2f GHz, %u rounds)\n", program, what, bench_opts.core, tsc_hz * 1e-9,
	       bench_opts.rounds);
	printf("%-46s %9s %8s %8s  %s\n", "", "ns", "cycles", "GB/s", "quartiles, ns");
}

int bench_end(void)
{
	json_object_set_new(root, "program", json_string(prog));
	json_object_set_new(root, "tsc_hz", json_real(tsc_hz));
	json_object_set_new(root, "rows", rows);
	json_object_set_new(root, "values", values);
	json_object_set_new(root, "figures", figures);
	json_object_set_new(root, "notes", notes);
	json_object_set_new(root, "wrong", json_boolean(wrong));
	if (bench_opts.json && json_dump_file(root, bench_opts.json, JSON_INDENT(1) | JSON_REAL_PRECISION(6))) {
		fprintf(stderr, "%s: cannot write %s\n", prog, bench_opts.json);
		wrong = true;
	}
	json_decref(root);
	return wrong;
}

double bench_ns(uint64_t cycles)
{
	return (double)cycles * 1e9 / tsc_hz;
}

void bench_hold(void)
{
	static _Thread_local bool held;

	if (!held && sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1}))
		fprintf(stderr, "%s: no real-time class: other programs disturb the figures\n", prog);
	held = true;
}

double bench_hz(void)
{
	return tsc_hz;
}

bool bench_wanted(const char *name)
{
	return !bench_opts.only || strstr(name, bench_opts.only);
}

/* ---- series ---- */

void bench_add(struct bench_series *s, double v)
{
	if (s->n < BENCH_ROUNDS_MAX)
		s->v[s->n++] = v;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct bench_stat bench_stat(const struct bench_series *s)
{
	struct bench_series o = *s;

	if (o.n == 0)
		return (struct bench_stat){0};
	qsort(o.v, o.n, sizeof(o.v[0]), by_value);
	return (struct bench_stat){
		.median = o.v[o.n / 2], .lo = o.v[o.n / 4], .hi = o.v[o.n * 3 / 4], .min = o.v[0], .max = o.v[o.n - 1]};
}

/* ---- rows ---- */

static json_t *stat_json(const char *name, const struct bench_stat *t)
{
	return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f}", "name", name, "median", t->median, "lo", t->lo, "hi", t->hi,
			 "min", t->min, "max", t->max);
}

void bench_row(const char *name, const struct bench_series *ns, double bytes)
{
	struct bench_stat t = bench_stat(ns);
	json_t *row;

	if (!bench_wanted(name))
		return;
	printf("%-46s %9.1f %8.0f ", name, t.median, t.median * tsc_hz * 1e-9);
	if (bytes > 0)
		printf("%8.2f", bytes / t.median);
	else
		printf("%8s", "");
	printf("  %.1f..%.1f\n", t.lo, t.hi);
	row = stat_json(name, &t);
	json_object_set_new(row, "cycles", json_real(t.median * tsc_hz * 1e-9));
	if (bytes > 0)
		json_object_set_new(row, "gbs", json_real(bytes / t.median));
	json_array_append_new(rows, row);
}

void bench_value(const char *name, double v, const char *unit)
{
	printf("%-46s %.6g %s\n", name, v, unit);
	json_array_append_new(values, json_pack("{s:s, s:f, s:s}", "name", name, "value", v, "unit", unit));
}

void bench_note(const char *fmt, ...)
{
	char buf[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	printf("  %s\n", buf);
	json_array_append_new(notes, json_string(buf));
}

/* ---- timing ---- */

static double go(const struct bench_job *j, unsigned times)
{
	uint64_t sum = 0, t;

	if (!j->reset) {
		t = bench_tsc();
		for (unsigned i = 0; i < times; i++)
			j->run(j->arg);
		return bench_ns(bench_tsc() - t);
	}
	for (unsigned i = 0; i < times; i++) {
		j->reset(j->arg);
		t = bench_tsc();
		j->run(j->arg);
		sum += bench_tsc() - t;
	}
	return bench_ns(sum);
}

/* How many goes make a round; finding out warms code, data and the CPU's clock. */
static unsigned calibrate(const struct bench_job *j)
{
	double want = bench_opts.quick ? ROUND_NS / 4 : ROUND_NS;
	unsigned times = 1;

	bench_hold();
	while (times < GO_MAX && go(j, times) < want)
		times *= 2;
	return times;
}

static double round_ns(const struct bench_job *j, unsigned times)
{
	return go(j, times) / times / j->packets;
}

void bench_job(const struct bench_job *j, struct bench_series *s)
{
	unsigned times;

	s->n = 0;
	if (j->name && !bench_wanted(j->name))
		return;
	times = calibrate(j);
	for (unsigned i = 0; i < bench_opts.rounds; i++)
		bench_add(s, round_ns(j, times));
	if (j->name)
		bench_row(j->name, s, j->bytes);
}

void bench_pair(const struct bench_job *a, const struct bench_job *b, struct bench_series *sa, struct bench_series *sb,
		struct bench_series *ratio)
{
	unsigned ta = calibrate(a), tb = calibrate(b);

	sa->n = sb->n = ratio->n = 0;
	for (unsigned i = 0; i < bench_opts.rounds; i++) {
		bench_add(sa, round_ns(a, ta));
		bench_add(sb, round_ns(b, tb));
		bench_add(ratio, sa->v[i] / sb->v[i]);
	}
	if (a->name)
		bench_row(a->name, sa, a->bytes);
	if (b->name)
		bench_row(b->name, sb, b->bytes);
}

/* ---- figures ---- */

void bench_figure(const char *id, const char *name, const struct bench_stat *v, enum bench_op op, double target)
{
	bool reached = op == BENCH_AT_LEAST ? v->median >= target : v->median <= target;
	json_t *f = stat_json(name, v);

	printf("%-4s %s: %.4g (%.4g..%.4g), to reach %s %g: %s\n", id, name, v->median, v->lo, v->hi,
	       op == BENCH_AT_LEAST ? ">=" : "<=", target, reached ? "reached" : "SHORT");
	json_object_set_new(f, "id", json_string(id));
	json_object_set_new(f, "op", json_string(op == BENCH_AT_LEAST ? ">=" : "<="));
	json_object_set_new(f, "target", json_real(target));
	json_object_set_new(f, "reached", json_boolean(reached));
	json_array_append_new(figures, f);
}

void bench_wrong(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: WRONG: ", prog);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	wrong = true;
}
