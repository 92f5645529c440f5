/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "drop.h"
#include "status.h"

/* What the page is told, read by jansson; the look at tunnels and sessions is played. */

#define TUNNELS 12
#define ROWS	1000

static struct conf_tunnel tunnels[TUNNELS];
static struct conf conf = {.tunnels = tunnels, .n_tunnels = TUNNELS};
static struct shard *shards[1];
static struct tlm_src src = {.conf = &conf, .n_workers = 1, .shards = shards};
static struct glance_point points[TUNNELS][GLANCE_POINTS];
static struct glance_tunnel looked[TUNNELS];
static struct glance_row rows[ROWS];
static struct shard_stats stats;
static uint64_t seconds;
static unsigned n_rows, missing;
static json_t *root;

uint64_t glance_seconds(const struct glance *l)
{
	return seconds;
}

const struct glance_point *glance_point(const struct glance *l, unsigned tunnel, uint64_t second)
{
	return &points[tunnel][second % GLANCE_POINTS];
}

const struct glance_tunnel *glance_tunnel(const struct glance *l, unsigned tunnel)
{
	return &looked[tunnel];
}

bool glance_holds(const struct glance *l, unsigned tunnel)
{
	return looked[tunnel].n > 0;
}

float glance_load(const struct glance *l, unsigned worker)
{
	return 0.25f;
}

const struct glance_row *glance_table_next(const struct glance *l, unsigned *at)
{
	return *at < n_rows ? &rows[(*at)++] : NULL;
}

unsigned glance_table_missing(const struct glance *l)
{
	return missing;
}

struct shard_stats *shard_stats(struct shard *s)
{
	return &stats;
}

uint64_t tlm_drops(const struct tlm_src *of, unsigned verdict)
{
	return verdict == DROP_STRAY ? 5 : 0;
}

static void ask(struct status_ask a)
{
	json_error_t e;
	struct om o;

	om_begin(&o, false);
	status_put(&o, &src, NULL, 1000.5, &a);
	cr_assert_not(o.failed);
	root = json_loadb(o.buf, o.n, JSON_REJECT_DUPLICATES, &e);
	cr_assert_not_null(root, "%s at %d: %.80s", e.text, e.position,
			   o.buf + (e.position > 40 ? e.position - 40 : 0));
	free(o.buf);
}

static json_t *get(const char *name)
{
	json_t *v = json_object_get(root, name);

	cr_assert_not_null(v, "no %s", name);
	return v;
}

static json_int_t whole(const char *name)
{
	return json_integer_value(get(name));
}

static void up(void)
{
	for (unsigned t = 0; t < TUNNELS; t++)
		snprintf(tunnels[t].name, sizeof(tunnels[t].name), "t%u", t);
	strcpy(tunnels[1].crypt, "a\"b\\c");
	stats.sessions = 7;
}

static void down(void)
{
	json_decref(root);
}

TestSuite(metrics_status, .init = up, .fini = down);

/* Before the first second, without a session. */
Test(metrics_status, nothing_yet)
{
	ask((struct status_ask){.tunnel = -1});
	cr_expect_eq(whole("second"), 0);
	cr_expect_eq(json_array_size(get("tunnels")), TUNNELS);
	cr_expect_eq(json_array_size(get("sessions")), 0);
	cr_expect_eq(json_object_size(get("history")), STATUS_LINES);
	cr_expect_str_eq(json_string_value(json_object_get(json_array_get(get("tunnels"), 1), "crypt")), "a\"b\\c");
	cr_expect_eq(json_array_size(get("drops")), 1);
	cr_expect_str_eq(json_string_value(json_object_get(json_array_get(get("drops"), 0), "reason")), "stray");
}

static json_t *series(const char *tunnel, const char *name)
{
	return json_object_get(json_object_get(get("history"), tunnel), name);
}

Test(metrics_status, the_busiest_tunnels)
{
	seconds = 100;
	for (unsigned t = 0; t < TUNNELS; t++)
		for (unsigned s = 1; s <= 100; s++)
			points[t][s] = (struct glance_point){.out = (float)((t * 7) % TUNNELS), .rtt = t ? 0.5f : NAN};
	ask((struct status_ask){.tunnel = -1});
	cr_expect_eq(whole("from"), 1);
	cr_expect_eq(json_object_size(get("history")), STATUS_LINES);
	for (unsigned t = 0; t < TUNNELS; t++) {
		char name[8];

		snprintf(name, sizeof(name), "%u", t);
		cr_expect_eq(series(name, "out") != NULL, (t * 7) % TUNNELS >= TUNNELS - STATUS_LINES, "%u", t);
	}
	json_decref(root);
	ask((struct status_ask){.tunnel = 0, .since = 98});
	cr_expect_eq(json_object_size(get("history")), 1);
	cr_expect_eq(whole("from"), 99);
	cr_expect_eq(json_array_size(series("0", "out")), 2);
	cr_expect(json_is_null(json_array_get(series("0", "rtt"), 1)), "not known");
}

/* What is older than what is kept, and what is yet to come. */
Test(metrics_status, since)
{
	seconds = 1000;
	ask((struct status_ask){.tunnel = 3, .since = 5});
	cr_expect_eq(whole("from"), 1000 - GLANCE_POINTS + 1);
	cr_expect_eq(json_array_size(series("3", "in")), GLANCE_POINTS);
	json_decref(root);
	ask((struct status_ask){.tunnel = 3, .since = 1000});
	cr_expect_eq(json_array_size(series("3", "in")), 0);
	json_decref(root);
	ask((struct status_ask){.tunnel = 3, .since = UINT64_MAX / 2});
	cr_expect_eq(json_array_size(series("3", "in")), 0);
}

static void fill(void)
{
	for (n_rows = 0; n_rows < ROWS; n_rows++)
		rows[n_rows] = (struct glance_row){.id = UINT64_MAX - n_rows,
						   .in = (float)((n_rows * 37) % ROWS),
						   .rtt = n_rows % 2 ? NAN : (float)n_rows,
						   .tunnel = (uint16_t)(n_rows % 4),
						   .by = "CPU"};
}

Test(metrics_status, the_first_sessions)
{
	struct status_ask a = {.tunnel = -1};

	fill();
	missing = 11;
	ask(a);
	cr_expect(whole("followed") == ROWS && whole("not_followed") == 11);
	cr_assert_eq(json_array_size(get("sessions")), STATUS_ROWS);
	for (unsigned i = 0; i < STATUS_ROWS; i++)
		cr_expect_eq((unsigned)json_number_value(json_object_get(json_array_get(get("sessions"), i), "in")),
			     ROWS - 1 - i);
	cr_expect_str_eq(json_string_value(json_object_get(json_array_get(get("sessions"), 0), "id")) + 17, "588",
			 "all of 64 bits");
	json_decref(root);
	cr_assert(status_sort("rtt", &a));
	a.tunnel = 2;
	ask(a);
	cr_expect_eq(json_number_value(json_object_get(json_array_get(get("sessions"), 0), "rtt")), 998);
	cr_expect_eq(json_integer_value(json_object_get(json_array_get(get("sessions"), 199), "tunnel")), 2);
	json_decref(root);
	a.tunnel = 3;
	ask(a);
	cr_expect(json_is_null(json_object_get(json_array_get(get("sessions"), 0), "rtt")));
}

Test(metrics_status, words_to_sort_by)
{
	static const char *const wrong[] = {"", "IN", "peer", "in,", "age "};
	struct status_ask a = {.sort = 3};
	char text[] = STATUS_SORTS, *rest = text, *word;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_expect(!status_sort(wrong[i], &a) && a.sort == 3, "%s", wrong[i]);
	while ((word = strsep(&rest, ", ")))
		cr_expect(!*word || status_sort(word, &a), "%s", word);
	ask(a);
}
