/* SPDX-License-Identifier: MIT */
#include <glob.h>

#include "args.h"

/* kcptun's JSON files: read, refused, and turned into files of ours. */

#define JSON TESTS_CONF "/json"

static struct conf *load_json(const char *text, bool client)
{
	struct conf *c;
	char path[64];

	file_make(path, text, strlen(text), 0600);
	cr_assert_eq(args_run(client ? "client -c @" : "server -c @", &args_host, &c, path), 0, "%s", text);
	unlink(path);
	return c;
}

/* The tunnel's options as they are in both files of the examples. */
static void expect_example(const struct conf_tunnel *t)
{
	cr_expect_str_eq(t->crypt, "aes-128");
	cr_expect(t->qpp && t->qpp_count == 61);
	cr_expect_str_eq(t->mode, "fast3");
	cr_expect(t->nodelay == 1 && t->interval == 10 && t->resend == 2 && t->nc == 1);
	cr_expect(t->mtu == 1400 && t->datashard == 10 && t->parityshard == 3 && t->dscp == 46);
	cr_expect(t->nocomp && !t->acknodelay && !t->tcp);
	cr_expect(t->sockbuf == 16777217 && t->smuxver == 2 && t->smuxbuf == 16777217 && t->streambuf == 2097152);
	cr_expect(t->keepalive == 10 && t->framesize == 8192);
}

Test(json, example_client)
{
	struct conf *c;
	const struct conf_tunnel *t;

	cr_assert_eq(args_run("client -c " JSON "/client.json", &args_host, &c, NULL), 0);
	t = &c->tunnels[0];
	expect_example(t);
	cr_expect_str_eq(t->key, "a passphrase \"quoted\" \\ \u00e9");
	cr_expect_str_eq(t->remote.host, "192.0.2.44");
	cr_expect_eq(t->listen.port_min, 2000);
	cr_expect(t->sndwnd == 128 && t->rcvwnd == 1024 && t->ratelimit == 1048576 && t->autoexpire == 300);
	conf_free(c);
}

Test(json, example_server)
{
	struct conf *c;
	const struct conf_tunnel *t;

	cr_assert_eq(args_run("server -c " JSON "/server.json", &args_host, &c, NULL), 0);
	t = &c->tunnels[0];
	expect_example(t);
	cr_expect_str_eq(t->key, "a passphrase");
	cr_expect_str_eq(t->target.host, "127.0.0.1");
	cr_expect_eq(t->target.port_min, 9999);
	cr_expect(t->sndwnd == 2048 && t->rcvwnd == 2048);
	conf_free(c);
}

/* Case of keys, null, the last of two, the file before the flags, and what stands behind the object. */
Test(json, as_go_reads_it)
{
	struct conf *c = load_json(
		"{\"MTU\":1200,\"Mtu\":1100 , \"conn\":null,\"NoComp\" : true,\"QPP\":true}\n{\"mtu\":1}", true);

	cr_expect(c->tunnels[0].mtu == 1100 && c->tunnels[0].conn == 1 && c->tunnels[0].nocomp && c->tunnels[0].qpp);
	conf_free(c);
	c = load_json("\r\n\t{ }", false);
	cr_expect_eq(c->tunnels[0].listen.port_min, 29900);
	conf_free(c);
	c = load_json("{\"k\\u0065y\":\"\\\"}{\\\\\",\"log\":\"a,b\"}", true);
	cr_expect_str_eq(c->tunnels[0].key, "\"}{\\");
	cr_expect_str_eq(c->log.file, "a,b");
	conf_free(c);
}

/* kcptun's file has a window, ours may have the rest; what a flag gave is given. */
Test(json, congestion)
{
	struct conf *c = load_json("{\"sndwnd\":300,\"Congestion\":\"auto\",\"bandwidth\":\"1.5M/20M\"}", true);
	char path[64];

	cr_expect_eq(c->tunnels[0].congestion, CONF_CONGESTION_AUTO);
	cr_expect(c->tunnels[0].sndwnd == 300 && c->tunnels[0].rcvwnd == 0);
	cr_expect(c->tunnels[0].bandwidth.up == 1500000 && c->tunnels[0].bandwidth.down == 20000000);
	conf_free(c);
	c = load_json("{\"congestion\":\"stock\"}", false);
	cr_expect_eq(c->tunnels[0].congestion, CONF_CONGESTION_STOCK);
	cr_expect(c->tunnels[0].sndwnd == 1024 && c->tunnels[0].rcvwnd == 1024);
	conf_free(c);
	c = load_json("{\"compat\":\"2021\"}", true);
	cr_expect_eq(c->tunnels[0].congestion, CONF_CONGESTION_STOCK);
	cr_expect(c->tunnels[0].sndwnd == 128 && c->tunnels[0].rcvwnd == 512);
	conf_free(c);
	file_make(path, "{\"rcvwnd\":9}", 12, 0600);
	cr_assert_eq(args_run("client -c @ --sndwnd 8 --rcvwnd 7", &args_host, &c, path), 0);
	cr_expect(c->tunnels[0].sndwnd == 8 && c->tunnels[0].rcvwnd == 9);
	conf_free(c);
	unlink(path);
}

Test(json, overrides_flags)
{
	struct conf *c;
	char path[64];

	file_make(path, "{\"mtu\":1200,\"nocomp\":false}", 27, 0600);
	cr_assert_eq(args_run("client -c @ --mtu 1100 --nocomp --dscp 5", &args_host, &c, path), 0);
	cr_expect(c->tunnels[0].mtu == 1200 && !c->tunnels[0].nocomp && c->tunnels[0].dscp == 5);
	conf_free(c);
	unlink(path);
}

/* What stock ignores because it is the other program's is said, not refused. */
Test(json, keys_of_the_other_role)
{
	struct conf *c = load_json("{\"key\":\"k\",\n\"conn\":4,\"autoexpire\":\"x\"}", false);

	cr_assert_eq(c->n_warnings, 2);
	cr_expect(strstr(c->warnings[0], ":2: conn: has no effect on a server"), "%s", c->warnings[0]);
	cr_expect(strstr(c->warnings[1], ":2: autoexpire: has no effect on a server"), "%s", c->warnings[1]);
	cr_expect_eq(c->tunnels[0].conn, 0);
	conf_free(c);
}

/* jansson passes over a NUL behind a number or a word, Go does not; behind the object nothing is looked at. */
Test(json, nul)
{
	static const char bad[][32] = {"{\n\"mtu\":1200\0}", "{\n\"nocomp\":true\0,\"a\":1}", "{\n\"a\":[1\0,2]}",
				       "{\n\"a\":{\"b\":1\0}}"};
	static const size_t n[] = {14, 23, 13, 15};
	char path[64], why[512];
	struct conf *c;

	for (unsigned i = 0; i < 4; i++) {
		file_make(path, bad[i], n[i], 0600);
		cr_expect_eq(args_try("client -c @", &args_host, &c, path, why), -EINVAL, "%u", i);
		cr_expect(strstr(why, ":2: syntax error: found a NUL byte"), "%u: %s", i, why);
		unlink(path);
	}
	file_make(path, "{\"mtu\":1200}\0", 13, 0600);
	cr_assert_eq(args_run("client -c @", &args_host, &c, path), 0);
	cr_expect_eq(c->tunnels[0].mtu, 1200);
	conf_free(c);
	unlink(path);
}

Test(json, each_file_is_refused_as_promised)
{
	FILE *f = fopen(JSON "/expect.txt", "r");
	char promise[512], want[1024], path[256], line[512];
	unsigned n = 0;
	glob_t g;

	cr_assert_not_null(f);
	cr_assert_eq(glob(JSON "/[0-9]*.json", 0, NULL, &g), 0);
	for (; fgets(promise, sizeof(promise), f); n++) {
		char why[512] = "";
		struct conf *c;

		promise[strcspn(promise, "\n")] = '\0';
		snprintf(path, sizeof(path), "%s/%.*s", JSON, (int)strcspn(promise, ":"), promise);
		snprintf(want, sizeof(want), "%s/%s", JSON, promise);
		snprintf(line, sizeof(line), "client -c %s", path);
		cr_expect_eq(args_try(line, &args_host, &c, NULL, why), -EINVAL, "%s", path);
		cr_expect_null(c);
		cr_expect_str_eq(why, want);
	}
	cr_expect_eq(n, g.gl_pathc);
	fclose(f);
	globfree(&g);
}

/* A good file cut anywhere, or with any byte changed: an answer of one line that shows nothing of the key. */
Test(json, damaged_files)
{
	static const char good[] =
		"{\"key\":\"hunter2\",\"mtu\":1350,\n\"nocomp\":true,\"conn\":2,\"l\":[{\"a\":\"}\"}]}";
	static const char bytes[] = "\"{}[],:\\x1\n\xff";
	char text[sizeof(good)], why[512];
	struct conf *c;

	for (size_t i = 0; i + 1 < sizeof(good); i++) {
		for (size_t b = 0; b < sizeof(bytes); b++) {
			char path[64];
			int rc;

			memcpy(text, good, sizeof(good));
			text[i] = bytes[b]; /* the last is 0: cut off */
			file_make(path, text, strlen(text), 0600);
			rc = args_try("client -c @", &args_host, &c, path, why);
			unlink(path);
			cr_expect(rc == 0 ? c != NULL : rc == -EINVAL && !c, "%s: %d", text, rc);
			cr_expect(rc == 0 || (!strchr(why, '\n') && !strstr(why, "hunter")), "%s: %s", text, why);
			conf_free(c);
		}
	}
}

/* ---- import ---- */

static char *import(const char *path, const enum conf_role *role)
{
	char *text = NULL, why[512] = "";
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	cr_assert_eq(conf_import(f, path, role, why, sizeof(why)), 0, "%s", why);
	fclose(f);
	return text;
}

static void expect_same_address(const struct conf_hostport *a, const struct conf_hostport *b)
{
	cr_expect_eq(!a->host, !b->host);
	cr_expect_eq(!a->path, !b->path);
	cr_expect(!a->host || strcmp(a->host, b->host) == 0);
	cr_expect(!a->path || strcmp(a->path, b->path) == 0);
	cr_expect(a->port_min == b->port_min && a->port_max == b->port_max);
}

/* Of two tunnels, all but where they came from. */
static void expect_same_tunnel(const struct conf_tunnel *a, const struct conf_tunnel *b)
{
	struct conf_tunnel x = *a, y = *b;

	expect_same_address(&a->listen, &b->listen);
	expect_same_address(&a->target, &b->target);
	expect_same_address(&a->remote, &b->remote);
	cr_expect_eq(a->key_len, b->key_len);
	cr_expect_str_eq(a->key, b->key);
	x.listen = x.target = x.remote = y.listen = y.target = y.remote = (struct conf_hostport){0};
	x.key = y.key = NULL;
	x.line = y.line = 0;
	x.key_missing = y.key_missing = false; /* the file has stock's own */
	cr_expect_eq(memcmp(&x, &y, sizeof(x)), 0);
}

static void expect_round_trip(const char *json, bool client)
{
	char *text = import(json, NULL), line[300], why[512];
	struct conf *a, *b;

	snprintf(line, sizeof(line), "%s -c %s", client ? "client" : "server", json);
	if (strstr(json, "unsafe"))
		snprintf(line, sizeof(line),
			 "server -l :4000-4009 -t /run/app.sock --crypt xor --snmplog ./snmp-20060102.log "
			 "--snmpperiod 30 --log k.log --quiet");
	cr_assert_eq(args_run(line, &args_host, &a, NULL), 0);
	cr_assert_eq(load_text(text, &b, why), 0, "%s\n%s", why, text);
	expect_same_tunnel(&a->tunnels[0], &b->tunnels[0]);
	cr_expect_str_eq(a->telemetry.snmplog, b->telemetry.snmplog);
	cr_expect_eq(a->telemetry.snmpperiod, b->telemetry.snmpperiod);
	cr_expect_str_eq(a->log.file, b->log.file);
	cr_expect_eq(a->log.quiet, b->log.quiet);
	cr_expect_eq(b->ports[0].exception, CONF_EXC_KERNEL);
	conf_free(a);
	conf_free(b);
	free(text);
}

Test(import, says_the_same)
{
	expect_round_trip(JSON "/client.json", true);
	expect_round_trip(JSON "/server.json", false);
	expect_round_trip(JSON "/unsafe.json", false);
}

/* What the JSON leaves out stays left out, and so automatic; a rate is written as it may be read. */
Test(import, windows_and_bandwidth)
{
	static const char *const of[][3] = {
		{"", "", "sndwnd"},
		{"\"sndwnd\":300", "sndwnd = 300;", "rcvwnd"},
		{"\"congestion\":\"stock\"", "congestion = \"stock\";", "wnd ="},
		{"\"bandwidth\":\"1.5M/20000k\"", "bandwidth = \"1500k/20M\";", "congestion"},
		{"\"bandwidth\":\"12345678/12345678\"", "bandwidth = \"12345678\";", "wnd"},
	};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		char json[200], path[64], line[100], why[512], *text;
		struct conf *a, *b;

		snprintf(json, sizeof(json), "{\"key\":\"k\",\"remoteaddr\":\"192.0.2.1:1\"%s%s}",
			 of[i][0][0] ? "," : "", of[i][0]);
		file_make(path, json, strlen(json), 0600);
		text = import(path, NULL);
		cr_expect(strstr(text, of[i][1]), "%s", text);
		cr_expect_null(strstr(text, of[i][2]), "%s", text);
		snprintf(line, sizeof(line), "client -c %s", path);
		cr_assert_eq(args_run(line, &args_host, &a, NULL), 0);
		cr_assert_eq(load_text(text, &b, why), 0, "%s\n%s", why, text);
		expect_same_tunnel(&a->tunnels[0], &b->tunnels[0]);
		conf_free(a);
		conf_free(b);
		free(text);
		unlink(path);
	}
}

Test(import, comments)
{
	char *text = import(JSON "/unsafe.json", NULL);

	cr_expect(strstr(text, "# --key: not given, and kcptun's default passphrase is public"), "%s", text);
	cr_expect(strstr(text, "key = \"it's a secrect\";"), "%s", text);
	cr_expect(strstr(text, "unsafe.json:1: crypt: \"xor\" hides nothing"), "%s", text);
	cr_expect(strstr(text, "# left out:"), "%s", text);
	cr_expect(strstr(text, "unsafe.json:1: conn: has no effect on a server"), "%s", text);
	cr_expect(strstr(text, "unsafe.json:2: pprof: an option that has no effect here"), "%s", text);
	free(text);
	text = import(JSON "/client.json", NULL);
	cr_expect(strstr(text, "client.json:22: sockbuf: no socket, no effect\n\t\tsockbuf = 16777217;"), "%s", text);
	cr_expect(strstr(text, "client.json:18: nodelay: has no effect with mode \"fast3\", only with \"manual\"\n"),
		  "%s", text);
	cr_expect_null(strstr(text, "interval ="), "%s", text); /* the mode's, not the file's */
	free(text);
}

Test(import, readable_by_everybody)
{
	char path[64], *text;

	file_make(path, "{\"listen\":\":1\",\"key\":\"k\"}", 26, 0644);
	text = import(path, NULL);
	cr_expect(strstr(text, ":1: key: everybody may read this file\n\t\tkey = \"k\";"), "%s", text);
	free(text);
	unlink(path);
}

static int import_error(const char *json, char why[512])
{
	char path[64], *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	int rc;

	file_make(path, json, strlen(json), 0600);
	rc = conf_import(f, path, NULL, why, 512);
	unlink(path);
	fclose(f);
	cr_expect_eq(n, 0); /* nothing half done */
	free(text);
	memmove(why, why + strlen(path), strlen(why + strlen(path)) + 1);
	return rc;
}

Test(import, role)
{
	enum conf_role client = CONF_CLIENT;
	char why[512], path[64], *text;

	cr_expect_eq(import_error("{\"mtu\":1350}", why), -EINVAL);
	cr_expect_str_eq(why,
			 ": found neither localaddr and remoteaddr nor listen and target; allowed: either of them, or "
			 "--role client or --role server");
	cr_expect_eq(import_error("{\"listen\":\":1\",\"remoteaddr\":\"a:1\"}", why), -EINVAL);
	cr_expect(strstr(why, ": found keys of a client and of a server; allowed:"), "%s", why);
	cr_expect_eq(import_error("{\"listen\":\":1\",\n\"mtu\":1}", why), -EINVAL);
	cr_expect_str_eq(why, ":2: mtu: found 1; allowed: an integer from 50 to 1500");
	file_make(path, "{\"mtu\":1300}", 12, 0600);
	text = import(path, &client);
	cr_expect(strstr(text, "role = \"client\";") && strstr(text, "remote = \"vps:29900\";"), "%s", text);
	free(text);
	unlink(path);
}
