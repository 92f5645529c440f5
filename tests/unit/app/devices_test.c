/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "cards.h"
#include "devices.h"
#include "sys.h"

static struct conf_port ports[4];
static struct conf conf = {.ports = ports};
static struct plan plan = {.huge = true, .memory_mb = 366};
static struct devices_at at;
static char pmds[64], said[4][DEVICES_TEXT];

static void put_pmd(const char *name, const char *more, const char *ids)
{
	char path[128], text[512];

	snprintf(path, sizeof(path), "pmds/librte_%s.so.23.0", name);
	snprintf(text, sizeof(text), "PMD_INFO_STRING= {\"name\": \"%s\", %s\"pci_ids\": [%s]}", name, more, ids);
	sys_put(path, text);
	/* the 0 that ends the text, and a word of the driver's */
	{
		char full[256];
		FILE *f;

		snprintf(full, sizeof(full), "%s/%s", sys_root, path);
		f = fopen(full, "a");
		cr_assert_not_null(f);
		fwrite("\0\0speed\0iface", 1, 14, f);
		fclose(f);
	}
}

static void setup(void)
{
	cards_make();
	snprintf(pmds, sizeof(pmds), "%s/pmds", sys_root);
	at = (struct devices_at){.host = &cards_host, .pmds = pmds};
	put_pmd("net_e1000_em", "", "[32902, 4307, 65535, 65535]"); /* 8086:10d3 */
	put_pmd("net_af_packet", "\"params\": \"iface=<string> qpairs=<int>\", ", "");
	put_pmd("net_null", "", "");
}

TestSuite(devices, .init = setup, .fini = sys_drop);

static void port(const char *device, bool vdev)
{
	static char names[4][8];
	unsigned n = conf.n_ports++;

	snprintf(names[n], sizeof(names[n]), "wan%u", n);
	ports[n] = (struct conf_port){.device = (char *)device, .vdev = vdev};
	strcpy(ports[n].name, names[n]);
}

static void note(void *ctx, const char *text)
{
	unsigned *n = ctx;

	snprintf(said[(*n)++], DEVICES_TEXT, "%s", text);
}

static unsigned faults(void)
{
	unsigned n = 0;

	memset(said, 0, sizeof(said));
	cr_expect_eq(devices_check(&conf, &plan, &at, note, &n), n);
	return n;
}

static void one(const char *text)
{
	cr_expect_eq(faults(), 1);
	cr_expect_str_eq(said[0], text);
}

Test(devices, good)
{
	cards_good("0000:03:00.0");
	port("0000:03:00.0,speed=10000", false);
	port("net_af_packet0,iface=no-such-one", true); /* for which the gateway waits */
	port("net_null0", true);
	cr_expect_eq(faults(), 0, "%s", said[0]);
}

/* Each port that has none is told, and none of the others. */
Test(devices, several)
{
	cards_good("0000:03:00.0");
	port("0000:04:00.0,speed=1", false);
	port("0000:03:00.0", false);
	port("net_nothing0", true);
	cr_expect_eq(faults(), 2);
	cr_expect_str_eq(said[0],
			 "port wan0: 0000:04:00.0: no PCI device at this address; network devices are 0000:03:00.0 "
			 "(vfio-pci)");
	cr_expect_eq(strncmp(said[1], "port wan2: net_nothing0: DPDK has no driver of this name in ", 60), 0, "%s",
		     said[1]);
	cr_expect(strstr(said[1], "; those that need no card are net_") && strstr(said[1], "net_null"), "%s", said[1]);
	cr_expect_null(strstr(said[1], "e1000"));
}

Test(devices, arguments)
{
	cards_good("0000:03:00.0");
	port("0000:03:00.0,speed=10000,bogus=1", false);
	one("port wan0: 0000:03:00.0: the driver net_e1000_em knows no argument `bogus'; leave it out");
	conf.n_ports = 0;
	port("net_af_packet0,iface=eth0,bogus=1", true);
	one("port wan0: net_af_packet0: the driver net_af_packet knows no argument `bogus'; it lists iface=<string> "
	    "qpairs=<int>");
}

Test(devices, card_without_a_driver)
{
	cards_good("0000:03:00.0");
	sys_put(cards_of("0000:03:00.0", "device"), "0x1234\n");
	port("0000:03:00.0", false);
	cr_expect_eq(faults(), 1);
	cr_expect_eq(strncmp(said[0], "port wan0: 0000:03:00.0: DPDK has no driver for a card 8086:1234 in ", 67), 0,
		     "%s", said[0]);
}

/* Drivers of the file's own, or linked in: what DPDK will have is known to nobody before it starts. */
Test(devices, drivers_unknown)
{
	char *args[] = {(char *)"-d", (char *)"/opt/driver.so", NULL};

	cards_good("0000:03:00.0");
	port("0000:03:00.0,bogus=1", false);
	port("net_nothing0", true);
	conf.eal.args = args;
	cr_expect_eq(faults(), 0, "%s", said[0]);
	conf.eal.args = NULL;
	at.pmds = "/no/such";
	cr_expect_eq(faults(), 0, "%s", said[0]);
	sys_put(cards_of("0000:03:00.0", "class"), "0x010802\n");
	one("port wan0: 0000:03:00.0: a device of PCI class 010802, 8086:10d3, and no network device");
}

static void put_uio(const char *addr)
{
	cards_put(addr, "0x020000\n", "uio_pci_generic");
	sys_put(cards_of(addr, "uio/uio0/name"), "uio_pci_generic\n");
	sys_put("dev/uio0", "");
}

Test(devices, physical_addresses)
{
	put_uio("0000:03:00.0");
	port("0000:03:00.0", false);
	cr_expect_eq(faults(), 0, "%s", said[0]);
	plan.huge = false;
	conf.eal.hugepages = CONF_HUGE_NO;
	one("port wan0: 0000:03:00.0: bound to uio_pci_generic, which needs hugepages, for only theirs are memory's "
	    "physical addresses known: set eal.hugepages = true, or switch the IOMMU on and dpdk-devbind.py -b "
	    "vfio-pci "
	    "0000:03:00.0");
	conf.eal.hugepages = CONF_HUGE_AUTO;
	one("port wan0: 0000:03:00.0: bound to uio_pci_generic, which needs hugepages, for only theirs are memory's "
	    "physical addresses known: reserve hugepages (183 of 2 MB), or switch the IOMMU on and dpdk-devbind.py -b "
	    "vfio-pci 0000:03:00.0");
	/* With an IOMMU ordinary pages will do, */
	cards_good("0000:03:00.0");
	cr_expect_eq(faults(), 0, "%s", said[0]);
	/* but not by vfio without one. */
	sys_put("sys/kernel/iommu_groups/4/name", "vfio-noiommu\n");
	sys_put("dev/vfio/noiommu-4", "");
	cr_expect_eq(faults(), 1);
	cr_expect(strstr(said[0], "bound to vfio-pci without an IOMMU, which needs hugepages"), "%s", said[0]);
}

/* The longest that there is fits: what is wrong and the way out are never cut off. */
Test(devices, longest)
{
	static char device[220] = "0000:03:00.0,a=";

	memset(device + 15, 'x', 190);
	cards_put("0000:03:00.0", "0x020000\n", "a-driver-with-a-long-name-of-31");
	for (unsigned i = 0; i < PORT_PCI_IFS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "net/fifteen-chars%u/mtu", i);
		sys_put(cards_of("0000:03:00.0", name), "1500\n");
	}
	port(device, false);
	memset(ports[0].name, 'n', CONF_NAME_MAX - 1);
	cr_expect_eq(faults(), 1);
	cr_expect_str_eq(said[0] + strlen(said[0]) - strlen("-b uio_pci_generic"), "-b uio_pci_generic");
}
