/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_mempool.h>
#include <rte_version.h>

#include "cmd_int.h"
#include "log.h"
#include "record.h"

/* Rows of one answer: DPDK's has 16 KiB. */
#define PAGE_ROWS    15
#define PAGE_TUNNELS 25

/* rte_telemetry's callbacks have no argument of their own, and run in its threads: this is what they look at. */
static struct {
	pthread_mutex_t lock;
	const struct tlm_src *src;
} tlm = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The tunnel that a parameter names; -1 for none given, -ENOENT for an unknown one. */
static int tunnel_index(const struct tlm_src *src, const char *params)
{
	size_t n = params ? strcspn(params, ",") : 0;

	if (n == 0)
		return -1;
	for (unsigned t = 0; t < src->conf->n_tunnels; t++)
		if (strlen(src->conf->tunnels[t].name) == n && !strncmp(src->conf->tunnels[t].name, params, n))
			return (int)t;
	return -ENOENT;
}

static int cmd_snmp(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	int t = tunnel_index(src, params);
	struct snmp sum;

	if (t == -ENOENT)
		return -EINVAL;
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

void tlm_row(struct rte_tel_data *d, const char *name, struct rte_tel_data *row)
{
	char key[128];
	size_t n = 0;

	/* DPDK takes letters, digits and underscores for keys, and drops a row of another; `name` tells the true one.
	 */
	for (; name[n] && n < sizeof(key) - 1; n++)
		key[n] = isalnum((unsigned char)name[n]) ? name[n] : '_';
	key[n] = '\0';
	if (row && rte_tel_data_add_dict_container(d, key, row, 0))
		rte_tel_data_free(row);
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

/* "[TUNNEL]" or ",FROM": all tunnels, a page at a time; `next`, where there is more, is what to ask with. */
static int cmd_tunnels(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	int only = tunnel_index(src, params);
	const char *comma = params ? strchr(params, ',') : NULL;
	unsigned from = comma ? (unsigned)atoi(comma + 1) : 0, i;
	char next[16];

	if (only == -ENOENT)
		return -EINVAL;
	rte_tel_data_start_dict(d);
	if (only >= 0) {
		tlm_row(d, src->conf->tunnels[only].name, tunnel_dict(src, (unsigned)only));
		return 0;
	}
	for (i = from; i < src->conf->n_tunnels && i < from + PAGE_TUNNELS; i++)
		tlm_row(d, src->conf->tunnels[i].name, tunnel_dict(src, i));
	if (i < src->conf->n_tunnels) {
		snprintf(next, sizeof(next), "%u", i);
		rte_tel_data_add_dict_string(d, "next", next);
	}
	return 0;
}

/* ---- sessions: asked of the workers, a page at a time ---- */

/* What a session sends, and what keeps it from sending more.  Of stock's congestion control the model's are 0. */
static void dict_sending(struct rte_tel_data *d, const struct shard_row *r)
{
	const struct kcp_look *k = &r->look;

	rte_tel_data_add_dict_string(d, "congestion", r->modelled ? "auto" : "stock");
	rte_tel_data_add_dict_string(d, "limited_by", r->limited_by);
	dict_u64(d, "path_mtu", r->path_mtu);
	dict_u64(d, "datagram", r->datagram);
	rte_tel_data_add_dict_string(d, "mtu_from", r->mtu_from);
	dict_u64(d, "pacing_bps", r->pace * 8);
	dict_u64(d, "bandwidth_bps", k->rate * 8);
	dict_u64(d, "min_rtt_us", k->min_rtt);
	dict_u64(d, "queue_us", k->queue);
	dict_u64(d, "in_flight", k->flight);
	dict_u64(d, "cwnd", k->cwnd);
	dict_u64(d, "snd_wnd", k->snd_wnd);
	dict_u64(d, "snd_span", k->span);
	dict_u64(d, "rcv_wnd", k->rcv_wnd);
	dict_u64(d, "wants_peer_rcvwnd", r->wants_peer_rcvwnd);
	dict_u64(d, "retrans", (uint64_t)k->again_fast + k->again_early + k->again_late);
	dict_u64(d, "retrans_fast", k->again_fast);
	dict_u64(d, r->modelled ? "retrans_twice" : "retrans_early", k->again_early);
	dict_u64(d, r->modelled ? "retrans_probe" : "retrans_timeout", k->again_late);
	dict_u64(d, "retrans_needless", k->needless);
	dict_u64(d, "parity_sent", r->parity_sent);
	dict_u64(d, "parity_left_out", r->parity_left);
}

/* A peer's address, a link-local one with its port. */
static void peer_text(const struct tlm_src *src, const struct flow_key *key, char *buf, size_t n)
{
	char text[ADDR_STRLEN];

	if (!key->dev || key->dev > src->conf->n_ports) {
		snprintf(buf, n, "%s", addr_port_str(&key->peer, key->peer_port, text));
		return;
	}
	snprintf(buf, n, "[%s%%%s]:%u", addr_str(&key->peer, text), src->conf->ports[key->dev - 1].name,
		 key->peer_port);
}

static struct rte_tel_data *session_dict(const struct tlm_src *src, const struct shard_row *r)
{
	struct rte_tel_data *d = rte_tel_data_alloc();
	char text[ADDR_STRLEN], peer[ADDR_STRLEN + CONF_NAME_MAX];

	if (!d)
		return NULL;
	peer_text(src, &r->key, peer, sizeof(peer));
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "tunnel", src->conf->tunnels[r->tunnel].name);
	rte_tel_data_add_dict_string(d, "peer", peer);
	rte_tel_data_add_dict_string(d, "local", addr_port_str(&r->key.local, r->key.local_port, text));
	rte_tel_data_add_dict_string(d, "peer_is", r->kcpgate_peer ? "kcpgate" : "stock");
	dict_u64(d, "smux", r->smux);
	dict_u64(d, "worker", r->worker);
	dict_u64(d, "conv", r->kcp.conv);
	dict_u64(d, "age_ms", r->age_ms);
	dict_u64(d, "idle_ms", r->idle_ms);
	dict_u64(d, "moves", r->moves);
	dict_u64(d, "streams", r->streams);
	dict_u64(d, "held_bytes", r->held);
	rte_tel_data_add_dict_string(d, "reading_waits_for", r->waits ? r->waits : "");
	dict_u64(d, "memory", r->memory);
	dict_u64(d, "srtt_ms", r->kcp.srtt);
	dict_u64(d, "rto_ms", r->kcp.rto);
	dict_u64(d, "rmt_wnd", r->kcp.rmt_wnd);
	dict_u64(d, "snd_buf", r->kcp.snd_buf);
	dict_u64(d, "snd_queue", r->kcp.snd_queue);
	dict_u64(d, "rcv_buf", r->kcp.rcv_buf);
	dict_u64(d, "rcv_queue", r->kcp.rcv_queue);
	dict_u64(d, "bytes_in", r->bytes_in);
	dict_u64(d, "bytes_out", r->bytes_out);
	dict_sending(d, r);
	return d;
}

/* Waits until the worker owes no answer: its turns are short, but it may be stopped in a debugger. */
static int await_answer(struct shard_query *q)
{
	const struct timespec ms = {.tv_nsec = 1000000};

	for (unsigned i = 0; i < 2000; i++) {
		if (atomic_load_explicit(&q->state, memory_order_acquire) != SHARD_Q_ASKED)
			return 0;
		nanosleep(&ms, NULL);
	}
	return -ETIMEDOUT;
}

/* Puts a question to a worker; one that was given up on must have been answered first. */
static int ask(struct shard_query *q, uint32_t cursor)
{
	if (await_answer(q))
		return -ETIMEDOUT;
	q->cursor = cursor;
	atomic_store_explicit(&q->state, SHARD_Q_ASKED, memory_order_release);
	return await_answer(q);
}

/* Rows of one worker from its cursor on, into the page.  Returns how many; *more tells whether the worker has others.
 */
static int page_fill(const struct tlm_src *src, unsigned w, int tunnel, struct rte_tel_data *rows, unsigned room,
		     uint32_t *cursor, bool *more)
{
	struct shard_query *q = shard_query(src->shards[w]);
	unsigned used = 0;

	*more = true;
	while (*more && used < room) {
		uint32_t at = *cursor;

		if (ask(q, at))
			return -ETIMEDOUT;
		*more = q->more;
		*cursor = q->cursor;
		for (unsigned i = 0; i < q->n; i++) {
			char id[24];

			if (tunnel >= 0 && q->row[i].tunnel != tunnel)
				continue;
			if (used == room) { /* the page ends within this portion */
				*cursor = at + i;
				*more = true;
				break;
			}
			snprintf(id, sizeof(id), "%llu", (unsigned long long)q->row[i].id);
			tlm_row(rows, id, session_dict(src, &q->row[i]));
			used++;
		}
		atomic_store_explicit(&q->state, SHARD_Q_IDLE, memory_order_release);
	}
	return (int)used;
}

/* "[TUNNEL][,WORKER.CURSOR]": a page of rows by session id; `next`, where there is more, is what to ask with. */
static int cmd_sessions(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	int tunnel = tunnel_index(src, params);
	const char *comma = params ? strchr(params, ',') : NULL;
	unsigned w = 0, used = 0;
	uint32_t cursor = 0;
	bool more = false;
	char next[32];

	if (tunnel == -ENOENT || (comma && sscanf(comma + 1, "%u.%u", &w, &cursor) != 2))
		return -EINVAL;
	rte_tel_data_start_dict(d);
	for (; w < src->n_workers; w++, cursor = 0) {
		int n = page_fill(src, w, tunnel, d, PAGE_ROWS - used, &cursor, &more);

		if (n < 0) { /* DPDK would leak the rows of an answer that fails */
			rte_tel_data_add_dict_string(d, "error", "a worker does not answer");
			return 0;
		}
		used += (unsigned)n;
		if (more)
			break;
	}
	if (more) {
		snprintf(next, sizeof(next), "%u.%u", w, cursor);
		rte_tel_data_add_dict_string(d, "next", next);
	}
	return 0;
}

/* ---- workers and drops ---- */

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

static int cmd_workers(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	char name[16];

	rte_tel_data_start_dict(d);
	for (unsigned i = 0; i < src->n_workers; i++) {
		snprintf(name, sizeof(name), "%u", i);
		tlm_row(d, name, dict_of_worker(src, i));
	}
	return 0;
}

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

static int cmd_controls(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	const struct ctl *c;
	char name[16];

	rte_tel_data_start_dict(d);
	for (unsigned k = 0; (c = ctl_instance(src->ctl, k)); k++) {
		snprintf(name, sizeof(name), "%u", k);
		tlm_row(d, name, dict_of_control(ctl_stats(c)));
	}
	return 0;
}

static int cmd_drops(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	rte_tel_data_start_dict(d);
	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++) {
		/* Frames from the kernel that find a worker's ring full, or their port closed, are control's to drop.
		 */
		uint64_t sum = v == DROP_INJECT_FULL ? ctl_stats(src->ctl)->inject_full
			       : v == DROP_PORT_DOWN ? ctl_stats(src->ctl)->inject_down
						     : 0;

		for (unsigned w = 0; w < src->n_workers; w++)
			sum += __atomic_load_n(&shard_stats(src->shards[w])->drops[v - VERDICT_DROP], __ATOMIC_RELAXED);
		dict_u64(d, drop_name(v), sum);
	}
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
	const char *help;
};

static const struct cmd cmds[] = {
	{"/kcpgate/snmp", cmd_snmp, "kcptun's SNMP counters. Parameters: [TUNNEL]"},
	{"/kcpgate/tunnels", cmd_tunnels, "Tunnels with their traffic, a page at a time. Parameters: [TUNNEL][,NEXT]"},
	{"/kcpgate/sessions", cmd_sessions, "KCP sessions, a page at a time. Parameters: [TUNNEL][,NEXT]"},
	{"/kcpgate/workers", cmd_workers, "Workers' cycles, packets and memory. No parameters"},
	{"/kcpgate/ports", tlm_cmd_ports, "Ports: device, link, queues, what the device does. No parameters"},
	{"/kcpgate/control", cmd_control, "Kernel TCP, the exception path, free buffers. No parameters"},
	{"/kcpgate/controls", cmd_controls, "Control lcores: their connections and load. No parameters"},
	{"/kcpgate/limits", tlm_cmd_limits, "Limits: how full, and how often they refused. No parameters"},
	{"/kcpgate/drops", cmd_drops, "Everything that was dropped, by reason. No parameters"},
	{"/kcpgate/capture", tlm_cmd_capture,
	 "The last capture. Parameters: [start[,NAME=VALUE...]], see kcpgate capture --help"},
	{"/kcpgate/security", tlm_cmd_security, "What the process has kept of rights, and refused. No parameters"},
	{"/kcpgate/version", cmd_version, "Versions of kcpgate and DPDK. No parameters"},
};

static int dispatch(const char *name, const char *params, struct rte_tel_data *d)
{
	int ret = -EINVAL;

	pthread_mutex_lock(&tlm.lock); /* also keeps two askers from one worker's query */
	for (unsigned i = 0; tlm.src && i < sizeof(cmds) / sizeof(cmds[0]); i++)
		if (!strcmp(cmds[i].name, name))
			ret = cmds[i].fn(tlm.src, params, d);
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
