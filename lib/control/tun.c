/* SPDX-License-Identifier: MIT */

/* Descriptors of TUN and TAP interfaces among our own. */

#include <dirent.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl_int.h"

#define TUN_DEVICE "/dev/net/tun"

bool tun_alive(int fd, char name[IF_NAMESIZE])
{
	struct ifreq ifr = {0};

	if (ioctl(fd, TUNGETIFF, &ifr))
		return false;
	memcpy(name, ifr.ifr_name, IF_NAMESIZE);
	name[IF_NAMESIZE - 1] = '\0';
	return true;
}

/* Sockets, which may be many thousands, are not asked. */
static bool is_tun(DIR *d, const char *fd)
{
	char to[sizeof(TUN_DEVICE)];
	ssize_t n = readlinkat(dirfd(d), fd, to, sizeof(to));

	return n == (ssize_t)strlen(TUN_DEVICE) && memcmp(to, TUN_DEVICE, (size_t)n) == 0;
}

int tun_fd_named(const char *ifname)
{
	DIR *d = opendir("/proc/self/fd");
	char name[IF_NAMESIZE];
	struct dirent *e;
	int fd = -1;

	while (d && fd < 0 && (e = readdir(d)))
		if (is_tun(d, e->d_name) && tun_alive(atoi(e->d_name), name) && strcmp(name, ifname) == 0)
			fd = atoi(e->d_name);
	if (d)
		closedir(d);
	return fd;
}
