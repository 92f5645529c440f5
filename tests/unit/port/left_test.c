/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "port_int.h"

/* Sockets' files that a killed process has left. */

static char path[] = "/tmp/kcpgate-left-XXXXXX/s";
static int fd;

static void setup(void)
{
	path[strlen(path) - 2] = '\0';
	cr_assert_not_null(mkdtemp(path));
	path[strlen(path)] = '/';
}

static void teardown(void)
{
	unlink(path);
	*strrchr(path, '/') = '\0';
	cr_assert_eq(rmdir(path), 0);
}

TestSuite(left, .init = setup, .fini = teardown);

static void listens(int type)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	fd = socket(AF_UNIX, type, 0);
	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	cr_assert_eq(listen(fd, 1), 0);
}

static bool clears(const char *fmt)
{
	char device[200];

	snprintf(device, sizeof(device), fmt, path);
	return port_left_clear(device);
}

static const char *const devices[] = {
	"net_memif0,role=server,socket=%s,socket-abstract=no",
	"net_vhost0,iface=%s,queues=1",
	"virtio_user0,server=1,path=%s",
	"net_virtio_user0,path=%s,server=1",
};

Test(left, cleared_where_nobody_listens)
{
	for (unsigned i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		for (unsigned t = 0; t < 2; t++) {
			listens(t ? SOCK_SEQPACKET : SOCK_STREAM);
			cr_expect_not(clears(devices[i]), "%s: somebody listens", devices[i]);
			cr_expect_eq(access(path, F_OK), 0);
			close(fd);
			cr_expect(clears(devices[i]), "%s", devices[i]);
			cr_expect_neq(access(path, F_OK), 0);
		}
		cr_expect_not(clears(devices[i]), "there is none");
	}
}

/* The file is another program's, who waits there for us; or is none of a socket. */
Test(left, not_ours)
{
	static const char *const theirs[] = {
		"net_memif0,role=client,socket=%s,socket-abstract=no",
		"net_memif0,socket=%s,socket-abstract=no",
		"net_memif0,role=server,socket=%s",
		"net_vhost0,iface=%s,client=1",
		"virtio_user0,path=%s",
		"net_af_packet0,iface=%s",
	};
	FILE *f;

	listens(SOCK_STREAM);
	close(fd);
	for (unsigned i = 0; i < sizeof(theirs) / sizeof(theirs[0]); i++)
		cr_expect_not(clears(theirs[i]), "%s", theirs[i]);
	unlink(path);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fclose(f);
	cr_expect_not(clears(devices[0]), "a file");
	cr_expect_eq(access(path, F_OK), 0);
}
