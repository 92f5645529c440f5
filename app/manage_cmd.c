/* SPDX-License-Identifier: MIT */

/* `kcpgate reload` and `kcpgate check --against-running`: a running gateway is asked by its telemetry socket. */

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "look.h"
#include "manage.h"
#include "prefix.h"

#define EXIT_WRONG   2	 /* as of check: the file is wrong */
#define EXIT_RESTART 3	 /* something of it needs a restart */
#define ANSWER_S     120 /* for a file that hangs */

static const char usage[] =
	"kcpgate reload: a running gateway reads its file again\n"
	"\n"
	"  kcpgate reload [-f PREFIX | -c FILE]\n"
	"\n"
	"  -f PREFIX   the gateway's eal.file_prefix; -c FILE: that of a configuration file.  Neither: the\n"
	"              one gateway that runs here\n"
	"\n"
	"It prints what has changed.  Exit status: 0 all of it was taken over, 1 the gateway cannot be asked, 2 the "
	"file\n"
	"is wrong and nothing has changed, 3 a part needs a restart.  SIGHUP does the same, and the log tells.\n";

static const char drain_usage[] =
	"kcpgate drain: a running gateway's tunnel takes nothing new, and ends with what it has\n"
	"\n"
	"  kcpgate drain [-f PREFIX | -c FILE] [--deadline S] [--wait] TUNNEL|--all\n"
	"\n"
	"  -f PREFIX      the gateway's eal.file_prefix; -c FILE: that of a configuration file.  Neither: the\n"
	"                 one gateway that runs here\n"
	"  --deadline S   what is left after S seconds is cut off; not given: it may take as long as it likes\n"
	"  --wait         until nothing is left\n"
	"\n"
	"A client's tunnel refuses connections from then on, a server's sessions and streams.  A second drain moves "
	"the\n"
	"deadline; only a start makes the tunnel serve again.\n";

/* ---- asking ---- */

/* The object that answers, or NULL, and it was said why. */
static json_t *ask(const char *prefix, const char *command)
{
	const struct timeval patience = {.tv_sec = ANSWER_S};
	struct look l;
	json_t *o = NULL;

	if (look_open(&l, prefix) == 0) {
		setsockopt(l.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		o = l.ask(&l, command);
	}
	if (!o)
		fprintf(stderr, "kcpgate: %s\n", l.why);
	look_close(&l);
	return o;
}

/* ---- the answer ---- */

static bool error_of(const json_t *o)
{
	char name[24] = "error";

	if (!json_object_get(o, name))
		return false;
	fputs("kcpgate: ", stderr);
	for (unsigned i = 2; json_object_get(o, name); i++) {
		fputs(look_str(o, name), stderr);
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
	const char *note = look_str(c, "note");

	printf("%s: ", look_str(c, "name"));
	if (json_object_get(c, "from"))
		printf("%s -> %s", look_str(c, "from"), look_str(c, "to"));
	else
		printf("%s", look_str(c, "what"));
	printf(" (%s%s%s)\n", words(look_str(c, "how")), *note ? ": " : "", note);
}

static int print_answer(const json_t *o, const char *done)
{
	unsigned n = (unsigned)look_u64(o, "changes"), i;
	unsigned restart = (unsigned)look_u64(o, "restart");
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
		bool draining = !strcmp(look_str(row, "state"), "draining");

		if (tunnel && strcmp(name, tunnel) != 0)
			continue;
		left |= draining;
		if (print)
			printf("%s: %s, %u sessions, %u streams\n", name, look_str(row, "state"),
			       (unsigned)look_u64(row, "sessions"), (unsigned)look_u64(row, "streams"));
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

struct manage_args {
	const char *prefix; /* NULL: the one gateway that runs here */
	char *of_file;	    /* prefix, allocated */
	const char *deadline;
	bool wait, all;
};

/* 0, -1 when help was asked for, or an exit status. */
static int parse(struct manage_args *a, int argc, char **argv)
{
	static const struct option opts[] = {
		{"help", no_argument, NULL, 'h'},
		{"deadline", required_argument, NULL, 'd'},
		{"wait", no_argument, NULL, 'w'},
		{"all", no_argument, NULL, 'a'},
		{0},
	};
	char why[1024];
	int opt;

	while ((opt = getopt_long(argc, argv, "c:f:h", opts, NULL)) != -1) {
		if (opt == 'h')
			return -1;
		if (opt == '?')
			return EXIT_WRONG;
		if (opt == 'f')
			a->prefix = optarg;
		if (opt == 'd')
			a->deadline = optarg;
		a->wait |= opt == 'w';
		a->all |= opt == 'a';
		if (opt != 'c')
			continue;
		free(a->of_file);
		a->prefix = a->of_file = prefix_of(optarg, why, sizeof(why));
		if (!a->prefix) {
			fprintf(stderr, "kcpgate: %s\n", why);
			return EXIT_WRONG;
		}
	}
	return 0;
}

static int run(const struct manage_args *a, bool drain, int argc, char **argv)
{
	if (!drain)
		return reload_cmd(a->prefix, argc, argv);
	if (argc - optind == !a->all)
		return drain_cmd(a->prefix, a->all ? NULL : argv[optind], a->deadline, a->wait);
	fputs("kcpgate: drain: found no tunnel, or several; allowed: the name of one, or --all\n", stderr);
	return EXIT_WRONG;
}

int manage_cmd(int argc, char **argv)
{
	bool drain = !strcmp(argv[0], "drain");
	struct manage_args a = {0};
	int ret = parse(&a, argc, argv);

	if (ret < 0)
		fputs(drain ? drain_usage : usage, stdout);
	ret = ret < 0 ? EXIT_SUCCESS : ret ? ret : run(&a, drain, argc, argv);
	free(a.of_file);
	return ret;
}
