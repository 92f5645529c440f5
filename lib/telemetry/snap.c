/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "tlm.h"

/*
 * Gauges tell of whatever ran last (wire.md 9.7): of several workers and tunnels the largest is taken.  MaxConn is
 * summed like the rest: exact for one worker and tunnel, otherwise the most that there can have been at a time.
 */
static bool is_gauge(unsigned i)
{
	switch (i * sizeof(uint64_t)) {
	case offsetof(struct snmp, FECShardSet):
	case offsetof(struct snmp, FECShardMin):
	case offsetof(struct snmp, RingBufferSndQueue):
	case offsetof(struct snmp, RingBufferRcvQueue):
	case offsetof(struct snmp, RingBufferSndBuffer):
		return true;
	default:
		return false;
	}
}

static void snmp_add(uint64_t *sum, const uint64_t *c)
{
	for (unsigned i = 0; i < SNMP_ALL; i++) {
		uint64_t v = __atomic_load_n(&c[i], __ATOMIC_RELAXED);

		if (!is_gauge(i))
			sum[i] += v;
		else if (v > sum[i])
			sum[i] = v;
	}
}

void tlm_snmp(const struct tlm_src *src, int tunnel, struct snmp *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned w = 0; w < src->n_workers; w++)
		for (unsigned t = 0; t < src->conf->n_tunnels; t++)
			if (tunnel < 0 || t == (unsigned)tunnel)
				snmp_add((uint64_t *)out, (const uint64_t *)shard_snmp(src->shards[w], t));
}

uint64_t tlm_drops(const struct tlm_src *src, unsigned verdict)
{
	/* Frames from the kernel that find a worker's ring full, or their port closed, are control's to drop. */
	uint64_t sum = verdict == DROP_INJECT_FULL ? ctl_stats(src->ctl)->inject_full
		       : verdict == DROP_PORT_DOWN ? ctl_stats(src->ctl)->inject_down
						   : 0;

	for (unsigned w = 0; w < src->n_workers; w++)
		sum += __atomic_load_n(&shard_stats(src->shards[w])->drops[verdict - VERDICT_DROP], __ATOMIC_RELAXED);
	return sum;
}

int tlm_snmp_line(const struct tlm_src *src, char *buf, size_t n)
{
	struct snmp sum;
	const uint64_t *v = (const uint64_t *)&sum;
	size_t at;

	tlm_snmp(src, -1, &sum);
	at = (size_t)snprintf(buf, n, "KCP SNMP:&{");
	for (unsigned i = 0; i < SNMP_COUNT && at < n; i++)
		at += (size_t)snprintf(buf + at, n - at, "%s%s:%llu", i ? " " : "", snmp_name(i),
				       (unsigned long long)v[i]);
	if (at < n)
		at += (size_t)snprintf(buf + at, n - at, "}");
	return (int)at;
}
