/* SPDX-License-Identifier: MIT */

/* How long the port of a session stays ours that has ended, or was replaced: to the second, and no longer. */

#include <string.h>

#include <criterion/criterion.h>

#include "clock.h"
#include "ctl_int.h"
#include "lab.h"
#include "net.h"

#define SOON	 3000
#define SECOND	 1000ull
#define HOLD	 (60 * SECOND)	/* a stock peer goes on sending for so long */
#define SCAVENGE (600 * SECOND) /* a replaced session may go on for so long */

static struct lab lab;
static struct dial slot;

static void setup(void)
{
	lab_enter();
	lab_init(&lab, 1, 16, 16);
	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 up");
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip route add default via 192.0.2.254");
	lab_port(&lab, 0, false, "ve0");
	lab_client(&lab, 8388, "198.51.100.9", 4000, 4009);
	lab.tunnels[0].scavenge_ms = SCAVENGE;
	memset(&slot, 0, sizeof(slot));
	slot.to_ctl.kind = slot.to_worker.kind = MBOX_DIAL;
	lab_start(&lab);
}

static void teardown(void)
{
	lab_stop(&lab);
}

TestSuite(hold, .init = setup, .fini = teardown);

/* Asks for a session with these further events; returns its port. */
static uint16_t dial(uint32_t events)
{
	struct mbox_ent *e;
	uint32_t ev = 0;

	mbox_post(lab.borders[0]->to_ctl, &slot.to_ctl, events | DIAL_EV_WANT);
	cr_assert(lab_until(&lab, SOON, mbox_get(lab.borders[0]->to_worker, &e, &ev, 1) != 0));
	cr_assert_eq(ev, DIAL_EV_READY);
	return slot.key.local_port;
}

static bool ours(uint16_t port)
{
	return lab.udp->of[port] != 0;
}

static void ended(uint16_t port)
{
	struct note n = {.type = NOTE_SESS_CLOSE, .key.local_port = port};

	border_note(lab.borders[0], &n);
	lab_turn(&lab, 0);
}

/* DROP: the session has ended, and its port stays for as long as a stock peer may not know that. */
Test(hold, ended_session)
{
	uint16_t first = dial(0), second = dial(DIAL_EV_DROP);

	clock_skip(&lab, HOLD - SECOND);
	cr_assert(ours(first), "after 59 s");
	clock_skip(&lab, 2 * SECOND);
	cr_assert_not(ours(first), "after 61 s");
	cr_assert(ours(second), "a session that runs keeps its port");
	clock_skip(&lab, 10 * SCAVENGE);
	cr_assert(ours(second));
}

/* KEEP: the session goes on for as long as scavengettl lets it, or longer; and then its peer may still send for a
 * minute.  Where its end may have been told and was lost, it counts as over. */
Test(hold, replaced_session_whose_end_is_not_heard)
{
	uint16_t first = dial(0), second = dial(DIAL_EV_KEEP);

	clock_skip(&lab, SCAVENGE - SECOND);
	cr_assert(ours(first), "the session may still run");
	clock_skip(&lab, HOLD);
	cr_assert(ours(first), "a minute is not over since it may have ended");
	clock_skip(&lab, 2 * SECOND);
	cr_assert(ours(first), "nobody has said so, and every word was heard");
	lab.borders[0]->notes_lost++;
	clock_skip(&lab, HOLD);
	cr_assert_not(ours(first));
	cr_assert(ours(second));
}

/* Once it is heard that it has ended, a minute is enough, whether that is sooner or later than its time. */
Test(hold, replaced_session_that_ends)
{
	uint16_t early = dial(0), late = dial(DIAL_EV_KEEP), last = dial(DIAL_EV_KEEP);

	clock_skip(&lab, 10 * SECOND);
	ended(early);
	clock_skip(&lab, HOLD - SECOND);
	cr_assert(ours(early) && ours(late));
	clock_skip(&lab, 2 * SECOND);
	cr_assert_not(ours(early));
	cr_assert(ours(late));

	clock_skip(&lab, SCAVENGE - 2 * SECOND - 10 * SECOND);
	cr_assert(ours(late), "a second before its time is over");
	ended(late);
	clock_skip(&lab, HOLD - SECOND);
	cr_assert(ours(late), "it ended late: the minute counts from there");
	clock_skip(&lab, 2 * SECOND);
	cr_assert_not(ours(late));
	cr_assert(ours(last));
}

/* Nobody else's port goes with one that does. */
Test(hold, only_the_port_named)
{
	uint16_t a = dial(0), b = dial(DIAL_EV_KEEP), c = dial(DIAL_EV_KEEP);

	ended(b);
	clock_skip(&lab, HOLD + SECOND);
	cr_assert(ours(a));
	cr_assert_not(ours(b));
	cr_assert(ours(c));
}
