/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/* The plain groups: eal, limits, telemetry, log, security. */

/* ---- eal ---- */

static int put_lcores(void *field, const char *text, const char **allowed)
{
	struct conf_eal *eal = field;
	unsigned n;

	if (conf_lcores_count(text, &n) < 0)
		return -EINVAL;
	if (n < 2 || n > 1 + CONF_WORKERS_MAX) {
		*allowed = "2 to 65 lcores: one for control and 1 to 64 workers";
		return -EINVAL;
	}
	eal->n_lcores = n;
	return conf_put_text(&eal->lcores, text, allowed);
}

static int put_file_prefix(void *field, const char *text, const char **allowed)
{
	return conf_name_ok(text) ? conf_put_text(field, text, allowed) : -EINVAL;
}

/* True for "-l", "-l0-3" of "-l" and for "--lcores", "--lcores=0-3" of "--lcores". */
static bool is_option(const char *arg, const char *option)
{
	size_t n = strlen(option);

	if (strncmp(arg, option, n) != 0)
		return false;
	return option[1] != '-' || arg[n] == '\0' || arg[n] == '=';
}

static int put_arg(void *field, const char *text, const char **allowed)
{
	static const char *const ours[][2] = {
		{"-c", "not -c: the setting is lcores"},
		{"-l", "not -l: the setting is lcores"},
		{"--lcores", "not --lcores: the setting is lcores"},
		{"--main-lcore", "not --main-lcore: the main lcore is the lowest of lcores"},
		{"-b", "not -b: only the devices of ports are taken"},
		{"--block", "not --block: only the devices of ports are taken"},
		{"-m", "not -m: the setting is memory"},
		{"--no-huge", "not --no-huge: the setting is hugepages"},
		{"--file-prefix", "not --file-prefix: the setting is file_prefix"},
		{"--no-telemetry", "not --no-telemetry: the setting is telemetry.enable"},
		{"-h", "not -h: EAL would print its help and end"},
		{"--help", "not --help: EAL would print its help and end"},
	};
	struct conf_eal *eal = field;
	char **more;
	unsigned n = 0;

	if (text[0] == '\0' || strcmp(text, "--") == 0)
		return -EINVAL;
	for (unsigned i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		if (is_option(text, ours[i][0])) {
			*allowed = ours[i][1];
			return -EINVAL;
		}
	}
	while (eal->args && eal->args[n])
		n++;
	if (n == LIMIT_EAL_ARGS) {
		*allowed = "up to " LIMIT_TEXT(LIMIT_EAL_ARGS) " arguments";
		return -EINVAL;
	}
	more = realloc(eal->args, (n + 2) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	eal->args = more;
	more[n] = strdup(text);
	more[n + 1] = NULL;
	return more[n] ? 0 : -ENOMEM;
}

#define EAL(f) .offset = offsetof(struct conf_eal, f), .size = sizeof(((struct conf_eal *)0)->f)

static const char *const idle_words[] = {"adaptive", "poll", NULL};

static const struct conf_item eal_items[] = {
	{"lcores", .kind = CONF_TEXT, .put = put_lcores, .allowed = "EAL's syntax, such as \"0-3\" or \"0@0,1@(2,3)\"",
	 .help = "threads and their CPUs: the lowest is control, the others are workers"},
	{"control", .kind = CONF_UINT, EAL(control), .min = 1, .max = LIMIT_CONTROLS,
	 .help = "lcores that share the TCP connections: the lowest, and beyond one the highest"},
	{"hugepages", .kind = CONF_AUTO, EAL(hugepages),
	 .help = "take memory from hugepages; not given: when there are any"},
	{"memory", .kind = CONF_UINT, EAL(memory), .min = 64, .max = 1048576, .help = "MB in all; not given: computed"},
	{"file_prefix", .kind = CONF_TEXT, EAL(file_prefix), .put = put_file_prefix,
	 .allowed = "1 to 31 characters of A-Z a-z 0-9 . _ -", .help = "tells DPDK processes of one host apart"},
	{"args", .kind = CONF_TEXT, .flags = CONF_F_MANY, .put = put_arg, .allowed = "an EAL argument",
	 .help = "more arguments for EAL"},
	{"idle", .kind = CONF_ENUM, EAL(idle), .words = idle_words,
	 .help = "sleep when there is nothing to do, or spin"},
	{"dumpcap", .kind = CONF_BOOL, EAL(dumpcap),
	 .help = "let dpdk-dumpcap attach: memory is files of hugetlbfs then, which it maps"},
	{NULL},
};

const struct conf_table conf_eal_table = {eal_items, NULL};

/* ---- limits ---- */

static const struct conf_item limits_items[] = {
	{"sessions", .kind = CONF_UINT, .offset = offsetof(struct conf, max_sessions), .min = 1, .max = LIMIT_SESSIONS,
	 .help = "KCP sessions a worker"},
	{"address_sessions", .kind = CONF_UINT, .offset = offsetof(struct conf, max_address), .max = LIMIT_SESSIONS_ALL,
	 .help = "sessions of one source address, of all servers' tunnels and workers; 0: as many as come; not given: "
		 "half of all that there may be, 4096 at least"},
	{"prefix_sessions", .kind = CONF_UINT, .offset = offsetof(struct conf, max_prefix), .max = LIMIT_SESSIONS_ALL,
	 .help = "the same of one IPv4 /24 or IPv6 /56; not given: three quarters of all, 4096 at least"},
	{"address_rate", .kind = CONF_UINT, .offset = offsetof(struct conf, max_rate), .max = 1000000,
	 .help = "new sessions a second of one source address, and those of four seconds (64 at least) at once; 0: as "
		 "many as come"},
	{"spare_tunnels", .kind = CONF_UINT, .offset = offsetof(struct conf, spare_tunnels), .max = CONF_TUNNELS_MAX,
	 .help = "tunnels that a reload may add before the next start"},
	{"session_bytes", .kind = CONF_UINT, .offset = offsetof(struct conf, session_bytes), .max = INT32_MAX,
	 .help = "bytes of memory that a session may hold, 65536 at least; 0: its part of what there is"},
	{"streams", .kind = CONF_UINT, .offset = offsetof(struct conf, max_streams), .min = 1, .max = 1048576,
	 .help = "streams a session"},
	{"dials", .kind = CONF_UINT, .offset = offsetof(struct conf, max_dials), .min = 1, .max = 65536,
	 .help = "connections to targets that are being made at once; more wait"},
	{"dialtimeout", .kind = CONF_UINT, .offset = offsetof(struct conf, dial_timeout), .min = 1, .max = 3600,
	 .help = "seconds after which a connection to a target has failed"},
	{NULL},
};

const struct conf_table conf_limits_table = {limits_items, NULL};

/* ---- telemetry ---- */

#define SECONDS_MAX 4294967 /* in ms it fits 32 bits */

static const struct conf_item telemetry_items[] = {
	{"enable", .kind = CONF_BOOL, .offset = offsetof(struct conf_telemetry, enable),
	 .help = "answer dpdk-telemetry.py under /kcpgate, and kcpgate capture"},
	{"allow_plaintext", .kind = CONF_BOOL, .offset = offsetof(struct conf_telemetry, allow_plaintext),
	 .help = "let who may use telemetry capture decrypted packets too: kcpgate capture --plaintext"},
	{"snmplog", .kind = CONF_TEXT, .offset = offsetof(struct conf_telemetry, snmplog), .put = conf_put_text,
	 .allowed = "a file's path, such as \"./snmp-20060102.log\"",
	 .help = "append the SNMP counters to this file; its name is a Go time layout, like ./snmp-20060102.log"},
	{"snmpperiod", .kind = CONF_UINT, .offset = offsetof(struct conf_telemetry, snmpperiod), .min = 1,
	 .max = SECONDS_MAX, .help = "seconds between rows of snmplog"},
	{"metrics", .kind = CONF_TEXT, .offset = offsetof(struct conf_telemetry, metrics), .put = conf_endpoint_put,
	 .get = conf_endpoint_get,
	 .allowed = "\"unix:/PATH\", an ADDRESS:PORT such as \"127.0.0.1:9911\", or \"\" for none",
	 .help = "answer HTTP here: /metrics for Prometheus, and a page for people"},
	{"allow_remote_metrics", .kind = CONF_BOOL, .offset = offsetof(struct conf_telemetry, allow_remote_metrics),
	 .help = "let metrics be an address that other hosts reach, who then see who is served, and how much"},
	{NULL},
};

static const struct conf_later telemetry_later[] = {
	{"pprof", CONF_NO_PPROF},
	{NULL},
};

const struct conf_table conf_telemetry_table = {telemetry_items, telemetry_later};

/* ---- log ---- */

static const char *const level_words[] = {"error", "warn", "info", "debug", NULL}; /* enum log_level */

static const char *const format_words[] = {"text", "kv", "json", NULL}; /* enum log_format */

static const struct conf_item log_items[] = {
	{"level", .kind = CONF_ENUM, .offset = offsetof(struct conf_log, level), .words = level_words,
	 .help = "the lowest level that is written"},
	{"file", .kind = CONF_TEXT, .offset = offsetof(struct conf_log, file), .put = conf_put_text,
	 .allowed = "a file's path, or \"\" for stderr", .help = "where lines are appended"},
	{"quiet", .kind = CONF_BOOL, .offset = offsetof(struct conf_log, quiet),
	 .help = "no lines about streams that open and close"},
	{"format", .kind = CONF_ENUM, .offset = offsetof(struct conf_log, format), .words = format_words,
	 .help = "kcptun's text, key=value (logfmt), or a JSON object a line"},
	{"rate", .kind = CONF_UINT, .offset = offsetof(struct conf_log, rate), .max = 1000000,
	 .help = "lines of each level a second, once it is ready; how many were left out is told; 0: as many as come"},
	{NULL},
};

const struct conf_table conf_log_table = {log_items, NULL};

/* ---- security ---- */

static const struct conf_item security_items[] = {
	{"user", .kind = CONF_TEXT, .offset = offsetof(struct conf_security, user), .put = conf_put_text,
	 .allowed = "the name of a user of this machine",
	 .help = "who it becomes when root starts it; not given: it stays root, without what it does not need"},
	{"sandbox", .kind = CONF_BOOL, .offset = offsetof(struct conf_security, sandbox),
	 .help = "refuse itself, by seccomp, the system calls that it does not need"},
	{"state", .kind = CONF_TEXT, .offset = offsetof(struct conf_security, state), .put = conf_put_text,
	 .allowed = "a folder's path, or \"\" for none",
	 .help = "where a server keeps, over restarts, which conversations there have been: against recordings"},
	{"core_dumps", .kind = CONF_BOOL, .offset = offsetof(struct conf_security, core_dumps),
	 .help = "let it leave core files, and debuggers of its user look at it"},
	{NULL},
};

const struct conf_table conf_security_table = {security_items, NULL};
