/* SPDX-License-Identifier: MIT */

/* The CPUs that the lcores run on: there, ours alone, whole cores, near the ports, at full speed. */

#include <inttypes.h>
#include <string.h>

#include "doctor_int.h"

#define SHOWN	200
#define BOOTING "in GRUB_CMDLINE_LINUX of /etc/default/grub; then update-grub, and a reboot"

struct lcores {
	unsigned n, workers; /* control's, the workers', further controls' */
	uint8_t cpus[1 + CONF_WORKERS_MAX][CONF_CPUS_MAX];
	int one[1 + CONF_WORKERS_MAX]; /* the only CPU; -1: it floats over several */
};

static void lcores_read(struct lcores *l, const struct doctor *d, const struct plan *p)
{
	const char *text = d->conf->eal.lcores ? d->conf->eal.lcores : p->default_lcores;

	l->workers = p->workers;
	l->n = p->workers + p->controls;
	for (unsigned i = 0; i < l->n; i++) {
		l->one[i] = -1;
		if (conf_lcore_cpus(text, p->lcore[i], l->cpus[i]))
			memset(l->cpus[i], 0, CONF_CPUS_MAX);
		for (int cpu = 0, n = 0; cpu < CONF_CPUS_MAX; cpu++)
			if (l->cpus[i][cpu])
				l->one[i] = n++ ? -1 : cpu;
	}
}

/* "control", "worker 2" or "control 1"; of buf. */
static const char *who(const struct lcores *l, unsigned i, char buf[24])
{
	if (i > l->workers)
		snprintf(buf, 24, "control %u", i - l->workers);
	else if (i)
		snprintf(buf, 24, "worker %u", i - 1);
	else
		snprintf(buf, 24, "control");
	return buf;
}

/* Lists get long: what is shown of one. */
static const char *shown(const uint8_t *cpus, char buf[SHOWN])
{
	return doctor_list(cpus, buf, SHOWN);
}

/* ---- there, and allowed ---- */

static void there_line(struct doctor *d, const struct lcores *l)
{
	uint8_t workers[CONF_CPUS_MAX] = {0}, control[CONF_CPUS_MAX] = {0};
	char a[SHOWN], b[SHOWN];

	for (unsigned i = 0; i < l->n; i++)
		for (unsigned cpu = 0; cpu < CONF_CPUS_MAX; cpu++)
			(i && i <= l->workers ? workers : control)[cpu] |= l->cpus[i][cpu];
	doctor_add(d, DOCTOR_OK, "control on CPU %s, workers on CPU %s", shown(control, a), shown(workers, b));
}

static bool allowed_read(const struct doctor *d, uint8_t allowed[CONF_CPUS_MAX])
{
	char list[TOPO_LIST_MAX];
	bool ok = doctor_field(d, "/proc/self/status", "Cpus_allowed_list", list, sizeof(list));

	topo_list_text(list, allowed, CONF_CPUS_MAX);
	return ok;
}

/* EAL refuses a CPU that is off line, and an lcore all of whose CPUs are forbidden. */
static bool there(struct doctor *d, const struct lcores *l)
{
	uint8_t online[CONF_CPUS_MAX], allowed[CONF_CPUS_MAX], off[CONF_CPUS_MAX];
	bool know = doctor_cpus(d, online, "/sys/devices/system/cpu/online"), bound = allowed_read(d, allowed);
	char name[24], a[SHOWN], b[SHOWN];
	bool good = true;

	for (unsigned i = 0; i < l->n; i++) {
		bool any_off = false, any_allowed = false;

		for (unsigned cpu = 0; cpu < CONF_CPUS_MAX; cpu++) {
			off[cpu] = l->cpus[i][cpu] && !online[cpu];
			any_off |= off[cpu];
			any_allowed |= l->cpus[i][cpu] && allowed[cpu];
		}
		if ((!know || !any_off) && (!bound || any_allowed))
			continue;
		good = false;
		if (know && any_off)
			doctor_add(d, DOCTOR_MISSING, "%s: CPU %s is not on line (on line: %s)", who(l, i, name),
				   shown(off, a), shown(online, b));
		else
			doctor_add(d, DOCTOR_MISSING, "%s: CPU %s is not allowed to this process (allowed: %s)",
				   who(l, i, name), shown(l->cpus[i], a), shown(allowed, b));
		doctor_why(d, "DPDK does not start");
		doctor_mend(d, "name others in eal.lcores%s",
			    know && any_off ? ""
					    : ", or allow it: taskset, cpuset, "
					      "systemd's AllowedCPUs=");
	}
	return good;
}

/* ---- ours alone ---- */

/* Threads that may run on several CPUs which the scheduler leaves alone stay where they begin: on one. */
static void floats_on_isolated(struct doctor *d, const struct lcores *l, const uint8_t *isolated)
{
	char name[24], a[SHOWN];

	for (unsigned i = 0; i < l->n; i++) {
		unsigned n = 0;

		for (unsigned cpu = 0; l->one[i] < 0 && cpu < CONF_CPUS_MAX; cpu++)
			n += l->cpus[i][cpu] && isolated[cpu];
		if (!n)
			continue;
		doctor_add(d, DOCTOR_HINT, "%s floats over CPU %s, of which %u are isolated", who(l, i, name),
			   shown(l->cpus[i], a), n);
		doctor_why(d, "the kernel moves no thread between isolated CPUs: several lcores come to lie on one");
		doctor_mend(d, "one CPU each: eal.lcores = \"0@0,1@1\"");
	}
}

static void isolated(struct doctor *d, const struct lcores *l)
{
	uint8_t alone[CONF_CPUS_MAX], ticks[CONF_CPUS_MAX], want[CONF_CPUS_MAX] = {0};
	char a[SHOWN];
	bool any = false, all = true, quiet = true;

	doctor_cpus(d, alone, "/sys/devices/system/cpu/isolated");
	doctor_cpus(d, ticks, "/sys/devices/system/cpu/nohz_full");
	for (unsigned i = 1; i < l->n; i++) {
		if (l->one[i] < 0)
			continue;
		any = true;
		want[l->one[i]] = 1;
		all &= alone[l->one[i]];
		quiet &= ticks[l->one[i]];
	}
	floats_on_isolated(d, l, alone);
	if (!any)
		return;
	shown(want, a);
	if (all && quiet) {
		doctor_add(d, DOCTOR_OK, "CPU %s: isolated, without the scheduler's tick", a);
		return;
	}
	doctor_add(d, DOCTOR_HINT, all ? "CPU %s: isolated, but with the scheduler's tick" : "CPU %s: not isolated", a);
	doctor_why(d, "while the kernel runs something else on a worker's CPU its packets wait");
	doctor_mend(d, "isolcpus=%s nohz_full=%s rcu_nocbs=%s " BOOTING, a, a, a);
}

/* ---- whole cores ---- */

static void shared(struct doctor *d, const struct lcores *l)
{
	uint8_t siblings[CONF_CPUS_MAX];
	char a[24], b[24];

	for (unsigned i = 0; i < l->n; i++) {
		if (l->one[i] < 0)
			continue;
		doctor_cpus(d, siblings, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", l->one[i]);
		siblings[l->one[i]] = 1;
		for (unsigned k = i + 1; k < l->n; k++) {
			if (l->one[k] < 0 || !siblings[l->one[k]])
				continue;
			if (l->one[i] == l->one[k])
				doctor_add(d, DOCTOR_HINT, "%s and %s are both on CPU %d", who(l, i, a), who(l, k, b),
					   l->one[i]);
			else
				doctor_add(d, DOCTOR_HINT, "%s (CPU %d) and %s (CPU %d) share one core", who(l, i, a),
					   l->one[i], who(l, k, b), l->one[k]);
			doctor_why(d, "each waits for the other");
			doctor_mend(d, "CPUs of different cores in eal.lcores: lscpu -e=CPU,CORE,NODE");
		}
	}
}

/* ---- near the ports ---- */

static void say_place(void *ctx, enum place_fault what, unsigned a, unsigned b)
{
	struct doctor *d = ((void **)ctx)[0];
	const struct plan *p = ((void **)ctx)[1];
	char text[256];

	plan_fault_text(p, d->conf, what, a, b, text, sizeof(text));
	doctor_add(d, DOCTOR_HINT, "%s", text);
	doctor_why(d, "memory and devices of another node are slower to reach");
}

/* ---- at full speed ---- */

static void governor(struct doctor *d, const struct lcores *l)
{
	uint8_t slow[CONF_CPUS_MAX] = {0};
	char name[64], first[64] = "", a[SHOWN];
	unsigned fast = 0;

	for (unsigned i = 1; i < l->n; i++) {
		if (l->one[i] < 0 || !doctor_read(d, name, sizeof(name),
						  "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", l->one[i]))
			continue;
		if (strcmp(name, "performance") == 0) {
			fast++;
			continue;
		}
		slow[l->one[i]] = 1;
		if (!first[0])
			memcpy(first, name, sizeof(first));
	}
	if (first[0]) {
		doctor_add(d, DOCTOR_HINT, "CPU %s: frequency governor %s", shown(slow, a), first);
		doctor_why(d, "workers sleep between packets: the CPU slows down, and bursts wait for it");
		doctor_mend(d, "cpupower -c %s frequency-set -g performance (package linux-cpupower)", a);
	} else if (fast) {
		doctor_add(d, DOCTOR_OK, "frequency governor performance on the workers' CPUs");
	}
}

static void quota(struct doctor *d, const struct lcores *l)
{
	uint64_t cpu = doctor_group_cpu(d);

	if (cpu >= (uint64_t)l->n * 100)
		return;
	doctor_add(d, DOCTOR_HINT, "the control group may use %" PRIu64 ".%02" PRIu64 " CPUs, there are %u lcores",
		   cpu / 100, cpu % 100, l->n);
	doctor_why(d, "when that is used up all workers stand still until the period ends");
	doctor_mend(d, "CPUQuota= of the systemd unit, --cpus of the container: none, or %u", l->n);
}

void doctor_lcores(struct doctor *d, const struct plan *p)
{
	static struct lcores l; /* 130 kB */
	void *ctx[2] = {d, (void *)(uintptr_t)p};

	lcores_read(&l, d, p);
	if (!there(d, &l))
		return;
	there_line(d, &l);
	isolated(d, &l);
	shared(d, &l);
	place_faults(&p->place, &p->in, say_place, ctx);
	governor(d, &l);
	quota(d, &l);
}
