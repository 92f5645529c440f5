/* SPDX-License-Identifier: MIT */

/*
 * Two sessions over simulated links, driven as the session room drives them: turns at kcp_next and at arrivals, flushes
 * at the end of a turn.  Every byte must arrive in order; completion times are asserted as a distribution over seeds.
 */

#include <stdio.h>

#include "kcp_test.h"
#include "sim.h"

#define SEEDS      12
#define BYTES      200000
#define LIMIT_MS   600000
#define WRITE      1200 /* bytes a kcp_send */
#define NODE_BURST 64

static const struct {
	const char *name;
	int nodelay, interval;
} modes[] = {{"normal", 0, 40}, {"fast", 0, 30}, {"fast2", 1, 20}, {"fast3", 1, 10}};

struct node {
	struct rig *r;
	uint64_t to_send, sent, read, hash;
	struct sim_link *out;
};

struct result {
	uint64_t ms;       /* until the last byte was read */
	uint64_t segs;     /* data segments the sender wrote */
	uint64_t again;    /* of them retransmissions */
	uint64_t turns;
};

static uint8_t stream_byte(uint64_t i)
{
	return (uint8_t)((i * 0x9e3779b97f4a7c15) >> 56);
}

static uint64_t fnv(uint64_t h, const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3;
	return h;
}

#define FNV_START 0xcbf29ce484222325

static void node_init(struct node *n, const struct kcp_conf *conf, const struct sim_conf *link, uint64_t seed, uint64_t now)
{
	*n = (struct node){.hash = FNV_START};
	n->r = rig_new(0x1234, conf, 16 << 20, now);
	n->out = sim_link_new(link, seed);
}

static void node_read(struct node *n, const struct slice *s)
{
	n->hash = fnv(n->hash, s->p, s->n);
	n->read += s->n;
}

static unsigned node_input(struct node *n, struct sim_link *in, uint64_t now)
{
	unsigned want = 0;
	uint8_t buf[KCP_MTU_MAX];
	struct kcp_got got;
	struct slice v[64];
	int len;

	while ((len = sim_link_recv(in, buf, sizeof(buf), now * 1000)) >= 0) {
		int ret = kcp_input(&n->r->k, buf, (uint16_t)len, 0, now, &got);

		cr_assert_geq(ret, 0);
		want |= (unsigned)ret;
		for (unsigned i = 0; i < got.n; i++)
			node_read(n, &got.v[i]);
		for (unsigned q; (q = kcp_peek(&n->r->k, v, 64));) {
			for (unsigned i = 0; i < q; i++)
				node_read(n, &v[i]);
			want |= kcp_consume(&n->r->k, q);
		}
	}
	return want;
}

static void node_write(struct node *n)
{
	uint8_t buf[WRITE];

	while (n->sent < n->to_send && kcp_room(&n->r->k)) {
		uint32_t len = n->to_send - n->sent < WRITE ? (uint32_t)(n->to_send - n->sent) : WRITE;

		for (uint32_t i = 0; i < len; i++)
			buf[i] = stream_byte(n->sent + i);
		cr_assert_eq(kcp_send(&n->r->k, &(struct slice){buf, len}, 1), 0);
		n->sent += len;
	}
}

static void node_flush(struct node *n, enum kcp_flush_kind kind, uint64_t now)
{
	n->r->lend = NODE_BURST;
	rig_flush(n->r, kind, now);
	for (unsigned i = 0; i < n->r->n_out; i++)
		sim_link_send(n->out, n->r->out[i].p, n->r->out[i].n, now * 1000);
}

static void node_turn(struct node *n, struct sim_link *in, uint64_t now)
{
	unsigned want = node_input(n, in, now);

	node_write(n);
	if ((want & KCP_WANT_FULL) || kcp_next(&n->r->k) <= now)
		node_flush(n, KCP_FLUSH_FULL, now);
	else if (want & KCP_WANT_ACKS)
		node_flush(n, KCP_FLUSH_ACKS, now);
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t link_ms(const struct sim_link *l)
{
	uint64_t us = sim_link_next(l);

	return us == UINT64_MAX ? us : (us + 999) / 1000;
}

/* Runs until nothing is left to do, which must come. */
static struct result transfer(const struct kcp_conf *ca, const struct kcp_conf *cb, const struct sim_conf *link,
			      uint64_t seed, uint64_t bytes)
{
	struct sim_rng g = {seed};
	uint64_t start = sim_below(&g, 1000), now = start, hash = FNV_START;
	struct result res = {0};
	struct node a, b;

	node_init(&a, ca, link, sim_rand(&g), now);
	node_init(&b, cb, link, sim_rand(&g), now);
	a.to_send = bytes;
	while (now != UINT64_MAX) {
		node_turn(&a, b.out, now);
		node_turn(&b, a.out, now);
		if (b.read == bytes && !res.ms)
			res.ms = now - start;
		cr_assert_lt(now, start + LIMIT_MS, "seed %lu: %lu of %lu bytes", seed, b.read, bytes);
		uint64_t next = min64(min64(kcp_next(&a.r->k), kcp_next(&b.r->k)), min64(link_ms(a.out), link_ms(b.out)));

		cr_assert_gt(next, now, "a turn leaves something due");
		now = next;
		res.turns++;
	}

	for (uint64_t i = 0; i < bytes; i++)
		hash = fnv(hash, &(uint8_t){stream_byte(i)}, 1);
	cr_assert_eq(b.read, bytes);
	cr_assert_eq(b.hash, hash, "seed %lu", seed);
	cr_assert_eq(b.r->cnt.BytesReceived, bytes);
	cr_assert_eq(a.r->cnt.BytesSent, bytes);
	res.again = a.r->cnt.RetransSegs;
	res.segs = (bytes + a.r->k.mss - 1) / a.r->k.mss + res.again;
	/* At rest a session holds its struct and no more. */
	cr_assert_eq(mem_used(a.r->mem), a.r->mem_idle);
	cr_assert_eq(mem_used(b.r->mem), b.r->mem_idle);
	rig_free(a.r);
	rig_free(b.r);
	sim_link_free(a.out);
	sim_link_free(b.out);
	return res;
}

static int by_ms(const void *a, const void *b)
{
	const struct result *x = a, *y = b;

	return (x->ms > y->ms) - (x->ms < y->ms);
}

struct summary {
	uint64_t median, p90; /* ms */
	double again;         /* retransmitted for each segment */
};

static struct summary many(const struct kcp_conf *conf, const struct sim_conf *link, uint64_t bytes)
{
	struct result r[SEEDS];
	uint64_t again = 0, segs = 0;

	for (unsigned i = 0; i < SEEDS; i++) {
		r[i] = transfer(conf, conf, link, 1000 + i, bytes);
		again += r[i].again;
		segs += r[i].segs;
	}
	qsort(r, SEEDS, sizeof(r[0]), by_ms);
	return (struct summary){r[SEEDS / 2].ms, r[SEEDS * 9 / 10].ms, (double)again / (double)(segs - again)};
}

static struct kcp_conf mode_conf(unsigned mode, int nc)
{
	return (struct kcp_conf){.mtu = 1350,
				 .snd_wnd = 128,
				 .rcv_wnd = 512,
				 .nodelay = modes[mode].nodelay,
				 .interval = modes[mode].interval,
				 .resend = 2,
				 .nc = nc};
}

struct bound {
	uint32_t loss;               /* per mille, both ways */
	uint64_t median[2], p90[2];  /* ms, without (nc 1) and with (nc 0) congestion window */
};

Test(kcp_pair, loss, .timeout = 100)
{
	static const uint32_t losses[] = {0, 10, 50, 100, 200, 400};

	for (unsigned m = 0; m < 4; m++) {
		for (unsigned i = 0; i < 6; i++) {
			for (int nc = 1; nc >= 0; nc--) {
				struct kcp_conf conf = mode_conf(m, nc);
				struct sim_conf link = {.delay_us = 25000, .jitter_us = 3000, .loss = losses[i]};
				struct summary s = many(&conf, &link, BYTES);

				printf("%s nc %d loss %u: median %lu p90 %lu ms again %.3f\n", modes[m].name, nc, losses[i],
				       s.median, s.p90, s.again);
			}
		}
	}
}
