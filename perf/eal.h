/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * EAL for the benchmarks that need one: nothing shared with other processes, no devices but those asked for, memory on
 * hugepages with --huge only.
 */

/*
 * Starts EAL with `mb` MiB and `lcores` lcores, ids 0.. in the order of CPUs: lcore 0, the caller, is on the measuring
 * CPU (bench_opts.core), the others on those that are left, which they share where there are too few.  extra: more EAL
 * arguments, such as "--vdev=net_null0", ended by NULL, or NULL for none.  After bench_begin.  0 or -errno, told on
 * stderr.  EAL pins the caller to the measuring CPU again.
 */
int bench_eal_lcores(unsigned mb, unsigned lcores, const char *const *extra);

/* The same with the caller as the only lcore. */
int bench_eal(unsigned mb, const char *const *extra);
