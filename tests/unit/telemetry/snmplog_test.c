/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "log.h"
#include "snmplog.h"
#include "tlm.h"

#define HEADER                                                                                                      \
	"Unix,BytesSent,BytesReceived,MaxConn,ActiveOpens,PassiveOpens,CurrEstab,InErrs,InCsumErrors,KCPInErrors,"  \
	"InPkts,OutPkts,InSegs,OutSegs,InBytes,OutBytes,RetransSegs,FastRetransSegs,EarlyRetransSegs,LostSegs,"     \
	"RepeatSegs,FECFullShards,FECParityShards,FECErrs,FECRecovered,FECShardSet,FECShardMin,RingBufferSndQueue," \
	"RingBufferRcvQueue,RingBufferSndBuffer,OOBPackets\n"

static char dir[64];

static void setup(void)
{
	strcpy(dir, "/tmp/snmplog-test-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
}

static void teardown(void)
{
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	cr_assert_eq(system(cmd), 0);
}

static const char *slurp(const char *path)
{
	static char buf[8192];
	FILE *f;
	size_t n;

	cr_assert(log_flush(60000));
	f = fopen(path, "r");
	cr_assert_not_null(f, "%s", path);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	fclose(f);
	buf[n] = '\0';
	return buf;
}

/* Every counter its number in struct order, from 100. */
static struct snmp numbered(void)
{
	uint64_t v[SNMP_ALL];
	struct snmp s;

	for (unsigned i = 0; i < SNMP_ALL; i++)
		v[i] = 100 + i;
	memcpy(&s, v, sizeof(s));
	return s;
}

#define ROW                                                                                           \
	"1700000000,100,101,102,103,104,105,106,107,108,109,110,111,112,113,114,115,116,117,118,119," \
	"120,123,122,121,124,125,126,127,128,129\n"

Test(snmplog, columns)
{
	char buf[SNMPLOG_ROW + 1];
	struct snmp s = numbered();

	buf[snmplog_header(buf)] = '\0';
	cr_assert_str_eq(buf, HEADER);
	buf[snmplog_row(buf, 1700000000, &s)] = '\0';
	cr_assert_str_eq(buf, ROW);
	memset(&s, 0xff, sizeof(s));
	cr_assert_lt(snmplog_row(buf, UINT64_MAX, &s), SNMPLOG_ROW);
}

/* Each column's value is the counter of its name. */
Test(snmplog, columns_hold_their_counters)
{
	char head[SNMPLOG_ROW + 1], row[SNMPLOG_ROW + 1], *h, *r, *hs, *rs;
	struct snmp s = numbered();
	unsigned n = 0;

	head[snmplog_header(head) - 1] = '\0';
	row[snmplog_row(row, 5, &s) - 1] = '\0';
	h = strtok_r(head, ",", &hs);
	r = strtok_r(row, ",", &rs);
	while ((h = strtok_r(NULL, ",", &hs)) && (r = strtok_r(NULL, ",", &rs))) {
		unsigned i = (unsigned)atoi(r) - 100;

		cr_assert_lt(i, SNMP_COUNT);
		cr_assert(!strcmp(h, snmp_name(i)) ||
				  (!strcmp(h, "FECFullShards") && !strcmp(snmp_name(i), "FECFullShardSet")),
			  "%s %s", h, snmp_name(i));
		n++;
	}
	cr_assert_eq(n, SNMP_COUNT);
}

Test(snmplog, header_only_when_empty, .init = setup, .fini = teardown)
{
	struct snmp s = numbered();
	char path[100];
	struct stat st;
	FILE *f;

	snprintf(path, sizeof(path), "%s/a.csv", dir);
	cr_assert_eq(snmplog_append(path, 1700000000, &s), 0);
	cr_assert_eq(snmplog_append(path, 1700000000, &s), 0);
	cr_assert_str_eq(slurp(path), HEADER ROW ROW);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0111, 0);
	f = fopen(path, "w");
	fclose(f);
	cr_assert_eq(snmplog_append(path, 1700000000, &s), 0);
	cr_assert_str_eq(slurp(path), HEADER ROW);
	f = fopen(path, "w");
	fputs("# mine\n", f);
	fclose(f);
	cr_assert_eq(snmplog_append(path, 1700000000, &s), 0);
	cr_assert_str_eq(slurp(path), "# mine\n" ROW);
}

Test(snmplog, failures, .init = setup, .fini = teardown)
{
	struct snmp s = numbered();
	char path[100];

	cr_assert_eq(snmplog_append(dir, 1, &s), -EISDIR);
	snprintf(path, sizeof(path), "%s/none/a.csv", dir);
	cr_assert_eq(snmplog_append(path, 1, &s), -ENOENT);
	cr_assert_eq(snmplog_append("/dev/full", 1, &s), -ENOSPC);
	snprintf(path, sizeof(path), "%s/fifo", dir);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(snmplog_append(path, 1, &s), -ENXIO, "nobody reads: it must not wait");
}

/* A full disk takes a part of a row: the next one begins a line all the same. */
Test(snmplog, full_disk, .init = setup, .fini = teardown)
{
	struct snmp s = numbered();
	struct rlimit r, old;
	char path[100];

	snprintf(path, sizeof(path), "%s/a.csv", dir);
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(snmplog_append(path, 1700000000, &s), 0);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	r = old;
	r.rlim_cur = strlen(HEADER) + strlen(ROW) + 20;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &r), 0);
	cr_assert_eq(snmplog_append(path, 1700000000, &s), -ENOSPC);
	cr_assert_str_eq(slurp(path), HEADER ROW);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	cr_assert_eq(snmplog_append(path, 1700000000, &s), 0);
	cr_assert_str_eq(slurp(path), HEADER ROW ROW);
}

/* Only the file's name is a layout: a folder called 2006 is called so. */
Test(snmplog, path)
{
	struct tm tm = {.tm_year = 126, .tm_mon = 10, .tm_mday = 22, .tm_hour = 15, .tm_min = 4, .tm_zone = "UTC"};
	static const char *const v[][2] = {
		{"snmp-20060102.log", "snmp-20261122.log"},
		{"/var/2006/Jan/snmp-2006-01-02.log", "/var/2006/Jan/snmp-2026-11-22.log"},
		{"./05/plain", "./05/plain"},
		{"/15:04", "/15:04"},
		{"a/b/", "a/b/"},
	};
	char buf[64];

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		cr_assert_eq(snmplog_path(buf, sizeof(buf), v[i][0], &tm, 0), 0);
		cr_assert_str_eq(buf, v[i][1]);
	}
	cr_assert_eq(snmplog_path(buf, 8, "/a/b/c/d/e", &tm, 0), -ENAMETOOLONG);
	cr_assert_eq(snmplog_path(buf, 8, "/a/2006-01", &tm, 0), -ENAMETOOLONG);
}

static unsigned rows(const char *path)
{
	unsigned n = 0;

	for (const char *p = slurp(path); *p; p++)
		n += *p == '\n';
	return n;
}

Test(snmplog, period, .init = setup, .fini = teardown)
{
	const struct tlm_src none = {0}; /* no workers: all counters are 0 */
	struct snmplog l;
	char path[100];

	snprintf(path, sizeof(path), "%s/a.csv", dir);
	snmplog_init(&l, &none, path, 60, 1000);
	cr_assert_eq(snmplog_turn(&l, 1000), 60000);
	cr_assert_eq(snmplog_turn(&l, 60999), 1);
	cr_assert_eq(access(path, F_OK), -1, "no row before the first period is over");
	cr_assert_eq(snmplog_turn(&l, 61000), 60000);
	cr_assert_eq(rows(path), 2);
	cr_assert_eq(snmplog_turn(&l, 61001), 59999);
	cr_assert_eq(rows(path), 2);
	/* Late: one row, and the next when it would have been due. */
	cr_assert_eq(snmplog_turn(&l, 250000), 51000);
	cr_assert_eq(rows(path), 3);
	cr_assert_eq(snmplog_turn(&l, 301000), 60000);
	cr_assert_eq(rows(path), 4);
}

Test(snmplog, off)
{
	struct snmplog l;

	snmplog_init(&l, NULL, NULL, 60, 0);
	cr_assert_eq(snmplog_turn(&l, 1 << 30), INT32_MAX);
	snmplog_init(&l, NULL, "", 60, 0);
	cr_assert_eq(snmplog_turn(&l, 1 << 30), INT32_MAX);
	snmplog_init(&l, NULL, "/nowhere/at-all", 0, 0);
	cr_assert_eq(snmplog_turn(&l, 1 << 30), INT32_MAX);
}

/* Rows come by themselves, and the end does not wait for the next. */
Test(snmplog, thread, .init = setup, .fini = teardown, .timeout = 120)
{
	const struct tlm_src none = {0};
	struct snmplog_thread *t;
	char path[100];

	cr_assert_eq(snmplog_start(&t, &none, "", 60), 0);
	cr_assert_null(t);
	cr_assert(snmplog_stop(t, 0));
	snprintf(path, sizeof(path), "%s/a.csv", dir);
	cr_assert_eq(snmplog_start(&t, &none, path, 1), 0);
	while (access(path, F_OK) || rows(path) < 3)
		usleep(10000);
	cr_assert(snmplog_stop(t, 60000));
	cr_assert_eq(snmplog_start(&t, &none, path, 4000000), 0);
	cr_assert(snmplog_stop(t, 60000));
}

/* A folder that is missing is complained of once in ten minutes, and the log goes on when it is there. */
Test(snmplog, complaint, .init = setup, .fini = teardown)
{
	const struct tlm_src none = {0};
	char path[100], log[100];
	struct snmplog l;
	unsigned lines;

	snprintf(log, sizeof(log), "%s/log", dir);
	cr_assert_eq(log_open(log, LOG_INFO), 0);
	snprintf(path, sizeof(path), "%s/later/a.csv", dir);
	snmplog_init(&l, &none, path, 1, 0);
	for (uint64_t s = 1; s <= 500; s++)
		snmplog_turn(&l, s * 1000);
	lines = rows(log);
	cr_assert_eq(lines, 1, "%u", lines);
	cr_assert_not_null(strstr(slurp(log), "snmplog: "));
	cr_assert_not_null(strstr(slurp(log), "later/a.csv: No such file or directory"));
	*strrchr(path, '/') = '\0';
	cr_assert_eq(mkdir(path, 0700), 0);
	path[strlen(path)] = '/';
	snmplog_turn(&l, 501000);
	cr_assert_eq(rows(path), 2);
	log_close();
}
