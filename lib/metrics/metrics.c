/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <rte_lcore.h>
#include <rte_thread.h>
#include <rte_version.h>

#include "cap.h"
#include "server.h"
#include "sock_unix.h"

#define GLANCE_MS 1000
#define NICE	  10 /* where its CPU is control's as well, that goes first */
#define BACKLOG	  64

struct metrics {
	struct metrics_conf conf;
	struct glance *look;
	struct server server;
	int listen;
	struct unix_file file;
	pthread_mutex_t lock;
	pthread_cond_t news;
	bool tried, end; /* the server was started, or could not be; all is to end */
	int err;
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
	rte_thread_t thread;
#else
	pthread_t thread;
#endif
};

/* ---- its socket ---- */

static int listen_inet(const struct metrics_conf *c, int *out)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(c->port)};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(c->port)};
	bool v4 = addr_is_v4(&c->addr);
	int on = 1, fd, err = 0;

	memcpy(&in6.sin6_addr, c->addr.b, sizeof(in6.sin6_addr));
	memcpy(&in.sin_addr, c->addr.b + 12, sizeof(in.sin_addr));
	fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!v4)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, v4 ? (void *)&in : (void *)&in6, v4 ? sizeof(in) : sizeof(in6)) || listen(fd, BACKLOG))
		err = -errno;
	if (err)
		close(fd);
	else
		*out = fd;
	return err;
}

/* Its user's and its group's: who is served is not everybody's to see. */
static int listen_unix(const struct metrics_conf *c, int *out, struct unix_file *file)
{
	int err = unix_listen(c->path, out, file);

	if (err == 0 && chmod(c->path, 0660)) {
		err = -errno;
		close(*out);
		unix_unlink(c->path, file);
	}
	return err;
}

static int open_socket(struct metrics *m, char *why, size_t why_n)
{
	const struct metrics_conf *c = &m->conf;
	char text[ADDR_STRLEN];
	int err = c->path ? listen_unix(c, &m->listen, &m->file) : listen_inet(c, &m->listen);

	if (err && c->path)
		snprintf(why, why_n, "unix:%s: %s", c->path, strerror(-err));
	else if (err)
		snprintf(why, why_n, "%s: %s%s", addr_port_str(&c->addr, c->port, text), strerror(-err),
			 cap_of_listen(err, c->port));
	return err;
}

/* ---- its thread: starts the server's, and looks ---- */

static void tell(struct metrics *m, int err)
{
	pthread_mutex_lock(&m->lock);
	m->err = err;
	m->tried = true;
	pthread_cond_broadcast(&m->news);
	pthread_mutex_unlock(&m->lock);
}

static uint64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Waits until a time, or for the end; true: it has come. */
static bool ends_before(struct metrics *m, uint64_t ms)
{
	struct timespec until = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
	bool end;
	int err = 0;

	pthread_mutex_lock(&m->lock);
	while (!m->end && !err)
		err = pthread_cond_clockwait(&m->news, &m->lock, CLOCK_MONOTONIC, &until);
	end = m->end;
	pthread_mutex_unlock(&m->lock);
	return end;
}

static void work(struct metrics *m)
{
	uint64_t next = clock_ms();
	int err;

	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* the server's inherits it, and the CPUs */
	err = server_start(&m->server, m->listen);
	tell(m, err);
	if (err)
		return;
	do {
		uint64_t now = clock_ms();

		glance_turn(m->look, now);
		next += GLANCE_MS;
		if (next < now) /* a worker that did not answer has held it up: what was missed is not made up for */
			next = now + GLANCE_MS;
	} while (!ends_before(m, next));
	server_stop(&m->server);
}

#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
static uint32_t metrics_main(void *arg)
{
	work(arg);
	return 0;
}

static int thread_start(struct metrics *m)
{
	return -rte_thread_create_control(&m->thread, "kg-metrics", metrics_main, m);
}

static void thread_join(struct metrics *m)
{
	rte_thread_join(m->thread, NULL);
}
#else
static void *metrics_main(void *arg)
{
	work(arg);
	return NULL;
}

static int thread_start(struct metrics *m)
{
	return rte_ctrl_thread_create(&m->thread, "kg-metrics", NULL, metrics_main, m);
}

static void thread_join(struct metrics *m)
{
	pthread_join(m->thread, NULL);
}
#endif

/* On the CPUs that DPDK leaves to such threads: no lcore's where there are others. */
static int start(struct metrics *m)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* of a system call that is refused (app/posture) */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = thread_start(m);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return err > 0 ? -err : err;
	pthread_mutex_lock(&m->lock);
	while (!m->tried)
		pthread_cond_wait(&m->news, &m->lock);
	err = m->err;
	pthread_mutex_unlock(&m->lock);
	if (err)
		thread_join(m);
	return err;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void free_all(struct metrics *m)
{
	glance_destroy(m->look);
	pthread_cond_destroy(&m->news);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

int metrics_start(struct metrics **out, const struct metrics_conf *c, char *why, size_t why_n)
{
	struct metrics *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	m->conf = *c;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->news, NULL);
	err = glance_create(&m->look, c->src);
	m->server =
		(struct server){.src = c->src, .look = m->look, .started = now_s(), .local = !c->path && !c->remote};
	if (err == 0)
		err = open_socket(m, why, why_n);
	if (err) {
		free_all(m);
		return err;
	}
	err = start(m);
	if (err) {
		close(m->listen);
		if (c->path)
			unix_unlink(c->path, &m->file);
		free_all(m);
		return err;
	}
	*out = m;
	return 0;
}

void metrics_stop(struct metrics *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->end = true;
	pthread_cond_broadcast(&m->news);
	pthread_mutex_unlock(&m->lock);
	thread_join(m);
	if (m->conf.path)
		unix_unlink(m->conf.path, &m->file);
	free_all(m);
}
