/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "eal.h"
#include "rig.h"

/* A stream that says a little now and then, in the session of others that send as much as there is room for. */

TestSuite(session_beside, .init = eal_start);

#define BULKS 20

static bool has_it(void *arg)
{
	const struct conn *thin = arg;

	return thin->peer && thin->peer->got == thin->to_send;
}

/*
 * A window of 32 segments goes in 40 ms and the ticks of both ends.  What the thin stream says waits for the window
 * that is on its way, not for the four windows that a frame of 8 KB of every other stream is.
 */
static void beside(uint8_t smux)
{
	struct rig_conf conf = rig_defaults();
	struct conn *thin, *bulk[BULKS];
	uint64_t most = 0, sent = 0;
	struct rig *r;

	conf.smux = smux;
	conf.wnd = 32;
	conf.nocomp = true;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	thin = rig_connect(r, 0, 200, 0);
	for (unsigned i = 0; i < BULKS; i++)
		bulk[i] = rig_connect(r, 0, 2 << 20, 0);
	cr_assert(rig_run(r, r->now + 2000, has_it, thin));
	for (unsigned i = 0; i < 100; i++) {
		uint64_t from;

		rig_run(r, r->now + 37, NULL, NULL);
		from = r->now;
		conn_more(thin, 200);
		cr_assert(rig_run(r, r->now + 5000, has_it, thin));
		most = r->now - from > most ? r->now - from : most;
	}
	for (unsigned i = 0; i < BULKS; i++)
		sent += bulk[i]->peer->got;
	printf("smux %u: at most %lu ms, beside %lu bytes\n", smux, most, sent);
	cr_assert_gt(sent, 4 << 20, "bulk was there all the time");
	cr_assert_leq(most, 150, "%lu ms", most);
	rig_end(r);
}

Test(session_beside, thin_is_not_delayed)
{
	beside(1);
	beside(2);
}
