/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "app.h"
#include "log.h"

#define EXIT_WRONG 2 /* a wrong command line or configuration */
#define DRAIN_S	   3 /* for streams to end, at the stop */
#define CLOSE_S	   2 /* for the workers to hand everything back */

static const char usage[] = "kcpgate: TCP through KCP on DPDK, speaking kcptun's protocol\n"
			    "\n"
			    "  kcpgate -c FILE         run the gateway that FILE describes\n"
			    "  kcpgate check -c FILE   read and check FILE, print what it needs, and stop\n"
			    "  kcpgate --help\n"
			    "  kcpgate --version\n"
			    "\n"
			    "SIGTERM and SIGINT end it, SIGUSR1 prints the SNMP counters to the log.\n"
			    "Counters: dpdk-telemetry.py -f PREFIX, then /kcpgate/snmp, /kcpgate/sessions, "
			    "/kcpgate/workers, /kcpgate/drops.\n";

struct step {
	const char *name;
	int (*up)(struct app *a);
	void (*down)(struct app *a);
};

/* Run forward to start and backward to stop; a step that fails is undone too. */
static const struct step steps[] = {
	{"DPDK", app_eal_up, app_eal_down},
	{"memory", app_memory_up, app_memory_down},
	{"tunnels", app_tunnels_up, app_tunnels_down},
	{"ports", app_ports_up, app_ports_down},
	{"workers", app_workers_up, app_workers_down},
	{"control", app_ctl_up, app_ctl_down},
	{"telemetry", app_telemetry_up, app_telemetry_down},
	{"lcores", app_launch_up, app_launch_down},
};

#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static void steps_down(struct app *a, size_t n)
{
	while (n)
		steps[--n].down(a);
}

static int steps_up(struct app *a)
{
	for (size_t i = 0; i < N_STEPS; i++) {
		int ret = steps[i].up(a);

		if (ret == 0)
			continue;
		log_err("cannot start: %s: %s", steps[i].name, a->why[0] ? a->why : strerror(-ret));
		steps_down(a, i + 1);
		return ret;
	}
	return 0;
}

static time_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void print_snmp(struct app *a)
{
	char line[2048];

	tlm_snmp_line(&a->tlm, line, sizeof(line));
	log_info("%s", line);
}

static bool all_closed(const struct app *a)
{
	for (unsigned w = 0; w < a->plan.workers; w++)
		if (!worker_closed(a->workers[w]))
			return false;
	return true;
}

/* Ends streams first, so that peers get their FINs and applications their bytes; then sessions. */
static void drain(struct app *a)
{
	time_t until = now_s() + DRAIN_S;

	ctl_drain(a->ctl);
	while (!ctl_idle(a->ctl) && now_s() < until)
		ctl_turn(a->ctl, 10);
	for (unsigned w = 0; w < a->plan.workers; w++)
		worker_close(a->workers[w]);
	until = now_s() + CLOSE_S;
	while (!all_closed(a) && now_s() < until)
		ctl_turn(a->ctl, 1);
}

static void serve(struct app *a)
{
	const uint64_t end = 1ull << SIGTERM | 1ull << SIGINT;
	uint64_t signals;

	do {
		signals = ctl_turn(a->ctl, 1000);
		if (signals & 1ull << SIGUSR1)
			print_snmp(a);
	} while (!(signals & end));
	log_info("stopping on %s", signals & 1ull << SIGTERM ? "SIGTERM" : "SIGINT");
	drain(a);
}

/* Signals are read by the control lcore; every thread that DPDK makes inherits the mask. */
static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void raise_limits(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static int run(const struct conf *c)
{
	struct app a = {.conf = c};
	int ret = log_open(c->log.file, (enum log_level)c->log.level);

	if (ret) {
		fprintf(stderr, "kcpgate: log.file: %s: %s\n", c->log.file, strerror(-ret));
		return EXIT_FAILURE;
	}
	block_signals();
	raise_limits();
	log_info("version: " KCPGATE_VERSION);
	plan_make(&a.plan, c);
	if (steps_up(&a)) {
		log_close();
		return EXIT_FAILURE;
	}
	for (unsigned i = 0; i < c->n_tunnels; i++)
		log_info("tunnel %s: %s, encryption: %s, mode: %s, smux version: %u", c->tunnels[i].name,
			 c->tunnels[i].role == CONF_SERVER ? "server" : "client", c->tunnels[i].crypt,
			 c->tunnels[i].mode, c->tunnels[i].smuxver);
	log_info("ready: %u workers, %u tunnels, %u ports", a.plan.workers, c->n_tunnels, c->n_ports);
	serve(&a);
	steps_down(&a, N_STEPS);
	log_info("stopped");
	log_close();
	return EXIT_SUCCESS;
}

static int check(const struct conf *c)
{
	struct plan p;

	plan_make(&p, c);
	printf("%s: %u ports, %u tunnels: good\n", c->path, c->n_ports, c->n_tunnels);
	plan_print(&p, c);
	return EXIT_SUCCESS;
}

static int with_conf(const char *path, int (*fn)(const struct conf *c))
{
	char why[512];
	struct conf *c;
	int ret;

	if (conf_load(path, &c, why, sizeof(why))) {
		fprintf(stderr, "kcpgate: %s\n", why);
		return EXIT_WRONG;
	}
	for (unsigned i = 0; i < c->n_warnings; i++)
		fprintf(stderr, "kcpgate: warning: %s\n", c->warnings[i]);
	ret = fn(c);
	conf_free(c);
	return ret;
}

int main(int argc, char **argv)
{
	static const struct option opts[] = {
		{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{0},
	};
	bool only_check = argc > 1 && !strcmp(argv[1], "check");
	const char *path = NULL;
	int opt;

	if (only_check) {
		argv[1] = argv[0];
		argc--;
		argv++;
	}
	while ((opt = getopt_long(argc, argv, "c:hv", opts, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		}
		if (opt == 'v') {
			puts("kcpgate version " KCPGATE_VERSION);
			return EXIT_SUCCESS;
		}
		if (opt != 'c')
			return EXIT_WRONG; /* getopt has said what is wrong */
		path = optarg;
	}
	if (optind < argc) {
		fprintf(stderr, "kcpgate: unknown argument: %s (see --help)\n", argv[optind]);
		return EXIT_WRONG;
	}
	if (!path) {
		fprintf(stderr, "kcpgate: no configuration: -c FILE is needed (see --help)\n");
		return EXIT_WRONG;
	}
	return with_conf(path, only_check ? check : run);
}
