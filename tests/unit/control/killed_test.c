/* SPDX-License-Identifier: MIT */

/* Connections of a gateway that is killed: how they end is the kernel's to say, and was told before. */

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake.h"
#include "tcp.h"

#define CHUNKS 48 /* more than a receiver takes that does not read */

/* What becomes of a socket when its process is killed: its last descriptor goes, and nobody says anything before. */
static void killed(int fd)
{
	int null = open("/dev/null", O_RDONLY);

	cr_assert_geq(null, 0);
	cr_assert_eq(dup2(null, fd), fd);
	close(null);
}

static int fd_of(const struct stream *s)
{
	return ((const struct tcp *)s->c->ctl)->ev.fd;
}

static size_t came;

/* How reading ends: 0 or -errno; so many bytes came before. */
static int ends_with(int fd)
{
	char buf[8192];
	ssize_t n;

	for (came = 0; (n = recv(fd, buf, sizeof(buf), 0)) > 0;)
		came += (size_t)n;
	return n < 0 ? -errno : 0;
}

/* A gateway that is killed leaves no clean end to who waits for more, on either side of it. */
Test(killed, is_a_reset, .init = setup)
{
	int fd, ls, target;
	uint16_t port;

	begin(1, 64);
	ls = lab_listen(&port);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_server(&lab, 4000, 4000, "127.0.0.1", port);
	lab_start(&lab);
	fd = lab_connect(PORT);
	until(n_streams == 1);
	opens(1);
	until(streams[1].seen & CHAN_EV_UP);
	target = accept(ls, NULL, NULL);
	for (unsigned i = 0; i < 2; i++) {
		says(&streams[i], "the beginning", 13);
		until(chan_used(&streams[i].c->down) == 0);
		killed(fd_of(&streams[i]));
	}
	cr_assert_eq(ends_with(fd), -ECONNRESET);
	cr_assert_eq(ends_with(target), -ECONNRESET);
	close(fd);
	close(target);
	close(ls);
	finish();
}

/*
 * Who is given everything has a clean end: the kernel delivers it without us, after a half-close and after the end,
 * though most of it is still on this side then.
 */
Test(killed, behind_the_end, .init = setup)
{
	static char chunk[8192];
	int fd[2];

	begin(1, 256);
	lab_client(&lab, PORT, "198.51.100.9", 4000, 4000);
	lab_start(&lab);
	for (unsigned i = 0; i < 2; i++) {
		int sock, waits = 0;

		fd[i] = lab_connect(PORT);
		until(n_streams == i + 1);
		sock = fd_of(&streams[i]);
		for (unsigned k = 0; k < CHUNKS; k++)
			until(says(&streams[i], chunk, sizeof(chunk)) == sizeof(chunk));
		if (i)
			closes(&streams[i], false);
		else
			post(&streams[i], CHAN_EV_EOF);
		until(i ? streams[i].gone : chan_used(&streams[i].c->down) == 0);
		lab_turn(&lab, 0);
		cr_assert_eq(ioctl(sock, SIOCOUTQ, &waits), 0);
		cr_assert_gt(waits, 0, "everything has been delivered before");
		killed(sock);
		cr_assert_eq(ends_with(fd[i]), 0, "%u", i);
		cr_assert_eq(came, CHUNKS * sizeof(chunk));
		close(fd[i]);
	}
	finish();
}
