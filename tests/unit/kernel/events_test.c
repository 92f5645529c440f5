/* SPDX-License-Identifier: MIT */

/*
 * Routes by their messages: after any number of changes of every kind that `ip` can make, the mirror is what reading
 * the whole table gives; and while very many come, a bounded piece of them a turn.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "kern.h"
#include "net.h"

#define LONG 60000

static struct kern k;

static void setup(void)
{
	lab_enter();
	kern_init(&k);
	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 up");
	lab_sh("ip link add ot0 type veth peer name ot1; ip link set ot0 up; ip link set ot1 up");
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip addr add 10.0.0.1/24 dev ot0");
	lab_sh("ip addr add 2001:db8::1/64 dev ve0 nodad; ip addr add 2001:db8:1::1/64 dev ot0 nodad");
	kern_port(&k, 0, "ve0");
	kern_start(&k);
}

static void teardown(void)
{
	kern_stop(&k);
}

TestSuite(events, .init = setup, .fini = teardown);

static unsigned rnd(void)
{
	static uint64_t z = 11;

	z = z * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(z >> 33);
}

static const char *hop4(void)
{
	static const char *const of[] = {"via 192.0.2.254", "via 192.0.2.253", "via 10.0.0.254", "dev ve0",
					 "nexthop via 192.0.2.254 nexthop via 10.0.0.254 weight 3"};

	return of[rnd() % 5];
}

/* On link with a metric of its own: kernels pass over such routes in their answer, between next hops of one metric. */
static const char *hop6(void)
{
	static const char *const of[] = {
		"metric 10 via 2001:db8::fe", "metric 10 via 2001:db8::fd", "metric 11 via 2001:db8:1::fe",
		"metric 12 dev ve0",
		"metric 10 nexthop via 2001:db8::fe nexthop via 2001:db8::fd nexthop via 2001:db8:1::fe"};

	return of[rnd() % 5];
}

/* Commands of which some fail: what is there is there, what is not is not. */
static void some_changes(FILE *f, unsigned n)
{
	static const char *const op4[] = {"add", "add", "append", "prepend", "replace", "replace", "change", "del"};
	static const char *const op6[] = {"add", "add", "append", "append", "replace", "replace", "change", "del"};

	for (unsigned i = 0; i < n; i++) {
		const char *op = rnd() % 2 ? op4[rnd() % 8] : NULL;

		if (rnd() % 40 == 0)
			fprintf(f, "route add %s 10.%u.0.0/16\n", rnd() % 2 ? "blackhole" : "unreachable",
				50 + rnd() % 6);
		else if (op)
			fprintf(f, "route %s 10.%u.0.0/%u %s metric %u%s\n", op, 50 + rnd() % 6, 16 + rnd() % 2, hop4(),
				10 + rnd() % 2, rnd() % 4 ? "" : " src 192.0.2.1");
		else
			fprintf(f, "route %s 2001:db8:%x::/48 %s\n", op6[rnd() % 8], 0x50 + rnd() % 6, hop6());
	}
}

static void change(unsigned n)
{
	FILE *f = popen("ip -force -batch - >/dev/null 2>&1", "w");

	cr_assert_not_null(f);
	some_changes(f, n);
	pclose(f);
}

struct listed {
	struct addr prefix;
	unsigned plen;
	uint32_t metric;
	const struct net_way *way;
};

/* All routes there are, those of one prefix and metric by their ways: in which order they came is no matter here. */
static unsigned list(struct listed *v, unsigned room)
{
	unsigned n = 0;

	for (unsigned v4 = 0; v4 < 2; v4++) {
		const struct net_leaf *l = net_fib_next(&k.nl.routes.fib, v4, NULL, 0);

		for (; l; l = net_fib_next(&k.nl.routes.fib, v4, &l->prefix, l->node.plen)) {
			for (unsigned i = 0; i < l->node.n && n < room; i++) {
				struct listed e = {l->prefix, l->node.plen, l->entry[i].metric, l->entry[i].way};
				unsigned at = n++;

				for (; at && addr_eq(&v[at - 1].prefix, &e.prefix) && v[at - 1].plen == e.plen &&
				       v[at - 1].metric == e.metric && v[at - 1].way > e.way;
				     at--)
					v[at] = v[at - 1];
				v[at] = e;
			}
		}
	}
	return n;
}

static void quiet(void)
{
	for (unsigned i = 0; i < 20; i++) {
		k.adopted = k.nl.gen;
		kern_turn(&k, 2);
	}
}

/* Messages alone lead where reading leads; and where they cannot, that was noticed. */
Test(events, lead_where_reading_leads)
{
	static struct listed before[4096], after[4096];
	unsigned told = 0, n;

	for (unsigned round = 0; round < 60; round++) {
		uint64_t unclear = k.nl.routes.stats.unclear, changes = k.nl.routes.stats.changes, reads;

		/* No reading in between. */
		k.nl.routes.after = UINT64_MAX;
		change(1 + rnd() % 60);
		quiet();
		told += (unsigned)(k.nl.routes.stats.changes - changes);
		n = list(before, 4096);
		reads = k.nl.routes.stats.reads;
		k.nl.routes.dirty = true;
		k.nl.routes.after = 0;
		cr_assert(kern_until(&k, LONG, k.nl.routes.stats.reads > reads));
		cr_assert_eq(k.nl.routes.fib.n_route, list(after, 4096));
		if (unclear == k.nl.routes.stats.unclear) {
			cr_assert_eq(n, k.nl.routes.fib.n_route, "round %u: %u routes by messages, %u read", round, n,
				     k.nl.routes.fib.n_route);
			cr_assert_eq(memcmp(before, after, n * sizeof(*before)), 0, "round %u", round);
		}
	}
	cr_assert_gt(told, 150, "%u messages", told);
	cr_assert_lt(k.nl.routes.stats.unclear, told / 10, "%llu of %u unclear",
		     (unsigned long long)k.nl.routes.stats.unclear, told);
}

/* A route that vanished without a word is missed after a while all the same. */
Test(events, looks_now_and_then)
{
	uint64_t reads = k.nl.routes.stats.reads;

	lab_sh("ip route add 198.51.100.0/24 via 192.0.2.254");
	cr_assert(kern_until(&k, LONG, k.nl.routes.look_at != 0));
	cr_assert_eq(k.nl.routes.stats.reads, reads, "nothing is read for a message that is clear");
	kern_skip(&k, 1000);
	cr_assert(kern_until(&k, LONG, k.nl.routes.stats.reads == reads + 1));
	cr_assert_eq(k.nl.routes.stats.mended, 0);
	kern_skip(&k, 100000);
	quiet();
	cr_assert_eq(k.nl.routes.stats.reads, reads + 1, "nothing has changed since");
}

/* The first is the kernel's own choice among routes that differ in nothing else. */
Test(events, order_of_equals)
{
	struct addr dst, far, near;
	struct net_hop hop;

	cr_assert(addr_parse("198.51.100.1", &dst) == 0 && addr_parse("192.0.2.254", &near) == 0 &&
		  addr_parse("192.0.2.253", &far) == 0);
	lab_sh("ip route add 198.51.100.0/24 via 192.0.2.253");
	lab_sh("ip route append 198.51.100.0/24 via 192.0.2.252");
	lab_sh("ip route prepend 198.51.100.0/24 via 192.0.2.254");
	cr_assert(kern_until(&k, LONG, net_resolve(k.nl.tbl, &dst, NULL, &hop) == 0 && addr_eq(&hop.via, &near)));
	lab_sh("ip route del 198.51.100.0/24 via 192.0.2.254");
	cr_assert(kern_until(&k, LONG, net_resolve(k.nl.tbl, &dst, NULL, &hop) == 0 && addr_eq(&hop.via, &far)));
}
