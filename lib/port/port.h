/* SPDX-License-Identifier: MIT */
#pragma once

/* A gateway port: one DPDK ethdev, found or made, configured and started. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow.h"
#include "limit.h"

struct kudp;
struct port_xdp;
struct rte_mempool;

#define PORT_FDS LIMIT_WORKERS

struct port_conf {
	const char *name; /* for messages */
	const char
		*device;   /* PCI address or vdev string; AF_PACKET gets the block sizes it needs when none are given */
	const char *iface; /* the kernel interface to stand on, instead of the iface= of device; NULL: that one */
	bool vdev;	   /* made in software: what it says of its hashing is not relied on */
	unsigned workers;  /* RX and TX queues wanted; fewer are used when the port has fewer */
	unsigned mtu;	   /* L3; the MTU of an interface that the kernel keeps (AF_PACKET, AF_XDP) is left alone */
	/* [RX queue]; all with buffers whose room after the headroom holds a frame of that MTU */
	struct rte_mempool *const *pools;
	uint16_t rx_desc, tx_desc; /* 0: the driver's */
	bool shared;		   /* the kernel keeps the interface: AF_PACKET is to bring only what can be ours */
	bool tcp;		   /* and TCP can be: some tunnel fakes it */
	uint16_t vlan;		   /* AF_XDP: ours bear this tag outside; 0: none */
};

/* The ring that AF_PACKET's driver sends by, in its own mapping, for reading; base NULL: there is none to be seen. */
struct port_ring {
	const uint8_t *base;
	uint32_t frames, frame_size;
	uint32_t longest; /* packet that fits a frame */
};

struct port {
	uint16_t id; /* DPDK's */
	char driver[32];
	uint16_t n_rxq, n_txq;
	uint16_t rx_desc, tx_desc; /* of a queue, as asked for: virtio's are as many as its host made */
	uint8_t mac[6];
	uint8_t csum;	     /* NET_CSUM_* that the port computes */
	bool rx_csum;	     /* it checks UDP checksums and says so */
	bool has_rss;	     /* more than one RX queue, hashed with rss below */
	struct flow_rss rss; /* hw false when there is no RSS: software steering */
	int socket;
	int rx_fd[PORT_FDS]; /* [RX queue] readable when it holds frames; the driver's own, 0: there is none */
	bool rx_intr; /* rx_fd are eventfds, each struck once by the next frame after rte_eth_dev_rx_intr_enable */
	struct port_ring ring[PORT_FDS]; /* [TX queue] */
	int ifindex;	   /* the kernel interface that the device stands on, or has made; 0: there is none */
	_Atomic bool gone; /* the device is being taken out (vfio), and nobody's to keep: by a thread of DPDK's */
	struct kudp *kudp; /* a device of the kernel's UDP sockets, which are to be given to it; NULL: it is another */
	struct port_xdp *xdp; /* the sockets and the program, where it is AF_XDP beside the kernel */
	bool at_home;	      /* what comes by queue q is worker q's, whatever its hash */
	bool probed;	      /* the device was attached by port_start, and port_stop detaches it */
	bool started;
};

struct port_link {
	bool gone; /* the device is being taken out: the port is to be stopped */
	bool told; /* false: the device has none of its own, but that of the interface that it stands on or has made */
	bool up;
	bool full;     /* duplex */
	uint32_t mbps; /* 0: not known */
};

/* How the link is now.  Asks the device, which takes some drivers a millisecond. */
void port_link(const struct port *p, struct port_link *l);

/*
 * The interface that the kernel must have before the port can be started: its name to buf.  False: there is none such,
 * as the device is none of the kernel's, or makes its interface itself.
 */
bool port_base(const struct port_conf *conf, char *buf, size_t n);

/* Probes, configures and starts.  0, or -errno and one line in why that says what to do.  Undone by port_stop. */
int port_start(const struct port_conf *conf, struct port *out, char *why, size_t why_n);
void port_stop(struct port *p);
