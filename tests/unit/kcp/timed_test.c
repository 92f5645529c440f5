/* SPDX-License-Identifier: MIT */

/*
 * Loss by time (timed.c) beside a plain reference that keeps every transmission in an array, is told every datagram,
 * and walks over all of it whenever it has to say what is lost.  Two ends over bad paths, each with a reference; at
 * every flush both must hold the same transmissions for lost, and nothing may be sent again that the reference still
 * takes to be under way.  The round's number, the smoothed round trip, and whether a window is full of what waits for a
 * hole, are the engine's: they are shown elsewhere.
 */

#include <stdio.h>

#include "path.h"
#include "seeds.h"

#define MTU	  200
#define TRIES_MAX 40000 /* of a history */
#define WINDOW	  512

enum state { UNDER_WAY, LOST, DONE };

/* One transmission. */
struct
try {
	uint64_t us;
	uint32_t sn, ts;
	bool again; /* not the first of its segment */
	enum state state;
	int older; /* of the same segment; -1 */
	int twins; /* of this transmission */
};

struct plain {
	struct path_end *e;
	const char *name;
	uint64_t seed;
	uint32_t first; /* sn */
	struct try *tries;
	int n_tries, oldest; /* all before it are DONE */
	int *last;	     /* by segment: its last transmission; -1: none */
	uint32_t n_segs, una;
	uint64_t min_rtt, rack, rack_at, sent, heard; /* us */
	bool any;				      /* something was acknowledged */
	uint32_t mult, mult_round, round;
	bool held; /* a window is full: what waits for a hole does not wait for a wide reordering window, too */
	bool silent;
	unsigned probes;
	uint64_t lost, needless, again, twins; /* counts */
};

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t window(const struct plain *f)
{
	uint64_t rtt = f->min_rtt == UINT64_MAX ? 0 : f->min_rtt;
	uint64_t us = (f->held && f->mult > 3 ? 3 : f->mult) * max64(rtt / 8, 3000);
	uint64_t most = max64(rtt, 3000);

	return us < most ? us : most;
}

static bool under_way(const struct plain *f)
{
	for (int i = f->oldest; i < f->n_tries; i++)
		if (f->tries[i].state == UNDER_WAY)
			return true;
	return false;
}

static bool is_held(const struct plain *f)
{
	return f->e->r->k.m.blocked || f->e->r->k.m.was_blocked;
}

static void widen(struct plain *f)
{
	if (f->mult_round != f->round && f->mult < 64)
		f->mult *= 2;
	f->mult_round = f->round;
}

static void later(struct plain *f, uint64_t sent, uint64_t us)
{
	if (f->any && sent < f->rack)
		return;
	f->rack = sent;
	f->rack_at = us;
	f->any = true;
}

/* Segment i is acknowledged; ts: its ACK's, NULL: by una; surely: it had not been there when una was last told. */
static void told(struct plain *f, uint32_t i, const uint32_t *ts, bool surely, uint64_t us)
{
	struct try *t = &f->tries[f->last[i]];
	/* an ACK names the transmission, una only tells that an answer to the last one could not be here yet */
	bool last = ts ? *ts == t->ts : !t->again || us - t->us >= (f->min_rtt == UINT64_MAX ? 0 : f->min_rtt);
	bool lost = t->state == LOST;

	f->needless += lost || !last;
	if ((lost || !last) && surely)
		widen(f);
	for (int k = f->last[i]; k >= 0; k = f->tries[k].older)
		f->tries[k].state = DONE;
	f->heard = us;
	f->silent |= f->probes > 0;
	f->probes = 0;
	if (!last && ts) /* an earlier one has arrived: its ACK tells when it was sent, to a millisecond */
		later(f, us - 1000 * (uint64_t)((uint32_t)(us / 1000) - *ts) - 1000, us);
	if (lost || !last)
		return;
	if (ts && max64(us - t->us, 1) < f->min_rtt)
		f->min_rtt = max64(us - t->us, 1);
	later(f, t->us, us);
}

static bool is_open(const struct plain *f, uint32_t i)
{
	return i < f->n_segs && f->last[i] >= 0 && f->tries[f->last[i]].state != DONE;
}

/* una has moved, for the first time after a silence: what it stands at was sent before that, and is not there. */
static void broken_silence(struct plain *f, uint64_t us)
{
	struct try *t = f->una < f->n_segs ? &f->tries[f->last[f->una]] : NULL;

	f->held = is_held(f);
	if (f->silent && t && t->state == UNDER_WAY && us - t->us >= f->min_rtt + window(f))
		t->state = LOST;
	f->silent = false;
}

static void hear(void *arg, const uint8_t *p, uint32_t n, uint64_t us)
{
	struct plain *f = arg;
	struct kcp_head h;
	uint32_t hole;

	for (const uint8_t *end = p + n; p < end; p += KCP_HEAD + h.len) {
		kcp_head_get(&h, p);
		if (h.cmd == KCP_ACK && is_open(f, h.sn - f->first))
			told(f, h.sn - f->first, &h.ts, true, us);
		hole = f->una;
		for (; f->una < f->n_segs && (int32_t)(f->first + f->una - h.una) < 0; f->una++)
			if (is_open(f, f->una))
				told(f, f->una, NULL, f->una == hole, us);
		if (f->una != hole)
			broken_silence(f, us);
	}
	while (f->oldest < f->n_tries && f->tries[f->oldest].state == DONE)
		f->oldest++;
}

static void took(void *arg)
{
	struct plain *f = arg;

	f->round = f->e->r->k.m.round;
}

/* When what is under way longest is lost; UINT64_MAX: more has to be heard. */
static uint64_t lost_at(const struct plain *f, const struct try *t)
{
	if (!f->any || t->us >= f->rack)
		return UINT64_MAX;
	return f->rack_at + window(f) - (f->rack - t->us < window(f) ? f->rack - t->us : window(f));
}

static uint32_t flight(const struct plain *f)
{
	uint32_t n = 0;

	for (int i = f->oldest; i < f->n_tries; i++)
		if (f->tries[i].state == UNDER_WAY)
			n += kcp_seg_cost(kcp_snd_seg(&f->e->r->k, f->tries[i].sn));
	return n;
}

/* Since when an answer could have come. */
static uint64_t silent_from(const struct plain *f)
{
	const struct kcp *k = &f->e->r->k;
	uint64_t first = UINT64_MAX;

	if (f->probes || flight(f) > 8 * k->mss)
		return max64(f->sent, f->heard);
	for (int i = f->oldest; i < f->n_tries; i++)
		if (f->tries[i].state == UNDER_WAY && f->tries[i].us < first)
			first = f->tries[i].us;
	return first;
}

static uint64_t probe_at(const struct plain *f)
{
	const struct kcp *k = &f->e->r->k;
	uint64_t from = silent_from(f), interval = 1000 * (uint64_t)k->conf->interval;

	if (!under_way(f))
		return UINT64_MAX;
	if (f->probes)
		return from + (f->probes < 75 ? 70000 : 150000);
	if (!f->any)
		return from + 200000;
	if (flight(f) > 8 * k->mss)
		return from + 2000 * (uint64_t)k->srtt + interval + 20000;
	return from + max64(1000 * (uint64_t)k->rto, 1000 * (uint64_t)k->srtt + interval) + 5000;
}

/* Into the silence goes what the peer lacks for certain; where that waits already, another need not. */
static void probe(struct plain *f)
{
	int k = f->una < f->n_segs ? f->last[f->una] : -1;

	f->probes++;
	if (k >= 0 && f->tries[k].state == UNDER_WAY) {
		f->tries[k].state = LOST;
		return;
	}
	for (int i = f->oldest; i < f->n_tries; i++)
		if (f->tries[i].state == LOST)
			return;
	for (int i = f->oldest; i < f->n_tries; i++)
		if (f->tries[i].state == UNDER_WAY) {
			f->tries[i].state = LOST;
			return;
		}
}

static void decide(void *arg, uint64_t us)
{
	struct plain *f = arg;

	f->held = is_held(f);
	if (f->mult > 1 && f->round - f->mult_round >= 16) {
		f->mult = 1;
		f->mult_round = f->round;
	}
	for (int i = f->oldest; i < f->n_tries; i++)
		if (f->tries[i].state == UNDER_WAY && lost_at(f, &f->tries[i]) <= us) {
			f->tries[i].state = LOST;
			f->lost++;
		}
	if (probe_at(f) <= us)
		probe(f);
}

/* What was sent alone may leave twice or three times just as it was: that is one transmission. */
static bool is_twin(struct plain *f, uint32_t i, uint32_t ts, uint64_t us)
{
	struct try *t = i < f->n_segs ? &f->tries[f->last[i]] : NULL;

	if (!t || t->state != UNDER_WAY || t->ts != ts || us - t->us < 3000)
		return false;
	f->twins++;
	return ++t->twins <= 2;
}

static void sent(struct plain *f, uint32_t sn, uint32_t ts, uint64_t us)
{
	uint32_t i = sn - f->first;
	struct try *t = &f->tries[f->n_tries];

	if (is_twin(f, i, ts, us))
		return;
	cr_assert_lt(f->n_tries, TRIES_MAX);
	cr_assert(i <= f->n_segs, "seed %lu: segment %u before %u", f->seed, i, f->n_segs);
	if (!under_way(f)) { /* what was sent before says nothing of what follows */
		f->rack = us;
		f->heard = us;
	}
	*t = (struct try){.us = us, .sn = sn, .ts = ts, .older = -1};
	if (i == f->n_segs) {
		f->last[f->n_segs++] = -1;
	} else {
		cr_assert_eq(f->tries[f->last[i]].state, LOST,
			     "seed %lu, %s at %lu: segment %u (%d), sent at %lu, is sent again", f->seed, f->name, us,
			     i, f->tries[f->last[i]].state, f->tries[f->last[i]].us);
		f->tries[f->last[i]].state = DONE;
		t->again = true;
		t->older = f->last[i];
		f->again++;
	}
	f->last[i] = f->n_tries++;
	f->sent = us;
}

static void left(void *arg, const uint8_t *p, uint32_t n, uint64_t us)
{
	struct plain *f = arg;
	struct kcp_head h;

	for (const uint8_t *end = p + n; p < end; p += KCP_HEAD + h.len) {
		kcp_head_get(&h, p);
		if (h.cmd == KCP_PUSH)
			sent(f, h.sn, h.ts, us);
	}
}

/* ---- what both must agree on ---- */

static unsigned count(const struct list *l)
{
	unsigned n = 0;

	for (const struct list *e = l->next; e != l; e = e->next)
		n++;
	return n;
}

/* Every segment's state, what the flight holds of it, and the two lists of exactly those. */
static void same_segments(const struct plain *f, uint64_t us)
{
	const struct kcp *k = &f->e->r->k;
	uint32_t flight = 0, n_late = 0, n_again = 0;

	cr_assert_eq(k->snd_una, f->first + f->una);
	cr_assert_eq(k->snd_sent, f->first + f->n_segs);
	for (uint32_t sn = k->snd_una; sn != k->snd_sent; sn++) {
		const struct kcp_seg *s = kcp_snd_seg(k, sn);
		const struct try *t = &f->tries[f->last[sn - f->first]];

		cr_assert_eq(s == NULL, t->state == DONE, "seed %lu, %s at %lu: segment %u acknowledged: %d, not %d",
			     f->seed, f->name, us, sn - f->first, s == NULL, t->state == DONE);
		if (!s)
			continue;
		cr_assert_eq(s->why != KCP_WHY_NONE, t->state == LOST,
			     "seed %lu, %s at %lu: segment %u, sent at %lu: lost %d, not %d; min %lu, %u; window %lu",
			     f->seed, f->name, us, sn - f->first, t->us, s->why != KCP_WHY_NONE, t->state == LOST,
			     f->min_rtt, k->m.min_rtt, window(f));
		cr_assert_eq(s->sent_us, (uint32_t)t->us);
		flight += s->why ? 0 : kcp_seg_cost(s);
		n_late += !s->why;
		n_again += s->why != KCP_WHY_NONE;
	}
	cr_assert_eq(k->m.flight, flight, "seed %lu, %s at %lu: %u in flight, not %u", f->seed, f->name, us,
		     k->m.flight, flight);
	cr_assert_eq(count(&k->late), n_late);
	cr_assert_eq(count(&k->again), n_again);
}

/* Those in flight lie in order of their last transmission. */
static void ordered(const struct plain *f)
{
	const struct kcp *k = &f->e->r->k;

	for (const struct list *l = k->late.next; l != &k->late && l->next != &k->late; l = l->next)
		cr_assert_leq((int32_t)(container_of(l, struct kcp_seg, late)->sent_us -
					container_of(l->next, struct kcp_seg, late)->sent_us),
			      0);
}

/* Nothing that is due waits beyond this millisecond. */
static void none_late(const struct plain *f, uint64_t us)
{
	for (int i = f->oldest; i < f->n_tries; i++)
		cr_assert(f->tries[i].state != UNDER_WAY || lost_at(f, &f->tries[i]) > us / 1000 * 1000,
			  "seed %lu, %s at %lu: sent at %lu, lost at %lu, nobody looked", f->seed, f->name, us,
			  f->tries[i].us, lost_at(f, &f->tries[i]));
	cr_assert_gt(probe_at(f), us / 1000 * 1000, "seed %lu, %s at %lu: silence since %lu", f->seed, f->name, us,
		     max64(f->sent, f->heard));
}

struct history {
	struct path p;
	struct plain f[2];
	struct sim_rng g;
};

static void check(void *arg)
{
	struct history *h = arg;

	for (int i = 0; i < 2; i++) {
		same_segments(&h->f[i], h->p.us);
		ordered(&h->f[i]);
		none_late(&h->f[i], h->p.us);
	}
}

/* ---- histories ---- */

static void random_weather(struct sim_rng *g, struct sim_conf *c)
{
	static const uint32_t losses[] = {0, 10, 50, 200, 300, 500};

	*c = (struct sim_conf){
		.delay_us = 500 + sim_below(g, 60000),
		.jitter_us = sim_chance(g, 500) ? sim_below(g, 25000) : 0,
		.fifo = sim_chance(g, 300),
		.loss = losses[sim_below(g, 6)],
		.dup = sim_chance(g, 300) ? 200 : 0,
		.reorder = sim_chance(g, 400) ? 50 : 0,
		.rate_bps = sim_chance(g, 400) ? 400000 + sim_below(g, 4000000) : 0,
		.queue = 20000,
	};
}

static void plain_init(struct plain *f, struct path_end *e, const char *name, uint64_t seed, uint32_t sn)
{
	*f = (struct plain){.e = e, .name = name, .seed = seed, .first = sn, .min_rtt = UINT64_MAX, .mult = 1};
	f->tries = calloc(TRIES_MAX, sizeof(*f->tries));
	f->last = calloc(TRIES_MAX, sizeof(*f->last));
	f->heard = e->r->k.now * 1000;
	rig_start_at(e->r, sn);
	e->unpaced = true; /* a flush kept back is one that cannot look */
	e->arg = f;
	e->on_in = hear;
	e->on_took = took;
	e->on_flush = decide;
	e->on_out = left;
}

static void history_init(struct history *h, uint64_t seed)
{
	static const uint32_t starts[] = {0, 0xffffffe0, 0x7ffffff0};
	static const uint64_t clocks[] = {1000, 0xfffffd00, 4294600}; /* ms, us and none of them wrap */
	struct kcp_conf conf[2];
	struct sim_conf out[2];
	uint32_t sn;

	*h = (struct history){.g = {seed}};
	for (int i = 0; i < 2; i++) {
		conf[i] = (struct kcp_conf){.mtu = MTU,
					    .snd_wnd = WINDOW,
					    .rcv_wnd = WINDOW,
					    .nodelay = 1,
					    .interval = (int)(10 + 10 * sim_below(&h->g, 4)),
					    .resend = 2,
					    .nc = 1,
					    .acknodelay = sim_chance(&h->g, 200),
					    .congestion = KCP_CONGESTION_AUTO};
		random_weather(&h->g, &out[i]);
	}
	path_init(&h->p, conf, out, sim_rand(&h->g), clocks[sim_below(&h->g, 3)]);
	sn = starts[sim_below(&h->g, 3)];
	plain_init(&h->f[0], &h->p.e[0], "first", seed, sn);
	plain_init(&h->f[1], &h->p.e[1], "second", seed, sn);
	h->p.arg = h;
	h->p.on_turn = check;
	for (int i = 0; i < 2; i++)
		if (sim_chance(&h->g, 300))
			kcp_knows(&h->p.e[i].r->k);
}

static void history_fini(struct history *h)
{
	for (int i = 0; i < 2; i++) {
		free(h->f[i].tries);
		free(h->f[i].last);
	}
	path_fini(&h->p);
}

/* The least round trip is looked for anew when ten seconds have passed: histories are shorter. */
Test(kcp_timed, as_the_reference_says)
{
	const uint64_t seeds = SEEDS_OF(80, 20);
	uint64_t lost = 0, needless = 0, again = 0, twins = 0;

	for (uint64_t seed = 1; seed <= seeds; seed++) {
		struct history h;

		history_init(&h, seed);
		for (unsigned i = 0; i < 60; i++) {
			struct sim_conf weather;
			int e = (int)sim_below(&h.g, 2);

			if (sim_chance(&h.g, 80)) {
				random_weather(&h.g, &weather);
				weather.loss = sim_chance(&h.g, 200) ? 1000 : weather.loss;
				sim_link_set(h.p.e[e].out, &weather);
			}
			if (sim_chance(&h.g, 500))
				h.p.e[e].left += 1 + sim_below(&h.g, sim_chance(&h.g, 500) ? 100000 : 300);
			path_run(&h.p, 1000 + sim_below(&h.g, 200000));
		}
		for (int i = 0; i < 2; i++) {
			lost += h.f[i].lost;
			needless += h.f[i].needless;
			again += h.f[i].again;
			twins += h.f[i].twins;
		}
		history_fini(&h);
	}
	printf("%lu lost, %lu sent again, %lu proven needless, %lu twins\n", lost, again, needless, twins);
	cr_assert_gt(lost, 50000 * seeds / 80);
	cr_assert_gt(needless, 5000 * seeds / 80);
}

/* ---- by hand ---- */

#define CONV 0x11223344

static const struct kcp_conf by_hand = {.mtu = MTU,
					.snd_wnd = WINDOW,
					.rcv_wnd = WINDOW,
					.nodelay = 1,
					.interval = 20,
					.resend = 2,
					.nc = 1,
					.congestion = KCP_CONGESTION_AUTO};

static void feed(struct rig *r, uint32_t sn, uint32_t una, uint64_t ts, uint64_t now)
{
	uint8_t p[KCP_HEAD];

	kcp_head_put(p, &(struct kcp_head){
				.conv = CONV, .cmd = KCP_ACK, .wnd = WINDOW, .sn = sn, .una = una, .ts = (uint32_t)ts});
	cr_assert_geq(kcp_input(&r->k, p, sizeof(p), 0, now, NULL), 0);
}

/* n segments more, which leave at once. */
static void send_n(struct rig *r, unsigned n, uint64_t now)
{
	static const uint8_t data[MTU];

	for (unsigned i = 0; i < n; i++) { /* after each: what may wait is what leaves soon */
		cr_assert_eq(kcp_send(&r->k, &(struct slice){data, r->k.mss}, 1), 0);
		cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, now), 1);
	}
}

/* The segment that a flush sent alone. */
static uint32_t only_sn(const struct rig *r)
{
	struct kcp_head h;

	cr_assert_eq(r->n_out, 1, "%u datagrams", r->n_out);
	kcp_head_get(&h, r->out[0].p);
	cr_assert_eq(h.cmd, KCP_PUSH);
	return h.sn;
}

/* Nothing is due before `at`, and then it is what the peer surely lacks, alone. */
static void probe_comes(struct rig *r, uint64_t at, uint32_t sn)
{
	cr_assert_eq(kcp_next(&r->k), at, "due at %lu, not %lu", kcp_next(&r->k), at);
	cr_assert_eq(rig_flush(r, KCP_FLUSH_FULL, at - 1), 0);
	rig_flush(r, KCP_FLUSH_FULL, at);
	cr_assert_eq(only_sn(r), sn);
}

Test(kcp_timed, probes_into_a_silence)
{
	struct rig *r = rig_new(CONV, &by_hand, 4 << 20, 1000);
	uint64_t at;

	send_n(r, 3, 1000);
	probe_comes(r, 1200, 0); /* nothing is known of the path */
	probe_comes(r, 1270, 0);
	feed(r, 0, 1, 1270, 1320); /* of its last transmission: 50 ms */
	cr_assert_eq(r->k.srtt, 50);
	/* the other two were sent long before what has arrived; then silence */
	rig_flush(r, KCP_FLUSH_FULL, 1320);
	cr_assert_eq(r->n_out, 2);
	for (at = 1323; at <= 1326; at += 3) { /* and once more, and again, for this path loses much */
		cr_assert_eq(kcp_next(&r->k), at, "%lu", kcp_next(&r->k));
		rig_flush(r, KCP_FLUSH_FULL, at);
		cr_assert_eq(r->n_out, 2);
	}
	at = 1320 + r->k.rto + 5;
	probe_comes(r, at, 1);
	probe_comes(r, at + 3, 1);
	probe_comes(r, at + 6, 1);
	/* but what goes into a silence that lasts goes once */
	for (unsigned i = 1; i < 200; i++) {
		at += i < 75 ? 70 : 150;
		probe_comes(r, at, 1);
	}
	cr_assert_eq(r->k.m.flight, 2 * MTU);
	/* and it is over when anything is heard */
	feed(r, 1, 3, at, at + 50);
	cr_assert_eq(r->k.m.flight, 0);
	cr_assert_eq(kcp_next(&r->k), UINT64_MAX);
	rig_free(r);
}

#define LATE 4 /* segments: few enough for any window in flight */

/* LATE segments, and one a ms later, which alone is acknowledged, 80 ms after.  *now becomes when the others are sent
 * again; returns how many ms after that. */
static uint64_t window_ms(struct rig *r, uint64_t *now, uint32_t *sn)
{
	uint64_t from = *now + 81, had = r->cnt.FastRetransSegs;

	send_n(r, LATE, *now);
	send_n(r, 1, *now + 1);
	feed(r, *sn + LATE, *sn, *now + 1, from);
	for (*now = from; rig_flush(r, KCP_FLUSH_FULL, *now), r->cnt.FastRetransSegs == had; ++*now)
		cr_assert_lt(*now, from + 1000);
	cr_assert_eq(r->cnt.FastRetransSegs - had, LATE);
	*sn += LATE + 1;
	return *now - from;
}

/* An ACK that echoes the first transmission's time says that the second was needless: the window doubles, but once a
 * round, and is what it was after 16 rounds without. */
Test(kcp_timed, needless_ones_widen_the_window)
{
	struct rig *r = rig_new(CONV, &by_hand, 4 << 20, 1000);
	uint64_t now = 1000, ms[3];
	uint32_t sn = 0;

	send_n(r, 1, now);
	feed(r, 0, 1, now, now + 80);
	sn = 1;
	for (int i = 0; i < 3; i++) {
		uint64_t first;

		now += 1000;
		first = now;
		ms[i] = window_ms(r, &now, &sn);
		for (uint32_t k = 0; k < LATE; k++) /* all of them had only been late */
			feed(r, sn - LATE - 1 + k, sn - LATE - 1, first, now + 1);
		cr_assert_eq(r->k.m.needless, LATE * (unsigned)(i + 1), "%lu", r->k.m.needless);
		feed(r, sn - 1, sn, first + 1, now + 2);
		cr_assert_eq(r->k.m.flight, 0);
	}
	/* of 80 ms an eighth, less the one between the transmissions */
	cr_assert_eq(ms[0], 9, "%lu", ms[0]);
	cr_assert_eq(ms[1], 19, "%lu", ms[1]);
	cr_assert_eq(ms[2], 39, "%lu", ms[2]);
	for (int i = 0; i < 18; i++) {
		now += 1000;
		send_n(r, 1, now);
		feed(r, sn, sn + 1, now, now + 80);
		sn++;
	}
	now += 1000;
	ms[0] = window_ms(r, &now, &sn);
	cr_assert_eq(ms[0], 9, "%lu", ms[0]);
	rig_free(r);
}

/* una that has passed a segment sooner than any answer to its second transmission could be here says the same. */
Test(kcp_timed, una_too_soon_is_needless)
{
	struct rig *r = rig_new(CONV, &by_hand, 4 << 20, 1000);
	uint64_t now = 1000;
	uint32_t sn = 1;

	send_n(r, 1, now);
	feed(r, 0, 1, now, now + 80);
	now += 1000;
	window_ms(r, &now, &sn);
	feed(r, 0, sn, 0, now + 79);
	cr_assert_eq(r->k.m.needless, LATE, "%lu", r->k.m.needless);

	now += 1000;
	window_ms(r, &now, &sn);
	feed(r, 0, sn, 0, now + 80);
	cr_assert_eq(r->k.m.needless, LATE, "%lu", r->k.m.needless);
	cr_assert_eq(r->k.m.flight, 0);
	rig_free(r);
}

/* una that jumps beyond a hole tells of ACKs that were lost: nothing was late, and the window stays. */
Test(kcp_timed, lost_acks_do_not_widen_the_window)
{
	struct rig *r = rig_new(CONV, &by_hand, 4 << 20, 1000);
	uint64_t now = 2000;
	uint32_t sn = 5;

	send_n(r, 1, 1000);
	feed(r, 0, 1, 1000, 1080);
	send_n(r, 1, now);
	send_n(r, 1, now + 1);
	send_n(r, 1, now + 50);
	send_n(r, 1, now + 51);
	feed(r, 2, 1, now + 1, now + 81); /* 1 is lost */
	for (uint64_t t = now + 81; t < now + 131; t++)
		rig_flush(r, KCP_FLUSH_FULL, t);
	feed(r, 4, 1, now + 51, now + 131); /* 3 is not, but that is never told */
	for (uint64_t t = now + 131; t < now + 170; t++)
		rig_flush(r, KCP_FLUSH_FULL, t);
	cr_assert_eq(r->cnt.FastRetransSegs, 2);
	feed(r, 0, 5, 0, now + 171);
	cr_assert_eq(r->k.m.needless, 1);
	cr_assert_eq(r->k.m.reorder_mult, 1);
	cr_assert_eq(r->k.m.flight, 0);
	now += 1000;
	cr_assert_eq(window_ms(r, &now, &sn), 9);
	rig_free(r);
}

/* ---- what leaves more than once ---- */

/* Full datagrams of PUSH in the next flushes, a ms apart. */
static unsigned pushes(struct rig *r, uint64_t from, uint64_t to)
{
	unsigned n = 0;

	for (uint64_t t = from; t < to; t++) {
		rig_flush(r, KCP_FLUSH_FULL, t);
		n += r->n_out;
	}
	return n;
}

/* Who sends little waits for each: what follows before any answer could be here does not put off the probe. */
Test(kcp_timed, a_thin_stream_waits_for_the_first)
{
	struct rig *r = rig_new(CONV, &by_hand, 4 << 20, 1000);
	uint64_t at;

	send_n(r, 1, 1000);
	feed(r, 0, 1, 1000, 1050);
	at = 2000 + r->k.rto + 5;
	send_n(r, 1, 2000);
	cr_assert_eq(pushes(r, 2001, 2050), 0);
	send_n(r, 1, 2050);
	cr_assert_eq(kcp_next(&r->k), at, "%lu", kcp_next(&r->k));
	rig_flush(r, KCP_FLUSH_FULL, at);
	cr_assert_eq(only_sn(r), 1);
	rig_free(r);
}

/* A window full of what waits for a hole: the path has room, and what fills it leaves twice; if that was in vain, three
 * times.  Otherwise once. */
Test(kcp_timed, what_fills_a_hole_leaves_again)
{
	struct rig *r = rig_new(CONV, &by_hand, 4 << 20, 1000);
	uint64_t now = 2000;

	send_n(r, 1, 1000);
	feed(r, 0, 1, 1000, 1050);
	send_n(r, 1, now);
	send_n(r, 31, now + 1);
	feed(r, 2, 1, now + 1, now + 51);
	cr_assert_eq(pushes(r, now + 51, now + 80), 1, "no window is full: once");
	for (unsigned i = 0; i < 40; i++) {
		static const uint8_t data[MTU];

		kcp_send(&r->k, &(struct slice){data, r->k.mss}, 1);
	}
	for (uint32_t sn = 3; sn <= 32; sn++)
		feed(r, sn, 1, now + 1, now + 80);
	r->k.rmt_wnd = 32;
	pushes(r, now + 80, now + 100);
	cr_assert(r->k.m.blocked);
	cr_assert_eq(pushes(r, now + 100, now + 200), 3, "in vain before: three times");
	rig_free(r);
}

/* ---- blackouts ---- */

/* The path is gone for so long: how many us after its return new bytes are read, and how much in the second behind
 * that, as a part of what the path carries. */
static void blackout(uint64_t us, uint64_t seed, uint64_t *first, double *part)
{
	struct kcp_conf conf[2] = {by_hand, by_hand};
	struct sim_conf light = {.delay_us = 50000, .rate_bps = 20000000, .queue = 250000}, dark = light;
	struct sim_conf out[2] = {light, light};
	uint64_t had, from;
	struct path p;

	conf[0].mtu = conf[1].mtu = 1350;
	conf[0].snd_wnd = conf[1].rcv_wnd = 65535;
	path_init(&p, conf, out, seed, 1000);
	p.e[0].left = PATH_ENDLESS;
	path_run(&p, 4000000 + seed * 13000);
	dark.loss = 1000;
	for (int i = 0; i < 2; i++)
		sim_link_set(p.e[i].out, &dark);
	path_run(&p, us);
	for (int i = 0; i < 2; i++)
		sim_link_set(p.e[i].out, &light);
	had = p.e[1].read;
	from = p.us;
	while (p.e[1].read == had)
		path_run(&p, 1000);
	*first = p.us - from;
	had = p.e[1].read;
	path_run(&p, 1000000);
	*part = (double)(p.e[1].read - had) * 8 / 20000000;
	path_fini(&p);
}

/*
 * The last probe before the path's return was up to 70 ms ago, or 150 where the silence is long.  Both ways were gone,
 * so that its answer, after a tick of 20 ms, tells first what of the last flight had arrived, and half a round trip
 * later there is what had not.
 */
Test(kcp_timed, back_at_once_after_a_blackout)
{
	static const struct {
		uint64_t us, probes;
	} dark[] = {{1000000, 70000}, {25000000, 150000}};

	for (unsigned i = 0; i < 2; i++)
		for (uint64_t seed = 1; seed <= SEEDS_OF(10, 3); seed++) {
			uint64_t first;
			double part;

			blackout(dark[i].us, seed, &first, &part);
			cr_expect_leq(first, dark[i].probes + 170000 + 5000,
				      "%lu us, seed %lu: the first byte %lu us after", dark[i].us, seed, first);
			cr_expect_gt(part, 0.9, "%lu us, seed %lu: %.2f of the path in the second behind it",
				     dark[i].us, seed, part);
		}
}
