/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cap.h"
#include "posture.h"
#include "sysfile.h"

static uint64_t of_port(const struct conf_port *p)
{
	uint64_t mask = cap_mask(p->device, p->vdev);

	/* A TAP, or virtio-user's: made, and given its addresses and routes. */
	return p->exception == CONF_EXC_KERNEL ? mask : mask | CAP_BIT(CAP_NET_ADMIN);
}

/* Ports from here on are anybody's. */
static unsigned first_port(void)
{
	long long n;

	return sysfile_number("/proc/sys/net/ipv4/ip_unprivileged_port_start", &n) ? (unsigned)n : 1024;
}

/* What lies in a folder that this user may not write to, if need be by the rights of root. */
static bool beyond(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	char dir[4096];

	if (!path || !path[0] || path[0] == '@')
		return false;
	if (!slash)
		return faccessat(AT_FDCWD, ".", W_OK | X_OK, AT_EACCESS) != 0;
	snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	return faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) != 0;
}

/*
 * A file in another user's folder is made and removed, and a service's socket connected to, while the gateway runs.
 * Asked without that right, as it would be then.
 */
static bool files_want(const struct conf *c)
{
	bool want = beyond(c->telemetry.snmplog) || beyond(c->telemetry.metrics.path);

	for (unsigned i = 0; i < c->n_tunnels; i++)
		want |= c->tunnels[i].target.path || beyond(c->tunnels[i].listen.path);
	return want;
}

uint64_t posture_wanted(const struct conf *c, bool root)
{
	unsigned anybodys = first_port();
	uint64_t mask = c->eal.args ? cap_any() : 0; /* which may name devices */

	for (unsigned i = 0; i < c->n_ports; i++)
		mask |= of_port(&c->ports[i]);
	for (unsigned i = 0; i < c->n_tunnels; i++)
		if (!c->tunnels[i].listen.path && c->tunnels[i].listen.port_min < anybodys)
			mask |= CAP_BIT(CAP_NET_BIND_SERVICE);
	if (c->telemetry.metrics.host && c->telemetry.metrics.port_min < anybodys)
		mask |= CAP_BIT(CAP_NET_BIND_SERVICE);
	if (root && files_want(c))
		mask |= CAP_BIT(CAP_DAC_OVERRIDE);
	return mask;
}
