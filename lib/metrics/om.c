/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "om.h"

static const char *const types[] = {"counter", "gauge", "info", "summary", "histogram"};

void om_begin(struct om *o, bool open)
{
	*o = (struct om){.open = open};
}

/* Room for n bytes and a 0 behind them. */
static bool grow(struct om *o, size_t n)
{
	size_t room = o->room ? o->room : 16384;
	char *buf;

	if (o->failed)
		return false;
	if (o->n + n < o->room)
		return true;
	while (room <= o->n + n)
		room *= 2;
	buf = realloc(o->buf, room);
	if (!buf) {
		free(o->buf);
		*o = (struct om){.failed = true, .open = o->open};
		return false;
	}
	o->buf = buf;
	o->room = room;
	return true;
}

void om_bytes(struct om *o, const char *p, size_t n)
{
	if (!grow(o, n))
		return;
	memcpy(o->buf + o->n, p, n);
	o->n += n;
	o->buf[o->n] = '\0';
}

void om_text(struct om *o, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	om_bytes(o, text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

void om_family(struct om *o, enum om_type type, const char *name, const char *unit, const char *help)
{
	const char *room = strncmp(name, "process_", 8) == 0 ? "" : "kcpgate_";
	const char *tail = "", *word = types[type];

	if (!o->open) {
		tail = type == OM_COUNTER ? "_total" : type == OM_INFO ? "_info" : "";
		word = type == OM_INFO ? "gauge" : word;
	}
	om_text(o, "# HELP %s%s%s %s\n", room, name, tail, help);
	om_text(o, "# TYPE %s%s%s %s\n", room, name, tail, word);
	if (o->open && unit)
		om_text(o, "# UNIT %s%s %s\n", room, name, unit);
	snprintf(o->name, sizeof(o->name), "%s%s%s", room, name,
		 type == OM_COUNTER ? "_total"
		 : type == OM_INFO  ? "_info"
				    : "");
	o->part = "";
}

static void escaped(struct om *o, const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			om_text(o, "\\%c", *s);
		else if (*s == '\n')
			om_text(o, "\\n");
		else
			om_bytes(o, s, 1);
	}
}

static void labels(struct om *o, va_list ap)
{
	const char *name, *before = "{";

	om_text(o, "%s%s", o->name, o->part);
	while ((name = va_arg(ap, const char *))) {
		om_text(o, "%s%s=\"", before, name);
		escaped(o, va_arg(ap, const char *));
		om_text(o, "\"");
		before = ",";
	}
	om_text(o, "%s ", before[0] == ',' ? "}" : "");
}

void om_u64(struct om *o, uint64_t v, ...)
{
	va_list ap;

	va_start(ap, v);
	labels(o, ap);
	va_end(ap);
	om_text(o, "%" PRIu64 "\n", v);
}

void om_real(struct om *o, double v, ...)
{
	va_list ap;

	va_start(ap, v);
	labels(o, ap);
	va_end(ap);
	om_text(o, "%.9g\n", v);
}

void om_histogram(struct om *o, const char *label, const char *of, const uint64_t *in, const double *limit, unsigned n,
		  double sum)
{
	uint64_t all = 0;
	char le[32];

	o->part = "_bucket";
	for (unsigned b = 0; b < n; b++) {
		all += in[b];
		snprintf(le, sizeof(le), limit[b] == (double)(uint64_t)limit[b] ? "%.1f" : "%.9g", limit[b]);
		om_u64(o, all, label, of, "le", b + 1 < n ? le : "+Inf", NULL);
	}
	o->part = "_sum";
	om_real(o, sum, label, of, NULL);
	o->part = "_count";
	om_u64(o, all, label, of, NULL);
	o->part = "";
}

void om_end(struct om *o)
{
	if (o->open)
		om_text(o, "# EOF\n");
}
