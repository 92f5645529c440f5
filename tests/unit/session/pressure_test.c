/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include <rte_mempool.h>

#include "eal.h"
#include "rig.h"

/* Readers that stop, chunks and memory that run out, and many streams and sessions: bounded, fair, and nothing lost. */

TestSuite(session_pressure, .init = eal_start);

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static uint64_t delivered(const struct conn *c)
{
	return c->peer->got + chan_used(&c->peer->chan->down);
}

/* ---- readers ---- */

/* smux 2: a reader that stops holds back its own stream, at the initial window, and no other. */
Test(session_pressure, stopped_reader_smux2)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c[6];
	struct rig *r = rig_new(&conf);

	for (unsigned i = 0; i < 6; i++)
		c[i] = rig_connect(r, 0, i ? 700000 : 2000000, 300000);
	c[0]->stop_peer = true;
	run_for(r, 5000);
	for (unsigned i = 1; i < 6; i++)
		conn_complete(c[i]);
	cr_assert_eq(c[0]->got, 300000, "the other direction is free");
	cr_assert_eq(delivered(c[0]), MUX_INITIAL_WINDOW);
	cr_assert_leq(c[0]->sent, MUX_INITIAL_WINDOW + 2 * r->side[CLIENT].ahead);
	cr_assert_lt(mem_used(r->side[SERVER].mem) - r->side[SERVER].mem_idle, 1 << 20);
	/* However long it takes. */
	run_for(r, 300000);
	cr_assert_eq(delivered(c[0]), MUX_INITIAL_WINDOW);
	c[0]->peer->stopped = false;
	conn_read(c[0]->peer);
	cr_assert(rig_finish(r, 5000));
	conn_complete(c[0]);
	rig_end(r);
}

/* ... and after its first bytes were read, at the stream's buffer. */
Test(session_pressure, reader_stops_later)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c;
	struct rig *r;

	conf.streambuf = 600000;
	r = rig_new(&conf);
	c = rig_connect(r, 0, 5000000, 0);
	run_for(r, 300);
	cr_assert_gt(c->peer->got, 100000);
	c->peer->stopped = true;
	run_for(r, 10000);
	cr_assert_leq(chan_used(&c->peer->chan->down), 600000 + 600000 / 2);
	cr_assert_geq(chan_used(&c->peer->chan->down), 600000 / 2);
	c->peer->stopped = false;
	conn_read(c->peer);
	cr_assert(rig_finish(r, 10000));
	conn_complete(c);
	rig_end(r);
}

/* smux 1 knows no stream's window: the session stops at smuxbuf, keeps alive, and goes on. */
Test(session_pressure, stopped_reader_smux1)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c[4];
	uint64_t held;
	struct rig *r;

	conf.smux = 1;
	conf.smuxbuf = 512 << 10;
	r = rig_new(&conf);
	for (unsigned i = 0; i < 4; i++)
		c[i] = rig_connect(r, 0, 3000000, 100000);
	c[0]->stop_peer = true;
	run_for(r, 20000);
	held = chan_used(&c[0]->peer->chan->down);
	printf("held %lu\n", held);
	cr_assert_geq(held, conf.smuxbuf);
	cr_assert_leq(held, conf.smuxbuf + 64 * 1350);
	cr_assert_eq(r->side[SERVER].shard->all[0]->stalled, true);
	run_for(r, 200000);
	cr_assert_eq(chan_used(&c[0]->peer->chan->down), held);
	cr_assert_eq(shard_stats(r->side[CLIENT].shard)->sessions, 1, "a stalled peer is not a dead one");
	cr_assert_eq(shard_stats(r->side[SERVER].shard)->sessions, 1);
	c[0]->peer->stopped = false;
	conn_read(c[0]->peer);
	cr_assert(rig_finish(r, 130000));
	for (unsigned i = 0; i < 4; i++)
		conn_complete(c[i]);
	rig_end(r);
}

/* ---- chunks ---- */

struct lazy {
	struct rig *r;
	uint64_t most;
};

/* Lets the server's readers, otherwise stopped, take what there is. */
static void read_once(struct rig *r)
{
	for (unsigned i = 0; i < r->side[SERVER].n_conn; i++) {
		struct conn *c = r->side[SERVER].conn[i];

		if (!c->chan)
			continue;
		c->stopped = false;
		conn_read(c);
		c->stopped = true;
	}
}

static bool watch(void *arg)
{
	struct lazy *l = arg;
	const struct rig_side *s = &l->r->side[SERVER];

	if (shard_stats(s->shard)->spilled > l->most)
		l->most = shard_stats(s->shard)->spilled;
	return !l->r->side[CLIENT].live && !s->live;
}

/*
 * Four chunks for eight streams with lazy readers: what finds no chunk waits in the heap, little of it, since sessions
 * stop reading; and every byte arrives.
 */
static void few_chunks(uint8_t smux, bool nocomp)
{
	struct rig_conf conf = rig_defaults();
	struct lazy l = {0};
	struct conn *c[8];
	unsigned rounds = 0;

	conf.smux = smux;
	conf.nocomp = nocomp;
	conf.chunks[SERVER] = 4;
	conf.link.loss = 10;
	l.r = rig_new(&conf);
	l.r->side[SERVER].stop_new = true;
	l.r->side[CLIENT].tun.mux.framesize = 2500; /* those of more than four come before reading stops */
	for (unsigned i = 0; i < 8; i++)
		c[i] = rig_connect(l.r, 0, 150000, 5000);
	while (!rig_run(l.r, l.r->now + 30, watch, &l)) {
		cr_assert_lt(rounds++, 2000);
		read_once(l.r);
	}
	for (unsigned i = 0; i < 8; i++)
		conn_complete(c[i]);
	printf("smux %u: %lu ms, spilled at most %lu\n", smux, l.r->now - RIG_START, l.most);
	cr_assert_gt(l.r->side[SERVER].pool.chunk_shares.of[0].refused, 0);
	cr_assert_gt(l.most, 0);
	cr_assert_leq(l.most, COMP_BLOCK_MAX); /* what one chunk of snappy may bring */
	cr_assert_eq(rig_other_drops(&l.r->side[SERVER], 0, 0), 0);
	rig_end(l.r);
}

Test(session_pressure, few_chunks)
{
	few_chunks(1, true);
	few_chunks(2, true);
	few_chunks(2, false);
}

/* A reset with bytes in the spill: they go, and the others' come. */
Test(session_pressure, reset_with_spill)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c[3];
	struct rig *r;

	conf.nocomp = true;
	conf.chunks[SERVER] = 2;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = true;
	r->side[SERVER].stop_new = true;
	for (unsigned i = 0; i < 3; i++)
		c[i] = rig_connect(r, 0, 60000, 0);
	run_for(r, 2000);
	cr_assert_gt(shard_stats(r->side[SERVER].shard)->spilled, 0);
	conn_reset(c[0]->peer);
	conn_reset(c[1]);
	conn_eof(c[2]);
	run_for(r, 300);
	for (unsigned i = 0; i < 100 && (r->side[CLIENT].live || r->side[SERVER].live); i++) {
		read_once(r);
		run_for(r, 30);
	}
	cr_assert(c[0]->closed && c[0]->peer->closed && c[1]->peer->closed);
	conn_complete(c[2]);
	rig_end(r);
}

/* ---- memory ---- */

struct hog {
	void *v[65536];
	size_t size[65536];
	unsigned n;
};

/* Takes all that a heap has, in every size. */
static void hog_take(struct hog *h, struct mem *m)
{
	for (size_t size = 1 << 20; size >= 16; size = size * 15 / 16) {
		void *p;

		while (h->n < 65536 && (p = mem_get(m, size))) {
			h->v[h->n] = p;
			h->size[h->n++] = size;
		}
	}
	cr_assert_lt(h->n, 65536);
}

static void hog_give(struct hog *h, struct mem *m)
{
	while (h->n) {
		h->n--;
		mem_put(m, h->v[h->n], h->size[h->n]);
	}
}

/* The smallest heaps, windows that do not fit them, losses: slow, but complete. */
static void tiny_heap(uint8_t smux, unsigned ds, unsigned tiny)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c[4];
	struct rig *r;

	conf.smux = smux;
	conf.nocomp = true;
	conf.ds = ds;
	conf.ps = ds ? 3 : 0;
	conf.heap[tiny] = 1 << 20;
	conf.wnd = 4096;
	conf.link.loss = 50;
	r = rig_new(&conf);
	for (unsigned i = 0; i < 4; i++)
		c[i] = rig_connect(r, 0, 1000000, 1000000);
	cr_assert(rig_finish(r, 300000));
	printf("smux %u, ds %u, end %u tiny: %lu ms, %lu times no memory\n", smux, ds, tiny, r->now - RIG_START,
	       rig_drops(&r->side[tiny], DROP_NO_MEMORY));
	for (unsigned i = 0; i < 4; i++)
		conn_complete(c[i]);
	cr_assert_gt(rig_drops(&r->side[tiny], DROP_NO_MEMORY), 0);
	cr_assert_eq(rig_other_drops(&r->side[tiny], DROP_NO_MEMORY, DROP_PARITY_ALONE), 0);
	rig_end(r);
}

Test(session_pressure, tiny_heap)
{
	tiny_heap(1, 0, CLIENT);
	tiny_heap(2, 0, SERVER);
	tiny_heap(2, 10, SERVER);
}

/* No memory at all for a while: nothing is lost, and all goes on by itself. */
Test(session_pressure, no_memory_for_a_while)
{
	struct rig_conf conf = rig_defaults();
	struct hog *h = calloc(1, sizeof(*h));
	struct conn *c, *late;
	struct rig *r;

	conf.heap[CLIENT] = 2 << 20;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 1000, 1000);
	run_for(r, 1000);
	hog_take(h, r->side[CLIENT].mem);
	conn_more(c, 100000);
	conn_more(c->peer, 100000);
	late = rig_connect(r, 0, 10, 10);
	run_for(r, 20000);
	cr_assert_eq(c->peer->got, 1000);
	cr_assert(late->closed && late->aborted);
	cr_assert_gt(rig_drops(&r->side[CLIENT], DROP_NO_MEMORY), 0);
	hog_give(h, r->side[CLIENT].mem);
	run_for(r, 70000);
	cr_assert_eq(c->peer->got, 101000);
	cr_assert_eq(c->got, 101000);
	conn_eof(c);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, 1000));
	conn_complete(c);
	free(h);
	rig_end(r);
}

/* A frame that waits for memory while its stream goes: payload first, then a FIN. */
static void stream_goes(bool fin)
{
	struct rig_conf conf = rig_defaults();
	struct hog *h = calloc(1, sizeof(*h));
	struct conn *c, *other;
	struct rig *r;

	conf.heap[CLIENT] = 2 << 20;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = true;
	r->side[SERVER].hold_new = !fin;
	c = rig_connect(r, 0, 1000, 1000);
	other = rig_connect(r, 0, 1000, 1000);
	run_for(r, 1000);
	hog_take(h, r->side[CLIENT].mem);
	if (fin)
		conn_eof(c);
	else
		conn_more(c, 30000);
	run_for(r, 100);
	cr_assert(r->side[CLIENT].shard->all[0]->held_frame);
	if (!c->closed)
		conn_reset(c);
	run_for(r, 100);
	hog_give(h, r->side[CLIENT].mem);
	run_for(r, 3000);
	cr_assert(c->closed);
	cr_assert_eq(c->peer->got, c->sent, "what it sent before it went: %llu of %llu",
		     (unsigned long long)c->peer->got, (unsigned long long)c->sent);
	cr_assert(c->peer->closed, "the peer was not told");
	conn_more(other, 50000);
	conn_eof(other);
	conn_eof(other->peer);
	cr_assert(rig_finish(r, 3000));
	conn_complete(other);
	free(h);
	rig_end(r);
}

Test(session_pressure, held_payload_of_a_stream_that_goes)
{
	stream_goes(false);
}

Test(session_pressure, held_fin_of_a_stream_that_goes)
{
	stream_goes(true);
}

/* The session ends while a frame waits. */
Test(session_pressure, held_frame_of_a_session_that_ends)
{
	struct rig_conf conf = rig_defaults();
	struct hog *h = calloc(1, sizeof(*h));
	struct rig *r;
	struct conn *c;

	conf.heap[CLIENT] = 2 << 20;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = true;
	c = rig_connect(r, 0, 1000, 1000);
	rig_connect(r, 0, 1000, 1000);
	run_for(r, 1000);
	hog_take(h, r->side[CLIENT].mem);
	conn_eof(c);
	run_for(r, 100);
	cr_assert(r->side[CLIENT].shard->all[0]->held_frame);
	shard_close_all(r->side[CLIENT].shard, r->now);
	run_for(r, 10);
	cr_assert(c->closed);
	hog_give(h, r->side[CLIENT].mem);
	free(h);
	rig_end(r);
}

/* ---- many ---- */

#define MANY  1000
#define BYTES 12000
#define FRAME 2048

static bool half_way(void *arg)
{
	const struct rig *r = arg;

	return r->side[SERVER].got >= (uint64_t)MANY * BYTES / 2;
}

/* A thousand streams share a session's link to the frame. */
Test(session_pressure, thousand_streams)
{
	struct rig_conf conf = rig_defaults();
	uint64_t least = UINT64_MAX, most = 0;
	struct conn *c[MANY];
	struct rig *r;

	conf.chans = 2 * MANY; /* a session has half of all at most */
	conf.chunks[CLIENT] = 1200;
	conf.nocomp = true;
	conf.link.rate_bps = 100000000;
	r = rig_new(&conf);
	r->side[CLIENT].tun.mux.framesize = FRAME;
	for (unsigned i = 0; i < MANY; i++)
		c[i] = rig_connect(r, 0, BYTES, 100);
	cr_assert(rig_run(r, r->now + 60000, half_way, r));
	for (unsigned i = 0; i < MANY; i++) {
		uint64_t got = c[i]->peer ? c[i]->peer->got : 0;

		least = got < least ? got : least;
		most = got > most ? got : most;
	}
	printf("half of all: %lu..%lu a stream\n", least, most);
	cr_assert_leq(most - least, 2 * FRAME);
	cr_assert(rig_finish(r, 60000));
	for (unsigned i = 0; i < MANY; i++)
		conn_complete(c[i]);
	rig_end(r);
}

Test(session_pressure, hundred_sessions)
{
	struct rig_conf conf = rig_defaults();
	struct conn *c[300];
	struct rig *r;

	conf.chans = 300;
	conf.conn = conf.sessions = 100;
	conf.ds = 10;
	conf.ps = 3;
	conf.link.loss = 20;
	conf.link.rate_bps = 100000000;
	r = rig_new(&conf);
	for (unsigned i = 0; i < 300; i++)
		c[i] = rig_connect(r, i % 100, 10000, 10000);
	cr_assert(rig_finish(r, 60000));
	for (unsigned i = 0; i < 300; i++)
		conn_complete(c[i]);
	cr_assert_eq(shard_stats(r->side[CLIENT].shard)->sessions, 100);
	cr_assert_eq(shard_stats(r->side[SERVER].shard)->sessions, 100);
	rig_end(r);
}

/* A gap that closes after a round trip sets free what came behind it, in portions: a turn reads SESS_READ_MAX segments.
 */
Test(session_pressure, gap_closes)
{
	struct rig_conf conf = rig_defaults();
	uint32_t stored = 0;
	struct conn *c;
	struct rig *r;

	conf.congestion = KCP_CONGESTION_STOCK; /* a whole window leaves at once */
	conf.nocomp = true;
	conf.wnd = 4096;
	conf.streambuf = conf.smuxbuf = 8 << 20;
	conf.chunks[SERVER] = 1024;
	conf.link.delay_us = 100000;
	r = rig_new(&conf);
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, 1, 0);
	run_for(r, 1000);
	r->side[CLIENT].ahead = 4 << 20;
	r->cut[CLIENT] = true;
	conn_more(c, 20000);
	run_for(r, 1);
	r->cut[CLIENT] = false;
	conn_more(c, 3000000);
	for (unsigned ms = 0; ms < 3000; ms++) {
		struct sess *ss = r->side[SERVER].shard->all[0];

		stored = ss->kcp.rcv_stored > stored ? ss->kcp.rcv_stored : stored;
		run_for(r, 1);
		cr_assert(list_empty(&r->side[SERVER].shard->stalled), "what was left is read at once, not later");
	}
	cr_assert_eq(c->peer->got, 3020001);
	cr_assert_gt(stored, 6 * SESS_READ_MAX);
	/* Read as it comes in, read on in the same turn, and what follows directly. */
	cr_assert_leq(r->side[SERVER].most_read, 3 * SESS_READ_MAX * 1400, "%lu bytes in one turn",
		      (unsigned long)r->side[SERVER].most_read);
	conn_eof(c);
	conn_eof(c->peer);
	cr_assert(rig_finish(r, 5000));
	rig_end(r);
}

/* With bytes at hand segments leave full, and the parity of their groups with them: no more datagrams than it takes. */
static void bulk(unsigned ds, unsigned ps, uint64_t bytes)
{
	struct rig_conf conf = rig_defaults();
	uint64_t data, least, mss;
	struct rig *r;

	conf.nocomp = true;
	conf.ds = ds;
	conf.ps = ps;
	conf.wnd = 2048;
	conf.streambuf = conf.smuxbuf = 8 << 20;
	conf.chunks[SERVER] = 1024;
	r = rig_new(&conf);
	r->side[CLIENT].ahead = 4 << 20;
	rig_connect(r, 0, bytes, 0);
	cr_assert(rig_finish(r, 60000));
	mss = r->side[CLIENT].tun.kcp.mtu - KCP_HEAD;
	least = (bytes + bytes / 8192 * 8) / mss;
	data = r->side[CLIENT].dgrams;
	if (ds)
		least += least / ds * ps;
	/* A few for the beginning, while windows open, the end, and what the client acknowledges. */
	cr_assert_leq(data, least + least / 200 + 60, "%lu datagrams, at least %lu", (unsigned long)data,
		      (unsigned long)least);
	rig_end(r);
}

Test(session_pressure, bulk)
{
	bulk(0, 0, 8 << 20);
}

Test(session_pressure, bulk_fec)
{
	bulk(10, 3, 8 << 20);
}
