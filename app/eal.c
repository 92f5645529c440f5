/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_build_config.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_pdump.h>

#include "again.h"
#include "app.h"
#include "devices.h"
#include "eal_args.h"
#include "log.h"
#include "pages.h"
#include "plugins.h"
#include "runtime.h"
#include "shared.h"
#include "sysfile.h"

#define MOUNTS "/proc/mounts"

_Static_assert(LIMIT_LCORES <= RTE_MAX_LCORE, "what conf_lcores takes, EAL takes");

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
	mode_t mask;
	int ret;

	fflush(stdout);
	if (fd >= 0 && !log_on(LOG_DEBUG)) {
		dup2(fd, 1);
		dup2(fd, 2);
	}
	mask = umask(077); /* telemetry's socket, whose mode is nobody else's business */
	ret = rte_eal_init(argc, argv);
	umask(mask);
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

/* Room for all of it, though it is taken as it is used. */
static int ordinary_pages(struct app *a)
{
	unsigned have = pages_available_mb(""), before = a->plan.memory_mb;
	struct plan *p = &a->plan;

	if (have)
		plan_fit(p, a->conf, have);
	if (have && have < p->memory_mb) {
		snprintf(a->why, sizeof(a->why), "memory: %u MB needed, %u MB available: %sadd memory", p->memory_mb,
			 have, a->conf->eal.memory ? "lower eal.memory or " : "");
		return -ENOMEM;
	}
	if (p->memory_mb < before)
		log_info("memory: %u MB at most, for %u MB are available", p->memory_mb, have);
	return 0;
}

/* Plans, and decides on hugepages; what EAL would find out by failing is said here, with what to do. */
static int eal_plan(struct app *a)
{
	const struct conf_eal *e = &a->conf->eal;
	struct plan *p = &a->plan;
	int ret = 0;

	if (e->dumpcap)
		shared_sweep(MOUNTS, e->file_prefix);
	plan_make(p, a->conf, TOPO_SYS,
		  e->hugepages == CONF_HUGE_YES || (e->hugepages == CONF_HUGE_AUTO && !again_is()));
	if (p->huge) {
		ret = pages_missing(TOPO_SYS, p->nodes, p->node_mb, a->why, sizeof(a->why));
		if (ret && e->hugepages == CONF_HUGE_YES)
			return ret;
		if (ret)
			plan_make(p, a->conf, TOPO_SYS, false);
		a->why[0] = '\0';
	}
	if (plan_enough(p, a->conf, a->why, sizeof(a->why)))
		return -ENOMEM;
	if (e->dumpcap && !sysfile_says(MOUNTS, " hugetlbfs ")) {
		snprintf(a->why, sizeof(a->why),
			 "eal.dumpcap: no hugetlbfs is mounted: mount -t hugetlbfs hugetlbfs /dev/hugepages");
		return -ENOENT;
	}
	return p->huge ? 0 : ordinary_pages(a);
}

/* Of a process whose memory others may map; behind rte_eal_cleanup there are no more than names. */
static char shared_prefix[CONF_NAME_MAX];

/* DPDK's telemetry removes its socket at the exit too: what was registered before its own runs behind it. */
static void at_exit(void)
{
	const char *dir = rte_eal_get_runtime_dir();

	if (!dir || !dir[0])
		return;
	if (shared_prefix[0])
		shared_leave(MOUNTS, shared_prefix, dir);
	runtime_leave(dir);
}

static void eal_runtime(void)
{
	const char *dir = rte_eal_get_runtime_dir();
	unsigned n;
	int err;

	if (!dir || !dir[0])
		return;
	err = runtime_hold(dir);
	if (err)
		log_warn("%s: %s: it will be left behind", dir, strerror(-err));
	err = runtime_close(dir);
	if (err)
		log_warn("%s: telemetry's socket cannot be kept from others: %s", dir, strerror(-err));
	n = runtime_sweep(dir);
	if (n)
		log_debug("removed %u folders beside %s that ended processes had left", n, dir);
}

/* Of several faults the first is told. */
static void note_fault(void *ctx, const char *text)
{
	struct app *a = ctx;

	if (!a->why[0])
		snprintf(a->why, sizeof(a->why), "%s", text);
}

/*
 * Why EAL did not start.  Of hugepages somebody else may have taken those that we saw: then what is missing now is
 * said, or, where they were left to us, the start is made once more without them (-EAGAIN): not as another user, who
 * may not be let read the file.
 */
static int eal_fault(struct app *a)
{
	const char *why = rte_strerror(rte_errno);
	bool memory = rte_errno == ENOMEM && a->plan.huge;

	if (memory && a->conf->eal.hugepages == CONF_HUGE_AUTO && !a->conf->security.user[0]) {
		snprintf(a->why, sizeof(a->why),
			 "hugepages: DPDK did not get those that were free (%s): starting again with ordinary pages",
			 eal_last);
		return -EAGAIN;
	}
	if (memory && pages_missing(TOPO_SYS, a->plan.nodes, a->plan.node_mb, a->why, sizeof(a->why)))
		return -ENOMEM;
	snprintf(a->why, sizeof(a->why), "DPDK did not start (%s)%s%s: check eal.lcores, eal.memory%s and eal.args",
		 why, eal_last[0] ? ": " : "", eal_last, memory ? ", eal.hugepages" : "");
	return -ENODEV;
}

/* Answers to dpdk-dumpcap, which hooks itself into the ports' bursts when it comes.  Without it nothing is done there.
 */
static int dumpcap_up(struct app *a)
{
	snprintf(shared_prefix, sizeof(shared_prefix), "%s", a->conf->eal.file_prefix);
	if (rte_pdump_init() == 0)
		return 0;
	snprintf(a->why, sizeof(a->why), "eal.dumpcap: %s", rte_strerror(rte_errno));
	return -rte_errno;
}

int app_eal_up(struct app *a)
{
	struct eal_args args;
	struct drivers few;
	int ret = eal_plan(a);
	bool named;

	if (ret)
		return ret;
	if (devices_check(a->conf, &a->plan, &devices_here, note_fault, a))
		return -ENODEV;
	named = drivers_of(a->conf, RTE_EAL_PMD_PATH, &few) && plugins_only_named();
	eal_args_make(&args, a->conf, &a->plan, named ? &few : NULL, log_on(LOG_DEBUG));
	if (!runtime_place(getenv("RUNTIME_DIRECTORY"))) {
		log_warn("no folder for DPDK's telemetry can be made: there is none");
		args.argv[args.n++] = (char *)"--no-telemetry";
		args.argv[args.n] = NULL;
	}
	eal_log_capture();
	atexit(at_exit);
	if (eal_init_quiet(args.n, args.argv) < 0)
		return eal_fault(a);
	a->eal_up = true;
	eal_runtime();
	if (rte_lcore_count() != a->plan.workers + a->plan.controls) {
		snprintf(a->why, sizeof(a->why), "eal.lcores: DPDK runs %u lcores, not %u", rte_lcore_count(),
			 a->plan.workers + a->plan.controls);
		return -EINVAL;
	}
	worker_clock_init(&a->clock);
	return a->conf->eal.dumpcap ? dumpcap_up(a) : 0;
}

void app_eal_down(struct app *a)
{
	if (a->eal_up && a->conf->eal.dumpcap)
		rte_pdump_uninit();
	if (a->eal_up)
		rte_eal_cleanup();
	rte_openlog_stream(NULL);
}
