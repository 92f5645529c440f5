/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "capture.h"
#include "le.h"
#include "limit.h"
#include "net.h"
#include "pcapng.h"

#define KINDS (2 * LIMIT_PORTS) /* each port's frames, and what is in them */
#define MACS  12
#define TAG   4

#define PAYLOAD_MAX (CAPTURE_LONGEST - NET_MAX_HEAD)

/* A packet in a ring, with its bytes behind it; a multiple of 8 long, so that they all lie at one. */
struct rec {
	uint32_t len;	   /* to the next one */
	uint32_t n, whole; /* bytes here, and of the packet */
	uint16_t tunnel, port;
	uint16_t tag;
	bool tagged, out, plain;
	uint64_t tsc, session;
	struct flow_key key;
};

_Static_assert(sizeof(struct rec) % 8 == 0, "records lie at multiples of 8");

struct ring { /* one writer, one reader */
	uint8_t *buf;
	_Atomic uint64_t head __attribute__((aligned(64))); /* writer: bytes ever written */
	_Atomic uint64_t lost[KINDS];
	_Atomic uint64_t tail __attribute__((aligned(64))); /* reader: bytes ever taken */
};

struct capture {
	struct capture_want want;
	const struct capture_names *names;
	unsigned n;
	size_t size;
	_Atomic uint64_t taken[KINDS]; /* writer: the reader */
	uint8_t frame[NET_MAX_HEAD + CAPTURE_LONGEST];
	struct ring ring[];
};

int capture_create(struct capture **out, const struct capture_want *want, const struct capture_names *names,
		   unsigned workers, size_t ring)
{
	size_t len = sizeof(struct capture) + workers * sizeof(struct ring);
	struct capture *c = aligned_alloc(64, (len + 63) & ~(size_t)63);

	if (!c)
		return -ENOMEM;
	memset(c, 0, len);
	c->want = *want;
	c->names = names;
	c->size = ring;
	for (; c->n < workers; c->n++) {
		/* There before a worker touches it: the first touch would be the kernel's to mend. */
		void *p = mmap(NULL, ring, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (p == MAP_FAILED) {
			capture_destroy(c);
			return -ENOMEM;
		}
		c->ring[c->n].buf = p;
	}
	*out = c;
	return 0;
}

void capture_destroy(struct capture *c)
{
	for (unsigned i = 0; c && i < c->n; i++)
		munmap(c->ring[i].buf, c->size);
	free(c);
}

/* ---- a worker's end ---- */

static bool is_chosen(const struct capture_want *w, uint64_t session)
{
	for (unsigned i = 0; i < w->n_sessions; i++)
		if (w->session[i] == session)
			return true;
	return w->n_sessions == 0;
}

bool capture_wants(const struct capture *c, const struct capture_of *of)
{
	const struct capture_want *w = &c->want;

	return (w->tunnel < 0 || w->tunnel == of->tunnel) && (w->any_peer || addr_eq(&w->peer, &of->key->peer)) &&
	       (!w->peer_port || w->peer_port == of->key->peer_port) && is_chosen(w, of->session);
}

bool capture_plain(const struct capture *c)
{
	return c->want.plain;
}

static unsigned kind(uint16_t port, bool plain)
{
	return 2u * port + plain;
}

/* One thread adds to it. */
static void count(_Atomic uint64_t *v)
{
	atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Room for a record in one piece; NULL: the ring is full.  *head is moved past what had to be filled up. */
static struct rec *ring_room(const struct capture *c, struct ring *r, uint32_t len, uint64_t *head)
{
	uint64_t used = *head - atomic_load_explicit(&r->tail, memory_order_acquire);
	size_t at = *head & (c->size - 1), left = c->size - at, fill = left < len ? left : 0;
	struct rec *rec = (struct rec *)(r->buf + at);

	if (c->size - used < len + fill)
		return NULL;
	if (!fill)
		return rec;
	/* Records are multiples of 8 long, and so is what is left: its head may not fit, but these two fields do. */
	rec->len = (uint32_t)fill;
	rec->n = UINT32_MAX;
	*head += fill;
	return (struct rec *)r->buf;
}

void capture_put(struct capture *c, unsigned worker, const struct capture_of *of, const uint8_t *p, uint32_t n)
{
	uint32_t keep = n < c->want.snaplen ? n : c->want.snaplen;
	uint32_t len = (uint32_t)(sizeof(struct rec) + keep + 7) & ~7u;
	struct ring *r = &c->ring[worker];
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	struct rec *rec = ring_room(c, r, len, &head);

	if (!rec) {
		count(&r->lost[kind(of->port, of->plain)]);
		return;
	}
	*rec = (struct rec){
		.len = len,
		.n = keep,
		.whole = n,
		.tunnel = of->tunnel,
		.port = of->port,
		.tag = of->tag,
		.tagged = of->tagged,
		.out = of->out,
		.plain = of->plain,
		.tsc = of->tsc,
		.session = of->session,
		.key = *of->key,
	};
	memcpy(rec + 1, p, keep);
	atomic_store_explicit(&r->head, head + len, memory_order_release);
}

/* ---- the other end ---- */

static unsigned per_port(const struct capture *c)
{
	return c->want.plain ? 2 : 1;
}

size_t capture_head(const struct capture *c, uint8_t *buf, size_t room, const char *app)
{
	size_t n = pcapng_section(buf, room, app), got = n;
	char name[64];

	for (unsigned i = 0; got && i < c->names->n_ports * per_port(c); i++) {
		bool plain = per_port(c) == 2 && i % 2;

		snprintf(name, sizeof(name), "%s%s", c->names->port[i / per_port(c)], plain ? " decrypted" : "");
		got = pcapng_iface(buf + n, room - n, name,
				   plain ? "payloads without encryption, under headers made up for them" : "frames",
				   c->want.snaplen);
		n += got;
	}
	return got ? n : 0;
}

/* The oldest record of a ring; NULL: it is empty. */
static const struct rec *ring_first(const struct capture *c, struct ring *r)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	const struct rec *rec;

	while (tail != atomic_load_explicit(&r->head, memory_order_acquire)) {
		rec = (const struct rec *)(r->buf + (tail & (c->size - 1)));
		if (rec->n != UINT32_MAX)
			return rec;
		tail += rec->len;
		atomic_store_explicit(&r->tail, tail, memory_order_release);
	}
	return NULL;
}

/* The oldest of all. */
static const struct rec *first(struct capture *c, struct ring **of)
{
	const struct rec *best = NULL;

	for (unsigned i = 0; i < c->n; i++) {
		const struct rec *rec = ring_first(c, &c->ring[i]);

		if (rec && (!best || rec->tsc < best->tsc)) {
			best = rec;
			*of = &c->ring[i];
		}
	}
	return best;
}

/* A payload gets headers as if it had come in a frame like this: the flow's addresses, and none of Ethernet's. */
static void dress(struct capture *c, const struct rec *rec, struct pcapng_pkt *out)
{
	struct net_ends ends = {.src_mac = {2, 0, 0, 0, 0, 1}, .dst_mac = {2, 0, 0, 0, 0, 2}};
	uint32_t whole = rec->whole < PAYLOAD_MAX ? rec->whole : PAYLOAD_MAX, n = rec->n < whole ? rec->n : whole;
	struct pkt k = {.p = c->frame + NET_MAX_HEAD, .n = (uint16_t)whole};
	struct flow_key key = rec->key;
	struct net_path path;

	if (!rec->out) {
		key.peer = rec->key.local;
		key.peer_port = rec->key.local_port;
		key.local = rec->key.peer;
		key.local_port = rec->key.peer_port;
	}
	key.proto = FLOW_UDP;
	ends.key = &key;
	net_path_init(&path, &ends);
	memcpy(k.p, rec + 1, n);
	memset(k.p + n, 0, whole - n); /* what was cut off: the lengths are the whole datagram's */
	net_push(&path, &k);
	out->p = k.p;
	out->whole = k.n;
	out->n = k.n - (whole - n);
}

/* The tag that was taken off is where it was. */
static void tag(struct capture *c, const struct rec *rec, struct pcapng_pkt *out)
{
	const uint8_t *p = (const uint8_t *)(rec + 1);

	memcpy(c->frame, p, MACS);
	be16_put(c->frame + MACS, 0x8100);
	be16_put(c->frame + MACS + 2, rec->tag);
	memcpy(c->frame + MACS + TAG, p + MACS, rec->n - MACS);
	out->p = c->frame;
	out->n += TAG;
	out->whole += TAG;
}

static uint64_t time_of(const struct capture_clock *now, uint64_t tsc)
{
	/* It lies behind us, but clocks of two CPUs may differ by a little. */
	__int128 ago = (__int128)now->tsc - tsc;

	return now->ns - (uint64_t)(int64_t)(ago * 1000000000 / (__int128)now->hz);
}

size_t capture_block(struct capture *c, const struct capture_clock *now, uint8_t *buf, size_t room)
{
	struct ring *r = NULL;
	const struct rec *rec = first(c, &r);
	struct pcapng_pkt out;
	char comment[96];
	size_t n;

	if (!rec)
		return 0;
	out = (struct pcapng_pkt){
		.iface = rec->port * per_port(c) + rec->plain,
		.ns = time_of(now, rec->tsc),
		.p = (const uint8_t *)(rec + 1),
		.n = rec->n,
		.whole = rec->whole,
		.out = rec->out,
		.comment = comment,
	};
	if (rec->plain)
		dress(c, rec, &out);
	else if (rec->tagged && rec->n > MACS)
		tag(c, rec, &out);
	snprintf(comment, sizeof(comment), rec->session ? "tunnel %s, session %llu" : "tunnel %s",
		 c->names->tunnel[rec->tunnel], (unsigned long long)rec->session);
	n = pcapng_packet(buf, room, &out);
	count(&c->taken[kind(rec->port, rec->plain)]);
	atomic_store_explicit(&r->tail, atomic_load_explicit(&r->tail, memory_order_relaxed) + rec->len,
			      memory_order_release);
	return n;
}

static uint64_t lost_of(const struct capture *c, unsigned k)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < c->n; i++)
		sum += atomic_load_explicit(&c->ring[i].lost[k], memory_order_relaxed);
	return sum;
}

size_t capture_tail(const struct capture *c, const struct capture_clock *now, uint8_t *buf, size_t room)
{
	size_t n = 0, got = 1;

	for (unsigned i = 0; got && i < c->names->n_ports * per_port(c); i++) {
		unsigned k = per_port(c) == 2 ? i : 2 * i;

		got = pcapng_stats(buf + n, room - n, i, now->ns,
				   atomic_load_explicit(&c->taken[k], memory_order_relaxed), lost_of(c, k));
		n += got;
	}
	return got ? n : 0;
}

uint64_t capture_taken(const struct capture *c)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < KINDS; k++)
		sum += atomic_load_explicit(&c->taken[k], memory_order_relaxed);
	return sum;
}

uint64_t capture_lost(const struct capture *c)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < KINDS; k++)
		sum += lost_of(c, k);
	return sum;
}
