/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "addr.h"
#include "http.h"

/* ---- Accept: "TYPE/SUBTYPE;PARAMETER=VALUE;q=0.5, ..." (RFC 9110, 12.5.1) ---- */

static size_t trim(const char **s, size_t n)
{
	while (n && isspace((unsigned char)**s)) {
		++*s;
		n--;
	}
	while (n && isspace((unsigned char)(*s)[n - 1]))
		n--;
	return n;
}

static bool is(const char *s, size_t n, const char *word)
{
	return n == strlen(word) && strncasecmp(s, word, n) == 0;
}

struct media {
	const char *type;
	size_t type_n;
	double q;
	bool version_ok; /* none is named, or one of OpenMetrics that we write */
};

static void parameter(struct media *m, const char *s, size_t n)
{
	n = trim(&s, n);
	if (n > 2 && strncasecmp(s, "q=", 2) == 0)
		m->q = strtod(s + 2, NULL);
	else if (n > 8 && strncasecmp(s, "version=", 8) == 0)
		m->version_ok = is(s + 8, n - 8, "1.0.0") || is(s + 8, n - 8, "0.0.1");
}

static struct media one(const char *s, size_t n)
{
	struct media m = {.q = 1, .version_ok = true};
	size_t part = 0;

	while (part < n && s[part] != ';')
		part++;
	m.type = s;
	m.type_n = trim(&m.type, part);
	while (part < n) {
		size_t from = ++part;

		while (part < n && s[part] != ';')
			part++;
		parameter(&m, s + from, part - from);
	}
	return m;
}

bool http_wants_openmetrics(const char *accept)
{
	double open = 0, plain = 0;

	while (accept && *accept) {
		size_t n = strcspn(accept, ",");
		struct media m = one(accept, n);

		if (is(m.type, m.type_n, "application/openmetrics-text")) {
			if (m.version_ok && m.q > open)
				open = m.q;
		} else if (is(m.type, m.type_n, "text/plain") && m.q > plain) {
			plain = m.q;
		}
		accept += n + (accept[n] == ',');
	}
	return open > 0 && open >= plain;
}

/* ---- Host: "HOST[:PORT]" ---- */

bool http_host_is_local(const char *host)
{
	char text[ADDR_STRLEN];
	struct addr a;
	size_t n;

	if (!host)
		return true; /* HTTP/1.0, which no browser speaks */
	if (host[0] == '[') {
		n = strcspn(++host, "]");
		if (host[n] != ']' || (host[n + 1] && host[n + 1] != ':'))
			return false;
	} else {
		n = strcspn(host, ":");
	}
	if (n >= sizeof(text))
		return false;
	memcpy(text, host, n);
	text[n] = '\0';
	return strcasecmp(text, "localhost") == 0 || addr_parse(text, &a) == 0;
}

bool http_number(const char *text, unsigned long long max, unsigned long long *out)
{
	char *end;

	if (!text)
		return true;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && !*end && !errno && *out <= max;
}
