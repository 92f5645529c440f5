/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cap.h"

/* By the driver's name; "": PCI devices, whatever their driver.  arg: only where that is one of its arguments. */
static const struct need {
	const char *driver;
	unsigned cap;
	const char *name, *what, *arg;
} needs[] = {
	{"net_af_packet", CAP_NET_RAW, "CAP_NET_RAW", "packet sockets"},
	{"net_af_packet", CAP_NET_ADMIN, "CAP_NET_ADMIN", "the interface's flags"},
	{"net_af_xdp", CAP_NET_RAW, "CAP_NET_RAW", "AF_XDP sockets"},
	{"net_af_xdp", CAP_NET_ADMIN, "CAP_NET_ADMIN", "the program that is attached to the interface"},
	{"net_af_xdp", CAP_BPF, "CAP_BPF", "maps and programs of BPF"},
	{"net_af_xdp", CAP_PERFMON, "CAP_PERFMON", "a program that finds its way through headers of any length"},
	{"net_af_xdp", CAP_IPC_LOCK, "CAP_IPC_LOCK", "locked memory beyond ulimit -l"},
	{"net_tap", CAP_NET_ADMIN, "CAP_NET_ADMIN", "making its interface"},
	/* Both are its name.  At another program's socket it makes no interface. */
	{"net_virtio_user", CAP_NET_ADMIN, "CAP_NET_ADMIN", "making its interface", "path=/dev/vhost-net"},
	{"virtio_user", CAP_NET_ADMIN, "CAP_NET_ADMIN", "making its interface", "path=/dev/vhost-net"},
	{"", CAP_IPC_LOCK, "CAP_IPC_LOCK", "memory for the device, locked beyond ulimit -l"},
};

/* Of drivers that are not in the table, or bring what it does not know: whatever a network device may want. */
#define ANY (CAP_BIT(CAP_NET_ADMIN) | CAP_BIT(CAP_NET_RAW) | CAP_BIT(CAP_IPC_LOCK))
/* A card's: beside that registers of its own, where there is no IOMMU, and the physical addresses of its memory. */
#define CARD (ANY | CAP_BIT(CAP_SYS_RAWIO) | CAP_BIT(CAP_SYS_ADMIN))

/* Drivers without any. */
static const char *const plain[] = {"net_kudp", "net_ring", "net_null", "net_memif"};

static bool has(unsigned cap, const struct __user_cap_data_struct data[2])
{
	return data[cap / 32].effective >> cap % 32 & 1;
}

static bool cap_has(unsigned cap)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	struct rlimit r;

	/* The gateway raises its own limit to the hard one. */
	if (cap == CAP_IPC_LOCK && getrlimit(RLIMIT_MEMLOCK, &r) == 0 && r.rlim_max == RLIM_INFINITY)
		return true;
	if (syscall(SYS_capget, &head, data))
		return true;
	return has(cap, data) || ((cap == CAP_BPF || cap == CAP_PERFMON) && has(CAP_SYS_ADMIN, data));
}

static bool needed_by(const struct need *n, const char *device, bool vdev)
{
	if (!vdev)
		return n->driver[0] == '\0';
	return n->driver[0] && strncmp(device, n->driver, strlen(n->driver)) == 0 &&
	       (!n->arg || strstr(device, n->arg));
}

const char *cap_of_device(const char *device, bool vdev, char buf[CAP_TEXT])
{
	size_t at = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < sizeof(needs) / sizeof(needs[0]) && at < CAP_TEXT; i++)
		if (needed_by(&needs[i], device, vdev) && !cap_has(needs[i].cap))
			at += (size_t)snprintf(buf + at, CAP_TEXT - at, "%s %s is missing, for %s", at ? "," : ":",
					       needs[i].name, needs[i].what);
	return buf;
}

const char *cap_of_listen(int err, unsigned port)
{
	if ((err != -EACCES && err != -EPERM) || cap_has(CAP_NET_BIND_SERVICE))
		return "";
	return port < 1024 ? ": CAP_NET_BIND_SERVICE is missing, for ports below 1024"
			   : ": CAP_NET_BIND_SERVICE is missing, for ports below net.ipv4.ip_unprivileged_port_start";
}

static bool is_plain(const char *device)
{
	for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (!strncmp(device, plain[i], strlen(plain[i])))
			return true;
	return false;
}

uint64_t cap_mask(const char *device, bool vdev)
{
	uint64_t mask = 0;

	if (!vdev)
		return CARD;
	for (unsigned i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (needed_by(&needs[i], device, vdev))
			mask |= CAP_BIT(needs[i].cap);
	/* Its rings are locked: a few of them fit into ulimit -l. */
	if (!strncmp(device, "net_af_packet", strlen("net_af_packet")))
		mask |= CAP_BIT(CAP_IPC_LOCK);
	return mask || is_plain(device) ? mask : ANY;
}

uint64_t cap_any(void)
{
	return ANY;
}

/* Those that a gateway may keep. */
static const struct {
	unsigned cap;
	const char *name;
} names[] = {
	{CAP_DAC_OVERRIDE, "DAC_OVERRIDE"},
	{CAP_NET_BIND_SERVICE, "NET_BIND_SERVICE"},
	{CAP_NET_ADMIN, "NET_ADMIN"},
	{CAP_NET_RAW, "NET_RAW"},
	{CAP_IPC_LOCK, "IPC_LOCK"},
	{CAP_SYS_RAWIO, "SYS_RAWIO"},
	{CAP_SYS_ADMIN, "SYS_ADMIN"},
	{CAP_PERFMON, "PERFMON"},
	{CAP_BPF, "BPF"},
};

const char *cap_text(uint64_t mask, char buf[CAP_TEXT])
{
	size_t at = 0;

	snprintf(buf, CAP_TEXT, "none");
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (mask & CAP_BIT(names[i].cap))
			at += (size_t)snprintf(buf + at, CAP_TEXT - at, "%s%s", at ? ", " : "", names[i].name);
	return buf;
}
