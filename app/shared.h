/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Memory that other processes may map is files: DPDK makes them in hugetlbfs, and in its folder of the process those
 * that tell of it, and leaves all of them behind.  Their pages stay taken until somebody removes them.
 */

/*
 * Before a start: removes the pages that an ended process of this prefix has left.  What somebody uses is locked, and
 * stays.  mounts: "/proc/mounts".
 */
void shared_sweep(const char *mounts, const char *prefix);

/*
 * Behind the end of DPDK: removes what was ours, who were this prefix's one primary process.  Whoever has it mapped
 * keeps it for as long.  dir: DPDK's folder of the process.
 */
void shared_leave(const char *mounts, const char *prefix, const char *dir);
