/* SPDX-License-Identifier: MIT */

/* Unix sockets on either side, and what may not be taken for a stale one. */

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_mempool.h>

#include "fake.h"

static char dir[64], path[100];

static void enter(void)
{
	setup();
	strcpy(dir, "/tmp/control-unix-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
}

static void leave(void)
{
	rmdir(dir); /* is left behind, and seen, when a test left a file */
	cr_expect_eq(access(dir, F_OK), -1);
}

static socklen_t address(struct sockaddr_un *un, const char *name)
{
	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	strcpy(un->sun_path, name);
	if (name[0] != '@')
		return sizeof(*un);
	un->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
}

static int dial(const char *name)
{
	struct timeval tv = {.tv_sec = 60};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un un;
	socklen_t len = address(&un, name);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	cr_assert_eq(connect(fd, (struct sockaddr *)&un, len), 0, "%s: %s", name, strerror(errno));
	return fd;
}

static int serve(const char *name, int type, int backlog)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un un;
	socklen_t len = address(&un, name);

	cr_assert_eq(bind(fd, (struct sockaddr *)&un, len), 0, "%s: %s", name, strerror(errno));
	if (type == SOCK_STREAM)
		cr_assert_eq(listen(fd, backlog), 0);
	return fd;
}

static void client(const char *name)
{
	begin(1, 64);
	lab_client(&lab, 0, "198.51.100.9", 4000, 4000);
	lab.tunnels[0].listen = (struct ctl_addr){0};
	lab.tunnels[0].listen_path = name;
}

static void server(const char *name)
{
	begin(1, 64);
	lab_server(&lab, 4000, 4000, NULL, 0);
	lab.tunnels[0].target_path = name;
}

Test(unix_socket, accepts, .init = enter, .fini = leave)
{
	char buf[8];
	int fd;

	client(path);
	echo = eof_after = true;
	lab_start(&lab);
	fd = dial(path);
	until(n_streams == 1);
	cr_assert_eq(streams[0].c->peer_port, 0);
	exchange(fd, 3 << 20);
	until(rte_mempool_full(lab.chans.chunks));
	cr_assert(sleeps());
	shutdown(fd, SHUT_WR);
	until(now(fd, buf, 1) == 0);
	closes(&streams[0], false);
	until(streams[0].gone);
	close(fd);
	cr_assert(lab_logged(&lab, "stream opened in: @ out: -(3)"));
	cr_assert(lab_logged(&lab, "stream closed in: @ out: -(3)"));
	finish();
	cr_assert_eq(access(path, F_OK), -1, "the socket's file is removed");
}

Test(unix_socket, abstract, .init = enter, .fini = leave)
{
	int fd;

	client("@kcpgate-test");
	echo = true;
	lab_start(&lab);
	fd = dial("@kcpgate-test");
	until(n_streams == 1);
	exchange(fd, 1000);
	close(fd);
	finish();
}

/* What has arrived when the peer's side ends is read in full, although the application still sends. */
Test(unix_socket, close_delivers, .init = enter, .fini = leave)
{
	static uint8_t out[100000], in[100000];
	size_t got = 0;
	int fd;

	client(path);
	hold = true;
	lab_start(&lab);
	fd = dial(path);
	until(n_streams == 1);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + i / 255);
	cr_assert_eq(says(&streams[0], out, sizeof(out)), sizeof(out));
	closes(&streams[0], false);
	cr_assert_gt(send(fd, out, sizeof(out), MSG_DONTWAIT), 0);
	until(streams[0].gone);
	cr_assert_gt(send(fd, out, 10, MSG_DONTWAIT | MSG_NOSIGNAL), 0, "not closed under the application's hands");
	while (got < sizeof(in)) {
		ssize_t n = recv(fd, in + got, sizeof(in) - got, 0);

		cr_assert_gt(n, 0, "%zu of %zu: %s", got, sizeof(in), strerror(errno));
		got += (size_t)n;
	}
	cr_assert_eq(memcmp(in, out, sizeof(in)), 0);
	cr_assert_eq(recv(fd, in, 1, 0), 0, "an end, and no error");
	close(fd);
	finish();
}

/* A message with a descriptor ends a read early; what comes behind it must not wait for more. */
Test(unix_socket, descriptors_are_passed_over, .init = enter, .fini = leave)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} cm = {.h = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec v = {"first", 5};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &cm, .msg_controllen = sizeof(cm)};
	char buf[16];
	size_t got = 0;
	int fd;

	client(path);
	echo = true;
	lab_start(&lab);
	fd = dial(path);
	memcpy(CMSG_DATA(&cm.h), &fd, sizeof(fd));
	cr_assert_eq(sendmsg(fd, &m, 0), 5);
	cr_assert_eq(send(fd, "second", 6, 0), 6);
	until(({
		ssize_t n = now(fd, buf + got, sizeof(buf) - got);

		got += n > 0 ? (size_t)n : 0;
		got == 11;
	}));
	cr_assert_eq(memcmp(buf, "firstsecond", 11), 0);
	close(fd);
	finish();
}

Test(unix_socket, stale_file_is_replaced, .init = enter, .fini = leave)
{
	int fd = serve(path, SOCK_STREAM, 1);

	close(fd);
	cr_assert_eq(access(path, F_OK), 0);
	client(path);
	lab_start(&lab);
	fd = dial(path);
	until(n_streams == 1);
	close(fd);
	finish();
}

/* Somebody else's socket, and anything that is none, stays; at the end too, when it came in place of ours. */
Test(unix_socket, others_files_stay, .init = enter, .fini = leave)
{
	static const struct {
		int type;
		const char *why;
	} v[] = {{SOCK_STREAM, "in use by another process"}, {SOCK_DGRAM, "in use by another process"}};
	int fd;

	for (unsigned i = 0; i < 2; i++) {
		fd = serve(path, v[i].type, 4);
		client(path);
		cr_assert_eq(ctl_create(&lab.ctl, &lab.conf, lab.why, sizeof(lab.why)), -EADDRINUSE);
		cr_assert_not_null(strstr(lab.why, v[i].why), "%s", lab.why);
		lab.ctl = NULL;
		lab_stop(&lab);
		close(fd);
		cr_assert_eq(unlink(path), 0);
	}
	fd = creat(path, 0600);
	close(fd);
	client(path);
	cr_assert_eq(ctl_create(&lab.ctl, &lab.conf, lab.why, sizeof(lab.why)), -ENOTSOCK);
	cr_assert_not_null(strstr(lab.why, "tunnel us: "), "%s", lab.why);
	cr_assert_not_null(strstr(lab.why, "exists and is no socket"), "%s", lab.why);
	lab.ctl = NULL;
	lab_stop(&lab);
	cr_assert_eq(unlink(path), 0);

	client(path);
	lab_start(&lab);
	cr_assert_eq(unlink(path), 0);
	fd = serve(path, SOCK_STREAM, 4);
	finish();
	close(fd);
	cr_assert_eq(unlink(path), 0, "removed though it was not ours");
}

Test(unix_socket, path_too_long, .init = enter, .fini = leave)
{
	char name[200];

	memset(name, 'x', sizeof(name) - 1);
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	client(name);
	cr_assert_eq(ctl_create(&lab.ctl, &lab.conf, lab.why, sizeof(lab.why)), -ENAMETOOLONG);
	lab.ctl = NULL;
	lab_stop(&lab);
}

Test(unix_socket, drain_removes_the_file, .init = enter, .fini = leave)
{
	client(path);
	lab_start(&lab);
	ctl_drain(lab.ctl);
	cr_assert_eq(access(path, F_OK), -1);
	finish();
}

Test(unix_socket, dials, .init = enter, .fini = leave)
{
	int l = serve(path, SOCK_STREAM, 4), fd = -1;
	struct stream *s;
	char want[160];

	server(path);
	echo = true;
	lab_start(&lab);
	s = opens(0);
	until(s->seen & CHAN_EV_UP);
	fd = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	cr_assert_geq(fd, 0);
	exchange(fd, 1 << 20);
	close(fd);
	until(s->seen & CHAN_EV_EOF);
	closes(s, false);
	until(s->gone);
	snprintf(want, sizeof(want), "stream opened in: 203.0.113.7:40000(3) out: %s", path);
	cr_assert(lab_logged(&lab, want));
	finish();
	close(l);
	unlink(path);
}

Test(unix_socket, nobody_there, .init = enter, .fini = leave)
{
	struct stream *s;

	server(path);
	lab_start(&lab);
	s = opens(0);
	until(s->seen & CHAN_EV_RESET);
	until(s->gone);
	cr_assert_eq(ctl_stats(lab.ctl)->dial_failed, 1);
	cr_assert(lab_logged(&lab, "/s: No such file or directory"));
	finish();
}

/* A target whose backlog is full is waited for, as TCP would; closed or drained meanwhile, the stream goes. */
Test(unix_socket, busy_target, .init = enter, .fini = leave)
{
	int l = serve(path, SOCK_STREAM, 0), fill = dial(path), fd;
	struct stream *s, *gone;

	server(path);
	lab_start(&lab);
	s = opens(0);
	gone = opens(0);
	for (unsigned i = 0; i < 20; i++) {
		lab_turn(&lab, 2);
		work();
	}
	cr_assert_not(s->seen & (CHAN_EV_UP | CHAN_EV_RESET));
	cr_assert_eq(says(s, "hello", 5), 5);
	closes(s, false); /* its bytes are owed all the same */
	closes(gone, true);
	until(gone->gone);
	fd = accept(l, NULL, NULL);
	cr_assert_geq(fd, 0);
	close(fd);
	close(fill);
	until(s->gone);
	fd = accept(l, NULL, NULL);
	cr_assert_geq(fd, 0);
	cr_assert_eq(now(fd, dir + sizeof(dir) - 8, 8), 5);
	close(fd);

	fill = dial(path);
	s = opens(0);
	for (unsigned i = 0; i < 5; i++)
		lab_turn(&lab, 2);
	ctl_drain(lab.ctl);
	until(s->seen & CHAN_EV_RESET);
	until(s->gone);
	finish();
	close(fill);
	close(l);
	unlink(path);
}
