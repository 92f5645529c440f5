/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eal.h"
#include "scenario.h"

/* Whole runs: what they tell follows from the seed, every byte is right, and the figures are those of real programs. */

TestSuite(perf_world, .init = eal_start);

static struct world_conf w;
static struct scenario s;
static char err[256];

static void load(const char *file, const char *row)
{
	unsigned i = 0;

	cr_assert_eq(scenario_load(&s, file, err, sizeof(err)), 0, "%s", err);
	for (; i < s.n_row && strcmp(s.row[i].name, row); i++)
		;
	cr_assert_lt(i, s.n_row, "no row %s", row);
	cr_assert_eq(scenario_world(&s, i, &w, err, sizeof(err)), 0, "%s", err);
	scenario_free(&s);
}

static int cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

#define SEEDS 5

/* Goodput and sent / got of a row, medians. */
static void medians(const char *row, double *mbit, double *ratio)
{
	double m[SEEDS], r[SEEDS];
	struct world_result *res = malloc(sizeof(*res));

	load(WAN_DIR "/calibrate.wan", row);
	for (unsigned i = 0; i < SEEDS; i++) {
		world_run(&w, 1 + i, res, NULL);
		for (unsigned f = 0; f < w.n_flow; f++)
			cr_assert_eq(res->flow[f].wrong, 0);
		m[i] = res->flow[0].mbit;
		r[i] = res->flow[0].ratio;
	}
	qsort(m, SEEDS, sizeof(*m), cmp);
	qsort(r, SEEDS, sizeof(*r), cmp);
	*mbit = m[SEEDS / 2];
	*ratio = r[SEEDS / 2];
	free(res);
}

/* Stock is what it was when it was measured, over an emulator in real time; it does not change any more. */
Test(perf_world, stock_as_measured)
{
	static const struct {
		const char *row;
		double mbit, ratio;
	} measured[] = {
		{"stock with stock, 0 %", 33, 2.0},
		{"stock with stock, 1 %", 33, 0},
		{"stock with stock, 5 %", 32, 0},
		{"stock with stock, 20 %", 18, 2.4},
	};

	for (size_t i = 0; i < sizeof(measured) / sizeof(measured[0]); i++) {
		double mbit, ratio;

		medians(measured[i].row, &mbit, &ratio);
		cr_assert_float_eq(mbit / measured[i].mbit, 1, 0.15, "%s: %.1f Mbit/s", measured[i].row, mbit);
		if (measured[i].ratio > 0)
			cr_assert_float_eq(ratio / measured[i].ratio, 1, 0.15, "%s: sent %.2f times", measured[i].row,
					   ratio);
	}
}

/* Every kind of end, and what a path can do: every byte is right, and something comes through. */
Test(perf_world, every_row)
{
	static const char *const files[] = {WAN_DIR "/path.wan", WAN_DIR "/fair.wan", WAN_DIR "/loss.wan"};
	struct world_result *res = malloc(sizeof(*res));

	for (unsigned k = 0; k < 3; k++) {
		cr_assert_eq(scenario_load(&s, files[k], err, sizeof(err)), 0, "%s", err);
		for (unsigned i = 0; i < s.n_row; i++) {
			cr_assert_eq(scenario_world(&s, i, &w, err, sizeof(err)), 0, "%s", err);
			w.seconds = 4 * PATH_S;
			w.from = 500 * PATH_MS;
			for (unsigned f = 0; f < w.n_flow; f++)
				w.flow[f].start = 0;
			world_run(&w, 1, res, NULL);
			for (unsigned f = 0; f < w.n_flow; f++) {
				cr_assert_eq(res->flow[f].wrong, 0, "%s", s.row[i].name);
				cr_assert_gt(res->flow[f].mbit, 0.3, "%s: %f Mbit/s", s.row[i].name, res->flow[f].mbit);
			}
		}
		scenario_free(&s);
	}
	free(res);
}

/* How often a row's server told that its client's window limits, and the window that the client should have. */
static unsigned told(const char *row, unsigned rcvwnd, unsigned *wants)
{
	struct world_result *res = malloc(sizeof(*res));
	unsigned n;

	load(WAN_DIR "/loss.wan", row);
	if (rcvwnd)
		w.flow[0].end[CLIENT].rcvwnd = rcvwnd;
	world_run(&w, 1, res, NULL);
	n = res->flow[0].end[SERVER].window_told;
	*wants = res->flow[0].end[SERVER].rcvwnd;
	printf("%s: %.1f Mbit/s, told %u times, %u\n", row, res->flow[0].mbit, n, *wants);
	free(res);
	return n;
}

/*
 * A stock client's window of 512 lets through half of what 100 Mbit/s and 100 ms take, which is told once, with a
 * window that takes more.  Of a wide one there is nothing to say, nor of one that the windows of its streams, which are
 * no wider, make look narrow, nor of a kcpgate's, which grows.
 */
Test(perf_world, narrow_window_is_told, .timeout = 240)
{
	unsigned wants;

	cr_assert_eq(told("T2 to stock 512, 0 %", 0, &wants), 1);
	cr_assert(wants >= 900 && wants <= 2500, "%u", wants);
	cr_assert_eq(told("T2 to stock 512, 5 %", 0, &wants), 1);
	cr_assert(wants >= 900 && wants <= 2500, "%u", wants);
	cr_assert_eq(told("T1 to stock 1024, 0 %", 0, &wants), 0);
	cr_assert_eq(told("T1 to stock 1024, 0 %", 4096, &wants), 0);
	cr_assert_eq(told("T3 kcpgate, 1 %", 0, &wants), 0);
}

Test(perf_world, follows_from_the_seed)
{
	struct world_result *r = calloc(3, sizeof(*r));

	load(WAN_DIR "/path.wan", "T7 to stock");
	w.seconds = 5 * PATH_S;
	for (unsigned i = 0; i < 3; i++) {
		world_run(&w, i == 2 ? 2 : 1, &r[i], NULL);
		r[i].cpu = 0;
	}
	cr_assert_eq(memcmp(&r[0], &r[1], sizeof(*r)), 0);
	cr_assert_neq(memcmp(&r[0], &r[2], sizeof(*r)), 0);
	free(r);
}

/* A flow like TCP's fills a plain path by itself. */
Test(perf_world, cubic_alone)
{
	struct world_result *r = malloc(sizeof(*r));

	load(WAN_DIR "/fair.wan", "Cubic beside Cubic");
	w.n_flow = 1;
	world_run(&w, 1, r, NULL);
	cr_assert_gt(r->flow[0].mbit, 80, "%f Mbit/s", r->flow[0].mbit);
	cr_assert_lt(r->flow[0].ratio, 1.1);
	free(r);
}

/* A trace has a point for each interval, and their sum is what came. */
Test(perf_world, trace)
{
	struct world_trace t = {.every = 50 * PATH_MS};
	struct world_result *r = malloc(sizeof(*r));
	double sum = 0;

	load(WAN_DIR "/change.wan", "T10 blackout 1 s");
	w.from = 0;
	world_run(&w, 1, r, &t);
	cr_assert_eq(t.n, w.seconds / t.every);
	for (unsigned i = 0; i < t.n; i++) {
		sum += t.v[i].good * 0.05;
		cr_assert_leq(t.v[i].link, 100.3);
		if (t.v[i].t > 5.3 && t.v[i].t < 5.99)
			cr_assert_eq(t.v[i].good, 0, "bytes out of a blackout at %f s", t.v[i].t);
	}
	cr_assert_float_eq(sum / 15.45 / r->flow[0].mbit, 1, 0.01, "%f, %f", sum / 15.45, r->flow[0].mbit);
	cr_assert_geq(r->flow[0].stall, 1000);
	cr_assert_gt(r->change[1].first, 0);
	cr_assert_gt(r->dir[DOWN].black, 0);
	free(t.v);
	free(r);
}
