/* SPDX-License-Identifier: MIT */
#pragma once

/* What control groups allow this process: the least over its group and all above it, of cgroup v2 and v1. */

#include <stdbool.h>
#include <stdint.h>

/* A limit that a file of a group's folder tells; false: none. */
typedef bool group_fn(const char *dir, const char *name, uint64_t *v);
/* One in bytes. */
bool group_bytes(const char *dir, const char *name, uint64_t *v);

/*
 * The least of a limit over the groups, UINT64_MAX: there is none.  root: what stands before /proc and /sys, "" but for
 * tests; v1: the controller by the name of its hierarchy, NULL: v2.  In a container the group's path may be one that is
 * seen from outside only: then the mount's own top counts.
 */
uint64_t group_least(const char *root, const char *v1, const char *name, group_fn *limit);

/* Bytes of memory, of either version. */
uint64_t group_memory(const char *root);
