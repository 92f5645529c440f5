/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "args.h"

/* kcptun's command lines, and what comes of them. */

Test(args, client_of_the_readme)
{
	struct conf *c = args_good("client -r KCP_SERVER_IP:4000 -l :8388 -mode fast3 -nocomp -autoexpire 900 -sockbuf "
				   "16777217 -dscp 46");
	const struct conf_tunnel *t = &c->tunnels[0];

	cr_expect_eq(t->role, CONF_CLIENT);
	cr_expect_str_eq(t->remote.host, "KCP_SERVER_IP");
	cr_expect(t->remote.port_min == 4000 && t->remote.port_max == 4000);
	cr_expect_str_eq(t->listen.host, "");
	cr_expect_eq(t->listen.port_min, 8388);
	cr_expect_str_eq(t->mode, "fast3");
	cr_expect(t->nodelay == 1 && t->interval == 10 && t->resend == 2 && t->nc == 1);
	cr_expect(t->nocomp);
	cr_expect(t->autoexpire == 900 && t->scavengettl == 600);
	cr_expect_eq(t->sockbuf, 16777217);
	cr_expect_eq(t->dscp, 46);
	cr_expect_eq(c->n_warnings, 2);
	cr_expect_str_eq(c->warnings[0], "--sockbuf: no socket, no effect");
	cr_expect(strstr(c->warnings[1], "--key: not given, and kcptun's default passphrase is public"), "%s",
		  c->warnings[1]);
	conf_free(c);
}

Test(args, server_of_the_readme)
{
	struct conf *c = args_good("server -t TARGET_IP:8388 -l :4000 -mode fast3 -nocomp -sockbuf 16777217 -dscp 46");
	const struct conf_tunnel *t = &c->tunnels[0];

	cr_expect_eq(t->role, CONF_SERVER);
	cr_expect_str_eq(t->target.host, "TARGET_IP");
	cr_expect_eq(t->target.port_min, 8388);
	cr_expect(t->listen.port_min == 4000 && t->listen.port_max == 4000);
	cr_expect_eq(t->interval, 10);
	cr_expect(t->nocomp);
	cr_expect_eq(t->dscp, 46);
	cr_expect(t->congestion == CONF_CONGESTION_AUTO && t->sndwnd == 0 && t->rcvwnd == 0);
	conf_free(c);
}

Test(args, more_of_the_readme)
{
	struct conf *c = args_good("client -r server_ip:4000 -l :8388 -smuxver 2 -smuxbuf 8388608 -streambuf 2097152");

	cr_expect(c->tunnels[0].smuxbuf == 8388608 && c->tunnels[0].streambuf == 2097152);
	conf_free(c);
	c = args_good("server -l :3000-4000");
	cr_expect(c->tunnels[0].listen.port_min == 3000 && c->tunnels[0].listen.port_max == 4000);
	conf_free(c);
	c = args_good("client -r SERVER_IP:3000-4000");
	cr_expect(c->tunnels[0].remote.port_min == 3000 && c->tunnels[0].remote.port_max == 4000);
	conf_free(c);
}

Test(args, defaults)
{
	struct conf *s = args_good("server"), *c = args_good("client");

	cr_expect_str_eq(s->tunnels[0].listen.host, "");
	cr_expect_eq(s->tunnels[0].listen.port_min, 29900);
	cr_expect_str_eq(s->tunnels[0].target.host, "127.0.0.1");
	cr_expect_eq(s->tunnels[0].target.port_min, 12948);
	cr_expect_eq(c->tunnels[0].listen.port_min, 12948);
	cr_expect_str_eq(c->tunnels[0].remote.host, "vps");
	cr_expect_eq(c->tunnels[0].remote.port_min, 29900);
	cr_expect_str_eq(c->tunnels[0].key, CONF_DEFAULT_KEY);
	cr_expect_str_eq(c->tunnels[0].crypt, "aes");
	cr_expect(c->tunnels[0].closewait == 30 && s->tunnels[0].closewait == 0);
	cr_expect(c->tunnels[0].conn == 1 && s->tunnels[0].conn == 0);
	cr_expect_str_eq(c->path, "command line");
	cr_expect_str_eq(c->telemetry.snmplog, "");
	cr_expect_eq(c->telemetry.snmpperiod, 60);
	conf_free(s);
	conf_free(c);
}

/* The last of two flags wins, and a window that was given stays given. */
Test(args, congestion)
{
	static const struct {
		const char *line;
		unsigned sndwnd, rcvwnd;
		uint64_t up, down;
		enum conf_congestion congestion;
	} of[] = {
		{"client --key k", 0, 0, 0, 0, CONF_CONGESTION_AUTO},
		{"client --key k --congestion stock", 128, 512, 0, 0, CONF_CONGESTION_STOCK},
		{"server --key k -congestion=auto -congestion stock", 1024, 1024, 0, 0, CONF_CONGESTION_STOCK},
		{"client --key k --compat 2016", 128, 1024, 0, 0, CONF_CONGESTION_STOCK},
		{"server --key k --compat 2021 --congestion auto", 1024, 1024, 0, 0, CONF_CONGESTION_AUTO},
		{"client --key k --sndwnd 9 --sndwnd 300", 300, 0, 0, 0, CONF_CONGESTION_AUTO},
		{"client --key k --rcvwnd 300 --congestion stock", 128, 300, 0, 0, CONF_CONGESTION_STOCK},
		{"client --key k --bandwidth 20M/100M", 0, 0, 20000000, 100000000, CONF_CONGESTION_AUTO},
		{"server --key k -bandwidth 1G -bandwidth=50000k", 0, 0, 50000000, 50000000, CONF_CONGESTION_AUTO},
		{"server --key k --compat 2026 --bandwidth 1G --congestion auto", 1024, 1024, 1000000000, 1000000000,
		 CONF_CONGESTION_AUTO},
	};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct conf *c = args_good(of[i].line);
		const struct conf_tunnel *t = &c->tunnels[0];

		cr_expect_eq(t->congestion, of[i].congestion, "%s", of[i].line);
		cr_expect(t->sndwnd == of[i].sndwnd && t->rcvwnd == of[i].rcvwnd, "%s: %u %u", of[i].line, t->sndwnd,
			  t->rcvwnd);
		cr_expect(t->bandwidth.up == of[i].up && t->bandwidth.down == of[i].down, "%s", of[i].line);
		cr_expect_eq(c->n_warnings, 0, "%s", of[i].line);
		conf_free(c);
	}
}

/* What the line takes, less the heads of full datagrams; in doubt those of IPv6. */
Test(args, bandwidth_that_is_sent)
{
	static const struct {
		const char *line;
		uint64_t sent;
	} of[] = {
		{"client --key k -r 192.0.2.1:1 --bandwidth 20M/100M", 2500000ull * 1350 / 1392},
		{"client --key k -r [2001:db8::1]:1 --bandwidth 20M/100M", 2500000ull * 1350 / 1412},
		{"client --key k -r a.host:1 --bandwidth 20M/100M", 2500000ull * 1350 / 1412},
		{"server --key k --bandwidth 20M/100M", 12500000ull * 1350 / 1412},
		{"server --key k -l 192.0.2.1:1 --bandwidth 20M/100M --mtu 500", 12500000ull * 500 / 542},
		{"server --key k -l 192.0.2.1:1 --bandwidth 100M --tcp", 12500000ull * 1350 / 1404},
		{"server --key k -l 192.0.2.1:1 --bandwidth 400G", 50000000000ull * 1350 / 1392},
		{"server --key k", 0},
	};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct conf *c = args_good(of[i].line);

		cr_expect_eq(conf_bandwidth_sent(&c->tunnels[0]), of[i].sent, "%s: %lu", of[i].line,
			     conf_bandwidth_sent(&c->tunnels[0]));
		conf_free(c);
	}
}

/* The machine's part: one shared port, lcores, prefix. */
Test(args, port_and_eal)
{
	struct conf *c = args_good("client --key k");

	cr_assert_eq(c->n_ports, 1);
	cr_expect_str_eq(c->ports[0].name, "if-client");
	cr_expect_str_eq(c->ports[0].device, "net_af_packet0,iface=if-client");
	cr_expect_str_eq(c->ports[0].ifname, "if-client");
	cr_expect(c->ports[0].vdev);
	cr_expect_eq(c->ports[0].exception, CONF_EXC_KERNEL);
	cr_expect_eq(c->ports[0].mtu, 1492);
	cr_expect_str_eq(c->eal.lcores, "0@(0,1),1@(0,1)");
	cr_expect_eq(c->eal.n_lcores, 2);
	cr_expect_str_eq(c->eal.file_prefix, "kcpgate-4711");
	cr_expect_eq(c->eal.hugepages, CONF_HUGE_AUTO);
	cr_expect_eq(c->eal.memory, 0);
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
	c = args_good("server --key k --iface eth0.7");
	cr_expect_str_eq(c->ports[0].device, "net_af_packet0,iface=eth0.7");
	cr_expect_eq(c->n_ports, 1);
	conf_free(c);
}

/* Where the machine has it so, the kernel's sockets; frames where they are needed, or an interface is named. */
Test(args, sockets)
{
	struct conf_host host = args_host;
	struct conf *c;

	host.sockets = true;
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(args_run(i ? "server --key k -sockbuf 9" : "client --key k -r later:1 -sockbuf 9", &host,
				      &c, NULL),
			     0);
		cr_assert_eq(c->n_ports, 1);
		cr_expect_str_eq(c->ports[0].device, "net_kudp0");
		cr_expect(c->ports[0].sockets && !c->ports[0].seek && c->ports[0].found);
		cr_expect_eq(c->ports[0].exception, CONF_EXC_KERNEL);
		cr_expect_eq(c->n_warnings, 0);
		conf_free(c);
	}
	cr_assert_eq(args_run("server --key k --tcp", &host, &c, NULL), 0);
	cr_expect(!c->ports[0].sockets && c->n_ports == 2);
	conf_free(c);
	cr_assert_eq(args_run("client --key k --iface eth0", &host, &c, NULL), 0);
	cr_expect_str_eq(c->ports[0].device, "net_af_packet0,iface=eth0");
	conf_free(c);
}

/* What is not to be found yet is no fault of the line's: the gateway looks for it, and the line is warned of it. */
Test(args, interface_comes_later)
{
	struct conf *c = args_good("client --key k -r later:1");

	cr_assert_eq(c->n_ports, 1);
	cr_expect(c->ports[0].seek);
	cr_expect_str_eq(c->ports[0].name, "port0");
	cr_expect_str_eq(c->ports[0].device, "net_af_packet0");
	cr_expect_str_eq(c->ports[0].ifname, "");
	cr_expect_eq(c->ports[0].exception, CONF_EXC_KERNEL);
	cr_expect_eq(c->ports[0].mtu, 1500);
	cr_assert_eq(c->n_warnings, 1);
	cr_expect_str_eq(c->warnings[0],
			 "--iface: not given, and there is no way yet: the gateway waits until there is one");
	conf_free(c);
	c = args_good("client --key k -r a.name:1");
	cr_expect(c->ports[0].seek);
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
	c = args_good("client --key k -r later:1 --iface eth0");
	cr_expect(!c->ports[0].seek && c->n_warnings == 0);
	conf_free(c);
}

/* A server on all addresses serves loopback too, unless an interface was named. */
Test(args, loopback)
{
	struct conf *c = args_good("server --key k");

	cr_assert_eq(c->n_ports, 2);
	cr_expect_str_neq(c->ports[0].ifname, "lo");
	cr_expect_str_eq(c->ports[1].name, "loopback");
	cr_expect_str_eq(c->ports[1].ifname, "lo");
	cr_expect_str_eq(c->ports[1].device, "net_af_packet1,iface=lo");
	cr_expect_eq(c->ports[1].exception, CONF_EXC_KERNEL);
	conf_free(c);
	c = args_good("server --key k -l 192.0.2.1:4000");
	cr_expect_eq(c->n_ports, 1);
	conf_free(c);
	c = args_good("server --key k --iface lo");
	cr_expect_eq(c->n_ports, 1);
	cr_expect_str_eq(c->ports[0].ifname, "lo");
	conf_free(c);
}

static const char *const same_lines[] = {
	"client --key k --localaddr 127.0.0.1:1 --remoteaddr h:2 --datashard 5 --parityshard 2 --nocomp --conn 3",
	"client -key k -localaddr 127.0.0.1:1 -remoteaddr h:2 -datashard 5 -parityshard 2 -nocomp -conn 3",
	"client -key=k -l=127.0.0.1:1 -r=h:2 -ds=5 -ps=2 -nocomp=true -conn=3",
	"client --key=k --l=127.0.0.1:1 --r=h:2 --ds=5 --ps=2 --nocomp=1 --conn=0x3",
	"client --nocomp=T --conn 9 --conn 3 --ps 7 --parityshard 2 --ds 5 --key no --key k -r h:2 -l 127.0.0.1:1",
};

Test(args, spellings)
{
	for (size_t i = 0; i < sizeof(same_lines) / sizeof(same_lines[0]); i++) {
		struct conf *c = args_good(same_lines[i]);
		const struct conf_tunnel *t = &c->tunnels[0];

		cr_expect_str_eq(t->key, "k", "%s", same_lines[i]);
		cr_expect_str_eq(t->listen.host, "127.0.0.1", "%s", same_lines[i]);
		cr_expect_str_eq(t->remote.host, "h", "%s", same_lines[i]);
		cr_expect(t->datashard == 5 && t->parityshard == 2 && t->nocomp && t->conn == 3, "%s", same_lines[i]);
		cr_expect_eq(c->n_warnings, 0);
		conf_free(c);
	}
}

Test(args, bools)
{
	struct conf *c = args_good("client --nocomp=false --quiet --tcp --acknodelay=F");

	cr_expect(!c->tunnels[0].nocomp && c->log.quiet && c->tunnels[0].tcp && !c->tunnels[0].acknodelay);
	conf_free(c);
	c = args_good("client --pprof=false --nocomp");
	cr_expect(c->tunnels[0].nocomp);
	conf_free(c);
}

Test(args, every_flag)
{
	struct conf *c = args_good(
		"client -l /run/k.sock -r [2001:db8::1]:1-9 --key kk --crypt aes-128-gcm --mode manual --QPP "
		"--QPPCount 67 --conn 4 --autoexpire 9 --scavengettl 8 --mtu 1400 --ratelimit -5 --sndwnd 7 --rcvwnd 6 "
		"--ds "
		"20 --ps 4 --dscp 63 --nocomp --acknodelay --nodelay 2 --interval 11 --resend 3 --nc 1 --sockbuf 1 "
		"--smuxver 1 "
		"--smuxbuf 9000 --framesize 65535 --streambuf 8000 --keepalive 9 --closewait 3 --snmplog ./a-2006.csv "
		"--snmpperiod 5 --log k.log --quiet --tcp --pprof=0 --compat 2026 --congestion auto --bandwidth 7M");
	const struct conf_tunnel *t = &c->tunnels[0];

	cr_expect_null(t->listen.host);
	cr_expect_str_eq(t->listen.path, "/run/k.sock");
	cr_expect_str_eq(t->remote.host, "2001:db8::1");
	cr_expect(t->remote.port_min == 1 && t->remote.port_max == 9);
	cr_expect_str_eq(t->crypt, "aes-128-gcm");
	cr_expect(t->nodelay == 2 && t->interval == 11 && t->resend == 3 && t->nc == 1);
	cr_expect(t->qpp && t->qpp_count == 67 && t->conn == 4 && t->autoexpire == 9 && t->scavengettl == 8);
	cr_expect(t->mtu == 1400 && t->ratelimit == 0 && t->sndwnd == 7 && t->rcvwnd == 6);
	cr_expect(t->datashard == 20 && t->parityshard == 4 && t->dscp == 63 && t->nocomp && t->acknodelay);
	cr_expect(t->sockbuf == 1 && t->smuxver == 1 && t->smuxbuf == 9000 && t->framesize == 65535);
	cr_expect(t->streambuf == 8000 && t->keepalive == 9 && t->closewait == 3 && t->tcp);
	cr_expect_eq(t->compat, CONF_COMPAT_2026);
	cr_expect(t->congestion == CONF_CONGESTION_AUTO && t->bandwidth.up == 7000000);
	cr_expect_str_eq(c->telemetry.snmplog, "./a-2006.csv");
	cr_expect_eq(c->telemetry.snmpperiod, 5);
	cr_expect_str_eq(c->log.file, "k.log");
	cr_expect(c->log.quiet);
	conf_free(c);
	c = args_good("server --target ./app.sock --qpp --qpp-count 2 --ratelimit 1048576");
	cr_expect_str_eq(c->tunnels[0].target.path, "./app.sock");
	cr_expect(c->tunnels[0].qpp && c->tunnels[0].qpp_count == 2 && c->tunnels[0].ratelimit == 1048576);
	conf_free(c);
}

Test(args, key_leaves_argv)
{
	char key[] = "--key", value[] = "secret", glued[] = "-key=secret", role[] = "client";
	char *argv[] = {role, key, value, NULL}, *argv2[] = {role, glued, NULL};
	char why[512];
	struct conf *c;

	cr_assert_eq(conf_args(CONF_CLIENT, 3, argv, &args_host, &c, why, sizeof(why)), 0, "%s", why);
	cr_expect_str_eq(value, "xxxxxx");
	cr_expect_str_eq(c->tunnels[0].key, "secret");
	conf_free(c);
	cr_assert_eq(conf_args(CONF_CLIENT, 2, argv2, &args_host, &c, why, sizeof(why)), 0, "%s", why);
	cr_expect_str_eq(glued, "-key=xxxxxx");
	cr_expect_str_eq(c->tunnels[0].key, "secret");
	conf_free(c);
}

/* Flag before environment, JSON before both. */
Test(args, where_the_key_comes_from)
{
	struct conf_host host = args_host;
	struct conf *c;
	char path[64];

	host.key = "env";
	cr_assert_eq(args_run("client", &host, &c, NULL), 0);
	cr_expect_str_eq(c->tunnels[0].key, "env");
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
	cr_assert_eq(args_run("client --key flag", &host, &c, NULL), 0);
	cr_expect_str_eq(c->tunnels[0].key, "flag");
	conf_free(c);
	file_make(path, "{\"KEY\":\"json\"}", 14, 0644);
	cr_assert_eq(args_run("client --key flag -c @", &host, &c, path), 0);
	cr_expect_str_eq(c->tunnels[0].key, "json");
	cr_assert_eq(c->n_warnings, 1);
	cr_expect(strstr(c->warnings[0], ":1: key: everybody may read this file"), "%s", c->warnings[0]);
	cr_expect_str_eq(c->path, path);
	conf_free(c);
	unlink(path);
	host.key = CONF_DEFAULT_KEY;
	cr_assert_eq(args_run("client", &host, &c, NULL), 0);
	cr_assert_eq(c->n_warnings, 1);
	cr_expect(strstr(c->warnings[0], "KCPTUN_KEY: kcptun's default passphrase is public"), "%s", c->warnings[0]);
	conf_free(c);
}

Test(args, help_and_version)
{
	struct conf *c;

	cr_expect_eq(args_run("client --help", &args_host, &c, NULL), CONF_ARGS_HELP);
	cr_expect_eq(args_run("server -mode fast -h", &args_host, &c, NULL), CONF_ARGS_HELP);
	cr_expect_eq(args_run("server -v", &args_host, &c, NULL), CONF_ARGS_VERSION);
	cr_expect_eq(args_run("client --version", &args_host, &c, NULL), CONF_ARGS_VERSION);
	cr_expect_null(c);
}

#define BANDWIDTH                                                                                           \
	"RATE or UP/DOWN, \"100M\" or \"20M/100M\": bits a second from 10k to 400G, with k, M or G behind " \
	"the number"

static const struct {
	const char *line, *why;
} wrong[] = {
	{"client --mut 3", "\"--mut\": found an unknown option; did you mean --mtu?"},
	{"client -turbo", "\"-turbo\": found an unknown option; allowed: those of kcpgate client --help"},
	{"server --keyy=secret", "\"--keyy\": found an unknown option; did you mean --key?"},
	{"server --conn 3", "--conn: found in a server; allowed: only in a client"},
	{"client -t h:1", "--target: found in a client; allowed: only in a server"},
	{"client --mtu", "--mtu: found no value; allowed: an integer from 50 to 1500"},
	{"client --mtu abc", "--mtu: found \"abc\"; allowed: an integer from 50 to 1500"},
	{"client --mtu=", "--mtu: found \"\"; allowed: an integer from 50 to 1500"},
	{"client --mtu 12x", "--mtu: found \"12x\"; allowed: an integer from 50 to 1500"},
	{"client --mtu 1501", "--mtu: found 1501; allowed: an integer from 50 to 1500"},
	{"client --mtu 99999999999999999999",
	 "--mtu: found \"99999999999999999999\"; allowed: an integer from 50 to 1500"},
	{"client --mtu 60", "--mtu: found 60; allowed: 78 to 1500 with crypt \"aes\" and FEC on"},
	{"client --crypt rot13",
	 "--crypt: found \"rot13\"; allowed: \"aes\", \"aes-128\", \"aes-192\", \"aes-128-gcm\", \"salsa20\", "
	 "\"blowfish\", \"twofish\", \"cast5\", \"3des\", \"tea\", \"xtea\", \"xor\", \"sm4\", \"none\", \"null\""},
	{"client --mode fast4",
	 "--mode: found \"fast4\"; allowed: \"normal\", \"fast\", \"fast2\", \"fast3\", \"manual\""},
	{"client --ds 200 --ps 57",
	 "--parityshard: found datashard 200 + parityshard 57; allowed: a sum of at most 256"},
	{"client --framesize 65536", "--framesize: found 65536; allowed: an integer from 1 to 65535"},
	{"client --smuxver 3", "--smuxver: found 3; allowed: an integer from 1 to 2 or \"auto\""},
	{"client --dscp 64", "--dscp: found 64; allowed: an integer from 0 to 63"},
	{"client --dscp -1", "--dscp: found -1; allowed: an integer from 0 to 63"},
	{"client -r h:9-8", "--remoteaddr: found \"h:9-8\"; allowed: a range of ports MIN-MAX with MIN up to MAX"},
	{"client -r h:1-", "--remoteaddr: found \"h:1-\"; allowed: a port from 1 to 65535, or MIN-MAX"},
	{"client -r h", "--remoteaddr: found \"h\"; allowed: HOST:PORT or HOST:MIN-MAX"},
	{"client -l :1-2", "--localaddr: found a range of ports, 1-2; allowed: one TCP port"},
	{"server -l /run/k", "--listen: found the path of a Unix socket; allowed: HOST:PORT, :PORT or HOST:MIN-MAX"},
	{"server -t :80", "--target: found \":80\"; allowed: HOST:PORT with a host to send to"},
	{"client --nocomp=maybe", "--nocomp: found \"maybe\"; allowed: true, false or \"auto\""},
	{"client --nocomp true", "\"true\": found an argument; allowed: options only"},
	{"client -- --mtu 3", "\"--\": found an argument; allowed: options only"},
	{"client -", "\"-\": found an argument; allowed: options only"},
	{"client --QPP --QPPCount 64",
	 "--QPPCount: found 64; allowed: a prime number from 2 to 65521, the same on both sides"},
	{"client --QPPCount 1", "--QPPCount: found 1; allowed: an integer from 2 to 65535"},
	{"client --pprof",
	 "--pprof: found an option that has no effect here; allowed: telemetry, whose /kcpgate/workers "
	 "shows the cycles"},
	{"client --conn 0", "--conn: found 0; allowed: an integer from 1 to 1024"},
	{"client --smuxbuf 4096",
	 "--smuxbuf: found smuxbuf 4096 and streambuf 2097152; allowed: a smuxbuf of at least streambuf"},
	{"client --ratelimit 1M", "--ratelimit: found \"1M\"; allowed: an integer up to 1000000000000"},
	{"client --compat 2020", "--compat: found \"2020\"; allowed: \"kcpgate\", \"2016\", \"2021\", \"2026\""},
	{"client --congestion bbr", "--congestion: found \"bbr\"; allowed: \"auto\", \"stock\""},
	{"client --congestion", "--congestion: found no value; allowed: \"auto\", \"stock\""},
	{"client --bandwidth 0", "--bandwidth: found \"0\"; allowed: " BANDWIDTH},
	{"client --bandwidth -5M", "--bandwidth: found \"-5M\"; allowed: " BANDWIDTH},
	{"client --bandwidth 100", "--bandwidth: found \"100\"; allowed: " BANDWIDTH},
	{"client --bandwidth", "--bandwidth: found no value; allowed: " BANDWIDTH},
	{"client --bandwidth 1M --congestion stock",
	 "--bandwidth: found with congestion \"stock\"; allowed: with \"auto\" only"},
	{"server --compat 2016 --bandwidth 1M",
	 "--bandwidth: found with compat \"2016\", which means congestion \"stock\"; allowed: with \"auto\" only"},
	{"client --iface a/b", "--iface: found \"a/b\"; allowed: an interface's name of 1 to 15 characters"},
	{"client --snmpperiod 0", "--snmpperiod: found 0; allowed: an integer from 1 to 4294967"},
	{"client -c", "-c: found no value; allowed: a JSON file of kcptun's"},
	{"client -c /no/such.json", "/no/such.json: No such file or directory"},
	{"client -r nowhere:1", "--iface: not given, and there is no way; allowed: an interface's name"},
};

Test(args, wrong_lines)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct conf *c = (struct conf *)&args_host;
		char why[512] = "";
		int rc = args_try(wrong[i].line, &args_host, &c, NULL, why);

		cr_expect_lt(rc, 0, "%s: %d", wrong[i].line, rc);
		cr_expect_null(c);
		cr_expect_str_eq(why, wrong[i].why, "%s: %s", wrong[i].line, why);
	}
}

/* Every flag with every kind of nonsense: an answer of one line, or a configuration. */
Test(args, nonsense)
{
	static const char *const flags[] = {"l",	 "r",	     "t",	"key",	 "crypt",     "mode",
					    "QPP",	 "QPPCount", "conn",	"mtu",	 "ratelimit", "ds",
					    "log",	 "quiet",    "snmplog", "iface", "compat",    "congestion",
					    "bandwidth", "pprof",    "c",	"h",	 "v",	      "zz"};
	static const char *const values[] = {"",
					     "=",
					     "=-1",
					     "=0",
					     "=:",
					     "=::",
					     "=a:b",
					     "=[:1",
					     "=[::1]:1",
					     "=\n",
					     "=\xff",
					     "=%s",
					     "=@",
					     "=/",
					     "==",
					     "=1e9",
					     "=0x",
					     "=true",
					     "=99999999999999999999999"};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
			char line[128], why[512] = "";
			struct conf *c;
			int rc;

			snprintf(line, sizeof(line), "client --%s%s", flags[i], values[j]);
			rc = args_try(line, &args_host, &c, NULL, why);
			cr_expect(rc < 0 ? !c && why[0] != '\0' : rc > 0 || c, "%s", line);
			cr_expect_null(strchr(why, '\n'), "%s: %s", line, why);
			conf_free(c);
		}
	}
}

Test(args, help_names_every_flag)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	cr_assert_eq(conf_help(f, CONF_CLIENT), 0);
	fclose(f);
	cr_expect(strstr(text, "--localaddr VALUE, -l VALUE"));
	cr_expect(strstr(text, "--rcvwnd VALUE") &&
		  strstr(text, "receive window, packets; with congestion auto the most that it "
			       "may grow to (default: automatic; with congestion stock "
			       "512)"));
	cr_expect(strstr(text, "--congestion VALUE") && strstr(text, ": auto, stock (default: \"auto\")"));
	cr_expect(strstr(text, "--bandwidth VALUE") && strstr(text, "(default: automatic)\n"));
	cr_expect(strstr(text, "--closewait VALUE") && strstr(text, "may linger (default: 30)"));
	cr_expect(strstr(text, "--QPPCount VALUE") && strstr(text, "--interval VALUE") && strstr(text, "-c FILE"));
	cr_expect_null(strstr(text, "--target"));
	free(text);
	f = open_memstream(&text, &n);
	cr_assert_eq(conf_help(f, CONF_SERVER), 0);
	fclose(f);
	cr_expect(strstr(text, "--target VALUE, -t VALUE") && strstr(text, "(default: \"127.0.0.1:12948\")"));
	cr_expect_null(strstr(text, "--conn"));
	free(text);
}

Test(args, as_each_client_has_it)
{
	struct conf *c = args_good("server --smuxver auto --nocomp=auto");

	cr_expect_eq(c->tunnels[0].smuxver, 0);
	cr_expect_eq(c->tunnels[0].nocomp, CONF_NOCOMP_AUTO);
	conf_free(c);
	c = args_good("server --nocomp");
	cr_expect_eq(c->tunnels[0].smuxver, 0, "its default");
	cr_expect_eq(c->tunnels[0].nocomp, 1);
	conf_free(c);
}
