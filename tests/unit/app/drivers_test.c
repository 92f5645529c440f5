/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "drivers.h"
#include "sys.h"

static struct conf_port ports[CONF_PORTS_MAX];
static struct conf conf = {.ports = ports};
static struct drivers d;

static void setup(void)
{
	sys_make();
	sys_put("librte_mempool_ring.so.23.0", "");
	sys_put("librte_mempool_stack.so.23.0", "");
	sys_put("librte_net_af_packet.so", "");
	sys_put("librte_net_af_packet.so.23", "");
	sys_put("librte_net_af_packet_more.so.23", "");
	sys_put("librte_net_null.so.23.0", "");
	sys_put("librte_net_virtio.so.23.0", "");
	sys_put("librte_net_bonding.so.23.0", "");
	sys_put("librte_net_ring.so.23.0", "");
	sys_put("librte_net_af_xdp.so.23.0", "");
}

TestSuite(drivers, .init = setup, .fini = sys_drop);

static void port(const char *device, bool vdev)
{
	ports[conf.n_ports++] = (struct conf_port){.device = (char *)device, .vdev = vdev};
}

/* Their libraries' names, without versions. */
static const char *found(void)
{
	static char text[1024];
	size_t n = 0;

	text[0] = '\0';
	if (!drivers_of(&conf, sys_root, &d))
		return "all";
	for (unsigned i = 0; i < d.n; i++) {
		const char *file = strrchr(d.path[i], '/') + 1;

		cr_expect(drivers_has(&d, file));
		cr_expect_eq(strncmp(d.path[i], sys_root, strlen(sys_root)), 0);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s", i ? " " : "", (int)strcspn(file, "."),
				      file);
	}
	return text;
}

Test(drivers, each_once)
{
	port("net_af_packet0,iface=eth0", true);
	port("net_af_packet1,iface=lo", true);
	cr_expect_str_eq(found(), "librte_mempool_ring librte_net_af_packet");
	cr_expect(drivers_has(&d, "librte_net_af_packet.so.23.0"));
	cr_expect_not(drivers_has(&d, "librte_net_af_packet_more.so.23"));
	cr_expect_not(drivers_has(&d, "librte_net_null.so.23.0"));
	cr_expect_not(drivers_has(&d, "librte_net_bonding.so.23.0"));
}

Test(drivers, by_another_name)
{
	port("virtio_user0,path=/dev/vhost-net", true);
	port("net_virtio_user1,path=/dev/vhost-net", true);
	cr_expect_str_eq(found(), "librte_mempool_ring librte_net_virtio");
}

/* The kernel's side of a port is a device too. */
Test(drivers, of_the_exception)
{
	port("net_null0", true);
	ports[0].exception = CONF_EXC_VIRTIO;
	cr_expect_str_eq(found(), "librte_mempool_ring librte_net_null librte_net_virtio");
}

/* Beside the kernel AF_XDP is ours, a device of rings; alone it is DPDK's. */
Test(drivers, of_af_xdp)
{
	port("net_af_xdp0,iface=eth0", true);
	ports[0].exception = CONF_EXC_KERNEL;
	cr_expect_str_eq(found(), "librte_mempool_ring librte_net_ring");
	ports[0].exception = CONF_EXC_TAP;
	cr_expect_str_eq(found(), "librte_mempool_ring librte_net_af_xdp");
}

/* What may need others beside it, or is not known at all. */
Test(drivers, of_others)
{
	static const char *const device[] = {"net_bonding0,slave=net_null0", "net_nullify0", "net_nul0", "net_pcap0"};

	for (unsigned i = 0; i < sizeof(device) / sizeof(device[0]); i++) {
		conf.n_ports = 0;
		port("net_null0", true);
		port(device[i], true);
		cr_expect_str_eq(found(), "all", "%s: %s", device[i], found());
	}
	conf.n_ports = 0;
	port("0000:03:00.0", false);
	cr_expect_str_eq(found(), "all");
}

Test(drivers, that_the_file_brings)
{
	static char *args[] = {"-dmine.so", "-d", "-a0000:03:00.0", "--allow=0000:03:00.0", "-w", "--vdev=net_null1"};
	char *given[3] = {"--iova-mode=va", NULL, NULL};

	port("net_null0", true);
	conf.eal.args = given;
	cr_expect_str_eq(found(), "librte_mempool_ring librte_net_null");
	for (unsigned i = 0; i < sizeof(args) / sizeof(args[0]); i++) {
		given[1] = args[i];
		cr_expect_str_eq(found(), "all", "%s", args[i]);
	}
}

/* Processes that share pools know the same ways to make them, by number. */
Test(drivers, dumpcap)
{
	port("net_null0", true);
	cr_expect_str_eq(found(), "librte_mempool_ring librte_net_null");
	conf.eal.dumpcap = true;
	cr_expect_str_eq(found(), "all");
}

Test(drivers, no_folder)
{
	port("net_null0", true);
	cr_expect_not(drivers_of(&conf, "/no/such", &d));
}
