/* SPDX-License-Identifier: MIT */

/*
 * A tunnel that comes while it runs takes the next blank place, of which all that is counted by tunnels has some
 * (limits.spare_tunnels).  It has no part of its own in memory, dials and descriptors before the next start, and takes
 * from what is nobody's.  One that goes is drained, and its place stays empty.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app.h"
#include "log.h"

static bool any_tcp(const struct conf *c)
{
	for (unsigned i = 0; i < c->n_tunnels; i++)
		if (c->tunnels[i].tcp)
			return true;
	return false;
}

/* A name is looked up where one may wait for it: at the start. */
static bool listens_on_name(const struct conf_tunnel *t)
{
	const char *host = t->listen.host, *zone;
	struct addr a;

	return t->role == CONF_CLIENT && host && host[0] && addr_parse_zone(host, &a, &zone) != 0;
}

const char *app_add_bars(const struct app *a, const struct conf_tunnel *t, unsigned before)
{
	if (a->conf->n_tunnels + before >= a->conf->tunnels_room)
		return "limits.spare_tunnels are used up";
	if (t->conn + a->slots_added > APP_SPARE_SLOTS)
		return "it has more sessions (conn) than there is room for";
	if (t->tcp && !any_tcp(a->conf))
		return "it is the first with tcp, which ports are set up for";
	if (listens_on_name(t))
		return "its listen is a name, which is looked up at the start";
	return NULL;
}

struct move {
	struct conf_tunnel *to, *from;
};

static void move(void *ctx)
{
	struct move *m = ctx;

	*m->to = *m->from;
	memset(m->from, 0, sizeof(*m->from));
}

static int shards_add(struct app *a, unsigned i)
{
	int ret = 0;

	for (unsigned w = 0; w < a->plan.workers && ret == 0; w++)
		ret = shard_tunnel_add(a->shards[w], i);
	return ret;
}

static int make(struct app *a, unsigned i)
{
	int ret = app_tunnel_make(a, i);

	if (ret == 0 && a->conf->tunnels[i].ring != i)
		a->tunnels[i].local = a->tunnels[a->conf->tunnels[i].ring].local;
	if (ret == 0)
		ret = app_fresh_add(a, i);
	if (ret == 0)
		ret = shards_add(a, i);
	return ret;
}

static void unmake(struct app *a, unsigned i, struct conf_tunnel *t)
{
	struct conf_tunnel *mine = &((struct conf *)a->conf)->tunnels[i];
	struct move m = {t, mine};

	app_fresh_drop(a, i);
	app_tunnel_unmake(a, i);
	tlm_change(move, &m);
}

int app_add_make(struct app *a, struct conf_tunnel *t, bool beside, char *why, size_t why_n)
{
	unsigned i = a->conf->n_tunnels;
	struct conf_tunnel *mine = &((struct conf *)a->conf)->tunnels[i];
	struct move m = {mine, t};
	int ret;

	t->ring = beside ? app_circle_of(a, t) : i;
	tlm_change(move, &m);
	a->why[0] = '\0';
	ret = make(a, i);
	if (ret) {
		snprintf(why, why_n, "%s",
			 ret == -ERANGE ? "parityshard is more than any tunnel had at the start"
			 : a->why[0]	? a->why
					: strerror(-ret));
		unmake(a, i, t);
	}
	a->why[0] = '\0';
	return ret;
}

int app_add_tell(struct app *a)
{
	unsigned i = a->conf->n_tunnels;
	struct ctl_tunnel t = app_ctl_tunnel(a, i, &a->conf->tunnels[i]);
	int ret = ctl_tunnel_change(a->ctl, i, &t);

	for (unsigned w = 0; w < a->plan.workers && ret == 0; w++)
		worker_attach(a->workers[w], a->crypts[i]);
	ctl_epoch(a->ctl);
	return ret;
}

bool app_add_told(const struct app *a, int *ret)
{
	*ret = 0;
	for (unsigned w = 0; w < a->plan.workers; w++) {
		int one;

		if (!worker_attached(a->workers[w], &one))
			return false;
		*ret = one ? one : *ret;
	}
	return ctl_followed(a->ctl);
}

static void count(void *ctx)
{
	((struct conf *)((struct app *)ctx)->conf)->n_tunnels++;
}

void app_add_done(struct app *a)
{
	a->slots_added += a->conf->tunnels[a->conf->n_tunnels].conn;
	app_circle_join(a, a->conf->n_tunnels);
	tlm_change(count, a);
}

void app_add_undo(struct app *a, struct conf_tunnel *t)
{
	unmake(a, a->conf->n_tunnels, t);
}

void app_remove(struct app *a, unsigned i)
{
	a->removed[i] = true;
	app_circle_leave(a, i);
	app_drain(a, (int)i, APP_REMOVE_S);
}
