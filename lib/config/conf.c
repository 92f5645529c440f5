/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "parse.h"

/* c is zeroed */
static int set_defaults(struct conf *c, const char *path)
{
	c->eal.n_lcores = 2;
	c->eal.control = 1;
	c->max_sessions = 65536;
	c->spare_tunnels = 16;
	c->max_rate = 2000;
	c->max_streams = 4096;
	c->max_dials = 512;
	c->dial_timeout = 30;
	c->telemetry.enable = true;
	c->log.level = LOG_INFO;
	c->log.rate = 1000;
	c->path = strdup(path);
	c->eal.file_prefix = strdup("kcpgate");
	c->log.file = strdup("");
	c->security.user = strdup("");
	c->security.sandbox = true;
	c->security.state = strdup("/var/lib/kcpgate");
	c->telemetry.snmplog = strdup("");
	c->telemetry.snmpperiod = 60;
	return c->path && c->eal.file_prefix && c->log.file && c->telemetry.snmplog && c->security.user &&
			       c->security.state
		       ? 0
		       : -ENOMEM;
}

int conf_reader_open(struct conf_reader *r)
{
	r->c = calloc(1, sizeof(*r->c));
	if (!r->c || set_defaults(r->c, r->path) < 0) {
		snprintf(r->why, r->why_n, "%s: %s", r->path, strerror(ENOMEM));
		return -ENOMEM;
	}
	r->eal = (struct conf_obj){.table = &conf_eal_table, .base = &r->c->eal, .path = "eal"};
	r->limits = (struct conf_obj){.table = &conf_limits_table, .base = r->c, .path = "limits"};
	r->telemetry = (struct conf_obj){.table = &conf_telemetry_table, .base = &r->c->telemetry, .path = "telemetry"};
	r->log = (struct conf_obj){.table = &conf_log_table, .base = &r->c->log, .path = "log"};
	r->security = (struct conf_obj){.table = &conf_security_table, .base = &r->c->security, .path = "security"};
	return 0;
}

int conf_reader_close(struct conf_reader *r, int rc, struct conf **out)
{
	if (rc == 0 && r->nomem) {
		snprintf(r->why, r->why_n, "%s: %s", r->path, strerror(ENOMEM));
		rc = -ENOMEM;
	}
	free(r->ports);
	free(r->tunnels);
	if (rc < 0)
		conf_free(r->c);
	else
		*out = r->c;
	return rc;
}

static int read_and_check(struct conf_reader *r)
{
	char *text;
	size_t n;
	int rc;

	rc = conf_text_load(r, &text, &n);
	if (rc < 0) {
		conf_secret_close(r);
		return rc;
	}
	rc = conf_tree_read(r, text);
	conf_text_free(text, n);
	conf_secret_close(r);
	return rc == 0 ? conf_check(r) : rc;
}

int conf_load(const char *path, struct conf **out, char *why, size_t why_n)
{
	struct conf_reader r = {.path = path, .why = why, .why_n = why_n};
	int rc;

	*out = NULL;
	rc = conf_reader_open(&r);
	if (rc == 0)
		rc = read_and_check(&r);
	return conf_reader_close(&r, rc, out);
}

int conf_reserve(struct conf *c, unsigned room)
{
	struct conf_tunnel *v = room > c->n_tunnels ? realloc(c->tunnels, room * sizeof(*v)) : c->tunnels;

	if (!v)
		return -ENOMEM;
	c->tunnels = v;
	c->tunnels_room = room > c->n_tunnels ? room : c->n_tunnels;
	memset(v + c->n_tunnels, 0, (c->tunnels_room - c->n_tunnels) * sizeof(*v));
	return 0;
}

void conf_wipe_keys(struct conf *c)
{
	for (unsigned i = 0; i < c->n_tunnels; i++) {
		struct conf_tunnel *t = &c->tunnels[i];

		if (t->key)
			explicit_bzero(t->key, t->key_len);
		t->key_len = 0;
	}
}

static void free_hostport(struct conf_hostport *hp)
{
	free(hp->host);
	free(hp->path);
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	conf_wipe_keys(c);
	for (unsigned i = 0; i < c->n_tunnels; i++) {
		free_hostport(&c->tunnels[i].listen);
		free_hostport(&c->tunnels[i].target);
		free_hostport(&c->tunnels[i].remote);
		free(c->tunnels[i].key);
		free(c->tunnels[i].key_file);
		free(c->tunnels[i].rules);
	}
	for (unsigned i = 0; i < c->n_ports; i++)
		free(c->ports[i].device);
	for (unsigned i = 0; i < c->n_warnings; i++)
		free(c->warnings[i]);
	for (unsigned i = 0; c->eal.args && c->eal.args[i]; i++)
		free(c->eal.args[i]);
	free(c->warnings);
	free(c->ports);
	free(c->tunnels);
	free(c->eal.args);
	free(c->eal.lcores);
	free(c->eal.file_prefix);
	free(c->log.file);
	free(c->telemetry.snmplog);
	free(c->telemetry.metrics.host);
	free(c->telemetry.metrics.path);
	free(c->security.user);
	free(c->security.state);
	free(c->path);
	free(c);
}
