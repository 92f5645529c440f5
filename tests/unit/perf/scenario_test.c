/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scenario.h"

/* Scenarios are read to the letter, and what is wrong in one is refused with its line. */

TestSuite(perf_scenario);

static struct scenario s;
static struct world_conf w;
static char err[256];

static int load(const char *text)
{
	char name[] = "/tmp/scenario.XXXXXX";
	int fd = mkstemp(name), rc;
	FILE *f = fdopen(fd, "w");

	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
	rc = scenario_load(&s, name, err, sizeof(err));
	unlink(name);
	for (unsigned i = 0; rc == 0 && i < (s.n_row ? s.n_row : 1); i++)
		rc = scenario_world(&s, i, &w, err, sizeof(err));
	return rc;
}

Test(perf_scenario, whole)
{
	const char *text =
		"# A title\n"
		"run 20s; from 1s\n"
		"both delay 50ms rate 100M queue 500\n"
		"up rate 1M loss 5% burst 4\n"
		"ends mode fast3 fec 20/5\n"
		"client rcvwnd 2048\n"
		"at 5s down rate 20M; at 7.5s both black on; at 8s both black off\n"
		"row one; flow stock kcpgate echo 50ms streams 2\n"
		"row two; flow kcpgate stock2026 up start 2s delay 3ms times 3; flow cubic; server fec off\n";

	cr_assert_eq(load(text), 0, "%s", err);
	cr_assert_str_eq(s.title, "A title");
	cr_assert_eq(s.n_row, 2);
	cr_assert_eq(scenario_world(&s, 0, &w, err, sizeof(err)), 0);
	cr_assert_eq(w.seconds, 20 * PATH_S);
	cr_assert_eq(w.from, PATH_S);
	cr_assert_eq(w.path[UP].rate, 1000000);
	cr_assert_float_eq(w.path[UP].loss, 0.05, 1e-12);
	cr_assert_eq(w.path[UP].burst, 4);
	cr_assert_eq(w.path[DOWN].rate, 100000000);
	cr_assert_eq(w.path[DOWN].loss, 0);
	cr_assert_eq(w.path[DOWN].delay, 50 * PATH_MS);
	cr_assert_eq(w.path[DOWN].queue, 500);
	cr_assert_eq(w.n_change, 3);
	cr_assert_eq(w.change[0].path[DOWN].rate, 20000000);
	cr_assert_eq(w.change[0].path[UP].rate, 1000000);
	cr_assert_eq(w.change[1].at, 7500 * PATH_MS);
	cr_assert(w.change[1].path[UP].black && w.change[1].path[DOWN].black);
	cr_assert_eq(w.change[1].path[DOWN].rate, 20000000, "changes add up");
	cr_assert(!w.change[2].path[UP].black);
	cr_assert_eq(w.n_flow, 1);
	cr_assert_eq(w.flow[0].end[CLIENT].kind, END_STOCK_2021);
	cr_assert_eq(w.flow[0].end[SERVER].kind, END_KCPGATE);
	cr_assert_eq(w.flow[0].bulks, 2);
	cr_assert_eq(w.flow[0].echo, 50 * PATH_MS);
	cr_assert_eq(w.flow[0].end[CLIENT].rcvwnd, 2048);
	cr_assert_eq(w.flow[0].end[SERVER].rcvwnd, 65535, "automatic");
	cr_assert_eq(w.flow[0].end[SERVER].interval, 10);
	cr_assert_eq(w.flow[0].end[SERVER].ds, 20);
	cr_assert_eq(scenario_world(&s, 1, &w, err, sizeof(err)), 0);
	cr_assert_eq(w.n_flow, 4);
	cr_assert_eq(w.flow[2].end[SERVER].kind, END_STOCK_2026);
	cr_assert_eq(w.flow[2].end[SERVER].ds, 0);
	cr_assert_eq(w.flow[2].end[CLIENT].ds, 20);
	cr_assert(w.flow[2].up);
	cr_assert_eq(w.flow[2].delay, 3 * PATH_MS);
	cr_assert_eq(w.flow[3].kind[CLIENT], END_CUBIC);
	scenario_free(&s);
}

static void refused(const char *text, const char *words)
{
	err[0] = 0;
	cr_assert_eq(load(text), -EINVAL, "taken: %s", text);
	cr_assert_not_null(strstr(err, words), "'%s' does not say '%s'", err, words);
	scenario_free(&s);
}

Test(perf_scenario, refused)
{
	refused("flow kcpgate kcpgate\n\nboth speed 3M\n", ":3: a path knows no 'speed'");
	refused("flow kcpgate kcpgate\nboth rate 3\n", ":2: rate: a number with its unit is wanted, not '3'");
	refused("both rate 3Mbit; flow cubic\n", "not '3Mbit'");
	refused("both loss 100%; flow cubic\n", "loss of 100% is out of range");
	refused("both delay -3ms; flow cubic\n", "delay of -3ms is out of range");
	refused("both bucket 32K; flow cubic\n", "without a rate");
	refused("both reorder 2%; flow cubic\n", "by 5ms");
	refused("both fifo yes; flow cubic\n", "fifo is on or off");
	refused("flow stock\n", "kcpgate, stock or stock2026 is wanted");
	refused("flow linux\n", "not 'linux'");
	refused("flow cubic fast\n", "a flow knows no 'fast'");
	refused("flow cubic times 17\n", "1 to 16 flows");
	refused("flow kcpgate kcpgate streams 33\n", "more than 32 streams");
	refused("ends mode turbo; flow cubic\n", "mode is normal");
	refused("ends fec 10; flow cubic\n", "fec is off or data/parity");
	refused("ends sndwnd 65536; flow cubic\n", "windows are 1 to 65535");
	refused("ends smuxver 3; flow cubic\n", "smuxver is 1 or 2");
	refused("at 5s rate 3M; flow cubic\n", "up, down or both");
	refused("at 5s both rate 3M; at 4s both rate 4M; flow cubic\n", "in the order of time");
	refused("at 5s both rate 3M; both delay 1ms; flow cubic\n", "before any change");
	refused("run 5s 6s; flow cubic\n", "what is '6s' here");
	refused("colour red\n", "no statement begins with 'colour'");
	refused("both rate 3M\n", "nothing flows");
	refused("row a; flow cubic\nboth rate 3M\n", ":2: what all rows share");
	refused("row without statements\n", "a row is");
	refused("row a; flow cubic\nrow b; flow cubic; both rate\n", ":2: rate");
}

/* Those that are here are good. */
Test(perf_scenario, ours)
{
	glob_t g;

	cr_assert_eq(glob(WAN_DIR "/*.wan", 0, NULL, &g), 0);
	cr_assert_gt(g.gl_pathc, 5);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		cr_assert_eq(scenario_load(&s, g.gl_pathv[i], err, sizeof(err)), 0, "%s", err);
		cr_assert_not_null(s.title, "%s has no title", g.gl_pathv[i]);
		for (unsigned r = 0; r < (s.n_row ? s.n_row : 1); r++)
			cr_assert_eq(scenario_world(&s, r, &w, err, sizeof(err)), 0, "%s", err);
		scenario_free(&s);
	}
	globfree(&g);
}
