/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "shared.h"
#include "sysfile.h"

#define LINE 512 /* of the mounts; paths that are longer are nobody's */

/* DPDK's names: of pages, "PREFIXmap_12", */
static bool is_pages(const char *name, const char *prefix)
{
	size_t n = strlen(prefix);

	if (strncmp(name, prefix, n) != 0 || strncmp(name + n, "map_", 4) != 0 || !name[n + 4])
		return false;
	return name[n + 4 + strspn(name + n + 4, "0123456789")] == '\0';
}

/* and of what tells of them. */
static bool is_table(const char *name, const char *prefix)
{
	(void)prefix;
	return !strcmp(name, "config") || !strcmp(name, "hugepage_info") || !strncmp(name, "fbarray_", 8) ||
	       !strncmp(name, "mp_socket", 9);
}

static bool is_unused(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	bool unused = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;

	if (fd >= 0)
		close(fd);
	return unused;
}

static void clear(const char *path, const char *prefix, bool is_ours(const char *, const char *), bool all)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (is_ours(e->d_name, prefix) && (all || is_unused(dirfd(d), e->d_name)))
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

/* "SOURCE PATH TYPE ..." */
static void clear_pages(const char *mounts, const char *prefix, bool all)
{
	char line[LINE], path[LINE], type[LINE];
	struct sysfile f;

	if (!sysfile_open(&f, mounts))
		return;
	while (sysfile_next(&f, line, sizeof(line)))
		if (sscanf(line, "%*s %511s %511s", path, type) == 2 && !strcmp(type, "hugetlbfs"))
			clear(path, prefix, is_pages, all);
	sysfile_close(&f);
}

void shared_sweep(const char *mounts, const char *prefix)
{
	clear_pages(mounts, prefix, false);
}

void shared_leave(const char *mounts, const char *prefix, const char *dir)
{
	clear_pages(mounts, prefix, true);
	clear(dir, prefix, is_table, true);
}
