/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * DPDK's drivers as their files tell of them, without EAL: which there are, which cards they are for, what arguments
 * they know.  Each file holds a text for dpdk-pmdinfo.py with names, PCI ids and some of the arguments.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct port_pmds;

/* Whether a driver's library, "librte_net_null.so.23.0", is asked for. */
typedef bool port_pmds_wanted_fn(const void *ctx, const char *file);

/*
 * The drivers in a folder: those of the libraries that are wanted, or (NULL) all, which is 10 MB to read.  0, -ENOENT
 * when there are none that tell of themselves, or another negative errno.
 */
int port_pmds_load(const char *dir, port_pmds_wanted_fn *wanted, const void *ctx, struct port_pmds **out);
void port_pmds_free(struct port_pmds *l); /* NULL does nothing */

struct port_pmd_of {
	const char *device; /* as in the file: "net_null0,copy=1", "0000:03:00.0,speed=10000" */
	bool vdev;	    /* otherwise a card, of this maker and kind: */
	uint16_t vendor, id;
};

/* The name of the device's driver, or NULL: there is none. */
const char *port_pmds_driver(const struct port_pmds *l, const struct port_pmd_of *of);

/* What the driver lists of its arguments, "" for nothing. */
const char *port_pmds_params(const struct port_pmds *l, const struct port_pmd_of *of);

/*
 * The first of the device's arguments that no driver for it knows: to key.  False: there is none.  Drivers list but
 * some of theirs, and most say nothing about what they do not know; what none of the words in its file is, it cannot
 * know.
 */
bool port_pmds_unknown(const struct port_pmds *l, const struct port_pmd_of *of, char *key, size_t n);

/* Names of all drivers that need no card, with ", " between them. */
void port_pmds_names(const struct port_pmds *l, char *buf, size_t n);
