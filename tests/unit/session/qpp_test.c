/* SPDX-License-Identifier: MIT */
#include "eal.h"
#include "le.h"
#include "rig.h"

/* QPP within sessions: bytes arrive as they were sent, whatever cuts them, and in between they are what stock sends. */

TestSuite(session_qpp, .init = eal_start);

#define STREAMS 12

static void transfer(struct rig_conf *c)
{
	struct sim_rng g = {c->seed};
	struct conn *conn[STREAMS];
	struct rig *r = rig_new(c);

	for (unsigned i = 0; i < STREAMS; i++)
		conn[i] = rig_connect(r, i % c->conn, sim_below(&g, 200000), sim_below(&g, 200000));
	cr_assert(rig_finish(r, 600000));
	for (unsigned i = 0; i < STREAMS; i++)
		conn_complete(conn[i]);
	cr_assert_eq(rig_other_drops(&r->side[CLIENT], DROP_NO_MEMORY, 0), 0);
	cr_assert_eq(rig_other_drops(&r->side[SERVER], DROP_NO_MEMORY, c->ds ? DROP_PARITY_ALONE : 0), 0);
	rig_end(r);
}

Test(session_qpp, over_bad_links)
{
	for (unsigned i = 0; i < 8; i++) {
		struct rig_conf c = rig_defaults();

		c.qpp = i & 1 ? 61 : 7;
		c.nocomp = i & 1;
		c.smux = i & 2 ? 1 : 2;
		c.ds = i & 4 ? 10 : 0;
		c.ps = i & 4 ? 3 : 0;
		c.conn = 2;
		c.seed = 10 + i;
		c.link = (struct sim_conf){.delay_us = 20000, .jitter_us = 5000, .loss = 50, .dup = 20, .reorder = 30};
		transfer(&c);
	}
}

/* A window that does not fit the heap: a frame that is tried again is permuted from the same place. */
Test(session_qpp, frames_tried_again)
{
	struct rig_conf c = rig_defaults();
	struct conn *conn[4];
	struct rig *r;

	c.qpp = 61;
	c.nocomp = true;
	c.heap[SERVER] = 1 << 20;
	c.wnd = 4096;
	c.link.loss = 50;
	r = rig_new(&c);
	for (unsigned i = 0; i < 4; i++)
		conn[i] = rig_connect(r, 0, 400000, 1000000);
	cr_assert(rig_finish(r, 300000));
	for (unsigned i = 0; i < 4; i++)
		conn_complete(conn[i]);
	cr_assert_gt(rig_drops(&r->side[SERVER], DROP_NO_MEMORY), 0, "memory has never been short");
	rig_end(r);
}

/* Every frame's payload, as the server's KCP has it, is the plain bytes through the pads; headers are not covered. */
Test(session_qpp, what_travels)
{
	struct rig_conf c = rig_defaults();
	struct qpp_prng prng;
	struct sess *ss;
	struct rig *r;
	uint8_t plain[1000], buf[2048], back[1000];
	struct pkt out = {.p = buf};

	c.qpp = 61;
	c.nocomp = true;
	c.hello[CLIENT] = false;
	r = rig_new(&c);
	r->cut[CLIENT] = true;
	rig_connect(r, 0, sizeof(plain), 0);
	rig_settle(r);
	ss = r->side[CLIENT].shard->all[0];
	/* The first datagram once more, after its timeout. */
	cr_assert_eq(kcp_flush(&ss->kcp, KCP_FLUSH_FULL, r->now + 1000, &out, 1), 1);
	cr_assert_eq(buf[24 + 1], 0, "SYN");
	cr_assert_eq(le16_get(buf + 24 + 8 + 2), sizeof(plain), "PSH's length");
	pattern_fill(plain, r->side[CLIENT].conn[0]->key, 0, sizeof(plain));
	qpp_prng_init(&prng, r->side[SERVER].qpp);
	qpp_decrypt(r->side[SERVER].qpp, &prng, back, buf + 24 + 16, sizeof(plain));
	cr_assert_eq(memcmp(back, plain, sizeof(plain)), 0);
	rig_end(r);
}

/* A stream costs its two generators, and gives them back (rig_end); one that finds no memory for them is refused. */
Test(session_qpp, stream_without_memory)
{
	struct rig_conf c = rig_defaults();
	void *hog[64];
	unsigned n = 0;
	struct rig_side *s;
	struct conn *conn;
	struct rig *r;
	void **chain = NULL, **p;

	c.qpp = 61;
	r = rig_new(&c);
	s = &r->side[CLIENT];
	while (n < 64 && (hog[n] = mem_get(s->mem, 512 << 10)))
		n++;
	cr_assert_lt(n, 64);
	/* What is left goes in pieces too small to hold the generators only when nothing else is there. */
	for (size_t len = 65536; len >= 64; len /= 2) {
		while ((p = mem_get(s->mem, len))) {
			p[0] = chain;
			p[1] = (void *)len;
			chain = p;
		}
	}
	conn = rig_connect(r, 0, 100, 0);
	rig_settle(r);
	cr_assert(conn->closed && conn->aborted);
	cr_assert_eq(rig_drops(s, DROP_STREAM_LIMIT), 1);
	while ((p = chain)) {
		chain = p[0];
		mem_put(s->mem, p, (size_t)p[1]);
	}
	while (n)
		mem_put(s->mem, hog[--n], 512 << 10);
	rig_end(r);
}
