/* SPDX-License-Identifier: MIT */
#pragma once

/* What the files of telemetry's commands share. */

#include <rte_telemetry.h>
#include <rte_version.h>

#include "tlm.h"

/* Added under this name in 23.03, with the old one kept as deprecated until 23.11. */
static inline void dict_u64(struct rte_tel_data *d, const char *name, uint64_t v)
{
#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
	rte_tel_data_add_dict_uint(d, name, v);
#else
	rte_tel_data_add_dict_u64(d, name, v);
#endif
}

/* JSON has true and false, and DPDK's dictionaries neither. */
static inline void dict_bool(struct rte_tel_data *d, const char *name, bool v)
{
	rte_tel_data_add_dict_string(d, name, v ? "yes" : "no");
}

/* Enters a row, which may be NULL for want of memory.  DPDK 22.11 prints dictionaries of dictionaries, and nothing
 * deeper. */
void tlm_row(struct rte_tel_data *d, const char *name, struct rte_tel_data *row);
/* Would two names be one key of a row? */
bool tlm_same_key(const char *a, const char *b);

/*
 * The answer is {"error": why}, and nothing else: DPDK itself tells a caller nothing of a command that fails.  Before
 * any row was entered, for DPDK would lose its memory.  Returns 0, for the command to return.
 */
int tlm_sorry(struct rte_tel_data *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What a command has while it runs: nobody else asks a worker, and the configuration stays as it is. */
void tlm_lock(void);
void tlm_unlock(void);

/* The tunnel that params[0..n) names, or -1. */
int tlm_tunnel(const struct tlm_src *src, const char *params, size_t n);
/* Digits, all of *text up to `end` or the end of the text, which *text is moved behind.  False: they are no number. */
bool tlm_number(const char **text, char end, uint64_t *out);

/* cmd_config.c */
int tlm_cmd_config(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
/* cmd_session.c */
int tlm_cmd_sessions(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
int tlm_cmd_session(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
int tlm_cmd_ping(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
int tlm_cmd_pong(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
int tlm_cmd_kick(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
int tlm_cmd_streams(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
/* cmd_worker.c */
int tlm_cmd_workers(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
int tlm_cmd_histograms(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
int tlm_cmd_controls(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
/* cmd_limit.c */
int tlm_cmd_limits(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
/* cmd_port.c */
int tlm_cmd_ports(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
/* cmd_security.c */
int tlm_cmd_security(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
/* cmd_capture.c */
int tlm_cmd_capture(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
