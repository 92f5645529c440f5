/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "pages.h"
#include "sys.h"

/* How much memory a start reckons with, on machines and in control groups that are made up. */

TestSuite(group, .init = sys_make, .fini = sys_drop);

static unsigned mb(void)
{
	return pages_available_mb(sys_root);
}

Test(group, machine)
{
	cr_assert_eq(mb(), 0, "it cannot be told");
	sys_put("proc/meminfo", "MemTotal: 9999999 kB\nMemAvailable: 1024000 kB\n");
	cr_assert_eq(mb(), 1000);
}

/* A service's limit is its own group's, or that of one above it. */
Test(group, service)
{
	sys_put("proc/meminfo", "MemAvailable: 1024000 kB\n");
	sys_put("proc/self/cgroup", "0::/system.slice/kcpgate.service\n");
	sys_put("sys/fs/cgroup/system.slice/kcpgate.service/memory.max", "104857600\n");
	cr_assert_eq(mb(), 100);
	sys_put("sys/fs/cgroup/system.slice/kcpgate.service/memory.max", "max\n");
	cr_assert_eq(mb(), 1000);
	sys_put("sys/fs/cgroup/system.slice/memory.max", "209715200\n");
	cr_assert_eq(mb(), 200);
}

Test(group, version_1)
{
	sys_put("proc/meminfo", "MemAvailable: 1024000 kB\n");
	sys_put("proc/self/cgroup", "4:memory:/small\n0::/\n");
	sys_put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	sys_put("sys/fs/cgroup/memory/small/memory.limit_in_bytes", "67108864\n");
	cr_assert_eq(mb(), 64);
}

/* In a container: its group's path is seen from outside only, and its limit is at the top. */
Test(group, container)
{
	sys_put("proc/meminfo", "MemAvailable: 1024000 kB\n");
	sys_put("proc/self/cgroup", "0::/../../far/away\n");
	sys_put("sys/fs/cgroup/memory.max", "314572800\n");
	cr_assert_eq(mb(), 300);
}
