/* SPDX-License-Identifier: MIT */

/* The device of a port of UDP sockets. */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_errno.h>
#include <rte_malloc.h>

#include "kudp_int.h"
#include "port_int.h"

bool kudp_is(const struct port_conf *conf)
{
	const char *name = "net_kudp", *d = conf->device;

	return conf->vdev && strncmp(d, name, strlen(name)) == 0 &&
	       strspn(d + strlen(name), "0123456789") == strlen(d + strlen(name));
}

static void queue_free(struct kudp_queue *q)
{
	if (!q)
		return;
	kudp_rx_free(&q->rx);
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
	if (kudp_rx_init(&q->rx, conf->pools[i]) == 0 && q->by_port)
		return q;
	queue_free(q);
	return NULL;
}

static int make_device(const struct port_conf *conf, struct kudp *k)
{
	for (k->n = 0; k->n < conf->workers && k->n < KUDP_QUEUES; k->n++) {
		k->queue[k->n] = queue_new(conf, k->n);
		if (!k->queue[k->n])
			return -ENOMEM;
		k->queue[k->n]->front = &k->front.queue[k->n];
	}
	/* DPDK puts "net_ring_" before the name. */
	return port_front_make(&k->front, conf->device + strlen("net_"), k->n);
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
	*id = k->front.id;
	return 0;
}

void kudp_attach(struct kudp *k, struct port *p)
{
	for (unsigned i = 0; i < k->n; i++) {
		k->queue[i]->port_id = k->front.id;
		if (i < PORT_FDS)
			p->rx_fd[i] = k->queue[i]->rx.epoll;
	}
	port_front_start(&k->front, (void **)k->queue, kudp_rx_burst, kudp_tx_burst);
}

void kudp_destroy(struct kudp *k)
{
	if (!k)
		return;
	kudp_reap(k);
	port_front_free(&k->front);
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
