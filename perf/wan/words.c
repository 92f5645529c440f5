/* SPDX-License-Identifier: MIT */
#include "words.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int words_cut(struct words *p, char *statement)
{
	char *save, *word = strtok_r(statement, " \t\n", &save);

	p->n = p->at = 0;
	for (; word && p->n < WORDS; word = strtok_r(NULL, " \t\n", &save))
		p->word[p->n++] = word;
	return word ? words_wrong(p, "more than %d words", WORDS) : 0;
}

int words_wrong(struct words *p, const char *fmt, ...)
{
	int at = snprintf(p->err, p->err_n, "%s:%u: ", p->file, p->no);
	va_list ap;

	va_start(ap, fmt);
	if (at >= 0 && (size_t)at < p->err_n)
		vsnprintf(p->err + at, p->err_n - (size_t)at, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

const char *words_peek(const struct words *p)
{
	return p->at < p->n ? p->word[p->at] : "";
}

bool words_is(struct words *p, const char *word)
{
	if (p->at >= p->n || strcmp(p->word[p->at], word))
		return false;
	p->at++;
	return true;
}

/* ---- values ---- */

const struct suffix words_times[] = {{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {NULL, 0}};
const struct suffix words_rates[] = {{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {NULL, 0}};
const struct suffix words_sizes[] = {{"", 1}, {"K", 1024}, {"M", 1024 * 1024}, {NULL, 0}};
const struct suffix words_shares[] = {{"%", 0.01}, {NULL, 0}};
const struct suffix words_counts[] = {{"", 1}, {NULL, 0}};

int words_number(struct words *p, const char *what, const struct suffix *s, double most, double *out)
{
	const char *w = words_peek(p);
	char *end;
	double v = strtod(w, &end);

	if (!strcmp(w, "0")) {
		*out = 0;
		p->at++;
		return 0;
	}
	for (; s->text; s++) {
		if (end == w || strcmp(end, s->text))
			continue;
		v *= s->by;
		if (!(v >= 0 && v <= most))
			return words_wrong(p, "%s of %s is out of range", what, w);
		*out = v;
		p->at++;
		return 0;
	}
	return words_wrong(p, "%s: a number with its unit is wanted, not '%s'", what, w);
}

int words_u64(struct words *p, const char *what, const struct suffix *s, double most, uint64_t *out)
{
	double v;
	int rc = words_number(p, what, s, most, &v);

	if (rc == 0)
		*out = (uint64_t)(v + 0.5);
	return rc;
}

int words_u32(struct words *p, const char *what, const struct suffix *s, uint32_t *out)
{
	double v;
	int rc = words_number(p, what, s, 1e9, &v);

	if (rc == 0)
		*out = (uint32_t)(v + 0.5);
	return rc;
}

int words_int(struct words *p, const char *what, int *out)
{
	double v;
	int rc = words_number(p, what, words_counts, 1e6, &v);

	if (rc == 0)
		*out = (int)v;
	return rc;
}

int words_bool(struct words *p, const char *what, bool *out)
{
	*out = !strcmp(words_peek(p), "on");
	if (!*out && strcmp(words_peek(p), "off"))
		return words_wrong(p, "%s is on or off, not '%s'", what, words_peek(p));
	p->at++;
	return 0;
}

/* ---- the path ---- */

static int path_word(struct words *p, struct path_conf *c)
{
	const char *k = p->word[p->at++];

	if (!strcmp(k, "rate"))
		return words_u64(p, k, words_rates, 1e12, &c->rate);
	if (!strcmp(k, "delay"))
		return words_u64(p, k, words_times, 1e11, &c->delay);
	if (!strcmp(k, "jitter"))
		return words_u64(p, k, words_times, 1e11, &c->jitter);
	if (!strcmp(k, "fifo"))
		return words_bool(p, k, &c->fifo);
	if (!strcmp(k, "queue"))
		return words_u32(p, k, words_counts, &c->queue);
	if (!strcmp(k, "own"))
		return words_bool(p, k, &c->own);
	if (!strcmp(k, "bucket"))
		return words_u32(p, k, words_sizes, &c->bucket);
	if (!strcmp(k, "loss"))
		return words_number(p, k, words_shares, 0.99, &c->loss);
	if (!strcmp(k, "burst"))
		return words_number(p, k, words_counts, 1000, &c->burst);
	if (!strcmp(k, "early"))
		return words_bool(p, k, &c->early);
	if (!strcmp(k, "dup"))
		return words_number(p, k, words_shares, 1, &c->dup);
	if (!strcmp(k, "reorder"))
		return words_number(p, k, words_shares, 1, &c->reorder);
	if (!strcmp(k, "by"))
		return words_u64(p, k, words_times, 1e11, &c->reorder_by);
	if (!strcmp(k, "black"))
		return words_bool(p, k, &c->black);
	return words_wrong(
		p,
		"a path knows no '%s': rate, delay, jitter, fifo, queue, own, bucket, loss, burst, early, dup, "
		"reorder, "
		"by, black",
		k);
}

/* "both delay 50ms rate 100M": to the end of the statement. */
int words_path(struct words *p, struct path_conf path[2], bool *known)
{
	bool up = words_is(p, "up"), down = !up && words_is(p, "down");
	unsigned from = p->at;
	int rc = 0;

	*known = up || down || words_is(p, "both");
	if (!*known)
		return 0;
	if (!up && !down)
		from = p->at;
	for (int d = 0; d < 2 && rc == 0; d++) {
		if ((up && d != 0) || (down && d != 1))
			continue;
		for (p->at = from; p->at < p->n && rc == 0;)
			rc = path_word(p, &path[d]);
		if (rc == 0 && path[d].bucket && !path[d].rate)
			rc = words_wrong(p, "a policer's bucket is of no use without a rate");
		if (rc == 0 && path[d].reorder > 0 && !path[d].reorder_by)
			rc = words_wrong(p, "reorder wants to know by how much: 'by 5ms'");
	}
	return rc;
}
