/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

#define HOST_MAX 253 /* a name of DNS */

/* 1 to 5 digits, 1..65535; *s moves behind them. */
static bool parse_port(const char **s, uint16_t *port)
{
	size_t n = strspn(*s, "0123456789");
	unsigned long v;

	if (n < 1 || n > 5)
		return false;
	v = strtoul(*s, NULL, 10);
	*s += n;
	*port = (uint16_t)v;
	return v >= 1 && v <= 65535;
}

/* A name, or a literal IPv4 address: what is all digits and dots must be one. */
static bool host_ok(const char *host)
{
	static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
	size_t n = strlen(host);
	struct addr a;

	if (n > HOST_MAX || strspn(host, chars) != n || host[0] == '-' || host[0] == '.')
		return false;
	if (n > 0 && strspn(host, "0123456789.") == n)
		return addr_parse(host, &a) == 0;
	return true;
}

static int parse_host(const char *text, size_t n, char **out, const char **allowed)
{
	bool brackets = n >= 2 && text[0] == '[' && text[n - 1] == ']';
	char *host = brackets ? strndup(text + 1, n - 2) : strndup(text, n);
	struct addr a;

	if (!host)
		return -ENOMEM;
	if (brackets ? strchr(host, ':') && addr_parse(host, &a) == 0 : host_ok(host)) {
		*out = host;
		return 0;
	}
	if (strchr(host, ':'))
		*allowed = "an IPv6 address in brackets, \"[2001:db8::1]:4000\"";
	else
		*allowed = "a host that is an IPv4 address, an [IPv6 address] or a name";
	free(host);
	return -EINVAL;
}

int conf_hostport_parse(const char *text, struct conf_hostport *out, const char **allowed)
{
	const char *colon = strrchr(text, ':'), *s;
	struct conf_hostport hp = {0};
	int rc;

	if (text[0] == '/' || text[0] == '@' || strncmp(text, "./", 2) == 0) {
		*allowed = "HOST:PORT (Unix sockets are not supported by this version)";
		return -EINVAL;
	}
	if (!colon)
		return -EINVAL;
	s = colon + 1;
	*allowed = "a port from 1 to 65535, or MIN-MAX";
	if (!parse_port(&s, &hp.port_min))
		return -EINVAL;
	hp.port_max = hp.port_min;
	if (*s == '-') {
		s++;
		if (!parse_port(&s, &hp.port_max))
			return -EINVAL;
	}
	if (*s != '\0')
		return -EINVAL;
	if (hp.port_min > hp.port_max) {
		*allowed = "a range of ports MIN-MAX with MIN up to MAX";
		return -EINVAL;
	}
	rc = parse_host(text, (size_t)(colon - text), &hp.host, allowed);
	if (rc < 0)
		return rc;
	free(out->host);
	*out = hp;
	return 0;
}
