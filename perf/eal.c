/* SPDX-License-Identifier: MIT */
#include "eal.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "bench.h"

#define ARGS_MAX   48
#define LCORES_MAX 16

/* The nth CPU besides the measuring one that this process may use.  bench_begin has narrowed this thread to that one,
 * so the others are tried out. */
static int other_cpu(unsigned nth)
{
	cpu_set_t set, was;
	unsigned seen = 0;
	int found = bench_opts.core;

	if (sched_getaffinity(0, sizeof(was), &was))
		return found;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (cpu == bench_opts.core)
			continue;
		CPU_ZERO(&set);
		CPU_SET((size_t)cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set))
			continue;
		found = cpu;
		if (seen++ == nth)
			break;
	}
	sched_setaffinity(0, sizeof(was), &was);
	return found;
}

/* "0@1,1@0" */
static void lcores_arg(char *buf, size_t len, unsigned lcores)
{
	size_t n = (size_t)snprintf(buf, len, "0@%d", bench_opts.core);

	for (unsigned l = 1; l < lcores; l++)
		n += (size_t)snprintf(buf + n, len - n, ",%u@%d", l, other_cpu(l - 1));
}

int bench_eal_lcores(unsigned mb, unsigned lcores, const char *const *extra)
{
	static char map[256], memory[16];
	/* Static: EAL permutes its arguments and keeps pointers to them. */
	static char *argv[ARGS_MAX] = {"perf",		"--no-shconf", "--no-pci", "--no-telemetry", "--log-level",
				       "lib.eal:error", "-m",	       memory,	   "--lcores",	     map};
	int argc = 10;

	if (lcores < 1 || lcores > LCORES_MAX)
		return -EINVAL;
	snprintf(memory, sizeof(memory), "%u", mb);
	lcores_arg(map, sizeof(map), lcores);
	/* --no-huge refuses --in-memory, which is what keeps pages from being left behind. */
	argv[argc++] = bench_opts.huge ? "--in-memory" : "--no-huge";
	for (; extra && *extra; extra++) {
		if (argc == ARGS_MAX - 1)
			return -E2BIG;
		argv[argc++] = (char *)*extra;
	}
	if (rte_eal_init(argc, argv) < 0) {
		fprintf(stderr, "EAL: %s\n", rte_strerror(rte_errno));
		return -rte_errno;
	}
	return 0;
}

int bench_eal(unsigned mb, const char *const *extra)
{
	return bench_eal_lcores(mb, 1, extra);
}
