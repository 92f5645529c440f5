/* SPDX-License-Identifier: MIT */

/* What devices bring and take: whatever they say of a frame, and whatever shape it has. */

#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_net.h>
#include <rte_udp.h>

#include "cut.h"
#include "eal.h"

TestSuite(pipeline_device, .init = eal_start, .timeout = 120);

#define LEAST 60 /* bytes of a frame of Ethernet */

static uint64_t all_drops(const struct gate *g)
{
	uint64_t n = 0;

	for (unsigned v = VERDICT_DROP + 1; v < VERDICT_MAX; v++)
		n += bed_drops(g, v);
	return n;
}

/* Takes what was punted at worker w: the last frame, or NULL.  The caller frees it. */
static struct rte_mbuf *punted(struct gate *g, unsigned w)
{
	struct rte_mbuf *m, *last = NULL;

	while (border_punts(g->border[w], &m, 1)) {
		rte_pktmbuf_free(last);
		last = m;
	}
	return last;
}

/* A datagram for the server's tunnel that no key has sealed: taken, it is dropped as crypt_bad. */
static struct rte_mbuf *datagram(struct bed *b, unsigned payload)
{
	struct whole w;

	whole_udp(&w, SERVER, false, port_of_home(5000, 0), BED_PORT, payload);
	return bed_bytes(b, w.p, w.n);
}

/* ---- in: shapes ---- */

/* Cut off anywhere, by a driver that admits it and by one that does not: dropped by name, each one. */
Test(pipeline_device, truncated)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	unsigned sent = 0;

	for (unsigned admits = 0; admits < 2; admits++) {
		for (unsigned n = 0; n < 142; n++, sent++) {
			struct rte_mbuf *m = datagram(b, 100);

			m->data_len = (uint16_t)n;
			m->pkt_len = admits ? n : 142;
			bed_receive(s, m);
			bed_step(b);
		}
	}
	cr_assert_eq(bed_drops(s, DROP_FRAME_SHORT), 2 * 34);
	cr_assert_eq(bed_drops(s, DROP_IP_HEADER), 2 * (142 - 34));
	cr_assert_eq(all_drops(s), sent);
	cr_assert_null(punted(s, 0));
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* Nor does the kernel get more than there is, whatever the driver says. */
Test(pipeline_device, punted_as_it_is)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *m = bed_frame(b, RTE_ETHER_TYPE_ARP, (uint8_t[46]){0}, 46);

	m->pkt_len = 4000;
	bed_receive(s, m);
	bed_step(b);
	m = punted(s, 0);
	cr_assert_not_null(m);
	cr_assert_eq(m->pkt_len, 60, "%u", m->pkt_len);
	rte_pktmbuf_free(m);
	bed_end(b);
}

/* In several buffers, as drivers deliver what is longer than one: not taken, and no buffer of it lost. */
Test(pipeline_device, chained)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];

	for (unsigned segs = 2; segs < 6; segs++) {
		struct rte_mbuf *m = datagram(b, 2048 - 42);

		for (unsigned i = 1; i < segs; i++)
			cr_assert_eq(rte_pktmbuf_chain(m, datagram(b, 1000)), 0);
		bed_receive(s, m);
		bed_step(b);
		cr_assert_eq(bed_drops(s, DROP_MULTI_SEGMENT), segs - 1);
	}
	cr_assert_eq(all_drops(s), 4);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* Longer than the port's MTU, but in one piece: a buffer's whole room is taken for what it is. */
Test(pipeline_device, oversized)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *m = datagram(b, 2048 - 42);

	cr_assert_eq(rte_pktmbuf_tailroom(m), 0);
	bed_receive(s, m);
	m = datagram(b, 2048 - 42);
	*rte_pktmbuf_mtod_offset(m, uint16_t *, 16) = rte_cpu_to_be_16(9000); /* and not what its header says */
	rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14)->hdr_checksum = 0;
	bed_receive(s, m);
	bed_step(b);
	cr_assert_eq(bed_drops(s, DROP_CRYPT_BAD), 1);
	cr_assert_eq(bed_drops(s, DROP_IP_HEADER), 1);
	cr_assert_eq(all_drops(s), 2);
	cr_assert_eq(bed_mbufs_out(b), 0);
	bed_end(b);
}

/* Every long datagram in two fragments, both filled up behind their ends. */
static bool padded_fragments(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	struct whole w;

	if (m->data_len < 600)
		return false;
	w.n = m->data_len;
	memcpy(w.p, rte_pktmbuf_mtod(m, void *), w.n);
	b->seen++;
	for (unsigned i = 0; i < 2; i++) {
		struct rte_mbuf *f = cut(b, &w, (uint32_t)b->seen, i ? w.n / 16 * 8 : 0, i ? 2000 : w.n / 16 * 8);

		memset(rte_pktmbuf_append(f, 18), 0xee, 18);
		f->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_BAD; /* nobody can know that yet */
		bed_receive(to, f);
	}
	rte_pktmbuf_free(m);
	return true;
}

Test(pipeline_device, padded_fragments)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});

	b->wire = padded_fragments;
	bed_transfer(b, 50000);
	cr_assert_gt(b->seen, 100);
	cr_assert_eq(all_drops(&b->g[SERVER]) + all_drops(&b->g[CLIENT]), 0);
	bed_end(b);
}

/* ---- in: checksums that no device has looked at ---- */

static unsigned spoiled, payload_at;

/* Every twentieth long datagram has a bit turned over, in any place of its payload. */
static bool spoil(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	uint64_t at;

	(void)to;
	if (m->data_len < 600 || ++b->seen % 20)
		return false;
	at = b->seen / 20;
	rte_pktmbuf_mtod(m, uint8_t *)[payload_at + at * 7919 % (m->data_len - payload_at)] ^= (uint8_t)(1u << at % 8);
	spoiled++;
	return false;
}

/* Without a cipher nothing else would find it: the stream's bytes would be wrong. */
static void broken_without_a_cipher(bool tcp)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "null", .tcp = tcp});
	uint64_t found = 0;

	payload_at = tcp ? 54 : 42;
	b->wire = spoil;
	bed_transfer(b, 200000);
	for (int e = 0; e < 2; e++) {
		found += bed_drops(&b->g[e], DROP_UDP_CHECKSUM);
		cr_assert_eq(all_drops(&b->g[e]),
			     bed_drops(&b->g[e], DROP_UDP_CHECKSUM) + bed_drops(&b->g[e], DROP_TCP_CONTROL));
	}
	cr_assert_eq(found, spoiled);
	cr_assert_gt(found, 10);
	bed_end(b);
}

Test(pipeline_device, broken_without_a_cipher)
{
	broken_without_a_cipher(false);
}

Test(pipeline_device, broken_without_a_cipher_tcp)
{
	broken_without_a_cipher(true);
}

/* As a host's kernel leaves it to a device, and virtio or a veth brings it: the pseudo header's sum only, or none. */
static bool unfinished(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14);
	struct rte_udp_hdr *udp = (void *)(ip + 1);

	(void)to;
	b->seen++;
	udp->dgram_cksum = b->seen % 4 ? rte_ipv4_phdr_cksum(ip, 0) : 0;
	m->ol_flags = b->seen % 2 ? RTE_MBUF_F_RX_L4_CKSUM_NONE : RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN;
	return false;
}

Test(pipeline_device, unfinished_without_a_cipher)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "null"});

	b->wire = unfinished;
	bed_transfer(b, 50000);
	cr_assert_gt(b->seen, 200);
	cr_assert_eq(all_drops(&b->g[SERVER]) + all_drops(&b->g[CLIENT]), 0);
	bed_end(b);
}

/* What a device has found good is not summed again. */
static bool found_good(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	(void)to;
	b->seen++;
	rte_pktmbuf_mtod_offset(m, struct rte_udp_hdr *, 34)->dgram_cksum ^= 1;
	m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	return false;
}

Test(pipeline_device, good_without_a_cipher)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "null"});

	b->wire = found_good;
	bed_transfer(b, 50000);
	cr_assert_eq(all_drops(&b->g[SERVER]) + all_drops(&b->g[CLIENT]), 0);
	bed_end(b);
}

/* ---- in: what is not the port's ---- */

/* Devices that cannot choose bring what other hosts are meant by. */
Test(pipeline_device, other_hosts)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *m = datagram(b, 100);

	rte_pktmbuf_mtod(m, uint8_t *)[5] ^= 0x40;
	bed_receive(s, m);
	bed_step(b);
	cr_assert_eq(bed_drops(s, DROP_OTHER_HOST), 1);
	cr_assert_null(punted(s, 0));
	m = datagram(b, 100);
	rte_pktmbuf_mtod(m, uint8_t *)[0] |= 1;
	bed_receive(s, m);
	bed_step(b);
	m = punted(s, 0);
	cr_assert_not_null(m);
	rte_pktmbuf_free(m);
	cr_assert_eq(all_drops(s), 1);
	bed_end(b);
}

/* A device that stands on others, as bonding does, brings buffers that bear theirs. */
Test(pipeline_device, brought_by_another)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes", .ports = 2});
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *m = bed_frame(b, RTE_ETHER_TYPE_ARP, (uint8_t[46]){0}, 46);

	m->port = 77;
	cr_assert_eq(rte_ring_sp_enqueue(s->more.rx, m), 0);
	bed_step(b);
	m = punted(s, 0);
	cr_assert_not_null(m);
	cr_assert_eq(m->port, s->more.id);
	rte_pktmbuf_free(m);
	bed_end(b);
}

/* ---- out ---- */

/* A frame from the exception path, of `n` bytes in a buffer that held something else; what left, or NULL. */
static struct rte_mbuf *inject(struct bed *b, unsigned n, uint16_t type)
{
	struct gate *s = &b->g[SERVER];
	struct rte_mbuf *m = rte_pktmbuf_alloc(b->pool), *out = NULL;

	memset(rte_pktmbuf_mtod(m, void *), 0xdd, rte_pktmbuf_tailroom(m));
	rte_pktmbuf_append(m, (uint16_t)n);
	rte_pktmbuf_mtod(m, struct rte_ether_hdr *)->ether_type = rte_cpu_to_be_16(type);
	m->port = s->port;
	s->no_carry = 1;
	cr_assert_eq(rte_ring_sp_enqueue(s->border[0]->inject, m), 0);
	bed_step(b);
	rte_ring_sc_dequeue(s->tx[0], (void **)&out);
	return out;
}

/* What is too short for Ethernet is filled up with zeros: no device is trusted to, and none to hide what was there. */
Test(pipeline_device, short_frames_are_filled_up)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});

	for (unsigned n = 14; n < 70; n++) {
		struct rte_mbuf *m = inject(b, n, RTE_ETHER_TYPE_ARP);

		cr_assert_eq(m->pkt_len, n < LEAST ? LEAST : n, "%u: %u", n, m->pkt_len);
		cr_assert_eq(m->data_len, m->pkt_len);
		for (unsigned i = n; i < LEAST; i++)
			cr_assert_eq(rte_pktmbuf_mtod(m, uint8_t *)[i], 0, "byte %u of %u", i, n);
		rte_pktmbuf_free(m);
	}
	bed_end(b);
}

static bool long_enough(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	(void)to;
	cr_assert_geq(m->pkt_len, LEAST);
	b->seen++;
	return false;
}

/* And so is every one of our own, the handshake's and the acknowledgements of fake TCP too. */
static void no_frame_is_short(bool tcp)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "null", .tcp = tcp});

	b->wire = long_enough;
	bed_transfer(b, 20000);
	cr_assert_gt(b->seen, 100);
	bed_end(b);
}

Test(pipeline_device, no_frame_is_short)
{
	no_frame_is_short(false);
}

Test(pipeline_device, no_frame_is_short_tcp)
{
	no_frame_is_short(true);
}

/* What a network of this MTU does not carry is dropped by name, and not behind the device; a tag is not counted. */
Test(pipeline_device, longer_than_the_mtu)
{
	static const struct {
		unsigned n;
		uint16_t type;
		bool goes;
	} of[] = {{1514, RTE_ETHER_TYPE_IPV4, true},
		  {1515, RTE_ETHER_TYPE_IPV4, false},
		  {1518, RTE_ETHER_TYPE_VLAN, true},
		  {1519, RTE_ETHER_TYPE_VLAN, false}};
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes"});
	unsigned dropped = 0;

	for (unsigned i = 0; i < 4; i++) {
		struct rte_mbuf *m = inject(b, of[i].n, of[i].type);

		cr_assert_eq(m != NULL, of[i].goes, "%u", of[i].n);
		rte_pktmbuf_free(m);
		dropped += !of[i].goes;
		cr_assert_eq(bed_drops(&b->g[SERVER], DROP_TX_LONG), dropped);
	}
	bed_end(b);
}

/*
 * Does what devices do that compute checksums: over everything from where the UDP header begins, as it stands.  And
 * says what DPDK's own preparation for them (rte_eth_tx_prepare) says of it, and has nothing to add.
 */
static bool as_a_device(struct bed *b, struct gate *to, struct rte_mbuf *m)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, b->pool, 0, UINT32_MAX);
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, m->l2_len);
	struct rte_udp_hdr *udp = (void *)((char *)ip + m->l3_len);
	uint32_t vlan = b->g[SERVER].tbl->dev[0].vlan ? RTE_VLAN_HLEN : 0;
	uint16_t sum;

	(void)to;
	cr_assert_eq(m->ol_flags, RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_UDP_CKSUM);
	cr_assert_eq(m->l2_len, RTE_ETHER_HDR_LEN + vlan);
	cr_assert_eq(m->l3_len, sizeof(*ip));
	cr_assert_eq(rte_validate_tx_offload(m), 0);
	cr_assert_eq(rte_net_intel_cksum_flags_prepare(copy, m->ol_flags), 0);
	cr_assert_eq(memcmp(rte_pktmbuf_mtod(m, void *), rte_pktmbuf_mtod(copy, void *), m->data_len), 0);
	rte_pktmbuf_free(copy);

	ip->hdr_checksum = rte_ipv4_cksum(ip);
	sum = (uint16_t)~rte_raw_cksum(udp, m->data_len - m->l2_len - m->l3_len);
	udp->dgram_cksum = sum ? sum : UINT16_MAX;
	cr_assert_eq(rte_be_to_cpu_16(udp->dgram_cksum),
		     ref_udp_csum((uint8_t *)ip, (uint8_t *)udp, m->data_len - m->l2_len - m->l3_len));
	m->ol_flags = 0;
	b->seen++;
	return false;
}

static void offloads(uint16_t vlan)
{
	struct bed *b = bed_new(&(struct bed_conf){.cipher = "aes", .csum = NET_CSUM_IP_HW | NET_CSUM_UDP_HW});

	for (int e = 0; e < 2; e++) {
		struct net_tbl *t = bed_copy(&b->g[e]);

		t->dev[0].vlan = vlan;
		bed_publish(&b->g[e], t);
	}
	b->wire = as_a_device;
	bed_transfer(b, 50000);
	cr_assert_gt(b->seen, 200);
	cr_assert_eq(all_drops(&b->g[SERVER]) + all_drops(&b->g[CLIENT]), 0);
	bed_end(b);
}

Test(pipeline_device, checksums_left_to_devices)
{
	offloads(0);
}

Test(pipeline_device, checksums_left_to_devices_in_a_vlan)
{
	offloads(7);
}
