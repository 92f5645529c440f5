/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "eal.h"
#include "port_exc.h"

/* The exception interface as a device: what is said where it cannot be made.  tests/vm makes it. */

Test(port_exc, refusals)
{
	struct port_exc_conf conf = {.name = "wan0", .ifname = "lo", .workers = 9};
	struct port_exc e;
	char why[256];
	bool have = access("/dev/vhost-net", R_OK | W_OK) == 0;

	eal_start();
	cr_assert_eq(port_exc_start(&conf, &e, why, sizeof(why)), have ? -EEXIST : -ENODEV, "%s", why);
	cr_assert(strstr(why, have ? "port wan0: interface lo: exists already" : "modprobe vhost_net"), "%s", why);
	cr_assert(!e.started);
	port_exc_stop(&e);
	if (!have)
		return;
	conf.ifname = "kg-exc";
	cr_assert_eq(port_exc_start(&conf, &e, why, sizeof(why)), -EINVAL, "%s", why);
	cr_assert(strstr(why, "8 workers at most"), "%s", why);
}
