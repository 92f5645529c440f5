/* SPDX-License-Identifier: MIT */

/*
 * The crossing between threads, both ends on one CPU: what the code costs without a cache line on its way to another
 * core.  `bytes` writes and takes 16 KiB as 12 segments' slices, beside memcpy of the same in turn; `space` is
 * control's side, where readv would write in place.  `mbox` posts and gets 64 entries; `mbox again` posts to entries
 * that are posted already, which coalesces.
 */

#include <stdio.h>

#include "bench.h"
#include "chan.h"
#include "eal.h"
#include "pkts.h"

#define BYTES  16384
#define SLICES 12
#define CHANS  64

static struct chan_pool pool;
static struct chan *chan[CHANS];
static struct mbox *box;
static struct slice parts[SLICES];
static uint8_t *from, *to;
static unsigned turn;

/* One chan at a time and the next in the next go, as a worker meets many. */
static struct chan_ring *ring(void)
{
	return &chan[turn++ % CHANS]->down;
}

static void take_all(struct chan_ring *r)
{
	struct iovec v[CHAN_IOV];
	uint32_t sum = 0;
	unsigned n = chan_peek(r, v, CHAN_IOV);

	for (unsigned i = 0; i < n; i++)
		sum += (uint32_t)v[i].iov_len;
	if (sum != BYTES)
		bench_wrong("%u bytes in a ring of %u", sum, BYTES);
	chan_done(&pool, r, sum);
}

static void bytes(void *arg)
{
	struct chan_ring *r = ring();

	(void)arg;
	chan_write(&pool, r, parts, SLICES);
	take_all(r);
	chan_trim(&pool, r);
}

static void held(void *arg)
{
	struct chan_ring *r = ring();

	(void)arg;
	chan_write(&pool, r, parts, SLICES);
	take_all(r);
}

static void bare_copy(void *arg)
{
	uint8_t *at = to + (size_t)(turn++ % CHANS) * CHAN_CHUNK;

	(void)arg;
	for (unsigned i = 0; i < SLICES; i++) {
		memcpy(at, parts[i].p, parts[i].n);
		at += parts[i].n;
	}
	bench_keep(to);
}

static void space(void *arg)
{
	struct chan_ring *r = ring();
	struct iovec v[CHAN_IOV];

	(void)arg;
	if (!chan_space(&pool, r, BYTES, v))
		bench_wrong("no chunk");
	chan_commit(&pool, r, BYTES);
	take_all(r);
	chan_trim(&pool, r);
}

static void post_get(void *arg)
{
	struct mbox_ent *e[CHANS];
	uint32_t ev[CHANS];

	(void)arg;
	for (unsigned i = 0; i < CHANS; i++)
		mbox_post(box, &chan[i]->to_ctl, CHAN_EV_DATA);
	if (mbox_get(box, e, ev, CHANS) != CHANS)
		bench_wrong("a message was lost");
}

static void post_again(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < CHANS; i++)
		mbox_post(box, &chan[i]->to_ctl, CHAN_EV_DATA);
}

static int setup(void)
{
	const unsigned each = BYTES / SLICES;
	int rc = bench_eal(256, NULL);

	if (!rc)
		rc = chan_pool_create(&pool, 4 * CHANS, 2 * CHANS, 1, -1);
	if (!rc)
		rc = mbox_create(&box, "bm", CHANS, -1);
	if (rc)
		return rc;
	for (unsigned i = 0; i < CHANS; i++)
		chan[i] = chan_alloc(&pool, 0);
	from = aligned_alloc(64, BYTES);
	to = aligned_alloc(64, CHANS * CHAN_CHUNK);
	pkts_fill(from, BYTES, 4);
	memset(to, 0, CHANS * CHAN_CHUNK);
	for (unsigned i = 0; i < SLICES; i++)
		parts[i] = (struct slice){from + (size_t)i * each, i < SLICES - 1 ? each : BYTES - each * (SLICES - 1)};
	return 0;
}

int main(int argc, char **argv)
{
	struct bench_series a, b, ratio;
	struct bench_stat t;
	struct bench_job copy = {"chan memcpy alone", bare_copy, NULL, NULL, 1, BYTES};
	struct bench_job keep = {"chan bytes, the last chunk kept", held, NULL, NULL, 1, BYTES};
	struct bench_job trim = {"chan bytes, trimmed each time", bytes, NULL, NULL, 1, BYTES};
	struct bench_job fill = {"chan space and commit, no copy", space, NULL, NULL, 1, 0};
	struct bench_job mail = {"mbox post and get", post_get, NULL, NULL, CHANS, 0};
	struct bench_job again = {"mbox post again", post_again, NULL, NULL, CHANS, 0};

	bench_begin(argc, argv, "bm_chan", "between threads, 16 KiB or a message");
	if (setup()) {
		bench_wrong("setup failed");
		return bench_end();
	}
	if (bench_wanted(copy.name) || bench_wanted(trim.name)) {
		bench_pair(&copy, &trim, &a, &b, &ratio);
		t = bench_stat(&ratio);
		bench_value("  memcpy alone / chan", t.median, "");
	}
	bench_job(&keep, &a);
	bench_job(&fill, &a);
	bench_job(&mail, &a);
	bench_job(&again, &a);
	mbox_destroy(box);
	for (unsigned i = 0; i < CHANS; i++)
		chan_free(&pool, chan[i]);
	chan_pool_destroy(&pool);
	return bench_end();
}
