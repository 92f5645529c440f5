/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "cards.h"
#include "sys.h"

TestSuite(pci, .init = cards_make, .fini = sys_drop);

static void refused(const char *addr, int err, const char *text)
{
	char why[PORT_PCI_TEXT] = "";
	struct port_pci p;

	cr_expect_eq(port_pci_check(&cards_host, addr, &p, why, sizeof(why)), err, "%s", why);
	cr_expect_str_eq(why, text);
}

static void taken(const char *addr)
{
	char why[PORT_PCI_TEXT] = "";
	struct port_pci p;

	cr_expect_eq(port_pci_check(&cards_host, addr, &p, why, sizeof(why)), 0, "%s", why);
	cr_expect_str_eq(why, "");
}

Test(pci, what_sysfs_says)
{
	struct port_pci p;

	cards_good("0000:03:00.0");
	cr_assert_eq(port_pci_read(&cards_host, "0000:03:00.0", &p), 0);
	cr_expect_str_eq(p.addr, "0000:03:00.0");
	cr_expect_eq(p.vendor, 0x8086);
	cr_expect_eq(p.device, 0x10d3);
	cr_expect_eq(p.class, 0x020000);
	cr_expect_str_eq(p.driver, "vfio-pci");
	cr_expect_eq(p.hands, PORT_PCI_VFIO);
	cr_expect_eq(p.group, 4);
	cr_expect_not(p.noiommu);
	cr_expect_eq(p.n_ifs, 0);
	cr_expect(port_pci_may_serve(&p));
	cr_expect_not(port_pci_needs_huge(&p));
	cr_expect_eq(port_pci_read(&cards_host, "0000:03:00.1", &p), -ENODEV);
}

Test(pci, whose_hands)
{
	static const struct {
		const char *driver;
		enum port_pci_hands hands;
	} v[] = {
		{"vfio-pci", PORT_PCI_VFIO},	{"mlx5_vfio_pci", PORT_PCI_VFIO}, {"uio_pci_generic", PORT_PCI_UIO},
		{"igb_uio", PORT_PCI_UIO},	{"igb", PORT_PCI_KERNEL},	  {"virtio-pci", PORT_PCI_KERNEL},
		{"mlx5_core", PORT_PCI_BESIDE}, {"mlx4_core", PORT_PCI_BESIDE},
	};
	struct port_pci p;

	cards_put("0000:03:00.0", "0x020000\n", NULL);
	cr_assert_eq(port_pci_read(&cards_host, "0000:03:00.0", &p), 0);
	cr_expect_eq(p.hands, PORT_PCI_FREE);
	cr_expect_eq(p.group, -1);
	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		cards_driver("0000:03:00.0", v[i].driver);
		cr_assert_eq(port_pci_read(&cards_host, "0000:03:00.0", &p), 0);
		cr_expect_eq(p.hands, v[i].hands, "%s", v[i].driver);
		cr_expect_eq(port_pci_needs_huge(&p), v[i].hands == PORT_PCI_UIO);
	}
}

Test(pci, lists)
{
	char addr[4][PCI_ADDR_LEN];

	cards_put("0000:00:1f.0", "0x060100\n", NULL);
	cards_put("0000:04:00.0", "0x020000\n", "igb");
	cards_put("0000:03:00.1", "0x028000\n", NULL);
	cards_group("0000:04:00.0", 7);
	cards_group("0000:00:1f.0", 7);
	cr_expect_eq(port_pci_list(&cards_host, -1, addr, 4), 2);
	cr_expect_str_eq(addr[0], "0000:03:00.1");
	cr_expect_str_eq(addr[1], "0000:04:00.0");
	cr_expect_eq(port_pci_list(&cards_host, -1, addr, 1), 2, "how many there are, not how many fit");
	cr_expect_eq(port_pci_list(&cards_host, 7, addr, 4), 2);
	cr_expect_str_eq(addr[0], "0000:00:1f.0");
	cr_expect_eq(port_pci_list(&cards_host, 8, addr, 4), 0);
}

Test(pci, good)
{
	cards_good("0000:03:00.0");
	taken("0000:03:00.0");
	cards_put("0000:04:00.0", "0x020000\n", "mlx5_core");
	taken("0000:04:00.0");
	cards_put("0000:05:00.0", "0x020000\n", "uio_pci_generic");
	sys_put(cards_of("0000:05:00.0", "uio/uio3/name"), "uio_pci_generic\n");
	sys_put("dev/uio3", "");
	taken("0000:05:00.0");
	for (unsigned i = 0; i < 3; i++) {
		sys_put(cards_of("0000:05:00.0", "class"),
			((const char *[]){"0x0b4000\n", "0x120000\n", "0xff0000\n"})[i]);
		taken("0000:05:00.0");
	}
}

Test(pci, absent)
{
	refused("0000:03:00.0", -ENODEV, "no PCI device at this address; the machine has no network device on PCI");
	cards_put("0000:04:00.0", "0x020000\n", "igb");
	cards_put("0000:04:00.1", "0x020000\n", NULL);
	cards_put("0000:01:00.0", "0x010802\n", "nvme");
	refused("0000:03:00.0", -ENODEV,
		"no PCI device at this address; network devices are 0000:04:00.0 (igb), 0000:04:00.1 (no driver)");
	for (char a[] = "0000:05:00.0"; a[11] < '4'; a[11]++)
		cards_put(a, "0x020000\n", "igb");
	refused("0000:03:00.0", -ENODEV,
		"no PCI device at this address; network devices are 0000:04:00.0 (igb), 0000:04:00.1 (no driver), "
		"0000:05:00.0 (igb), 0000:05:00.1 (igb) and more: dpdk-devbind.py --status-dev net");
}

Test(pci, no_network_device)
{
	cards_put("0000:01:00.0", "0x010802\n", "nvme");
	refused("0000:01:00.0", -ENODEV, "a device of PCI class 010802, 8086:10d3, and no network device");
}

Test(pci, in_nobodys_hands)
{
	cards_put("0000:03:00.0", "0x020000\n", NULL);
	refused("0000:03:00.0", -ENODEV,
		"bound to no driver: switch the IOMMU on and dpdk-devbind.py -b vfio-pci 0000:03:00.0, or without one "
		"-b uio_pci_generic");
	cards_group("0000:03:00.0", 4);
	refused("0000:03:00.0", -ENODEV, "bound to no driver: dpdk-devbind.py -b vfio-pci 0000:03:00.0");
}

Test(pci, in_the_kernels_hands)
{
	cards_put("0000:03:00.0", "0x020000\n", "igb");
	cards_group("0000:03:00.0", 4);
	refused("0000:03:00.0", -ENODEV, "bound to the kernel's driver igb: dpdk-devbind.py -b vfio-pci 0000:03:00.0");
	sys_put(cards_of("0000:03:00.0", "net/eth1/mtu"), "1500\n");
	refused("0000:03:00.0", -ENODEV,
		"bound to the kernel's driver igb, which makes of it eth1: dpdk-devbind.py -b vfio-pci 0000:03:00.0");
	/* virtio's interface is a child of a child */
	cards_put("0000:04:00.0", "0x020000\n", "virtio-pci");
	cards_group("0000:04:00.0", 5);
	sys_put(cards_of("0000:04:00.0", "virtio2/net/eth2/mtu"), "1500\n");
	refused("0000:04:00.0", -ENODEV,
		"bound to the kernel's driver virtio-pci, which makes of it eth2: dpdk-devbind.py -b vfio-pci "
		"0000:04:00.0");
}

Test(pci, group_shared_with_the_kernel)
{
	cards_good("0000:03:00.0");
	cards_put("0000:03:00.1", "0x020000\n", "igb");
	cards_group("0000:03:00.1", 4);
	refused("0000:03:00.0", -EPERM,
		"its IOMMU group 4 also holds 0000:03:00.1, bound to igb: dpdk-devbind.py -u 0000:03:00.1 (or -b "
		"vfio-pci), or take a card in a group of its own");
	cards_driver("0000:03:00.1", "uio_pci_generic");
	cr_expect_eq(port_pci_check(&cards_host, "0000:03:00.0", &(struct port_pci){0}, (char[PORT_PCI_TEXT]){""},
				    PORT_PCI_TEXT),
		     -EPERM);
	cards_driver("0000:03:00.1", "vfio-pci");
	taken("0000:03:00.0");
	cards_driver("0000:03:00.1", "pcieport"); /* a bridge above it is no danger, says the kernel */
	taken("0000:03:00.0");
}

Test(pci, files)
{
	char path[128];

	cards_put("0000:03:00.0", "0x020000\n", "vfio-pci");
	refused("0000:03:00.0", -ENODEV,
		"bound to vfio-pci, but in no IOMMU group: switch the IOMMU on, or dpdk-devbind.py -b uio_pci_generic "
		"0000:03:00.0");
	cards_good("0000:03:00.0");
	snprintf(path, sizeof(path), "%s/vfio/4", cards_host.dev);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(symlink(path, path), 0); /* which root may not open either */
	{
		char want[256];

		snprintf(want, sizeof(want),
			 "%s may not be opened (Too many levels of symbolic links): run as root, or give the file to "
			 "this "
			 "user",
			 path);
		refused("0000:03:00.0", -EACCES, want);
		unlink(path);
		snprintf(want, sizeof(want),
			 "bound to vfio-pci, but there is no %s: bind it again, or let the container have that file",
			 path);
		refused("0000:03:00.0", -EACCES, want);
		snprintf(path, sizeof(path), "%s/vfio/vfio", cards_host.dev);
		unlink(path);
		snprintf(want, sizeof(want),
			 "%s may not be opened (No such file or directory): modprobe vfio, run as root", path);
		refused("0000:03:00.0", -EACCES, want);
	}
}

Test(pci, without_an_iommu)
{
	struct port_pci p;

	cards_put("0000:03:00.0", "0x020000\n", "vfio-pci");
	cards_group("0000:03:00.0", 0);
	sys_put("sys/kernel/iommu_groups/0/name", "vfio-noiommu\n");
	sys_put("dev/vfio/vfio", "");
	sys_put("dev/vfio/noiommu-0", "");
	taken("0000:03:00.0");
	cr_assert_eq(port_pci_read(&cards_host, "0000:03:00.0", &p), 0);
	cr_expect(p.noiommu);
	cr_expect(port_pci_needs_huge(&p));
}

/* Who has it is another question than whether it can be had, and long in answering. */
static void not_asked(const char *addr)
{
	char why[PORT_PCI_TEXT] = "";
	struct port_pci p;

	cr_expect_eq(port_pci_look(&cards_host, addr, &p, why, sizeof(why)), 0, "%s", why);
	cr_expect_str_eq(why, "");
	cr_expect_eq(port_pci_holder(&cards_host, &p, why, sizeof(why)), -EBUSY);
	cr_expect_str_eq(why, "in use by process 5000001 (kcpgate): stop that one, or take another device");
}

Test(pci, busy)
{
	char file[128];

	cards_good("0000:03:00.0");
	sys_put("proc/5000001/comm", "kcpgate\n");
	snprintf(file, sizeof(file), "%s/vfio/4", cards_host.dev);
	cards_link("proc/5000001/fd/17", file);
	refused("0000:03:00.0", -EBUSY, "in use by process 5000001 (kcpgate): stop that one, or take another device");
	not_asked("0000:03:00.0");
	cards_link("proc/5000001/fd/17", "/dev/null");
	taken("0000:03:00.0");
	/* uio would let both have it */
	cards_put("0000:05:00.0", "0x020000\n", "uio_pci_generic");
	sys_put(cards_of("0000:05:00.0", "uio/uio3/name"), "uio_pci_generic\n");
	sys_put("dev/uio3", "");
	snprintf(file, sizeof(file), "%s/uio3", cards_host.dev);
	cards_link("proc/5000001/fd/17", file);
	refused("0000:05:00.0", -EBUSY, "in use by process 5000001 (kcpgate): stop that one, or take another device");
	not_asked("0000:05:00.0");
}

/* Nor is anybody asked about a device that has no file. */
Test(pci, held_without_a_file)
{
	char why[PORT_PCI_TEXT] = "as it was", file[128];
	struct port_pci p;

	cards_put("0000:03:00.0", "0x020000\n", "igb");
	cards_put("0000:04:00.0", "0x020000\n", "vfio-pci");
	snprintf(file, sizeof(file), "%s/vfio/-1", cards_host.dev);
	cards_link("proc/5000001/fd/17", file);
	for (char a[] = "0000:03:00.0"; a[6] < '5'; a[6]++) {
		cr_assert_eq(port_pci_read(&cards_host, a, &p), 0);
		cr_expect_eq(port_pci_holder(&cards_host, &p, why, sizeof(why)), 0);
		cr_expect_str_eq(why, "as it was");
	}
}
