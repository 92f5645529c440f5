/* SPDX-License-Identifier: MIT */
#pragma once

/* The address of a PCI device, and the one form of it that we keep: the kernel's, "0000:03:00.0". */

#define PCI_ADDR_LEN 17 /* "ffffffff:ff:1f.7" and its terminator */

/*
 * Reads the address that text begins with, in any form that people write: with or without its domain, its leading
 * zeros and DPDK's "pci:", in letters of either case.  out gets the kernel's form.  Returns the bytes of text that it
 * took, behind which is the end or a comma, or -EINVAL.
 */
int pci_addr_read(const char *text, char out[PCI_ADDR_LEN]);
