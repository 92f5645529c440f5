/* SPDX-License-Identifier: MIT */
#include "reload_int.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "acl.h"
#include "later.h"
#include "log.h"
#include "notify.h"
#include "manage.h"

#define NICE	  10  /* keys are derived beside control's own work */
#define ANSWER_S  60  /* for a file that hangs */
#define END_S	  2   /* likewise, when the gateway ends */
#define LOOK_MS	  50  /* whether it does */
#define LINES_MAX 200 /* of what has changed, in the log */

/* What a tunnel is to become. */
struct tunnel_change {
	unsigned i;
	const struct conf_tunnel *want;
	struct net_acl *acl, *old;
	bool failed;
};

struct reload_job *reload_job_new(enum reload_what what, const char *path)
{
	struct reload_job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->what = what;
	job->path = path ? strdup(path) : NULL;
	if (!path || job->path)
		return job;
	free(job);
	return NULL;
}

void reload_job_free(struct reload_job *job)
{
	if (!job)
		return;
	conf_diff_free(&job->diff);
	conf_free(job->want);
	free(job->path);
	free(job);
}

/* ---- reading ---- */

static int fail(struct reload_job *job, int err, const char *what)
{
	snprintf(job->why, sizeof(job->why), "%s: %s", what, strerror(-err));
	job->err = err;
	return err;
}

/* Files that root could read at the start this process may not be able to read now. */
static void explain(struct reload_job *job)
{
	size_t n = strlen(job->why);

	if (strstr(job->why, strerror(EACCES)))
		snprintf(job->why + n, sizeof(job->why) - n,
			 " (the gateway runs as user %u, without root's rights over files)", (unsigned)getuid());
}

static bool from_file(const struct conf *c)
{
	return c->n_tunnels == 0 || c->tunnels[0].line >= 0;
}

bool app_takes_hup(const struct conf *c)
{
	return from_file(c) || c->log.file[0];
}

struct keys {
	const struct app *a;
	const struct conf *want;
};

static bool same_key(void *ctx, unsigned i, unsigned k)
{
	const struct keys *keys = ctx;

	return app_same_key(keys->a, i, &keys->want->tunnels[k]);
}

/* Tunnels that cannot be added: told beforehand, and by the check. */
static void bar(const struct app *a, struct reload_job *job)
{
	unsigned before = 0;

	for (unsigned i = 0; i < job->diff.n; i++) {
		struct conf_change *c = &job->diff.v[i];
		const char *why;

		if (c->what != CONF_ADDED || c->added < 0)
			continue;
		why = app_add_bars(a, &job->want->tunnels[c->added], before);
		if (why)
			conf_diff_bar(&job->diff, c, why);
		before += !why;
	}
}

static int read_file(struct reload *r, struct reload_job *job)
{
	struct keys keys = {r->a, NULL};
	int err;

	if (!from_file(r->a->conf)) {
		snprintf(job->why, sizeof(job->why),
			 "it was started by a command line: there is no file to read again");
		return job->err = -ENOENT;
	}
	err = conf_load(job->path ? job->path : r->a->conf->path, &job->want, job->why, sizeof(job->why));
	if (err) {
		explain(job);
		return job->err = err;
	}
	keys.want = job->want;
	err = conf_diff((struct conf *)r->a->conf, job->want, same_key, &keys, &job->diff);
	if (!err)
		bar(r->a, job);
	return err ? fail(job, err, "reload") : 0;
}

/* ---- what is to be taken over ---- */

static struct tunnel_change *change_of(struct change *c, unsigned i)
{
	for (unsigned k = 0; k < c->n; k++)
		if (c->v[k].i == i)
			return &c->v[k];
	return NULL;
}

static int prepare(struct reload *r, struct reload_job *job, struct change *c)
{
	c->want = job->want;
	c->v = calloc(r->a->conf->n_tunnels + 1, sizeof(*c->v));
	if (!c->v)
		return fail(job, -ENOMEM, "reload");
	for (unsigned i = 0; i < job->diff.n; i++) {
		const struct conf_change *d = &job->diff.v[i];
		struct tunnel_change *t;
		int err;

		if (d->what != CONF_CHANGED || d->tunnel < 0 || d->how == CONF_HOW_RESTART ||
		    change_of(c, (unsigned)d->tunnel))
			continue;
		t = &c->v[c->n++];
		t->i = (unsigned)d->tunnel;
		t->want = &job->want->tunnels[d->added];
		err = app_tunnel_acl(t->want, &t->acl);
		if (err)
			return fail(job, err, t->want->name);
	}
	return 0;
}

static void change_free(struct change *c)
{
	for (unsigned k = 0; k < c->n; k++)
		net_acl_destroy(c->v[k].acl);
	free(c->v);
}

/* ---- control's part ---- */

static void take_tunnel(struct app *a, struct tunnel_change *t)
{
	const struct conf_tunnel *w = t->want;
	struct ctl_tunnel ct = app_ctl_tunnel(a, t->i, &a->conf->tunnels[t->i]);
	struct shard_live l;

	app_tunnel_live(w, &l);
	l.acl = t->acl;
	t->old = (struct net_acl *)a->tunnels[t->i].acl;
	shard_live_set(&a->tunnels[t->i], &l);
	t->acl = t->old; /* which goes when nobody looks at it any more */
	ct.target = (struct ctl_addr){w->target.host, w->target.port_min, w->target.port_max};
	ct.target_path = w->target.path;
	ct.proxy = w->proxy_protocol;
	ct.scavenge_ms = a->tunnels[t->i].scavenge_ms;
	t->failed = ctl_tunnel_change(a->ctl, t->i, &ct) != 0;
}

static void take(struct app *a, struct change *c)
{
	struct origins_conf oc;

	if (c->step) {
		c->ret = c->step(a, c->ctx);
		return;
	}
	for (unsigned k = 0; k < c->n; k++)
		take_tunnel(a, &c->v[k]);
	app_origins_conf(a, c->want, &oc);
	origins_limit(a->origins, &oc);
	ctl_change(a->ctl, c->want->log.quiet, c->want->dial_timeout * 1000);
	ctl_epoch(a->ctl);
}

void reload_turn(struct app *a)
{
	struct reload *r = a->reload;
	struct change *c = atomic_load_explicit(&r->ready, memory_order_acquire);

	if (c && atomic_compare_exchange_strong(&r->ready, &c, NULL)) {
		take(a, c);
		sem_post(&r->taken);
	}
}

/* ---- the thread's part behind it ---- */

static bool hand_over(struct reload *r, struct change *c)
{
	struct change *mine = c;
	struct timespec until;

	atomic_store(&r->ready, c);
	ctl_wake(r->a->ctl);
	do {
		until = later_ms(LOOK_MS);
		if (sem_clockwait(&r->taken, CLOCK_MONOTONIC, &until) == 0)
			return true;
	} while (!atomic_load(&r->end));
	/* Control takes nothing any more, unless it did just now. */
	return !atomic_compare_exchange_strong(&r->ready, &mine, NULL);
}

int reload_on_control(struct reload *r, int (*fn)(struct app *a, void *ctx), void *ctx)
{
	struct change c = {.step = fn, .ctx = ctx};

	return hand_over(r, &c) ? c.ret : -ESHUTDOWN;
}

static bool wait_workers(struct reload *r)
{
	for (unsigned i = 0; i < RELOAD_GRACE_MS && !ctl_epoch_seen(r->a->ctl); i++)
		usleep(1000);
	return ctl_epoch_seen(r->a->ctl);
}

static bool has(const struct conf_diff *d, const char *name)
{
	for (unsigned i = 0; i < d->n; i++)
		if (!strcmp(d->v[i].name, name))
			return true;
	return false;
}

static void adopt(void *ctx)
{
	struct reload_job *job = ctx;

	for (unsigned i = 0; i < job->diff.n; i++)
		conf_adopt(&job->diff.v[i]);
}

static void tell(const struct reload_job *job, const char *path)
{
	const struct conf_diff *d = &job->diff;
	char text[CONF_CHANGE_TEXT];

	for (unsigned i = 0; i < job->want->n_warnings; i++)
		log_warn("reload: %s", job->want->warnings[i]);
	for (unsigned i = 0; i < d->n && i < LINES_MAX; i++)
		log_line(d->v[i].how == CONF_HOW_RESTART ? LOG_WARN : LOG_INFO, "reload: %s",
			 conf_change_text(&d->v[i], text));
	if (d->n > LINES_MAX)
		log_info("reload: and %u changes more", d->n - LINES_MAX);
	if (d->n)
		log_info("reload: %s: %u changes applied, %u need a restart", path, d->n - d->n_restart, d->n_restart);
	else
		log_info("reload: %s: nothing has changed", path);
}

/* The log's own settings.  A file that is the same is opened anew all the same: it may have been moved away. */
static int log_ready(const struct conf *c, struct reload_job *job, int *fd)
{
	*fd = log_file(c->log.file);
	if (*fd >= 0)
		return 0;
	snprintf(job->why, sizeof(job->why), "log.file: %s: %s", c->log.file, strerror(-*fd));
	explain(job);
	return job->err = *fd;
}

static void log_take(const struct conf *c, int fd)
{
	int err = log_to(fd, (enum log_level)c->log.level);

	if (err)
		log_err("log.file: %s: %s", c->log.file, strerror(-err));
	log_form((enum log_format)c->log.format);
	log_rate(c->log.rate);
}

static void snmplog_again(struct app *a, struct reload_job *job)
{
	if (!has(&job->diff, "telemetry.snmplog") && !has(&job->diff, "telemetry.snmpperiod"))
		return;
	if (app_snmplog_up(a)) {
		log_err("snmplog: %s", a->why);
		a->why[0] = '\0';
	}
}

/* snmplog's thread has its path from the configuration that is to be changed. */
static void snmplog_before(struct app *a, struct reload_job *job)
{
	if (!has(&job->diff, "telemetry.snmplog") && !has(&job->diff, "telemetry.snmpperiod"))
		return;
	app_snmplog_down(a);
}

static void apply(struct reload *r, struct reload_job *job)
{
	struct change c = {0};
	int fd = -1;

	if (prepare(r, job, &c) || log_ready(job->want, job, &fd)) {
		change_free(&c);
		return;
	}
	if (!hand_over(r, &c)) {
		close(fd);
		change_free(&c);
		fail(job, -ESHUTDOWN, "reload");
		return;
	}
	log_take(job->want, fd);
	snmplog_before(r->a, job);
	tlm_change(adopt, job);
	snmplog_again(r->a, job);
	reload_remove(r, job);
	reload_add(r, job);
	tell(job, r->a->conf->path);
	for (unsigned k = 0; k < c.n; k++)
		if (c.v[k].failed)
			log_err("reload: tunnel %s: no memory: its target is as it was", c.v[k].want->name);
	if (wait_workers(r))
		change_free(&c);
	else
		log_warn("reload: a worker has begun no turn for %u s", RELOAD_GRACE_MS / 1000);
}

/* A rotation has to work whatever the file says. */
static void reopen(struct reload *r)
{
	const struct conf *c = r->a->conf;
	int fd;

	if (!c->log.file[0])
		return;
	fd = log_file(c->log.file);
	if (fd < 0)
		log_err("log.file: %s: %s: the file of before is used", c->log.file, strerror(-fd));
	else
		log_to(fd, (enum log_level)c->log.level);
}

static int step_drain(struct app *a, void *ctx)
{
	const struct reload_job *job = ctx;

	app_drain(a, job->tunnel, job->deadline_s);
	return 0;
}

static void drain_job(struct reload *r, struct reload_job *job)
{
	if (reload_on_control(r, step_drain, job) == -ESHUTDOWN)
		fail(job, -ESHUTDOWN, "drain");
}

static void do_work(struct reload *r, struct reload_job *job)
{
	if (job->hup)
		reopen(r);
	if (job->what == RELOAD_DRAIN)
		drain_job(r, job);
	else if (read_file(r, job) == 0 && job->what == RELOAD_APPLY && !atomic_load(&r->end))
		apply(r, job);
	if (job->want)
		conf_wipe_keys(job->want);
	if (job->err && job->hup && !from_file(r->a->conf))
		log_info("SIGHUP: the log's file was opened anew; %s", job->why);
	else if (job->err && job->what == RELOAD_APPLY)
		log_err("reload: %s: nothing has changed", job->why);
}

/* The service manager is told, too: what only compares changes nothing. */
static void work(struct reload *r, struct reload_job *job)
{
	bool tell_manager = job->what == RELOAD_APPLY;

	if (tell_manager)
		notify_reloading();
	do_work(r, job);
	if (tell_manager)
		notify_ready();
}

/* ---- the thread ---- */

static void *reload_main(void *arg)
{
	struct reload *r = arg;

	setpriority(PRIO_PROCESS, 0, NICE); /* Linux: this thread's; before the sandbox, in which nobody may */
	sem_post(&r->taken);
	pthread_mutex_lock(&r->lock);
	while (!r->end) {
		struct reload_job *job = r->job;

		if (!job) {
			pthread_cond_wait(&r->some, &r->lock);
			continue;
		}
		pthread_mutex_unlock(&r->lock);
		work(r, job);
		pthread_mutex_lock(&r->lock);
		if (job->hup)
			reload_job_free(job); /* nobody waits */
		r->job = NULL;
		if (r->again && !r->end)
			r->job = reload_job_new(RELOAD_APPLY, NULL);
		if (r->job)
			r->job->hup = true;
		r->again = false;
		pthread_cond_broadcast(&r->done);
	}
	pthread_cond_broadcast(&r->done);
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

void reload_hup(struct app *a)
{
	struct reload *r = a->reload;

	pthread_mutex_lock(&r->lock);
	if (r->job) {
		r->again = true;
	} else if ((r->job = reload_job_new(RELOAD_APPLY, NULL))) {
		r->job->hup = true;
		pthread_cond_broadcast(&r->some);
	}
	pthread_mutex_unlock(&r->lock);
}

int reload_do(struct app *a, struct reload_job *job)
{
	struct timespec until = later_ms(ANSWER_S * 1000);
	struct reload *r = a->reload;
	int ret = 0;

	pthread_mutex_lock(&r->lock);
	if (r->job || r->end) {
		pthread_mutex_unlock(&r->lock);
		return -EBUSY;
	}
	r->job = job;
	pthread_cond_broadcast(&r->some);
	while (r->job == job && !ret && !r->end)
		ret = pthread_cond_clockwait(&r->done, &r->lock, CLOCK_MONOTONIC, &until);
	if (r->job == job) {
		job->hup = true; /* the thread's, who frees it */
		ret = ETIMEDOUT;
	} else {
		ret = 0;
	}
	pthread_mutex_unlock(&r->lock);
	return -ret;
}

int app_reload_up(struct app *a)
{
	struct reload *r = calloc(1, sizeof(*r));
	sigset_t all, old;
	int err;

	if (!r)
		return app_fail(a, -ENOMEM, "reload");
	r->a = a;
	a->reload = r;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->some, NULL);
	pthread_cond_init(&r->done, NULL);
	sem_init(&r->taken, 0, 0);
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* of a system call that is refused (app/posture) */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&r->thread, NULL, reload_main, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		free(r);
		a->reload = NULL;
		return app_fail(a, err, "reload");
	}
	pthread_setname_np(r->thread, "kcpgate-reload");
	while (sem_wait(&r->taken))
		;
	return a->conf->telemetry.enable ? manage_start(a) : 0;
}

/* One that hangs in a file is left to the end of the process, which comes now. */
void app_reload_down(struct app *a)
{
	struct timespec until = later_ms(END_S * 1000);
	struct reload *r = a->reload;

	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->end = true;
	pthread_cond_broadcast(&r->some);
	pthread_cond_broadcast(&r->done);
	pthread_mutex_unlock(&r->lock);
	manage_stop();
	if (pthread_clockjoin_np(r->thread, NULL, CLOCK_MONOTONIC, &until))
		return;
	reload_job_free(r->job);
	sem_destroy(&r->taken);
	pthread_cond_destroy(&r->done);
	pthread_cond_destroy(&r->some);
	pthread_mutex_destroy(&r->lock);
	free(r);
	a->reload = NULL;
}
