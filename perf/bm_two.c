/* SPDX-License-Identifier: MIT */

/*
 * Two workers beside one (figure F12): each on an lcore of its own with sessions of its own, from the same pools, keys
 * and tables, as the workers of one gateway.  Two beds side by side, first one of them alone, then both at once, round
 * by round; the ratio is that of datagrams a second of worker time, summed.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <rte_launch.h>
#include <rte_lcore.h>

#include "bed.h"
#include "bench.h"
#include "eal.h"

#define ROUND_BYTES ((uint64_t)24 << 20)

struct run {
	struct bed *bed;
	double rate; /* datagrams a second of worker time, both ends */
	double had;  /* share of its time that the thread had a CPU */
};

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int carry(void *arg)
{
	struct run *r = arg;
	double wall, cpu;

	bed_zero(r->bed);
	wall = seconds(CLOCK_MONOTONIC);
	cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
	bed_carry(r->bed, ROUND_BYTES);
	r->had = (seconds(CLOCK_THREAD_CPUTIME_ID) - cpu) / (seconds(CLOCK_MONOTONIC) - wall);
	r->rate = (double)r->bed->frames[0] / bench_ns(r->bed->g[0].cycles + r->bed->g[1].cycles) * 1e9;
	return 0;
}

static int start(void *arg)
{
	struct run *r = arg;

	bed_start(r->bed);
	bed_flow(r->bed, true);
	return 0;
}

static int end(void *arg)
{
	bed_flow(((struct run *)arg)->bed, false);
	bed_end(((struct run *)arg)->bed);
	return 0;
}

/* On the second lcore, for its buffers' caches are that thread's. */
static void there(int (*fn)(void *), struct run *r, unsigned lcore)
{
	rte_eal_remote_launch(fn, r, lcore);
	rte_eal_wait_lcore(lcore);
}

static void two(unsigned lcore)
{
	static const struct bed_conf c = {.cipher = "aes",
					  .ds = 10,
					  .ps = 3,
					  .wnd = 1024,
					  .nic_csum = true,
					  .sessions = 4,
					  .streams = 1,
					  .step_us = 200,
					  .heap = 64 << 20};
	static struct bench_series alone, both, ratio, had;
	struct run a = {.bed = bed_new(&c)}, b = {.bed = bed_new_beside(a.bed)};
	struct bench_stat r, h;

	start(&a);
	there(start, &b, lcore);
	for (unsigned i = 0; i < bench_opts.rounds; i++) {
		carry(&a);
		bench_add(&alone, a.rate);
		rte_eal_remote_launch(carry, &b, lcore);
		carry(&a);
		rte_eal_wait_lcore(lcore);
		bench_add(&both, a.rate + b.rate);
		bench_add(&had, a.had < b.had ? a.had : b.had);
		bench_add(&ratio, both.v[i] / alone.v[i]);
	}
	there(end, &b, lcore);
	end(&a);
	r = bench_stat(&ratio);
	h = bench_stat(&had);
	bench_value("one worker", bench_stat(&alone).median * 1e-6, "M datagrams/s, both ends' time");
	bench_value("two workers", bench_stat(&both).median * 1e-6, "M datagrams/s, both ends' time");
	if (h.median < 0.95)
		bench_note("the two had CPUs of their own for %.0f %% of the time only: no figure", h.median * 100);
	else
		bench_figure("F12", "two workers / one, disjoint sessions", &r, BENCH_AT_LEAST, 1.8);
}

int main(int argc, char **argv)
{
	bench_begin(argc, argv, "bm_two", "two workers beside one");
	if (bench_eal_lcores(768, 2, NULL))
		return 1;
	two(rte_get_next_lcore(-1, 1, 0));
	return bench_end();
}
