/* SPDX-License-Identifier: MIT */

/*
 * A flood of UDP datagrams, as fast as the kernel cuts them, or at a rate: for perf/forward, and for tests of what a
 * flood must not harm.
 *
 *   flood --from ADDR:PORT --to ADDR:PORT [--ports N] [--size BYTES] [--rate PACKETS/S] [--seconds N]
 *
 * --ports: to PORT..PORT+N-1 in turn.  Prints "flooding", and at its end, or by SIGTERM, how many it has sent.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LOT	  64000 /* bytes of one call at most */
#define SEGMENTS  64
#define PORTS_MAX 64

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "flood: %s\n", what);
	exit(1);
}

static socklen_t address(const char *text, unsigned more, struct sockaddr_storage *ss)
{
	const char *colon = strrchr(text, ':');
	struct sockaddr_in6 *six = (void *)ss;
	struct sockaddr_in *four = (void *)ss;
	char host[64];

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		die("ADDR:PORT");
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	memset(ss, 0, sizeof(*ss));
	if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons((uint16_t)(atoi(colon + 1) + (int)more));
		return sizeof(*four);
	}
	if (inet_pton(AF_INET6, host, &six->sin6_addr) != 1)
		die("ADDR:PORT");
	six->sin6_family = AF_INET6;
	six->sin6_port = htons((uint16_t)(atoi(colon + 1) + (int)more));
	return sizeof(*six);
}

static int open_socket(const char *from, int size)
{
	struct sockaddr_storage ss;
	socklen_t len = address(from, 0, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), room = 4 << 20;

	if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len))
		die(strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)))
		die("the kernel does not cut datagrams");
	return fd;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Until it is time for the next lot. */
static void wait_for(double when)
{
	double left = when - now();

	if (left > 50e-6)
		usleep((useconds_t)(left * 1e6));
}

int main(int argc, char **argv)
{
	static const struct option known[] = {{"from", 1, 0, 'f'},
					      {"to", 1, 0, 't'},
					      {"ports", 1, 0, 'p'},
					      {"size", 1, 0, 's'},
					      {"rate", 1, 0, 'r'},
					      {"seconds", 1, 0, 'n'},
					      {0}};
	static char bytes[LOT + 1];
	struct sockaddr_storage to[PORTS_MAX];
	const char *from = NULL, *target = NULL;
	unsigned ports = 1, size = 100, rate = 0, lot;
	double seconds = 10, begin;
	uint64_t sent = 0, calls = 0;
	socklen_t len = 0;
	int c, fd;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 'f')
			from = optarg;
		else if (c == 't')
			target = optarg;
		else if (c == 'p')
			ports = (unsigned)atoi(optarg);
		else if (c == 's')
			size = (unsigned)atoi(optarg);
		else if (c == 'r')
			rate = (unsigned)atoi(optarg);
		else if (c == 'n')
			seconds = atof(optarg);
		else
			die("see its source");
	}
	if (!from || !target || ports < 1 || ports > PORTS_MAX || size < 1 || size > 1400)
		die("see its source");
	for (unsigned i = 0; i < ports; i++)
		len = address(target, i, &to[i]);
	lot = LOT / size < SEGMENTS ? LOT / size : SEGMENTS;
	if (rate && lot > rate / 1000 + 1)
		lot = rate / 1000 + 1;
	fd = open_socket(from, (int)size);
	memset(bytes, 0x5a, sizeof(bytes));
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	printf("flooding\n");
	fflush(stdout);
	begin = now();
	while (!stop && now() - begin < seconds) {
		/* What is not taken, as there is no room or somebody said that nobody listens, is not sent. */
		if (sendto(fd, bytes, (size_t)lot * size, 0, (struct sockaddr *)&to[calls++ % ports], len) > 0)
			sent += lot;
		if (rate)
			wait_for(begin + (double)sent / rate);
	}
	printf("{\"sent\": %lu, \"seconds\": %.3f}\n", sent, now() - begin);
	return 0;
}
