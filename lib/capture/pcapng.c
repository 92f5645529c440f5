/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "pcapng.h"

#define BLOCK_SECTION 0x0a0d0d0a
#define BLOCK_IFACE   1
#define BLOCK_STATS   5
#define BLOCK_PACKET  6
#define BYTE_ORDER_IS 0x1a2b3c4d
#define LINK_ETHERNET 1

#define OPT_COMMENT    1
#define OPT_APP	       4 /* of a section */
#define OPT_NAME       2 /* of an interface */
#define OPT_ABOUT      3
#define OPT_RESOLUTION 9
#define OPT_FLAGS      2 /* of a packet */
#define OPT_TAKEN      4 /* of statistics */
#define OPT_LOST       5

#define NANOSECONDS 9 /* 10^-9 */
#define FLAG_IN	    1
#define FLAG_OUT    2

/* A block that is being written; at > room: it does not fit. */
struct block {
	uint8_t *buf;
	size_t room, at;
};

static void put(struct block *b, const void *p, size_t n)
{
	if (b->at <= b->room && n <= b->room - b->at)
		memcpy(b->buf + b->at, p, n);
	else
		b->at = b->room + 1;
	if (b->at <= b->room)
		b->at += n;
}

static void put16(struct block *b, uint16_t v)
{
	put(b, &v, sizeof(v));
}

static void put32(struct block *b, uint32_t v)
{
	put(b, &v, sizeof(v));
}

/* Bytes, filled up to a multiple of 4. */
static void put_padded(struct block *b, const void *p, size_t n)
{
	static const uint8_t zero[3];

	put(b, p, n);
	put(b, zero, -n & 3);
}

static void option(struct block *b, uint16_t code, const void *p, size_t n)
{
	put16(b, code);
	put16(b, (uint16_t)n);
	put_padded(b, p, n);
}

static void option_text(struct block *b, uint16_t code, const char *text)
{
	option(b, code, text, strlen(text));
}

static struct block begin(uint8_t *buf, size_t room, uint32_t type)
{
	struct block b = {.buf = buf, .room = room};

	put32(&b, type);
	put32(&b, 0); /* the length, when it is known */
	return b;
}

/* Ends the options and the block. */
static size_t end(struct block *b)
{
	uint32_t n;

	put32(b, 0);
	n = (uint32_t)b->at + 4;
	put32(b, n);
	if (b->at > b->room)
		return 0;
	memcpy(b->buf + 4, &n, sizeof(n));
	return n;
}

/* A time in its two halves, the higher one first. */
static void put_time(struct block *b, uint64_t ns)
{
	put32(b, (uint32_t)(ns >> 32));
	put32(b, (uint32_t)ns);
}

size_t pcapng_section(uint8_t *buf, size_t room, const char *app)
{
	const uint64_t length = UINT64_MAX; /* nobody knows */
	struct block b = begin(buf, room, BLOCK_SECTION);

	put32(&b, BYTE_ORDER_IS);
	put16(&b, 1); /* version 1.0 */
	put16(&b, 0);
	put(&b, &length, sizeof(length));
	option_text(&b, OPT_APP, app);
	return end(&b);
}

size_t pcapng_iface(uint8_t *buf, size_t room, const char *name, const char *about, uint32_t snaplen)
{
	const uint8_t resolution = NANOSECONDS;
	struct block b = begin(buf, room, BLOCK_IFACE);

	put16(&b, LINK_ETHERNET);
	put16(&b, 0);
	put32(&b, snaplen);
	option_text(&b, OPT_NAME, name);
	option_text(&b, OPT_ABOUT, about);
	option(&b, OPT_RESOLUTION, &resolution, sizeof(resolution));
	return end(&b);
}

size_t pcapng_packet(uint8_t *buf, size_t room, const struct pcapng_pkt *k)
{
	const uint32_t flags = k->out ? FLAG_OUT : FLAG_IN;
	struct block b = begin(buf, room, BLOCK_PACKET);

	put32(&b, k->iface);
	put_time(&b, k->ns);
	put32(&b, k->n);
	put32(&b, k->whole);
	put_padded(&b, k->p, k->n);
	if (k->comment)
		option_text(&b, OPT_COMMENT, k->comment);
	option(&b, OPT_FLAGS, &flags, sizeof(flags));
	return end(&b);
}

size_t pcapng_stats(uint8_t *buf, size_t room, uint32_t iface, uint64_t ns, uint64_t taken, uint64_t lost)
{
	struct block b = begin(buf, room, BLOCK_STATS);

	put32(&b, iface);
	put_time(&b, ns);
	option(&b, OPT_TAKEN, &taken, sizeof(taken));
	option(&b, OPT_LOST, &lost, sizeof(lost));
	return end(&b);
}
