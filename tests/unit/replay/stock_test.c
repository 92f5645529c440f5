/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "../util/rnd.h"
#include "receiver.h"
#include "roam.h"
#include "sess.h"

#define MAX_PACKETS 64
#define MAX_GROUPS  16

/* What each capture holds besides the application's bytes. */
struct what {
	char name[40];
	unsigned garbage[WAYS]; /* datagrams of random bytes: the NAT keepalive of 2016 */
	unsigned fins[WAYS];	/* FINs recorded before the capture ends */
};

static struct what captures[] = {
	{"aes_fec_snappy_smux1", {0, 0}, {1, 1}},
	{"none_nofec_nocomp_smux2", {0, 0}, {1, 1}},
	{"aes128gcm_fec_snappy_smux2", {0, 0}, {1, 1}},
	{"null_nofec_nocomp_smux2_qpp", {0, 0}, {1, 1}},
	{"v2021_defaults", {0, 0}, {1, 1}},
	{"v2016_defaults", {1, 2}, {1, 1}},
};

#define N_CAPTURES (sizeof(captures) / sizeof(captures[0]))

/* A direction of a capture, and in which order its packets arrive, some perhaps more than once, some never. */
struct run {
	struct capture cap;
	enum way way;
	struct inner in[MAX_PACKETS];
	unsigned order[2 * MAX_PACKETS];
	unsigned n;
};

static void run_up(struct run *u, const struct what *w, enum way way)
{
	struct receiver r;

	memset(u, 0, sizeof(*u));
	capture_load(&u->cap, w->name);
	u->way = way;
	cr_assert_leq(u->cap.n, MAX_PACKETS);
	receiver_up(&r, &u->cap, way, false);
	for (unsigned i = 0; i < u->cap.n; i++) {
		if (u->cap.v[i].way != way)
			continue;
		u->in[i] = receiver_look(&r, &u->cap.v[i]);
		u->order[u->n++] = i;
	}
	receiver_down(&r);
}

static void run_down(struct run *u)
{
	capture_free(&u->cap);
}

/* Feeds the packets in `order`.  Time does not run backward where the order does. */
static void run_feed(const struct run *u, struct receiver *r)
{
	uint64_t ms = 0;

	for (unsigned i = 0; i < u->n; i++) {
		const struct cap_pkt *p = &u->cap.v[u->order[i]];

		if (p->ms > ms)
			ms = p->ms;
		receiver_feed(r, p->p, p->n, ms);
	}
}

static bool run_completes(const struct run *u, struct snmp *cnt)
{
	struct receiver r;
	bool whole;

	receiver_up(&r, &u->cap, u->way, false);
	run_feed(u, &r);
	cr_assert_eq(r.errors, 0, "%u errors", r.errors);
	whole = receiver_complete(&r);
	if (cnt)
		*cnt = r.cnt;
	receiver_down(&r);
	return whole;
}

static void drop_at(struct run *u, unsigned at)
{
	memmove(u->order + at, u->order + at + 1, (--u->n - at) * sizeof(u->order[0]));
}

/* Moves every packet by less than `span` places. */
static void reorder(struct run *u, unsigned span, uint64_t *seed)
{
	for (unsigned i = 0; i + 1 < u->n; i++) {
		unsigned left = u->n - i < span ? u->n - i : span, j = i + (unsigned)(rnd_next(seed) % left);
		unsigned x = u->order[j];

		memmove(u->order + i + 1, u->order + i, (j - i) * sizeof(u->order[0]));
		u->order[i] = x;
	}
}

/* Loses each data packet whose place in the direction is phase mod `every`, as long as its group can be rebuilt. */
static unsigned lose(struct run *u, unsigned every, unsigned phase)
{
	unsigned group = u->cap.ds + u->cap.ps, have[MAX_GROUPS] = {0}, lost = 0, kept = 0;

	for (unsigned i = 0; i < u->n; i++) {
		cr_assert_lt(u->in[u->order[i]].seqid / group, MAX_GROUPS);
		if (u->in[u->order[i]].fec)
			have[u->in[u->order[i]].seqid / group]++;
	}
	for (unsigned i = 0; i < u->n; i++) {
		const struct inner *in = &u->in[u->order[i]];

		if (i % every == phase && in->fec && !in->parity && have[in->seqid / group] > u->cap.ds) {
			have[in->seqid / group]--;
			lost++;
		} else {
			u->order[kept++] = u->order[i];
		}
	}
	u->n = kept;
	return lost;
}

ParameterizedTestParameters(replay, as_recorded)
{
	return cr_make_param_array(struct what, captures, N_CAPTURES);
}

/* Every packet of both directions, in order of time: the application's bytes, and nothing that a room complains of. */
ParameterizedTest(struct what *w, replay, as_recorded)
{
	for (unsigned i = 0; i < 2 * WAYS; i++) {
		enum way way = i % 2 ? S2C : C2S;
		struct receiver r;
		struct run u;

		run_up(&u, w, way);
		receiver_up(&r, &u.cap, way, i / 2);
		run_feed(&u, &r);
		cr_assert(receiver_complete(&r), "%s: %zu bytes of %zu", w->name, r.app_n, u.cap.app_n[way]);
		cr_assert_eq(r.errors, 0, "%s: %u errors", w->name, r.errors);
		cr_assert_eq(r.bad, w->garbage[way], "%s: %u refused", w->name, r.bad);
		cr_assert_eq(r.streams, way == C2S);
		cr_assert_eq(r.fins, w->fins[way], "%s: %u FINs", w->name, r.fins);
		cr_assert_eq(r.cnt.KCPInErrors + r.cnt.FECErrs + r.cnt.FECRecovered + r.cnt.RepeatSegs, 0);
		receiver_down(&r);
		run_down(&u);
	}
}

ParameterizedTestParameters(replay, again_and_out_of_order)
{
	return cr_make_param_array(struct what, captures, N_CAPTURES);
}

/* Twice each, and moved about: nothing may be delivered twice or out of order. */
ParameterizedTest(struct what *w, replay, again_and_out_of_order)
{
	uint64_t seed = 20161122;

	for (unsigned turn = 0; turn < 40; turn++) {
		struct snmp cnt;
		struct run u;

		run_up(&u, w, turn % 2 ? S2C : C2S);
		memcpy(u.order + u.n, u.order, u.n * sizeof(u.order[0]));
		u.n *= 2;
		reorder(&u, turn < 20 ? u.n : 6, &seed);
		cr_assert(run_completes(&u, &cnt), "%s, turn %u", w->name, turn);
		cr_assert_gt(cnt.RepeatSegs, 0);
		run_down(&u);
	}
}

/* The captures whose name does not have `word` in it. */
static struct what *those_without(const char *word, size_t *n)
{
	static struct what v[N_CAPTURES];

	*n = 0;
	for (size_t i = 0; i < N_CAPTURES; i++)
		if (!strstr(captures[i].name, word))
			v[(*n)++] = captures[i];
	return v;
}

ParameterizedTestParameters(replay, lost_and_rebuilt)
{
	size_t n;
	struct what *v = those_without("nofec", &n);

	return cr_make_param_array(struct what, v, n);
}

/* Every n-th data packet is lost where there is parity for it, all phases: each must come back through the code. */
ParameterizedTest(struct what *w, replay, lost_and_rebuilt)
{
	unsigned total = 0;

	for (unsigned every = 2; every < 14; every++) {
		for (unsigned phase = 0; phase < every; phase++) {
			for (unsigned way = 0; way < WAYS; way++) {
				struct snmp cnt;
				struct run u;
				unsigned lost;

				run_up(&u, w, way);
				lost = lose(&u, every, phase);
				cr_assert(run_completes(&u, &cnt), "%s: 1 of %u, phase %u, way %u", w->name, every,
					  phase, way);
				cr_assert_eq(cnt.FECRecovered, lost, "%lu rebuilt of %u lost",
					     (unsigned long)cnt.FECRecovered, lost);
				cr_assert_eq(cnt.FECErrs, 0);
				total += lost;
				run_down(&u);
			}
		}
	}
	cr_assert_gt(total, 20, "%s: %u lost in all", w->name, total);
}

ParameterizedTestParameters(replay, lost_doubled_and_out_of_order)
{
	size_t n;
	struct what *v = those_without("nofec", &n);

	return cr_make_param_array(struct what, v, n);
}

/* All at once.  Packets move by less than a group or so: the decoder gives up what lies further behind. */
ParameterizedTest(struct what *w, replay, lost_doubled_and_out_of_order)
{
	uint64_t seed = 1913;
	unsigned total = 0;

	for (unsigned turn = 0; turn < 60; turn++) {
		struct snmp cnt;
		struct run u;
		unsigned lost;

		run_up(&u, w, turn % 2 ? S2C : C2S);
		lost = lose(&u, 2 + turn % 5, 0);
		for (unsigned i = 0; i < 3; i++)
			u.order[u.n + i] = u.order[rnd_next(&seed) % u.n];
		u.n += 3;
		reorder(&u, u.cap.ds, &seed);
		cr_assert(run_completes(&u, &cnt), "%s, turn %u: %u lost", w->name, turn, lost);
		cr_assert_geq(cnt.FECRecovered, lost);
		total += lost;
		run_down(&u);
	}
	cr_assert_gt(total, 20, "%s: %u lost in all", w->name, total);
}

ParameterizedTestParameters(replay, lost_for_good)
{
	return cr_make_param_array(struct what, captures, N_CAPTURES);
}

/* The bed itself: without its parity, a lost segment ends the stream where it was. */
ParameterizedTest(struct what *w, replay, lost_for_good)
{
	for (unsigned way = 0; way < WAYS; way++) {
		unsigned pushes = 0;
		struct run u;

		run_up(&u, w, way);
		for (unsigned i = 0; i < u.n;) {
			const struct inner *in = &u.in[u.order[i]];

			if (in->parity || (in->push && pushes++ == 2))
				drop_at(&u, i);
			else
				i++;
		}
		cr_assert(!run_completes(&u, NULL), "%s, way %u: nothing was missed", w->name, way);
		run_down(&u);
	}
}

ParameterizedTestParameters(replay, first_datagrams_begin_a_session)
{
	return cr_make_param_array(struct what, captures, N_CAPTURES);
}

/*
 * A server's screen for first datagrams (session/begin.c) takes all data that a client sends before it has heard
 * anything, the very first of it above all; and nothing from then on that bears an acknowledgement of what it heard.
 */
ParameterizedTest(struct what *w, replay, first_datagrams_begin_a_session)
{
	unsigned first = 0, later = 0;
	bool heard = false;
	struct receiver r;
	struct run u;

	run_up(&u, w, C2S);
	receiver_up(&r, &u.cap, C2S, false);
	for (size_t i = 0; i < u.cap.n; i++) {
		struct cap_pkt *p = &u.cap.v[i];
		uint8_t buf[2048];
		struct pkt k = {.p = buf, .n = (uint16_t)p->n, .crypt = r.crypt};
		struct begin b;
		uint32_t sn;

		if (p->way == S2C) {
			heard = true;
			continue;
		}
		memcpy(buf, p->p, p->n);
		crypt_open_burst(r.mb, &k, 1);
		b = begin_look(&k);
		if (k.verdict != VERDICT_OK || !b.known)
			continue;
		sn = begin_sn(&k, &b);
		cr_assert(first || sn == 0, "%s: the first datagram begins no session", w->name);
		if (heard)
			later += sn == UINT32_MAX;
		else
			first += sn < 32;
		cr_assert(heard || sn < 32, "%s: packet %zu", w->name, i);
	}
	cr_assert_gt(first, 0);
	cr_assert_gt(later, 0, "%s", w->name);
	receiver_down(&r);
	run_down(&u);
}

ParameterizedTestParameters(replay, one_bit)
{
	size_t n;
	struct what *v = those_without("null", &n);

	return cr_make_param_array(struct what, v, n);
}

/* Any one wrong bit behind the nonce makes a datagram a refused one, whatever the generation. */
ParameterizedTest(struct what *w, replay, one_bit)
{
	uint64_t seed = 3;

	for (unsigned way = 0; way < WAYS; way++) {
		struct receiver r;
		struct run u;

		run_up(&u, w, way);
		receiver_up(&r, &u.cap, way, false);
		for (unsigned i = 0; i < u.n; i++) {
			struct cap_pkt *p = &u.cap.v[u.order[i]];
			unsigned bit = 16 * 8 + (unsigned)(rnd_next(&seed) % (8 * (p->n - 16)));

			p->p[bit / 8] ^= (uint8_t)(1 << bit % 8);
			receiver_feed(&r, p->p, p->n, p->ms);
		}
		cr_assert_eq(r.bad, u.n);
		cr_assert_eq(r.app_n, 0);
		receiver_down(&r);
		run_down(&u);
	}
}
