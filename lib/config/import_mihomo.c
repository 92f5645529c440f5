/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "import_peer.h"

/*
 * mihomo's (wire.md 11.1): a proxy of type ss with "plugin: kcptun" is a client, a listener with "kcp-tun" a server.
 * Both have shadowsocks inside, which stays with mihomo.
 */

/* Where 0, or nothing, is its default and not the value. */
static const char *const zero_is_default[] = {"key",	   "crypt",	"mode",	   "conn",	"scavengettl",
					      "mtu",	   "sndwnd",	"rcvwnd",  "datashard", "parityshard",
					      "interval",  "sockbuf",	"smuxver", "smuxbuf",	"framesize",
					      "streambuf", "keepalive", NULL};

static const char *const lacks[] = {"sm4", NULL};

static bool is_default(const char *key, const yaml_node_t *node)
{
	const char *text = conf_yaml_text(node);
	int64_t number;

	if (!text || (*text && !(conf_peer_reads_number(node, &number) && number == 0)))
		return false;
	/* A passphrase is a text, and may be "0". */
	if (*text && (strcmp(key, "key") == 0 || strcmp(key, "crypt") == 0 || strcmp(key, "mode") == 0))
		return false;
	for (unsigned i = 0; zero_is_default[i]; i++)
		if (strcmp(zero_is_default[i], key) == 0)
			return true;
	return !*text;
}

static int shards(struct peer *p, const char *key, const yaml_node_t *node)
{
	int64_t number;

	if (conf_peer_reads_number(node, &number) && number < 0)
		return conf_peer_number(p, key, 0, conf_yaml_line(node)); /* -1 is off */
	return conf_peer_node(p, key, node);
}

static int version(struct peer *p, const yaml_node_t *node)
{
	int64_t number;

	if (!conf_peer_reads_number(node, &number) || number <= 2)
		return conf_peer_node(p, "smuxver", node);
	conf_peer_note(p, "line %u: smuxver: mihomo takes 2 for %lld", conf_yaml_line(node), (long long)number);
	return conf_peer_number(p, "smuxver", 2, conf_yaml_line(node));
}

static int option(void *ctx, const char *key, yaml_node_t *node)
{
	struct peer *p = ctx;
	const struct conf_flag *f = conf_flag_find(key, strlen(key), p->a.role, true);

	if (strcmp(key, "enable") == 0 || is_default(key, node))
		return 0;
	if (!f || f->ours || f->part != CONF_P_TUNNEL || f->unset) {
		conf_peer_note(p, "line %u: %.60s: not one of mihomo's options: left out", conf_yaml_line(node), key);
		return 0;
	}
	if (!(f->roles & 1u << p->a.role)) {
		conf_peer_note(p, "line %u: %s: has no effect on a server: left out", conf_yaml_line(node), f->name);
		return 0;
	}
	if (strcmp(f->setting, "crypt") == 0)
		return conf_peer_crypt(p, "mihomo", node, lacks);
	if (strcmp(f->setting, "mode") == 0)
		return conf_peer_mode(p, node);
	if (strcmp(f->setting, "datashard") == 0 || strcmp(f->setting, "parityshard") == 0)
		return shards(p, f->name, node);
	return strcmp(f->setting, "smuxver") == 0 ? version(p, node) : conf_peer_node(p, f->name, node);
}

/* "HOST:PORT" of two values, an IPv6 literal in brackets. */
static int address(struct peer *p, const char *flag, const char *host, const yaml_node_t *port, const yaml_node_t *at)
{
	const char *number = conf_yaml_text(port);
	char text[300];

	if (!number)
		return conf_fail(&p->a.r, conf_yaml_line(at), "port: found nothing; allowed: a port");
	snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, number);
	return conf_peer_text(p, flag, text, conf_yaml_line(port));
}

/* Its smux is 1 unless told otherwise; a server of ours takes either. */
static int options(struct peer *p, yaml_node_t *map)
{
	int rc = 0;

	if (p->a.role == CONF_CLIENT)
		rc = conf_peer_number(p, "smuxver", 1, map ? conf_yaml_line(map) : CONF_LINE_ARGV);
	return rc ? rc : conf_yaml_each(&p->all->doc, map, option, p);
}

static const char *name_of(struct peers *all, yaml_node_t *node)
{
	const char *name = conf_yaml_text(conf_yaml_get(&all->doc, node, "name"));

	return name && *name ? name : "mihomo";
}

static int proxy(struct peers *all, yaml_node_t *node)
{
	const char *name = name_of(all, node), *server = conf_yaml_text(conf_yaml_get(&all->doc, node, "server"));
	char local[32];
	struct peer p;
	int rc = conf_peer_begin(&p, all, CONF_CLIENT);

	if (rc < 0)
		return rc;
	conf_peer_note(
		&p,
		"mihomo's proxy \"%.80s\": shadowsocks stays there, with server: 127.0.0.1 and port: %u, and without",
		name, p.port);
	conf_peer_note(&p, "plugin and plugin-opts.");
	snprintf(local, sizeof(local), "127.0.0.1:%u", p.port);
	rc = conf_peer_text(&p, "localaddr", local, CONF_LINE_ARGV);
	if (rc == 0 && (!server || !*server))
		rc = conf_fail(&all->r, conf_yaml_line(node), "server: found nothing; allowed: a host");
	if (rc == 0)
		rc = address(&p, "remoteaddr", server, conf_yaml_get(&all->doc, node, "port"), node);
	if (rc == 0)
		rc = options(&p, conf_yaml_get(&all->doc, node, "plugin-opts"));
	return conf_peer_end(&p, name, rc);
}

static int listener(struct peers *all, yaml_node_t *node, yaml_node_t *kcp)
{
	const char *name = name_of(all, node), *host = conf_yaml_text(conf_yaml_get(&all->doc, node, "listen"));
	char local[32];
	struct peer p;
	int rc = conf_peer_begin(&p, all, CONF_SERVER);

	if (rc < 0)
		return rc;
	if (!host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
		host = "";
	conf_peer_note(&p,
		       "mihomo's listener \"%.80s\": shadowsocks stays there, with listen: 127.0.0.1 and port: %u, and "
		       "without",
		       name, p.port);
	conf_peer_note(&p, "kcp-tun.");
	snprintf(local, sizeof(local), "127.0.0.1:%u", p.port);
	rc = conf_peer_text(&p, "target", local, CONF_LINE_ARGV);
	if (rc == 0)
		rc = address(&p, "listen", host, conf_yaml_get(&all->doc, node, "port"), node);
	if (rc == 0)
		rc = options(&p, kcp);
	return conf_peer_end(&p, name, rc);
}

static bool is_on(struct peers *all, yaml_node_t *kcp)
{
	bool on = false;

	return kcp && conf_peer_reads_bool(conf_yaml_get(&all->doc, kcp, "enable"), &on) && on;
}

int conf_peer_mihomo(struct peers *all)
{
	yaml_node_t *root = yaml_document_get_root_node(&all->doc), *node;
	yaml_node_t *proxies = conf_yaml_get(&all->doc, root, "proxies");
	yaml_node_t *listeners = conf_yaml_get(&all->doc, root, "listeners");
	int rc = 0;

	for (unsigned i = 0;
	     rc == 0 && conf_peer_wanted(all, CONF_CLIENT) && (node = conf_yaml_at(&all->doc, proxies, i)); i++) {
		const char *plugin = conf_yaml_text(conf_yaml_get(&all->doc, node, "plugin"));

		if (plugin && strcmp(plugin, "kcptun") == 0)
			rc = proxy(all, node);
	}
	for (unsigned i = 0;
	     rc == 0 && conf_peer_wanted(all, CONF_SERVER) && (node = conf_yaml_at(&all->doc, listeners, i)); i++) {
		yaml_node_t *kcp = conf_yaml_get(&all->doc, node, "kcp-tun");

		if (is_on(all, kcp))
			rc = listener(all, node, kcp);
	}
	return rc;
}
