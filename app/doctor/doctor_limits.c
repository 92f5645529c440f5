/* SPDX-License-Identifier: MIT */

/* What this user and this process may: descriptors, locked memory, ports; and who else is there. */

#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "doctor_int.h"

#define FEW_FILES 4096 /* descriptors: half as many connections, with their dials and the sessions' own */

/* The hard limit, to which the gateway raises its own; UNLIMITED: none, or it cannot be told. */
#define UNLIMITED (~0ull)

static unsigned long long hard(const struct doctor *d, const char *name)
{
	char text[128], *end;

	/* "Max open files   1024   20000   files" */
	if (!doctor_field(d, "/proc/self/limits", name, text, sizeof(text)))
		return UNLIMITED;
	end = text + strcspn(text, " ");
	end += strspn(end, " ");
	return strncmp(end, "unlimited", 9) ? strtoull(end, NULL, 10) : UNLIMITED;
}

static void files(struct doctor *d)
{
	unsigned long long n = hard(d, "Max open files");

	if (n == UNLIMITED) {
		doctor_add(d, DOCTOR_OK, "descriptors: no limit");
		return;
	}
	doctor_add(d, n < FEW_FILES ? DOCTOR_HINT : DOCTOR_OK, "descriptors: %llu", n);
	if (n >= FEW_FILES)
		return;
	doctor_why(d, "each TCP connection takes one: when they are used up, more wait or are refused");
	doctor_mend(d, "LimitNOFILE=1048576 of the systemd unit; ulimit -n");
}

static void locked(struct doctor *d, const struct plan *p)
{
	unsigned long long n = hard(d, "Max locked memory");

	if (!doctor_has_vfio(d))
		return;
	if (doctor_cap(d, CAP_IPC_LOCK) || n >= (unsigned long long)p->memory_mb << 20) {
		doctor_add(d, DOCTOR_OK, "locked memory: enough for vfio");
		return;
	}
	doctor_add(d, DOCTOR_MISSING, "locked memory: %llu MB, vfio locks %u MB", n >> 20, p->memory_mb);
	doctor_why(d, "vfio gives no memory to the device: the port does not start");
	doctor_mend(d, "LimitMEMLOCK=infinity of the systemd unit; ulimit -l unlimited; or CAP_IPC_LOCK");
}

static void devices(struct doctor *d)
{
	char text[DOCTOR_TEXT];

	for (unsigned i = 0; i < d->conf->n_ports; i++) {
		const struct conf_port *p = &d->conf->ports[i];

		if (p->vdev && d->ask.caps(p->device, true, text)[0]) {
			doctor_add(d, DOCTOR_MISSING, "port %s%.300s", p->name, text);
			doctor_why(d, "the port does not start");
			doctor_mend(d, "run it as root; or AmbientCapabilities= of the systemd unit; or setcap");
		}
	}
}

/* ---- ports below 1024 ---- */

static unsigned lowest(const struct conf *c)
{
	unsigned low = UINT16_MAX;

	for (unsigned i = 0; i < c->n_tunnels; i++)
		if (c->tunnels[i].listen.host && c->tunnels[i].listen.port_min < low)
			low = c->tunnels[i].listen.port_min;
	return low;
}

static void low_ports(struct doctor *d)
{
	long long first = 1024;
	unsigned low = lowest(d->conf);

	doctor_number(d, &first, "/proc/sys/net/ipv4/ip_unprivileged_port_start");
	if (low >= first || doctor_cap(d, CAP_NET_BIND_SERVICE))
		return;
	doctor_add(d, DOCTOR_MISSING, "port %u: CAP_NET_BIND_SERVICE is missing, for ports below %lld", low, first);
	doctor_why(d, "the kernel does not give us the port");
	doctor_mend(d,
		    "run it as root; or AmbientCapabilities=CAP_NET_BIND_SERVICE; or sysctl -w "
		    "net.ipv4.ip_unprivileged_port_start=%u",
		    low);
}

/* ---- buffers of UDP sockets ---- */

/* What a tunnel's sockbuf asks for, the kernel gives no more of, for we keep no right to more. */
static void socket_buffers(struct doctor *d)
{
	bool sockets = false;
	unsigned want = 0;
	long long most;

	for (unsigned i = 0; i < d->conf->n_ports; i++)
		sockets |= d->conf->ports[i].sockets;
	for (unsigned i = 0; i < d->conf->n_tunnels; i++)
		if (d->conf->tunnels[i].sockbuf > want)
			want = d->conf->tunnels[i].sockbuf;
	if (!sockets || !doctor_number(d, &most, "/proc/sys/net/core/rmem_max") || most >= want)
		return;
	doctor_add(d, DOCTOR_HINT, "buffers of UDP sockets: %lld bytes at most, of %u that sockbuf asks for", most,
		   want);
	doctor_why(d, "where more comes at once than they hold, datagrams are lost");
	doctor_mend(d, "sysctl -w net.core.rmem_max=%u net.core.wmem_max=%u", want, want);
}

/* ---- who else is there ---- */

bool doctor_runs(const struct doctor *d)
{
	char name[200];

	if (!d->conf->telemetry.enable)
		return false;
	snprintf(name, sizeof(name), "/dpdk/%.120s/dpdk_telemetry.v2", d->conf->eal.file_prefix);
	return doctor_says(d, "/proc/net/unix", name);
}

static void prefix(struct doctor *d)
{
	const char *name = d->conf->eal.file_prefix;

	if (!d->running) {
		doctor_add(d, DOCTOR_OK, "eal.file_prefix \"%s\": nobody else's", name);
		return;
	}
	doctor_add(d, DOCTOR_HINT, "eal.file_prefix \"%s\": a process runs with it", name);
	doctor_why(d,
		   "it may be this gateway, which then holds what it needs; another's counters are shown instead of "
		   "ours by dpdk-telemetry.py -f %s",
		   name);
	doctor_mend(d, "another eal.file_prefix for every gateway of a machine");
}

void doctor_limits(struct doctor *d, const struct plan *p)
{
	files(d);
	if (!p)
		return;
	locked(d, p);
	devices(d);
	low_ports(d);
	socket_buffers(d);
	if (d->conf->telemetry.enable)
		prefix(d);
}
