/* SPDX-License-Identifier: MIT */

/*
 * A client's and a server's shard, two sessions between them, and an adversary on the way (hostile.h).  Bytes that an
 * application is given are those that its other end has sent, as far as it got, unless somebody with the key has
 * changed them; and when all is closed every byte of memory, every chunk, every stream is back.
 *
 *	conf(3), then steps: op(1) and what it takes; in between what becomes of each datagram, as they leave
 */

#include <rte_mempool.h>

#include "eal.h"
#include "hostile.h"
#include "rig.h"

#define STEPS	 80
#define BYTES	 40000 /* of one write */
#define CONNS	 12
#define CALM_MS	 4000
#define DATAGRAM 1350

static struct rig_conf conf_of(unsigned a, unsigned b, unsigned c)
{
	static const uint8_t shape[][2] = {{0, 0}, {2, 1}, {10, 3}, {3, 3}};
	static const uint32_t wnds[] = {512, 32, 1, 128};
	struct rig_conf conf = rig_defaults();

	conf.smux = a & 1 ? 1 : 2;
	conf.nocomp = a & 2;
	conf.congestion = a & 4 ? KCP_CONGESTION_AUTO : KCP_CONGESTION_STOCK;
	conf.fine = a & 4;
	conf.ds = shape[a >> 3 & 3][0];
	conf.ps = shape[a >> 3 & 3][1];
	conf.qpp = a & 32 ? 61 : 0;
	conf.hello[CLIENT] = !(a & 64);
	conf.hello[SERVER] = !(a & 128);
	conf.v6 = b & 1;
	conf.wnd = wnds[b >> 1 & 3];
	conf.smuxbuf = b & 8 ? 70000 : 4 << 20;
	conf.streambuf = b & 8 ? 65536 : 2 << 20;
	conf.max_streams = b & 16 ? 2 : 4096;
	conf.closewait_ms[SERVER] = b & 32 ? 5000 : 0;
	conf.autoexpire_ms = b & 64 ? 10000 : 0;
	conf.scavenge_ms = b & 64 ? 20000 : 0;
	conf.heap[CLIENT] = conf.heap[SERVER] = b & 128 ? 1 << 20 : 4 << 20;
	conf.conn = 2;
	conf.chans = c & 2 ? 4 : CONNS;
	conf.chunks[CLIENT] = conf.chunks[SERVER] = c & 4 ? 8 : 64;
	conf.sessions = c & 8 ? 2 : 6;
	conf.ratelimit[CLIENT] = c & 16 ? 100000 : 0;
	return conf;
}

static struct conn *any_conn(struct rig *r, unsigned i)
{
	const struct rig_side *s = &r->side[i & 1];

	return s->n_conn ? s->conn[i / 2 % s->n_conn] : NULL;
}

static void connect_one(struct rig *r, struct fuzz_in *in, unsigned op)
{
	struct rig_side *s = &r->side[CLIENT];

	if (s->n_conn < 3 * CONNS && rte_mempool_avail_count(s->pool.chans) && s->live < CONNS)
		rig_connect(r, op >> 4 & 1, fuzz_u16(in) % BYTES, fuzz_u16(in) % BYTES);
}

static void with_conn(struct conn *c, struct fuzz_in *in, unsigned op)
{
	if (!c || !c->chan || c->closed)
		return;
	switch (op >> 4 & 3) {
	case 0:
		c->stopped = op & 64;
		conn_read(c);
		break;
	case 1:
		if (!c->eof_sent && !c->reset && (c->up || c->side->end == CLIENT))
			conn_more(c, fuzz_u16(in) % BYTES);
		break;
	case 2:
		if (!c->reset && (c->up || c->side->end == CLIENT))
			conn_reset(c);
		break;
	default:
		c->hold_eof = op & 64;
		if (c->up || c->side->end == CLIENT)
			conn_write(c);
	}
}

/* A datagram of somebody with the key. */
static void forge(struct rig *r, struct fuzz_in *in, unsigned op)
{
	struct fuzz_in b = fuzz_bytes(in, fuzz_u16(in) % DATAGRAM);

	if (!hostile.has_key)
		return;
	rig_feed(r, op >> 4 & 1, (uint16_t)hostile.ports[op >> 5 & 1], b.p, (uint16_t)b.n);
}

static void router(struct rig *r, struct fuzz_in *in, unsigned op)
{
	struct rig_side *s = &r->side[op >> 4 & 1];
	uint16_t mtu = fuzz_u16(in), len = fuzz_u16(in);
	struct sess *ss;

	if (!s->shard->n_all)
		return;
	ss = s->shard->all[fuzz_u8(in) % s->shard->n_all];
	rig_too_big(s, ss, mtu, len, op & 32 ? ss->pmtu.mark : fuzz_u16(in));
}

static void step(struct rig *r, struct fuzz_in *in)
{
	unsigned op = fuzz_u8(in);

	switch (op & 15) {
	case 0 ... 1:
		connect_one(r, in, op);
		break;
	case 2 ... 5:
		rig_run(r, r->now + 1 + fuzz_u8(in), NULL, NULL);
		break;
	case 6:
		rig_run(r, r->now + 64 * fuzz_u8(in), NULL, NULL);
		break;
	case 7: /* nobody gets a turn for a while */
		rig_at(r, r->now + 64 * fuzz_u8(in));
		break;
	case 8 ... 10:
		with_conn(any_conn(r, fuzz_u8(in)), in, op);
		break;
	case 11:
		forge(r, in, op);
		break;
	case 12:
		router(r, in, op);
		break;
	case 13:
		r->cut[op >> 4 & 1] = op & 32;
		break;
	case 14:
		r->side[CLIENT].dial = (enum rig_dial)(op >> 4) % 3;
		break;
	default:
		r->side[SERVER].refuse_new = op & 16;
		r->side[SERVER].stop_new = op & 32;
	}
}

/* Nobody disturbs any more: what can arrive arrives. */
static void calm(struct rig *r)
{
	hostile.in = NULL;
	r->side[CLIENT].dial = DIAL_OK;
	for (int e = 0; e < 2; e++) {
		r->cut[e] = false;
		for (unsigned i = 0; i < r->side[e].n_conn; i++) {
			struct conn *c = r->side[e].conn[i];

			if (!c->chan || c->closed)
				continue;
			c->stopped = false;
			conn_read(c);
		}
	}
	rig_run(r, r->now + CALM_MS, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = {p, n};
	unsigned a = fuzz_u8(&in), b = fuzz_u8(&in), c = fuzz_u8(&in);
	struct rig_conf conf;
	struct rig *r;

	eal_start();
	conf = conf_of(a, b, c);
	hostile = (struct hostile){.in = &in, .has_key = c & 1, .ports = {RIG_PORT + 1, RIG_PORT + 2}};
	r = rig_new(&conf);
	r->changed = hostile.has_key;
	for (unsigned i = 0; in.n && i < STEPS; i++)
		step(r, &in);
	calm(r);
	rig_end(r);
	return 0;
}
