/* SPDX-License-Identifier: MIT */

/* Whatever control puts into a worker's hands rings it, if it sleeps: and nobody who does not. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "ctl_int.h"
#include "lab.h"

#define SOON 60000 /* only a guard */

static struct lab lab;
static struct dial dial;
static struct net_local address;

static void setup(void)
{
	lab_enter();
	lab_init(&lab, 2, 64, 64);
	lab_port(&lab, 0, true, "kg-wan0");
	address = (struct net_local){.addr = addr_v4(0xc0000201), .plen = 120};
	lab.ports[0].addresses = &address;
	lab.ports[0].n_addresses = 1;
	lab_client(&lab, 8388, "192.0.2.9", 4000, 4000);
	dial = (struct dial){.to_ctl.kind = MBOX_DIAL, .to_worker.kind = MBOX_DIAL};
	lab_start(&lab);
	lab_sh("ip neigh add 192.0.2.7 lladdr 02:09:09:09:09:09 dev kg-wan0");
	(void)lab_until(&lab, 300, false); /* the kernel's own frames at the start have come */
}

static void teardown(void)
{
	lab_stop(&lab);
}

TestSuite(bell, .init = setup, .fini = teardown);

static bool rung(unsigned w)
{
	eventfd_t n;

	return eventfd_read(lab.borders[w]->worker_bell, &n) == 0;
}

/* The worker has looked, found nothing, and sleeps. */
static void lies_down(unsigned w)
{
	struct border *b = lab.borders[w];
	struct mbox_ent *e;
	uint32_t ev;
	void *m;

	while (rte_ring_dequeue(b->inject, &m) == 0)
		rte_pktmbuf_free(m);
	while (mbox_get(b->to_worker, &e, &ev, 1))
		;
	border_awake_worker(b);
	cr_assert(border_sleep_worker(b, atomic_load(&b->tbl)));
}

static void frame_by_the_tap(void)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = inet_addr("192.0.2.7")};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	uint64_t before = ctl_stats(lab.ctl)->injected;

	cr_assert_eq(sendto(fd, "x", 1, 0, (void *)&to, sizeof(to)), 1);
	cr_assert(lab_until(&lab, SOON, ctl_stats(lab.ctl)->injected > before));
	close(fd);
}

Test(bell, frames)
{
	lies_down(0);
	lies_down(1);
	frame_by_the_tap();
	cr_assert(rung(0), "a frame waits for worker 0");
	cr_assert_not(rung(1), "and not for worker 1");
	/* Awake, it finds the next one by itself. */
	border_awake_worker(lab.borders[0]);
	frame_by_the_tap();
	cr_assert_not(rung(0));
}

Test(bell, events)
{
	lies_down(0);
	lies_down(1);
	mbox_post(lab.borders[0]->to_ctl, &dial.to_ctl, DIAL_EV_WANT);
	cr_assert(lab_until(&lab, SOON, !mbox_empty(lab.borders[0]->to_worker)));
	cr_assert(rung(0), "an answer waits for worker 0");
	cr_assert_not(rung(1));
}

/* A new snapshot is everybody's. */
Test(bell, snapshots)
{
	const struct net_tbl *t = atomic_load(&lab.borders[0]->tbl);

	lies_down(0);
	lies_down(1);
	lab_sh("ip addr add 192.0.2.8/24 dev kg-wan0");
	cr_assert(lab_until(&lab, SOON, atomic_load(&lab.borders[0]->tbl) != t));
	cr_assert(rung(0));
	cr_assert(rung(1));
}
