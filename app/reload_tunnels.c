/* SPDX-License-Identifier: MIT */

/* Tunnels that come and go with a reload: what added.c makes of them, step by step, in the threads that it is for. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "reload_int.h"

struct open {
	char *why;
	size_t why_n;
};

static int step_tell(struct app *a, void *ctx)
{
	(void)ctx;
	return app_add_tell(a);
}

static int step_open(struct app *a, void *ctx)
{
	struct open *o = ctx;

	return ctl_tunnel_open(a->ctl, a->conf->n_tunnels, o->why, o->why_n);
}

static int step_remove(struct app *a, void *ctx)
{
	app_remove(a, *(unsigned *)ctx);
	return 0;
}

static int wait_told(struct reload *r)
{
	int ret = 0;

	for (unsigned i = 0; i < RELOAD_GRACE_MS; i++) {
		if (app_add_told(r->a, &ret))
			return ret;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

/* Others of the file listen there, too. */
static bool in_ring(const struct conf *c, unsigned i)
{
	for (unsigned k = 0; k < c->n_tunnels; k++)
		if (k != i && c->tunnels[k].role == CONF_SERVER && c->tunnels[k].ring == c->tunnels[i].ring)
			return c->tunnels[i].role == CONF_SERVER;
	return false;
}

static int add_one(struct reload *r, struct conf_tunnel *t, bool beside, char *why, size_t why_n)
{
	struct open o = {why, why_n};
	int ret = app_add_make(r->a, t, beside, why, why_n);

	if (ret)
		return ret;
	ret = reload_on_control(r, step_tell, NULL);
	if (ret == 0)
		ret = wait_told(r);
	if (ret)
		snprintf(why, why_n, "%s", strerror(-ret));
	else
		ret = reload_on_control(r, step_open, &o);
	if (ret == -ETIMEDOUT || ret == -ESHUTDOWN)
		return ret; /* who knows who has it */
	if (ret)
		app_add_undo(r->a, t);
	else
		app_add_done(r->a);
	return ret;
}

/* Another one may have its name: this one's has the mark. */
static void rename_removed(void *ctx)
{
	struct conf_tunnel *t = ctx;

	memmove(t->name + 1, t->name, sizeof(t->name) - 2);
	t->name[0] = CONF_REMOVED_MARK;
	t->name[sizeof(t->name) - 1] = '\0';
}

void reload_remove(struct reload *r, struct reload_job *job)
{
	for (unsigned i = 0; i < job->diff.n; i++) {
		const struct conf_change *c = &job->diff.v[i];
		unsigned t = (unsigned)c->tunnel;

		if (c->what == CONF_REMOVED && c->tunnel >= 0 && reload_on_control(r, step_remove, &t) == 0)
			tlm_change(rename_removed, &((struct conf *)r->a->conf)->tunnels[t]);
	}
}

void reload_add(struct reload *r, struct reload_job *job)
{
	char why[256] = "";

	for (unsigned i = 0; i < job->diff.n; i++) {
		struct conf_change *c = &job->diff.v[i];

		if (c->what != CONF_ADDED || c->added < 0 || c->how == CONF_HOW_RESTART)
			continue;
		if (add_one(r, &job->want->tunnels[c->added], in_ring(job->want, (unsigned)c->added), why, sizeof(why)))
			conf_diff_bar(&job->diff, c, why);
	}
}
