/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "look.h"

/* ---- numbers ---- */

uint64_t look_u64(const json_t *o, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(o, name));
}

const char *look_str(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

/* Three digits or so, with the unit's thousands. */
static const char *scaled(double n, const char *unit, char buf[LOOK_NUM])
{
	static const char *const big[] = {"", "k", "M", "G", "T", "P", "E"};
	unsigned i = 0;

	for (; n >= 999.5 && i < 6; i++)
		n /= 1000;
	snprintf(buf, LOOK_NUM, i && n < 99.95 ? "%.1f %s%s" : "%.0f %s%s", n, big[i], unit);
	return buf;
}

const char *look_bytes(uint64_t n, char buf[LOOK_NUM])
{
	return scaled((double)n, "B", buf);
}

const char *look_rate(double bps, char buf[LOOK_NUM])
{
	return scaled(bps, "bit/s", buf);
}

const char *look_ms(uint64_t us, char buf[LOOK_NUM])
{
	snprintf(buf, LOOK_NUM, us < 100000 ? "%.1f ms" : "%.0f ms", (double)us / 1000);
	return buf;
}

const char *look_unit(uint64_t n, bool ns, char buf[LOOK_NUM])
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	double v = (double)n;
	unsigned i = 0;

	for (; ns && v >= 999.5 && i < 3; i++)
		v /= 1000;
	if (!ns)
		snprintf(buf, LOOK_NUM, "%.0f", v);
	else
		snprintf(buf, LOOK_NUM, v < 99.95 && i ? "%.1f %s" : "%.0f %s", v, units[i]);
	return buf;
}

const char *look_part(double part, char buf[LOOK_NUM])
{
	snprintf(buf, LOOK_NUM, part < 0.0995 ? "%.1f %%" : "%.0f %%", part * 100);
	return buf;
}

const char *look_span(uint64_t ms, char buf[LOOK_NUM])
{
	uint64_t s = ms / 1000;

	if (s < 60)
		snprintf(buf, LOOK_NUM, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
	else if (s < 3600)
		snprintf(buf, LOOK_NUM, "%" PRIu64 "m %" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, LOOK_NUM, "%" PRIu64 "h %" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(buf, LOOK_NUM, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
	return buf;
}

/* ---- tables ---- */

static void put(struct look_table *t, char *text)
{
	unsigned i = t->cells;

	if (i == t->room) {
		unsigned room = t->room ? 2 * t->room : 256;
		char **more = realloc(t->cell, room * sizeof(*more));

		if (more) {
			t->cell = more;
			t->room = room;
		}
	}
	if (i < t->room && text) {
		t->cell[i] = text;
		t->cells++;
	} else {
		t->short_of_memory = true;
		free(text);
	}
}

void look_table_begin(struct look_table *t, const char *const *heads)
{
	*t = (struct look_table){0};
	for (; heads[t->columns] && t->columns < LOOK_COLUMNS; t->columns++) {
		const char *head = heads[t->columns];

		t->right[t->columns] = head[0] == '>';
		put(t, strdup(head + (head[0] == '>')));
	}
}

void look_cell(struct look_table *t, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	put(t, text);
}

static void line(const struct look_table *t, unsigned row, const int *wide, FILE *f, unsigned indent)
{
	fprintf(f, "%*s", (int)indent, "");
	for (unsigned c = 0; c < t->columns; c++) {
		const char *text = t->cell[row + c];
		bool last = c + 1 == t->columns;

		if (t->right[c])
			fprintf(f, "%*s", wide[c], text);
		else
			fprintf(f, "%-*s", last ? 0 : wide[c], text);
		fputs(last ? "\n" : "  ", f);
	}
}

int look_table_end(struct look_table *t, FILE *f, unsigned indent)
{
	int wide[LOOK_COLUMNS] = {0}, ret = t->short_of_memory ? -ENOMEM : 0;
	unsigned whole = t->columns ? t->cells / t->columns * t->columns : 0;

	for (unsigned i = 0; i < whole; i++) {
		int n = (int)strlen(t->cell[i]);

		if (n > wide[i % t->columns])
			wide[i % t->columns] = n;
	}
	for (unsigned i = 0; i < whole && !ret; i += t->columns)
		line(t, i, wide, f, indent);
	for (unsigned i = 0; i < t->cells; i++)
		free(t->cell[i]);
	free(t->cell);
	*t = (struct look_table){0};
	return ret;
}
