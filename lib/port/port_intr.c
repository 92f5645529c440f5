/* SPDX-License-Identifier: MIT */

/*
 * What a receive queue can wake its worker by.  A device that was asked to strikes an eventfd once; net_tap's is the
 * descriptor of its interface, which can be read while it holds frames.  UIO's is one for the whole device, and another
 * thing than either: it wakes nobody.
 */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_ethdev.h>

#include "port_int.h"

/* What a descriptor is, as the kernel calls it. */
static bool fd_is(int fd, const char *what)
{
	char path[32], to[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, to, sizeof(to));
	return n == (ssize_t)strlen(what) && memcmp(to, what, (size_t)n) == 0;
}

bool port_intr_wanted(const struct port_conf *conf, const char *driver)
{
	/* Other software devices have none, and the library has words for each that is asked. */
	return !conf->vdev || strcmp(driver, "net_tap") == 0 || strcmp(driver, "net_virtio_user") == 0;
}

bool port_intr_fds(uint16_t id, unsigned n, int *fd, bool *strikes)
{
	bool readable = true, struck = true;

	for (uint16_t q = 0; q < n; q++) {
		int of = rte_eth_dev_rx_intr_ctl_q_get_fd(id, q);

		if (of <= 0)
			goto none;
		/* One that is two queues' would wake only one of the workers. */
		for (uint16_t i = 0; i < q; i++)
			if (fd[i] == of)
				goto none;
		struck &= fd_is(of, "anon_inode:[eventfd]");
		readable &= fd_is(of, "/dev/net/tun");
		fd[q] = of;
	}
	if (!struck && !readable)
		goto none;
	for (uint16_t q = 0; struck && q < n; q++)
		if (rte_eth_dev_rx_intr_disable(id, q))
			goto none;
	*strikes = struck;
	return true;
none:
	memset(fd, 0, n * sizeof(*fd));
	return false;
}

bool port_intr_take(struct port *p)
{
	return port_intr_fds(p->id, p->n_rxq < PORT_FDS ? p->n_rxq : PORT_FDS, p->rx_fd, &p->rx_intr);
}
