/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A laboratory for the control room: in a network namespace of the test's own (ns.h) the things that a control
 * instance works on.  The test plays the workers.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "border.h"
#include "chan.h"
#include "ctl.h"
#include "ns.h"

struct rte_mempool;

#define LAB_WORKERS 4
#define LAB_TUNNELS 4

struct lab {
	struct rte_mempool *mbufs;
	struct chan_pool chans;
	struct border *borders[LAB_WORKERS];
	struct net_ports *udp;
	struct ctl_tunnel tunnels[LAB_TUNNELS];
	struct ctl_port ports[2];
	struct port devs[2];
	struct ctl_conf conf;
	struct ctl *ctl;
	struct ctl *more[LIMIT_CONTROLS - 1]; /* of conf.n_controls: further instances, in turn with the first */
	struct border *more_borders[LIMIT_CONTROLS - 1][LAB_WORKERS];
	char why[256];
	char log[64]; /* path of the log file */
};

/* Pools, borders and an empty configuration with `workers` workers.  chunks: of the chan pool. */
void lab_init(struct lab *l, unsigned workers, unsigned chunks, unsigned chans);
/* Port `i` without a device, standing for the kernel interface `ifname`; MAC 02:00:00:00:00:0i. */
void lab_port(struct lab *l, unsigned i, bool tap, const char *ifname);
/* The next tunnel; returns its index. */
unsigned lab_client(struct lab *l, uint16_t tcp_port, const char *remote, uint16_t min, uint16_t max);
unsigned lab_server(struct lab *l, uint16_t min, uint16_t max, const char *target, uint16_t target_port);
/* Creates the instance; fails the test with `why` when that fails. */
void lab_start(struct lab *l);
/* Destroys the instance and everything that lab_init made; asserts that no mbuf, chunk or chan is missing. */
void lab_stop(struct lab *l);

/* Turns of control, and adoption of snapshots as workers do, until cond() or about `ms` have passed; true on cond(). */
#define lab_until(l, ms, cond)                                                                         \
	({                                                                                             \
		bool lab_ok_ = false;                                                                  \
		for (uint64_t lab_end_ = lab_ms() + (ms); !(lab_ok_ = (cond)) && lab_ms() < lab_end_;) \
			lab_turn(l, 2);                                                                \
		lab_ok_;                                                                               \
	})
void lab_turn(struct lab *l, int timeout_ms);

/* True when the log has a line that contains the text. */
bool lab_logged(const struct lab *l, const char *text);

/* A blocking-with-timeout TCP client socket connected to 127.0.0.1:port. */
int lab_connect(uint16_t port);
/* A TCP listener on 127.0.0.1; *port is chosen. */
int lab_listen(uint16_t *port);
