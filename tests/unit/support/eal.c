/* SPDX-License-Identifier: MIT */
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>

#include <criterion/criterion.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include "eal.h"

#define ARGS_MAX 32

/* "0@(0,1),1@(0,1)": an lcore may float, so that suites which run at once do not pile up on one CPU. */
static void lcores_arg(char *buf, size_t len, unsigned lcores)
{
	cpu_set_t set;
	size_t n = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	for (unsigned l = 0; l < lcores; l++) {
		const char *sep = "";

		n += (size_t)snprintf(buf + n, len - n, "%s%u@(", l ? "," : "", l);
		for (unsigned cpu = 0; cpu < 64 && n < len; cpu++) {
			if (!CPU_ISSET(cpu, &set))
				continue;
			n += (size_t)snprintf(buf + n, len - n, "%s%u", sep, cpu);
			sep = ",";
		}
		cr_assert_lt(n + 1, len);
		n += (size_t)snprintf(buf + n, len - n, ")");
	}
}

void eal_start_args(unsigned lcores, const char *const *extra)
{
	static bool started;
	static char map[2048];
	/*
	 * Static: EAL permutes its arguments and keeps pointers to them.  --no-huge refuses --in-memory; --no-shconf is
	 * what keeps runs that go on at once from meeting in the runtime directory.
	 */
	static char *argv[ARGS_MAX] = {"test",		 "--no-huge",	"--no-shconf",	 "--no-pci", "-m", "256",
				       "--no-telemetry", "--log-level", "lib.eal:error", "--lcores", map};
	int argc = 11;

	if (started)
		return;
	lcores_arg(map, sizeof(map), lcores);
	for (; extra && *extra; extra++) {
		cr_assert_lt(argc, ARGS_MAX - 1);
		argv[argc++] = (char *)*extra;
	}
	cr_assert_geq(rte_eal_init(argc, argv), 0, "EAL: %s", rte_strerror(rte_errno));
	started = true;
}

void eal_start(void)
{
	eal_start_args(1, NULL);
}
