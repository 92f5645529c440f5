/* SPDX-License-Identifier: MIT */
#pragma once

/* Datagrams for the bed's gateways, whole and in fragments. */

#include "bed.h"
#include "frame.h"

#define CUT_MAX 9000 /* bytes of a frame */

struct whole {
	uint8_t p[CUT_MAX];
	unsigned n;
};

/* A frame with a UDP datagram of `payload` bytes from a port of the other gateway to one of gateway e. */
void whole_udp(struct whole *w, int e, bool v6, uint16_t sport, uint16_t dport, unsigned payload);

/*
 * Bytes [from, from + n) of what follows the frame's IP header as a fragment; from is a multiple of 8.  Fragments of
 * one datagram bear the same id.
 */
struct rte_mbuf *cut(struct bed *b, const struct whole *w, uint32_t id, unsigned from, unsigned n);

/* A source port from `at` on whose datagrams to BED_PORT are worker `home`'s of the server, steered in software. */
uint16_t port_of_home(uint16_t at, unsigned home);
