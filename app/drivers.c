/* SPDX-License-Identifier: MIT */
#include "drivers.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* Drivers of devices without a card that need none but themselves; virtio_user is one of virtio's. */
static const struct {
	const char *device; /* the name of one begins with it, and goes on with a digit */
	const char *lib;
} known[] = {
	{"net_af_packet", "net_af_packet"},
	{"net_af_xdp", "net_af_xdp"},
	{"net_kudp", "net_ring"}, /* ours, which stands on it */
	{"net_memif", "net_memif"},
	{"net_null", "net_null"},
	{"net_pcap", "net_pcap"},
	{"net_ring", "net_ring"},
	{"net_tap", "net_tap"},
	{"net_virtio_user", "net_virtio"},
	{"virtio_user", "net_virtio"},
};

#define KNOWN  (sizeof(known) / sizeof(known[0]))
#define ALWAYS "mempool_ring" /* what every pool begins as */

static bool is_driver(const char *device, const char *driver)
{
	size_t n = strlen(driver);

	return strncmp(device, driver, n) == 0 && (device[n] == '\0' || strchr("0123456789,", device[n]));
}

/* Devices and drivers that the file brings itself. */
static bool brings_own(const struct conf *c)
{
	static const char *const words[] = {"-d", "-a", "-w", "--allow", "--vdev"};

	for (char **arg = c->eal.args; arg && *arg; arg++)
		for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (strncmp(*arg, words[i], strlen(words[i])) == 0)
				return true;
	return false;
}

/* "librte_net_null.so", with or without versions behind it. */
static bool is_lib(const char *file, const char *lib)
{
	size_t n = strlen(lib);

	return strncmp(file, "librte_", 7) == 0 && strncmp(file + 7, lib, n) == 0 &&
	       strncmp(file + 7 + n, ".so", 3) == 0 && (file[10 + n] == '\0' || file[10 + n] == '.');
}

static bool have_lib(const struct drivers *d, const char *lib)
{
	for (unsigned i = 0; i < d->n; i++)
		if (is_lib(strrchr(d->path[i], '/') + 1, lib))
			return true;
	return false;
}

static bool add_lib(struct drivers *d, const char *dir, const char *lib)
{
	DIR *folder = have_lib(d, lib) ? NULL : opendir(dir);
	struct dirent *e = NULL;
	int n = PATH_MAX;

	if (!folder)
		return have_lib(d, lib);
	while ((e = readdir(folder)) && !is_lib(e->d_name, lib))
		;
	if (e && d->n < DRIVERS_MAX)
		n = snprintf(d->path[d->n], PATH_MAX, "%s/%s", dir, e->d_name);
	closedir(folder);
	if (n >= PATH_MAX)
		return false;
	d->n++;
	return true;
}

static bool add_device(struct drivers *d, const char *dir, const char *device)
{
	for (unsigned i = 0; i < KNOWN; i++)
		if (is_driver(device, known[i].device))
			return add_lib(d, dir, known[i].lib);
	return false;
}

/* AF_XDP beside the kernel is a device of ours, and to DPDK one of rings (lib/port/xdp_port.h). */
static const char *device_of(const struct conf_port *p)
{
	return p->exception == CONF_EXC_KERNEL && is_driver(p->device, "net_af_xdp") ? "net_ring" : p->device;
}

bool drivers_of(const struct conf *c, const char *dir, struct drivers *d)
{
	d->n = 0;
	/* dpdk-dumpcap loads all, and both number them as they come: pools of its own are ours to take from. */
	if (c->eal.dumpcap || brings_own(c) || !add_lib(d, dir, ALWAYS))
		return false;
	for (unsigned i = 0; i < c->n_ports; i++) {
		const struct conf_port *p = &c->ports[i];

		if (!p->vdev || !add_device(d, dir, device_of(p)) ||
		    (p->exception == CONF_EXC_VIRTIO && !add_device(d, dir, "virtio_user")))
			return false;
	}
	return true;
}

bool drivers_has(const struct drivers *d, const char *file)
{
	for (unsigned i = 0; i < KNOWN; i++)
		if (is_lib(file, known[i].lib))
			return have_lib(d, known[i].lib);
	return is_lib(file, ALWAYS);
}
