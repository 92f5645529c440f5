/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the outside can see: rte_telemetry's /kcpgate commands, and the SNMP table as kcptun prints it.  Counters are
 * read where their workers write them; nothing here writes a worker's line.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"
#include "ctl.h"
#include "shard.h"
#include "worker.h"

/* What the process has given up for itself. */
struct tlm_security {
	unsigned user;
	char capabilities[400]; /* "NET_ADMIN, NET_RAW", or "none" */
	bool sandbox;
	uint64_t refused;	    /* system calls */
	size_t keys, keys_unlocked; /* bytes that hold keys; those of them that may be swapped out */
};

/* What a port's device counts since it was opened. */
struct tlm_port {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rx_missed, rx_errors, rx_no_buffer, tx_errors;
};

struct tlm_src {
	const struct conf *conf;
	unsigned n_workers;
	struct shard *const *shards;
	struct worker *const *workers;
	struct border *const *borders;
	const struct origins *origins;
	const struct ctl *ctl;
	const struct port *ports; /* of conf */
	struct chan_pool *chans;
	struct rte_mempool *const *pools; /* of packet buffers, one a NUMA node */
	unsigned n_pools;
	uint64_t tsc_hz;
	void (*security)(struct tlm_security *out); /* NULL: nobody says */
	/* False: the port is not open.  Any thread's to call.  NULL: nobody says. */
	bool (*port)(void *ctx, unsigned port, struct tlm_port *out);
	void *ctx;
};

/* Registers the commands; src and all that it names must live until tlm_stop.  0 or -errno. */
int tlm_start(const struct tlm_src *src);
/* From here on the commands answer with an error: DPDK has no way to take them back. */
void tlm_stop(void);

/* Calls fn while no command looks at src or what it names: to change what they read.  Any thread; it may wait for one.
 */
void tlm_change(void (*fn)(void *ctx), void *ctx);

/* Sums the counters of one tunnel, or of all (tunnel < 0), over the workers. */
void tlm_snmp(const struct tlm_src *src, int tunnel, struct snmp *out);

/*
 * A histogram of one worker, or summed over all (worker < 0); and, of its times in ns and of its widths in packets:
 * what the values of a bucket are below (UINT64_MAX: the last one's are below nothing), and the sum of all values.
 */
void tlm_hist(const struct tlm_src *src, int worker, enum worker_hists h, struct worker_hist *out);
uint64_t tlm_hist_below(const struct tlm_src *src, enum worker_hists h, unsigned bucket);
uint64_t tlm_hist_sum(const struct tlm_src *src, enum worker_hists h, const struct worker_hist *from);

/* What was dropped for a reason of drop.h, over the workers and control. */
uint64_t tlm_drops(const struct tlm_src *src, unsigned verdict);

/*
 * Sessions of worker w from *cursor on (0 at first), SHARD_QUERY_ROWS at most: asks the worker, and calls fn with each.
 * *cursor and *more tell where, and whether, it goes on.  Any thread's to call that may wait.  0, or -ETIMEDOUT: the
 * worker does not answer.
 */
int tlm_sessions(const struct tlm_src *src, unsigned w, uint32_t *cursor, bool *more,
		 void (*fn)(void *ctx, const struct shard_row *row), void *ctx);

/* kcptun's SIGUSR1 line, "KCP SNMP:&{Name:value ...}" in struct order (wire.md 9.6); returns its length. */
int tlm_snmp_line(const struct tlm_src *src, char *buf, size_t n);
