/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "import_peer.h"

/*
 * gost's (wire.md 11.1): a service whose listener is "type: kcp" is a server, a node whose dialer is that a client.
 * What is spoken inside (relay, socks5, http, ...) stays with gost.
 *
 * Its metadata has a map, `kcp.config`, and single keys, `kcp.key` and the like.  Of most options the single key alone
 * counts, and without it gost's 0: the map's value is overwritten with that.  Versions that mend this keep the map's.
 */

static const char *const lacks[] = {"aes-128-gcm", "null", NULL};

struct metadata {
	struct peers *all;
	yaml_node_t *md, *map; /* map NULL: gost's own, with kcptun's defaults */
	struct peer *p;
};

/* A value of the metadata, under any of its spellings. */
static yaml_node_t *single(const struct metadata *m, const char *option)
{
	char key[40];

	snprintf(key, sizeof(key), "kcp.%s", option);
	return conf_yaml_get(&m->all->doc, m->md, key);
}

static yaml_node_t *of_map(const struct metadata *m, const char *option)
{
	return conf_yaml_get(&m->all->doc, m->map, option);
}

/* What a map says in vain is told: another version of gost would take it. */
static void tell_overwritten(struct metadata *m, const char *option, const char *instead)
{
	yaml_node_t *node = of_map(m, option);

	if (node && !single(m, option))
		conf_peer_note(
			m->p,
			"line %u: config's %s: gost takes kcp.%s alone, without it %s; where both ends are versions "
			"that take "
			"this, set it here",
			conf_yaml_line(node), option, option, instead);
}

/* Options whose single key alone counts; `zero` is what gost has without it, NULL: as kcpgate. */
static int alone(struct metadata *m, const char *option, const char *zero, const char *said)
{
	yaml_node_t *node = single(m, option);
	int64_t number;

	tell_overwritten(m, option, said);
	if (node && conf_yaml_text(node) && *conf_yaml_text(node) &&
	    !(conf_peer_reads_number(node, &number) && number == 0 && strcmp(option, "key") != 0))
		return conf_peer_node(m->p, option, node);
	return zero ? conf_peer_text(m->p, option, zero, CONF_LINE_ARGV) : 0;
}

static int numbers(struct metadata *m)
{
	static const struct {
		const char *option;
		int64_t zero; /* -1: kcpgate's own will do */
		const char *said;
	} rows[] = {
		{"mtu", 1400, "1400"},	 {"sndwnd", -1, "32"},	     {"rcvwnd", -1, "32"},
		{"smuxver", 1, "1"},	 {"smuxbuf", -1, "sockbuf"}, {"streambuf", -1, "half of sockbuf"},
		{"keepalive", -1, "10"},
	};
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < sizeof(rows) / sizeof(rows[0]); i++) {
		rc = alone(m, rows[i].option, NULL, rows[i].said);
		/* A server of ours takes either smux. */
		if (m->p->a.role == CONF_SERVER && strcmp(rows[i].option, "smuxver") == 0)
			continue;
		if (rc == 0 && rows[i].zero >= 0 && !conf_obj_line(m->p->a.r.tunnels, rows[i].option))
			rc = conf_peer_number(m->p, rows[i].option, rows[i].zero, CONF_LINE_ARGV);
	}
	return rc;
}

/* Without a mode there is none: its four numbers are those that are given. */
static int mode(struct metadata *m)
{
	yaml_node_t *node = single(m, "mode"), *interval = single(m, "interval");
	int64_t ms = 0;
	int rc;

	tell_overwritten(m, "mode", "none");
	tell_overwritten(m, "interval", "10 ms");
	rc = node ? conf_peer_mode(m->p, node) : conf_peer_text(m->p, "mode", "manual", CONF_LINE_ARGV);
	if (rc || strcmp(m->p->a.r.c->tunnels->mode, "manual") != 0)
		return rc;
	if (interval)
		conf_peer_reads_number(interval, &ms);
	return conf_peer_number(m->p, "interval", ms < 10 ? 10 : ms,
				interval ? conf_yaml_line(interval) : CONF_LINE_ARGV);
}

/* Options that the map's value survives of; a map without them has 0 there. */
static int kept(struct metadata *m)
{
	static const char *const options[] = {"dscp", "acknodelay", "sockbuf", "nodelay", "resend", "nc", NULL};
	static const char *const fec[] = {"datashard", "parityshard"};
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < 2 && m->map; i++) {
		yaml_node_t *node = of_map(m, fec[i]);
		int64_t n = 0;

		if (node)
			conf_peer_reads_number(node, &n);
		if (!node)
			conf_peer_note(m->p, "line %u: config without %s: 0", conf_yaml_line(m->map), fec[i]);
		rc = n <= 0 ? conf_peer_number(m->p, fec[i], 0, conf_yaml_line(node ? node : m->map))
			    : conf_peer_node(m->p, fec[i], node);
	}
	for (unsigned i = 0; rc == 0 && options[i]; i++) {
		yaml_node_t *node = of_map(m, options[i]);

		if (node && conf_yaml_text(node) && *conf_yaml_text(node))
			rc = conf_peer_node(m->p, options[i], node);
	}
	return rc;
}

static int switches(struct metadata *m)
{
	yaml_node_t *nocomp = single(m, "nocomp"), *tcp = single(m, "tcp");
	bool on = false;
	int rc = 0;

	tell_overwritten(m, "nocomp", "false");
	tell_overwritten(m, "tcp", "false");
	if (nocomp && conf_peer_reads_bool(nocomp, &on))
		rc = conf_peer_bool(m->p, "nocomp", on, conf_yaml_line(nocomp));
	if (!tcp)
		tcp = conf_yaml_get(&m->all->doc, m->md, "tcp");
	if (rc == 0 && tcp && conf_peer_reads_bool(tcp, &on))
		rc = conf_peer_bool(m->p, "tcp", on, conf_yaml_line(tcp));
	return rc;
}

static int left_out(void *ctx, const char *key, yaml_node_t *node)
{
	static const char *const known[] = {"key",	 "crypt",	"mode", "mtu",	   "sndwnd",	 "rcvwnd",
					    "datashard", "parityshard", "dscp", "nocomp",  "acknodelay", "nodelay",
					    "interval",	 "resend",	"nc",	"sockbuf", "smuxbuf",	 "streambuf",
					    "smuxver",	 "keepalive",	"tcp",	NULL};
	struct metadata *m = ctx;

	for (unsigned i = 0; known[i]; i++)
		if (strcmp(known[i], key) == 0)
			return 0;
	conf_peer_note(m->p, "line %u: %.60s: left out", conf_yaml_line(node), key);
	return 0;
}

static int key_and_crypt(struct metadata *m)
{
	yaml_node_t *crypt = single(m, "crypt");
	int rc = alone(m, "key", "", "\"\"");

	tell_overwritten(m, "crypt", "aes");
	return rc ? rc : conf_peer_crypt(m->p, "gost", crypt, lacks);
}

static int options(struct metadata *m)
{
	static int (*const parts[])(struct metadata *) = {key_and_crypt, mode, numbers, kept, switches};
	yaml_node_t *file = single(m, "configFile");
	int rc = 0;

	m->map = conf_yaml_get(&m->all->doc, m->md, "kcp.config");
	if (!m->map)
		m->map = conf_yaml_get(&m->all->doc, m->md, "config");
	if (m->map &&
	    (m->map->type != YAML_MAPPING_NODE || m->map->data.mapping.pairs.start == m->map->data.mapping.pairs.top))
		m->map = NULL;
	if (!file)
		file = conf_yaml_get(&m->all->doc, m->md, "c");
	if (file)
		conf_peer_note(m->p, "line %u: %.200s: not read; what it says is to be set here", conf_yaml_line(file),
			       conf_yaml_text(file) ? conf_yaml_text(file) : "a file");
	for (unsigned i = 0; rc == 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
		rc = parts[i](m);
	return rc ? rc : conf_yaml_each(&m->all->doc, m->map, left_out, m);
}

/* ---- nodes and services ---- */

static const char *text_of(struct peers *all, yaml_node_t *node, const char *key)
{
	const char *text = conf_yaml_text(conf_yaml_get(&all->doc, node, key));

	return text ? text : "";
}

static bool is_kcp(struct peers *all, yaml_node_t *part)
{
	return part && strcmp(text_of(all, part, "type"), "kcp") == 0;
}

/* The local end: what goes beside gost. */
static int local(struct peer *p, const char *flag)
{
	char text[32];

	snprintf(text, sizeof(text), "127.0.0.1:%u", p->port);
	return conf_peer_text(p, flag, text, CONF_LINE_ARGV);
}

static int finish(struct peer *p, yaml_node_t *node, yaml_node_t *part, const char *flag)
{
	struct metadata m = {.all = p->all, .p = p, .md = conf_yaml_get(&p->all->doc, part, "metadata")};
	yaml_node_t *addr = conf_yaml_get(&p->all->doc, node, "addr");
	const char *name = text_of(p->all, node, "name");
	int rc = addr && conf_yaml_text(addr)
			 ? conf_peer_text(p, flag, conf_yaml_text(addr), conf_yaml_line(addr))
			 : conf_fail(&p->all->r, conf_yaml_line(node), "addr: found nothing; allowed: HOST:PORT");

	if (rc == 0)
		rc = options(&m);
	return conf_peer_end(p, *name ? name : "gost", rc);
}

static int node_of_chain(struct peers *all, yaml_node_t *node)
{
	struct peer p;
	int rc = conf_peer_begin(&p, all, CONF_CLIENT);

	if (rc < 0)
		return rc;
	conf_peer_note(
		&p,
		"gost's node \"%.80s\": its connector stays there, with addr: 127.0.0.1:%u and a dialer of type: tcp.",
		text_of(all, node, "name"), p.port);
	rc = local(&p, "localaddr");
	return rc ? conf_peer_end(&p, "", rc)
		  : finish(&p, node, conf_yaml_get(&all->doc, node, "dialer"), "remoteaddr");
}

/* A service that only passes TCP on needs no gost any more. */
static const char *forwarded(struct peers *all, yaml_node_t *service)
{
	yaml_node_t *nodes = conf_yaml_get(&all->doc, conf_yaml_get(&all->doc, service, "forwarder"), "nodes");

	if (strcmp(text_of(all, conf_yaml_get(&all->doc, service, "handler"), "type"), "tcp") != 0)
		return "";
	return text_of(all, conf_yaml_at(&all->doc, nodes, 0), "addr");
}

static int service(struct peers *all, yaml_node_t *node)
{
	const char *to = forwarded(all, node);
	struct peer p;
	int rc = conf_peer_begin(&p, all, CONF_SERVER);

	if (rc < 0)
		return rc;
	if (*to) {
		conf_peer_note(&p, "gost's service \"%.80s\" passed TCP on: this does it alone.",
			       text_of(all, node, "name"));
		rc = conf_peer_text(&p, "target", to, conf_yaml_line(node));
	} else {
		conf_peer_note(
			&p,
			"gost's service \"%.80s\": its handler stays there, with addr: 127.0.0.1:%u and a listener "
			"of type: tcp.",
			text_of(all, node, "name"), p.port);
		rc = local(&p, "target");
	}
	return rc ? conf_peer_end(&p, "", rc) : finish(&p, node, conf_yaml_get(&all->doc, node, "listener"), "listen");
}

static int nodes(struct peers *all, yaml_node_t *list)
{
	yaml_node_t *node;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && (node = conf_yaml_at(&all->doc, list, i)); i++)
		if (is_kcp(all, conf_yaml_get(&all->doc, node, "dialer")))
			rc = node_of_chain(all, node);
	return rc;
}

static int hops(struct peers *all, yaml_node_t *list)
{
	yaml_node_t *hop;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && (hop = conf_yaml_at(&all->doc, list, i)); i++)
		rc = nodes(all, conf_yaml_get(&all->doc, hop, "nodes"));
	return rc;
}

int conf_peer_gost(struct peers *all)
{
	yaml_node_t *root = yaml_document_get_root_node(&all->doc), *one;
	yaml_node_t *services = conf_yaml_get(&all->doc, root, "services"),
		    *chains = conf_yaml_get(&all->doc, root, "chains");
	int rc = 0;

	for (unsigned i = 0;
	     rc == 0 && conf_peer_wanted(all, CONF_SERVER) && (one = conf_yaml_at(&all->doc, services, i)); i++)
		if (is_kcp(all, conf_yaml_get(&all->doc, one, "listener")))
			rc = service(all, one);
	for (unsigned i = 0;
	     rc == 0 && conf_peer_wanted(all, CONF_CLIENT) && (one = conf_yaml_at(&all->doc, chains, i)); i++)
		rc = hops(all, conf_yaml_get(&all->doc, one, "hops"));
	/* Hops have a list of their own, too. */
	if (rc == 0 && conf_peer_wanted(all, CONF_CLIENT))
		rc = hops(all, conf_yaml_get(&all->doc, root, "hops"));
	return rc;
}
