/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "doctor_int.h"

/* ---- lines ---- */

static struct doctor_line *line_new(struct doctor *d)
{
	if (d->n == d->room) {
		unsigned room = d->room ? d->room * 2 : 32;
		struct doctor_line *v = realloc(d->v, room * sizeof(*v));

		if (!v) {
			d->full = true;
			return NULL;
		}
		d->v = v;
		d->room = room;
	}
	return &d->v[d->n++];
}

void doctor_add(struct doctor *d, enum doctor_mark mark, const char *fmt, ...)
{
	struct doctor_line *l = line_new(d);
	va_list ap;

	if (!l)
		return;
	*l = (struct doctor_line){.part = d->part, .mark = mark};
	va_start(ap, fmt);
	vsnprintf(l->found, sizeof(l->found), fmt, ap);
	va_end(ap);
}

void doctor_why(struct doctor *d, const char *fmt, ...)
{
	va_list ap;

	if (d->n == 0 || d->full)
		return;
	va_start(ap, fmt);
	vsnprintf(d->v[d->n - 1].why, DOCTOR_TEXT, fmt, ap);
	va_end(ap);
}

void doctor_mend(struct doctor *d, const char *fmt, ...)
{
	va_list ap;

	if (d->n == 0 || d->full)
		return;
	va_start(ap, fmt);
	vsnprintf(d->v[d->n - 1].mend, DOCTOR_TEXT, fmt, ap);
	va_end(ap);
}

unsigned doctor_count(const struct doctor *d, enum doctor_mark mark)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->n; i++)
		n += d->v[i].mark == mark;
	return n;
}

/* ---- all of it ---- */

_Static_assert(sizeof(((struct doctor *)0)->pages) / sizeof(unsigned) == TOPO_NODES_MAX, "a place for every node");

int doctor_run(struct doctor *d, const char *root, const struct conf *conf, const struct doctor_ask *ask)
{
	struct plan plan, *p = conf ? &plan : NULL;

	*d = (struct doctor){.conf = conf, .ask = *ask};
	snprintf(d->root, sizeof(d->root), "%s", root);
	snprintf(d->sys, sizeof(d->sys), "%s/sys", root);
	snprintf(d->proc, sizeof(d->proc), "%s/proc", root);
	snprintf(d->dev, sizeof(d->dev), "%s/dev", root);
	if (p)
		plan_make(p, conf, d->sys, conf->eal.hugepages != CONF_HUGE_NO);
	d->running = p && doctor_runs(d);
	d->part = "cpu";
	doctor_cpu(d);
	if (p)
		doctor_lcores(d, p);
	d->part = "memory";
	doctor_mem(d, p);
	d->part = "ports";
	doctor_devices(d);
	if (p)
		doctor_interfaces(d);
	d->part = "limits";
	doctor_limits(d, p);
	return d->full ? -ENOMEM : 0;
}

void doctor_end(struct doctor *d)
{
	free(d->v);
	d->v = NULL;
	d->n = d->room = 0;
}

/* ---- for people ---- */

static const char *const marks[] = {[DOCTOR_OK] = "ok", [DOCTOR_HINT] = "--", [DOCTOR_MISSING] = "!!"};
static const char *const words[] = {[DOCTOR_OK] = "ok", [DOCTOR_HINT] = "hint", [DOCTOR_MISSING] = "missing"};

static void print_sum(const struct doctor *d, FILE *f)
{
	unsigned missing = doctor_count(d, DOCTOR_MISSING), hints = doctor_count(d, DOCTOR_HINT);

	fprintf(f, "%s%s%u missing [!!], %u could be better [--]\n", d->conf ? d->conf->path : "", d->conf ? ": " : "",
		missing, hints);
}

int doctor_print(const struct doctor *d, FILE *f)
{
	const char *part = "";

	for (unsigned i = 0; i < d->n; i++) {
		const struct doctor_line *l = &d->v[i];

		if (strcmp(part, l->part) != 0)
			fprintf(f, "%s\n", l->part);
		part = l->part;
		fprintf(f, "  [%s] %s\n", marks[l->mark], l->found);
		if (l->why[0])
			fprintf(f, "       why:  %s\n", l->why);
		if (l->mend[0])
			fprintf(f, "       mend: %s\n", l->mend);
	}
	print_sum(d, f);
	return fflush(f) || ferror(f) ? -EIO : 0;
}

/* ---- for programs ---- */

static json_t *json_lines(const struct doctor *d)
{
	json_t *all = json_array();

	for (unsigned i = 0; all && i < d->n; i++) {
		const struct doctor_line *l = &d->v[i];

		json_array_append_new(all, json_pack("{ss, ss, ss, ss, ss}", "part", l->part, "mark", words[l->mark],
						     "found", l->found, "why", l->why, "mend", l->mend));
	}
	return all;
}

static json_t *json_needs(const struct doctor *d)
{
	json_t *devices = json_array(), *pages = json_object();
	char node[16];

	for (unsigned i = 0; d->conf && i < d->conf->n_ports; i++)
		if (!d->conf->ports[i].vdev)
			json_array_append_new(devices, json_stringn(d->conf->ports[i].device,
								    strcspn(d->conf->ports[i].device, ",")));
	for (unsigned i = 0; i < TOPO_NODES_MAX; i++) {
		if (!d->pages[i])
			continue;
		snprintf(node, sizeof(node), "%u", i);
		json_object_set_new(pages, node, json_integer(d->pages[i]));
	}
	return json_pack("{so, so}", "devices", devices, "pages", pages);
}

int doctor_json(const struct doctor *d, FILE *f)
{
	json_t *all = json_pack("{sb, so, so}", "good", doctor_count(d, DOCTOR_MISSING) == 0, "lines", json_lines(d),
				"needs", json_needs(d));
	int bad = !all || json_dumpf(all, f, JSON_INDENT(1) | JSON_ENSURE_ASCII);

	json_decref(all);
	return bad || fputc('\n', f) == EOF || fflush(f) ? -EIO : 0;
}
