/* SPDX-License-Identifier: MIT */

/* HTTP for metrics, where the file asks for it. */

#include <errno.h>
#include <stdio.h>

#include "app.h"

static bool is_wanted(const struct conf_telemetry *t)
{
	return t->metrics.path || t->metrics.host;
}

#ifdef KCPGATE_METRICS
#include "log.h"
#include "metrics.h"

int app_metrics_up(struct app *a)
{
	const struct conf_telemetry *t = &a->conf->telemetry;
	struct metrics_conf c = {
		.src = &a->tlm,
		.path = t->metrics.path,
		.port = t->metrics.port_min,
		.remote = t->allow_remote_metrics,
	};
	char text[ADDR_STRLEN];
	int ret;

	if (!is_wanted(t))
		return 0;
	if (t->metrics.host)
		addr_parse(t->metrics.host, &c.addr);
	ret = metrics_start(&a->metrics, &c, a->why, sizeof(a->why));
	if (ret)
		return app_fail(a, ret, "metrics");
	log_info("metrics: %s%s", c.path ? "unix:" : "http://", c.path ? c.path : addr_port_str(&c.addr, c.port, text));
	return 0;
}

void app_metrics_down(struct app *a)
{
	metrics_stop(a->metrics);
	a->metrics = NULL;
}

unsigned app_metrics_descriptors(const struct app *a)
{
	return is_wanted(&a->conf->telemetry) ? METRICS_DESCRIPTORS : 0;
}
#else
int app_metrics_up(struct app *a)
{
	const struct conf_telemetry *t = &a->conf->telemetry;

	if (!is_wanted(t))
		return 0;
	snprintf(a->why, sizeof(a->why), "telemetry.metrics: kcpgate was built without libmicrohttpd");
	return -ENOTSUP;
}

void app_metrics_down(struct app *a)
{
}

unsigned app_metrics_descriptors(const struct app *a)
{
	return 0;
}
#endif
