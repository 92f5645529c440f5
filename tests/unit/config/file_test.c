/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "support.h"

/* Key files, warnings, wiping, and files that no hand wrote. */

static void expect_warning(const struct conf *c, const char *text)
{
	for (unsigned i = 0; i < c->n_warnings; i++)
		if (strstr(c->warnings[i], text))
			return;
	cr_expect_fail("no warning says: %s", text);
}

/* A tunnel whose key file holds these bytes. */
static int load_key(const void *bytes, size_t n, mode_t mode, struct conf **c, char why[512])
{
	char path[64], text[1024];
	int rc;

	file_make(path, bytes, n, mode);
	snprintf(text, sizeof(text),
		 PORTS "tunnels = ( { name = \"t\"; role = \"server\"; listen = \":4000\"; target = \"127.0.0.1:80\";\n"
		       "key_file = \"%s\"; } );\n",
		 path);
	rc = load_text(text, c, why);
	unlink(path);
	return rc;
}

Test(key_file, one_newline_goes)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *key;
		size_t key_n;
	} keys[] = {
		{"secret", 6, "secret", 6},	{"secret\n", 7, "secret", 6}, {"secret\n\n", 8, "secret\n", 7},
		{"secret\r\n", 8, "secret", 6}, {" a b \n", 6, " a b ", 5},   {"a\nb\n", 4, "a\nb", 3},
		{"\0\1\0\n", 4, "\0\1\0", 3},	{"\r", 1, "\r", 1},
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char why[512];
		struct conf *c;

		cr_assert_eq(load_key(keys[i].bytes, keys[i].n, 0600, &c, why), 0, "%zu: %s", i, why);
		cr_expect_eq(c->tunnels[0].key_len, keys[i].key_n, "%zu", i);
		cr_expect_eq(memcmp(c->tunnels[0].key, keys[i].key, keys[i].key_n + 1), 0, "%zu", i);
		cr_expect_eq(c->n_warnings, 0);
		conf_free(c);
	}
}

Test(key_file, length)
{
	char bytes[CONF_KEY_MAX + 2], why[512];
	struct conf *c;

	memset(bytes, 'k', sizeof(bytes));
	cr_expect_eq(load_key(bytes, CONF_KEY_MAX + 1, 0600, &c, why), -EINVAL);
	bytes[CONF_KEY_MAX] = '\n';
	cr_assert_eq(load_key(bytes, CONF_KEY_MAX + 1, 0600, &c, why), 0, "%s", why);
	cr_expect_eq(c->tunnels[0].key_len, CONF_KEY_MAX);
	conf_free(c);
	bytes[CONF_KEY_MAX] = '\r';
	bytes[CONF_KEY_MAX + 1] = '\n';
	cr_assert_eq(load_key(bytes, CONF_KEY_MAX + 2, 0600, &c, why), 0, "%s", why);
	cr_expect_eq(c->tunnels[0].key_len, CONF_KEY_MAX);
	conf_free(c);
	cr_expect_eq(load_key("\n", 1, 0600, &c, why), -EINVAL);
	cr_expect(strstr(why, ":3: tunnels.t.key_file: found \"/tmp/"), "%s", why);
	cr_expect(strstr(why, "with nothing in it; allowed: a passphrase of 1 to 4096 bytes"), "%s", why);
}

Test(key_file, relative_to_the_file)
{
	char folder[] = "/tmp/kcpgate-conf-XXXXXX", path[64], key[64], why[512];
	struct conf *c;
	FILE *f;

	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/x.conf", folder);
	snprintf(key, sizeof(key), "%s/x.key", folder);
	f = fopen(key, "w");
	fputs("beside\n", f);
	fclose(f);
	f = fopen(path, "w");
	fputs(PORTS "tunnels = ( { name = \"t\"; role = \"client\"; listen = \":1\"; remote = \"a:1\"; key_file = "
		    "\"x.key\"; } );",
	      f);
	fclose(f);
	cr_expect_eq(conf_load(path, &c, why, sizeof(why)), 0, "%s", why);
	cr_expect_str_eq(c->tunnels[0].key, "beside");
	cr_expect_str_eq(c->tunnels[0].key_file, "x.key");
	conf_free(c);
	unlink(path);
	unlink(key);
	rmdir(folder);
}

Test(warnings, readable_by_everybody)
{
	char why[512], path[64];
	struct conf *c;
	static const char text[] =
		PORTS "tunnels = ( { name = \"t\"; role = \"server\"; listen = \":4000\"; target = \"127.0.0.1:80\";\n"
		      "key = \"secret\"; } );\n";

	cr_assert_eq(load_key("secret", 6, 0644, &c, why), 0, "%s", why);
	cr_expect_eq(c->n_warnings, 1);
	expect_warning(c, ":3: tunnels.t.key_file: everybody may read \"/tmp/");
	conf_free(c);
	cr_assert_eq(load_key("secret", 6, 0640, &c, why), 0, "%s", why);
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
	file_make(path, text, strlen(text), 0644);
	cr_assert_eq(conf_load(path, &c, why, sizeof(why)), 0, "%s", why);
	unlink(path);
	cr_expect_eq(c->n_warnings, 1);
	expect_warning(c, ":3: tunnels.t.key: everybody may read this file");
	conf_free(c);
}

Test(warnings, weak_keys)
{
	struct conf *c = load_tunnel(true, "");
	char why[512];

	cr_expect_str_eq(c->tunnels[0].key, CONF_DEFAULT_KEY);
	cr_expect_eq(c->tunnels[0].key_len, strlen(CONF_DEFAULT_KEY));
	cr_expect_eq(c->n_warnings, 1);
	expect_warning(c, ":2: tunnels.t.key: not given, and kcptun's default passphrase is public: ANYBODY can use");
	conf_free(c);
	c = load_tunnel(true, "key = \"it's a secrect\";");
	expect_warning(c, ":2: tunnels.t.key: kcptun's default passphrase is public");
	conf_free(c);
	cr_assert_eq(load_key("it's a secrect\n", 15, 0600, &c, why), 0);
	expect_warning(c, ":3: tunnels.t.key_file: kcptun's default passphrase is public");
	conf_free(c);
	c = load_tunnel(true, "key = \"\";");
	expect_warning(c, ":2: tunnels.t.key: is empty");
	conf_free(c);
}

Test(warnings, options_without_effect)
{
	struct conf *c = load_tunnel(true, "key = \"k\"; mode = \"fast2\"; interval = 15; nc = 0;");

	cr_expect_eq(c->n_warnings, 2);
	expect_warning(c, "tunnels.t.interval: has no effect with mode \"fast2\", only with \"manual\"");
	expect_warning(c, "tunnels.t.nc: has no effect");
	cr_expect(c->tunnels[0].interval == 20 && c->tunnels[0].nc == 1);
	conf_free(c);
}

/* Told once, and of what is given only: where losses are told by time there is nothing for them to set. */
Test(warnings, stock_timers_beside_auto)
{
	static const char no_effect[] = "nodelay, resend and nc have no effect with congestion \"auto\", only with "
					"\"stock\"";
	struct conf *c = load_tunnel(true, "key = \"k\"; mode = \"manual\"; interval = 15; resend = 2; nc = 0;");

	cr_expect_eq(c->n_warnings, 1);
	expect_warning(c, "tunnels.t.resend: ");
	expect_warning(c, no_effect);
	conf_free(c);
	c = load_tunnel(true, "key = \"k\"; mode = \"manual\"; nodelay = 1; congestion = \"auto\";");
	cr_expect_eq(c->n_warnings, 1);
	expect_warning(c, no_effect);
	conf_free(c);
	c = load_tunnel(true, "key = \"k\"; mode = \"manual\"; interval = 15;");
	cr_expect_eq(c->n_warnings, 0, "the interval is the tick's");
	conf_free(c);
	c = load_tunnel(true,
			"key = \"k\"; mode = \"manual\"; nodelay = 1; resend = 2; nc = 1; congestion = \"stock\";");
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
	c = load_tunnel(true, "key = \"k\"; mode = \"manual\"; nodelay = 1; nc = 1; compat = \"2026\";");
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
}

Test(warnings, half_of_fec)
{
	struct conf *c = load_tunnel(true, "key = \"k\"; ds = 0;");

	cr_expect_eq(c->n_warnings, 1);
	expect_warning(c, "tunnels.t.ds: 0 alone turns FEC off");
	cr_expect(c->tunnels[0].datashard == 0 && c->tunnels[0].parityshard == 0);
	conf_free(c);
	c = load_tunnel(true, "key = \"k\"; parityshard = 0;");
	expect_warning(c, "tunnels.t.parityshard: 0 alone turns FEC off");
	cr_expect(c->tunnels[0].datashard == 0 && c->tunnels[0].parityshard == 0);
	conf_free(c);
	c = load_tunnel(true, "key = \"k\"; ds = 0; ps = 0;");
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
}

Test(warnings, fragmentation)
{
	struct conf *c = load_tunnel(false, "key = \"k\"; mtu = 1453;");

	cr_expect_eq(c->n_warnings, 1);
	expect_warning(c, "tunnels.t.mtu: 1453 makes IPv6 packets of 1501: they do not fit a port mtu of 1500, "
			  "and smaller ones are sent");
	conf_free(c);
	c = load_tunnel(false, "key = \"k\"; mtu = 1452;");
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
	c = load_tunnel(true, "key = \"k\"; mtu = 1472;"); /* its remote is IPv4 */
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
}

Test(wipe, keys_are_overwritten)
{
	struct conf *c = load_tunnel(true, "key = \"topsecret\";");
	const char *key = c->tunnels[0].key;

	conf_wipe_keys(c);
	cr_expect_eq(c->tunnels[0].key, key);
	cr_expect_eq(c->tunnels[0].key_len, 0);
	for (unsigned i = 0; i < 9; i++)
		cr_expect_eq(key[i], '\0');
	conf_wipe_keys(c);
	conf_free(c);
}

Test(wipe, messages_never_show_a_key)
{
	static const char *const texts[] = {
		"key = \"topsecret\"; key = 1;",
		"key = \"topsecret\"; key_file = \"/dev/null\";",
		"key = \"topsecret\"; mtu = 1;",
		"key = ( \"topsecret\" );",
		"key = 4242424242;",
	};
	char text[1024], why[512];
	struct conf *c;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		snprintf(text, sizeof(text), PORTS "tunnels = ( { name = \"t\"; role = \"server\"; %s } );", texts[i]);
		cr_expect_eq(load_text(text, &c, why), -EINVAL);
		cr_expect_null(strstr(why, "topsecret"), "%s", why);
		cr_expect_null(strstr(why, "42424242"), "%s", why);
	}
}

static uint32_t lcg(uint32_t *s)
{
	*s = *s * 1664525 + 1013904223;
	return *s >> 8;
}

static void expect_one_line(const char *why)
{
	for (const char *s = why; *s != '\0'; s++)
		cr_assert((unsigned char)*s >= ' ', "a control character in: %s", why);
	cr_assert_gt(strlen(why), 0);
}

/* Damaged copies of a good file: refused with one line, or accepted; never a leak, a crash or an exit. */
Test(damage, bytes)
{
	char path[64], why[512], text[8192];
	FILE *f = fopen(CONF "/server.conf", "r");
	size_t n = fread(text, 1, sizeof(text), f);
	uint32_t seed = 20260126;
	unsigned refused = 0;

	fclose(f);
	cr_assert_gt(n, 1000);
	for (unsigned round = 0; round < 3000; round++) {
		char copy[sizeof(text)];
		size_t len = round % 3 ? n : lcg(&seed) % n;
		struct conf *c;
		int rc;

		memcpy(copy, text, n);
		for (unsigned k = 0; k < 1 + round % 4 && len; k++)
			copy[lcg(&seed) % len] = "\"{}()[];=,#/*@0x9L.e-\\\n\t aZ"[lcg(&seed) % 28];
		if (round % 7 == 0 && len)
			copy[lcg(&seed) % len] = (char)lcg(&seed);
		file_make(path, copy, len, 0600);
		rc = conf_load(path, &c, why, sizeof(why));
		unlink(path);
		cr_assert(rc == 0 || rc == -EINVAL, "%d", rc);
		if (rc < 0) {
			cr_assert_null(c);
			expect_one_line(why);
			refused++;
		}
		conf_free(c);
	}
	cr_expect_gt(refused, 1000);
}

Test(damage, nested_lists)
{
	static char text[60000];
	char why[512];
	struct conf *c;

	for (unsigned depth = 10; depth < 25000; depth = depth * 3) {
		char *p = text + sprintf(text, "a = ");

		memset(p, '(', depth);
		memset(p + depth, ')', depth);
		strcpy(p + 2 * depth, ";");
		cr_expect_eq(load_text(text, &c, why), -EINVAL);
		expect_one_line(why);
	}
}
