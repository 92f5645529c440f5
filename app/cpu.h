/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * The least CPU.  A process on one that has less ends in one line before anything else of it runs: not even DPDK's
 * libraries get to their constructors, which are compiled for more than that CPU has.
 */

/* What CPUID's leaf 1 lacks in its ECX of what is needed, as a list for people; its length, 0: nothing. */
size_t cpu_missing(uint32_t ecx, char *list, size_t size);
