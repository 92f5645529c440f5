/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "eal.h"
#include "kcp_wire.h"
#include "le.h"
#include "rig.h"

/* A session whose streams come and go as fast as it can, beside others of its tunnel. */

TestSuite(session_churn, .init = eal_start);

#define PAIRS 20 /* streams that a datagram opens, and closes again */

static uint8_t *frame(uint8_t *p, uint8_t cmd, uint32_t sid)
{
	p[0] = 2;
	p[1] = cmd;
	le16_put(p + 2, 0);
	le32_put(p + 4, sid);
	return p + 8;
}

/* The next datagram of the session on this port: so many streams begin, and end if `fin` says so. */
static void open_streams(struct rig *r, uint16_t port, uint32_t sn, unsigned n, bool fin)
{
	uint8_t p[KCP_HEAD + PAIRS * 16] = {0}, *at = p + KCP_HEAD;

	for (unsigned i = 0; i < n; i++) {
		at = frame(at, 0, 1 + 2 * (sn * PAIRS + i));
		if (fin)
			at = frame(at, 1, 1 + 2 * (sn * PAIRS + i));
	}
	le32_put(p, port);
	p[KCP_OFF_CMD] = KCP_PUSH;
	le16_put(p + KCP_OFF_WND, 512);
	le32_put(p + KCP_OFF_SN, sn);
	le32_put(p + KCP_OFF_LEN, (uint32_t)(at - p - KCP_HEAD));
	cr_assert_eq(rig_feed(r, SERVER, port, p, (uint16_t)(at - p)), VERDICT_OK);
}

/* What the server has to send is lost. */
static void send_all(struct rig *r)
{
	static uint8_t bytes[SHARD_OUT_MIN][2048];
	struct pkt v[SHARD_OUT_MIN] = {0};
	unsigned n;

	do {
		for (unsigned i = 0; i < SHARD_OUT_MIN; i++)
			v[i].p = bytes[i] + 256;
		n = shard_output(r->side[SERVER].shard, v, SHARD_OUT_MIN, r->now);
	} while (n);
}

/*
 * Control takes nothing meanwhile: what has ended for the session is on its way there, with its chan.  The storm finds
 * no more of them than it would with streams that stay, and another session opens its own.
 */
Test(session_churn, what_ends_counts_until_it_is_gone)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.nocomp = true;
	conf.chans = 100;
	r = rig_new(&conf);
	for (uint32_t sn = 0; sn < 10; sn++) {
		rig_at(r, r->now + 100);
		open_streams(r, 1, sn, PAIRS, true);
		send_all(r);
	}
	cr_expect_leq(shard_stats(r->side[SERVER].shard)->streams, 51, "%lu of 100 are one session's",
		      shard_stats(r->side[SERVER].shard)->streams);
	cr_expect_eq(rig_drops(&r->side[SERVER], DROP_STREAM_LIMIT), 200 - shard_stats(r->side[SERVER].shard)->streams);
	open_streams(r, 2, 0, PAIRS, false);
	cr_expect_eq(r->side[SERVER].shard->all[1]->mux.count, PAIRS, "%u of %u",
		     r->side[SERVER].shard->all[1]->mux.count, PAIRS);
	rig_end(r);
}
