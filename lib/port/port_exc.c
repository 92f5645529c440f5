/* SPDX-License-Identifier: MIT */

/*
 * The kernel's side of a gateway port as a device: DPDK's virtio-user over vhost-net, whose other end is a TAP.  The
 * workers send what is the kernel's by a queue each, and a thread of the kernel's takes it from there.  What the kernel
 * sends comes with checksums undone and segments uncut, which makes it cheap for the kernel: the workers do both.
 */

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include "cap.h"
#include "limit.h"
#include "port_exc.h"
#include "port_int.h"

#define VHOST_NET "/dev/vhost-net"
#define EXC_DESC  1024

static int exc_fail(const struct port_exc_conf *c, char *why, size_t why_n, int err, const char *text)
{
	snprintf(why, why_n, "port %s: interface %s: %s", c->name, c->ifname, text);
	return err;
}

static int exc_refused(const struct port_exc_conf *c, char *why, size_t why_n, int err, const char *what)
{
	snprintf(why, why_n, "port %s: interface %s: %s: %s", c->name, c->ifname, what, rte_strerror(-err));
	return err;
}

static int exc_check(const struct port_exc_conf *c, char *why, size_t why_n)
{
	if (access(VHOST_NET, F_OK))
		return exc_fail(c, why, why_n, -ENODEV,
				"exception \"virtio-user\" needs " VHOST_NET
				", which is not there (modprobe vhost_net); or take \"tap\"");
	if (access(VHOST_NET, R_OK | W_OK))
		return exc_fail(c, why, why_n, -errno, VHOST_NET " may not be opened: root, or a group that may");
	if (if_nametoindex(c->ifname))
		return exc_fail(c, why, why_n, -EEXIST, "exists already");
	if (c->workers > LIMIT_EXC_QUEUES)
		return exc_fail(c, why, why_n, -EINVAL,
				"exception \"virtio-user\" has a queue for each of " LIMIT_TEXT(
					LIMIT_EXC_QUEUES) " workers at most; take \"tap\"");
	return 0;
}

static int exc_probe(const struct port_exc_conf *c, struct port_exc *out, char *why, size_t why_n)
{
	static unsigned made; /* names must differ, and one that was closed may linger */
	const uint8_t *m = c->mac;
	char args[200], device[240], caps[CAP_TEXT], what[CAP_TEXT + 16];
	int err;

	snprintf(out->dev, sizeof(out->dev), "virtio_user%u", 100 + made++);
	snprintf(args, sizeof(args),
		 "path=" VHOST_NET ",iface=%s,queues=%u,queue_size=%u,mac=%02x:%02x:%02x:%02x:%02x:%02x", c->ifname,
		 c->workers, EXC_DESC, m[0], m[1], m[2], m[3], m[4], m[5]);
	err = rte_eal_hotplug_add("vdev", out->dev, args);
	if (err) {
		snprintf(device, sizeof(device), "%s,%s", out->dev, args);
		snprintf(what, sizeof(what), "virtio-user%s", cap_of_device(device, true, caps));
		return exc_refused(c, why, why_n, err, what);
	}
	if (rte_eth_dev_get_port_by_name(out->dev, &out->id) == 0)
		return 0;
	rte_eal_hotplug_remove("vdev", out->dev);
	return exc_fail(c, why, why_n, -ENODEV, "virtio-user made no port");
}

/*
 * What the kernel may leave to us: its checksums, and TCP in segments of up to 64 KB, which come in as many buffers as
 * they need.  The latter only with both of the others: so it is with virtio, too.
 */
static uint64_t exc_offloads(const struct rte_eth_dev_info *info)
{
	const uint64_t sums = RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
	const uint64_t large = sums | RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_SCATTER;

	if ((info->rx_offload_capa & large) == large)
		return large;
	return (info->rx_offload_capa & sums) == sums ? sums : 0;
}

static int exc_rings(const struct port_exc_conf *c, const struct port_exc *e)
{
	int err = 0;

	for (uint16_t q = 0; q < c->workers && !err; q++) {
		err = rte_eth_rx_queue_setup(e->id, q, EXC_DESC, SOCKET_ID_ANY, NULL, c->pools[q]);
		if (!err)
			err = rte_eth_tx_queue_setup(e->id, q, EXC_DESC, SOCKET_ID_ANY, NULL);
	}
	return err ? err : rte_eth_dev_start(e->id);
}

/* With receive interrupts; where they do not work, without, and workers look by time. */
static int exc_setup(const struct port_exc_conf *c, struct port_exc *e, bool intr, char *why, size_t why_n)
{
	struct rte_eth_conf eth = {.intr_conf.rxq = intr};
	struct rte_eth_dev_info info;
	const char *what = "its queues";
	bool strikes = false;
	int err = rte_eth_dev_info_get(e->id, &info);

	if (!err) {
		eth.rxmode.offloads = exc_offloads(&info);
		err = rte_eth_dev_configure(e->id, (uint16_t)c->workers, (uint16_t)c->workers, &eth);
	}
	if (!err) {
		what = "its rings";
		err = exc_rings(c, e);
	}
	if (!err && (!intr || (port_intr_fds(e->id, c->workers, e->rx_fd, &strikes) && strikes)))
		return 0;
	if (!intr)
		return exc_refused(c, why, why_n, err, what);
	memset(e->rx_fd, 0, sizeof(e->rx_fd));
	rte_eth_dev_stop(e->id);
	return exc_setup(c, e, false, why, why_n);
}

int port_exc_start(const struct port_exc_conf *c, struct port_exc *out, char *why, size_t why_n)
{
	int err = exc_check(c, why, why_n);

	memset(out, 0, sizeof(*out));
	if (!err)
		err = exc_probe(c, out, why, why_n);
	if (err)
		return err;
	out->started = true;
	err = exc_setup(c, out, true, why, why_n);
	if (!err && if_nametoindex(c->ifname) == 0)
		err = exc_fail(c, why, why_n, -ENODEV, "virtio-user has not made it");
	if (err)
		port_exc_stop(out);
	return err;
}

void port_exc_stop(struct port_exc *e)
{
	if (!e->started)
		return;
	rte_eth_dev_stop(e->id);
	rte_eth_dev_close(e->id);
	rte_eal_hotplug_remove("vdev", e->dev);
	e->started = false;
}
