/* SPDX-License-Identifier: MIT */

/* One ethdev from its name to running queues: capabilities first, then one configuration that uses what is there. */

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include "devarg.h"
#include "kudp_int.h"
#include "port_int.h"
#include "net.h"
#include "xdp_port.h"

#define PORT_DESC      1024 /* descriptors a queue at least, if the file has no wish: a stock peer's window in one burst */
#define PORT_FRAME_OVH (RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN)
#define RETA_GROUPS    (FLOW_RETA_MAX / RTE_ETH_RETA_GROUP_SIZE)

/* The Toeplitz key of the RSS specification, which every NIC has been measured with; continued for keys of 52 bytes. */
static const uint8_t rss_key[FLOW_RSS_KEY_MAX] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca,
	0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b,
	0xbe, 0xac, 0x01, 0xfa, 0x5b, 0x19, 0xc3, 0x27, 0x8e, 0x44, 0xd2, 0x73, 0x96, 0x2f, 0xe8, 0x0d,
};

#define RSS_UDP4 RTE_ETH_RSS_NONFRAG_IPV4_UDP
#define RSS_UDP6 RTE_ETH_RSS_NONFRAG_IPV6_UDP
#define RSS_L4	 (RSS_UDP4 | RSS_UDP6)
#define RSS_TCP	 (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP)

/* What is being set up: the caller's wishes, the device's abilities, and where to complain. */
struct setup {
	const struct port_conf *conf;
	struct port *port;
	struct rte_eth_dev_info info;
	struct rte_eth_conf eth;
	char *why;
	size_t why_n;
};

#define FAIL(s, err, ...)    port_fail((s)->conf, (s)->why, (s)->why_n, err, __VA_ARGS__)
#define REFUSED(s, err, ...) port_refused((s)->conf, (s)->why, (s)->why_n, err, __VA_ARGS__)

static unsigned clamp_u(unsigned v, unsigned max)
{
	return v < max ? v : max;
}

static bool driver_is(const struct setup *s, const char *name)
{
	return s->info.driver_name && strstr(s->info.driver_name, name);
}

/* The kernel keeps such an interface: its MTU and its flags are not ours to change. */
static bool is_shared(const struct setup *s)
{
	return s->port->xdp || driver_is(s, "af_packet") || driver_is(s, "AF_PACKET") || driver_is(s, "af_xdp");
}

_Static_assert(RTE_MBUF_DEFAULT_BUF_SIZE - RTE_PKTMBUF_HEADROOM >= PORT_FRAME_OVH + LIMIT_PORT_MTU,
	       "the largest MTU that a file may have fits the buffers that the pools have");

static int check_buffers(struct setup *s)
{
	unsigned room = rte_pktmbuf_data_room_size(s->conf->pools[0]);
	unsigned need = RTE_PKTMBUF_HEADROOM + PORT_FRAME_OVH + s->conf->mtu;

	if (room < need)
		return FAIL(s, -EINVAL, "mtu %u needs packet buffers of %u bytes, they have %u", s->conf->mtu, need,
			    room);
	return 0;
}

/*
 * RSS is used only when it gives every worker its own queue, and only of hardware: software drivers accept hash types
 * that they do not compute.  UDP ports are hashed for both families or for neither, so that one rule predicts both; TCP
 * ports likewise.
 */
static void want_rss(struct setup *s)
{
	struct flow_rss *rss = &s->port->rss;
	uint64_t hf = s->info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP);
	unsigned key_n = s->info.hash_key_size ? s->info.hash_key_size : 40;

	rss->workers = (uint16_t)s->conf->workers;
	memcpy(rss->key, rss_key, sizeof(rss->key));
	if ((hf & RSS_L4) != RSS_L4)
		hf &= ~(uint64_t)RTE_ETH_RSS_UDP;
	if ((hf & RSS_TCP) != RSS_TCP)
		hf &= ~(uint64_t)RTE_ETH_RSS_TCP;
	if (s->conf->vdev || s->port->n_rxq < 2 || s->port->n_rxq != s->conf->workers || hf == 0 ||
	    key_n > FLOW_RSS_KEY_MAX || s->info.reta_size == 0 || s->info.reta_size > FLOW_RETA_MAX ||
	    (s->info.reta_size & (s->info.reta_size - 1)))
		return;
	s->eth.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	s->eth.rx_adv_conf.rss_conf.rss_key = rss->key;
	s->eth.rx_adv_conf.rss_conf.rss_key_len = (uint8_t)key_n;
	s->eth.rx_adv_conf.rss_conf.rss_hf = hf;
	s->eth.rxmode.offloads |= s->info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH;
}

static void want_offloads(struct setup *s)
{
	const uint64_t rx = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
	const uint64_t tx = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;

	/* net_tap's are loops over the packet on the worker's own core, slower than ours. */
	if (driver_is(s, "net_tap"))
		return;
	s->eth.rxmode.offloads |= s->info.rx_offload_capa & rx;
	s->eth.txmode.offloads |= s->info.tx_offload_capa & tx;
	s->port->rx_csum = s->eth.rxmode.offloads & RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
	if (s->eth.txmode.offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
		s->port->csum |= NET_CSUM_IP_HW;
	if (s->eth.txmode.offloads & RTE_ETH_TX_OFFLOAD_UDP_CKSUM)
		s->port->csum |= NET_CSUM_UDP_HW;
}

/*
 * memif joins as many queues as its client side asks for, which is seen only later; the others stand on the first one's
 * ring, and workers that poll them read the same packets.  The first is always joined: one it is.
 * e1000's driver says two of every card, of those that have one too, where what the second is given never leaves; and
 * those that have two have one context for checksums between them.
 */
static unsigned want_queues(const struct setup *s)
{
	if (s->port->xdp)
		return port_xdp_queues(s->port->xdp);
	return driver_is(s, "net_memif") || driver_is(s, "net_e1000_em") ? 1 : s->conf->workers;
}

static int configure(struct setup *s)
{
	struct port *p = s->port;
	int err;

	p->n_rxq = (uint16_t)clamp_u(want_queues(s), s->info.max_rx_queues);
	p->n_txq = (uint16_t)clamp_u(want_queues(s), s->info.max_tx_queues);
	if (p->n_rxq == 0 || p->n_txq == 0)
		return FAIL(s, -ENODEV, "the device has no queues to receive or send by");
	s->eth.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
	s->eth.txmode.mq_mode = RTE_ETH_MQ_TX_NONE;
	if (s->conf->mtu >= s->info.min_mtu && s->conf->mtu <= s->info.max_mtu)
		s->eth.rxmode.mtu = s->conf->mtu;
	want_rss(s);
	want_offloads(s);
	err = rte_eth_dev_configure(p->id, p->n_rxq, p->n_txq, &s->eth);
	if (err)
		return REFUSED(s, err, "%u RX and %u TX queues, mtu %u: %s", p->n_rxq, p->n_txq, s->conf->mtu,
			       rte_strerror(-err));
	if (is_shared(s))
		return 0;
	err = rte_eth_dev_set_mtu(p->id, (uint16_t)s->conf->mtu);
	if (err && err != -ENOTSUP)
		return REFUSED(s, err, "mtu %u: %s (the device takes %u to %u)", s->conf->mtu, rte_strerror(-err),
			       s->info.min_mtu, s->info.max_mtu);
	return 0;
}

uint16_t port_desc(uint16_t file, uint16_t driver, const struct rte_eth_desc_lim *lim)
{
	uint16_t n = driver > PORT_DESC ? driver : PORT_DESC;

	if (file)
		return file;
	return lim->nb_max && n > lim->nb_max ? lim->nb_max : n;
}

static int setup_queues(struct setup *s)
{
	const struct port_conf *c = s->conf;
	uint16_t rx = port_desc(c->rx_desc, s->info.default_rxportconf.ring_size, &s->info.rx_desc_lim);
	uint16_t tx = port_desc(c->tx_desc, s->info.default_txportconf.ring_size, &s->info.tx_desc_lim);
	struct port *p = s->port;
	int err;

	err = rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &rx, &tx);
	if (err)
		return FAIL(s, err, "%u RX and %u TX descriptors: %s", rx, tx, rte_strerror(-err));
	p->rx_desc = rx;
	p->tx_desc = tx;
	for (uint16_t q = 0; q < p->n_rxq; q++) {
		err = rte_eth_rx_queue_setup(p->id, q, rx, (unsigned)p->socket, NULL, c->pools[q]);
		if (err)
			return REFUSED(s, err, "RX queue %u with %u descriptors: %s", q, rx, rte_strerror(-err));
	}
	for (uint16_t q = 0; q < p->n_txq; q++) {
		err = rte_eth_tx_queue_setup(p->id, q, tx, (unsigned)p->socket, NULL);
		if (err)
			return REFUSED(s, err, "TX queue %u with %u descriptors: %s", q, tx, rte_strerror(-err));
	}
	return 0;
}

/* Spreads the redirection table over the queues and reads it back.  0 or -errno: then the port does not hash for us. */
static int spread_reta(const struct setup *s)
{
	struct rte_eth_rss_reta_entry64 reta[RETA_GROUPS];
	struct flow_rss *rss = &s->port->rss;
	unsigned n = s->info.reta_size;
	int err;

	memset(reta, 0, sizeof(reta));
	for (unsigned i = 0; i < n; i++) {
		reta[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE);
		reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = (uint16_t)(i % s->port->n_rxq);
	}
	err = rte_eth_dev_rss_reta_update(s->port->id, reta, (uint16_t)n);
	if (err)
		return err;
	err = rte_eth_dev_rss_reta_query(s->port->id, reta, (uint16_t)n);
	if (err)
		return err;
	for (unsigned i = 0; i < n; i++) {
		rss->reta[i] = reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
		if (rss->reta[i] >= s->port->n_rxq)
			return -ERANGE;
	}
	rss->reta_n = (uint16_t)n;
	return 0;
}

/* What the started port really does: the driver may have taken another key or fewer types than it was asked for. */
static void read_rss(const struct setup *s)
{
	struct flow_rss *rss = &s->port->rss;
	struct rte_eth_rss_conf got = {.rss_key = rss->key, .rss_key_len = s->eth.rx_adv_conf.rss_conf.rss_key_len};

	if (s->eth.rxmode.mq_mode != RTE_ETH_MQ_RX_RSS || spread_reta(s) ||
	    rte_eth_dev_rss_hash_conf_get(s->port->id, &got) || got.rss_hf == 0)
		return;
	rss->hw_l4 = (got.rss_hf & RSS_L4) == RSS_L4;
	rss->hw_tcp = (got.rss_hf & RSS_TCP) == RSS_TCP;
	/* Ports hashed for one family only: no single rule predicts the queue, so leave it to software. */
	if ((!rss->hw_l4 && (got.rss_hf & RSS_L4)) || (!rss->hw_tcp && (got.rss_hf & RSS_TCP)))
		return;
	rss->hw = true;
	s->port->has_rss = true;
}

/* Its sockets: what they take, and which queue each is.  Some more on that interface would be somebody else's. */
static void af_packet(struct setup *s)
{
	char iface[IF_NAMESIZE], devargs[PORT_DEVARGS_MAX];
	int fd[PORT_FDS];
	unsigned n;

	if (port_devargs(s->conf, devargs, sizeof(devargs)) || !devarg_read(devargs, "iface", iface, sizeof(iface)))
		return;
	n = port_afp_tune(s->conf, iface, fd, PORT_FDS);
	if (n != s->info.max_rx_queues || n > PORT_FDS)
		return;
	memcpy(s->port->rx_fd, fd, n * sizeof(*fd));
	/* A socket is both queues'. */
	for (unsigned i = 0; i < s->port->n_txq && i < n; i++)
		port_afp_ring(devargs, fd[i], &s->port->ring[i]);
}

/* The kernel sums and checks, and knows by its sockets whose queue a datagram is for. */
static void sockets(struct setup *s)
{
	kudp_attach(s->port->kudp, s->port);
	s->port->csum = NET_CSUM_IP_HW | NET_CSUM_UDP_HW;
	s->port->rx_csum = true;
	s->port->at_home = s->port->n_rxq == s->conf->workers;
}

/* Finds the device, or makes it. */
static int find(struct setup *s)
{
	struct port *p = s->port;

	if (kudp_is(s->conf))
		return kudp_create(s->conf, &p->kudp, &p->id, s->why, s->why_n);
	if (port_xdp_wanted(s->conf))
		return port_xdp_open(s->conf, &p->xdp, &p->id, s->why, s->why_n);
	return port_dev_find(s->conf, &p->id, &p->probed, s->why, s->why_n);
}

static void lose(struct port *p, bool probed)
{
	bool made = p->kudp || p->xdp;

	port_xdp_close(p->xdp);
	p->xdp = NULL;
	port_dev_remove(p->id, probed || made);
	kudp_destroy(p->kudp);
	p->kudp = NULL;
}

static int start(struct setup *s)
{
	struct rte_ether_addr mac;
	int err = rte_eth_dev_start(s->port->id);

	if (err)
		return REFUSED(s, err, "start: %s", rte_strerror(-err));
	s->port->started = true;
	if (s->port->kudp)
		sockets(s);
	if (driver_is(s, "af_packet") || driver_is(s, "AF_PACKET"))
		af_packet(s);
	if (s->port->xdp)
		port_xdp_start(s->port->xdp, s->conf->pools, s->port->rx_fd);
	err = rte_eth_macaddr_get(s->port->id, &mac);
	if (err)
		return FAIL(s, err, "no MAC address: %s", rte_strerror(-err));
	memcpy(s->port->mac, s->port->xdp ? port_xdp_mac(s->port->xdp) : mac.addr_bytes, sizeof(s->port->mac));
	if (!is_shared(s)) {
		/* Neighbour discovery arrives by multicast.  A device that cannot choose receives it all the same. */
		rte_eth_promiscuous_disable(s->port->id);
		rte_eth_allmulticast_enable(s->port->id);
	}
	read_rss(s);
	return 0;
}

static void take_down(struct port *p)
{
	memset(p->ring, 0, sizeof(p->ring));
	if (p->started)
		rte_eth_dev_stop(p->id);
	p->started = false;
}

/* With receive interrupts, if they are wanted; where they do not work, or the device does not with them, without. */
static int bring_up(struct setup *s, bool intr)
{
	int err;

	s->eth = (struct rte_eth_conf){.intr_conf.rxq = intr};
	s->port->csum = 0;
	err = configure(s);
	if (!err)
		err = setup_queues(s);
	if (!err)
		err = start(s);
	if (!err && (!intr || port_intr_take(s->port)))
		return 0;
	take_down(s->port);
	return intr ? bring_up(s, false) : err;
}

int port_start(const struct port_conf *conf, struct port *out, char *why, size_t why_n)
{
	struct setup s = {.conf = conf, .port = out, .why = why, .why_n = why_n};
	int err;

	memset(out, 0, sizeof(*out));
	if (conf->workers == 0 || conf->mtu == 0 || conf->mtu > UINT16_MAX - PORT_FRAME_OVH)
		return FAIL(&s, -EINVAL, "%u workers, mtu %u", conf->workers, conf->mtu);
	err = check_buffers(&s);
	if (err)
		return err;
	err = find(&s);
	if (err)
		return err;
	err = rte_eth_dev_info_get(out->id, &s.info);
	if (err) {
		FAIL(&s, err, "%s", rte_strerror(-err));
		goto remove;
	}
	out->socket = rte_eth_dev_socket_id(out->id);
	if (out->socket < 0)
		out->socket = 0;
	out->ifindex = out->xdp ? port_xdp_ifindex(out->xdp) : (int)s.info.if_index;
	snprintf(out->driver, sizeof(out->driver), "%s",
		 out->kudp	      ? "net_kudp"
		 : out->xdp	      ? "net_af_xdp"
		 : s.info.driver_name ? s.info.driver_name
				      : "");
	err = bring_up(&s, port_intr_wanted(conf, out->driver));
	if (err)
		goto remove;
	port_watch(out);
	return 0;
remove:
	lose(out, out->probed);
	memset(out, 0, sizeof(*out));
	return err;
}

void port_stop(struct port *p)
{
	if (!p->started)
		return;
	port_unwatch(p);
	take_down(p);
	/* One that is taken out has to be let go, whoever probed it; and is probed anew when it is back. */
	lose(p, p->probed || p->gone);
	p->ifindex = 0;
}
