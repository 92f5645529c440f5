/* SPDX-License-Identifier: MIT */

/*
 * What a small request costs a thread that turns TCP, by epoll and by io_uring: connections on the loopback, each with
 * a request of 100 bytes under way, read and answered by 200.  By epoll as control does it: edges, a recv and a send.
 * By io_uring with all that it has for this: receives that stay armed and take their buffers from a ring, sends of a
 * turn handed over at once, whose success nobody is told.  CPU time of the thread, softirqs of its sends included; the
 * load is another thread's, on another CPU.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <liburing.h>

#include "bench.h"

#define CONNS	 256
#define REQUEST	 100
#define REPLY	 200
#define EVENTS	 256
#define BUFFERS	 1024
#define BUF_SIZE 2048
#define ENTRIES	 1024

/* Connections with one kind of service. */
struct set {
	unsigned n;
	int near[CONNS], far[CONNS];
	int epoll;
	struct io_uring ring;
	struct io_uring_buf_ring *bufs;
	uint8_t *mem;
};

static atomic_bool stop;
static char reply[REPLY];

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the load: whoever has a whole answer asks again ---- */

static int load_epoll;

static void *load(void *arg)
{
	struct epoll_event v[EVENTS];
	char buf[4096];

	(void)arg;
	while (!stop) {
		int n = epoll_wait(load_epoll, v, EVENTS, 100);

		for (int i = 0; i < n; i++)
			if (recv(v[i].data.fd, buf, sizeof(buf), MSG_DONTWAIT) == REPLY)
				(void)!send(v[i].data.fd, buf, REQUEST, 0);
	}
	return NULL;
}

static void pair_up(int *near, int *far)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int ls = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	socklen_t len = sizeof(in);

	*far = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(ls, (struct sockaddr *)&in, len) || listen(ls, 1) || getsockname(ls, (struct sockaddr *)&in, &len) ||
	    connect(*far, (struct sockaddr *)&in, len) || (*near = accept4(ls, NULL, NULL, SOCK_NONBLOCK)) < 0)
		bench_wrong("a connection: %s", strerror(errno));
	close(ls);
	setsockopt(*far, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(*near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void connect_all(struct set *s, unsigned n)
{
	s->n = n;
	for (unsigned i = 0; i < n; i++) {
		struct epoll_event e = {.events = EPOLLIN | EPOLLET};

		pair_up(&s->near[i], &s->far[i]);
		e.data.fd = s->far[i];
		epoll_ctl(load_epoll, EPOLL_CTL_ADD, s->far[i], &e);
		if (send(s->far[i], reply, REQUEST, 0) != REQUEST)
			bench_wrong("a request: %s", strerror(errno));
	}
}

static void close_all(struct set *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		close(s->near[i]);
		close(s->far[i]);
	}
}

/* ---- epoll ---- */

static void by_epoll_up(struct set *s)
{
	s->epoll = epoll_create1(0);
	for (unsigned i = 0; i < s->n; i++) {
		struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = s->near[i]};

		epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->near[i], &e);
	}
}

static void by_epoll(struct set *s, unsigned count)
{
	struct epoll_event v[EVENTS];
	char buf[16384];

	while (count > 0) {
		int n = epoll_wait(s->epoll, v, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = v[i].data.fd;

			if (syscall(SYS_recvfrom, fd, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL) != REQUEST)
				continue; /* an edge of room */
			if (syscall(SYS_sendto, fd, reply, REPLY, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0) != REPLY)
				bench_wrong("epoll: an answer: %s", strerror(errno));
			count -= count > 0;
		}
	}
}

/* ---- io_uring ---- */

static void buffer_back(struct set *s, unsigned b, int at)
{
	io_uring_buf_ring_add(s->bufs, s->mem + (size_t)b * BUF_SIZE, BUF_SIZE, (unsigned short)b, BUFFERS - 1, at);
}

static struct io_uring_sqe *next_sqe(struct set *s)
{
	struct io_uring_sqe *e = io_uring_get_sqe(&s->ring);

	if (e)
		return e;
	io_uring_submit(&s->ring);
	return io_uring_get_sqe(&s->ring);
}

static void arm(struct set *s, uint64_t conn)
{
	struct io_uring_sqe *e = next_sqe(s);

	io_uring_prep_recv_multishot(e, (int)conn, NULL, 0, 0);
	e->flags |= IOSQE_BUFFER_SELECT | IOSQE_FIXED_FILE;
	e->buf_group = 0;
	io_uring_sqe_set_data64(e, conn);
}

/* 0, or -errno: this kernel has not all that it takes, or forbids it. */
static int by_ring_up(struct set *s)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
		.cq_entries = 4 * ENTRIES,
	};
	struct io_uring_buf_reg reg = {.ring_entries = BUFFERS};
	int err = io_uring_queue_init_params(ENTRIES, &s->ring, &p);

	if (err)
		return err;
	s->bufs = aligned_alloc(4096, BUFFERS * sizeof(struct io_uring_buf));
	s->mem = aligned_alloc(4096, (size_t)BUFFERS * BUF_SIZE);
	reg.ring_addr = (uintptr_t)s->bufs;
	err = io_uring_register_files(&s->ring, s->near, s->n);
	if (!err)
		err = io_uring_register_buf_ring(&s->ring, &reg, 0);
	if (err)
		return err;
	io_uring_buf_ring_init(s->bufs);
	for (unsigned b = 0; b < BUFFERS; b++)
		buffer_back(s, b, (int)b);
	io_uring_buf_ring_advance(s->bufs, BUFFERS);
	for (unsigned i = 0; i < s->n; i++)
		arm(s, i);
	return 0;
}

/* One completion of a receive: answers it; buffers given back so far. */
static int answer(struct set *s, const struct io_uring_cqe *q, int back)
{
	uint64_t conn = io_uring_cqe_get_data64(q);
	struct io_uring_sqe *e;

	if (conn == UINT64_MAX) { /* a send's: only failures are told */
		bench_wrong("io_uring: an answer: %s", strerror(-q->res));
		return back;
	}
	if (q->flags & IORING_CQE_F_BUFFER)
		buffer_back(s, q->flags >> IORING_CQE_BUFFER_SHIFT, back++);
	if (q->res != REQUEST)
		bench_wrong("io_uring: a request of %d bytes", q->res);
	e = next_sqe(s);
	io_uring_prep_send(e, (int)conn, reply, REPLY, MSG_NOSIGNAL);
	e->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(e, UINT64_MAX);
	if (!(q->flags & IORING_CQE_F_MORE))
		arm(s, conn);
	return back;
}

static void by_ring(struct set *s, unsigned count)
{
	while (count > 0) {
		struct io_uring_cqe *q;
		unsigned head, n = 0;
		int back = 0;

		io_uring_submit_and_wait(&s->ring, 1);
		io_uring_for_each_cqe(&s->ring, head, q)
		{
			back = answer(s, q, back);
			n++;
		}
		io_uring_cq_advance(&s->ring, n);
		io_uring_buf_ring_advance(s->bufs, back);
		count = count > n ? count - n : 0;
	}
	io_uring_submit(&s->ring);
}

/* ---- both, in turn ---- */

static void compare(unsigned conns)
{
	static struct set epoll, ring;
	const unsigned count = bench_opts.quick ? 2000 : 40000;
	struct bench_series a = {0}, b = {0}, ratio = {0};
	char name[64];
	int err;

	connect_all(&epoll, conns);
	connect_all(&ring, conns);
	by_epoll_up(&epoll);
	err = by_ring_up(&ring);
	if (err) {
		bench_note("io_uring is not to be had here: %s", strerror(-err));
		return;
	}
	by_epoll(&epoll, count);
	by_ring(&ring, count);
	for (unsigned r = 0; r < bench_opts.rounds; r++) {
		uint64_t at = cpu_ns(), mid;

		by_epoll(&epoll, count);
		mid = cpu_ns();
		by_ring(&ring, count);
		bench_add(&a, (double)(mid - at) / count);
		bench_add(&b, (double)(cpu_ns() - mid) / count);
		bench_add(&ratio, a.v[r] / b.v[r]);
	}
	snprintf(name, sizeof(name), "a request by epoll, %u connections", conns);
	bench_row(name, &a, 0);
	snprintf(name, sizeof(name), "a request by io_uring, %u connections", conns);
	bench_row(name, &b, 0);
	bench_value("  epoll / io_uring", bench_stat(&ratio).median, "");
	io_uring_queue_exit(&ring.ring);
	close(epoll.epoll);
	close_all(&epoll);
	close_all(&ring);
}

int main(int argc, char **argv)
{
	struct rlimit files;
	cpu_set_t all;
	pthread_t t;

	sched_getaffinity(0, sizeof(all), &all);
	bench_begin(argc, argv, "bm_io", "small requests, CPU time of a thread that turns TCP");
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (bench_opts.rounds > 15)
		bench_opts.rounds = 15;
	if (CPU_COUNT(&all) > 1)
		CPU_CLR((unsigned)bench_opts.core, &all);
	load_epoll = epoll_create1(0);
	pthread_create(&t, NULL, load, NULL);
	pthread_setaffinity_np(t, sizeof(all), &all);
	compare(16);
	compare(CONNS);
	stop = true;
	pthread_join(t, NULL);
	return bench_end();
}
