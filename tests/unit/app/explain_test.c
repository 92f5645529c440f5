/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explain.h"

/* The rules of `kcpgate explain`, over answers that no gateway gave. */

#define ROW                                                                                                          \
	"'tunnel':'hk','peer':'192.0.2.9:4000','worker':1,'datagram':1350,'srtt_ms':100,'min_rtt_us':100000,'queue_" \
	"us':0,"                                                                                                     \
	"'streams':3,'congestion':'auto','role':'server','fec_out':'10/3'"

static char text[8192];

/* JSON with single quotes. */
static json_t *js(const char *s)
{
	char *copy = strdup(s);
	json_error_t err;
	json_t *v;

	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	v = json_loads(copy, 0, &err);
	cr_assert_not_null(v, "%s: %s", err.text, copy);
	free(copy);
	return v;
}

static const char *flat(const struct explain_words *w)
{
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < w->n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%d %s -> %s\n", w->word[i].bounds ? "*" : "",
				      w->word[i].side, w->word[i].what, w->word[i].advice);
	return text;
}

static const char *session(const char *row, const char *bound, struct explain_session s)
{
	json_t *v = js(row);
	struct explain_words w;

	s.row = v;
	s.bound = bound;
	explain_session(&s, &w);
	json_decref(v);
	cr_assert(w.n >= 1 && w.word[0].bounds);
	return flat(&w);
}

static void has(const char *part)
{
	cr_assert(strstr(text, part), "no \"%s\" in\n%s", part, text);
}

static void hasnt(const char *part)
{
	cr_assert(!strstr(text, part), "\"%s\" in\n%s", part, text);
}

static const struct explain_session quiet = {.lost = -1, .busy = -1};

Test(app_explain, peer_window)
{
	session("{" ROW ",'peer_is':'stock','rmt_wnd':512,'snd_span':511,'wants_peer_rcvwnd':2300}", "peer window",
		quiet);
	has("*2 the peer's window is full: it takes 512 segments of 1350 bytes, which in a round trip of 100 ms are "
	    "55.3 "
	    "Mbit/s at most -> on the peer (kcptun): --rcvwnd 2300\n");
	session("{" ROW ",'peer_is':'kcpgate','rmt_wnd':512,'snd_span':511,'wants_peer_rcvwnd':2300}", "peer window",
		quiet);
	has("-> in the peer's file: rcvwnd = 2300\n");
	/* Where nobody has counted yet, twice as much. */
	session("{" ROW ",'peer_is':'stock','rmt_wnd':130,'snd_span':130,'wants_peer_rcvwnd':0}", "peer window", quiet);
	has("--rcvwnd 260\n");
}

/* KCP's window is open: it is a stream's, and no rcvwnd helps. */
Test(app_explain, peer_stream)
{
	session("{" ROW ",'peer_is':'stock','rmt_wnd':512,'snd_span':3}", "peer window", quiet);
	has("*2 a stream's window at the peer is full, KCP's is not (3 of 512 segments under way)");
	has("--streambuf");
	hasnt("rcvwnd");
}

Test(app_explain, own_window)
{
	session("{" ROW ",'snd_wnd':1024}", "own window", quiet);
	has("*1 this side's own window is full: sndwnd lets 1024 segments of 1350 bytes be under way, which in a round "
	    "trip "
	    "of 100 ms are 111 Mbit/s at most -> in this gateway's file: leave sndwnd out");
	session("{" ROW ",'snd_wnd':1024,'congestion':'stock'}", "own window", quiet); /* the later of the two counts */
	has("sndwnd");
}

Test(app_explain, rate_limit_and_hint)
{
	json_t *conf = js("{'bandwidth':'20M/100M'}");
	struct explain_session s = quiet;

	session("{" ROW ",'ratelimit':1000000}", "rate limit", quiet);
	has("*1 ratelimit is used up: 1000000 bytes a second, 8.0 Mbit/s");
	has("-> in this gateway's file: a higher ratelimit");
	s.conf = conf;
	session("{" ROW ",'pacing_bps':19400000}", "bandwidth hint", s);
	has("*1 the path's bandwidth is used up as the file has it (20M/100M): 19.4 Mbit/s leave");
	json_decref(conf);
}

Test(app_explain, path)
{
	struct explain_session s = {.lost = 0.021, .busy = 0.3};

	session("{" ROW ",'bandwidth_bps':54000000,'peer_is':'stock','retrans':500,'retrans_needless':3}", "congestion",
		s);
	has("*3 the path takes no more: it delivers 54.0 Mbit/s, has a round trip of 100 ms at least and 0.0 ms of "
	    "queue, and "
	    "loses 2.1 %");
	has("2.1 % of what is sent is sent again, beyond what FEC (10/3) can mend: 500 segments so far, of which 3 had "
	    "arrived");
}

Test(app_explain, loss_without_fec)
{
	struct explain_session s = {.lost = 0.02, .busy = -1};

	session("{'tunnel':'hk','peer_is':'stock','fec_out':'off'}", "congestion", s);
	has("1 2.0 % of what is sent is sent again, and FEC is off");
	has("-> on both sides alike: datashard = 10, parityshard = 3");
}

Test(app_explain, cpu)
{
	struct explain_session s = {.lost = 0, .busy = 0.97};

	session("{" ROW "}", "CPU", s);
	has("*1 worker 1 has no time to spare (busy 97 % of it)");
	has("the client needs a higher conn");
	hasnt("is busy 97"); /* once is enough */
	session("{" ROW "}", "application", s);
	has("1 worker 1 is busy 97 % of its time -> in this gateway's file: more workers");
}

Test(app_explain, application)
{
	struct explain_session s = quiet;

	s.out_bps = 3200000;
	session("{" ROW "}", "application", s);
	has("*0 the application has no more to send than is sent (3.2 Mbit/s now, 3 streams) -> \n");
}

Test(app_explain, ways_memory_nothing)
{
	session("{" ROW "}", "next hop", quiet);
	has("*3 there is no way to the peer: the kernel does not know the next hop's link address");
	has("ip neigh of 192.0.2.9:4000");
	session("{" ROW "}", "route", quiet);
	has("a route, or an address to send from");
	session("{" ROW ",'memory':5000000}", "memory", quiet);
	has("the session holds 5.0 MB");
	session("{" ROW "}", "nothing", quiet);
	has("*0 it has sent nothing yet");
	session("{" ROW "}", "a word of a later version", quiet);
	has("*0 a word of a later version");
}

/* What comes is near what our own window takes. */
Test(app_explain, own_receive_window)
{
	struct explain_session s = quiet;

	s.in_bps = 50e6;
	session("{" ROW ",'rcv_wnd':512}", "application", s);
	has("1 what comes is near what this side's window lets through: 50.0 Mbit/s of 55.3 Mbit/s (512 segments in a "
	    "round "
	    "trip of 100 ms) -> in this gateway's file: rcvwnd = 1100");
	s.in_bps = 5e6;
	session("{" ROW ",'rcv_wnd':512}", "application", s);
	hasnt("rcvwnd");
}

Test(app_explain, beside)
{
	session("{" ROW ",'reading_waits_for':'smuxbuf: TCP takes too little','held_bytes':4194304}", "application",
		quiet);
	has("3 what the peer sends is not read any further: it waits for smuxbuf: TCP takes too little, and 4.2 MB are "
	    "held");
	session("{" ROW ",'peer_is':'stock','parity_in_wasted':90000,'fec_recovered':12}", "application", quiet);
	has("of 90012 parity packets that came 12 helped");
	session("{" ROW ",'mtu_from':'icmp','path_mtu':1280}", "application", quiet);
	has("the path takes packets of 1280 bytes and not the tunnel's mtu (found by icmp)");
	session("{" ROW ",'idle_ms':16000}", "application", quiet);
	has("nothing has come from the peer for 16 s");
	session("{" ROW ",'proved':'no'}", "application", quiet);
	has("has not acknowledged anything yet");
}

/* ---- the tunnel and the gateway ---- */

Test(app_explain, tunnel)
{
	struct explain_words w;
	json_t *v = js("{'role':'server','target':'127.0.0.1:80','sessions':0,'chunks_refused':4,'dials_waiting':7}");

	explain_tunnel(v, &w);
	json_decref(v);
	flat(&w);
	has("share of memory was used up 4 times");
	has("7 connections wait for the target 127.0.0.1:80");
	has("no client has come, or none that has the key");
	v = js("{'role':'client','sessions':3,'sessions_limit':3,'memory':95,'memory_limit':100}");
	explain_tunnel(v, &w);
	json_decref(v);
	flat(&w);
	has("as many sessions as the tunnel may have: 3");
	has("95 of the 100 bytes");
	hasnt("no session");
}

Test(app_explain, errors_seen)
{
	json_t *before = js("{'crypt_bad':10,'mux':1,'comp':0,'tx_full':500}");
	json_t *after = js("{'crypt_bad':60,'mux':2,'comp':0,'tx_full':500}");
	json_t *limits = js("{'worker_sessions':{'limit':100,'used':300,'most':99},'dials':{'limit':512,'used':3}}");
	json_t *ports = js("{'wan0':{'name':'wan0','state':'open','link':'down'},'b':{'name':'b','state':'away'}}");
	const struct explain_gateway g = {before, after, limits, ports};
	struct explain_words w;

	explain_gateway(&g, &w);
	flat(&w);
	has("2 50 in this second (60 in all) do not open: another key or cipher than ours");
	has("-> on both sides alike: key and crypt (kcptun: --key, --crypt)");
	has("1 in this second (2 in all) are no frames of our smux version (mux) -> on both sides alike: smuxver");
	has("0 500 since the start, none now, were refused by their port");
	hasnt("snappy");
	has("worker_sessions is nearly used up: 99 of 100");
	hasnt("dials is");
	has("port wan0 has no link");
	has("port b is away");
	json_decref(before);
	json_decref(after);
	json_decref(limits);
	json_decref(ports);
}
