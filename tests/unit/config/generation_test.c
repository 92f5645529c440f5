/* SPDX-License-Identifier: MIT */
#include "support.h"

/* Defaults of each generation of kcptun, and of ours (wire.md 9.4, 4.2, 14). */

struct defaults {
	const char *compat;
	bool client;
	unsigned conn, sndwnd, rcvwnd, smuxver, framesize, closewait; /* windows: 0, automatic */
	enum conf_congestion congestion;
};

#define AUTO  CONF_CONGESTION_AUTO
#define STOCK CONF_CONGESTION_STOCK

static const struct defaults tables[] = {
	{"", false, 0, 0, 0, 0, 8192, 0, AUTO},
	{"", true, 1, 0, 0, 2, 8192, 30, AUTO},
	{"compat = \"kcpgate\";", true, 1, 0, 0, 2, 8192, 30, AUTO},
	{"compat = \"2016\";", false, 0, 1024, 1024, 1, 4096, 0, STOCK},
	{"compat = \"2016\";", true, 1, 128, 1024, 1, 4096, 0, STOCK},
	{"compat = \"2021\";", false, 0, 1024, 1024, 1, 4096, 0, STOCK},
	{"compat = \"2021\";", true, 1, 128, 512, 1, 4096, 0, STOCK},
	{"compat = \"2026\";", false, 0, 1024, 1024, 2, 8192, 30, STOCK},
	{"compat = \"2026\";", true, 1, 128, 512, 2, 8192, 0, STOCK},
	{"congestion = \"stock\";", false, 0, 1024, 1024, 0, 8192, 0, STOCK},
	{"congestion = \"stock\"; compat = \"kcpgate\";", true, 1, 128, 512, 2, 8192, 30, STOCK},
	/* What a year gives is to the letter, also where it is only the most that a window may grow to. */
	{"congestion = \"auto\"; compat = \"2016\";", true, 1, 128, 1024, 1, 4096, 0, AUTO},
	{"compat = \"2021\"; congestion = \"auto\";", false, 0, 1024, 1024, 1, 4096, 0, AUTO},
};

Test(generation, defaults)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		const struct defaults *d = &tables[i];
		struct conf *c = load_tunnel(d->client, d->compat);
		const struct conf_tunnel *t = &c->tunnels[0];

		cr_expect_eq(t->conn, d->conn, "%zu", i);
		cr_expect_eq(t->sndwnd, d->sndwnd, "%zu", i);
		cr_expect_eq(t->rcvwnd, d->rcvwnd, "%zu", i);
		cr_expect_eq(t->congestion, d->congestion, "%zu", i);
		cr_expect(t->bandwidth.up == 0 && t->bandwidth.down == 0);
		cr_expect_eq(t->smuxver, d->smuxver, "%zu", i);
		cr_expect_eq(t->framesize, d->framesize, "%zu", i);
		cr_expect_eq(t->closewait, d->closewait, "%zu", i);
		cr_expect_eq(t->mtu, 1350);
		cr_expect(t->datashard == 10 && t->parityshard == 3 && t->dscp == 0 && !t->nocomp && !t->acknodelay);
		cr_expect(t->keepalive == 10 && t->autoexpire == 0 && t->scavengettl == 600 && t->ratelimit == 0);
		cr_expect(t->sockbuf == 4194304 && t->smuxbuf == 4194304 && t->streambuf == 2097152);
		cr_expect(!t->qpp && t->qpp_count == 61 && !t->tcp);
		cr_expect_str_eq(t->crypt, "aes");
		cr_expect_str_eq(t->mode, "fast");
		conf_free(c);
	}
}

Test(generation, modes)
{
	static const struct {
		const char *mode;
		int nodelay, old, now, resend, nc;
	} modes[] = {
		{"normal", 0, 30, 40, 2, 1}, {"fast", 0, 20, 30, 2, 1},	  {"fast2", 1, 20, 20, 2, 1},
		{"fast3", 1, 10, 10, 2, 1},  {"manual", 0, 40, 50, 0, 0},
	};
	static const char *const years[] = {"kcpgate", "2016", "2021", "2026"};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		for (size_t y = 0; y < 4; y++) {
			char text[100];
			struct conf *c;
			const struct conf_tunnel *t;

			snprintf(text, sizeof(text), "mode = \"%s\"; compat = \"%s\";", modes[i].mode, years[y]);
			c = load_tunnel(true, text);
			t = &c->tunnels[0];
			cr_expect(t->nodelay == modes[i].nodelay && t->resend == modes[i].resend &&
					  t->nc == modes[i].nc,
				  "%s", text);
			cr_expect_eq(t->interval, y == 1 ? modes[i].old : modes[i].now, "%s", text);
			conf_free(c);
		}
	}
}

/* What is given stands, wherever compat is written. */
Test(generation, given_values_stand)
{
	struct conf *c =
		load_tunnel(true, "rcvwnd = 77; smuxver = 2; framesize = 9; closewait = 8; compat = \"2016\"; conn = "
				  "3; mode = \"manual\"; interval = 12;");
	const struct conf_tunnel *t = &c->tunnels[0];

	cr_expect(t->rcvwnd == 77 && t->smuxver == 2 && t->framesize == 9 && t->closewait == 8 && t->conn == 3);
	cr_expect_eq(t->interval, 12);
	cr_expect_eq(t->compat, CONF_COMPAT_2016);
	conf_free(c);
	/* Of one window given, the other is automatic. */
	c = load_tunnel(true, "sndwnd = 77;");
	cr_expect(c->tunnels[0].sndwnd == 77 && c->tunnels[0].rcvwnd == 0);
	conf_free(c);
	c = load_tunnel(false, "rcvwnd = 77; congestion = \"stock\";");
	cr_expect(c->tunnels[0].sndwnd == 1024 && c->tunnels[0].rcvwnd == 77);
	conf_free(c);
}

/* 2016 has one number for the buffers of the socket and of smux. */
Test(generation, sockbuf_of_2016)
{
	struct conf *c = load_tunnel(true, "key = \"k\"; compat = \"2016\"; sockbuf = 16777217;");

	cr_expect(c->tunnels[0].smuxbuf == 16777217 && c->tunnels[0].streambuf == 2097152);
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
	c = load_tunnel(true, "key = \"k\"; compat = \"2016\"; sockbuf = 1000000;");
	cr_expect(c->tunnels[0].smuxbuf == 1000000 && c->tunnels[0].streambuf == 1000000);
	conf_free(c);
	c = load_tunnel(true, "key = \"k\"; compat = \"2016\"; sockbuf = 1;");
	cr_expect_eq(c->tunnels[0].smuxbuf, 65536);
	conf_free(c);
	c = load_tunnel(true, "key = \"k\"; compat = \"2021\"; sockbuf = 16777217;");
	cr_expect_eq(c->tunnels[0].smuxbuf, 4194304);
	cr_expect_eq(c->n_warnings, 1);
	conf_free(c);
}

static void expect_warnings(const char *options, unsigned n, const char *text)
{
	struct conf *c = load_tunnel(true, options);

	cr_expect_eq(c->n_warnings, n, "%s: %u", options, c->n_warnings);
	cr_expect(n == 0 || strstr(c->warnings[0], text), "%s: %s", options, n ? c->warnings[0] : "");
	conf_free(c);
}

Test(generation, warnings)
{
	expect_warnings("key = \"k\"; compat = \"2016\"; crypt = \"sm4\";", 1,
			":2: tunnels.t.crypt: kcptun of 2016 does not know \"sm4\" and takes aes instead");
	expect_warnings("key = \"k\"; compat = \"2021\"; crypt = \"sm4\";", 0, "");
	expect_warnings("key = \"k\"; compat = \"2021\"; crypt = \"aes-128-gcm\";", 1,
			"kcptun of 2021 does not know \"aes-");
	expect_warnings("key = \"k\"; compat = \"2026\"; crypt = \"aes-128-gcm\";", 0, "");
	expect_warnings("key = \"k\"; compat = \"2021\"; qpp = true;", 1,
			"tunnels.t.qpp: kcptun of 2021 does not know it");
	expect_warnings("key = \"k\"; compat = \"2016\"; tcp = true;", 1,
			"tunnels.t.tcp: kcptun of 2016 does not know it");
	expect_warnings("key = \"k\"; compat = \"2016\"; smuxver = 2;", 1,
			"tunnels.t.smuxver: kcptun of 2016 knows 1 only");
	expect_warnings("key = \"k\"; sockbuf = 5;", 1, "tunnels.t.sockbuf: no socket, no effect");
	expect_warnings("key = \"k\"; qpp-count = 4;", 1, "tunnels.t.qpp-count: has no effect without qpp");
	expect_warnings("key = \"k\"; crypt = \"none\";", 1, "tunnels.t.crypt: \"none\" hides nothing");
	expect_warnings("key = \"k\"; crypt = \"null\";", 1, "tunnels.t.crypt: \"null\" hides nothing");
	expect_warnings("key = \"k\"; crypt = \"xor\";", 1, "tunnels.t.crypt: \"xor\" hides nothing");
	expect_warnings("key = \"k\"; crypt = \"tea\";", 1, "tunnels.t.crypt: \"tea\" is a weak cipher");
}

/* The options that came with this version, in a file. */
Test(generation, options_of_the_file)
{
	struct conf *c =
		load_tunnel(true, "autoexpire = 900; scavengettl = 5; ratelimit = 1048576; dscp = 46; QPP = true; "
				  "QPPCount = 65521; tcp = true; crypt = \"salsa20\";");
	const struct conf_tunnel *t = &c->tunnels[0];

	cr_expect(t->autoexpire == 900 && t->scavengettl == 5 && t->ratelimit == 1048576 && t->dscp == 46);
	cr_expect(t->qpp && t->qpp_count == 65521 && t->tcp);
	cr_expect_str_eq(t->crypt, "salsa20");
	conf_free(c);
	c = load_tunnel(true, "ratelimit = -7; qpp = true; qpp-count = 2; mtu = 1444;");
	cr_expect(c->tunnels[0].ratelimit == 0 && c->tunnels[0].qpp_count == 2);
	conf_free(c);
	c = load_tunnel(true, "bandwidth = \"20M/1.5G\"; compat = \"2026\"; congestion = \"auto\";");
	cr_expect(c->tunnels[0].bandwidth.up == 20000000 && c->tunnels[0].bandwidth.down == 1500000000);
	conf_free(c);
	c = load_tunnel(true, "mtu = 86; crypt = \"aes-128-gcm\";");
	conf_free(c);
}

Test(generation, every_cipher)
{
	static const char *const names[] = {"aes",	"aes-128", "aes-192", "aes-128-gcm", "salsa20",
					    "blowfish", "twofish", "cast5",   "3des",	     "tea",
					    "xtea",	"xor",	   "sm4",     "none",	     "null"};

	for (size_t i = 0; i < 15; i++) {
		char text[64];
		struct conf *c;

		snprintf(text, sizeof(text), "crypt = \"%s\";", names[i]);
		c = load_tunnel(false, text);
		cr_expect_str_eq(c->tunnels[0].crypt, names[i]);
		conf_free(c);
	}
}

Test(generation, unix_sockets)
{
	static const char text[] = PORTS
		"telemetry = { snmplog = \"./snmp-20060102.log\"; snmpperiod = 5; };\n"
		"tunnels = ( { name = \"a\"; role = \"server\"; listen = \":1\"; target = \"run/app.sock\"; key = "
		"\"k\"; },\n"
		"{ name = \"b\"; role = \"client\"; localaddr = \"@kcp\"; remote = \"192.0.2.1:1\"; key = \"k\"; },\n"
		"{ name = \"c\"; role = \"client\"; listen = \"../a:1\"; remote = \"192.0.2.1:1\"; key = \"k\"; } );\n";
	char why[512];
	struct conf *c;

	cr_assert_eq(load_text(text, &c, why), 0, "%s", why);
	cr_expect_str_eq(c->tunnels[0].target.path, "run/app.sock");
	cr_expect_null(c->tunnels[0].target.host);
	cr_expect_eq(c->tunnels[0].target.port_min, 0);
	cr_expect_str_eq(c->tunnels[1].listen.path, "@kcp");
	cr_expect_str_eq(c->tunnels[2].listen.path, "../a:1");
	cr_expect_str_eq(c->telemetry.snmplog, "./snmp-20060102.log");
	cr_expect_eq(c->telemetry.snmpperiod, 5);
	conf_free(c);
}
