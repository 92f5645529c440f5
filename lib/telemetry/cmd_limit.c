/* SPDX-License-Identifier: MIT */

/* /kcpgate/limits: what there may be at most, how full it is, and how often somebody was refused for it. */

#include "cmd_int.h"
#include "origin.h"

static uint64_t refused(const struct tlm_src *src, unsigned verdict)
{
	uint64_t sum = 0;

	for (unsigned w = 0; w < src->n_workers; w++)
		sum += __atomic_load_n(&shard_stats(src->shards[w])->drops[verdict - VERDICT_DROP], __ATOMIC_RELAXED);
	return sum;
}

/* limit 0: none. */
static struct rte_tel_data *row(uint64_t limit, uint64_t no)
{
	struct rte_tel_data *d = rte_tel_data_alloc();

	if (!d)
		return NULL;
	rte_tel_data_start_dict(d);
	dict_u64(d, "limit", limit);
	dict_u64(d, "refused", no);
	return d;
}

/* Sessions whose peers have acknowledged nothing yet; in_doubt: of conversations that there had been (confirm.c). */
static void unproved(const struct tlm_src *src, struct rte_tel_data *d)
{
	struct rte_tel_data *r = row(0, refused(src, DROP_UNCONFIRMED));
	uint64_t used = 0, in_doubt = 0, doubted = 0;

	for (unsigned w = 0; w < src->n_workers; w++) {
		const struct shard_stats *st = shard_stats(src->shards[w]);

		used += st->unproved;
		in_doubt += st->in_doubt;
		doubted += st->doubted;
	}
	if (r) {
		dict_u64(r, "used", used);
		dict_u64(r, "in_doubt", in_doubt);
		dict_u64(r, "doubted", doubted);
	}
	tlm_row(d, "unproved_sessions", r);
}

/* A worker's own limits: of all together, and of the fullest. */
static void of_workers(const struct tlm_src *src, struct rte_tel_data *d)
{
	struct rte_tel_data *r = row(src->conf->max_sessions, refused(src, DROP_SESSION_LIMIT));
	uint64_t sum = 0, most = 0;

	for (unsigned w = 0; w < src->n_workers; w++) {
		uint64_t n = shard_stats(src->shards[w])->sessions;

		sum += n;
		most = n > most ? n : most;
	}
	if (r) {
		dict_u64(r, "used", sum);
		dict_u64(r, "most", most);
	}
	tlm_row(d, "worker_sessions", r);
	unproved(src, d);
	tlm_row(d, "tunnel_sessions", row(0, refused(src, DROP_TUNNEL_LIMIT)));
	tlm_row(d, "acl", row(0, refused(src, DROP_ACL)));
	tlm_row(d, "session_streams", row(src->conf->max_streams, refused(src, DROP_STREAM_LIMIT)));
}

/* What memory the workers' sessions have in all, likewise; and what one session may hold of it. */
static void of_memory(const struct tlm_src *src, struct rte_tel_data *d)
{
	uint64_t sum = 0, most = 0, limit = 0;
	struct rte_tel_data *r;

	for (unsigned w = 0; w < src->n_workers; w++) {
		uint64_t n = shard_mem_used(src->shards[w]);

		sum += n;
		most = n > most ? n : most;
		limit = shard_mem_total(src->shards[w]);
	}
	r = row(limit, refused(src, DROP_NO_MEMORY));
	if (r) {
		dict_u64(r, "used", sum);
		dict_u64(r, "most", most);
	}
	tlm_row(d, "worker_bytes", r);
	tlm_row(d, "session_bytes", row(src->conf->session_bytes, refused(src, DROP_OVER_SHARE)));
}

static void of_sources(const struct tlm_src *src, struct rte_tel_data *d)
{
	struct rte_tel_data *address, *prefix, *rate;
	struct origins_look l;

	origins_look(src->origins, &l);
	address = row(l.address_limit, refused(src, DROP_ADDRESS_LIMIT));
	prefix = row(l.prefix_limit, refused(src, DROP_PREFIX_LIMIT));
	rate = row(l.rate, refused(src, DROP_SESSION_RATE));
	if (address) {
		dict_u64(address, "sources", l.addresses);
		dict_u64(address, "most", l.address_most);
		dict_u64(address, "uncounted", l.uncounted);
	}
	if (prefix) {
		dict_u64(prefix, "sources", l.prefixes);
		dict_u64(prefix, "most", l.prefix_most);
	}
	if (rate)
		dict_u64(rate, "burst", l.burst);
	tlm_row(d, "address_sessions", address);
	tlm_row(d, "prefix_sessions", prefix);
	tlm_row(d, "address_rate", rate);
}

static void of_dials(const struct tlm_src *src, struct rte_tel_data *d)
{
	struct rte_tel_data *r;
	struct ctl_stats c;

	ctl_stats_all(src->ctl, &c);
	r = row(c.dials_limit, c.dial_refused);
	if (r) {
		dict_u64(r, "used", c.dials);
		dict_u64(r, "waiting", c.dials_waiting);
	}
	tlm_row(d, "dials", r);
	r = row(c.descriptors_limit, 0);
	if (r)
		dict_u64(r, "used", c.descriptors);
	tlm_row(d, "descriptors", r);
}

int tlm_cmd_limits(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	(void)params;
	rte_tel_data_start_dict(d);
	of_workers(src, d);
	of_memory(src, d);
	of_sources(src, d);
	of_dials(src, d);
	return 0;
}
