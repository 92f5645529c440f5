/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gotime.h"
#include "snmplog.h"
#include "tlm.h"

#define FAIL_LINES  1
#define FAIL_PERIOD 600

/* kcptun's CSV order, which is not the struct's in the FEC part; and one name differs there (wire.md 9.7). */
static const struct {
	const char *name;
	size_t at;
} columns[SNMP_COUNT] = {
#define C(field)                                     \
	{                                            \
#field, offsetof(struct snmp, field) \
	}
#define C2(name, field)                             \
	{                                           \
#name, offsetof(struct snmp, field) \
	}
	C(BytesSent),
	C(BytesReceived),
	C(MaxConn),
	C(ActiveOpens),
	C(PassiveOpens),
	C(CurrEstab),
	C(InErrs),
	C(InCsumErrors),
	C(KCPInErrors),
	C(InPkts),
	C(OutPkts),
	C(InSegs),
	C(OutSegs),
	C(InBytes),
	C(OutBytes),
	C(RetransSegs),
	C(FastRetransSegs),
	C(EarlyRetransSegs),
	C(LostSegs),
	C(RepeatSegs),
	C2(FECFullShards, FECFullShardSet),
	C(FECParityShards),
	C(FECErrs),
	C(FECRecovered),
	C(FECShardSet),
	C(FECShardMin),
	C(RingBufferSndQueue),
	C(RingBufferRcvQueue),
	C(RingBufferSndBuffer),
	C(OOBPackets),
#undef C
#undef C2
};

_Static_assert(SNMP_COUNT * 21 + 22 <= SNMPLOG_ROW, "a row of the largest numbers fits");

void snmplog_init(struct snmplog *l, const struct tlm_src *src, const char *path, unsigned period_s, uint64_t now_ms)
{
	*l = (struct snmplog){.src = src, .path = path && *path && period_s ? path : NULL};
	l->period_ms = (uint64_t)period_s * 1000;
	l->next_ms = now_ms + l->period_ms;
}

int snmplog_path(char *buf, size_t n, const char *path, const struct tm *tm, uint32_t ns)
{
	const char *slash = strrchr(path, '/');
	size_t dir = slash ? (size_t)(slash - path) + 1 : 0;

	if (dir >= n)
		return -ENAMETOOLONG;
	memcpy(buf, path, dir);
	buf[dir] = '\0';
	if (path[dir] && gotime_format(buf + dir, n - dir, path + dir, tm, ns) == 0)
		return -ENAMETOOLONG;
	return 0;
}

size_t snmplog_header(char *buf)
{
	size_t at = (size_t)snprintf(buf, SNMPLOG_ROW, "Unix");

	for (unsigned i = 0; i < SNMP_COUNT; i++)
		at += (size_t)snprintf(buf + at, SNMPLOG_ROW - at, ",%s", columns[i].name);
	buf[at++] = '\n';
	return at;
}

size_t snmplog_row(char *buf, uint64_t unix_s, const struct snmp *v)
{
	size_t at = (size_t)snprintf(buf, SNMPLOG_ROW, "%llu", (unsigned long long)unix_s);

	for (unsigned i = 0; i < SNMP_COUNT; i++) {
		uint64_t n;

		memcpy(&n, (const char *)v + columns[i].at, sizeof(n));
		at += (size_t)snprintf(buf + at, SNMPLOG_ROW - at, ",%llu", (unsigned long long)n);
	}
	buf[at++] = '\n';
	return at;
}

int snmplog_append(const char *path, uint64_t unix_s, const struct snmp *v)
{
	/* Non-blocking, for what is a FIFO without a reader. */
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666), err = 0;
	char buf[2 * SNMPLOG_ROW];
	struct stat st;
	size_t n = 0;
	ssize_t put;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && st.st_size == 0)
		n = snmplog_header(buf);
	n += snmplog_row(buf + n, unix_s, v);
	put = write(fd, buf, n);
	if (put != (ssize_t)n)
		err = put < 0 ? -errno : -ENOSPC;
	if (close(fd) && !err)
		err = -errno;
	return err;
}

static void log_now(struct snmplog *l, uint64_t now_ms)
{
	char path[PATH_MAX];
	struct timespec ts;
	uint32_t left_out;
	struct snmp sum;
	struct tm tm;
	int err;

	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	err = snmplog_path(path, sizeof(path), l->path, &tm, (uint32_t)ts.tv_nsec);
	if (err) {
		snprintf(path, sizeof(path), "%s", l->path);
	} else {
		tlm_snmp(l->src, -1, &sum);
		err = snmplog_append(path, (uint64_t)ts.tv_sec, &sum);
	}
	if (err && log_allow(&l->limit, now_ms / 1000, FAIL_LINES, FAIL_PERIOD, &left_out))
		log_warn("snmplog: %s: %s", path, strerror(-err));
}

int snmplog_turn(struct snmplog *l, uint64_t now_ms)
{
	if (!l->path)
		return INT32_MAX;
	if (now_ms >= l->next_ms) {
		log_now(l, now_ms);
		/* As a ticker: what was missed is not made up for. */
		l->next_ms += ((now_ms - l->next_ms) / l->period_ms + 1) * l->period_ms;
	}
	return l->next_ms - now_ms < INT32_MAX ? (int)(l->next_ms - now_ms) : INT32_MAX;
}
