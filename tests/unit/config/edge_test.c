/* SPDX-License-Identifier: MIT */

/* The last value that is taken beside the first that is refused. */

#include <errno.h>

#include "parse.h"
#include "support.h"

#define TUNNELS                                                                                                \
	"tunnels = ( { name = \"t\"; role = \"server\"; listen = \":4000\"; target = \"127.0.0.1:80\"; key = " \
	"\"k\"; } );\n"

/* ---- brackets ---- */

/* What comes of `n` brackets within each other. */
static int nested(unsigned n, char why[512])
{
	char open[64] = "", shut[64] = "", text[2048];
	struct conf *c;
	int rc;

	memset(open, '(', n - 1);
	memset(shut, ')', n - 1);
	snprintf(text, sizeof(text), "eal = { args = %s%s; };\n" PORTS TUNNELS, open, shut);
	rc = load_text(text, &c, why);
	conf_free(c);
	return rc;
}

Test(edge, brackets)
{
	char why[512];

	cr_assert_eq(nested(2, why), 0, "a list of nothing: %s", why);
	/* As many as there may be: it is the value that is refused, and not the brackets. */
	cr_assert_eq(nested(32, why), -EINVAL);
	cr_assert_null(strstr(why, "syntax error"), "%s", why);
	cr_assert_not_null(strstr(why, "eal.args"), "%s", why);
	cr_assert_eq(nested(33, why), -EINVAL);
	cr_assert_not_null(strstr(why, ":1: syntax error: more than 32 brackets within each other"), "%s", why);
}

/* Closed ones do not count: it is depth, not number. */
Test(edge, many_brackets_one_after_the_other)
{
	char text[4096] = PORTS "tunnels = (", why[512];
	struct conf *c;

	for (unsigned i = 0; i < 40; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "%s{ name = \"t%u\"; role = \"server\"; listen = \":%u\"; target = \"h:80\"; key = \"k\"; }",
			 i ? ", " : "", i, 4000 + i);
	strcat(text, ");\n");
	cr_assert_eq(load_text(text, &c, why), 0, "%s", why);
	cr_assert_eq(c->n_tunnels, 40);
	conf_free(c);
}

/* ---- a gateway has to be somebody else ---- */

static int gateway(const char *addresses, const char *gw, char why[512])
{
	char text[1024];
	struct conf *c;
	int rc;

	snprintf(text, sizeof(text),
		 "ports = ( { name = \"wan0\"; device = \"0000:03:00.0\"; addresses = [ %s ]; gateway = [ %s ]; } "
		 ");\n" TUNNELS,
		 addresses, gw);
	rc = load_text(text, &c, why);
	if (rc == 0)
		conf_free(c);
	return rc;
}

Test(edge, gateway_is_not_one_of_our_addresses)
{
	static const struct {
		const char *addresses, *gw;
		bool ok;
	} of[] = {
		{"\"192.0.2.7/24\"", "\"192.0.2.1\"", true},
		{"\"192.0.2.7/24\"", "\"192.0.2.7\"", false},
		/* Another address has it in its prefix: still ours. */
		{"\"192.0.2.7/24\", \"192.0.2.8/24\"", "\"192.0.2.7\"", false},
		{"\"192.0.2.7/24\", \"192.0.2.8/24\"", "\"192.0.2.8\"", false},
		{"\"192.0.2.7/32\", \"192.0.2.8/24\"", "\"192.0.2.7\"", false},
		{"\"192.0.2.7/24\", \"192.0.2.8/24\"", "\"192.0.2.9\"", true},
		{"\"2001:db8::7/64\"", "\"2001:db8::1\"", true},
		{"\"2001:db8::7/64\"", "\"2001:db8::7\"", false},
		{"\"2001:db8::7/64\", \"2001:db8::8/64\"", "\"2001:db8::7\"", false},
		/* Link-local addresses are neighbours, but for our own. */
		{"\"2001:db8::7/64\"", "\"fe80::1\"", true},
		{"\"2001:db8::7/64\", \"fe80::7/64\"", "\"fe80::7\"", false},
		{"\"2001:db8::7/64\", \"fe80::7/64\"", "\"fe80::1\"", true},
		/* The prefix's last bits. */
		{"\"192.0.2.7/30\"", "\"192.0.2.5\"", true},
		{"\"192.0.2.7/30\"", "\"192.0.2.8\"", false},
		{"\"192.0.2.7/30\"", "\"192.0.2.3\"", false},
	};
	char why[512];

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		int rc = gateway(of[i].addresses, of[i].gw, why);

		cr_expect_eq(rc, of[i].ok ? 0 : -EINVAL, "[%s] by %s: %d %s", of[i].addresses, of[i].gw, rc, why);
		if (!of[i].ok)
			cr_expect(strstr(why, "ports.wan0.gateway: found "), "%s", why);
	}
}

/* ---- numbers ---- */

/* A server tunnel with these options; returns 0, or -errno and why. */
static int tunnel(const char *options, char why[512])
{
	char text[2048];
	struct conf *c;
	int rc;

	snprintf(text, sizeof(text),
		 PORTS "tunnels = ( { name = \"t\"; role = \"server\"; listen = \":4000\"; target = \"127.0.0.1:80\"; "
		       "key = \"k\"; %s } );\n",
		 options);
	rc = load_text(text, &c, why);
	conf_free(c);
	return rc;
}

/* As many digits as 64 bits hold are a number, which is then too large; one more is refused as it stands. */
Test(edge, digits)
{
	static const struct {
		const char *number;
		bool digits; /* too many */
	} of[] = {
		{"999999999999999999", false},	  {"1000000000000000000", true},     {"9223372036854775808", true},
		{"0xfffffffffffffff", false},	  {"0x1000000000000000", true},	     {"0xffffffffffffffff", true},
		{"000000000000000000001", false}, {"0x00000000000000000001", false},
	};
	char options[128], why[512];

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		snprintf(options, sizeof(options), "mtu = %s;", of[i].number);
		cr_expect_eq(tunnel(options, why), -EINVAL, "%s", of[i].number);
		cr_expect_eq(strstr(why, "has too many digits") != NULL, of[i].digits, "%s: %s", of[i].number, why);
		if (!of[i].digits)
			cr_expect_not_null(strstr(why, "tunnels.t.mtu: found "), "%s", why);
	}
	/* Zeros in front are no digits. */
	cr_expect_eq(tunnel("mtu = 0000000000000000000000000001350;", why), 0, "%s", why);
	cr_expect_eq(tunnel("mtu = 0x00000000000000000000000000546;", why), 0, "%s", why);
}

Test(edge, qpp_count_is_prime)
{
	static const unsigned primes[] = {7, 11, 61, 251, 257, 65521},
			      others[] = {1, 4, 9, 25, 49, 121, 169, 63001, 65520};
	char options[128], why[512];

	for (size_t i = 0; i < sizeof(primes) / sizeof(primes[0]); i++) {
		snprintf(options, sizeof(options), "qpp = true; qpp-count = %u;", primes[i]);
		cr_expect_eq(tunnel(options, why), 0, "%u: %s", primes[i], why);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(options, sizeof(options), "qpp = true; qpp-count = %u;", others[i]);
		cr_expect_eq(tunnel(options, why), -EINVAL, "%u", others[i]);
	}
}

/* One of the two at 0 turns FEC off, and is then as if both were. */
Test(edge, fec_off)
{
	static const char *const off[] = {"ds = 0;", "ps = 0;", "ds = 0; ps = 0;"};

	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
		struct conf *c = load_tunnel(true, off[i]);

		cr_expect_eq(c->tunnels[0].datashard, 0, "%s", off[i]);
		cr_expect_eq(c->tunnels[0].parityshard, 0, "%s", off[i]);
		conf_free(c);
	}
}

Test(edge, lcores)
{
	static const struct {
		const char *lcores;
		bool ok;
	} of[] = {
		{"126-127", true},	 {"127-128", false},	    {"0,1,128", false},
		{"0@1023,1@1022", true}, {"0@1024,1@0,2@0", false},
	};
	char text[1024], why[512];
	struct conf *c;

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		snprintf(text, sizeof(text), "eal = { lcores = \"%s\"; };\n" PORTS TUNNELS, of[i].lcores);
		cr_expect_eq(load_text(text, &c, why), of[i].ok ? 0 : -EINVAL, "%s: %s", of[i].lcores, why);
		conf_free(c);
	}
}

/* ---- one beside another ---- */

/* Two tunnels, of these roles and addresses to listen on. */
static int pair(char role_a, const char *listen_a, char role_b, const char *listen_b, const char *more_a,
		const char *more_b, char why[512])
{
	char text[2048];
	struct conf *c;
	int rc;

#define ONE(n)                                                                        \
	"{ name = \"" n "\"; role = \"%s\"; listen = \"%s\"; %s = \"192.0.2.9:80\"; " \
	"key = \"k\"; %s }"
	snprintf(text, sizeof(text), PORTS "tunnels = ( " ONE("a") ", " ONE("b") " );\n",
		 role_a == 's' ? "server" : "client", listen_a, role_a == 's' ? "target" : "remote", more_a,
		 role_b == 's' ? "server" : "client", listen_b, role_b == 's' ? "target" : "remote", more_b);
	rc = load_text(text, &c, why);
	conf_free(c);
	return rc;
}

Test(edge, tunnels_that_meet)
{
	static const struct {
		char role_a;
		const char *a;
		char role_b;
		const char *b, *more_a, *more_b;
		bool meet;
	} of[] = {
		/* Servers' ranges of ports. */
		{'s', ":4000-4009", 's', ":4010-4019", "", "", false},
		{'s', ":4000-4009", 's', ":4009-4019", "", "", true},
		{'s', ":4009-4019", 's', ":4000-4009", "", "", true},
		{'s', ":4000-4009", 's', ":4004", "", "", true},
		{'s', ":4004", 's', ":4000-4009", "", "", true},
		{'s', "192.0.2.1:4000", 's', "192.0.2.2:4000", "", "", true}, /* told by the port alone */
		/* Clients' addresses. */
		{'c', "127.0.0.1:4000", 'c', "127.0.0.2:4000", "", "", false},
		{'c', "127.0.0.1:4000", 'c', "127.0.0.1:4001", "", "", false},
		{'c', "127.0.0.1:4000", 'c', "127.0.0.1:4000", "", "", true},
		{'c', ":4000", 'c', "127.0.0.1:4000", "", "", true},
		{'c', "127.0.0.1:4000", 'c', ":4000", "", "", true},
		{'c', "0.0.0.0:4000", 'c', "127.0.0.1:4000", "", "", true},
		{'c', "127.0.0.1:4000", 'c', "0.0.0.0:4000", "", "", true},
		{'c', "127.0.0.1:4000", 'c', "[::]:4000", "", "", true},
		{'c', "[::1]:4000", 'c', "[0:0::1]:4000", "", "", true},
		{'c', "Localhost:4000", 'c', "localhost:4000", "", "", true},
		{'c', "localhost:4000", 'c', "otherhost:4000", "", "", false},
		/* A server's UDP and a client's TCP have nothing to do with each other, unless the server has `tcp'. */
		{'s', ":4000", 'c', ":4000", "", "", false},
		{'s', ":4000", 'c', ":4000", "tcp = true;", "", true},
		{'c', ":4000", 's', ":4000", "", "tcp = true;", true},
		{'s', ":4000", 'c', ":4000", "", "tcp = true;", false},
		{'c', ":4000", 's', ":4000", "tcp = true;", "", false},
		{'s', ":4000", 'c', ":4001", "tcp = true;", "", false},
	};
	char why[512];

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++)
		cr_expect_eq(pair(of[i].role_a, of[i].a, of[i].role_b, of[i].b, of[i].more_a, of[i].more_b, why),
			     of[i].meet ? -EINVAL : 0, "%c %s, %c %s: %s", of[i].role_a, of[i].a, of[i].role_b, of[i].b,
			     why);
}

/* All clients' sessions together must have room. */
Test(edge, sessions_in_all)
{
	char text[2048], why[512];
	struct conf *c;

	for (unsigned conn = 4; conn <= 5; conn++) {
		snprintf(text, sizeof(text),
			 "limits = { sessions = 9; };\n" PORTS "tunnels = ( { name = \"a\"; role = \"client\"; listen "
			 "= \":1\"; remote = \"192.0.2.9:1\"; key = "
			 "\"k\"; conn = 5; },\n"
			 "{ name = \"b\"; role = \"client\"; listen = \":2\"; remote = \"192.0.2.9:1\"; key = \"k\"; "
			 "conn "
			 "= %u; } );\n",
			 conn);
		cr_expect_eq(load_text(text, &c, why), conn == 4 ? 0 : -EINVAL, "%u: %s", conn, why);
		conf_free(c);
	}
	cr_expect_not_null(strstr(why, "which makes 10 sessions; allowed: 9 in all"), "%s", why);
}

static struct conf *two_ports_conf(const char *a, const char *b, const char *tunnels, char why[512])
{
	char text[2048];
	struct conf *c = NULL;

	snprintf(text, sizeof(text),
		 "ports = ( { name = \"p\"; device = \"0000:03:00.0\"; %s },\n"
		 "{ name = \"q\"; device = \"0000:03:00.1\"; %s } );\n%s",
		 a, b, tunnels);
	return load_text(text, &c, why) ? NULL : c;
}

static int two_ports(const char *a, const char *b, const char *tunnels, char why[512])
{
	struct conf *c = two_ports_conf(a, b, tunnels, why);

	conf_free(c);
	return c ? 0 : -EINVAL;
}

Test(edge, ports_beside_each_other)
{
	char why[512];

	cr_expect_eq(two_ports("addresses = [ \"192.0.2.1/24\" ];", "addresses = [ \"192.0.2.2/24\" ];", TUNNELS, why),
		     0, "%s", why);
	cr_expect_eq(two_ports("addresses = [ \"192.0.2.1/24\" ];", "addresses = [ \"192.0.2.1/24\" ];", TUNNELS, why),
		     -EINVAL);
	cr_expect_not_null(strstr(why, "found \"192.0.2.1\" twice, also in port p"), "%s", why);
	cr_expect_eq(two_ports("ifname = \"x\";", "ifname = \"x\";", TUNNELS, why), -EINVAL);
	cr_expect_not_null(strstr(why, "ports.q.ifname: found interface x, as in port p"), "%s", why);
}

/* ---- sizes ---- */

#define MTU(remote, more, n)                                                                                     \
	"tunnels = ( { name = \"t\"; role = \"client\"; listen = \":1\"; remote = \"" remote "\"; key = \"k\"; " \
	"mtu = " #n "; " more " } );\n"

/* A tunnel whose full datagrams do not fit a port that it may take is told so, and goes on with smaller ones. */
Test(edge, mtu)
{
	static const struct {
		const char *a, *b, *tunnels;
		unsigned warnings;
	} of[] = {
		{"", "", MTU("192.0.2.9:1", "", 1472), 0},
		{"", "", MTU("192.0.2.9:1", "", 1473), 1},
		{"", "", MTU("[2001:db8::9]:1", "", 1452), 0},
		{"", "", MTU("[2001:db8::9]:1", "", 1453), 1},
		{"", "", MTU("a.name:1", "", 1452), 0},
		{"", "", MTU("a.name:1", "", 1453), 1},
		{"", "", MTU("192.0.2.9:1", "tcp = true;", 1444), 0},
		{"", "", MTU("192.0.2.9:1", "tcp = true;", 1445), 1},
		/* The narrower of two ports counts, unless the tunnel names the other. */
		{"mtu = 1400;", "", MTU("192.0.2.9:1", "", 1372), 0},
		{"mtu = 1400;", "", MTU("192.0.2.9:1", "", 1373), 1},
		{"", "mtu = 1400;", MTU("192.0.2.9:1", "port = \"p\";", 1472), 0},
		{"mtu = 1400;", "", MTU("192.0.2.9:1", "port = \"p\";", 1373), 1},
	};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		char why[512] = "";
		struct conf *c = two_ports_conf(of[i].a, of[i].b, of[i].tunnels, why);

		cr_assert_not_null(c, "%s%s%s: %s", of[i].a, of[i].b, of[i].tunnels, why);
		cr_expect_eq(c->n_warnings, of[i].warnings, "%s%s%s: %u", of[i].a, of[i].b, of[i].tunnels,
			     c->n_warnings);
		conf_free(c);
	}
}

/* ---- paths and addresses as text ---- */

Test(edge, path_of_a_unix_socket)
{
	char options[512], why[512], path[200];

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	for (unsigned n = 106; n <= 108; n++) {
		snprintf(options, sizeof(options),
			 PORTS
			 "tunnels = ( { name = \"t\"; role = \"server\"; listen = \":4000\"; target = \"%.*s\"; key = "
			 "\"k\"; } );\n",
			 (int)n, path);
		{
			struct conf *c;
			int rc = load_text(options, &c, why);

			cr_expect_eq(rc, n <= 107 ? 0 : -EINVAL, "%u bytes: %s", n, why);
			conf_free(c);
		}
	}
}

/* What is printed can be read again. */
Test(edge, hostport_there_and_back)
{
	static const char *const of[] = {"[2001:db8::1]:4000", "[::]:1-65535", "192.0.2.1:80", "a.name:1-2", ":4000"};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct conf_hostport hp = {0};
		const char *allowed;
		char *text;

		cr_assert_eq(conf_hostport_parse(of[i], &hp, &allowed), 0, "%s", of[i]);
		text = conf_hostport_text(&hp);
		cr_expect_str_eq(text, of[i]);
		free(text);
		free(hp.host);
	}
}

/* ---- rates ---- */

/* bandwidth's smallest and largest, and numbers that are none; what is taken can be printed and read again. */
Test(edge, bandwidth)
{
	static const struct {
		const char *text;
		uint64_t up, down; /* 0: refused */
		const char *shown;
	} of[] = {
		{"10k", 10000, 10000, "10k"},
		{"9999", 0, 0, NULL},
		{"9.999k", 0, 0, NULL},
		{"10000", 10000, 10000, "10k"},
		{"10001", 10001, 10001, "10001"},
		{"400G", 400000000000, 400000000000, "400G"},
		{"400000000001", 0, 0, NULL},
		{"400.000000001G", 0, 0, NULL},
		{"399.999999999G", 399999999999, 399999999999, "399999999999"},
		{"401G", 0, 0, NULL},
		{"99999999999999999999G", 0, 0, NULL},
		{"18446744073709551617", 0, 0, NULL},
		{"18446744073.709561616G", 0, 0, NULL},
		{"2.5G", 2500000000, 2500000000, "2500M"},
		{"0.01M", 10000, 10000, "10k"},
		{"010M", 10000000, 10000000, "10M"},
		{"20M/100M", 20000000, 100000000, "20M/100M"},
		{"100M/100M", 100000000, 100000000, "100M"},
		{"1M/9k", 0, 0, NULL},
		{"9k/1M", 0, 0, NULL},
		{"1M/401G", 0, 0, NULL},
		{"0", 0, 0, NULL},
		{"0M", 0, 0, NULL},
		{"1M/0", 0, 0, NULL},
		{"-1M", 0, 0, NULL},
		{"+1M", 0, 0, NULL},
		{"", 0, 0, NULL},
		{"/", 0, 0, NULL},
		{"1M/", 0, 0, NULL},
		{"/1M", 0, 0, NULL},
		{"1M/1M/1M", 0, 0, NULL},
		{"M", 0, 0, NULL},
		{".5M", 0, 0, NULL},
		{"1.M", 0, 0, NULL},
		{"1.5.5M", 0, 0, NULL},
		{"20000.5", 0, 0, NULL}, /* half a bit */
		{"20.0005k", 0, 0, NULL},
		{"100m", 0, 0, NULL},
		{"100K", 0, 0, NULL},
		{"1T", 0, 0, NULL},
		{"100 M", 0, 0, NULL},
		{" 100M", 0, 0, NULL},
		{"100M ", 0, 0, NULL},
		{"100Mbps", 0, 0, NULL},
		{"100MM", 0, 0, NULL},
		{"1e9", 0, 0, NULL},
		{"0x10M", 0, 0, NULL},
		{"inf", 0, 0, NULL},
		{"nan", 0, 0, NULL},
		{"auto", 0, 0, NULL},
	};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct conf_bandwidth b = {7, 7}, again = {0};
		char *text;

		cr_expect_eq(conf_bandwidth_put(&b, of[i].text, NULL), of[i].up ? 0 : -EINVAL, "%s", of[i].text);
		if (!of[i].up) {
			cr_expect(b.up == 7 && b.down == 7, "%s", of[i].text);
			continue;
		}
		cr_expect(b.up == of[i].up && b.down == of[i].down, "%s", of[i].text);
		text = conf_bandwidth_get(&b);
		cr_assert_str_eq(text, of[i].shown);
		cr_expect_eq(conf_bandwidth_put(&again, text, NULL), 0, "%s", text);
		cr_expect(again.up == b.up && again.down == b.down, "%s", text);
		free(text);
	}
}
