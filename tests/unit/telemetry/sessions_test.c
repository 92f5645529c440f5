/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_telemetry.h>
#include <rte_version.h>

#include "tlm.h"

/*
 * /kcpgate/sessions, from a worker's answer to what DPDK is given.  DPDK's library is played here: it keeps what it is
 * told as text, in the form in which it would go out, so that a page's length can be seen.
 */

#define ANSWER_MAX 16384 /* bytes of DPDK's answer */
#define ROWS	   100

struct rte_tel_data {
	char text[2 * ANSWER_MAX];
	size_t n;
};

static telemetry_cb sessions;
static struct shard_query query;
static struct shard_row all[ROWS];
static unsigned n_all;

static void put(struct rte_tel_data *d, const char *name, const char *value)
{
	d->n += (size_t)snprintf(d->text + d->n, sizeof(d->text) - d->n, "\"%s\":%s,", name, value);
	cr_assert_lt(d->n, sizeof(d->text));
}

int rte_telemetry_register_cmd(const char *cmd, telemetry_cb fn, const char *help)
{
	if (!strcmp(cmd, "/kcpgate/sessions"))
		sessions = fn;
	return 0;
}

struct rte_tel_data *rte_tel_data_alloc(void)
{
	return calloc(1, sizeof(struct rte_tel_data));
}

void rte_tel_data_free(struct rte_tel_data *d)
{
	free(d);
}

int rte_tel_data_start_dict(struct rte_tel_data *d)
{
	d->n = 0;
	return 0;
}

int rte_tel_data_add_dict_string(struct rte_tel_data *d, const char *name, const char *val)
{
	char quoted[200];

	snprintf(quoted, sizeof(quoted), "\"%s\"", val);
	put(d, name, quoted);
	return 0;
}

static int put_number(struct rte_tel_data *d, const char *name, uint64_t val)
{
	char number[24];

	snprintf(number, sizeof(number), "%llu", (unsigned long long)val);
	put(d, name, number);
	return 0;
}

#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
int rte_tel_data_add_dict_uint(struct rte_tel_data *d, const char *name, uint64_t val)
#else
int rte_tel_data_add_dict_u64(struct rte_tel_data *d, const char *name, uint64_t val)
#endif
{
	return put_number(d, name, val);
}

int rte_tel_data_add_dict_container(struct rte_tel_data *d, const char *name, struct rte_tel_data *val, int keep)
{
	char *row = malloc(val->n + 3);

	snprintf(row, val->n + 3, "{%s}", val->text);
	put(d, name, row);
	free(row);
	free(val);
	return 0;
}

/* The one worker's shard is played too. */
struct shard_query *shard_query(struct shard *s)
{
	return &query;
}

void shard_answer(struct shard *s, uint64_t now)
{
	if (atomic_load(&query.state) != SHARD_Q_ASKED)
		return;
	for (query.n = 0; query.n < SHARD_QUERY_ROWS && query.cursor < n_all;)
		query.row[query.n++] = all[query.cursor++];
	query.more = query.cursor < n_all;
	atomic_store(&query.state, SHARD_Q_DONE);
}

static atomic_bool stop;

static void *answers(void *arg)
{
	const struct timespec pause = {.tv_nsec = 100000};

	while (!atomic_load(&stop)) {
		shard_answer(NULL, 0);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static struct conf_tunnel tunnels[1];
static struct conf conf = {.tunnels = tunnels, .n_tunnels = 1};
static struct shard *shards[1];
static struct tlm_src src = {.conf = &conf, .n_workers = 1, .shards = shards};
static struct rte_tel_data answer;
static pthread_t worker;

static void up(void)
{
	strcpy(tunnels[0].name, "hk");
	cr_assert_eq(tlm_start(&src), 0);
	cr_assert_not_null(sessions);
	atomic_store(&stop, false);
	cr_assert_eq(pthread_create(&worker, NULL, answers, NULL), 0);
}

static void down(void)
{
	atomic_store(&stop, true);
	pthread_join(worker, NULL);
	tlm_stop();
}

TestSuite(telemetry_sessions, .init = up, .fini = down);

static void has(const char *part)
{
	cr_assert_not_null(strstr(answer.text, part), "no %s in %s", part, answer.text);
}

Test(telemetry_sessions, what_limits)
{
	all[0] = (struct shard_row){
		.id = 12,
		.modelled = true,
		.limited_by = "peer window",
		.pace = 7000000,
		.wants_peer_rcvwnd = 2300,
		.parity_sent = 30,
		.parity_left = 270,
		.kcp = {.rmt_wnd = 512},
		.look = {.rate = 6750000,
			 .min_rtt = 100125,
			 .queue = 1500,
			 .flight = 650000,
			 .cwnd = 1350000,
			 .snd_wnd = 65535,
			 .rcv_wnd = 1024,
			 .span = 511,
			 .again_fast = 5,
			 .again_early = 4,
			 .again_late = 3,
			 .needless = 2},
	};
	n_all = 1;
	cr_assert_eq(sessions("/kcpgate/sessions", NULL, &answer), 0);
	has("\"congestion\":\"auto\",\"limited_by\":\"peer window\",");
	has("\"pacing_bps\":56000000,\"bandwidth_bps\":54000000,\"min_rtt_us\":100125,\"queue_us\":1500,");
	has("\"in_flight\":650000,\"cwnd\":1350000,\"snd_wnd\":65535,\"snd_span\":511,\"rcv_wnd\":1024,");
	has("\"rmt_wnd\":512,");
	has("\"wants_peer_rcvwnd\":2300,");
	has("\"retrans\":12,\"retrans_fast\":5,\"retrans_twice\":4,\"retrans_probe\":3,\"retrans_needless\":2,");
	has("\"parity_sent\":30,\"parity_left_out\":270,");
	all[0].modelled = false;
	cr_assert_eq(sessions("/kcpgate/sessions", "hk", &answer), 0);
	has("\"congestion\":\"stock\",");
	has("\"retrans_early\":4,\"retrans_timeout\":3,");
}

/* All digits that there can be in years, the longest addresses: a page of such rows is no longer than DPDK sends. */
static void longest(struct shard_row *r, unsigned i)
{
	const uint64_t much = 99999999999999999; /* 17 digits: 100 petabytes */

	*r = (struct shard_row){
		.id = UINT64_C(63) << 48 | (much + i) >> 10,
		.worker = 63,
		.modelled = true,
		.limited_by = "bandwidth hint",
		.waits = "smuxbuf: TCP takes too little",
		.age_ms = much / 100000,
		.idle_ms = 29999,
		.streams = 100000,
		.held = UINT32_MAX,
		.memory = much / 1000000,
		.pace = much / 100000,
		.wants_peer_rcvwnd = 65535,
		.parity_sent = much,
		.parity_left = much,
		.bytes_in = much,
		.bytes_out = much,
		.kcp = {.conv = UINT32_MAX,
			.srtt = 30000,
			.rto = 60000,
			.rmt_wnd = 65535,
			.snd_buf = 65535,
			.snd_queue = 65535,
			.rcv_buf = 65535,
			.rcv_queue = 65535},
		.look = {.rate = much / 100000,
			 .min_rtt = UINT32_MAX,
			 .queue = UINT32_MAX,
			 .flight = UINT32_MAX,
			 .cwnd = UINT32_MAX,
			 .snd_wnd = 65535,
			 .rcv_wnd = 65535,
			 .span = 65535,
			 .again_fast = UINT32_MAX,
			 .again_early = UINT32_MAX,
			 .again_late = UINT32_MAX,
			 .needless = UINT32_MAX},
	};
	memset(&r->key.peer, 0xfd, sizeof(r->key.peer));
	memset(&r->key.local, 0xfd, sizeof(r->key.local));
	r->key.peer_port = r->key.local_port = 65535;
}

/* How often `what` is in the answer. */
static unsigned times(const char *what)
{
	unsigned n = 0;

	for (const char *p = answer.text; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

Test(telemetry_sessions, pages_fit)
{
	char params[40] = "";
	unsigned seen = 0, pages = 0;
	const char *next;

	strcpy(tunnels[0].name, "a-name-of-thirty-one-characters");
	for (n_all = 0; n_all < ROWS; n_all++)
		longest(&all[n_all], n_all);
	do {
		cr_assert_eq(sessions("/kcpgate/sessions", params, &answer), 0);
		cr_assert_leq(answer.n + strlen("{\"/kcpgate/sessions\":{}}"), ANSWER_MAX, "%zu bytes", answer.n);
		seen += times("\"tunnel\":");
		pages++;
		next = strstr(answer.text, "\"next\":\"");
		if (next)
			snprintf(params, sizeof(params), ",%.*s", (int)strcspn(next + 8, "\""), next + 8);
	} while (next && pages <= ROWS);
	cr_assert_eq(seen, ROWS);
	cr_assert_leq(pages, 12, "%u pages", pages);
}
