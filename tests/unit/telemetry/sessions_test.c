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

#define COMMANDS 32

static telemetry_cb sessions;
static struct {
	const char *name;
	telemetry_cb fn;
} commands[COMMANDS];
static unsigned n_commands;
static struct shard_query query;
static struct shard_row all[ROWS];
static unsigned n_all, n_streams;

static void put(struct rte_tel_data *d, const char *name, const char *value)
{
	d->n += (size_t)snprintf(d->text + d->n, sizeof(d->text) - d->n, "\"%s\":%s,", name, value);
	cr_assert_lt(d->n, sizeof(d->text));
}

int rte_telemetry_register_cmd(const char *cmd, telemetry_cb fn, const char *help)
{
	if (strncmp(cmd, "/kcpgate/", 9) != 0) /* DPDK's libraries' */
		return 0;
	cr_assert_lt(n_commands, COMMANDS);
	commands[n_commands].name = cmd;
	commands[n_commands++].fn = fn;
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
	d->text[0] = '\0';
	return 0;
}

int rte_tel_data_add_dict_string(struct rte_tel_data *d, const char *name, const char *val)
{
	char quoted[200];

	snprintf(quoted, sizeof(quoted), "\"%s\"", val);
	put(d, name, quoted);
	return 0;
}

int rte_tel_data_add_dict_int(struct rte_tel_data *d, const char *name, int val)
{
	char number[24];

	snprintf(number, sizeof(number), "%d", val);
	put(d, name, number);
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

/* One at a time is looked at, so that a search goes on over portions. */
static void tell_one(void)
{
	query.found = query.at < n_all && all[query.at].id == query.id;
	if (query.found && query.what == SHARD_SESSION)
		query.row[query.n++] = all[query.at];
	if (!query.found)
		query.more = ++query.at < n_all;
	while (query.found && query.what == SHARD_STREAMS && query.n < SHARD_QUERY_ROWS && query.cursor < n_streams) {
		struct shard_stream *s = &query.stream[query.n++];

		*s = (struct shard_stream){.id = 2 * query.cursor++ + 3,
					   .up = UINT64_MAX / 10,
					   .down = UINT64_MAX / 10,
					   .to_send = UINT32_MAX,
					   .to_tcp = UINT32_MAX,
					   .window = UINT32_MAX,
					   .local_ends = true,
					   .waits = "the target's answer to the dial"};
		memset(s->peer, 'f', sizeof(s->peer) - 1);
	}
	query.more |= query.found && query.what == SHARD_STREAMS && query.cursor < n_streams;
}

void shard_answer(struct shard *s, uint64_t now)
{
	if (atomic_load(&query.state) != SHARD_Q_ASKED)
		return;
	query.n = 0;
	query.more = query.found = false;
	if (query.what != SHARD_SESSIONS)
		tell_one();
	while (query.what == SHARD_SESSIONS && query.n < SHARD_QUERY_ROWS && query.cursor < n_all)
		query.row[query.n++] = all[query.cursor++];
	query.more |= query.what == SHARD_SESSIONS && query.cursor < n_all;
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
		.parity_in = 40,
		.fec_recovered = 12,
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
	has("\"parity_sent\":30,\"parity_left_out\":270,\"parity_in\":40,\"fec_recovered\":12,");
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
		.parity_in = UINT32_MAX,
		.fec_recovered = UINT32_MAX,
		.kcp = {.conv = UINT32_MAX,
			.srtt = 30000,
			.rto = 60000,
			.rmt_wnd = 65535,
			.snd_buf = 65535,
			.snd_queue = 65535,
			.snd_nxt = UINT32_MAX,
			.rcv_nxt = UINT32_MAX,
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

static telemetry_cb command(const char *name)
{
	for (unsigned i = 0; i < n_commands; i++)
		if (!strcmp(commands[i].name, name))
			return commands[i].fn;
	cr_assert_fail("no %s", name);
	return NULL;
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

/* ---- one session, and its streams ---- */

static void some_sessions(void)
{
	for (n_all = 0; n_all < 5; n_all++)
		all[n_all] = (struct shard_row){.id = 100 + n_all, .limited_by = "nothing", .streams = n_all};
}

Test(telemetry_sessions, one)
{
	telemetry_cb one = command("/kcpgate/session");

	some_sessions();
	all[3].client = true;
	all[3].parity_in = 40;
	all[3].fec_recovered = 12;
	all[3].sends_ds = 10;
	all[3].sends_ps = 3;
	all[3].smux = 2;
	cr_assert_eq(one("/kcpgate/session", "103", &answer), 0);
	has("\"streams\":3,");
	has("\"id\":\"103\",\"role\":\"client\",");
	has("\"compressed\":\"no\",\"fec_in\":\"off\",\"fec_out\":\"10/3\",\"parity_in_wasted\":28,");
	cr_assert_eq(one("/kcpgate/session", "99", &answer), 0);
	cr_assert_str_eq(answer.text, "\"error\":\"no session 99 (/kcpgate/sessions tells which there are)\",");
	cr_assert_eq(one("/kcpgate/session", "281474976710657", &answer), 0); /* of a worker that there is not */
	has("\"error\":\"no session 281474976710657");
}

Test(telemetry_sessions, streams_by_pages)
{
	telemetry_cb streams = command("/kcpgate/streams");
	char params[40] = "102", name[24];
	unsigned pages = 0;
	const char *next;

	some_sessions();
	n_streams = 150;
	char *seen = calloc(n_streams, 1);
	do {
		cr_assert_eq(streams("/kcpgate/streams", params, &answer), 0);
		cr_assert_leq(answer.n + strlen("{\"/kcpgate/streams\":{}}"), ANSWER_MAX, "%zu bytes", answer.n);
		for (unsigned i = 0; i < n_streams; i++) {
			snprintf(name, sizeof(name), "\"stream\":%u,", 2 * i + 3);
			seen[i] = (char)(seen[i] + (strstr(answer.text, name) != NULL));
		}
		pages++;
		next = strstr(answer.text, "\"next\":\"");
		if (next)
			snprintf(params, sizeof(params), "102,%.*s", (int)strcspn(next + 8, "\""), next + 8);
	} while (next && pages <= n_streams);
	cr_assert_leq(pages, 6);
	for (unsigned i = 0; i < n_streams; i++)
		cr_assert_eq(seen[i], 1, "stream %u: %d times", 2 * i + 3, seen[i]);
	free(seen);
	cr_assert_eq(streams("/kcpgate/streams", "99", &answer), 0);
	has("\"error\":\"no session 99");
	n_streams = 0;
	cr_assert_eq(streams("/kcpgate/streams", "102", &answer), 0);
	cr_assert_str_eq(answer.text, "");
}

/* ---- what nobody can answer ---- */

/* Every command, with what it does not know: an object that says so, and what would have been right. */
Test(telemetry_sessions, wrong_parameters)
{
	static const char *const wrong[] = {"nobody",  "hk,",  "hk,1",
					    "hk,1.2x", ",-1",  ",99999999999999999999.1",
					    "1.2",     ",0.",  "18446744073709551616",
					    "\"\\\n",  "0x10", " 1",
					    "102,7.32"};

	some_sessions();
	for (unsigned i = 0; i < n_commands; i++) {
		for (unsigned k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++) {
			memset(&answer, 0, sizeof(answer));
			cr_assert_eq(commands[i].fn(commands[i].name, wrong[k], &answer), 0, "%s,%s", commands[i].name,
				     wrong[k]);
			cr_assert_eq(strncmp(answer.text, "\"error\":\"", 9), 0, "%s,%s: %s", commands[i].name,
				     wrong[k], answer.text);
			cr_assert_eq(times("\""), 4, "%s", answer.text);
			cr_assert_eq(times("allowed: ") + times("no session"), 1, "%s", answer.text);
		}
	}
	cr_assert_geq(n_commands, 15);
}

Test(telemetry_sessions, ended)
{
	tlm_stop();
	for (unsigned i = 0; i < n_commands; i++) {
		cr_assert_eq(commands[i].fn(commands[i].name, NULL, &answer), 0);
		cr_assert_str_eq(answer.text, "\"error\":\"the gateway is starting, or has ended\",");
	}
}
