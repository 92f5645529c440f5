/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "logq.h"

/* How a line looks: kcptun's text, logfmt, JSON.  What it holds may be a peer's or a file's. */

struct out {
	char *p;
	size_t n, max; /* bytes written; that may be */
};

static void put(struct out *o, const char *text, size_t n)
{
	if (n > o->max - o->n)
		n = o->max - o->n;
	memcpy(o->p + o->n, text, n);
	o->n += n;
}

static void put_text(struct out *o, const char *text)
{
	put(o, text, strlen(text));
}

static void put_time(struct out *o, const char *layout, bool utc)
{
	struct timespec now;
	char buf[40];
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	if (utc)
		gmtime_r(&now.tv_sec, &tm);
	else
		localtime_r(&now.tv_sec, &tm);
	n = strftime(buf, sizeof(buf), layout, &tm);
	if (utc)
		n += (size_t)snprintf(buf + n, sizeof(buf) - n, ".%03uZ", (unsigned)(now.tv_nsec / 1000000));
	put(o, buf, n);
}

/* Bytes of the character of UTF-8 that begins at s; 0: there is none, or one that is written in more than it takes. */
static size_t utf8(const unsigned char *s)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
	uint32_t c = s[0] & (0xffu >> (n + 1));

	if (n < 2)
		return n;
	for (size_t i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

/* It must not look like a line of ours, or steer a terminal. */
static bool is_bad(unsigned char c)
{
	return (c < ' ' && c != '\t') || c == 0x7f;
}

static void put_plain(struct out *o, const char *text)
{
	for (; *text && o->n < o->max; text++)
		o->p[o->n++] = is_bad((unsigned char)*text) ? '?' : *text;
}

/* In quotes, as both logfmt and JSON read it.  `tail` bytes stay free behind it. */
static void put_quoted(struct out *o, const char *text, size_t tail)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t room = o->max - o->n > tail + 1 ? o->max - tail - 1 : o->n;

	put(o, "\"", 1);
	while (*s) {
		size_t n = utf8(s), wide = n == 1 && (*s == '"' || *s == '\\' || *s == '\t') ? 2 : n ? n : 1;
		char two[2] = {'\\', *s == '\t' ? 't' : (char)*s};

		if (o->n + wide > room)
			break;
		if (!n || is_bad(*s))
			put(o, "?", 1);
		else
			put(o, n == 1 && wide == 2 ? two : (const char *)s, wide);
		s += n ? n : 1;
	}
	put(o, "\"", 1);
}

static void put_number(struct out *o, uint64_t v)
{
	char buf[24];

	put(o, buf, (size_t)snprintf(buf, sizeof(buf), "%" PRIu64, v));
}

#define FIELD_MAX 200 /* bytes of one, so that there is room for the text */

/* What a form puts between and around. */
struct form {
	const char *begin, *name_begin, *name_end, *next, *end;
};

static void put_name(struct out *o, const struct form *f, const char *name)
{
	put_text(o, f->name_begin);
	put_text(o, name);
	put_text(o, f->name_end);
}

static void put_field(struct out *o, const struct form *f, const struct log_field *v)
{
	put_text(o, f->next);
	put_name(o, f, v->name);
	if (v->text) {
		struct out part = *o;

		part.max = o->n + FIELD_MAX < o->max ? o->n + FIELD_MAX : o->max;
		put_quoted(&part, v->text, 0);
		o->n = part.n;
	} else {
		put_number(o, v->number);
	}
}

/* A word of ours, which logfmt has without quotes. */
static void put_word(struct out *o, const struct form *f, const char *name, const char *word)
{
	put_text(o, f->next);
	put_name(o, f, name);
	put_text(o, f->name_begin);
	put_text(o, word);
	put_text(o, f->name_begin);
}

static const char *const levels[] = {"error", "warn", "info", "debug"}; /* enum log_level */
static const char priorities[] = "3467";				/* as syslog counts them */

static void put_fields(struct out *o, const struct form *f, const struct log_parts *p)
{
	size_t tail = strlen(f->end) + 1;

	put_text(o, f->begin);
	put_name(o, f, "time");
	put_text(o, f->name_begin);
	put_time(o, "%Y-%m-%dT%H:%M:%S", true);
	put_text(o, f->name_begin);
	put_word(o, f, "level", levels[p->level]);
	if (p->event)
		put_word(o, f, "event", p->event);
	for (unsigned i = 0; i < p->n && i < LOG_FIELDS_MAX; i++)
		put_field(o, f, &p->v[i]);
	put_text(o, f->next);
	put_name(o, f, "msg");
	put_quoted(o, p->text, tail);
	put_text(o, f->end);
}

size_t log_frame(char *buf, size_t n, const struct log_parts *p)
{
	static const struct form kv = {"", "", "=", " ", ""}, json = {"{", "\"", "\":", ",", "}"};
	struct out o = {.p = buf, .max = (n < LOGQ_LINE ? n : LOGQ_LINE) - 1};

	if (p->journal) {
		put(&o, "<", 1);
		put(&o, &priorities[p->level], 1);
		put(&o, ">", 1);
	}
	if (p->format == LOG_TEXT) {
		if (!p->journal)
			put_time(&o, "%Y/%m/%d %H:%M:%S ", false);
		put_plain(&o, p->text);
	} else {
		put_fields(&o, p->format == LOG_KV ? &kv : &json, p);
	}
	buf[o.n++] = '\n';
	return o.n;
}
