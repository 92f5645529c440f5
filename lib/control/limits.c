/* SPDX-License-Identifier: MIT */

/* How many descriptors and dials there may be, and which tunnel may have how many of them. */

#include <dirent.h>
#include <sys/resource.h>

#include "ctl_int.h"

#define NOFILE_MAX  (1u << 20)
#define FD_SPARE    32u /* for logs, lookups, telemetry's clients, and what else opens one for a while */
#define FD_LEAST    16u /* connections that are tried for, however few descriptors there are */
#define HOLDS_PART  8u	/* this part of all is for the ports of ended sessions */
#define HOLDS_MAX   8192u
#define DIALS	    512u
#define DIAL_MS	    30000u
#define DIALS_QUEUE 4u /* times the limit of dials: so many wait, of a tunnel */

static unsigned nofile(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur > NOFILE_MAX)
		return NOFILE_MAX;
	return (unsigned)r.rlim_cur;
}

/* Descriptors that are open before the first connection comes. */
static unsigned open_now(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* Where others may come, one alone leaves them half: whoever comes first has it. */
static unsigned share_among(struct quota *q, unsigned all, unsigned n, bool blank)
{
	unsigned share = quota_init(q, all, n);

	if (n > 1 || !blank)
		return share;
	q->spare = all - all / 2;
	return all / 2;
}

static void share_out(struct ctl *c)
{
	unsigned all = c->conf.descriptors ? c->conf.descriptors : nofile(), fixed, slots = 0, servers = 0, share;
	unsigned n = 0;
	bool blank = false;
	unsigned dials = c->conf.dials ? c->conf.dials : DIALS;

	for (unsigned i = 0; i < c->conf.n_tunnels; i++) {
		slots += c->conf.tunnels[i].client ? c->conf.tunnels[i].conn : 0;
		n += !c->conf.tunnels[i].blank;
		servers += !c->conf.tunnels[i].client && !c->conf.tunnels[i].blank;
		blank |= c->conf.tunnels[i].blank;
	}
	c->max_holds = all / HOLDS_PART < HOLDS_MAX ? all / HOLDS_PART : HOLDS_MAX;
	fixed = (c->conf.descriptors ? 0 : open_now() + FD_SPARE + c->conf.spared) + slots + c->max_holds;
	all = all > fixed + FD_LEAST ? all - fixed : FD_LEAST;
	c->stats.descriptors_limit = all;
	if (dials > all / 2)
		dials = all / 2;
	c->stats.dials_limit = dials;
	share = share_among(&c->team->fds, all, n, blank);
	for (unsigned i = 0; i < c->conf.n_tunnels; i++)
		c->team->tunnel[i].fds.share = c->conf.tunnels[i].blank ? 0 : share;
	share = share_among(&c->team->dials, dials, servers, blank);
	for (unsigned i = 0; i < c->conf.n_tunnels; i++)
		c->team->tunnel[i].dials.share = c->conf.tunnels[i].blank ? 0 : share;
}

/* All take from the same, and each has its queue of dials that wait. */
int limits_up(struct ctl *c, char *why, size_t why_n)
{
	const struct ctl *first = c->conf.id ? c->conf.first : c;

	(void)why;
	(void)why_n;
	if (c == first)
		share_out(c);
	c->dial_queue = DIALS_QUEUE * (unsigned)first->stats.dials_limit / c->team->n;
	c->dial_ms = c->conf.dial_ms ? c->conf.dial_ms : DIAL_MS;
	return 0;
}

void limits_down(struct ctl *c)
{
	(void)c;
}

bool fd_may(const struct ctl *c, unsigned tunnel)
{
	return quota_may(&c->team->fds, &c->team->tunnel[tunnel].fds);
}

void fd_add(struct ctl *c, unsigned tunnel)
{
	quota_add(&c->team->fds, &c->team->tunnel[tunnel].fds);
	c->stats.descriptors++;
}

void fd_give(struct ctl *c, unsigned tunnel)
{
	quota_give(&c->team->fds, &c->team->tunnel[tunnel].fds);
	c->stats.descriptors--;
	team_given(c);
}
