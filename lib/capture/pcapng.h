/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The blocks of a pcapng file (draft-ietf-opsawg-pcapng), as Wireshark and tcpdump read them: a section, then its
 * interfaces, then packets, and behind them what each interface has lost.  Everything is in this machine's byte order,
 * which the section tells.
 *
 * DPDK's rte_pcapng writes mbufs of ethdevs: it has no interface of another name than a device's (22.11), and wants a
 * mempool for its copies.  Ours are bytes, some of which were never in a frame.
 *
 * Each function writes one block to buf and returns its length, a multiple of 4; 0 when `room` bytes do not hold it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCAPNG_PACKET_MORE 64 /* bytes of a packet's block beside the packet and its comment, at most */

/* app: the program that has captured, for its readers. */
size_t pcapng_section(uint8_t *buf, size_t room, const char *app);

/* An interface of Ethernet frames, whose times are ns.  They are numbered from 0 on as they come. */
size_t pcapng_iface(uint8_t *buf, size_t room, const char *name, const char *about, uint32_t snaplen);

struct pcapng_pkt {
	uint32_t iface;
	uint64_t ns; /* since 1970 */
	const uint8_t *p;
	uint32_t n;	     /* bytes at p, */
	uint32_t whole;	     /* of so many that the frame had */
	bool out;	     /* sent; else received */
	const char *comment; /* NULL: none */
};
size_t pcapng_packet(uint8_t *buf, size_t room, const struct pcapng_pkt *k);

/* What became of an interface's packets: so many are in the file, and so many were lost on their way to it. */
size_t pcapng_stats(uint8_t *buf, size_t room, uint32_t iface, uint64_t ns, uint64_t taken, uint64_t lost);
