/* SPDX-License-Identifier: MIT */
#include "eal.h"
#include "rig.h"

/*
 * The pace of a path (congestion auto): every byte of UDP payload counts, in the long run exactly; what may leave at
 * once is bounded, and what waits leaves as soon as it may.  The rate is that of a hint, so that nothing depends on
 * what the session finds out; turns come by the us.
 */

TestSuite(session_paced, .init = eal_start);

#define OVER	 20 /* as the ciphers with a header */
#define LEN	 (1350 + OVER)
#define LOTS	 (UINT64_C(1) << 40)
#define AT_ONCE	 10   /* datagrams */
#define LUMP_US	 1000 /* or what leaves in so long */
#define FINE_US	 64
#define LATE_US	 100
#define SECOND	 1000000
#define MBIT	 125000 /* bytes/s */
#define INTERVAL 10	/* ms: of acknowledgements */

/* What has left, as a bucket that the rate drains has to hold. */
struct meter {
	const struct rig *r;
	double rate; /* bytes a us */
	double bucket, most;
	uint64_t at; /* us */
	uint64_t bytes;
	uint64_t lump_at, lump_bytes; /* when the last ones left that had waited, and `bytes` before them */
};

static void metered(void *arg, const struct rig_side *s, const struct pkt *k)
{
	struct meter *m = arg;
	uint64_t us = m->r->us, n = k->n + s->tun.head;
	double drained = (double)(us - m->at) * m->rate;

	if (us != m->at) {
		m->lump_at = us;
		m->lump_bytes = m->bytes;
	}
	m->bucket = m->bucket > drained ? m->bucket - drained : 0;
	m->bucket += (double)n;
	m->most = m->bucket > m->most ? m->bucket : m->most;
	m->at = us;
	m->bytes += n;
}

static void run_us(struct rig *r, uint64_t us)
{
	rig_run(r, r->now + us / 1000, NULL, NULL);
}

static struct sess *sess_of(struct rig *r, enum rig_end end)
{
	cr_assert_eq(r->side[end].shard->n_all, 1);
	return r->side[end].shard->all[0];
}

static double most_at_once(double rate)
{
	return rate * LUMP_US > AT_ONCE * LEN ? rate * LUMP_US : AT_ONCE * LEN;
}

static struct rig_conf paced_conf(uint64_t rate)
{
	struct rig_conf conf = rig_defaults();

	conf.smux = 1; /* there is nothing to acknowledge for who only sends */
	conf.keepalive_ms = 3600000;
	conf.nocomp = true;
	conf.fine = true;
	conf.congestion = KCP_CONGESTION_AUTO;
	conf.bandwidth[CLIENT] = rate;
	conf.wnd = KCP_WND_MAX;
	conf.heap[CLIENT] = conf.heap[SERVER] = 256 << 20;
	conf.link.delay_us = 2000;
	return conf;
}

static struct rig *paced_rig(const struct rig_conf *conf, struct meter *m)
{
	struct rig *r = rig_new(conf);

	for (int e = 0; e < 2; e++) {
		r->side[e].tun.head = OVER;
		r->side[e].hold_new = true;
		r->side[e].ahead = 1 << 20;
	}
	*m = (struct meter){.r = r, .rate = (double)conf->bandwidth[CLIENT] * 1e-6};
	r->side[CLIENT].sent = metered;
	r->side[CLIENT].sent_arg = m;
	return r;
}

/*
 * After `warm` us, bulk for `us`.  From lump to lump there is what came in between: nothing was saved up, and nothing
 * left for free; but for `early` us, when something else than the pace wakes the session, and turns, which come late.
 */
static void exact(uint64_t rate, unsigned ds, uint64_t warm, uint64_t us, uint64_t early)
{
	struct rig_conf conf = paced_conf(rate);
	struct meter m;
	struct sess *ss;
	struct rig *r;
	double credit, due, sent;
	uint64_t from_at, from_bytes, at, bytes;

	conf.ds = ds;
	conf.ps = ds ? 3 : 0;
	r = paced_rig(&conf, &m);
	for (int i = 0; i < 3; i++)
		rig_connect(r, 0, LOTS, 0);
	run_us(r, warm);
	ss = sess_of(r, CLIENT);
	credit = ss->credit - (double)ss->credit_us * m.rate;
	from_at = m.lump_at;
	from_bytes = m.lump_bytes;
	bytes = m.bytes;
	m.most = 0;
	run_us(r, us);
	sent = (double)(m.bytes - bytes);
	credit -= ss->credit - (double)ss->credit_us * m.rate;
	cr_assert_float_eq(sent, credit, 1, "%f bytes left, %f of credit are gone", sent, credit);
	at = m.lump_at;
	due = (double)(at - from_at) * m.rate;
	sent = (double)(m.lump_bytes - from_bytes);
	cr_assert_gt(at - from_at, us - us / 10);
	cr_assert_float_eq(sent, due, LEN + (double)(early + FINE_US) * m.rate,
			   "%lu bytes/s, fec %u: %f bytes instead of %f", rate, ds, sent, due);
	cr_assert_leq(m.most, most_at_once(m.rate) + conf.ps * LEN, "%lu bytes/s, fec %u: %f at once", rate, ds,
		      m.most);
	rig_end(r);
}

Test(session_paced, exact_1m)
{
	exact(MBIT, 0, SECOND, SECOND, 0);
	exact(MBIT, 10, SECOND, SECOND, 0);
}

Test(session_paced, exact_100m)
{
	exact(100 * MBIT, 0, SECOND, SECOND, 0);
	exact(100 * MBIT, 10, SECOND, SECOND, 0);
}

Test(session_paced, exact_10g)
{
	exact(10000ull * MBIT, 0, 150000, 30000, 500);
	exact(10000ull * MBIT, 10, 150000, 30000, 500);
}

/* A session that has nothing to do, and is asked by hand. */
struct by_hand {
	struct rig *r;
	struct sess *ss;
	uint64_t us;
};

static void hand_begin(struct by_hand *h, uint64_t rate)
{
	struct rig_conf conf = paced_conf(rate);
	struct meter m;

	h->r = paced_rig(&conf, &m);
	rig_connect(h->r, 0, 1000, 0);
	run_us(h->r, 5 * SECOND);
	h->r->side[CLIENT].sent = NULL;
	h->ss = sess_of(h->r, CLIENT);
	h->ss->out_kind = KCP_FLUSH_FULL;
	h->us = h->r->us;
}

static unsigned hand_room(struct by_hand *h, uint64_t us, unsigned want)
{
	h->us = us;
	shard_clock(h->ss->shard, us);
	shard_tick(h->ss->shard, us / 1000);
	return pace_room(h->ss, want, us / 1000);
}

/* Turns until it may go on: when that was, us. */
static uint64_t hand_wake(struct by_hand *h)
{
	struct shard *s = h->ss->shard;

	while (pace_waits(h->ss)) {
		uint64_t next = shard_next_us(s);

		cr_assert_lt(h->us, next);
		cr_assert_leq(shard_next(s), next / 1000 + 1);
		h->us = next;
		shard_clock(s, next);
		shard_tick(s, next / 1000);
	}
	return h->us;
}

static void hand_end(struct by_hand *h)
{
	pace_over(h->ss);
	rig_at(h->r, h->us / 1000 + 1);
	rig_end(h->r);
}

/* A second of turns at any times: to a datagram what the rate gives in it. */
static void by_hand(uint64_t rate, uint64_t step)
{
	struct by_hand h;
	struct sim_rng g = {rate};
	double per_us = (double)rate * 1e-6, most = most_at_once(per_us), bucket = 0, sent = 0, due;
	uint64_t from, us;

	hand_begin(&h, rate);
	from = us = h.us;
	for (uint64_t was = us; us < from + SECOND; us += 1 + sim_below(&g, (uint32_t)step)) {
		unsigned n = hand_room(&h, us, 512);

		bucket = bucket > (double)(us - was) * per_us ? bucket - (double)(us - was) * per_us : 0;
		was = us;
		for (; n; n = hand_room(&h, us, 512)) {
			pace_spend(h.ss, n, (uint64_t)n * LEN);
			bucket += n * LEN;
			sent += n * LEN;
		}
		cr_assert_leq(bucket, most, "%f at once, of %f", bucket, most);
	}
	/* With the burst of its beginning; and the credit that is left has not been used. */
	due = (double)(h.us - from) * per_us + most - LEN - h.ss->credit;
	cr_assert_float_eq(sent, due, LEN, "%lu bytes/s: %f bytes instead of %f", rate, sent, due);
	hand_end(&h);
}

Test(session_paced, by_hand)
{
	by_hand(MBIT, 200);
	by_hand(MBIT, 5000);
	by_hand(100 * MBIT, 200);
	by_hand(100 * MBIT, 900);
	by_hand(10000ull * MBIT, 20);
	by_hand(10000ull * MBIT, 900);
}

/* Who has to wait is told of the time within LATE_US of when he may go on, and never too early. */
Test(session_paced, told_in_time)
{
	static const uint64_t rates[] = {MBIT / 10, MBIT, 10 * MBIT, 100 * MBIT, 10000ull * MBIT};
	struct sim_rng g = {1};

	for (unsigned i = 0; i < 5; i++) {
		double rate = (double)rates[i] * 1e-6;
		struct by_hand h;
		uint64_t from;

		hand_begin(&h, rates[i]);
		from = h.us;
		for (unsigned k = 0; k < 1000 && h.us < from + 15 * SECOND; k++) {
			uint64_t us = h.us + sim_below(&g, 3000), woken;
			double need = rate * 500 > LEN ? rate * 500 : LEN, at;
			unsigned n;

			while ((n = hand_room(&h, us, 64)))
				pace_spend(h.ss, n, (uint64_t)n * LEN);
			at = (double)us + (need - h.ss->credit) / rate;
			woken = hand_wake(&h);
			cr_assert_geq((double)woken, at - 1, "%lu bytes/s: %f us too early", rates[i],
				      at - (double)woken);
			cr_assert_leq((double)woken, at + LATE_US, "%lu bytes/s: %f us late", rates[i],
				      (double)woken - at);
			cr_assert(hand_room(&h, woken, 1));
		}
		hand_end(&h);
	}
}

/* A session's first datagrams do not wait; after a pause as much leaves at once as may, and the rest at the rate. */
Test(session_paced, first_and_after_a_pause)
{
	struct rig_conf conf = paced_conf(MBIT);
	struct meter m;
	struct conn *c;
	struct rig *r = paced_rig(&conf, &m);
	uint64_t was;

	c = rig_connect(r, 0, 3000, 0);
	rig_settle(r);
	cr_assert_geq(m.bytes, 3000, "%lu bytes left at once", m.bytes);
	run_us(r, 3 * SECOND);
	for (unsigned i = 0; i < 5; i++) {
		was = m.bytes;
		conn_more(c, 100000);
		rig_settle(r);
		cr_assert_leq(m.bytes - was, AT_ONCE * LEN);
		cr_assert_geq(m.bytes - was, (AT_ONCE - 1) * LEN);
		run_us(r, 3 * SECOND);
		cr_assert_eq(c->peer->got, c->to_send);
	}
	rig_end(r);
}

/* ---- what only acknowledges ---- */

struct acks {
	const struct rig *r;
	uint64_t last, longest, n; /* us */
	bool on;
};

static void saw_acks(void *arg, const struct rig_side *s, const struct pkt *k)
{
	struct acks *a = arg;

	if (k->p[4] != 82) /* KCP's ACK: a datagram begins with them */
		return;
	if (a->on && a->n && a->r->us - a->last > a->longest)
		a->longest = a->r->us - a->last;
	a->last = a->r->us;
	a->n++;
	(void)s;
}

/* While what it sends itself waits for a thin way up, a session acknowledges as if it did not. */
Test(session_paced, acks_do_not_wait)
{
	struct rig_conf conf = paced_conf(MBIT / 5); /* a datagram each 55 ms */
	struct acks a = {0};
	struct meter m;
	struct rig *r;
	struct conn *c;

	conf.bandwidth[SERVER] = 20 * MBIT;
	r = paced_rig(&conf, &m);
	a.r = r;
	r->side[CLIENT].sent = saw_acks;
	r->side[CLIENT].sent_arg = &a;
	rig_connect(r, 0, LOTS, 0);
	run_us(r, 2 * SECOND);
	cr_assert(pace_waits(sess_of(r, CLIENT)));
	c = rig_connect(r, 0, 0, LOTS);
	run_us(r, 2 * SECOND);
	a.on = true;
	run_us(r, 2 * SECOND);
	cr_assert_leq(a.longest, (INTERVAL + 1) * 1000, "%lu us without an acknowledgement", a.longest);
	cr_assert_gt(c->got, 0);
	rig_end(r);
}

/* ---- beside ratelimit ---- */

/* The smaller of both rates holds, and exactly. */
static void beside_ratelimit(uint64_t hint, uint64_t limit, unsigned ds, uint64_t rate)
{
	struct rig_conf conf = paced_conf(hint);
	uint64_t bytes, sent;
	struct meter m;
	struct rig *r;

	conf.ds = ds;
	conf.ps = ds ? 3 : 0;
	conf.ratelimit[CLIENT] = limit;
	r = paced_rig(&conf, &m);
	rig_connect(r, 0, LOTS, 0);
	run_us(r, 3 * SECOND);
	bytes = m.bytes;
	run_us(r, 5 * SECOND);
	sent = m.bytes - bytes;
	cr_assert_leq(sent, 5 * rate + 4 * LEN + rate / 1000, "%lu bytes instead of %lu", sent, 5 * rate);
	cr_assert_geq(sent + 4 * LEN + rate / 1000, 5 * rate, "%lu bytes instead of %lu", sent, 5 * rate);
	cr_assert_eq(shard_snmp(r->side[CLIENT].shard, 0)->OutBytes, m.bytes);
	rig_end(r);
}

Test(session_paced, ratelimit)
{
	beside_ratelimit(100 * MBIT, 1000000, 0, 1000000);
	beside_ratelimit(100 * MBIT, 1000000, 10, 1000000);
	beside_ratelimit(0, 1000000, 0, 1000000);
	beside_ratelimit(0, 50000, 10, 50000);
	beside_ratelimit(1000000, 1000001, 10, 1000000);
	beside_ratelimit(8 * MBIT, 20000000, 0, 8 * MBIT);
}

/* ---- who waits ---- */

/* What waits for pace can be reset, time out, and be ended, and leaves nothing in the wheels. */
Test(session_paced, ends_while_waiting)
{
	struct rig_conf conf = paced_conf(1000);
	struct conn *c, *d;
	struct meter m;
	struct rig *r;

	conf.ds = 10;
	conf.ps = 3;
	conf.keepalive_ms = 10000;
	r = paced_rig(&conf, &m);
	c = rig_connect(r, 0, LOTS, 0);
	run_us(r, 3 * SECOND);
	cr_assert(pace_waits(sess_of(r, CLIENT)) && sess_of(r, CLIENT)->pace_soft);
	d = rig_connect(r, 0, LOTS, 0);
	conn_reset(c);
	run_us(r, 3 * SECOND);
	r->cut[SERVER] = true;
	run_us(r, 61 * SECOND);
	cr_assert(c->closed && c->aborted);
	cr_assert(d->closed && d->aborted);
	cr_assert_eq(rig_drops(&r->side[CLIENT], DROP_TIMEOUT), 1);
	cr_assert_eq(r->side[CLIENT].shard->n_all, 0);
	cr_assert_eq(shard_next_us(r->side[CLIENT].shard), UINT64_MAX);
	rig_end(r);
}

Test(session_paced, closed_while_waiting)
{
	struct rig_conf conf = paced_conf(1000);
	struct meter m;
	struct rig *r = paced_rig(&conf, &m);

	rig_connect(r, 0, LOTS, 0);
	run_us(r, 3 * SECOND);
	cr_assert(pace_waits(sess_of(r, CLIENT)));
	cr_assert_neq(shard_next_us(r->side[CLIENT].shard), UINT64_MAX);
	shard_close_all(r->side[CLIENT].shard, r->now);
	cr_assert_eq(shard_next_us(r->side[CLIENT].shard), UINT64_MAX);
	rig_end(r);
}

/* Who is to end goes on at his pace until everything is there. */
Test(session_paced, drains_while_waiting)
{
	struct rig_conf conf = paced_conf(MBIT);
	struct meter m;
	struct rig *r = paced_rig(&conf, &m);
	struct conn *c = rig_connect(r, 0, 500000, 0);

	run_us(r, SECOND / 10);
	cr_assert(pace_waits(sess_of(r, CLIENT)));
	shard_drain(r->side[CLIENT].shard);
	conn_eof(c);
	run_us(r, 3 * SECOND);
	cr_assert(!shard_sent_all(r->side[CLIENT].shard));
	conn_eof(c->peer);
	run_us(r, 2 * SECOND);
	cr_assert(shard_sent_all(r->side[CLIENT].shard));
	conn_complete(c);
	cr_assert_leq(m.most, most_at_once(m.rate));
	rig_end(r);
}

/* Without a hint what KCP sends is paced, and the rest comes on top: but no parity that the peer is not sent. */
Test(session_paced, burden_of_parity)
{
	static const unsigned shapes[][2] = {{5, 2}, {0, 0}}; /* of the peer */

	for (unsigned i = 0; i < 2; i++) {
		struct rig_conf conf = paced_conf(0);
		struct sess *ss;
		struct meter m;
		struct rig *r;
		uint64_t parity;

		conf.ds = 10;
		conf.ps = 3;
		conf.link = (struct sim_conf){.delay_us = 20000, .rate_bps = 20000000, .queue = 100000, .loss = 50};
		r = paced_rig(&conf, &m);
		rig_shape(&r->side[SERVER], shapes[i][0], shapes[i][1]);
		r->side[SERVER].stock_fec = shapes[i][0];
		rig_connect(r, 0, 0, LOTS);
		run_us(r, SECOND);
		ss = sess_of(r, CLIENT);
		parity = r->side[CLIENT].parity;
		for (unsigned k = 0; k < 30; k++) {
			run_us(r, SECOND / 10);
			cr_assert_eq(r->side[CLIENT].parity, parity);
			cr_assert_leq(ss->burden, (double)(1350 + OVER) / ss->tun->kcp.mtu + 0.001,
				      "peer's %u/%u: %f after %u", shapes[i][0], shapes[i][1], ss->burden, k);
		}
		rig_end(r);
	}
}

/* Who has sent all that he had waits for nothing. */
Test(session_paced, rests)
{
	struct rig_conf conf = paced_conf(10 * MBIT);
	struct meter m;
	struct rig *r = paced_rig(&conf, &m);
	uint64_t turns;

	rig_connect(r, 0, 300000, 0);
	run_us(r, 2 * SECOND);
	for (int e = 0; e < 2; e++)
		cr_assert_eq(shard_next_us(r->side[e].shard), UINT64_MAX);
	turns = r->turns;
	run_us(r, 2 * SECOND);
	cr_assert_leq(r->turns - turns, 20, "%lu turns for nothing", r->turns - turns);
	rig_end(r);
}

/* Turns are a few for each lump, and not one a microsecond. */
Test(session_paced, turns)
{
	struct rig_conf conf = paced_conf(100 * MBIT);
	struct meter m;
	struct rig *r = paced_rig(&conf, &m);
	uint64_t turns;

	rig_connect(r, 0, LOTS, 0);
	run_us(r, SECOND);
	turns = r->turns;
	run_us(r, SECOND);
	cr_assert_leq(r->turns - turns, 30000, "%lu turns", r->turns - turns);
	rig_end(r);
}
