/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <rte_mempool.h>
#include <rte_version.h>

#include "cmd_int.h"
#include "log.h"
#include "record.h"

/* Rows of one answer: DPDK's has 16 KiB. */
#define PAGE_TUNNELS 25

/* rte_telemetry's callbacks have no argument of their own, and run in its threads: this is what they look at. */
static struct {
	pthread_mutex_t lock;
	const struct tlm_src *src;
} tlm = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int cmd_snmp(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	int t = params ? tlm_tunnel(src, params, strlen(params)) : -1;
	struct snmp sum;

	if (t < 0 && params && *params)
		return tlm_sorry(d, "found %s; allowed: the name of a tunnel", params);
	tlm_snmp(src, t, &sum);
	rte_tel_data_start_dict(d);
	for (unsigned i = 0; i < SNMP_ALL; i++)
		dict_u64(d, snmp_name(i), ((const uint64_t *)&sum)[i]);
	return 0;
}

static void hostport(char *buf, size_t n, const struct conf_hostport *h)
{
	const char *host = h->host ? h->host : "";
	bool v6 = strchr(host, ':') != NULL;

	if (h->path) {
		snprintf(buf, n, "%s", h->path);
		return;
	}
	if (h->port_min == h->port_max)
		snprintf(buf, n, v6 ? "[%s]:%u" : "%s:%u", host, h->port_min);
	else
		snprintf(buf, n, v6 ? "[%s]:%u-%u" : "%s:%u-%u", host, h->port_min, h->port_max);
}

/* A tunnel's share of a pool: what it has, what is its own, the most that it may have, how often it wanted more. */
static void dict_share(struct rte_tel_data *d, const char *what, const struct shares *s, unsigned i)
{
	const struct share *t = &s->of[i];
	char name[32];

	dict_u64(d, what, atomic_load_explicit(&t->used, memory_order_relaxed));
	snprintf(name, sizeof(name), "%s_sure", what);
	dict_u64(d, name, t->sure);
	snprintf(name, sizeof(name), "%s_most", what);
	dict_u64(d, name, t->most);
	snprintf(name, sizeof(name), "%s_refused", what);
	dict_u64(d, name, atomic_load_explicit(&t->refused, memory_order_relaxed));
}

static struct rte_tel_data *tunnel_dict(const struct tlm_src *src, unsigned i)
{
	const struct conf_tunnel *t = &src->conf->tunnels[i];
	struct rte_tel_data *d = rte_tel_data_alloc();
	char text[300];
	uint64_t memory = 0, share = 0;
	struct ctl_parts parts;
	struct snmp sum;

	if (!d)
		return NULL;
	for (unsigned w = 0; w < src->n_workers; w++) {
		memory += shard_tunnel_mem(src->shards[w], i);
		share += shard_tunnel_share(src->shards[w], i);
	}
	parts = ctl_parts(src->ctl, i);
	tlm_snmp(src, (int)i, &sum);
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "name", t->name);
	rte_tel_data_add_dict_string(d, "role", t->role == CONF_SERVER ? "server" : "client");
	hostport(text, sizeof(text), &t->listen);
	rte_tel_data_add_dict_string(d, "listen", text);
	hostport(text, sizeof(text), t->role == CONF_SERVER ? &t->target : &t->remote);
	rte_tel_data_add_dict_string(d, t->role == CONF_SERVER ? "target" : "remote", text);
	rte_tel_data_add_dict_string(d, "crypt", t->crypt);
	rte_tel_data_add_dict_string(d, "mode", t->mode);
	snprintf(text, sizeof(text), "%u/%u", t->datashard, t->parityshard);
	rte_tel_data_add_dict_string(d, "fec", text);
	if (t->smuxver)
		dict_u64(d, "smuxver", t->smuxver);
	else
		rte_tel_data_add_dict_string(d, "smuxver", "auto");
	dict_u64(d, "sessions", sum.CurrEstab);
	if (t->role == CONF_SERVER)
		dict_u64(d, "sessions_limit", t->sessions);
	dict_u64(d, "bytes_in", sum.BytesReceived);
	dict_u64(d, "bytes_out", sum.BytesSent);
	dict_u64(d, "csum_errors", sum.InCsumErrors);
	dict_share(d, "chunks", &src->chans->chunk_shares, i);
	dict_share(d, "streams", &src->chans->chan_shares, i);
	dict_u64(d, "memory", memory);
	dict_u64(d, "memory_share", share);
	dict_u64(d, "memory_limit", (uint64_t)t->memory << 20);
	if (t->role == CONF_SERVER) {
		dict_u64(d, "dials", parts.dials);
		dict_u64(d, "dials_waiting", parts.dials_waiting);
	}
	dict_u64(d, "descriptors", parts.descriptors);
	return d;
}

/* Two names that DPDK's keys cannot tell apart are told apart by their numbers. */
static void tunnel_row(const struct tlm_src *src, unsigned i, struct rte_tel_data *d)
{
	const char *name = src->conf->tunnels[i].name;
	char key[CONF_NAME_MAX + 16];

	snprintf(key, sizeof(key), "%s", name);
	for (unsigned k = 0; k < i; k++)
		if (tlm_same_key(src->conf->tunnels[k].name, name))
			snprintf(key, sizeof(key), "%s_%u", name, i);
	tlm_row(d, key, tunnel_dict(src, i));
}

/* "[TUNNEL]" or ",FROM": all tunnels, a page at a time; `next`, where there is more, is what to ask with. */
static int cmd_tunnels(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	size_t n = params ? strcspn(params, ",") : 0;
	int only = tlm_tunnel(src, params, n);
	const char *at = params && params[n] ? params + n + 1 : NULL;
	uint64_t from = 0;
	unsigned i;
	char next[16];

	if (only < 0 && n)
		return tlm_sorry(d, "found %s; allowed: the name of a tunnel, or nothing", params);
	if (at && (n || !tlm_number(&at, '\0', &from) || from >= src->conf->n_tunnels))
		return tlm_sorry(d, "found %s; allowed: a comma and what `next` was", params);
	rte_tel_data_start_dict(d);
	if (only >= 0) {
		tunnel_row(src, (unsigned)only, d);
		return 0;
	}
	for (i = (unsigned)from; i < src->conf->n_tunnels && i < from + PAGE_TUNNELS; i++)
		tunnel_row(src, i, d);
	if (i < src->conf->n_tunnels) {
		snprintf(next, sizeof(next), "%u", i);
		rte_tel_data_add_dict_string(d, "next", next);
	}
	return 0;
}

/* ---- control and drops ---- */

static int cmd_control(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	struct ctl_stats all, *c = &all;
	uint64_t mbufs = 0;

	ctl_stats_all(src->ctl, &all);
	for (unsigned i = 0; i < src->n_pools; i++)
		mbufs += rte_mempool_avail_count(src->pools[i]);
	rte_tel_data_start_dict(d);
	dict_u64(d, "mbufs_free", mbufs);
	dict_u64(d, "chunks_free_permille", chan_pool_free_permille(src->chans));
	dict_u64(d, "accepted", c->accepted);
	dict_u64(d, "dialled", c->dialled);
	dict_u64(d, "dial_failed", c->dial_failed);
	dict_u64(d, "dial_timeouts", c->dial_timeouts);
	dict_u64(d, "dial_refused", c->dial_refused);
	dict_u64(d, "dials", c->dials);
	dict_u64(d, "dials_limit", c->dials_limit);
	dict_u64(d, "dials_waiting", c->dials_waiting);
	rte_tel_data_add_dict_string(d, "dials_wait_for",
				     !c->dials_waiting		 ? "nothing"
				     : c->dials < c->dials_limit ? "the tunnel's share, or descriptors"
								 : "dials");
	dict_u64(d, "descriptors", c->descriptors);
	dict_u64(d, "descriptors_limit", c->descriptors_limit);
	dict_u64(d, "ports_held", c->holds);
	dict_u64(d, "ports_given_up", c->holds_given_up);
	dict_u64(d, "accept_paused", c->accept_paused);
	dict_u64(d, "streams", c->streams);
	dict_u64(d, "tcp_in_bytes", c->tcp_in_bytes);
	dict_u64(d, "tcp_out_bytes", c->tcp_out_bytes);
	dict_u64(d, "exception_to_kernel", c->punted);
	dict_u64(d, "exception_from_kernel", c->injected);
	dict_u64(d, "exception_errors", c->punt_errors);
	dict_u64(d, "exception_checksums", c->punt_finished);
	dict_u64(d, "exception_no_mbuf", c->inject_no_mbuf);
	dict_u64(d, "snapshots", c->snapshots);
	dict_u64(d, "routes", c->routes);
	dict_u64(d, "routes_bytes", c->route_bytes);
	dict_u64(d, "routes_changes", c->route_changes);
	dict_u64(d, "routes_reads", c->route_reads);
	dict_u64(d, "rules_not_followed", c->rules);
	dict_u64(d, "reading_starved", c->no_chunk);
	dict_u64(d, "accept_paused", c->accept_paused);
	dict_u64(d, "evicted", c->evicted);
	dict_u64(d, "lingering", c->lingering);
	dict_u64(d, "linger_cut", c->linger_cut);
	dict_u64(d, "log_lines_lost", log_lost());
	dict_u64(d, "ports_closed", c->ports_closed);
	dict_u64(d, "ports_opened", c->ports_opened);
	return 0;
}

static int cmd_drops(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	rte_tel_data_start_dict(d);
	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++)
		dict_u64(d, drop_name(v), tlm_drops(src, v));
	return 0;
}

static int cmd_version(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "kcpgate", KCPGATE_VERSION);
	rte_tel_data_add_dict_string(d, "dpdk", rte_version());
	return 0;
}

/* ---- registration ---- */

struct cmd {
	const char *name;
	int (*fn)(const struct tlm_src *src, const char *params, struct rte_tel_data *d);
	bool asks; /* it takes parameters */
	const char *help;
};

static const struct cmd cmds[] = {
	{"/kcpgate/snmp", cmd_snmp, true, "kcptun's SNMP counters. Parameters: [TUNNEL]"},
	{"/kcpgate/tunnels", cmd_tunnels, true,
	 "Tunnels with their traffic, a page at a time. Parameters: [TUNNEL][,NEXT]"},
	{"/kcpgate/sessions", tlm_cmd_sessions, true, "KCP sessions, a page at a time. Parameters: [TUNNEL][,NEXT]"},
	{"/kcpgate/session", tlm_cmd_session, true, "All of one session. Parameters: ID"},
	{"/kcpgate/streams", tlm_cmd_streams, true, "A session's streams, a page at a time. Parameters: ID[,NEXT]"},
	{"/kcpgate/ping", tlm_cmd_ping, true, "Sends a session's peer what it answers at once. Parameters: ID"},
	{"/kcpgate/pong", tlm_cmd_pong, true,
	 "How long the last ping's answer took, us; 0: it is not there. Parameters: ID"},
	{"/kcpgate/kick", tlm_cmd_kick, true, "Ends a session, whose connections are reset. Parameters: ID"},
	{"/kcpgate/workers", tlm_cmd_workers, true,
	 "Workers' cycles, packets and memory, a page at a time. Parameters: [,NEXT]"},
	{"/kcpgate/histograms", tlm_cmd_histograms, true,
	 "What packets take from port to TCP and back, and bursts' widths. Parameters: [WORKER]"},
	{"/kcpgate/ports", tlm_cmd_ports, false, "Ports: device, link, queues, what the device does. No parameters"},
	{"/kcpgate/control", cmd_control, false, "Kernel TCP, the exception path, free buffers. No parameters"},
	{"/kcpgate/controls", tlm_cmd_controls, false, "Control lcores: their connections and load. No parameters"},
	{"/kcpgate/limits", tlm_cmd_limits, false, "Limits: how full, and how often they refused. No parameters"},
	{"/kcpgate/drops", cmd_drops, false, "Everything that was dropped, by reason. No parameters"},
	{"/kcpgate/config", tlm_cmd_config, true,
	 "The configuration in force, without keys, a page at a time. Parameters: [,NEXT]"},
	{"/kcpgate/capture", tlm_cmd_capture, true,
	 "The last capture. Parameters: [start[,NAME=VALUE...]], see kcpgate capture --help"},
	{"/kcpgate/security", tlm_cmd_security, false,
	 "What the process has kept of rights, and refused. No parameters"},
	{"/kcpgate/version", cmd_version, false, "Versions of kcpgate and DPDK. No parameters"},
};

static int run(const struct cmd *c, const char *params, struct rte_tel_data *d)
{
	int ret;

	if (!tlm.src)
		return tlm_sorry(d, "the gateway is starting, or has ended");
	if (!c->asks && params && *params)
		return tlm_sorry(d, "found %s; allowed: no parameters", params);
	ret = c->fn(tlm.src, params, d);
	return ret < 0 ? tlm_sorry(d, "%s", strerror(-ret)) : 0;
}

static int dispatch(const char *name, const char *params, struct rte_tel_data *d)
{
	int ret = -ENOENT;

	pthread_mutex_lock(&tlm.lock); /* also keeps two askers from one worker's query */
	for (unsigned i = 0; ret == -ENOENT && i < sizeof(cmds) / sizeof(cmds[0]); i++)
		if (!strcmp(cmds[i].name, name))
			ret = run(&cmds[i], params, d);
	pthread_mutex_unlock(&tlm.lock);
	return ret;
}

int tlm_start(const struct tlm_src *src)
{
	for (unsigned i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++) {
		int ret = rte_telemetry_register_cmd(cmds[i].name, dispatch, cmds[i].help);

		if (ret && ret != -EEXIST)
			return ret;
	}
	pthread_mutex_lock(&tlm.lock);
	tlm.src = src;
	pthread_mutex_unlock(&tlm.lock);
	return 0;
}

void tlm_stop(void)
{
	pthread_mutex_lock(&tlm.lock);
	tlm.src = NULL;
	record_stop();
	pthread_mutex_unlock(&tlm.lock);
}

void tlm_change(void (*fn)(void *ctx), void *ctx)
{
	tlm_lock();
	fn(ctx);
	tlm_unlock();
}

void tlm_lock(void)
{
	pthread_mutex_lock(&tlm.lock);
}

void tlm_unlock(void)
{
	pthread_mutex_unlock(&tlm.lock);
}
