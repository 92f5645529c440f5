/* SPDX-License-Identifier: MIT */
#pragma once

/* The exception interface as a device, for exception = "virtio-user": a queue of it for each worker. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limit.h"

struct rte_mempool;

struct port_exc_conf {
	const char *name;   /* of the gateway port, for messages */
	const char *ifname; /* of the kernel's interface, which is made */
	uint8_t mac[6];	    /* that it begins with */
	unsigned workers;
	struct rte_mempool *const *pools; /* [worker]: for what comes from the kernel */
};

struct port_exc {
	uint16_t id; /* DPDK's */
	char dev[32];
	int rx_fd[LIMIT_EXC_QUEUES]; /* [worker] an eventfd, struck once by the next frame from the kernel after
				      * rte_eth_dev_rx_intr_enable; 0: there is none */
	bool started;
};

/* 0, or -errno and one line in why.  The interface is there then, and down.  Undone by port_exc_stop. */
int port_exc_start(const struct port_exc_conf *conf, struct port_exc *out, char *why, size_t why_n);
void port_exc_stop(struct port_exc *e);
