/* SPDX-License-Identifier: MIT */

/*
 * The device of a port of UDP sockets.  DPDK's headers do not offer what a driver of one's own is made of, but two
 * things that together are one: a ring device (rte_eth_from_rings), and the table in which the burst functions of every
 * started device stand (rte_eth_fp_ops), which rte_eth_rx_burst and rte_eth_tx_burst read.
 */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_malloc.h>
#include <rte_ring.h>

#include "kudp_int.h"
#include "port_int.h"

#define THROUGH 512 /* slots of the device's rings: more than a burst holds */

bool kudp_is(const struct port_conf *conf)
{
	const char *name = "net_kudp", *d = conf->device;

	return conf->vdev && strncmp(d, name, strlen(name)) == 0 &&
	       strspn(d + strlen(name), "0123456789") == strlen(d + strlen(name));
}

static struct rte_ring *ring_new(const char *name, const char *what, unsigned i)
{
	char text[RTE_RING_NAMESIZE];

	snprintf(text, sizeof(text), "%.16s-%s%u", name, what, i);
	return rte_ring_create(text, THROUGH, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

static void queue_free(struct kudp_queue *q)
{
	if (!q)
		return;
	kudp_rx_free(&q->rx);
	rte_ring_free(q->through[0]);
	rte_ring_free(q->through[1]);
	if (q->by_port)
		munmap((void *)q->by_port, KUDP_PORTS * sizeof(*q->by_port));
	free(q);
}

static struct kudp_queue *queue_new(const struct port_conf *conf, unsigned i)
{
	size_t n = (sizeof(struct kudp_queue) + 63) & ~(size_t)63;
	struct kudp_queue *q = aligned_alloc(64, n);
	void *map;

	if (!q)
		return NULL;
	memset(q, 0, n);
	/* A page of it for ports that are used, and no other. */
	map = mmap(NULL, KUDP_PORTS * sizeof(*q->by_port), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	q->by_port = map == MAP_FAILED ? NULL : map;
	q->through[0] = ring_new(conf->device, "rx", i);
	q->through[1] = ring_new(conf->device, "tx", i);
	if (kudp_rx_init(&q->rx, conf->pools[i]) == 0 && q->by_port && q->through[0] && q->through[1])
		return q;
	queue_free(q);
	return NULL;
}

static int make_device(const struct port_conf *conf, struct kudp *k)
{
	struct rte_ring *rx[KUDP_QUEUES], *tx[KUDP_QUEUES];
	int id;

	for (k->n = 0; k->n < conf->workers && k->n < KUDP_QUEUES; k->n++) {
		struct kudp_queue *q = queue_new(conf, k->n);

		if (!q)
			return -ENOMEM;
		k->queue[k->n] = q;
		rx[k->n] = q->through[0];
		tx[k->n] = q->through[1];
	}
	/* It puts "net_ring_" before the name. */
	id = rte_eth_from_rings(conf->device + strlen("net_"), rx, k->n, tx, k->n, SOCKET_ID_ANY);
	if (id < 0)
		return -(rte_errno ? rte_errno : ENODEV);
	k->id = (uint16_t)id;
	return 0;
}

int kudp_create(const struct port_conf *conf, struct kudp **out, uint16_t *id, char *why, size_t why_n)
{
	struct kudp *k = calloc(1, sizeof(*k));
	int err = -ENOMEM;

	if (k) {
		list_init(&k->dying);
		err = make_device(conf, k);
	}
	if (err) {
		kudp_destroy(k);
		return port_fail(conf, why, why_n, err, "no device of rings: %s", strerror(-err));
	}
	*out = k;
	*id = k->id;
	return 0;
}

void kudp_attach(struct kudp *k, struct port *p)
{
	struct rte_eth_fp_ops *ops = &rte_eth_fp_ops[k->id];

	for (unsigned i = 0; i < k->n; i++) {
		struct kudp_queue *q = k->queue[i];

		q->port_id = k->id;
		q->below_rx = ops->rx_pkt_burst;
		q->below_tx = ops->tx_pkt_burst;
		q->below[0] = ops->rxq.data[i];
		q->below[1] = ops->txq.data[i];
		k->rxd[i] = k->txd[i] = q;
		if (i < PORT_FDS)
			p->rx_fd[i] = q->rx.epoll;
	}
	ops->rxq.data = k->rxd;
	ops->txq.data = k->txd;
	ops->rx_pkt_burst = kudp_rx_burst;
	ops->tx_pkt_burst = kudp_tx_burst;
}

void kudp_destroy(struct kudp *k)
{
	if (!k)
		return;
	kudp_reap(k);
	for (unsigned i = 0; i < k->n; i++)
		queue_free(k->queue[i]);
	free(k);
}

void kudp_stats(const struct kudp *k, struct kudp_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < k->n; i++) {
		const struct kudp_stats *s = &k->queue[i]->stats;

#define X(name, str) out->name += s->name;
		KUDP_COUNTERS(X)
#undef X
	}
}
