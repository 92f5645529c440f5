/* SPDX-License-Identifier: MIT */
#include <linux/capability.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <jansson.h>

#include "doctor.h"
#include "sys.h"

/* A machine made up below sys_root, and a file with one card and one tunnel. */

static struct conf_tunnel tunnel;
static struct conf_port port;
static struct conf conf;
static struct doctor d;

static const char *form = "vector AES and AVX-512", *lacking = "";
static int indirection = 128;

static const char *cipher(const char *name)
{
	return strcmp(name, "none") ? form : "nothing is encrypted";
}

static const char *fec(void)
{
	return "isal";
}

static const char *caps(const char *device, bool vdev, char *buf)
{
	snprintf(buf, DOCTOR_TEXT, "%s", lacking);
	return buf;
}

static int rss(const char *ifname)
{
	return indirection;
}

static int unfollowed;

static int rules(char *first, size_t n)
{
	snprintf(first, n, "%s", unfollowed ? "100: from 192.0.2.9 lookup 7" : "");
	return unfollowed;
}

static const struct doctor_ask ask = {.cipher = cipher, .fec = fec, .caps = caps, .rss = rss, .rules = rules};

static void put_link(const char *name, const char *to)
{
	char path[512], below[512];

	snprintf(below, sizeof(below), "%s.", name);
	sys_put(below, "");
	snprintf(path, sizeof(path), "%s/%s", sys_root, name);
	unlink(path);
	cr_assert_eq(symlink(to, path), 0, "%s", path);
}

#define CARD "sys/bus/pci/devices/0000:03:00.0/"

static void put_driver(const char *name)
{
	char to[128], module[128];

	snprintf(to, sizeof(to), "../../drivers/%s", name);
	put_link(CARD "driver", to);
	snprintf(module, sizeof(module), "sys/bus/pci/drivers/%s/bind", name);
	sys_put(module, "");
}

static void put_group(void)
{
	put_link(CARD "iommu_group", "../../../../kernel/iommu_groups/4");
	sys_put("sys/kernel/iommu_groups/4/devices/0000:03:00.0", "");
	sys_put("sys/kernel/iommu_groups/4/type", "DMA\n");
	sys_put("sys/class/iommu/dmar0", "");
}

/* A server of four cores for whose file everything is there. */
static void good_machine(void)
{
	sys_put("proc/cpuinfo", "processor\t: 0\nmodel name\t: Made Up 9000\nflags\t\t: fpu sse4_2 aes avx2\n");
	sys_put("proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-3\n");
	sys_put("proc/self/limits", "Limit   Soft Limit  Hard Limit  Units\n"
				    "Max locked memory         8388608              8388608              bytes\n"
				    "Max open files            1024                 524288               files\n");
	sys_put("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n");
	sys_put("proc/sys/kernel/osrelease", "6.1.0-9-amd64\n");
	sys_put("proc/net/unix", "Num RefCount Protocol Flags Type St Inode Path\n");
	sys_put("sys/devices/system/cpu/online", "0-3\n");
	sys_put("sys/devices/system/cpu/isolated", "1-2\n");
	sys_put("sys/devices/system/cpu/nohz_full", "1-2\n");
	for (int i = 0; i < 4; i++) {
		char name[128], text[16];

		snprintf(name, sizeof(name), "sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
		snprintf(text, sizeof(text), "%d\n", i);
		sys_put(name, text);
	}
	sys_pages("sys/" SYS_MACHINE, "2048kB", 1000, 1000);
	sys_put("dev/net/tun", "");
	sys_put("dev/vfio/vfio", "");
	sys_put("dev/vfio/4", "");
	sys_put(CARD "vendor", "0x8086\n");
	sys_put(CARD "device", "0x10c9\n");
	sys_put(CARD "class", "0x020000\n");
	sys_put("lib/modules/6.1.0-9-amd64/modules.dep",
		"kernel/drivers/vfio/pci/vfio-pci.ko: a.ko\nkernel/drivers/uio/uio_pci_generic.ko: uio.ko\n");
	put_driver("vfio-pci");
	put_group();
}

static void setup(void)
{
	sys_make();
	tunnel = (struct conf_tunnel){.name = "hk",
				      .crypt = "aes",
				      .datashard = 10,
				      .parityshard = 3,
				      .listen = {.host = "", .port_min = 4000, .port_max = 4000}};
	port = (struct conf_port){
		.name = "wan0", .device = "0000:03:00.0", .exception = CONF_EXC_TAP, .ifname = "kg-wan0"};
	conf = (struct conf){
		.path = "server.conf",
		.eal = {.lcores = "0@0,1@1,2@2", .n_lcores = 3, .hugepages = CONF_HUGE_YES, .file_prefix = "kcpgate"},
		.ports = &port,
		.n_ports = 1,
		.tunnels = &tunnel,
		.n_tunnels = 1,
		.max_sessions = 1000,
		.telemetry = {.enable = true},
	};
	good_machine();
}

static void end(void)
{
	doctor_end(&d);
	sys_drop();
}

TestSuite(doctor, .init = setup, .fini = end);

static void run(void)
{
	doctor_end(&d);
	cr_assert_eq(doctor_run(&d, sys_root, &conf, &ask), 0);
}

/* The line that says so, of those with the mark; NULL: there is none. */
static const struct doctor_line *line(enum doctor_mark mark, const char *found)
{
	for (unsigned i = 0; i < d.n; i++)
		if (d.v[i].mark == mark && strstr(d.v[i].found, found))
			return &d.v[i];
	return NULL;
}

static char *printed(void)
{
	static char *text;
	size_t n;
	FILE *f;

	free(text);
	f = open_memstream(&text, &n);
	cr_assert_eq(doctor_print(&d, f), 0);
	fclose(f);
	return text;
}

#define EXPECT_LINE(mark, found) cr_expect(line(mark, found), "no line [%s]:\n%s", found, printed())
#define EXPECT_MEND(mark, found, with)                                                                             \
	do {                                                                                                       \
		const struct doctor_line *l_ = line(mark, found);                                                  \
		cr_expect(l_ &&strstr(l_->mend, with), "[%s] is not mended by [%s]:\n%s", found, with, printed()); \
	} while (0)
/* One thing is missing on a machine that has all else, and every line about it says why. */
static void only(const char *found, const char *mend)
{
	run();
	EXPECT_MEND(DOCTOR_MISSING, found, mend);
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 1, "%s", printed());
	cr_expect_eq(doctor_count(&d, DOCTOR_HINT), 0, "%s", printed());
	cr_expect(line(DOCTOR_MISSING, found) && line(DOCTOR_MISSING, found)->why[0], "no reason: %s", printed());
}

/* Nothing is missing, and this could be better. */
static void hint(const char *found, const char *mend)
{
	run();
	EXPECT_MEND(DOCTOR_HINT, found, mend);
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 0, "%s", printed());
}

Test(doctor, good)
{
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 0, "%s", printed());
	cr_expect_eq(doctor_count(&d, DOCTOR_HINT), 0, "%s", printed());
	EXPECT_LINE(DOCTOR_OK, "Made Up 9000: sse4_2 aes avx2");
	EXPECT_LINE(DOCTOR_OK, "cipher aes: vector AES and AVX-512");
	EXPECT_LINE(DOCTOR_OK, "FEC: ISA-L");
	EXPECT_LINE(DOCTOR_OK, "control on CPU 0, workers on CPU 1-2");
	EXPECT_LINE(DOCTOR_OK, "CPU 1-2: isolated, without the scheduler's tick");
	EXPECT_LINE(DOCTOR_OK, "1000 hugepages of 2 MB, 1000 free");
	EXPECT_LINE(DOCTOR_OK, "0000:03:00.0 (8086:10c9), vfio-pci, IOMMU group 4");
	EXPECT_LINE(DOCTOR_OK, "IOMMU: on");
	EXPECT_LINE(DOCTOR_OK, "vfio-pci: loaded; uio_pci_generic: there, not loaded");
	EXPECT_LINE(DOCTOR_OK, "/dev/net/tun");
	EXPECT_LINE(DOCTOR_OK, "descriptors: 524288");
	EXPECT_LINE(DOCTOR_OK, "eal.file_prefix \"kcpgate\": nobody else's");
	cr_expect(strstr(printed(), "server.conf: 0 missing [!!], 0 could be better [--]\n"), "%s", printed());
}

/* ---- the CPU ---- */

Test(doctor, least_cpu)
{
	sys_put("proc/cpuinfo", "model name\t: Old\nflags\t\t: fpu sse4_1 aes\n");
	only("Old: no SSE4.2", "-cpu host");
}

Test(doctor, no_aes)
{
	sys_put("proc/cpuinfo", "model name\t: Plain\nflags\t\t: fpu sse4_2 vaes\n");
	hint("cipher aes", "salsa20");
	strcpy(tunnel.crypt, "none");
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_HINT), 0, "%s", printed());
	form = NULL;
	strcpy(tunnel.crypt, "aes");
	run();
	EXPECT_LINE(DOCTOR_MISSING, "cipher aes: not on this CPU");
}

/* ---- routing ---- */

Test(doctor, rules_that_are_not_followed)
{
	unfollowed = 2;
	hint("policy routing: 2 rules that the gateway does not follow, the first \"100: from 192.0.2.9 lookup 7\"",
	     "to the main table");
	unfollowed = -EPERM;
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_HINT), 0, "%s", printed());
}

/* ---- lcores ---- */

Test(doctor, cpu_that_is_not_there)
{
	conf.eal.lcores = "0@0,1@1,2@4";
	only("worker 1: CPU 4 is not on line (on line: 0-3)", "eal.lcores");
}

Test(doctor, cpu_that_is_not_allowed)
{
	sys_put("proc/self/status", "CapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-1\n");
	only("worker 1: CPU 2 is not allowed to this process (allowed: 0-1)", "cpuset");
}

Test(doctor, not_isolated)
{
	sys_put("sys/devices/system/cpu/isolated", "\n");
	hint("CPU 1-2: not isolated", "isolcpus=1-2 nohz_full=1-2 rcu_nocbs=1-2");
	sys_put("sys/devices/system/cpu/isolated", "1-2\n");
	sys_put("sys/devices/system/cpu/nohz_full", "(null)\n");
	hint("CPU 1-2: isolated, but with the scheduler's tick", "nohz_full=1-2");
}

Test(doctor, floats_over_isolated_cpus)
{
	conf.eal.lcores = "0@(0-2),(1,2)@(0-2)";
	hint("worker 1 floats over CPU 0-2, of which 2 are isolated", "one CPU each");
}

Test(doctor, siblings)
{
	sys_put("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1-2\n");
	sys_put("sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "1-2\n");
	hint("worker 0 (CPU 1) and worker 1 (CPU 2) share one core", "lscpu");
	cr_expect_eq(doctor_count(&d, DOCTOR_HINT), 1, "%s", printed());
	conf.eal.lcores = "0@2,1@1,2@2";
	hint("control and worker 1 are both on CPU 2", "lscpu");
}

Test(doctor, far_node)
{
	sys_put("sys/devices/system/node/has_memory", "0-1\n");
	sys_put("sys/devices/system/node/node0/cpulist", "0-1\n");
	sys_put("sys/devices/system/node/node1/cpulist", "2-3\n");
	sys_put(CARD "numa_node", "1\n");
	sys_pages("sys/" SYS_NODE0, "2048kB", 1000, 1000);
	sys_pages("sys/" SYS_NODE1, "2048kB", 1000, 1000);
	hint("lcore 1 (worker 0) runs on NUMA node 0, port wan0 is on node 1", "");
	EXPECT_LINE(DOCTOR_OK, "NUMA node 1: 1000 hugepages of 2 MB, 1000 free; the file needs");
	cr_expect_gt(d.pages[0], 0);
	cr_expect_gt(d.pages[1], 0);
}

Test(doctor, governor)
{
	sys_put("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n");
	sys_put("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "powersave\n");
	hint("CPU 2: frequency governor powersave", "cpupower -c 2 frequency-set -g performance");
	sys_put("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance\n");
	run();
	EXPECT_LINE(DOCTOR_OK, "frequency governor performance");
}

Test(doctor, cpu_quota)
{
	sys_put("proc/self/cgroup", "0::/a/b\n");
	sys_put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	sys_put("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
	hint("may use 1.50 CPUs, there are 3 lcores", "CPUQuota=");
	sys_put("proc/self/cgroup", "3:cpu,cpuacct:/c\n0::/\n");
	sys_put("sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "50000\n");
	sys_put("sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us", "100000\n");
	hint("may use 0.50 CPUs", "CPUQuota=");
	sys_put("sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "-1\n");
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_HINT), 0, "%s", printed());
}

/* ---- memory ---- */

Test(doctor, hugepages_missing)
{
	sys_pages("sys/" SYS_MACHINE, "2048kB", 20, 10);
	run();
	EXPECT_MEND(DOCTOR_MISSING, "20 hugepages of 2 MB, 10 free; the file needs", "scripts/host -c server.conf");
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 1, "%s", printed());
	/* All of them, those in use by others too, is what the kernel is told. */
	EXPECT_MEND(DOCTOR_MISSING, "10 free", "sysctl -w vm.nr_hugepages=");
	cr_expect_eq(atoi(strrchr(line(DOCTOR_MISSING, "10 free")->mend, '=') + 1), (int)d.pages[0] + 10);
	conf.eal.hugepages = CONF_HUGE_AUTO;
	hint("are missing", "scripts/host -c server.conf");
	EXPECT_LINE(DOCTOR_OK, "3906 MB available in ordinary pages");
	tunnel.line = -1;
	hint("are missing", "scripts/host --pages ");
}

Test(doctor, hugepages_of_the_gateway_that_runs)
{
	sys_pages("sys/" SYS_MACHINE, "2048kB", 1000, 10);
	sys_put("proc/net/unix", "0: 00000002 00000000 00010000 0005 01 77 /var/run/dpdk/kcpgate/dpdk_telemetry.v2\n");
	hint("eal.file_prefix \"kcpgate\": a process runs with it", "eal.file_prefix");
	EXPECT_LINE(DOCTOR_OK, "which the gateway that runs may hold");
	sys_put("proc/net/unix", "0: 00000002 00000000 00010000 0005 01 77 /var/run/dpdk/kcpgat/dpdk_telemetry.v2\n");
	run();
	EXPECT_LINE(DOCTOR_MISSING, "are missing");
}

Test(doctor, ordinary_memory)
{
	conf.eal.hugepages = CONF_HUGE_NO;
	sys_put("proc/meminfo", "MemAvailable: 100000 kB\n");
	only("97 MB available in ordinary pages", "eal.memory");
	sys_put("proc/meminfo", "MemAvailable: 4000000 kB\n");
	sys_put("proc/self/cgroup", "0::/a\n");
	sys_put("sys/fs/cgroup/a/memory.max", "104857600\n");
	only("the control group may use 100 MB", "MemoryMax=");
	sys_put("proc/self/cgroup", "4:memory:/far/away\n0::/\n");
	sys_put("sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n");
	only("the control group may use 100 MB", "MemoryMax=");
	sys_put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 0, "%s", printed());
}

Test(doctor, hugepages_of_the_control_group)
{
	sys_put("proc/self/cgroup", "0::/a\n");
	sys_put("sys/fs/cgroup/a/hugetlb.2MB.max", "0\n");
	only("the control group may use 0 MB of hugepages", "hugetlb.2MB.max");
}

Test(doctor, eal_memory_too_small)
{
	conf.eal.memory = 4;
	run();
	EXPECT_LINE(DOCTOR_MISSING, "eal.memory: found 4; allowed:");
}

/* ---- cards ---- */

Test(doctor, no_such_card)
{
	sys_put("sys/bus/pci/devices/0000:04:00.0/class", "0x020000\n");
	sys_put("sys/bus/pci/devices/0000:05:00.0/class", "0x010000\n");
	port.device = "06:00.0";
	only("port wan0: no PCI device 0000:06:00.0", "0000:03:00.0, 0000:04:00.0 (kcpgate doctor");
	port.device = "0000:05:00.0";
	run();
	EXPECT_LINE(DOCTOR_MISSING, "0000:05:00.0 is no network device");
}

/* Accelerators and what has no class may have ports of DPDK's: `check` and the start take them too. */
Test(doctor, card_of_another_class)
{
	static const char *const classes[] = {"0x0b4000\n", "0x120000\n", "0xff0000\n"};

	for (unsigned i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		sys_put(CARD "class", classes[i]);
		run();
		cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 0, "%s", printed());
		EXPECT_LINE(DOCTOR_OK, "0000:03:00.0 (8086:10c9), vfio-pci, IOMMU group 4");
	}
}

Test(doctor, card_in_the_kernels_hands)
{
	put_driver("igb");
	sys_put(CARD "net/ens3/queues/rx-0/x", "");
	sys_put(CARD "net/ens3/queues/tx-0/x", "");
	sys_put("sys/class/net/ens3/queues/rx-0/x", "");
	sys_put("sys/class/net/ens3/queues/rx-1/x", "");
	only("port wan0: 0000:03:00.0 (8086:10c9), igb (ens3), IOMMU group 4", "scripts/host 0000:03:00.0");
	EXPECT_LINE(DOCTOR_OK, "port wan0: 2 receive queues under igb, with RSS, 2 workers");
	indirection = 0;
	run();
	EXPECT_MEND(DOCTOR_HINT, "port wan0: 2 receive queues without RSS under igb, 2 workers", "ethtool -l ens3");
}

Test(doctor, card_in_nobodys_hands)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/" CARD "driver", sys_root);
	unlink(path);
	only("port wan0: 0000:03:00.0 (8086:10c9), no driver", "dpdk-devbind.py -b vfio-pci 0000:03:00.0");
}

Test(doctor, card_beside_the_kernels_driver)
{
	put_driver("mlx5_core");
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 0, "%s", printed());
}

Test(doctor, shared_group)
{
	sys_put("sys/kernel/iommu_groups/4/devices/0000:03:00.1", "");
	sys_put("sys/bus/pci/devices/0000:03:00.1/class", "0x020000\n");
	put_link("sys/bus/pci/devices/0000:03:00.1/driver", "../../drivers/igb");
	run();
	cr_assert(line(DOCTOR_MISSING, "port wan0"), "%s", printed());
	cr_expect(strstr(line(DOCTOR_MISSING, "port wan0")->why, "0000:03:00.1"), "%s", printed());
}

static void no_iommu(void)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/" CARD "iommu_group", sys_root);
	unlink(path);
	snprintf(path, sizeof(path), "rm -r %s/sys/kernel/iommu_groups %s/sys/class/iommu", sys_root, sys_root);
	cr_assert_eq(system(path), 0);
}

Test(doctor, no_iommu)
{
	no_iommu();
	put_driver("igb");
	run();
	EXPECT_MEND(DOCTOR_MISSING, "IOMMU: none, or it is off", "scripts/host --uio");
	sys_put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
	run();
	EXPECT_LINE(DOCTOR_HINT, "IOMMU: none; vfio runs without");
	put_driver("vfio-pci");
	put_link(CARD "iommu_group", "../../../../kernel/iommu_groups/0");
	sys_put("sys/kernel/iommu_groups/0/name", "vfio-noiommu\n");
	sys_put("dev/vfio/noiommu-0", "");
	run();
	EXPECT_LINE(DOCTOR_HINT, "IOMMU: none; vfio runs without");
	EXPECT_LINE(DOCTOR_HINT, "vfio-pci, IOMMU group 0 without an IOMMU");
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 0, "%s", printed());
}

Test(doctor, uio)
{
	no_iommu();
	put_driver("uio_pci_generic");
	sys_put(CARD "uio/uio0/name", "uio_pci_generic\n");
	sys_put("dev/uio0", "");
	hint("port wan0: 0000:03:00.0 (8086:10c9), uio_pci_generic", "vfio-pci");
	EXPECT_LINE(DOCTOR_HINT, "IOMMU: none, or it is off");
	sys_put("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
	run();
	EXPECT_MEND(DOCTOR_MISSING, "and the kernel is locked down", "Secure Boot off");
	sys_put("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
	conf.eal.hugepages = CONF_HUGE_NO;
	run();
	EXPECT_MEND(DOCTOR_MISSING, "eal.hugepages = false, with a device that is driven without an IOMMU",
		    "eal.hugepages = true");
	conf.eal.hugepages = CONF_HUGE_AUTO;
	sys_pages("sys/" SYS_MACHINE, "2048kB", 20, 10);
	run();
	EXPECT_MEND(DOCTOR_MISSING, "are missing", "scripts/host -c");
}

Test(doctor, kernel_without_vfio)
{
	char path[512];

	put_driver("igb");
	snprintf(path, sizeof(path), "rm -r %s/sys/bus/pci/drivers/vfio-pci", sys_root);
	cr_assert_eq(system(path), 0);
	run();
	EXPECT_LINE(DOCTOR_OK, "vfio-pci: there, not loaded");
	sys_put("lib/modules/6.1.0-9-amd64/modules.dep", "kernel/drivers/net/dummy.ko:\n");
	run();
	EXPECT_MEND(DOCTOR_MISSING, "vfio-pci: not of this kernel", "linux-image-amd64");
	sys_put("lib/modules/6.1.0-9-amd64/modules.builtin", "kernel/drivers/vfio/pci/vfio-pci.ko\n");
	run();
	EXPECT_LINE(DOCTOR_OK, "vfio-pci: there, not loaded");
}

Test(doctor, lanes)
{
	sys_put(CARD "current_link_speed", "8.0 GT/s PCIe\n");
	sys_put(CARD "max_link_speed", "8.0 GT/s PCIe\n");
	sys_put(CARD "current_link_width", "4\n");
	sys_put(CARD "max_link_width", "8\n");
	hint("PCIe link of 8.0 GT/s PCIe x4, the card can 8.0 GT/s PCIe x8", "slot");
	sys_put(CARD "current_link_width", "8\n");
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_HINT), 0, "%s", printed());
}

/* ---- interfaces ---- */

Test(doctor, shared_interface)
{
	port = (struct conf_port){.name = "up",
				  .vdev = true,
				  .device = "net_af_packet0,iface=eth0",
				  .exception = CONF_EXC_KERNEL,
				  .ifname = "eth0"};
	hint("port up: no interface eth0 now", "ip link");
	sys_put("sys/class/net/eth0/mtu", "1400\n");
	sys_put("sys/class/net/eth0/carrier", "0\n");
	hint("port up: interface eth0 is down, or has no carrier", "ip link set eth0 up");
	sys_put("sys/class/net/eth0/carrier", "1\n");
	sys_put("sys/class/net/eth0/queues/rx-0/x", "");
	run();
	EXPECT_LINE(DOCTOR_OK, "port up: interface eth0, up, MTU 1400, 1 receive queues");
	lacking = ": CAP_NET_RAW is missing, for packet sockets";
	run();
	EXPECT_LINE(DOCTOR_MISSING, "port up: CAP_NET_RAW is missing");
}

Test(doctor, exception_interface)
{
	char path[512];

	sys_put("proc/sys/net/ipv4/conf/all/rp_filter", "1\n");
	hint("reverse path filter of kg-wan0 is strict", "rp_filter=2");
	sys_put("proc/sys/net/ipv4/conf/default/rp_filter", "2\n"); /* the looser, which wins */
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_HINT), 0, "%s", printed());
	sys_put("sys/class/net/kg-wan0/tun_flags", "0x1002\n");
	hint("a TAP interface kg-wan0 is there already", "ports.wan0.ifname");
	snprintf(path, sizeof(path), "%s/sys/class/net/kg-wan0/tun_flags", sys_root);
	unlink(path);
	only("interface kg-wan0 is there, and is no TAP", "ports.wan0.ifname");
	snprintf(path, sizeof(path), "rm -r %s/sys/class/net/kg-wan0", sys_root);
	cr_assert_eq(system(path), 0);
	sys_put("proc/sys/net/ipv6/conf/default/disable_ipv6", "1\n");
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 0, "%s", printed());
	port.n_addresses = 1;
	cr_assert_eq(addr_parse("2001:db8::7", &port.addresses[0].addr), 0);
	only("port wan0: IPv6 is off for new interfaces", "disable_ipv6=0");
	port.n_addresses = 0;
	port.exception = CONF_EXC_VIRTIO;
	only("port wan0: /dev/vhost-net is not there", "modprobe vhost_net");
	sys_put("dev/vhost-net", "");
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 0, "%s", printed());
	snprintf(path, sizeof(path), "%s/dev/net/tun", sys_root);
	unlink(path);
	run();
	EXPECT_MEND(DOCTOR_MISSING, "/dev/net/tun is not there", "modprobe tun");
}

/* Root may do what a file's mode forbids; this process is to be as those who may not. */
static void no_override(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	cr_assert_eq(syscall(SYS_capget, &head, data), 0);
	data[0].effective &= ~(1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH);
	data[0].permitted &= ~(1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH);
	cr_assert_eq(syscall(SYS_capset, &head, data), 0);
}

Test(doctor, exception_files_of_others)
{
	char path[512];

	sys_put("dev/vhost-net", "");
	no_override();
	port.exception = CONF_EXC_VIRTIO;
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 0, "%s", printed());
	snprintf(path, sizeof(path), "%s/dev/vhost-net", sys_root);
	cr_assert_eq(chmod(path, 0400), 0);
	only("port wan0: /dev/vhost-net may not be opened", "as root");
	cr_assert_eq(chmod(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/dev/net/tun", sys_root);
	cr_assert_eq(chmod(path, 0), 0);
	only("/dev/net/tun may not be opened", "as root");
}

/* ---- limits ---- */

Test(doctor, what_a_user_may_not)
{
	sys_put("proc/self/status", "CapEff:\t0000000000000000\nCpus_allowed_list:\t0-3\n");
	run();
	EXPECT_MEND(DOCTOR_MISSING, "CAP_NET_ADMIN is missing", "AmbientCapabilities");
	EXPECT_MEND(DOCTOR_MISSING, "locked memory: 8 MB", "LimitMEMLOCK=infinity");
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 2, "%s", printed());
	tunnel.listen.port_min = 443;
	sys_put("proc/self/limits", "Max locked memory   unlimited  unlimited  bytes\n"
				    "Max open files      1024       1024       files\n");
	run();
	EXPECT_MEND(DOCTOR_MISSING, "port 443: CAP_NET_BIND_SERVICE is missing", "ip_unprivileged_port_start=443");
	EXPECT_MEND(DOCTOR_HINT, "descriptors: 1024", "LimitNOFILE");
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 2, "%s", printed());
	sys_put("proc/sys/net/ipv4/ip_unprivileged_port_start", "443\n");
	run();
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 1, "%s", printed());
}

/* A host that says nothing of it (a container) is not blamed. */
Test(doctor, socket_buffers)
{
	tunnel.sockbuf = 4194304;
	sys_put("proc/sys/net/core/rmem_max", "212992\n");
	run();
	cr_expect_null(strstr(printed(), "buffers of UDP sockets"), "%s", printed());
	port.sockets = true;
	run();
	EXPECT_MEND(DOCTOR_HINT, "buffers of UDP sockets: 212992 bytes", "net.core.rmem_max=4194304");
	sys_put("proc/sys/net/core/rmem_max", "4194304\n");
	run();
	cr_expect_null(strstr(printed(), "buffers of UDP sockets"), "%s", printed());
}

/* The gateway raises its own limit to the hard one; who has no card at vfio locks nothing. */
Test(doctor, locked_memory)
{
	sys_put("proc/self/status", "CapEff:\t0000000000001000\nCpus_allowed_list:\t0-3\n");
	sys_put("proc/self/limits", "Max locked memory   65536  8589934592  bytes\n");
	run();
	EXPECT_LINE(DOCTOR_OK, "locked memory: enough for vfio");
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 0, "%s", printed());
	sys_put("proc/self/limits", "Max locked memory   65536  65536  bytes\n");
	only("locked memory: 0 MB", "LimitMEMLOCK=infinity");
	put_driver("mlx5_core");
	run();
	cr_expect_not(line(DOCTOR_MISSING, "locked memory"), "%s", printed());
	put_driver("uio_pci_generic");
	sys_put(CARD "uio/uio0/name", "uio_pci_generic\n");
	sys_put("dev/uio0", "");
	run();
	cr_expect_not(line(DOCTOR_MISSING, "locked memory"), "%s", printed());
}

/* ---- for programs, and without a file ---- */

Test(doctor, json)
{
	char *text;
	json_t *all;
	size_t n;
	FILE *f;

	sys_pages("sys/" SYS_MACHINE, "2048kB", 0, 0);
	run();
	f = open_memstream(&text, &n);
	cr_assert_eq(doctor_json(&d, f), 0);
	fclose(f);
	all = json_loads(text, 0, NULL);
	cr_assert(all, "%s", text);
	cr_expect(json_is_false(json_object_get(all, "good")));
	cr_expect_eq(json_array_size(json_object_get(all, "lines")), d.n);
	cr_expect_str_eq(
		json_string_value(json_array_get(json_object_get(json_object_get(all, "needs"), "devices"), 0)),
		"0000:03:00.0");
	cr_expect_eq(json_integer_value(json_object_get(json_object_get(json_object_get(all, "needs"), "pages"), "0")),
		     d.pages[0]);
	cr_expect_gt(d.pages[0], 0);
	json_decref(all);
	free(text);
}

Test(doctor, machine_alone)
{
	put_driver("igb");
	sys_put(CARD "net/ens3/x", "");
	doctor_end(&d);
	cr_assert_eq(doctor_run(&d, sys_root, NULL, &ask), 0);
	cr_expect_eq(doctor_count(&d, DOCTOR_MISSING), 0, "%s", printed());
	EXPECT_LINE(DOCTOR_OK, "0000:03:00.0 (8086:10c9), igb (ens3), IOMMU group 4");
	EXPECT_LINE(DOCTOR_OK, "1000 hugepages of 2 MB, 1000 free");
	cr_expect(strstr(printed(), "\n0 missing [!!]"), "%s", printed());
}

/* A folder with nothing in it: what cannot be told is not missing, but for what must be there. */
Test(doctor, nothing_to_be_read)
{
	char path[512];

	snprintf(path, sizeof(path), "rm -r %s/sys %s/proc %s/dev %s/lib", sys_root, sys_root, sys_root, sys_root);
	cr_assert_eq(system(path), 0);
	run();
	EXPECT_LINE(DOCTOR_HINT, "/proc/cpuinfo tells no flags");
	EXPECT_LINE(DOCTOR_MISSING, "no PCI device 0000:03:00.0");
	EXPECT_LINE(DOCTOR_MISSING, "/dev/net/tun is not there");
	EXPECT_LINE(DOCTOR_MISSING, "the file needs");
}
