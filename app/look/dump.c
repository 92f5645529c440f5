/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "look.h"

/*
 * Lines for programs: the kind of the line, then its columns, with tabs between them; numbers without units, texts that
 * never hold a tab, and "-" for what there is not.  The order of the columns never changes, and later ones go behind.
 */

static const char *const tunnel_columns[] = {"name",	 "role",      "listen",	     "to",	 "crypt",
					     "mode",	 "fec",	      "smuxver",     "sessions", "streams",
					     "bytes_in", "bytes_out", "csum_errors", "memory",	 NULL};
static const char *const session_columns[] = {"id",
					      "tunnel",
					      "peer",
					      "local",
					      "peer_is",
					      "worker",
					      "age_ms",
					      "idle_ms",
					      "streams",
					      "bytes_in",
					      "bytes_out",
					      "segs_out",
					      "segs_in",
					      "retrans",
					      "retrans_needless",
					      "srtt_ms",
					      "min_rtt_us",
					      "queue_us",
					      "rmt_wnd",
					      "snd_wnd",
					      "rcv_wnd",
					      "in_flight",
					      "cwnd",
					      "pacing_bps",
					      "bandwidth_bps",
					      "parity_sent",
					      "parity_left_out",
					      "parity_in",
					      "fec_recovered",
					      "held_bytes",
					      "memory",
					      "limited_by",
					      "wants_peer_rcvwnd",
					      NULL};
static const char *const worker_columns[] = {"id",	    "sessions",	    "streams",	  "turns",	 "busy_turns",
					     "busy_cycles", "total_cycles", "tsc_hz",	  "rx_packets",	 "rx_bytes",
					     "tx_packets",  "tx_bytes",	    "steered_in", "memory_used", NULL};

static const struct kind {
	const char *name, *command;
	const char *const *columns; /* NULL: lines of a name and a number */
} kinds[] = {
	{"tunnel", "/kcpgate/tunnels", tunnel_columns},
	{"session", "/kcpgate/sessions", session_columns},
	{"worker", "/kcpgate/workers", worker_columns},
	{"drop", "/kcpgate/drops", NULL},
	{"snmp", "/kcpgate/snmp", NULL},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

void look_dump_columns(FILE *f)
{
	for (unsigned i = 0; i < KINDS; i++) {
		int at = fprintf(f, "  %s", kinds[i].name);

		for (unsigned c = 0; kinds[i].columns && kinds[i].columns[c]; c++) {
			if (at > 90)
				at = fprintf(f, "\n         ") - 1;
			at += fprintf(f, " %s", kinds[i].columns[c]);
		}
		fprintf(f, "%s\n", kinds[i].columns ? "" : " NAME NUMBER");
	}
}

static void cell(const json_t *v, FILE *f)
{
	const char *text = json_string_value(v);

	if (json_is_integer(v))
		fprintf(f, "\t%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else
		fprintf(f, "\t%s", text && *text ? text : "-");
}

static const json_t *column(const char *key, json_t *row, const char *name)
{
	json_t *to = json_object_get(row, "target");

	if (!strcmp(name, "to"))
		return to ? to : json_object_get(row, "remote");
	return json_object_get(row, name);
}

static void rows(const struct kind *k, json_t *all, FILE *f)
{
	const char *key;
	json_t *row;

	json_object_foreach(all, key, row)
	{
		fputs(k->name, f);
		if (!k->columns) {
			fprintf(f, "\t%s", key);
			cell(row, f);
		}
		for (unsigned c = 0; k->columns && k->columns[c]; c++) {
			if (!strcmp(k->columns[c], "id"))
				fprintf(f, "\t%s", key);
			else
				cell(column(key, row, k->columns[c]), f);
		}
		fputc('\n', f);
	}
}

int look_dump(struct look *l, const char *what, FILE *f)
{
	bool known = !what;

	for (unsigned i = 0; i < KINDS; i++) {
		json_t *all;

		if (what && strcmp(what, kinds[i].name) != 0)
			continue;
		known = true;
		all = look_all(l, kinds[i].command, NULL);
		if (!all)
			return -EPROTO;
		rows(&kinds[i], all, f);
		json_decref(all);
	}
	if (!known)
		snprintf(l->why, sizeof(l->why), "dump: found %s; allowed: tunnel, session, worker, drop, snmp", what);
	return known ? 0 : -EINVAL;
}
