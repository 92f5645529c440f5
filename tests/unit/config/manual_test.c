/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "flags.h"

/* kcpgate.conf(5) and kcpgate(8) beside the tables that they are of. */

static char *text;
static size_t text_n;

static void print(int (*fn)(FILE *f))
{
	FILE *f = open_memstream(&text, &text_n);

	cr_assert_not_null(f);
	cr_assert_eq(fn(f), 0);
	fclose(f);
}

static void teardown(void)
{
	free(text);
}

TestSuite(manual, .fini = teardown);

/* A copy of what stands from `from` to the next line that begins with `to`, or the end. */
static char *part(const char *from, const char *to)
{
	const char *at = strstr(text, from), *end;

	cr_assert_not_null(at, "%s", from);
	end = strstr(at + 1, to);
	return strndup(at, end ? (size_t)(end - at) : strlen(at));
}

static unsigned count(const char *in, const char *what)
{
	unsigned n = 0;

	for (const char *at = in; (at = strstr(at, what)); at += strlen(what))
		n++;
	return n;
}

static void group(const char *name, const struct conf_table *table)
{
	char head[64], item[200];
	unsigned n = 0;
	char *in;

	snprintf(head, sizeof(head), ".Ss %s\n", name);
	in = part(head, "\n.Ss ");
	for (const struct conf_item *it = table->items; it->name; it++, n++) {
		const char *roles = it->roles == CONF_R_SERVER	 ? " Pq server"
				    : it->roles == CONF_R_CLIENT ? " Pq client"
								 : "";

		snprintf(item, sizeof(item), "\n.It Ic %s%s%s%s\n", it->name, it->alias ? " , Ic " : "",
			 it->alias ? it->alias : "", roles);
		cr_expect_eq(count(in, item), 1, "%s: %s", name, item);
	}
	cr_expect_eq(count(in, "\n.It "), n, "%s: others too", name);
	cr_expect_eq(count(in, "\nAllowed: "), n, "%s", name);
	free(in);
}

Test(manual, every_setting_and_no_other)
{
	print(conf_manual);
	group("eal", &conf_eal_table);
	group("limits", &conf_limits_table);
	group("ports", &conf_port_table);
	group("tunnels", &conf_tunnel_table);
	group("telemetry", &conf_telemetry_table);
	group("log", &conf_log_table);
	group("security", &conf_security_table);
	cr_expect_eq(count(text, "\n.Ss ") + 1, 7);
}

static void says(const char *setting, const char *what)
{
	char head[64];
	char *in;

	snprintf(head, sizeof(head), "\n.It Ic %s", setting);
	in = part(head, "\n.It ");
	cr_expect_not_null(strstr(in, what), "%s: %s", in, what);
	free(in);
}

Test(manual, defaults)
{
	print(conf_manual);
	says("file_prefix\n", "Default: \\(dqkcpgate\\(dq.");
	says("punt_rate\n", "Default: 100000.");
	says("datashard , ", "Default: 10.");
	says("crypt\n", "Default: \\(dqaes\\(dq.");
	says("replaycheck\n", "Default: true.");
	says("state\n", "Default: \\(dq/var/lib/kcpgate\\(dq.");
	says("snmplog\n", "Default: \\(dq\\(dq.");
	says("closewait\n", "Default: 0, of a client 30.");
	says("conn Pq client\n", "Default: 1.");
	says("sndwnd\n", "Default: automatic.");
	says("role\n", "It has to be given.");
	says("mtu\n", "Default: 1500.");
	/* A number that stands for something else, and a passphrase. */
	cr_expect_null(strstr(text, "half of all that there may be, 4096 at least.\n.br\nAllowed: an integer from 0 to "
				    "16777215.\nDefault"));
	cr_expect_null(strstr(text, "secrect"));
}

Test(manual, text_is_not_roffs)
{
	print(conf_manual);
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
		cr_expect(line[0] != '\'' && (line[0] != '.' || strchr("IBESbP", line[1])), "%.60s", line);
		cr_expect(!strchr("\"", line[0]));
	}
	cr_expect_null(strstr(text, "EAL's"));
}

Test(manual, every_option_and_no_other)
{
	unsigned n = 0;

	print(conf_manual_options);
	for (const struct conf_flag *f = conf_flags; f->name; f++, n++) {
		char item[100];

		snprintf(item, sizeof(item), "\n.It Fl \\-%s", f->name);
		cr_expect_geq(count(text, item), 1, "%s", f->name);
	}
	cr_expect_eq(count(text, "\n.It "), n);
}
