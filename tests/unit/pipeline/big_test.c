/* SPDX-License-Identifier: MIT */

/* A router between the two gateways that takes less than they send, and says so; others that only pretend to be one. */

#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>

#include "cut.h"
#include "eal.h"
#include "le.h"

TestSuite(pipeline_big, .init = eal_start);

#define MTU 1280
#define IP  RTE_ETHER_HDR_LEN

static struct {
	unsigned mtu; /* 0: takes all */
	bool mute;    /* and says nothing */
	unsigned big, cut, whole;
	bool last; /* SERVER: where the last went that was too big */
	uint8_t frame[2048];
	unsigned n;
} router;

/* The message that the frame in router.frame was too big, back to its sender: of `quote` bytes of it. */
static unsigned message(uint8_t *out, unsigned mtu, unsigned quote)
{
	const uint8_t *f = router.frame;
	uint8_t *ip = out + IP, *icmp = ip + 20;

	memset(out, 0, IP + 28);
	memcpy(out, f + 6, 6);
	memcpy(out + 6, f, 6);
	memcpy(out + 12, f + 12, 2);
	ip[0] = 0x45;
	be16_put(ip + 2, (uint16_t)(28 + quote));
	ip[8] = 64;
	ip[9] = 1;
	memcpy(ip + 12, (const uint8_t[]){10, 0, 0, 254}, 4);
	memcpy(ip + 16, f + IP + 12, 4);
	be16_put(ip + 10, ref_csum(ip, 20));
	icmp[0] = 3;
	icmp[1] = 4;
	be16_put(icmp + 6, (uint16_t)mtu);
	memcpy(icmp + 8, f + IP, quote);
	be16_put(icmp + 2, ref_csum(icmp, 8 + quote));
	return IP + 28 + quote;
}

/* What does not fit is lost with a word to its sender, or, where that allows it, cut. */
static bool narrow(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	struct gate *from = &b->g[to == &b->g[CLIENT]];
	uint8_t out[2048];
	struct whole w = {.n = m->data_len};
	const uint8_t *ip = rte_pktmbuf_mtod_offset(m, const uint8_t *, IP);

	router.whole += !(be16_get(ip + 6) & 0x3fff);
	router.cut += (be16_get(ip + 6) & 0x3fff) != 0;
	if (!router.mtu || m->data_len <= IP + router.mtu)
		return false;
	memcpy(w.p, rte_pktmbuf_mtod(m, void *), w.n);
	rte_pktmbuf_free(m);
	cr_assert(be16_get(w.p + IP + 6) & 0x4000, "what is cut fits");
	router.big++;
	router.last = to == &b->g[SERVER];
	memcpy(router.frame, w.p, w.n);
	router.n = w.n;
	if (!router.mute)
		bed_receive(from, bed_bytes(b, out, message(out, router.mtu, 28)));
	return true;
}

static struct sess *some_sess(const struct gate *g)
{
	for (unsigned w = 0; w < g->n; w++)
		if (g->shard[w]->n_all)
			return g->shard[w]->all[0];
	return NULL;
}

static uint64_t sum_drops(const struct gate *g)
{
	uint64_t sum = 0;

	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++)
		sum += bed_drops(g, v);
	return sum;
}

static void lowered(struct bed_conf conf)
{
	struct bed *b = bed_new(&conf);

	memset(&router, 0, sizeof(router));
	b->wire = narrow;
	for (unsigned i = 0; i < BED_CONN; i++)
		bed_connect(b, i, 1 << 20);
	while (b->app[0].got < 10000)
		bed_step(b);
	cr_assert_eq(router.cut, 0);
	router.mtu = MTU;
	cr_assert(bed_finish(b, 120000));
	for (unsigned i = 0; i < b->n_app; i++)
		app_complete(&b->app[i]);
	cr_assert_gt(router.big, 0);
	cr_assert_gt(router.cut, 0, "what was cut for the wider path left in fragments");
	for (unsigned e = 0; e < 2; e++) {
		const struct gate *g = &b->g[e];
		uint64_t cut = 0;

		for (unsigned w = 0; w < g->n; w++) {
			cut += worker_stats(g->w[w])->cut;
			for (unsigned i = 0; i < g->shard[w]->n_all; i++) {
				const struct pmtu *p = &g->shard[w]->all[i]->pmtu;

				cr_expect_eq(p->now, MTU, "gateway %u: %u", e, p->now);
				cr_expect_eq(p->how, SHARD_PMTU_ICMP);
			}
		}
		cr_expect_gt(cut, 0);
		cr_expect_eq(sum_drops(g), bed_drops(g, DROP_TCP_CONTROL), "gateway %u", e);
	}
	bed_end(b);
}

/* Every session of either gateway hears of it, at whichever worker the message came, and fills what the path takes. */
Test(pipeline_big, lowered)
{
	lowered((struct bed_conf){.cipher = "aes"});
}

Test(pipeline_big, lowered_fec)
{
	lowered((struct bed_conf){.cipher = "aes", .ds = 10, .ps = 3});
}

Test(pipeline_big, lowered_spread_by_the_port)
{
	lowered((struct bed_conf){.cipher = "aes", .rss = true});
}

Test(pipeline_big, lowered_tcp)
{
	lowered((struct bed_conf){.cipher = "aes", .tcp = true});
}

/* Without a cipher the checksum of what comes in fragments is all there is. */
Test(pipeline_big, lowered_bare)
{
	lowered((struct bed_conf){.cipher = "null"});
}

/* ---- who only pretends ---- */

/* What a message says that is not a router's: each is dropped under its reason, and nothing changes. */
Test(pipeline_big, spoofed)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	const struct gate *c = &b->g[CLIENT];
	struct sess *ss;
	uint16_t full;
	uint64_t at[3];
	uint64_t seed = 5;

	memset(&router, 0, sizeof(router));
	b->wire = narrow;
	bed_connect(b, 0, 1 << 20);
	while (router.last != true || router.n < IP + 1300) { /* a full packet of the client's, to quote */
		router.mtu = 1300;
		router.mute = true;
		bed_step(b);
	}
	router.mtu = 0;
	ss = some_sess(c);
	full = ss->pmtu.want;
	cr_assert_eq(ss->pmtu.now, full);
	for (unsigned i = 0; i < 4000; i++) {
		uint8_t out[2048];
		unsigned kind = i % 8, n;
		uint8_t keep[64];

		memcpy(keep, router.frame, sizeof(keep));
		switch (kind) {
		case 0: /* another mark */
			be16_put(router.frame + IP + 4,
				 (uint16_t)(be16_get(router.frame + IP + 4) + 1 + rnd(&seed) % 0xffff));
			n = message(out, 600, 28);
			break;
		case 1: /* longer than anything that was sent */
			be16_put(router.frame + IP + 2, (uint16_t)(full + 1 + rnd(&seed) % 1000));
			n = message(out, 1300, 28);
			break;
		case 2: /* larger than the packet that it was too small for */
			n = message(out, full, 28);
			break;
		case 3: /* less than any link has */
			n = message(out, 1 + (unsigned)(rnd(&seed) % 67), 28);
			break;
		case 4: /* a bad checksum */
			n = message(out, 1300, 28);
			out[IP + 22] ^= 1;
			break;
		case 5: /* another peer's flow: no session */
			router.frame[IP + 19] = (uint8_t)(router.frame[IP + 19] + 1 + rnd(&seed) % 200);
			n = message(out, 1300, 28);
			break;
		case 6: /* another port of the peer's */
			be16_put(router.frame + IP + 22, (uint16_t)(BED_PORT + 1 + rnd(&seed) % 1000));
			n = message(out, 1300, 28);
			break;
		default: /* port unreachable, to one of ours: a session does not end for what anybody can say */
			n = message(out, 1300, 28);
			out[IP + 21] = 3;
			be16_put(out + IP + 22, 0);
			be16_put(out + IP + 22, ref_csum(out + IP + 20, n - IP - 20));
			break;
		}
		memcpy(router.frame, keep, sizeof(keep));
		bed_receive(&b->g[CLIENT], bed_bytes(b, out, n));
		if (i % 64 == 63)
			bed_step(b);
		cr_assert_eq(ss->pmtu.now, full, "kind %u", kind);
	}
	bed_step(b);
	at[0] = bed_drops(c, DROP_ICMP_QUOTE);
	at[1] = bed_drops(c, DROP_ICMP_MTU);
	at[2] = bed_drops(c, DROP_ICMP_CHECKSUM);
	cr_expect_eq(at[0], 4 * 500, "%lu", at[0]);
	cr_expect_eq(at[1], 2 * 500, "%lu", at[1]);
	cr_expect_eq(at[2], 500, "%lu", at[2]);
	cr_expect_eq(ss->pmtu.now, full);
	cr_expect_eq(ss->pmtu.how, SHARD_PMTU_CONFIGURED);
	cr_assert(bed_finish(b, 120000));
	app_complete(&b->app[0]);
	cr_expect_eq(worker_stats(c->w[0])->cut, 0);
	bed_end(b);
}
