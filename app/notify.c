/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "notify.h"

#define STATUS_MAX 200

static int sock = -1;
static struct sockaddr_un manager;
static socklen_t manager_n;
static uint64_t every_us, alive_us; /* 0: no watchdog; when it was told last */

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* 0: it went. */
static int tell(const char *text)
{
	if (sock < 0)
		return 0;
	if (sendto(sock, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&manager, manager_n) < 0)
		return -errno;
	return 0;
}

/* A path, or behind '@' a name of the kernel's alone. */
static bool address(const char *name)
{
	size_t n = name ? strlen(name) : 0;

	if (n < 2 || n >= sizeof(manager.sun_path) || (name[0] != '/' && name[0] != '@'))
		return false;
	manager = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(manager.sun_path, name, n);
	if (name[0] == '@')
		manager.sun_path[0] = '\0';
	manager_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (name[0] == '/'));
	return true;
}

/* How often we are to be heard of, in microseconds; 0: it does not matter. */
static uint64_t asked(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	char *end;
	uint64_t v;

	if (!usec || *usec < '0' || *usec > '9' || (pid && strtol(pid, NULL, 10) != getpid()))
		return 0;
	errno = 0;
	v = strtoull(usec, &end, 10);
	return errno || *end ? 0 : v / 2;
}

void notify_open(void)
{
	notify_close();
	if (!address(getenv("NOTIFY_SOCKET")))
		return;
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	every_us = asked();
}

void notify_close(void)
{
	if (sock >= 0)
		close(sock);
	sock = -1;
	every_us = alive_us = 0;
}

void notify_ready(void)
{
	tell("READY=1");
}

void notify_reloading(void)
{
	char text[64];

	/* The time is for Type=notify-reload of systemd 253 and later. */
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_us());
	tell(text);
}

void notify_stopping(void)
{
	tell("STOPPING=1");
}

void notify_status(const char *text)
{
	char line[sizeof("STATUS=") + STATUS_MAX];

	snprintf(line, sizeof(line), "STATUS=%.*s", (int)strcspn(text, "\n"), text);
	tell(line);
}

void notify_watchdog(void)
{
	uint64_t now = every_us ? now_us() : 0;

	if (every_us && (alive_us == 0 || now - alive_us >= every_us) && tell("WATCHDOG=1") == 0)
		alive_us = now;
}
