/* SPDX-License-Identifier: MIT */

/*
 * `kcpgate capture`: asks a running gateway for a capture by its telemetry socket, and writes what comes to a file. The
 * file is this user's, and made by this process: the gateway opens none.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "capture_cmd.h"
#include "look.h"
#include "prefix.h"

#define EXIT_WRONG 2
#define COMMAND	   "/kcpgate/capture"

static const char usage[] =
	"kcpgate capture: a running gateway's datagrams as a pcapng file, for Wireshark and tcpdump\n"
	"\n"
	"  kcpgate capture [-f PREFIX | -c FILE] [OPTIONS] -w FILE\n"
	"\n"
	"  -w FILE            where to; \"-\": standard output\n"
	"  -f PREFIX          the gateway's eal.file_prefix; -c FILE: that of a configuration file.  Neither: the\n"
	"                     one gateway that runs here\n"
	"  --tunnel NAME      only of this tunnel\n"
	"  --session ID       only of this session (/kcpgate/sessions tells them); may be given up to 16 times\n"
	"  --peer ADDR[:PORT] only with this peer; IPv6 with a port as [ADDR]:PORT\n"
	"  --count N          end after N packets\n"
	"  --seconds S        end after S seconds.  SIGINT and SIGTERM end it too\n"
	"  --snaplen N        keep N bytes of each packet\n"
	"  --plaintext        decrypted as well, as interfaces \"NAME decrypted\": only where the gateway's file says\n"
	"                     telemetry.allow_plaintext = true\n"
	"\n"
	"A packet that the file's reader is too slow for is left out, and counted: no tunnel waits for it.\n";

struct ask {
	const char *prefix, *path;
	char text[1000]; /* for the gateway */
	char why[512];
};

static volatile sig_atomic_t ended;

/* The first asks the gateway to end; a second one does not wait for it. */
static void on_signal(int sig)
{
	(void)sig;
	if (ended)
		_exit(EXIT_FAILURE);
	ended = 1;
}

static int wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int wrong(const char *fmt, ...)
{
	va_list ap;

	fputs("kcpgate: capture: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

/* ---- the file ---- */

/* Nobody else's, and for nobody else to read; or a pipe that somebody has made. */
static int open_file(const char *path)
{
	struct stat st;
	int fd;

	if (!strcmp(path, "-"))
		return STDOUT_FILENO;
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (st.st_uid != geteuid() || fchmod(fd, 0600) || ftruncate(fd, 0))) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

static bool write_all(int fd, const char *p, ssize_t n)
{
	while (n > 0) {
		ssize_t k = write(fd, p, (size_t)n);

		if (k < 0 && errno != EINTR)
			return false;
		if (k > 0) {
			p += k;
			n -= k;
		}
	}
	return true;
}

/* What comes, to the file, until the gateway closes. */
static int pump(int from, int to)
{
	struct pollfd p = {.fd = from, .events = POLLIN};
	static char buf[65536];
	bool told = false, asked = false;

	for (;;) {
		ssize_t n;

		if (ended && !asked) {
			shutdown(from, SHUT_WR);
			asked = true;
		}
		if (poll(&p, 1, 1000) <= 0)
			continue;
		n = read(from, buf, sizeof(buf));
		if (n <= 0)
			return n == 0 || errno == ECONNRESET ? 0 : wrong("%s", strerror(errno));
		if (!write_all(to, buf, n))
			return wrong("cannot write: %s", strerror(errno));
		if (!told)
			fputs("kcpgate: capturing\n", stderr);
		told = true;
	}
}

/* ---- the command ---- */

static void catch_signals(void)
{
	static const int sigs[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction sa = {.sa_handler = on_signal};

	for (unsigned i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		sigaction(sigs[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static uint64_t counted(json_t *o, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(o, name));
}

/* What became of it, unless it is another one's by now. */
static int tell_end(const char *dir, uint64_t id)
{
	json_t *o = look_once(dir, COMMAND);
	int ret = EXIT_SUCCESS;

	if (!o || json_object_get(o, "error")) /* or is about to */
		ret = wrong("the gateway has ended, and the capture with it");
	else if (counted(o, "id") == id)
		fprintf(stderr,
			"kcpgate: %" PRIu64 " packets; %" PRIu64 " more were left out: their reader was too slow\n",
			counted(o, "packets"), counted(o, "lost"));
	json_decref(o);
	return ret;
}

static int run(const struct ask *a, const char *dir)
{
	json_t *o = look_once(dir, a->text);
	const char *error = o ? json_string_value(json_object_get(o, "error")) : "the gateway does not answer";
	const char *name = json_string_value(json_object_get(o, "socket"));
	uint64_t id = counted(o, "id");
	int ret = EXIT_FAILURE, from, to;

	if (error || !name || strchr(name, '/')) {
		wrong("%s", error ? error : "the gateway's answer makes no sense");
		json_decref(o);
		return ret;
	}
	from = look_connect(dir, name, SOCK_STREAM);
	json_decref(o);
	if (from < 0)
		return wrong("cannot reach the gateway: %s", strerror(-from));
	to = open_file(a->path);
	if (to < 0)
		wrong("%s: %s", a->path, strerror(-to));
	else
		ret = pump(from, to);
	close(from);
	if (to >= 0 && close(to) && ret == EXIT_SUCCESS)
		ret = wrong("%s: %s", a->path, strerror(errno));
	return ret == EXIT_SUCCESS ? tell_end(dir, id) : ret;
}

/* A word of the question; false: it is too long, or would be two. */
static bool add(struct ask *a, const char *name, const char *value)
{
	size_t n = strlen(a->text);

	return !strchr(value, ',') &&
	       snprintf(a->text + n, sizeof(a->text) - n, ",%s=%s", name, value) < (int)(sizeof(a->text) - n);
}

static int parse(struct ask *a, int argc, char **argv)
{
	static const struct option opts[] = {
		{"tunnel", required_argument, NULL, 't'},
		{"session", required_argument, NULL, 't'},
		{"peer", required_argument, NULL, 't'},
		{"count", required_argument, NULL, 't'},
		{"seconds", required_argument, NULL, 't'},
		{"snaplen", required_argument, NULL, 't'},
		{"plaintext", no_argument, NULL, 'p'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int opt, at;

	strcpy(a->text, COMMAND ",start");
	while ((opt = getopt_long(argc, argv, "c:f:w:h", opts, &at)) != -1) {
		if (opt == 'h') {
			fputs(usage, stdout);
			return -1;
		}
		if (opt == 'c' && !(a->prefix = prefix_of(optarg, a->why, sizeof(a->why)))) {
			fprintf(stderr, "kcpgate: %s\n", a->why);
			return EXIT_WRONG;
		}
		if (opt == 'f')
			a->prefix = optarg;
		if (opt == 'w')
			a->path = optarg;
		if (opt == '?')
			return EXIT_WRONG;
		if ((opt == 't' && !add(a, opts[at].name, optarg)) || (opt == 'p' && !add(a, "plaintext", "1"))) {
			wrong("--%s: found what is too long, or has a comma", opts[at].name);
			return EXIT_WRONG;
		}
	}
	if (optind < argc || !a->path) {
		fprintf(stderr, "kcpgate: capture: %s%s (see kcpgate capture --help)\n",
			optind < argc ? "unknown argument: " : "-w FILE is needed", optind < argc ? argv[optind] : "");
		return EXIT_WRONG;
	}
	return 0;
}

int app_capture(int argc, char **argv)
{
	struct ask a = {0};
	char dir[PATH_MAX];
	int ret = parse(&a, argc, argv);

	if (ret)
		return ret < 0 ? EXIT_SUCCESS : ret;
	catch_signals();
	if (look_find(a.prefix, dir, a.why, sizeof(a.why)))
		return wrong("%s", a.why);
	return run(&a, dir);
}
