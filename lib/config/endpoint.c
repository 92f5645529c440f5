/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/* telemetry.metrics: where HTTP is answered, "unix:/PATH" or ADDRESS:PORT. */

#define UNIX_WORD "unix:"

static void clear(struct conf_hostport *hp)
{
	free(hp->host);
	free(hp->path);
	*hp = (struct conf_hostport){0};
}

static int put_path(struct conf_hostport *hp, const char *path, const char **allowed)
{
	int rc = path[0] == '/' ? conf_hostport_or_path(path, hp, allowed) : -EINVAL;

	/* An abstract socket is everybody's of this network namespace: a file has an owner and a mode. */
	if (rc == -EINVAL && path[0] != '/')
		*allowed = "\"unix:\" and a path that begins with \"/\"";
	return rc;
}

/* A name could mean any host, tomorrow another one. */
static int put_address(struct conf_hostport *hp, const char *text, const char **allowed)
{
	struct conf_hostport got = {0};
	struct addr a;
	int rc;

	if (text[0] == '/') {
		*allowed = "a path behind \"unix:\"";
		return -EINVAL;
	}
	rc = conf_hostport_parse(text, &got, allowed);
	if (rc)
		return rc;
	if (got.port_min != got.port_max || addr_parse(got.host, &a)) {
		*allowed = got.port_min != got.port_max ? "one port" : "an address, not a name: \"127.0.0.1:9911\"";
		clear(&got);
		return -EINVAL;
	}
	clear(hp);
	*hp = got;
	return 0;
}

int conf_endpoint_put(void *field, const char *text, const char **allowed)
{
	struct conf_hostport *hp = field;

	if (!text[0]) {
		clear(hp);
		return 0;
	}
	if (strncmp(text, UNIX_WORD, strlen(UNIX_WORD)) == 0)
		return put_path(hp, text + strlen(UNIX_WORD), allowed);
	return put_address(hp, text, allowed);
}

char *conf_endpoint_get(const void *field)
{
	const struct conf_hostport *hp = field;
	char *text;

	if (hp->path)
		return asprintf(&text, UNIX_WORD "%s", hp->path) < 0 ? NULL : text;
	return hp->host ? conf_hostport_text(hp) : strdup("");
}

static bool is_loopback(const char *host)
{
	static const uint8_t one[16] = {[15] = 1};
	struct addr a;

	if (addr_parse(host, &a))
		return false;
	return addr_is_v4(&a) ? a.b[12] == 127 : memcmp(a.b, one, sizeof(one)) == 0;
}

/* Who can connect sees who is served, and how much: other hosts only where that was asked for. */
static int check_reach(struct conf_reader *r)
{
	const struct conf_telemetry *t = &r->c->telemetry;
	char *text;

	if (!t->metrics.host || t->allow_remote_metrics || is_loopback(t->metrics.host))
		return 0;
	text = conf_endpoint_get(&t->metrics);
	conf_obj_fail(r, &r->telemetry, "metrics",
		      "found \"%s\", which other hosts reach; allowed: 127.0.0.1, [::1] or \"unix:/PATH\", or "
		      "any with allow_remote_metrics = true",
		      text ? text : "");
	free(text);
	return -EINVAL;
}

static bool hosts_meet(const char *host, const char *other)
{
	struct addr a, b;

	if (addr_parse(host, &a))
		return false;
	if (!other[0] || addr_is_any(&a))
		return true;
	return addr_parse(other, &b) == 0 && (addr_is_any(&b) || addr_eq(&a, &b));
}

int conf_endpoint_check(struct conf_reader *r)
{
	const struct conf_hostport *m = &r->c->telemetry.metrics;
	int rc = check_reach(r);

	for (unsigned i = 0; i < r->c->n_tunnels && rc == 0; i++) {
		const struct conf_tunnel *t = &r->c->tunnels[i];
		const struct conf_hostport *l = &t->listen;

		if (t->role != CONF_CLIENT)
			continue;
		if (m->path && l->path && strcmp(m->path, l->path) == 0)
			rc = conf_obj_fail(r, &r->telemetry, "metrics",
					   "found socket %s, as in tunnel %s; allowed: a path of its own", m->path,
					   t->name);
		else if (m->host && l->host && m->port_min == l->port_min && hosts_meet(m->host, l->host))
			rc = conf_obj_fail(r, &r->telemetry, "metrics",
					   "found TCP port %u, as in tunnel %s; allowed: an address or port of its own",
					   m->port_min, t->name);
	}
	return rc;
}
