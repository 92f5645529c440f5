/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The configuration as one immutable struct: read from a libconfig file or from kcptun's command line and JSON file,
 * checked as a whole, handed out in parts by app. Names, meanings and defaults of a tunnel's options are kcptun's
 * (wire.md 9.4, version of 2026), but for closewait (wire.md 14) and windows, which are automatic.  A file has the
 * groups eal, limits, telemetry, log and security, which may be left out, and the lists ports and tunnels; conf/ holds
 * commented ones.  One file: @include is refused.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "addr.h"
#include "limit.h"

#define CONF_NAME_MAX	 32
#define CONF_PORTS_MAX	 LIMIT_PORTS
#define CONF_ADDRS_MAX	 16
#define CONF_WORKERS_MAX LIMIT_WORKERS
#define CONF_CPUS_MAX	 1024
#define CONF_TUNNELS_MAX 1024
#define CONF_CONN_MAX	 1024 /* sessions of one client tunnel */
#define CONF_KEY_MAX	 4096 /* bytes of a key file, its last newline not counted */

#define CONF_DEFAULT_KEY "it's a secrect" /* kcptun's own, public: wire.md 2.1 */

struct conf_addr { /* "192.0.2.7/24" */
	struct addr addr;
	uint8_t plen; /* bits of the address's own family */
};

enum conf_exception { CONF_EXC_TAP, CONF_EXC_KERNEL, CONF_EXC_VIRTIO };
enum conf_idle { CONF_IDLE_ADAPTIVE, CONF_IDLE_POLL };
enum conf_hugepages { CONF_HUGE_AUTO, CONF_HUGE_YES, CONF_HUGE_NO };

struct conf_eal {
	char *lcores; /* EAL's --lcores syntax, main lcore first; NULL: control on CPU 0, one worker on CPU 1 (or 0) */
	unsigned n_lcores; /* counted from it: control + workers; 2 when lcores is NULL */
	unsigned control;  /* lcores of them for TCP connections: the lowest, and from the second on the highest */
	enum conf_hugepages hugepages;
	unsigned memory;   /* MB in all; 0: computed */
	char *file_prefix; /* "kcpgate" */
	char **args;	   /* more EAL arguments, NULL-terminated; NULL: none */
	enum conf_idle idle;
	bool dumpcap; /* false; DPDK's other processes may attach: then hugepages is CONF_HUGE_YES */
};

struct conf_port {
	char name[CONF_NAME_MAX];
	char *device; /* the kernel's form of a PCI address, or vdev string "net_af_packet0,iface=eth0"; either with its
			 devargs */
	bool vdev;
	bool seek; /* device names no interface, nor does ifname: the gateway finds it by the tunnel's addresses */
	enum conf_exception exception;
	bool found;	 /* nobody named the interface: conf_host.iface did */
	char ifname[16]; /* TAP's name (default "kg-NAME"); kernel: the interface, from iface= of the vdev when not
			    given */
	struct conf_addr addresses[CONF_ADDRS_MAX]; /* tap only */
	unsigned n_addresses;
	struct addr gateway[2]; /* default routes, at most one of each family, in the file's order; tap only */
	unsigned n_gateway;
	unsigned mtu;	    /* 1500; 576..2030 */
	unsigned vlan;	    /* 0: none; 1..4094; with a TAP, or AF_XDP beside the kernel */
	unsigned punt_rate; /* 100000; frames a second for the kernel, 0: as many as come; tap only */
	bool local_peers;   /* false; on lo: two of the kernel's switches are on for a stock peer on this host */
	bool sockets;	    /* device "net_kudp0": the kernel's UDP sockets, on no interface */
	int line;
};

/*
 * host: "" (any), a literal (an IPv6 one without its brackets, a link-local one maybe with its zone) or a name; NULL
 * when the option does not apply to the role. min == max for one port.  Only a server's listen and a client's remote
 * may be a range; only listen may be "any".
 */
struct conf_hostport {
	char *host;
	uint16_t port_min, port_max;
	char *path; /* Unix socket: a client's listen or a server's target that is no host:port; then host is NULL */
};

/* One prefix of a server's allow or deny, without host bits.  Of those that hold an address the longest decides. */
struct conf_rule {
	struct addr prefix;
	uint8_t plen; /* bits of the address's own family */
	bool allow;
};

/* Whose defaults a tunnel's options have: 0, ours; otherwise a generation's of kcptun, to the letter (wire.md 9.4). */
enum conf_compat { CONF_COMPAT_OURS, CONF_COMPAT_2016, CONF_COMPAT_2021, CONF_COMPAT_2026 };

/* What bounds a session: a model of the path, or stock's windows and timers. */
enum conf_congestion { CONF_CONGESTION_AUTO, CONF_CONGESTION_STOCK };

struct conf_bandwidth {	   /* of the path, bits/s of frames with all their heads; 0: nobody said */
	uint64_t up, down; /* up: what a client sends */
};

/* "20M/100M", or "100M" where both are the same; returns buf.  Neither is 0. */
#define CONF_BANDWIDTH_MAX 48
const char *conf_bandwidth_text(const struct conf_bandwidth *b, char buf[CONF_BANDWIDTH_MAX]);

#define CONF_SOURCE_MIN	       4096
#define CONF_SESSION_BYTES_MIN 65536u /* MEM_LEAST (mem.h), which a session has in any case */
#define CONF_RATE_SPAN	       4      /* s whose sessions may begin at once after a rest, */
#define CONF_BURST_MIN	       64     /* and so many in any case */

#define CONF_NOCOMP_AUTO 2

enum conf_role { CONF_SERVER, CONF_CLIENT };

struct conf_tunnel {
	char name[CONF_NAME_MAX];
	enum conf_role role;
	char port[CONF_NAME_MAX];    /* gateway port by name; empty: any (server) or by route (client) */
	struct conf_hostport listen; /* server: UDP; client: TCP */
	struct conf_hostport target; /* server: TCP to dial */
	bool proxy_protocol;	     /* server: false; the target is told of the peer first, by PROXY protocol v2 */
	struct conf_hostport remote; /* client: UDP of the server */
	char *key;	  /* passphrase, from `key` or key_file (else kcptun's default); wiped by conf_wipe_keys */
	uint32_t key_len; /* without the 0 that stands behind; a key file may hold any bytes */
	bool key_missing; /* neither was given, and so kcptun's public one is used */
	char *key_file;	  /* as written, relative to the file's folder; NULL: none */
	char crypt[16];	  /* "aes"; aes, aes-128, aes-192, aes-128-gcm, salsa20, blowfish, twofish, cast5, 3des, tea,
			     xtea, xor, sm4, none, null */
	int nodelay, interval, resend, nc; /* as `mode` says, or the four options of manual */
	char mode[8];			   /* "fast"; normal, fast, fast2, fast3, manual */
	unsigned conn;			   /* client: 1..; server: 0 */
	unsigned mtu; /* 1350; largest UDP payload, at most 1500, and kcp_mtu of wire.md 1 is at least 50 */
	enum conf_congestion congestion; /* auto; stock where compat names a year */
	struct conf_bandwidth bandwidth; /* with congestion auto only */
	/*
	 * 1..65535, or 0, automatic: left out with congestion auto, whose windows grow to what is given here at most.
	 * With stock, client 128/512, server 1024/1024.  What compat's year has is given.
	 */
	unsigned sndwnd, rcvwnd;
	unsigned datashard, parityshard; /* 10, 3; sum at most 256; FEC is off when both are 0: one alone never is */
	uint8_t nocomp;			 /* 0, 1; server: CONF_NOCOMP_AUTO, as each client has it */
	bool acknodelay;
	unsigned smuxver; /* client: 2; server: 0, as each client has it.  A client's 0: as the server has it, by trial
			   */
	unsigned smuxbuf, streambuf, framesize; /* 4194304, 2097152, 8192 */
	struct conf_rule *rules; /* server: allow and deny; who is in none may come if there is no allow */
	unsigned n_rules, n_allow;
	unsigned memory;    /* MB; 0 (as there is), or 1 and more for each worker */
	unsigned sessions;  /* server: 0 (as many as there is room for) */
	unsigned keepalive; /* 10, 1..30 s */
	unsigned closewait; /* s; client 30, server 0 (wire.md 14) */
	enum conf_compat compat;
	unsigned autoexpire, scavengettl; /* client, s: 0 (never), 600 */
	uint64_t ratelimit;		  /* bytes/s of UDP payload each session sends, 0: unlimited */
	unsigned dscp;			  /* 0, 0..63 */
	unsigned sockbuf;		  /* bytes of a UDP socket's buffers; only a port of sockets has any */
	bool qpp;			  /* false; QPP-count of pads, 61 */
	unsigned qpp_count;
	bool tcp;	  /* fake TCP instead of UDP (wire.md 10) */
	bool replaycheck; /* true: datagrams that were seen before are dropped; with crypt "null" none is known again */
	int line;	  /* of the file; -1: by the command line */
	int64_t until;	  /* server: seconds since 1970, when it takes nothing new any more; 0: never */
	/* server: index of the first one that listens at the same place: its own, where there is no other */
	unsigned ring;
};

/*
 * Bytes a second of UDP payload that the tunnel's own end is to send by its bandwidth: what its mtu leaves beside the
 * heads of Ethernet, IP and UDP (or fake TCP), in doubt IPv6's.  0: nobody said.
 */
uint64_t conf_bandwidth_sent(const struct conf_tunnel *t);

struct conf_telemetry {
	bool enable;	      /* true */
	bool allow_plaintext; /* false; `kcpgate capture --plaintext` */
	char *snmplog;	      /* "": none; the file name part is a Go time layout (wire.md 9.6) */
	unsigned snmpperiod;  /* 60 s */
	/* Where HTTP is answered: a literal address and one port, or a path; neither: nowhere.  Other hosts reach it
	 * only where that is allowed. */
	struct conf_hostport metrics;
	bool allow_remote_metrics; /* false */
};

/* What the process gives up for itself once it has started: app/posture. */
struct conf_security {
	char *user;	 /* "": it stays who it is */
	bool sandbox;	 /* true; seccomp */
	bool core_dumps; /* false */
	char *state;	 /* /var/lib/kcpgate; "": nothing is kept over restarts (app/recall.h) */
};

struct conf_log {
	int level;  /* enum log_level */
	char *file; /* "": stderr */
	bool quiet;
	int format;    /* enum log_format; LOG_TEXT */
	unsigned rate; /* 1000; lines of a level and second, 0: as many as come */
};

struct conf {
	char *path;
	struct conf_eal eal;
	struct conf_port *ports;
	unsigned n_ports;
	struct conf_tunnel *tunnels;
	unsigned n_tunnels, tunnels_room; /* conf_reserve */
	unsigned spare_tunnels;		  /* limits.spare_tunnels: that may be added while it runs; 16 */
	unsigned max_sessions;		  /* limits.sessions: a worker; 65536 */
	/*
	 * limits.address_sessions, limits.prefix_sessions: of one address, of one /24 or /56; 0: as many as come.  Not
	 * given: half, and three quarters, of what all workers may have, CONF_SOURCE_MIN at least.
	 */
	unsigned max_address, max_prefix;
	unsigned max_rate;    /* limits.address_rate: sessions a second that begin, of one address; 2000, 0: no limit */
	unsigned max_streams; /* limits.streams: a session; 4096 */
	unsigned session_bytes; /* limits.session_bytes: 0 (no limit), or 65536 and more */
	unsigned max_dials;	/* limits.dials: under way at once, to all targets; 512 */
	unsigned dial_timeout;	/* limits.dialtimeout: s; 30 */
	struct conf_telemetry telemetry;
	struct conf_log log;
	struct conf_security security;
	unsigned n_warnings; /* what is allowed but hardly meant: "FILE:LINE: NAME: text", for the caller to log */
	char **warnings;
};

/*
 * Reads and checks a file.  0 and *out (conf_free), or -errno with one line in why: "FILE:LINE: NAME: found X; allowed:
 * Y", "FILE:LINE: syntax error: TEXT" (both -EINVAL) or "FILE: TEXT OF ERRNO".  NAME is the whole path,
 * "tunnels.hk.mtu", or "tunnels[1].mtu" where the tunnel has no valid name.  1024 bytes of why hold every message; no
 * passphrase is ever in one. Cross-field rules are checked too: nothing that conf_load accepts is refused later for
 * what the file says.
 */
int conf_load(const char *path, struct conf **out, char *why, size_t why_n);

/* What conf_args asks of the machine.  Any part may be NULL: then the setting's default stays, and eth0. */
struct conf_host {
	const char *key;	 /* of the environment's KCPTUN_KEY, used when --key is absent */
	const char *lcores;	 /* for eal.lcores */
	const char *file_prefix; /* for eal.file_prefix */
	void *ctx;
	/* The port is one of the kernel's UDP sockets, unless an interface is named or TCP is to be faked. */
	bool sockets;
	/*
	 * The interface for a tunnel whose addresses are known, when none was named.  0, or -errno and what was sought;
	 * -EAGAIN: not now, and the gateway looks for it while it runs (why is then a warning, or empty).
	 */
	int (*iface)(void *ctx, const struct conf_tunnel *t, char ifname[16], char *why, size_t why_n);
	unsigned (*mtu)(void *ctx, const char *ifname); /* within conf_port.mtu's limits */
};

#define CONF_ARGS_HELP	  1
#define CONF_ARGS_VERSION 2

/*
 * One tunnel from the command line of kcptun's client or server (wire.md 9.4), argv[0] being the word of the role, with
 * the JSON file of its -c, and one port, of UDP sockets or AF_PACKET's.  Checked like a file: 0 and *out;
 * CONF_ARGS_HELP or CONF_ARGS_VERSION when that was asked for; or -errno with one line in why, "--NAME: found X;
 * allowed: Y", "KCPTUN_KEY: ..." or "FILE.json:LINE: NAME: ...".  The passphrase in argv is overwritten with x.
 */
int conf_args(enum conf_role role, int argc, char **argv, const struct conf_host *host, struct conf **out, char *why,
	      size_t why_n);

/* The options of a role with their defaults.  0 or -ENOMEM. */
int conf_help(FILE *f, enum conf_role role);

/*
 * The tables as mdoc(7), for manual pages: all settings of a file, group by group, and all options of kcptun's command
 * line.  0, or -errno.
 */
int conf_manual(FILE *f);
int conf_manual_options(FILE *f);

/*
 * Writes the configuration file that does what a file of kcptun's (JSON), mihomo's or gost's (YAML; wire.md 11.1) does,
 * with a comment for all that is unsafe, has no effect, or has to be said to the other program.  It holds passphrases.
 * role NULL: by the file's keys.  0, or -errno with one line in why.
 */
int conf_import(FILE *f, const char *path, const enum conf_role *role, char *why, size_t why_n);

/*
 * What is in force, for who looks at a running gateway: the objects of a configuration in the order eal, limits,
 * telemetry, log, security, the ports, the tunnels; and of each object its settings in its table's order, those that
 * nobody gave included.  No passphrase is among them.
 */
struct conf_object {
	const char *section; /* "tunnels" */
	const char *name;    /* of a port or tunnel; else NULL */
};
struct conf_setting {
	const char *name;
	bool is_number;
	int64_t number;
	const char *text; /* of those that are no numbers: as one would type it, without quotes; a list with commas */
};
unsigned conf_objects(const struct conf *c);
struct conf_object conf_object(const struct conf *c, unsigned i);
/* Until fn returns what is not 0, which is returned; or -ENOMEM. */
int conf_object_each(const struct conf *c, unsigned i, int (*fn)(void *ctx, const struct conf_setting *s), void *ctx);

struct conf_lcore {
	unsigned id;
	int8_t node; /* that all its CPUs lie on; -1: on several */
};

/*
 * The lcores of an eal.lcores text in ascending order, control first, given the NUMA node of every CPU (NULL: node is
 * 0).  At most max are written, *n are there.  0, or -EINVAL for what is not EAL's syntax.
 */
int conf_lcores(const char *text, const int8_t cpu_node[CONF_CPUS_MAX], struct conf_lcore *v, unsigned max,
		unsigned *n);

/* Lcores for control, and the others. */
static inline unsigned conf_controls(const struct conf *c)
{
	return c->eal.control ? c->eal.control : 1;
}

static inline unsigned conf_workers(const struct conf *c)
{
	return c->eal.n_lcores - conf_controls(c);
}

/* The CPUs that lcore `id` of an eal.lcores text may run on.  0, -EINVAL as above, or -ENOENT: it has no such lcore. */
int conf_lcore_cpus(const char *text, unsigned id, uint8_t cpus[CONF_CPUS_MAX]);

/* Wipes the passphrases and frees all.  c may be NULL. */
void conf_free(struct conf *c);

/* Do two servers listen at the same place?  Then their keys tell whose a client is. */
bool conf_same_place(const struct conf_tunnel *t, const struct conf_tunnel *u);

/* Room for so many tunnels in all, blank ones behind those that there are, which stay where they are from then on.  0
 * or -ENOMEM. */
int conf_reserve(struct conf *c, unsigned room);

/* Tunnels that there can be before the next start: who sizes anything by them sizes it by this. */
static inline unsigned conf_room(const struct conf *c)
{
	return c->tunnels_room > c->n_tunnels ? c->tunnels_room : c->n_tunnels;
}

/* Overwrites every passphrase, once the keys have been derived; key_len is 0 afterwards. */
void conf_wipe_keys(struct conf *c);
