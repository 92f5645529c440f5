/* SPDX-License-Identifier: MIT */

/* Dials and descriptors: when they end, how many there may be, and who is in whose way. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "ctl_int.h"
#include "fake.h"
#include "quota.h"
#include "tcp.h"

#define BLACK_HOLE "192.0.2.66"

/* An address that swallows whatever is sent to it. */
static void enter(void)
{
	setup();
	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 up");
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip neigh add " BLACK_HOLE " lladdr 02:00:00:00:00:66 dev ve0");
}

static unsigned sockets(void)
{
	char text[16];

	lab_read(text, sizeof(text), "ls -l /proc/%d/fd | grep -c socket:", (int)getpid());
	return (unsigned)atoi(text);
}

static void turns(unsigned n)
{
	while (n--) {
		lab_turn(&lab, 1);
		work();
	}
}

/* ---- a dial and its stream ---- */

/* A peer opens streams to a target that never answers, and closes them again. */
Test(limits, dial_ends_with_its_stream, .init = enter)
{
	unsigned before, i;

	begin(1, 64);
	lab_server(&lab, 4000, 4000, BLACK_HOLE, 80);
	lab_start(&lab);
	before = sockets();
	for (i = 0; i < 200; i++)
		opens(0);
	turns(10);
	printf("200 streams: %u descriptors more\n", sockets() - before);
	cr_assert_eq(sockets() - before, 200);
	for (i = 0; i < 200; i++)
		closes(&streams[i], i & 1);
	turns(50);
	printf("closed again: %u descriptors more\n", sockets() - before);
	cr_assert_eq(sockets(), before);
	for (i = 0; i < 200; i++)
		cr_assert(streams[i].gone);
	finish();
}

/* One that has a request to deliver goes on, for as long as a dial may take and no longer. */
Test(limits, dial_times_out, .init = enter)
{
	struct stream *s[4];
	uint64_t at = lab_ms();

	begin(1, 64);
	lab_server(&lab, 4000, 4000, BLACK_HOLE, 80);
	lab.conf.dial_ms = 700;
	lab.conf.dials = 2;
	lab_start(&lab);
	for (unsigned i = 0; i < 4; i++) {
		s[i] = opens(0);
		says(s[i], "GET /", 5);
	}
	closes(s[0], false);
	closes(s[2], false);
	turns(20);
	cr_assert(!s[0]->gone && !s[2]->gone);
	cr_assert_eq(ctl_stats(lab.ctl)->dials, 2);
	cr_assert_eq(ctl_stats(lab.ctl)->dials_waiting, 2);
	until(s[0]->gone && s[2]->gone && (s[1]->seen & s[3]->seen & CHAN_EV_RESET));
	cr_assert_geq(lab_ms() - at, 600);
	cr_assert_eq(ctl_stats(lab.ctl)->dial_timeouts, 4);
	cr_assert_eq(ctl_stats(lab.ctl)->dials, 0);
	cr_assert_eq(ctl_stats(lab.ctl)->dials_waiting, 0);
	cr_assert(lab_logged(&lab, "tunnel hk: dial " BLACK_HOLE ":80: Connection timed out"));
	cr_assert(lab_logged(&lab, "tunnel hk: dial " BLACK_HOLE ":80: no turn in time, for too many are under way"));
	finish();
}

/* Of several addresses each has its part of the time. */
Test(limits, the_next_address_has_its_turn, .init = enter)
{
	struct stream *s;
	struct name *host;
	uint16_t port;
	int ls;

	begin(1, 64);
	ls = lab_listen(&port);
	lab_server(&lab, 4000, 4000, BLACK_HOLE, port);
	lab.conf.dial_ms = 4500;
	lab_start(&lab);
	host = &lab.ctl->tunnels[0].host;
	host->addrs[host->n++] = addr_v4(0x7f000001);
	s = opens(0);
	until(s->seen & CHAN_EV_UP);
	cr_assert_not(s->seen & CHAN_EV_RESET);
	close(ls);
	finish();
}

/* ---- how many ---- */

/* A tunnel whose target never answers has its dials; another one's go on, and those that wait come in their order. */
Test(limits, dials_of_another_tunnel, .init = enter)
{
	struct stream *s;
	uint16_t port;
	int ls;

	begin(1, 64);
	ls = lab_listen(&port);
	lab_server(&lab, 4000, 4000, BLACK_HOLE, 80);
	lab_server(&lab, 4001, 4001, "127.0.0.1", port);
	lab.conf.dials = 8;
	lab_start(&lab);
	for (unsigned i = 0; i < 30; i++)
		opens(0);
	turns(10);
	cr_assert_eq(ctl_parts(lab.ctl, 0).dials, 6, "its own 2 and the 4 that are nobody's");
	cr_assert_eq(ctl_parts(lab.ctl, 0).dials_waiting, 24);
	cr_assert_eq(ctl_stats(lab.ctl)->dials_waiting, 24);
	for (unsigned i = 0; i < 20; i++) {
		s = opens(1);
		until(s->seen & CHAN_EV_UP);
	}
	cr_assert_eq(ctl_parts(lab.ctl, 1).dials, 0);
	/* In order: as dials end, those that came first have their turn. */
	for (unsigned i = 0; i < 30; i++) {
		const struct tcp *t = streams[i].c->ctl;

		cr_assert_eq(t->state, TCP_CONNECT, "stream %u", i);
		closes(&streams[i], false);
		turns(3);
	}
	cr_assert_eq(ctl_stats(lab.ctl)->dials, 0);
	cr_assert_eq(ctl_stats(lab.ctl)->dials_waiting, 0);
	close(ls);
	finish();
}

/* What waits is bounded too: the rest is refused at once, and told so. */
Test(limits, too_many_wait, .init = enter)
{
	unsigned refused = 0;

	begin(1, 64);
	lab_server(&lab, 4000, 4000, BLACK_HOLE, 80);
	lab.conf.dials = 10;
	lab_start(&lab);
	for (unsigned i = 0; i < 100; i++)
		opens(0);
	turns(10);
	cr_assert_eq(ctl_stats(lab.ctl)->dials, 10);
	cr_assert_eq(ctl_stats(lab.ctl)->dials_waiting, 40);
	cr_assert_eq(ctl_stats(lab.ctl)->dial_refused, 50);
	for (unsigned i = 0; i < 100; i++)
		refused += (streams[i].seen & CHAN_EV_RESET) != 0;
	cr_assert_eq(refused, 50);
	cr_assert(lab_logged(&lab, "tunnel hk: dial " BLACK_HOLE ":80: too many wait for their turn"));
	finish();
}

/* A session with many dials neither keeps one with few out, nor waiting behind all its own. */
Test(limits, who_has_few_dials_first, .init = enter)
{
	struct stream *few;

	begin(1, 64);
	lab_server(&lab, 4000, 4000, BLACK_HOLE, 80);
	lab.conf.dials = 10;
	lab_start(&lab);
	for (uint16_t i = 0; i < 60; i++)
		opens(0)->c->place = i;
	turns(10);
	cr_assert_eq(ctl_stats(lab.ctl)->dials_waiting, 40);
	cr_assert_eq(ctl_stats(lab.ctl)->dial_refused, 10);
	few = opens(0);
	turns(10);
	cr_expect_not(few->seen & CHAN_EV_RESET, "refused, for another session's wait");
	cr_expect_eq(ctl_stats(lab.ctl)->dials_waiting, 40, "one of the many gave way");
	cr_expect_eq(ctl_stats(lab.ctl)->dial_refused, 11);
	closes(&streams[0], false);
	turns(10);
	cr_expect_eq(((const struct tcp *)few->c->ctl)->state, TCP_CONNECT, "behind all that came before");
	finish();
}

/* ---- descriptors ---- */

/* Connections of one tunnel without end; another's listener accepts all the same. */
Test(limits, descriptors_of_another_tunnel, .init = enter)
{
	int fd[80], other;
	unsigned n;

	begin(1, 64);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_client(&lab, PORT + 1, "198.51.100.9", 4001, 4001);
	lab.conf.descriptors = 64;
	echo = true;
	lab_start(&lab);
	for (unsigned i = 0; i < 80; i++)
		fd[i] = lab_connect(PORT);
	until(ctl_stats(lab.ctl)->accept_paused > 2);
	n = n_streams;
	printf("80 connections, 64 descriptors: %u accepted\n", n);
	cr_assert(n >= 30 && n < 50);
	cr_assert_eq(ctl_parts(lab.ctl, 0).descriptors, n);
	other = lab_connect(PORT + 1);
	until(n_streams == n + 1);
	exchange(other, 10000);
	cr_assert(lab_logged(&lab, "accepting no connections for now: it has its share of the file descriptors"));
	/* One ends: one more is accepted. */
	close(fd[0]);
	until(streams[0].seen & CHAN_EV_EOF);
	closes(&streams[0], false);
	until(n_streams == n + 2);
	for (unsigned i = 1; i < 80; i++)
		close(fd[i]);
	close(other);
	finish();
}

/* A dial that finds no descriptor for its tunnel waits for one. */
Test(limits, dials_wait_for_descriptors, .init = enter)
{
	uint16_t port;
	int ls;

	begin(1, 64);
	ls = lab_listen(&port);
	lab_server(&lab, 4000, 4000, "127.0.0.1", port);
	lab.conf.descriptors = 40;
	lab_start(&lab);
	for (unsigned i = 0; i < 50; i++)
		opens(0);
	until(ctl_stats(lab.ctl)->dialled == ctl_stats(lab.ctl)->descriptors_limit);
	turns(10);
	cr_assert_eq(ctl_stats(lab.ctl)->dials, 0);
	cr_assert_gt(ctl_stats(lab.ctl)->dials_waiting, 5);
	for (unsigned i = 0; i < 50; i++) {
		until(streams[i].seen & CHAN_EV_UP);
		closes(&streams[i], true);
	}
	cr_assert_eq(ctl_stats(lab.ctl)->dialled, 50);
	close(ls);
	finish();
}

/* ---- shares ---- */

Test(limits, quota)
{
	struct part p[3] = {{0}};
	struct quota q;
	unsigned n = 0;

	for (unsigned i = 0; i < 3; i++)
		p[i].share = quota_init(&q, 60, 3);
	cr_assert_eq(p[0].share, 10);
	for (; quota_may(&q, &p[0]); n++)
		quota_add(&q, &p[0]);
	cr_assert_eq(n, 40, "its share and all that is nobody's");
	for (n = 0; quota_may(&q, &p[1]); n++)
		quota_add(&q, &p[1]);
	cr_assert_eq(n, 10);
	quota_give(&q, &p[1]);
	quota_give(&q, &p[0]);
	cr_assert(quota_may(&q, &p[1]) && quota_may(&q, &p[0]));
	quota_add(&q, &p[1]);
	quota_add(&q, &p[1]);
	cr_assert(!quota_may(&q, &p[1]) && !quota_may(&q, &p[0]) && quota_may(&q, &p[2]));
	while (p[0].used)
		quota_give(&q, &p[0]);
	while (p[1].used)
		quota_give(&q, &p[1]);
	cr_assert_eq(q.over, 0);
	cr_assert_eq(quota_init(&q, 3, 8), 1, "everybody has one at least");
	cr_assert_eq(q.spare, 0);
	cr_assert_eq(quota_init(&q, 7, 1), 7);
	cr_assert_eq(quota_init(&q, 7, 0), 7);
}
