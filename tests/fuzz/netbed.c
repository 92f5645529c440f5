/* SPDX-License-Identifier: MIT */
#include <stdatomic.h>

#include "fuzz.h"
#include "le.h"
#include "netbed.h"

static const uint8_t us[6] = {2, 0, 0, 0, 0, 1};

const struct net_tbl *netbed_tbl(void)
{
	static const char *const mine[] = {"192.0.2.1", "127.0.0.1", "2001:db8::1", "fe80::2"};
	static struct net_tbl *t;

	if (t)
		return t;
	t = net_tbl_alloc(0, 0, 4);
	fuzz_must(t);
	t->n_dev = NETBED_DEVS;
	for (unsigned d = 0; d < NETBED_DEVS; d++) {
		t->dev[d] = (struct net_dev){.up = true, .mtu = 1500, .exclusive = d == 0 || d == 3};
		if (d != 2)
			memcpy(t->dev[d].mac, us, 6);
	}
	t->dev[3].vlan = 7;
	t->dev[4].sockets = true;
	for (unsigned i = 0; i < 4; i++) {
		struct net_local *l = &t->local[t->n_local++];

		*l = (struct net_local){.plen = 128, .dev = i == 1 ? 2 : 0};
		fuzz_must(addr_parse(mine[i], &l->addr) == 0);
	}
	fuzz_must(net_tbl_sort(t) == 0);
	return t;
}

const struct net_ports *netbed_ports(void)
{
	static struct net_ports p;

	atomic_store(&p.of[NETBED_PORT], NETBED_TUNNEL + 1);
	atomic_store(&p.tcp[NETBED_PORT], NETBED_TUNNEL + 1);
	return &p;
}

void netbed_parse(struct pkt *k, struct flow_key *key)
{
	net_parse_burst(k, key, 1, netbed_tbl(), netbed_ports());
	fuzz_must(k->verdict < VERDICT_MAX);
}

bool netbed_untag(struct pkt *k)
{
	if (k->n < ETH_HEAD + ETH_VLAN)
		return false;
	memmove(k->p + ETH_VLAN, k->p, 2 * 6);
	k->p += ETH_VLAN;
	k->n -= ETH_VLAN;
	k->flags |= PKT_F_UNTAGGED;
	return true;
}

unsigned netbed_ip(uint8_t *p, bool v6, uint8_t proto, unsigned n)
{
	struct addr from, to;

	fuzz_must(addr_parse(v6 ? "2001:db8:5::9" : "203.0.113.9", &from) == 0);
	fuzz_must(addr_parse(v6 ? "2001:db8::1" : "192.0.2.1", &to) == 0);
	if (v6) {
		memset(p, 0, IP6_HEAD);
		p[0] = 0x60;
		be16_put(p + IP6_LEN, (uint16_t)n);
		p[IP6_NEXT] = proto;
		p[IP6_HOPS] = 57;
		memcpy(p + IP6_SRC, from.b, 16);
		memcpy(p + IP6_DST, to.b, 16);
		return IP6_HEAD;
	}
	memset(p, 0, IP4_HEAD);
	p[0] = 0x45;
	be16_put(p + IP4_LEN, (uint16_t)(IP4_HEAD + n));
	p[IP4_TTL] = 57;
	p[IP4_PROTO] = proto;
	memcpy(p + IP4_SRC, from.b + 12, 4);
	memcpy(p + IP4_DST, to.b + 12, 4);
	le16_put(p + IP4_CSUM, net_sum_fold(net_sum(p, IP4_HEAD, 0)));
	return IP4_HEAD;
}
