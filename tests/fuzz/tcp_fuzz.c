/* SPDX-License-Identifier: MIT */

/*
 * Fake TCP, segment by segment, at one flow of a server: SYNs are answered where they arrive, datagrams move the flow's
 * numbers, and what the flow sends is what the other end's parser reads.
 *
 *	flags(1): 1 IPv6; segments: op(1) length(1) the segment's bytes
 *	op: 1 the ports are put right, 2 the offset, 4 we send before it, 8 it is authentic
 */

#include "fuzz.h"
#include "le.h"
#include "netbed.h"

#define ROOM 512

struct flow {
	bool v6;
	struct net_tcp t;
	struct flow_key key;
	bool has_key;
};

/* A frame of ours as its receiver sees it: that one's addresses are turned round, its port is the peer's. */
static void check_sent(const struct pkt *k, const struct flow_key *key, bool v6, uint32_t seq, uint32_t ack, unsigned n)
{
	struct net_tcp_at at;

	fuzz_must(net_find_tcp(k->p, k->n, k->n, &at), "%u bytes", k->n);
	fuzz_must(at.v6 == v6 && at.data_n == n && at.data + n == k->n);
	fuzz_must(be16_get(k->p + at.tcp) == key->local_port && be16_get(k->p + at.tcp + 2) == key->peer_port);
	fuzz_must(be32_get(k->p + at.tcp + 4) == seq && be32_get(k->p + at.tcp + 8) == ack);
	if (!v6)
		fuzz_must(net_sum_fold(net_sum(k->p + at.ip, 20, 0)) == 0);
}

static void send_one(struct flow *f, unsigned n)
{
	uint8_t room[NET_MAX_HEAD + 256] = {0};
	struct pkt k = {.p = room + NET_MAX_HEAD, .n = (uint16_t)n};
	const struct net_ends ends = {.key = &f->key};
	const struct net_tcp was = f->t;
	struct net_path path;

	if (!f->has_key)
		return;
	net_path_init(&path, &ends);
	net_push_tcp(&path, &f->t, &k);
	fuzz_must(f->t.seq == was.seq + n && f->t.ack == was.ack && k.p >= room);
	check_sent(&k, &f->key, f->v6, was.seq, was.ack, n);
}

static void answer(const struct flow *f, const uint8_t *frame, const struct pkt *syn)
{
	uint8_t room[14 + 40 + ROOM + NET_MAX_HEAD];
	const bool second = syn->flags & PKT_F_ACK;
	struct pkt k = *syn;

	memcpy(room, frame, syn->n);
	k.p = room;
	net_answer_syn(&k, 0x01020304, 0);
	fuzz_must(k.p >= room && k.p + k.n <= room + sizeof(room) && memcmp(k.p, frame + 6, 6) == 0);
	check_sent(&k, k.key, f->v6, second ? syn->tcp_ack : 0x01020304, syn->tcp_end, 0);
}

static void segment(struct flow *f, unsigned op, struct fuzz_in seg)
{
	uint8_t made[14 + 40 + ROOM] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9}, *tcp, *frame;
	struct pkt k = {.dev = 0};
	struct flow_key key;

	be16_put(made + 12, f->v6 ? ETH_T_IPV6 : ETH_T_IPV4);
	tcp = made + 14 + netbed_ip(made + 14, f->v6, 6, (unsigned)seg.n);
	memcpy(tcp, seg.p, seg.n);
	if (op & 1) {
		be16_put(tcp, 1234);
		be16_put(tcp + 2, NETBED_PORT);
	}
	if (op & 2)
		tcp[12] = (uint8_t)(tcp[12] | 0x50);
	k.n = (uint16_t)(tcp + seg.n - made);
	k.p = frame = fuzz_exact(made, k.n);
	netbed_parse(&k, &key);
	if (k.verdict == VERDICT_SYN) {
		answer(f, frame, &k);
	} else if (k.verdict == VERDICT_OK) {
		fuzz_must(key.proto == FLOW_TCP && k.p + k.n == frame + (tcp + seg.n - made));
		net_sum_ok(frame, &k);
		f->key = key;
		f->has_key = true;
	}
	if (k.verdict == VERDICT_OK && op & 8)
		net_tcp_take(&f->t, &k);
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = {p, n};
	struct flow f = {.v6 = fuzz_u8(&in) & 1};

	for (unsigned i = 0; in.n && i < 64; i++) {
		unsigned op = fuzz_u8(&in), len = fuzz_u8(&in);

		if (op & 4)
			send_one(&f, len);
		segment(&f, op, fuzz_bytes(&in, len));
	}
	return 0;
}
