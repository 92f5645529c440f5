/* SPDX-License-Identifier: MIT */

/* The command line, and what it comes to: a capture and its expectation. */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "mkpcap.h"

#define FLOWS_MAX   (1u << 22)
#define STREAMS_MAX 16
#define LENGTH_MIN  128
#define UDP_MAX	    1500

const char *const mk_kind_names[MK_KINDS] = {"new", "steady", "repeat", "garbage", "truncated", "parity"};

static const char usage_text[] =
	"kcpgate-mkpcap [OPTIONS] FILE.pcap: packets from clients to a kcptun server, and what it must make of them\n"
	"traffic\n"
	"  --sessions S           at most so many begin (1)\n"
	"  --packets P            S x P packets are picked by the mix; FEC's parity comes on top (16)\n"
	"  --mix KIND=W,...       weights of new, steady, repeat, garbage, truncated (steady=1); without a weight of "
	"new\n"
	"                         all sessions begin first; picks of new beyond S are steady\n"
	"  --flows F              client addresses and ports: sessions beyond F replace older ones (S)\n"
	"  --strangers N          flows that garbage comes from (1)\n"
	"  --streams N            streams of a session, 1..16 (1)\n"
	"  --length N             UDP payload of a full data packet, 128..mtu (mtu)\n"
	"  --garbage-length A-B   UDP payload of garbage (1-length)\n"
	"  --text                 payload that snappy can shrink; else noise\n"
	"  --seed N               (1)\n"
	"the tunnel, by kcptun's names and defaults\n"
	"  --crypt NAME --key TEXT --mtu N --datashard N --parityshard N --nocomp --smuxver N\n"
	"frames\n"
	"  --src ADDR --sport N   of the first flow; ports count up to 65535, then the address (198.18.0.1, 1024)\n"
	"  --dst ADDR --dport N   of the gateway (198.19.0.1, 4000)\n"
	"  --smac MAC --dmac MAC  (02:00:00:00:00:01, and 02:70:63:61:70:00, which DPDK's first pcap port has)\n"
	"  --pps N                by the capture's timestamps (1000000)\n"
	"  --expect FILE          the expectation, JSON; without it, to standard output\n";

static void __attribute__((noreturn)) die(const char *what, const char *found)
{
	fprintf(stderr, "kcpgate-mkpcap: %s: found %s\n", what, found);
	exit(2);
}

static unsigned number(const char *what, const char *text, unsigned min, unsigned max)
{
	char allowed[96], *end;
	unsigned long long v = strtoull(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || v < min || v > max) {
		snprintf(allowed, sizeof(allowed), "--%s: %u..%u", what, min, max);
		die(allowed, text);
	}
	return (unsigned)v;
}

static void set_addr(const char *what, const char *text, struct addr *a)
{
	if (addr_parse(text, a) == 0)
		return;
	fprintf(stderr, "kcpgate-mkpcap: --%s: an address: found %s\n", what, text);
	exit(2);
}

static void set_mac(const char *text, uint8_t mac[6])
{
	char rest;

	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5],
		   &rest) != 6)
		die("a MAC address", text);
}

static void set_mix(const char *text, unsigned weight[MK_PICKS])
{
	char copy[256], *save = NULL, *at;
	unsigned sum = 0, k;

	snprintf(copy, sizeof(copy), "%s", text);
	memset(weight, 0, MK_PICKS * sizeof(*weight));
	for (char *part = strtok_r(copy, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		at = strchr(part, '=');
		if (at)
			*at++ = '\0';
		for (k = 0; k < MK_PICKS && strcmp(part, mk_kind_names[k]) != 0; k++)
			;
		if (k == MK_PICKS || !at)
			die("--mix: new=W,steady=W,repeat=W,garbage=W,truncated=W", text);
		weight[k] = number("mix", at, 0, 1000000);
		sum += weight[k];
	}
	if (!sum)
		die("--mix: a weight above 0", text);
}

static void set_range(const char *text, unsigned *min, unsigned *max)
{
	char rest;

	if (sscanf(text, "%u-%u%c", min, max, &rest) != 2 || *min > *max || *max > UDP_MAX)
		die("--garbage-length: A-B, at most 1500", text);
}

enum opt {
	O_SESSIONS = 256,
	O_PACKETS,
	O_MIX,
	O_FLOWS,
	O_STRANGERS,
	O_STREAMS,
	O_LENGTH,
	O_GARBAGE,
	O_TEXT,
	O_SEED,
	O_CRYPT,
	O_KEY,
	O_MTU,
	O_DS,
	O_PS,
	O_NOCOMP,
	O_SMUXVER,
	O_SRC,
	O_SPORT,
	O_DST,
	O_DPORT,
	O_SMAC,
	O_DMAC,
	O_PPS,
	O_EXPECT,
};

static const struct option known[] = {
	{"sessions", 1, 0, O_SESSIONS},
	{"packets", 1, 0, O_PACKETS},
	{"mix", 1, 0, O_MIX},
	{"flows", 1, 0, O_FLOWS},
	{"strangers", 1, 0, O_STRANGERS},
	{"streams", 1, 0, O_STREAMS},
	{"length", 1, 0, O_LENGTH},
	{"garbage-length", 1, 0, O_GARBAGE},
	{"text", 0, 0, O_TEXT},
	{"seed", 1, 0, O_SEED},
	{"crypt", 1, 0, O_CRYPT},
	{"key", 1, 0, O_KEY},
	{"mtu", 1, 0, O_MTU},
	{"datashard", 1, 0, O_DS},
	{"parityshard", 1, 0, O_PS},
	{"nocomp", 0, 0, O_NOCOMP},
	{"smuxver", 1, 0, O_SMUXVER},
	{"src", 1, 0, O_SRC},
	{"sport", 1, 0, O_SPORT},
	{"dst", 1, 0, O_DST},
	{"dport", 1, 0, O_DPORT},
	{"smac", 1, 0, O_SMAC},
	{"dmac", 1, 0, O_DMAC},
	{"pps", 1, 0, O_PPS},
	{"expect", 1, 0, O_EXPECT},
	{0},
};

static bool traffic_option(struct mk_opts *o, int c)
{
	switch (c) {
	case O_SESSIONS:
		o->sessions = number("sessions", optarg, 1, FLOWS_MAX);
		break;
	case O_PACKETS:
		o->packets = number("packets", optarg, 1, UINT32_MAX);
		break;
	case O_MIX:
		set_mix(optarg, o->weight);
		break;
	case O_FLOWS:
		o->flows = number("flows", optarg, 1, FLOWS_MAX);
		break;
	case O_STRANGERS:
		o->strangers = number("strangers", optarg, 1, FLOWS_MAX);
		break;
	case O_STREAMS:
		o->streams = number("streams", optarg, 1, STREAMS_MAX);
		break;
	case O_LENGTH:
		o->length = number("length", optarg, LENGTH_MIN, UDP_MAX);
		break;
	case O_GARBAGE:
		set_range(optarg, &o->garbage_min, &o->garbage_max);
		break;
	case O_TEXT:
		o->text = true;
		break;
	case O_SEED:
		o->seed = strtoull(optarg, NULL, 0);
		break;
	default:
		return false;
	}
	return true;
}

static bool tunnel_option(struct mk_opts *o, int c)
{
	switch (c) {
	case O_CRYPT:
		o->crypt = optarg;
		break;
	case O_KEY:
		o->key = optarg;
		break;
	case O_MTU:
		o->mtu = number("mtu", optarg, LENGTH_MIN, UDP_MAX);
		break;
	case O_DS:
		o->ds = number("datashard", optarg, 0, 255);
		break;
	case O_PS:
		o->ps = number("parityshard", optarg, 0, 255);
		break;
	case O_NOCOMP:
		o->nocomp = true;
		break;
	case O_SMUXVER:
		o->smuxver = number("smuxver", optarg, 1, 2);
		break;
	default:
		return false;
	}
	return true;
}

static bool frame_option(struct mk_opts *o, int c)
{
	switch (c) {
	case O_SRC:
		set_addr("src", optarg, &o->src);
		break;
	case O_SPORT:
		o->sport = number("sport", optarg, 1, 65535);
		break;
	case O_DST:
		set_addr("dst", optarg, &o->dst);
		break;
	case O_DPORT:
		o->dport = number("dport", optarg, 1, 65535);
		break;
	case O_SMAC:
		set_mac(optarg, o->smac);
		break;
	case O_DMAC:
		set_mac(optarg, o->dmac);
		break;
	case O_PPS:
		o->pps = number("pps", optarg, 1, 1000000000);
		break;
	case O_EXPECT:
		o->expect = optarg;
		break;
	default:
		return false;
	}
	return true;
}

static void options(struct mk_opts *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (!traffic_option(o, c) && !tunnel_option(o, c) && !frame_option(o, c)) {
			fputs(usage_text, stderr);
			exit(2);
		}
	}
	if (optind + 1 != argc) {
		fputs(usage_text, stderr);
		exit(2);
	}
	o->pcap = argv[optind];
	if (!o->length)
		o->length = o->mtu;
	if (!o->garbage_max) {
		o->garbage_min = 1;
		o->garbage_max = o->length;
	}
	if (o->length > o->mtu)
		die("--length: at most --mtu", "a longer one");
	if (o->ds && o->ps && o->ds + o->ps > 256)
		die("--datashard and --parityshard: 256 in all", "more");
	if (addr_is_v4(&o->src) != addr_is_v4(&o->dst))
		die("--src and --dst: one family", "two");
}

/* ---- the expectation ---- */

static void put_u64(json_t *to, const char *name, uint64_t v)
{
	json_object_set_new(to, name, json_integer((json_int_t)v));
}

static json_t *tunnel_json(const struct mk_opts *o)
{
	char text[ADDR_STRLEN];
	json_t *t = json_object();

	json_object_set_new(t, "crypt", json_string(o->crypt));
	json_object_set_new(t, "key", json_string(o->key));
	json_object_set_new(t, "nocomp", json_boolean(o->nocomp));
	put_u64(t, "datashard", o->ds);
	put_u64(t, "parityshard", o->ps);
	put_u64(t, "smuxver", o->smuxver);
	put_u64(t, "mtu", o->mtu);
	json_object_set_new(t, "address", json_string(addr_str(&o->dst, text)));
	put_u64(t, "port", o->dport);
	return t;
}

/* What follows from a segment's fate, where nothing else can: with as much parity as data, FEC may rebuild what has
 * arrived, and counts that too. */
static json_t *snmp_json(const struct mk_opts *o, const struct mk_sum *s)
{
	json_t *t = json_object();

	put_u64(t, "PassiveOpens", s->sessions);
	put_u64(t, "InPkts", s->in_pkts);
	put_u64(t, "InBytes", s->in_bytes);
	put_u64(t, "InCsumErrors", s->drops[DROP_CRYPT_BAD]);
	put_u64(t, "KCPInErrors", s->drops[DROP_KCP_INPUT]);
	put_u64(t, "RepeatSegs", s->repeat_segs);
	put_u64(t, "FECSegs", s->kinds[MK_PARITY]);
	if (!o->ds || o->ps < o->ds)
		put_u64(t, "InSegs", s->in_segs);
	/* A session that is replaced takes what it has not read yet with it. */
	if (!s->replaced)
		put_u64(t, "BytesReceived", s->stream_bytes);
	return t;
}

static json_t *expectation(const struct mk_opts *o, const struct mk_sum *s)
{
	json_t *j = json_object(), *kinds = json_object(), *drops = json_object();

	for (unsigned k = 0; k < MK_KINDS; k++)
		put_u64(kinds, mk_kind_names[k], s->kinds[k]);
	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++)
		if (s->drops[v])
			put_u64(drops, drop_name(v), s->drops[v]);
	put_u64(j, "packets", s->packets);
	put_u64(j, "bytes", s->bytes);
	json_object_set_new(j, "kinds", kinds);
	put_u64(j, "sessions", s->sessions);
	put_u64(j, "replaced", s->replaced);
	put_u64(j, "streams", s->streams);
	put_u64(j, "payload", s->payload);
	json_object_set_new(j, "snmp", snmp_json(o, s));
	json_object_set_new(j, "drops", drops);
	json_object_set_new(j, "tunnel", tunnel_json(o));
	return j;
}

static int tell(const struct mk_opts *o, const struct mk_sum *s)
{
	json_t *j = expectation(o, s);
	int err;

	if (o->expect)
		err = json_dump_file(j, o->expect, JSON_INDENT(1)) ? -EIO : 0;
	else
		err = json_dumpf(j, stdout, JSON_INDENT(1)) || putchar('\n') == EOF ? -EIO : 0;
	json_decref(j);
	return err;
}

static int make(const struct mk_opts *o, const struct crypt *crypt, struct mk_sum *sum)
{
	struct mk_writer *w;
	int err = mk_writer_open(&w, o, crypt, sum), close_err;

	if (err)
		return err;
	err = mk_traffic(o, crypt, w, sum);
	close_err = mk_writer_close(w);
	return err ? err : close_err;
}

int main(int argc, char **argv)
{
	struct mk_opts o = {.crypt = "aes",
			    .key = "it's a secrect",
			    .ds = 10,
			    .ps = 3,
			    .smuxver = 2,
			    .mtu = 1350,
			    .streams = 1,
			    .sessions = 1,
			    .packets = 16,
			    .strangers = 1,
			    .weight = {[MK_STEADY] = 1},
			    .seed = 1,
			    .src = addr_v4(0xc6120001),
			    .dst = addr_v4(0xc6130001),
			    .sport = 1024,
			    .dport = 4000,
			    .smac = {2, 0, 0, 0, 0, 1},
			    .dmac = {2, 'p', 'c', 'a', 'p', 0},
			    .pps = 1000000};
	uint8_t key[CRYPT_KEY_LEN];
	struct mk_sum sum = {0};
	struct crypt *crypt;
	int err;

	options(&o, argc, argv);
	err = crypt_kdf(o.key, (uint32_t)strlen(o.key), key);
	if (!err)
		err = crypt_create(&crypt, o.crypt, key);
	if (err) {
		fprintf(stderr, "kcpgate-mkpcap: crypt %s: %s\n", o.crypt, strerror(-err));
		return 1;
	}
	err = make(&o, crypt, &sum);
	crypt_destroy(crypt);
	if (!err)
		err = tell(&o, &sum);
	if (err == -ERANGE)
		fprintf(stderr, "kcpgate-mkpcap: --length %u is too short for what a first packet says\n", o.length);
	else if (err)
		fprintf(stderr, "kcpgate-mkpcap: %s: %s\n", o.pcap, strerror(-err));
	return err ? 1 : 0;
}
