/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eal.h"
#include "scenario.h"

/*
 * What a session makes of a path, by the rows of perf/wan: in virtual time a rate is a result.  The bounds are nine
 * tenths of what was measured when they were written (11 tenths of what is to be small), medians over SEEDS seeds; or
 * what was to be reached, where that is less.
 */

TestSuite(perf_targets, .init = eal_start);

#define SEEDS 3

struct row {
	const char *name;
	double mbit;  /* at least: goodput */
	double ratio; /* at most: bytes sent for each that came; 0: whatever */
};

static struct world_conf w;
static struct world_result res[SEEDS];

static void run(const char *file, const char *row)
{
	struct scenario s;
	char err[256];
	unsigned i = 0;

	cr_assert_eq(scenario_load(&s, file, err, sizeof(err)), 0, "%s", err);
	for (; i < s.n_row && strcmp(s.row[i].name, row); i++)
		;
	cr_assert_lt(i, s.n_row, "no row %s", row);
	cr_assert_eq(scenario_world(&s, i, &w, err, sizeof(err)), 0, "%s", err);
	scenario_free(&s);
	for (i = 0; i < SEEDS; i++) {
		world_run(&w, 1 + i, &res[i], NULL);
		for (unsigned f = 0; f < w.n_flow; f++)
			cr_assert_eq(res[i].flow[f].wrong, 0, "%s, seed %u", row, 1 + i);
	}
}

static int cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double (*of)(const struct world_result *r))
{
	double v[SEEDS];

	for (unsigned i = 0; i < SEEDS; i++)
		v[i] = of(&res[i]);
	qsort(v, SEEDS, sizeof(*v), cmp);
	return v[SEEDS / 2];
}

static double mbit(const struct world_result *r)
{
	return r->flow[0].mbit;
}

static double ratio(const struct world_result *r)
{
	return r->flow[0].ratio;
}

/* Segments that the client had already, of those that the server sent: the bulk goes down. */
static double repeats(const struct world_result *r)
{
	return (double)r->flow[0].end[0].repeats / (double)r->flow[0].end[1].segs_out;
}

static void rows(const char *file, const struct row *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double m, x;

		run(file, v[i].name);
		m = median(mbit);
		x = median(ratio);
		printf("%s: %.1f Mbit/s, sent %.2f times\n", v[i].name, m, x);
		cr_expect_geq(m, v[i].mbit, "%s: %.1f Mbit/s instead of %.1f", v[i].name, m, v[i].mbit);
		if (v[i].ratio > 0)
			cr_expect_leq(x, v[i].ratio, "%s: sent %.2f times", v[i].name, x);
	}
}

#define ROWS(file, v) rows(WAN_DIR "/" file, v, sizeof(v) / sizeof((v)[0]))

/* T1, T2: only the server is ours. */
Test(perf_targets, to_stock)
{
	static const struct row v[] = {
		{"T1 to stock 1024, 0 %", 75, 0},  {"T1 to stock 1024, 1 %", 63, 0},  {"T1 to stock 1024, 5 %", 53, 0},
		{"T1 to stock 1024, 10 %", 36, 0}, {"T1 to stock 1024, 20 %", 24, 0}, {"T2 to stock 512, 0 %", 38, 0},
		{"T2 to stock 512, 5 %", 32, 0},
	};

	ROWS("loss.wan", v);
}

static double waited(const struct world_result *r)
{
	return r->dir[1].wait[0];
}

/* What a peer's window lets through in lumps makes no queue of them: half of it waits for next to nothing. */
Test(perf_targets, lumps_make_no_queue)
{
	run(WAN_DIR "/loss.wan", "T1 to stock 1024, 0 %");
	printf("%.1f ms\n", median(waited));
	cr_expect_leq(median(waited), 6, "%.1f ms in the queue", median(waited));
	cr_expect_geq(median(waited), 0);
}

/* T3, T4. */
Test(perf_targets, kcpgate_with_kcpgate)
{
	static const struct row v[] = {
		{"T3 kcpgate, 0 %", 82, 1.2}, {"T3 kcpgate, 1 %", 81, 0},     {"T3 kcpgate, 5 %", 77, 1.3},
		{"T3 kcpgate, 10 %", 70, 0},  {"T3 kcpgate, 20 %", 57, 1.62}, {"T3 kcpgate, 30 %", 38, 0},
	};

	ROWS("loss.wan", v);
}

static double echo_99(const struct world_result *r)
{
	return r->flow[0].echo[1];
}

struct echo {
	const char *name;
	double ms; /* of a hundred messages the slowest but one, at most */
};

static void echoes(const char *file, const struct echo *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		run(file, v[i].name);
		printf("%s: %.0f ms\n", v[i].name, median(echo_99));
		cr_expect_leq(median(echo_99), v[i].ms, "%s: %.0f ms", v[i].name, median(echo_99));
	}
}

/* T5: messages beside bulk. */
Test(perf_targets, beside_bulk)
{
	static const struct echo v[] = {
		{"T5 beside it, 0 %", 154}, {"T5 beside it, 1 %", 243}, {"T5 beside it, 5 %", 290}};

	echoes(WAN_DIR "/loss.wan", v, 3);
}

/* T6: messages alone: what is lost costs them little. */
Test(perf_targets, alone)
{
	static const struct echo v[] = {{"T6 0 %", 55}, {"T6 5 %", 66}, {"T6 10 %", 72}, {"T6 20 %", 130}};

	echoes(WAN_DIR "/echo.wan", v, 4);
}

static double jain(const struct world_result *r)
{
	return r->jain;
}

static double others(const struct world_result *r)
{
	return r->flow[1].mbit;
}

/* T11: sessions share, and neither starve others nor are starved by them. */
Test(perf_targets, fair)
{
	static const char *const four[] = {"T11 four sessions", "T11 four, one after the other"};
	static const char *const tcp[] = {"T11 beside Cubic", "T11 beside Reno"};

	for (unsigned i = 0; i < 2; i++) {
		run(WAN_DIR "/fair.wan", four[i]);
		printf("%s: %.2f\n", four[i], median(jain));
		cr_expect_geq(median(jain), 0.86, "%s: %.2f", four[i], median(jain));
	}
	for (unsigned i = 0; i < 2; i++) {
		run(WAN_DIR "/fair.wan", tcp[i]);
		printf("%s: %.1f Mbit/s, %.1f\n", tcp[i], median(mbit), median(others));
		cr_expect_geq(median(mbit), 28, "%s: %.1f Mbit/s", tcp[i], median(mbit));
		cr_expect_geq(median(others), 14, "%s: the flow keeps %.1f Mbit/s", tcp[i], median(others));
	}
}

/* T7: what is late is not lost. */
Test(perf_targets, jitter)
{
	static const struct row v[] = {{"T7 jitter 20 ms, 1 %", 59, 0}, {"T7 to stock", 29, 0}};

	for (unsigned i = 0; i < 2; i++) {
		run(WAN_DIR "/path.wan", v[i].name);
		printf("%s: %.1f Mbit/s, %.3f repeated\n", v[i].name, median(mbit), median(repeats));
		cr_expect_geq(median(mbit), v[i].mbit, "%s: %.1f Mbit/s", v[i].name, median(mbit));
		if (w.flow[0].kind[0] == END_KCPGATE)
			cr_expect_leq(median(repeats), 0.1, "%s: %.3f repeated", v[i].name, median(repeats));
	}
}

/* T8, T13: a policer holds nothing back, and acknowledgements may be the narrow part. */
Test(perf_targets, policer_and_thin_way_back)
{
	static const struct row v[] = {
		{"T8 policer 50 Mbit/s", 41, 1.38},
		{"T8 to stock", 39, 1.35},
		{"T13 thin way back", 55, 0},
		{"T13 to stock", 69, 0},
	};

	ROWS("path.wan", v);
}

/* Of a change. */
static unsigned nth;

static double first(const struct world_result *r)
{
	return r->change[nth].first < 0 ? 1e9 : r->change[nth].first;
}

static double nine(const struct world_result *r)
{
	return r->change[nth].nine < 0 ? 1e9 : r->change[nth].nine;
}

static double dropped(const struct world_result *r)
{
	return (double)r->change[nth].dropped;
}

/* T9: the rate falls to a fifth and comes back. */
Test(perf_targets, step)
{
	run(WAN_DIR "/change.wan", "T9 step 100, 20, 100");
	for (nth = 0; nth < 2; nth++) {
		printf("step %u: %.0f ms to nine tenths, %.0f dropped\n", nth, median(nine), median(dropped));
		cr_expect_leq(median(nine), 2000, "step %u: %.0f ms", nth, median(nine));
	}
	nth = 0;
	cr_expect_leq(median(dropped), 1320, "%.0f dropped", median(dropped));
}

/* T10: nothing passes for a while. */
Test(perf_targets, blackout)
{
	static const struct {
		const char *name;
		double ms;
	} v[] = {{"T10 blackout 1 s", 143},
		 {"T10 blackout 5 s", 143},
		 {"T10 blackout 20 s", 200},
		 {"T10 to stock, 5 s", 200}};

	nth = 1;
	for (unsigned i = 0; i < 4; i++) {
		run(WAN_DIR "/change.wan", v[i].name);
		printf("%s: back after %.0f ms\n", v[i].name, median(first));
		cr_expect_leq(median(first), v[i].ms, "%s: %.0f ms", v[i].name, median(first));
	}
}
