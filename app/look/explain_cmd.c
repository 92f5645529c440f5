/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "explain.h"

/* Looks for a second at the sessions that matter, and has the rules say what there is to say. */

#define SESSIONS_MAX 8 /* the busiest: more sentences than that nobody reads */
#define LOOKS	     10
#define LOOK_MS	     100
#define BOUNDS_MAX   12

struct seen {
	char id[24];
	json_t *first, *last;
	uint64_t at[2]; /* us: when those were */
	const char *bound[BOUNDS_MAX];
	unsigned times[BOUNDS_MAX], looks;
};

struct watch {
	struct look *l;
	struct seen seen[SESSIONS_MAX];
	unsigned n, all; /* all: sessions that there are */
	json_t *tunnels, *conf, *limits, *ports;
	json_t *drops[2], *workers[2];
};

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void pause_ms(unsigned ms)
{
	const struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	nanosleep(&ts, NULL);
}

static bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

/* ---- which sessions ---- */

static uint64_t bytes(const json_t *row)
{
	return look_u64(row, "bytes_in") + look_u64(row, "bytes_out");
}

/* What moved between two looks; of those that are as busy, what waits to be sent. */
static uint64_t weight(const json_t *before, const json_t *row)
{
	uint64_t past = before ? bytes(before) : 0, n = bytes(row);

	return (n > past ? n - past : 0) * 1000 + look_u64(row, "snd_buf") + look_u64(row, "snd_queue");
}

static void choose(struct watch *w, json_t *before, json_t *after)
{
	uint64_t heavy[SESSIONS_MAX] = {0};
	const char *id;
	json_t *row;

	json_object_foreach(after, id, row)
	{
		uint64_t much = weight(json_object_get(before, id), row);
		unsigned at = w->n;

		w->all++;
		for (; at && heavy[at - 1] < much; at--)
			if (at < SESSIONS_MAX) {
				heavy[at] = heavy[at - 1];
				w->seen[at] = w->seen[at - 1];
			}
		if (at == SESSIONS_MAX)
			continue;
		heavy[at] = much;
		snprintf(w->seen[at].id, sizeof(w->seen[at].id), "%s", id);
		w->n += w->n < SESSIONS_MAX;
	}
}

static int find(struct watch *w, const char *of)
{
	json_t *before, *after = NULL;

	if (of && is_number(of)) {
		snprintf(w->seen[0].id, sizeof(w->seen[0].id), "%.23s", of);
		w->n = w->all = 1;
		return 0;
	}
	before = look_all(w->l, "/kcpgate/sessions", of);
	if (before) {
		pause_ms(2 * LOOK_MS);
		after = look_all(w->l, "/kcpgate/sessions", of);
	}
	if (after)
		choose(w, before, after);
	json_decref(before);
	json_decref(after);
	return after ? 0 : -EPROTO;
}

/* ---- looking ---- */

static void count(struct seen *s, const char *bound)
{
	unsigned i = 0;

	s->looks++;
	while (i < BOUNDS_MAX && s->bound[i] && strcmp(s->bound[i], bound) != 0)
		i++;
	if (i == BOUNDS_MAX)
		return;
	if (!s->bound[i])
		s->bound[i] = strdup(bound);
	s->times[i]++;
}

/* One that has ended meanwhile stays as it was seen last. */
static int look_at(struct watch *w, struct seen *s)
{
	json_t *row = look_get(w->l, "/kcpgate/session", s->id);

	if (!row)
		return s->last ? 0 : -ENOENT;
	s->at[1] = now_us();
	if (!s->first) {
		s->first = json_incref(row);
		s->at[0] = s->at[1];
	} else {
		count(s, look_str(row, "limited_by"));
	}
	json_decref(s->last);
	s->last = row;
	return 0;
}

static void shared(struct watch *w, unsigned i)
{
	w->drops[i] = look_get(w->l, "/kcpgate/drops", NULL);
	w->workers[i] = look_all(w->l, "/kcpgate/workers", NULL);
}

static int watch(struct watch *w)
{
	shared(w, 0);
	for (unsigned k = 0; k <= LOOKS; k++) {
		for (unsigned i = 0; i < w->n; i++)
			if (look_at(w, &w->seen[i]) && w->all == 1)
				return -ENOENT; /* the one that was asked for */
		if (k < LOOKS)
			pause_ms(LOOK_MS);
	}
	shared(w, 1);
	w->tunnels = look_all(w->l, "/kcpgate/tunnels", NULL);
	w->conf = look_all(w->l, "/kcpgate/config", NULL);
	w->limits = look_get(w->l, "/kcpgate/limits", NULL);
	w->ports = look_get(w->l, "/kcpgate/ports", NULL);
	return w->tunnels && w->conf && w->drops[1] && w->workers[1] ? 0 : -EPROTO;
}

/* ---- what was seen, for the rules ---- */

static double growth(const struct seen *s, const char *name)
{
	uint64_t before = look_u64(s->first, name), after = look_u64(s->last, name);

	return after > before ? (double)(after - before) : 0;
}

static double per_second(const struct seen *s, const char *name)
{
	double us = (double)(s->at[1] - s->at[0]);

	return us > 0 ? growth(s, name) * 8e6 / us : 0;
}

static double busy(const struct watch *w, const json_t *row)
{
	char id[24];
	const json_t *a, *b;
	double all;

	snprintf(id, sizeof(id), "%" PRIu64, look_u64(row, "worker"));
	a = json_object_get(w->workers[0], id);
	b = json_object_get(w->workers[1], id);
	all = (double)(look_u64(b, "total_cycles") - look_u64(a, "total_cycles"));
	return a && b && all > 0 ? (double)(look_u64(b, "busy_cycles") - look_u64(a, "busy_cycles")) / all : -1;
}

static const json_t *tunnel_of(json_t *all, const char *name)
{
	const char *key;
	json_t *v;

	json_object_foreach(all, key, v)
	{
		const char *section = look_str(v, "section");

		if (!strcmp(look_str(v, "name"), name) && (!*section || !strcmp(section, "tunnels")))
			return v;
	}
	return NULL;
}

static struct explain_session as_seen(const struct watch *w, const struct seen *s)
{
	double segments = growth(s, "segs_out"), again = growth(s, "retrans");
	struct explain_session e = {
		.row = s->last,
		.conf = tunnel_of(w->conf, look_str(s->last, "tunnel")),
		.bound = look_str(s->last, "limited_by"),
		.looks = s->looks,
		.out_bps = per_second(s, "bytes_out"),
		.in_bps = per_second(s, "bytes_in"),
		.lost = segments + again > 0 ? again / (segments + again) : -1,
		.busy = busy(w, s->last),
	};

	for (unsigned i = 0; i < BOUNDS_MAX && s->bound[i]; i++)
		if (s->times[i] > e.bound_looks) {
			e.bound_looks = s->times[i];
			e.bound = s->bound[i];
		}
	return e;
}

/* ---- printing ---- */

static const char *side_name(enum explain_side side)
{
	static const char *const names[] = {"nobody", "here", "peer", "around"};

	return names[side];
}

static void print_words(const struct explain_words *words, const char *lead, FILE *f)
{
	for (unsigned i = 0; i < words->n; i++) {
		const struct explain_word *w = &words->word[i];

		fprintf(f, "  %s%s\n", w->bounds ? lead : "also: ", w->what);
		if (w->advice[0])
			fprintf(f, "      -> %s\n", w->advice);
	}
}

static json_t *json_words(const struct explain_words *words)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < words->n; i++) {
		const struct explain_word *w = &words->word[i];

		json_array_append_new(all, json_pack("{s:b,s:s,s:s,s:s}", "bounds", w->bounds, "what", w->what, "side",
						     side_name(w->side), "advice", w->advice));
	}
	return all;
}

static void print_session(const struct seen *s, const struct explain_session *e, const struct explain_words *words,
			  FILE *f)
{
	char out[LOOK_NUM], in[LOOK_NUM], age[LOOK_NUM], lead[80];
	const char *is = look_str(e->row, "peer_is");

	fprintf(f, "session %s of tunnel %s with %s (%s), for %s: %s out, %s in\n", s->id, look_str(e->row, "tunnel"),
		look_str(e->row, "peer"), !strcmp(is, "stock") ? "stock: kcptun, mihomo, gost" : is,
		look_span(look_u64(e->row, "age_ms"), age), look_rate(e->out_bps, out), look_rate(e->in_bps, in));
	snprintf(lead, sizeof(lead), "limits what is sent (%u of %u looks): ", e->bound_looks, e->looks);
	print_words(words, lead, f);
}

static json_t *json_session(const struct seen *s, const struct explain_session *e, const struct explain_words *words)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:f,s:f,s:o}", "session", s->id, "tunnel",
			 look_str(e->row, "tunnel"), "peer", look_str(e->row, "peer"), "peer_is",
			 look_str(e->row, "peer_is"), "limited_by", e->bound, "limited_looks", (int)e->bound_looks,
			 "looks", (int)e->looks, "out_bps", e->out_bps, "in_bps", e->in_bps, "words",
			 json_words(words));
}

static void tell_tunnels(const struct watch *w, const char *of, json_t *all, FILE *f)
{
	struct explain_words words;
	const char *key;
	json_t *v;

	json_object_foreach(w->tunnels, key, v)
	{
		const char *name = look_str(v, "name");

		if (of && strcmp(of, name) != 0 &&
		    !(is_number(of) && w->n && w->seen[0].last && !strcmp(name, look_str(w->seen[0].last, "tunnel"))))
			continue;
		explain_tunnel(v, &words);
		if (all)
			json_object_set_new(all, name, json_words(&words));
		else if (words.n)
			fprintf(f, "tunnel %s\n", name);
		if (!all)
			print_words(&words, "", f);
	}
}

static void tell_sessions(const struct watch *w, json_t *all, FILE *f)
{
	struct explain_words words;

	for (unsigned i = 0; i < w->n; i++) {
		const struct seen *s = &w->seen[i];
		struct explain_session e;

		if (!s->last)
			continue;
		e = as_seen(w, s);
		explain_session(&e, &words);
		if (all)
			json_array_append_new(all, json_session(s, &e, &words));
		else
			print_session(s, &e, &words, f);
	}
	if (!all && w->all > w->n)
		fprintf(f, "(%u more sessions, less busy: kcpgate explain SESSION)\n", w->all - w->n);
}

static void tell(const struct watch *w, const char *of, bool json, FILE *f)
{
	const struct explain_gateway g = {w->drops[0], w->drops[1], w->limits, w->ports};
	json_t *sessions = json ? json_array() : NULL, *tunnels = json ? json_object() : NULL, *all;
	struct explain_words words;

	tell_sessions(w, sessions, f);
	tell_tunnels(w, of, tunnels, f);
	explain_gateway(&g, &words);
	if (!json) {
		if (words.n)
			fputs("gateway\n", f);
		print_words(&words, "", f);
		return;
	}
	all = json_pack("{s:o,s:o,s:o}", "sessions", sessions, "tunnels", tunnels, "gateway", json_words(&words));
	json_dumpf(all, f, JSON_INDENT(2));
	fputc('\n', f);
	json_decref(all);
}

static void forget(struct watch *w)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		json_decref(w->seen[i].first);
		json_decref(w->seen[i].last);
		for (unsigned k = 0; k < BOUNDS_MAX; k++)
			free((char *)w->seen[i].bound[k]);
	}
	for (unsigned i = 0; i < 2; i++) {
		json_decref(w->drops[i]);
		json_decref(w->workers[i]);
	}
	json_decref(w->tunnels);
	json_decref(w->conf);
	json_decref(w->limits);
	json_decref(w->ports);
}

int look_explain(struct look *l, const char *of, bool json, FILE *f)
{
	struct watch w = {.l = l};
	int ret = find(&w, of);

	if (!ret)
		ret = watch(&w);
	if (!ret)
		tell(&w, of, json, f);
	forget(&w);
	return ret;
}
