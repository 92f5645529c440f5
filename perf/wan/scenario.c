/* SPDX-License-Identifier: MIT */
#include "scenario.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS 48

/* The statement at work: its words, and what it has said so far. */
struct parse {
	const char *file;
	unsigned no;
	char *word[WORDS];
	unsigned n, at;
	char *err;
	size_t err_n;
	struct world_conf *w;
	struct end_conf end[2];	 /* of every flow, by side */
	struct path_conf now[2]; /* as the last change has left it */
};

__attribute__((format(printf, 2, 3))) static int wrong(struct parse *p, const char *fmt, ...)
{
	int at = snprintf(p->err, p->err_n, "%s:%u: ", p->file, p->no);
	va_list ap;

	va_start(ap, fmt);
	if (at >= 0 && (size_t)at < p->err_n)
		vsnprintf(p->err + at, p->err_n - (size_t)at, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static const char *peek(const struct parse *p)
{
	return p->at < p->n ? p->word[p->at] : "";
}

static bool is(struct parse *p, const char *word)
{
	if (p->at >= p->n || strcmp(p->word[p->at], word))
		return false;
	p->at++;
	return true;
}

/* ---- values ---- */

struct suffix {
	const char *text;
	double by;
};

static const struct suffix times[] = {{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {NULL, 0}};
static const struct suffix rates[] = {{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {NULL, 0}};
static const struct suffix sizes[] = {{"", 1}, {"K", 1024}, {"M", 1024 * 1024}, {NULL, 0}};
static const struct suffix shares[] = {{"%", 0.01}, {NULL, 0}};
static const struct suffix counts[] = {{"", 1}, {NULL, 0}};

static int value(struct parse *p, const char *what, const struct suffix *s, double most, double *out)
{
	const char *w = peek(p);
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
			return wrong(p, "%s of %s is out of range", what, w);
		*out = v;
		p->at++;
		return 0;
	}
	return wrong(p, "%s: a number with its unit is wanted, not '%s'", what, w);
}

static int value_u64(struct parse *p, const char *what, const struct suffix *s, double most, uint64_t *out)
{
	double v;
	int rc = value(p, what, s, most, &v);

	if (rc == 0)
		*out = (uint64_t)(v + 0.5);
	return rc;
}

static int value_u32(struct parse *p, const char *what, const struct suffix *s, uint32_t *out)
{
	double v;
	int rc = value(p, what, s, 1e9, &v);

	if (rc == 0)
		*out = (uint32_t)(v + 0.5);
	return rc;
}

static int value_int(struct parse *p, const char *what, int *out)
{
	double v;
	int rc = value(p, what, counts, 1e6, &v);

	if (rc == 0)
		*out = (int)v;
	return rc;
}

static int value_bool(struct parse *p, const char *what, bool *out)
{
	*out = !strcmp(peek(p), "on");
	if (!*out && strcmp(peek(p), "off"))
		return wrong(p, "%s is on or off, not '%s'", what, peek(p));
	p->at++;
	return 0;
}

/* ---- the path ---- */

static int path_word(struct parse *p, struct path_conf *c)
{
	const char *k = p->word[p->at++];

	if (!strcmp(k, "rate"))
		return value_u64(p, k, rates, 1e12, &c->rate);
	if (!strcmp(k, "delay"))
		return value_u64(p, k, times, 1e11, &c->delay);
	if (!strcmp(k, "jitter"))
		return value_u64(p, k, times, 1e11, &c->jitter);
	if (!strcmp(k, "fifo"))
		return value_bool(p, k, &c->fifo);
	if (!strcmp(k, "queue"))
		return value_u32(p, k, counts, &c->queue);
	if (!strcmp(k, "own"))
		return value_bool(p, k, &c->own);
	if (!strcmp(k, "bucket"))
		return value_u32(p, k, sizes, &c->bucket);
	if (!strcmp(k, "loss"))
		return value(p, k, shares, 0.99, &c->loss);
	if (!strcmp(k, "burst"))
		return value(p, k, counts, 1000, &c->burst);
	if (!strcmp(k, "early"))
		return value_bool(p, k, &c->early);
	if (!strcmp(k, "dup"))
		return value(p, k, shares, 1, &c->dup);
	if (!strcmp(k, "reorder"))
		return value(p, k, shares, 1, &c->reorder);
	if (!strcmp(k, "by"))
		return value_u64(p, k, times, 1e11, &c->reorder_by);
	if (!strcmp(k, "black"))
		return value_bool(p, k, &c->black);
	return wrong(p,
		     "a path knows no '%s': rate, delay, jitter, fifo, queue, own, bucket, loss, burst, early, dup, "
		     "reorder, "
		     "by, black",
		     k);
}

/* "both delay 50ms rate 100M": to the end of the statement. */
static int path_words(struct parse *p, struct path_conf path[2], bool *known)
{
	bool up = is(p, "up"), down = !up && is(p, "down");
	unsigned from = p->at;
	int rc = 0;

	*known = up || down || is(p, "both");
	if (!*known)
		return 0;
	if (!up && !down)
		from = p->at;
	for (int d = 0; d < 2 && rc == 0; d++) {
		if ((up && d != UP) || (down && d != DOWN))
			continue;
		for (p->at = from; p->at < p->n && rc == 0;)
			rc = path_word(p, &path[d]);
		if (rc == 0 && path[d].bucket && !path[d].rate)
			rc = wrong(p, "a policer's bucket is of no use without a rate");
		if (rc == 0 && path[d].reorder > 0 && !path[d].reorder_by)
			rc = wrong(p, "reorder wants to know by how much: 'by 5ms'");
	}
	return rc;
}

static int change(struct parse *p)
{
	struct world_conf *w = p->w;
	struct world_change *c = &w->change[w->n_change];
	bool known;
	int rc;

	if (w->n_change == WORLD_CHANGES)
		return wrong(p, "more than %d changes", WORLD_CHANGES);
	rc = value_u64(p, "at", times, 1e13, &c->at);
	if (rc)
		return rc;
	if (w->n_change && c->at < w->change[w->n_change - 1].at)
		return wrong(p, "changes are told in the order of time");
	rc = path_words(p, p->now, &known);
	if (rc == 0 && !known)
		return wrong(p, "up, down or both is wanted, not '%s'", peek(p));
	memcpy(c->path, p->now, sizeof(c->path));
	w->n_change++;
	return rc;
}

/* ---- the ends ---- */

static const struct {
	const char *name;
	int nodelay, interval, resend, nc;
} modes[] = {{"normal", 0, 40, 2, 1}, {"fast", 0, 30, 2, 1}, {"fast2", 1, 20, 2, 1}, {"fast3", 1, 10, 2, 1}};

static int mode(struct parse *p, struct end_conf *c)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!is(p, modes[i].name))
			continue;
		c->nodelay = modes[i].nodelay;
		c->interval = modes[i].interval;
		c->resend = modes[i].resend;
		c->nc = modes[i].nc;
		return 0;
	}
	return wrong(p, "mode is normal, fast, fast2 or fast3, not '%s'", peek(p));
}

static int fec(struct parse *p, struct end_conf *c)
{
	char junk;

	if (is(p, "off")) {
		c->ds = c->ps = 0;
		return 0;
	}
	if (sscanf(peek(p), "%u/%u%c", &c->ds, &c->ps, &junk) != 2 || !c->ds || !c->ps || c->ds + c->ps > 256)
		return wrong(p, "fec is off or data/parity, such as 10/3, not '%s'", peek(p));
	p->at++;
	return 0;
}

static int end_word(struct parse *p, struct end_conf *c)
{
	const char *k = p->word[p->at++];

	if (!strcmp(k, "mode"))
		return mode(p, c);
	if (!strcmp(k, "fec"))
		return fec(p, c);
	if (!strcmp(k, "nodelay"))
		return value_int(p, k, &c->nodelay);
	if (!strcmp(k, "interval"))
		return value_int(p, k, &c->interval);
	if (!strcmp(k, "resend"))
		return value_int(p, k, &c->resend);
	if (!strcmp(k, "nc"))
		return value_int(p, k, &c->nc);
	if (!strcmp(k, "acknodelay"))
		return value_bool(p, k, &c->acknodelay);
	if (!strcmp(k, "mtu"))
		return value_u32(p, k, counts, &c->mtu);
	if (!strcmp(k, "sndwnd"))
		return value_u32(p, k, counts, &c->sndwnd);
	if (!strcmp(k, "rcvwnd"))
		return value_u32(p, k, counts, &c->rcvwnd);
	if (!strcmp(k, "smuxver"))
		return value_u32(p, k, counts, &c->smuxver);
	if (!strcmp(k, "smuxbuf"))
		return value_u32(p, k, sizes, &c->smuxbuf);
	if (!strcmp(k, "streambuf"))
		return value_u32(p, k, sizes, &c->streambuf);
	if (!strcmp(k, "ratelimit"))
		return value_u64(p, k, sizes, 1e12, &c->ratelimit);
	if (!strcmp(k, "hello"))
		return value_bool(p, k, &c->hello);
	return wrong(p,
		     "an end knows no '%s': mode, fec, nodelay, interval, resend, nc, acknodelay, mtu, sndwnd, rcvwnd, "
		     "smuxver, smuxbuf, streambuf, ratelimit, hello",
		     k);
}

static int end_words(struct parse *p, int first, int last)
{
	unsigned from = p->at;
	int rc = 0;

	for (int e = first; e <= last && rc == 0; e++)
		for (p->at = from; p->at < p->n && rc == 0;)
			rc = end_word(p, &p->end[e]);
	return rc;
}

/* ---- flows ---- */

static int kind(struct parse *p, enum end_kind *k)
{
	if (is(p, "kcpgate"))
		*k = END_KCPGATE;
	else if (is(p, "stock"))
		*k = END_STOCK_2021;
	else if (is(p, "stock2026"))
		*k = END_STOCK_2026;
	else
		return wrong(p, "kcpgate, stock or stock2026 is wanted, not '%s'", peek(p));
	return 0;
}

static int wf_word(struct parse *p, struct wf_conf *f, unsigned *times_)
{
	const char *k = p->word[p->at++];

	if (!strcmp(k, "streams"))
		return value_u32(p, k, counts, &f->bulks);
	if (!strcmp(k, "up")) {
		f->up = true;
		return 0;
	}
	if (!strcmp(k, "echo"))
		return value_u64(p, k, times, 1e12, &f->echo);
	if (!strcmp(k, "start"))
		return value_u64(p, k, times, 1e13, &f->start);
	if (!strcmp(k, "lead"))
		return value_u64(p, k, times, 1e13, &f->lead);
	if (!strcmp(k, "delay"))
		return value_u64(p, k, times, 1e11, &f->delay);
	if (!strcmp(k, "times"))
		return value_u32(p, k, counts, times_);
	return wrong(p, "a flow knows no '%s': streams, up, echo, start, lead, delay, times", k);
}

/* "flow CLIENT SERVER ...", or a competitor: "flow cubic ..." */
static int flow(struct parse *p)
{
	struct wf_conf f = {.bulks = 1, .lead = 500 * PATH_MS};
	unsigned many = 1;
	int rc = 0;

	if (is(p, "cubic"))
		f.kind[0] = f.kind[1] = END_CUBIC;
	else if (is(p, "reno"))
		f.kind[0] = f.kind[1] = END_RENO;
	else
		rc = kind(p, &f.kind[CLIENT]) ?: kind(p, &f.kind[SERVER]);
	while (rc == 0 && p->at < p->n)
		rc = wf_word(p, &f, &many);
	if (rc)
		return rc;
	if (f.bulks > FLOW_BULKS)
		return wrong(p, "more than %d streams", FLOW_BULKS);
	if (!many || p->w->n_flow + many > WORLD_FLOWS)
		return wrong(p, "1 to %d flows in all", WORLD_FLOWS);
	for (unsigned i = 0; i < many; i++)
		p->w->flow[p->w->n_flow++] = f;
	return 0;
}

/* ---- statements ---- */

static int statement(struct parse *p)
{
	bool known;
	int rc;

	if (is(p, "run"))
		return value_u64(p, "run", times, 1e13, &p->w->seconds);
	if (is(p, "from"))
		return value_u64(p, "from", times, 1e13, &p->w->from);
	if (is(p, "flow"))
		return flow(p);
	if (is(p, "at"))
		return change(p);
	if (is(p, "ends"))
		return end_words(p, CLIENT, SERVER);
	if (is(p, "client"))
		return end_words(p, CLIENT, CLIENT);
	if (is(p, "server"))
		return end_words(p, SERVER, SERVER);
	rc = path_words(p, p->w->path, &known);
	if (rc || known) {
		if (p->w->n_change)
			return wrong(p, "what holds from the beginning is told before any change");
		memcpy(p->now, p->w->path, sizeof(p->now));
		return rc;
	}
	return wrong(p, "no statement begins with '%s': run, from, both, up, down, at, flow, ends, client, server, row",
		     peek(p));
}

/* Several statements, between semicolons. */
static int line_parse(struct parse *p, const struct scenario_line *l)
{
	char *text = strdup(l->text), *rest = text, *one;
	int rc = text ? 0 : -ENOMEM;

	p->no = l->no;
	while (rc == 0 && (one = strsep(&rest, ";"))) {
		char *save, *word = strtok_r(one, " \t\n", &save);

		p->n = p->at = 0;
		for (; word && p->n < WORDS; word = strtok_r(NULL, " \t\n", &save))
			p->word[p->n++] = word;
		if (word)
			rc = wrong(p, "more than %d words", WORDS);
		else if (p->n)
			rc = statement(p);
		if (rc == 0 && p->at < p->n)
			rc = wrong(p, "what is '%s' here?", peek(p));
	}
	free(text);
	return rc;
}

static int check_end(struct parse *p, const struct end_conf *c)
{
	if (c->sndwnd < 1 || c->sndwnd > 65535 || c->rcvwnd < 1 || c->rcvwnd > 65535)
		return wrong(p, "windows are 1 to 65535");
	if (c->mtu < 100 || c->mtu > 1500)
		return wrong(p, "mtu is 100 to 1500");
	if (c->smuxver < 1 || c->smuxver > 2)
		return wrong(p, "smuxver is 1 or 2");
	if (c->interval < 10 || c->interval > 5000)
		return wrong(p, "interval is 10 to 5000");
	return 0;
}

static int finish(struct parse *p)
{
	struct world_conf *w = p->w;
	int rc = check_end(p, &p->end[CLIENT]) ?: check_end(p, &p->end[SERVER]);

	if (rc)
		return rc;
	if (!w->n_flow)
		return wrong(p, "nothing flows");
	for (unsigned i = 0; i < w->n_flow; i++) {
		struct wf_conf *f = &w->flow[i];

		for (int e = 0; e < 2; e++) {
			f->end[e] = p->end[e];
			f->end[e].kind = f->kind[e];
		}
		if (f->kind[CLIENT] != END_KCPGATE && f->kind[SERVER] != END_KCPGATE && f->end[0].ratelimit)
			return wrong(p, "ratelimit is kcpgate's alone here");
	}
	return 0;
}

int scenario_world(const struct scenario *s, unsigned row, struct world_conf *out, char *err, size_t n)
{
	struct parse p = {.file = s->file, .err = err, .err_n = n, .w = out};
	int rc = 0;

	*out = (struct world_conf){.seconds = 12 * PATH_S, .from = 2 * PATH_S};
	out->path[0].queue = out->path[1].queue = 1000;
	for (int e = 0; e < 2; e++)
		p.end[e] = (struct end_conf){.interval = 30,
					     .resend = 2,
					     .nc = 1,
					     .ds = 10,
					     .ps = 3,
					     .mtu = 1350,
					     .sndwnd = e ? 1024 : 128,
					     .rcvwnd = e ? 1024 : 512,
					     .smuxver = 2,
					     .smuxbuf = 4194304,
					     .streambuf = 2097152,
					     .hello = true};
	for (unsigned i = 0; i < s->n_common && rc == 0; i++)
		rc = line_parse(&p, &s->common[i]);
	if (rc == 0 && s->n_row)
		rc = line_parse(&p, &s->row[row].line);
	return rc ? rc : finish(&p);
}

/* ---- the file ---- */

static char *trim(char *t)
{
	size_t n;

	t += strspn(t, " \t");
	n = strcspn(t, "\n");
	while (n && (t[n - 1] == ' ' || t[n - 1] == '\t'))
		n--;
	t[n] = 0;
	return t;
}

static int take_line(struct scenario *s, char *t, unsigned no, char *err, size_t n)
{
	char *semi;

	if (!*t)
		return 0;
	if (*t == '#') {
		if (!s->title)
			s->title = strdup(trim(t + 1));
		return 0;
	}
	if (strncmp(t, "row ", 4)) {
		if (s->n_row || s->n_common == SCENARIO_LINES) {
			snprintf(err, n, "%s:%u: what all rows share stands before the first of them", s->file, no);
			return -EINVAL;
		}
		s->common[s->n_common++] = (struct scenario_line){no, strdup(t)};
		return 0;
	}
	semi = strchr(t, ';');
	if (s->n_row == SCENARIO_ROWS || !semi) {
		snprintf(err, n, "%s:%u: a row is 'row NAME; statement; ...', at most %d of them", s->file, no,
			 SCENARIO_ROWS);
		return -EINVAL;
	}
	*semi = 0;
	s->row[s->n_row].name = strdup(trim(t + 4));
	s->row[s->n_row].line = (struct scenario_line){no, strdup(semi + 1)};
	s->n_row++;
	return 0;
}

int scenario_load(struct scenario *s, const char *file, char *err, size_t n)
{
	FILE *f = fopen(file, "r");
	char buf[1024];
	unsigned no = 0;
	int rc = 0;

	*s = (struct scenario){.file = strdup(file)};
	if (!f) {
		snprintf(err, n, "%s: %s", file, strerror(errno));
		return -errno;
	}
	while (rc == 0 && fgets(buf, sizeof(buf), f)) {
		no++;
		if (!strchr(buf, '\n') && !feof(f)) {
			snprintf(err, n, "%s:%u: a line of more than %zu bytes", file, no, sizeof(buf) - 2);
			rc = -EINVAL;
			break;
		}
		rc = take_line(s, trim(buf), no, err, n);
	}
	fclose(f);
	return rc;
}

void scenario_free(struct scenario *s)
{
	for (unsigned i = 0; i < s->n_common; i++)
		free(s->common[i].text);
	for (unsigned i = 0; i < s->n_row; i++) {
		free(s->row[i].name);
		free(s->row[i].line.text);
	}
	free(s->title);
	free(s->file);
}
