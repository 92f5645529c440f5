/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "look.h"
#include "top.h"

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

/* Of 1,000 values 500 are below the first bound, and the last one is far away. */
Test(app_look, histograms)
{
	static const struct script s[] = {
		{"/kcpgate/histograms,0",
		 "{\"rx_to_chan\":{\"unit\":\"ns\",\"below_1000\":500,\"below_2000\":400,\"below_4000\":95,"
		 "\"below_64000000\":5,\"count\":1000,\"sum\":1500000},"
		 "\"tx_width\":{\"unit\":\"packets\",\"below_2\":3,\"count\":3,\"sum\":3}}"},
		{0},
	};
	struct look l;

	cr_assert_eq(show(s, "histograms", "0", false, &l), 0, "%s", l.why);
	cr_assert(strstr(text, "1000  1.5 us      1.0 us      2.0 us      4.0 us       64.0 ms    64.0 ms"), "%s",
		  text);
	cr_assert(strstr(text, "\ntx_width        3       1           2"), "%s", text);
}

/* ---- top ---- */

static json_t *js(const char *one)
{
	json_t *v = json_loads(one, 0, NULL);

	cr_assert_not_null(v, "%s", one);
	return v;
}

static struct top_look a_look(uint64_t us, const char *sessions)
{
	return (struct top_look){
		.us = us,
		.sessions = js(sessions),
		.workers =
			js(us ? "{\"0\":{\"busy_cycles\":90,\"total_cycles\":200,\"rx_packets\":5000,\"sessions\":3}}"
			      : "{\"0\":{\"busy_cycles\":50,\"total_cycles\":100,\"rx_packets\":1000,\"sessions\":3}}"),
		.drops = js(us ? "{\"mux\":14,\"comp\":3}" : "{\"mux\":4,\"comp\":3}"),
	};
}

static const char *draw(struct top_look *before, struct top_look *now, struct top_view v)
{
	FILE *f = open_memstream(&text, &text_n);

	cr_assert_eq(top_draw(before, now, &v, f), 2);
	fclose(f);
	return text;
}

/* Rates are of the two seconds between the looks, order is as asked, and one that has just come has no rate. */
Test(app_look, top)
{
	struct top_look before = a_look(0, "{\"1\":{\"bytes_out\":1000,\"retrans\":5,\"segs_out\":10},"
					   "\"2\":{\"bytes_in\":7}}");
	struct top_look now =
		a_look(2000000, "{\"1\":{\"bytes_out\":251000,\"retrans\":15,\"segs_out\":100,\"srtt_ms\":8},"
				"\"2\":{\"bytes_in\":1000007,\"srtt_ms\":90,\"streams\":4},"
				"\"3\":{\"bytes_in\":99000000,\"memory\":70000}}");
	const char *s = draw(&before, &now, (struct top_view){0});
	const char *head = "3 sessions, 4 streams: 4.0 Mbit/s in, 1.0 Mbit/s out, 5 drops/s; sorted by rate\n"
			   "worker 0: busy 40 %, 2000 packets/s in, 0 out, 3 sessions, 0 B\nSESSION";

	cr_assert_eq(strstr(s, head), s, "%s", s);
	cr_assert(strstr(s, "\n2 ") && strstr(s, "\n2 ") < strstr(s, "\n1 "), "%s", s);
	cr_assert(strstr(s, "10 %   8 ms"), "%s", s);
	cr_assert(strstr(s, "\n1 ") < strstr(s, "\n3 "), "%s", s);
	s = draw(&before, &now, (struct top_view){.order = TOP_LOSS});
	cr_assert(strstr(s, "\n1 ") < strstr(s, "\n2 "), "%s", s);
	s = draw(&before, &now, (struct top_view){.order = TOP_MEMORY, .rows = 1});
	cr_assert(strstr(s, "\n3 ") && !strstr(s, "\n2 ") && !strstr(s, "\n1 "), "%s", s);
	s = draw(&before, &now, (struct top_view){.order = TOP_RTT, .from = 2});
	cr_assert(strstr(s, "\n3 ") && !strstr(s, "\n2 "), "%s", s);
	top_forget(&before);
	top_forget(&now);
}
