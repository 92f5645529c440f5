/* SPDX-License-Identifier: MIT */

/*
 * A gateway port on the loopback interface: both ends of a tunnel on one host.  Our frames enter there from outside the
 * kernel's own output, and its IPv4 input takes 127/8 and other addresses of the host itself for forged then, unless
 * two switches of that interface say otherwise.  Two gateways hear each other without; a program with a UDP socket,
 * such as a stock kcptun, needs them.
 *
 * They are turned on for a port that says `local_peers`, and as they were when the last gateway that wants them ends.
 * Each holds a shared lock on a file with how they were before; whoever gets it exclusively is alone.  A gateway that
 * was killed leaves the file without a lock: the next one, whatever its ports, puts things right.
 */

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl_int.h"

static const char *const keys[] = {"route_localnet", "accept_local"};

#define KEYS  (sizeof(keys) / sizeof(keys[0]))
#define TRIES 4 /* that somebody else removes the file under our hands */

/* ---- the switches ---- */

static int key_open(const char *ifname, unsigned k, int how)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", ifname, keys[k]);
	fd = open(path, how | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* '0' or '1', or -errno. */
static int key_get(const char *ifname, unsigned k)
{
	int fd = key_open(ifname, k, O_RDONLY);
	char now;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, &now, 1);
	close(fd);
	return n == 1 ? now : -EIO;
}

static int key_set(const char *ifname, unsigned k, char to)
{
	int fd = key_open(ifname, k, O_WRONLY), err;

	if (fd < 0)
		return fd;
	err = write(fd, &to, 1) == 1 ? 0 : -errno;
	close(fd);
	return err;
}

/* ---- the record: "lo 0 1", the interface and how each switch was ---- */

struct was {
	char ifname[IF_NAMESIZE];
	char was[KEYS];
};

static bool was_read(int fd, struct was *r)
{
	char text[64] = "";

	return pread(fd, text, sizeof(text) - 1, 0) > 0 &&
	       sscanf(text, "%15s %c %c", r->ifname, &r->was[0], &r->was[1]) == 3 && !strchr(r->ifname, '/');
}

static int was_write(int fd, const struct was *r)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%s %c %c\n", r->ifname, r->was[0], r->was[1]);

	return ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n ? -EIO : 0;
}

/* A file for each namespace of the network. */
static int was_path(const struct ctl *c, char *path, size_t n)
{
	struct stat st;

	if (!c->conf.lo_dir || stat("/proc/thread-self/ns/net", &st))
		return -ENOENT;
	return snprintf(path, n, "%s/kcpgate-lo-%llu", c->conf.lo_dir, (unsigned long long)st.st_ino) < (int)n
		       ? 0
		       : -ENAMETOOLONG;
}

static bool is_still(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* The file under a lock, *alone or shared; make: also where there is none.  Its descriptor or -errno. */
static int was_open(const char *path, bool make, bool *alone)
{
	for (unsigned i = 0; i < TRIES; i++) {
		int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0600);

		if (fd < 0)
			return -errno;
		*alone = flock(fd, LOCK_EX | LOCK_NB) == 0;
		if ((*alone || flock(fd, LOCK_SH | LOCK_NB) == 0) && is_still(fd, path))
			return fd;
		close(fd);
	}
	return -EAGAIN;
}

/* By whoever is alone with the file, which goes. */
static void restore(int fd, const char *path, const char *why)
{
	struct was r;

	if (was_read(fd, &r)) {
		for (unsigned k = 0; k < KEYS; k++)
			if (r.was[k] == '0' && key_get(r.ifname, k) == '1' && key_set(r.ifname, k, '0') == 0)
				log_info("net.ipv4.conf.%s.%s is off again%s", r.ifname, keys[k], why);
	}
	unlink(path);
}

/* What a killed gateway has left. */
static void mend(struct ctl *c)
{
	char path[256];
	bool alone;
	int fd;

	if (was_path(c, path, sizeof(path)))
		return;
	fd = was_open(path, false, &alone);
	if (fd < 0)
		return;
	if (alone)
		restore(fd, path, ", which a killed gateway had turned on");
	close(fd);
}

/* Takes part in the record.  0 or -errno. */
static int join(struct ctl *c, const char *ifname)
{
	struct was r = {.was = {'0', '0'}};
	char path[256];
	bool alone;
	int err = was_path(c, path, sizeof(path)), fd;

	if (err)
		return err;
	fd = was_open(path, true, &alone);
	if (fd < 0)
		return fd;
	/* Of one that was killed a moment ago there may be a record: then it is that which counts. */
	if (alone && !was_read(fd, &r)) {
		snprintf(r.ifname, sizeof(r.ifname), "%s", ifname);
		for (unsigned k = 0; k < KEYS; k++)
			r.was[k] = key_get(ifname, k) == '1' ? '1' : '0';
		err = was_write(fd, &r);
	}
	if (alone && !err && flock(fd, LOCK_SH | LOCK_NB)) {
		close(fd); /* somebody else has it now, and puts back what there is */
		return -EAGAIN;
	}
	if (err) {
		unlink(path);
		close(fd);
		return err;
	}
	c->lo.fd = fd + 1;
	return 0;
}

/* ---- ports ---- */

static void hint(const struct ctl_port *p, const char *ifname)
{
	for (unsigned k = 0; k < KEYS; k++)
		if (key_get(ifname, k) == '0') {
			log_info("port %s: a stock kcptun on this host gets no IPv4 from this gateway by %s, unless "
				 "local_peers of the port is set",
				 p->name, ifname);
			return;
		}
}

static void turn_on(const struct ctl_port *p, const char *ifname)
{
	for (unsigned k = 0; k < KEYS; k++) {
		int now = key_get(ifname, k), err = now < 0 ? now : 0;

		if (now == '0')
			err = key_set(ifname, k, '1');
		if (err)
			log_warn("port %s: net.ipv4.conf.%s.%s cannot be set (%s): a stock kcptun on this host gets no "
				 "IPv4 from this gateway",
				 p->name, ifname, keys[k], strerror(-err));
		else if (now == '0')
			log_info("port %s: net.ipv4.conf.%s.%s is on now, for stock kcptun on this host, until this "
				 "gateway ends",
				 p->name, ifname, keys[k]);
	}
}

static void prepare(struct ctl *c, unsigned port)
{
	const struct ctl_port *p = &c->conf.ports[port];
	const char *ifname = c->iface[port].name;
	int err;

	if (!p->local_peers) {
		hint(p, ifname);
		return;
	}
	err = c->lo.fd ? 0 : join(c, ifname);
	if (err) /* what could not be put back is not begun */
		log_warn("port %s: how the switches of %s were cannot be kept (%s): they stay", p->name, ifname,
			 strerror(-err));
	else
		turn_on(p, ifname);
}

void lo_opened(struct ctl *c, unsigned port)
{
	if (nl_is_loopback(&c->nl, c->conf.ports[port].port->ifindex) && !c->conf.ports[port].tap)
		prepare(c, port);
}

int lo_up(struct ctl *c, char *why, size_t why_n)
{
	(void)why;
	(void)why_n;
	mend(c);
	for (unsigned d = 0; d < c->conf.n_ports; d++)
		if (nl_is_loopback(&c->nl, c->nl.port[d].ifindex) && !c->conf.ports[d].tap)
			prepare(c, d);
	return 0;
}

void lo_down(struct ctl *c)
{
	char path[256];

	if (!c->lo.fd)
		return;
	/* The last one out. */
	if (was_path(c, path, sizeof(path)) == 0 && flock(c->lo.fd - 1, LOCK_EX | LOCK_NB) == 0)
		restore(c->lo.fd - 1, path, "");
	close(c->lo.fd - 1);
	c->lo.fd = 0;
}
