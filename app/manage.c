/* SPDX-License-Identifier: MIT */
#include "manage.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_telemetry.h>
#include <rte_version.h>

#include "app.h"
#include "reload.h"

#define DEADLINE_MAX 4294967 /* s; in ms it fits 32 bits */
#define TUNNELS	     100     /* of an answer about draining: those that are drained first of all */
#define ROWS	     48	     /* of an answer, which may have 16 KiB */
#define CELL_MAX     120     /* bytes of a text in it: DPDK has 128 */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t left;
	struct app *app;
	unsigned users; /* being answered */
} manage = {.lock = PTHREAD_MUTEX_INITIALIZER, .left = PTHREAD_COND_INITIALIZER};

static struct app *enter(void)
{
	struct app *a;

	pthread_mutex_lock(&manage.lock);
	a = manage.app;
	manage.users += a != NULL;
	pthread_mutex_unlock(&manage.lock);
	return a;
}

static void leave(void)
{
	pthread_mutex_lock(&manage.lock);
	manage.users--;
	pthread_cond_broadcast(&manage.left);
	pthread_mutex_unlock(&manage.lock);
}

/* ---- answers ---- */

static void add_u64(struct rte_tel_data *d, const char *name, uint64_t v)
{
#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
	rte_tel_data_add_dict_uint(d, name, v);
#else
	rte_tel_data_add_dict_u64(d, name, v);
#endif
}

static void add_text(struct rte_tel_data *d, const char *name, const char *text)
{
	char cut[CELL_MAX + 1];

	snprintf(cut, sizeof(cut), "%.*s", CELL_MAX, text ? text : "");
	rte_tel_data_add_dict_string(d, name, cut);
}

/* A text of any length, in pieces: error, error_2, error_3 ... */
static int sorry(struct rte_tel_data *d, const char *why)
{
	char name[24] = "error";

	for (unsigned i = 1; *why; i++) {
		size_t n = strnlen(why, CELL_MAX);

		if (i > 1)
			snprintf(name, sizeof(name), "error_%u", i);
		add_text(d, name, why);
		why += n;
	}
	return 0;
}

static void add_change(struct rte_tel_data *d, unsigned i, const struct conf_change *c)
{
	static const char *const what[] = {"changed", "added", "removed"};	/* enum conf_what */
	static const char *const how[] = {"none", "at once", "new", "restart"}; /* enum conf_how */
	struct rte_tel_data *row = rte_tel_data_alloc();
	char name[16];

	if (!row)
		return;
	snprintf(name, sizeof(name), "%u", i);
	rte_tel_data_start_dict(row);
	add_text(row, "name", c->name);
	add_text(row, "what", what[c->what]);
	add_text(row, "how", how[c->how]);
	if (c->from && c->to) {
		add_text(row, "from", c->from);
		add_text(row, "to", c->to);
	}
	if (c->note)
		add_text(row, "note", c->note);
	if (rte_tel_data_add_dict_container(d, name, row, 0))
		rte_tel_data_free(row);
}

static int tell(const struct reload_job *job, struct rte_tel_data *d)
{
	if (job->err)
		return sorry(d, job->why);
	add_u64(d, "changes", job->diff.n);
	add_u64(d, "restart", job->diff.n_restart);
	/* Those that need a restart first, for they are what one has to know. */
	for (unsigned pass = 0, n = 0; pass < 2; pass++)
		for (unsigned i = 0; i < job->diff.n && n < ROWS; i++)
			if ((job->diff.v[i].how == CONF_HOW_RESTART) == (pass == 0))
				add_change(d, n++, &job->diff.v[i]);
	return 0;
}

static int do_job(struct app *a, enum reload_what what, const char *path, struct rte_tel_data *d)
{
	struct reload_job *job = reload_job_new(what, path);
	int err = job ? reload_do(a, job) : -ENOMEM;

	if (err == -ETIMEDOUT)
		return sorry(d, "the file has not been read in a minute, or the gateway ends: its log will tell");
	if (err)
		sorry(d, err == -EBUSY ? "a reload is under way: try again" : strerror(-err));
	else
		tell(job, d);
	reload_job_free(job);
	return 0;
}

/* ---- drain ---- */

static void add_drain(const struct app *a, unsigned i, struct rte_tel_data *d)
{
	struct rte_tel_data *row = rte_tel_data_alloc();
	unsigned sessions = app_drain_sessions(a, i), streams = chan_streams(&a->chans, i);

	if (!row)
		return;
	rte_tel_data_start_dict(row);
	add_text(row, "state", !app_draining(a, i) ? "serving" : sessions || streams ? "draining" : "drained");
	add_u64(row, "sessions", sessions);
	add_u64(row, "streams", streams);
	if (rte_tel_data_add_dict_container(d, a->conf->tunnels[i].name, row, 0))
		rte_tel_data_free(row);
}

static int tunnel_of(const struct app *a, const char *name, size_t n)
{
	for (unsigned i = 0; i < a->conf->n_tunnels; i++)
		if (strlen(a->conf->tunnels[i].name) == n && !memcmp(a->conf->tunnels[i].name, name, n))
			return (int)i;
	return -1;
}

/* "NAME[,SECONDS]", NAME "*" for all; false, and why. */
static bool drain_parse(const struct app *a, const char *params, struct reload_job *job, struct rte_tel_data *d)
{
	size_t n = strcspn(params, ",");
	char *end;

	job->tunnel = n == 1 && params[0] == '*' ? -1 : tunnel_of(a, params, n);
	if (job->tunnel < 0 && params[0] != '*') {
		sorry(d, "found a name that no tunnel has; allowed: TUNNEL[,SECONDS], TUNNEL * for all");
		return false;
	}
	if (!params[n])
		return true;
	job->deadline_s = (unsigned)strtoul(params + n + 1, &end, 10);
	if (*end || !isdigit((unsigned char)params[n + 1]) || !job->deadline_s || job->deadline_s > DEADLINE_MAX) {
		sorry(d, "found a wrong time; allowed: 1 to 4294967 seconds");
		return false;
	}
	return true;
}

/* Without parameters: how it stands. */
static void do_drain(struct app *a, const char *params, struct rte_tel_data *d)
{
	struct reload_job *job = reload_job_new(RELOAD_DRAIN, NULL);
	unsigned n = 0;
	int err = 0;

	if (job && params && *params && !drain_parse(a, params, job, d)) {
		reload_job_free(job);
		return;
	}
	if (job && params && *params)
		err = reload_do(a, job);
	if (!job || err || job->err) {
		sorry(d, err == -EBUSY ? "a reload is under way: try again" : "the gateway ends, or has no memory");
		if (err != -ETIMEDOUT)
			reload_job_free(job);
		return;
	}
	reload_job_free(job);
	for (unsigned i = 0; i < a->conf->n_tunnels && n < TUNNELS; i++)
		if (app_draining(a, i) || n + (a->conf->n_tunnels - i) < TUNNELS) {
			add_drain(a, i, d);
			n++;
		}
}

static void answer(struct app *a, const char *name, const char *params, struct rte_tel_data *d)
{
	if (!strcmp(name, "/kcpgate/drain"))
		do_drain(a, params, d);
	else if (!strcmp(name, "/kcpgate/compare"))
		do_job(a, RELOAD_COMPARE, params && *params ? params : NULL, d);
	else if (params && *params)
		sorry(d, "found a parameter; allowed: none, for the gateway reads its own file again");
	else
		do_job(a, RELOAD_APPLY, NULL, d);
}

static int on_command(const char *name, const char *params, struct rte_tel_data *d)
{
	struct app *a = enter();

	rte_tel_data_start_dict(d);
	if (!a)
		return sorry(d, "the gateway ends");
	answer(a, name, params, d);
	leave();
	return 0;
}

int manage_start(struct app *a)
{
	static const char *const commands[][2] = {
		{"/kcpgate/reload", "Reads the configuration again and takes over what can be. No parameters"},
		{"/kcpgate/drain", "Has a tunnel take nothing new. Parameters: [TUNNEL|*[,SECONDS]]"},
		{"/kcpgate/compare", "What a reload would do. Parameters: [PATH]"},
	};

	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		int ret = rte_telemetry_register_cmd(commands[i][0], on_command, commands[i][1]);

		if (ret && ret != -EEXIST)
			return app_fail(a, ret, "telemetry");
	}
	pthread_mutex_lock(&manage.lock);
	manage.app = a;
	pthread_mutex_unlock(&manage.lock);
	return 0;
}

void manage_stop(void)
{
	pthread_mutex_lock(&manage.lock);
	manage.app = NULL;
	while (manage.users)
		pthread_cond_wait(&manage.left, &manage.lock);
	pthread_mutex_unlock(&manage.lock);
}
