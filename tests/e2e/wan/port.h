/* SPDX-License-Identifier: MIT */
#pragma once

/* An interface, by packet socket: a ring that the kernel fills, and vectors to send. */

#include <stdbool.h>
#include <stdint.h>

#define PORT_BURST 64

struct port {
	int fd;
	uint8_t *ring;
	unsigned at;	     /* next frame of the ring */
	unsigned unreturned; /* taken, and still the user's */
	uint64_t sent, unsent, kernel_drops;
};

struct port_frame {
	uint8_t *p;
	uint32_t n; /* as on the wire; more than `got` when it was cut */
	uint32_t got;
};

/* 0 or -errno. */
int port_open(struct port *p, const char *ifname);
void port_close(struct port *p);
/* Frames that have come, PORT_BURST at most; they are the caller's until port_done. */
unsigned port_recv(struct port *p, struct port_frame *v);
void port_done(struct port *p);
void port_send(struct port *p, uint8_t *const *v, const uint16_t *len, unsigned n);
/* What the kernel had no room for since the last look. */
void port_look(struct port *p);
