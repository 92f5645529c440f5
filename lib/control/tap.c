/* SPDX-License-Identifier: MIT */

/*
 * The exception path: for every exclusive gateway port a kernel TAP with the port's MAC and addresses.  What workers do
 * not know goes in there, and what the kernel sends comes out and leaves by the NIC.
 *
 * Checksums are whole on both ways.  Towards the kernel those that a neighbour left undone are completed here: it costs
 * little beside the system call, captures on the TAP show what they should, and the kernel may send the frame on.  From
 * it they come whole, and no frame longer than the MTU: without TUNSETOFFLOAD a TAP offers the kernel neither.
 */

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "ctl_int.h"
#include "net.h"

#define TAP_BURST     64 /* frames a TAP and turn */
#define TAP_PUNTS     64 /* frames a worker and turn */
#define TAP_FRAME_MAX 65536
#define TAP_HEAD      18 /* Ethernet and one VLAN tag */

static void sysctl6(const char *ifname, const char *key, const char *value)
{
	char path[128];
	ssize_t rc;
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", ifname, key);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	rc = write(fd, value, strlen(value));
	(void)rc; /* no IPv6, or a read-only /proc: the addresses take a second longer */
	close(fd);
}

/* A frame from the kernel to the port's NIC, by way of the first worker. */
static bool take_frame(struct ctl *c, struct tap *t, const struct ctl_port *p)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(c->conf.frames);
	void *to = m ? rte_pktmbuf_mtod(m, void *) : c->frame;
	size_t room = m ? rte_pktmbuf_tailroom(m) : TAP_FRAME_MAX;
	ssize_t n = read(t->ev.fd, to, room);

	if (n <= 0) {
		rte_pktmbuf_free(m);
		return false;
	}
	if (c->iface[t - c->tap].state != IFACE_OPEN) {
		rte_pktmbuf_free(m);
		c->stats.inject_down++;
		return true;
	}
	if (!m) {
		c->stats.inject_no_mbuf++;
		return true;
	}
	m->data_len = (uint16_t)n;
	m->pkt_len = (uint32_t)n;
	m->port = p->port->id;
	if (rte_ring_enqueue(c->conf.borders[0]->inject, m)) {
		rte_pktmbuf_free(m);
		c->stats.inject_full++;
		return true;
	}
	c->stats.injected++;
	c->ring[0] = true;
	return true;
}

static void on_tap(struct ctl *c, struct ev *e, uint32_t events)
{
	struct tap *t = container_of(e, struct tap, ev);
	const struct ctl_port *p = &c->conf.ports[t - c->tap];

	(void)events;
	for (unsigned i = 0; i < TAP_BURST && take_frame(c, t, p); i++)
		;
}

/* A frame in one piece: as it lies, or copied out of several buffers.  NULL: longer than any that a kernel takes. */
static uint8_t *in_one(struct ctl *c, struct rte_mbuf *m)
{
	if (m->nb_segs == 1)
		return rte_pktmbuf_mtod(m, uint8_t *);
	if (m->pkt_len > TAP_FRAME_MAX)
		return NULL;
	return (uint8_t *)(uintptr_t)rte_pktmbuf_read(m, 0, m->pkt_len, c->frame);
}

/*
 * The port may say that the bytes are good and the checksum is not theirs (NONE: virtio, whose peer is on the same
 * host); other drivers say nothing of it, or even that they have found it bad.
 */
static bool punt_one(struct ctl *c, const struct tap *t, struct rte_mbuf *m)
{
	bool partial = (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE;
	uint8_t *p = in_one(c, m);

	if (!p)
		return false;
	if (net_finish_csum(p, m->pkt_len, partial))
		c->stats.punt_finished++;
	return write(t->ev.fd, p, m->pkt_len) == (ssize_t)m->pkt_len;
}

static void punt(struct ctl *c, struct rte_mbuf *m)
{
	unsigned port = m->port <= UINT8_MAX ? c->port_of[m->port] : UINT16_MAX;

	if (port < c->conf.n_ports && c->tap[port].ev.fd >= 0 && punt_one(c, &c->tap[port], m))
		c->stats.punted++;
	else
		c->stats.punt_errors++;
	rte_pktmbuf_free(m);
}

void tap_punts(struct ctl *c)
{
	struct rte_mbuf *v[TAP_PUNTS];

	for (unsigned w = 0; w < c->conf.n_workers; w++) {
		unsigned n = border_punts(c->conf.borders[w], v, TAP_PUNTS);

		for (unsigned i = 0; i < n; i++)
			punt(c, v[i]);
	}
}

/*
 * The TAP that a device of the workers has made: our own number for it, by which it has a carrier and is known to be
 * there as others are.  The kernel keeps an interface until the last of them is closed.
 */
static int tap_of_device(const struct ctl_port *p, char *why, size_t why_n)
{
	int of = tun_fd_named(p->ifname), fd = of < 0 ? -1 : fcntl(of, F_DUPFD_CLOEXEC, 0);

	return fd >= 0 ? fd
		       : ctl_fail(why, why_n, -ENODEV,
				  "port %s: interface %s, which vhost-net had, is not there: "
				  "only a start makes it again",
				  p->name, p->ifname);
}

static int tap_open(struct tap *t, const struct ctl_port *p, char *why, size_t why_n)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL};
	int err;

	if (p->tap_made) {
		t->ev.fd = tap_of_device(p, why, why_n);
		t->ifindex = t->ev.fd < 0 ? 0 : (int)if_nametoindex(p->ifname);
		return t->ev.fd < 0 ? t->ev.fd : 0;
	}
	t->ev.fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->ev.fd < 0)
		return ctl_fail(why, why_n, -errno, "port %s: /dev/net/tun: %s", p->name, strerror(errno));
	if (strlen(p->ifname) >= IFNAMSIZ)
		return ctl_fail(why, why_n, -EINVAL, "port %s: interface name %s is longer than %d characters", p->name,
				p->ifname, IFNAMSIZ - 1);
	strcpy(ifr.ifr_name, p->ifname);
	if (ioctl(t->ev.fd, TUNSETIFF, &ifr) == 0) {
		t->ifindex = (int)if_nametoindex(p->ifname);
		return 0;
	}
	err = -errno;
	if (err == -EBUSY || err == -EEXIST)
		return ctl_fail(why, why_n, err, "port %s: interface %s exists already", p->name, p->ifname);
	if (err == -EPERM)
		return ctl_fail(why, why_n, err, "port %s: making interface %s needs root or CAP_NET_ADMIN", p->name,
				p->ifname);
	return ctl_fail(why, why_n, err, "port %s: interface %s: %s", p->name, p->ifname, strerror(-err));
}

static int tap_address(struct ctl *c, const struct tap *t, const struct ctl_port *p, char *why, size_t why_n)
{
	char text[ADDR_STRLEN];
	int err;

	for (unsigned i = 0; i < p->n_addresses; i++) {
		err = rtnl_addr_add(&c->rtnl, t->ifindex, &p->addresses[i].addr, p->addresses[i].plen);
		if (err)
			return ctl_fail(why, why_n, err, "port %s: address %s on %s: %s", p->name,
					addr_str(&p->addresses[i].addr, text), p->ifname, strerror(-err));
	}
	for (unsigned i = 0; i < p->n_gateway; i++) {
		err = rtnl_default_add(&c->rtnl, t->ifindex, &p->gateway[i]);
		if (err)
			return ctl_fail(why, why_n, err, "port %s: default route by %s on %s: %s", p->name,
					addr_str(&p->gateway[i], text), p->ifname, strerror(-err));
	}
	return 0;
}

static void set_carrier(const struct tap *t)
{
	int on = !t->no_carrier;

	(void)!ioctl(t->ev.fd, TUNSETCARRIER, &on);
}

void tap_carrier(struct ctl *c, unsigned port, bool up)
{
	struct tap *t = &c->tap[port];

	t->no_carrier = !up;
	if (t->ev.fd >= 0)
		set_carrier(t);
}

static int tap_start(struct ctl *c, struct tap *t, const struct ctl_port *p, char *why, size_t why_n)
{
	unsigned room = rte_pktmbuf_data_room_size(c->conf.frames);
	int err;

	if (room < RTE_PKTMBUF_HEADROOM + p->mtu + TAP_HEAD)
		return ctl_fail(why, why_n, -EINVAL, "port %s: mtu %u needs packet buffers of %u bytes, they have %u",
				p->name, p->mtu, RTE_PKTMBUF_HEADROOM + p->mtu + TAP_HEAD, room);
	err = tap_open(t, p, why, why_n);
	if (err)
		return err;
	/* Link-local and configured addresses are usable at once: the NIC may see no other host for seconds. */
	sysctl6(p->ifname, "accept_dad", "0");
	err = rtnl_link_set(&c->rtnl, t->ifindex, c->iface[t - c->tap].state == IFACE_OPEN ? p->port->mac : NULL,
			    p->mtu);
	if (!err)
		err = rtnl_link_up(&c->rtnl, t->ifindex);
	if (err)
		return ctl_fail(why, why_n, err, "port %s: interface %s with mtu %u: %s", p->name, p->ifname, p->mtu,
				strerror(-err));
	err = tap_address(c, t, p, why, why_n);
	if (err)
		return err;
	if (t->no_carrier)
		set_carrier(t);
	if (p->tap_made)
		return 0;
	t->ev.fn = on_tap;
	err = ctl_ev_add(c, &t->ev, EPOLLIN);
	return err ? ctl_fail(why, why_n, err, "port %s: epoll: %s", p->name, strerror(-err)) : 0;
}

int tap_up(struct ctl *c, char *why, size_t why_n)
{
	int err;

	c->frame = malloc(TAP_FRAME_MAX);
	if (!c->frame)
		return ctl_fail(why, why_n, -ENOMEM, "no memory for a frame");
	for (unsigned d = 0; d < c->conf.n_ports; d++) {
		const struct ctl_port *p = &c->conf.ports[d];

		if (!p->tap)
			continue;
		err = tap_start(c, &c->tap[d], p, why, why_n);
		if (err)
			return err;
	}
	return 0;
}

int tap_again(struct ctl *c, unsigned port, char *why, size_t why_n)
{
	struct tap *t = &c->tap[port];
	int err;

	ctl_ev_close(&t->ev);
	t->ifindex = 0;
	err = tap_start(c, t, &c->conf.ports[port], why, why_n);
	if (err)
		ctl_ev_close(&t->ev);
	return err;
}

void tap_down(struct ctl *c)
{
	for (unsigned d = 0; d < NET_DEV_MAX; d++)
		ctl_ev_close(&c->tap[d].ev);
	free(c->frame);
	c->frame = NULL;
}
