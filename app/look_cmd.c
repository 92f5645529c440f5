/* SPDX-License-Identifier: MIT */

/* `kcpgate show` and its like: a running gateway's telemetry socket is asked, and the answers are printed. */

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "explain.h"
#include "look.h"
#include "look_cmd.h"
#include "ping.h"
#include "prefix.h"
#include "speedtest.h"
#include "top.h"

#define EXIT_WRONG 2
#define WORDS_MAX  2

struct look_args {
	const char *command;
	const char *prefix; /* NULL: the one gateway that runs here */
	char *of_file;	    /* prefix, allocated */
	bool json, once;
	double delay; /* s */
	struct ping_want ping;
	unsigned seconds;
	bool up;
	const char *word[WORDS_MAX];
	unsigned n_words;
};

static const char where[] =
	"  -f PREFIX          the gateway's eal.file_prefix; -c FILE: that of a configuration file.  Neither: the\n"
	"                     one gateway that runs here\n";

static void show_help(FILE *f)
{
	fputs("kcpgate show: what a running gateway does\n"
	      "\n"
	      "  kcpgate show [-f PREFIX | -c FILE] [--json] [WHAT [PARAMETER]]\n"
	      "\n",
	      f);
	fputs(where, f);
	fputs("  --json             for programs: telemetry's own names and numbers\n"
	      "\n"
	      "WHAT, without which it is an overview:\n\n",
	      f);
	look_show_words(f);
	fputs("\nThe lines of `show dump' (and `kcpgate dump'), with a tab between columns, whose order stays.  \"-\" "
	      "is what\n"
	      "there is not; WHAT is one kind of them:\n\n",
	      f);
	look_dump_columns(f);
}

static void explain_help(FILE *f)
{
	fputs("kcpgate explain: what bounds a gateway's throughput now, and what to change on which side\n"
	      "\n"
	      "  kcpgate explain [-f PREFIX | -c FILE] [--json] [TUNNEL|SESSION]\n"
	      "\n",
	      f);
	fputs(where, f);
	fputs("  --json             the same for programs\n"
	      "\n"
	      "It looks for a second: at the busiest sessions, of a tunnel if one is named, or at one session by its\n"
	      "number (kcpgate show sessions).  \"->\" is what to change: in this gateway's file, on the peer (a\n"
	      "kcpgate's option, or a stock kcptun's flag), or around them.  What bounds the other direction, the "
	      "peer\n"
	      "knows: ask there, too.\n",
	      f);
}

static void top_help(FILE *f)
{
	fputs("kcpgate top: the sessions of a running gateway, the busiest first, live\n"
	      "\n"
	      "  kcpgate top [-f PREFIX | -c FILE] [-d SECONDS] [--once] [TUNNEL]\n"
	      "\n",
	      f);
	fputs(where, f);
	fputs("  -d, --delay S      between two looks: 2\n"
	      "  --once             print it once, of two looks, and end\n"
	      "\n"
	      "Keys: r, l, t, m sort by rate, loss, round trip, memory; arrows and page keys scroll; space looks now;\n"
	      "q ends it.  IN and OUT are bits a second above KCP, RESENT what was sent again of what was sent since "
	      "the\n"
	      "look before, RTT KCP's smoothed round trip, QUEUE what the latest waited beyond the least (congestion "
	      "auto).\n",
	      f);
}

static void ping_help(FILE *f)
{
	fputs("kcpgate ping: the time through a tunnel, to its peer and to its target\n"
	      "\n"
	      "  kcpgate ping [-f PREFIX | -c FILE] [-n COUNT] [-d SECONDS] [--send TEXT | --no-target] TUNNEL\n"
	      "\n",
	      f);
	fputs(where, f);
	fputs("  -n, --count N      pings of the peer: 5\n"
	      "  -d, --delay S      between them: 2\n"
	      "  --send TEXT        what a client's tunnel sends the target, with \\r, \\n, \\t: \"HEAD / "
	      "HTTP/1.0\\r\\n\\r\\n\"\n"
	      "  --no-target        the peer alone\n"
	      "\n"
	      "The peer is sent a KCP segment that it throws away and acknowledges, stock ones too; what is measured "
	      "is\n"
	      "the path, both gateways, and the peer's wait for its KCP tick (10 to 40 ms as its mode says, at most).\n"
	      "The target of a client's tunnel is measured through it, as an application's connection: until its "
	      "first\n"
	      "byte, or (between kcpgates) its end, for that connection ends its own direction at once.  That of a\n"
	      "server's tunnel is connected to from here.\n",
	      f);
}

static void speed_help(FILE *f)
{
	fputs("kcpgate speedtest: what a client's tunnel carries, to the target behind it and back\n"
	      "\n"
	      "  kcpgate speedtest [-f PREFIX | -c FILE] [--seconds N] --send TEXT TUNNEL     down\n"
	      "  kcpgate speedtest [-f PREFIX | -c FILE] [--seconds N] --up TUNNEL            up\n"
	      "\n",
	      f);
	fputs(where, f);
	fputs("  --send TEXT        what makes the target answer with much, with \\r, \\n, \\t:\n"
	      "                     \"GET /big HTTP/1.0\\r\\n\\r\\n\"\n"
	      "  --up               sends bytes that do not compress: the target is to read and throw them away\n"
	      "  --seconds N        for so long: 10\n"
	      "\n"
	      "It is an application's connection, so it works with stock peers, and measures all that one meets: the\n"
	      "target, both gateways and the path.  Nobody but the target is behind a tunnel, so what it takes has to "
	      "be\n"
	      "said.  Down is counted as bytes leave the tunnel, up as they are given to KCP (all of the tunnel's, so "
	      "let\n"
	      "nobody else use it), each above KCP, without the first two seconds, in which a session finds its pace.  "
	      "At\n"
	      "the end `explain' says what bounds it.\n",
	      f);
}

static void kick_help(FILE *f)
{
	fputs("kcpgate kick: ends a session of a running gateway\n"
	      "\n"
	      "  kcpgate kick [-f PREFIX | -c FILE] SESSION\n"
	      "\n",
	      f);
	fputs(where, f);
	fputs("\n"
	      "SESSION is its number (kcpgate show sessions).  Its connections are reset on this side at once; the "
	      "peer "
	      "finds\n"
	      "out as it does when we are gone, a kcpgate within seconds, a stock kcptun within a minute, and may come "
	      "again:\n"
	      "what keeps it out is the tunnel's deny, or another key.  All of a tunnel's: kcpgate drain --deadline "
	      "1.\n",
	      f);
}

static int wrong(const struct look_args *a, const char *why)
{
	fprintf(stderr, "kcpgate: %s: %s\n", a->command, why);
	return EXIT_FAILURE;
}

/* 0, or an exit status. */
static int take_prefix(struct look_args *a, const char *path)
{
	char why[1024];

	free(a->of_file);
	a->prefix = a->of_file = prefix_of(path, why, sizeof(why));
	if (!a->prefix)
		fprintf(stderr, "kcpgate: %s\n", why);
	return a->prefix ? 0 : EXIT_WRONG;
}

static int wrong_value(const struct look_args *a, const char *name, const char *found, const char *allowed)
{
	fprintf(stderr, "kcpgate: %s: %s: found %s; allowed: %s\n", a->command, name, found, allowed);
	return EXIT_WRONG;
}

static bool seconds(const char *text, double *s)
{
	char *end;

	*s = strtod(text, &end);
	return end != text && !*end && *s >= 0.1 && *s <= 3600;
}

static bool count(const char *text, unsigned *n)
{
	char *end;
	long v = strtol(text, &end, 10);

	*n = (unsigned)v;
	return end != text && !*end && v >= 1 && v <= 100000;
}

static int option(struct look_args *a, int opt)
{
	switch (opt) {
	case 'c':
		return take_prefix(a, optarg);
	case 'f':
		a->prefix = optarg;
		return 0;
	case 'j':
		a->json = true;
		return 0;
	case 'o':
		a->once = true;
		return 0;
	case 't':
		a->ping.no_target = true;
		return 0;
	case 's':
		a->ping.send = optarg;
		return 0;
	case 'u':
		a->up = true;
		return 0;
	case 'S':
		return count(optarg, &a->seconds) ? 0 : wrong_value(a, "--seconds", optarg, "1 to 100000");
	case 'n':
		return count(optarg, &a->ping.count) ? 0 : wrong_value(a, "--count", optarg, "1 to 100000");
	case 'd':
		return seconds(optarg, &a->delay) ? 0 : wrong_value(a, "--delay", optarg, "0.1 to 3600 seconds");
	default:
		return EXIT_WRONG;
	}
}

/* 0, -1 when help was asked for, or an exit status. */
static int parse(struct look_args *a, int argc, char **argv)
{
	static const struct option opts[] = {
		{"json", no_argument, NULL, 'j'},	   {"once", no_argument, NULL, 'o'},
		{"delay", required_argument, NULL, 'd'},   {"count", required_argument, NULL, 'n'},
		{"send", required_argument, NULL, 's'},	   {"no-target", no_argument, NULL, 't'},
		{"seconds", required_argument, NULL, 'S'}, {"up", no_argument, NULL, 'u'},
		{"help", no_argument, NULL, 'h'},	   {0},
	};
	int opt;

	a->command = argv[0];
	while ((opt = getopt_long(argc, argv, "c:d:f:n:h", opts, NULL)) != -1) {
		int ret = opt == 'h' ? -1 : option(a, opt);

		if (ret)
			return ret;
	}
	for (; optind < argc; optind++) {
		if (a->n_words == WORDS_MAX) {
			fprintf(stderr, "kcpgate: %s: unknown argument: %s (see kcpgate %s --help)\n", a->command,
				argv[optind], a->command);
			return EXIT_WRONG;
		}
		a->word[a->n_words++] = argv[optind];
	}
	return 0;
}

/* ---- the commands ---- */

static int overview(struct look *l)
{
	json_t *v = look_get(l, "/kcpgate/version", NULL);
	int ret;

	if (!v)
		return -EPROTO;
	printf("kcpgate %s, %s, %s\n\n", look_str(v, "kcpgate"), look_str(v, "dpdk"), l->dir);
	json_decref(v);
	ret = look_show(l, "tunnels", NULL, false, stdout);
	if (ret)
		return ret;
	putchar('\n');
	ret = look_show(l, "workers", NULL, false, stdout);
	if (ret)
		return ret;
	putchar('\n');
	return look_show(l, "drops", NULL, false, stdout);
}

static int do_show(struct look *l, const struct look_args *a)
{
	if (a->n_words && !strcmp(a->word[0], "dump"))
		return look_dump(l, a->n_words > 1 ? a->word[1] : NULL, stdout);
	if (a->n_words)
		return look_show(l, a->word[0], a->n_words > 1 ? a->word[1] : NULL, a->json, stdout);
	return a->json ? look_show(l, "tunnels", NULL, true, stdout) : overview(l);
}

static int do_dump(struct look *l, const struct look_args *a)
{
	if (a->n_words > 1) {
		snprintf(l->why, sizeof(l->why), "unknown argument: %.100s", a->word[1]);
		return -EINVAL;
	}
	return look_dump(l, a->word[0], stdout);
}

static int do_explain(struct look *l, const struct look_args *a)
{
	if (a->n_words > 1) {
		snprintf(l->why, sizeof(l->why), "unknown argument: %.100s", a->word[1]);
		return -EINVAL;
	}
	return look_explain(l, a->word[0], a->json, stdout);
}

static int do_top(struct look *l, const struct look_args *a)
{
	if (a->n_words > 1) {
		snprintf(l->why, sizeof(l->why), "unknown argument: %.100s", a->word[1]);
		return -EINVAL;
	}
	return look_top(l, a->word[0], a->delay, a->once, stdout);
}

static int do_ping(struct look *l, const struct look_args *a)
{
	struct ping_want w = a->ping;

	if (a->n_words != 1) {
		snprintf(l->why, sizeof(l->why), "allowed: the name of one tunnel (kcpgate show tunnels)");
		return -EINVAL;
	}
	w.tunnel = a->word[0];
	w.interval = a->delay;
	return look_ping(l, &w, stdout);
}

static int do_speed(struct look *l, const struct look_args *a)
{
	const struct speed_want w = {.tunnel = a->word[0], .send = a->ping.send, .up = a->up, .seconds = a->seconds};

	if (a->n_words != 1 || !a->ping.send == !a->up) {
		snprintf(l->why, sizeof(l->why), "allowed: --send TEXT, or --up, and the name of one client's tunnel");
		return -EINVAL;
	}
	return look_speed(l, &w, stdout);
}

static int do_kick(struct look *l, const struct look_args *a)
{
	json_t *o;

	if (a->n_words != 1) {
		snprintf(l->why, sizeof(l->why), "allowed: the number of one session (kcpgate show sessions)");
		return -EINVAL;
	}
	o = look_get(l, "/kcpgate/kick", a->word[0]);
	if (!o)
		return -EPROTO;
	json_decref(o);
	return 0;
}

static const struct command {
	const char *name;
	int (*run)(struct look *l, const struct look_args *a);
	void (*help)(FILE *f);
} commands[] = {
	{"show", do_show, show_help}, {"dump", do_dump, show_help}, {"explain", do_explain, explain_help},
	{"top", do_top, top_help},    {"ping", do_ping, ping_help}, {"speedtest", do_speed, speed_help},
	{"kick", do_kick, kick_help},
};

static int run(const struct command *c, const struct look_args *a)
{
	struct look l;
	int ret = look_open(&l, a->prefix);

	if (!ret)
		ret = c->run(&l, a);
	look_close(&l);
	if (ret)
		wrong(a, l.why);
	if (fflush(stdout) || ferror(stdout))
		ret = -EIO;
	return !ret ? EXIT_SUCCESS : ret == -EINVAL ? EXIT_WRONG : EXIT_FAILURE;
}

bool look_cmd(int argc, char **argv, int *ret)
{
	struct look_args a = {.delay = 2, .ping.count = 5, .seconds = 10};

	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, argv[0]) != 0)
			continue;
		*ret = parse(&a, argc, argv);
		if (*ret < 0)
			commands[i].help(stdout);
		*ret = *ret < 0 ? EXIT_SUCCESS : *ret ? *ret : run(&commands[i], &a);
		free(a.of_file);
		return true;
	}
	return false;
}
