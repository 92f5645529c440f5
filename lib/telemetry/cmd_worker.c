/* SPDX-License-Identifier: MIT */

/* /kcpgate/workers and /kcpgate/controls: the threads, and what they have to do. */

#include <stdio.h>

#include "cmd_int.h"

#define PAGE_WORKERS 8 /* of one answer: DPDK's has 16 KiB */

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
