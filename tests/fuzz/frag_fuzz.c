/* SPDX-License-Identifier: MIT */

/*
 * Fragments of datagrams to us, in any order, overlapping, repeated, too many, never whole: what is put together is
 * what was cut, in one buffer, and no buffer is lost.
 *
 *	fragments: op(1) offset(1) length(1), or with 16 in op the bytes of an IP packet: length(1) bytes
 *	op: 1 IPv6, 2 and 4 which datagram, 8 more follow, 32 time passes: ms / 16 (1)
 */

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include "eal.h"
#include "frag.h"
#include "fuzz.h"
#include "le.h"
#include "netbed.h"

#define STEPS	1500
#define BUFFERS 2047

struct world {
	struct frag *f;
	struct rte_mempool *pool;
	uint64_t tsc;
	bool strange; /* fragments came that no datagram of ours was cut into */
};

/* Byte `at` of datagram id's IP payload: a UDP header, then a pattern. */
static uint8_t byte_of(unsigned id, unsigned at)
{
	const unsigned len = 8 + 600 * (id + 1);
	const uint8_t head[8] = {0x12, 0x34, NETBED_PORT >> 8, NETBED_PORT & 255, (uint8_t)(len >> 8), (uint8_t)len,
				 1,    1};

	return at < 8 ? head[at] : (uint8_t)(id * 31 + at * 7 + (at >> 8));
}

static void check_whole(struct world *w, struct rte_mbuf *m)
{
	struct pkt k = {.p = rte_pktmbuf_mtod(m, uint8_t *), .n = rte_pktmbuf_data_len(m)};
	const uint8_t *frame = k.p;
	struct flow_key key;
	unsigned id;

	fuzz_must(m->nb_segs == 1 && m->pkt_len == m->data_len);
	netbed_parse(&k, &key);
	if (k.verdict == VERDICT_OK && !w->strange) {
		id = k.n / 600u - 1;
		fuzz_must(key.peer_port == 0x1234 && k.n == 600 * (id + 1) && id < 4);
		for (unsigned i = 0; i < k.n; i++)
			fuzz_must(k.p[i] == byte_of(id, 8 + i), "byte %u of datagram %u", i, id);
	}
	if (k.verdict == VERDICT_OK)
		net_sum_ok(frame, &k);
	rte_pktmbuf_free(m);
}

/* A frame as a port receives it; what the parser does not take for a fragment never comes here. */
static void take(struct world *w, const uint8_t *frame, unsigned n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(w->pool);
	struct flow_key key;
	struct pkt k;

	if (!m)
		return;
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), frame, n);
	k = (struct pkt){.p = rte_pktmbuf_mtod(m, uint8_t *), .n = (uint16_t)n};
	netbed_parse(&k, &key);
	if (k.verdict != VERDICT_FRAG) {
		rte_pktmbuf_free(m);
		return;
	}
	m = frag_take(w->f, m, w->tsc);
	if (m)
		check_whole(w, m);
}

static void cut(struct world *w, struct fuzz_in *in, unsigned op)
{
	uint8_t frame[14 + 40 + 8 + 256 * 8] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9}, *ip = frame + 14, *p;
	const unsigned v6 = op & 1, id = op >> 1 & 3, more = op >> 3 & 1;
	unsigned at = 8u * fuzz_u8(in), len = 8u * fuzz_u8(in) % 1440;

	if (!more) { /* the end of it */
		len = at < 8 + 600 * (id + 1) ? 8 + 600 * (id + 1) - at : 8;
		len = len < 1440 ? len : 1440;
	}
	be16_put(frame + 12, v6 ? ETH_T_IPV6 : ETH_T_IPV4);
	if (v6) {
		p = ip + netbed_ip(ip, true, PROTO_FRAGMENT, IP6_FRAG_HEAD + len);
		p[0] = PROTO_UDP;
		p[1] = 0;
		be16_put(p + IP6_FRAG_OFF, (uint16_t)(at | more));
		be32_put(p + IP6_FRAG_ID, id);
		p += IP6_FRAG_HEAD;
	} else {
		p = ip + netbed_ip(ip, false, PROTO_UDP, len);
		be16_put(ip + IP4_ID, (uint16_t)id);
		be16_put(ip + IP4_FRAG, (uint16_t)(at / 8 | (more ? IP4_MF : 0)));
		le16_put(ip + IP4_CSUM, 0);
		le16_put(ip + IP4_CSUM, net_sum_fold(net_sum(ip, IP4_HEAD, 0)));
	}
	for (unsigned i = 0; i < len; i++)
		p[i] = byte_of(id, at + i);
	take(w, frame, (unsigned)(p - frame) + len);
}

static void raw(struct world *w, struct fuzz_in *in, unsigned op)
{
	struct fuzz_in b = fuzz_bytes(in, fuzz_u8(in));
	uint8_t frame[14 + 256] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9}, *ip = frame + 14;
	unsigned head;

	be16_put(frame + 12, op & 1 ? ETH_T_IPV6 : ETH_T_IPV4);
	if (b.n)
		memcpy(ip, b.p, b.n);
	head = (ip[0] & 15) * 4u;
	if (!(op & 1) && head >= IP4_HEAD && head <= b.n) {
		le16_put(ip + IP4_CSUM, 0);
		le16_put(ip + IP4_CSUM, net_sum_fold(net_sum(ip, head, 0)));
	}
	w->strange = true;
	take(w, frame, 14 + (unsigned)b.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct rte_mempool *pool;
	struct fuzz_in in = {p, n};
	struct world w = {.tsc = 1};

	if (!pool) {
		eal_start();
		pool = rte_pktmbuf_pool_create("fuzz", BUFFERS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	}
	fuzz_must(pool);
	w.pool = pool;
	fuzz_must(frag_create(&w.f, pool, SOCKET_ID_ANY) == 0);
	for (unsigned i = 0; in.n && i < STEPS; i++) {
		unsigned op = fuzz_u8(&in);

		if (op & 32) {
			w.tsc += fuzz_u8(&in) * 16u * rte_get_tsc_hz() / 1000;
			frag_expire(w.f, w.tsc);
		}
		if (op & 16)
			raw(&w, &in, op);
		else
			cut(&w, &in, op);
		fuzz_must(rte_mempool_in_use_count(pool) <= 600, "%u buffers wait", rte_mempool_in_use_count(pool));
	}
	for (unsigned i = 0; i < 100; i++)
		frag_expire(w.f, w.tsc += 10 * rte_get_tsc_hz());
	fuzz_must(rte_mempool_in_use_count(pool) == 0, "%u buffers are lost", rte_mempool_in_use_count(pool));
	frag_destroy(w.f);
	return 0;
}
