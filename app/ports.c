/* SPDX-License-Identifier: MIT */
#include <net/if.h>
#include <string.h>

#include <rte_ethdev.h>

#include "app.h"
#include "host.h"
#include "log.h"
#include "posture.h"

static bool any_tcp(const struct conf *c)
{
	for (unsigned i = 0; i < c->n_tunnels; i++)
		if (c->tunnels[i].tcp)
			return true;
	return false;
}

static struct port_conf port_conf(const struct app *a, unsigned i, struct rte_mempool *pools[CONF_WORKERS_MAX])
{
	const struct conf_port *p = &a->conf->ports[i];

	for (unsigned w = 0; w < a->plan.workers; w++)
		pools[w] = a->pools[a->plan.place.rx_pool[i][w]];
	return (struct port_conf){
		.name = p->name,
		.device = p->device,
		.vdev = p->vdev,
		.workers = a->plan.workers,
		.mtu = p->mtu,
		.pools = pools,
		.shared = p->exception == CONF_EXC_KERNEL,
		.tcp = any_tcp(a->conf),
		.vlan = (uint16_t)p->vlan,
	};
}

struct start {
	struct app *a;
	unsigned i;
	const struct port_conf *pc;
	char *why;
	size_t why_n;
	int ret;
};

static void start_one(void *arg)
{
	struct start *s = arg;

	s->ret = port_start(s->pc, &s->a->ports[s->i], s->why, s->why_n);
}

static int start(struct app *a, unsigned i, const struct port_conf *pc, char *why, size_t why_n)
{
	struct start s = {a, i, pc, why, why_n, 0};

	posture_keeper_run(start_one, &s);
	if (s.ret == 0)
		a->dev_csum[i] = a->ports[i].csum;
	return s.ret;
}

/* The port's MAC, or, while it is not there, one of our own; control gives the interface the port's when it comes. */
static void exc_mac(const struct app *a, unsigned i, uint8_t mac[6])
{
	const uint8_t own[6] = {0x02, 'k', 'g', 0, 0, (uint8_t)i};

	memcpy(mac, a->ports[i].started ? a->ports[i].mac : own, sizeof(own));
}

static int exc_up(struct app *a, unsigned i)
{
	const struct conf_port *p = &a->conf->ports[i];
	struct rte_mempool *pools[CONF_WORKERS_MAX];
	struct port_exc_conf ec = {.name = p->name, .ifname = p->ifname, .workers = a->plan.workers, .pools = pools};

	if (p->exception != CONF_EXC_VIRTIO)
		return 0;
	for (unsigned w = 0; w < a->plan.workers; w++)
		pools[w] = a->pools[a->plan.place.tx_pool[w]];
	exc_mac(a, i, ec.mac);
	return port_exc_start(&ec, &a->exc[i], a->why, sizeof(a->why));
}

static int excs_up(struct app *a)
{
	for (unsigned i = 0; i < a->conf->n_ports; i++) {
		int ret = exc_up(a, i);

		if (ret)
			return app_fail(a, ret, a->conf->ports[i].name);
	}
	return 0;
}

int app_ports_up(struct app *a)
{
	struct rte_mempool *pools[CONF_WORKERS_MAX];

	for (unsigned i = 0; i < a->conf->n_ports; i++) {
		struct port_conf pc = port_conf(a, i, pools);
		int ret;

		/* A gateway may be started before the network is: what is not there yet is no fault of the file's. */
		if (a->conf->ports[i].seek)
			continue;
		if (port_base(&pc, a->bases[i], sizeof(a->bases[i])) && if_nametoindex(a->bases[i]) == 0)
			continue;
		ret = start(a, i, &pc, a->why, sizeof(a->why));
		if (ret)
			return app_fail(a, ret, pc.name);
	}
	return excs_up(a);
}

void app_ports_down(struct app *a)
{
	for (unsigned i = a->conf->n_ports; i > 0; i--)
		port_exc_stop(&a->exc[i - 1]);
	for (unsigned i = a->conf->n_ports; i > 0; i--)
		port_stop(&a->ports[i - 1]);
}

/* Workers without a queue of the port whose packets worker w sends. */
static uint64_t siblings(const struct app *a, unsigned port, unsigned w)
{
	unsigned queues = a->ports[port].n_txq;
	uint64_t of = 0;

	for (unsigned i = queues; i < a->plan.workers; i++)
		of |= (uint64_t)(i % queues == w) << i;
	return of;
}

/* Queue q is worker q's; where a port has fewer queues than workers, the others go over the owner of one. */
static void worker_port(struct app *a, unsigned w, unsigned i)
{
	struct worker_port *wp = &a->worker_ports[w][i];
	const struct port *p = &a->ports[i];

	*wp = (struct worker_port){.id = p->id, .rxq = -1, .txq = -1, .rss = &p->rss};
	wp->tx_owner = (uint16_t)(w % p->n_txq);
	wp->sends_for = siblings(a, i, w);
	wp->steer = !p->at_home && !(p->has_rss && p->rss.hw);
	wp->has_exc = a->exc[i].started;
	wp->exc = a->exc[i].id;
	wp->exc_fd = wp->has_exc ? a->exc[i].rx_fd[w] : 0;
	if (w < p->n_txq) {
		wp->txq = (int32_t)w;
		wp->ring = (struct worker_ring){p->ring[w].base, p->ring[w].frames, p->ring[w].frame_size,
						p->ring[w].longest, p->rx_fd[w]};
	}
	if (w < p->n_rxq) {
		wp->rxq = (int32_t)w;
		wp->rx_fd = p->rx_fd[w];
		wp->rx_intr = p->rx_intr;
	}
}

void app_worker_ports(struct app *a, unsigned w)
{
	for (unsigned i = 0; i < a->conf->n_ports; i++)
		if (a->ports[i].started)
			worker_port(a, w, i);
}

/* The file was checked against the MTU that most interfaces have; this one was not known then. */
static void see_mtu(const struct conf *c, const struct conf_port *p, const char *ifname)
{
	const unsigned head = 48; /* of IPv6 and UDP */
	unsigned mtu = host_mtu(ifname);

	for (unsigned i = 0; p->seek && i < c->n_tunnels; i++)
		if (c->tunnels[i].mtu + head > mtu)
			log_warn(
				"tunnel %s: mtu %u does not fit interface %s, whose MTU is %u: set --mtu to %u or less",
				c->tunnels[i].name, c->tunnels[i].mtu, ifname, mtu, mtu - head);
}

int app_port_open(void *app, unsigned port, const char *ifname, char *why, size_t why_n)
{
	struct rte_mempool *pools[CONF_WORKERS_MAX];
	struct app *a = app;
	struct port_conf pc = port_conf(a, port, pools);
	int ret;

	pc.iface = ifname[0] ? ifname : NULL;
	pthread_mutex_lock(&a->ports_lock);
	ret = start(a, port, &pc, why, why_n);
	pthread_mutex_unlock(&a->ports_lock);
	for (unsigned w = 0; ret == 0 && w < a->plan.workers; w++)
		worker_port(a, w, port);
	if (ret == 0)
		see_mtu(a->conf, &a->conf->ports[port], ifname);
	return ret;
}

void app_port_close(void *app, unsigned port)
{
	struct app *a = app;

	pthread_mutex_lock(&a->ports_lock);
	port_stop(&a->ports[port]);
	pthread_mutex_unlock(&a->ports_lock);
}

bool app_port_counts(void *app, unsigned port, struct tlm_port *out)
{
	struct app *a = app;
	struct rte_eth_stats s;
	bool ok;

	pthread_mutex_lock(&a->ports_lock);
	ok = a->ports[port].started && rte_eth_stats_get(a->ports[port].id, &s) == 0;
	pthread_mutex_unlock(&a->ports_lock);
	if (ok)
		*out = (struct tlm_port){
			.rx_packets = s.ipackets,
			.rx_bytes = s.ibytes,
			.tx_packets = s.opackets,
			.tx_bytes = s.obytes,
			.rx_missed = s.imissed,
			.rx_errors = s.ierrors,
			.rx_no_buffer = s.rx_nombuf,
			.tx_errors = s.oerrors,
		};
	return ok;
}

void app_port_link(void *app, unsigned port, struct port_link *l)
{
	const struct app *a = app;

	port_link(&a->ports[port], l);
}
