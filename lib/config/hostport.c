/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

#define HOST_MAX   253 /* a name of DNS */
#define PATH_BYTES 107 /* of sockaddr_un, without the 0 */

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
	const char *zone;
	struct addr a;

	if (!host)
		return -ENOMEM;
	if (brackets ? strchr(host, ':') && addr_parse_zone(host, &a, &zone) == 0 : host_ok(host)) {
		*out = host;
		return 0;
	}
	if (brackets && strchr(host, '%'))
		*allowed = "a link-local address with its interface, \"[fe80::1%eth0]:4000\"";
	else if (strchr(host, ':'))
		*allowed = "an IPv6 address in brackets, \"[2001:db8::1]:4000\"";
	else
		*allowed = "a host that is an IPv4 address, an [IPv6 address] or a name";
	free(host);
	return -EINVAL;
}

static bool is_path(const char *text)
{
	return text[0] == '/' || text[0] == '@' || strncmp(text, "./", 2) == 0 || strncmp(text, "../", 3) == 0 ||
	       (strchr(text, '/') && !strchr(text, ':'));
}

static void replace(struct conf_hostport *out, const struct conf_hostport *hp)
{
	free(out->host);
	free(out->path);
	*out = *hp;
}

int conf_hostport_parse(const char *text, struct conf_hostport *out, const char **allowed)
{
	const char *colon = strrchr(text, ':'), *s;
	struct conf_hostport hp = {0};
	int rc;

	if (is_path(text)) {
		*allowed = "HOST:PORT, not the path of a Unix socket";
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
	replace(out, &hp);
	return 0;
}

int conf_hostport_or_path(const char *text, struct conf_hostport *out, const char **allowed)
{
	struct conf_hostport hp = {0};

	if (!is_path(text))
		return conf_hostport_parse(text, out, allowed);
	if (strlen(text) > PATH_BYTES || text[strlen(text) - 1] == '/' || strcmp(text, "@") == 0) {
		*allowed = "the path of a Unix socket, of up to 107 bytes";
		return -EINVAL;
	}
	hp.path = strdup(text);
	if (!hp.path)
		return -ENOMEM;
	replace(out, &hp);
	return 0;
}

char *conf_hostport_text(const struct conf_hostport *hp)
{
	const char *host = hp->host ? hp->host : "";
	bool v6 = strchr(host, ':') != NULL;
	char range[8] = "", *text;

	if (hp->path)
		return strdup(hp->path);
	if (hp->port_max != hp->port_min)
		snprintf(range, sizeof(range), "-%u", hp->port_max);
	if (asprintf(&text, "%s%s%s:%u%s", v6 ? "[" : "", host, v6 ? "]" : "", hp->port_min, range) < 0)
		return NULL;
	return text;
}
