/* SPDX-License-Identifier: MIT */

/* The turn itself: sleeping and waking, signals, notes as log lines. */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "ctl_int.h"
#include "drop.h"
#include "lab.h"
#include "net.h"

static struct lab lab;

static void setup(void)
{
	lab_enter();
	lab_init(&lab, 2, 16, 16);
	lab_client(&lab, 8388, "198.51.100.9", 4000, 4000);
	lab_server(&lab, 4000, 4000, "127.0.0.1", 1);
}

static void teardown(void)
{
	lab_stop(&lab);
}

/* As the program does: before EAL makes its threads. */
static void block_and_setup(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	setup();
	lab.conf.signals = set;
}

Test(ctl, signals, .init = block_and_setup, .fini = teardown)
{
	uint64_t got = 0;

	lab_start(&lab);
	cr_assert_eq(ctl_turn(lab.ctl, 0), 0);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGTERM);
	for (unsigned i = 0; i < 100; i++)
		got |= ctl_turn(lab.ctl, 10);
	cr_assert_eq(got, UINT64_C(1) << SIGUSR1 | UINT64_C(1) << SIGTERM);
	cr_assert_eq(ctl_turn(lab.ctl, 0), 0);
}

static void note(unsigned worker, uint8_t type, unsigned tunnel, uint32_t arg, uint32_t arg2)
{
	struct note n = {.type = type, .tunnel = (uint16_t)tunnel, .arg = arg, .arg2 = arg2};

	n.key.peer = addr_v4(0xcb007107);
	n.key.peer_port = 4711;
	n.key.local = addr_v4(0xc0000201);
	n.key.local_port = 4000;
	border_note(lab.borders[worker], &n);
}

Test(ctl, notes, .init = setup, .fini = teardown)
{
	lab_start(&lab);
	note(0, NOTE_SESS_OPEN, 1, 99, 2);
	note(1, NOTE_SESS_CLOSE, 1, DROP_TIMEOUT, 0);
	note(1, NOTE_SESS_CLOSE, 1, 0, 0);
	note(1, NOTE_SESS_OPEN, 0, 99, 0);
	note(1, NOTE_SESS_OPEN, 77, 99, 0);
	for (unsigned i = 0; i < 20; i++)
		note(0, NOTE_BAD_KEY, 1, 1000 + i, 0);
	lab_turn(&lab, 0);
	cr_assert(lab_logged(&lab, " remote address: 203.0.113.7:4711\n"));
	cr_assert(lab_logged(&lab, " smux version: 2 on connection: 192.0.2.1:4000 -> 203.0.113.7:4711\n"));
	cr_assert(lab_logged(&lab, " connection: 192.0.2.1:4000 -> 203.0.113.7:4711\n"));
	cr_assert(lab_logged(&lab, "tunnel hk: 203.0.113.7:4711: session closed: nothing heard from the peer\n"));
	cr_assert(lab_logged(&lab, "tunnel hk: session with 203.0.113.7:4711 ended\n"));
	cr_assert(lab_logged(&lab, "tunnel hk: 1000 datagrams from 203.0.113.7 failed the checksum: wrong key or "
				   "cipher on one side?\n"));
	cr_assert_not(lab_logged(&lab, "tunnel hk: 1019 datagrams"));
}

/* Sides that differ in FEC: both shapes, and the options to change; once a minute a tunnel, and how many were left out.
 */
Test(ctl, fec_notes, .init = setup, .fini = teardown)
{
	const uint32_t ours = NOTE_FEC_SHAPE(10, 3), theirs = NOTE_FEC_SHAPE(70, 30);

	lab_start(&lab);
	note(0, NOTE_FEC, 1, 0, ours);
	for (unsigned i = 0; i < 30; i++)
		note(i & 1, NOTE_FEC, 1, theirs, ours);
	note(0, NOTE_FEC, 0, theirs, ours);
	lab_turn(&lab, 0);
	cr_assert(lab_logged(&lab,
			     "tunnel hk: client 203.0.113.7:4711 sends no FEC, this side is set to 10/3: the session "
			     "goes without; set --datashard 10 --parityshard 3 there, or both to 0 here\n"));
	cr_assert_not(lab_logged(&lab, "hk: client 203.0.113.7:4711 sends FEC 70/30"));
	cr_assert(lab_logged(&lab,
			     "server 203.0.113.7:4711 sends FEC 70/30, this side is set to 10/3 and sends no parity; "
			     "set --datashard 10 --parityshard 3 there, or --datashard 70 --parityshard 30 here\n"));
	lab.ctl->tunnels[1].fec_limit.since_s -= 59;
	note(0, NOTE_FEC, 1, theirs, 0);
	lab_turn(&lab, 0);
	cr_assert_not(lab_logged(&lab, "tunnel hk: client 203.0.113.7:4711 sends FEC 70/30"));
	lab.ctl->tunnels[1].fec_limit.since_s--;
	note(0, NOTE_FEC, 1, theirs, 0);
	lab_turn(&lab, 0);
	cr_assert(lab_logged(&lab, "tunnel hk: 31 lines like the next one left out\n"));
	cr_assert(lab_logged(&lab,
			     "tunnel hk: client 203.0.113.7:4711 sends FEC 70/30, this side is set to none and sends "
			     "none; set --datashard 70 --parityshard 30 here, or both to 0 there\n"));
}

static unsigned shapes_asked;

static int one_shape(void *ctx, unsigned tunnel, unsigned ds, unsigned ps)
{
	(void)ctx;
	cr_assert_eq(tunnel, 1);
	cr_assert_eq(ps, 5);
	shapes_asked++;
	return ds == 20 ? 0 : -ENOSPC;
}

/* A client of another shape: its codec is asked for however many lines there were, and the log says what it gets. */
Test(ctl, shape_notes, .init = setup, .fini = teardown)
{
	lab.conf.fec_shape = one_shape;
	lab_start(&lab);
	note(0, NOTE_SHAPE, 1, NOTE_FEC_SHAPE(20, 5), NOTE_FEC_SHAPE(10, 3));
	note(0, NOTE_SHAPE, 1, NOTE_FEC_SHAPE(30, 5), NOTE_FEC_SHAPE(10, 3));
	lab_turn(&lab, 0);
	cr_assert_eq(shapes_asked, 2);
	cr_assert(lab_logged(&lab,
			     "tunnel hk: client 203.0.113.7:4711 sends FEC 20/5, this side is set to 10/3: what it "
			     "is sent is 20/5, too\n"));
	lab.ctl->tunnels[1].fec_limit.since_s -= 60;
	note(0, NOTE_SHAPE, 1, NOTE_FEC_SHAPE(30, 5), NOTE_FEC_SHAPE(10, 3));
	lab_turn(&lab, 0);
	cr_assert(lab_logged(&lab,
			     "tunnel hk: client 203.0.113.7:4711 sends FEC 30/5, this side is set to 10/3 and sends "
			     "no parity; set --datashard 10 --parityshard 3 there, or --datashard 30 "
			     "--parityshard 5 here\n"));
}

/* A peer whose window is too narrow: in words, with the flag and a number. */
Test(ctl, window_notes, .init = setup, .fini = teardown)
{
	struct note n = {
		.type = NOTE_WINDOW, .tunnel = 1, .arg = 512 << 16 | 2300, .arg2 = 54321, .rtt = 100, .id = 12};

	n.key.peer = addr_v4(0xcb007107);
	n.key.peer_port = 4711;
	lab_start(&lab);
	border_note(lab.borders[0], &n);
	n.arg2 = 940;
	n.id++;
	for (unsigned i = 0; i < 25; i++)
		border_note(lab.borders[1], &n);
	lab_turn(&lab, 0);
	cr_assert(lab_logged(&lab,
			     "tunnel hk: session 12 of 203.0.113.7:4711: the peer's window of 512 segments is what "
			     "limits it (54 Mbit/s at 100 ms); give the peer --rcvwnd 2300 or more\n"));
	cr_assert(lab_logged(&lab,
			     "session 13 of 203.0.113.7:4711: the peer's window of 512 segments is what limits it "
			     "(0.9 Mbit/s at 100 ms); give"));
	lab.ctl->tunnels[1].wnd_limit.since_s -= 60;
	border_note(lab.borders[0], &n);
	lab_turn(&lab, 0);
	cr_assert(lab_logged(&lab, "tunnel hk: 6 lines like the next one left out\n"));
}

/* A worker, on a thread: rings only when it is asked to. */
static void *ringer(void *arg)
{
	struct border *b = arg;

	usleep(50000);
	note(1, NOTE_SESS_CLOSE, 1, DROP_TIMEOUT, 0);
	border_ring_ctl(b);
	return NULL;
}

/* A turn that may sleep for ten minutes is woken by the bell. */
Test(ctl, woken_by_bell, .init = setup, .fini = teardown, .timeout = 120)
{
	pthread_t t;

	lab_start(&lab);
	cr_assert_eq(pthread_create(&t, NULL, ringer, lab.borders[1]), 0);
	while (!lab_logged(&lab, "nothing heard from the peer"))
		ctl_turn(lab.ctl, 600000);
	pthread_join(t, NULL);
}

/* The other end of a ball that goes to and fro between two sleepers: a bell that is missed stops it for ten minutes. */
static void *echoer(void *arg)
{
	struct border *b = arg;

	for (unsigned got = 0; got < 200;) {
		struct mbox_ent *e;
		uint32_t ev;

		if (!mbox_get(b->to_worker, &e, &ev, 1)) {
			struct pollfd bell = {.fd = b->worker_bell, .events = POLLIN};

			if (border_sleep_worker(b, atomic_load(&b->tbl)))
				poll(&bell, 1, 600000);
			border_awake_worker(b);
			continue;
		}
		got++;
		mbox_post(b->to_ctl, e - 1, DIAL_EV_DROP | DIAL_EV_WANT);
		border_ring_ctl(b);
	}
	return NULL;
}

Test(ctl, two_sleepers, .init = setup, .fini = teardown, .timeout = 120)
{
	static struct dial d = {.to_ctl.kind = MBOX_DIAL, .to_worker.kind = MBOX_DIAL};
	pthread_t t;

	lab_start(&lab); /* no port: every dial fails */
	mbox_post(lab.borders[0]->to_ctl, &d.to_ctl, DIAL_EV_WANT);
	cr_assert_eq(pthread_create(&t, NULL, echoer, lab.borders[0]), 0);
	while (ctl_stats(lab.ctl)->sessions_failed < 200)
		ctl_turn(lab.ctl, 600000);
	pthread_join(t, NULL);
}

Test(ctl, limits, .init = setup, .fini = teardown)
{
	struct ctl_conf bad = lab.conf;

	bad.n_workers = 0;
	cr_assert_eq(ctl_create(&lab.ctl, &bad, lab.why, sizeof(lab.why)), -EINVAL);
	bad = lab.conf;
	bad.n_ports = NET_DEV_MAX + 1;
	cr_assert_eq(ctl_create(&lab.ctl, &bad, lab.why, sizeof(lab.why)), -EINVAL);
	lab.ctl = NULL;
	ctl_destroy(NULL);
}
