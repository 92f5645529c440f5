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

/* Enters a row, which may be NULL for want of memory.  DPDK 22.11 prints dictionaries of dictionaries, and nothing
 * deeper. */
void tlm_row(struct rte_tel_data *d, const char *name, struct rte_tel_data *row);

/* cmd_limit.c */
int tlm_cmd_limits(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
/* cmd_port.c */
int tlm_cmd_ports(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
/* cmd_security.c */
int tlm_cmd_security(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
/* cmd_capture.c */
int tlm_cmd_capture(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
