/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "again.h"
#include "app.h"
#include "cap.h"
#include "capture_cmd.h"
#include "devices.h"
#include "host.h"
#include "log.h"
#include "look_cmd.h"
#include "manage.h"
#include "notify.h"
#include "pages.h"
#include "posture.h"
#include "reload.h"
#include "speed.h"
#include "vault.h"

#define EXIT_WRONG 2	/* a wrong command line or configuration */
#define DRAIN_MS   4000 /* for what is under way to be delivered, at the stop */
#define CLOSE_MS   2000 /* for the workers to hand everything back */
#define TURN_MS	   1000 /* longest sleep of the control side */
#define SETTLE_MS  1000 /* for a port's interface to be found by its route, before we are ready all the same */

static const char usage[] =
	"kcpgate: TCP through KCP on DPDK, speaking kcptun's protocol\n"
	"\n"
	"  kcpgate -c FILE                 run the gateway that FILE describes\n"
	"  kcpgate check -c FILE           read and check FILE, print what it needs, and stop\n"
	"  kcpgate check --against-running -c FILE\n"
	"                                  what the running gateway would take over of FILE, and what needs a restart\n"
	"  kcpgate reload [-f PREFIX | -c FILE]\n"
	"                                  have the running gateway read its file again\n"
	"  kcpgate drain [-f PREFIX | -c FILE] [--deadline S] [--wait] TUNNEL|--all\n"
	"                                  have a tunnel take nothing new, and end with what it has\n"
	"  kcpgate doctor [--json] [-c FILE]\n"
	"                                  what the machine has of what FILE needs, and how to mend the rest\n"
	"  kcpgate client OPTIONS          run as kcptun's client, with its options; --help lists them\n"
	"  kcpgate server OPTIONS          run as kcptun's server, likewise\n"
	"  kcpgate check|doctor client|server OPTIONS\n"
	"  kcpgate capture [OPTIONS] -w FILE\n"
	"                                  a running gateway's datagrams as a pcapng file; --help lists the options\n"
	"  kcpgate show [WHAT] [--json]    a running gateway: tunnels, sessions, streams, workers, drops ...; --help "
	"lists\n"
	"                                  them, and `show dump', lines for programs\n"
	"  kcpgate top [TUNNEL]            its sessions, the busiest first, live\n"
	"  kcpgate ping TUNNEL             the time through it, to its peer and to its target\n"
	"  kcpgate kick SESSION            ends it\n"
	"  kcpgate speedtest TUNNEL        what it carries, through its target\n"
	"  kcpgate explain [TUNNEL|SESSION]\n"
	"                                  what bounds its throughput now, and what to change on which side\n"
	"  kcpgate import FILE [--role client|server]\n"
	"                                  print the FILE for -c that does what a file of kcptun's (JSON), mihomo's "
	"or\n"
	"                                  gost's (YAML) does\n"
	"  kcpgate --help\n"
	"  kcpgate --version\n"
	"\n"
	"SIGTERM and SIGINT end it, SIGUSR1 prints the SNMP counters to the log, SIGHUP reads FILE again.\n"
	"Counters: dpdk-telemetry.py -f PREFIX, then /kcpgate/snmp, /kcpgate/sessions, /kcpgate/workers, "
	"/kcpgate/drops.\n"
	"PREFIX is eal.file_prefix of FILE, or kcpgate-PID of a client or server without one.\n";

struct step {
	const char *name;
	int (*up)(struct app *a);
	void (*down)(struct app *a);
};

/* Run forward to start and backward to stop; a step that fails is undone too.  -EAGAIN: see again.h. */
static const struct step steps[] = {
	{"DPDK", app_eal_up, app_eal_down},
	{"memory", app_memory_up, app_memory_down},
	{"tunnels", app_tunnels_up, app_tunnels_down},
	{"ports", app_ports_up, app_ports_down},
	{"workers", app_workers_up, app_workers_down},
	{"control", app_ctl_up, app_ctl_down},
	{"telemetry", app_telemetry_up, app_telemetry_down},
	{"lcores", app_launch_up, app_launch_down},
	{"snmplog", app_snmplog_up, app_snmplog_down},
	{"reload", app_reload_up, app_reload_down},
	{"metrics", app_metrics_up, app_metrics_down},
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
		if (ret == -EAGAIN)
			log_warn("%s", a->why);
		else
			log_err("cannot start: %s: %s", steps[i].name, a->why[0] ? a->why : strerror(-ret));
		steps_down(a, i + 1);
		return ret;
	}
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
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

static bool all_drained(const struct app *a)
{
	for (unsigned w = 0; w < a->plan.workers; w++)
		if (!worker_drained(a->workers[w]))
			return false;
	return ctl_idle(a->ctl);
}

/* What the stop has cut off: nothing of it looks like a clean end to the applications. */
static void tell_cut(const struct app *a)
{
	struct shard_unsent sum = {0};
	unsigned conns;
	uint64_t bytes = ctl_undelivered(a->ctl, &conns);

	for (unsigned w = 0; w < a->plan.workers; w++) {
		const struct shard_unsent *u = worker_unsent(a->workers[w]);

		sum.sessions += u->sessions;
		sum.segments += u->segments;
		sum.bytes += u->bytes;
	}
	if (sum.sessions)
		log_warn("not delivered to peers: %" PRIu64 " segments of %" PRIu64 " sessions, %" PRIu64
			 " bytes before them",
			 sum.segments, sum.sessions, sum.bytes);
	if (conns)
		log_warn("not delivered to TCP: %" PRIu64 " bytes of %u connections, which are reset", bytes, conns);
}

/*
 * First everything that is under way, both ways, and the streams' ends behind it; then the sessions, silently, as the
 * protocol has it.  What does not make it in time is told.
 */
static void drain(struct app *a)
{
	uint64_t until = now_ms() + DRAIN_MS;

	ctl_drain(a->ctl);
	for (unsigned w = 0; w < a->plan.workers; w++)
		worker_drain(a->workers[w]);
	while (!all_drained(a) && now_ms() < until)
		ctl_turn(a->ctl, 5);
	for (unsigned w = 0; w < a->plan.workers; w++)
		worker_close(a->workers[w]);
	until = now_ms() + CLOSE_MS;
	while (!all_closed(a) && now_ms() < until)
		ctl_turn(a->ctl, 1);
	tell_cut(a);
}

#define END_SIGNALS (1ull << SIGTERM | 1ull << SIGINT)

/* A port that is found by a name or a route is found at once where there is one: then it is there when we are ready. */
static uint64_t settle(struct app *a)
{
	uint64_t until = now_ms() + SETTLE_MS, signals = 0;

	while (ctl_seeking(a->ctl) && now_ms() < until && !(signals & END_SIGNALS))
		signals |= ctl_turn(a->ctl, 10);
	return signals;
}

/* signals: those that have come already. */
static void serve(struct app *a, uint64_t signals)
{
	while (!(signals & END_SIGNALS)) {
		if (signals & 1ull << SIGUSR1)
			print_snmp(a);
		if (signals & 1ull << SIGHUP)
			reload_hup(a);
		signals = ctl_turn(a->ctl, TURN_MS);
		notify_watchdog();
		posture_tell();
		log_tick();
		reload_turn(a);
		app_drain_turn(a);
		app_until_turn(a);
	}
	notify_stopping();
	log_rate(0);
	log_info("stopping on %s", signals & 1ull << SIGTERM ? "SIGTERM" : "SIGINT");
	drain(a);
}

/* Signals are read by the control lcore; every thread that DPDK makes inherits the mask. */
static void block_signals(const struct conf *c)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	if (app_takes_hup(c))
		sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* To what we may have: descriptors are connections, and vfio locks the memory that it gives to a card. */
static void raise_limits(void)
{
	static const int what[] = {RLIMIT_NOFILE, RLIMIT_MEMLOCK};
	struct rlimit r;

	for (unsigned i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		if (getrlimit(what[i], &r))
			continue;
		r.rlim_cur = r.rlim_max;
		setrlimit(what[i], &r);
	}
}

/* The log, whose file may be root's, and then no more rights than the rest needs.  0 or -errno, and it was said why. */
static int begin(const struct conf *c)
{
	char why[256];
	int fd = log_file(c->log.file), err;

	if (fd < 0) {
		fprintf(stderr, "kcpgate: log.file: %s: %s\n", c->log.file, strerror(-fd));
		return fd;
	}
	err = posture_lower(c, why, sizeof(why));
	if (err) {
		fprintf(stderr, "kcpgate: %s\n", why);
		return err;
	}
	log_form((enum log_format)c->log.format);
	err = log_to(fd, (enum log_level)c->log.level);
	if (err)
		fprintf(stderr, "kcpgate: log: %s\n", strerror(-err));
	return err;
}

/* Places for tunnels that a reload adds: a command line has none to read again. */
static int reserve(const struct conf *c)
{
	unsigned spare = c->tunnels[0].line < 0 ? 0 : c->spare_tunnels, room = c->n_tunnels + spare;

	return conf_reserve((struct conf *)c, room < CONF_TUNNELS_MAX ? room : CONF_TUNNELS_MAX);
}

static int run(const struct conf *c)
{
	struct app a = {.conf = c, .ports_lock = PTHREAD_MUTEX_INITIALIZER};
	char text[POSTURE_TEXT];
	uint64_t signals;
	int ret;

	block_signals(c);
	raise_limits();
	notify_open();
	if (reserve(c) || begin(c))
		return EXIT_FAILURE;
	banner(c);
	ret = steps_up(&a);
	posture_keeper_end();
	if (ret) {
		log_close();
		if (ret == -EAGAIN)
			app_say("cannot start again: %s", strerror(-again_start()));
		return EXIT_FAILURE;
	}
	again_forget();
	signals = settle(&a);
	banner_listening(c);
	ret = posture_sandbox(c);
	if (ret)
		log_warn("sandbox: %s: system calls are not refused", strerror(-ret));
	log_info("security: %s, sandbox %s, %s", posture_text(text), posture_sandboxed() ? "on" : "off",
		 vault_unlocked() ? "keys not all locked (ulimit -l)" : "keys locked");
	log_info("ready: %u workers, %u tunnels, %u ports", a.plan.workers, c->n_tunnels, c->n_ports);
	if (a.plan.controls > 1)
		log_debug("%u control lcores share the TCP connections", a.plan.controls);
	app_say_ready(c);
	log_rate(c->log.rate); /* what a start has to say, it says */
	notify_ready();
	serve(&a, signals);
	steps_down(&a, N_STEPS);
	posture_tell();
	log_info("stopped");
	log_close();
	return EXIT_SUCCESS;
}

/* What the gateway would wait for. */
static void check_ports(const struct conf *c)
{
	char base[IF_NAMESIZE];

	for (unsigned i = 0; i < c->n_ports; i++) {
		const struct conf_port *p = &c->ports[i];
		struct port_conf pc = {.device = p->device, .vdev = p->vdev};

		if (port_base(&pc, base, sizeof(base)) && if_nametoindex(base) == 0)
			fprintf(stderr,
				"kcpgate: warning: %s: port %s: no interface %s now: the gateway waits for it\n",
				c->path, p->name, base);
	}
}

/* Bandwidths that the start would cut. */
static void check_bandwidths(const struct conf *c)
{
	unsigned mbps[CONF_PORTS_MAX];
	char text[200];

	host_ports_mbps(c, mbps);
	for (unsigned i = 0; i < c->n_tunnels; i++)
		if (speed_cut_text(c, &c->tunnels[i], mbps, text, sizeof(text)))
			fprintf(stderr, "kcpgate: warning: %s: %s\n", c->path, text);
}

static void say_fault(void *ctx, const char *text)
{
	const struct conf *c = ctx;

	fprintf(stderr, "kcpgate: %s: %s\n", c->path, text);
}

/* What the start would find wrong with the devices: with ordinary pages where hugepages are left to us and too few. */
static unsigned check_devices(const struct conf *c, const struct plan *p)
{
	struct plan done = *p;
	char text[256];

	if (p->huge && c->eal.hugepages == CONF_HUGE_AUTO &&
	    pages_missing(TOPO_SYS, p->nodes, p->node_mb, text, sizeof(text)))
		done.huge = false;
	return devices_check(c, &done, &devices_here, say_fault, (void *)c);
}

/* What of it the start would use on this machine now, where it is not said to use hugepages only. */
static void check_memory(const struct conf *c)
{
	unsigned have = pages_available_mb(""), all;
	struct plan p;

	if (c->eal.hugepages == CONF_HUGE_YES || have == 0)
		return;
	plan_make(&p, c, TOPO_SYS, false);
	all = p.memory_mb;
	plan_fit(&p, c, have);
	if (p.memory_mb < all)
		printf("on this machine    %u MB at most in ordinary pages, for %u MB are available\n", p.memory_mb,
		       have);
}

static void check_security(const struct conf *c)
{
	char text[CAP_TEXT];

	printf("user               %s\n", c->security.user[0] ? c->security.user : "as it is started");
	printf("capabilities       %s\n", cap_text(posture_would_keep(c), text));
	printf("sandbox            %s\n", c->security.sandbox ? "on" : "off");
	printf("state              %s", c->security.state[0] ? c->security.state : "none");
	if (c->security.state[0] && access(c->security.state, W_OK | X_OK))
		printf(" (%s: recordings are not known over restarts)", strerror(errno));
	printf("\n");
}

/* What it takes is printed even where a device is wrong: hugepages are reserved before a card is bound. */
static int check(const struct conf *c)
{
	unsigned faults;
	struct plan p;
	char why[256];

	plan_make(&p, c, TOPO_SYS, c->eal.hugepages != CONF_HUGE_NO);
	if (plan_enough(&p, c, why, sizeof(why))) {
		fprintf(stderr, "kcpgate: %s: %s\n", c->path, why);
		return EXIT_WRONG;
	}
	if (posture_check(c, why, sizeof(why))) {
		fprintf(stderr, "kcpgate: %s: %s\n", c->path, why);
		return EXIT_WRONG;
	}
	check_ports(c);
	check_bandwidths(c);
	faults = check_devices(c, &p);
	if (!faults)
		printf("%s: %u ports, %u tunnels: good\n", c->path, c->n_ports, c->n_tunnels);
	plan_print(&p, c);
	check_memory(c);
	check_security(c);
	return faults ? EXIT_WRONG : EXIT_SUCCESS;
}

/* The file alone is checked first: what it says of the prefix tells which gateway is asked. */
static int check_against(const struct conf *c)
{
	return manage_compare(c->eal.file_prefix, c->path);
}

static int doctor_plain(const struct conf *c)
{
	return app_doctor(c, false);
}

static int doctor_json_of(const struct conf *c)
{
	return app_doctor(c, true);
}

/* ---- the commands ---- */

typedef int conf_fn(const struct conf *c);

static int wrong(const char *why)
{
	fprintf(stderr, "kcpgate: %s\n", why);
	return EXIT_WRONG;
}

/* Does what is asked with a configuration that was read, and frees it. */
static int with_conf(struct conf *c, conf_fn *fn)
{
	int ret;

	for (unsigned i = 0; i < c->n_warnings; i++)
		app_say("warning: %s", c->warnings[i]);
	ret = fn(c);
	conf_free(c);
	return ret;
}

/* kcptun's command line: argv[0] is "client" or "server". */
static int role(int argc, char **argv, conf_fn *fn)
{
	enum conf_role of = strcmp(argv[0], "server") == 0 ? CONF_SERVER : CONF_CLIENT;
	struct host host;
	struct conf *c;
	char why[512];
	int ret;

	host_init(&host, fn != run);
	ret = conf_args(of, argc, argv, &host.conf, &c, why, sizeof(why));
	host_wipe(&host);
	if (ret == CONF_ARGS_HELP)
		return conf_help(stdout, of) ? EXIT_FAILURE : EXIT_SUCCESS;
	if (ret == CONF_ARGS_VERSION) {
		app_version();
		return EXIT_SUCCESS;
	}
	return ret ? wrong(why) : with_conf(c, fn);
}

static int import(int argc, char **argv)
{
	const char *path = NULL, *name = NULL;
	enum conf_role of = CONF_SERVER;
	char why[512];

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--role") && i + 1 < argc)
			name = argv[++i];
		else if (!strncmp(argv[i], "--role=", 7))
			name = argv[i] + 7;
		else if (argv[i][0] == '-' || path)
			return wrong("import: allowed: FILE [--role client|server]");
		else
			path = argv[i];
	}
	if (!path)
		return wrong("import: found no file; allowed: FILE [--role client|server]");
	if (name && !strcmp(name, "client"))
		of = CONF_CLIENT;
	else if (name && strcmp(name, "server") != 0)
		return wrong("import: --role: allowed: client, server");
	return conf_import(stdout, path, name ? &of : NULL, why, sizeof(why)) ? wrong(why) : EXIT_SUCCESS;
}

static int file(int argc, char **argv, conf_fn *fn)
{
	static const struct option opts[] = {
		{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{0},
	};
	const char *path = NULL;
	struct conf *c;
	char why[1024];
	int opt;

	while ((opt = getopt_long(argc, argv, "c:hv", opts, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		}
		if (opt == 'v') {
			app_version();
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
	if (!path)
		return wrong("no configuration: -c FILE is needed (see --help)");
	return conf_load(path, &c, why, sizeof(why)) ? wrong(why) : with_conf(c, fn);
}

/* Takes a word out of the arguments; false when it is not there. */
static bool take(int *argc, char **argv, const char *word)
{
	for (int i = 1; i < *argc; i++) {
		if (strcmp(argv[i], word) != 0)
			continue;
		memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof(*argv));
		--*argc;
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	conf_fn *fn = run;
	int ret;

	app_say_open();
	again_keep(argv);
	if (argc > 1 && !strcmp(argv[1], "check")) {
		take(&argc, argv, "check");
		fn = take(&argc, argv, "--against-running") ? check_against : check;
	} else if (argc > 1 && !strcmp(argv[1], "doctor")) {
		take(&argc, argv, "doctor");
		fn = take(&argc, argv, "--json") ? doctor_json_of : doctor_plain;
		if (argc == 1)
			return fn(NULL);
	}
	if (argc > 1 && (!strcmp(argv[1], "client") || !strcmp(argv[1], "server")))
		return role(argc - 1, argv + 1, fn);
	if (argc > 1 && !strcmp(argv[1], "capture"))
		return app_capture(argc - 1, argv + 1);
	if (argc > 1 && look_cmd(argc - 1, argv + 1, &ret))
		return ret;
	if (argc > 1 && (!strcmp(argv[1], "reload") || !strcmp(argv[1], "drain")))
		return manage_cmd(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "import"))
		return import(argc - 1, argv + 1);
	return file(argc, argv, fn);
}
