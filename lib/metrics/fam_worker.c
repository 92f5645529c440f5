/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdio.h>

#include "families.h"

#define W(type, field, name, unit, help)                                               \
	{                                                                              \
		type, "worker_" name, unit, help, offsetof(struct worker_stats, field) \
	}
static const struct family_field stats_fields[] = {
	W(OM_COUNTER, turns, "turns", NULL, "Turns of its loop."),
	W(OM_COUNTER, busy_turns, "busy_turns", NULL, "Turns that had something to do."),
	W(OM_COUNTER, sleeps, "sleeps", NULL, "Times that it slept."),
	W(OM_COUNTER, interrupts, "interrupts", NULL, "Times that a port has woken it."),
	W(OM_COUNTER, interrupts_missed, "interrupts_missed", NULL, "Times that a port should have woken it."),
	W(OM_COUNTER, rx_packets, "received_packets", NULL, "Frames that it has taken from ports."),
	W(OM_COUNTER, rx_bytes, "received_bytes", "bytes", "Bytes of those frames."),
	W(OM_COUNTER, tx_packets, "sent_packets", NULL, "Frames that it has given to ports."),
	W(OM_COUNTER, tx_bytes, "sent_bytes", "bytes", "Bytes of those frames."),
	W(OM_COUNTER, steered_in, "steered_in_packets", NULL, "Frames of its sessions that others have received."),
	W(OM_COUNTER, steered_out, "steered_out_packets", NULL, "Frames that it has received for others."),
	W(OM_COUNTER, punted, "punted_packets", NULL, "Frames that it has handed to the kernel."),
	W(OM_COUNTER, injected, "injected_packets", NULL, "Frames that it has taken from the kernel's devices."),
	W(OM_COUNTER, delivered, "delivered_packets", NULL, "Frames that a session has taken in."),
	W(OM_COUNTER, answered, "answered_packets", NULL, "Frames that became their own answers."),
	W(OM_COUNTER, rx_dropped, "dropped_packets", NULL, "Frames that were dropped as they came."),
	W(OM_COUNTER, joined, "joined_packets", NULL, "Fragments that others have completed, or that wait for them."),
	W(OM_COUNTER, cut, "sent_fragments", NULL, "IP fragments that it has sent."),
	W(OM_GAUGE, max_burst, "most_packets", NULL, "The most packets of a turn."),
};
#undef W

#define H(type, field, name, unit, help)                                              \
	{                                                                             \
		type, "worker_" name, unit, help, offsetof(struct shard_stats, field) \
	}
static const struct family_field shard_fields[] = {
	H(OM_GAUGE, sessions, "sessions", NULL, "Sessions now."),
	H(OM_GAUGE, streams, "streams", NULL, "Streams now."),
	H(OM_GAUGE, unproved, "unproved_sessions", NULL, "Sessions now whose peers have acknowledged nothing yet."),
	H(OM_GAUGE, in_doubt, "doubted_sessions", NULL, "Those of them whose conversations there have been before."),
	H(OM_COUNTER, sessions_opened, "opened_sessions", NULL, "Sessions that have begun."),
	H(OM_COUNTER, sessions_closed, "closed_sessions", NULL, "Sessions that have ended."),
	H(OM_COUNTER, streams_opened, "opened_streams", NULL, "Streams that have begun."),
	H(OM_COUNTER, streams_closed, "closed_streams", NULL, "Streams that have ended."),
	H(OM_COUNTER, moves, "moved_sessions", NULL, "Times that a session's client came from elsewhere."),
	H(OM_COUNTER, challenged, "challenges", NULL,
	  "Peers that were asked whether they receive where they send from."),
	H(OM_COUNTER, asked, "asked_sessions", NULL, "Questions to the other side whether it knows a session."),
	H(OM_COUNTER, answered, "answered_sessions", NULL, "Answers to such questions."),
	H(OM_COUNTER, given_up, "given_up_sessions", NULL, "Clients' sessions whose servers fell silent."),
	H(OM_GAUGE, held_mbufs, "held_buffers", NULL, "Packet buffers that FEC keeps."),
	H(OM_GAUGE, spilled, "spilled_bytes", "bytes", "Bytes that wait in want of chunks."),
};
#undef H

static const void *stats(const void *ctx, unsigned i)
{
	return worker_stats(((const struct tlm_src *)ctx)->workers[i]);
}

static const void *of_shard(const void *ctx, unsigned i)
{
	return shard_stats(((const struct tlm_src *)ctx)->shards[i]);
}

static void number(const void *ctx, unsigned i, char *buf, size_t n)
{
	snprintf(buf, n, "%u", i);
}

static double seconds(const struct tlm_src *src, const uint64_t *cycles)
{
	return (double)__atomic_load_n(cycles, __ATOMIC_RELAXED) / (double)src->tsc_hz;
}

static void times(struct om *o, const struct tlm_src *src)
{
	char w[16];

	om_family(o, OM_COUNTER, "worker_busy_seconds", "seconds", "Time of turns that had something to do.");
	for (unsigned i = 0; i < src->n_workers; i++) {
		number(src, i, w, sizeof(w));
		om_real(o, seconds(src, &worker_stats(src->workers[i])->busy_cycles), "worker", w, NULL);
	}
	om_family(o, OM_COUNTER, "worker_run_seconds", "seconds", "Time since its loop began.");
	for (unsigned i = 0; i < src->n_workers; i++) {
		number(src, i, w, sizeof(w));
		om_real(o, seconds(src, &worker_stats(src->workers[i])->total_cycles), "worker", w, NULL);
	}
	om_family(o, OM_COUNTER, "worker_stage_seconds", "seconds", "Time of those turns, by what they did.");
	for (unsigned i = 0; i < src->n_workers; i++) {
		number(src, i, w, sizeof(w));
		for (unsigned k = 0; k < WORKER_N_STAGES; k++)
			om_real(o, seconds(src, &worker_stats(src->workers[i])->stage[k]), "worker", w, "stage",
				worker_stage_name(k), NULL);
	}
}

/* Of the worker's buckets by powers of two, those that tell anything: what is below is in the first, above in the last.
 */
static const struct hist {
	enum worker_hists of;
	bool time;
	unsigned first, last;
	const char *name, *unit, *help;
} hists[] = {
	{WORKER_RX_TO_CHAN, true, 8, 25, "worker_receive_seconds", "seconds",
	 "From a port's burst until a packet's bytes lie where TCP takes them."},
	{WORKER_CHAN_TO_TX, true, 8, 25, "worker_send_seconds", "seconds",
	 "From when TCP's bytes are looked for until a port has the packet."},
	{WORKER_RX_WIDTH, false, 0, 9, "worker_receive_burst", NULL, "Frames of a turn."},
	{WORKER_OPEN_WIDTH, false, 0, 9, "worker_open_burst", NULL, "Datagrams that are deciphered together."},
	{WORKER_TX_WIDTH, false, 0, 9, "worker_seal_burst", NULL, "Datagrams that are enciphered together."},
};

static void hist(struct om *o, const struct tlm_src *src, const struct hist *h, unsigned worker)
{
	double limit[WORKER_BUCKETS], sum;
	uint64_t in[WORKER_BUCKETS] = {0};
	struct worker_hist now;
	char w[16];

	tlm_hist(src, (int)worker, h->of, &now);
	for (unsigned b = 0; b < WORKER_BUCKETS; b++) {
		unsigned at = b < h->first ? 0 : b > h->last ? h->last - h->first + 1 : b - h->first;

		in[at] += now.n[b];
	}
	for (unsigned b = h->first; b <= h->last + 1; b++)
		limit[b - h->first] =
			h->time ? (double)tlm_hist_below(src, h->of, b) / 1e9 : (double)(UINT64_C(1) << b) - 1;
	sum = (double)tlm_hist_sum(src, h->of, &now) / (h->time ? 1e9 : 1);
	number(src, worker, w, sizeof(w));
	om_histogram(o, "worker", w, in, limit, h->last - h->first + 2, sum);
}

static void histograms(struct om *o, const struct tlm_src *src)
{
	for (unsigned k = 0; k < sizeof(hists) / sizeof(hists[0]); k++) {
		om_family(o, OM_HISTOGRAM, hists[k].name, hists[k].unit, hists[k].help);
		for (unsigned i = 0; i < src->n_workers; i++)
			hist(o, src, &hists[k], i);
	}
}

static void memory(struct om *o, const struct tlm_src *src)
{
	char w[16];

	om_family(o, OM_GAUGE, "worker_memory_bytes", "bytes", "Memory that its sessions hold.");
	for (unsigned i = 0; i < src->n_workers; i++) {
		number(src, i, w, sizeof(w));
		om_u64(o, shard_mem_used(src->shards[i]), "worker", w, NULL);
	}
	om_family(o, OM_GAUGE, "worker_memory_limit_bytes", "bytes", "All that they may hold.");
	for (unsigned i = 0; i < src->n_workers; i++) {
		number(src, i, w, sizeof(w));
		om_u64(o, shard_mem_total(src->shards[i]), "worker", w, NULL);
	}
}

void families_workers(struct om *o, const struct tlm_src *src)
{
	struct family_things t = {"worker", src->n_workers, stats, number, src};

	families_of(o, stats_fields, sizeof(stats_fields) / sizeof(stats_fields[0]), &t);
	t.base = of_shard;
	families_of(o, shard_fields, sizeof(shard_fields) / sizeof(shard_fields[0]), &t);
	times(o, src);
	histograms(o, src);
	memory(o, src);
}
