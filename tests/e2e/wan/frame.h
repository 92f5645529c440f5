/* SPDX-License-Identifier: MIT */
#pragma once

/* What is done to Ethernet frames themselves. */

#include <stdbool.h>
#include <stdint.h>

#define FRAME_ETH 14u

/* ARP and neighbour discovery, without which there is no path: they pass whatever the weather. */
bool frame_is_link(const uint8_t *p, uint32_t n);
/* A NAT that has changed its mind: of IPv4 and IPv6 UDP, the source (or destination) port xor `by`, checksum and all.
 */
void frame_nat(uint8_t *p, uint32_t n, bool source, uint16_t by);
/* Inverts one bit behind the UDP header, chosen by `dice`; false: there is none. */
bool frame_spoil(uint8_t *p, uint32_t n, uint64_t dice);
