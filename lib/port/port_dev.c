/* SPDX-License-Identifier: MIT */

/* Finding or making the device behind a gateway port, and saying in plain words why there is none. */

#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include "cap.h"
#include "devarg.h"
#include "pci.h"
#include "port_int.h"

/* Room that a frame of AF_PACKET needs beside its L3 packet: TPACKET_V2's header, its alignment, Ethernet, VLAN. */
#define AFP_OVERHEAD 128
/*
 * AF_PACKET's ring: one page a block and two frames a page moves most packets a second, and costs 4 MiB a queue pair.
 * A longer ring is colder (2048 frames: 12 % more CPU a packet); in a shorter one the burst of a stock peer's window
 * has no room while we wait for a CPU.
 */
#define AFP_BLOCK  4096u
#define AFP_FRAME  2048u
#define AFP_FRAMES 1024u

int port_fail(const struct port_conf *conf, char *why, size_t why_n, int err, const char *fmt, ...)
{
	int n = snprintf(why, why_n, "port %s: %s: ", conf->name, conf->device);
	va_list ap;

	if (n >= 0 && (size_t)n < why_n) {
		va_start(ap, fmt);
		vsnprintf(why + n, why_n - (size_t)n, fmt, ap);
		va_end(ap);
	}
	return err;
}

int port_refused(const struct port_conf *conf, char *why, size_t why_n, int err, const char *fmt, ...)
{
	char text[200], caps[CAP_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return port_fail(conf, why, why_n, err, "%s%s", text, cap_of_device(conf->device, conf->vdev, caps));
}

static bool is_driver(const char *device, const char *driver)
{
	return strncmp(device, driver, strlen(driver)) == 0;
}

/* The device string as it stands, or on another interface than it names. */
static int on_iface(const struct port_conf *conf, char *buf, size_t n)
{
	size_t n_old = 0;
	const char *at = devarg_find(conf->device, "iface", &n_old);

	if (!conf->iface)
		return snprintf(buf, n, "%s", conf->device);
	if (!at)
		return snprintf(buf, n, "%s,iface=%s", conf->device, conf->iface);
	return snprintf(buf, n, "%.*s%s%s", (int)(at - conf->device), conf->device, conf->iface, at + n_old);
}

int port_devargs(const struct port_conf *conf, char *buf, size_t n)
{
	unsigned frame = AFP_FRAME, block;
	int len = on_iface(conf, buf, n), more;
	char v[32];

	if (len < 0 || (size_t)len >= n)
		return -E2BIG;
	if (!conf->vdev || !is_driver(conf->device, "net_af_packet") ||
	    devarg_read(conf->device, "blocksz", v, sizeof(v)) || devarg_read(conf->device, "framesz", v, sizeof(v)) ||
	    devarg_read(conf->device, "framecnt", v, sizeof(v)))
		return 0;
	while (frame < conf->mtu + AFP_OVERHEAD)
		frame *= 2;
	block = frame > AFP_BLOCK ? frame : AFP_BLOCK;
	more = snprintf(buf + len, n - (size_t)len, ",blocksz=%u,framesz=%u,framecnt=%u", block, frame, AFP_FRAMES);
	return more < 0 || (size_t)(len + more) >= n ? -E2BIG : 0;
}

/* Drivers that stand on an interface of the kernel's, and do not make it. */
static bool needs_iface(const char *device)
{
	return is_driver(device, "net_af_packet") || is_driver(device, "net_af_xdp");
}

bool port_base(const struct port_conf *conf, char *buf, size_t n)
{
	if (!conf->vdev || !needs_iface(conf->device))
		return false;
	if (conf->iface) {
		snprintf(buf, n, "%s", conf->iface);
		return true;
	}
	return devarg_read(conf->device, "iface", buf, n);
}

/* The kernel interface that a vdev stands on must be there: the drivers themselves only say that they failed. */
static int check_iface(const struct port_conf *conf, const char *devargs, char *why, size_t why_n)
{
	bool needed = needs_iface(devargs);
	char name[64];

	if (needed && !devarg_read(devargs, "iface", name, sizeof(name)))
		return port_fail(conf, why, why_n, -EINVAL, "iface=NAME is missing");
	if (needed && if_nametoindex(name) == 0)
		return port_fail(conf, why, why_n, -ENODEV, "no interface %s", name);
	if (is_driver(devargs, "net_tap") && devarg_read(devargs, "remote", name, sizeof(name)) &&
	    if_nametoindex(name) == 0)
		return port_fail(conf, why, why_n, -ENODEV, "no interface %s", name);
	return 0;
}

/* Another port of ours is in this IOMMU group: then it is this process that has the group open. */
static bool group_is_ours(int group)
{
	struct rte_eth_dev_info info;
	char addr[PCI_ADDR_LEN];
	struct port_pci pci;
	uint16_t id;

	RTE_ETH_FOREACH_DEV(id)
	{
		if (rte_eth_dev_info_get(id, &info) == 0 && info.device &&
		    pci_addr_read(rte_dev_name(info.device), addr) > 0 &&
		    port_pci_read(&port_pci_here, addr, &pci) == 0 && pci.hands == PORT_PCI_VFIO && pci.group == group)
			return true;
	}
	return false;
}

/* Why there is no DPDK port at a PCI address: what can be seen of the device, or else what its driver said. */
static int explain_pci(const struct port_conf *conf, int err, char *why, size_t why_n)
{
	char addr[PCI_ADDR_LEN], text[PORT_PCI_TEXT];
	struct port_pci pci;
	int no;

	if (pci_addr_read(conf->device, addr) < 0)
		return port_fail(conf, why, why_n, -EINVAL, "no PCI address");
	/* By control, again and again: who else has it was asked at the start. */
	no = port_pci_look(&port_pci_here, addr, &pci, text, sizeof(text));
	if (no && !(no == -EBUSY && group_is_ours(pci.group)))
		return port_fail(conf, why, why_n, -ENODEV, "%s", text);
	return port_refused(
		conf, why, why_n, err,
		"bound to %s, but DPDK's driver did not take it (%s): log.level = \"debug\" tells its words",
		pci.driver, rte_strerror(-err));
}

static int probe(const struct port_conf *conf, const char *devargs, char *why, size_t why_n)
{
	int err = rte_dev_probe(devargs);
	char caps[CAP_TEXT];

	if (err == 0 || err == -EEXIST)
		return 0;
	if (!conf->vdev)
		return explain_pci(conf, err, why, why_n);
	if (*cap_of_device(conf->device, conf->vdev, caps))
		return port_fail(conf, why, why_n, err, "the driver refused (%s)%s", rte_strerror(-err), caps);
	return port_fail(conf, why, why_n, err, "the driver refused (%s): check the driver's name and its arguments",
			 rte_strerror(-err));
}

int port_dev_find(const struct port_conf *conf, uint16_t *id, bool *probed, char *why, size_t why_n)
{
	char devargs[PORT_DEVARGS_MAX], name[PORT_DEVARGS_MAX];
	struct rte_dev_iterator it;
	int err;

	*probed = false;
	if (port_devargs(conf, devargs, sizeof(devargs)))
		return port_fail(conf, why, why_n, -E2BIG, "longer than %d bytes", PORT_DEVARGS_MAX - 1);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(devargs, ","), devargs);
	if (rte_eth_dev_get_port_by_name(name, id) == 0)
		return 0;
	if (conf->vdev) {
		err = check_iface(conf, devargs, why, why_n);
		if (err)
			return err;
		port_left_clear(conf->device);
	}
	err = probe(conf, devargs, why, why_n);
	if (err)
		return err;
	*probed = true;
	if (rte_eth_dev_get_port_by_name(name, id) == 0)
		return 0;
	/* A PCI function with several ports names them otherwise: take the first of its ports. */
	RTE_ETH_FOREACH_MATCHING_DEV(*id, devargs, &it)
	{
		rte_eth_iterator_cleanup(&it);
		return 0;
	}
	if (!conf->vdev)
		return explain_pci(conf, -ENODEV, why, why_n);
	rte_eal_hotplug_remove("vdev", name);
	return port_fail(conf, why, why_n, -ENODEV, "the driver made no port");
}

void port_dev_remove(uint16_t id, bool probed)
{
	struct rte_eth_dev_info info;

	if (rte_eth_dev_info_get(id, &info))
		info.device = NULL;
	rte_eth_dev_close(id);
	if (probed && info.device)
		rte_dev_remove(info.device);
}
