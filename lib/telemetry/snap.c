/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "tlm.h"

void tlm_snmp(const struct tlm_src *src, int tunnel, struct snmp *out)
{
	uint64_t *sum = (uint64_t *)out;

	memset(out, 0, sizeof(*out));
	for (unsigned w = 0; w < src->n_workers; w++) {
		for (unsigned t = 0; t < src->conf->n_tunnels; t++) {
			const uint64_t *c = (const uint64_t *)shard_snmp(src->shards[w], t);

			if (tunnel >= 0 && t != (unsigned)tunnel)
				continue;
			for (unsigned i = 0; i < SNMP_COUNT; i++)
				sum[i] += __atomic_load_n(&c[i], __ATOMIC_RELAXED);
		}
	}
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
