/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "cards.h"
#include "sys.h"

/* Folders made up: sys, dev and proc in one. */
struct port_pci_host cards_host;
static char dev[64], proc[64], sys[64];

void cards_make(void)
{
	sys_make();
	snprintf(sys, sizeof(sys), "%s/sys", sys_root);
	snprintf(dev, sizeof(dev), "%s/dev", sys_root);
	snprintf(proc, sizeof(proc), "%s/proc", sys_root);
	cards_host = (struct port_pci_host){.sys = sys, .dev = dev, .proc = proc};
}

/* A link at `name` to `to`, whether that is there or not. */
void cards_link(const char *name, const char *to)
{
	char path[512], below[512];

	snprintf(below, sizeof(below), "%s.", name);
	sys_put(below, ""); /* makes the folders */
	snprintf(path, sizeof(path), "%s/%s", sys_root, name);
	unlink(path);
	cr_assert_eq(symlink(to, path), 0, "%s", path);
}

const char *cards_of(const char *addr, const char *what)
{
	static char name[2][256];
	static unsigned i;

	i ^= 1;
	snprintf(name[i], sizeof(name[i]), "sys/bus/pci/devices/%s/%s", addr, what);
	return name[i];
}

void cards_driver(const char *addr, const char *driver)
{
	char to[128];

	snprintf(to, sizeof(to), "../../../bus/pci/drivers/%s", driver);
	cards_link(cards_of(addr, "driver"), to);
}

void cards_put(const char *addr, const char *class, const char *driver)
{
	sys_put(cards_of(addr, "vendor"), "0x8086\n");
	sys_put(cards_of(addr, "device"), "0x10d3\n");
	sys_put(cards_of(addr, "class"), class);
	sys_put(cards_of(addr, "numa_node"), "-1\n");
	if (driver)
		cards_driver(addr, driver);
}

void cards_group(const char *addr, int group)
{
	char to[128];

	snprintf(to, sizeof(to), "../../../../kernel/iommu_groups/%d", group);
	cards_link(cards_of(addr, "iommu_group"), to);
	snprintf(to, sizeof(to), "sys/kernel/iommu_groups/%d/devices/%s", group, addr);
	sys_put(to, ""); /* a link there, of which only the name is read */
}

/* A card that DPDK can have: bound to vfio-pci, alone in group 4. */
void cards_good(const char *addr)
{
	cards_put(addr, "0x020000\n", "vfio-pci");
	cards_group(addr, 4);
	sys_put("dev/vfio/vfio", "");
	sys_put("dev/vfio/4", "");
}
