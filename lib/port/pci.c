/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pci.h"
#include "sysfile.h"

#define CLASS_NET   0x02
#define GROUP_SHOWN 32
#define NETS_SHOWN  4

const struct port_pci_host port_pci_here = {.sys = "/sys", .dev = "/dev", .proc = "/proc"};

/* ---- reading ---- */

static int path_of(char path[PATH_MAX], const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(path, PATH_MAX, fmt, ap);
	va_end(ap);
	return n;
}

/* A number of the device's; 0 when there is none. */
static long long read_number(const struct port_pci_host *h, const char *addr, const char *what)
{
	char path[PATH_MAX];
	long long v = 0;

	path_of(path, "%s/bus/pci/devices/%s/%s", h->sys, addr, what);
	sysfile_number(path, &v);
	return v;
}

/* The last part of what a link of the device's points to; empty when there is no link. */
static void read_link(const struct port_pci_host *h, const char *addr, const char *what, char *out, size_t n)
{
	char path[PATH_MAX], to[PATH_MAX];
	const char *slash;
	ssize_t len;

	path_of(path, "%s/bus/pci/devices/%s/%s", h->sys, addr, what);
	len = readlink(path, to, sizeof(to) - 1);
	to[len > 0 ? len : 0] = '\0';
	slash = strrchr(to, '/');
	snprintf(out, n, "%.*s", (int)n - 1, slash ? slash + 1 : to);
}

static bool hidden(const char *name)
{
	return name[0] == '.';
}

static void read_ifs(struct port_pci *p, const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *e;

	while (d && (e = readdir(d)) && p->n_ifs < PORT_PCI_IFS)
		if (!hidden(e->d_name))
			snprintf(p->ifs[p->n_ifs++], sizeof(p->ifs[0]), "%.15s", e->d_name);
	if (d)
		closedir(d);
}

/* Its interfaces and its uio file: in folders of its own, those of virtio one level below. */
static void read_children(const struct port_pci_host *h, struct port_pci *p)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *d;

	path_of(path, "%s/bus/pci/devices/%s/net", h->sys, p->addr);
	read_ifs(p, path);
	path_of(path, "%s/bus/pci/devices/%s", h->sys, p->addr);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, "virtio", 6) != 0)
			continue;
		path_of(path, "%s/bus/pci/devices/%s/%s/net", h->sys, p->addr, e->d_name);
		read_ifs(p, path);
	}
	if (d)
		closedir(d);
	path_of(path, "%s/bus/pci/devices/%s/uio", h->sys, p->addr);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (strncmp(e->d_name, "uio", 3) == 0)
			snprintf(p->uio, sizeof(p->uio), "%.15s", e->d_name);
	if (d)
		closedir(d);
}

static void read_group(const struct port_pci_host *h, struct port_pci *p)
{
	char path[PATH_MAX], text[32] = "", *end;

	read_link(h, p->addr, "iommu_group", text, sizeof(text));
	p->group = (int)strtol(text, &end, 10);
	if (end == text) {
		p->group = -1;
		return;
	}
	path_of(path, "%s/kernel/iommu_groups/%d/name", h->sys, p->group);
	p->noiommu = sysfile_line(path, text, sizeof(text)) && strncmp(text, "vfio-noiommu", 12) == 0;
}

static enum port_pci_hands hands_of(const char *driver)
{
	static const char *const beside[] = {"mlx4_core", "mlx5_core", "mana"};

	if (driver[0] == '\0')
		return PORT_PCI_FREE;
	for (unsigned i = 0; i < sizeof(beside) / sizeof(beside[0]); i++)
		if (strcmp(driver, beside[i]) == 0)
			return PORT_PCI_BESIDE;
	/* vfio-pci, and its variants: mlx5_vfio_pci, hisi-acc-vfio-pci */
	if (strstr(driver, "vfio"))
		return PORT_PCI_VFIO;
	return strstr(driver, "uio") ? PORT_PCI_UIO : PORT_PCI_KERNEL;
}

int port_pci_read(const struct port_pci_host *h, const char *addr, struct port_pci *p)
{
	char path[PATH_MAX];

	memset(p, 0, sizeof(*p));
	snprintf(p->addr, sizeof(p->addr), "%s", addr);
	p->group = -1;
	path_of(path, "%s/bus/pci/devices/%s", h->sys, addr);
	if (access(path, F_OK))
		return -ENODEV;
	p->vendor = (uint16_t)read_number(h, addr, "vendor");
	p->device = (uint16_t)read_number(h, addr, "device");
	p->class = (uint32_t)read_number(h, addr, "class");
	read_link(h, addr, "driver", p->driver, sizeof(p->driver));
	p->hands = hands_of(p->driver);
	read_group(h, p);
	read_children(h, p);
	return 0;
}

/* Processors, accelerators, and what has no class. */
bool port_pci_may_serve(const struct port_pci *p)
{
	unsigned base = p->class >> 16;

	return base == CLASS_NET || base == 0x0b || base == 0x12 || base == 0xff;
}

bool port_pci_needs_huge(const struct port_pci *p)
{
	return p->hands == PORT_PCI_UIO || (p->hands == PORT_PCI_VFIO && p->noiommu);
}

unsigned port_pci_list(const struct port_pci_host *h, int group, char (*addr)[PCI_ADDR_LEN], unsigned max)
{
	char path[PATH_MAX], found[PCI_ADDR_LEN];
	struct dirent **all;
	unsigned n = 0;
	int count;

	if (group < 0)
		path_of(path, "%s/bus/pci/devices", h->sys);
	else
		path_of(path, "%s/kernel/iommu_groups/%d/devices", h->sys, group);
	count = scandir(path, &all, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		/* A group may hold what is no PCI device. */
		if (pci_addr_read(all[i]->d_name, found) > 0 &&
		    (group >= 0 || read_number(h, found, "class") >> 16 == CLASS_NET)) {
			if (n < max)
				memcpy(addr[n], found, PCI_ADDR_LEN);
			n++;
		}
		free(all[i]);
	}
	if (count >= 0)
		free(all);
	return n;
}

/* ---- can DPDK have it? ---- */

static int no(int err, char *why, size_t n, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static int no(int err, char *why, size_t n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, n, fmt, ap);
	va_end(ap);
	return err;
}

static int absent(const struct port_pci_host *h, char *why, size_t n)
{
	char nets[NETS_SHOWN][PCI_ADDR_LEN], list[NETS_SHOWN * 60] = "";
	unsigned found = port_pci_list(h, -1, nets, NETS_SHOWN);
	size_t at = 0;

	for (unsigned i = 0; i < found && i < NETS_SHOWN; i++) {
		struct port_pci p;

		port_pci_read(h, nets[i], &p);
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s %s (%s)", i ? "," : "", p.addr,
				       p.driver[0] ? p.driver : "no driver");
	}
	if (!found)
		return no(-ENODEV, why, n, "no PCI device at this address; the machine has no network device on PCI");
	return no(-ENODEV, why, n, "no PCI device at this address; network devices are%s%s", list,
		  found > NETS_SHOWN ? " and more: dpdk-devbind.py --status-dev net" : "");
}

static int unbound(const struct port_pci *p, char *why, size_t n)
{
	char to[160], by[80] = "no driver", ifs[PORT_PCI_IFS * 18] = "";
	size_t at = 0;

	for (unsigned i = 0; i < p->n_ifs; i++)
		at += (size_t)snprintf(ifs + at, sizeof(ifs) - at, "%s%s", i ? ", " : "", p->ifs[i]);
	if (p->driver[0])
		snprintf(by, sizeof(by), "the kernel's driver %s", p->driver);
	if (p->group >= 0)
		snprintf(to, sizeof(to), "dpdk-devbind.py -b vfio-pci %s", p->addr);
	else
		snprintf(to, sizeof(to),
			 "switch the IOMMU on and dpdk-devbind.py -b vfio-pci %s, or without one -b uio_pci_generic",
			 p->addr);
	return no(-ENODEV, why, n, "bound to %s%s%s: %s", by, at ? ", which makes of it " : "", ifs, to);
}

/* The kernel gives a group only as a whole: who else of it is in a driver's hands that is none of vfio's? */
static int group_shared(const struct port_pci_host *h, const struct port_pci *p, char *why, size_t n)
{
	static const char *const harmless[] = {"pcieport", "pci-stub"};
	char member[GROUP_SHOWN][PCI_ADDR_LEN];
	unsigned found = port_pci_list(h, p->group, member, GROUP_SHOWN);

	for (unsigned i = 0; i < found && i < GROUP_SHOWN; i++) {
		struct port_pci other;
		bool fine = port_pci_read(h, member[i], &other) || other.hands == PORT_PCI_FREE ||
			    other.hands == PORT_PCI_VFIO;

		for (unsigned k = 0; k < sizeof(harmless) / sizeof(harmless[0]); k++)
			fine |= strcmp(other.driver, harmless[k]) == 0;
		if (!fine)
			return no(-EPERM, why, n,
				  "its IOMMU group %d also holds %s, bound to %s: dpdk-devbind.py -u %s (or -b "
				  "vfio-pci), or take a card in a group of its own",
				  p->group, other.addr, other.driver, other.addr);
	}
	return 0;
}

static void read_comm(const struct port_pci_host *h, const char *pid, char *out, size_t n)
{
	char path[PATH_MAX];
	FILE *f;

	path_of(path, "%s/%s/comm", h->proc, pid);
	f = fopen(path, "re");
	if (!f || !fgets(out, (int)n, f))
		snprintf(out, n, "?");
	out[strcspn(out, "\n")] = '\0';
	if (f)
		fclose(f);
}

static bool holds(const struct port_pci_host *h, const char *pid, const char *file)
{
	char path[PATH_MAX], to[PATH_MAX];
	struct dirent *e;
	bool yes = false;
	DIR *d;

	path_of(path, "%s/%s/fd", h->proc, pid);
	d = opendir(path);
	while (d && !yes && (e = readdir(d))) {
		ssize_t len = readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1);

		to[len > 0 ? len : 0] = '\0';
		yes = strcmp(to, file) == 0;
	}
	if (d)
		closedir(d);
	return yes;
}

/* Another process that has the file open, among those that we may look into: its number and name.  Reads every
 * descriptor of the machine's. */
static bool holder(const struct port_pci_host *h, const char *file, char *out, size_t n)
{
	DIR *d = opendir(h->proc);
	char comm[32] = "";
	struct dirent *e;
	bool found = false;

	while (d && !found && (e = readdir(d))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9' || atoi(e->d_name) == getpid())
			continue;
		found = holds(h, e->d_name, file);
		if (found) {
			read_comm(h, e->d_name, comm, sizeof(comm));
			snprintf(out, n, "process %.10s (%s)", e->d_name, comm);
		}
	}
	if (d)
		closedir(d);
	return found;
}

/*
 * Its file in /dev.  vfio gives a group to one process and says so when it is opened; uio gives a device to everybody,
 * and is not asked by opening: closing it again would stop the device under whoever has it.
 */
static int closed_file(const struct port_pci *p, const char *file, char *why, size_t n)
{
	int fd, err = 0;

	if (p->hands == PORT_PCI_VFIO) {
		fd = open(file, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			err = errno;
		else
			close(fd);
	} else if (access(file, R_OK | W_OK)) {
		err = errno;
	}
	if (err == EBUSY)
		return no(-EBUSY, why, n,
			  "in use by another process, which has %s open: stop it, or take another device", file);
	if (err == ENOENT || err == ENXIO || err == ENODEV)
		return no(-EACCES, why, n,
			  "bound to %s, but there is no %s: bind it again, or let the container have that file",
			  p->driver, file);
	if (err)
		return no(-EACCES, why, n, "%s may not be opened (%s): run as root, or give the file to this user",
			  file, strerror(err));
	return 0;
}

static void file_of(const struct port_pci_host *h, const struct port_pci *p, char file[PATH_MAX])
{
	if (p->hands == PORT_PCI_VFIO)
		path_of(file, "%s/vfio/%s%d", h->dev, p->noiommu ? "noiommu-" : "", p->group);
	else
		path_of(file, "%s/%s", h->dev, p->uio[0] ? p->uio : "uio");
}

static int vfio_closed(const struct port_pci_host *h, const struct port_pci *p, char *why, size_t n)
{
	char file[PATH_MAX];
	int ret;

	if (p->group < 0)
		return no(-ENODEV, why, n,
			  "bound to %s, but in no IOMMU group: switch the IOMMU on, or dpdk-devbind.py -b "
			  "uio_pci_generic %s",
			  p->driver, p->addr);
	ret = p->noiommu ? 0 : group_shared(h, p, why, n);
	if (ret)
		return ret;
	path_of(file, "%s/vfio/vfio", h->dev);
	if (access(file, R_OK | W_OK))
		return no(-EACCES, why, n, "%s may not be opened (%s): modprobe vfio, run as root", file,
			  strerror(errno));
	file_of(h, p, file);
	return closed_file(p, file, why, n);
}

static int uio_closed(const struct port_pci_host *h, const struct port_pci *p, char *why, size_t n)
{
	char file[PATH_MAX];

	file_of(h, p, file);
	return closed_file(p, file, why, n);
}

int port_pci_look(const struct port_pci_host *h, const char *addr, struct port_pci *p, char *why, size_t n)
{
	if (port_pci_read(h, addr, p))
		return absent(h, why, n);
	if (!port_pci_may_serve(p))
		return no(-ENODEV, why, n, "a device of PCI class %06x, %04x:%04x, and no network device", p->class,
			  p->vendor, p->device);
	switch (p->hands) {
	case PORT_PCI_FREE:
	case PORT_PCI_KERNEL:
		return unbound(p, why, n);
	case PORT_PCI_VFIO:
		return vfio_closed(h, p, why, n);
	case PORT_PCI_UIO:
		return uio_closed(h, p, why, n);
	case PORT_PCI_BESIDE:
		break;
	}
	return 0;
}

int port_pci_holder(const struct port_pci_host *h, const struct port_pci *p, char *why, size_t n)
{
	char file[PATH_MAX], who[80];

	if ((p->hands != PORT_PCI_VFIO || p->group < 0) && p->hands != PORT_PCI_UIO)
		return 0;
	file_of(h, p, file);
	if (!holder(h, file, who, sizeof(who)))
		return 0;
	return no(-EBUSY, why, n, "in use by %s: stop that one, or take another device", who);
}

int port_pci_check(const struct port_pci_host *h, const char *addr, struct port_pci *p, char *why, size_t n)
{
	int err = port_pci_look(h, addr, p, why, n), held = 0;

	/* Who has it is said rather than that its file may not be opened. */
	if (!err || err == -EBUSY || err == -EACCES)
		held = port_pci_holder(h, p, why, n);
	return held ? held : err;
}
