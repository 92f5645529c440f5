/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ping.h"

/* 0 or -errno. */
static int connected(int fd, const struct sockaddr *sa, socklen_t n, unsigned timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int err = 0;

	if (connect(fd, sa, n) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	if (poll(&p, 1, (int)timeout_ms) <= 0)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len))
		return -errno;
	return -err;
}

static int attempt(int family, const struct sockaddr *sa, socklen_t n, unsigned timeout_ms)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	err = connected(fd, sa, n, timeout_ms);
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int by_path(const char *path, unsigned timeout_ms)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t n = strlen(path);

	if (n >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	memcpy(un.sun_path, path, n);
	if (path[0] == '@')
		un.sun_path[0] = '\0';
	return attempt(AF_UNIX, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n),
		       timeout_ms);
}

/* The first address that takes it. */
static int by_name(const char *host, const char *port, unsigned timeout_ms)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *all, *a;
	int fd = -EADDRNOTAVAIL;

	if (getaddrinfo(host, port, &hints, &all))
		return -EADDRNOTAVAIL;
	for (a = all; a && fd < 0; a = a->ai_next)
		fd = attempt(a->ai_family, a->ai_addr, a->ai_addrlen, timeout_ms);
	freeaddrinfo(all);
	return fd;
}

int reach(const char *where, unsigned timeout_ms)
{
	const char *colon = strrchr(where, ':');
	char host[256];
	size_t n;

	if (!colon || where[0] == '/' || where[0] == '@' || where[0] == '.')
		return by_path(where, timeout_ms);
	n = (size_t)(colon - where);
	if (n >= sizeof(host))
		return -ENAMETOOLONG;
	memcpy(host, where, n);
	host[n] = '\0';
	if (host[0] == '[' && host[n - 1] == ']') {
		memmove(host, host + 1, n - 2);
		host[n - 2] = '\0';
	}
	/* What listens on any address is reached by this machine's own. */
	if (!host[0] || !strcmp(host, "0.0.0.0") || !strcmp(host, "::"))
		strcpy(host, "localhost");
	return by_name(host, colon + 1, timeout_ms);
}

char *reach_text(const char *escaped, size_t *n)
{
	char *text = malloc(strlen(escaped) + 1);

	*n = 0;
	for (const char *p = escaped; text && *p; p++) {
		bool escape = *p == '\\' && p[1] && strchr("rnt\\", p[1]);

		if (escape)
			p++;
		text[(*n)++] = !escape ? *p : *p == 'r' ? '\r' : *p == 'n' ? '\n' : *p == 't' ? '\t' : '\\';
	}
	return text;
}
