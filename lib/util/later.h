/* SPDX-License-Identifier: MIT */
#pragma once

#include <time.h>

/* The moment in so many ms, of CLOCK_MONOTONIC: for waits that take one. */
static inline struct timespec later_ms(unsigned ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	return t;
}
