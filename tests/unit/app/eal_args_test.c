/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "eal_args.h"

static struct conf_port ports[CONF_PORTS_MAX];
static struct conf conf = {
	.ports = ports,
	.eal = {.lcores = (char *)"0@0,1@1", .file_prefix = (char *)"kg"},
	.telemetry = {.enable = true},
};
static struct plan plan = {.huge = true, .memory_mb = 366, .n_nodes = 1, .node_mb = {366}};

static const struct drivers *few;

static void port(const char *device, bool vdev)
{
	ports[conf.n_ports++] = (struct conf_port){.device = (char *)device, .vdev = vdev};
}

static const char *joined(bool debug)
{
	static char text[1024];
	struct eal_args a;
	size_t n = 0;

	eal_args_make(&a, &conf, &plan, few, debug);
	cr_assert_null(a.argv[a.n]);
	for (int i = 0; i < a.n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "", a.argv[i]);
	return text;
}

Test(eal_args, no_card)
{
	port("net_af_packet0,iface=eth0", true);
	cr_expect_str_eq(joined(false), "kcpgate --lcores 0@0,1@1 --file-prefix kg -m 366 --in-memory "
					"--socket-limit 622 --no-pci");
}

/* Each card with its arguments, and no other of the machine's. */
Test(eal_args, cards)
{
	port("0000:03:00.0", false);
	port("net_null0", true);
	port("0000:04:00.1,speed=10000,vectorized=1", false);
	cr_expect_str_eq(joined(false), "kcpgate --lcores 0@0,1@1 --file-prefix kg -m 366 --in-memory "
					"--socket-limit 622 -a 0000:03:00.0 -a 0000:04:00.1,speed=10000,vectorized=1");
}

/* Libraries of drivers, when it is known that there are no others to load. */
Test(eal_args, drivers)
{
	static struct drivers d = {.n = 2, .path = {"/x/librte_net_null.so", "/x/librte_mempool_ring.so"}};

	port("net_null0", true);
	few = &d;
	cr_expect_str_eq(joined(false),
			 "kcpgate --lcores 0@0,1@1 --file-prefix kg -m 366 --in-memory "
			 "--socket-limit 622 -d /x/librte_net_null.so -d /x/librte_mempool_ring.so --no-pci");
}

/* dpdk-dumpcap maps files, by a configuration that is shared. */
Test(eal_args, dumpcap)
{
	port("net_af_packet0,iface=eth0", true);
	conf.eal.dumpcap = true;
	cr_expect_str_eq(joined(false), "kcpgate --lcores 0@0,1@1 --file-prefix kg -m 366 --socket-limit 622 --no-pci");
}

/* What the file has for EAL stands before the devices, whose arguments the port's are. */
Test(eal_args, of_the_file)
{
	char *args[] = {(char *)"--iova-mode=pa", (char *)"-a", (char *)"0000:03:00.0,other=1", NULL};

	port("0000:03:00.0,mine=1", false);
	conf.eal.args = args;
	conf.eal.lcores = NULL;
	conf.telemetry.enable = false;
	strcpy(plan.default_lcores, "0@2,1@3");
	plan.huge = false;
	cr_expect_str_eq(joined(true), "kcpgate --lcores 0@2,1@3 --file-prefix kg -m 366 --no-huge --no-shconf "
				       "--no-telemetry --log-level=debug --iova-mode=pa -a 0000:03:00.0,other=1 "
				       "-a 0000:03:00.0,mine=1");
}

Test(eal_args, nodes)
{
	port("0000:03:00.0", false);
	plan = (struct plan){.huge = true, .memory_mb = 1200, .n_nodes = 2, .node_mb = {[1] = 800, [3] = 400}};
	cr_expect_str_eq(joined(false), "kcpgate --lcores 0@0,1@1 --file-prefix kg --socket-mem 0,800,0,400 "
					"--in-memory -a 0000:03:00.0");
}

/* The most that a file may have. */
Test(eal_args, most)
{
	static const struct drivers d = {.n = DRIVERS_MAX};
	char *args[LIMIT_EAL_ARGS + 1];
	struct eal_args a;

	for (unsigned i = 0; i < LIMIT_EAL_ARGS; i++)
		args[i] = (char *)"--x";
	args[LIMIT_EAL_ARGS] = NULL;
	conf.eal.args = args;
	for (unsigned i = 0; i < CONF_PORTS_MAX; i++)
		port("0000:03:00.0", false);
	conf.telemetry.enable = false;
	eal_args_make(&a, &conf, &plan, &d, true);
	cr_assert_lt(a.n, EAL_ARGS_MAX);
	cr_assert_null(a.argv[a.n]);
	cr_assert_str_eq(a.argv[a.n - 2], "-a");
}
