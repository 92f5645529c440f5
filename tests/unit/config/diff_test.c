/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "diff.h"
#include "parse.h"

/* What differs between two configurations, and what a reload makes of it. */

static const struct table {
	const char *group;
	const struct conf_table *of;
} tables[] = {
	{"eal", &conf_eal_table},	    {"limits", &conf_limits_table},
	{"log", &conf_log_table},	    {"telemetry", &conf_telemetry_table},
	{"security", &conf_security_table}, {"ports", &conf_port_table},
	{"tunnels", &conf_tunnel_table},
};

#define TABLES (sizeof(tables) / sizeof(tables[0]))

static bool same(void *ctx, unsigned i, unsigned k)
{
	return true;
}

static bool other(void *ctx, unsigned i, unsigned k)
{
	return false;
}

/* Whoever adds a setting says in diff.c what a reload makes of it. */
Test(diff, every_setting_has_a_verdict)
{
	const char *note;

	for (unsigned t = 0; t < TABLES; t++)
		for (const struct conf_item *it = tables[t].of->items; it->name; it++)
			cr_expect_geq(conf_verdict(tables[t].group, it->name, &note), 0,
				      "%s.%s has no verdict in lib/config/diff.c", tables[t].group, it->name);
	cr_expect_eq(conf_verdict("tunnels", "nonsense", &note), -1);
}

static const char *const text =
	"eal = { lcores = \"0-1\"; args = [ \"--log-level=8\" ]; };\n"
	"ports = ( { name = \"wan0\"; device = \"0000:03:00.0\"; addresses = [ \"192.0.2.7/24\" ]; "
	"gateway = [ \"192.0.2.1\" ]; } );\n"
	"tunnels = ( { name = \"hk\"; role = \"server\"; listen = \":4000\"; target = \"127.0.0.1:80\"; key = "
	"\"k\"; allow = [ \"192.0.2.0/24\" ]; deny = [ \"192.0.2.128/25\" ]; bandwidth = \"20M/100M\"; },\n"
	"{ name = \"us\"; role = \"client\"; listen = \":4001\"; remote = \"192.0.2.9:4000\"; key = \"k\"; } );\n";

static struct conf *load(const char *of)
{
	struct conf *c;
	char why[512];

	cr_assert_eq(load_text(of, &c, why), 0, "%s", why);
	return c;
}

Test(diff, same_file_has_none)
{
	struct conf *a = load(text), *b = load(text);
	struct conf_diff d;

	cr_assert_eq(conf_diff(a, b, same, NULL, &d), 0);
	cr_expect_eq(d.n, 0, "%s", d.n ? d.v[0].name : "");
	conf_diff_free(&d);
	conf_free(a);
	conf_free(b);
}

/* Another text for each setting that is one. */
static const char *other_text(const char *group, const char *name)
{
	static const char *const rows[][3] = {
		{"eal", "lcores", "0-2"},
		{"eal", "file_prefix", "other"},
		{"eal", "args", "--iova-mode=va"},
		{"telemetry", "snmplog", "./snmp"},
		{"log", "file", "/tmp/x"},
		{"security", "user", "nobody"},
		{"security", "state", ""},
		{"ports", "device", "0000:04:00.0"},
		{"ports", "ifname", "kg9"},
		{"ports", "addresses", "192.0.2.8/24"},
		{"ports", "gateway", "2001:db8::1"},
		{"telemetry", "metrics", "127.0.0.1:9911"},
		{"tunnels", "port", "wan0"},
		{"tunnels", "listen", ":4009"},
		{"tunnels", "target", "127.0.0.1:81"},
		{"tunnels", "remote", "192.0.2.9:4009"},
		{"tunnels", "key_file", "/tmp/key"},
		{"tunnels", "allow", "198.51.100.0/24"},
		{"tunnels", "deny", "198.51.100.128/25"},
		{"tunnels", "bandwidth", "30M/100M"},
		{"tunnels", "until", "2026-12-31 18:30"},
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (!strcmp(rows[i][0], group) && !strcmp(rows[i][1], name))
			return rows[i][2];
	return NULL;
}

static void change(const char *group, const struct conf_item *it, void *base)
{
	void *field = (char *)base + it->offset;
	const char *allowed, *to;

	switch (it->kind) {
	case CONF_BOOL:
		*(bool *)field ^= true;
		break;
	case CONF_AUTO:
		*(int *)field = CONF_HUGE_NO;
		break;
	case CONF_UINT:
	case CONF_INT:
		*(int *)field += 1;
		break;
	case CONF_ENUM:
		*(int *)field = !*(int *)field;
		break;
	case CONF_RATE:
		*(uint64_t *)field += 1;
		break;
	case CONF_WORD:
		snprintf(field, it->size, "%s", it->words[strcmp(field, it->words[0]) == 0]);
		break;
	case CONF_TEXT:
		to = other_text(group, it->name);
		cr_assert_not_null(to, "no other text for %s.%s in this test", group, it->name);
		cr_assert_eq(it->put(field, to, &allowed), 0, "%s.%s = %s", group, it->name, to);
		break;
	}
}

static void *base_of(struct conf *c, unsigned t)
{
	void *const bases[] = {&c->eal, c, &c->log, &c->telemetry, &c->security, &c->ports[0], &c->tunnels[0]};

	return bases[t];
}

static bool counts(const struct table *t, const struct conf_item *it)
{
	return strcmp(it->name, "name") != 0 && !(it->flags & CONF_F_SECRET);
}

/* Every setting that is changed is found, alone, by its name, with its verdict; and after it was taken over it is
 * found no more, if it could be. */
Test(diff, every_setting_is_compared)
{
	for (unsigned t = 0; t < TABLES; t++) {
		for (const struct conf_item *it = tables[t].of->items; it->name; it++) {
			struct conf *a = load(text), *b = load(text);
			char want[200], buf[CONF_CHANGE_TEXT];
			const char *note, *of = !strcmp(tables[t].group, "ports") ? ".wan0" : t == 6 ? ".hk" : "";
			struct conf_diff d, again;

			if (counts(&tables[t], it))
				change(tables[t].group, it, base_of(b, t));
			cr_assert_eq(conf_diff(a, b, same, NULL, &d), 0);
			if (counts(&tables[t], it)) {
				snprintf(want, sizeof(want), "%s%s.%s", tables[t].group, of, it->name);
				cr_expect_eq(d.n, 1, "%s: %u", want, d.n);
				cr_expect(d.n && !strcmp(d.v[0].name, want), "%s", d.n ? d.v[0].name : want);
				cr_expect(d.n && (int)d.v[0].how == conf_verdict(tables[t].group, it->name, &note));
				cr_expect_eq(d.n_restart, d.n && d.v[0].how == CONF_HOW_RESTART);
			}
			for (unsigned i = 0; i < d.n; i++) {
				cr_expect(strstr(conf_change_text(&d.v[i], buf), d.v[i].to), "%s", buf);
				conf_adopt(&d.v[i]);
			}
			cr_assert_eq(conf_diff(a, b, same, NULL, &again), 0);
			cr_expect_eq(again.n, d.n, "after a swap %s.%s differs the other way", tables[t].group,
				     it->name);
			if (d.n && d.v[0].how != CONF_HOW_RESTART)
				cr_expect_str_eq(again.v[0].from, d.v[0].to);
			conf_diff_free(&again);
			conf_diff_free(&d);
			conf_free(a);
			conf_free(b);
		}
	}
}

Test(diff, key_is_told_and_not_shown)
{
	struct conf *a = load(text), *b = load(text);
	char buf[CONF_CHANGE_TEXT];
	struct conf_diff d;

	cr_assert_eq(conf_diff(a, b, other, NULL, &d), 0);
	cr_assert_eq(d.n, 2);
	cr_expect_str_eq(d.v[0].name, "tunnels.hk.key");
	cr_expect(!d.v[0].from && !d.v[0].to);
	cr_expect_str_eq(conf_change_text(&d.v[1], buf),
			 "tunnels.us.key: changed (needs a restart: is both sides' of every session)");
	conf_diff_free(&d);
	conf_free(a);
	conf_free(b);
}

/* By name, wherever they stand. */
Test(diff, tunnels_come_and_go)
{
	struct conf *a = load(text),
		    *b = load(PORTS "tunnels = ( { name = \"us\"; role = \"client\"; listen = \":4001\"; remote = "
				    "\"192.0.2.9:4000\"; key = \"k\"; }, { name = \"de\"; role = \"server\"; listen = "
				    "\":4002\"; target = \"127.0.0.1:80\"; key = \"k\"; } );\n");
	struct conf_diff d;
	unsigned tunnels = 0;

	cr_assert_eq(conf_diff(a, b, same, NULL, &d), 0);
	for (unsigned i = 0; i < d.n; i++) {
		if (strncmp(d.v[i].name, "tunnels.", 8) != 0)
			continue;
		tunnels++;
		if (!strcmp(d.v[i].name, "tunnels.hk"))
			cr_expect(d.v[i].what == CONF_REMOVED && d.v[i].tunnel == 0 && d.v[i].how == CONF_HOW_LIVE);
		else
			cr_expect(!strcmp(d.v[i].name, "tunnels.de") && d.v[i].what == CONF_ADDED && d.v[i].added == 1,
				  "%s", d.v[i].name);
	}
	cr_expect_eq(tunnels, 2);
	conf_diff_free(&d);
	conf_free(a);
	conf_free(b);
}

/* One that is gone bears the mark, and is not looked for any more; one that cannot come needs a restart. */
Test(diff, removed_and_barred)
{
	struct conf *a = load(text), *b = load(text);
	char buf[CONF_CHANGE_TEXT];
	struct conf_diff d;

	snprintf(a->tunnels[0].name, sizeof(a->tunnels[0].name), "%chk", CONF_REMOVED_MARK);
	cr_assert_eq(conf_diff(a, b, same, NULL, &d), 0);
	cr_assert_eq(d.n, 1);
	cr_expect(d.v[0].what == CONF_ADDED && d.v[0].how == CONF_HOW_LIVE && d.n_restart == 0);
	conf_diff_bar(&d, &d.v[0], "no room");
	cr_expect_eq(d.n_restart, 1);
	cr_expect_str_eq(conf_change_text(&d.v[0], buf), "tunnels.hk: added (needs a restart: no room)");
	conf_diff_free(&d);
	conf_free(a);
	conf_free(b);
}

/* Places for more, behind those that there are. */
Test(diff, room_for_more)
{
	struct conf *c = load(text);

	cr_assert_eq(conf_reserve(c, 10), 0);
	cr_expect(c->tunnels_room == 10 && c->n_tunnels == 2);
	cr_expect_str_eq(c->tunnels[1].name, "us");
	cr_expect_str_eq(c->tunnels[9].name, "");
	cr_assert_eq(conf_reserve(c, 1), 0);
	cr_expect(c->tunnels_room == 2 && c->n_tunnels == 2);
	conf_free(c);
}

/* What was taken over is the running one's, strings and lists too: freed once each, whoever has them. */
Test(diff, taken_over)
{
	struct conf *a = load(text), *b = load(text);
	struct conf_diff d;

	change("tunnels", conf_item_find(&conf_tunnel_table, "target"), &b->tunnels[0]);
	change("tunnels", conf_item_find(&conf_tunnel_table, "allow"), &b->tunnels[0]);
	change("tunnels", conf_item_find(&conf_tunnel_table, "deny"), &b->tunnels[0]);
	change("log", conf_item_find(&conf_log_table, "file"), &b->log);
	cr_assert_eq(conf_diff(a, b, same, NULL, &d), 0);
	cr_assert_eq(d.n, 4);
	for (unsigned i = 0; i < d.n; i++)
		conf_adopt(&d.v[i]);
	conf_diff_free(&d);
	conf_free(b);
	cr_expect_eq(a->tunnels[0].target.port_min, 81);
	cr_expect_eq(a->tunnels[0].n_rules, 4);
	cr_expect_eq(a->tunnels[0].n_allow, 2);
	cr_expect_str_eq(a->log.file, "/tmp/x");
	conf_free(a);
}
