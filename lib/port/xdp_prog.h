/* SPDX-License-Identifier: MIT */
#pragma once

/* What the XDP program (xdp_prog.bpf.c) and those who load it share: its name, its maps and their contents. */

/* By which one that was left behind is known again: 15 bytes at most. */
#define PORT_XDP_NAME "kcpgate_steer"

/* Of 64 bits, a bit a port. */
#define PORT_XDP_WORDS	1024
#define PORT_XDP_LOCALS 4096
#define PORT_XDP_FRAGS	4096
/* As long as the pipeline waits for the rest of a datagram (pipeline/frag.c). */
#define PORT_XDP_FRAG_NS 2000000000ull
/* Ethernet and one VLAN tag. */
#define PORT_XDP_HEAD 18

/* One entry of the map "conf". */
struct port_xdp_conf {
	unsigned short max_ip; /* largest IP packet that a socket's frame holds: larger ones are the kernel's */
	unsigned short vlan;   /* whose tag ours bear outside; 0: they bear none */
};

/* Of the map "frags": a datagram under way in fragments, as RFC 791 and RFC 8200 tell them apart. */
struct port_xdp_frag {
	unsigned char src[16], dst[16]; /* IPv4 as ::ffff:a.b.c.d, in the map "locals" too */
	unsigned int id, proto;
};
