/* SPDX-License-Identifier: MIT */

/* `kcpgate reload` and `kcpgate check --against-running`: a running gateway is asked by its telemetry socket. */

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "conf.h"
#include "manage.h"

#define EXIT_WRONG   2	   /* as of check: the file is wrong */
#define EXIT_RESTART 3	   /* something of it needs a restart */
#define ANSWER	     65536 /* bytes */
#define ANSWER_S     120

static const char usage[] =
	"kcpgate reload: a running gateway reads its file again\n"
	"\n"
	"  kcpgate reload [-f PREFIX | -c FILE]\n"
	"\n"
	"  -f PREFIX   the gateway's eal.file_prefix, \"kcpgate\" when not given; -c FILE: that of a configuration "
	"file\n"
	"\n"
	"It prints what has changed.  Exit status: 0 all of it was taken over, 1 the gateway cannot be asked, 2 the "
	"file\n"
	"is wrong and nothing has changed, 3 a part needs a restart.  SIGHUP does the same, and the log tells.\n";

static const char drain_usage[] =
	"kcpgate drain: a running gateway's tunnel takes nothing new, and ends with what it has\n"
	"\n"
	"  kcpgate drain [-f PREFIX | -c FILE] [--deadline S] [--wait] TUNNEL|--all\n"
	"\n"
	"  -f PREFIX      the gateway's eal.file_prefix, \"kcpgate\" when not given; -c FILE: that of a configuration "
	"file\n"
	"  --deadline S   what is left after S seconds is cut off; not given: it may take as long as it likes\n"
	"  --wait         until nothing is left\n"
	"\n"
	"A client's tunnel refuses connections from then on, a server's sessions and streams.  A second drain moves "
	"the\n"
	"deadline; only a start makes the tunnel serve again.\n";

/* ---- asking ---- */

static int connect_in(const char *parent, const char *prefix)
{
	const struct timeval patience = {.tv_sec = ANSWER_S};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd;

	if (snprintf(un.sun_path, sizeof(un.sun_path), "%s/dpdk/%s/dpdk_telemetry.v2", parent, prefix) >=
	    (int)sizeof(un.sun_path))
		return -1;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Where DPDK has its processes' folders, and where a service has its own. */
static int connect_to(const char *prefix)
{
	const char *dirs[] = {getenv("RUNTIME_DIRECTORY"), getuid() ? getenv("XDG_RUNTIME_DIR") : NULL,
			      getuid() ? "/tmp" : "/var/run", "/run/kcpgate"};
	int fd = -1;

	for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]) && fd < 0; i++)
		if (dirs[i])
			fd = connect_in(dirs[i], prefix);
	return fd;
}

/* The object that answers, or NULL; fd is closed. */
static json_t *question(int fd, const char *command)
{
	char *answer = malloc(ANSWER);
	json_t *all = NULL, *object = NULL;
	ssize_t n = -1;

	if (answer && recv(fd, answer, ANSWER, 0) > 0 && send(fd, command, strlen(command), MSG_NOSIGNAL) > 0)
		n = recv(fd, answer, ANSWER, 0);
	if (n > 0)
		all = json_loadb(answer, (size_t)n, 0, NULL);
	object = json_object_iter_value(json_object_iter(all));
	object = json_is_object(object) ? json_incref(object) : NULL;
	json_decref(all);
	free(answer);
	close(fd);
	return object;
}

static json_t *ask(const char *prefix, const char *command)
{
	int fd = connect_to(prefix);
	json_t *o = fd < 0 ? NULL : question(fd, command);

	if (fd < 0)
		fprintf(stderr, "kcpgate: no gateway %s of this user runs here, or its telemetry is off\n", prefix);
	else if (!o)
		fprintf(stderr, "kcpgate: gateway %s does not answer, or does not know %s\n", prefix, command);
	return o;
}

/* ---- the answer ---- */

static const char *text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

static bool error_of(const json_t *o)
{
	char name[24] = "error";

	if (!json_object_get(o, name))
		return false;
	fputs("kcpgate: ", stderr);
	for (unsigned i = 2; json_object_get(o, name); i++) {
		fputs(text(o, name), stderr);
		snprintf(name, sizeof(name), "error_%u", i);
	}
	fputc('\n', stderr);
	return true;
}

static const char *words(const char *how)
{
	if (!strcmp(how, "restart"))
		return "needs a restart";
	if (!strcmp(how, "none"))
		return "no effect by itself";
	return "by reload";
}

static void print_change(const json_t *c)
{
	const char *note = text(c, "note");

	printf("%s: ", text(c, "name"));
	if (json_object_get(c, "from"))
		printf("%s -> %s", text(c, "from"), text(c, "to"));
	else
		printf("%s", text(c, "what"));
	printf(" (%s%s%s)\n", words(text(c, "how")), *note ? ": " : "", note);
}

static int print_answer(const json_t *o, const char *done)
{
	unsigned n = (unsigned)json_integer_value(json_object_get(o, "changes")), i;
	unsigned restart = (unsigned)json_integer_value(json_object_get(o, "restart"));
	const json_t *c;
	char name[24] = "0";

	if (error_of(o))
		return EXIT_WRONG;
	for (i = 0; (c = json_object_get(o, name)); snprintf(name, sizeof(name), "%u", ++i))
		print_change(c);
	if (n > i)
		printf("and %u more, which the answer had no room for\n", n - i);
	if (n)
		printf("%u %s, %u %s a restart\n", n - restart, done, restart, restart == 1 ? "needs" : "need");
	else
		printf("nothing differs\n");
	return restart ? EXIT_RESTART : EXIT_SUCCESS;
}

static int ask_and_print(const char *prefix, const char *command, const char *done)
{
	json_t *o = ask(prefix, command);
	int ret;

	if (!o)
		return EXIT_FAILURE;
	ret = print_answer(o, done);
	json_decref(o);
	return ret;
}

int manage_compare(const char *prefix, const char *path)
{
	char command[PATH_MAX + 32], full[PATH_MAX];

	/* The gateway's working directory is another one. */
	if (!realpath(path, full))
		snprintf(full, sizeof(full), "%s", path);
	snprintf(command, sizeof(command), "/kcpgate/compare,%s", full);
	return ask_and_print(prefix, command, "by a reload");
}

/* ---- the command ---- */

/* The prefix that a file names; false, and it was said why. */
static bool prefix_of(const char *path, char prefix[CONF_NAME_MAX])
{
	struct conf *c;
	char why[1024];

	if (conf_load(path, &c, why, sizeof(why))) {
		fprintf(stderr, "kcpgate: %s\n", why);
		return false;
	}
	snprintf(prefix, CONF_NAME_MAX, "%s", c->eal.file_prefix);
	conf_free(c);
	return true;
}

static int reload_cmd(const char *prefix, int argc, char **argv)
{
	if (optind < argc) {
		fprintf(stderr, "kcpgate: reload: unknown argument: %s (see kcpgate reload -h)\n", argv[optind]);
		return EXIT_WRONG;
	}
	return ask_and_print(prefix, "/kcpgate/reload", "applied");
}

/* True while any has something left. */
static bool print_drain(const json_t *o, const char *tunnel, bool print)
{
	bool left = false;
	const char *name;
	json_t *row;

	json_object_foreach((json_t *)o, name, row)
	{
		bool draining = !strcmp(text(row, "state"), "draining");

		if (tunnel && strcmp(name, tunnel) != 0)
			continue;
		left |= draining;
		if (print)
			printf("%s: %s, %u sessions, %u streams\n", name, text(row, "state"),
			       (unsigned)json_integer_value(json_object_get(row, "sessions")),
			       (unsigned)json_integer_value(json_object_get(row, "streams")));
	}
	return left;
}

static int drain_wait(const char *prefix, const char *tunnel)
{
	bool left = true;

	while (left) {
		json_t *o = ask(prefix, "/kcpgate/drain");

		if (!o)
			return EXIT_FAILURE;
		left = print_drain(o, tunnel, false);
		if (!left)
			print_drain(o, tunnel, true);
		json_decref(o);
		if (left)
			usleep(500000);
	}
	return EXIT_SUCCESS;
}

static int drain_cmd(const char *prefix, const char *tunnel, const char *deadline, bool wait)
{
	char command[128];
	json_t *o;

	snprintf(command, sizeof(command), "/kcpgate/drain,%s%s%s", tunnel ? tunnel : "*", deadline ? "," : "",
		 deadline ? deadline : "");
	o = ask(prefix, command);
	if (!o)
		return EXIT_FAILURE;
	if (error_of(o)) {
		json_decref(o);
		return EXIT_WRONG;
	}
	if (!wait)
		print_drain(o, tunnel, true);
	json_decref(o);
	return wait ? drain_wait(prefix, tunnel) : EXIT_SUCCESS;
}

int manage_cmd(int argc, char **argv)
{
	static const struct option opts[] = {
		{"help", no_argument, NULL, 'h'},
		{"deadline", required_argument, NULL, 'd'},
		{"wait", no_argument, NULL, 'w'},
		{"all", no_argument, NULL, 'a'},
		{0},
	};
	const char *deadline = NULL;
	char prefix[CONF_NAME_MAX] = "kcpgate";
	bool drain = !strcmp(argv[0], "drain"), wait = false, all = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "c:f:h", opts, NULL)) != -1) {
		if (opt == 'h') {
			fputs(drain ? drain_usage : usage, stdout);
			return EXIT_SUCCESS;
		}
		if (opt == '?' || (opt == 'c' && !prefix_of(optarg, prefix)))
			return EXIT_WRONG;
		if (opt == 'f')
			snprintf(prefix, sizeof(prefix), "%s", optarg);
		if (opt == 'd')
			deadline = optarg;
		wait |= opt == 'w';
		all |= opt == 'a';
	}
	if (!drain)
		return reload_cmd(prefix, argc, argv);
	if (argc - optind == !all)
		return drain_cmd(prefix, all ? NULL : argv[optind], deadline, wait);
	fputs("kcpgate: drain: found no tunnel, or several; allowed: the name of one, or --all\n", stderr);
	return EXIT_WRONG;
}
