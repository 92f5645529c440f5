/* SPDX-License-Identifier: MIT */

/* What control groups allow this process, beside memory. */

#include <stdio.h>

#include "doctor_int.h"
#include "group.h"
#include "sysfile.h"

/* v2: "QUOTA PERIOD". */
static bool cpu_max(const char *dir, const char *name, uint64_t *v)
{
	unsigned long long quota, period;
	char path[800], line[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!sysfile_line(path, line, sizeof(line)) || sscanf(line, "%llu %llu", &quota, &period) != 2 || period == 0)
		return false;
	*v = quota * 100 / period;
	return true;
}

/* v1: a file each. */
static bool cpu_quota(const char *dir, const char *name, uint64_t *v)
{
	uint64_t quota, period;

	if (!group_bytes(dir, name, &quota) || quota == 0 || !group_bytes(dir, "cpu.cfs_period_us", &period) ||
	    period == 0)
		return false;
	*v = quota * 100 / period;
	return true;
}

static uint64_t lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t doctor_group_memory(const struct doctor *d)
{
	return group_memory(d->root);
}

uint64_t doctor_group_hugepages(const struct doctor *d)
{
	return lower(group_least(d->root, NULL, "hugetlb.2MB.max", group_bytes),
		     group_least(d->root, "hugetlb", "hugetlb.2MB.limit_in_bytes", group_bytes));
}

uint64_t doctor_group_cpu(const struct doctor *d)
{
	uint64_t v1 = lower(group_least(d->root, "cpu", "cpu.cfs_quota_us", cpu_quota),
			    group_least(d->root, "cpu,cpuacct", "cpu.cfs_quota_us", cpu_quota));

	return lower(v1, group_least(d->root, NULL, "cpu.max", cpu_max));
}
