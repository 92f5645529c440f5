/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sock_unix.h"

int sock_unix(const char *path, struct sockaddr_un *un, socklen_t *len)
{
	size_t n = strlen(path);

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	if (n == 0)
		return -EINVAL;
	if (n >= sizeof(un->sun_path))
		return -ENAMETOOLONG;
	memcpy(un->sun_path, path, n);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (path[0] == '@')
		un->sun_path[0] = '\0';
	else
		*len += 1;
	return 0;
}

/* Nobody answers: -ECONNREFUSED.  Of another kind than a stream, or too busy to answer: somebody's all the same. */
static int knock(const struct sockaddr_un *un, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)un, len))
		err = -errno;
	close(fd);
	return err;
}

/* Makes way for a new socket file.  0 or -errno. */
static int clear_stale(const char *path, const struct sockaddr_un *un, socklen_t len)
{
	struct stat st;
	int err;

	if (path[0] == '@')
		return 0;
	if (lstat(path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	err = knock(un, len);
	if (err != -ECONNREFUSED)
		return err == -EMFILE || err == -ENFILE ? err : -EADDRINUSE;
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

int unix_listen(const char *path, int *out, struct unix_file *file)
{
	struct sockaddr_un un;
	struct stat st = {0};
	socklen_t len;
	int fd, err = sock_unix(path, &un, &len);

	if (!err)
		err = clear_stale(path, &un, len);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&un, len)) {
		err = -errno;
		close(fd);
		return err;
	}
	if (path[0] != '@')
		lstat(path, &st);
	*file = (struct unix_file){st.st_dev, st.st_ino};
	if (listen(fd, SOMAXCONN)) {
		err = -errno;
		close(fd);
		unix_unlink(path, file);
		return err;
	}
	*out = fd;
	return 0;
}

void unix_unlink(const char *path, const struct unix_file *file)
{
	struct stat st;

	if (path[0] != '@' && lstat(path, &st) == 0 && st.st_dev == file->dev && st.st_ino == file->ino)
		unlink(path);
}
