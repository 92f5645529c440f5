/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "chan.h"
#include "proxy.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define PROXIED	  0x21 /* version 2, command PROXY */
#define STREAM_V4 0x11
#define STREAM_V6 0x21

static uint8_t *put(uint8_t *p, const void *from, unsigned n)
{
	memcpy(p, from, n);
	return p + n;
}

static uint8_t *put16(uint8_t *p, unsigned n)
{
	p[0] = (uint8_t)(n >> 8);
	p[1] = (uint8_t)n;
	return p + 2;
}

unsigned proxy_head(const struct chan *ch, uint8_t head[PROXY_MAX])
{
	bool v4 = addr_is_v4(&ch->peer) && addr_is_v4(&ch->far);
	unsigned from = v4 ? 12 : 0, size = 16 - from;
	uint8_t *p = put(head, SIGNATURE, 12);

	*p++ = PROXIED;
	*p++ = v4 ? STREAM_V4 : STREAM_V6;
	p = put16(p, 2 * size + 4);
	p = put(p, ch->peer.b + from, size);
	p = put(p, ch->far.b + from, size);
	p = put16(p, ch->peer_port);
	p = put16(p, ch->far_port);
	return (unsigned)(p - head);
}
