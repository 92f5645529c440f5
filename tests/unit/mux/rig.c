/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "le.h"
#include "rig.h"

struct mem *rig_heap(size_t len)
{
	static void *region; /* each test is a process of its own */
	struct mem *m;

	free(region);
	region = aligned_alloc(65536, len);
	cr_assert(region);
	m = mem_init(region, len);
	cr_assert(m);
	return m;
}

uint64_t rng_next(struct rng *r)
{
	r->s += 0x9e3779b97f4a7c15u;
	uint64_t z = r->s;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)(rng_next(r) % n);
}

uint32_t frame_head(uint8_t *p, unsigned ver, unsigned cmd, uint32_t len, uint32_t sid)
{
	p[0] = (uint8_t)ver;
	p[1] = (uint8_t)cmd;
	le16_put(p + 2, (uint16_t)len);
	le32_put(p + 4, sid);
	return 8;
}

static struct mux_ev feed_bytes(struct mux *m, const uint8_t *p, uint32_t n)
{
	struct slice in = {p, n};
	struct mux_ev ev, last = {MUX_EV_NONE};

	do {
		cr_assert_eq(mux_next(m, &in, &ev), 0);
		if (ev.type != MUX_EV_NONE)
			last = ev;
	} while (in.n);
	return last;
}

struct mux_ev feed(struct mux *m, unsigned cmd, uint32_t sid, uint32_t n, uint8_t fill)
{
	static uint8_t frame[8 + 65535]; /* the event points into it */

	memset(frame + frame_head(frame, m->conf->version, cmd, n, sid), fill, n);
	return feed_bytes(m, frame, 8 + n);
}

struct mux_ev feed_upd(struct mux *m, uint32_t sid, uint32_t consumed, uint32_t window)
{
	uint8_t frame[16];

	frame_head(frame, m->conf->version, UPD, 8, sid);
	le32_put(frame + 8, consumed);
	le32_put(frame + 12, window);
	return feed_bytes(m, frame, 16);
}

struct mux_ev feed_head(struct mux *m, unsigned cmd, uint32_t sid, uint32_t len)
{
	uint8_t frame[8];

	frame_head(frame, m->conf->version, cmd, len, sid);
	return feed_bytes(m, frame, 8);
}

bool out(struct mux *m, struct mux_out *o)
{
	bool due = mux_pending(m), gave = mux_out(m, o);

	cr_assert_eq(due, gave, "mux_pending says %d, mux_out %d", due, gave);
	if (!gave)
		return false;
	cr_assert_eq(o->head[0], m->conf->version);
	cr_assert_eq(o->head_n, o->head[1] == UPD ? 16 : 8);
	cr_assert_eq(le16_get(o->head + 2), o->head[1] == UPD ? 8 : o->n);
	cr_assert(o->head[1] == PSH ? o->n > 0 && o->n <= m->conf->framesize : o->n == 0);
	cr_assert(!o->last || o->head[1] == FIN || (o->head[1] == NOP && o->head[7] >> 6 == 3));
	return true;
}
