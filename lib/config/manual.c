/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "flags.h"

/* The tables as parts of manual pages, in mdoc(7). */

/* ---- text ---- */

/* What roff would take for its own. */
static void print_text(FILE *f, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\\')
			fputs("\\e", f);
		else if (*text == '-')
			fputs("\\-", f);
		else if (*text == '"')
			fputs("\\(dq", f);
		else if (*text == '\'')
			fputs("\\(aq", f);
		else
			fputc(*text, f);
	}
}

/* A row's value as a line would have it. */
static void print_value(FILE *f, const struct conf_item *it, const void *base)
{
	char *text = NULL;
	size_t n;
	FILE *to = open_memstream(&text, &n);

	if (!to)
		return;
	conf_item_print(to, it, base);
	if (fclose(to) == 0)
		print_text(f, text);
	free(text);
}

static bool same_value(const struct conf_item *it, const void *a, const void *b)
{
	size_t n = it->kind == CONF_BOOL ? sizeof(bool) : it->kind == CONF_RATE ? sizeof(uint64_t) : sizeof(int);

	if (it->kind == CONF_WORD || it->kind == CONF_TEXT)
		return true;
	return memcmp((const char *)a + it->offset, (const char *)b + it->offset, n) == 0;
}

/* ---- rows ---- */

/* What a row's default is in; `other` NULL: there is one kind of the group only. */
struct manual {
	FILE *f;
	const char *group;
	const struct conf_table *table;
	const void *base, *other; /* of a tunnel: a server's and a client's */
};

/* Of texts those that are a char * know theirs; what a row's put makes of others it alone can say. */
static bool has_default(const struct conf_item *it, const void *base)
{
	if (it->kind == CONF_AUTO || it->flags & (CONF_F_MANY | CONF_F_SECRET))
		return false;
	if (it->kind != CONF_TEXT)
		return !strstr(it->help, "not given:"); /* which says more than a number that stands for nothing */
	return !it->get && (it->put == conf_put_text || it->size == sizeof(char *)) &&
	       *(char *const *)((const char *)base + it->offset);
}

static void print_default(const struct manual *m, const struct conf_item *it)
{
	const void *base = m->other && it->roles == CONF_R_CLIENT ? m->other : m->base;

	if (it->flags & CONF_F_NEEDED) {
		fputs("It has to be given.\n", m->f);
	} else if (it->unset) {
		fprintf(m->f, "Default: %s.\n", it->unset);
	} else if (has_default(it, base)) {
		fputs("Default: ", m->f);
		print_value(m->f, it, base);
		if (m->other && !it->roles && !same_value(it, m->base, m->other)) {
			fputs(", of a client ", m->f);
			print_value(m->f, it, m->other);
		}
		fputs(".\n", m->f);
	}
}

static void print_row(const struct manual *m, const struct conf_item *it)
{
	char allowed[CONF_ALLOWED_MAX];

	fprintf(m->f, ".It Ic %s", it->name);
	if (it->alias)
		fprintf(m->f, " , Ic %s", it->alias);
	if (it->roles == CONF_R_SERVER || it->roles == CONF_R_CLIENT)
		fprintf(m->f, " Pq %s", it->roles == CONF_R_SERVER ? "server" : "client");
	fputc('\n', m->f);
	print_text(m->f, it->help);
	fputs(".\n.br\nAllowed: ", m->f);
	print_text(m->f, conf_item_allowed(it, allowed));
	fputs(".\n", m->f);
	print_default(m, it);
}

static void print_group(const struct manual *m, const char *what)
{
	fprintf(m->f, ".Ss %s\n%s\n.Bl -tag -width Ds\n", m->group, what);
	for (const struct conf_item *it = m->table->items; it->name; it++)
		print_row(m, it);
	fputs(".El\n", m->f);
}

/* ---- pages ---- */

/* An empty configuration with a server's tunnel and a client's, as kcpgate has them. */
static int open_defaults(struct conf_args *a, struct conf_tunnel tunnels[2])
{
	int rc = conf_args_open(a);

	for (unsigned role = 0; role < 2 && rc == 0; role++) {
		conf_tunnel_defaults(&tunnels[role]);
		tunnels[role].role = (enum conf_role)role;
		conf_tunnel_generation(NULL, &tunnels[role]);
	}
	return rc;
}

static int close_defaults(struct conf_args *a, int rc)
{
	struct conf *c = NULL;

	rc = conf_reader_close(&a->r, rc, &c);
	conf_free(c);
	return rc;
}

int conf_manual(FILE *f)
{
	struct conf_args a = {.r = {.path = ""}};
	struct conf_tunnel tunnels[2];
	int rc = open_defaults(&a, tunnels);
	const struct {
		struct manual m;
		const char *what;
	} groups[] = {
		{{f, "eal", &conf_eal_table, &a.r.c->eal, NULL}, "Threads, memory and DPDK."},
		{{f, "limits", &conf_limits_table, a.r.c, NULL}, "What peers may have."},
		{{f, "ports", &conf_port_table, a.r.c ? a.r.c->ports : NULL, NULL},
		 "A list of groups, one for each way in and out."},
		{{f, "tunnels", &conf_tunnel_table, &tunnels[CONF_SERVER], &tunnels[CONF_CLIENT]},
		 "A list of groups, one for each of kcptun\\(aqs programs that this gateway is."},
		{{f, "telemetry", &conf_telemetry_table, &a.r.c->telemetry, NULL}, "What it shows of itself."},
		{{f, "log", &conf_log_table, &a.r.c->log, NULL}, "What it says."},
		{{f, "security", &conf_security_table, &a.r.c->security, NULL}, "What it gives up for itself."},
	};

	for (unsigned i = 0; rc == 0 && i < sizeof(groups) / sizeof(groups[0]); i++)
		print_group(&groups[i].m, groups[i].what);
	return close_defaults(&a, rc);
}

static void print_flag(FILE *f, const struct conf_flag *flag)
{
	const struct conf_item *it = conf_flag_item(flag);
	char allowed[CONF_ALLOWED_MAX];

	fprintf(f, ".It Fl \\-%s", flag->name);
	if (it && it->kind != CONF_BOOL)
		fputs(" Ar value", f);
	for (unsigned i = 0; i < 2 && flag->also[i]; i++)
		fprintf(f, " , Fl %s%s", flag->also[i][1] ? "\\-" : "", flag->also[i]);
	fputc('\n', f);
	print_text(f, flag->help ? flag->help : it->help);
	fputs(".\n", f);
	if (it && it->kind != CONF_BOOL) {
		fputs("Allowed: ", f);
		print_text(f, conf_item_allowed(it, allowed));
		fputs(".\n", f);
	}
	if (flag->unset) {
		fputs("Default: ", f);
		print_text(f, flag->unset);
		fputs(".\n", f);
	}
}

int conf_manual_options(FILE *f)
{
	static const struct {
		unsigned roles;
		const char *head;
	} kinds[] = {
		{CONF_R_BOTH, "Of both:"},
		{CONF_R_CLIENT, "Of a client:"},
		{CONF_R_SERVER, "Of a server:"},
	};

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		fprintf(f, ".Pp\n%s\n.Bl -tag -width Ds\n", kinds[i].head);
		for (const struct conf_flag *flag = conf_flags; flag->name; flag++)
			if (flag->roles == kinds[i].roles)
				print_flag(f, flag);
		fputs(".El\n", f);
	}
	return ferror(f) ? -EIO : 0;
}
