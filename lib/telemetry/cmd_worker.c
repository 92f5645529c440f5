/* SPDX-License-Identifier: MIT */

/* /kcpgate/workers and /kcpgate/controls: the threads, and what they have to do. */

#include <stdio.h>
#include <string.h>

#include "cmd_int.h"

#define PAGE_WORKERS 7 /* of one answer: DPDK's has 16 KiB */

static struct rte_tel_data *dict_of_worker(const struct tlm_src *src, unsigned i)
{
	const struct worker_stats *s = worker_stats(src->workers[i]);
	const struct shard_stats *h = shard_stats(src->shards[i]);
	uint64_t packets = s->rx_packets + s->tx_packets + s->steered_in;
	struct rte_tel_data *d = rte_tel_data_alloc();
	char name[32];

	if (!d)
		return NULL;
	rte_tel_data_start_dict(d);
	dict_u64(d, "sessions", h->sessions);
	dict_u64(d, "streams", h->streams);
	dict_u64(d, "turns", s->turns);
	dict_u64(d, "busy_turns", s->busy_turns);
	dict_u64(d, "tsc_hz", src->tsc_hz);
	dict_u64(d, "busy_cycles", s->busy_cycles);
	dict_u64(d, "total_cycles", s->total_cycles);
	dict_u64(d, "cycles_per_packet", packets ? s->busy_cycles / packets : 0);
	for (unsigned k = 0; k < WORKER_N_STAGES; k++) {
		snprintf(name, sizeof(name), "cycles_%s", worker_stage_name(k));
		dict_u64(d, name, s->stage[k]);
	}
	dict_u64(d, "sleeps", s->sleeps);
	dict_u64(d, "interrupts", s->interrupts);
	dict_u64(d, "interrupts_missed", s->interrupts_missed);
	dict_u64(d, "rx_packets", s->rx_packets);
	dict_u64(d, "rx_bytes", s->rx_bytes);
	dict_u64(d, "tx_packets", s->tx_packets);
	dict_u64(d, "tx_bytes", s->tx_bytes);
	dict_u64(d, "steered_in", s->steered_in);
	dict_u64(d, "steered_out", s->steered_out);
	dict_u64(d, "punted", s->punted);
	dict_u64(d, "delivered", s->delivered);
	dict_u64(d, "answered", s->answered);
	dict_u64(d, "rx_dropped", s->rx_dropped);
	dict_u64(d, "fragments_joined", s->joined);
	dict_u64(d, "injected", s->injected);
	dict_u64(d, "fragments_sent", s->cut);
	dict_u64(d, "exception_segmented", s->segmented);
	dict_u64(d, "max_burst", s->max_burst);
	dict_u64(d, "memory_used", shard_mem_used(src->shards[i]));
	dict_u64(d, "held_mbufs", h->held_mbufs);
	dict_u64(d, "ready_mbufs", worker_lent(src->workers[i]));
	dict_u64(d, "spilled_bytes", h->spilled);
	dict_u64(d, "asked", h->asked);
	dict_u64(d, "answered", h->answered);
	dict_u64(d, "challenged", h->challenged);
	dict_u64(d, "moves", h->moves);
	dict_u64(d, "given_up", h->given_up);
	dict_u64(d, "notes_lost", src->borders[i]->notes_lost);
	return d;
}

/* "[,FROM]": a page at a time; `next`, where there is more, is what to ask with. */
int tlm_cmd_workers(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	const char *at = params;
	uint64_t from = 0;
	char name[16];
	unsigned i;

	if (at && *at == ',')
		at++;
	if (at && *at && (!tlm_number(&at, '\0', &from) || from >= src->n_workers))
		return tlm_sorry(d, "found %s; allowed: a comma and what `next` was", params);
	rte_tel_data_start_dict(d);
	for (i = (unsigned)from; i < src->n_workers && i < from + PAGE_WORKERS; i++) {
		snprintf(name, sizeof(name), "%u", i);
		tlm_row(d, name, dict_of_worker(src, i));
	}
	if (i < src->n_workers) {
		snprintf(name, sizeof(name), "%u", i);
		rte_tel_data_add_dict_string(d, "next", name);
	}
	return 0;
}

static struct rte_tel_data *dict_of_control(const struct ctl_stats *c)
{
	struct rte_tel_data *d = rte_tel_data_alloc();

	if (!d)
		return NULL;
	rte_tel_data_start_dict(d);
	dict_u64(d, "streams", c->streams);
	dict_u64(d, "tcp_in_bytes", c->tcp_in_bytes);
	dict_u64(d, "tcp_out_bytes", c->tcp_out_bytes);
	dict_u64(d, "dialled", c->dialled);
	dict_u64(d, "dials", c->dials);
	dict_u64(d, "dials_waiting", c->dials_waiting);
	dict_u64(d, "lingering", c->lingering);
	dict_u64(d, "turns", c->turns);
	dict_u64(d, "busy_us", c->busy_ns / 1000);
	dict_u64(d, "total_us", c->total_ns / 1000);
	return d;
}

int tlm_cmd_controls(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	const struct ctl *c;
	char name[16];

	(void)params;
	rte_tel_data_start_dict(d);
	for (unsigned k = 0; (c = ctl_instance(src->ctl, k)); k++) {
		snprintf(name, sizeof(name), "%u", k);
		tlm_row(d, name, dict_of_control(ctl_stats(c)));
	}
	return 0;
}

/* ---- histograms ---- */

static bool is_time(enum worker_hists h)
{
	return h == WORKER_RX_TO_CHAN || h == WORKER_CHAN_TO_TX;
}

/* Cycles as ns; widths as they are. */
static uint64_t unit(const struct tlm_src *src, enum worker_hists h, uint64_t v)
{
	return is_time(h) ? (uint64_t)((unsigned __int128)v * 1000000000 / src->tsc_hz) : v;
}

void tlm_hist(const struct tlm_src *src, int worker, enum worker_hists h, struct worker_hist *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned w = 0; w < src->n_workers; w++) {
		const struct worker_hist *one = &worker_stats(src->workers[w])->hist[h];

		if (worker >= 0 && w != (unsigned)worker)
			continue;
		for (unsigned b = 0; b < WORKER_BUCKETS; b++)
			out->n[b] += __atomic_load_n(&one->n[b], __ATOMIC_RELAXED);
		out->sum += __atomic_load_n(&one->sum, __ATOMIC_RELAXED);
	}
}

uint64_t tlm_hist_below(const struct tlm_src *src, enum worker_hists h, unsigned bucket)
{
	return bucket + 1 < WORKER_BUCKETS ? unit(src, h, UINT64_C(1) << bucket) : UINT64_MAX;
}

uint64_t tlm_hist_sum(const struct tlm_src *src, enum worker_hists h, const struct worker_hist *from)
{
	return unit(src, h, from->sum);
}

/* Buckets that hold anything, by what all of them are below. */
static struct rte_tel_data *hist_dict(const struct tlm_src *src, int worker, enum worker_hists h)
{
	struct rte_tel_data *d = rte_tel_data_alloc();
	struct worker_hist sum;
	uint64_t all = 0;
	char name[32];

	if (!d)
		return NULL;
	tlm_hist(src, worker, h, &sum);
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "unit", is_time(h) ? "ns" : "packets");
	for (unsigned b = 0; b < WORKER_BUCKETS; b++) {
		all += sum.n[b];
		if (!sum.n[b])
			continue;
		snprintf(name, sizeof(name), "below_%llu", (unsigned long long)tlm_hist_below(src, h, b));
		dict_u64(d, name, sum.n[b]);
	}
	dict_u64(d, "count", all);
	dict_u64(d, "sum", tlm_hist_sum(src, h, &sum));
	return d;
}

/* "[WORKER]": of one, or of all together. */
int tlm_cmd_histograms(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	const char *at = params;
	uint64_t worker = 0;
	bool one = at && *at;

	if (one && (!tlm_number(&at, '\0', &worker) || worker >= src->n_workers))
		return tlm_sorry(d, "found %s; allowed: the number of a worker, or nothing", params);
	rte_tel_data_start_dict(d);
	for (enum worker_hists h = 0; h < WORKER_N_HISTS; h++)
		tlm_row(d, worker_hist_name(h), hist_dict(src, one ? (int)worker : -1, h));
	return 0;
}
