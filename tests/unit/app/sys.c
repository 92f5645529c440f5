/* SPDX-License-Identifier: MIT */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <criterion/criterion.h>

#include "sys.h"

char sys_root[] = "/tmp/kcpgate-sys-XXXXXX";

void sys_put(const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", sys_root, name);
	for (char *s = path + strlen(sys_root) + 1; (s = strchr(s, '/')); s++) {
		*s = '\0';
		mkdir(path, 0755);
		*s = '/';
	}
	f = fopen(path, "w");
	cr_assert_not_null(f, "%s", path);
	fputs(text, f);
	fclose(f);
}

void sys_pages(const char *where, const char *size, unsigned total, unsigned free)
{
	char name[256], text[16];

	snprintf(name, sizeof(name), "%s/hugepages-%s/nr_hugepages", where, size);
	snprintf(text, sizeof(text), "%u\n", total);
	sys_put(name, text);
	snprintf(name, sizeof(name), "%s/hugepages-%s/free_hugepages", where, size);
	snprintf(text, sizeof(text), "%u\n", free);
	sys_put(name, text);
}

void sys_make(void)
{
	cr_assert_not_null(mkdtemp(sys_root));
}

static int drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

void sys_drop(void)
{
	nftw(sys_root, drop, 16, FTW_DEPTH | FTW_PHYS);
}

void sys_two_nodes(void)
{
	sys_put("devices/system/node/has_memory", "0-1\n");
	sys_put("devices/system/node/node0/cpulist", "0-3,8\n");
	sys_put("devices/system/node/node1/cpulist", "4-7,9-11\n");
	sys_put("bus/pci/devices/0000:03:00.0/numa_node", "1\n");
	sys_put("bus/pci/devices/0000:04:00.1/numa_node", "-1\n");
}
