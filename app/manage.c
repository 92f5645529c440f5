/* SPDX-License-Identifier: MIT */
#include "manage.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <rte_telemetry.h>
#include <rte_version.h>

#include "app.h"
#include "reload.h"

#define ROWS	 48  /* of an answer, which may have 16 KiB */
#define CELL_MAX 120 /* bytes of a text in it: DPDK has 128 */

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

static int do_job(struct app *a, bool compare, const char *path, struct rte_tel_data *d)
{
	struct reload_job *job = reload_job_new(compare, path);
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

static int on_command(const char *name, const char *params, struct rte_tel_data *d)
{
	bool compare = !strcmp(name, "/kcpgate/compare");
	struct app *a = enter();

	rte_tel_data_start_dict(d);
	if (!a)
		return sorry(d, "the gateway ends");
	if (!compare && params && *params)
		sorry(d, "found a parameter; allowed: none, for the gateway reads its own file again");
	else
		do_job(a, compare, params && *params ? params : NULL, d);
	leave();
	return 0;
}

int manage_start(struct app *a)
{
	static const char *const commands[][2] = {
		{"/kcpgate/reload", "Reads the configuration again and takes over what can be. No parameters"},
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
