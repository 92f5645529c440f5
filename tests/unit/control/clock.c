/* SPDX-License-Identifier: MIT */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "lab.h"

static uint64_t ahead_ms;

/* The program's own takes the place of libc's, in the libraries too. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, id, ts);
	uint64_t ns;

	if (rc || id != CLOCK_MONOTONIC)
		return rc;
	ns = (uint64_t)ts->tv_nsec + ahead_ms % 1000 * 1000000;
	ts->tv_sec += (time_t)(ahead_ms / 1000 + ns / 1000000000);
	ts->tv_nsec = (long)(ns % 1000000000);
	return 0;
}

void clock_skip(struct lab *l, uint64_t ms)
{
	ahead_ms += ms;
	for (unsigned i = 0; i < 3; i++)
		lab_turn(l, 0);
}
