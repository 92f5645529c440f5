/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "look.h"

/* Numbers, tables, pages and lines of a gateway that is played here. */

Test(app_look, numbers)
{
	char b[LOOK_NUM];

	cr_assert_str_eq(look_bytes(0, b), "0 B");
	cr_assert_str_eq(look_bytes(999, b), "999 B");
	cr_assert_str_eq(look_bytes(1000, b), "1.0 kB");
	cr_assert_str_eq(look_bytes(123456789, b), "123 MB");
	cr_assert_str_eq(look_bytes(UINT64_MAX, b), "18.4 EB");
	cr_assert_str_eq(look_rate(54e6, b), "54.0 Mbit/s");
	cr_assert_str_eq(look_rate(999999, b), "1.0 Mbit/s");
	cr_assert_str_eq(look_span(45210, b), "45.2s");
	cr_assert_str_eq(look_span(725000, b), "12m 5s");
	cr_assert_str_eq(look_span(UINT64_C(273600000), b), "3d 4h");
	cr_assert_str_eq(look_ms(1500, b), "1.5 ms");
	cr_assert_str_eq(look_ms(100125, b), "100 ms");
	cr_assert_str_eq(look_part(0.0123, b), "1.2 %");
	cr_assert_str_eq(look_part(0.97, b), "97 %");
}

struct script {
	const char *command, *answer;
};

static json_t *played(struct look *l, const char *command)
{
	const struct script *s = l->ctx;

	for (; s->command; s++)
		if (!strcmp(s->command, command))
			return json_loads(s->answer, 0, NULL);
	snprintf(l->why, sizeof(l->why), "unexpected: %s", command);
	return NULL;
}

static char *text;
static size_t text_n;

static struct look look(const struct script *s)
{
	return (struct look){.ask = played, .fd = -1, .ctx = (void *)s};
}

static int show(const struct script *s, const char *what, const char *parameter, bool json, struct look *l)
{
	FILE *f = open_memstream(&text, &text_n);
	int ret;

	*l = look(s);
	ret = look_show(l, what, parameter, json, f);
	fclose(f);
	return ret;
}

static const struct script workers[] = {
	{"/kcpgate/workers", "{\"0\":{\"sessions\":10,\"busy_cycles\":25,\"total_cycles\":100},\"next\":\"1\"}"},
	{"/kcpgate/workers,,1", "{\"1\":{\"sessions\":20000,\"rx_bytes\":1234567},\"next\":\"2\"}"},
	{"/kcpgate/workers,,2", "{\"2\":{\"sessions\":3}}"},
	{0},
};

/* Three pages become one table, whose numbers end below each other. */
Test(app_look, pages_and_columns)
{
	struct look l;

	cr_assert_eq(show(workers, "workers", NULL, false, &l), 0, "%s", l.why);
	cr_assert(strstr(text, "WORKER  SESSIONS  STREAMS   BUSY"), "%s", text);
	cr_assert(strstr(text, "\n     0        10        0   25 %"), "%s", text);
	cr_assert(strstr(text, "\n     1     20000        0  0.0 %"), "%s", text);
	cr_assert(strstr(text, "1.2 MB"), "%s", text);
	cr_assert(strstr(text, "\n     2         3"), "%s", text);
	cr_assert_eq(show(workers, "workers", NULL, true, &l), 0);
	cr_assert(!strstr(text, "next") && strstr(text, "\"2\": {"), "%s", text);
}

/* An error in the middle of the pages, an answer that goes round, what is not known. */
Test(app_look, wrong)
{
	static const struct script broken[] = {
		{"/kcpgate/sessions,hk", "{\"1\":{},\"next\":\"0.5\"}"},
		{"/kcpgate/sessions,hk,0.5", "{\"error\":\"a worker does not answer\"}"},
		{0},
	};
	struct look l;

	cr_assert_lt(show(broken, "sessions", "hk", false, &l), 0);
	cr_assert_str_eq(l.why, "a worker does not answer");
	cr_assert_eq(show(broken, "sesions", NULL, false, &l), -EINVAL);
	cr_assert(strstr(l.why, "found sesions; allowed: tunnels, sessions, session,"), "%s", l.why);
	cr_assert_eq(show(broken, "session", NULL, false, &l), -EINVAL);
	cr_assert_eq(show(broken, "drops", "x", false, &l), -EINVAL);
	cr_assert_eq(text_n, 0);
}

Test(app_look, dump_lines)
{
	static const struct script s[] = {
		{"/kcpgate/sessions",
		 "{\"7\":{\"tunnel\":\"hk\",\"peer\":\"1.2.3.4:5\",\"limited_by\":\"peer window\",\"age_ms\":12}}"},
		{0},
	};
	struct look l = look(s);
	FILE *f = open_memstream(&text, &text_n);

	cr_assert_eq(look_dump(&l, "session", f), 0, "%s", l.why);
	fclose(f);
	cr_assert_eq(strstr(text, "session\t7\thk\t1.2.3.4:5\t-\t-\t-\t12\t-\t"), text, "%s", text);
	cr_assert(strstr(text, "\tpeer window\t-\n"), "%s", text);
	cr_assert_eq(look_dump(&l, "sessions", stdout), -EINVAL);
}
