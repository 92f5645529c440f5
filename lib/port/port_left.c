/* SPDX-License-Identifier: MIT */

/*
 * Devices that wait at a Unix socket of their own for another program: of a killed process the socket's file is left,
 * and DPDK's drivers do not begin where there is one.  What nobody listens at any more is removed.
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "devarg.h"
#include "port_int.h"

/* Which argument has the path, if others have these values, or have not that one. */
static const struct waits {
	const char *driver, *path;
	const char *with[2][2], *without[2];
} waits[] = {
	{"net_memif", "socket", {{"role", "server"}, {"socket-abstract", "no"}}, {NULL, NULL}},
	{"net_vhost", "iface", {{NULL, NULL}}, {"client", "1"}},
	{"virtio_user", "path", {{"server", "1"}}, {NULL, NULL}},
	{"net_virtio_user", "path", {{"server", "1"}}, {NULL, NULL}},
};

static bool has(const char *device, const char *const arg[2])
{
	char v[16];

	return devarg_read(device, arg[0], v, sizeof(v)) && !strcmp(v, arg[1]);
}

static bool does_wait(const char *device, const struct waits *w)
{
	for (unsigned i = 0; i < 2; i++)
		if (w->with[i][0] && !has(device, w->with[i]))
			return false;
	return !w->without[0] || !has(device, w->without);
}

static bool nobody_listens(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool nobody;

	if (fd < 0)
		return false;
	/* Of another type than a stream that is listened at: EPROTOTYPE. */
	nobody = connect(fd, (const struct sockaddr *)un, sizeof(*un)) && errno == ECONNREFUSED;
	close(fd);
	return nobody;
}

bool port_left_clear(const char *device)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct stat st;

	for (unsigned i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		const struct waits *w = &waits[i];

		if (strncmp(device, w->driver, strlen(w->driver)) != 0 ||
		    !devarg_read(device, w->path, un.sun_path, sizeof(un.sun_path)))
			continue;
		return does_wait(device, w) && un.sun_path[0] == '/' && lstat(un.sun_path, &st) == 0 &&
		       S_ISSOCK(st.st_mode) && nobody_listens(&un) && unlink(un.sun_path) == 0;
	}
	return false;
}
