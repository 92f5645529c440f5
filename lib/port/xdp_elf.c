/* SPDX-License-Identifier: MIT */
#include "xdp_load.h"

/* Sources that the build makes of the two files (xdp_bytes.py). */
extern const unsigned char port_xdp_built_elf[], port_xdp_shipped_elf[];
extern const unsigned long port_xdp_built_elf_n, port_xdp_shipped_elf_n;

struct port_xdp_elf port_xdp_elf(void)
{
	return (struct port_xdp_elf){port_xdp_built_elf, port_xdp_built_elf_n};
}

struct port_xdp_elf port_xdp_shipped(void)
{
	return (struct port_xdp_elf){port_xdp_shipped_elf, port_xdp_shipped_elf_n};
}
