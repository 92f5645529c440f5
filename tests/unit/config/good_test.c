/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "log.h"
#include "support.h"

/* Files that are accepted, and what comes of them. */

static struct conf *load(const char *path)
{
	char why[512] = "";
	struct conf *c;

	cr_assert_eq(conf_load(path, &c, why, sizeof(why)), 0, "%s", why);
	cr_expect_str_eq(c->path, path);
	return c;
}

static void expect_addr(const struct addr *a, const char *text)
{
	char buf[ADDR_STRLEN];

	cr_expect_str_eq(addr_str(a, buf), text);
}

static void expect_hostport(const struct conf_hostport *hp, const char *host, unsigned min, unsigned max)
{
	cr_assert_not_null(hp->host);
	cr_expect_str_eq(hp->host, host);
	cr_expect_eq(hp->port_min, min);
	cr_expect_eq(hp->port_max, max);
}

Test(good, example_server)
{
	struct conf *c = load(CONF "/server.conf");
	const struct conf_port *p = &c->ports[0];
	const struct conf_tunnel *t = &c->tunnels[0];

	cr_expect_str_eq(c->eal.lcores, "0@0,1@1");
	cr_expect_eq(c->eal.n_lcores, 2);
	cr_expect_eq(c->eal.hugepages, CONF_HUGE_YES);
	cr_expect_eq(c->n_ports, 1);
	cr_expect_str_eq(p->name, "wan0");
	cr_expect_not(p->vdev);
	cr_expect_eq(p->exception, CONF_EXC_TAP);
	cr_expect_str_eq(p->ifname, "kg-wan0");
	cr_expect_eq(p->n_addresses, 2);
	expect_addr(&p->addresses[0].addr, "198.51.100.7");
	cr_expect_eq(p->addresses[0].plen, 24);
	expect_addr(&p->addresses[1].addr, "2001:db8::7");
	cr_expect_eq(p->addresses[1].plen, 64);
	cr_expect_eq(p->n_gateway, 2);
	expect_addr(&p->gateway[0], "198.51.100.1");
	cr_expect_eq(c->n_tunnels, 1);
	cr_expect_str_eq(t->port, "wan0");
	expect_hostport(&t->listen, "", 4000, 4009);
	expect_hostport(&t->target, "127.0.0.1", 8388, 8388);
	cr_expect_null(t->remote.host);
	conf_free(c);
}

Test(good, example_client)
{
	struct conf *c = load(CONF "/client.conf");
	const struct conf_tunnel *t = &c->tunnels[1];

	cr_expect(c->ports[0].vdev);
	cr_expect_eq(c->ports[0].exception, CONF_EXC_KERNEL);
	cr_expect_str_eq(c->ports[0].ifname, "eth0");
	cr_expect_eq(c->n_tunnels, 2);
	cr_expect_eq(c->tunnels[0].role, CONF_CLIENT);
	expect_hostport(&c->tunnels[0].remote, "192.0.2.9", 4000, 4009);
	cr_expect_null(c->tunnels[0].target.host);
	expect_hostport(&t->remote, "2001:db8::9", 4000, 4000);
	cr_expect_str_eq(t->crypt, "aes-128");
	cr_expect_str_eq(t->mode, "manual");
	cr_expect_eq(t->nodelay, 1);
	cr_expect_eq(t->interval, 20);
	cr_expect_eq(t->resend, 2);
	cr_expect_eq(t->nc, 1);
	cr_expect_eq(t->conn, 4);
	conf_free(c);
}

Test(good, example_lab)
{
	struct conf *c = load(CONF "/lab.conf");

	cr_expect_eq(c->eal.hugepages, CONF_HUGE_NO);
	cr_expect_eq(c->eal.memory, 256);
	cr_expect_str_eq(c->eal.file_prefix, "kcpgate-lab");
	cr_expect_str_eq(c->eal.args[0], "--no-pci");
	cr_expect_null(c->eal.args[1]);
	cr_expect_eq(c->max_sessions, 256);
	cr_expect_eq(c->max_streams, 1024);
	cr_expect_str_eq(c->ports[0].ifname, "veth-a");
	cr_expect_eq(c->log.level, LOG_DEBUG);
	cr_expect_eq(c->n_tunnels, 2);
	conf_free(c);
}

Test(good, defaults_of_the_file)
{
	struct conf *c = load_tunnel(false, "key = \"k\";");

	cr_expect_null(c->eal.lcores);
	cr_expect_eq(c->eal.n_lcores, 2);
	cr_expect_eq(c->eal.hugepages, CONF_HUGE_AUTO);
	cr_expect_eq(c->eal.memory, 0);
	cr_expect_str_eq(c->eal.file_prefix, "kcpgate");
	cr_expect_null(c->eal.args);
	cr_expect_eq(c->eal.idle, CONF_IDLE_ADAPTIVE);
	cr_expect_not(c->eal.dumpcap);
	cr_expect_eq(c->max_sessions, 65536);
	cr_expect_eq(c->max_streams, 4096);
	cr_expect(c->max_dials == 512 && c->dial_timeout == 30);
	cr_expect(c->max_address == 32768 && c->max_prefix == 49152 && c->max_rate == 2000);
	cr_expect_eq(c->spare_tunnels, 16);
	cr_expect(c->session_bytes == 0 && c->tunnels[0].memory == 0);
	cr_expect_eq(c->tunnels[0].sessions, 0);
	cr_expect(c->telemetry.enable);
	cr_expect_not(c->telemetry.allow_plaintext);
	cr_expect_eq(c->log.level, LOG_INFO);
	cr_expect_str_eq(c->log.file, "");
	cr_expect_not(c->log.quiet);
	cr_expect_eq(c->log.format, LOG_TEXT);
	cr_expect_eq(c->log.rate, 1000);
	cr_expect_eq(c->ports[0].exception, CONF_EXC_TAP);
	cr_expect_str_eq(c->ports[0].ifname, "kg-wan0");
	cr_expect_eq(c->ports[0].mtu, 1500);
	cr_expect_eq(c->ports[0].vlan, 0);
	cr_expect_eq(c->ports[0].punt_rate, 100000);
	cr_expect_eq(c->ports[0].line, 1);
	cr_expect_eq(c->tunnels[0].line, 2);
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
}

static void expect_common_defaults(const struct conf_tunnel *t)
{
	cr_expect_str_eq(t->port, "");
	cr_expect_str_eq(t->key, "k");
	cr_expect_eq(t->key_len, 1);
	cr_expect_null(t->key_file);
	cr_expect_str_eq(t->crypt, "aes");
	cr_expect_str_eq(t->mode, "fast");
	cr_expect(t->nodelay == 0 && t->interval == 30 && t->resend == 2 && t->nc == 1);
	cr_expect_eq(t->mtu, 1350);
	cr_expect(t->datashard == 10 && t->parityshard == 3);
	cr_expect(!t->nocomp && !t->acknodelay);
	cr_expect_eq(t->smuxver, t->role == CONF_SERVER ? 0 : 2);
	cr_expect(t->smuxbuf == 4194304 && t->streambuf == 2097152 && t->framesize == 8192);
	cr_expect_eq(t->keepalive, 10);
	cr_expect(t->replaycheck && !t->proxy_protocol);
}

Test(good, defaults_of_each_role)
{
	struct conf *s = load_tunnel(false, "key = \"k\";"), *c = load_tunnel(true, "key = \"k\";");

	expect_common_defaults(&s->tunnels[0]);
	expect_common_defaults(&c->tunnels[0]);
	cr_expect(s->tunnels[0].sndwnd == 0 && s->tunnels[0].rcvwnd == 0);
	cr_expect(c->tunnels[0].sndwnd == 0 && c->tunnels[0].rcvwnd == 0);
	cr_expect(s->tunnels[0].conn == 0 && c->tunnels[0].conn == 1);
	cr_expect(s->tunnels[0].closewait == 0 && c->tunnels[0].closewait == 30);
	conf_free(s);
	conf_free(c);
}

Test(good, modes)
{
	static const struct {
		const char *text;
		int nodelay, interval, resend, nc;
	} modes[] = {
		{"mode = \"normal\";", 0, 40, 2, 1},
		{"mode = \"fast\";", 0, 30, 2, 1},
		{"mode = \"fast2\";", 1, 20, 2, 1},
		{"mode = \"fast3\";", 1, 10, 2, 1},
		{"mode = \"manual\";", 0, 50, 0, 0},
		{"nc = 1; resend = 3; interval = 10; nodelay = 2; mode = \"manual\";", 2, 10, 3, 1},
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct conf *c = load_tunnel(true, modes[i].text);
		const struct conf_tunnel *t = &c->tunnels[0];

		cr_expect(t->nodelay == modes[i].nodelay && t->interval == modes[i].interval &&
				  t->resend == modes[i].resend && t->nc == modes[i].nc,
			  "%s", modes[i].text);
		conf_free(c);
	}
}

/* Where a zone names a port by its interface or itself, the tunnel is the port's; a listener or target of TCP is not.
 */
Test(good, zones)
{
	static const struct {
		const char *tunnel, *port;
	} v[] = {
		{"role = \"client\"; listen = \"[fe80::2%other]:1\"; remote = \"[fe80::1%eth0]:4000-4001\";", "a"},
		{"role = \"client\"; listen = \":1\"; remote = \"[fe80::1%kg-b]:4000\";", "b"},
		{"role = \"server\"; listen = \"[fe80::1%b]:4000\"; target = \"[fe80::9%other]:1\";", "b"},
		{"role = \"server\"; port = \"a\"; listen = \"[fe80::1%eth0]:4000\"; target = \"x:1\";", "a"},
		{"role = \"client\"; listen = \":1\"; remote = \"[fe80::1]:4000\";", ""},
	};
	char text[600], why[512];
	struct conf *c;

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		snprintf(text, sizeof(text),
			 "ports = ( { name = \"a\"; device = \"net_af_packet0,iface=eth0\"; exception = \"kernel\"; }, "
			 "{ name = \"b\"; device = \"03:00.0\"; } );\ntunnels = ( { name = \"t\"; key = \"k\"; %s } "
			 ");\n",
			 v[i].tunnel);
		cr_assert_eq(load_text(text, &c, why), 0, "%s", why);
		cr_expect_str_eq(c->tunnels[0].port, v[i].port, "%s", v[i].tunnel);
		conf_free(c);
	}
}

/* It needs hugepages, whether it says so or not. */
Test(good, dumpcap)
{
	static const char *const groups[] = {"dumpcap = true;", "dumpcap = true; hugepages = true;"};
	char text[400], why[512];
	struct conf *c;

	for (unsigned i = 0; i < 2; i++) {
		snprintf(text, sizeof(text),
			 "eal = { %s };\nports = ( { name = \"a\"; device = \"03:00.0\"; } );\ntunnels = ( { name = "
			 "\"t\"; role = \"server\"; listen = \":1\"; target = \"a:1\"; key = \"k\"; } );\n",
			 groups[i]);
		cr_assert_eq(load_text(text, &c, why), 0, "%s", why);
		cr_expect(c->eal.dumpcap);
		cr_expect_eq(c->eal.hugepages, CONF_HUGE_YES);
		conf_free(c);
	}
}

/* allow and deny, in any order and of both families. */
Test(good, prefixes)
{
	struct conf *c =
		load_tunnel(false, "key = \"k\"; deny = [ \"192.0.2.66/32\", \"::/0\" ]; sessions = 9; memory = 3;"
				   "allow = [ \"192.0.2.0/24\", \"2001:db8::/32\", \"0.0.0.0/0\" ];");
	const struct conf_tunnel *t = &c->tunnels[0];

	cr_assert(t->n_rules == 5 && t->n_allow == 3);
	expect_addr(&t->rules[0].prefix, "192.0.2.66");
	cr_expect(t->rules[0].plen == 32 && !t->rules[0].allow);
	cr_expect(t->rules[1].plen == 0 && !addr_is_v4(&t->rules[1].prefix));
	expect_addr(&t->rules[3].prefix, "2001:db8::");
	cr_expect(t->rules[3].plen == 32 && t->rules[3].allow);
	cr_expect(t->rules[4].plen == 0 && addr_is_v4(&t->rules[4].prefix));
	cr_expect(t->sessions == 9 && t->memory == 3);
	conf_free(c);
	c = load_tunnel(false, "key = \"k\"; deny = [ ];");
	cr_expect_eq(c->tunnels[0].n_rules, 0, "nobody is denied");
	conf_free(c);
}

static const char everything[] =
	"eal = { lcores = \"0@0,(1-3)@(1,2),5\"; hugepages = false; memory = 512; dumpcap = false; file_prefix = "
	"\"kg1\";\n"
	"  args = [ \"--log-level=8\", \"--iova-mode=va\" ]; idle = \"poll\"; };\n"
	"limits = { sessions = 10; streams = 20; session_bytes = 65536; dials = 30; dialtimeout = 40;\n"
	"  address_sessions = 0; prefix_sessions = 7; address_rate = 0; };\n"
	"telemetry = { enable = false; allow_plaintext = true; };\n"
	"log = { level = \"error\"; file = \"/tmp/x.log\"; quiet = true; format = \"json\"; rate = 0; };\n"
	"ports = ( { name = \"a\"; device = \"03:00.1,representor=0\"; exception = \"tap\"; ifname = \"tap0\";\n"
	"    addresses = [ \"10.0.0.2/8\" ]; gateway = ( \"fe80::1\", \"10.0.0.1\" ); mtu = 2000;\n"
	"    vlan = 4094; punt_rate = 0; },\n"
	"  { name = \"b\"; device = \"net_af_xdp0,iface=eth9,force_copy=1\"; },\n"
	"  { name = \"c\"; device = \"net_pcap0,iface=eth8\"; exception = \"kernel\"; } );\n"
	"tunnels = ( { name = \"t.1-x_Y\"; role = \"client\"; port = \"b\"; localaddr = \"[::1]:1\";\n"
	"  remoteaddr = \"gw.example.net:1-65535\"; key = \"a\" \"b\"; crypt = \"aes-192\"; mode = \"manual\"; nodelay "
	"= 1;\n"
	"  interval = 0x14; resend = 1; nc = 0; conn = 8; mtu = 1400; sndwnd = 2048; rcvwnd = 4096; ds = 20; ps = 5;\n"
	"  nocomp = true; acknodelay = true; smuxver = 1; smuxbuf = 16777216L; streambuf = 8388608; framesize = 4096;\n"
	"  keepalive = 5; closewait = 7; congestion = \"auto\"; bandwidth = \"1M/2M\"; replaycheck = false; } );\n";

Test(good, every_option_of_the_groups)
{
	char why[512];
	struct conf *c;

	cr_assert_eq(load_text(everything, &c, why), 0, "%s", why);
	cr_expect_str_eq(c->eal.lcores, "0@0,(1-3)@(1,2),5");
	cr_expect_eq(c->eal.n_lcores, 5);
	cr_expect_eq(c->eal.hugepages, CONF_HUGE_NO);
	cr_expect_eq(c->eal.memory, 512);
	cr_expect_str_eq(c->eal.file_prefix, "kg1");
	cr_expect_str_eq(c->eal.args[0], "--log-level=8");
	cr_expect_str_eq(c->eal.args[1], "--iova-mode=va");
	cr_expect_null(c->eal.args[2]);
	cr_expect_eq(c->eal.idle, CONF_IDLE_POLL);
	cr_expect(c->max_sessions == 10 && c->max_streams == 20);
	cr_expect_eq(c->session_bytes, 65536);
	cr_expect(c->max_dials == 30 && c->dial_timeout == 40);
	cr_expect(c->max_address == 0 && c->max_prefix == 7 && c->max_rate == 0);
	cr_expect_not(c->telemetry.enable);
	cr_expect(c->telemetry.allow_plaintext);
	cr_expect_eq(c->log.level, LOG_ERROR);
	cr_expect_str_eq(c->log.file, "/tmp/x.log");
	cr_expect(c->log.quiet);
	cr_expect_eq(c->log.format, LOG_JSON);
	cr_expect_eq(c->log.rate, 0);
	cr_assert_eq(c->n_ports, 3);
	cr_expect_str_eq(c->ports[0].device, "0000:03:00.1,representor=0");
	cr_expect_str_eq(c->ports[0].ifname, "tap0");
	cr_expect_eq(c->ports[0].mtu, 2000);
	cr_expect_eq(c->ports[0].vlan, 4094);
	cr_expect_eq(c->ports[0].punt_rate, 0);
	expect_addr(&c->ports[0].gateway[0], "fe80::1");
	expect_addr(&c->ports[0].gateway[1], "10.0.0.1");
	cr_expect_eq(c->ports[1].exception, CONF_EXC_KERNEL);
	cr_expect_str_eq(c->ports[1].ifname, "eth9");
	cr_expect_eq(c->ports[2].exception, CONF_EXC_KERNEL);
	cr_expect_str_eq(c->ports[2].ifname, "eth8");
	cr_expect_eq(c->n_warnings, 1, "stock's timers beside auto");
	conf_free(c);
}

Test(good, every_option_of_a_tunnel)
{
	const struct conf_tunnel *t;
	char why[512];
	struct conf *c;

	cr_assert_eq(load_text(everything, &c, why), 0, "%s", why);
	t = &c->tunnels[0];
	cr_expect_str_eq(t->name, "t.1-x_Y");
	cr_expect_eq(t->role, CONF_CLIENT);
	cr_expect_str_eq(t->port, "b");
	expect_hostport(&t->listen, "::1", 1, 1);
	expect_hostport(&t->remote, "gw.example.net", 1, 65535);
	cr_expect_str_eq(t->key, "ab");
	cr_expect_eq(t->key_len, 2);
	cr_expect_str_eq(t->crypt, "aes-192");
	cr_expect(t->nodelay == 1 && t->interval == 20 && t->resend == 1 && t->nc == 0);
	cr_expect(t->conn == 8 && t->mtu == 1400 && t->sndwnd == 2048 && t->rcvwnd == 4096);
	cr_expect(t->datashard == 20 && t->parityshard == 5);
	cr_expect(t->nocomp && t->acknodelay);
	cr_expect(t->smuxver == 1 && t->smuxbuf == 16777216 && t->streambuf == 8388608 && t->framesize == 4096);
	cr_expect(t->keepalive == 5 && t->closewait == 7);
	cr_expect_not(t->replaycheck);
	cr_expect(t->congestion == CONF_CONGESTION_AUTO && t->bandwidth.up == 1000000 && t->bandwidth.down == 2000000);
	conf_free(c);
}

Test(good, edges_are_accepted)
{
	static const char *const edges[] = {
		"mtu = 78;",
		"mtu = 70; ds = 0; ps = 0;",
		"mtu = 58; crypt = \"null\";",
		"mtu = 50; crypt = \"null\"; ds = 0; ps = 0;",
		"mtu = 78; crypt = \"none\";",
		"mtu = 1472;",
		"sndwnd = 1; rcvwnd = 1;",
		"sndwnd = 65535; rcvwnd = 65535;",
		"conn = 1;",
		"conn = 1024;",
		"ds = 1; ps = 1;",
		"ds = 255; ps = 1;",
		"ds = 1; ps = 255;",
		"ds = 128; ps = 128;",
		"smuxver = 1;",
		"smuxbuf = 2097152;",
		"smuxbuf = 2147483647; streambuf = 2147483647;",
		"smuxbuf = 4096; streambuf = 4096;",
		"framesize = 1;",
		"framesize = 65535;",
		"keepalive = 1;",
		"keepalive = 30;",
		"closewait = 0;",
		"closewait = 86400;",
		"mode = \"manual\"; interval = 10; nodelay = 0; resend = 0; nc = 0;",
		"mode = \"manual\"; interval = 5000; nodelay = 2; resend = 255; nc = 1;",
		"key = \"\";",
		"bandwidth = \"10k\";",
		"bandwidth = \"400G/400000000000\";",
	};

	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
		conf_free(load_tunnel(true, edges[i]));
}

Test(good, edges_of_ports)
{
	static const char text[] =
		"ports = ( { name = \"abcdefghijkl\"; device = \"0000:03:00.7\"; mtu = 2030;\n"
		"  addresses = [ \"192.0.2.9/32\", \"2001:db8::9/128\", \"10.0.0.1/1\", \"fd00::1/1\" ]; },\n"
		"{ name = \"b\"; device = \"net_null0\"; mtu = 576; addresses = [ ]; gateway = [ ]; } );\n"
		"tunnels = ( { name = \"abcdefghijklmnopqrstuvwxyz01234\"; role = \"server\"; port = \"b\"; mtu = "
		"500;\n"
		"  listen = \"192.0.2.1:4000\"; target = \"127.0.0.1:80\"; key = \"k\"; } );\n";
	char why[512];
	struct conf *c;

	cr_assert_eq(load_text(text, &c, why), 0, "%s", why);
	cr_expect_str_eq(c->ports[0].ifname, "kg-abcdefghijkl");
	cr_expect_eq(c->ports[0].addresses[0].plen, 32);
	cr_expect_eq(c->ports[0].addresses[1].plen, 128);
	cr_expect_eq(c->ports[0].addresses[2].plen, 1);
	cr_expect_eq(c->ports[1].mtu, 576);
	cr_expect_eq(strlen(c->tunnels[0].name), 31);
	cr_expect_eq(c->n_warnings, 0);
	conf_free(c);
}

/* Tunnels that share what may be shared. */
Test(good, neighbours)
{
	static const char text[] = PORTS
		"tunnels = (\n"
		"{ name = \"a\"; role = \"server\"; listen = \":4000-4009\"; target = \"127.0.0.1:80\"; key = \"k\"; "
		"},\n"
		"{ name = \"b\"; role = \"server\"; listen = \":4010\"; target = \"127.0.0.1:80\"; key = \"k\"; },\n"
		"{ name = \"c\"; role = \"client\"; listen = \"127.0.0.1:4000\"; remote = \"192.0.2.9:4000\"; key = "
		"\"k\"; },\n"
		"{ name = \"d\"; role = \"client\"; listen = \"[::1]:4000\"; remote = \"192.0.2.9:4000\"; key = \"k\"; "
		"} );\n";
	char why[512];
	struct conf *c;

	cr_assert_eq(load_text(text, &c, why), 0, "%s", why);
	cr_expect_eq(c->n_tunnels, 4);
	conf_free(c);
}

Test(good, free_nothing)
{
	conf_free(NULL);
}

/* However a device is written, the rest of the program knows it by one name. */
Test(good, forms_of_devices)
{
	static const char *const v[][2] = {
		{"0000:03:0a.0", "0000:03:0a.0"},
		{"03:0a.0", "0000:03:0a.0"},
		{"03:0A.0", "0000:03:0a.0"},
		{"pci:0000:03:0A.0", "0000:03:0a.0"},
		{"3:A.0,speed=10000", "0000:03:0a.0,speed=10000"},
		{"10000:01:00.0", "10000:01:00.0"},
		{"eth_af_packet0,iface=eth0", "net_af_packet0,iface=eth0"},
		{"eth_bond0,mode=1", "net_bonding0,mode=1"},
		{"virtio_user0,path=/dev/vhost-net", "virtio_user0,path=/dev/vhost-net"},
	};

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		char text[512], why[512];
		struct conf *c;

		snprintf(text, sizeof(text),
			 "ports = ( { name = \"a\"; device = \"%s\"; } );\n"
			 "tunnels = ( { name = \"t\"; role = \"server\"; listen = \":1\"; target = \"a:1\"; key = "
			 "\"k\"; } );\n",
			 v[i][0]);
		cr_assert_eq(load_text(text, &c, why), 0, "%s", why);
		cr_expect_str_eq(c->ports[0].device, v[i][1]);
		cr_expect_eq(c->ports[0].vdev, v[i][1][0] > '9');
		cr_expect_eq(c->ports[0].exception, i == 6 ? CONF_EXC_KERNEL : CONF_EXC_TAP);
		conf_free(c);
	}
}

/* What a server takes from each client is a word, wherever it is given. */
Test(good, as_each_client_has_it)
{
	struct conf *c = load_tunnel(false, "key = \"k\"; smuxver = \"auto\"; nocomp = \"auto\"; compat = \"2021\";");

	cr_expect_eq(c->tunnels[0].smuxver, 0);
	cr_expect_eq(c->tunnels[0].nocomp, CONF_NOCOMP_AUTO);
	conf_free(c);
	c = load_tunnel(false, "key = \"k\"; smuxver = 1; nocomp = true;");
	cr_expect_eq(c->tunnels[0].smuxver, 1);
	cr_expect_eq(c->tunnels[0].nocomp, 1);
	conf_free(c);
}

/* Servers that listen at the same place are told apart by their keys, or ciphers. */
Test(good, servers_of_one_place)
{
	static const char server[] = "{ name = \"t%u\"; role = \"server\"; target = \"h:1\"; %s }%s";
	static const char *const more[] = {
		"listen = \":3999\"; key = \"a\";",
		"listen = \":4000\"; key = \"a\";",
		"listen = \":4000\"; key = \"b\";",
		"listen = \":4000\"; key = \"a\"; crypt = \"salsa20\";",
	};
	char text[2048] = PORTS "tunnels = ( ", why[512];
	struct conf *c;

	for (unsigned i = 0; i < 4; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), server, i, more[i], i < 3 ? ", " : " );");
	cr_assert_eq(load_text(text, &c, why), 0, "%s", why);
	cr_expect_eq(c->tunnels[0].ring, 0);
	for (unsigned i = 1; i < 4; i++)
		cr_expect_eq(c->tunnels[i].ring, 1, "%u", i);
	conf_free(c);
}

Test(good, until)
{
	struct conf *c = load_tunnel(false, "key = \"k\"; until = \"2026-12-31 18:30\";");

	cr_expect_eq(c->tunnels[0].until, 1798741800);
	conf_free(c);
	c = load_tunnel(false, "key = \"k\"; until = \"2026-12-31\";");
	cr_expect_eq(c->tunnels[0].until, 1798675200);
	conf_free(c);
	c = load_tunnel(false, "key = \"k\";");
	cr_expect_eq(c->tunnels[0].until, 0);
	conf_free(c);
}
