/* SPDX-License-Identifier: MIT */
#pragma once

/* Whether the machine has the hugepages that a plan wants, and what to do when it has not. */

#include <stddef.h>
#include <stdint.h>

#include "topo.h"

/* Of the nodes with memory (a bit each) those that have hugepages; all, when none has. */
uint64_t pages_nodes(const char *sys, uint64_t has_memory);

/*
 * Whether node_mb[node], each a multiple of 2 MB, can be had on every node.  Where the machine has but
 * one node with memory, its free pages are those of the whole machine.  0, or -ENOMEM and in why how many are missing,
 * and the command that reserves them.
 */
int pages_missing(const char *sys, uint64_t has_memory, const unsigned node_mb[TOPO_NODES_MAX], char *why, size_t n);

/* The command that makes `pages` of 2 MB of a node's, or of the machine's (node TOPO_ANY): all in all, not more. */
void pages_command(char *buf, size_t n, int node, unsigned pages);

/*
 * Megabytes of ordinary pages that could be had now, and no more than this process's control groups allow (what of that
 * is in use the kernel can mostly take back); 0: it cannot be told.  root: "" but for tests.
 */
unsigned pages_available_mb(const char *root);
