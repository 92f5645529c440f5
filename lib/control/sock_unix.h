/* SPDX-License-Identifier: MIT */
#pragma once

/* Unix stream sockets by path; a path that begins with '@' names an abstract one, as in Go. */

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/* The kernel's form of a path; its length in *len.  0, -EINVAL (empty) or -ENAMETOOLONG. */
int sock_unix(const char *path, struct sockaddr_un *un, socklen_t *len);

/* A listening socket's file, so that only this one is removed. */
struct unix_file {
	dev_t dev;
	ino_t ino;
};

/*
 * Listens (non-blocking).  A socket file on which nobody answers is what a process left that did not end properly: it
 * is replaced.  0; -EADDRINUSE: somebody listens there, -ENOTSOCK: something else has that name, or another -errno.
 */
int unix_listen(const char *path, int *fd, struct unix_file *file);

/* Removes the file if it is still the one that unix_listen made. */
void unix_unlink(const char *path, const struct unix_file *file);
