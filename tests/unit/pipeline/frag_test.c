/* SPDX-License-Identifier: MIT */

/* Datagrams in fragments: whose they are once they are whole, what is too large, and that no buffer is lost. */

#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>

#include "cut.h"
#include "eal.h"
#include "flow.h"

TestSuite(pipeline_frag, .init = eal_start);

static struct bed *bed(void)
{
	return bed_new(&(struct bed_conf){.cipher = "aes"});
}

static uint64_t all_drops(const struct gate *g)
{
	uint64_t sum = 0;

	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++)
		sum += bed_drops(g, v);
	return sum;
}

/* Every long datagram in three, and as a NIC hashes fragments: all to one queue, whatever their flow. */
static bool in_three(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	struct whole w = {.n = m->data_len};

	if (m->data_len < 600)
		return false;
	memcpy(w.p, rte_pktmbuf_mtod(m, void *), w.n);
	rte_pktmbuf_free(m);
	b->seen++;
	bed_receive_at(to, 0, cut(b, &w, (uint32_t)b->seen, 0, 400));
	bed_receive_at(to, 0, cut(b, &w, (uint32_t)b->seen, 560, 2000));
	bed_receive_at(to, 0, cut(b, &w, (uint32_t)b->seen, 400, 160));
	return true;
}

/*
 * A port that spreads flows by itself: whole datagrams come to their worker, fragments to whichever their addresses
 * alone lead to.  Put together there, they belong to the flow's worker all the same, or it would have two sessions.
 */
Test(pipeline_frag, home_after_reassembly)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes", .rss = true});
	const struct gate *s = &b->g[SERVER];
	uint64_t sessions = 0;

	b->wire = in_three;
	for (unsigned i = 0; i < BED_CONN; i++)
		bed_connect(b, i, 50000);
	cr_assert(bed_finish(b, 20000));
	for (unsigned i = 0; i < b->n_app; i++)
		app_complete(&b->app[i]);
	for (unsigned w = 0; w < 2; w++) {
		cr_assert_gt(s->shard[w]->n_all, 0, "no session at worker %u", w);
		sessions += shard_stats(s->shard[w])->sessions_opened;
		for (unsigned i = 0; i < s->shard[w]->n_all; i++)
			cr_assert_eq(flow_home(&s->rss, &s->shard[w]->all[i]->key), w);
	}
	cr_assert_eq(sessions, BED_CONN, "%lu sessions for %u flows", sessions, BED_CONN);
	/* Only what had been in fragments was steered, and to worker 1. */
	cr_assert_gt(worker_stats(s->w[1])->steered_in, 20, "%lu", worker_stats(s->w[1])->steered_in);
	cr_assert_eq(worker_stats(s->w[0])->steered_in, 0);
	cr_assert_eq(worker_stats(s->w[0])->steered_out, worker_stats(s->w[1])->steered_in);
	cr_assert_gt(worker_stats(s->w[1])->rx_packets, 0, "whole ones come to worker 1 by its own queue");
	cr_assert_eq(all_drops(s), 0);
	bed_end(b);
}

/* ---- how large a datagram may be ---- */

/* A datagram whose frame has `len` bytes, in fragments of 1024; returns how many those are. */
static unsigned send_large(struct bed *b, bool v6, unsigned len, uint32_t id)
{
	unsigned head = v6 ? 62 : 42, n = 0;
	struct whole w;

	whole_udp(&w, SERVER, v6, 5000, BED_PORT, len - head);
	cr_assert_eq(w.n, len);
	for (unsigned at = 0; at < len - head + 8; at += 1024, n++)
		bed_receive(&b->g[SERVER], cut(b, &w, id, at, 1024));
	return n;
}

static void sizes(bool v6)
{
	const unsigned room = RTE_MBUF_DEFAULT_DATAROOM; /* bytes of a buffer behind its headroom */
	struct bed *b = bed();
	const struct gate *s = &b->g[SERVER];
	uint64_t lost = 0;

	/* As long as it fits, it comes to decryption, where it is found to be noise. */
	send_large(b, v6, 1500, 1);
	send_large(b, v6, room - 1, 2);
	send_large(b, v6, room, 3);
	bed_steps(b, 3);
	cr_assert_eq(bed_drops(s, DROP_CRYPT_BAD), 3);
	cr_assert_eq(all_drops(s), 3);
	/* One byte more, and far more: dropped as the fragments that they are, each counted, each freed. */
	lost += send_large(b, v6, room + 1, 4);
	lost += send_large(b, v6, room + 2, 5);
	lost += send_large(b, v6, 5000, 6);
	bed_steps(b, 3);
	cr_assert_eq(bed_drops(s, DROP_IP_FRAGMENT), lost, "%lu of %lu", bed_drops(s, DROP_IP_FRAGMENT), lost);
	cr_assert_eq(bed_drops(s, DROP_CRYPT_BAD), 3, "nothing of them goes on");
	cr_assert_eq(all_drops(s), 3 + lost);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

Test(pipeline_frag, larger_than_a_buffer)
{
	sizes(false);
}

Test(pipeline_frag, larger_than_a_buffer_v6)
{
	sizes(true);
}

/* ---- what comes of one that is whole ---- */

/* Not a tunnel's: it is punted like any other, as one frame that says what was sent. */
static void stranger(bool v6)
{
	struct bed *b = bed();
	struct gate *s = &b->g[SERVER];
	unsigned at = v6 ? 62 : 42;
	struct rte_mbuf *m;
	struct whole w;

	whole_udp(&w, SERVER, v6, 5000, 53, 1200);
	bed_receive(s, cut(b, &w, 9, 600, 2000));
	bed_step(b);
	cr_assert_eq(border_punts(s->border[0], &m, 1), 0);
	bed_receive(s, cut(b, &w, 9, 0, 600));
	bed_step(b);
	cr_assert_eq(border_punts(s->border[0], &m, 1), 1);
	cr_assert_eq(m->nb_segs, 1);
	cr_assert_eq(m->data_len, w.n);
	cr_assert_eq(m->port, s->port);
	cr_assert_eq(memcmp(rte_pktmbuf_mtod_offset(m, void *, at), w.p + at, w.n - at), 0);
	if (!v6) {
		struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, RTE_ETHER_HDR_LEN);

		cr_assert_eq(ip->fragment_offset & ~rte_cpu_to_be_16(RTE_IPV4_HDR_DF_FLAG), 0);
		cr_assert_eq(rte_be_to_cpu_16(ip->total_length), w.n - 14);
		cr_assert_eq(ref_csum((uint8_t *)ip, 20), 0, "the header's checksum is right");
	}
	rte_pktmbuf_free(m);
	cr_assert_eq(all_drops(s), 0);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

Test(pipeline_frag, stranger_is_punted_whole)
{
	stranger(false);
}

Test(pipeline_frag, stranger_is_punted_whole_v6)
{
	stranger(true);
}

/* The same id from another address or of another datagram: nothing is put together that does not belong together. */
Test(pipeline_frag, ids_do_not_mix)
{
	struct bed *b = bed();
	struct gate *s = &b->g[SERVER];
	struct whole w;

	whole_udp(&w, SERVER, false, 5000, BED_PORT, 1200);
	bed_receive(s, cut(b, &w, 1, 0, 600));
	bed_receive(s, cut(b, &w, 2, 600, 2000));
	bed_steps(b, 3);
	cr_assert_eq(all_drops(s), 0, "both wait");
	cr_assert_eq(bed_mbufs_out(b), 2);
	bed_receive(s, cut(b, &w, 1, 600, 2000));
	bed_steps(b, 3);
	cr_assert_eq(bed_drops(s, DROP_CRYPT_BAD), 1);
	bed_steps(b, 2500); /* FRAG_MS */
	cr_assert_eq(bed_drops(s, DROP_IP_FRAGMENT), 1);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* A fragment header that is not the first: freed and counted, not searched for. */
Test(pipeline_frag, behind_another_header)
{
	struct bed *b = bed();
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *m;
	struct whole w;
	uint8_t *p;

	whole_udp(&w, SERVER, true, 5000, BED_PORT, 600);
	m = cut(b, &w, 1, 0, 400);
	p = (uint8_t *)rte_pktmbuf_append(m, 8);
	memmove(rte_pktmbuf_mtod_offset(m, uint8_t *, 62), rte_pktmbuf_mtod_offset(m, uint8_t *, 54), 408);
	p = rte_pktmbuf_mtod_offset(m, uint8_t *, 54);
	memmove(p + 8, p, 8);
	memset(p, 0, 8);
	p[0] = 44;					 /* fragment */
	p[2] = 1, p[3] = 4;				 /* PadN of 4 */
	*rte_pktmbuf_mtod_offset(m, uint8_t *, 20) = 60; /* destination options */
	*rte_pktmbuf_mtod_offset(m, uint16_t *, 18) = rte_cpu_to_be_16((uint16_t)(m->data_len - 54));
	bed_receive(s, m);
	bed_steps(b, 2);
	cr_assert_eq(bed_drops(s, DROP_IP_FRAGMENT), 1);
	cr_assert_eq(all_drops(s), 1);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* ---- how many may wait ---- */

/* A datagram of the server's port in two fragments, of which the second is lost, or is not. */
static void two_parts(struct bed *b, bool v6, uint32_t id, bool whole)
{
	struct whole w;

	whole_udp(&w, SERVER, v6, 5000, BED_PORT, 1200);
	bed_receive(&b->g[SERVER], cut(b, &w, id, 0, 1000));
	if (whole)
		bed_receive(&b->g[SERVER], cut(b, &w, id, 1000, 2000));
}

/*
 * All that comes is in fragments, as a stock peer sends it over a path that takes less, and some of them are lost: what
 * is whole goes on, however many wait.
 */
static void lossy(bool v6)
{
	struct bed *b = bed();
	const struct gate *s = &b->g[SERVER];
	unsigned whole = 0;

	for (unsigned i = 0; i < 6000; i++) { /* 3 a ms; one in ten loses its second half: 600 wait in FRAG_MS */
		two_parts(b, v6, i, i % 10 != 0);
		whole += i % 10 != 0;
		if (i % 3 == 2)
			bed_step(b);
	}
	cr_expect_geq(bed_drops(s, DROP_CRYPT_BAD), whole * 99 / 100, "%lu of %u", bed_drops(s, DROP_CRYPT_BAD), whole);
	bed_steps(b, 2500);
	cr_expect_eq(bed_drops(s, DROP_IP_FRAGMENT), 6000 - whole + 2 * (whole - bed_drops(s, DROP_CRYPT_BAD)),
		     "what was not whole is counted");
	cr_expect_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

Test(pipeline_frag, lossy)
{
	lossy(false);
}

Test(pipeline_frag, lossy_v6)
{
	lossy(true);
}

/* First halves without end hold so many buffers, and no more; and a while later whole ones go on. */
Test(pipeline_frag, flood)
{
	struct bed *b = bed();
	const struct gate *s = &b->g[SERVER];
	unsigned most = 0;

	for (unsigned i = 0; i < 20000; i++) {
		two_parts(b, i & 1, i, false);
		if (i % 50 == 49)
			bed_step(b);
		if (bed_mbufs_out(b) > most)
			most = bed_mbufs_out(b);
	}
	cr_expect_leq(most, 512 + 64, "%u buffers", most);
	bed_steps(b, 600);
	for (unsigned i = 0; i < 100; i++) {
		two_parts(b, false, 100000 + i, true);
		bed_step(b);
	}
	cr_expect_eq(bed_drops(s, DROP_CRYPT_BAD), 100, "%lu", bed_drops(s, DROP_CRYPT_BAD));
	bed_steps(b, 2500);
	cr_expect_eq(bed_drops(s, DROP_IP_FRAGMENT), 20000, "%lu", bed_drops(s, DROP_IP_FRAGMENT));
	cr_expect_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* Fragments that overlap, or come twice with other bytes: nothing is put together of them (RFC 5722). */
static void overlapping(bool v6)
{
	static const unsigned part[][3][2] = {
		{{0, 600}, {592, 600}, {600, 2000}},  /* one more, over the border of two */
		{{0, 608}, {600, 2000}, {600, 2000}}, /* the second begins in the first */
		{{0, 600}, {8, 600}, {608, 2000}},    /* nearly the same again */
		{{600, 2000}, {0, 400}, {0, 600}},    /* the beginning twice, of two lengths */
	};
	struct bed *b = bed();
	const struct gate *s = &b->g[SERVER];
	struct whole w;

	for (unsigned i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		whole_udp(&w, SERVER, v6, 5000, BED_PORT, 1200);
		for (unsigned j = 0; j < 3; j++) {
			bed_receive(&b->g[SERVER], cut(b, &w, i, part[i][j][0], part[i][j][1]));
			bed_step(b);
		}
		cr_expect_eq(bed_drops(s, DROP_CRYPT_BAD), 0, "kind %u went on", i);
	}
	bed_steps(b, 2500);
	cr_expect_eq(bed_drops(s, DROP_IP_FRAGMENT), 12, "%lu", bed_drops(s, DROP_IP_FRAGMENT));
	cr_expect_eq(all_drops(s), 12);
	cr_expect_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

Test(pipeline_frag, overlapping)
{
	overlapping(false);
}

Test(pipeline_frag, overlapping_v6)
{
	overlapping(true);
}
