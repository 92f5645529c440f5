/* SPDX-License-Identifier: MIT */

/* What the workers have to tell becomes log lines, or a question to the kernel. */

#include "ctl_int.h"
#include "drop.h"

#define NOTES_TURN     64
#define SESS_LINES     20 /* session lines a tunnel and second: a flood of sessions must not become a flood of lines */
#define BAD_KEY_LINES  1
#define BAD_KEY_PERIOD 10
#define FEC_LINES      1
#define FEC_PERIOD     60
#define WND_LINES      20
#define WND_PERIOD     60
#define MTU_LINES      4
#define MTU_PERIOD     60
#define MISFIT_LINES   1
#define MISFIT_PERIOD  60

static bool allow(struct ctl *c, struct log_limit *l, const char *tunnel, unsigned lines, unsigned period_s)
{
	uint32_t left_out = 0;

	if (!log_allow(l, c->now / 1000, lines, period_s, &left_out))
		return false;
	if (left_out)
		log_info("tunnel %s: %u lines like the next one left out", tunnel, left_out);
	return true;
}

/* What a line is about, for programs. */
struct about {
	char peer[ADDR_STRLEN];
	struct log_field v[2];
};

#define ABOUT 2

static const struct log_field *about(struct about *a, const struct note *n, const struct tunnel *t)
{
	addr_port_str(&n->key.peer, n->key.peer_port, a->peer);
	a->v[0] = (struct log_field){.name = "tunnel", .text = t->conf->name};
	a->v[1] = (struct log_field){.name = "peer", .text = a->peer};
	return a->v;
}

#define TELL(level, event, note, tunnel, ...) \
	log_event((level), (event), about(&(struct about){.v = {{0}}}, (note), (tunnel)), ABOUT, __VA_ARGS__)

static void opened(struct ctl *c, const struct note *n, struct tunnel *t)
{
	char peer[ADDR_STRLEN], local[ADDR_STRLEN];

	if (!allow(c, &t->sess_limit, t->conf->name, SESS_LINES, 1))
		return;
	addr_port_str(&n->key.peer, n->key.peer_port, peer);
	addr_port_str(&n->key.local, n->key.local_port, local);
	if (!t->conf->client)
		TELL(LOG_INFO, "session_peer", n, t, "remote address: %s", peer);
	if (n->arg2)
		TELL(LOG_INFO, "session_opened", n, t, "smux version: %u on connection: %s -> %s", n->arg2, local,
		     peer);
	else if (t->conf->client)
		TELL(LOG_INFO, "session_opened", n, t, "connection: %s -> %s", local, peer);
}

/* Of a server that takes its clients as they speak. */
static void speaks(struct ctl *c, const struct note *n, struct tunnel *t)
{
	char peer[ADDR_STRLEN], local[ADDR_STRLEN];

	if (!allow(c, &t->sess_limit, t->conf->name, SESS_LINES, 1))
		return;
	addr_port_str(&n->key.peer, n->key.peer_port, peer);
	addr_port_str(&n->key.local, n->key.local_port, local);
	log_info("smux version: %u on connection: %s -> %s", n->arg, local, peer);
}

/* The two sides cannot understand each other: which option of which side is to be changed. */
static void misfit(struct ctl *c, const struct note *n, struct tunnel *t)
{
	unsigned theirs = n->arg2 >> 16, ours = n->arg2 & UINT16_MAX;
	const char *name = t->conf->name, *open = t->conf->client ? "" : ", or \"auto\"";
	char peer[ADDR_STRLEN];

	if (!allow(c, &t->misfit_limit, name, MISFIT_LINES, MISFIT_PERIOD))
		return;
	addr_port_str(&n->key.peer, n->key.peer_port, peer);
	if (n->arg == NOTE_MISFIT_SMUX)
		log_warn("tunnel %s: %s: peer speaks smux %u, smuxver is %u: set smuxver to %u here%s, or to %u there",
			 name, peer, theirs, ours, theirs, open, ours);
	else if (n->arg == NOTE_MISFIT_PLAIN)
		log_warn("tunnel %s: %s: peer does not compress, nocomp is false: set nocomp to true here%s, or to "
			 "false there",
			 name, peer, open);
	else if (n->arg == NOTE_MISFIT_FORGETS)
		log_warn("tunnel %s: server %s forgets at once what it is told: smuxver is %u, does it speak smux %u?  "
			 "smuxver \"auto\" tries both",
			 name, peer, ours, 3 - ours);
	else if (n->arg == NOTE_MISFIT_NEITHER)
		log_warn("tunnel %s: server %s forgets at once what it is told, in smux 2 and 1: is nocomp the same "
			 "there?",
			 name, peer);
	else
		log_warn("tunnel %s: %s: peer compresses, nocomp is true: set nocomp to false here%s, or to true there",
			 name, peer, open);
}

static void closed(struct ctl *c, const struct note *n, struct tunnel *t)
{
	char peer[ADDR_STRLEN];

	if (t->conf->client)
		dial_ended(c, n->key.local_port);
	addr_port_str(&n->key.peer, n->key.peer_port, peer);
	if (n->arg2 != NOTE_AGED_NOT && allow(c, &t->sess_limit, t->conf->name, SESS_LINES, 1))
		TELL(LOG_INFO, "session_ended", n, t, "scavenger: session %s: tunnel %s: %s",
		     n->arg2 == NOTE_AGED_IDLE ? "normally closed" : "closed due to ttl", t->conf->name, peer);
	else if (n->arg == 0)
		TELL(LOG_DEBUG, "session_ended", n, t, "tunnel %s: session with %s ended", t->conf->name, peer);
	else if (allow(c, &t->sess_limit, t->conf->name, SESS_LINES, 1))
		TELL(LOG_INFO, "session_ended", n, t, "tunnel %s: %s: %s", t->conf->name, peer, drop_why(n->arg));
}

static void wrong_key(struct ctl *c, const struct note *n, struct tunnel *t)
{
	char peer[ADDR_STRLEN];

	if (allow(c, &t->key_limit, t->conf->name, BAD_KEY_LINES, BAD_KEY_PERIOD))
		TELL(LOG_WARN, "wrong_key", n, t,
		     "tunnel %s: %u datagrams from %s failed the checksum: wrong key or cipher on one side?",
		     t->conf->name, n->arg, addr_str(&n->key.peer, peer));
}

/* Two sides that differ in FEC: what becomes of it, and which options to change. */
static void note_fec(struct ctl *c, const struct note *n, struct tunnel *t)
{
	unsigned ds = n->arg >> 16, ps = n->arg & UINT16_MAX, own_ds = n->arg2 >> 16, own_ps = n->arg2 & UINT16_MAX;
	const char *name = t->conf->name, *side = t->conf->client ? "server" : "client";
	char peer[ADDR_STRLEN];

	if (!allow(c, &t->fec_limit, name, FEC_LINES, FEC_PERIOD))
		return;
	addr_port_str(&n->key.peer, n->key.peer_port, peer);
	if (!n->arg)
		TELL(LOG_WARN, "fec_differs", n, t,
		     "tunnel %s: %s %s sends no FEC, this side is set to %u/%u: the session goes without; set "
		     "--datashard %u --parityshard %u there, or both to 0 here",
		     name, side, peer, own_ds, own_ps, own_ds, own_ps);
	else if (!n->arg2)
		TELL(LOG_WARN, "fec_differs", n, t,
		     "tunnel %s: %s %s sends FEC %u/%u, this side is set to none and sends none; set --datashard "
		     "%u --parityshard %u here, or both to 0 there",
		     name, side, peer, ds, ps, ds, ps);
	else
		TELL(LOG_WARN, "fec_differs", n, t,
		     "tunnel %s: %s %s sends FEC %u/%u, this side is set to %u/%u and sends no parity; set "
		     "--datashard %u --parityshard %u there, or --datashard %u --parityshard %u here",
		     name, side, peer, ds, ps, own_ds, own_ps, own_ds, own_ps, ds, ps);
}

/* A server's client that uses another shape gets it, if its codec can be made. */
static void note_shape(struct ctl *c, const struct note *n, struct tunnel *t)
{
	unsigned ds = n->arg >> 16, ps = n->arg & UINT16_MAX;
	char peer[ADDR_STRLEN];

	if (!c->conf.fec_shape || c->conf.fec_shape(c->conf.ctx, n->tunnel, ds, ps)) {
		note_fec(c, n, t);
		return;
	}
	if (!allow(c, &t->fec_limit, t->conf->name, FEC_LINES, FEC_PERIOD))
		return;
	addr_port_str(&n->key.peer, n->key.peer_port, peer);
	TELL(LOG_INFO, "fec_mirrored", n, t,
	     "tunnel %s: client %s sends FEC %u/%u, this side is set to %u/%u: what it is sent is %u/%u, too",
	     t->conf->name, peer, ds, ps, n->arg2 >> 16, n->arg2 & UINT16_MAX, ds, ps);
}

/* What the peer takes at once is too little for the path; only there it can be changed. */
static void note_window(struct ctl *c, const struct note *n, struct tunnel *t)
{
	char peer[ADDR_STRLEN];

	if (!allow(c, &t->wnd_limit, t->conf->name, WND_LINES, WND_PERIOD))
		return;
	addr_port_str(&n->key.peer, n->key.peer_port, peer);
	TELL(LOG_WARN, "peer_window", n, t,
	     "tunnel %s: session %llu of %s: the peer's window of %u segments is what limits it (%.*f Mbit/s at %u "
	     "ms); give the peer --rcvwnd %u or more",
	     t->conf->name, (unsigned long long)n->id, peer, n->arg >> 16, n->arg2 < 10000, n->arg2 / 1e3, n->rtt,
	     n->arg & UINT16_MAX);
}

static void moved(struct ctl *c, const struct note *n, struct tunnel *t)
{
	char peer[ADDR_STRLEN];

	if (!allow(c, &t->sess_limit, t->conf->name, SESS_LINES, 1))
		return;
	addr_port_str(&n->key.peer, n->key.peer_port, peer);
	TELL(LOG_INFO, "session_moved", n, t, "tunnel %s: session %08x goes on from %s", t->conf->name, n->arg, peer);
}

/* A path that takes less than the tunnel's mtu makes; the session goes on with less. */
static void note_mtu(struct ctl *c, const struct note *n, struct tunnel *t)
{
	static const char *const why[] = {
		[NOTE_MTU_INTERFACE] = "its interface takes no more",
		[NOTE_MTU_ICMP] = "a router says that it takes no more",
		[NOTE_MTU_LOSS] = "larger ones are lost, and no router says so",
	};
	char peer[ADDR_STRLEN];

	if (n->arg2 >= sizeof(why) / sizeof(why[0]) || !why[n->arg2] ||
	    !allow(c, &t->mtu_limit, t->conf->name, MTU_LINES, MTU_PERIOD))
		return;
	addr_port_str(&n->key.peer, n->key.peer_port, peer);
	TELL(LOG_INFO, "path_mtu", n, t,
	     "tunnel %s: the path to %s takes IP packets of %u, not of %u as by mtu: %s; longer ones leave in "
	     "fragments",
	     t->conf->name, peer, n->arg & UINT16_MAX, n->arg >> 16, why[n->arg2]);
}

static void take(struct ctl *c, const struct note *n)
{
	struct tunnel *t;

	if (n->type == NOTE_NEIGH) {
		nl_need(&c->nl, &n->key.peer, n->key.dev, c->now);
		return;
	}
	if (n->tunnel >= c->conf.n_tunnels)
		return;
	t = &c->tunnels[n->tunnel];
	switch (n->type) {
	case NOTE_SESS_OPEN:
		opened(c, n, t);
		break;
	case NOTE_SESS_CLOSE:
		closed(c, n, t);
		break;
	case NOTE_BAD_KEY:
		wrong_key(c, n, t);
		break;
	case NOTE_FEC:
		note_fec(c, n, t);
		break;
	case NOTE_SHAPE:
		note_shape(c, n, t);
		break;
	case NOTE_WINDOW:
		note_window(c, n, t);
		break;
	case NOTE_MOVED:
		moved(c, n, t);
		break;
	case NOTE_MTU:
		note_mtu(c, n, t);
		break;
	case NOTE_SPEAKS:
		speaks(c, n, t);
		break;
	case NOTE_MISFIT:
		misfit(c, n, t);
		break;
	}
}

void note_turn(struct ctl *c)
{
	struct note v[NOTES_TURN];

	for (unsigned w = 0; w < c->conf.n_workers; w++) {
		unsigned n = border_notes(c->conf.borders[w], v, NOTES_TURN);

		for (unsigned i = 0; i < n; i++)
			take(c, &v[i]);
	}
}
