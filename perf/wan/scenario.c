/* SPDX-License-Identifier: MIT */
#include "scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "words.h"

/* The statement at work, and what they have said so far. */
struct parse {
	struct words words; /* first */
	struct world_conf *w;
	struct end_conf end[2];	 /* of every flow, by side */
	struct path_conf now[2]; /* as the last change has left it */
};

static int change(struct parse *p)
{
	struct world_conf *w = p->w;
	struct world_change *c = &w->change[w->n_change];
	bool known;
	int rc;

	if (w->n_change == WORLD_CHANGES)
		return words_wrong(&p->words, "more than %d changes", WORLD_CHANGES);
	rc = words_u64(&p->words, "at", words_times, 1e13, &c->at);
	if (rc)
		return rc;
	if (w->n_change && c->at < w->change[w->n_change - 1].at)
		return words_wrong(&p->words, "changes are told in the order of time");
	rc = words_path(&p->words, p->now, &known);
	if (rc == 0 && !known)
		return words_wrong(&p->words, "up, down or both is wanted, not '%s'", words_peek(&p->words));
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
		if (!words_is(&p->words, modes[i].name))
			continue;
		c->nodelay = modes[i].nodelay;
		c->interval = modes[i].interval;
		c->resend = modes[i].resend;
		c->nc = modes[i].nc;
		return 0;
	}
	return words_wrong(&p->words, "mode is normal, fast, fast2 or fast3, not '%s'", words_peek(&p->words));
}

static int fec(struct parse *p, struct end_conf *c)
{
	char junk;

	if (words_is(&p->words, "off")) {
		c->ds = c->ps = 0;
		return 0;
	}
	if (sscanf(words_peek(&p->words), "%u/%u%c", &c->ds, &c->ps, &junk) != 2 || !c->ds || !c->ps ||
	    c->ds + c->ps > 256)
		return words_wrong(&p->words, "fec is off or data/parity, such as 10/3, not '%s'",
				   words_peek(&p->words));
	p->words.at++;
	return 0;
}

static int congestion(struct parse *p, struct end_conf *c)
{
	c->stock = words_is(&p->words, "stock");
	if (!c->stock && !words_is(&p->words, "auto"))
		return words_wrong(&p->words, "congestion is auto or stock, not '%s'", words_peek(&p->words));
	return 0;
}

static int end_word(struct parse *p, struct end_conf *c)
{
	const char *k = p->words.word[p->words.at++];

	if (!strcmp(k, "mode"))
		return mode(p, c);
	if (!strcmp(k, "fec"))
		return fec(p, c);
	if (!strcmp(k, "nodelay"))
		return words_int(&p->words, k, &c->nodelay);
	if (!strcmp(k, "interval"))
		return words_int(&p->words, k, &c->interval);
	if (!strcmp(k, "resend"))
		return words_int(&p->words, k, &c->resend);
	if (!strcmp(k, "nc"))
		return words_int(&p->words, k, &c->nc);
	if (!strcmp(k, "acknodelay"))
		return words_bool(&p->words, k, &c->acknodelay);
	if (!strcmp(k, "mtu"))
		return words_u32(&p->words, k, words_counts, &c->mtu);
	if (!strcmp(k, "sndwnd"))
		return words_u32(&p->words, k, words_counts, &c->sndwnd);
	if (!strcmp(k, "rcvwnd"))
		return words_u32(&p->words, k, words_counts, &c->rcvwnd);
	if (!strcmp(k, "smuxver"))
		return words_u32(&p->words, k, words_counts, &c->smuxver);
	if (!strcmp(k, "smuxbuf"))
		return words_u32(&p->words, k, words_sizes, &c->smuxbuf);
	if (!strcmp(k, "streambuf"))
		return words_u32(&p->words, k, words_sizes, &c->streambuf);
	if (!strcmp(k, "ratelimit"))
		return words_u64(&p->words, k, words_sizes, 1e12, &c->ratelimit);
	if (!strcmp(k, "hello"))
		return words_bool(&p->words, k, &c->hello);
	if (!strcmp(k, "congestion"))
		return congestion(p, c);
	if (!strcmp(k, "bandwidth")) {
		int rc = words_u64(&p->words, k, words_rates, 1e12, &c->bandwidth);

		c->bandwidth /= 8;
		return rc;
	}
	return words_wrong(
		&p->words,
		"an end knows no '%s': mode, fec, nodelay, interval, resend, nc, acknodelay, mtu, sndwnd, rcvwnd, "
		"smuxver, smuxbuf, streambuf, ratelimit, hello, congestion, bandwidth",
		k);
}

static int end_words(struct parse *p, int first, int last)
{
	unsigned from = p->words.at;
	int rc = 0;

	for (int e = first; e <= last && rc == 0; e++)
		for (p->words.at = from; p->words.at < p->words.n && rc == 0;)
			rc = end_word(p, &p->end[e]);
	return rc;
}

/* ---- flows ---- */

static int kind(struct parse *p, enum end_kind *k)
{
	if (words_is(&p->words, "kcpgate"))
		*k = END_KCPGATE;
	else if (words_is(&p->words, "stock"))
		*k = END_STOCK_2021;
	else if (words_is(&p->words, "stock2026"))
		*k = END_STOCK_2026;
	else
		return words_wrong(&p->words, "kcpgate, stock or stock2026 is wanted, not '%s'", words_peek(&p->words));
	return 0;
}

static int wf_word(struct parse *p, struct wf_conf *f, unsigned *times_)
{
	const char *k = p->words.word[p->words.at++];

	if (!strcmp(k, "streams"))
		return words_u32(&p->words, k, words_counts, &f->bulks);
	if (!strcmp(k, "up")) {
		f->up = true;
		return 0;
	}
	if (!strcmp(k, "echo"))
		return words_u64(&p->words, k, words_times, 1e12, &f->echo);
	if (!strcmp(k, "start"))
		return words_u64(&p->words, k, words_times, 1e13, &f->start);
	if (!strcmp(k, "lead"))
		return words_u64(&p->words, k, words_times, 1e13, &f->lead);
	if (!strcmp(k, "delay"))
		return words_u64(&p->words, k, words_times, 1e11, &f->delay);
	if (!strcmp(k, "times"))
		return words_u32(&p->words, k, words_counts, times_);
	return words_wrong(&p->words, "a flow knows no '%s': streams, up, echo, start, lead, delay, times", k);
}

/* "flow CLIENT SERVER ...", or a competitor: "flow cubic ..." */
static int flow(struct parse *p)
{
	struct wf_conf f = {.bulks = 1, .lead = 500 * PATH_MS};
	unsigned many = 1;
	int rc = 0;

	if (words_is(&p->words, "cubic"))
		f.kind[0] = f.kind[1] = END_CUBIC;
	else if (words_is(&p->words, "reno"))
		f.kind[0] = f.kind[1] = END_RENO;
	else
		rc = kind(p, &f.kind[CLIENT]) ?: kind(p, &f.kind[SERVER]);
	while (rc == 0 && p->words.at < p->words.n)
		rc = wf_word(p, &f, &many);
	if (rc)
		return rc;
	if (f.bulks > FLOW_BULKS)
		return words_wrong(&p->words, "more than %d streams", FLOW_BULKS);
	if (!many || p->w->n_flow + many > WORLD_FLOWS)
		return words_wrong(&p->words, "1 to %d flows in all", WORLD_FLOWS);
	for (unsigned i = 0; i < many; i++)
		p->w->flow[p->w->n_flow++] = f;
	return 0;
}

/* ---- statements ---- */

static int statement(struct parse *p)
{
	bool known;
	int rc;

	if (words_is(&p->words, "run"))
		return words_u64(&p->words, "run", words_times, 1e13, &p->w->seconds);
	if (words_is(&p->words, "from"))
		return words_u64(&p->words, "from", words_times, 1e13, &p->w->from);
	if (words_is(&p->words, "flow"))
		return flow(p);
	if (words_is(&p->words, "at"))
		return change(p);
	if (words_is(&p->words, "ends"))
		return end_words(p, CLIENT, SERVER);
	if (words_is(&p->words, "client"))
		return end_words(p, CLIENT, CLIENT);
	if (words_is(&p->words, "server"))
		return end_words(p, SERVER, SERVER);
	rc = words_path(&p->words, p->w->path, &known);
	if (rc || known) {
		if (p->w->n_change)
			return words_wrong(&p->words, "what holds from the beginning is told before any change");
		memcpy(p->now, p->w->path, sizeof(p->now));
		return rc;
	}
	return words_wrong(
		&p->words,
		"no statement begins with '%s': run, from, both, up, down, at, flow, ends, client, server, row",
		words_peek(&p->words));
}

/* Several statements, between semicolons. */
static int line_parse(struct parse *p, const struct scenario_line *l)
{
	char *text = strdup(l->text), *rest = text, *one;
	int rc = text ? 0 : -ENOMEM;

	p->words.no = l->no;
	while (rc == 0 && (one = strsep(&rest, ";"))) {
		rc = words_cut(&p->words, one);
		if (rc == 0 && p->words.n)
			rc = statement(p);
		if (rc == 0 && p->words.at < p->words.n)
			rc = words_wrong(&p->words, "what is '%s' here?", words_peek(&p->words));
	}
	free(text);
	return rc;
}

/* What was left out: kcptun's own defaults, or the most that kcpgate's automatic windows may have. */
static void fill_windows(struct end_conf *c, int side)
{
	bool automatic = c->kind == END_KCPGATE && !c->stock;

	if (!c->sndwnd)
		c->sndwnd = automatic ? 65535 : side == SERVER ? 1024 : 128;
	if (!c->rcvwnd)
		c->rcvwnd = automatic ? 65535 : side == SERVER ? 1024 : 512;
}

static int check_end(struct parse *p, const struct end_conf *c)
{
	if (c->sndwnd > 65535 || c->rcvwnd > 65535)
		return words_wrong(&p->words, "windows are 1 to 65535");
	if (c->mtu < 100 || c->mtu > 1500)
		return words_wrong(&p->words, "mtu is 100 to 1500");
	if (c->smuxver < 1 || c->smuxver > 2)
		return words_wrong(&p->words, "smuxver is 1 or 2");
	if (c->interval < 10 || c->interval > 5000)
		return words_wrong(&p->words, "interval is 10 to 5000");
	return 0;
}

static int finish(struct parse *p)
{
	struct world_conf *w = p->w;
	int rc = check_end(p, &p->end[CLIENT]) ?: check_end(p, &p->end[SERVER]);

	if (rc)
		return rc;
	if (!w->n_flow)
		return words_wrong(&p->words, "nothing flows");
	for (unsigned i = 0; i < w->n_flow; i++) {
		struct wf_conf *f = &w->flow[i];

		for (int e = 0; e < 2; e++) {
			f->end[e] = p->end[e];
			f->end[e].kind = f->kind[e];
			fill_windows(&f->end[e], e);
		}
		if (f->kind[CLIENT] != END_KCPGATE && f->kind[SERVER] != END_KCPGATE && f->end[0].ratelimit)
			return words_wrong(&p->words, "ratelimit is kcpgate's alone here");
	}
	return 0;
}

int scenario_world(const struct scenario *s, unsigned row, struct world_conf *out, char *err, size_t n)
{
	struct parse p = {.words = {.file = s->file, .err = err, .err_n = n}, .w = out};
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
