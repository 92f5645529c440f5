/* SPDX-License-Identifier: MIT */
#include "eal.h"
#include "fec_wire.h"
#include "kcp_wire.h"
#include "le.h"
#include "rig.h"

/* Each counter at the event that wire.md 9.7 names, and the IP header's class (5.5). */

TestSuite(session_snmp, .init = eal_start);

static const struct snmp *of(const struct rig *r, enum rig_end end)
{
	return shard_snmp(r->side[end].shard, 0);
}

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

/* One KCP segment at p: n bytes of payload that are no frame. */
static uint16_t segment(uint8_t *p, uint32_t conv, uint8_t cmd, uint32_t sn, uint32_t n)
{
	memset(p, 0, KCP_HEAD + n);
	le32_put(p, conv);
	p[KCP_OFF_CMD] = cmd;
	le16_put(p + KCP_OFF_WND, 128);
	le32_put(p + KCP_OFF_SN, sn);
	le32_put(p + KCP_OFF_LEN, n);
	return (uint16_t)(KCP_HEAD + n);
}

/* ---- a connection on a good line: what one end sends is what the other receives ---- */

Test(session_snmp, good_line)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c = rig_connect(r, 0, 300000, 500000);
	const struct snmp *cl = of(r, CLIENT), *sv = of(r, SERVER);

	cr_assert(rig_finish(r, 10000));
	conn_complete(c);
	run_for(r, 1000);
	for (int e = 0; e < 2; e++) {
		const struct snmp *a = of(r, e), *b = of(r, !e);

		cr_assert_eq(a->OutPkts, r->side[e].dgrams);
		cr_assert_eq(a->OutBytes, r->side[e].wire);
		cr_assert_eq(a->OutPkts, b->InPkts);
		cr_assert_eq(a->OutBytes, b->InBytes);
		cr_assert_eq(a->OutSegs, b->InSegs);
		cr_assert_eq(a->BytesSent, b->BytesReceived);
		cr_assert_gt(a->BytesSent, 300000 / 8);
		cr_assert_eq(a->RetransSegs + a->LostSegs + a->FastRetransSegs + a->EarlyRetransSegs, 0);
		cr_assert_eq(a->RepeatSegs + a->InErrs + a->InCsumErrors + a->KCPInErrors, 0);
		cr_assert_eq(a->FECErrs + a->FECFullShardSet + a->FECParityShards + a->FECRecovered, 0);
		cr_assert_eq(a->RingBufferSndQueue + a->RingBufferRcvQueue + a->RingBufferSndBuffer, 0);
		cr_assert_eq(a->CurrEstab, 1);
		cr_assert_eq(a->MaxConn, 1);
	}
	cr_assert_eq(cl->ActiveOpens, 1);
	cr_assert_eq(cl->PassiveOpens, 0);
	cr_assert_eq(sv->ActiveOpens, 0);
	cr_assert_eq(sv->PassiveOpens, 1);
	rig_end(r);
}

/* What the cipher adds is in OutBytes, and not in InBytes, which counts what was deciphered. */
Test(session_snmp, cipher_bytes)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	struct conn *c;

	r->side[CLIENT].tun.head = 12;
	r->side[CLIENT].tun.tail = 16;
	c = rig_connect(r, 0, 30000, 0);
	cr_assert(rig_finish(r, 10000));
	conn_complete(c);
	cr_assert_eq(of(r, CLIENT)->OutBytes, r->side[CLIENT].wire + 28 * r->side[CLIENT].dgrams);
	rig_end(r);
}

/* ---- a bad one ---- */

Test(session_snmp, bad_line)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;
	struct conn *c;

	conf.nocomp = true;
	conf.ds = 10;
	conf.ps = 3;
	conf.link.loss = 150;
	conf.link.dup = 50;
	r = rig_new(&conf);
	c = rig_connect(r, 0, 1000000, 1000000);
	cr_assert(rig_finish(r, 60000));
	conn_complete(c);
	for (int e = 0; e < 2; e++) {
		const struct snmp *a = of(r, e);

		cr_assert_eq(a->RetransSegs, a->LostSegs + a->FastRetransSegs + a->EarlyRetransSegs);
		cr_assert_gt(a->RetransSegs, 0);
		cr_assert_gt(a->RepeatSegs, 0);
		cr_assert_gt(a->FECRecovered, 0);
		cr_assert_gt(a->FECFullShardSet, 0);
		cr_assert_gt(a->FECParityShards, 0);
		cr_assert_eq(a->FECErrs + a->KCPInErrors, 0);
		cr_assert_leq(a->FECShardSet, 4);
		/* Parity is counted in OutPkts: groups of 10 and 3. */
		cr_assert_geq(a->OutPkts, r->side[e].dgrams);
		cr_assert_eq(a->OutBytes, r->side[e].wire);
	}
	rig_end(r);
}

/* ---- errors ---- */

/* One for each call of KCP's input that fails, whatever came before the fault; nothing of it is in InSegs. */
Test(session_snmp, kcp_errors)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	const struct snmp *cnt = of(r, SERVER);
	uint8_t p[256];
	uint16_t n;

	n = segment(p, 77, KCP_PUSH, 0, 0);
	rig_feed(r, SERVER, 1, p, n);
	cr_assert_eq(cnt->InSegs, 1);
	/* Two good segments and a bad one. */
	n = segment(p, 77, KCP_WINS, 0, 0);
	n = (uint16_t)(n + segment(p + n, 77, KCP_WASK, 0, 0));
	n = (uint16_t)(n + segment(p + n, 77, 99, 0, 0));
	cr_assert_eq(rig_feed(r, SERVER, 1, p, n), DROP_KCP_INPUT);
	cr_assert_eq(cnt->KCPInErrors, 1);
	cr_assert_eq(cnt->InSegs, 1);
	cr_assert_eq(cnt->InPkts, 2);
	cr_assert_eq(cnt->InBytes, 24 + 72);
	/* A listener does not count what is too short for it. */
	cr_assert_eq(rig_feed(r, SERVER, 1, p, 11), DROP_SHORT);
	cr_assert_eq(cnt->KCPInErrors, 1);
	cr_assert_eq(cnt->InPkts, 2);
	rig_end(r);
}

/* PUSH again, below rcv_nxt, and beyond the window. */
Test(session_snmp, repeats)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	const struct snmp *cnt = of(r, SERVER);
	uint8_t p[256];

	rig_feed(r, SERVER, 1, p, segment(p, 77, KCP_PUSH, 5, 10));
	cr_assert_eq(cnt->RepeatSegs, 0);
	rig_feed(r, SERVER, 1, p, segment(p, 77, KCP_PUSH, 5, 10));
	cr_assert_eq(cnt->RepeatSegs, 1);
	rig_feed(r, SERVER, 1, p, segment(p, 77, KCP_PUSH, 0xffffffff, 10));
	cr_assert_eq(cnt->RepeatSegs, 2);
	rig_feed(r, SERVER, 1, p, segment(p, 77, KCP_PUSH, conf.wnd, 10));
	cr_assert_eq(cnt->RepeatSegs, 3);
	cr_assert_eq(cnt->InSegs, 4);
	cr_assert_eq(cnt->BytesReceived, 0, "nothing was in order");
	rig_end(r);
}

/* ---- FEC ---- */

/* A group of two bodies and one of parity, as it goes over the line. */
static void group(struct fec_enc *e, uint8_t buf[3][512], uint16_t n[3], uint32_t conv, uint8_t cmd)
{
	struct pkt v[3];

	for (unsigned i = 0; i < 3; i++)
		v[i] = (struct pkt){.p = buf[i] + 64};
	for (unsigned i = 0; i < 2; i++)
		v[i].n = segment(v[i].p, conv, cmd, i, 0);
	cr_assert_eq(fec_enc_burst(e, v, 2, 1000), 1);
	for (unsigned i = 0; i < 3; i++) {
		memmove(buf[i], v[i].p, v[i].n);
		n[i] = v[i].n;
	}
}

Test(session_snmp, fec)
{
	struct rig_conf conf = rig_defaults();
	uint8_t buf[3][512];
	const struct snmp *cnt;
	struct fec_enc e;
	struct snmp sent = {0};
	uint16_t n[3];
	struct rig *r;

	conf.ds = 2;
	conf.ps = 1;
	r = rig_new(&conf);
	cnt = of(r, SERVER);
	fec_enc_init(&e, r->side[SERVER].tun.fec, r->side[CLIENT].mem, &sent);

	/* Complete without its parity, which is stored when it comes. */
	group(&e, buf, n, 77, KCP_PUSH);
	rig_feed(r, SERVER, 1, buf[0], n[0]);
	fec_dec_trust(r->side[SERVER].shard->all[0]->dec); /* these groups are too few to prove anything */
	cr_assert_eq(cnt->FECShardSet, 1);
	cr_assert_eq(cnt->FECFullShardSet, 0);
	rig_feed(r, SERVER, 1, buf[1], n[1]);
	cr_assert_eq(cnt->FECFullShardSet, 1);
	cr_assert_eq(cnt->InSegs, 2);
	cr_assert_eq(cnt->FECShardMin, 0);

	/* Rebuilt: the segments of the body count, and parity once, however often it comes. */
	group(&e, buf, n, 77, KCP_WINS);
	rig_feed(r, SERVER, 1, buf[2], n[2]);
	rig_feed(r, SERVER, 1, buf[2], n[2]);
	cr_assert_eq(cnt->FECParityShards, 1);
	rig_feed(r, SERVER, 1, buf[1], n[1]);
	cr_assert_eq(cnt->FECRecovered, 1);
	cr_assert_eq(cnt->InSegs, 4);
	cr_assert_eq(cnt->InPkts, 5);
	cr_assert_eq(cnt->FECShardMin, 1);

	/* What is rebuilt can be as wrong as what arrives: each call counts. */
	group(&e, buf, n, 77, 99);
	rig_feed(r, SERVER, 1, buf[0], n[0]);
	cr_assert_eq(cnt->KCPInErrors, 1);
	rig_feed(r, SERVER, 1, buf[2], n[2]);
	cr_assert_eq(cnt->FECRecovered, 2);
	cr_assert_eq(cnt->KCPInErrors, 2);
	cr_assert_eq(cnt->InSegs, 4);

	/* The gauges are those of the decoder that ran last. */
	cr_assert_eq(cnt->FECShardMin, 2);
	fec_enc_fini(&e);
	fec_enc_init(&e, r->side[SERVER].tun.fec, r->side[CLIENT].mem, &sent);
	group(&e, buf, n, 78, KCP_PUSH);
	rig_feed(r, SERVER, 2, buf[0], n[0]);
	cr_assert_eq(cnt->FECShardMin, 0);
	cr_assert_eq(cnt->FECShardSet, 1);
	e.next = 6;
	group(&e, buf, n, 77, KCP_WINS);
	rig_feed(r, SERVER, 1, buf[1], n[1]);
	cr_assert_eq(cnt->FECShardMin, 2);
	cr_assert_eq(cnt->FECErrs, 0);
	cr_assert_eq(sent.FECErrs, 0);
	fec_enc_fini(&e);
	rig_end(r);
}

/* ---- sessions ---- */

Test(session_snmp, sessions)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r = rig_new(&conf);
	const struct snmp *cnt = of(r, SERVER);
	uint8_t p[64];

	for (uint16_t i = 1; i <= 3; i++)
		rig_feed(r, SERVER, i, p, segment(p, i, KCP_PUSH, 0, 0));
	cr_assert_eq(cnt->CurrEstab, 3);
	cr_assert_eq(cnt->MaxConn, 3);
	run_for(r, 61000);
	cr_assert_eq(cnt->CurrEstab, 0);
	rig_feed(r, SERVER, 1, p, segment(p, 1, KCP_PUSH, 0, 0));
	cr_assert_eq(cnt->CurrEstab, 1);
	cr_assert_eq(cnt->MaxConn, 3);
	cr_assert_eq(cnt->PassiveOpens, 4);
	/* Replaced by another conversation: one goes, one comes. */
	rig_feed(r, SERVER, 1, p, segment(p, 2, KCP_PUSH, 0, 0));
	cr_assert_eq(cnt->CurrEstab, 1);
	cr_assert_eq(cnt->MaxConn, 3);
	cr_assert_eq(cnt->PassiveOpens, 5);
	rig_end(r);
}

/* The queues of the session that was flushed last. */
Test(session_snmp, queues)
{
	struct rig_conf conf = rig_defaults();
	const struct snmp *cnt;
	struct rig *r;

	conf.nocomp = true;
	conf.wnd = 64;
	r = rig_new(&conf);
	cnt = of(r, CLIENT);
	r->cut[SERVER] = true;
	rig_connect(r, 0, 1000000, 0);
	run_for(r, 500);
	cr_assert_gt(cnt->RingBufferSndBuffer, 0);
	cr_assert_leq(cnt->RingBufferSndBuffer, 64);
	/* Before anything is heard no more waits than may leave. */
	cr_assert_geq(cnt->RingBufferSndBuffer + cnt->RingBufferSndQueue, rig_auto() ? 32 : 64);
	cr_assert_eq(cnt->RingBufferRcvQueue, 0);
	cr_assert_gt(cnt->LostSegs, 0);
	cr_assert_eq(cnt->FastRetransSegs, 0);
	rig_end(r);
}

/* ---- the class of traffic ---- */

static const uint8_t *head_of(struct rig *r, const char *what, struct flow_key *key, bool v6)
{
	struct shard *s = r->side[CLIENT].shard;
	struct sess *ss = sess_open(s, 0, key, flow_hash(key), 7, r->now);
	const struct net_path *path;
	unsigned why;

	cr_assert_not_null(ss);
	path = shard_path(s, ss, r->now, &why);
	cr_assert_not_null(path, "%s", what);
	cr_assert_eq(path->v6, v6);
	return path->head + path->l3;
}

/* One byte for both: the DS field of RFC 2474, where stock writes dscp unshifted into IPv6. */
Test(session_snmp, traffic_class)
{
	struct net_tbl *t = net_tbl_alloc(0, 2, 2);
	struct rig_conf conf = rig_defaults();
	struct flow_key v4 = rig_key(CLIENT, 5000), v6 = v4;
	const uint8_t *ip;
	struct rig *r;

	v6.peer = (struct addr){{0xfe, 0x80, [15] = 2}};
	v6.local = (struct addr){{0xfe, 0x80, [15] = 1}};
	t->gen = 1;
	t->n_dev = 1;
	t->dev[0].up = true;
	t->local[t->n_local++] = (struct net_local){.addr = v4.local, .plen = 120};
	t->local[t->n_local++] = (struct net_local){.addr = v6.local, .plen = 64};
	net_tbl_sort(t);
	r = rig_new(&conf);
	r->side[CLIENT].tun.traffic_class = 46 << 2;
	shard_adopt(r->side[CLIENT].shard, t);
	ip = head_of(r, "IPv4", &v4, false);
	cr_assert_eq(ip[0], 0x45);
	cr_assert_eq(ip[1], 46 << 2);
	ip = head_of(r, "IPv6", &v6, true);
	cr_assert_eq(be32_get(ip) & ~NET_MARK_V6, 0x60000000 | 46 << 22);
	rig_end(r);
	net_tbl_free(t);
}
