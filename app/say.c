/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "log.h"

void app_say_open(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int patience_ms = 1000; /* for a reader that is slow; none for one that was too slow once */

/* To a pipe so short a line goes whole or not at all, and a terminal that was stopped is not ready. */
static void say_stderr(const char *line)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

	if (poll(&p, 1, patience_ms) == 1 && p.revents & POLLOUT)
		while (write(STDERR_FILENO, line, strlen(line)) < 0 && errno == EINTR)
			;
	else
		patience_ms = 0;
}

void app_say(const char *fmt, ...)
{
	char line[1024] = "kcpgate: ";
	size_t n = strlen(line);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - 1 - n, fmt, ap);
	va_end(ap);
	say_stderr(strcat(line, "\n"));
}

/* In the log, and on stderr where the log is not there. */
static void say_last(const struct conf *c, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say_last(const struct conf *c, enum log_level level, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_line(level, "%s", text);
	if (c->log.file[0] || !log_on(level))
		app_say("%s", text);
}

static void say_interface(const struct conf *c)
{
	const struct conf_port *p = c->ports;
	const struct conf_tunnel *t = c->tunnels;

	if (!p->found)
		return;
	if (p->sockets) {
		say_last(c, LOG_INFO, "interface: any, by UDP sockets of the kernel's (--iface names one)");
		return;
	}
	if (t->role == CONF_CLIENT)
		say_last(c, LOG_INFO, "interface: %s, of the kernel's route to %s (--iface names another)", p->ifname,
			 t->remote.host);
	else if (t->listen.host && t->listen.host[0])
		say_last(c, LOG_INFO, "interface: %s, which has %s (--iface names another)", p->ifname, t->listen.host);
	else
		say_last(c, LOG_INFO, "interface: %s, of the kernel's default route%s (--iface names another)",
			 p->ifname, c->n_ports > 1 ? ", and lo" : "");
}

#define KEY_LINES 8 /* of tunnels of a file; then their number is enough */

static void say_keys(const struct conf *c)
{
	static const char *const what = "kcptun's public passphrase is used, and ANYBODY can use and read this tunnel";
	unsigned n = 0;

	for (unsigned i = 0; i < c->n_tunnels; i++) {
		const struct conf_tunnel *t = &c->tunnels[i];

		if (!t->key_missing || n++ >= KEY_LINES)
			continue;
		if (t->line < 0)
			say_last(c, LOG_WARN, "--key is missing: %s", what);
		else
			say_last(c, LOG_WARN, "tunnel %s: key is missing: %s", t->name, what);
	}
	if (n > KEY_LINES)
		say_last(c, LOG_WARN, "key is missing in %u more tunnels", n - KEY_LINES);
}

void app_say_ready(const struct conf *c)
{
	patience_ms = 0; /* there are peers to serve */
	say_interface(c);
	say_keys(c);
}
