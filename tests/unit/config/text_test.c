/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/* The small parsers, and what the tables must keep. */

Test(hostport, accepted)
{
	static const struct {
		const char *text, *host;
		unsigned min, max;
	} good[] = {
		{":4000", "", 4000, 4000},
		{":1-65535", "", 1, 65535},
		{"127.0.0.1:80", "127.0.0.1", 80, 80},
		{"vps:29900", "vps", 29900, 29900},
		{"a-b.example_1.net:1-1", "a-b.example_1.net", 1, 1},
		{"[::]:4000", "::", 4000, 4000},
		{"[2001:db8::1]:4000-4009", "2001:db8::1", 4000, 4009},
		{"[fe80::1%eth0.7]:1-2", "fe80::1%eth0.7", 1, 2},
		{"0.0.0.0:00080", "0.0.0.0", 80, 80},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct conf_hostport hp = {0};
		const char *allowed;

		cr_assert_eq(conf_hostport_parse(good[i].text, &hp, &allowed), 0, "%s", good[i].text);
		cr_expect_str_eq(hp.host, good[i].host);
		cr_expect(hp.port_min == good[i].min && hp.port_max == good[i].max, "%s", good[i].text);
		free(hp.host);
	}
}

Test(hostport, refused)
{
	static const char *const bad[] = {
		"",
		":",
		"4000",
		"host",
		"host:",
		"host:0",
		"host:65536",
		"host:123456",
		"host:99999",
		"host:-1",
		"host:1-",
		"host:2-1",
		"host:1-2-3",
		"host:1-0",
		"host:1-65536",
		"host:80 ",
		" host:80",
		"host:+80",
		"host:0x50",
		"::1:80",
		"[::1]80",
		"[::1]",
		"[]:80",
		"[127.0.0.1]:80",
		"[::1:80",
		"::1]:80",
		"[::g]:80",
		"[fe80::1%]:80",
		"[::1%lo]:80",
		"fe80::1%eth0:80",
		"1.2.3:80",
		"1.2.3.4.5:80",
		"256.1.1.1:80",
		"1:80",
		"-a:80",
		".a:80",
		"a b:80",
		"a/b:80",
		"/run/x.sock:1",
		"./x:1",
		"@abstract:1",
		"a\n:80",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct conf_hostport hp = {0};
		const char *allowed;

		cr_expect_eq(conf_hostport_parse(bad[i], &hp, &allowed), -EINVAL, "%s", bad[i]);
		cr_expect_null(hp.host);
	}
}

Test(hostport, name_length)
{
	struct conf_hostport hp = {0};
	const char *allowed;
	char text[300];

	memset(text, 'a', sizeof(text));
	strcpy(text + 253, ":80");
	cr_expect_eq(conf_hostport_parse(text, &hp, &allowed), 0);
	free(hp.host);
	memset(text, 'a', sizeof(text));
	strcpy(text + 254, ":80");
	cr_expect_eq(conf_hostport_parse(text, &hp, &allowed), -EINVAL);
}

Test(lcores, counted)
{
	static const struct {
		const char *text;
		unsigned n;
	} good[] = {
		{"0", 1},
		{"0,1", 2},
		{"0-3", 4},
		{"3-0", 4},
		{"0@0,1@1", 2},
		{"0@0,1@0", 2},
		{"0@(0-1),(1,2)@(0-1)", 3},
		{"(0-3)@(0,2)", 4},
		{"1,2@(5-7),(3-5)@(0,2),(0,6),7-8", 9},
		{"0,0,0", 1},
		{"0-1@2-3", 2},
		{"127@1023", 1},
		{"0-127", 128},
		{" 0 , 1 @ ( 2 , 3 )", 2},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		unsigned n = 0;

		cr_expect_eq(conf_lcores_count(good[i].text, &n), 0, "%s", good[i].text);
		cr_expect_eq(n, good[i].n, "%s: %u", good[i].text, n);
	}
}

Test(lcores, nodes)
{
	static int8_t node[CONF_CPUS_MAX]; /* CPUs 0-3 and 8.. on node 0, 4-7 on node 1 */
	static const struct {
		const char *text;
		unsigned n;
		struct conf_lcore v[6];
	} good[] = {
		{"0-1", 2, {{0, 0}, {1, 0}}},
		{"3-4", 2, {{3, 0}, {4, 1}}},	  /* each on the CPU of its number */
		{"(3-4)", 2, {{3, -1}, {4, -1}}}, /* both on either */
		{"7@0,2@4", 2, {{2, 1}, {7, 0}}},
		{"0@(0-3),1-2@(4-7)", 3, {{0, 0}, {1, 1}, {2, 1}}},
		{"0@(0-7),1@(4,6)", 2, {{0, -1}, {1, 1}}},
		{"0@0,0@5", 1, {{0, 1}}}, /* EAL keeps the last */
	};

	for (int i = 4; i < 8; i++)
		node[i] = 1;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct conf_lcore v[6];
		unsigned n = 0;

		cr_assert_eq(conf_lcores(good[i].text, node, v, 6, &n), 0, "%s", good[i].text);
		cr_assert_eq(n, good[i].n, "%s: %u", good[i].text, n);
		for (unsigned k = 0; k < n; k++) {
			cr_expect_eq(v[k].id, good[i].v[k].id, "%s: %u", good[i].text, v[k].id);
			cr_expect_eq(v[k].node, good[i].v[k].node, "%s: %u: %d", good[i].text, k, v[k].node);
		}
	}
}

/* The CPUs as ranges of one: "0,2". */
static const char *cpus_of(const char *text, unsigned id)
{
	static char list[256];
	uint8_t cpus[CONF_CPUS_MAX];
	size_t n = 0;

	list[0] = '\0';
	if (conf_lcore_cpus(text, id, cpus))
		return "none";
	for (unsigned i = 0; i < CONF_CPUS_MAX && n < sizeof(list) - 8; i++)
		if (cpus[i])
			n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%u", n ? "," : "", i);
	return list;
}

Test(lcores, cpus)
{
	uint8_t cpus[CONF_CPUS_MAX];

	cr_expect_str_eq(cpus_of("0@5,1@7", 1), "7");
	cr_expect_str_eq(cpus_of("2-4", 3), "3");
	cr_expect_str_eq(cpus_of("(2-4)", 3), "2,3,4");
	cr_expect_str_eq(cpus_of("0@(0,2),1@(0,2)", 1), "0,2");
	cr_expect_str_eq(cpus_of("0, (1,2)@(8-10)", 2), "8,9,10");
	cr_expect_eq(conf_lcore_cpus("0@5,1@7", 2, cpus), -ENOENT);
	cr_expect_eq(conf_lcore_cpus("0@5,1@", 0, cpus), -EINVAL);
	cr_expect_eq(conf_lcore_cpus("0@5;1@7", 0, cpus), -EINVAL);
}

Test(lcores, refused)
{
	static const char *const bad[] = {
		"",    ",",    "0,",	 ",0",	  "a",
		"0-",  "-1",   "0--1",	 "(",	  "()",
		"(0",  "0)",   "(0,)",	 "0@",	  "@0",
		"0@a", "0@()", "0@0@0",	 "128",	  "0@1024",
		"0 1", "0x1",  "0-3@(0", "((0))", "99999999999999999999",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		unsigned n;

		cr_expect_eq(conf_lcores_count(bad[i], &n), -EINVAL, "%s", bad[i]);
	}
}

static const char *nearest(const char *name)
{
	static const char *const names[] = {"sndwnd",	 "rcvwnd",	"mtu",	    "mode",
					    "datashard", "parityshard", "key_file", "nc"};
	struct conf_nearest n;

	conf_nearest_start(&n, name);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		conf_nearest_try(&n, names[i]);
	return n.best ? n.best : "";
}

Test(nearest, names)
{
	cr_expect_str_eq(nearest("sndwind"), "sndwnd");
	cr_expect_str_eq(nearest("rcwnd"), "rcvwnd");
	cr_expect_str_eq(nearest("SNDWND"), "sndwnd");
	cr_expect_str_eq(nearest("mut"), "mtu");
	cr_expect_str_eq(nearest("datashards"), "datashard");
	cr_expect_str_eq(nearest("key-file"), "key_file");
	cr_expect_str_eq(nearest("m"), "");
	cr_expect_str_eq(nearest("turbo"), "");
	cr_expect_str_eq(nearest("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"), "");
}

Test(quote, one_short_line)
{
	char buf[CONF_FOUND_MAX], text[200];

	cr_expect_str_eq(conf_quote("a\tb\nc\x7f", buf), "\"a?b?c?\"");
	cr_expect_str_eq(conf_quote("", buf), "\"\"");
	memset(text, 'a', sizeof(text));
	for (size_t n = 0; n < sizeof(text); n++) {
		text[n] = '\0';
		cr_expect_lt(strlen(conf_quote(text, buf)), sizeof(buf));
		text[n] = 'a';
	}
}

/* A row without its range, words, parser or help would only show when a user meets it. */
Test(tables, complete)
{
	const struct conf_table *const tables[] = {&conf_eal_table,	&conf_limits_table, &conf_telemetry_table,
						   &conf_log_table,	&conf_port_table,   &conf_tunnel_table,
						   &conf_security_table};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		unsigned n = 0;

		for (const struct conf_item *it = tables[i]->items; it->name; it++, n++) {
			cr_expect_not_null(it->help, "%s", it->name);
			if (it->kind == CONF_UINT || it->kind == CONF_INT)
				cr_expect(it->min < it->max, "%s", it->name);
			if (it->kind == CONF_ENUM || it->kind == CONF_WORD)
				cr_expect_not_null(it->words, "%s", it->name);
			if (it->kind == CONF_TEXT)
				cr_expect(it->put && it->allowed, "%s", it->name);
			if (it->kind == CONF_WORD)
				for (unsigned w = 0; it->words[w]; w++)
					cr_expect_lt(strlen(it->words[w]), it->size, "%s", it->words[w]);
			for (const struct conf_later *l = tables[i]->later; l && l->name; l++)
				cr_expect_str_neq(l->name, it->name);
		}
		cr_expect_leq(n, CONF_ITEMS_MAX);
	}
}
