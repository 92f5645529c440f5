/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The configuration as one immutable struct: read from a libconfig file, checked as a whole, handed out in parts by app.
 * Names, meanings and defaults of a tunnel's options are kcptun's (wire.md 9.4, version of 2026).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define CONF_NAME_MAX    32
#define CONF_PORTS_MAX   16
#define CONF_ADDRS_MAX   16
#define CONF_WORKERS_MAX 64

struct conf_addr { /* "192.0.2.7/24" */
	struct addr addr;
	uint8_t plen; /* bits of the address's own family */
};

enum conf_exception { CONF_EXC_TAP, CONF_EXC_KERNEL };
enum conf_idle { CONF_IDLE_ADAPTIVE, CONF_IDLE_POLL };
enum conf_hugepages { CONF_HUGE_AUTO, CONF_HUGE_YES, CONF_HUGE_NO };

struct conf_eal {
	char *lcores;       /* EAL's --lcores syntax, main lcore first; NULL: control on CPU 0, one worker on CPU 1 (or 0) */
	unsigned n_lcores;  /* counted from it: 1 control + workers */
	enum conf_hugepages hugepages;
	unsigned memory;    /* MB in all; 0: computed */
	char *file_prefix;  /* "kcpgate" */
	char **args;        /* more EAL arguments, NULL-terminated */
	enum conf_idle idle;
};

struct conf_port {
	char name[CONF_NAME_MAX];
	char *device;       /* PCI address, or vdev string "net_af_packet0,iface=eth0" */
	bool vdev;
	enum conf_exception exception;
	char ifname[16];    /* TAP's name (default "kg-NAME"); kernel: the interface, from iface= of the vdev when not given */
	struct conf_addr addresses[CONF_ADDRS_MAX]; /* tap only */
	unsigned n_addresses;
	struct addr gateway[2]; /* default routes, IPv4 and IPv6, tap only */
	unsigned n_gateway;
	unsigned mtu;       /* 1500 */
	int line;
};

struct conf_hostport { /* host may be empty (any), a literal or a name; min == max for one port */
	char *host;
	uint16_t port_min, port_max;
};

enum conf_role { CONF_SERVER, CONF_CLIENT };

struct conf_tunnel {
	char name[CONF_NAME_MAX];
	enum conf_role role;
	char port[CONF_NAME_MAX]; /* gateway port by name; empty: any (server) or by route (client) */
	struct conf_hostport listen; /* server: UDP; client: TCP */
	struct conf_hostport target; /* server: TCP to dial */
	struct conf_hostport remote; /* client: UDP of the server */
	char *key;                /* passphrase, from `key` or key_file; wiped by conf_wipe_keys */
	uint32_t key_len;
	char crypt[16];
	int nodelay, interval, resend, nc; /* as `mode` says, or the four options of manual */
	char mode[8];
	unsigned conn;            /* client: 1.. */
	unsigned mtu;             /* 1350 */
	unsigned sndwnd, rcvwnd;  /* client 128/512, server 1024/1024 */
	unsigned datashard, parityshard; /* 10, 3 */
	bool nocomp, acknodelay;
	unsigned smuxver;         /* 2 */
	unsigned smuxbuf, streambuf, framesize; /* 4194304, 2097152, 8192 */
	unsigned keepalive;       /* 10, 1..30 s */
	unsigned closewait;       /* client 30, server 0 (wire.md 14) */
	int line;
};

struct conf_telemetry {
	bool enable;              /* true */
};

struct conf_log {
	int level;                /* enum log_level */
	char *file;               /* "": stderr */
	bool quiet;
};

struct conf {
	char *path;
	struct conf_eal eal;
	struct conf_port *ports;
	unsigned n_ports;
	struct conf_tunnel *tunnels;
	unsigned n_tunnels;
	unsigned max_sessions;    /* a worker; 65536 */
	unsigned max_streams;     /* a session; 65536 */
	struct conf_telemetry telemetry;
	struct conf_log log;
};

/*
 * Reads and checks a file.  0 and *out (conf_free), or -errno with one line in why: "FILE:LINE: NAME: found X; allowed: Y".
 * Cross-field rules are checked too: nothing that conf_load accepts is refused later for what the file says.
 */
int conf_load(const char *path, struct conf **out, char *why, size_t why_n);
void conf_free(struct conf *c);

/* Overwrites every passphrase, once the keys have been derived. */
void conf_wipe_keys(struct conf *c);
