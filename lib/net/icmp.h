/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net.h"

/* Whether an IP packet of which `room` bytes are there holds an ICMP message that another was too big. */
bool net_says_big4(const uint8_t *ip, unsigned room);
bool net_says_big6(const uint8_t *ip, unsigned room);

/*
 * The message itself: n bytes at msg, behind the header at ip, of an IP packet to key->local.  Gives the verdict, and
 * with VERDICT_BIG the flow, as net_parse_burst says; `stray` for what quotes a packet that is no tunnel's.
 */
uint8_t net_parse_big(struct pkt *k, struct flow_key *key, const uint8_t *ip, uint8_t *msg, unsigned n,
		      const struct net_ports *ports, uint8_t stray);
