/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "log.h"
#include "logq.h"

/* How lines look: logfmt, JSON, the journal's; and how many there may be. */

#define TIME_KV "time=2006-01-02T15:04:05.000Z "

static char path[] = "/tmp/kcpgate-form-XXXXXX";
static char text[1 << 20];

static void temp_file(void)
{
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	close(fd);
}

static void temp_gone(void)
{
	unlink(path);
}

static void slurp(void)
{
	FILE *f;

	cr_assert(log_flush(60000));
	f = fopen(path, "r");
	cr_assert_not_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
}

TestSuite(log_form, .init = temp_file, .fini = temp_gone);

/* The digits of a time become those of Go's layout, where they are a time's. */
static void no_time(char *at)
{
	static const char like[] = "2006-01-02T15:04:05.000Z";

	for (size_t i = 0; i < sizeof(like) - 1; i++) {
		if (like[i] >= '0' && like[i] <= '9') {
			cr_assert(at[i] >= '0' && at[i] <= '9', "%s", at);
			at[i] = like[i];
		}
		cr_assert_eq(at[i], like[i], "%s", at);
	}
}

static const struct log_field stream[] = {
	{.name = "tunnel", .text = "hk"},
	{.name = "in", .text = "127.0.0.1:4000"},
	{.name = "stream", .number = 3},
};

Test(log_form, kv)
{
	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_form(LOG_KV);
	log_event(LOG_INFO, "stream_opened", stream, 3, "stream opened in: %s", "127.0.0.1:4000");
	log_warn("plain");
	slurp();
	no_time(text + 5);
	no_time(strchr(text, '\n') + 6);
	cr_assert_str_eq(text,
			 TIME_KV "level=info event=stream_opened tunnel=\"hk\" in=\"127.0.0.1:4000\" stream=3 "
				 "msg=\"stream opened in: 127.0.0.1:4000\"\n" TIME_KV "level=warn msg=\"plain\"\n");
}

Test(log_form, json)
{
	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_form(LOG_JSON);
	log_event(LOG_ERROR, "stream_opened", stream, 3, "stream opened");
	slurp();
	no_time(text + 9);
	cr_assert_str_eq(text, "{\"time\":\"2006-01-02T15:04:05.000Z\",\"level\":\"error\",\"event\":"
			       "\"stream_opened\",\"tunnel\":\"hk\",\"in\":\"127.0.0.1:4000\",\"stream\":3,\"msg\":"
			       "\"stream opened\"}\n");
}

/* In text the event and what it is about are in its words already. */
Test(log_form, text_has_the_words_alone)
{
	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_event(LOG_INFO, "stream_opened", stream, 3, "stream opened in: x");
	slurp();
	cr_assert_str_eq(text + strlen("2006/01/02 15:04:05 "), "stream opened in: x\n");
}

/* Quotes, ends of lines, and what is no UTF-8: a surrogate, an overlong slash, a lone byte, one cut off. */
Test(log_form, nobody_can_forge_a_field)
{
	const char *want = "msg=\"a\\\"b\\\\c\\td?e?f \xc3\xa4 ??? ?? ? ?\"\n";

	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_form(LOG_KV);
	log_info("a\"b\\c\td\ne\x1b"
		 "f \xc3\xa4 \xed\xa0\x80 \xc0\xaf \xff \xe2");
	slurp();
	cr_assert_str_eq(strstr(text, "msg="), want);
}

/* However long: a line is whole. */
Test(log_form, long_lines_are_whole)
{
	struct log_field v[LOG_FIELDS_MAX];
	char big[3000], out[LOGQ_LINE];
	struct log_parts p = {.level = LOG_INFO, .format = LOG_JSON, .v = v, .n = LOG_FIELDS_MAX, .text = big};

	memset(big, '"', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	for (unsigned i = 0; i < LOG_FIELDS_MAX; i++)
		v[i] = (struct log_field){.name = "field", .text = big};
	for (size_t max = 256; max <= LOGQ_LINE; max++) {
		size_t n;

		p.n = max < LOGQ_LINE ? 0 : LOG_FIELDS_MAX;
		n = log_frame(out, max, &p);
		cr_assert(n <= max && n > max - 4, "%zu of %zu", n, max);
		cr_assert_eq(memcmp(out + n - 4, &"\\\"\"}\n"[1], 4), 0, "%.*s", (int)n, out);
	}
}

/* ---- the journal ---- */

static void journal_is(const char *name)
{
	char where[64];
	struct stat st;

	cr_assert_eq(stat(name, &st), 0);
	snprintf(where, sizeof(where), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", where, 1);
}

Test(log_form, journal_has_priorities)
{
	journal_is(path);
	cr_assert_eq(log_open(path, LOG_DEBUG), 0);
	log_err("a");
	log_warn("b");
	log_info("c");
	log_debug("d");
	slurp();
	cr_assert_str_eq(text, "<3>a\n<4>b\n<6>c\n<7>d\n");
	log_form(LOG_KV);
	log_err("e");
	slurp();
	cr_assert_eq(strncmp(strrchr(text, '<'), "<3>time=", 8), 0, "%s", text);
}

/* systemd's variable outlives a redirection to a file. */
Test(log_form, what_is_not_the_journal_has_none)
{
	journal_is("/dev/null");
	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_err("a");
	slurp();
	cr_assert_str_eq(text + strlen("2006/01/02 15:04:05 "), "a\n");
}

/* ---- how many ---- */

static unsigned count(const char *what)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
		n++;
	return n;
}

/* A flood of one level leaves another's lines alone; what was left out is told, whether more come or not. */
Test(log_form, rate, .timeout = 120)
{
	unsigned left = 0, told = 0;

	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_rate(10);
	for (int i = 0; i < 1000; i++)
		log_info("flood");
	log_err("not lost");
	for (int i = 0; i < 600 && !told; i++) {
		usleep(100000);
		log_tick();
		slurp();
		told = count("lines of level info left out: log.rate is 10 a second");
	}
	cr_assert_eq(count("not lost"), 1);
	for (const char *at = text; (at = strstr(at, "lines of level")); at++) {
		const char *line = at;

		while (line > text && line[-1] != '\n')
			line--;
		left += (unsigned)atoi(line + strlen("2006/01/02 15:04:05 "));
	}
	cr_assert_eq(count("flood") + left, 1000, "%u lines, %u told", count("flood"), left);
	cr_assert(count("flood") >= 10 && count("flood") < 1000, "%u", count("flood"));
	log_rate(0);
	text[0] = '\0';
	for (int i = 0; i < 1000; i++)
		log_info("more");
	slurp();
	cr_assert_eq(count("more"), 1000);
}
