/* SPDX-License-Identifier: MIT */
#include "port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME  2048u
#define FRAMES 16384u
#define BLOCK  (64u * FRAME)

static int set(int fd, int level, int what, int v)
{
	return setsockopt(fd, level, what, &v, sizeof(v)) ? -errno : 0;
}

static int port_ring(struct port *p)
{
	struct tpacket_req req = {BLOCK, FRAMES * FRAME / BLOCK, FRAME, FRAMES};
	int rc = set(p->fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2);

	if (rc)
		return rc;
	if (setsockopt(p->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		return -errno;
	p->ring = mmap(NULL, (size_t)FRAMES * FRAME, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	return p->ring == MAP_FAILED ? -errno : 0;
}

int port_open(struct port *p, const char *ifname)
{
	struct sockaddr_ll a = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(ifname)};
	struct packet_mreq all = {.mr_ifindex = a.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
	int rc;

	*p = (struct port){.fd = -1};
	if (!a.sll_ifindex)
		return -errno;
	p->fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (p->fd < 0)
		return -errno;
	rc = port_ring(p);
	if (rc == 0)
		rc = set(p->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
	if (rc == 0)
		rc = set(p->fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
	if (rc == 0)
		rc = set(p->fd, SOL_SOCKET, SO_SNDBUFFORCE, 64 << 20);
	if (rc == 0 && setsockopt(p->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)))
		rc = -errno;
	if (rc == 0 && bind(p->fd, (struct sockaddr *)&a, sizeof(a)))
		rc = -errno;
	if (rc)
		port_close(p);
	return rc;
}

void port_close(struct port *p)
{
	if (p->ring && p->ring != MAP_FAILED)
		munmap(p->ring, (size_t)FRAMES * FRAME);
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	p->ring = NULL;
}

static struct tpacket2_hdr *slot(const struct port *p, unsigned i)
{
	return (struct tpacket2_hdr *)(p->ring + (size_t)(i % FRAMES) * FRAME);
}

unsigned port_recv(struct port *p, struct port_frame *v)
{
	unsigned n = 0;

	for (; n < PORT_BURST; n++) {
		struct tpacket2_hdr *h = slot(p, p->at + n);

		if (!(*(volatile uint32_t *)&h->tp_status & TP_STATUS_USER))
			break;
		atomic_thread_fence(memory_order_acquire);
		v[n] = (struct port_frame){(uint8_t *)h + h->tp_mac, h->tp_len, h->tp_snaplen};
	}
	p->unreturned = n;
	return n;
}

void port_done(struct port *p)
{
	atomic_thread_fence(memory_order_release);
	for (; p->unreturned; p->unreturned--, p->at++)
		*(volatile uint32_t *)&slot(p, p->at)->tp_status = TP_STATUS_KERNEL;
}

void port_send(struct port *p, uint8_t *const *v, const uint16_t *len, unsigned n)
{
	struct mmsghdr m[PORT_BURST];
	struct iovec iov[PORT_BURST];
	unsigned at = 0;

	for (unsigned i = 0; i < n; i++) {
		iov[i] = (struct iovec){v[i], len[i]};
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
	}
	while (at < n) {
		int k = sendmmsg(p->fd, m + at, n - at, 0);

		if (k > 0) {
			at += (unsigned)k;
			p->sent += (unsigned)k;
			continue;
		}
		if (errno == EINTR)
			continue;
		p->unsent++; /* the interface is down, or takes no frame of this length: this one is lost */
		at++;
	}
}

void port_look(struct port *p)
{
	struct tpacket_stats st;
	socklen_t len = sizeof(st);

	if (getsockopt(p->fd, SOL_PACKET, PACKET_STATISTICS, &st, &len) == 0)
		p->kernel_drops += st.tp_drops;
}
