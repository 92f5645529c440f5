/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "buf.h"
#include "path.h"

/* A path in virtual time does what it says, to the nanosecond where no dice are thrown, and within four sigma where
 * they are. */

TestSuite(perf_path);

#define WIRE 1250u		    /* bytes that take 100 us of 100 Mbit/s */
#define AIR  (100 * UINT64_C(1000)) /* ns */
#define R100 UINT64_C(100000000)

static struct path_conf plain(void)
{
	return (struct path_conf){.delay = 10 * PATH_MS, .queue = 1000};
}

static void send(struct path *l, uint32_t id, uint64_t now)
{
	path_send(l, &id, sizeof(id), WIRE, 0, 0, now);
}

/* The next packet that arrives, whenever that is: its number, and the time. */
static bool next(struct path *l, uint32_t *id, uint64_t *at)
{
	uint64_t t;

	while ((t = path_next(l)) != PATH_NEVER) {
		struct path_pkt *k = path_recv(l, t);

		if (!k)
			continue;
		cr_assert_eq(k->at, t);
		memcpy(id, k->data, sizeof(*id));
		*at = t;
		buf_put(k);
		return true;
	}
	return false;
}

static void expect(struct path *l, uint32_t want, uint64_t when)
{
	uint64_t at = 0;
	uint32_t id = 0;

	cr_assert(next(l, &id, &at), "packet %u does not come", want);
	cr_assert_eq(id, want, "packet %u instead of %u", id, want);
	cr_assert_eq(at, when, "packet %u at %lu instead of %lu", id, at, when);
}

static void expect_none(struct path *l)
{
	uint64_t at;
	uint32_t id;

	cr_assert(!next(l, &id, &at), "packet %u comes", id);
}

/* What went in is out, or told of. */
static void balanced(const struct path *l)
{
	const struct path_stats *s = path_stats(l);

	cr_assert_eq(s->in + s->dup, s->out + s->lost + s->queue_drops + s->policed + s->black);
}

Test(perf_path, delay)
{
	struct path_conf c = plain();
	struct path *l = path_new(&c, 1);

	for (uint32_t i = 0; i < 1000; i++)
		send(l, i, i * 7);
	path_send(l, &(uint32_t){1000}, 4, WIRE, 0, 3 * PATH_MS, 7000);
	for (uint32_t i = 0; i < 1000; i++)
		expect(l, i, i * 7 + 10 * PATH_MS);
	expect(l, 1000, 7000 + 13 * PATH_MS);
	balanced(l);
	path_free(l);
}

Test(perf_path, jitter)
{
	struct path_conf c = plain();
	struct path *l;
	uint64_t last = 0, at, turned = 0;
	double sum = 0;
	uint32_t id;

	for (int fifo = 0; fifo < 2; fifo++) {
		c.jitter = 8 * PATH_MS;
		c.fifo = fifo;
		l = path_new(&c, 2);
		for (uint32_t i = 0; i < 10000; i++)
			send(l, i, i * PATH_MS);
		for (uint32_t i = 0, most = 0; i < 10000; i++) {
			cr_assert(next(l, &id, &at));
			cr_assert_geq(at, last * (i > 0));
			last = at;
			cr_assert_geq(at, id * PATH_MS + 10 * PATH_MS);
			cr_assert_lt(at, id * PATH_MS + 18 * PATH_MS);
			turned += id < most;
			most = id > most ? id : most;
			sum += fifo ? 0 : (double)(at - id * PATH_MS - 10 * PATH_MS) / 10000;
		}
		cr_assert(fifo ? turned == 0 : turned > 3000, "%lu out of order", turned);
		turned = 0;
		balanced(l);
		path_free(l);
	}
	cr_assert_float_eq(sum / PATH_MS, 4, 4 * 8 / sqrt(12) / 100);
}

Test(perf_path, rate)
{
	struct path_conf c = plain();
	struct path *l;

	c.rate = R100;
	c.queue = 20000;
	l = path_new(&c, 1);
	for (uint32_t i = 0; i < 10000; i++)
		send(l, i, 0);
	for (uint32_t i = 0; i < 10000; i++)
		expect(l, i, (i + 1) * AIR + 10 * PATH_MS);
	/* Idle time is not saved up. */
	send(l, 1, 5 * PATH_S);
	send(l, 2, 5 * PATH_S);
	expect(l, 1, 5 * PATH_S + AIR + 10 * PATH_MS);
	expect(l, 2, 5 * PATH_S + 2 * AIR + 10 * PATH_MS);
	cr_assert_eq(path_stats(l)->fwd_bytes, 10002 * WIRE);
	cr_assert_eq(path_stats(l)->wait_most, 9999 * AIR);
	path_free(l);
}

Test(perf_path, queue)
{
	struct path_conf c = plain();
	struct path *l;

	c.rate = R100;
	c.queue = 10;
	l = path_new(&c, 1);
	for (uint32_t i = 0; i < 20; i++)
		send(l, i, 0);
	cr_assert_eq(path_stats(l)->queue_drops, 9);
	cr_assert_eq(path_queued(l, 0), 10);
	cr_assert_eq(path_wait(l, 0), 11 * AIR);
	/* A place is free with each that leaves, and not a nanosecond before. */
	send(l, 20, AIR - 1);
	cr_assert_eq(path_stats(l)->queue_drops, 10);
	send(l, 21, AIR);
	send(l, 22, AIR);
	cr_assert_eq(path_stats(l)->queue_drops, 11);
	for (uint32_t i = 0; i < 11; i++)
		expect(l, i, (i + 1) * AIR + 10 * PATH_MS);
	expect(l, 21, 12 * AIR + 10 * PATH_MS);
	expect_none(l);
	balanced(l);
	path_free(l);
}

/* "own": a short packet finds the queue full long before a long one does. */
Test(perf_path, queue_in_own_length)
{
	struct path_conf c = plain();
	struct path *l;
	uint8_t b = 0;

	c.rate = R100;
	c.queue = 10;
	c.own = true;
	l = path_new(&c, 1);
	send(l, 0, 0);
	path_send(l, &b, 1, WIRE / 10, 0, 0, 0); /* would wait 100 us, and 10 of its kind take so much */
	cr_assert_eq(path_stats(l)->queue_drops, 0);
	path_send(l, &b, 1, WIRE / 10, 0, 0, 0);
	cr_assert_eq(path_stats(l)->queue_drops, 1);
	for (uint32_t i = 0; i < 12; i++)
		send(l, i, 0);
	cr_assert_eq(path_stats(l)->queue_drops, 1 + 3);
	path_free(l);
}

Test(perf_path, policer)
{
	struct path_conf c = plain();
	struct path *l;
	uint64_t sent = 0, passed = 0;
	uint32_t id;

	c.rate = R100 / 2;
	c.bucket = 26 * WIRE;
	l = path_new(&c, 1);
	for (uint32_t i = 0; i < 100; i++)
		send(l, i, 0);
	cr_assert_eq(path_stats(l)->policed, 74, "what the bucket holds passes");
	for (uint32_t i = 0; i < 26; i++)
		expect(l, i, 10 * PATH_MS);
	expect_none(l);
	path_zero(l);
	/* Twice its rate for 10 s: the rate passes, none of it late. */
	for (uint64_t t = 1; t <= 10 * PATH_S; t += AIR, sent++)
		send(l, 0, t);
	for (uint64_t at; next(l, &id, &at); passed++)
		cr_assert_eq((at - 10 * PATH_MS) % AIR, 1);
	cr_assert_leq(passed, sent / 2);
	cr_assert_geq(passed, sent / 2 - 1, "%lu of %lu", passed, sent);
	/* However long nothing comes, the bucket is all that there is. */
	path_zero(l);
	for (uint32_t i = 0; i < 100; i++)
		send(l, i, 60 * PATH_S);
	cr_assert_eq(path_stats(l)->policed, 74);
	while (next(l, &id, &sent))
		;
	balanced(l);
	path_free(l);
}

/* What waits leaves at the new rate; what is under way is not touched. */
Test(perf_path, rate_step)
{
	struct path_conf c = plain();
	struct path *l;

	c.rate = R100;
	l = path_new(&c, 1);
	for (uint32_t i = 0; i < 5; i++)
		send(l, i, 0);
	c.rate = R100 / 5;
	c.delay = 20 * PATH_MS;
	path_set(l, &c, AIR + AIR / 2);
	expect(l, 0, AIR + 10 * PATH_MS);
	expect(l, 1, 2 * AIR + 20 * PATH_MS);
	expect(l, 2, 7 * AIR + 20 * PATH_MS);
	expect(l, 3, 12 * AIR + 20 * PATH_MS);
	c.rate = R100;
	path_set(l, &c, 25 * PATH_MS);
	expect(l, 4, 17 * AIR + 20 * PATH_MS);
	path_free(l);
}

Test(perf_path, blackout)
{
	struct path_conf c = plain();
	struct path *l;

	c.rate = R100;
	l = path_new(&c, 1);
	send(l, 0, 0);
	send(l, 1, 0);
	c.black = true;
	path_set(l, &c, 50000);
	send(l, 2, 50001);
	send(l, 3, PATH_S);
	c.black = false;
	path_set(l, &c, 2 * PATH_S);
	send(l, 4, 2 * PATH_S);
	expect(l, 0, AIR + 10 * PATH_MS);
	expect(l, 1, 2 * AIR + 10 * PATH_MS);
	expect(l, 4, 2 * PATH_S + AIR + 10 * PATH_MS);
	cr_assert_eq(path_stats(l)->black, 2);
	balanced(l);
	path_free(l);
}

#define MANY 200000u

/* Share of packets lost, and mean length of runs of them, of packets sent evenly. */
static void losses(const struct path_conf *c, double *share, double *run)
{
	struct path *l = path_new(c, 3);
	uint32_t id, at_id = 0, runs = 0, lost = 0;
	uint64_t at;

	for (uint32_t i = 0; i < MANY; i++)
		send(l, i, i * AIR);
	while (next(l, &id, &at)) {
		runs += id != at_id;
		lost += id - at_id;
		at_id = id + 1;
	}
	balanced(l);
	*share = (double)lost / MANY;
	*run = runs ? (double)lost / runs : 0;
	path_free(l);
}

Test(perf_path, loss)
{
	static const double p[] = {0.001, 0.01, 0.05, 0.2, 0.5};
	struct path_conf c = plain();
	double share, run;

	losses(&c, &share, &run);
	cr_assert_eq(share, 0);
	for (unsigned i = 0; i < 5; i++) {
		for (int early = 0; early < 2; early++) {
			c.loss = p[i];
			c.early = early;
			losses(&c, &share, &run);
			cr_assert_float_eq(share, p[i], 4 * sqrt(p[i] * (1 - p[i]) / MANY), "%f lost", share);
			cr_assert_float_eq(run, 1 / (1 - p[i]), 0.1, "runs of %f", run);
		}
	}
}

Test(perf_path, loss_in_bursts)
{
	static const double p[] = {0.01, 0.05, 0.2}, b[] = {2, 5, 20};
	struct path_conf c = plain();
	double share, run;

	for (unsigned i = 0; i < 3; i++) {
		for (unsigned k = 0; k < 3; k++) {
			double runs = MANY * p[i] / b[k];

			c.loss = p[i];
			c.burst = b[k];
			losses(&c, &share, &run);
			cr_assert_float_eq(share / p[i], 1, 6 / sqrt(runs), "%f lost of %f", share, p[i]);
			cr_assert_float_eq(run / b[k], 1, 6 / sqrt(runs), "runs of %f, not %f", run, b[k]);
		}
	}
}

/* What is lost early takes nothing of the bottleneck, what is lost late has had its time there. */
Test(perf_path, early_and_late)
{
	for (int early = 0; early < 2; early++) {
		struct path_conf c = plain();
		struct path *l;
		const struct path_stats *s;
		uint64_t at = 0;
		uint32_t id, last = 0;

		c.rate = R100;
		c.queue = 20000;
		c.loss = 0.5;
		c.early = early;
		l = path_new(&c, 4);
		s = path_stats(l);
		for (uint32_t i = 0; i < 10000; i++)
			send(l, i, 0);
		while (next(l, &id, &at))
			last = id;
		cr_assert_eq(s->fwd, early ? s->in - s->lost : s->in);
		cr_assert_eq(at, (early ? s->out : last + 1) * AIR + 10 * PATH_MS);
		balanced(l);
		path_free(l);
	}
}

Test(perf_path, twice)
{
	struct path_conf c = plain();
	struct path *l;
	uint32_t seen[10000] = {0}, id, twins = 0;
	uint64_t at;

	c.dup = 0.1;
	l = path_new(&c, 5);
	for (uint32_t i = 0; i < 10000; i++)
		send(l, i, i * AIR);
	while (next(l, &id, &at)) {
		cr_assert_eq(at, id * AIR + 10 * PATH_MS);
		seen[id]++;
	}
	for (uint32_t i = 0; i < 10000; i++) {
		cr_assert(seen[i] == 1 || seen[i] == 2);
		twins += seen[i] == 2;
	}
	cr_assert_eq(twins, path_stats(l)->dup);
	cr_assert_float_eq((double)twins, 1000, 4 * 30);
	balanced(l);
	path_free(l);
}

Test(perf_path, reordered)
{
	struct path_conf c = plain();
	struct path *l;
	uint64_t at, n = 0;
	uint32_t id;

	c.reorder = 0.1;
	c.reorder_by = 5 * PATH_MS;
	l = path_new(&c, 6);
	for (uint32_t i = 0; i < 10000; i++)
		send(l, i, i * AIR);
	while (next(l, &id, &at)) {
		uint64_t late = at - id * AIR - 10 * PATH_MS;

		cr_assert(late == 0 || late == 5 * PATH_MS);
		n += late != 0;
	}
	cr_assert_eq(n, path_stats(l)->reordered);
	cr_assert_float_eq((double)n, 1000, 4 * 30);
	path_free(l);
}

/* Everything follows from the seed, and how often anybody looks changes nothing. */
Test(perf_path, seeds)
{
	struct path_conf c = plain();
	uint64_t sum[3] = {0};

	c.rate = R100;
	c.queue = 50;
	c.loss = 0.05;
	c.burst = 3;
	c.jitter = 3 * PATH_MS;
	c.dup = c.reorder = 0.01;
	c.reorder_by = PATH_MS;
	for (unsigned k = 0; k < 3; k++) {
		struct path *l = path_new(&c, k == 2 ? 8 : 7);
		uint64_t at;
		uint32_t id;

		for (uint32_t i = 0; i < 20000; i++) {
			send(l, i, i * AIR * 9 / 10);
			if (k == 1)
				path_queued(l, i * AIR * 9 / 10 + i % 7);
		}
		while (next(l, &id, &at))
			sum[k] = sum[k] * 31 + at + id;
		balanced(l);
		path_free(l);
	}
	cr_assert_eq(sum[0], sum[1]);
	cr_assert_neq(sum[0], sum[2]);
}
