/* SPDX-License-Identifier: MIT */
#pragma once

/* The wiring of one gateway process: what exists, in the order in which it is made. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"
#include "ctl.h"
#include "origin.h"
#include "plan.h"
#include "port_exc.h"
#include "recall.h"
#include "snmplog.h"
#include "tlm.h"
#include "worker.h"

#define APP_SPARE_SLOTS 1024 /* session slots of clients' tunnels that are added while it runs */
#define APP_REMOVE_S	60   /* a tunnel that is removed has so long to end */

struct reload;

struct app_map {
	void *at;
	size_t len;
};

struct app {
	const struct conf *conf;
	struct plan plan;
	struct worker_clock clock;
	bool eal_up;
	struct rte_mempool *pools[TOPO_NODES_MAX]; /* [plan.place.pool] */
	struct chan_pool chans;
	struct net_ports *udp;
	struct worker_mesh *mesh;
	struct port ports[CONF_PORTS_MAX];
	struct port_exc exc[CONF_PORTS_MAX]; /* kernel interfaces that are devices: exception "virtio-user" */
	char bases[CONF_PORTS_MAX][16];	     /* the interface that a port stands on; empty: none of the kernel's */
	uint8_t dev_csum[CONF_PORTS_MAX];
	struct crypt **crypts;	      /* [tunnel] */
	uint16_t *ring_next;	      /* [tunnel, and one]: worker_conf.ring_next */
	struct shard_tunnel *tunnels; /* [tunnel] */
	struct origins *origins;
	uint16_t **slot_worker;	 /* [tunnel][slot], clients */
	struct border **borders; /* [worker] */
	struct shard **shards;
	struct worker **workers;
	struct crypt_mb **mbs;
	void **heaps; /* [worker], and what makes memory of them: */
	struct mem **mems;
	struct worker_port **worker_ports;
	struct fresh **fresh; /* [worker][tunnel], and their memory: */
	struct fresh_line *fresh_lines;
	struct fresh_book *books;	/* [tunnel]: of a key's first one; and which that is: */
	struct recall_key *recall_keys; /* [tunnel] */
	size_t fresh_len;
	uint64_t mark_seed;
	struct ctl_tunnel *ctl_tunnels;
	struct ctl_port *ctl_ports;
	struct net_local *ctl_addrs;
	char lo_dir[200]; /* where the control side keeps how the switches of lo were */
	struct ctl *ctl;
	struct ctl *ctl_more[LIMIT_CONTROLS - 1]; /* further instances, each with its borders: */
	struct border **ctl_borders[LIMIT_CONTROLS - 1];
	struct tlm_src tlm;
	struct snmplog_thread *snmplog;
	char *snmplog_path;		/* of that thread */
	unsigned draining;		/* tunnels that are drained, and have something left */
	int64_t until_looked;		/* s since 1970: when tunnels' `until` was last looked at */
	bool drained[CONF_TUNNELS_MAX]; /* and those that have nothing: it was told */
	bool removed[CONF_TUNNELS_MAX]; /* the file has them no more */
	struct app_map fresh_added[CONF_TUNNELS_MAX];
	unsigned slots_added; /* of APP_SPARE_SLOTS */
	struct reload *reload;
	struct metrics *metrics;
	pthread_mutex_t ports_lock; /* no port is opened or closed while its device is asked what it counts */
	char why[512];		    /* of the step that failed */
};

/* banner.c: kcptun's lines at the start, and those about ports that are served (wire.md 9.5) */
void banner(const struct conf *c);
void banner_listening(const struct conf *c);

/* say.c: what a person should see who starts this, on stderr, which nobody may be reading: then it is lost */

/* So that no file of ours becomes number 0 to 2 where one of these was closed. */
void app_say_open(void);
void app_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Behind the log's "ready": the interface that nobody named, and last the key that is missing. */
void app_say_ready(const struct conf *c);

/* version.c: ours, the commit, and those of the libraries, on stdout */
void app_version(void);

/* doctor_cmd.c: `kcpgate doctor`, of a file or (c NULL) of the machine alone; the exit status. */
int app_doctor(const struct conf *c, bool json);

/* eal.c: 0 or -errno with app->why */
int app_eal_up(struct app *a);
void app_eal_down(struct app *a);

/* Notes in app->why what failed, unless it is known already; returns err. */
int app_fail(struct app *a, int err, const char *what);

/* memory.c: pools, and rings between workers */
int app_memory_up(struct app *a);
void app_memory_down(struct app *a);

/* fresh.c: filters of datagrams that were seen before, and the conversations that there have been */
int app_fresh_up(struct app *a);
/* Those of tunnel i, that is added; whose are undone or at the end. */
int app_fresh_add(struct app *a, unsigned i);
void app_fresh_drop(struct app *a, unsigned i);
void app_fresh_down(struct app *a);

/* ports.c: the ports, of which those whose interface is not there yet are opened later, by control */
int app_ports_up(struct app *a);
void app_ports_down(struct app *a);
/* What worker w knows of the ports that are open. */
void app_worker_ports(struct app *a, unsigned w);
int app_port_open(void *app, unsigned port, const char *ifname, char *why, size_t why_n);
void app_port_close(void *app, unsigned port);
void app_port_link(void *app, unsigned port, struct port_link *l);
/* As tlm_src.port. */
bool app_port_counts(void *app, unsigned port, struct tlm_port *out);

/* The steps between memory and the running gateway, each undone by its twin. */

/* tunnels.c */
int app_tunnels_up(struct app *a);
void app_tunnels_down(struct app *a);
/* The address of a server that listens on a name has been found: as ctl_conf.listens. */
void app_listens(void *app, unsigned tunnel, const struct addr *addr);
/* Tunnel i of conf, in its place; and the place is blank again. */
int app_tunnel_make(struct app *a, unsigned i);
void app_tunnel_unmake(struct app *a, unsigned i);
/* What of a tunnel of the file may change while it runs, but for acl. */
void app_tunnel_live(const struct conf_tunnel *t, struct shard_live *l);
/* Who may begin sessions; *out NULL: anybody.  0 or -errno. */
int app_tunnel_acl(const struct conf_tunnel *t, struct net_acl **out);
/* The passphrase of t is that of the running tunnel i. */
bool app_same_key(const struct app *a, unsigned i, const struct conf_tunnel *t);
/* limits.address_*, of c. */
void app_origins_conf(const struct app *a, const struct conf *c, struct origins_conf *oc);
/* A shape that a tunnel's sessions are to find beside its own: as ctl_conf.fec_shape. */
int app_fec_shape(void *app, unsigned tunnel, unsigned ds, unsigned ps);

/* workers.c */
int app_workers_up(struct app *a);
void app_workers_down(struct app *a);
int app_launch_up(struct app *a);
void app_launch_down(struct app *a);

/* added.c: tunnels that come and go while it runs */
/* Why tunnel k of the file, with `before` others before it, cannot be added without a restart; NULL: it can. */
const char *app_add_bars(const struct app *a, const struct conf_tunnel *t, unsigned before);
/* All that it is but for what control and workers must know, in the next place; beside: others of the file listen where
 * it does; t is emptied.  0, or -errno and why: t
 * is as it was. */
int app_add_make(struct app *a, struct conf_tunnel *t, bool beside, char *why, size_t why_n);
/* Control's: its instances and the workers are told; app_add_told: all of them know, *ret how it went. */
int app_add_tell(struct app *a);
bool app_add_told(const struct app *a, int *ret);
/* It is among the tunnels from now on; or it is undone, and t has it back. */
void app_add_done(struct app *a);
void app_add_undo(struct app *a, struct conf_tunnel *t);
/* Control's: takes nothing new, and ends; another one may have its name. */
void app_remove(struct app *a, unsigned i);

/* control.c */
/* Tunnel i as control sees it, by what t says. */
struct ctl_tunnel app_ctl_tunnel(const struct app *a, unsigned i, const struct conf_tunnel *t);
int app_ctl_up(struct app *a);
void app_ctl_down(struct app *a);

/* telemetry.c */
int app_telemetry_up(struct app *a);
void app_telemetry_down(struct app *a);
int app_snmplog_up(struct app *a);
void app_snmplog_down(struct app *a);

/* circle.c: server tunnels that listen at the same place */
int app_circles_up(struct app *a);
/* Tunnel i, whose `ring` is another one: it can be told by its key from here on. */
void app_circle_join(struct app *a, unsigned i);
/* It is not any more. */
void app_circle_leave(struct app *a, unsigned i);
/* Others listen by the ports that are tunnel i's. */
bool app_circle_shared(const struct app *a, unsigned i);
/* The first of those that listen where t wants to; n_tunnels: nobody does. */
unsigned app_circle_of(const struct app *a, const struct conf_tunnel *t);

/* drain.c: control's; tunnel -1: all.  A second word moves the time. */
void app_drain(struct app *a, int tunnel, unsigned deadline_s);
void app_drain_turn(struct app *a);
/* Every turn, too: drains those whose `until` has come. */
void app_until_turn(struct app *a);
/* For anybody. */
bool app_draining(const struct app *a, unsigned tunnel);
unsigned app_drain_sessions(const struct app *a, unsigned tunnel);

/* reload.c */
/* SIGHUP means a file to be read or opened anew; of a command line without a log's file it ends the process, as ever.
 */
bool app_takes_hup(const struct conf *c);
int app_reload_up(struct app *a);
void app_reload_down(struct app *a);

/* metrics.c */
int app_metrics_up(struct app *a);
void app_metrics_down(struct app *a);
/* That it may come to need. */
unsigned app_metrics_descriptors(const struct app *a);
