/* SPDX-License-Identifier: MIT */
#include "wanflow.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"

#define PATTERN	    65536u
#define LEAD_SPREAD (100 * PATH_MS)

static uint8_t pattern[PATTERN];

static void pattern_make(void)
{
	struct rng g = {1};

	for (unsigned i = 0; i < PATTERN; i++)
		pattern[i] = (uint8_t)rng_next(&g);
}

static struct end *end_new(struct wan_flow *f, int side, uint64_t seed)
{
	const struct end_conf *c = &f->conf.end[side];

	switch (c->kind) {
	case END_KCPGATE:
		return shard_end_new(f, side, c, seed);
	case END_STOCK_2021:
	case END_STOCK_2026:
		return stock_end_new(f, side, c, seed);
	default:
		return tcp_end_new(f, side, c, seed);
	}
}

void wf_init(struct wan_flow *f, const struct wf_conf *conf, uint16_t id, struct path *up, struct path *down,
	     uint64_t stop, uint64_t seed)
{
	struct rng g = {seed};

	if (!pattern[0])
		pattern_make();
	*f = (struct wan_flow){.conf = *conf, .id = id, .out = {up, down}, .stop = stop};
	/* Without any dice on the path, seeds would all tell the same: they begin a little apart. */
	f->conf.lead += rng_next(&g) % LEAD_SPREAD;
	f->n_bin = (uint32_t)(stop / BIN_NS) + 1;
	f->bin = calloc(f->n_bin, sizeof(*f->bin));
	f->n_rtt = conf->echo && stop > conf->start ? (uint32_t)((stop - conf->start) / conf->echo) + 1 : 0;
	f->rtt = calloc(f->n_rtt + 1, sizeof(*f->rtt));
	if (!f->bin || !f->rtt)
		abort();
	for (int e = 0; e < 2; e++)
		f->end[e] = end_new(f, e, seed * 2 + (uint64_t)e);
}

void wf_fini(struct wan_flow *f)
{
	for (int e = 0; e < 2; e++)
		f->end[e]->ops->free(f->end[e]);
	free(f->bin);
	free(f->rtt);
}

unsigned wf_streams(const struct wan_flow *f, uint64_t now)
{
	if (now < f->conf.start)
		return 0;
	return 1 + (now >= f->conf.start + f->conf.lead ? f->conf.bulks : 0);
}

uint64_t wf_offer(const struct wan_flow *f, int side, unsigned i, uint64_t now)
{
	if (i)
		return (side == CLIENT) == f->conf.up ? FLOW_LOTS : 0;
	if (side == SERVER)
		return f->got[SERVER][0];
	if (!f->conf.echo || now < f->conf.start)
		return 0;
	return ((now - f->conf.start) / f->conf.echo + 1) * ECHO_BYTES;
}

void wf_fill(uint8_t *p, uint64_t at, uint32_t n)
{
	while (n) {
		uint32_t off = (uint32_t)(at % PATTERN), part = n < PATTERN - off ? n : PATTERN - off;

		memcpy(p, pattern + off, part);
		p += part;
		at += part;
		n -= part;
	}
}

static void check(struct wan_flow *f, const uint8_t *p, uint64_t at, uint32_t n)
{
	while (n) {
		uint32_t off = (uint32_t)(at % PATTERN), part = n < PATTERN - off ? n : PATTERN - off;

		if (memcmp(p, pattern + off, part))
			f->wrong += part;
		p += part;
		at += part;
		n -= part;
	}
}

/* Messages that are back whole. */
static void echo_back(struct wan_flow *f, uint64_t had, uint64_t has, uint64_t now)
{
	for (uint64_t k = had / ECHO_BYTES; k < has / ECHO_BYTES && k < f->n_rtt; k++)
		f->rtt[k] = (float)(now - f->conf.start - k * f->conf.echo) / (float)PATH_MS;
}

void wf_count(struct wan_flow *f, uint64_t bytes, uint64_t now)
{
	uint64_t i = now / BIN_NS;

	f->bulk_got += bytes;
	if (i < f->n_bin)
		f->bin[i] += (uint32_t)bytes;
}

void wf_got(struct wan_flow *f, int side, unsigned i, const uint8_t *p, uint32_t n, uint64_t now)
{
	uint64_t at = f->got[side][i];

	check(f, p, at, n);
	f->got[side][i] += n;
	if (i)
		wf_count(f, n, now);
	else if (side == CLIENT)
		echo_back(f, at, at + n, now);
}

uint64_t wf_next(const struct wan_flow *f, uint64_t now)
{
	uint64_t t = PATH_NEVER, bulk = f->conf.start + f->conf.lead;

	if (now < f->conf.start)
		return f->conf.start;
	if (f->conf.echo)
		t = f->conf.start + ((now - f->conf.start) / f->conf.echo + 1) * f->conf.echo;
	return now < bulk && bulk < t ? bulk : t;
}

void end_send(struct end *e, const void *p, uint16_t n, uint64_t now)
{
	struct wan_flow *f = e->flow;
	uint32_t wire = n + WAN_CRYPT_HEAD + WAN_FRAME_HEAD;

	e->dgrams++;
	f->sent_bytes[e->side] += wire;
	path_send(f->out[e->side], p, n, wire, f->id, f->conf.delay, now);
}
