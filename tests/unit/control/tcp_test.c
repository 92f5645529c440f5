/* SPDX-License-Identifier: MIT */

/* TCP against a worker that the test plays. */

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <rte_mempool.h>

#include "fake.h"

Test(tcp, client_echo, .init = setup)
{
	char want[160], peer[64];
	int fd;

	begin(2, 256);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	echo = true;
	lab_start(&lab);
	fd = lab_connect(PORT);
	until(n_streams == 1);
	chan_peer_str(streams[0].c, peer);
	cr_assert_eq(strncmp(peer, "127.0.0.1:", 10), 0);
	cr_assert_eq(streams[0].c->slot, 0);
	exchange(fd, 3);
	exchange(fd, 3 << 20);
	cr_assert_eq(ctl_stats(lab.ctl)->tcp_in_bytes, 3 + (3 << 20));
	cr_assert_eq(ctl_stats(lab.ctl)->tcp_out_bytes, 3 + (3 << 20));
	cr_assert_eq(ctl_stats(lab.ctl)->streams, 1);
	/* An idle stream holds no chunk. */
	until(rte_mempool_full(lab.chans.chunks));
	cr_assert(sleeps());
	closes(&streams[0], false);
	until(streams[0].gone);
	cr_assert_eq(recv(fd, peer, 1, 0), 0);
	close(fd);
	snprintf(want, sizeof(want), "stream opened in: %s out: -(3)", streams[0].gone ? peer : "");
	cr_assert(lab_logged(&lab, "stream opened in: 127.0.0.1:"));
	cr_assert(lab_logged(&lab, " out: -(3)"));
	cr_assert(lab_logged(&lab, "stream closed in: 127.0.0.1:"));
	finish();
}

/* The n-th connection goes to slot n mod conn, on that slot's worker. */
Test(tcp, slots, .init = setup)
{
	static const uint16_t workers[3] = {1, 0, 1};
	int fd[6];

	begin(2, 64);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab.tunnels[0].conn = 3;
	lab.tunnels[0].slot_worker = workers;
	lab_start(&lab);
	for (unsigned i = 0; i < 6; i++) {
		fd[i] = lab_connect(PORT);
		until(n_streams == i + 1);
		cr_assert_eq(streams[i].c->slot, i % 3);
		cr_assert_eq(streams[i].worker, workers[i % 3]);
	}
	for (unsigned i = 0; i < 6; i++)
		close(fd[i]);
	finish();
}

/* Those whose sessions have much to do are passed by, whichever worker has them; with the same each has its turn. */
Test(tcp, busy_slots_are_passed_by, .init = setup)
{
	static const uint16_t workers[4] = {1, 0, 1, 0};
	static const unsigned want[8] = {0, 3, 3, 3, 0, 2, 2, 3};
	struct dial dials[4] = {0};
	int fd[8];

	begin(2, 64);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab.tunnels[0].conn = 4;
	lab.tunnels[0].slot_worker = workers;
	lab.tunnels[0].dials = dials;
	atomic_store(&dials[1].busy, 5);
	atomic_store(&dials[2].busy, 4);
	lab_start(&lab);
	for (unsigned i = 0; i < 8; i++) {
		if (i == 5) { /* all are busy, and this one least */
			for (unsigned k = 0; k < 4; k++)
				atomic_store(&dials[k].busy, 9);
			atomic_store(&dials[2].busy, 8);
		}
		if (i == 7)
			atomic_store(&dials[2].busy, 9);
		fd[i] = lab_connect(PORT);
		until(n_streams == i + 1);
		cr_assert_eq(streams[i].c->slot, want[i], "connection %u: slot %u", i, streams[i].c->slot);
		cr_assert_eq(streams[i].worker, workers[want[i]]);
	}
	for (unsigned i = 0; i < 8; i++)
		close(fd[i]);
	finish();
}

Test(tcp, client_half_close, .init = setup)
{
	char buf[64];
	int fd;

	begin(1, 64);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	echo = eof_after = true;
	lab_start(&lab);
	fd = lab_connect(PORT);
	cr_assert_eq(send(fd, "bye", 3, 0), 3);
	shutdown(fd, SHUT_WR);
	until(n_streams == 1 && (streams[0].seen & CHAN_EV_EOF));
	until(now(fd, buf, sizeof(buf)) == 3);
	until(now(fd, buf, sizeof(buf)) == 0);
	cr_assert_not(streams[0].seen & CHAN_EV_RESET);
	cr_assert(sleeps());
	closes(&streams[0], false);
	until(streams[0].gone);
	close(fd);
	finish();
}

/* The worker's side ends first; what the application still sends arrives. */
Test(tcp, peer_half_close, .init = setup)
{
	char buf[64];
	int fd;

	begin(1, 64);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_start(&lab);
	fd = lab_connect(PORT);
	until(n_streams == 1);
	says(&streams[0], "all", 3);
	post(&streams[0], CHAN_EV_EOF);
	until(now(fd, buf, sizeof(buf)) == 3);
	until(now(fd, buf, sizeof(buf)) == 0);
	cr_assert_eq(send(fd, "more", 4, 0), 4);
	until(streams[0].in == 4);
	close(fd);
	until(streams[0].seen & CHAN_EV_EOF);
	finish();
}

static void reset(int fd)
{
	struct linger l = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

Test(tcp, reset_by_application, .init = setup)
{
	int fd;

	begin(1, 64);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_start(&lab);
	fd = lab_connect(PORT);
	until(n_streams == 1);
	reset(fd);
	until(streams[0].seen & CHAN_EV_RESET);
	cr_assert_eq(streams[0].c ? streams[0].c->err : ECONNRESET, ECONNRESET);
	finish();
}

/* After both directions have ended only epoll can tell of a reset. */
Test(tcp, reset_after_eof, .init = setup)
{
	int fd;

	begin(1, 64);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_start(&lab);
	fd = lab_connect(PORT);
	shutdown(fd, SHUT_WR);
	until(n_streams == 1 && (streams[0].seen & CHAN_EV_EOF));
	reset(fd);
	until(streams[0].seen & CHAN_EV_RESET);
	finish();
}

/* What arrived before a reset is delivered before it is told, however much that is. */
static void bytes_then_reset(size_t n, bool written_to)
{
	static uint8_t chunk[20026];
	struct stream *s = &streams[0];
	unsigned full = 0;
	size_t sent = 0;
	int fd, left;

	begin(1, 1024);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	hold = true;
	lab_start(&lab);
	fd = lab_connect(PORT);
	until(n_streams == 1);
	while (sent < n) {
		ssize_t k = send(fd, chunk, n - sent < sizeof(chunk) ? n - sent : sizeof(chunk), MSG_DONTWAIT);

		sent += k > 0 ? (size_t)k : 0;
		full = k < 0 ? full + 1 : 0;
		if (full == 100)
			break; /* the ring and both sockets */
		lab_turn(&lab, full ? 1 : 0);
		work();
	}
	(void)lab_until(&lab, 300, (work(), false)); /* acknowledgements are late */
	cr_assert_eq(ioctl(fd, SIOCOUTQ, &left), 0);
	sent -= (size_t)left; /* which a reset destroys: it has not left the application's own kernel */
	cr_assert_geq(sent, n < 300000 ? n : 300000, "%zu, %d left", sent, left);
	reset(fd);
	if (written_to)
		says(s, "nobody takes this", 17);
	for (unsigned i = 0; i < 20; i++) {
		lab_turn(&lab, 1);
		work();
	}
	s->hold = false;
	until((drain(s), s->seen & CHAN_EV_RESET));
	drain(s);
	cr_assert_eq(s->in, sent, "%llu of %zu", (unsigned long long)s->in, sent);
	cr_assert_not(s->seen & CHAN_EV_EOF, "a reset is no clean end");
	cr_assert_eq(chan_used(&s->c->down), 0, "what nobody takes gives its room back");
	closes(s, true);
	finish();
}

Test(tcp, bytes_then_reset, .init = setup)
{
	bytes_then_reset(20026, false);
}

Test(tcp, bytes_then_reset_met_by_a_write, .init = setup)
{
	bytes_then_reset(20026, true);
}

Test(tcp, more_bytes_than_the_ring_then_reset, .init = setup)
{
	bytes_then_reset(2 << 20, false);
}

Test(tcp, more_bytes_than_the_ring_then_reset_met_by_a_write, .init = setup)
{
	bytes_then_reset(2 << 20, true);
}

Test(tcp, abort, .init = setup)
{
	unsigned got = 0;
	char c;
	int fd;

	begin(1, 64);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_start(&lab);
	fd = lab_connect(PORT);
	until(n_streams == 1);
	says(&streams[0], "last", 4);
	closes(&streams[0], true);
	until(streams[0].gone);
	until(ctl_stats(lab.ctl)->streams == 0);
	while (recv(fd, &c, 1, 0) > 0)
		got++;
	cr_assert_eq(errno, ECONNRESET);
	cr_assert_eq(got, 4, "what came before is delivered");
	close(fd);
	finish();
}

/* Everything is delivered behind CLOSE to a slow reader, though it has sent what nobody reads any more. */
Test(tcp, close_delivers, .init = setup)
{
	static uint8_t chunk[65536];
	uint64_t got = 0, total = 0;
	ssize_t n = 0;
	int fd;

	begin(1, 1024);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	hold = true;
	lab_start(&lab);
	fd = lab_connect(PORT);
	until(n_streams == 1);
	for (unsigned i = 0; i < 128; i++)
		total += says(&streams[0], chunk, sizeof(chunk));
	cr_assert_eq(total, 8u << 20);
	cr_assert_eq(send(fd, chunk, sizeof(chunk), 0), sizeof(chunk));
	closes(&streams[0], false);
	for (uint64_t end = lab_ms() + SOON; lab_ms() < end && (n = now(fd, chunk, sizeof(chunk))) != 0;) {
		cr_assert(n > 0 || errno == EAGAIN, "%s after %llu", strerror(errno), (unsigned long long)got);
		got += n > 0 ? (uint64_t)n : 0;
		lab_turn(&lab, n > 0 ? 0 : 1);
		work();
	}
	cr_assert_eq(got, total);
	until(streams[0].gone);
	close(fd);
	finish();
}

/* A worker that reads nothing: the ring stays bounded, nothing spins, and reading goes on afterwards. */
Test(tcp, backpressure, .init = setup)
{
	static uint8_t chunk[1 << 20];
	uint64_t sent = 0;
	ssize_t n;
	int fd;

	begin(1, 256);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	hold = true;
	lab_start(&lab);
	fd = lab_connect(PORT);
	for (unsigned i = 0; i < 200; i++) {
		n = send(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
		sent += n > 0 ? (uint64_t)n : 0;
		lab_turn(&lab, 1);
		work();
	}
	cr_assert_geq(chan_used(&streams[0].c->up), 128u << 10);
	cr_assert_leq(chan_used(&streams[0].c->up), 256u << 10);
	cr_assert_gt(sent, 256u << 10);
	cr_assert(sleeps());
	streams[0].hold = false;
	drain(&streams[0]);
	until(streams[0].in == sent);
	close(fd);
	until(streams[0].seen & CHAN_EV_EOF);
	finish();
}

/* Chunks run out, and come back: everyone gets on. */
Test(tcp, no_chunks, .init = setup)
{
	static uint8_t chunk[300000];
	int fd[4];

	begin(1, 4);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	hold = true;
	lab_start(&lab);
	for (unsigned i = 0; i < 4; i++) {
		fd[i] = lab_connect(PORT);
		until(n_streams == i + 1);
		cr_assert_gt(send(fd[i], chunk, 100000, MSG_DONTWAIT), 0);
	}
	until(ctl_stats(lab.ctl)->no_chunk > 0);
	for (unsigned i = 0; i < 4; i++) {
		streams[i].hold = false;
		drain(&streams[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		until(streams[i].in == 100000);
	for (unsigned i = 0; i < 4; i++)
		close(fd[i]);
	finish();
}

Test(tcp, no_chans, .init = setup)
{
	struct chan *all[STREAMS + 64];
	int fd;

	begin(1, 16);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_start(&lab);
	for (unsigned i = 0; i < STREAMS + 64; i++)
		cr_assert_not_null(all[i] = chan_alloc(&lab.chans, 0));
	fd = lab_connect(PORT);
	until(ctl_stats(lab.ctl)->accept_paused > 0);
	cr_assert_eq(n_streams, 0);
	for (unsigned i = 0; i < STREAMS + 64; i++)
		chan_free(&lab.chans, all[i]);
	until(n_streams == 1);
	cr_assert(lab_logged(&lab,
			     "tunnel us: accepting no connections for now: the tunnel's share of streams is in use"));
	close(fd);
	finish();
}

Test(tcp, no_descriptors, .init = setup)
{
	struct rlimit files;
	int fd, last;

	begin(1, 16);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_start(&lab);
	fd = lab_connect(PORT);
	last = dup(0);
	close(last);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = (rlim_t)last;
	setrlimit(RLIMIT_NOFILE, &files);
	until(ctl_stats(lab.ctl)->accept_paused > 1);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	until(n_streams == 1);
	cr_assert(lab_logged(&lab, "Too many open files"));
	close(fd);
	finish();
}

/* ---- server ---- */

Test(tcp, server_echo, .init = setup)
{
	struct stream *s;
	char want[128];
	uint16_t port;
	int ls, fd;

	begin(1, 256);
	ls = lab_listen(&port);
	lab_server(&lab, 4000, 4000, "127.0.0.1", port);
	echo = eof_after = true;
	lab_start(&lab);
	s = opens(0);
	/* Bytes and even the end may come before the connection stands. */
	says(s, "early", 5);
	until(s->seen & CHAN_EV_UP);
	fd = accept(ls, NULL, NULL);
	cr_assert_geq(fd, 0);
	cr_assert_eq(recv(fd, want, 5, MSG_WAITALL), 5);
	cr_assert_eq(memcmp(want, "early", 5), 0);
	exchange(fd, 1 << 20);
	shutdown(fd, SHUT_WR);
	until(s->seen & CHAN_EV_EOF);
	until(now(fd, want, 1) == 0);
	closes(s, false);
	until(s->gone);
	snprintf(want, sizeof(want), "stream opened in: 203.0.113.7:40000(3) out: 127.0.0.1:%u", port);
	cr_assert(lab_logged(&lab, want));
	memcpy(want + 7, "closed", 6);
	cr_assert(lab_logged(&lab, want));
	cr_assert_eq(ctl_stats(lab.ctl)->dialled, 1);
	close(fd);
	close(ls);
	finish();
}

/* A request that ends before the connection stands is delivered whole. */
Test(tcp, closed_while_dialling, .init = setup)
{
	struct stream *s;
	char buf[64];
	uint16_t port;
	int ls, fd;

	begin(1, 64);
	ls = lab_listen(&port);
	lab_server(&lab, 4000, 4000, "localhost", port);
	lab_start(&lab);
	s = opens(0);
	says(s, "GET /", 5);
	closes(s, false);
	until(s->gone);
	fd = accept(ls, NULL, NULL);
	cr_assert_eq(recv(fd, buf, sizeof(buf), MSG_WAITALL), 5);
	close(fd);
	s = opens(0);
	says(s, "no", 2);
	closes(s, true);
	until(s->gone);
	close(ls);
	finish();
}

Test(tcp, refused, .init = setup)
{
	struct stream *s;
	char want[128];
	uint16_t port;

	begin(1, 64);
	close(lab_listen(&port));
	lab_server(&lab, 4000, 4000, "127.0.0.1", port);
	lab_server(&lab, 4001, 4001, "a..b", 80);
	lab_start(&lab);
	s = opens(0);
	until(s->seen & CHAN_EV_RESET);
	until(s->gone);
	snprintf(want, sizeof(want), "tunnel hk: dial 127.0.0.1:%u: Connection refused", port);
	cr_assert(lab_logged(&lab, want));
	cr_assert_not(lab_logged(&lab, "stream opened"));
	s = opens(1);
	until(s->seen & CHAN_EV_RESET);
	until(s->gone);
	cr_assert(lab_logged(&lab, "tunnel hk: dial a..b:80: "));
	cr_assert_eq(ctl_stats(lab.ctl)->dial_failed, 2);
	cr_assert_eq(ctl_stats(lab.ctl)->dialled, 0);
	finish();
}

/* A name with several addresses: the one that answers serves. */
Test(tcp, second_address, .init = setup)
{
	struct stream *s;
	uint16_t port;
	int ls;

	begin(1, 64);
	ls = lab_listen(&port); /* 127.0.0.1 only: ::1, where localhost has it, refuses */
	lab_server(&lab, 4000, 4000, "localhost", port);
	lab_start(&lab);
	s = opens(0);
	until(s->seen & CHAN_EV_UP);
	cr_assert_not(s->seen & CHAN_EV_RESET);
	close(ls);
	finish();
}

/* The target has said everything and gone before anyone looked: nothing of it is missed. */
Test(tcp, short_answer, .init = setup)
{
	struct stream *s;
	uint16_t port;
	int ls, fd;

	begin(1, 64);
	ls = lab_listen(&port);
	lab_server(&lab, 4000, 4000, "127.0.0.1", port);
	lab_start(&lab);
	s = opens(0);
	mbox_post(lab.borders[0]->to_ctl, &s->c->to_ctl, CHAN_EV_ROOM);
	lab_turn(&lab, 0); /* connect is under way, or done */
	fd = accept(ls, NULL, NULL);
	cr_assert_eq(send(fd, "SSH-2.0", 7, 0), 7);
	close(fd);
	until(s->in == 7 && (s->seen & CHAN_EV_EOF));
	close(ls);
	finish();
}

/* ---- many ---- */

Test(tcp, a_thousand, .init = setup, .timeout = 300)
{
	static int fd[1000];
	static bool done[1000];
	unsigned left = 1000;

	begin(2, 512);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab.conf.quiet = true;
	echo = eof_after = close_on_eof = true;
	lab_start(&lab);
	for (unsigned i = 0; i < 1000; i++) {
		char text[16];
		int n = snprintf(text, sizeof(text), "hello %u", i);

		fd[i] = lab_connect(PORT);
		cr_assert_eq(send(fd[i], text, (size_t)n, 0), n);
		shutdown(fd[i], SHUT_WR);
		if (i % 50 == 0) {
			lab_turn(&lab, 0);
			work();
		}
	}
	for (uint64_t end = lab_ms() + SOON; left && lab_ms() < end;) {
		lab_turn(&lab, 1);
		work();
		for (unsigned i = 0; i < 1000; i++) {
			char text[16], got[16] = "";

			if (done[i] || now(fd[i], got, sizeof(got) - 1) <= 0)
				continue;
			snprintf(text, sizeof(text), "hello %u", i);
			cr_assert_str_eq(got, text);
			close(fd[i]);
			done[i] = true;
			left--;
		}
	}
	cr_assert_eq(left, 0);
	cr_assert_eq(n_streams, 1000);
	cr_assert_eq(ctl_stats(lab.ctl)->accepted, 1000);
	cr_assert_not(lab_logged(&lab, "stream opened"));
	finish();
}

/* A flood of streams becomes a hundred lines, and one that tells of the others though no stream follows. */
Test(tcp, flood_of_lines, .init = setup)
{
	unsigned n = 0, left_out = 0, told = 0;
	char line[256];
	FILE *f;

	begin(1, 64);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_start(&lab);
	for (unsigned i = 0; i < 150; i++) {
		int fd = lab_connect(PORT);

		until(n_streams == i + 1);
		close(fd);
		closes(&streams[i], true);
		until(streams[i].gone);
	}
	until(lab_logged(&lab, "lines about streams left out"));
	f = fopen(lab.log, "r");
	while (fgets(line, sizeof(line), f)) {
		n += strstr(line, " in: 127.0.0.1:") != NULL;
		if (strstr(line, "left out") && sscanf(line + 20, "%u", &told) == 1)
			left_out += told;
	}
	fclose(f);
	/* How many seconds the 300 lines took is the machine's business. */
	cr_assert_lt(n, 300);
	cr_assert_geq(n, 100);
	cr_assert_eq(n + left_out, 300, "%u lines, %u left out", n, left_out);
	finish();
}

/* One stream that never pauses does not keep another from its turn. */
Test(tcp, fairness, .init = setup)
{
	static uint8_t chunk[1 << 20];
	int fat, thin;
	unsigned turns = 0;

	begin(1, 512);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_start(&lab);
	fat = lab_connect(PORT);
	thin = lab_connect(PORT);
	until(n_streams == 2);
	for (unsigned i = 0; i < 20; i++)
		(void)!send(fat, chunk, sizeof(chunk), MSG_DONTWAIT);
	cr_assert_eq(send(thin, "me too", 6, 0), 6);
	for (; turns < 4 && streams[1].in < 6; turns++) {
		(void)!send(fat, chunk, sizeof(chunk), MSG_DONTWAIT);
		lab_turn(&lab, 0);
		cr_assert_leq(chan_used(&streams[0].c->up), 256u << 10);
		work();
	}
	cr_assert_eq(streams[1].in, 6);
	close(fat);
	close(thin);
	finish();
}

/* Draining: streams end by RESET with ESHUTDOWN, what came for them is written, no connection is accepted any more. */
Test(tcp, drains, .init = setup)
{
	struct stream *s;
	char buf[64];
	uint16_t port;
	int fd, ls, target, late;

	begin(1, 64);
	ls = lab_listen(&port);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_server(&lab, 4000, 4000, "127.0.0.1", port);
	lab_start(&lab);
	fd = lab_connect(PORT);
	until(n_streams == 1);
	s = opens(1);
	until(s->seen & CHAN_EV_UP);
	target = accept(ls, NULL, NULL);
	says(&streams[0], "last words", 10);
	ctl_drain(lab.ctl);
	cr_assert_not(ctl_idle(lab.ctl));
	late = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_neq(connect(late,
			      (void *)&(struct sockaddr_in){.sin_family = AF_INET,
							    .sin_port = htons(PORT),
							    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
			      sizeof(struct sockaddr_in)),
		      0);
	until(streams[0].gone && s->gone);
	cr_assert(streams[0].seen & CHAN_EV_RESET);
	cr_assert_eq(recv(fd, buf, sizeof(buf), 0), 10);
	cr_assert(recv(fd, buf, sizeof(buf), 0) < 0 && errno == ECONNRESET, "more was to come: no clean end");
	close(fd);
	close(target);
	until(ctl_idle(lab.ctl));
	s = opens(1);
	until(s->gone);
	close(late);
	close(ls);
	finish();
}

Test(tcp, listen_refused, .init = setup)
{
	uint16_t port;
	int ls;

	begin(1, 16);
	ls = lab_listen(&port);
	lab_client(&lab, port, "198.51.100.9", 4000, 4000);
	cr_assert_lt(ctl_create(&lab.ctl, &lab.conf, lab.why, sizeof(lab.why)), 0);
	cr_assert(strstr(lab.why, "on 127.0.0.1 is in use by another process"), "%s", lab.why);
	lab.ctl = NULL;
	close(ls);
	lab_stop(&lab);
}

/* An address that the host gets later is listened on before: the network may come after us. */
Test(tcp, listens_before_the_address, .init = setup)
{
	static const char *const hosts[] = {"192.0.2.99", "2001:db8::99"};

	begin(1, 16);
	lab_client(&lab, 4711, "198.51.100.9", 4000, 4000);
	for (unsigned i = 0; i < 2; i++) {
		lab.tunnels[0].listen.host = hosts[i];
		lab_start(&lab);
		cr_assert(lab_logged(&lab, "tunnel us: listen address 192.0.2.99 is not this host's (yet)"));
		lab_sh("ip addr add %s/%s dev lo", hosts[i], i ? "128 nodad" : "32");
		lab_sh("ss -tln | grep -q '%s' && python3 -c 'import socket; socket.create_connection((\"%s\", 4711), "
		       "5)'",
		       hosts[i], hosts[i]);
		until(n_streams == i + 1);
		for (unsigned k = 0; k < n_streams; k++)
			if (!streams[k].gone)
				closes(&streams[k], false);
		until(streams[i].gone);
		ctl_destroy(lab.ctl);
		lab.ctl = NULL;
	}
	lab_stop(&lab);
}
