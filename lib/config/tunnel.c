/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/* A tunnel's options, by kcptun's names (wire.md 9.4). */

/* ---- rows ---- */

static int put_key(void *field, const char *text, const char **allowed)
{
	struct conf_tunnel *t = field;
	size_t n = strlen(text);

	if (n > CONF_KEY_MAX)
		return -EINVAL;
	if (t->key)
		explicit_bzero(t->key, t->key_len);
	t->key_len = (uint32_t)n;
	return conf_put_text(&t->key, text, allowed);
}

static char *get_key(const void *field)
{
	return strdup(((const struct conf_tunnel *)field)->key);
}

static char *get_hostport(const void *field)
{
	return conf_hostport_text(field);
}

static int put_path(void *field, const char *text, const char **allowed)
{
	return text[0] != '\0' ? conf_put_text(field, text, allowed) : -EINVAL;
}

static int put_listen(void *field, const char *text, const char **allowed)
{
	return conf_hostport_or_path(text, field, allowed);
}

/* An address to send to. */
static int put_remote(void *field, const char *text, const char **allowed)
{
	struct conf_hostport hp = {0};
	struct addr a;
	int rc = conf_hostport_parse(text, &hp, allowed);

	if (rc < 0)
		return rc;
	if (hp.host[0] == '\0' || (addr_parse(hp.host, &a) == 0 && addr_is_any(&a))) {
		*allowed = "HOST:PORT with a host to send to";
		free(hp.host);
		return -EINVAL;
	}
	free(hp.host);
	return conf_hostport_parse(text, field, allowed);
}

static int put_target(void *field, const char *text, const char **allowed)
{
	struct conf_hostport hp = {0};
	int rc = conf_hostport_or_path(text, &hp, allowed);

	if (rc < 0)
		return rc;
	free(hp.host);
	if (!hp.path)
		return put_remote(field, text, allowed);
	free(hp.path);
	return conf_hostport_or_path(text, field, allowed);
}

static const char *const role_words[] = {"server", "client", NULL};		     /* enum conf_role */
static const char *const compat_words[] = {"kcpgate", "2016", "2021", "2026", NULL}; /* enum conf_compat */
static const char *const congestion_words[] = {"auto", "stock", NULL};		     /* enum conf_congestion */
static const char *const crypt_words[] = {"aes",     "aes-128", "aes-192", "aes-128-gcm", "salsa20", "blowfish",
					  "twofish", "cast5",	"3des",	   "tea",	  "xtea",    "xor",
					  "sm4",     "none",	"null",	   NULL};
static const char *const mode_words[] = {"normal", "fast", "fast2", "fast3", "manual", NULL};

#define SETS(k, f)	  .kind = (k), .offset = offsetof(struct conf_tunnel, f), .size = sizeof(((struct conf_tunnel *)0)->f)
#define UINT(f, from, to) SETS(CONF_UINT, f), .min = (from), .max = (to)
#define INT(f, from, to)  SETS(CONF_INT, f), .min = (from), .max = (to)
#define SECONDS_MAX	  4294967 /* in ms it fits 32 bits */
#define WINDOW(which) \
	.unset = "automatic", .help = which " window, packets; with congestion auto the most that it may grow to"
#define PREFIX_ALLOWED "a prefix ADDRESS/LENGTH, \"192.0.2.0/24\" or \"2001:db8::/32\""
#define NAME_ALLOWED   "1 to 31 characters of A-Z a-z 0-9 . _ -"

static const struct conf_item items[] = {
	{"name", SETS(CONF_TEXT, name), .flags = CONF_F_NEEDED, .put = conf_put_name, .get = conf_get_name,
	 .allowed = NAME_ALLOWED, .help = "by which messages and telemetry know the tunnel"},
	{"compat", SETS(CONF_ENUM, compat), .words = compat_words,
	 .help = "whose defaults: kcpgate's, or those of kcptun of 2016, 2021 or 2026 to the letter"},
	{"role", SETS(CONF_ENUM, role), .flags = CONF_F_NEEDED, .words = role_words,
	 .help = "which of kcptun's programs"},
	{"port", SETS(CONF_TEXT, port), .put = conf_put_name, .get = conf_get_name, .allowed = NAME_ALLOWED,
	 .help = "gateway port; not given: any (server), by route (client)"},
	{"listen", "localaddr", SETS(CONF_TEXT, listen), .flags = CONF_F_NEEDED, .alias_roles = CONF_R_CLIENT,
	 .put = put_listen, .get = get_hostport,
	 .allowed = "HOST:PORT, :PORT, HOST:MIN-MAX (server) or a Unix socket's path with a / in it (client)",
	 .help = "server: UDP of its clients; client: TCP to accept"},
	{"target", SETS(CONF_TEXT, target), .flags = CONF_F_NEEDED, .roles = CONF_R_SERVER, .put = put_target,
	 .get = get_hostport, .allowed = "HOST:PORT, or the path of a Unix socket with a / in it",
	 .help = "TCP to dial for each stream"},
	{"proxy_protocol", SETS(CONF_BOOL, proxy_protocol), .roles = CONF_R_SERVER,
	 .help = "begin each connection to the target with its client's address, by PROXY protocol version 2"},
	{"remote", "remoteaddr", SETS(CONF_TEXT, remote), .flags = CONF_F_NEEDED, .roles = CONF_R_CLIENT,
	 .put = put_remote, .get = get_hostport, .allowed = "HOST:PORT or HOST:MIN-MAX", .help = "UDP of the server"},
	{"key", .kind = CONF_TEXT, .flags = CONF_F_SECRET, .put = put_key, .get = get_key,
	 .allowed = "a string of up to 4096 bytes", .help = "passphrase"},
	{"key_file", SETS(CONF_TEXT, key_file), .put = put_path, .allowed = "a file's path",
	 .help = "file that holds the passphrase"},
	{"crypt", SETS(CONF_WORD, crypt), .words = crypt_words, .help = "cipher"},
	{"mode", SETS(CONF_WORD, mode), .words = mode_words, .help = "profile of KCP (wire.md 4.2)"},
	{"nodelay", INT(nodelay, 0, 2),
	 .help = "with mode manual and congestion stock: 0, 1 or 2, faster retransmission timers"},
	{"interval", INT(interval, 10, 5000), .help = "with mode manual: ms between flushes"},
	{"resend", INT(resend, 0, 255),
	 .help = "with mode manual and congestion stock: retransmit after so many later ACKs; 0: never"},
	{"nc", INT(nc, 0, 1), .help = "with mode manual and congestion stock: 1: no congestion window"},
	{"conn", UINT(conn, 1, CONF_CONN_MAX), .roles = CONF_R_CLIENT, .help = "sessions to spread connections over"},
	{"allow", .kind = CONF_TEXT, .flags = CONF_F_MANY, .roles = CONF_R_SERVER, .put = conf_put_allow,
	 .allowed = PREFIX_ALLOWED, .help = "source prefixes that sessions may come from; not given: all"},
	{"deny", .kind = CONF_TEXT, .flags = CONF_F_MANY, .roles = CONF_R_SERVER, .put = conf_put_deny,
	 .allowed = PREFIX_ALLOWED, .help = "source prefixes that they may not come from; the longest prefix decides"},
	{"sessions", UINT(sessions, 0, LIMIT_SESSIONS_ALL), .roles = CONF_R_SERVER,
	 .help = "sessions of the tunnel, of all workers; 0: as many as limits.sessions leaves it"},
	{"memory", UINT(memory, 0, 1048576),
	 .help = "MB that its sessions may hold, and as many in transit to and from TCP, of all workers; 0: its part "
		 "of "
		 "what there is"},
	{"mtu", UINT(mtu, 50, LIMIT_UDP), .help = "largest UDP payload"},
	{"congestion", SETS(CONF_ENUM, congestion), .words = congestion_words,
	 .help = "what bounds a session: a model of the path, or kcptun's windows and timers; with compat of a year "
		 "stock"},
	{"bandwidth", SETS(CONF_TEXT, bandwidth), .put = conf_bandwidth_put, .get = conf_bandwidth_get,
	 .allowed = "RATE or UP/DOWN, \"100M\" or \"20M/100M\": bits a second from 10k to 400G, with k, M or G behind "
		    "the number",
	 .unset = "automatic", .help = "bits a second that the path takes from the client/to the client: 20M/100M"},
	{"sndwnd", UINT(sndwnd, 1, LIMIT_KCP_WND), WINDOW("send")},
	{"rcvwnd", UINT(rcvwnd, 1, LIMIT_KCP_WND), WINDOW("receive")},
	{"datashard", "ds", UINT(datashard, 0, LIMIT_FEC_SHARDS - 1), .help = "FEC: data packets a group; 0: off"},
	{"parityshard", "ps", UINT(parityshard, 0, LIMIT_FEC_SHARDS - 1),
	 .help = "FEC: parity packets a group; 0: off"},
	{"nocomp", SETS(CONF_BOOL, nocomp), .word = "auto", .word_value = CONF_NOCOMP_AUTO,
	 .help = "no compression; a server's \"auto\": as each client has it"},
	{"acknodelay", SETS(CONF_BOOL, acknodelay), .help = "send ACKs at once"},
	{"smuxver", UINT(smuxver, 1, 2), .word = "auto",
	 .help = "version of smux, the same on both sides; \"auto\": as each client has it, or the server, by trial"},
	{"smuxbuf", UINT(smuxbuf, 4096, INT32_MAX), .help = "bytes received and not yet taken, a session"},
	{"streambuf", UINT(streambuf, 4096, INT32_MAX), .help = "bytes received and not yet taken, a stream"},
	{"framesize", UINT(framesize, 1, LIMIT_FRAME), .help = "largest smux frame that is sent"},
	{"autoexpire", UINT(autoexpire, 0, SECONDS_MAX), .roles = CONF_R_CLIENT,
	 .help = "s that a session takes new connections; 0: for ever"},
	{"scavengettl", UINT(scavengettl, 0, SECONDS_MAX), .roles = CONF_R_CLIENT,
	 .help = "s that an expired session lives on for its connections"},
	{"ratelimit", SETS(CONF_RATE, ratelimit), .max = 1000000000000,
	 .help = "bytes of UDP payload a second that each session sends; 0: unlimited"},
	{"dscp", UINT(dscp, 0, 63), .help = "DSCP of the packets sent"},
	{"sockbuf", UINT(sockbuf, 0, INT32_MAX),
	 .help = "bytes of each UDP socket's buffers, which only a port of sockets (net_kudp0) has"},
	{"qpp", "QPP", SETS(CONF_BOOL, qpp), .help = "quantum permutation pads, the same on both sides"},
	{"qpp-count", "QPPCount", UINT(qpp_count, LIMIT_QPP_MIN, 65535), .help = "pads of QPP, a prime number"},
	{"tcp", SETS(CONF_BOOL, tcp), .help = "packets that look like TCP in place of UDP"},
	{"replaycheck", SETS(CONF_BOOL, replaycheck),
	 .help = "drop datagrams that were seen before: copies, and what somebody has recorded and sends again"},
	{"until", SETS(CONF_TEXT, until), .roles = CONF_R_SERVER, .put = conf_until_put, .get = conf_until_get,
	 .allowed = "a time in UTC, \"2026-12-31\" or \"2026-12-31 18:30\"", .unset = "for ever",
	 .help = "time, UTC, at which it takes nothing new any more, and what there is ends within a minute: for an "
		 "old key"},
	{"keepalive", UINT(keepalive, 1, 30), .help = "s between keepalives"},
	{"closewait", UINT(closewait, 0, 86400), .help = "s that a connection ended on one side may linger"},
	{NULL},
};

_Static_assert(sizeof(items) / sizeof(items[0]) - 1 <= CONF_ITEMS_MAX, "what is given of each is kept");

#define IN_LOG	     "a setting of the group `log'; allowed: there, for all tunnels"
#define IN_TELEMETRY "a setting of the group `telemetry'; allowed: there, for all tunnels"

static const struct conf_later later[] = {
	{"pprof", CONF_NO_PPROF}, {"snmplog", IN_TELEMETRY}, {"snmpperiod", IN_TELEMETRY},
	{"log", IN_LOG},	  {"quiet", IN_LOG},	     {NULL},
};

const struct conf_table conf_tunnel_table = {items, later};
