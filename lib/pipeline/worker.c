/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include <rte_cycles.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>

#include "flow.h"
#include "worker_int.h"

#define DRAIN_LOOK_MS 5
#define SOME_LOOK_MS  100 /* of a tunnel's end, for which all sessions are looked at */

void worker_clock_init(struct worker_clock *c)
{
	c->hz = rte_get_tsc_hz();
	c->mult = (uint64_t)(((unsigned __int128)1000 << 64) / c->hz);
	c->mult_us = (uint64_t)(((unsigned __int128)1000000 << 64) / c->hz);
	c->base = rte_rdtsc() - c->hz; /* the clock begins at one second: 0 means "never" in places */
}

uint64_t worker_clock_ms(const struct worker_clock *c, uint64_t tsc)
{
	return (uint64_t)(((unsigned __int128)(tsc - c->base) * c->mult) >> 64);
}

uint64_t worker_clock_us(const struct worker_clock *c, uint64_t tsc)
{
	return (uint64_t)(((unsigned __int128)(tsc - c->base) * c->mult_us) >> 64);
}

static bool is_bare(const struct crypt *c)
{
	return c && !crypt_head(c) && !crypt_tail(c);
}

static int ring_up(struct worker *w)
{
	if (!w->conf.ring_next)
		return 0;
	w->ring_last = rte_zmalloc_socket("rings", w->conf.n_tunnels * sizeof(*w->ring_last), 0, w->conf.socket);
	if (!w->ring_last)
		return -ENOMEM;
	for (unsigned i = 0; i < w->conf.n_tunnels; i++)
		w->ring_last[i] = (uint16_t)i;
	return 0;
}

int worker_create(struct worker **out, const struct worker_conf *conf, const struct worker_clock *clock)
{
	size_t len = sizeof(struct worker) + conf->n_ports * sizeof(struct txq);
	struct worker *w = rte_zmalloc_socket("worker", len, RTE_CACHE_LINE_SIZE, conf->socket);
	int ret;

	if (!w)
		return -ENOMEM;
	w->conf = *conf;
	w->clock = clock;
	w->drops = shard_stats(conf->shard)->drops;
	w->n_tx = 2 * shard_out_min(conf->shard) > PL_TX ? PL_TX_LONG : PL_TX;
	for (unsigned i = 0; i < conf->n_tunnels; i++)
		w->any_bare |= is_bare(conf->crypts[i]);
	w->shut = w->down = UINT32_MAX; /* until the first snapshot says which are open */
	ret = ring_up(w);
	if (ret == 0)
		ret = frag_create(&w->frag, conf->pool, conf->socket);
	if (ret) {
		rte_free(w->ring_last);
		rte_free(w);
		return ret;
	}
	worker_idle_init(w);
	conf->mesh->worker[conf->id] = w;
	*out = w;
	return 0;
}

void worker_destroy(struct worker *w)
{
	if (!w)
		return;
	for (unsigned i = 0; i < w->conf.n_ports; i++)
		rte_pktmbuf_free_bulk(w->txq[i].m, w->txq[i].n);
	rte_pktmbuf_free_bulk(w->txm, w->n_lent);
	rte_free(w->ring_last);
	frag_destroy(w->frag);
	w->conf.mesh->worker[w->conf.id] = NULL;
	rte_free(w);
}

/* The turn's start is where a new picture of the kernel's tables is adopted, and the old one let go. */
static void turn_adopt(struct worker *w)
{
	struct border *b = w->conf.border;
	const struct net_tbl *t = atomic_load_explicit(&b->tbl, memory_order_acquire);
	uint64_t epoch = atomic_load_explicit(&b->epoch, memory_order_acquire);

	if (epoch != w->epoch) {
		w->epoch = epoch;
		atomic_store_explicit(&b->seen, epoch, memory_order_release);
	}
	if (t == w->tbl)
		return;
	w->tbl = t;
	shard_adopt(w->conf.shard, t);
	pl_ports_adopt(w, t);
	atomic_store_explicit(&w->conf.border->adopted, t->gen, memory_order_release);
}

static unsigned turn_input(struct worker *w, uint64_t tsc, uint64_t now)
{
	unsigned got = pl_rx(w), n;

	pl_fragments_lost(w, frag_expire(w->frag, tsc));
	pl_lap(w, WORKER_RX);
	if (!got)
		return 0;
	if (net_parse_burst(w->rx, w->keys, got, w->tbl, w->conf.udp))
		pl_untag(w, got);
	n = pl_punt(w, got, tsc);
	n = pl_steer(w, n);
	pl_lap(w, WORKER_PARSE);
	flow_find_burst(shard_flows(w->conf.shard), w->rx, n);
	pl_ring(w, n);
	if (unlikely(pl_capture(w)))
		pl_copy_frames(w, n);
	pl_answered(w, n);
	pl_too_big(w, n, now);
	shard_screen(w->conf.shard, w->rx, n);
	shard_mark(w->conf.shard, w->rx, n);
	pl_lap(w, WORKER_FIND);
	if (n)
		pl_hist(w, WORKER_OPEN_WIDTH, n, 1);
	crypt_open_burst(w->conf.mb, w->rx, n);
	crypt_reflected(w->conf.mb, w->rx, n);
	if (unlikely(pl_capture(w)))
		pl_copy_opened(w, n);
	pl_lap(w, WORKER_OPEN);
	shard_input(w->conf.shard, w->rx, n, now);
	pl_free(w, n);
	pl_lap(w, WORKER_INPUT);
	pl_hist(w, WORKER_RX_WIDTH, got, 1);
	if (n)
		pl_hist(w, WORKER_RX_TO_CHAN, w->lap - w->began, n);
	return got;
}

static unsigned turn_output(struct worker *w, uint64_t now)
{
	unsigned total = pl_inject(w), sent = 0;

	pl_knock(w, now);
	pl_drain(w);
	pl_lap(w, WORKER_SEND);
	while (sent < PL_TURN) {
		unsigned max, n;

		/* Before one knows what is ready: those whose port takes again are, too. */
		shard_hold(w->conf.shard, pl_tx_full(w));
		if (!shard_ready(w->conf.shard))
			break;
		max = pl_txbuf(w);
		if (max < shard_out_min(w->conf.shard)) {
			pl_count(w, DROP_NO_MBUF, 1);
			break;
		}
		n = shard_output(w->conf.shard, w->tx, max, now);
		pl_lap(w, WORKER_OUTPUT);
		if (n == 0)
			break;
		if (unlikely(pl_capture(w)))
			pl_copy_unsealed(w, w->tx, n);
		crypt_seal_burst(w->conf.mb, w->tx, n);
		shard_sent(w->conf.shard, w->tx, n, now);
		pl_lap(w, WORKER_SEAL);
		pl_send(w, n, now);
		pl_lap(w, WORKER_SEND);
		pl_hist(w, WORKER_TX_WIDTH, n, 1);
		pl_hist(w, WORKER_CHAN_TO_TX, w->lap - w->pulled, n);
		sent += n;
	}
	return total + sent;
}

/* Turns that found nothing are not counted: the stages then add up to busy_cycles. */
static void turn_account(struct worker *w)
{
	for (unsigned i = 0; i < WORKER_N_STAGES; i++)
		w->stats.stage[i] += w->in_turn[i];
}

unsigned worker_turn(struct worker *w, uint64_t tsc)
{
	uint64_t now = worker_clock_ms(w->clock, tsc);
	unsigned work;

	w->now = now;
	w->began = w->lap = rte_rdtsc();
	memset(w->in_turn, 0, sizeof(w->in_turn));
	shard_clock(w->conf.shard, worker_clock_us(w->clock, tsc));
	turn_adopt(w);
	pl_copy_begin(w);
	work = turn_input(w, tsc, now);
	w->pulled = w->lap;
	work += shard_pull(w->conf.shard, now);
	pl_lap(w, WORKER_PULL);
	shard_tick(w->conf.shard, now);
	pl_lap(w, WORKER_TICK);
	work += turn_output(w, now);
	shard_reap(w->conf.shard);
	if (work)
		turn_account(w);
	return work;
}

static void aside_close(struct worker *w, uint64_t now)
{
	if (!w->closing)
		shard_unsent(w->conf.shard, &w->unsent);
	w->closing = true;
	shard_close_all(w->conf.shard, now);
	atomic_store(&w->closed, shard_drained(w->conf.shard));
}

static void aside_drain(struct worker *w, uint64_t now)
{
	if (now < w->drain_look)
		return;
	w->drain_look = now + DRAIN_LOOK_MS;
	shard_drain(w->conf.shard);
	atomic_store(&w->drained, shard_sent_all(w->conf.shard));
}

static void aside_drain_some(struct worker *w, uint64_t now)
{
	if (now < w->drain_some_look)
		return;
	w->drain_some_look = now + SOME_LOOK_MS;
	shard_drain_tunnels(w->conf.shard, now);
}

static void aside_attach(struct worker *w, const struct crypt *c)
{
	w->attach_ret = crypt_mb_attach(w->conf.mb, c);
	w->any_bare |= is_bare(c);
	atomic_store_explicit(&w->attach, NULL, memory_order_release);
}

/* What happens once, or seldom: kept out of the turn. */
static void worker_aside(struct worker *w, uint64_t tsc)
{
	uint64_t now = worker_clock_ms(w->clock, tsc);

	const struct crypt *attach = atomic_load_explicit(&w->attach, memory_order_acquire);

	shard_answer(w->conf.shard, now);
	if (attach)
		aside_attach(w, attach);
	if (atomic_load_explicit(&w->close, memory_order_relaxed))
		aside_close(w, now);
	else if (atomic_load_explicit(&w->drain, memory_order_relaxed))
		aside_drain(w, now);
	else if (atomic_load_explicit(&w->drain_some, memory_order_relaxed))
		aside_drain_some(w, now);
}

int worker_main(void *arg)
{
	struct worker *w = arg;
	const uint64_t begin = rte_rdtsc();
	uint64_t tsc = begin, busy = begin;

	prctl(PR_SET_TIMERSLACK, 1000); /* sleeps of 50 us must not become 100 */
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
		unsigned work = worker_turn(w, tsc);
		uint64_t end = rte_rdtsc(), meant;

		worker_kick(w);
		worker_bells(w);
		worker_aside(w, tsc);
		w->stats.turns++;
		w->stats.total_cycles = end - begin;
		if (work) {
			w->stats.busy_turns++;
			w->stats.busy_cycles += end - tsc;
			busy = end;
		}
		meant = worker_idle(w, work, busy, end) * (w->clock->hz / 1000000);
		worker_load(w, work, end - tsc, rte_rdtsc() - end, meant);
		tsc = rte_rdtsc();
	}
	return 0;
}

void worker_stop(struct worker *w)
{
	atomic_store(&w->stop, true);
}

void worker_drain(struct worker *w)
{
	atomic_store(&w->drain, true);
}

void worker_attach(struct worker *w, const struct crypt *c)
{
	atomic_store_explicit(&w->attach, c, memory_order_release);
}

bool worker_attached(const struct worker *w, int *ret)
{
	if (atomic_load_explicit(&w->attach, memory_order_acquire))
		return false;
	*ret = w->attach_ret;
	return true;
}

void worker_drain_some(struct worker *w)
{
	atomic_store(&w->drain_some, true);
}

bool worker_drained(const struct worker *w)
{
	return atomic_load(&w->drained);
}

const struct shard_unsent *worker_unsent(const struct worker *w)
{
	return &w->unsent;
}

void worker_close(struct worker *w)
{
	atomic_store(&w->close, true);
}

bool worker_closed(const struct worker *w)
{
	return atomic_load(&w->closed);
}

const char *worker_stage_name(enum worker_stage s)
{
	static const char *const names[] = {
#define X(name, str) #str,
		WORKER_STAGES(X)
#undef X
	};

	return s < WORKER_N_STAGES ? names[s] : "?";
}

const char *worker_hist_name(enum worker_hists h)
{
	static const char *const names[] = {
#define X(name, str) #str,
		WORKER_HISTS(X)
#undef X
	};

	return h < WORKER_N_HISTS ? names[h] : "?";
}

const struct worker_stats *worker_stats(const struct worker *w)
{
	return &w->stats;
}

unsigned worker_lent(const struct worker *w)
{
	return __atomic_load_n(&w->n_lent, __ATOMIC_RELAXED);
}
