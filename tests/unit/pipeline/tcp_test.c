/* SPDX-License-Identifier: MIT */

/* Fake TCP's handshake at the worker: who is answered, with what, and who is not. */

#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "acl.h"
#include "bed.h"
#include "eal.h"

TestSuite(pipeline_tcp, .init = eal_start);

#define SYN	RTE_TCP_SYN_FLAG
#define ACK	RTE_TCP_ACK_FLAG
#define HEADERS (RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_tcp_hdr))

static struct bed *bed(void)
{
	return bed_new(&(struct bed_conf){.cipher = "aes", .tcp = true});
}

/* A segment from the other gateway's host to gateway e. */
static void segment(struct bed *b, int e, uint16_t sport, uint16_t dport, uint8_t flags, uint32_t seq, uint32_t ack)
{
	uint8_t p[HEADERS] = {2, 0, 0, 0, 0, (uint8_t)(1 + e), 2, 0, 0, 0, 0, (uint8_t)(1 + !e), 8, 0};
	struct rte_ipv4_hdr *ip = (void *)(p + RTE_ETHER_HDR_LEN);
	struct rte_tcp_hdr *tcp = (void *)(ip + 1);

	*ip = (struct rte_ipv4_hdr){.version_ihl = 0x45,
				    .total_length = rte_cpu_to_be_16(sizeof(*ip) + sizeof(*tcp)),
				    .time_to_live = 60,
				    .next_proto_id = 6,
				    .src_addr = rte_cpu_to_be_32(0x0a000001u + (uint32_t)!e),
				    .dst_addr = rte_cpu_to_be_32(0x0a000001u + (uint32_t)e)};
	ip->hdr_checksum = rte_ipv4_cksum(ip);
	*tcp = (struct rte_tcp_hdr){.src_port = rte_cpu_to_be_16(sport),
				    .dst_port = rte_cpu_to_be_16(dport),
				    .sent_seq = rte_cpu_to_be_32(seq),
				    .recv_ack = rte_cpu_to_be_32(ack),
				    .data_off = 5 << 4,
				    .tcp_flags = flags,
				    .rx_win = 0xffff};
	tcp->cksum = rte_ipv4_udptcp_cksum(ip, tcp);
	bed_receive(&b->g[e], bed_bytes(b, p, sizeof(p)));
}

/* Handshake segments that have left either gateway. */
static struct {
	unsigned n[2]; /* by the gateway that they are for */
	uint8_t frame[HEADERS];
} heard;

static bool listen_in(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	const struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(m, const struct rte_tcp_hdr *, 34);

	if (!(tcp->tcp_flags & SYN))
		return false;
	heard.n[to - b->g]++;
	cr_assert_geq(m->data_len, HEADERS);
	cr_assert_eq(m->data_len, 14 + rte_be_to_cpu_16(*rte_pktmbuf_mtod_offset(m, uint16_t *, 16)));
	cr_assert_eq(m->pkt_len, m->data_len);
	cr_assert_eq(m->ol_flags, 0);
	cr_assert_eq(m->port, b->g[to == &b->g[CLIENT] ? SERVER : CLIENT].port);
	memcpy(heard.frame, rte_pktmbuf_mtod(m, void *), HEADERS);
	return false;
}

static uint32_t isn(void)
{
	return rte_be_to_cpu_32(((const struct rte_tcp_hdr *)(heard.frame + 34))->sent_seq);
}

/* A server answers by what the SYN itself says, and each time the same. */
Test(pipeline_tcp, server_answers)
{
	struct bed *b = bed();
	const struct rte_ipv4_hdr *ip = (void *)(heard.frame + 14);
	const struct rte_tcp_hdr *tcp = (void *)(heard.frame + 34);
	uint32_t first;

	b->wire = listen_in;
	segment(b, SERVER, 5000, BED_PORT, SYN, 0x12345678, 0);
	bed_steps(b, 2);
	cr_assert_eq(heard.n[CLIENT], 1);
	cr_assert_eq(memcmp(heard.frame, "\2\0\0\0\0\1\2\0\0\0\0\2", 12), 0, "back to where it came from");
	cr_assert_eq(ip->src_addr, rte_cpu_to_be_32(0x0a000002));
	cr_assert_eq(ip->dst_addr, rte_cpu_to_be_32(0x0a000001));
	cr_assert_eq(tcp->src_port, rte_cpu_to_be_16(BED_PORT));
	cr_assert_eq(tcp->dst_port, rte_cpu_to_be_16(5000));
	cr_assert_eq(tcp->tcp_flags, SYN | ACK);
	cr_assert_eq(tcp->recv_ack, rte_cpu_to_be_32(0x12345679));
	first = isn();
	/* Said again, it is the same flow; another port's is another. */
	segment(b, SERVER, 5000, BED_PORT, SYN, 0x12345678, 0);
	bed_steps(b, 2);
	cr_assert_eq(heard.n[CLIENT], 2);
	cr_assert_eq(isn(), first);
	segment(b, SERVER, 5001, BED_PORT, SYN, 0x12345678, 0);
	bed_steps(b, 2);
	cr_assert_eq(heard.n[CLIENT], 3);
	cr_assert_neq(isn(), first);
	cr_assert_eq(shard_stats(b->g[SERVER].shard[0])->sessions_opened, 0, "nothing is kept of a SYN");
	cr_assert_eq(bed_drops(&b->g[SERVER], DROP_TCP_CONTROL), 0);
	bed_end(b);
}

/* Who may have no session gets no answer either, which would tell that somebody listens. */
Test(pipeline_tcp, no_answer_to_the_unwelcome)
{
	struct bed *b = bed();
	struct net_acl_rule v = {addr_v4(0x0a000001), 128, false};
	struct net_acl *acl;

	cr_assert_eq(net_acl_create(&acl, &v, 1, true), 0);
	b->g[SERVER].tun.acl = acl;
	b->wire = listen_in;
	segment(b, SERVER, 5000, BED_PORT, SYN, 0x12345678, 0);
	bed_steps(b, 2);
	cr_assert_eq(heard.n[CLIENT], 0);
	cr_assert_eq(bed_drops(&b->g[SERVER], DROP_ACL), 1);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
	net_acl_destroy(acl);
}

/* An answer that a server never asked for. */
Test(pipeline_tcp, server_takes_no_answers)
{
	struct bed *b = bed();

	b->wire = listen_in;
	segment(b, SERVER, 5000, BED_PORT, SYN | ACK, 1, 2);
	bed_steps(b, 2);
	cr_assert_eq(heard.n[CLIENT], 0);
	cr_assert_eq(bed_drops(&b->g[SERVER], DROP_TCP_CONTROL), 1);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* A client's port is no listener: a SYN to it gets no answer, neither before its session stands nor after. */
Test(pipeline_tcp, client_answers_no_syn)
{
	struct bed *b = bed();
	uint64_t before;
	uint16_t port;

	bed_connect(b, 0, 1000);
	cr_assert(bed_finish(b, 10000));
	app_complete(&b->app[0]);
	bed_steps(b, 200);
	port = b->dials[0].key.local_port;
	cr_assert_eq(b->g[CLIENT].udp->tcp[port], 1);
	before = bed_drops(&b->g[CLIENT], DROP_TCP_CONTROL);
	b->wire = listen_in;
	segment(b, CLIENT, BED_PORT, port, SYN, 77, 0);	    /* by its own peer */
	segment(b, CLIENT, BED_PORT + 1, port, SYN, 77, 0); /* by anybody */
	bed_steps(b, 5);
	cr_assert_eq(heard.n[SERVER], 0, "%u answers to a SYN", heard.n[SERVER]);
	cr_assert_eq(bed_drops(&b->g[CLIENT], DROP_TCP_CONTROL), before + 2);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* A segment for no port of ours is the kernel's. */
Test(pipeline_tcp, strangers_are_punted)
{
	struct bed *b = bed();
	struct rte_mbuf *m;

	b->wire = listen_in;
	segment(b, SERVER, 5000, BED_PORT + 1, SYN, 1, 0);
	bed_steps(b, 2);
	cr_assert_eq(heard.n[CLIENT], 0);
	cr_assert_eq(border_punts(b->g[SERVER].border[0], &m, 1), 1);
	cr_assert_eq(m->data_len, HEADERS);
	rte_pktmbuf_free(m);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* ---- the whole way ---- */

/* The first two SYNs and the first two answers to them are lost: they are said again, a second later each time. */
static bool lose_first(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	const struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(m, const struct rte_tcp_hdr *, 34);
	unsigned e = (unsigned)(to - b->g);

	if (!(tcp->tcp_flags & SYN))
		return false;
	cr_assert_eq(!!(tcp->tcp_flags & ACK), e == CLIENT);
	if (++heard.n[e] > 2)
		return false;
	rte_pktmbuf_free(m);
	return true;
}

Test(pipeline_tcp, handshake_lost)
{
	struct bed *b = bed();
	uint64_t from = b->ms;

	b->wire = lose_first;
	bed_connect(b, 0, 20000);
	cr_assert(bed_finish(b, 20000));
	app_complete(&b->app[0]);
	cr_assert_eq(heard.n[SERVER], 5, "%u SYNs", heard.n[SERVER]);
	cr_assert_eq(heard.n[CLIENT], 3);
	cr_assert(b->ms - from > 4000 && b->ms - from < 5000, "%lu ms", b->ms - from);
	bed_end(b);
}

/* An answer to another SYN, of a flow that had these ports before, begins nothing. */
Test(pipeline_tcp, answer_to_another_syn)
{
	struct bed *b = bed();
	uint64_t before;

	b->g[CLIENT].no_carry = true;
	bed_connect(b, 0, 1000);
	bed_steps(b, 50);
	before = bed_drops(&b->g[CLIENT], DROP_TCP_CONTROL);
	segment(b, CLIENT, BED_PORT, b->dials[0].key.local_port, SYN | ACK, 1, 0xdeadbeef);
	bed_steps(b, 2);
	cr_assert_eq(bed_drops(&b->g[CLIENT], DROP_TCP_CONTROL), before + 1);
	b->g[CLIENT].no_carry = false;
	cr_assert(bed_finish(b, 20000));
	app_complete(&b->app[0]);
	bed_end(b);
}

/* Both of the server's workers, and all that the workers' turn does with datagrams of TCP. */
Test(pipeline_tcp, transfer)
{
	struct bed *b = bed();

	for (unsigned i = 0; i < BED_CONN; i++)
		bed_connect(b, i, 100000);
	cr_assert(bed_finish(b, 20000));
	for (unsigned i = 0; i < b->n_app; i++)
		app_complete(&b->app[i]);
	for (int e = 0; e < 2; e++)
		for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++)
			cr_assert(v == DROP_TCP_CONTROL || bed_drops(&b->g[e], v) == 0, "%s", drop_name(v));
	cr_assert_gt(shard_stats(b->g[SERVER].shard[0])->sessions_opened, 0);
	cr_assert_gt(shard_stats(b->g[SERVER].shard[1])->sessions_opened, 0);
	bed_end(b);
}

/* No buffer for a SYN: counted, and the next one is a second later. */
Test(pipeline_tcp, no_buffer_to_knock)
{
	static struct rte_mbuf *all[BED_MBUFS];
	struct bed *b = bed();
	unsigned n = 0;

	bed_steps(b, 2);
	while (rte_pktmbuf_alloc_bulk(b->pool, &all[n], 1) == 0)
		n++;
	bed_connect(b, 0, 1000);
	bed_steps(b, 20);
	cr_assert_gt(bed_drops(&b->g[CLIENT], DROP_NO_MBUF), 0);
	rte_pktmbuf_free_bulk(all, n);
	cr_assert(bed_finish(b, 10000));
	app_complete(&b->app[0]);
	bed_end(b);
}
