/* SPDX-License-Identifier: MIT */
#include "group.h"

#include <stdio.h>
#include <string.h>

#include "sysfile.h"

#define FOLDER 700
#define GROUPS "/sys/fs/cgroup"

/* The folder of this process's group in a hierarchy. */
static bool folder(const char *root, const char *v1, char dir[FOLDER])
{
	char path[300], line[512];
	bool found = false;
	struct sysfile f;

	snprintf(path, sizeof(path), "%.250s/proc/self/cgroup", root);
	if (!sysfile_open(&f, path))
		return false;
	while (!found && sysfile_next(&f, line, sizeof(line))) {
		char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;

		if (!group)
			continue;
		*group++ = '\0';
		found = strcmp(names + 1, v1 ? v1 : "") == 0;
		if (found)
			snprintf(dir, FOLDER, "%.250s" GROUPS "%s%.30s%.300s", root, v1 ? "/" : "", v1 ? v1 : "",
				 strcmp(group, "/") ? group : "");
	}
	sysfile_close(&f);
	return found;
}

bool group_bytes(const char *dir, const char *name, uint64_t *v)
{
	char path[FOLDER + 64];
	long long n;

	snprintf(path, sizeof(path), "%s/%.60s", dir, name);
	if (!sysfile_number(path, &n) || n < 0)
		return false; /* "max" */
	*v = (uint64_t)n;
	return n < INT64_MAX / 2; /* v1's word for no limit */
}

uint64_t group_least(const char *root, const char *v1, const char *name, group_fn *limit)
{
	uint64_t all = UINT64_MAX, v;
	char dir[FOLDER], *slash;
	size_t top;

	if (!folder(root, v1, dir))
		return all;
	top = strlen(root) + strlen(GROUPS) + (v1 ? strlen(v1) + 1 : 0);
	for (;;) {
		if (limit(dir, name, &v) && v < all)
			all = v;
		slash = strrchr(dir, '/');
		if (strlen(dir) <= top || !slash)
			return all;
		*slash = '\0';
	}
}

uint64_t group_memory(const char *root)
{
	uint64_t a = group_least(root, NULL, "memory.max", group_bytes),
		 b = group_least(root, "memory", "memory.limit_in_bytes", group_bytes);

	return a < b ? a : b;
}
