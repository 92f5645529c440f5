/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "log.h"

#define STAMP 20 /* "2006/01/02 15:04:05 " */

static char path[] = "/tmp/kcpgate-log-XXXXXX";
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

static size_t slurp(const char *from)
{
	FILE *f = fopen(from, "r");
	size_t n;

	cr_assert_not_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return n;
}

TestSuite(log, .init = temp_file, .fini = temp_gone);

Test(log, form_of_a_line)
{
	int y, mo, d, h, mi, s, end = 0;

	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_info("stream %d of %s", 7, "hk");
	slurp(path);
	cr_assert_eq(sscanf(text, "%4d/%2d/%2d %2d:%2d:%2d %n", &y, &mo, &d, &h, &mi, &s, &end), 6);
	cr_assert_eq(end, STAMP);
	cr_assert_str_eq(text + STAMP, "stream 7 of hk\n");
}

Test(log, levels)
{
	cr_assert_eq(log_open(path, LOG_WARN), 0);
	cr_assert(log_on(LOG_ERROR) && log_on(LOG_WARN) && !log_on(LOG_INFO) && !log_on(LOG_DEBUG));
	log_err("a");
	log_info("b");
	log_debug("c");
	log_warn("d");
	cr_assert_eq(slurp(path), 2 * (STAMP + 2));
	cr_assert_str_eq(text + STAMP, strchr(text, '\n') - 1);
	cr_assert_eq(text[STAMP], 'a');
	cr_assert_eq(text[2 * STAMP + 2], 'd');
}

Test(log, long_lines_are_cut)
{
	char big[3000];

	memset(big, 'x', sizeof(big));
	cr_assert_eq(log_open(path, LOG_INFO), 0);
	for (int n = 1024 - STAMP - 3; n <= 1024 - STAMP + 3; n++)
		log_info("%.*s", n, big);
	log_info("%.*s", (int)sizeof(big), big);
	slurp(path);
	for (int n = 1024 - STAMP - 3, at = 0; n <= 1024 - STAMP + 4; n++) {
		int want = STAMP + n + 1 < 1024 ? STAMP + n + 1 : 1024;

		cr_assert_eq(strchr(text + at, '\n') - (text + at), want - 1);
		at += want;
	}
}

Test(log, nobody_can_forge_a_line)
{
	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_info("peer said %s", "hi\n2006/01/02 15:04:05 forged\x1b[2J\r\x7f\tend \xc3\xa4");
	slurp(path);
	cr_assert_str_eq(text + STAMP, "peer said hi?2006/01/02 15:04:05 forged?[2J??\tend \xc3\xa4\n");
}

Test(log, appends_and_changes_over)
{
	char other[sizeof(path) + 2];

	snprintf(other, sizeof(other), "%s.1", path);
	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_info("one");
	cr_assert_eq(rename(path, other), 0);
	log_info("two");
	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_info("three");
	cr_assert_eq(log_open("/nonexistent/x", LOG_DEBUG), -ENOENT);
	cr_assert_not(log_on(LOG_DEBUG));
	log_info("four");
	cr_assert_eq(slurp(path), 2 * STAMP + 6 + 5);
	cr_assert_str_eq(text + STAMP * 2 + 6, "four\n");
	cr_assert_eq(slurp(other), 2 * (STAMP + 4));
	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_info("five");
	cr_assert_eq(slurp(path), 3 * STAMP + 6 + 5 + 5);
	log_close();
	log_close();
	unlink(other);
}

static void *writer(void *arg)
{
	for (int i = 0; i < 1000; i++)
		log_info("%s%d.", (const char *)arg, i);
	return NULL;
}

Test(log, lines_of_two_threads_do_not_mix)
{
	static const char *const who[2] = {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"};
	pthread_t t[2];
	int next[2] = {0, 0};

	cr_assert_eq(log_open(path, LOG_INFO), 0);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, writer, (void *)who[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	slurp(path);
	for (char *save, *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		int w = l[STAMP] - 'a';
		char want[64];

		cr_assert(w == 0 || w == 1);
		snprintf(want, sizeof(want), "%s%d.", who[w], next[w]++);
		cr_assert_str_eq(l + STAMP, want);
	}
	cr_assert(next[0] == 1000 && next[1] == 1000);
}

Test(log_limit, burst_in_each_period)
{
	struct log_limit l = {0};
	uint32_t left;

	for (int i = 0; i < 3; i++) {
		cr_assert(log_allow(&l, 1000, 3, 10, &left));
		cr_assert_eq(left, 0);
	}
	for (int i = 0; i < 5; i++)
		cr_assert_not(log_allow(&l, 1009, 3, 10, &left));
	cr_assert(log_allow(&l, 1010, 3, 10, &left));
	cr_assert_eq(left, 5);
	cr_assert(log_allow(&l, 1011, 3, 10, &left));
	cr_assert_eq(left, 0);
	cr_assert(log_allow(&l, 1011, 3, 10, &left));
	cr_assert_not(log_allow(&l, 1019, 3, 10, &left));
	cr_assert(log_allow(&l, 5, 3, 10, &left), "a clock that was set back does not silence the log");
	cr_assert_eq(left, 1);
}

Test(log_limit, from_the_start_of_the_clock)
{
	struct log_limit l = {0};
	uint32_t left;

	cr_assert(log_allow(&l, 0, 1, 60, &left));
	cr_assert_not(log_allow(&l, 59, 1, 60, &left));
	cr_assert(log_allow(&l, 60, 1, 60, &left));
	cr_assert_eq(left, 1);
}
