/* SPDX-License-Identifier: MIT */

/* What telemetry and snmplog look at. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "cap.h"
#include "posture.h"
#include "vault.h"

static void security(struct tlm_security *s)
{
	char text[CAP_TEXT];

	s->user = (unsigned)getuid();
	snprintf(s->capabilities, sizeof(s->capabilities), "%s", cap_text(posture_caps(), text));
	s->sandbox = posture_sandboxed();
	s->refused = posture_refused();
	s->keys = vault_size();
	s->keys_unlocked = vault_unlocked();
}

int app_telemetry_up(struct app *a)
{
	a->tlm = (struct tlm_src){
		.conf = a->conf,
		.n_workers = a->plan.workers,
		.shards = a->shards,
		.workers = a->workers,
		.borders = a->borders,
		.origins = a->origins,
		.ctl = a->ctl,
		.ports = a->ports,
		.chans = &a->chans,
		.pools = a->pools,
		.n_pools = a->plan.place.n_pools,
		.tsc_hz = a->clock.hz,
		.security = security,
	};
	return a->conf->telemetry.enable ? tlm_start(&a->tlm) : 0;
}

void app_telemetry_down(struct app *a)
{
	tlm_stop();
}

/* Not longer than this for a file that hangs: the process ends without it. */
#define SNMPLOG_STOP_MS 1000

int app_snmplog_up(struct app *a)
{
	const struct conf_telemetry *t = &a->conf->telemetry;
	int ret;

	a->snmplog_path = strdup(t->snmplog ? t->snmplog : "");
	ret = a->snmplog_path ? snmplog_start(&a->snmplog, &a->tlm, a->snmplog_path, t->snmpperiod) : -ENOMEM;
	return ret ? app_fail(a, ret, "snmplog") : 0;
}

/* A thread that is left in its file has its path. */
void app_snmplog_down(struct app *a)
{
	if (snmplog_stop(a->snmplog, SNMPLOG_STOP_MS))
		free(a->snmplog_path);
	a->snmplog = NULL;
	a->snmplog_path = NULL;
}
