/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
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
	FILE *f;
	size_t n;

	cr_assert(log_flush(60000));
	f = fopen(from, "r");
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

/* ---- nobody reads ---- */

#define MANY 60000 /* lines, more than any pipe and queue hold */

static void number_lines(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		log_info("line %u of those that nobody reads", i);
}

/*
 * Lines that come out of fd until `last`: whole, in order, and where some are missing, one line says how many.  Returns
 * how many it said in all.
 */
static unsigned read_numbers(int fd, unsigned last)
{
	FILE *f = fdopen(dup(fd), "r");
	unsigned next = 0, told = 0, pending = 0, i, lost;
	char line[2000], tail[100];

	while (next <= last && fgets(line, sizeof(line), f)) {
		cr_assert_eq(line[strlen(line) - 1], '\n', "%s", line);
		if (sscanf(line + STAMP, "%u log lines %99s", &lost, tail) == 2 && !strcmp(tail, "lost")) {
			cr_assert_eq(pending, 0, "two notices for one gap");
			pending = lost;
			told += lost;
			continue;
		}
		cr_assert_eq(sscanf(line + STAMP, "line %u of those that nobody %99s", &i, tail), 2, "%s", line);
		cr_assert_str_eq(tail, "reads", "%s", line);
		cr_assert_eq(i, next + pending, "%u lines were said to be lost before %u, found %u", pending, next, i);
		next = i + 1;
		pending = 0;
	}
	cr_assert_eq(next, last + 1);
	fclose(f);
	return told;
}

struct reading {
	int fd;
	unsigned last, told;
};

static void *reader(void *arg)
{
	struct reading *r = arg;

	r->told = read_numbers(r->fd, r->last);
	return NULL;
}

/* Whoever logs goes on, and what is lost is counted. */
static void nobody_reads(void)
{
	number_lines(0, MANY);
	cr_assert_gt(log_lost(), MANY / 10);
	cr_assert_not(log_flush(10));
}

/* The number lost is told where they are missing. */
static void somebody_reads(int read_fd)
{
	struct reading r = {.fd = read_fd, .last = MANY};
	pthread_t t;

	cr_assert_eq(pthread_create(&t, NULL, reader, &r), 0);
	cr_assert(log_flush(60000));
	number_lines(MANY, MANY + 1);
	pthread_join(t, NULL);
	cr_assert_eq(r.told, log_lost());
}

static void stderr_is_pipe(int p[2])
{
	cr_assert_eq(pipe(p), 0);
	cr_assert_eq(dup2(p[1], STDERR_FILENO), STDERR_FILENO);
	cr_assert_eq(log_open("", LOG_INFO), 0);
}

Test(log, stderr_is_a_full_pipe, .timeout = 120)
{
	int p[2];

	stderr_is_pipe(p);
	nobody_reads();
	somebody_reads(p[0]);
	cr_assert_eq(fcntl(p[1], F_GETFL) & O_NONBLOCK, 0, "the pipe is not ours alone");
	log_close();
}

Test(log, stderr_is_a_full_pipe_that_does_not_block, .timeout = 120)
{
	int p[2];

	stderr_is_pipe(p);
	cr_assert_eq(fcntl(p[1], F_SETFL, O_NONBLOCK), 0);
	nobody_reads();
	somebody_reads(p[0]);
	log_close();
}

Test(log, fifo_that_nobody_reads, .timeout = 120)
{
	int fd;

	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(log_open(path, LOG_INFO), 0);
	nobody_reads();
	fd = open(path, O_RDONLY);
	cr_assert_geq(fd, 0);
	somebody_reads(fd);
	log_close();
}

Test(log, terminal_that_is_stopped, .timeout = 120)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
	struct termios raw;

	cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	cr_assert_geq(slave, 0);
	cr_assert_eq(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	cr_assert_eq(tcsetattr(slave, TCSANOW, &raw), 0);
	cr_assert_eq(tcflow(slave, TCOOFF), 0);
	cr_assert_eq(log_open(ptsname(master), LOG_INFO), 0);
	nobody_reads();
	cr_assert_eq(tcflow(slave, TCOON), 0);
	somebody_reads(master);
	log_close();
}

/* The end comes though nobody ever reads, and the thread that is left behind harms nobody. */
Test(log, end_with_a_full_pipe, .timeout = 120)
{
	int p[2];

	stderr_is_pipe(p);
	number_lines(0, MANY);
	log_close();
	number_lines(0, MANY);
	close(p[0]);
	close(p[1]);
}

Test(log, end_waits_for_what_is_on_its_way)
{
	int p[2];

	stderr_is_pipe(p);
	number_lines(0, 100);
	log_close();
	cr_assert_eq(read_numbers(p[0], 99), 0);
}

Test(log, reader_is_gone, .timeout = 120)
{
	int p[2];

	stderr_is_pipe(p);
	close(p[0]);
	number_lines(0, 1000);
	cr_assert(log_flush(60000));
	cr_assert_eq(log_lost(), 1000);
	log_close();
}

/* A disk that is full takes a part of a line.  The rest follows when there is room, and no line is torn. */
Test(log, full_disk, .timeout = 120)
{
	struct rlimit r, old;
	unsigned a, b, lost;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	cr_assert_eq(log_open(path, LOG_INFO), 0);
	log_info("first");
	cr_assert(log_flush(60000));
	r = old;
	r.rlim_cur = STAMP + 6 + STAMP + 4;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &r), 0);
	log_info("second line");
	for (int i = 0; i < 5; i++)
		log_info("lost");
	cr_assert(log_flush(60000));
	log_info("lost");
	cr_assert(log_flush(60000));
	cr_assert_eq(log_lost(), 6);
	cr_assert_eq(slurp(path), r.rlim_cur);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	log_info("third");
	slurp(path);
	cr_assert_eq(sscanf(text, "%*s %*s first\n%*s %*s second line\n%*s %*s %u log lines lost\n%*s %*s thir%n",
			    &lost, &a),
		     1, "%s", text);
	cr_assert_eq(lost, 6);
	b = (unsigned)strlen(text);
	cr_assert_eq(a + 2, b, "%s", text);
	log_close();
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
	cr_assert_eq(log_lost(), 0);
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
