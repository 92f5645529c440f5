/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "import.h"

/* kcptun's JSON file as a configuration file of ours: what conf_args would make of it, written down. */

/* ---- whose file is it? ---- */

struct votes {
	unsigned of[2]; /* keys of one role only */
};

static int vote(void *ctx, const char *key, struct conf_value *v)
{
	const struct conf_flag *f = conf_flag_find(key, strlen(key), CONF_CLIENT, true);
	struct votes *votes = ctx;

	/* The addresses decide; conn or autoexpire in a server's file has just been forgotten there. */
	if (!f || f->roles == CONF_R_BOTH || !f->unset)
		return 0;
	votes->of[f->roles == CONF_R_SERVER ? CONF_SERVER : CONF_CLIENT]++;
	return 0;
}

static int guess_role(struct conf_args *a)
{
	struct votes votes = {{0}};
	int rc = conf_json_each(&a->r, vote, &votes);

	if (rc < 0)
		return rc;
	if (!votes.of[CONF_SERVER] == !votes.of[CONF_CLIENT]) {
		snprintf(a->r.why, a->r.why_n,
			 "%s: found %s; allowed: either of them, or --role client or --role server", a->r.path,
			 votes.of[CONF_SERVER] ? "keys of a client and of a server"
					       : "neither localaddr and remoteaddr nor listen and target");
		return -EINVAL;
	}
	a->role = votes.of[CONF_SERVER] ? CONF_SERVER : CONF_CLIENT;
	return 0;
}

/* ---- writing ---- */

void conf_import_comment(FILE *f, const char *indent, const char *text)
{
	fprintf(f, "%s# ", indent);
	for (; *text != '\0'; text++)
		fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, f);
	fputc('\n', f);
}

/* Prints the warnings about a setting, those that are not printed yet, and takes them off the list. */
static void print_warnings(FILE *f, const char *indent, struct conf_args *a, const struct conf_obj *o, const char *name,
			   unsigned line)
{
	char where[CONF_WHERE_MAX], *begin;
	int n;

	conf_obj_where(o, name, line, where);
	if (line < CONF_LINE_ENV)
		n = asprintf(&begin, "%s:%u: %s: ", a->r.path, line, where);
	else
		n = asprintf(&begin, "%s: ", where);
	if (n < 0) {
		a->r.nomem = true;
		return;
	}
	for (unsigned i = 0; i < a->r.c->n_warnings; i++) {
		char **w = &a->r.c->warnings[i];

		if (strncmp(*w, begin, (size_t)n) != 0)
			continue;
		conf_import_comment(f, indent, *w);
		(*w)[0] = '\0';
	}
	free(begin);
}

/* One of manual's four under another mode, which has put its own number there. */
static bool is_moot(const struct conf_args *a, const struct conf_item *it)
{
	static const char *const manual[] = {"nodelay", "interval", "resend", "nc"};

	for (unsigned i = 0; i < 4 && strcmp(a->r.c->tunnels[0].mode, "manual") != 0; i++)
		if (strcmp(manual[i], it->name) == 0)
			return true;
	return false;
}

static void print_obj(FILE *f, const char *indent, struct conf_args *a, const struct conf_obj *o)
{
	for (unsigned i = 0; o->table->items[i].name; i++) {
		const struct conf_item *it = &o->table->items[i];
		unsigned line = o->given[i].line;
		bool key = o->table == &conf_tunnel_table && strcmp(it->name, "key") == 0;

		if (!line && !key)
			continue;
		print_warnings(f, indent, a, o, line ? o->given[i].spelled : it->name, line ? line : o->line);
		if (is_moot(a, it))
			continue;
		fprintf(f, "%s%s = ", indent, it->name);
		conf_item_print(f, it, o->base);
		fputs(";\n", f);
	}
}

static void print_rest(FILE *f, struct conf_args *a)
{
	bool first = true;

	for (unsigned i = 0; i < a->r.c->n_warnings; i++) {
		if (a->r.c->warnings[i][0] == '\0')
			continue;
		if (first)
			conf_import_comment(f, "\t\t", "left out:");
		first = false;
		conf_import_comment(f, "\t\t", a->r.c->warnings[i]);
	}
}

static void print_single(FILE *f, struct conf_args *a, const char *name, const struct conf_obj *o)
{
	bool any = false;

	for (unsigned i = 0; o->table->items[i].name; i++)
		any |= o->given[i].line != 0;
	if (!any)
		return;
	fprintf(f, "\n%s = {\n", name);
	print_obj(f, "\t", a, o);
	fputs("};\n", f);
}

void conf_import_head(FILE *f, const struct conf_args *a)
{
	struct conf_item mtu = *conf_item_find(&conf_port_table, "mtu");
	const struct conf_port *p = a->r.c->ports;

	fputs("# A configuration file of kcpgate's, by `kcpgate import' from\n", f);
	conf_import_comment(f, "", a->r.path);
	fputs("# conf/server.conf and conf/client.conf explain what else it may say.\n", f);
	fputs("\nports = (\n\t{\n", f);
	if (p->sockets) {
		fprintf(f,
			"\t\t# The kernel's UDP sockets, on all interfaces.\n\t\tname = \"%s\";\n\t\tdevice = "
			"\"%s\";\n",
			p->name, p->device);
	} else {
		fputs("\t\t# The interface that the packets take: to be set to this machine's.  It stays with the "
		      "kernel.\n",
		      f);
		fprintf(f, "\t\tname = \"%s\";\n\t\tdevice = \"%s\";\n\t\texception = \"kernel\";\n\t\tmtu = ", p->name,
			p->device);
		conf_item_print(f, &mtu, p);
		fputs(";\n", f);
	}
	fputs("\t}\n);\n", f);
}

void conf_import_tunnel(FILE *f, struct conf_args *a, const char *notes)
{
	fputs("\t{\n", f);
	if (notes)
		fputs(notes, f);
	print_obj(f, "\t\t", a, a->r.tunnels);
	print_rest(f, a);
	fputs("\t}", f);
}

static void print_all(FILE *f, struct conf_args *a)
{
	conf_import_head(f, a);
	fputs("\ntunnels = (\n", f);
	conf_import_tunnel(f, a, NULL);
	fputs("\n);\n", f);
	print_single(f, a, "telemetry", &a->r.telemetry);
	print_single(f, a, "log", &a->r.log);
	print_single(f, a, "security", &a->r.security);
}

/* ---- which program's? ---- */

static int see_key(void *ctx, const char *key, struct conf_value *v)
{
	bool *peer = ctx;

	*peer |= conf_import_is_peer(key);
	return 0;
}

/* kcptun's file is JSON, and begins with a bracket; so may gost's, which has other keys.  0, or -errno and why. */
static int is_peer(const char *path, char *why, size_t why_n, bool *peer)
{
	struct conf_reader r = {.path = path, .why = why, .why_n = why_n};
	size_t n;
	int rc = 0;
	char *text = conf_file_read(&r, &n, &rc);

	if (!text)
		return rc;
	*peer = text[strspn(text, " \t\r\n")] != '{';
	conf_text_free(text, n);
	if (!*peer)
		conf_json_each(&r, see_key, peer); /* what is wrong with it kcptun's reader says */
	return 0;
}

static int import_kcptun(FILE *f, const char *path, const enum conf_role *role, char *why, size_t why_n)
{
	static const struct conf_host nowhere = {0};
	struct conf_args a = {
		.r = {.path = path, .why = why, .why_n = why_n, .lenient = true},
		.host = &nowhere,
	};
	struct conf *c = NULL;
	int rc = conf_args_open(&a);

	if (rc == 0 && role)
		a.role = *role;
	else if (rc == 0)
		rc = guess_role(&a);
	if (rc == 0)
		rc = conf_json_read(&a);
	if (rc == 0)
		rc = conf_args_finish(&a);
	if (rc == 0)
		print_all(f, &a);
	rc = conf_reader_close(&a.r, rc, &c);
	conf_free(c);
	return rc;
}

int conf_import(FILE *f, const char *path, const enum conf_role *role, char *why, size_t why_n)
{
	bool peer = false;
	int rc = is_peer(path, why, why_n, &peer);

	if (rc < 0)
		return rc;
	return peer ? conf_import_peer(f, path, role, why, why_n) : import_kcptun(f, path, role, why, why_n);
}
