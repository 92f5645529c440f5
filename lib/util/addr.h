/* SPDX-License-Identifier: MIT */
#pragma once

/* Addresses and flow keys as the rooms share them.  IPv4 is held as ::ffff:a.b.c.d, so that one form serves both. */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct addr {
	uint8_t b[16];
};

#define FLOW_UDP 0
#define FLOW_TCP 6 /* fake TCP (wire.md 10) */

/*
 * One flow of datagrams as a gateway sees it, by whichever of its ports they come.  All 40 bytes take part in
 * comparison and hash.
 */
struct flow_key {
	struct addr peer;
	struct addr local;
	uint16_t peer_port;  /* host order */
	uint16_t local_port; /* host order */
	/*
	 * With a link-local peer (addr_needs_zone) the gateway port whose link it is on, plus 1: the same address on
	 * another link is somebody else.  0 otherwise: of the flow's identity no part.  A note about a next hop has its
	 * gateway port here.
	 */
	uint16_t dev;
	uint16_t proto; /* FLOW_* */
};

_Static_assert(sizeof(struct flow_key) == 40, "flow_key is hashed as it lies in memory");

static inline struct addr addr_v4(uint32_t host_order)
{
	struct addr a = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};

	for (int i = 0; i < 4; i++)
		a.b[12 + i] = (uint8_t)(host_order >> (24 - 8 * i));
	return a;
}

static inline bool addr_is_v4(const struct addr *a)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	return memcmp(a->b, mapped, sizeof(mapped)) == 0;
}

static inline bool addr_eq(const struct addr *a, const struct addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* The unspecified address of either family. */
static inline bool addr_is_any(const struct addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->b, zero, 16) == 0 || (addr_is_v4(a) && memcmp(a->b + 12, zero, 4) == 0);
}

/* fe80::/10, which says nothing without the link that it is on. */
static inline bool addr_needs_zone(const struct addr *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

#define ADDR_STRLEN 64 /* "[v6]:port" and its terminator fit */

/* Text of an address, "192.0.2.1" or "2001:db8::1"; returns buf. */
const char *addr_str(const struct addr *a, char buf[ADDR_STRLEN]);

/* "192.0.2.1:80" or "[2001:db8::1]:80"; returns buf. */
const char *addr_port_str(const struct addr *a, uint16_t port, char buf[ADDR_STRLEN]);

/* Reads a literal IPv4 or IPv6 address (no brackets, no port, no name).  0 or -EINVAL. */
int addr_parse(const char *s, struct addr *out);

/*
 * The same with a zone, "fe80::1%eth0", which link-local addresses alone may have: *zone is then the interface's name,
 * within s, of 1 to 15 bytes; NULL without one.  0 or -EINVAL.
 */
int addr_parse_zone(const char *s, struct addr *out, const char **zone);
