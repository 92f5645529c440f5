/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Frames written out byte by byte, and checksums added up byte by byte: the plain reference that lib/net is compared
 * with.  Nothing here uses lib/net's code.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net.h"

#define FRAME_MAX 2048

/* A seeded generator (splitmix64), so that every run sees the same frames. */
static inline uint64_t rnd(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* What a frame is made of; frame_make takes every field literally, checksums apart. */
struct frame {
	const char *src, *dst; /* literal addresses, of one family */
	uint16_t sport, dport;
	uint8_t dst_mac[6], src_mac[6];
	const uint8_t *options; /* IPv4: options_n bytes, a multiple of 4 */
	unsigned options_n;
	const uint8_t *ext; /* IPv6: ext_n bytes of extension headers, the last naming UDP */
	unsigned ext_n;
	uint8_t next;	    /* IPv6: type of the first header; 0 with ext_n == 0 means UDP */
	uint16_t frag;	    /* IPv4: flags and offset */
	unsigned payload_n; /* payload byte i is i * 7 + 3 */
};

/* The Internet checksum as RFC 1071 words it: 16-bit big-endian words, an odd byte padded with zero. */
uint16_t ref_csum(const uint8_t *p, size_t n);

/* The UDP checksum over the pseudo header of the whole IP packet at ip, computed as if its field were zero. */
uint16_t ref_udp_csum(const uint8_t *ip, const uint8_t *udp, unsigned udp_n);

/* Writes the frame to buf (FRAME_MAX) and returns its length. */
unsigned frame_make(uint8_t *buf, const struct frame *f);

/* Recomputes the IPv4 header checksum of a frame that a test has bent. */
void frame_fix_ip4(uint8_t *buf);

struct addr addr_of(const char *text);
