/* SPDX-License-Identifier: MIT */
#include "eal.h"
#include "kcp_wire.h"
#include "le.h"
#include "rig.h"

/*
 * FEC on one side only, or of two shapes: who is sent parity, in what form, and what control hears of it.  A decoder
 * that was not told our shape takes parity for data: tests/interop/fec_one_side_test.py has real ones.
 */

TestSuite(session_shape, .init = eal_start);

#define RTT  40
#define LOTS 400000

static struct rig *shape_rig(const unsigned client[2], const unsigned server[2])
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.ds = 10;
	conf.ps = 3;
	conf.nocomp = true;
	r = rig_new(&conf);
	rig_shape(&r->side[CLIENT], client[0], client[1]);
	rig_shape(&r->side[SERVER], server[0], server[1]);
	return r;
}

static const unsigned none[2] = {0, 0}, ours[2] = {10, 3}, other[2] = {5, 2};

/* Exactly one note of this session, with these shapes. */
static void noted(struct rig_side *s, const unsigned peer[2], const unsigned own[2])
{
	struct note n;

	cr_assert_eq(rig_notes(s, NOTE_FEC, &n), 1, "end %d", s->end);
	cr_assert_eq(n.arg, NOTE_FEC_SHAPE(peer[0], peer[1]));
	cr_assert_eq(n.arg2, NOTE_FEC_SHAPE(own[0], own[1]));
	cr_assert_eq(n.key.proto, s->shard->all[0]->key.proto);
	cr_assert_eq(n.key.peer_port, s->shard->all[0]->key.peer_port);
}

/* A client without FEC: the server sends none from its first datagram on, not even the header. */
Test(session_shape, server_alone)
{
	struct rig *r = shape_rig(none, ours);
	struct conn *c = rig_connect(r, 0, 1000, LOTS);

	cr_assert(rig_finish(r, 60000));
	conn_complete(c);
	cr_assert_geq(r->side[SERVER].dgrams, LOTS / 1350);
	cr_assert_eq(r->side[SERVER].framed, 0);
	cr_assert_eq(r->side[CLIENT].framed, 0);
	noted(&r->side[SERVER], none, ours);
	cr_assert_eq(rig_notes(&r->side[CLIENT], NOTE_FEC, NULL), 0);
	rig_end(r);
}

/*
 * A server without FEC: the client speaks first, as it is set to, but with such parity only as a (1,1) decoder does
 * nothing with; and after the answer none at all.
 */
Test(session_shape, client_alone)
{
	struct rig *r = shape_rig(ours, none);
	struct rig_side *s = &r->side[CLIENT];
	struct conn *c = rig_connect(r, 0, LOTS, 1000);
	uint64_t framed, parity;

	rig_run(r, r->now + RTT - 1, NULL, NULL);
	framed = s->framed;
	parity = s->parity;
	cr_assert_eq(parity, 2 + 1 + 2, "the first window, of three groups: %lu", parity);
	cr_assert_eq(framed, s->dgrams);
	cr_assert(rig_finish(r, 60000));
	conn_complete(c);
	cr_assert_eq(s->odd_parity, 0);
	cr_assert_eq(s->parity, parity);
	cr_assert_eq(s->framed, framed);
	cr_assert_geq(s->dgrams, LOTS / 1350);
	noted(s, none, ours);
	rig_end(r);
}

/* With FEC on both sides nobody goes without longer than until the answer, and nobody is told of anything. */
Test(session_shape, both)
{
	struct rig *r = shape_rig(ours, ours);
	struct conn *c = rig_connect(r, 0, 4 * LOTS, 4 * LOTS);

	rig_run(r, r->now + RTT - 1, NULL, NULL);
	cr_assert_eq(r->side[CLIENT].odd_parity, 0);
	cr_assert_gt(r->side[SERVER].lone, 0);
	cr_assert_eq(r->side[SERVER].parity, 0, "a server waits until it knows");
	cr_assert(rig_finish(r, 60000));
	conn_complete(c);
	for (int e = 0; e < 2; e++) {
		struct rig_side *s = &r->side[e];

		cr_assert_eq(s->framed, s->dgrams);
		cr_assert_gt(s->odd_parity, 0);
		cr_assert_geq(s->parity + (e == CLIENT ? 4 : 0), (s->dgrams - s->lone) / 13 * 3);
		cr_assert_lt(s->lone, s->dgrams / 3);
		cr_assert_eq(rig_notes(s, NOTE_SHAPE, NULL), 0);
		cr_assert_eq(rig_notes(s, NOTE_FEC, NULL), 0);
	}
	rig_end(r);
}

/* A stock server of another shape: the client finds that out, says so once, and sends no parity from then on. */
Test(session_shape, two_shapes)
{
	struct rig *r = shape_rig(other, ours);
	struct rig_side *s = &r->side[CLIENT];
	struct conn *c;
	uint64_t parity;

	r->side[SERVER].stock_fec = true;
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	c = rig_connect(r, 0, LOTS, LOTS);
	rig_run(r, r->now + 2000, NULL, NULL);
	cr_assert_eq(c->got, LOTS);
	cr_assert_eq(c->peer->got, LOTS);
	noted(s, ours, other);
	parity = s->parity;
	cr_assert_gt(parity, 0);
	conn_more(c, LOTS);
	conn_more(c->peer, LOTS);
	rig_run(r, r->now + 2000, NULL, NULL);
	cr_assert_eq(c->got, 2 * LOTS);
	cr_assert_eq(c->peer->got, 2 * LOTS);
	cr_assert_eq(s->parity, parity);
	cr_assert_eq(rig_notes(s, NOTE_FEC, NULL), 0);
	rig_end(r);
}

/* Each session says it for itself. */
Test(session_shape, every_session)
{
	struct rig_conf conf = rig_defaults();
	struct rig *r;

	conf.ds = 10;
	conf.ps = 3;
	conf.conn = 3;
	r = rig_new(&conf);
	rig_shape(&r->side[CLIENT], 0, 0);
	for (unsigned i = 0; i < 3; i++)
		rig_connect(r, i, 1000, 1000);
	cr_assert(rig_finish(r, 60000));
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_FEC, NULL), 3);
	rig_end(r);
}

#define CONV 77

#define DGRAM (KCP_HEAD + 1)

/* A datagram that may begin a session, and says next to nothing: one byte. */
static void byte(uint8_t *k, uint32_t sn)
{
	memset(k, 0, DGRAM);
	le32_put(k, CONV);
	k[KCP_OFF_CMD] = KCP_PUSH;
	le16_put(k + KCP_OFF_WND, 200);
	le32_put(k + KCP_OFF_SN, sn);
	le32_put(k + KCP_OFF_LEN, 1);
}

/* Groups of datagrams from an encoder of this shape, as a client's. */
static void feed_groups(struct rig *r, struct fec_enc *e, uint16_t port, unsigned groups)
{
	static uint8_t buf[FEC_MAX_SHARDS][256];
	struct pkt v[FEC_MAX_SHARDS];
	unsigned ds = fec_codec_ds(e->codec), ps = fec_codec_ps(e->codec);

	for (unsigned g = 0; g < groups; g++) {
		for (unsigned i = 0; i < ds + ps; i++) {
			v[i] = (struct pkt){.p = buf[i] + FEC_HEAD, .n = i < ds ? DGRAM : 0};
			byte(v[i].p, 0);
			le32_put(v[i].p, CONV + port); /* each client has its own */
			le32_put(v[i].p + KCP_OFF_TS, (e->next + i) * 0x9e3779b1);
		}
		cr_assert_eq(fec_enc_burst(e, v, ds, 1000), ps);
		for (unsigned i = 0; i < ds + ps; i++)
			rig_feed(r, SERVER, port, v[i].p, v[i].n);
	}
}

#define PORT 9999
#define SURE 6 /* groups after which every shape is known */

static void enc_of(struct fec_enc *e, struct rig *r, unsigned ds, unsigned ps)
{
	struct fec_codec *c;

	cr_assert_eq(fec_codec_get(&c, ds, ps), 0);
	fec_enc_init(e, c, r->side[SERVER].mem, &r->side[SERVER].shard->snmp[0]);
	e->last_ms = 999;
}

static void enc_over(struct fec_enc *e)
{
	fec_enc_fini(e);
	fec_codec_put((struct fec_codec *)e->codec);
}

static void sends(const struct sess *ss, const unsigned shape[2])
{
	cr_assert_not_null(shape_out(ss));
	cr_assert_eq(fec_codec_ds(shape_out(ss)), shape[0]);
	cr_assert_eq(fec_codec_ps(shape_out(ss)), shape[1]);
	cr_assert_eq(ss->enc.send, FEC_PARITY_ALL);
	cr_assert_eq(ss->parity.send, shape[1]);
}

/* A client of this shape, at a server of that: what it is sent before anybody knows, and then. */
static void client_of(const unsigned shape[2], const unsigned own[2])
{
	struct rig *r = shape_rig(none, own);
	bool same = shape[0] == own[0] && shape[1] == own[1];
	struct fec_enc e;
	struct sess *ss;

	enc_of(&e, r, shape[0], shape[1]);
	feed_groups(r, &e, PORT, 1);
	ss = r->side[SERVER].shard->all[0];
	cr_assert_eq(ss->peer_fec, PEER_FEC);
	cr_assert(shape_heads(ss));
	cr_assert_null(shape_out(ss));
	feed_groups(r, &e, PORT, SURE);
	if (!same) {
		struct note n;

		cr_assert_null(shape_out(ss));
		cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_SHAPE, &n), 1);
		cr_assert_eq(n.arg, NOTE_FEC_SHAPE(shape[0], shape[1]));
		cr_assert_eq(n.arg2, NOTE_FEC_SHAPE(own[0], own[1]));
		cr_assert_eq(n.key.peer_port, PORT);
		cr_assert_eq(fec_shapes_add(&r->side[SERVER].tun.others, shape[0], shape[1]), 0);
		feed_groups(r, &e, PORT, 1);
	}
	cr_assert_eq(ss->peer_fec, PEER_SAME);
	sends(ss, shape);
	cr_assert_eq(ss->enc.next, shape[0] + shape[1], "the first group is that of lone packets");
	feed_groups(r, &e, PORT, 3);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_SHAPE, NULL), 0, "once");
	enc_over(&e);
	rig_end(r);
}

Test(session_shape, clients_of_every_shape)
{
	static const unsigned shape[][2] = {{10, 3}, {5, 2}, {20, 5}, {5, 5}, {10, 6}, {1, 1}, {70, 16}};

	for (unsigned a = 0; a < 7; a++) {
		client_of(shape[a], ours);
		client_of(shape[a], other);
	}
}

/* Whom is sent no parity: a client of a server without FEC, and whose own would be too much of it. */
Test(session_shape, clients_that_are_not_followed)
{
	static const unsigned v[][2][2] = {{{10, 3}, {0, 0}}, {{2, 3}, {10, 3}}, {{70, 30}, {10, 3}}};

	for (unsigned i = 0; i < 3; i++) {
		struct rig *r = shape_rig(none, v[i][1]);
		struct fec_enc e;
		struct sess *ss;

		enc_of(&e, r, v[i][0][0], v[i][0][1]);
		feed_groups(r, &e, PORT, SURE);
		ss = r->side[SERVER].shard->all[0];
		cr_assert_eq(ss->peer_fec, PEER_OTHER);
		cr_assert_eq(shape_heads(ss), v[i][1][0] > 0);
		cr_assert_null(shape_out(ss));
		noted(&r->side[SERVER], v[i][0], v[i][1]);
		feed_groups(r, &e, PORT, SURE);
		cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_FEC, NULL), 0, "once");
		enc_over(&e);
		rig_end(r);
	}
}

/* A client that goes on in another shape is not followed: what it is sent stays, without parity, until it is back. */
Test(session_shape, followed_once)
{
	struct rig *r = shape_rig(none, ours);
	const struct fec_codec *c;
	struct fec_enc e, e2;
	struct sess *ss;

	enc_of(&e, r, 10, 3);
	enc_of(&e2, r, 5, 2);
	cr_assert_eq(fec_shapes_add(&r->side[SERVER].tun.others, 5, 2), 0);
	feed_groups(r, &e, PORT, SURE);
	ss = r->side[SERVER].shard->all[0];
	c = shape_out(ss);
	sends(ss, ours);
	e2.next = 13 * 7 * 10;
	feed_groups(r, &e2, PORT, 60);
	cr_assert_eq(ss->peer_fec, PEER_OTHER);
	cr_assert_eq(shape_out(ss), c);
	cr_assert_eq(ss->enc.send, FEC_PARITY_NONE);
	noted(&r->side[SERVER], other, ours);
	e.next = 13 * 7 * 20;
	feed_groups(r, &e, PORT, 40);
	cr_assert_eq(ss->peer_fec, PEER_SAME);
	sends(ss, ours);
	enc_over(&e);
	enc_over(&e2);
	rig_end(r);
}

/* Clients of shapes without number: a tunnel has so many codecs, each is asked for once a session, and the rest go
 * without. */
Test(session_shape, shapes_without_number)
{
	struct rig_conf conf = rig_defaults();
	unsigned made = 0, with = 0;
	struct rig *r;

	conf.ds = 10;
	conf.ps = 3;
	conf.sessions = 64;
	r = rig_new(&conf);
	for (unsigned i = 0; i < 30; i++) {
		struct fec_enc e;
		struct note n;

		enc_of(&e, r, 11 + i, 2);
		feed_groups(r, &e, (uint16_t)(PORT + i), SURE);
		cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_SHAPE, &n), 1);
		cr_assert_eq(n.arg, NOTE_FEC_SHAPE(11 + i, 2));
		made += fec_shapes_add(&r->side[SERVER].tun.others, 11 + i, 2) == 0;
		feed_groups(r, &e, (uint16_t)(PORT + i), SURE);
		cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_SHAPE, NULL), 0);
		with += shape_out(r->side[SERVER].shard->all[i]) != NULL;
		enc_over(&e);
	}
	cr_assert_eq(made, FEC_SHAPES);
	cr_assert_eq(with, FEC_SHAPES);
	rig_end(r);
}

/* One datagram from `port`, with or without FEC's header. */
static void feed(struct rig *r, uint16_t port, uint32_t sn, bool fec)
{
	uint8_t p[FEC_HEAD + DGRAM] = {0};

	le32_put(p, sn);
	p[4] = FEC_TYPE_DATA;
	le16_put(p + 6, 2 + DGRAM);
	byte(p + FEC_HEAD, sn);
	cr_assert_lt(rig_feed(r, SERVER, port, fec ? p : p + FEC_HEAD, (uint16_t)(fec ? sizeof(p) : DGRAM)),
		     VERDICT_DROP);
}

/* A peer that turns out to send FEC after all gets it; one that was heard to has it for good. */
Test(session_shape, changes_of_mind)
{
	struct rig *r = shape_rig(none, ours);
	struct sess *ss;

	feed(r, 9999, 0, false);
	ss = r->side[SERVER].shard->all[0];
	cr_assert_eq(ss->peer_fec, PEER_BARE);
	cr_assert_null(shape_out(ss));
	feed(r, 9999, 1, true);
	cr_assert_eq(ss->peer_fec, PEER_FEC);
	cr_assert(shape_heads(ss));
	cr_assert_null(shape_out(ss), "it is not proved whose shape that is");
	feed(r, 9999, 2, false);
	cr_assert_eq(ss->peer_fec, PEER_FEC);
	cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_FEC, NULL), 1);
	rig_end(r);
}

/* A group of ten of a client's, the numbers from sn on, that comes but for what `lost` names. */
static void feed_group(struct rig *r, struct fec_enc *e, uint32_t sn, uint32_t lost, uint8_t cmd)
{
	static uint8_t buf[13][256];
	struct pkt v[13];

	for (unsigned i = 0; i < 13; i++) {
		v[i] = (struct pkt){.p = buf[i] + FEC_HEAD, .n = i < 10 ? DGRAM : 0};
		byte(v[i].p, sn + i);
		v[i].p[KCP_OFF_CMD] = cmd;
		le32_put(v[i].p + KCP_OFF_TS, (sn + i) * 0x9e3779b1);
	}
	cr_assert_eq(fec_enc_burst(e, v, 10, 1000), 3);
	for (unsigned i = 0; i < 13; i++)
		if (!(lost >> i & 1))
			rig_feed(r, SERVER, 9999, v[i].p, v[i].n);
}

/* Nothing is rebuilt before the client's shape was proved, what never is counts as a drop, and KCP's word against what
 * was rebuilt takes the proof back. */
Test(session_shape, proved_before_anything_is_rebuilt)
{
	struct rig *r = shape_rig(none, ours);
	const struct rig_side *s = &r->side[SERVER];
	struct fec_enc e;
	uint32_t sn = 0;
	struct sess *ss;

	feed(r, 9999, 0, false);
	fec_enc_init(&e, s->tun.fec, s->mem, &s->shard->snmp[0]);
	for (unsigned g = 0; g < 5; g++, sn += 10)
		feed_group(r, &e, sn, 6, KCP_WINS);
	feed_group(r, &e, sn, 7, KCP_WINS);
	cr_assert_eq(rig_drops(s, DROP_FEC_UNPROVED), 0);
	ss = s->shard->all[0];
	cr_assert(fec_dec_proved(ss->dec));
	cr_assert_eq(ss->cnt->FECRecovered, 13);
	fec_dec_doubt(ss->dec);
	for (unsigned g = 0; g < 8; g++)
		feed_group(r, &e, sn, 7, KCP_WINS);
	cr_assert_eq(ss->cnt->FECRecovered, 13);
	cr_assert_eq(rig_drops(s, DROP_FEC_UNPROVED), 3 * 4, "four groups are still at hand");
	for (unsigned g = 0; g < 3; g++)
		feed_group(r, &e, sn, 0, KCP_WINS);
	cr_assert(fec_dec_proved(ss->dec));
	feed_group(r, &e, sn, 1, 99);
	cr_assert_not(fec_dec_proved(ss->dec));
	fec_enc_fini(&e);
	rig_end(r);
}
