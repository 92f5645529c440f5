/* SPDX-License-Identifier: MIT */

/* Datagrams that come again: copies, what somebody has recorded, and what we have sent ourselves, sent back to us. */

#include <stdio.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "bed.h"
#include "eal.h"
#include "flow.h"

TestSuite(pipeline_replay, .init = eal_start);

#define HEADS 42 /* bytes: Ethernet, IPv4, UDP */

/* Of each kind of mark (crypt_mark); a process makes one bed. */
#define CIPHERS(X)            \
	X(aes, "aes")         \
	X(gcm, "aes-128-gcm") \
	X(salsa20, "salsa20") \
	X(xtea, "xtea")       \
	X(none, "none")

static uint64_t drops(const struct gate *g, unsigned verdict)
{
	return bed_drops(g, verdict);
}

static uint64_t other_drops(const struct gate *g, unsigned but)
{
	uint64_t sum = 0;

	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++) {
		if (v != but && drops(g, v))
			printf("%lu dropped: %s\n", drops(g, v), drop_name(v));
		sum += v == but ? 0 : drops(g, v);
	}
	return sum;
}

static struct rte_mbuf *copy_of(struct bed *b, const struct rte_mbuf *m)
{
	return bed_bytes(b, rte_pktmbuf_mtod(m, const void *), m->data_len);
}

/* ---- copies ---- */

static bool double_it(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	b->seen++;
	bed_receive(to, copy_of(b, m));
	return false;
}

static void double_it_all(const char *cipher)
{
	struct bed_conf conf = {.cipher = cipher, .ds = 3, .ps = 1};
	struct bed *b = bed_new(&conf);

	b->wire = double_it;
	bed_transfer(b, 20000);
	cr_assert_eq(drops(&b->g[SERVER], DROP_REPLAYED) + drops(&b->g[CLIENT], DROP_REPLAYED), b->seen);
	cr_assert_eq(other_drops(&b->g[SERVER], DROP_REPLAYED) + other_drops(&b->g[CLIENT], DROP_REPLAYED), 0);
	bed_end(b);
}

#define X(name, cipher)                                                   \
	Test(pipeline_replay, copies_are_dropped_and_nothing_else_##name) \
	{                                                                 \
		double_it_all(cipher);                                    \
	}
CIPHERS(X)
#undef X

/*
 * So long that the filter, a small one here, has been gone round several times.  With so many at once some do not get
 * to the session's worker, the first or the second of two.
 */
Test(pipeline_replay, copies_within_a_long_session)
{
	uint64_t replayed, lost;
	struct bed_conf conf = {.cipher = "aes", .ds = 10, .ps = 3};
	struct bed *b = bed_new(&conf);

	b->wire = double_it;
	bed_transfer(b, 4000000);
	replayed = drops(&b->g[SERVER], DROP_REPLAYED) + drops(&b->g[CLIENT], DROP_REPLAYED);
	lost = other_drops(&b->g[SERVER], DROP_REPLAYED) + other_drops(&b->g[CLIENT], DROP_REPLAYED);
	cr_assert_leq(replayed, b->seen);
	cr_assert_geq(replayed, b->seen - lost);
	cr_assert_eq(lost, drops(&b->g[SERVER], DROP_STEER_FULL) + drops(&b->g[CLIENT], DROP_STEER_FULL));
	cr_assert_lt(lost, b->seen / 2);
	bed_end(b);
}

/* What has no nonce is not known again. */
Test(pipeline_replay, copies_without_a_cipher_are_kcps_affair)
{
	struct bed_conf conf = {.cipher = "null"};
	struct bed *b = bed_new(&conf);

	b->wire = double_it;
	bed_transfer(b, 20000);
	cr_assert_eq(drops(&b->g[SERVER], DROP_REPLAYED), 0);
	bed_end(b);
}

/* ---- sent back ---- */

static void swap(uint8_t *p, uint8_t *q, unsigned n)
{
	while (n--) {
		uint8_t t = *p;

		*p++ = *q;
		*q++ = t;
	}
}

/* The way of a frame turned round: checksums stay right. */
static void turn_round(struct rte_mbuf *m)
{
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	swap(p, p + 6, 6);
	swap(p + 26, p + 30, 4);
	swap(p + 34, p + 36, 2);
}

static bool reflect(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	struct gate *from = to == &b->g[SERVER] ? &b->g[CLIENT] : &b->g[SERVER];
	struct rte_mbuf *back = copy_of(b, m);

	turn_round(back);
	b->seen++;
	bed_receive(from, back);
	return false;
}

/*
 * To a session, what it has sent looks like its peer's: one key, one conversation, nothing says which way.  Ciphers
 * with secret nonces that nobody can change know it by those, the others remember it.
 */
static void reflect_all(const char *cipher)
{
	struct bed_conf conf = {.cipher = cipher};
	struct bed *b = bed_new(&conf);
	unsigned reason = b->g[SERVER].tun.knows_own ? DROP_REFLECTED : DROP_REPLAYED;

	b->wire = reflect;
	bed_transfer(b, 20000);
	cr_assert_eq(drops(&b->g[SERVER], reason) + drops(&b->g[CLIENT], reason), b->seen);
	cr_assert_eq(other_drops(&b->g[SERVER], reason) + other_drops(&b->g[CLIENT], reason), 0);
	bed_end(b);
}

#define X(name, cipher)                                                               \
	Test(pipeline_replay, what_was_sent_does_not_count_when_it_comes_back_##name) \
	{                                                                             \
		reflect_all(cipher);                                                  \
	}
CIPHERS(X)
#undef X

/* ---- from elsewhere ---- */

#define KEPT 64

static struct kept {
	uint8_t p[2048];
	unsigned n;
} kept[KEPT];
static unsigned n_kept;

static bool record(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	if (to == &b->g[SERVER] && n_kept < KEPT) {
		kept[n_kept].n = m->data_len;
		memcpy(kept[n_kept++].p, rte_pktmbuf_mtod(m, void *), m->data_len);
	}
	return false;
}

/* The whole recording comes once more, from a hundred ports: each of the server's workers gets some. */
Test(pipeline_replay, a_recording_begins_no_session_elsewhere)
{
	struct bed_conf conf = {.cipher = "aes"};
	struct bed *b = bed_new(&conf);
	struct gate *s = &b->g[SERVER];
	uint64_t opened;

	n_kept = 0;
	b->wire = record;
	bed_transfer(b, 3000);
	cr_assert_gt(n_kept, 16);
	b->wire = NULL;
	opened = shard_stats(s->shard[0])->sessions_opened + shard_stats(s->shard[1])->sessions_opened;
	for (unsigned port = 0; port < 100; port++) {
		for (unsigned i = 0; i < n_kept; i++) {
			struct rte_udp_hdr *udp = (void *)(kept[i].p + 34);

			udp->src_port = rte_cpu_to_be_16((uint16_t)(20000 + port));
			udp->dgram_cksum = 0; /* of IPv4: none */
			bed_receive(s, bed_bytes(b, kept[i].p, kept[i].n));
			if (i % 32 == 31)
				bed_steps(b, 1);
		}
		bed_steps(b, 1);
	}
	cr_assert_eq(drops(s, DROP_REPLAYED), 100 * n_kept);
	for (unsigned w = 0; w < 2; w++)
		cr_assert_gt(shard_stats(s->shard[w])->drops[DROP_REPLAYED - VERDICT_DROP], 30 * n_kept);
	cr_assert_eq(shard_stats(s->shard[0])->sessions_opened + shard_stats(s->shard[1])->sessions_opened, opened);
	bed_end(b);
}

/* The latest, once there are KEPT. */
static bool record_late(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	if (to == &b->g[SERVER] && n_kept == KEPT) {
		memmove(kept, kept + 1, sizeof(kept) - sizeof(kept[0]));
		n_kept--;
	}
	return record(b, to, m);
}

static unsigned challenged(const struct gate *g)
{
	return (unsigned)(shard_stats(g->shard[0])->challenged + shard_stats(g->shard[1])->challenged);
}

/*
 * What was recorded far into a session, sent from elsewhere while it lives: nobody is asked whether he is its peer.  At
 * another worker nobody knows it, and its flow is sent to the session's.
 */
Test(pipeline_replay, a_recording_of_a_session_that_lives_moves_nothing)
{
	struct bed_conf conf = {.cipher = "aes", .ds = 10, .ps = 3};
	struct bed *b = bed_new(&conf);
	struct gate *s = &b->g[SERVER];
	uint64_t moving, replayed;

	n_kept = 0;
	b->wire = record_late;
	bed_transfer(b, 4000000);
	cr_assert_eq(n_kept, KEPT);
	b->wire = NULL;
	for (unsigned port = 0; port < 20; port++)
		for (unsigned i = 0; i < n_kept; i++) {
			struct rte_udp_hdr *udp = (void *)(kept[i].p + 34);

			udp->src_port = rte_cpu_to_be_16((uint16_t)(50000 + port));
			udp->dgram_cksum = 0;
			bed_receive(s, bed_bytes(b, kept[i].p, kept[i].n));
			bed_steps(b, 1);
		}
	moving = drops(s, DROP_MOVING);
	replayed = drops(s, DROP_REPLAYED);
	other_drops(s, DROP_REPLAYED);
	printf("%lu replayed, %lu moving, %lu parity\n", replayed, moving, drops(s, DROP_PARITY_ALONE));
	cr_assert_eq(replayed + moving + drops(s, DROP_PARITY_ALONE), 20 * KEPT);
	cr_assert_leq(moving, 20);
	cr_assert_eq(challenged(s), 0);
	bed_end(b);
}

/* Who lacks the key cannot have a datagram taken for seen that was not. */
static bool spoil_a_copy(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	struct rte_mbuf *first = copy_of(b, m);

	rte_pktmbuf_mtod(first, uint8_t *)[first->data_len - 1] ^= 1;
	b->seen++;
	bed_receive(to, first);
	return false;
}

Test(pipeline_replay, what_does_not_open_is_not_remembered)
{
	struct bed_conf conf = {.cipher = "aes-128-gcm"};
	struct bed *b = bed_new(&conf);

	b->wire = spoil_a_copy;
	bed_transfer(b, 20000);
	cr_assert_eq(drops(&b->g[SERVER], DROP_REPLAYED) + drops(&b->g[CLIENT], DROP_REPLAYED), 0);
	cr_assert_geq(drops(&b->g[SERVER], DROP_CRYPT_BAD) + drops(&b->g[SERVER], DROP_UDP_CHECKSUM), b->seen / 3);
	bed_end(b);
}
