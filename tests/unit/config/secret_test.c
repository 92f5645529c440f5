/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "support.h"

/*
 * What is left of a passphrase in this process's memory.  The test itself holds it only byte by byte, turned over: who
 * looks for the bytes finds what the library has left.
 */

#define TURN   0x5a
#define SHADOW (64ul << 20)

static unsigned char turned[CONF_KEY_MAX];
static unsigned length;

static void make_secret(unsigned n)
{
	uint32_t x = n;

	length = n;
	for (unsigned i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		turned[i] = (unsigned char)(('A' + (x >> 16) % 26) ^ TURN);
	}
}

static void put(int fd, const char *text)
{
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void put_secret(int fd, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		unsigned char c = turned[i] ^ TURN;

		cr_assert_eq(write(fd, &c, 1), 1);
	}
}

/* Whether a part of it that nobody has by chance is here. */
static bool is_here(const unsigned char *p)
{
	unsigned at = length > 16 ? length - 16 : 0;

	for (unsigned i = at; i < length; i++)
		if (p[i - at] != (turned[i] ^ TURN))
			return false;
	return true;
}

static unsigned copies(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long from[4096], to[4096];
	unsigned n = 0, found = 0;
	char line[500], perms[8];
	int mem;

	cr_assert_not_null(maps);
	while (n < 4096 && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx %7s", &from[n], &to[n], perms) == 3 && perms[1] == 'w')
			n += to[n] - from[n] <= SHADOW; /* a larger one is a sanitizer's own */
	fclose(maps);
	mem = open("/proc/self/mem", O_RDONLY);
	cr_assert_geq(mem, 0);
	for (unsigned i = 0; i < n; i++) {
		static unsigned char page[65536 + CONF_KEY_MAX];

		for (unsigned long a = from[i]; a < to[i]; a += 65536) {
			ssize_t got;

			if (a < (unsigned long)page + sizeof(page) && (unsigned long)page < a + sizeof(page))
				continue; /* itself */
			got = pread(mem, page, to[i] - a < sizeof(page) ? to[i] - a : sizeof(page), (off_t)a);
			for (ssize_t k = 0; k < 65536 && k + 16 <= got; k++)
				found += is_here(page + k);
		}
		explicit_bzero(page, sizeof(page));
	}
	close(mem);
	return found;
}

static char path[] = "/tmp/kcpgate-secret-XXXXXX";

static int file(void)
{
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	return fd;
}

static void gone(void)
{
	unlink(path);
}

TestSuite(secret, .fini = gone);

#define HEAD                                                                                               \
	"ports = ( { name = \"w\"; device = \"net_af_packet0,iface=eth0\"; exception = \"kernel\"; } );\n" \
	"tunnels = ( { name = \"t\"; role = \"server\"; listen = \":4000\"; target = \"127.0.0.1:9\";\n"

static struct conf *load(void)
{
	struct conf *c = NULL;
	char why[512];

	cr_assert_eq(conf_load(path, &c, why, sizeof(why)), 0, "%s", why);
	return c;
}

static void expect_key(const struct conf_tunnel *t)
{
	cr_assert_eq(t->key_len, length);
	for (unsigned i = 0; i < length; i++)
		cr_assert_eq((unsigned char)t->key[i], turned[i] ^ TURN, "byte %u", i);
}

static void nothing_left(struct conf *c, const char *what)
{
	expect_key(&c->tunnels[0]);
	cr_expect_eq(copies(), 1, "%s of %u bytes: %u copies beside the configuration's own", what, length,
		     copies() - 1);
	conf_wipe_keys(c);
	cr_expect_eq(copies(), 0, "%s of %u bytes", what, length);
	conf_free(c);
	cr_expect_eq(copies(), 0, "%s of %u bytes", what, length);
}

static const unsigned lengths[] = {16, 24, 63, 64, 65, 200, 1000, CONF_KEY_MAX};

#define EACH_LENGTH(i) for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)

Test(secret, of_a_file, .timeout = 120)
{
	EACH_LENGTH(i)
	{
		int fd;

		strcpy(path + strlen(path) - 6, "XXXXXX");
		fd = file();
		make_secret(lengths[i]);
		put(fd, HEAD "key = \"");
		put_secret(fd, 0, length);
		put(fd, "\"; } );\n");
		close(fd);
		nothing_left(load(), "key");
		gone();
	}
}

Test(secret, in_pieces, .timeout = 120)
{
	int fd = file();

	make_secret(100);
	put(fd, HEAD "qpp = true;\n key : \"\" /* one */ \"");
	put_secret(fd, 0, 30);
	put(fd, "\"\n\t# two\n\t\"");
	put_secret(fd, 30, length);
	put(fd, "\"\n \"\"; crypt = \"salsa20\"; } );\n");
	close(fd);
	nothing_left(load(), "pieces");
}

Test(secret, of_a_key_file, .timeout = 120)
{
	char name[sizeof(path)], text[sizeof(HEAD) + 100];
	int fd = file();

	make_secret(300);
	put_secret(fd, 0, length);
	close(fd);
	snprintf(name, sizeof(name), "%s", path);
	strcpy(path + strlen(path) - 6, "XXXXXX");
	fd = file();
	snprintf(text, sizeof(text), HEAD "key_file = \"%s\"; } );\n", name);
	put(fd, text);
	close(fd);
	nothing_left(load(), "key_file");
	unlink(name);
}

static struct conf *args(char **argv, int argc, const char *key)
{
	const struct conf_host host = {.key = key};
	struct conf *c = NULL;
	char why[512];

	cr_assert_eq(conf_args(CONF_SERVER, argc, argv, &host, &c, why, sizeof(why)), 0, "%s", why);
	return c;
}

Test(secret, of_json, .timeout = 120)
{
	char *argv[] = {"server", "-c", path};
	int fd = file();

	make_secret(300);
	put(fd, "{ \"listen\": \":4000\", \"key\": \"first\", \"key\":\n\"");
	put_secret(fd, 0, length);
	put(fd, "\", \"target\": \"127.0.0.1:9\" }");
	close(fd);
	nothing_left(args(argv, 3, NULL), "JSON");
}

Test(secret, of_the_command_line, .timeout = 120)
{
	static char text[CONF_KEY_MAX + 10] = "--key=";
	char *two[] = {"server", "--key", text + 6}, *one[] = {"server", text};

	make_secret(300);
	for (unsigned way = 0; way < 2; way++) {
		for (unsigned i = 0; i < length; i++)
			text[6 + i] = (char)(turned[i] ^ TURN);
		nothing_left(way ? args(one, 2, NULL) : args(two, 3, NULL), "argument");
	}
}

/* A file that is refused behind its passphrase. */
Test(secret, of_a_wrong_file, .timeout = 120)
{
	static const char *const rest[] = {"\"; mtu = 7; } );\n",	"\"; ] );\n",	       "\"",	    "\\x00\";",
					   "\"; } ); @include \"x\"\n", "\"; key = 5; } );\n", "\" ) );\n", "\";\n#"};

	make_secret(300);
	for (unsigned i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
		struct conf *c = NULL;
		char why[512];
		int fd;

		strcpy(path + strlen(path) - 6, "XXXXXX");
		fd = file();
		put(fd, HEAD "key = \"");
		put_secret(fd, 0, length);
		put(fd, rest[i]);
		close(fd);
		cr_assert_lt(conf_load(path, &c, why, sizeof(why)), 0);
		cr_expect_eq(copies(), 0, "%s: %s", rest[i], why);
		gone();
	}
}

/* Escapes mean in a passphrase what they mean to libconfig, and lines behind it keep their numbers. */
Test(secret, reads_as_libconfig_does)
{
	static const char *const text[] = {"a\\\"b",
					   "\\\\",
					   "\\f\\n\\r\\t",
					   "\\x41\\X42\\x80\\xfF\\x0a",
					   "\\a\\v\\e\\0\\'",
					   "\\x4 \\xg1 \\x",
					   "a\nb\n\tc",
					   "\xc3\xa4 # // /* */ ; \" \"x",
					   "#3",
					   "\\#3",
					   "",
					   "\" \"",
					   "a\" /* b */ \"c\"\n# d\n\"e"};

	for (unsigned i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		char all[1000], why[512];
		struct conf *c = NULL;
		int fd;

		strcpy(path + strlen(path) - 6, "XXXXXX");
		fd = file();
		snprintf(all, sizeof(all),
			 HEAD "key = \"%s\"; dscp = 46; } );\ntelemetry = { snmplog = \"%s\"; };\nlog = { level = "
			      "\"loud\"; };\n",
			 text[i], text[i]);
		put(fd, all);
		cr_assert_lt(conf_load(path, &c, why, sizeof(why)), 0);
		*strstr(all, "log = { level") = '\0';
		cr_assert_eq(ftruncate(fd, (off_t)strlen(all)), 0);
		close(fd);
		{
			char want[600];
			unsigned lines = 1;

			for (const char *p = all; *p; p++)
				lines += *p == '\n';
			snprintf(want, sizeof(want), "%s:%u: log.level: ", path, lines);
			cr_expect_eq(strncmp(why, want, strlen(want)), 0, "%s: %s", want, why);
		}
		c = load();
		cr_expect_str_eq(c->tunnels[0].key, c->telemetry.snmplog, "%s", text[i]);
		cr_expect_eq(c->tunnels[0].dscp, 46);
		conf_free(c);
		gone();
	}
}
