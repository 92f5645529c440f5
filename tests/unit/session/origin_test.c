/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "acl.h"
#include "eal.h"
#include "kcp_wire.h"
#include "le.h"
#include "rig.h"

/* How many sessions may come from where, and which tunnel may have how many (origin.c, places.c). */

TestSuite(session_origin, .init = eal_start);

static struct addr v4(unsigned a, unsigned b, unsigned c, unsigned d)
{
	return addr_v4(a << 24 | b << 16 | c << 8 | d);
}

static struct addr v6(unsigned prefix, unsigned host)
{
	struct addr a = {{0x20, 0x01, 0x0d, 0xb8}};

	a.b[5] = (uint8_t)(prefix >> 8);
	a.b[6] = (uint8_t)prefix; /* the last of a /56 */
	a.b[7] = (uint8_t)(host >> 8);
	a.b[15] = (uint8_t)host;
	return a;
}

/* The first segment of a conversation, from anywhere. */
static unsigned from(struct rig *r, unsigned tunnel, struct addr peer, uint16_t port, uint32_t conv)
{
	struct shard *s = r->side[SERVER].shard;
	struct flow_key key = rig_key(SERVER, port);
	uint8_t p[KCP_HEAD] = {0};
	struct pkt k = {.p = p, .n = KCP_HEAD, .key = &key, .tunnel = (uint16_t)tunnel};

	key.peer = peer;
	k.hash = flow_hash(&key);
	le32_put(p, conv ^ k.hash); /* each client has its own */
	p[KCP_OFF_CMD] = KCP_PUSH;
	le16_put(p + KCP_OFF_WND, 128);
	flow_find_burst(shard_flows(s), &k, 1);
	shard_screen(s, &k, 1);
	shard_input(s, &k, 1, r->now);
	shard_reap(s);
	if (k.verdict >= VERDICT_DROP)
		shard_stats(s)->drops[k.verdict - VERDICT_DROP]++;
	return k.verdict;
}

static struct origins *counted(struct rig *r, struct origins_conf conf)
{
	struct origins *o;

	conf.sessions = conf.sessions ? conf.sessions : r->conf.sessions;
	conf.n_tunnels = RIG_TUNNELS;
	conf.key[0] = 0x0123456789abcdef;
	conf.key[1] = 42;
	cr_assert_eq(origins_create(&o, &conf), 0);
	r->side[SERVER].shard->conf.origins = o;
	return o;
}

static void end(struct rig *r, struct origins *o)
{
	struct origins_look l;

	rig_end(r);
	origins_look(o, &l);
	cr_assert(l.addresses == 0 && l.prefixes == 0, "%lu, %lu: sessions that ended are counted", l.addresses,
		  l.prefixes);
	cr_assert_eq(origins_of_tunnel(o, 0), 0);
	origins_destroy(o);
}

static struct rig *rig_of(unsigned sessions, unsigned tunnels)
{
	struct rig_conf conf = rig_defaults();

	conf.sessions = sessions;
	conf.tunnels = tunnels;
	return rig_new(&conf);
}

Test(session_origin, of_an_address)
{
	struct rig *r = rig_of(64, 1);
	struct origins *o = counted(r, (struct origins_conf){.address = 4});
	struct origins_look l;

	for (uint16_t port = 1; port <= 4; port++)
		cr_assert_eq(from(r, 0, v4(192, 0, 2, 1), port, port), VERDICT_OK);
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 1), 5, 5), DROP_ADDRESS_LIMIT);
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 2), 5, 5), VERDICT_OK, "its neighbour has none");
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 1), 3, 33), VERDICT_OK, "one may take its own place again");
	cr_assert_eq(shard_stats(r->side[SERVER].shard)->sessions, 5);
	origins_look(o, &l);
	cr_assert(l.addresses == 2 && l.address_most == 4 && l.prefixes == 1 && l.prefix_most == 5 && !l.uncounted);
	rig_run(r, r->now + 61000, NULL, NULL);
	cr_assert_eq(shard_stats(r->side[SERVER].shard)->sessions, 0);
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 1), 5, 5), VERDICT_OK, "places come back");
	end(r, o);
}

Test(session_origin, of_a_prefix)
{
	struct rig *r = rig_of(64, 1);
	struct origins *o = counted(r, (struct origins_conf){.address = 4, .prefix = 6});

	for (unsigned i = 0; i < 6; i++) {
		cr_assert_eq(from(r, 0, v4(192, 0, 2, i), 1, 1), VERDICT_OK);
		cr_assert_eq(from(r, 0, v6(0x100, 0x100 * i + i), 1, 1), VERDICT_OK);
	}
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 250), 1, 1), DROP_PREFIX_LIMIT);
	cr_assert_eq(from(r, 0, v4(192, 0, 3, 0), 1, 1), VERDICT_OK);
	cr_assert_eq(from(r, 0, v6(0x100, 0xff77), 1, 1), DROP_PREFIX_LIMIT);
	cr_assert_eq(from(r, 0, v6(0x101, 0), 1, 1), VERDICT_OK);
	end(r, o);
}

Test(session_origin, a_second)
{
	struct rig *r = rig_of(200, 1);
	struct origins *o = counted(r, (struct origins_conf){.rate = 10, .burst = 20});
	uint16_t port = 0, ok = 0;

	for (unsigned i = 0; i < 30; i++)
		ok += from(r, 0, v4(192, 0, 2, 1), ++port, 1) == VERDICT_OK;
	cr_assert_eq(ok, 20, "%u", ok);
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_SESSION_RATE), 10);
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 2), 1, 1), VERDICT_OK, "another address has a rate of its own");
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 1), 1, 7), DROP_SESSION_RATE, "nor may it begin anew in its own place");
	cr_assert_eq(rig_drops(&r->side[SERVER], DROP_REPLACED), 0, "what is there stays");
	for (unsigned s = 0; s < 3; s++) {
		rig_at(r, r->now + 1000);
		for (unsigned i = ok = 0; i < 30; i++)
			ok += from(r, 0, v4(192, 0, 2, 1), ++port, 1) == VERDICT_OK;
		cr_assert_eq(ok, 10, "%u in second %u", ok, s);
	}
	rig_at(r, r->now + 10000);
	for (unsigned i = ok = 0; i < 30; i++)
		ok += from(r, 0, v4(192, 0, 2, 1), ++port, 1) == VERDICT_OK;
	cr_assert_eq(ok, 20, "%u after a rest", ok);
	end(r, o);
}

Test(session_origin, of_a_tunnel)
{
	struct rig *r = rig_of(64, 2);
	struct origins *o = counted(r, (struct origins_conf){0});
	unsigned i;

	r->side[SERVER].tuns[0].max_sessions = 3;
	for (i = 0; i < 3; i++)
		cr_assert_eq(from(r, 0, v4(192, 0, 2, i), 1, 1), VERDICT_OK);
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 9), 1, 1), DROP_TUNNEL_LIMIT);
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 1), 1, 2), VERDICT_OK);
	cr_assert_eq(from(r, 1, v4(192, 0, 2, 9), 2, 1), VERDICT_OK, "the other one has none");
	end(r, o);
}

/* Nobody configured anything: a tunnel that is flooded leaves another one its part. */
Test(session_origin, tunnels_have_their_places)
{
	struct rig *r = rig_of(32, 2);
	struct origins *o = counted(r, (struct origins_conf){0});
	unsigned n[2] = {0};

	for (uint16_t port = 1; port <= 40; port++)
		n[0] += from(r, 0, v4(192, 0, 2, 1), port, 1) == VERDICT_OK;
	cr_expect_eq(n[0], 24, "its quarter, and the half that is anybody's: %u", n[0]);
	for (uint16_t port = 101; port <= 140; port++)
		n[1] += from(r, 1, v4(192, 0, 2, 1), port, 1) == VERDICT_OK;
	cr_expect_eq(n[1], 8, "%u", n[1]);
	cr_expect_eq(rig_drops(&r->side[SERVER], DROP_TUNNEL_LIMIT), 16);
	cr_expect_eq(rig_drops(&r->side[SERVER], DROP_SESSION_LIMIT), 32);
	end(r, o);
}

/* Who may have no session is not even decrypted; a session that there is is nobody's to look at. */
Test(session_origin, prefixes_that_may_come)
{
	struct rig *r = rig_of(64, 1);
	struct net_acl_rule v[] = {{v4(192, 0, 2, 0), 120, true}, {v4(192, 0, 2, 66), 128, false}};
	struct shard *s = r->side[SERVER].shard;
	struct flow_key key = rig_key(SERVER, 7);
	struct pkt k = {.key = &key, .hash = flow_hash(&key)};
	struct net_acl *acl;

	cr_assert_eq(net_acl_create(&acl, v, 2, false), 0);
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 66), 1, 1), VERDICT_OK);
	r->side[SERVER].tun.acl = acl;
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 1), 1, 1), VERDICT_OK);
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 66), 2, 1), DROP_ACL);
	cr_assert_eq(from(r, 0, v4(192, 0, 2, 66), 1, 1), VERDICT_OK, "its session goes on");
	cr_assert_eq(from(r, 0, v4(192, 0, 3, 1), 1, 1), DROP_ACL);
	cr_assert_eq(from(r, 0, v6(1, 1), 1, 1), DROP_ACL);
	key.peer = v4(10, 0, 0, 1);
	shard_screen(s, &k, 1);
	cr_assert_eq(k.verdict, DROP_ACL);
	cr_assert(!shard_welcomes(s, &k) && shard_listens(s, &k), "nor is its SYN answered");
	cr_assert_eq(shard_stats(s)->sessions, 2);
	rig_end(r);
	net_acl_destroy(acl);
}

/* ---- by themselves ---- */

struct lone {
	struct shard_tunnel tun;
	struct shard shard;
};

static struct lone *lone_new(struct origins *o)
{
	struct lone *l = calloc(1, sizeof(*l));

	l->shard.conf.tunnels = &l->tun;
	l->shard.conf.origins = o;
	return l;
}

static struct origins *lone_origins(uint64_t sessions, uint64_t key)
{
	struct origins_conf conf = {.sessions = sessions, .n_tunnels = 1, .key = {key, 2}};
	struct origins *o;

	cr_assert_eq(origins_create(&o, &conf), 0);
	return o;
}

/* As many sources as there may be sessions, each with one: the table holds them; far more: they go uncounted. */
static void a_full_table(uint64_t key)
{
	struct origins *o = lone_origins(4096, key);
	struct lone *l = lone_new(o);
	struct sess *ss = calloc(20000, sizeof(*ss));
	struct origins_look look;

	for (unsigned i = 0; i < 20000; i++) {
		ss[i].shard = &l->shard;
		ss[i].tun = &l->tun;
		ss[i].key.peer = v4(10, i >> 8 & 0xff, i & 0xff, i >> 16);
		origin_take(&ss[i]);
		if (i == 4095) {
			origins_look(o, &look);
			cr_expect(look.addresses == 4096 && !look.uncounted, "%lu, %lu", look.addresses,
				  look.uncounted);
		}
	}
	origins_look(o, &look);
	cr_expect(look.addresses == 8192 && look.address_most == 1, "%lu, %lu", look.addresses, look.address_most);
	cr_expect_eq(origins_of_tunnel(o, 0), 20000);
	for (unsigned i = 0; i < 20000; i++)
		origin_give(&ss[i]);
	origins_look(o, &look);
	cr_expect(look.addresses == 0 && look.prefixes == 0);
	cr_expect_eq(origins_of_tunnel(o, 0), 0);
	free(ss);
	free(l);
	origins_destroy(o);
}

/* Whatever the hash makes of them. */
Test(session_origin, full_tables)
{
	for (uint64_t key = 1; key <= 50; key++)
		a_full_table(key);
}

#define WORKERS 3
#define ROUNDS	200000
#define HELD	64
#define SOURCES 5

static void *churn(void *arg)
{
	struct lone *l = arg;
	struct sess *ss = calloc(HELD, sizeof(*ss));
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < ROUNDS + HELD; i++) {
		struct sess *one = &ss[i % HELD];

		if (one->shard)
			origin_give(one);
		one->shard = i < ROUNDS ? &l->shard : NULL;
		one->tun = &l->tun;
		one->key.peer = v4(10, 0, 0, (unsigned)rand_r(&seed) % SOURCES);
		if (one->shard)
			origin_take(one);
	}
	free(ss);
	return NULL;
}

/* Workers that count at once lose nothing, and find their own again. */
Test(session_origin, several_workers)
{
	struct origins *o = lone_origins(WORKERS * HELD, 1);
	struct origins_look look;
	struct lone *l[WORKERS];
	pthread_t t[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++)
		l[i] = lone_new(o);
	for (unsigned i = 0; i < WORKERS; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, churn, l[i]), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(t[i], NULL);
	origins_look(o, &look);
	cr_expect(look.addresses == 0 && look.prefixes == 0, "%lu, %lu", look.addresses, look.prefixes);
	cr_expect_eq(look.uncounted, 0);
	cr_expect_eq(origins_of_tunnel(o, 0), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		free(l[i]);
	origins_destroy(o);
}
