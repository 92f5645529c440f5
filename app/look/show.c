/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "drop.h"
#include "look.h"

/* Telemetry's answers as tables for people. */

/* Segments that were sent again, of those that were sent. */
static double lost_part(const json_t *s)
{
	uint64_t again = look_u64(s, "retrans"), all = look_u64(s, "segs_out") + again;

	return all ? (double)again / (double)all : 0;
}

static int table_snmp(const json_t *all, FILE *f)
{
	static const char *const heads[] = {"COUNTER", ">VALUE", NULL};
	struct look_table t;
	const char *name;
	json_t *v;

	look_table_begin(&t, heads);
	json_object_foreach((json_t *)all, name, v)
	{
		look_cell(&t, "%s", name);
		look_cell(&t, "%" PRIu64, (uint64_t)json_integer_value(v));
	}
	return look_table_end(&t, f, 0);
}

static int table_tunnels(const json_t *all, FILE *f)
{
	static const char *const heads[] = {"TUNNEL",	"ROLE", "LISTEN", "TO",	     "CRYPT",	 "FEC", ">SESSIONS",
					    ">STREAMS", ">IN",	">OUT",	  ">MEMORY", ">REFUSED", NULL};
	struct look_table t;
	const char *key;
	json_t *v;

	look_table_begin(&t, heads);
	json_object_foreach((json_t *)all, key, v)
	{
		const char *target = look_str(v, "target");
		char text[LOOK_NUM];

		look_cell(&t, "%s", look_str(v, "name"));
		look_cell(&t, "%s", look_str(v, "role"));
		look_cell(&t, "%s", look_str(v, "listen"));
		look_cell(&t, "%s", *target ? target : look_str(v, "remote"));
		look_cell(&t, "%s", look_str(v, "crypt"));
		look_cell(&t, "%s", look_str(v, "fec"));
		look_cell(&t, "%" PRIu64, look_u64(v, "sessions"));
		look_cell(&t, "%" PRIu64, look_u64(v, "streams"));
		look_cell(&t, "%s", look_bytes(look_u64(v, "bytes_in"), text));
		look_cell(&t, "%s", look_bytes(look_u64(v, "bytes_out"), text));
		look_cell(&t, "%s", look_bytes(look_u64(v, "memory"), text));
		look_cell(&t, "%" PRIu64, look_u64(v, "chunks_refused") + look_u64(v, "streams_refused"));
	}
	return look_table_end(&t, f, 0);
}

static int table_sessions(const json_t *all, FILE *f)
{
	static const char *const heads[] = {"SESSION", "TUNNEL", "PEER", "IS",	     ">AGE",  ">STREAMS",   ">RTT",
					    ">RESENT", ">IN",	 ">OUT", ">CARRIES", ">HELD", "LIMITED BY", NULL};
	struct look_table t;
	const char *id;
	json_t *v;

	look_table_begin(&t, heads);
	json_object_foreach((json_t *)all, id, v)
	{
		char text[LOOK_NUM];

		look_cell(&t, "%s", id);
		look_cell(&t, "%s", look_str(v, "tunnel"));
		look_cell(&t, "%s", look_str(v, "peer"));
		look_cell(&t, "%s", look_str(v, "peer_is"));
		look_cell(&t, "%s", look_span(look_u64(v, "age_ms"), text));
		look_cell(&t, "%" PRIu64, look_u64(v, "streams"));
		look_cell(&t, "%" PRIu64 " ms", look_u64(v, "srtt_ms"));
		look_cell(&t, "%s", look_part(lost_part(v), text));
		look_cell(&t, "%s", look_bytes(look_u64(v, "bytes_in"), text));
		look_cell(&t, "%s", look_bytes(look_u64(v, "bytes_out"), text));
		look_cell(&t, "%s", look_rate((double)look_u64(v, "bandwidth_bps"), text));
		look_cell(&t, "%s", look_bytes(look_u64(v, "held_bytes"), text));
		look_cell(&t, "%s", look_str(v, "limited_by"));
	}
	return look_table_end(&t, f, 0);
}

static int table_streams(const json_t *all, FILE *f)
{
	static const char *const heads[] = {">STREAM",	"FROM",	 "STATE",   ">FROM TCP", ">TO TCP",
					    ">TO SEND", ">HELD", ">WINDOW", "WAITS FOR", NULL};
	struct look_table t;
	const char *id;
	json_t *v;

	look_table_begin(&t, heads);
	json_object_foreach((json_t *)all, id, v)
	{
		bool smux2 = json_object_get(v, "peer_window");
		char text[LOOK_NUM];

		look_cell(&t, "%s", id);
		look_cell(&t, "%s", look_str(v, "from"));
		look_cell(&t, "%s", look_str(v, "state"));
		look_cell(&t, "%s", look_bytes(look_u64(v, "bytes_from_tcp"), text));
		look_cell(&t, "%s", look_bytes(look_u64(v, "bytes_to_tcp"), text));
		look_cell(&t, "%s", look_bytes(look_u64(v, "to_send"), text));
		look_cell(&t, "%s", look_bytes(look_u64(v, "held_for_tcp"), text));
		look_cell(&t, "%s", smux2 ? look_bytes(look_u64(v, "peer_window"), text) : "-");
		look_cell(&t, "%s", look_str(v, "waits_for"));
	}
	return look_table_end(&t, f, 0);
}

static int table_workers(const json_t *all, FILE *f)
{
	static const char *const heads[] = {">WORKER",	 ">SESSIONS", ">STREAMS",	">BUSY",   ">RX",      ">TX",
					    ">RX BYTES", ">TX BYTES", ">CYCLES/PACKET", ">MEMORY", ">STEERED", NULL};
	struct look_table t;
	const char *id;
	json_t *v;

	look_table_begin(&t, heads);
	json_object_foreach((json_t *)all, id, v)
	{
		double total = (double)look_u64(v, "total_cycles");
		char text[LOOK_NUM];

		look_cell(&t, "%s", id);
		look_cell(&t, "%" PRIu64, look_u64(v, "sessions"));
		look_cell(&t, "%" PRIu64, look_u64(v, "streams"));
		look_cell(&t, "%s", look_part(total > 0 ? (double)look_u64(v, "busy_cycles") / total : 0, text));
		look_cell(&t, "%" PRIu64, look_u64(v, "rx_packets"));
		look_cell(&t, "%" PRIu64, look_u64(v, "tx_packets"));
		look_cell(&t, "%s", look_bytes(look_u64(v, "rx_bytes"), text));
		look_cell(&t, "%s", look_bytes(look_u64(v, "tx_bytes"), text));
		look_cell(&t, "%" PRIu64, look_u64(v, "cycles_per_packet"));
		look_cell(&t, "%s", look_bytes(look_u64(v, "memory_used"), text));
		look_cell(&t, "%" PRIu64, look_u64(v, "steered_in"));
	}
	return look_table_end(&t, f, 0);
}

/* What so many of a thousand are below; 0: there are none. */
static uint64_t below(const json_t *h, uint64_t permille)
{
	uint64_t count = look_u64(h, "count"), seen = 0, bound = 0;
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)h, name, v)
	{
		if (strncmp(name, "below_", 6) != 0 || (count && seen * 1000 >= count * permille))
			continue;
		seen += (uint64_t)json_integer_value(v);
		bound = strtoull(name + 6, NULL, 10);
	}
	return bound;
}

static int table_histograms(const json_t *all, FILE *f)
{
	static const char *const heads[] = {"HISTOGRAM",   ">COUNT",	    ">MEAN",	  ">HALF BELOW", ">90 % BELOW",
					    ">99 % BELOW", ">99.9 % BELOW", ">ALL BELOW", NULL};
	static const unsigned parts[] = {500, 900, 990, 999, 1000};
	struct look_table t;
	const char *name;
	json_t *v;

	look_table_begin(&t, heads);
	json_object_foreach((json_t *)all, name, v)
	{
		bool ns = !strcmp(look_str(v, "unit"), "ns");
		uint64_t count = look_u64(v, "count");
		char text[LOOK_NUM];

		look_cell(&t, "%s", name);
		look_cell(&t, "%" PRIu64, count);
		look_cell(&t, "%s", look_unit(count ? look_u64(v, "sum") / count : 0, ns, text));
		for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
			look_cell(&t, "%s", look_unit(below(v, parts[i]), ns, text));
	}
	return look_table_end(&t, f, 0);
}

static const char *meaning(const char *reason)
{
	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++)
		if (!strcmp(drop_name(v), reason))
			return drop_why(v);
	return "";
}

static int table_drops(const json_t *all, FILE *f)
{
	static const char *const heads[] = {"REASON", ">DROPPED", "MEANING", NULL};
	struct look_table t;
	const char *name;
	unsigned n = 0;
	json_t *v;

	look_table_begin(&t, heads);
	json_object_foreach((json_t *)all, name, v)
	{
		if (!json_integer_value(v))
			continue;
		look_cell(&t, "%s", name);
		look_cell(&t, "%" PRIu64, (uint64_t)json_integer_value(v));
		look_cell(&t, "%s", meaning(name));
		n++;
	}
	if (!n) {
		look_cell(&t, "nothing was dropped");
		look_cell(&t, "-");
		look_cell(&t, "-");
	}
	return look_table_end(&t, f, 0);
}

static int table_ports(const json_t *all, FILE *f)
{
	static const char *const heads[] = {"PORT",   "DEVICE",	 "STATE",   "LINK",	">MBIT/S", ">CHANGES",
					    "DRIVER", ">QUEUES", "SPREADS", "WOKEN BY", NULL};
	struct look_table t;
	const char *key;
	json_t *v;

	look_table_begin(&t, heads);
	json_object_foreach((json_t *)all, key, v)
	{
		bool open = !strcmp(look_str(v, "state"), "open");

		look_cell(&t, "%s", look_str(v, "name"));
		look_cell(&t, "%s", look_str(v, "device"));
		look_cell(&t, "%s", look_str(v, "state"));
		look_cell(&t, "%s", look_str(v, "link"));
		look_cell(&t, "%" PRIu64, look_u64(v, "link_mbps"));
		look_cell(&t, "%" PRIu64, look_u64(v, "link_changes"));
		look_cell(&t, "%s", open ? look_str(v, "driver") : "-");
		look_cell(&t, "%" PRIu64 "/%" PRIu64, look_u64(v, "rx_queues"), look_u64(v, "tx_queues"));
		look_cell(&t, "%s", open ? look_str(v, "rss") : "-");
		look_cell(&t, "%s", open ? look_str(v, "woken_by") : "-");
	}
	return look_table_end(&t, f, 0);
}

static int table_limits(const json_t *all, FILE *f)
{
	static const char *const heads[] = {"LIMIT", ">USED", ">FULLEST", ">ALLOWED", ">REFUSED", NULL};
	struct look_table t;
	const char *key;
	json_t *v;

	look_table_begin(&t, heads);
	json_object_foreach((json_t *)all, key, v)
	{
		look_cell(&t, "%s", key);
		look_cell(&t, "%" PRIu64, look_u64(v, "used"));
		look_cell(&t, "%" PRIu64, look_u64(v, "most"));
		if (look_u64(v, "limit"))
			look_cell(&t, "%" PRIu64, look_u64(v, "limit"));
		else
			look_cell(&t, "-");
		look_cell(&t, "%" PRIu64, look_u64(v, "refused"));
	}
	return look_table_end(&t, f, 0);
}

/* ---- one object: a line each ---- */

static void value(const json_t *v, FILE *f)
{
	if (json_is_integer(v))
		fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else
		fprintf(f, "%s", json_string_value(v) ? json_string_value(v) : "");
}

/* With the unit that a name ends in, as people write it. */
static void item(const char *name, const json_t *v, FILE *f)
{
	static const struct {
		const char *end;
		const char *(*text)(uint64_t n, char buf[LOOK_NUM]);
	} units[] = {{"_us", look_ms},		{"age_ms", look_span},	   {"idle_ms", look_span},
		     {"bytes_in", look_bytes},	{"bytes_out", look_bytes}, {"memory", look_bytes},
		     {"in_flight", look_bytes}, {"cwnd", look_bytes}};
	size_t n = strlen(name);
	char text[LOOK_NUM];

	fprintf(f, "  %-20s ", name);
	value(v, f);
	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]) && json_is_integer(v); i++) {
		size_t k = strlen(units[i].end);

		if (n >= k && !strcmp(name + n - k, units[i].end))
			fprintf(f, "  (%s)", units[i].text((uint64_t)json_integer_value(v), text));
	}
	if (n > 4 && !strcmp(name + n - 4, "_bps"))
		fprintf(f, "  (%s)", look_rate((double)json_integer_value(v), text));
	fputc('\n', f);
}

static int lines(const json_t *o, FILE *f)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)o, name, v) item(name, v, f);
	return 0;
}

/* As the file would say it. */
static int table_config(const json_t *all, FILE *f)
{
	const char *key, *name;
	json_t *o, *v;

	json_object_foreach((json_t *)all, key, o)
	{
		fprintf(f, "%s%s%s:\n", look_str(o, "section"), json_object_get(o, "name") ? "." : "",
			look_str(o, "name"));
		json_object_foreach(o, name, v)
		{
			if (!strcmp(name, "section"))
				continue;
			fprintf(f, "  %-18s = ", name);
			value(v, f);
			fputc('\n', f);
		}
	}
	return 0;
}

/* ---- what there is to show ---- */

static const struct view {
	const char *what, *command;
	bool pages;
	const char *parameter; /* NULL: takes none; in brackets: may have one */
	int (*table)(const json_t *all, FILE *f);
	const char *words;
} views[] = {
	{"tunnels", "/kcpgate/tunnels", true, "[TUNNEL]", table_tunnels, "tunnels, their traffic and memory"},
	{"sessions", "/kcpgate/sessions", true, "[TUNNEL]", table_sessions,
	 "sessions: who, how fast, what they are limited by"},
	{"session", "/kcpgate/session", false, "ID", lines, "everything of one session"},
	{"streams", "/kcpgate/streams", true, "ID", table_streams, "a session's streams, and what they wait for"},
	{"workers", "/kcpgate/workers", true, NULL, table_workers, "workers: how busy, what passed"},
	{"histograms", "/kcpgate/histograms", false, "[WORKER]", table_histograms,
	 "how long packets take in a turn, and how wide bursts are"},
	{"drops", "/kcpgate/drops", false, NULL, table_drops, "what was dropped, and why"},
	{"ports", "/kcpgate/ports", false, NULL, table_ports, "ports: device, link, queues"},
	{"limits", "/kcpgate/limits", false, NULL, table_limits, "limits: how full, and how often they refused"},
	{"control", "/kcpgate/control", false, NULL, lines, "kernel TCP, dials, the exception path, buffers"},
	{"security", "/kcpgate/security", false, NULL, lines, "what the process has kept of rights"},
	{"snmp", "/kcpgate/snmp", false, "[TUNNEL]", table_snmp, "kcptun's SNMP counters"},
	{"config", "/kcpgate/config", true, NULL, table_config, "the configuration in force, without keys"},
};

#define VIEWS (sizeof(views) / sizeof(views[0]))

void look_show_words(FILE *f)
{
	for (unsigned i = 0; i < VIEWS; i++)
		fprintf(f, "  %-10s %-9s %s\n", views[i].what, views[i].parameter ? views[i].parameter : "",
			views[i].words);
	fputs("  dump       [WHAT]    the same as lines for programs, below\n", f);
}

static const struct view *find(struct look *l, const char *what)
{
	for (unsigned i = 0; i < VIEWS; i++)
		if (!strcmp(views[i].what, what))
			return &views[i];
	snprintf(l->why, sizeof(l->why), "found %s; allowed:", what);
	for (unsigned i = 0; i < VIEWS; i++) {
		size_t n = strlen(l->why);

		snprintf(l->why + n, sizeof(l->why) - n, " %s,", views[i].what);
	}
	snprintf(l->why + strlen(l->why), sizeof(l->why) - strlen(l->why), " dump");
	return NULL;
}

static int suits(struct look *l, const struct view *v, const char *parameter)
{
	if (parameter && !v->parameter)
		snprintf(l->why, sizeof(l->why), "%s: found %s; allowed: nothing behind it", v->what, parameter);
	else if (!parameter && v->parameter && v->parameter[0] != '[')
		snprintf(l->why, sizeof(l->why), "%s: %s is needed (kcpgate show sessions tells)", v->what,
			 v->parameter);
	else
		return 0;
	return -EINVAL;
}

int look_show(struct look *l, const char *what, const char *parameter, bool json, FILE *f)
{
	const struct view *v = find(l, what);
	json_t *all;
	int ret;

	if (!v || suits(l, v, parameter))
		return -EINVAL;
	all = v->pages ? look_all(l, v->command, parameter) : look_get(l, v->command, parameter);
	if (!all)
		return -EPROTO;
	if (json) {
		ret = json_dumpf(all, f, JSON_INDENT(2)) ? -ENOMEM : 0;
		fputc('\n', f);
	} else {
		ret = v->table(all, f);
	}
	json_decref(all);
	if (ret)
		snprintf(l->why, sizeof(l->why), "%s", strerror(-ret));
	return ret;
}
