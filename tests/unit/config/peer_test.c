/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "args.h"

/* mihomo's and gost's files as files of ours. */

#define PEER TESTS_CONF "/peer"

static char *text;

static int try(const char *path, const enum conf_role *role, char why[512])
{
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	int rc;

	why[0] = '\0';
	rc = conf_import(f, path, role, why, 512);
	fclose(f);
	cr_expect_eq(rc == 0, why[0] == '\0', "%d: %s", rc, why);
	cr_expect(rc == 0 || n == 0, "%s", text);
	return rc;
}

/* What the file becomes, read again. */
static struct conf *import(const char *path, const enum conf_role *role)
{
	struct conf *c = NULL;
	char why[512];

	cr_assert_eq(try(path, role, why), 0, "%s", why);
	cr_assert_eq(load_text(text, &c, why), 0, "%s\n%s", why, text);
	return c;
}

static void done(struct conf *c)
{
	conf_free(c);
	free(text);
	text = NULL;
}

static void says(const char *what)
{
	cr_expect(strstr(text, what), "%s\nin\n%s", what, text);
}

Test(peer, mihomo)
{
	struct conf *c = import(PEER "/mihomo.yaml", NULL);
	const struct conf_tunnel *t = c->tunnels;

	cr_assert_eq(c->n_tunnels, 2);
	cr_expect_str_eq(t->name, "HK-01");
	cr_expect(t->role == CONF_CLIENT && t->remote.port_min == 4000 && t->listen.port_min == 12948);
	cr_expect_str_eq(t->remote.host, "example.com");
	cr_expect_str_eq(t->key, "it's hidden"); /* merged, by an anchor */
	cr_expect_str_eq(t->crypt, "aes");	 /* sm4 is none of mihomo's */
	cr_expect_str_eq(t->mode, "fast3");
	cr_expect(t->conn == 4 && t->nocomp && t->smuxver == 2); /* "4", 1, 3 */
	cr_expect(t->datashard == 0 && t->parityshard == 0);	 /* 0 is 10, and -1 off */
	says("proxy \"香港 HK/01\": shadowsocks stays there, with server: 127.0.0.1 and port: 12948");
	says("bogus: not one of mihomo's options: left out");
	says("mihomo does not know \"sm4\", and takes aes");
	says("smuxver: mihomo takes 2 for 3");
	t++;
	cr_expect_str_eq(t->name, "ss-in");
	cr_expect(t->role == CONF_SERVER && t->listen.port_min == 10000 && t->target.port_min == 12949);
	cr_expect_str_eq(t->listen.host, "");
	cr_expect(t->smuxver == 0 && t->datashard == 10 && t->parityshard == 3 && t->mtu == 1350); /* as each speaks */
	says("conn: has no effect on a server");
	cr_expect(c->ports[0].sockets);
	done(c);
}

Test(peer, one_role)
{
	const enum conf_role server = CONF_SERVER, client = CONF_CLIENT;
	struct conf *c = import(PEER "/mihomo.yaml", &server);

	cr_expect(c->n_tunnels == 1 && c->tunnels[0].role == CONF_SERVER);
	done(c);
	c = import(PEER "/gost.yaml", &client);
	cr_expect(c->n_tunnels == 1 && c->tunnels[0].role == CONF_CLIENT);
	done(c);
}

Test(peer, gost)
{
	struct conf *c = import(PEER "/gost.yaml", NULL);
	const struct conf_tunnel *t = c->tunnels;

	cr_assert_eq(c->n_tunnels, 3);
	/* The map's key, mtu and crypt do not survive, its FEC does. */
	cr_expect_str_eq(t->key, "");
	cr_expect_str_eq(t->crypt, "aes");
	cr_expect_str_eq(t->mode, "fast");
	cr_expect(t->mtu == 1400 && t->smuxver == 0 && t->datashard == 10 && t->parityshard == 3 && !t->nocomp);
	cr_expect(t->role == CONF_SERVER && t->listen.port_min == 8443 && t->target.port_min == 12948);
	says("config's key: gost takes kcp.key alone, without it \"\"");
	says("config's mtu: gost takes kcp.mtu alone, without it 1400");
	says("gost does not know \"aes-128-gcm\", and takes aes");
	says("signal: left out");
	t++;
	cr_expect_eq(t->target.port_min, 22);
	says("passed TCP on: this does it alone");
	t++;
	/* gost's own defaults. */
	cr_expect(t->role == CONF_CLIENT && t->remote.port_min == 8443 && t->listen.port_min == 12950);
	cr_expect_str_eq(t->key, "");
	cr_expect_str_eq(t->mode, "manual");
	cr_expect(t->interval == 10 && t->mtu == 1400 && t->smuxver == 1 && t->datashard == 10 && t->parityshard == 3);
	done(c);
}

/* JSON is YAML; single keys win; a map without FEC has none; fake TCP takes frames. */
Test(peer, gost_json)
{
	struct conf *c = import(PEER "/gost.json", NULL);
	const struct conf_tunnel *t = c->tunnels;

	cr_assert_eq(c->n_tunnels, 1);
	cr_expect_str_eq(t->key, "open");
	cr_expect(t->mtu == 1300 && t->sndwnd == 1024 && t->rcvwnd == 2048 && t->smuxver == 2 && t->nocomp && t->tcp);
	cr_expect(t->interval == 40 && t->keepalive == 20 && t->dscp == 46 && t->nodelay == 1 && t->resend == 2 &&
		  t->nc == 1);
	cr_expect(t->datashard == 0 && t->parityshard == 0);
	cr_expect_not(c->ports[0].sockets);
	done(c);
}

/* The examples, and that each says what its peer's program has when nobody tells it otherwise. */
Test(peer, examples)
{
	static const struct {
		const char *path;
		unsigned n, smuxver[3];
	} files[] = {
		{CONF "/vps-server.conf", 1, {2}},	  {CONF "/vps-client.conf", 1, {2}},
		{CONF "/peer-kcptun.conf", 3, {0, 1, 2}}, {CONF "/peer-mihomo.conf", 2, {0, 1}},
		{CONF "/peer-gost.conf", 2, {0, 1}},
	};
	char why[512];
	struct conf *c;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		/* The least ones have their keys beside them, where nobody has put one. */
		bool least = strstr(files[i].path, "vps-") != NULL;

		if (least) {
			cr_expect_eq(conf_load(files[i].path, &c, why, sizeof(why)), -EINVAL);
			cr_expect(strstr(why, "key_file: found \"") && strstr(why, "No such file"), "%s", why);
			continue;
		}
		cr_assert_eq(conf_load(files[i].path, &c, why, sizeof(why)), 0, "%s", why);
		for (unsigned w = 0; w < c->n_warnings; w++) /* of a clone */
			cr_expect(strstr(c->warnings[w], "everybody may read this file"), "%s", c->warnings[w]);
		cr_assert_eq(c->n_tunnels, files[i].n);
		for (unsigned t = 0; t < c->n_tunnels; t++) {
			cr_expect_eq(c->tunnels[t].smuxver, files[i].smuxver[t], "%s", c->tunnels[t].name);
			cr_expect_eq(c->tunnels[t].congestion, CONF_CONGESTION_AUTO);
		}
		conf_free(c);
	}
}

static struct conf *import_text(const char *yaml)
{
	struct conf *c;
	char path[64];

	file_make(path, yaml, strlen(yaml), 0600);
	c = import(path, NULL);
	unlink(path);
	return c;
}

#define PROXY "proxies:\n- {name: a, server: '2001:db8::1', port: 1, plugin: kcptun, plugin-opts: {key: k%s}}\n"

static struct conf *import_option(const char *option)
{
	char yaml[500];

	snprintf(yaml, sizeof(yaml), PROXY, option);
	return import_text(yaml);
}

/* Every option of mihomo's, and what stands for its default. */
Test(peer, mihomo_options)
{
	struct conf *c = import_option(", crypt: xtea, mode: manual, conn: 2, autoexpire: 5, scavengettl: 6, mtu: "
				       "1200, ratelimit: 7, sndwnd: 8, "
				       "rcvwnd: 9, datashard: 4, parityshard: 2, dscp: 3, nocomp: true, acknodelay: "
				       "on, nodelay: 1, interval: 20, "
				       "resend: 2, nc: 1, sockbuf: 70000, smuxver: 2, smuxbuf: 60000, framesize: 4000, "
				       "streambuf: 50000, keepalive: 9");
	const struct conf_tunnel *t = c->tunnels;

	cr_expect_str_eq(t->remote.host, "2001:db8::1");
	cr_expect_str_eq(t->crypt, "xtea");
	cr_expect(t->conn == 2 && t->autoexpire == 5 && t->scavengettl == 6 && t->mtu == 1200 && t->ratelimit == 7);
	cr_expect(t->sndwnd == 8 && t->rcvwnd == 9 && t->datashard == 4 && t->parityshard == 2 && t->dscp == 3);
	cr_expect(t->nocomp && t->acknodelay && t->nodelay == 1 && t->interval == 20 && t->resend == 2 && t->nc == 1);
	cr_expect(t->sockbuf == 70000 && t->smuxver == 2 && t->smuxbuf == 60000 && t->framesize == 4000);
	cr_expect(t->streambuf == 50000 && t->keepalive == 9);
	cr_expect_null(strstr(text, "left out"));
	done(c);
	c = import_option(", crypt: '', mode: ~, conn: 0, scavengettl: 0, mtu: 0, sndwnd: 0, rcvwnd: 0, datashard: 0, "
			  "parityshard: 0, "
			  "interval: 0, sockbuf: 0, smuxver: 0, smuxbuf: 0, framesize: 0, streambuf: 0, keepalive: 0");
	t = c->tunnels;
	cr_expect(t->conn == 1 && t->mtu == 1350 && t->datashard == 10 && t->smuxver == 1 && t->keepalive == 10);
	cr_expect_str_eq(t->crypt, "aes");
	done(c);
	c = import_option(", mode: turbo, interval: 25");
	cr_expect_str_eq(c->tunnels[0].mode, "manual");
	cr_expect_eq(c->tunnels[0].interval, 25);
	done(c);
}

/* Without options mihomo has kcptun's public key; two of one name are two tunnels; a name may have no letter of ours.
 */
Test(peer, names_and_no_options)
{
	struct conf *c = import_text("proxies:\n- {name: 節點, server: a, port: 1, plugin: kcptun}\n"
				     "- {name: '!', server: a, port: 2, plugin: kcptun}\n"
				     "- {name: x, server: a, port: 3, plugin: obfs}\n");

	cr_assert_eq(c->n_tunnels, 2);
	cr_expect_str_eq(c->tunnels[0].name, "tunnel");
	cr_expect_str_eq(c->tunnels[1].name, "tunnel-2");
	cr_expect_str_eq(c->tunnels[0].key, CONF_DEFAULT_KEY);
	done(c);
}

/* What is merged into itself, and lists of merges of lists: an end is found. */
Test(peer, merges)
{
	char yaml[8000] = "a: &a {<<: *a}\n";
	size_t n;
	struct conf *c =
		import_text("o: &o {key: one, dscp: 5}\np: &p {key: two, mtu: 1200}\nproxies:\n- {name: a, server: a, "
			    "port: 1, plugin: kcptun, plugin-opts: {<<: [*o, *p], dscp: 7}}\n");

	cr_expect(c->tunnels[0].dscp == 7 && c->tunnels[0].mtu == 1200);
	cr_expect_str_eq(c->tunnels[0].key, "one");
	done(c);
	strcpy(yaml, "l: &l0 {x: 1}\n");
	for (unsigned i = 1; i <= 8; i++) {
		n = strlen(yaml);
		n += (size_t)snprintf(yaml + n, sizeof(yaml) - n, "l%u: &l%u {<<: [", i, i);
		for (unsigned k = 0; k < 50; k++)
			n += (size_t)snprintf(yaml + n, sizeof(yaml) - n, "*l%u,", i - 1);
		snprintf(yaml + n, sizeof(yaml) - n, "]}\n");
	}
	n = strlen(yaml);
	snprintf(yaml + n, sizeof(yaml) - n,
		 "proxies:\n- {name: a, server: a, port: 1, plugin: kcptun, plugin-opts: {<<: *l8, key: k}}\n");
	c = import_text(yaml);
	done(c);
}

Test(peer, refused)
{
	static const char *const of[][2] = {
		{"a: [1\n", ":2: syntax error: did not find expected ',' or ']'"},
		{"\tx", ":1: syntax error: found character that cannot start any token"},
		{"", ":1: found no proxies, listeners, services or chains; allowed: a file of kcptun's (JSON), "
		     "mihomo's or gost's"},
		{"hello\n", ":1: found no proxies, listeners, services or chains"},
		{"[1, 2]\n", ":1: found no proxies, listeners, services or chains"},
		{"proxies: 5\n", ":1: found nothing of kcptun's protocol; allowed: mihomo's \"plugin: kcptun\""},
		{"proxies: []\nlisteners: [{kcp-tun: {enable: false}}]\n", ":1: found nothing of kcptun's protocol"},
		{"services: [{listener: {type: tcp}}]\n", ":1: found nothing of kcptun's protocol"},
		{"proxies:\n- {plugin: kcptun, port: 1}\n", ":2: server: found nothing; allowed: a host"},
		{"proxies:\n- {plugin: kcptun, server: a}\n", ":2: port: found nothing; allowed: a port"},
		{"proxies:\n- {plugin: kcptun, server: a, port: x}\n", ":2: remoteaddr: found \"a:x\"; allowed:"},
		{"proxies:\n- {plugin: kcptun, server: a, port: 1, plugin-opts: {mtu: [1]}}\n",
		 ":2: mtu: found a list or a map; allowed: a value"},
		{"proxies:\n- {plugin: kcptun, server: a, port: 1, plugin-opts: {mtu: x}}\n",
		 ":2: mtu: found \"x\"; allowed:"},
		{"proxies:\n- {plugin: kcptun, server: a, port: 1, plugin-opts: {dscp: 99}}\n",
		 ":2: dscp: found 99; allowed:"},
		{"services:\n- {listener: {type: kcp}}\n", ":2: addr: found nothing; allowed: HOST:PORT"},
		{"chains: [{hops: [{nodes: [{addr: nowhere, dialer: {type: kcp}}]}]}]\n",
		 ":1: remoteaddr: found \"nowhere\""},
	};
	char path[64], why[512];

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		file_make(path, of[i][0], strlen(of[i][0]), 0600);
		cr_expect_lt(try(path, NULL, why), 0, "%s\n%s", of[i][0], text);
		cr_expect(strstr(why, of[i][1]), "%s: %s", of[i][0], why);
		unlink(path);
		free(text);
	}
	cr_expect_eq(try("/nonexistent/x.yaml", NULL, why), -ENOENT);
	free(text);
	cr_expect_lt(try("/", NULL, why), 0);
	free(text);
	text = NULL;
}

/* Any byte of a good file changed, or all that follows cut off: one line, and nothing of the key; brackets without end.
 */
Test(peer, damaged)
{
	static const char good[] =
		"listeners:\n- {port: 5, kcp-tun: {enable: true, key: hunter2, <<: &a {mtu: 1300}}}\n"
		"services: [{addr: ':1', listener: {type: kcp}}]\n";
	static const char bytes[] = "\"{}[],:&*-\x1\n\t\xff";
	char bad[sizeof(good)], path[64], why[512];
	char *deep = malloc(200001);

	for (size_t i = 0; i + 1 < sizeof(good); i++) {
		for (size_t b = 0; b < sizeof(bytes); b++) {
			int rc;

			memcpy(bad, good, sizeof(good));
			bad[i] = bytes[b];
			file_make(path, bad, strlen(bad), 0600);
			rc = try(path, NULL, why);
			unlink(path);
			free(text);
			cr_expect(rc == 0 || (!strchr(why, '\n') && !strstr(why, "hunter")), "%s: %s", bad, why);
		}
	}
	memset(deep, '[', 200000);
	deep[200000] = '\0';
	file_make(path, deep, 200000, 0600);
	cr_expect_lt(try(path, NULL, why), 0);
	unlink(path);
	free(text);
	free(deep);
	text = NULL;
}
