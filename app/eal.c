/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include "app.h"
#include "log.h"

#define ARGS_MAX 64

/* EAL's own words: at debug level into our log; the last line that blames something is kept. */
static char eal_last[256];

static void eal_words(const char *line, size_t len)
{
	while (len && (line[len - 1] == '\n' || line[len - 1] == ' '))
		len--;
	if (len == 0)
		return;
	log_debug("dpdk: %.*s", (int)len, line);
	/* "FATAL" only repeats in general what the line before it said. */
	if (len > 5 && !memcmp(line, "EAL: ", 5) && !memmem(line, len, "FATAL", 5))
		snprintf(eal_last, sizeof(eal_last), "%.*s", (int)(len < 200 ? len : 200) - 5, line + 5);
}

static ssize_t eal_log_write(void *cookie, const char *buf, size_t n)
{
	eal_words(buf, n);
	return (ssize_t)n;
}

static void eal_log_capture(void)
{
	FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){.write = eal_log_write});

	if (!f)
		return;
	setvbuf(f, NULL, _IOLBF, 512);
	rte_openlog_stream(f);
}

/* rte_eal_init with its standard output and error, where it prints pages of usage at a wrong argument, out of the way.
 */
static int eal_init_quiet(int argc, char **argv)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int saved[2] = {dup(1), dup(2)};
	int ret;

	fflush(stdout);
	if (fd >= 0 && !log_on(LOG_DEBUG)) {
		dup2(fd, 1);
		dup2(fd, 2);
	}
	ret = rte_eal_init(argc, argv);
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		if (saved[i] >= 0) {
			dup2(saved[i], 1 + i);
			close(saved[i]);
		}
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Free hugepages of all sizes, in MB. */
static size_t hugepages_free_mb(void)
{
	const char *dir = "/sys/kernel/mm/hugepages";
	DIR *d = opendir(dir);
	struct dirent *e;
	size_t mb = 0;

	while (d && (e = readdir(d))) {
		char path[300];
		unsigned long kb, pages;
		FILE *f;

		if (sscanf(e->d_name, "hugepages-%lukB", &kb) != 1)
			continue;
		snprintf(path, sizeof(path), "%s/%.60s/free_hugepages", dir, e->d_name);
		f = fopen(path, "r");
		if (f && fscanf(f, "%lu", &pages) == 1)
			mb += pages * kb / 1024;
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return mb;
}

static size_t memory_available_mb(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	size_t kb = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %zu kB", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb / 1024;
}

/* Decides on hugepages; what EAL would find out by failing is said here, with what to do. */
static int eal_pages(struct app *a, bool *huge)
{
	const struct conf_eal *e = &a->conf->eal;
	size_t need = a->plan.memory_mb, have = hugepages_free_mb();

	*huge = e->hugepages == CONF_HUGE_YES || (e->hugepages == CONF_HUGE_AUTO && have >= need);
	if (*huge && have < need) {
		snprintf(a->why, sizeof(a->why),
			 "eal.hugepages: %zu MB needed, %zu MB free: reserve them (dpdk-hugepages.py --setup %zuM), "
			 "lower eal.memory, or set eal.hugepages = false",
			 need, have, (need + 1) / 2 * 2);
		return -ENOMEM;
	}
	have = memory_available_mb();
	if (!*huge && have && have < need) {
		snprintf(a->why, sizeof(a->why),
			 "memory: %zu MB needed, %zu MB available: lower eal.memory or add memory", need, have);
		return -ENOMEM;
	}
	return 0;
}

/* Control on the first CPU that we may use, one worker on the second. */
static void default_lcores(char *buf, size_t n)
{
	int cpu[2] = {-1, -1};
	cpu_set_t set;

	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	for (int i = 0; i < CPU_SETSIZE && cpu[1] < 0; i++)
		if (CPU_ISSET(i, &set))
			cpu[cpu[0] < 0 ? 0 : 1] = i;
	snprintf(buf, n, "0@%d,1@%d", cpu[0] < 0 ? 0 : cpu[0], cpu[1] < 0 ? (cpu[0] < 0 ? 0 : cpu[0]) : cpu[1]);
}

static bool any_pci(const struct conf *c)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		if (!c->ports[i].vdev)
			return true;
	return false;
}

/* EAL's argument vector; strings live in buf or in the configuration. */
static int eal_args(struct app *a, bool huge, char **argv, char buf[3][64])
{
	const struct conf_eal *e = &a->conf->eal;
	int n = 0;

	default_lcores(buf[0], 64);
	snprintf(buf[1], 64, "%u", a->plan.memory_mb);
	argv[n++] = "kcpgate";
	argv[n++] = "--lcores";
	argv[n++] = e->lcores ? e->lcores : buf[0];
	argv[n++] = "--file-prefix";
	argv[n++] = e->file_prefix;
	argv[n++] = "-m";
	argv[n++] = buf[1];
	if (huge) {
		argv[n++] = "--in-memory"; /* needs no hugetlbfs mount, leaves no files */
	} else {
		argv[n++] = "--no-huge"; /* which EAL takes for legacy memory, and so not with --in-memory */
		argv[n++] = "--no-shconf";
	}
	if (!any_pci(a->conf))
		argv[n++] = "--no-pci";
	if (!a->conf->telemetry.enable)
		argv[n++] = "--no-telemetry";
	if (log_on(LOG_DEBUG))
		argv[n++] = "--log-level=debug";
	for (char **arg = e->args; arg && *arg && n < ARGS_MAX - 1; arg++)
		argv[n++] = *arg;
	argv[n] = NULL;
	return n;
}

int app_eal_up(struct app *a)
{
	char *argv[ARGS_MAX], buf[3][64];
	bool huge;
	int n, ret = eal_pages(a, &huge);

	if (ret)
		return ret;
	n = eal_args(a, huge, argv, buf);
	eal_log_capture();
	if (eal_init_quiet(n, argv) < 0) {
		snprintf(a->why, sizeof(a->why),
			 "DPDK did not start (%s)%s%s: check eal.lcores, eal.memory and eal.args",
			 rte_strerror(rte_errno), eal_last[0] ? ": " : "", eal_last);
		return -ENODEV;
	}
	a->eal_up = true;
	if (rte_lcore_count() < 2) {
		snprintf(a->why, sizeof(a->why), "eal.lcores: one control lcore and at least one worker are needed");
		return -EINVAL;
	}
	a->plan.workers = rte_lcore_count() - 1;
	a->socket = (int)rte_socket_id();
	worker_clock_init(&a->clock);
	return 0;
}

void app_eal_down(struct app *a)
{
	if (a->eal_up)
		rte_eal_cleanup();
	rte_openlog_stream(NULL);
}
