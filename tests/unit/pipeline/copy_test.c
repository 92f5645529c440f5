/* SPDX-License-Identifier: MIT */

/* What a capture gets of a gateway: each frame that it is sent and sends, byte for byte, once, and all that is in it.
 */

#include <stdlib.h>
#include <string.h>

#include "bed.h"
#include "capture.h"
#include "eal.h"

TestSuite(pipeline_copy, .init = eal_start);

#define FRAMES 20000

struct frames {
	unsigned n;
	uint64_t of[FRAMES]; /* FNV-1a of the direction and the bytes */
};

static struct frames wire, taken, plain;
static uint8_t block[CAPTURE_BLOCK];

static void add(struct frames *f, bool out, const uint8_t *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325 + out;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3;
	cr_assert_lt(f->n, FRAMES);
	f->of[f->n++] = h;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void same(struct frames *a, struct frames *b)
{
	cr_assert_eq(a->n, b->n, "%u and %u", a->n, b->n);
	qsort(a->of, a->n, sizeof(*a->of), by_value);
	qsort(b->of, b->n, sizeof(*b->of), by_value);
	cr_assert_eq(memcmp(a->of, b->of, a->n * sizeof(*a->of)), 0, "other frames");
}

#define IP_LENGTH 17 /* its lower byte */
#define TCP_FLAGS 47

static bool tcp;

/* But for the handshake's last segment, of which the server's parser has no more to say than that it is not a datagram.
 */
static bool listen_in(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);

	if (tcp && to == &b->g[SERVER] && p[IP_LENGTH - 1] == 0 && p[IP_LENGTH] == 40 && p[TCP_FLAGS] == 0x10)
		return false;
	add(&wire, to == &b->g[CLIENT], rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
	return false;
}

static uint32_t u32(unsigned off)
{
	uint32_t v;

	memcpy(&v, block + off, 4);
	return v;
}

static void drain(struct capture *c)
{
	const struct capture_clock now = {.tsc = 1, .ns = 1, .hz = 1000000000};

	while (capture_block(c, &now, block, sizeof(block))) {
		uint32_t flags;

		memcpy(&flags, block + u32(4) - 12, 4); /* the last option */
		add(u32(8) ? &plain : &taken, flags == 2, block + 28, u32(20));
	}
}

static void run(struct bed *b, struct capture *c, unsigned ms)
{
	while (ms--) {
		bed_step(b);
		if (c)
			drain(c);
	}
}

static void captured(const struct bed_conf *conf)
{
	static const char *const name[] = {"x"};
	const struct capture_names names = {.port = name, .n_ports = 1, .tunnel = name};
	const struct capture_want want = {.tunnel = -1, .any_peer = true, .snaplen = CAPTURE_LONGEST, .plain = true};
	struct bed *b = bed_new(conf);
	struct gate *g = &b->g[SERVER];
	struct capture *c;

	tcp = conf->tcp;
	cr_assert_eq(capture_create(&c, &want, &names, g->n, 1 << 20), 0);
	for (unsigned i = 0; i < g->n; i++)
		worker_capture(g->w[i], c);
	b->wire = listen_in;
	for (unsigned i = 0; i < 4; i++)
		bed_connect(b, i, 300000);
	run(b, c, 1500);
	for (unsigned i = 0; i < g->n; i++) {
		cr_expect_eq(worker_captures(g->w[i]), c);
		worker_capture(g->w[i], NULL);
	}
	b->wire = NULL;
	run(b, NULL, 2);
	for (unsigned i = 0; i < g->n; i++)
		cr_expect_null(worker_captures(g->w[i]));
	cr_expect_gt(wire.n, 100);
	cr_expect_eq(capture_lost(c), 0);
	same(&wire, &taken);
	/* A SYN and its answer bear no datagram. */
	cr_expect_eq(plain.n + (conf->tcp ? 2 * 4 : 0), wire.n, "%u of %u", plain.n, wire.n);
	bed_connect(b, 5, 20000);
	cr_assert(bed_finish(b, 5000));
	drain(c);
	cr_expect_eq(taken.n, wire.n, "taken when nobody wanted it");
	capture_destroy(c);
	bed_end(b);
}

Test(pipeline_copy, udp)
{
	captured(&(struct bed_conf){.cipher = "aes", .ds = 3, .ps = 2});
}

Test(pipeline_copy, fake_tcp)
{
	captured(&(struct bed_conf){.cipher = "aes", .tcp = true});
}

Test(pipeline_copy, spread_by_the_device)
{
	captured(&(struct bed_conf){.cipher = "salsa20", .rss = true});
}
