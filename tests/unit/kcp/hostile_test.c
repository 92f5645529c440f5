/* SPDX-License-Identifier: MIT */

/*
 * Peers that lie to the rate model and to loss by time.  A session that believes one may harm itself: it may not send
 * without bound, nor work without end, nor lose count of what it holds.
 */

#include "path.h"

#define CONV 0x11223344
#define MTU  1350
#define SENT 65536 /* transmissions that a liar remembers */
#define SEC  1000000

static const struct kcp_conf conf = {.mtu = MTU,
				     .snd_wnd = 65535,
				     .rcv_wnd = 65535,
				     .nodelay = 1,
				     .interval = 20,
				     .resend = 2,
				     .nc = 1,
				     .congestion = KCP_CONGESTION_AUTO};

/* A sender, and what has left it. */
struct victim {
	struct rig *r;
	uint64_t us, credit_us;
	double credit;
	uint64_t cap;  /* datagrams that leave in a ms at most: a sender's machine, or its card, has an end */
	uint64_t sent; /* bytes */
	uint64_t most; /* of those, in any ms */
	struct {
		uint32_t sn, ts;
		uint64_t us;
	} v[SENT];
	uint32_t n; /* transmissions */
};

static struct victim *victim_new(uint64_t ms, uint32_t sn)
{
	struct victim *x = calloc(1, sizeof(*x));

	x->r = rig_new(CONV, &conf, 256 << 20, ms);
	rig_start_at(x->r, sn);
	x->us = x->credit_us = ms * 1000;
	x->cap = UINT64_MAX;
	return x;
}

static void victim_free(struct victim *x)
{
	rig_free(x->r);
	free(x);
}

/* What the lists and counts say of each other. */
static void sane(const struct kcp *k)
{
	uint32_t flight = 0, late = 0, again = 0;

	for (uint32_t sn = k->snd_una; sn != k->snd_nxt; sn++) {
		const struct kcp_seg *s = kcp_snd_seg(k, sn);

		if (!s || !s->xmit)
			continue;
		flight += s->why ? 0 : kcp_seg_cost(s);
		late += !s->why;
		again += s->why != KCP_WHY_NONE;
	}
	cr_assert_eq(k->m.flight, flight, "%u in flight, not %u", k->m.flight, flight);
	for (const struct list *l = k->late.next; l != &k->late; l = l->next)
		late--;
	for (const struct list *l = k->again.next; l != &k->again; l = l->next)
		again--;
	cr_assert_eq(late, 0);
	cr_assert_eq(again, 0);
}

static void remember(struct victim *x, const uint8_t *p, uint32_t n)
{
	struct kcp_head h;

	for (const uint8_t *end = p + n; p < end; p += KCP_HEAD + h.len) {
		kcp_head_get(&h, p);
		if (h.cmd != KCP_PUSH)
			continue;
		x->v[x->n % SENT].sn = h.sn;
		x->v[x->n % SENT].ts = h.ts;
		x->v[x->n++ % SENT].us = x->us;
	}
}

/* One ms: as much as there is room for is written, as much leaves as pace and cap allow. */
static void victim_turn(struct victim *x)
{
	static const uint8_t data[MTU];
	struct kcp *k = &x->r->k;
	uint64_t cap = x->cap, had = x->sent;

	x->us += 1000;
	x->credit += (double)kcp_pace(k) / 1000;
	if (x->credit > (double)kcp_pace(k) / 1000 + 10 * MTU)
		x->credit = (double)kcp_pace(k) / 1000 + 10 * MTU;
	while (x->credit > 0 && cap) {
		struct pkt out[64];
		unsigned max = cap < 64 ? (unsigned)cap : 64, n;

		if (x->credit < 64 * MTU && x->credit / MTU + 1 < max)
			max = (unsigned)(x->credit / MTU) + 1;
		while (kcp_room(k))
			if (kcp_send(k, &(struct slice){data, k->mss}, 1))
				break;
		for (unsigned i = 0; i < max; i++)
			out[i] = (struct pkt){.p = x->r->buf[i]};
		kcp_clock(k, x->us);
		n = kcp_flush(k, KCP_FLUSH_FULL, x->us / 1000, out, max);
		for (unsigned i = 0; i < n; i++) {
			remember(x, out[i].p, out[i].n);
			x->sent += out[i].n;
			x->credit -= out[i].n;
		}
		if (cap != UINT64_MAX)
			cap -= n;
		if (n < max)
			break;
	}
	if (x->sent - had > x->most)
		x->most = x->sent - had;
}

static int say(struct victim *x, struct kcp_head h)
{
	uint8_t p[KCP_HEAD];

	h.conv = CONV;
	kcp_head_put(p, &h);
	kcp_clock(&x->r->k, x->us);
	return kcp_input(&x->r->k, p, sizeof(p), 0, x->us / 1000, NULL);
}

/* n ACKs in one datagram, in that order; una of all. */
static void say_acks(struct victim *x, const uint32_t *which, unsigned n, uint32_t una)
{
	uint8_t p[KCP_MTU_MAX];

	for (unsigned i = 0; i < n; i++)
		kcp_head_put(p + i * KCP_HEAD, &(struct kcp_head){.conv = CONV,
								  .cmd = KCP_ACK,
								  .wnd = UINT16_MAX,
								  .sn = x->v[which[i] % SENT].sn,
								  .ts = x->v[which[i] % SENT].ts,
								  .una = una});
	kcp_clock(&x->r->k, x->us);
	kcp_input(&x->r->k, p, (uint16_t)(n * KCP_HEAD), 0, x->us / 1000, NULL);
}

/* ---- the rate ---- */

/*
 * The best that a liar can do: he lets the flight fill up, acknowledges what was sent last, so that what is sent next
 * has been sent just after that, and then this one with all the rest: a whole flight in a round trip, whatever time it
 * took to leave.
 */
static void fill_and_tell(struct victim *x, unsigned hold_ms, unsigned wait_ms)
{
	struct kcp *k = &x->r->k;
	uint32_t next;

	for (unsigned i = 0; i < 2000 && k->m.flight < k->m.cwnd; i++)
		victim_turn(x);
	for (unsigned i = 0; i < hold_ms; i++) /* as if the path were so long */
		victim_turn(x);
	next = x->n - 1;
	say_acks(x, &next, 1, k->snd_una);
	next = x->n;
	for (unsigned i = 0; i < hold_ms + wait_ms; i++)
		victim_turn(x);
	if (x->n != next)
		say_acks(x, &next, 1, k->snd_nxt);
}

#define AHEAD_US 20

/* Everything is acknowledged the moment that it is sent, long before it could arrive. */
static void tell_ahead(struct victim *x, unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		uint32_t first = x->n;

		victim_turn(x);
		x->us += AHEAD_US;
		for (; first != x->n; first++)
			say_acks(x, &first, 1, x->r->k.snd_una);
		say_acks(x, &(uint32_t){x->n - 1}, 1, x->r->k.snd_nxt);
	}
}

/* A machine that gives so many datagrams in a time is not believed to give more than a few times that. */
#define BELIEVED 5

/* us: what the least time was from a transmission to an acknowledgement that came later at all. */
static void bounded(const struct victim *x, uint64_t us, const char *how, unsigned i)
{
	double most = BELIEVED * (double)x->most / (double)us;

	if (x->r->k.m.state == KCP_MODEL_STARTUP) /* also what may be in flight, over a ms or more */
		most = x->r->k.m.cwnd / 1000.0 > most ? x->r->k.m.cwnd / 1000.0 : most;
	cr_assert_leq(x->r->k.m.pace, most * 1.001, "%s, %u: %.1f bytes/us, and at most %lu have left at once", how, i,
		      x->r->k.m.pace, x->most);
	cr_assert_leq(x->r->k.m.cwnd, 4 << 20, "%s, %u: %u may be in flight", how, i, x->r->k.m.cwnd);
}

Test(kcp_hostile, a_liar_is_not_sent_more_than_was_sent)
{
	for (unsigned how = 0; how < 42; how++) {
		struct victim *x = victim_new(1000, 0);

		x->cap = 2;
		for (unsigned i = 0; i < 150; i++) {
			fill_and_tell(x, how % 3 * 20, 1 + how / 3 * 3);
			bounded(x, 1000, "fills and tells", i);
		}
		sane(&x->r->k);
		victim_free(x);
	}
	for (unsigned cap = 1; cap <= 64; cap *= 8) {
		struct victim *x = victim_new(1000, 0);

		x->cap = cap;
		for (unsigned i = 0; i < 100; i++) {
			tell_ahead(x, 10);
			bounded(x, AHEAD_US, "tells ahead", i);
		}
		victim_free(x);
	}
}

/* ---- anything at all ---- */

static uint32_t any_sn(struct victim *x, struct sim_rng *g)
{
	const struct kcp *k = &x->r->k;

	switch (sim_below(g, 6)) {
	case 0:
		return (uint32_t)sim_rand(g);
	case 1:
		return k->snd_nxt + sim_below(g, 100); /* not yet sent */
	case 2:
		return k->snd_una - sim_below(g, 100);
	case 3:
		return k->snd_una + 0x7fffffff + sim_below(g, 3); /* as far away as can be */
	default:
		return k->snd_una + sim_below(g, k->snd_nxt - k->snd_una + 1);
	}
}

static uint32_t any_ts(struct victim *x, struct sim_rng *g)
{
	uint32_t now = (uint32_t)(x->us / 1000);

	switch (sim_below(g, 6)) {
	case 0:
		return (uint32_t)sim_rand(g);
	case 1:
		return now + 1 + sim_below(g, 100000);
	case 2:
		return now - 0x7fffffff + sim_below(g, 3);
	case 3:
		return now - sim_below(g, 100000);
	case 4:
		return now;
	default:
		return x->n ? x->v[(x->n - 1 - sim_below(g, x->n < 100 ? x->n : 100)) % SENT].ts : now;
	}
}

static void any_datagram(struct victim *x, struct sim_rng *g)
{
	static const uint8_t cmds[] = {KCP_ACK, KCP_ACK, KCP_ACK, KCP_PUSH, KCP_WASK, KCP_WINS};
	static const uint16_t wnds[] = {0, 1, 32, 65535, 65535};
	struct kcp *k = &x->r->k;
	uint8_t p[KCP_MTU_MAX];
	unsigned heads = sim_chance(g, 300) ? 1 + sim_below(g, 56) : 1;
	bool far_una = sim_chance(g, 20);

	for (unsigned i = 0; i < heads; i++) {
		struct kcp_head h = {.conv = CONV, .cmd = cmds[sim_below(g, 6)], .wnd = wnds[sim_below(g, 5)]};

		h.sn = h.cmd == KCP_PUSH && sim_chance(g, 500) ? k->rcv_nxt + sim_below(g, 2000) : any_sn(x, g);
		h.ts = any_ts(x, g);
		h.una = far_una ? any_sn(x, g) : k->snd_una + sim_below(g, 3);
		kcp_head_put(p + i * KCP_HEAD, &h);
	}
	kcp_clock(k, x->us);
	cr_assert_geq(kcp_input(k, p, (uint16_t)(heads * KCP_HEAD), sim_chance(g, 50) ? KCP_IN_RECOVERED : 0,
				x->us / 1000, NULL),
		      0);
	if (sim_chance(g, 100))
		kcp_consume(k, UINT32_MAX);
}

static void history(uint64_t seed)
{
	static const uint32_t starts[] = {0, 0xffffffc0, 0x7fffffc0};
	static const uint64_t clocks[] = {1000, 0xfffffc00, 4294000}; /* ms and us that wrap soon */
	struct sim_rng g = {seed};
	struct victim *x = victim_new(clocks[sim_below(&g, 3)], starts[sim_below(&g, 3)]);
	struct kcp *k = &x->r->k;

	x->cap = 1 + sim_below(&g, 20);
	if (sim_chance(&g, 500))
		kcp_knows(k);
	for (unsigned i = 0; i < 1500; i++) {
		if (sim_chance(&g, 10))
			kcp_parity(k, sim_below(&g, 4), 10);
		if (sim_chance(&g, 5))
			x->us += 1000 * (uint64_t)sim_below(&g, 100000);
		if (sim_chance(&g, 500))
			victim_turn(x);
		else
			x->us += sim_below(&g, 1000);
		any_datagram(x, &g);
		if (sim_chance(&g, 20))
			kcp_limited(k, sim_chance(&g, 500));
		sane(k);
		cr_assert(k->m.pace > 0 && k->m.pace <= BELIEVED * (double)x->most + 64 * MTU / 1000.0,
			  "seed %lu, %u: pace %g", seed, i, k->m.pace);
		cr_assert_gt(k->m.cwnd, 0);
		cr_assert_leq(k->acks.n, 8192);
	}
	victim_free(x);
}

Test(kcp_hostile, whatever_is_said)
{
	for (uint64_t seed = 1; seed <= 200; seed++)
		history(seed);
}

/* ---- windows ---- */

/* From 65535 to nothing and back at each turn: nothing leaves beyond what the last one allowed. */
Test(kcp_hostile, windows_that_jump)
{
	struct victim *x = victim_new(1000, 0xfffffff0);
	struct kcp *k = &x->r->k;
	struct sim_rng g = {1};

	for (unsigned i = 0; i < 2000; i++) {
		static const uint16_t wnds[] = {0, 65535, 1, 7};
		uint16_t wnd = wnds[sim_below(&g, 4)];
		uint32_t had = k->snd_nxt, edge;

		say(x, (struct kcp_head){.cmd = KCP_WINS, .wnd = wnd, .una = k->snd_una + sim_below(&g, 4)});
		edge = k->snd_una + wnd;
		victim_turn(x);
		if (k->snd_nxt != had)
			cr_assert_leq((int32_t)(k->snd_nxt - edge), 0, "%u beyond a window of %u", k->snd_nxt - edge,
				      wnd);
		sane(k);
	}
	victim_free(x);
}
