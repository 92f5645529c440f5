/* SPDX-License-Identifier: MIT */

/* Several control instances: who gets which connection, what they take from in common, and how they end. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "ctl_int.h"
#include "fake.h"
#include "tcp.h"

static struct ctl_stats all;

static const struct ctl_stats *sum(void)
{
	ctl_stats_all(lab.ctl, &all);
	return &all;
}

static unsigned streams_of(unsigned k)
{
	return (unsigned)ctl_stats(ctl_instance(lab.ctl, k))->streams;
}

static void begin_with(unsigned controls, unsigned workers)
{
	begin(workers, 512);
	lab.conf.n_controls = controls;
}

TestSuite(team, .init = setup);

/* Each new connection is whose that has the fewest; every byte comes back, by whichever instance. */
Test(team, accepted_are_shared_out)
{
	int fd[9];

	begin_with(3, 2);
	lab_client(&lab, PORT, "127.0.0.1", 4000, 4000);
	lab_start(&lab);
	echo = true;
	for (unsigned i = 0; i < 9; i++) {
		fd[i] = lab_connect(PORT);
		until(n_streams == i + 1);
	}
	for (unsigned k = 0; k < 3; k++)
		cr_assert_eq(streams_of(k), 3, "instance %u has %u", k, streams_of(k));
	cr_assert_null(ctl_instance(lab.ctl, 3));
	for (unsigned i = 0; i < 9; i++)
		exchange(fd[i], 300000 + i);
	cr_assert_eq(sum()->accepted, 9);
	cr_assert_eq(sum()->streams, 9);
	cr_assert_eq(sum()->tcp_in_bytes, 9 * 300000 + 36);
	cr_assert_eq(ctl_parts(lab.ctl, 0).descriptors, 9);
	/* One that loses its connections gets the next ones. */
	for (unsigned i = 0; i < 9; i++)
		if (streams[i].c->ctl_id == 1)
			closes(&streams[i], true);
	until(streams_of(1) == 0);
	cr_assert_eq(ctl_parts(lab.ctl, 0).descriptors, 6);
	close(lab_connect(PORT));
	until(n_streams == 10);
	cr_assert_eq(streams[9].c->ctl_id, 1);
	for (unsigned i = 0; i < 9; i++)
		close(fd[i]);
	finish();
}

/* A server's streams: dials and bytes at an instance of the worker's choice. */
Test(team, dials_at_each)
{
	static uint8_t data[5000];
	struct stream *s[2];
	char buf[8192];
	uint16_t port;
	int ls, fd;

	begin_with(2, 1);
	ls = lab_listen(&port);
	lab_server(&lab, 4000, 4000, "127.0.0.1", port);
	lab_start(&lab);
	memset(data, 'x', sizeof(data));
	for (unsigned k = 0; k < 2; k++) {
		ssize_t got = 0;

		s[k] = opens_at(0, k);
		until(s[k]->seen & CHAN_EV_UP);
		cr_assert_eq(streams_of(k), 1);
		fd = accept(ls, NULL, NULL);
		cr_assert_geq(fd, 0);
		cr_assert_eq(says(s[k], data, sizeof(data)), sizeof(data));
		until((got += now(fd, buf, sizeof(buf)) > 0 ? 5000 : 0) >= 5000);
		shutdown(fd, SHUT_WR);
		until(s[k]->seen & CHAN_EV_EOF);
		closes(s[k], false);
		until(s[k]->gone);
		cr_assert_eq(recv(fd, buf, 1, MSG_DONTWAIT), 0, "an end, not a reset");
		close(fd);
	}
	cr_assert_eq(sum()->dialled, 2);
	cr_assert_eq(ctl_parts(lab.ctl, 0).dials, 0);
	close(ls);
	finish();
}

/* Dials that wait at one instance begin when another has given some back. */
Test(team, dials_are_limited_together)
{
	struct stream *s[4];
	eventfd_t n;
	int bell;

	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 up");
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip neigh add 192.0.2.66 lladdr 02:00:00:00:00:66 dev ve0");
	begin_with(2, 1);
	lab_server(&lab, 4000, 4000, "192.0.2.66", 80);
	lab.conf.dials = 2;
	lab_start(&lab);
	bell = lab.ctl->team->one[1].bell;
	for (unsigned i = 0; i < 4; i++) {
		s[i] = opens_at(0, i / 2);
		for (unsigned t = 0; t < 5; t++)
			lab_turn(&lab, 1);
	}
	cr_assert_eq(ctl_parts(lab.ctl, 0).dials, 2);
	cr_assert_eq(ctl_parts(lab.ctl, 0).dials_waiting, 2);
	cr_assert_eq(ctl_stats(lab.more[0])->dials_waiting, 2, "the first two are the first one's");
	/* The second sleeps: what the first gives back must wake it. */
	while (ctl_turn(lab.more[0], 0), !mbox_empty(lab.more_borders[0][0]->to_ctl))
		;
	(void)!eventfd_read(bell, &n);
	closes(s[0], true);
	closes(s[1], true);
	while (ctl_parts(lab.ctl, 0).dials)
		ctl_turn(lab.ctl, 10);
	cr_assert_eq(eventfd_read(bell, &n), 0, "nobody has rung");
	ctl_turn(lab.more[0], 0);
	cr_assert_eq(ctl_stats(lab.more[0])->dials_waiting, 0);
	cr_assert_eq(ctl_stats(lab.more[0])->dials, 2);
	cr_assert_eq(ctl_parts(lab.ctl, 0).dials, 2);
	finish();
}

/* A tunnel's descriptors are counted over all instances: at its share the listener pauses, and goes on. */
Test(team, descriptors_are_limited_together)
{
	unsigned most;
	int fd[64];

	begin_with(2, 1);
	lab_client(&lab, PORT, "127.0.0.1", 4000, 4000);
	lab.conf.descriptors = 24;
	lab_start(&lab);
	most = (unsigned)ctl_stats(lab.ctl)->descriptors_limit;
	cr_assert_lt(most, 60);
	for (unsigned i = 0; i < most + 4; i++)
		fd[i] = lab_connect(PORT);
	until(n_streams == most && ctl_stats(lab.ctl)->accept_paused);
	cr_assert_eq(sum()->descriptors, most);
	cr_assert_leq(streams_of(0), most / 2 + 1);
	for (unsigned i = 0; i < 4; i++)
		closes(&streams[i], true);
	until(n_streams == most + 4);
	cr_assert_eq(sum()->descriptors, most);
	for (unsigned i = 0; i < most + 4; i++)
		close(fd[i]);
	finish();
}

/* SIGTERM: every instance resets what is its own behind what was read, and what is on its way to it. */
Test(team, drains_all)
{
	int fd[6];
	char c;

	begin_with(2, 1);
	lab_client(&lab, PORT, "127.0.0.1", 4000, 4000);
	lab_start(&lab);
	for (unsigned i = 0; i < 4; i++)
		fd[i] = lab_connect(PORT);
	until(n_streams == 4);
	fd[4] = lab_connect(PORT);
	fd[5] = lab_connect(PORT);
	ctl_turn(lab.ctl, 100); /* accepted, and one of them is on its way */
	cr_assert_eq(atomic_load(&lab.ctl->team->one[1].streams), 3);
	cr_assert_eq(streams_of(1), 2);
	cr_assert_not(ctl_idle(lab.ctl));
	ctl_drain(lab.ctl);
	cr_assert_not(ctl_idle(lab.ctl), "the other one has not been asked yet");
	until(ctl_idle(lab.ctl));
	for (unsigned i = 0; i < 6; i++) {
		cr_assert_eq(recv(fd[i], &c, 1, 0), -1, "a clean end of connection %u", i);
		cr_assert_eq(errno, ECONNRESET);
		close(fd[i]);
	}
	for (unsigned i = 0; i < n_streams; i++)
		cr_assert(streams[i].gone);
	cr_assert_eq(sum()->streams, 0);
	cr_assert_eq(ctl_parts(lab.ctl, 0).descriptors, 0);
	finish();
}

/* Destroyed with connections on their way to an instance that never had a turn. */
Test(team, ends_with_connections_on_their_way)
{
	char c;
	int fd;

	begin_with(2, 1);
	lab_client(&lab, PORT, "127.0.0.1", 4000, 4000);
	lab_start(&lab);
	fd = lab_connect(PORT);
	until(n_streams == 1);
	close(lab_connect(PORT));
	ctl_turn(lab.ctl, 100);
	cr_assert_eq(atomic_load(&lab.ctl->team->one[1].streams), 1);
	cr_assert_eq(streams_of(1), 0);
	closes(&streams[0], true);
	while (!streams[0].gone) {
		ctl_turn(lab.ctl, 1);
		work();
	}
	cr_assert_not(ctl_idle(lab.ctl));
	lab_stop(&lab);
	cr_assert_eq(recv(fd, &c, 1, 0), -1);
	close(fd);
}

/* An instance in a thread of its own, asleep in a turn without end, is woken by whoever hands it something, by the
 * worker, and by ctl_stop. */
static void *thread(void *arg)
{
	while (!ctl_stopped(arg))
		ctl_turn(arg, -1);
	return NULL;
}

Test(team, in_threads)
{
	struct ctl *second;
	pthread_t t;
	int fd[20];

	begin_with(2, 1);
	lab_client(&lab, PORT, "127.0.0.1", 4000, 4000);
	lab_start(&lab);
	second = lab.more[0];
	cr_assert_eq(pthread_create(&t, NULL, thread, second), 0);
	lab.conf.n_controls = 1; /* lab_turn's part is the first one's */
	echo = true;
	for (unsigned i = 0; i < 20; i++)
		fd[i] = lab_connect(PORT);
	until(n_streams == 20);
	for (unsigned round = 0; round < 20; round++) {
		char out[40], in[40];
		size_t got = 0;

		memset(out, 'a' + (int)round, sizeof(out));
		cr_assert_eq(send(fd[round], out, sizeof(out), 0), (ssize_t)sizeof(out));
		for (uint64_t end = lab_ms() + SOON; got < sizeof(in) && lab_ms() < end;) {
			ssize_t r = now(fd[round], in + got, sizeof(in) - got);

			got += r > 0 ? (size_t)r : 0;
			lab_turn(&lab, 1);
			work();
			border_ring_ctl(lab.borders[0]);
		}
		cr_assert_eq(got, sizeof(in), "round %u", round);
		cr_assert_eq(memcmp(in, out, sizeof(in)), 0);
	}
	for (unsigned i = 0; i < 20; i++)
		closes(&streams[i], false);
	border_ring_ctl(lab.borders[0]);
	for (unsigned i = 0; i < 20; i++) {
		until((border_ring_ctl(lab.borders[0]), streams[i].gone));
		close(fd[i]);
	}
	ctl_stop(second);
	cr_assert_eq(pthread_join(t, NULL), 0);
	lab.conf.n_controls = 2;
	finish();
}

Test(team, bad_numbers)
{
	struct ctl_conf bad;

	begin_with(2, 1);
	lab_start(&lab);
	bad = lab.conf;
	bad.id = 2;
	bad.first = lab.ctl;
	cr_assert_eq(ctl_create(&lab.more[1], &bad, lab.why, sizeof(lab.why)), -EINVAL, "the third of two");
	bad.id = 1;
	bad.first = NULL;
	cr_assert_eq(ctl_create(&lab.more[1], &bad, lab.why, sizeof(lab.why)), -EINVAL);
	lab.more[1] = NULL;
	finish();
}
