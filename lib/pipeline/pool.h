/* SPDX-License-Identifier: MIT */
#pragma once

struct rte_mempool;

/*
 * Packet buffers for ports and workers: n of them, `cache` kept by each lcore, on this NUMA socket.  Last in, first
 * out, so that what was just freed is still warm, and memory that no burst has needed is never touched.  NULL with
 * rte_errno. Freed by rte_mempool_free.
 */
struct rte_mempool *worker_pool_create(const char *name, unsigned n, unsigned cache, int socket);
