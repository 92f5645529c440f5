/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "le.h"
#include "rig.h"

/*
 * A client and a server mux over two byte pipes that are cut anywhere.  Thousands of streams live and end in every way;
 * each byte carries its stream, direction and place, so that one lost, doubled or led astray is seen at once.
 */

#define STREAMS 3000
#define PIPE	(1 << 20)

/* One end's view of a stream. */
struct end {
	struct mux_stream *s; /* NULL: not open, or closed */
	uint64_t key;	      /* of what it sends */
	uint64_t peer_key;
	uint32_t total, given, sent; /* to send in all, announced, gone */
	uint32_t got, held;
	bool draining, half_sent, peer_half, peer_fin, aborted;
};

struct pipe {
	uint8_t *b;
	uint32_t at, n;
};

struct side {
	struct mux mux;
	struct mux_conf conf;
	struct end *ends; /* by number of the stream: (id - 3) / 2 */
	struct pipe in;
	uint32_t open;
	uint64_t upds;
};

static struct side side[2]; /* client, server */
static struct rng r;
static unsigned opened, complete, refused;

static uint8_t byte_at(uint64_t key, uint32_t off)
{
	return (uint8_t)((key + off) * 0x9e3779b97f4a7c15u >> 56);
}

static struct end *end_of(struct side *d, uint32_t id)
{
	cr_assert(id >= 3 && (id - 3) / 2 < STREAMS && id % 2, "id %u", id);
	return &d->ends[(id - 3) / 2];
}

static uint32_t some_total(void)
{
	switch (rng_below(&r, 20)) {
	case 0:
		return 0;
	case 1:
		return 300000 + rng_below(&r, 200000);
	default:
		return rng_below(&r, 20000);
	}
}

static void begin(struct side *d, struct mux_stream *s)
{
	struct end *e = end_of(d, s->id);
	unsigned me = d == &side[1];

	cr_assert(!e->s && !e->got && !e->sent);
	e->s = s;
	e->key = (uint64_t)s->id << 33 | (uint64_t)me << 32;
	e->peer_key = e->key ^ 1ull << 32;
	e->total = some_total();
	s->user = e;
	d->open++;
}

static void put(struct pipe *p, const void *b, uint32_t n)
{
	cr_assert(p->n + n <= PIPE);
	memcpy(p->b + p->n, b, n);
	p->n += n;
}

/* Lets go of the stream at once. */
static void abandon(struct side *d, struct end *e)
{
	mux_close(&d->mux, e->s, false);
	e->s = NULL;
	e->held = 0;
	e->aborted = true;
	d->open--;
}

/* Up to n frames from d into the other's pipe. */
static void pump(struct side *d, unsigned n)
{
	struct pipe *p = &side[d == &side[0]].in;
	static uint8_t payload[65535];
	struct mux_out o;

	while (n-- && p->n < PIPE - 70000 && out(&d->mux, &o)) {
		struct end *e = o.user;

		put(p, o.head, o.head_n);
		d->upds += o.head[1] == UPD;
		for (uint32_t i = 0; i < o.n; i++)
			payload[i] = byte_at(e->key, e->sent + i);
		put(p, payload, o.n);
		if (o.n) {
			e->sent += o.n;
			cr_assert(e->s && e->sent <= e->given);
		}
		if (o.last) {
			cr_assert(e && e->draining);
			e->s = NULL;
			e->held = 0;
			d->open--;
		}
	}
}

static void on_event(struct side *d, const struct mux_ev *ev)
{
	struct end *e = ev->stream ? ev->stream->user : NULL;

	switch (ev->type) {
	case MUX_EV_OPEN:
		begin(d, ev->stream);
		break;
	case MUX_EV_DATA:
		cr_assert(e->s == ev->stream && !e->draining && !e->peer_fin && !e->peer_half);
		for (uint32_t i = 0; i < ev->data.n; i++) {
			if (ev->data.p[i] != byte_at(e->peer_key, e->got + i))
				cr_assert_fail("stream %u at %u", ev->stream->id, e->got + i);
		}
		e->got += ev->data.n;
		e->held += ev->data.n;
		break;
	case MUX_EV_FIN:
		cr_assert(e->s == ev->stream && !e->peer_fin);
		e->peer_fin = true;
		break;
	case MUX_EV_HALF:
		cr_assert(e->s == ev->stream && !e->peer_half && !e->peer_fin && d->conf.hello);
		e->peer_half = true;
		break;
	case MUX_EV_REFUSED:
		refused++;
		break;
	case MUX_EV_BROKEN:
		cr_assert_fail("broken");
		break;
	default:
		break;
	}
}

/* One piece of what lies in the pipe, on a block of its own length. */
static void deliver(struct side *d)
{
	struct pipe *p = &d->in;
	uint32_t left = p->n - p->at, n;
	struct slice in;
	struct mux_ev ev;
	uint8_t *piece;

	if (!left || !mux_may_read(&d->mux))
		return;
	n = 1 + rng_below(&r, rng_below(&r, 4) ? 30000 : 12);
	n = n > left ? left : n;
	piece = malloc(n);
	memcpy(piece, p->b + p->at, n);
	in = (struct slice){piece, n};
	do {
		cr_assert_eq(mux_next(&d->mux, &in, &ev), 0);
		on_event(d, &ev);
	} while (ev.type != MUX_EV_NONE);
	cr_assert_eq(in.n, 0);
	free(piece);
	p->at += n;
	if (p->at == p->n)
		p->at = p->n = 0;
}

/* What the application at this end does next: writes, reads, ends. */
static void act(struct side *d, struct end *e, bool may_abort)
{
	const struct end *peer = &side[d == &side[0]].ends[e - d->ends];
	bool all_sent = e->given == e->total;

	if (!e->s || e->draining)
		return;
	if (may_abort && rng_below(&r, 400) == 0) {
		abandon(d, e);
		return;
	}
	if (e->held) {
		uint32_t n = rng_below(&r, 2) ? e->held : 1 + rng_below(&r, e->held);

		mux_taken(&d->mux, e->s, n);
		e->held -= n;
	}
	if (!all_sent && !e->peer_fin) {
		uint32_t n = 1 + rng_below(&r, e->total - e->given);

		mux_avail(&d->mux, e->s, n);
		e->given += n;
		return;
	}
	if (all_sent && !e->half_sent && !e->peer_fin && mux_half(&d->mux, e->s) == 0)
		e->half_sent = true;
	/*
	 * Between kcpgate peers the FIN follows when both directions have ended.  Towards stock the server ends the
	 * stream when it has said all to a request that it has read, and the client when the server did.
	 */
	if (e->peer_fin && !e->held) {
		mux_close(&d->mux, e->s, true);
		e->draining = true;
	} else if (all_sent && !e->held && (d->conf.hello ? e->peer_half : d == &side[1] && e->got == peer->total)) {
		mux_close(&d->mux, e->s, true);
		e->draining = true;
	}
}

static void start(uint8_t version, bool hello, struct mem *mem)
{
	for (unsigned i = 0; i < 2; i++) {
		side[i].conf = (struct mux_conf){.version = version,
						 .client = i == 0,
						 .framesize = i ? 8192 : 3000,
						 .smuxbuf = 400000,
						 .streambuf = 300000,
						 .max_streams = 200,
						 .hello = hello};
		mux_init(&side[i].mux, &side[i].conf, mem);
		side[i].ends = calloc(STREAMS, sizeof(struct end));
		side[i].in = (struct pipe){malloc(PIPE), 0, 0};
		cr_assert(side[i].ends && side[i].in.b);
		side[i].open = 0;
		side[i].upds = 0;
	}
	opened = complete = refused = 0;
}

/* One random step of anybody. */
static void step(bool may_abort)
{
	struct side *d = &side[rng_below(&r, 2)];

	switch (rng_below(&r, 8)) {
	case 0:
		if (opened < STREAMS && side[0].open < 150) {
			struct mux_stream *s = mux_open(&side[0].mux, NULL);

			cr_assert(s);
			opened++;
			begin(&side[0], s);
		}
		break;
	case 1:
	case 2:
		pump(d, 1 + rng_below(&r, 20));
		break;
	case 3:
	case 4:
		deliver(d);
		break;
	default:
		for (unsigned k = 0; opened && k < 60; k++)
			act(d, &d->ends[rng_below(&r, opened)], may_abort);
	}
}

/* Everybody carries on until nothing is open any more. */
static void settle(bool may_abort)
{
	for (unsigned round = 0; round < 4000 && side[0].open + side[1].open; round++) {
		for (unsigned i = 0; i < 2; i++) {
			for (unsigned k = 0; k < opened; k++)
				act(&side[i], &side[i].ends[k], may_abort);
			pump(&side[i], 200);
			for (unsigned k = 0; k < 10; k++)
				deliver(&side[i]);
		}
	}
}

static void life(uint8_t version, bool hello, bool may_abort, uint64_t seed)
{
	struct mem *mem = rig_heap(8 << 20);
	size_t idle = mem_used(mem);

	r.s = seed;
	start(version, hello, mem);
	while (opened < STREAMS)
		step(may_abort);
	settle(may_abort);
	for (unsigned k = 0; k < STREAMS; k++) {
		struct end *c = &side[0].ends[k], *s = &side[1].ends[k];

		cr_assert(!c->s && !s->s, "stream %u is still open", 3 + 2 * k);
		if (c->aborted || s->aborted)
			continue;
		complete++;
		cr_assert(c->got == s->total && s->got == c->total, "stream %u: %u of %u, %u of %u", 3 + 2 * k, c->got,
			  s->total, s->got, c->total);
	}
	for (unsigned i = 0; mux_pending(&side[0].mux) || mux_pending(&side[1].mux) || side[0].in.n || side[1].in.n;
	     i ^= 1) {
		pump(&side[i], 100);
		deliver(&side[i]);
	}
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(side[i].mux.bucket, 400000);
		cr_assert_eq(side[i].mux.count, 0);
		cr_assert_eq(mux_can_half(&side[i].mux), hello);
		cr_assert_eq(side[i].upds > 0, version == 2);
		free(side[i].ends);
		free(side[i].in.b);
	}
	cr_assert(may_abort ? complete > STREAMS / 50 && complete < STREAMS : complete == STREAMS, "%u", complete);
	cr_assert_eq(mem_used(mem), idle, "idle sessions hold nothing");
}

Test(mux_pair, v1_half_close)
{
	life(1, true, false, 11);
}

Test(mux_pair, v2_half_close)
{
	life(2, true, false, 12);
}

Test(mux_pair, v1_stock)
{
	life(1, false, false, 13);
}

Test(mux_pair, v2_stock)
{
	life(2, false, false, 14);
}

Test(mux_pair, v1_aborts)
{
	life(1, true, true, 15);
}

Test(mux_pair, v2_aborts)
{
	life(2, true, true, 16);
}

/* v1: a reader that stopped stops the session, and its bucket is what does it. */
Test(mux_pair, stopped_reader_v1)
{
	struct mem *mem = rig_heap(1 << 20);
	struct mux_stream *s;
	unsigned n;

	start(1, false, mem);
	s = mux_open(&side[0].mux, NULL);
	begin(&side[0], s);
	side[0].ends[0].given = 10000000;
	mux_avail(&side[0].mux, s, 10000000);
	for (n = 0; n < 5000; n++) {
		pump(&side[0], 10);
		deliver(&side[1]);
	}
	cr_assert_not(mux_may_read(&side[1].mux));
	cr_assert(side[1].ends[0].got >= 400000 && side[1].ends[0].got < 430000, "%u", side[1].ends[0].got);
	mux_taken(&side[1].mux, side[1].ends[0].s, side[1].ends[0].got);
	for (n = 0; n < 5000; n++) {
		pump(&side[0], 10);
		deliver(&side[1]);
	}
	cr_assert(side[1].ends[0].got >= 800000 && side[1].ends[0].got < 860000, "%u", side[1].ends[0].got);
	for (unsigned i = 0; i < 2; i++) {
		mux_fini(&side[i].mux);
		free(side[i].ends);
		free(side[i].in.b);
	}
}
