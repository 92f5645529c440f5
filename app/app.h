/* SPDX-License-Identifier: MIT */
#pragma once

/* The wiring of one gateway process: what exists, in the order in which it is made. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"
#include "ctl.h"
#include "place.h"
#include "snmplog.h"
#include "tlm.h"
#include "worker.h"

#define APP_RING_FRAMES 2048 /* of punt, inject and steering rings */

/* How much of everything a configuration needs, and where. */
struct plan {
	bool huge; /* made for hugepages */
	unsigned workers;
	unsigned mbufs;	    /* packet buffers of all pools */
	unsigned hold;	    /* of them, those that one worker's FEC groups may keep */
	unsigned chunks;    /* of chans, CHAN_CHUNK bytes each */
	unsigned chans;	    /* streams at a time */
	size_t heap;	    /* bytes of each worker's `mem` */
	unsigned memory_mb; /* of EAL in all, a multiple of 2 */
	unsigned least_mb;  /* less than that runs nothing */
	uint64_t nodes;	    /* NUMA nodes of the machine that have memory, a bit each */
	unsigned n_nodes;   /* that memory is taken of: */
	unsigned node_mb[TOPO_NODES_MAX];
	unsigned lcore[1 + CONF_WORKERS_MAX]; /* DPDK's number of control's and each worker's */
	char default_lcores[64];	      /* for EAL when the file has none */
	struct place_in in;
	struct place place;
};

struct app {
	const struct conf *conf;
	struct plan plan;
	struct worker_clock clock;
	bool eal_up;
	struct rte_mempool *pools[TOPO_NODES_MAX]; /* [plan.place.pool] */
	struct chan_pool chans;
	struct net_ports *udp;
	struct worker_mesh *mesh;
	struct port ports[CONF_PORTS_MAX];
	unsigned n_started;
	uint8_t dev_csum[CONF_PORTS_MAX];
	struct crypt **crypts;	      /* [tunnel] */
	struct shard_tunnel *tunnels; /* [tunnel] */
	uint16_t **slot_worker;	      /* [tunnel][slot], clients */
	struct border **borders;      /* [worker] */
	struct shard **shards;
	struct worker **workers;
	struct crypt_mb **mbs;
	void **heaps; /* [worker], and what makes memory of them: */
	struct mem **mems;
	struct worker_port **worker_ports;
	struct ctl_tunnel *ctl_tunnels;
	struct ctl_port *ctl_ports;
	struct net_local *ctl_addrs;
	struct ctl *ctl;
	struct tlm_src tlm;
	struct snmplog snmplog;
	char why[512]; /* of the step that failed */
};

/* plan.c */
void plan_make(struct plan *p, const struct conf *c, bool huge);
/* 0, or -1 and why: eal.memory is given, and too little for anything. */
int plan_enough(const struct plan *p, const struct conf *c, char *why, size_t n);
/* One line a part, for `kcpgate check`. */
void plan_print(const struct plan *p, const struct conf *c);
/* What place_faults says, as a line. */
void plan_fault_text(const struct plan *p, const struct conf *c, enum place_fault what, unsigned a, unsigned b,
		     char *buf, size_t n);
struct plan_names { /* for place_say */
	const struct plan *plan;
	const struct conf *conf;
};

/* banner.c: kcptun's lines at the start, and those about ports that are served (wire.md 9.5) */
void banner(const struct conf *c);
void banner_listening(const struct conf *c);

/* eal.c: 0 or -errno with app->why */
int app_eal_up(struct app *a);
void app_eal_down(struct app *a);

/* Notes in app->why what failed, unless it is known already; returns err. */
int app_fail(struct app *a, int err, const char *what);

/* memory.c: pools, and rings between workers */
int app_memory_up(struct app *a);
void app_memory_down(struct app *a);

/* wire.c: the steps between memory and the running gateway, each undone by its twin */
int app_tunnels_up(struct app *a);
void app_tunnels_down(struct app *a);
int app_ports_up(struct app *a);
void app_ports_down(struct app *a);
int app_workers_up(struct app *a);
void app_workers_down(struct app *a);
int app_ctl_up(struct app *a);
void app_ctl_down(struct app *a);
int app_telemetry_up(struct app *a);
void app_telemetry_down(struct app *a);
int app_launch_up(struct app *a);
void app_launch_down(struct app *a);
