/* SPDX-License-Identifier: MIT */
#include <rte_mbuf.h>

#include "sess.h"

/*
 * How large packets may be on a session's path.
 *
 * It is found out in three ways.  The port's interface takes no more than its MTU.  Routers say by ICMP that a packet
 * was too big: anybody can, so a message counts only if it quotes a packet of the session's, with the mark that all of
 * those bear (IPv4's id, IPv6's flow label), of a length that it can have had; it lowers the size, never below what
 * every path takes, and never raises it.  And where nobody tells (RFC 8899): when the oldest segment is sent again and
 * again for nothing, and none of its size arrives, packets of the least size are sent for the time being; if that was
 * not it, probes soon tell.
 *
 * What KCP has cut larger keeps its number and its bytes, for the peer may have it; and a group's parity is as long as
 * its longest packet.  Such packets leave as IP fragments (net_cut), as the kernel of a stock peer does it.  At the
 * least size of IPv4 routers may cut what is left.
 *
 * Larger sizes are probed: a new segment in a datagram filled up to the size that is tried (kcp_probe).  Its group has
 * no parity, which could rebuild it.  A size that was lost PMTU_TRIES times in a row is too large.
 */

#define PMTU_BASE     1280   /* what every path should take: RFC 8899, 5.1.2 */
#define PMTU_MIN4     576    /* RFC 791: what every host takes */
#define PMTU_MIN6     1280   /* RFC 8200, 5 */
#define PMTU_LEAST4   68     /* RFC 791: what a link takes; what says less is not a router */
#define PMTU_TRIES    3	     /* RFC 8899, 5.1.2: MAX_PROBES */
#define PMTU_NEAR     16     /* bytes: a size found so exactly is good enough */
#define PMTU_RAISE_MS 600000 /* RFC 8899, 5.1.1; RFC 1191, 6.3 */
#define PMTU_STUCK    4	     /* retransmissions of one segment, for nothing: is it the size? */

_Static_assert((int)SHARD_PMTU_INTERFACE == NOTE_MTU_INTERFACE && (int)SHARD_PMTU_ICMP == NOTE_MTU_ICMP &&
		       (int)SHARD_PMTU_LOSS == NOTE_MTU_LOSS,
	       "a note says it as the session knows it");

const char *shard_pmtu_name(unsigned how)
{
	static const char *const names[] = {
#define X(name, str) [SHARD_PMTU_##name] = (str),
		SHARD_PMTU_LIST(X)
#undef X
	};

	return how < sizeof(names) / sizeof(names[0]) ? names[how] : "?";
}

static bool is_v4(const struct sess *ss)
{
	return addr_is_v4(&ss->key.peer);
}

/* What lies around KCP's datagram in a packet. */
static unsigned around(const struct sess *ss)
{
	const struct shard_tunnel *t = ss->tun;

	return (is_v4(ss) ? 20u : 40u) + (ss->proto == FLOW_TCP ? 20u : 8u) + t->head + t->tail +
	       (t->fec ? FEC_HEAD : 0u);
}

unsigned pmtu_payload(const struct sess *ss)
{
	const struct shard_tunnel *t = ss->tun;

	return ss->pmtu.kcp + t->head + t->tail + (t->fec ? FEC_HEAD : 0u);
}

/* The most that there can be. */
static uint16_t top(const struct pmtu *p)
{
	return p->link < p->want ? p->link : p->want;
}

/* What every path takes; a configured size below that stays. */
static uint16_t least(const struct sess *ss)
{
	unsigned n = is_v4(ss) ? PMTU_MIN4 : PMTU_MIN6;

	return (uint16_t)(ss->pmtu.want < n ? ss->pmtu.want : n);
}

bool pmtu_is_least(const struct sess *ss)
{
	return ss->pmtu.now < ss->pmtu.want && ss->pmtu.now == least(ss);
}

static void use(struct sess *ss, uint16_t size, enum shard_pmtu how)
{
	struct pmtu *p = &ss->pmtu;
	unsigned over = around(ss);

	if (size < least(ss))
		size = least(ss);
	p->now = size;
	p->how = (uint8_t)how;
	p->kcp = (uint16_t)(size - over < ss->tun->kcp.mtu ? size - over : ss->tun->kcp.mtu);
	kcp_mtu(&ss->kcp, p->kcp);
	pace_burden(ss, ss->parity.send);
	ss->path_gen = UINT64_MAX; /* its headers say what is cut: they are made anew */
}

void pmtu_init(struct sess *ss)
{
	struct pmtu *p = &ss->pmtu;

	p->want = p->now = p->high = (uint16_t)(ss->tun->kcp.mtu + around(ss));
	p->kcp = (uint16_t)ss->tun->kcp.mtu;
	p->link = UINT16_MAX;
	p->mark = (uint32_t)(shard_random(ss->shard) >> 32);
}

/* The log's line: what a full datagram's packet was to be, what goes now, and why. */
static void tell(struct sess *ss)
{
	sess_note(ss, NOTE_MTU, (uint32_t)ss->pmtu.want << 16 | ss->pmtu.now, ss->pmtu.how);
}

static void probe_end(struct sess *ss)
{
	ss->pmtu.size = 0;
	ss->pmtu.tries = 0;
	kcp_probe(&ss->kcp, 0);
}

/* Nothing larger is known to go: that is tried again later. */
static void settle(struct sess *ss, uint64_t now)
{
	struct pmtu *p = &ss->pmtu;

	probe_end(ss);
	p->high = p->now;
	p->raise_at = (uint32_t)now + PMTU_RAISE_MS;
	if (p->doubt && p->now < top(p)) {
		p->how = SHARD_PMTU_LOSS;
		tell(ss);
	}
	p->doubt = false;
}

static void lower(struct sess *ss, uint16_t size, enum shard_pmtu how, uint64_t now)
{
	ss->pmtu.doubt = false;
	use(ss, size, how);
	settle(ss, now);
	tell(ss);
}

void pmtu_link(struct sess *ss, unsigned mtu, uint64_t now)
{
	struct pmtu *p = &ss->pmtu;
	const uint16_t before = p->link;

	p->link = (uint16_t)(mtu && mtu < UINT16_MAX ? mtu : UINT16_MAX);
	if (p->link == before)
		return;
	if (p->link < p->now)
		lower(ss, p->link, SHARD_PMTU_INTERFACE, now);
	else if (p->how == SHARD_PMTU_INTERFACE && p->link > before)
		use(ss, top(p), p->link < p->want ? SHARD_PMTU_INTERFACE : SHARD_PMTU_CONFIGURED);
	if (p->high > top(p)) /* larger is not to be looked for any more */
		settle(ss, now);
	else if (p->now == top(p))
		settle(ss, now);
	else if (p->link > before)
		p->raise_at = (uint32_t)now;
}

void pmtu_moved(struct sess *ss, uint64_t now)
{
	struct pmtu *p = &ss->pmtu;

	probe_end(ss);
	p->mark = (uint32_t)(shard_random(ss->shard) >> 32);
	if (p->want == ss->tun->kcp.mtu + around(ss)) {
		if (p->now < top(p))
			p->raise_at = (uint32_t)now;
		return;
	}
	/* The other family. */
	p->want = p->high = (uint16_t)(ss->tun->kcp.mtu + around(ss));
	p->link = UINT16_MAX;
	p->doubt = false;
	use(ss, p->want, SHARD_PMTU_CONFIGURED);
}

/* ---- ICMP ---- */

/* Routers from before RFC 1191 do not tell: the next smaller size that links are known to have (7.1 of it). */
static unsigned plateau(unsigned len)
{
	static const uint16_t sizes[] = {1492, 1006, PMTU_MIN4};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		if (sizes[i] < len)
			return sizes[i];
	return PMTU_MIN4;
}

/* By a port of the kernel's sockets comes what the kernel has believed already, and of the packet only a part. */
static bool by_kernel(const struct sess *ss, unsigned dev)
{
	return ss->shard->tbl && ss->shard->tbl->dev[dev].sockets;
}

static uint8_t judge(const struct sess *ss, const struct net_too_big *b, bool kernel)
{
	const struct pmtu *p = &ss->pmtu;

	if (kernel)
		return b->mtu < (b->v6 ? PMTU_MIN6 : PMTU_LEAST4) ? DROP_ICMP_MTU : VERDICT_BIG;
	if (b->mark != (p->mark & (b->v6 ? NET_MARK_V6 : NET_MARK_V4)) || b->len > p->want)
		return DROP_ICMP_QUOTE;
	if (b->mtu >= b->len || b->mtu < (b->v6 ? PMTU_MIN6 : PMTU_LEAST4))
		return DROP_ICMP_MTU;
	return VERDICT_BIG;
}

uint8_t shard_too_big(struct shard *s, const struct pkt *k, uint64_t now)
{
	struct sess *ss = k->sess;
	struct pmtu *p = &ss->pmtu;
	struct net_too_big b;
	uint8_t verdict;

	net_too_big(k, &b);
	if (!b.mtu && !b.v6)
		b.mtu = plateau(b.len);
	verdict = judge(ss, &b, by_kernel(ss, k->dev));
	if (verdict != VERDICT_BIG)
		return verdict;
	if (b.mtu < p->now && p->now > least(ss))
		lower(ss, (uint16_t)b.mtu, SHARD_PMTU_ICMP, now);
	else if (b.mtu >= p->now && b.mtu < p->high && b.len <= p->high && p->size) {
		/* A probe's: the search need not go on above. */
		probe_end(ss);
		p->high = (uint16_t)b.mtu;
		if (p->high == p->now)
			settle(ss, now);
	}
	return VERDICT_BIG;
}

/* ---- probes, and what is lost without a word ---- */

/*
 * The oldest segment does not arrive.  Is it the size, or is nobody there?  That is known when something gets through
 * again.
 */
static void suspect(struct sess *ss)
{
	struct pmtu *p = &ss->pmtu;

	if (p->now <= least(ss))
		return;
	probe_end(ss);
	use(ss, least(ss), SHARD_PMTU_LOSS);
	p->doubt = true;
	p->high = top(p);
}

/* Which size to try: what nearly every path takes, the largest, then half way between what goes and what does not. */
static uint16_t next_size(const struct pmtu *p)
{
	if (p->now < PMTU_BASE && p->high >= PMTU_BASE)
		return PMTU_BASE;
	return p->high == top(p) ? p->high : (uint16_t)((p->now + p->high + 1) >> 1);
}

static void arrived(struct sess *ss, uint64_t now)
{
	struct pmtu *p = &ss->pmtu;
	const bool all = p->size == top(p);
	const enum shard_pmtu how = !all		 ? SHARD_PMTU_PROBE
				    : p->size == p->want ? SHARD_PMTU_CONFIGURED
							 : SHARD_PMTU_INTERFACE;

	use(ss, p->size, how);
	probe_end(ss);
	if (p->high < p->now + PMTU_NEAR)
		settle(ss, now);
}

static void lost(struct sess *ss, uint64_t now)
{
	struct pmtu *p = &ss->pmtu;

	if (++p->tries < PMTU_TRIES) {
		p->size = 0;
		return;
	}
	p->high = (uint16_t)(p->size - 1);
	probe_end(ss);
	if (p->high < p->now + PMTU_NEAR)
		settle(ss, now);
}

/* Time to look for more.  What the kernel was told it forgets then; until it is told again a probe proves nothing, for
 * it cuts what is too large. */
static void try_more(struct sess *ss)
{
	struct pmtu *p = &ss->pmtu;

	p->high = top(p);
	if (p->how == SHARD_PMTU_ICMP && ss->path_ok && by_kernel(ss, ss->path.dev))
		use(ss, top(p), top(p) == p->want ? SHARD_PMTU_CONFIGURED : SHARD_PMTU_INTERFACE);
}

static void search(struct sess *ss, uint64_t now)
{
	struct pmtu *p = &ss->pmtu;

	if (p->size && kcp_probed(&ss->kcp) == KCP_PROBE_ARRIVED)
		arrived(ss, now);
	else if (p->size && kcp_probed(&ss->kcp) == KCP_PROBE_LOST)
		lost(ss, now);
	if (p->high == p->now && (int32_t)((uint32_t)now - p->raise_at) >= 0)
		try_more(ss);
	if (p->size || p->high <= p->now || kcp_stands(&ss->kcp))
		return;
	p->size = next_size(p);
	kcp_probe(&ss->kcp, p->size - around(ss));
}

void pmtu_look(struct sess *ss, uint64_t now)
{
	if (kcp_stuck(&ss->kcp) >= PMTU_STUCK)
		suspect(ss);
	if (ss->pmtu.now != top(&ss->pmtu))
		search(ss, now);
}
