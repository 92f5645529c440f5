/* SPDX-License-Identifier: MIT */

/*
 * Clients whose NAT gives them other ports, at a server of two workers: a session stays with its worker, and its flow
 * comes there whether that is its home or not.  With RSS, and with its twin in software.
 */

#include <stdio.h>
#include <string.h>

#include "bed.h"
#include "eal.h"
#include "le.h"
#include "worker_int.h"

TestSuite(pipeline_roam, .init = eal_start);

#define PORT_AT (14 + 20) /* of a frame without a tag: the source's; the destination's behind it */

static uint16_t shift; /* of the client's ports, by the NAT */

/* Only ciphers tell what was altered on the way: the checksums of UDP and TCP are not made right. */
static bool nat(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
	bool up = to == &b->g[SERVER];
	uint8_t *at = p + PORT_AT + (up ? 0 : 2);

	be16_put(at, (uint16_t)(be16_get(at) + (up ? shift : -shift)));
	if (!up && (be16_get(at) < 20000 || be16_get(at) > 20200)) { /* of what the NAT has forgotten */
		rte_pktmbuf_free(m);
		b->seen++;
		return true;
	}
	return false;
}

static uint64_t moves(const struct gate *s)
{
	return shard_stats(s->shard[0])->moves + shard_stats(s->shard[1])->moves;
}

static unsigned steered(const struct gate *s)
{
	unsigned n = 0;

	for (unsigned w = 0; w < 2; w++)
		for (unsigned i = 0; i < s->shard[w]->n_all; i++)
			n += s->shard[w]->all[i]->steered;
	return n;
}

static void run(const struct bed_conf *conf)
{
	struct bed *b = bed_new(conf);
	struct gate *s = &b->g[SERVER];
	unsigned away = 0;

	b->wire = nat;
	shift = 0;
	for (unsigned round = 1; round <= 4; round++) {
		for (unsigned i = 0; i < BED_CONN; i++)
			bed_connect(b, i, 2000000);
		for (unsigned i = 0; i < 20; i++)
			bed_step(b);
		shift = (uint16_t)(round * 1000);
		for (unsigned i = 0; i < 2000 && moves(s) < round * BED_CONN; i++)
			bed_step(b);
		cr_assert_eq(moves(s), round * BED_CONN, "%lu in round %u", moves(s), round);
		away += steered(s);
		cr_assert(bed_finish(b, 60000));
	}
	cr_assert_gt(away, 0, "all came home");
	cr_assert_lt(away, moves(s), "none did");
	for (unsigned i = 0; i < b->n_app; i++)
		app_complete(&b->app[i]);
	cr_assert_eq(shard_stats(s->shard[0])->sessions_opened + shard_stats(s->shard[1])->sessions_opened, BED_CONN);
	for (unsigned w = 0; w < 2; w++)
		while (s->shard[w]->n_all)
			sess_close(s->shard[w]->all[0], 0, b->ms);
	for (unsigned i = 0; i < 20; i++)
		bed_step(b);
	cr_assert_not(flow_moved_any(s->mesh->roam), "of sessions that are over");
	printf("%lu moves, %u not to the flow's home\n", moves(s), away);
	bed_end(b);
}

Test(pipeline_roam, in_software)
{
	run(&(struct bed_conf){.cipher = "aes", .ds = 10, .ps = 3});
}

Test(pipeline_roam, in_software_without_fec)
{
	run(&(struct bed_conf){.cipher = "aes-128-gcm"});
}

Test(pipeline_roam, by_rss)
{
	run(&(struct bed_conf){.cipher = "aes", .ds = 10, .ps = 3, .rss = true});
}

Test(pipeline_roam, by_rss_without_fec)
{
	run(&(struct bed_conf){.cipher = "salsa20", .rss = true});
}

/* A NAT takes a flow of fake TCP for one under way, and numbers go on where they were. */
Test(pipeline_roam, fake_tcp)
{
	run(&(struct bed_conf){.cipher = "aes", .ds = 10, .ps = 3, .tcp = true});
}
