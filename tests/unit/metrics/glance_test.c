/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "glance.h"

/*
 * The second's look at two workers and two tunnels, which are played: counters are set by hand, and sessions are told
 * as tlm_sessions tells them, 32 at a time.
 */

#define WORKERS 2
#define TUNNELS 2
#define MOST	20000

static struct worker_stats stats[WORKERS];
static struct snmp snmp[WORKERS][TUNNELS];
static struct shard_row rows[WORKERS][MOST];
static unsigned n_rows[WORKERS], asked[WORKERS];
static bool silent;

static struct conf_tunnel tunnels[TUNNELS];
static struct conf conf = {.tunnels = tunnels, .n_tunnels = TUNNELS};
static struct shard *shards[WORKERS] = {(struct shard *)1, (struct shard *)2};
static struct worker *workers[WORKERS] = {(struct worker *)1, (struct worker *)2};
static struct tlm_src src = {
	.conf = &conf, .n_workers = WORKERS, .shards = shards, .workers = workers, .tsc_hz = 1000000000};
static struct glance *l;
static uint64_t now;

const struct worker_stats *worker_stats(const struct worker *w)
{
	return &stats[(uintptr_t)w - 1];
}

const struct snmp *shard_snmp(const struct shard *s, unsigned tunnel)
{
	return &snmp[(uintptr_t)s - 1][tunnel];
}

void tlm_snmp(const struct tlm_src *of, int tunnel, struct snmp *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned w = 0; w < WORKERS; w++)
		for (unsigned k = 0; k < SNMP_ALL; k++)
			((uint64_t *)out)[k] += ((const uint64_t *)&snmp[w][tunnel])[k];
}

int tlm_sessions(const struct tlm_src *of, unsigned w, uint32_t *cursor, bool *more,
		 void (*fn)(void *ctx, const struct shard_row *row), void *ctx)
{
	if (silent)
		return -ETIMEDOUT;
	for (unsigned i = 0; i < SHARD_QUERY_ROWS && *cursor < n_rows[w]; i++, asked[w]++)
		fn(ctx, &rows[w][(*cursor)++]);
	*more = *cursor < n_rows[w];
	return 0;
}

static void up(void)
{
	cr_assert_eq(glance_create(&l, &src), 0);
	now = 5000;
	glance_turn(l, now);
	cr_assert_eq(glance_seconds(l), 0, "nothing to compare with yet");
}

static void down(void)
{
	glance_destroy(l);
}

TestSuite(metrics_glance, .init = up, .fini = down);

static void turn(void)
{
	now += 1000;
	glance_turn(l, now);
}

static const struct glance_point *point(unsigned tunnel)
{
	return glance_point(l, tunnel, glance_seconds(l));
}

static struct shard_row *add(unsigned w, unsigned tunnel, unsigned srtt_ms)
{
	struct shard_row *r = &rows[w][n_rows[w]];

	*r = (struct shard_row){
		.id = ((uint64_t)w << 48) + ++n_rows[w], .tunnel = (uint16_t)tunnel, .worker = (uint16_t)w};
	r->kcp.srtt = srtt_ms;
	r->modelled = true;
	r->look.min_rtt = 1000 * (srtt_ms / 2);
	r->look.queue = 500 * srtt_ms;
	r->limited_by = "congestion";
	return r;
}

static bool near(float a, double b)
{
	return fabs((double)a - b) < 1e-3 * fabs(b) + 1e-9;
}

Test(metrics_glance, rates)
{
	turn();
	snmp[0][0].BytesSent = 3000;
	snmp[1][0].BytesSent = 1000;
	snmp[1][0].BytesReceived = 500;
	snmp[0][0].OutSegs = 100;
	snmp[0][0].RetransSegs = 5;
	snmp[0][0].FECRecovered = 7;
	snmp[0][0].CurrEstab = 3;
	now += 1000;
	turn(); /* two seconds later */
	cr_expect(near(point(0)->out, 2000) && near(point(0)->in, 250) && near(point(0)->lost, 0.05));
	cr_expect(near(point(0)->recovered, 3.5) && near(point(0)->sessions, 3));
	cr_expect(point(1)->out == 0 && point(1)->lost == 0);
	turn();
	cr_expect(point(0)->out == 0 && point(0)->sessions == 3);
}

/* Worker 0 is busy for half a second, three quarters of its datagrams are tunnel 1's; worker 1 for a tenth, all 0's. */
Test(metrics_glance, cpu_is_shared_out)
{
	turn();
	stats[0].busy_cycles = 500000000;
	stats[1].busy_cycles = 100000000;
	snmp[0][0].InPkts = 100;
	snmp[0][1].InPkts = 250;
	snmp[0][1].OutPkts = 50;
	snmp[1][0].OutPkts = 10;
	turn();
	cr_expect(near(point(0)->cpu, 0.125 + 0.1), "%f", (double)point(0)->cpu);
	cr_expect(near(point(1)->cpu, 0.375), "%f", (double)point(1)->cpu);
	cr_expect(near(glance_load(l, 0), 0.5) && near(glance_load(l, 1), 0.1));
}

Test(metrics_glance, round_trips)
{
	for (unsigned i = 1; i <= 100; i++)
		add(i % 2, 0, i);
	add(0, 1, 7)->idle_ms = GLANCE_FRESH_MS + 1;
	turn();
	cr_expect(glance_holds(l, 0));
	cr_expect(near(glance_tunnel(l, 0)->rtt[0], 0.050) && near(glance_tunnel(l, 0)->rtt[1], 0.090) &&
		  near(glance_tunnel(l, 0)->rtt[2], 0.099) && near(glance_tunnel(l, 0)->rtt[3], 0.100));
	cr_expect(near(glance_tunnel(l, 0)->queue[0], 0.025) && near(glance_tunnel(l, 0)->queue[3], 0.050));
	cr_expect(near(glance_tunnel(l, 0)->min_rtt, 0.001), "a least of 0 is none");
	cr_expect(near(point(0)->rtt, 0.050) && near(point(0)->queue, 0.025));
	cr_expect_eq(glance_tunnel(l, 0)->bound[0].n, 100);
	cr_expect_not(glance_holds(l, 1), "nobody was heard of there lately");
	cr_expect(isnan(point(1)->rtt));
	n_rows[0] = n_rows[1] = 0;
	for (unsigned i = 0; i < GLANCE_HOLD_S; i++) {
		cr_expect(glance_holds(l, 0), "%u s", i);
		turn();
	}
	turn();
	cr_expect_not(glance_holds(l, 0));
	cr_expect(isnan(point(0)->rtt));
}

/* Of many sessions a few a second, in turn; nobody else is told how many there are by how long it takes. */
Test(metrics_glance, few_are_asked)
{
	for (unsigned i = 0; i < 1000; i++)
		add(0, i / 500, 10);
	for (unsigned i = 0; i < 8; i++) {
		unsigned before = asked[0];

		turn();
		cr_expect_leq(asked[0] - before, GLANCE_FEW);
	}
	cr_expect_geq(asked[0], 1000, "once round");
	cr_expect(glance_holds(l, 0) && glance_holds(l, 1));
	glance_lock(l);
	glance_watch(l);
	glance_unlock(l);
	asked[0] = 0;
	turn();
	cr_expect_eq(asked[0], 1000, "all, and once, while somebody looks");
}

static unsigned in_table(void)
{
	unsigned at = 0, n = 0;

	while (glance_table_next(l, &at))
		n++;
	return n;
}

static const struct glance_row *row(uint64_t id)
{
	const struct glance_row *r;
	unsigned at = 0;

	while ((r = glance_table_next(l, &at)))
		if (r->id == id)
			return r;
	return NULL;
}

Test(metrics_glance, table)
{
	struct shard_row *a = add(0, 0, 10), *b = add(1, 1, 20);
	uint64_t ida = a->id, idb = b->id;

	turn();
	cr_expect_eq(in_table(), 0, "nobody looks");
	glance_watch(l);
	turn();
	cr_assert_eq(in_table(), 2);
	cr_expect(isnan(row(ida)->in) && near(row(idb)->rtt, 0.020));
	a->bytes_in = 4000;
	a->bytes_out = 100;
	a->kcp.snd_nxt = 90;
	a->look.again_fast = 10;
	turn();
	cr_expect(near(row(ida)->in, 4000) && near(row(ida)->out, 100) && near(row(ida)->lost, 0.1));
	*a = *add(0, 0, 30); /* another one in its place */
	n_rows[0] = 1;
	turn();
	cr_expect_eq(in_table(), 2);
	cr_expect_null(row(ida), "it has ended");
	for (unsigned i = 0; i <= GLANCE_WATCHED_S; i++)
		turn();
	cr_expect_eq(in_table(), 0, "nobody looks any more");
}

Test(metrics_glance, table_is_full)
{
	for (unsigned i = 0; i < MOST; i++)
		add(0, 0, 10);
	for (unsigned i = 0; i < MOST / GLANCE_MANY + 2; i++) {
		glance_watch(l);
		turn();
	}
	cr_expect_eq(in_table(), GLANCE_TABLE);
	cr_expect_eq(glance_table_missing(l), MOST - GLANCE_TABLE);
	n_rows[0] = 5;
	for (unsigned i = 0; i < 3; i++) {
		glance_watch(l);
		turn();
	}
	cr_expect_eq(in_table(), 5);
	cr_expect_eq(glance_table_missing(l), 0);
}

/* Tunnels' counters go on; what is known of sessions is held for a while. */
Test(metrics_glance, a_worker_is_silent)
{
	add(0, 0, 10);
	turn();
	silent = true;
	snmp[0][0].BytesSent = 1000;
	turn();
	cr_expect(near(point(0)->out, 1000) && near(point(0)->rtt, 0.010));
	silent = false;
}

Test(metrics_glance, minutes)
{
	for (unsigned i = 1; i <= GLANCE_POINTS + 10; i++) {
		snmp[0][0].BytesSent += i;
		turn();
	}
	cr_expect_eq(glance_seconds(l), GLANCE_POINTS + 10);
	cr_expect(near(glance_point(l, 0, 11)->out, 11) && near(point(0)->out, GLANCE_POINTS + 10));
}
