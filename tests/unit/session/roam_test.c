/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "ask_wire.h"
#include "eal.h"
#include "fec_wire.h"
#include "kcp_wire.h"
#include "le.h"
#include "rig.h"
#include "roam.h"

/* Clients whose NAT gives them another port go on, and nobody else is sent anything (lib/README.md, "How a session
 * moves"). */

TestSuite(session_roam, .init = eal_start);

#define RTT   40
#define SHIFT 100 /* of the ports, by the NAT */
#define FAR   999 /* a port of somebody else's */

static void run_for(struct rig *r, uint64_t ms)
{
	rig_run(r, r->now + ms, NULL, NULL);
}

static const struct shard_stats *stats(struct rig *r, enum rig_end end)
{
	return shard_stats(r->side[end].shard);
}

static struct sess *only(struct rig *r, enum rig_end end)
{
	cr_assert_eq(stats(r, end)->sessions, 1, "%lu sessions", stats(r, end)->sessions);
	return r->side[end].shard->all[0];
}

static void rebind(struct rig *r)
{
	r->nat_was = r->nat;
	r->nat += SHIFT;
}

static bool moved(void *arg)
{
	struct rig *r = arg;
	const struct sess *ss = only(r, SERVER);

	return ss->key.peer_port == r->side[CLIENT].shard->all[0]->key.local_port + r->nat;
}

static bool both_closed(void *arg)
{
	const struct conn *c = arg;

	return c->closed && c->peer->closed;
}

/* Both directions have everything.  A stock peer knows no half-close: only then they may end. */
static bool has_all(void *arg)
{
	const struct conn *c = arg;

	return c->peer && c->got == c->reply && c->peer->got == c->to_send;
}

static void whole(struct rig *r, struct conn *c, uint64_t ms, unsigned i)
{
	cr_assert(rig_run(r, r->now + ms, has_all, c), "kind %u: %lu and %lu bytes", i, c->got,
		  c->peer ? c->peer->got : 0);
}

static struct conn *begin(struct rig *r, unsigned slot, uint64_t up, uint64_t down)
{
	r->side[CLIENT].hold_new = r->side[SERVER].hold_new = true;
	return rig_connect(r, slot, up, down);
}

static void over(struct rig *r, struct conn *c)
{
	conn_eof(c);
	conn_eof(c->peer);
	cr_assert(rig_run(r, r->now + 40000, both_closed, c));
	conn_complete(c);
}

/* All kinds of sessions: smux 1 and 2, with compression and without, FEC of all states, stock at either end. */
static struct rig_conf kind(unsigned i)
{
	struct rig_conf conf = rig_defaults();

	conf.smux = i & 1 ? 1 : 2;
	conf.nocomp = i & 2;
	if (i & 4) {
		conf.ds = 10;
		conf.ps = 3;
	}
	conf.hello[CLIENT] = !(i & 8);
	conf.hello[SERVER] = !(i & 16);
	conf.seed = i + 1;
	conf.link.rate_bps = 20000000;
	conf.link.queue = 100000;
	return conf;
}

#define KINDS 32

/* What the server sends to the client's port that the NAT has just given it, and what it has had from there. */
struct watch {
	struct rig *r;
	uint64_t sent;
};

static void watch_sent(void *arg, const struct rig_side *s, const struct pkt *k)
{
	struct watch *w = arg;

	if (k->key->peer_port == w->r->side[CLIENT].shard->all[0]->key.local_port + w->r->nat)
		w->sent += k->n;
}

/* ---- a NAT that forgets ---- */

/* In the middle of transfers both ways. */
Test(session_roam, under_transfers)
{
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig_conf conf = kind(i);
		struct rig *r = rig_new(&conf);
		struct conn *c = begin(r, 0, 4000000, 4000000);
		uint64_t at;

		run_for(r, 400);
		cr_assert(c->got > 1000 && c->got < 4000000, "kind %u", i);
		for (unsigned n = 1; n <= 2; n++) {
			rebind(r);
			at = r->now;
			cr_assert(rig_run(r, r->now + 2000, moved, r), "kind %u: it did not move", i);
			cr_assert_leq(r->now - at, 500, "kind %u: %lu ms", i, r->now - at);
			cr_assert_eq(stats(r, SERVER)->moves, n);
			run_for(r, 200);
		}
		whole(r, c, 60000, i);
		over(r, c);
		cr_assert_eq(stats(r, SERVER)->sessions_opened, 1, "kind %u: a zombie", i);
		cr_assert_eq(rig_notes(&r->side[SERVER], NOTE_MOVED, NULL), 2);
		cr_assert_eq(rig_other_drops(&r->side[SERVER], DROP_MOVING, DROP_PARITY_ALONE), 0);
		rig_end(r);
	}
}

/* One direction only, with what loss there is: the question and its answer are lost, too. */
static void one_way(unsigned i, uint64_t up, uint64_t down, uint32_t loss)
{
	struct rig_conf conf = kind(i);
	struct rig *r;
	struct conn *c;

	conf.link.loss = loss;
	r = rig_new(&conf);
	c = begin(r, 0, up, down);
	run_for(r, 500);
	rebind(r);
	run_for(r, 300);
	rebind(r);
	whole(r, c, 120000, i);
	over(r, c);
	cr_assert_eq(stats(r, SERVER)->sessions_opened, 1);
	cr_assert_geq(stats(r, SERVER)->moves, 1);
	rig_end(r);
}

Test(session_roam, up_only)
{
	for (unsigned i = 0; i < KINDS; i++)
		one_way(i, 3000000, 0, i & 1 ? 100 : 0);
}

Test(session_roam, down_only)
{
	for (unsigned i = 0; i < KINDS; i++)
		one_way(i, 0, 3000000, i & 1 ? 100 : 0);
}

/* An idle session whose client says nothing but its keepalive, and is waited for then. */
Test(session_roam, idle)
{
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig_conf conf = kind(i);
		struct rig *r = rig_new(&conf);
		struct conn *c;

		c = begin(r, 0, 500, 500);
		run_for(r, 3000);
		rebind(r);
		run_for(r, 15000);
		cr_assert_eq(stats(r, SERVER)->moves, 1, "kind %u", i);
		conn_more(c, 700);
		conn_more(c->peer, 900);
		whole(r, c, 40000, i);
		over(r, c);
		cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_FORGOTTEN), 0, "kind %u", i);
		cr_assert_eq(stats(r, SERVER)->sessions_opened, 1);
		rig_end(r);
	}
}

/* ---- what an address is sent that has proved nothing ---- */

struct tape {
	uint8_t p[64][1500];
	uint16_t len[64];
	unsigned n;
};

/* What the client sends, as who listens on the path may keep it. */
static void tape_sent(void *arg, const struct rig_side *s, const struct pkt *k)
{
	struct begin b = begin_look(k);
	struct tape *t = arg;

	/* What begins a session may do so anywhere. */
	if (t->n == 64 || !b.known || begin_sn(k, &b) != UINT32_MAX)
		return;
	memcpy(t->p[t->n], k->p, k->n);
	t->len[t->n++] = k->n;
}

/* A datagram of the client's comes from elsewhere, and what is sent there for it: nothing longer, and of these two. */
static uint32_t from_afar(struct rig *r, const uint8_t *p, uint16_t n, uint8_t *out, unsigned *verdict)
{
	struct rig_side *s = &r->side[SERVER];
	struct flow_key key = rig_key(SERVER, FAR);
	struct pkt k = {.p = out, .n = n, .key = &key, .hash = flow_hash(&key)};

	memcpy(out, p, n);
	flow_find_burst(shard_flows(s->shard), &k, 1);
	shard_input(s->shard, &k, 1, r->now);
	*verdict = k.verdict;
	if (k.verdict != VERDICT_ANSWER)
		return 0;
	memmove(out, k.p, k.n);
	return k.n;
}

/* Old datagrams from elsewhere, over and over: nothing moves, and no more goes there than came. */
Test(session_roam, replayed_from_elsewhere)
{
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig_conf conf = kind(i);
		struct rig *r = rig_new(&conf);
		static struct tape t;
		uint64_t in = 0, back = 0, asked = 0;
		struct watch w = {.r = r};
		struct conn *c;

		t.n = 0;
		r->side[CLIENT].sent = tape_sent;
		r->side[CLIENT].sent_arg = &t;
		c = begin(r, 0, 1000000, 1000000);
		run_for(r, 300);
		cr_assert_gt(t.n, 20);
		r->side[SERVER].sent = watch_sent;
		r->side[SERVER].sent_arg = &w;
		for (unsigned n = 0; n < 500; n++) {
			uint8_t out[2048];
			unsigned j = n % t.n, verdict;
			uint32_t got = from_afar(r, t.p[j], t.len[j], out, &verdict);

			cr_assert(verdict == VERDICT_ANSWER || verdict == DROP_MOVING || verdict == DROP_PARITY_ALONE ||
					  verdict == DROP_STRAY,
				  "%s", drop_name(verdict));
			cr_assert_leq(got, t.len[j]);
			in += t.len[j];
			back += got;
			asked += got != 0;
			run_for(r, 5);
		}
		cr_assert(asked > 0 && back <= in, "kind %u: %lu asked, %lu for %lu bytes", i, asked, back, in);
		cr_assert_eq(stats(r, SERVER)->moves, 0);
		cr_assert_eq(stats(r, SERVER)->challenged, asked);
		cr_assert_eq(only(r, SERVER)->key.peer_port, only(r, CLIENT)->key.local_port);
		whole(r, c, 60000, i);
		over(r, c);
		rig_end(r);
	}
}

/* The question, answered as every speaker of the protocol does, whether it is in a group or not. */
static uint16_t answer_to(const uint8_t *q, uint32_t n, uint8_t *out)
{
	unsigned head = fec_is_fec(q, (uint16_t)n) ? FEC_HEAD : 0;
	struct kcp_head h;

	kcp_head_get(&h, q + head);
	cr_assert_eq(h.cmd, KCP_PUSH);
	h.cmd = KCP_ACK;
	h.len = 0;
	h.wnd = 128;
	h.una = h.sn + 1;
	memcpy(out, q, head);
	if (head)
		le16_put(out + 6, KCP_HEAD + 2);
	kcp_head_put(out + head, &h);
	return (uint16_t)(KCP_HEAD + head);
}

/* A session that stands still, and a question that was got for it. */
static struct rig *asked(unsigned i, uint8_t *q, uint32_t *n)
{
	struct rig_conf conf = kind(i);
	struct rig *r = rig_new(&conf);
	static struct tape t;
	unsigned verdict;

	t.n = 0;
	r->side[CLIENT].sent = tape_sent;
	r->side[CLIENT].sent_arg = &t;
	begin(r, 0, 50000, 50000);
	run_for(r, 3000);
	r->side[CLIENT].sent = NULL;
	*n = 0;
	for (unsigned j = t.n; j-- && !*n;)
		*n = from_afar(r, t.p[j], t.len[j], q, &verdict);
	cr_assert(*n, "kind %u: nobody was asked", i);
	return r;
}

/* Who answers has the session; with the same answer nobody gets it back, nor from a third address, nor too late. */
Test(session_roam, an_answer_counts_once)
{
	for (unsigned i = 0; i < KINDS; i++) {
		uint8_t q[2048], a[128], q2[2048];
		unsigned verdict;
		uint32_t n;
		uint16_t len;
		struct rig *r = asked(i, q, &n);
		uint16_t home = only(r, SERVER)->key.peer_port;
		uint32_t rto = only(r, SERVER)->kcp.rto;

		len = answer_to(q, n, a);
		cr_assert_neq(rig_feed(r, SERVER, FAR + 1, a, len), VERDICT_OK, "from a third address");
		cr_assert_eq(only(r, SERVER)->key.peer_port, home);
		cr_assert_eq(rig_feed(r, SERVER, FAR, a, len), VERDICT_OK);
		cr_assert_eq(only(r, SERVER)->key.peer_port, FAR);
		cr_assert_eq(only(r, SERVER)->kcp.rto, rto, "kind %u: its ts was taken for a round trip", i);
		run_for(r, 200);
		/* The client is at its old port, and what it says brings the session back there. */
		run_for(r, 15000);
		cr_assert_eq(only(r, SERVER)->key.peer_port, home, "kind %u: its peer is there", i);
		cr_assert_neq(from_afar(r, a, len, q2, &verdict), 1);
		cr_assert_neq(verdict, VERDICT_OK, "kind %u: the answer was used before", i);
		cr_assert_eq(only(r, SERVER)->key.peer_port, home);
		cr_assert_eq(stats(r, SERVER)->moves, 2);
		rig_end(r);
	}
}

Test(session_roam, an_answer_grows_old)
{
	for (unsigned i = 0; i < 8; i++) {
		uint8_t q[2048], a[128];
		uint32_t n;
		struct rig *r = asked(i, q, &n);
		uint16_t home = only(r, SERVER)->key.peer_port, len = answer_to(q, n, a);

		run_for(r, 16500);
		cr_assert_neq(rig_feed(r, SERVER, FAR, a, len), VERDICT_OK);
		cr_assert_eq(only(r, SERVER)->key.peer_port, home);
		rig_end(r);
	}
}

/* Guesses: so many are judged a second, and then none, not even a right one. */
Test(session_roam, guesses_are_bounded)
{
	uint8_t q[2048], a[128];
	uint32_t n;
	struct rig *r = asked(0, q, &n);
	uint16_t len = answer_to(q, n, a);
	uint32_t ts = le32_get(a + KCP_OFF_TS);

	for (unsigned i = 1; i <= 1000; i++) {
		le32_put(a + KCP_OFF_TS, ts ^ i);
		cr_assert_neq(rig_feed(r, SERVER, FAR, a, len), VERDICT_OK);
	}
	le32_put(a + KCP_OFF_TS, ts);
	cr_assert_neq(rig_feed(r, SERVER, FAR, a, len), VERDICT_OK, "it was judged");
	run_for(r, 1000);
	cr_assert_eq(rig_feed(r, SERVER, FAR, a, len), VERDICT_OK);
	rig_end(r);
}

/* Both ways stand, and a copy of all that the client sends comes from elsewhere: who answers is the client alone. */
static void copy_sent(void *arg, const struct rig_side *s, const struct pkt *k)
{
	struct rig *r = s->rig;
	uint8_t buf[2048];
	unsigned verdict;

	from_afar(r, k->p, k->n, buf, &verdict);
	++*(unsigned *)arg;
}

Test(session_roam, copied_to_elsewhere)
{
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig_conf conf = kind(i);
		struct rig *r = rig_new(&conf);
		struct conn *c = begin(r, 0, 1000000, 1000000);
		unsigned copies = 0;

		run_for(r, 200);
		r->side[CLIENT].sent = copy_sent;
		r->side[CLIENT].sent_arg = &copies;
		whole(r, c, 60000, i);
		over(r, c);
		cr_assert_gt(copies, 20);
		cr_assert_eq(stats(r, SERVER)->moves, 0);
		cr_assert_eq(stats(r, SERVER)->sessions_opened, 1);
		rig_end(r);
	}
}

/* Another port while the old one still stands: it goes over to where the client sends from. */
Test(session_roam, old_way_stands)
{
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig_conf conf = kind(i);
		struct rig *r = rig_new(&conf);
		struct conn *c = begin(r, 0, 3000000, 3000000);

		r->nat_keeps = true;
		run_for(r, 400);
		rebind(r);
		cr_assert(rig_run(r, r->now + 3000, moved, r), "kind %u", i);
		whole(r, c, 60000, i);
		over(r, c);
		rig_end(r);
	}
}

/* ---- two of one NAT ---- */

/* Its two sessions get each other's ports. */
Test(session_roam, ports_change_places)
{
	for (unsigned i = 0; i < KINDS; i++) {
		struct rig_conf conf = kind(i);
		struct rig *r;
		struct conn *c[2];

		conf.conn = 2;
		r = rig_new(&conf);
		c[0] = begin(r, 0, 4000000, 4000000);
		c[1] = begin(r, 1, 2000000, 2000000);
		run_for(r, 400);
		cr_assert_eq(stats(r, SERVER)->sessions, 2);
		/* The first one's new port is the second one's old. */
		rebind(r);
		r->nat = 1;
		whole(r, c[0], 60000, i);
		whole(r, c[1], 60000, i);
		over(r, c[0]);
		over(r, c[1]);
		cr_assert_eq(stats(r, SERVER)->sessions_opened, 2);
		cr_assert_geq(stats(r, SERVER)->moves, 2);
		rig_end(r);
	}
}

/* A question for a session that is known, from elsewhere: it is not said to be forgotten. */
Test(session_roam, asked_whether_it_is_known)
{
	uint8_t q[2048], p[ASK_LEN];
	uint32_t n;
	struct rig *r = asked(0, q, &n);
	unsigned verdict;

	ask_put(p, only(r, SERVER)->conv, ASK_QUERY, 5);
	cr_assert_eq(from_afar(r, p, ASK_LEN, q, &verdict), ASK_LEN);
	cr_assert_eq(ask_code(q, ASK_LEN), ASK_KNOWN);
	ask_put(p, only(r, SERVER)->conv + 1, ASK_QUERY, 5);
	cr_assert_eq(from_afar(r, p, ASK_LEN, q, &verdict), ASK_LEN);
	cr_assert_eq(ask_code(q, ASK_LEN), ASK_UNKNOWN);
	rig_end(r);
}
