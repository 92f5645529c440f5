/* SPDX-License-Identifier: MIT */

/* Which neighbours the kernel is told of, and for how long: under a clock that the test moves. */

#include <string.h>

#include <criterion/criterion.h>

#include "kern.h"
#include "net.h"

#define MINUTE 60000ull
#define LOOK   5000ull /* so often the list is gone through */

static struct kern k;

static void setup(void)
{
	lab_enter();
	kern_init(&k);
	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 up");
	lab_sh("ip addr add 192.0.2.1/16 dev ve0; ip route add default via 192.0.2.254");
	kern_port(&k, 0, "ve0");
	kern_start(&k);
}

static void teardown(void)
{
	kern_stop(&k);
}

TestSuite(use, .init = setup, .fini = teardown);

/* A worker wants a next hop. */
static void wanted(unsigned n)
{
	struct addr a = addr_v4(0xc0000000u + n);

	nl_need(&k.nl, &a, 0, kern_now(&k));
}

static bool in_use(unsigned n)
{
	struct addr a = addr_v4(0xc0000000u + n);

	for (unsigned i = 0; i < k.nl.n_use; i++)
		if (addr_eq(&k.nl.use[i].addr, &a))
			return true;
	return false;
}

/* So much time, looked through as often as it is in life. */
static void pass(uint64_t ms)
{
	for (; ms > LOOK; ms -= LOOK)
		kern_skip(&k, LOOK);
	kern_skip(&k, ms);
}

/* Ten minutes after the last request, not nine and not eleven. */
Test(use, forgotten_in_time)
{
	wanted(0x277);
	pass(5 * MINUTE);
	wanted(0x277);
	pass(9 * MINUTE);
	cr_assert(in_use(0x277), "asked for nine minutes ago");
	pass(MINUTE + 2 * LOOK);
	cr_assert_not(in_use(0x277), "asked for more than ten minutes ago");
}

/* A route's next hop stays as long as the route, and no longer. */
Test(use, next_hops_stay)
{
	cr_assert(in_use(0x2fe));
	pass(30 * MINUTE);
	cr_assert(in_use(0x2fe));
	lab_sh("ip route del default");
	cr_assert(kern_until(&k, 5000, !in_use(0x2fe)));
}

/* More than there is room for: the one that was asked for longest ago gives way, and never a route's next hop. */
Test(use, full_table)
{
	for (unsigned n = 0; n < 3 * NL_USES; n++) {
		wanted(0x1000 + n);
		kern_skip(&k, 10);
		cr_assert(in_use(0x1000 + n));
		cr_assert(in_use(0x2fe), "the next hop of the default route gave way to %u others", n + 1);
		cr_assert_leq(k.nl.n_use, NL_USES);
	}
	cr_assert(in_use(0x1000 + 3 * NL_USES - 100));
	cr_assert_not(in_use(0x1000));
}

/* A next hop that traffic waits for is read at once when it is known; another one with what may come beside it. */
Test(use, known_at_once)
{
	pass(1);
	wanted(0x0277);
	lab_sh("ip neigh replace 192.0.2.120 lladdr 02:11:22:33:44:55 nud reachable dev ve0");
	nl_events(&k.nl, kern_now(&k));
	cr_assert_gt(k.nl.after, k.nl.now);
	lab_sh("ip neigh replace 192.0.2.119 lladdr 02:11:22:33:44:55 nud reachable dev ve0");
	nl_events(&k.nl, kern_now(&k));
	cr_assert(k.nl.after <= k.nl.now && k.nl.make_at <= k.nl.now);
}
