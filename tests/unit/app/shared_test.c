/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "shared.h"

static char root[] = "/tmp/kcpgate-shared-XXXXXX";
static char mounts[100];

static const char *at(const char *name)
{
	static char v[4][100];
	static unsigned i;
	char *path = v[i++ % 4];

	snprintf(path, 100, "%s/%s", root, name);
	return path;
}

static int file(const char *name)
{
	int fd = open(at(name), O_RDWR | O_CREAT, 0600);

	cr_assert_geq(fd, 0);
	return fd;
}

static bool there(const char *name)
{
	return access(at(name), F_OK) == 0;
}

static void setup(void)
{
	FILE *f;

	cr_assert_not_null(mkdtemp(root));
	cr_assert_eq(mkdir(at("huge"), 0700) | mkdir(at("tmp"), 0700) | mkdir(at("run"), 0700), 0);
	snprintf(mounts, sizeof(mounts), "%s", at("mounts"));
	f = fopen(mounts, "w");
	fprintf(f, "none %s tmpfs rw 0 0\nnone %s hugetlbfs rw,pagesize=2M 0 0\n", at("tmp"), at("huge"));
	fclose(f);
}

static void teardown(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -r %s", root);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(shared, .init = setup, .fini = teardown);

static const char *const others[] = {"huge/kgmap_", "huge/kgmap_1x", "huge/kg1map_0",
				     "huge/kg",	    "huge/xkgmap_0", "tmp/kgmap_0"};

static void others_stay(void)
{
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_expect(there(others[i]), "%s", others[i]);
}

static void pages(void)
{
	close(file("huge/kgmap_0"));
	close(file("huge/kgmap_12"));
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		close(file(others[i]));
}

/* What a process holds is locked, as DPDK does it. */
Test(shared, sweep)
{
	int fd;

	pages();
	fd = file("huge/kgmap_12");
	cr_assert_eq(flock(fd, LOCK_SH), 0);
	shared_sweep(mounts, "kg");
	cr_expect_not(there("huge/kgmap_0"));
	cr_expect(there("huge/kgmap_12"));
	close(fd);
	shared_sweep(mounts, "kg");
	cr_expect_not(there("huge/kgmap_12"));
	others_stay();
}

/* Our own locks last as long as the process. */
Test(shared, leave)
{
	int fd;

	pages();
	fd = file("huge/kgmap_12");
	cr_assert_eq(flock(fd, LOCK_SH), 0);
	close(file("run/config"));
	close(file("run/fbarray_memzone"));
	close(file("run/hugepage_info"));
	close(file("run/dpdk_telemetry.v2"));
	close(file("run/somebody's"));
	shared_leave(mounts, "kg", at("run"));
	cr_expect_not(there("huge/kgmap_0") || there("huge/kgmap_12"));
	cr_expect_not(there("run/config") || there("run/fbarray_memzone") || there("run/hugepage_info"));
	cr_expect(there("run/dpdk_telemetry.v2") && there("run/somebody's"));
	others_stay();
	close(fd);
}
