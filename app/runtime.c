/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "runtime.h"

#define LOCK	"kcpgate.lock"
#define PREFIX	"kcpgate-"
#define YOUNG_S 60

/* And behind the first, where several processes share a folder, ":1"; behind the second the capture's number. */
static const char *const sockets[] = {"dpdk_telemetry.v2", "kcpgate_capture"};

static int lock_fd = -1;

static bool may_have(const char *base)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/dpdk", base) >= (int)sizeof(path))
		return false;
	return (mkdir(path, 0700) == 0 || errno == EEXIST) && access(path, W_OK | X_OK) == 0;
}

/* In a folder that all may write to, somebody else could have made ours. */
static bool own_place(void)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/tmp/kcpgate-%u", (unsigned)getuid());
	if ((mkdir(path, 0700) && errno != EEXIST) || lstat(path, &st) || !S_ISDIR(st.st_mode) ||
	    st.st_uid != getuid() || (st.st_mode & 077))
		return false;
	return may_have(path) && setenv("XDG_RUNTIME_DIR", path, 1) == 0;
}

bool runtime_place(const char *base)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	if (base)
		return may_have(base);
	if (getuid() == 0)
		return may_have("/var/run");
	return may_have(xdg ? xdg : "/tmp") || own_place();
}

int runtime_hold(const char *dir)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/" LOCK, dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_SH | LOCK_NB)) {
		int err = -errno;

		close(fd);
		return err;
	}
	lock_fd = fd;
	return 0;
}

void runtime_leave(const char *dir)
{
	char path[PATH_MAX];

	/* Whoever shares the folder holds the lock too, and removes it when it leaves. */
	if (lock_fd >= 0 && flock(lock_fd, LOCK_EX | LOCK_NB) == 0 &&
	    snprintf(path, sizeof(path), "%s/" LOCK, dir) < (int)sizeof(path))
		unlink(path);
	if (lock_fd >= 0)
		close(lock_fd);
	lock_fd = -1;
	rmdir(dir);
}

/* ---- what others have left ---- */

static bool is_socket(const char *name)
{
	for (unsigned i = 0; i < sizeof(sockets) / sizeof(sockets[0]); i++)
		if (!strncmp(name, sockets[i], strlen(sockets[i])))
			return true;
	return false;
}

int runtime_close(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int err = d ? 0 : -errno;

	while (d && (e = readdir(d)))
		if (is_socket(e->d_name) && fchmodat(dirfd(d), e->d_name, 0600, 0))
			err = -errno;
	if (d)
		closedir(d);
	return err;
}

static bool listens(const char *dir, const char *name)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd, rc;

	if (snprintf(un.sun_path, sizeof(un.sun_path), "%s/%s", dir, name) >= (int)sizeof(un.sun_path))
		return true; /* who knows */
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return true;
	rc = connect(fd, (struct sockaddr *)&un, sizeof(un)) ? errno : 0;
	close(fd);
	return rc != ECONNREFUSED && rc != ENOENT;
}

/* What a folder of ours may hold.  False: there is something else, or somebody listens. */
static bool all_dead(DIR *d, const char *dir)
{
	struct dirent *e;

	rewinddir(d);
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(e->d_name, LOCK))
			continue;
		if (!is_socket(e->d_name) || listens(dir, e->d_name))
			return false;
	}
	return true;
}

static void empty(DIR *d)
{
	struct dirent *e;

	rewinddir(d);
	while ((e = readdir(d)))
		if (is_socket(e->d_name))
			unlinkat(dirfd(d), e->d_name, 0);
	unlinkat(dirfd(d), LOCK, 0);
}

/* The PID of "kcpgate-PID", of which there is no process; false for all other names. */
static bool pid_is_gone(const char *name)
{
	const char *digits = name + strlen(PREFIX);
	char *end;
	long pid;

	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 || !isdigit((unsigned char)*digits))
		return false;
	pid = strtol(digits, &end, 10);
	return *end == '\0' && pid > 0 && pid <= INT_MAX && kill((pid_t)pid, 0) && errno == ESRCH;
}

/* A process of another PID namespace, whose number says nothing here, may be about to put its lock there. */
static bool is_young(DIR *d)
{
	struct stat st;

	return fstat(dirfd(d), &st) || time(NULL) - st.st_mtime < YOUNG_S;
}

/* Whether the folder is one that an ended process of ours has left; the lock, if there is one, is then held in *lock.
 */
static bool is_left(DIR *d, const char *dir, const char *name, int *lock)
{
	*lock = openat(dirfd(d), LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*lock >= 0 ? flock(*lock, LOCK_EX | LOCK_NB) != 0 : errno != ENOENT || !pid_is_gone(name) || is_young(d))
		return false;
	return all_dead(d, dir);
}

static bool sweep_one(const char *parent, const char *name)
{
	char path[PATH_MAX];
	bool gone = false;
	int fd, lock;
	DIR *d;

	if (snprintf(path, sizeof(path), "%s/%s", parent, name) >= (int)sizeof(path))
		return false;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (is_left(d, path, name, &lock)) {
		empty(d);
		gone = rmdir(path) == 0;
	}
	if (lock >= 0)
		close(lock);
	closedir(d);
	return gone;
}

unsigned runtime_sweep(const char *dir)
{
	const char *slash = strrchr(dir, '/');
	char parent[PATH_MAX];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	if (!slash || slash == dir ||
	    snprintf(parent, sizeof(parent), "%.*s", (int)(slash - dir), dir) >= (int)sizeof(parent))
		return 0;
	d = opendir(parent);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && strcmp(e->d_name, slash + 1) != 0)
			n += sweep_one(parent, e->d_name);
	if (d)
		closedir(d);
	return n;
}
