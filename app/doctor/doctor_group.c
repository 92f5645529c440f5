/* SPDX-License-Identifier: MIT */

/* What control groups allow this process: the least over its group and all above it, of cgroup v2 and v1. */

#include <inttypes.h>
#include <string.h>

#include "doctor_int.h"
#include "sysfile.h"

#define FOLDER 400

/* The folder of this process's group in a hierarchy, below the root; v1: the controller, NULL: that of v2. */
static bool folder(const struct doctor *d, const char *v1, char dir[FOLDER])
{
	char path[512], line[512];
	bool found = false;
	struct sysfile f;

	snprintf(path, sizeof(path), "%s/self/cgroup", d->proc);
	if (!sysfile_open(&f, path))
		return false;
	while (!found && sysfile_next(&f, line, sizeof(line))) {
		char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;

		if (!group)
			continue;
		*group++ = '\0';
		found = strcmp(names + 1, v1 ? v1 : "") == 0;
		if (found)
			snprintf(dir, FOLDER, "/sys/fs/cgroup%s%s%.300s", v1 ? "/" : "", v1 ? v1 : "",
				 strcmp(group, "/") ? group : "");
	}
	sysfile_close(&f);
	return found;
}

typedef bool limit_fn(const struct doctor *d, const char *dir, const char *name, uint64_t *v);

static bool bytes(const struct doctor *d, const char *dir, const char *name, uint64_t *v)
{
	long long n;

	if (!doctor_number(d, &n, "%s/%s", dir, name) || n < 0)
		return false; /* "max" */
	*v = (uint64_t)n;
	return n < INT64_MAX / 2; /* v1's word for no limit */
}

/* v2: "QUOTA PERIOD". */
static bool cpu_max(const struct doctor *d, const char *dir, const char *name, uint64_t *v)
{
	unsigned long long quota, period;
	char line[64];

	if (!doctor_read(d, line, sizeof(line), "%s/%s", dir, name) ||
	    sscanf(line, "%llu %llu", &quota, &period) != 2 || period == 0)
		return false;
	*v = quota * 100 / period;
	return true;
}

/* v1: a file each. */
static bool cpu_quota(const struct doctor *d, const char *dir, const char *name, uint64_t *v)
{
	long long quota, period;

	if (!doctor_number(d, &quota, "%s/%s", dir, name) || quota <= 0 ||
	    !doctor_number(d, &period, "%s/cpu.cfs_period_us", dir) || period <= 0)
		return false;
	*v = (uint64_t)quota * 100 / (uint64_t)period;
	return true;
}

/* In a container the group's path may be one that is seen from outside only: then the mount's own top counts. */
static uint64_t least(const struct doctor *d, const char *v1, const char *name, limit_fn *limit)
{
	uint64_t all = UINT64_MAX, v;
	char dir[FOLDER], *slash;
	size_t top;

	if (!folder(d, v1, dir))
		return all;
	top = strlen("/sys/fs/cgroup") + (v1 ? strlen(v1) + 1 : 0);
	for (;;) {
		if (limit(d, dir, name, &v) && v < all)
			all = v;
		slash = strrchr(dir, '/');
		if (strlen(dir) <= top || !slash)
			return all;
		*slash = '\0';
	}
}

static uint64_t lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t doctor_group_memory(const struct doctor *d)
{
	return lower(least(d, NULL, "memory.max", bytes), least(d, "memory", "memory.limit_in_bytes", bytes));
}

uint64_t doctor_group_hugepages(const struct doctor *d)
{
	return lower(least(d, NULL, "hugetlb.2MB.max", bytes),
		     least(d, "hugetlb", "hugetlb.2MB.limit_in_bytes", bytes));
}

uint64_t doctor_group_cpu(const struct doctor *d)
{
	uint64_t v1 = lower(least(d, "cpu", "cpu.cfs_quota_us", cpu_quota),
			    least(d, "cpu,cpuacct", "cpu.cfs_quota_us", cpu_quota));

	return lower(v1, least(d, NULL, "cpu.max", cpu_max));
}
