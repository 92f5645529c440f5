/* SPDX-License-Identifier: MIT */

/*
 * Policers (cc_police.c): a bottleneck that holds next to nothing back, and paths that lose by themselves, which must
 * not be taken for one.
 */

#include <stdio.h>

#include "path.h"

#define SEC    1000000
#define RTT    50000
#define BUCKET 8000 /* bytes */

static struct sim_conf policer(unsigned mbit, uint32_t loss)
{
	return (struct sim_conf){.delay_us = RTT / 2, .loss = loss, .rate_bps = (uint64_t)mbit * SEC, .queue = BUCKET};
}

static void begin(struct path *p, unsigned mbit, uint64_t queue, uint32_t loss, uint64_t seed)
{
	struct kcp_conf both[2] = {path_conf(0), path_conf(0)};
	struct sim_conf out[2] = {policer(mbit, loss), {.delay_us = RTT / 2}};

	if (queue)
		out[0].queue = queue;
	path_init(p, both, out, seed, 1000);
	p->e[0].left = PATH_ENDLESS;
}

struct got {
	double mbit, lost; /* read at the far end; part of what entered the policer that it lost */
};

static struct got run(struct path *p, uint64_t us)
{
	const struct sim_stats *s = sim_link_stats(p->e[0].out);
	uint64_t had = p->e[1].read, lost = s->overflow, bytes = s->bytes;
	struct got g;

	path_run(p, us);
	g.mbit = (double)(p->e[1].read - had) * 8 / us;
	lost = (s->overflow - lost) * 1350;
	g.lost = (double)lost / (lost + s->bytes - bytes);
	return g;
}

static bool is_found(const struct path *p)
{
	return kcp_is_policed(&p->e[0].r->k);
}

/* Found, what it lets through is used, and little beyond that is sent into it. */
Test(kcp_police, is_found)
{
	static const unsigned mbit[] = {20, 50};

	for (unsigned i = 0; i < 2; i++) {
		struct path p;
		struct got g;

		begin(&p, mbit[i], 0, 0, 1 + i);
		path_run(&p, 20 * SEC);
		cr_expect(is_found(&p), "%u Mbit/s", mbit[i]);
		g = run(&p, 10 * SEC);
		printf("%u Mbit/s: %.2f, %.4f lost\n", mbit[i], g.mbit, g.lost);
		cr_expect_geq(g.mbit, 0.85 * mbit[i], "%u Mbit/s: %.2f", mbit[i], g.mbit);
		cr_expect_leq(g.lost, 0.01, "%u Mbit/s: %.3f lost", mbit[i], g.lost);
		path_fini(&p);
	}
}

/* A path that loses by itself is none, however much, nor is a queue. */
Test(kcp_police, what_is_none)
{
	static const uint32_t loss[] = {0, 50, 100, 300};
	unsigned n = 0;

	for (unsigned i = 0; i < 4; i++) {
		for (uint64_t seed = 1; seed <= 2; seed++) {
			struct path p;

			begin(&p, 10, 125000, loss[i], seed);
			for (unsigned s = 0; s < 60; s++) {
				path_run(&p, SEC);
				n += is_found(&p);
			}
			path_fini(&p);
		}
	}
	cr_expect_eq(n, 0, "%u seconds", n);
}

/* It lets more through, or less: that is followed. */
Test(kcp_police, changes)
{
	struct path p;
	struct sim_conf c = policer(40, 0);
	struct got g;

	begin(&p, 20, 0, 0, 1);
	path_run(&p, 15 * SEC);
	cr_expect(is_found(&p));
	sim_link_set(p.e[0].out, &c);
	path_run(&p, 15 * SEC);
	g = run(&p, 10 * SEC);
	cr_expect_geq(g.mbit, 0.8 * 40, "%.2f of 40 Mbit/s", g.mbit);
	c = policer(10, 0);
	sim_link_set(p.e[0].out, &c);
	path_run(&p, 15 * SEC);
	g = run(&p, 10 * SEC);
	cr_expect_geq(g.mbit, 0.8 * 10, "%.2f of 10 Mbit/s", g.mbit);
	cr_expect_leq(g.lost, 0.05, "%.3f lost", g.lost);
	path_fini(&p);
}

/* It is gone, and a queue is the bottleneck: what is forgotten takes no memory, which path_fini sees. */
Test(kcp_police, goes)
{
	struct path p;
	struct sim_conf c = policer(20, 0);
	struct got g;

	begin(&p, 20, 0, 0, 2);
	path_run(&p, 15 * SEC);
	cr_expect(is_found(&p));
	c.queue = 0;
	sim_link_set(p.e[0].out, &c);
	path_run(&p, 30 * SEC);
	g = run(&p, 10 * SEC);
	cr_expect_geq(g.mbit, 0.9 * 20, "%.2f of 20 Mbit/s", g.mbit);
	cr_expect_not(is_found(&p));
	path_fini(&p);
}
