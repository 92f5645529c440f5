/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include <rte_version.h>

#include "drop.h"
#include "families.h"
#include "log.h"

void families_of(struct om *o, const struct family_field *f, unsigned n_fields, const struct family_things *t)
{
	for (unsigned k = 0; k < n_fields; k++) {
		om_family(o, f[k].type, f[k].name, f[k].unit, f[k].help);
		for (unsigned i = 0; i < t->n; i++) {
			const char *base = t->base(t->ctx, i);
			uint64_t v = __atomic_load_n((const uint64_t *)(base + f[k].at), __ATOMIC_RELAXED);
			char name[FAMILY_NAME];

			if (!t->label) {
				om_u64(o, v, NULL);
				continue;
			}
			t->name(t->ctx, i, name, sizeof(name));
			om_u64(o, v, t->label, name, NULL);
		}
	}
}

/* ---- the process ---- */

static double seconds(const struct timeval *tv)
{
	return (double)tv->tv_sec + (double)tv->tv_usec / 1e6;
}

static uint64_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long all, in = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%lu %lu", &all, &in) != 2)
		in = 0;
	fclose(f);
	return (uint64_t)in * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void security(struct om *o, const struct tlm_src *src)
{
	struct tlm_security s = {0};

	if (!src->security)
		return;
	src->security(&s);
	om_family(o, OM_COUNTER, "refused_system_calls", NULL, "System calls that the sandbox has refused.");
	om_u64(o, s.refused, NULL);
	om_family(o, OM_GAUGE, "unlocked_key_bytes", "bytes", "Memory of keys that may be swapped out.");
	om_u64(o, s.keys_unlocked, NULL);
}

void families_process(struct om *o, const struct tlm_src *src, double started)
{
	struct rusage u;

	om_family(o, OM_INFO, "build", NULL, "What runs here.");
	om_u64(o, 1, "version", KCPGATE_VERSION, "dpdk", rte_version(), NULL);
	om_family(o, OM_GAUGE, "process_start_time_seconds", "seconds", "When it was started, since the epoch.");
	om_text(o, "%s %.3f\n", o->name, started);
	if (getrusage(RUSAGE_SELF, &u) == 0) {
		om_family(o, OM_COUNTER, "process_cpu_seconds", "seconds", "CPU time of all its threads.");
		om_real(o, seconds(&u.ru_utime) + seconds(&u.ru_stime), NULL);
	}
	om_family(o, OM_GAUGE, "process_resident_memory_bytes", "bytes", "Memory that it has in RAM.");
	om_u64(o, resident(), NULL);
	om_family(o, OM_COUNTER, "log_lines_lost", NULL, "Lines of the log that nobody took.");
	om_u64(o, log_lost(), NULL);
	security(o, src);
}

/* ---- drops ---- */

static void drops(struct om *o, const struct tlm_src *src)
{
	om_family(o, OM_COUNTER, "drops", NULL, "Packets, sessions and streams that were dropped, by reason.");
	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++)
		om_u64(o, tlm_drops(src, v), "reason", drop_name(v), NULL);
}

void families_put(struct om *o, const struct tlm_src *src, struct glance *l, double started)
{
	families_process(o, src, started);
	families_tunnels(o, src);
	glance_lock(l);
	families_looked(o, src, l);
	glance_unlock(l);
	drops(o, src);
	families_workers(o, src);
	families_control(o, src);
	families_ports(o, src);
	families_limits(o, src);
}
