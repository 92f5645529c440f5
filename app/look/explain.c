/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "explain.h"

#define LOSS_MUCH  0.01	 /* parts: what is lost beyond it costs something, */
#define LOSS_FEC   0.005 /* and from here on FEC is worth its parity */
#define BUSY_MUCH  0.85
#define WASTE_MUCH 10000 /* parity packets that came and helped in none of a hundred cases */
#define NEAR_PART  0.7	 /* of what a window lets through: nearer than this, and it may be what bounds */

static struct explain_word *add(struct explain_words *w, bool bounds, enum explain_side side)
{
	static struct explain_word none;
	struct explain_word *one = w->n < EXPLAIN_WORDS ? &w->word[w->n++] : &none;

	*one = (struct explain_word){.bounds = bounds, .side = side};
	return one;
}

static void say(struct explain_words *w, bool bounds, enum explain_side side, const char *advice, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

static void say(struct explain_words *w, bool bounds, enum explain_side side, const char *advice, const char *fmt, ...)
{
	struct explain_word *one = add(w, bounds, side);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(one->what, sizeof(one->what), fmt, ap);
	va_end(ap);
	snprintf(one->advice, sizeof(one->advice), "%s", advice);
}

/* ---- what a side is told to set ---- */

static bool is_stock(const json_t *row)
{
	return !strcmp(look_str(row, "peer_is"), "stock");
}

/* An option of the peer's, as whoever runs it writes it. */
static const char *at_peer(const json_t *row, const char *option, uint64_t value, char *buf, size_t n)
{
	if (is_stock(row))
		snprintf(buf, n, "on the peer (kcptun): --%s %" PRIu64, option, value);
	else
		snprintf(buf, n, "in the peer's file: %s = %" PRIu64, option, value);
	return buf;
}

/* A number that somebody may type, not less than n. */
static uint64_t rounded(double n)
{
	uint64_t step = 1, v = (uint64_t)n;

	while (v / step >= 100)
		step *= 10;
	v = (v + step - 1) / step * step;
	return v < 65535 ? v : 65535;
}

/* ms; of a session that has no sample yet 0 */
static double rtt(const json_t *row)
{
	uint64_t min = look_u64(row, "min_rtt_us");

	return min ? (double)(min + look_u64(row, "queue_us")) / 1000 : (double)look_u64(row, "srtt_ms");
}

/* bits/s that so many segments a round trip are. */
static double through(const json_t *row, uint64_t segments)
{
	double ms = rtt(row);

	return (double)segments * (double)look_u64(row, "datagram") * 8000 / (ms < 1 ? 1 : ms);
}

static uint64_t conf_number(const struct explain_session *s, const char *name)
{
	return s->conf ? look_u64(s->conf, name) : 0;
}

/* ---- what bounds it, by limited_by ---- */

/* What this side may have under way is as much as its own file says. */
static void own_window(const struct explain_session *s, struct explain_words *w)
{
	uint64_t wnd = look_u64(s->row, "snd_wnd");
	char rate[LOOK_NUM], advice[200];

	if (!strcmp(look_str(s->row, "congestion"), "stock"))
		snprintf(advice, sizeof(advice),
			 "in this gateway's file: sndwnd = %" PRIu64 ", or congestion = \"auto\"",
			 rounded((double)wnd * 2));
	else
		snprintf(advice, sizeof(advice), "in this gateway's file: leave sndwnd out, and it sets itself");
	say(w, true, EXPLAIN_HERE, advice,
	    "this side's own window is full: sndwnd lets %" PRIu64 " segments of %" PRIu64
	    " bytes be under way, which in a round trip of %.0f ms are %s at most",
	    wnd, look_u64(s->row, "datagram"), rtt(s->row), look_rate(through(s->row, wnd), rate));
}

/* Which of the peer's two windows: KCP's is full when as many segments are under way as it says. */
static void peer_window(const struct explain_session *s, struct explain_words *w)
{
	uint64_t wnd = look_u64(s->row, "rmt_wnd"), span = look_u64(s->row, "snd_span");
	uint64_t wants = look_u64(s->row, "wants_peer_rcvwnd");
	char rate[LOOK_NUM], advice[200];

	if (span + span / 8 + 8 < wnd) {
		say(w, true, EXPLAIN_PEER,
		    is_stock(s->row)
			    ? "on the peer (kcptun): its application or target has to read faster; else --streambuf"
			    : "on the peer: its application or target has to read faster",
		    "a stream's window at the peer is full, KCP's is not (%" PRIu64 " of %" PRIu64
		    " segments under way): who reads the stream there takes it slowly",
		    span, wnd);
		return;
	}
	if (!wants)
		wants = rounded((double)wnd * 2);
	say(w, true, EXPLAIN_PEER, at_peer(s->row, "rcvwnd", wants, advice, sizeof(advice)),
	    "the peer's window is full: it takes %" PRIu64 " segments of %" PRIu64
	    " bytes, which in a round trip of %.0f ms are %s at most",
	    wnd, look_u64(s->row, "datagram"), rtt(s->row), look_rate(through(s->row, wnd), rate));
}

static void rate_limit(const struct explain_session *s, struct explain_words *w)
{
	uint64_t limit = look_u64(s->row, "ratelimit");
	char rate[LOOK_NUM];

	say(w, true, EXPLAIN_HERE, "in this gateway's file: a higher ratelimit, or none",
	    "ratelimit is used up: %" PRIu64 " bytes a second, %s of UDP payload with parity and headers", limit,
	    look_rate((double)limit * 8, rate));
}

static void hint(const struct explain_session *s, struct explain_words *w)
{
	char rate[LOOK_NUM];
	const char *conf = s->conf ? look_str(s->conf, "bandwidth") : "";

	say(w, true, EXPLAIN_HERE, "in this gateway's file: a higher bandwidth, or none, and the path is measured",
	    "the path's bandwidth is used up as the file has it (%s): %s leave", *conf ? conf : "bandwidth",
	    look_rate((double)look_u64(s->row, "pacing_bps"), rate));
}

static void path(const struct explain_session *s, struct explain_words *w)
{
	bool stock = !strcmp(look_str(s->row, "congestion"), "stock");
	char rate[LOOK_NUM], least[LOOK_NUM], queue[LOOK_NUM], lost[LOOK_NUM];

	if (stock) {
		say(w, true, EXPLAIN_HERE, "in this gateway's file: congestion = \"auto\"",
		    "the congestion window of congestion = \"stock\" (nc = 0) is full: %" PRIu64
		    " bytes may be under way",
		    look_u64(s->row, "cwnd"));
		return;
	}
	say(w, true, EXPLAIN_AROUND, "nothing to set: a better path, or more tunnels over other paths",
	    "the path takes no more: it delivers %s, has a round trip of %s at least and %s of queue, and loses %s",
	    look_rate((double)look_u64(s->row, "bandwidth_bps"), rate), look_ms(look_u64(s->row, "min_rtt_us"), least),
	    look_ms(look_u64(s->row, "queue_us"), queue), look_part(s->lost > 0 ? s->lost : 0, lost));
}

static void cpu(const struct explain_session *s, struct explain_words *w)
{
	char busy[LOOK_NUM];

	say(w, true, EXPLAIN_HERE,
	    !strcmp(look_str(s->row, "role"), "client")
		    ? "in this gateway's file: more workers (eal.lcores), and conn = as many, so that sessions spread"
		    : "in this gateway's file: more workers (eal.lcores); a session is one worker's, so the client "
		      "needs a "
		      "higher conn",
	    "worker %" PRIu64 " has no time to spare (busy %s of it) and serves the session later than it might send",
	    look_u64(s->row, "worker"), s->busy < 0 ? "much" : look_part(s->busy, busy));
}

static void application(const struct explain_session *s, struct explain_words *w)
{
	char rate[LOOK_NUM];

	say(w, true, EXPLAIN_NOBODY, "",
	    "the application has no more to send than is sent (%s now, %" PRIu64 " streams)",
	    look_rate(s->out_bps, rate), look_u64(s->row, "streams"));
}

static void memory(const struct explain_session *s, struct explain_words *w)
{
	char held[LOOK_NUM];

	say(w, true, EXPLAIN_HERE,
	    "in this gateway's file: more eal.memory, or a tunnel's own memory, or limits.session_bytes",
	    "the worker has no memory for more: the session holds %s", look_bytes(look_u64(s->row, "memory"), held));
}

static void way(const struct explain_session *s, struct explain_words *w)
{
	char advice[200];

	snprintf(advice, sizeof(advice), "on this machine: ip route get and ip neigh of %s", look_str(s->row, "peer"));
	say(w, true, EXPLAIN_AROUND, advice, "there is no way to the peer: the kernel does not know %s",
	    !strcmp(s->bound, "route") ? "a route, or an address to send from" : "the next hop's link address");
}

static void silent(const struct explain_session *s, struct explain_words *w)
{
	say(w, true, EXPLAIN_NOBODY, "", "it has sent nothing yet (%" PRIu64 " streams)", look_u64(s->row, "streams"));
}

static const struct {
	const char *limited_by;
	void (*say)(const struct explain_session *s, struct explain_words *w);
} bounds[] = {
	{"application", application},
	{"peer window", peer_window},
	{"own window", own_window},
	{"bandwidth hint", hint},
	{"rate limit", rate_limit},
	{"congestion", path},
	{"CPU", cpu},
	{"memory", memory},
	{"next hop", way},
	{"route", way},
	{"nothing", silent},
};

/* ---- what is worth knowing beside it ---- */

static void loss(const struct explain_session *s, struct explain_words *w)
{
	bool fec = strcmp(look_str(s->row, "fec_out"), "off") != 0;
	uint64_t again = look_u64(s->row, "retrans"), needless = look_u64(s->row, "retrans_needless");
	char lost[LOOK_NUM];

	if (s->lost < LOSS_FEC)
		return;
	look_part(s->lost, lost);
	if (!fec)
		say(w, false, EXPLAIN_HERE, "on both sides alike: datashard = 10, parityshard = 3",
		    "%s of what is sent is sent again, and FEC is off: each loss costs a round trip", lost);
	else if (s->lost > LOSS_MUCH)
		say(w, false, EXPLAIN_AROUND, "",
		    "%s of what is sent is sent again, beyond what FEC (%s) can mend: %" PRIu64
		    " segments so far, of which %" PRIu64 " had arrived",
		    lost, look_str(s->row, "fec_out"), again, needless);
	if (needless > again / 2 && again > 1000 && !strcmp(look_str(s->row, "congestion"), "stock"))
		say(w, false, EXPLAIN_HERE, "in this gateway's file: congestion = \"auto\"",
		    "%" PRIu64 " of %" PRIu64
		    " segments that were sent again had arrived: stock's timers are too short here",
		    needless, again);
}

static void parity(const struct explain_session *s, struct explain_words *w)
{
	uint64_t wasted = look_u64(s->row, "parity_in_wasted"), helped = look_u64(s->row, "fec_recovered");

	if (wasted > WASTE_MUCH && helped * 100 < wasted && is_stock(s->row))
		say(w, false, EXPLAIN_PEER,
		    "on both sides alike: a lower parityshard, or none, if the path stays like this",
		    "of %" PRIu64 " parity packets that came %" PRIu64
		    " helped: the path from the peer hardly loses any",
		    wasted + helped, helped);
}

/* What the peer sends us is bounded there; of what bounds it we have a window. */
static void incoming(const struct explain_session *s, struct explain_words *w)
{
	double most = through(s->row, look_u64(s->row, "rcv_wnd"));
	char rate[LOOK_NUM], limit[LOOK_NUM], advice[200];

	if (s->in_bps < 1e6 || s->in_bps < most * NEAR_PART)
		return;
	snprintf(advice, sizeof(advice), "in this gateway's file: rcvwnd = %" PRIu64 "%s",
		 rounded((double)look_u64(s->row, "rcv_wnd") * 2),
		 conf_number(s, "rcvwnd") ? ", or none, and it sets itself" : "");
	say(w, false, EXPLAIN_HERE, advice,
	    "what comes is near what this side's window lets through: %s of %s (%" PRIu64
	    " segments in a round trip of %.0f ms)",
	    look_rate(s->in_bps, rate), look_rate(most, limit), look_u64(s->row, "rcv_wnd"), rtt(s->row));
}

static void reading(const struct explain_session *s, struct explain_words *w)
{
	const char *waits = look_str(s->row, "reading_waits_for");
	char held[LOOK_NUM];

	if (!*waits)
		return;
	say(w, false, !strcmp(waits, "memory") ? EXPLAIN_HERE : EXPLAIN_AROUND,
	    !strcmp(waits, "memory") ? "in this gateway's file: more eal.memory"
				     : "look after the target or application that TCP goes to on this side",
	    "what the peer sends is not read any further: it waits for %s, and %s are held for TCP here", waits,
	    look_bytes(look_u64(s->row, "held_bytes"), held));
}

static void other(const struct explain_session *s, struct explain_words *w)
{
	char busy[LOOK_NUM];
	const char *from = look_str(s->row, "mtu_from");

	if (s->busy > BUSY_MUCH && strcmp(s->bound, "CPU") != 0)
		say(w, false, EXPLAIN_HERE, "in this gateway's file: more workers (eal.lcores)",
		    "worker %" PRIu64 " is busy %s of its time", look_u64(s->row, "worker"), look_part(s->busy, busy));
	if (!strcmp(from, "icmp") || !strcmp(from, "loss"))
		say(w, false, EXPLAIN_AROUND, "",
		    "the path takes packets of %" PRIu64
		    " bytes and not the tunnel's mtu (found by %s): the more go for "
		    "headers",
		    look_u64(s->row, "path_mtu"), from);
	if (!strcmp(look_str(s->row, "proved"), "no"))
		say(w, false, EXPLAIN_NOBODY, "",
		    "the peer has not acknowledged anything yet, and is sent little till then");
	if (look_u64(s->row, "idle_ms") > 15000)
		say(w, false, EXPLAIN_PEER, "is the peer still there?",
		    "nothing has come from the peer for %" PRIu64 " s", look_u64(s->row, "idle_ms") / 1000);
}

void explain_session(const struct explain_session *s, struct explain_words *out)
{
	out->n = 0;
	for (unsigned i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
		if (!strcmp(bounds[i].limited_by, s->bound))
			bounds[i].say(s, out);
	if (!out->n)
		say(out, true, EXPLAIN_NOBODY, "", "%s", s->bound);
	reading(s, out);
	incoming(s, out);
	loss(s, out);
	parity(s, out);
	other(s, out);
}

/* ---- the tunnel, and what all share ---- */

void explain_tunnel(const json_t *row, struct explain_words *out)
{
	uint64_t limit = look_u64(row, "sessions_limit"), memory_limit = look_u64(row, "memory_limit");

	out->n = 0;
	if (look_u64(row, "chunks_refused") || look_u64(row, "streams_refused"))
		say(out, false, EXPLAIN_HERE,
		    "in this gateway's file: more eal.memory; or look after what takes too little",
		    "the tunnel's share of memory was used up %" PRIu64 " times, of streams %" PRIu64
		    " times, since the start",
		    look_u64(row, "chunks_refused"), look_u64(row, "streams_refused"));
	if (limit && look_u64(row, "sessions") >= limit)
		say(out, false, EXPLAIN_HERE, "in this gateway's file: a higher sessions of this tunnel",
		    "as many sessions as the tunnel may have: %" PRIu64, limit);
	if (memory_limit && look_u64(row, "memory") > memory_limit / 10 * 9)
		say(out, false, EXPLAIN_HERE, "in this gateway's file: a higher memory of this tunnel",
		    "%" PRIu64 " of the %" PRIu64 " bytes that the tunnel may hold are used", look_u64(row, "memory"),
		    memory_limit);
	if (look_u64(row, "dials_waiting"))
		say(out, false, EXPLAIN_AROUND, "does the target answer?  else a higher limits.dials",
		    "%" PRIu64 " connections wait for the target %s to be dialled", look_u64(row, "dials_waiting"),
		    look_str(row, "target"));
	if (!look_u64(row, "sessions"))
		say(out, false, EXPLAIN_NOBODY, "", "there is no session: %s",
		    !strcmp(look_str(row, "role"), "client")
			    ? "no application has connected, or the server does not answer"
			    : "no client has come, or none that has the key");
}

/* What a reason means for who looks at throughput, while it counts. */
static const struct {
	const char *reason;
	enum explain_side side;
	const char *what, *advice;
} drops[] = {
	{"crypt_bad", EXPLAIN_PEER, "do not open: another key or cipher than ours (single ones are noise)",
	 "on both sides alike: key and crypt (kcptun: --key, --crypt)"},
	{"comp", EXPLAIN_PEER, "are no snappy frames", "on both sides alike: nocomp (kcptun: --nocomp)"},
	{"mux", EXPLAIN_PEER, "are no frames of our smux version", "on both sides alike: smuxver (kcptun: --smuxver)"},
	{"stray", EXPLAIN_PEER, "are of sessions that are no more: a client that has not noticed",
	 "nothing, if it stops within a minute"},
	{"replayed", EXPLAIN_AROUND, "had come before: the network doubles packets, or somebody sends recordings", ""},
	{"no_route", EXPLAIN_AROUND, "find no route", "on this machine: ip route get PEER"},
	{"no_neighbour", EXPLAIN_AROUND, "find no next hop", "on this machine: ip neigh"},
	{"tx_full", EXPLAIN_AROUND, "were refused by their port: it sends more slowly than we do",
	 "a faster link, or bandwidth = UP/DOWN in this gateway's file"},
	{"port_down", EXPLAIN_AROUND, "were for a port that is down", "kcpgate show ports"},
	{"no_mbuf", EXPLAIN_HERE, "found no buffer", "in this gateway's file: more eal.memory"},
	{"steer_full", EXPLAIN_HERE, "found the way to their worker full",
	 "in this gateway's file: more workers, or a card that spreads by itself"},
	{"session_limit", EXPLAIN_HERE, "would have begun a session beyond limits.sessions",
	 "in this gateway's file: a higher limits.sessions"},
	{"address_limit", EXPLAIN_HERE, "would have begun a session beyond what an address may have",
	 "in this gateway's file: a higher limits.address_sessions"},
	{"target", EXPLAIN_AROUND, "are streams whose target could not be reached",
	 "is the target up?  The log says why"},
};

static uint64_t since(const struct explain_gateway *g, const char *reason)
{
	uint64_t before = g->drops_before ? look_u64(g->drops_before, reason) : 0, now = look_u64(g->drops, reason);

	return now > before ? now - before : 0;
}

static void one_drop(const struct explain_gateway *g, unsigned i, struct explain_words *out)
{
	uint64_t all = look_u64(g->drops, drops[i].reason), now = since(g, drops[i].reason);

	if (now)
		say(out, false, drops[i].side, drops[i].advice,
		    "%" PRIu64 " in this second (%" PRIu64 " in all) %s (%s)", now, all, drops[i].what,
		    drops[i].reason);
	else if (all > 100)
		say(out, false, EXPLAIN_NOBODY, "", "%" PRIu64 " since the start, none now, %s (%s)", all,
		    drops[i].what, drops[i].reason);
}

static void one_port(const json_t *p, struct explain_words *out)
{
	if (strcmp(look_str(p, "state"), "open") != 0)
		say(out, false, EXPLAIN_AROUND, "kcpgate show ports, and the log", "port %s is away",
		    look_str(p, "name"));
	else if (!strcmp(look_str(p, "link"), "down"))
		say(out, false, EXPLAIN_AROUND, "on this machine: ip link", "port %s has no link", look_str(p, "name"));
}

void explain_gateway(const struct explain_gateway *g, struct explain_words *out)
{
	const char *key;
	json_t *v;

	out->n = 0;
	json_object_foreach((json_t *)g->ports, key, v) one_port(v, out);
	for (unsigned i = 0; g->drops && i < sizeof(drops) / sizeof(drops[0]); i++)
		one_drop(g, i, out);
	json_object_foreach((json_t *)g->limits, key, v)
	{
		uint64_t limit = look_u64(v, "limit"), used = look_u64(v, json_object_get(v, "most") ? "most" : "used");

		if (limit && used > limit / 10 * 9)
			say(out, false, EXPLAIN_HERE, "kcpgate show limits",
			    "%s is nearly used up: %" PRIu64 " of %" PRIu64, key, used, limit);
	}
}
