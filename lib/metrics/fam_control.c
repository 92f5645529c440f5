/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdio.h>

#include <rte_mempool.h>

#include "families.h"
#include "origin.h"

#define F(type, field, name, unit, help)                                  \
	{                                                                 \
		type, name, unit, help, offsetof(struct ctl_stats, field) \
	}
static const struct family_field fields[] = {
	F(OM_COUNTER, accepted, "accepted_connections", NULL, "TCP connections that clients' tunnels have accepted."),
	F(OM_COUNTER, dialled, "dialled_connections", NULL, "TCP connections to targets that came to stand."),
	F(OM_COUNTER, dial_failed, "failed_dials", NULL, "Those that did not."),
	F(OM_COUNTER, dial_timeouts, "timed_out_dials", NULL, "Those of them that nobody answered."),
	F(OM_COUNTER, dial_refused, "refused_dials", NULL, "Streams for which too many dials waited."),
	F(OM_GAUGE, streams, "connections", NULL, "TCP connections now."),
	F(OM_COUNTER, tcp_in_bytes, "tcp_received_bytes", "bytes", "Bytes that were read from TCP."),
	F(OM_COUNTER, tcp_out_bytes, "tcp_sent_bytes", "bytes", "Bytes that were written to TCP."),
	F(OM_COUNTER, sessions_dialled, "dialled_session_slots", NULL, "Sessions of clients that were given a port."),
	F(OM_COUNTER, sessions_failed, "failed_session_slots", NULL, "Those that could not be."),
	F(OM_COUNTER, accept_paused, "accept_pauses", NULL,
	  "Times that a listener had to wait for descriptors or streams."),
	F(OM_COUNTER, no_chunk, "reading_starved", NULL, "Times that reading from TCP had to wait for chunks."),
	F(OM_COUNTER, evicted, "evicted_connections", NULL,
	  "Connections reset because others wanted what they did not take."),
	F(OM_GAUGE, lingering, "lingering_connections", NULL,
	  "Connections whose last bytes the kernel still delivers."),
	F(OM_COUNTER, linger_cut, "cut_connections", NULL, "Those of them that were reset, since there were too many."),
	F(OM_COUNTER, punted, "kernel_sent_frames", NULL, "Frames that were handed to the kernel."),
	F(OM_COUNTER, injected, "kernel_received_frames", NULL, "Frames that came from the kernel."),
	F(OM_COUNTER, punt_errors, "kernel_refused_frames", NULL, "Frames that the kernel would not have."),
	F(OM_COUNTER, ports_closed, "closed_ports", NULL, "Times that a port's interface went."),
	F(OM_COUNTER, ports_opened, "opened_ports", NULL, "Times that one came back."),
	F(OM_COUNTER, snapshots, "route_snapshots", NULL,
	  "Snapshots of routes and neighbours that were given to workers."),
	F(OM_GAUGE, routes, "routes", NULL, "Routes in the mirror."),
	F(OM_GAUGE, rules, "ignored_rules", NULL, "Rules of policy routing that are not followed."),
};
#undef F

static const void *sum(const void *ctx, unsigned i)
{
	return ctx;
}

static void loads(struct om *o, const struct tlm_src *src)
{
	const struct ctl *c;
	char k[16];

	om_family(o, OM_COUNTER, "control_busy_seconds", "seconds", "Time of the turns of a control lcore.");
	for (unsigned i = 0; (c = ctl_instance(src->ctl, i)); i++) {
		snprintf(k, sizeof(k), "%u", i);
		om_real(o, (double)ctl_stats(c)->busy_ns / 1e9, "control", k, NULL);
	}
	om_family(o, OM_COUNTER, "control_run_seconds", "seconds", "Time since the first of them.");
	for (unsigned i = 0; (c = ctl_instance(src->ctl, i)); i++) {
		snprintf(k, sizeof(k), "%u", i);
		om_real(o, (double)ctl_stats(c)->total_ns / 1e9, "control", k, NULL);
	}
}

void families_control(struct om *o, const struct tlm_src *src)
{
	struct family_things t = {.n = 1, .base = sum};
	struct ctl_stats all;

	ctl_stats_all(src->ctl, &all);
	t.ctx = &all;
	families_of(o, fields, sizeof(fields) / sizeof(fields[0]), &t);
	loads(o, src);
}

/* ---- limits ---- */

struct limit {
	const char *name;
	uint64_t used, limit; /* limit 0: none */
};

#define LIMITS 8

static unsigned limits(const struct tlm_src *src, struct limit v[LIMITS])
{
	uint64_t most = 0, mbufs = 0, free = 0;
	struct origins_look l;
	struct ctl_stats c;
	unsigned n = 0;

	for (unsigned w = 0; w < src->n_workers; w++)
		if (shard_stats(src->shards[w])->sessions > most)
			most = shard_stats(src->shards[w])->sessions;
	for (unsigned i = 0; i < src->n_pools; i++) {
		free += rte_mempool_avail_count(src->pools[i]);
		mbufs += src->pools[i]->size;
	}
	ctl_stats_all(src->ctl, &c);
	v[n++] = (struct limit){"worker_sessions", most, src->conf->max_sessions};
	v[n++] = (struct limit){"dials", c.dials, c.dials_limit};
	v[n++] = (struct limit){"descriptors", c.descriptors, c.descriptors_limit};
	v[n++] = (struct limit){"packet_buffers", mbufs - free, mbufs};
	v[n++] = (struct limit){"chunks_permille", 1000 - chan_pool_free_permille(src->chans), 1000};
	if (src->origins) {
		origins_look(src->origins, &l);
		v[n++] = (struct limit){"address_sessions", l.address_most, l.address_limit};
		v[n++] = (struct limit){"prefix_sessions", l.prefix_most, l.prefix_limit};
	}
	return n;
}

void families_limits(struct om *o, const struct tlm_src *src)
{
	struct limit v[LIMITS];
	unsigned n = limits(src, v);

	om_family(o, OM_GAUGE, "limit_used", NULL,
		  "How much of a limit is used, of the fullest where there are several.");
	for (unsigned i = 0; i < n; i++)
		om_u64(o, v[i].used, "limit", v[i].name, NULL);
	om_family(o, OM_GAUGE, "limit", NULL, "The limit; 0: there is none.");
	for (unsigned i = 0; i < n; i++)
		om_u64(o, v[i].limit, "limit", v[i].name, NULL);
}
