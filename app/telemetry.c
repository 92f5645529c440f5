/* SPDX-License-Identifier: MIT */

/* What telemetry and snmplog look at. */

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_lcore.h>
#include <rte_version.h>

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

#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* as DPDK marks what is experimental, until 23.11 */

/* DPDK's callback has no argument of its own. */
static struct app *_Atomic whose;

/* For /eal/lcore/usage: of the workers, which app_launch_up has launched in this order.  Control is asked by
 * /kcpgate/controls. */
static int usage(unsigned lcore, struct rte_lcore_usage *out)
{
	const struct app *a = atomic_load(&whose);
	unsigned each, i = 0;

	RTE_LCORE_FOREACH_WORKER(each)
	{
		if (a && each == lcore && i < a->plan.workers) {
			const struct worker_stats *s = worker_stats(a->workers[i]);

			out->total_cycles = __atomic_load_n(&s->total_cycles, __ATOMIC_RELAXED);
			out->busy_cycles = __atomic_load_n(&s->busy_cycles, __ATOMIC_RELAXED);
			return 0;
		}
		i++;
	}
	return -ENOENT;
}

/* a NULL: no more. */
static void tell_usage(struct app *a)
{
	atomic_store(&whose, a);
	rte_lcore_register_usage_cb(a ? usage : NULL);
}

#pragma GCC diagnostic pop
#else
static void tell_usage(struct app *a)
{
}
#endif

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
		.port = app_port_counts,
		.ctx = a,
	};
	if (!a->conf->telemetry.enable)
		return 0;
	tell_usage(a);
	return tlm_start(&a->tlm);
}

void app_telemetry_down(struct app *a)
{
	tell_usage(NULL);
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
