/* SPDX-License-Identifier: MIT */

/* Frames that are the kernel's: checksums that were left to a device, and what they are to it. */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

static const uint8_t us[6] = {2, 0, 0, 0, 0, 1}, them[6] = {2, 0, 0, 0, 0, 9};
/* Destination options of 8 bytes; what follows them is put in. */
static uint8_t dstopts[8] = {17, 0, 1, 4, 0, 0, 0, 0};
static const uint8_t options[4] = {1, 1, 1, 0};

struct made {
	uint8_t p[FRAME_MAX];
	unsigned n, ip, l4, l4_n, field; /* field: offset of the checksum */
	bool v6, tcp;
};

/* A frame of each shape: VLAN tags before, options or extension headers behind the IP header. */
static void make(struct made *m, bool v6, bool tcp, bool more, unsigned tags, unsigned payload)
{
	struct frame f = {.src = v6 ? "2001:db8::9" : "192.0.2.9",
			  .dst = v6 ? "2001:db8::1" : "192.0.2.1",
			  .sport = 179,
			  .dport = 40000,
			  .payload_n = payload};
	unsigned ext = more ? (v6 ? 8 : 4) : 0;

	memset(m, 0, sizeof(*m));
	memcpy(f.dst_mac, us, 6);
	memcpy(f.src_mac, them, 6);
	f.options = options;
	f.options_n = v6 ? 0 : ext;
	dstopts[0] = tcp ? 6 : 17;
	f.ext = dstopts;
	f.ext_n = v6 ? ext : 0;
	f.next = 60;
	m->n = frame_make(m->p, &f);
	m->v6 = v6;
	m->tcp = tcp;
	if (tcp && !(v6 && more))
		m->p[14 + (v6 ? 6 : 9)] = 6;
	if (!v6)
		frame_fix_ip4(m->p);
	for (unsigned i = 0; i < tags; i++) {
		memmove(m->p + 16, m->p + 12, m->n - 12);
		memcpy(m->p + 12, i ? "\x88\xa8\x00\x07" : "\x81\x00\x00\x05", 4);
		m->n += 4;
	}
	m->ip = 14 + tags * 4;
	m->l4 = m->ip + (v6 ? 40 : 20) + ext;
	m->l4_n = m->n - m->l4;
	m->field = m->l4 + (tcp ? 16 : 6);
}

static void put(struct made *m, uint16_t v)
{
	m->p[m->field] = (uint8_t)(v >> 8);
	m->p[m->field + 1] = (uint8_t)v;
}

static uint16_t field(const struct made *m)
{
	return (uint16_t)(m->p[m->field] << 8 | m->p[m->field + 1]);
}

/* Of the pseudo header, and of the segment behind it with its field as it stands. */
static uint16_t ref(const struct made *m, bool segment)
{
	uint8_t b[FRAME_MAX + 64];
	unsigned n = m->v6 ? 32 : 8;

	memcpy(b, m->p + m->ip + (m->v6 ? 8 : 12), n);
	b[n++] = 0;
	b[n++] = m->tcp ? 6 : 17;
	b[n++] = (uint8_t)(m->l4_n >> 8);
	b[n++] = (uint8_t)m->l4_n;
	if (segment) {
		memcpy(b + n, m->p + m->l4, m->l4_n);
		n += m->l4_n;
	}
	return ref_csum(b, n);
}

static void partial(struct made *m)
{
	put(m, (uint16_t)~ref(m, false));
}

#define EACH_SHAPE                           \
	for (unsigned i_ = 0; i_ < 24; i_++) \
		for (unsigned n = 12; n < 1400; n += 97)

#define MAKE(m) make(m, i_ & 1, i_ & 2, i_ & 4, i_ >> 3, n)

/* What a neighbour has left undone is done, and is right. */
Test(peek, completed)
{
	struct made m;

	EACH_SHAPE
	{
		MAKE(&m);
		partial(&m);
		cr_assert(net_finish_csum(m.p, m.n, false), "shape %u, %u bytes", i_, n);
		cr_assert_eq(ref(&m, true), 0, "shape %u, %u bytes: %04x", i_, n, field(&m));
	}
}

/* With the driver's word for it, whatever stands in the field. */
Test(peek, completed_by_the_drivers_word)
{
	struct made m;

	EACH_SHAPE
	{
		MAKE(&m);
		put(&m, 0x1234);
		cr_assert(net_finish_csum(m.p, m.n, true));
		cr_assert_eq(ref(&m, true), 0);
	}
}

/* A segment's parts, of as much of its frame as holds its headers; and nothing is read behind that. */
Test(peek, parts_of_a_segment)
{
	struct made m;

	EACH_SHAPE
	{
		MAKE(&m);
		m.p[m.l4 + 12] = 0x50; /* the fields of a datagram's payload are a segment's */
		for (unsigned whole = m.n - 1; whole <= m.n; whole++)
			for (unsigned have = 0; have <= whole; have += have < m.l4 + 24 ? 1 : 211) {
				uint8_t *part = malloc(have ? have : 1);
				struct net_tcp_at at = {.data_n = 77};
				bool is = m.tcp && whole == m.n && have >= m.l4 + 20;

				memcpy(part, m.p, have);
				cr_assert_eq(net_find_tcp(part, have, whole, &at), is, "shape %u, %u of %u", i_, have,
					     whole);
				free(part);
				if (!is) {
					cr_assert_eq(at.data_n, 77);
					continue;
				}
				cr_assert(at.ip == m.ip && at.tcp == m.l4 && at.data == m.l4 + 20 && at.v6 == m.v6);
				cr_assert_eq(at.data_n, m.l4_n - 20);
			}
	}
}

/* What is whole stays, and what is wrong stays wrong: that is the kernel's to find. */
Test(peek, others_stay)
{
	struct made m, was;

	EACH_SHAPE
	{
		MAKE(&m);
		put(&m, 0);
		put(&m, ref(&m, true));
		for (unsigned wrong = 0; wrong < 2; wrong++) {
			put(&m, (uint16_t)(field(&m) + wrong));
			was = m;
			cr_assert(!net_finish_csum(m.p, m.n, false));
			cr_assert_eq(memcmp(&m, &was, sizeof(m)), 0);
		}
	}
}

/* A whole checksum that happens to be the pseudo header's sum comes out as it went in. */
Test(peek, whole_by_chance)
{
	struct made m;
	uint16_t sum;

	make(&m, false, true, false, 0, 100);
	partial(&m);
	sum = field(&m);
	/* The segment's last word makes the rest of it add up to what is wanted. */
	m.p[m.n - 2] = m.p[m.n - 1] = 0;
	sum = ref(&m, true);
	m.p[m.n - 2] = (uint8_t)(sum >> 8);
	m.p[m.n - 1] = (uint8_t)sum;
	cr_assert_eq(ref(&m, true), 0);
	sum = field(&m);
	cr_assert(net_finish_csum(m.p, m.n, false));
	cr_assert_eq(field(&m), sum);
}

/* UDP without a checksum stays without; a computed 0 is written as ffff. */
Test(peek, udp_zero)
{
	struct made m;

	make(&m, false, false, false, 0, 100);
	put(&m, 0);
	cr_assert(!net_finish_csum(m.p, m.n, false));
	m.p[m.n - 2] = m.p[m.n - 1] = 0;
	put(&m, 0);
	uint16_t sum = ref(&m, true);

	m.p[m.n - 2] = (uint8_t)(sum >> 8);
	m.p[m.n - 1] = (uint8_t)sum;
	partial(&m);
	cr_assert(net_finish_csum(m.p, m.n, false));
	cr_assert_eq(field(&m), 0xffff);
}

/* Padding is not part of the segment. */
Test(peek, padded)
{
	struct made m;

	make(&m, false, true, false, 0, 13);
	partial(&m);
	memset(m.p + m.n, 0xee, 20);
	cr_assert(net_finish_csum(m.p, m.n + 20, false));
	cr_assert_eq(ref(&m, true), 0);
}

/* Nothing of a frame that is cut short, a fragment, or malformed is touched or read beyond its end. */
Test(peek, cut_and_malformed)
{
	struct made m, was;

	EACH_SHAPE
	{
		if (n > 120)
			continue;
		MAKE(&m);
		partial(&m);
		for (unsigned cut = 0; cut < m.n; cut++) {
			uint8_t *heap = malloc(cut ? cut : 1); /* AddressSanitizer sees its end */

			memcpy(heap, m.p, cut);
			cr_assert(!net_finish_csum(heap, cut, true), "shape %u cut to %u", i_, cut);
			cr_assert_eq(memcmp(heap, m.p, cut), 0);
			free(heap);
		}
	}
	make(&m, false, true, false, 0, 100);
	partial(&m);
	for (unsigned i = 0; i < 4; i++) {
		was = m;
		switch (i) {
		case 0:
			was.p[14 + 6] |= 0x20; /* more fragments */
			break;
		case 1:
			was.p[14 + 7] = 1; /* a later one */
			break;
		case 2:
			was.p[14] = 0x44; /* a header of 16 bytes */
			break;
		default:
			was.p[14] = 0x65; /* not IPv4 */
		}
		cr_assert(!net_finish_csum(was.p, was.n, true), "%u", i);
	}
	make(&m, true, true, false, 0, 100);
	m.p[14 + 6] = 44; /* a fragment, or a routing header: the kernel's own business */
	cr_assert(!net_finish_csum(m.p, m.n, true));
	m.p[14 + 6] = 43;
	cr_assert(!net_finish_csum(m.p, m.n, true));
	m.p[14 + 6] = 58;
	cr_assert(!net_finish_csum(m.p, m.n, true));
}

/* ---- what a frame is to the kernel ---- */

enum to { US, ALL, GROUP };

struct what {
	enum net_kind kind;
	enum to to;
	uint16_t type;
	uint8_t proto, hops;
	const char *l4; /* 20 bytes of it count */
	const char *name;
};

#define TCP_WITH(flags) "\x30\x39\0\x16\0\0\0\0\0\0\0\0\x50" flags "\0\0\0\0\0\0"
#define TCP_BGP(flags)	"\x30\x39\0\xb3\0\0\0\0\0\0\0\0\x50" flags "\0\0\0\0\0\0"
#define BGP_TCP(flags)	"\0\xb3\x30\x39\0\0\0\0\0\0\0\0\x50" flags "\0\0\0\0\0\0"
#define UDP_TO(port)	"\x30\x39" port "\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define ICMP_OF(type)	type "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define NONE		"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

static const struct what whats[] = {
	{NET_KIND_LINK, ALL, 0x0806, 0, 0, NONE, "ARP asks"},
	{NET_KIND_LINK, US, 0x0806, 0, 0, NONE, "ARP answers"},
	{NET_KIND_LINK, GROUP, 0x86dd, 58, 255, ICMP_OF("\x87"), "neighbour solicitation"},
	{NET_KIND_LINK, US, 0x86dd, 58, 255, ICMP_OF("\x88"), "neighbour advertisement"},
	{NET_KIND_LINK, GROUP, 0x86dd, 58, 255, ICMP_OF("\x86"), "router advertisement"},
	{NET_KIND_OTHER, US, 0x86dd, 58, 64, ICMP_OF("\x88"), "an advertisement from far away"},
	{NET_KIND_ICMP, US, 0x86dd, 58, 64, ICMP_OF("\x80"), "ping of IPv6"},
	{NET_KIND_ICMP, US, 0x86dd, 58, 64, ICMP_OF("\x02"), "packet too big"},
	{NET_KIND_ICMP, US, 0x0800, 1, 64, ICMP_OF("\x08"), "ping"},
	{NET_KIND_ICMP, US, 0x0800, 1, 64, ICMP_OF("\x03"), "unreachable"},
	{NET_KIND_ICMP, GROUP, 0x0800, 2, 1, NONE, "IGMP"},
	{NET_KIND_OTHER, US, 0x0800, 58, 255, ICMP_OF("\x87"), "IPv6's ICMP in IPv4"},
	{NET_KIND_OTHER, US, 0x86dd, 1, 64, ICMP_OF("\x08"), "IPv4's ICMP in IPv6"},
	{NET_KIND_ROUTING, GROUP, 0x0800, 89, 1, NONE, "OSPF"},
	{NET_KIND_ROUTING, US, 0x86dd, 89, 1, NONE, "OSPFv3"},
	{NET_KIND_ROUTING, GROUP, 0x0800, 112, 255, NONE, "VRRP"},
	{NET_KIND_ROUTING, GROUP, 0x0800, 103, 1, NONE, "PIM"},
	{NET_KIND_ROUTING, US, 0x0800, 17, 255, UDP_TO("\x0e\xc8"), "BFD"},
	{NET_KIND_OTHER, US, 0x0800, 17, 254, UDP_TO("\x0e\xc8"), "BFD from behind a router"},
	{NET_KIND_ICMP, US, 0x86dd, 17, 250, UDP_TO("\x12\xb0"), "BFD over several hops"},
	{NET_KIND_ICMP, ALL, 0x0800, 17, 64, UDP_TO("\0\x44"), "DHCP"},
	{NET_KIND_ICMP, US, 0x86dd, 17, 64, UDP_TO("\x02\x22"), "DHCPv6"},
	{NET_KIND_OTHER, US, 0x0800, 17, 64, UDP_TO("\0\x35"), "UDP"},
	{NET_KIND_TCP, US, 0x0800, 6, 64, TCP_WITH("\x10"), "ACK"},
	{NET_KIND_TCP, US, 0x86dd, 6, 64, TCP_WITH("\x18"), "PSH and ACK"},
	{NET_KIND_TCP, US, 0x0800, 6, 64, TCP_WITH("\x11"), "FIN and ACK"},
	{NET_KIND_ROUTING, US, 0x0800, 6, 255, TCP_BGP("\x10"), "BGP of a neighbour"},
	{NET_KIND_ROUTING, US, 0x86dd, 6, 255, BGP_TCP("\x18"), "its answer"},
	{NET_KIND_TCP, US, 0x0800, 6, 254, TCP_BGP("\x10"), "BGP from behind a router"},
	{NET_KIND_SYN, US, 0x0800, 6, 255, TCP_BGP("\x02"), "BGP that begins"},
	{NET_KIND_TCP, US, 0x0800, 6, 255, TCP_WITH("\x10"), "SSH of a neighbour"},
	{NET_KIND_SYN, US, 0x0800, 6, 64, TCP_WITH("\x02"), "SYN"},
	{NET_KIND_SYN, US, 0x86dd, 6, 64, TCP_WITH("\x12"), "SYN and ACK"},
	{NET_KIND_SYN, US, 0x0800, 6, 64, TCP_WITH("\x04"), "RST alone"},
	{NET_KIND_OTHER, ALL, 0x0800, 6, 64, TCP_WITH("\x10"), "TCP to all"},
	{NET_KIND_OTHER, US, 0x0800, 132, 64, NONE, "SCTP"},
	{NET_KIND_OTHER, US, 0x86dd, 44, 64, NONE, "a fragment of IPv6"},
	{NET_KIND_OTHER, US, 0x8847, 0, 0, NONE, "MPLS"},
	{NET_KIND_ROUTING, GROUP, 0x0100, 0, 0, NONE, "IS-IS"},
	{NET_KIND_OTHER, US, 0x0100, 0, 0, NONE, "LLC to us alone"},
};

static unsigned what_frame(uint8_t *p, const struct what *w, unsigned tags)
{
	static const uint8_t to[][6] = {{2, 0, 0, 0, 0, 1}, {255, 255, 255, 255, 255, 255}, {1, 0, 0x5e, 0, 0, 5}};
	unsigned ip = 14 + 4 * tags, head = w->type == 0x0800 ? 20 : w->type == 0x86dd ? 40 : 0;

	memset(p, 0, 100);
	memcpy(p, to[w->to], 6);
	memcpy(p + 6, them, 6);
	for (unsigned i = 0; i < tags; i++)
		memcpy(p + 12 + 4 * i, i + 1 < tags ? "\x88\xa8\0\x09" : "\x81\0\0\x05", 4);
	p[ip - 2] = (uint8_t)(w->type >> 8);
	p[ip - 1] = (uint8_t)w->type;
	if (head == 20) {
		memcpy(p + ip, "\x45\0\0\x28", 4);
		p[ip + 8] = w->hops;
		p[ip + 9] = w->proto;
	} else if (head) {
		memcpy(p + ip, "\x60\0\0\0\0\x14", 6);
		p[ip + 6] = w->proto;
		p[ip + 7] = w->hops;
	}
	memcpy(p + ip + head, w->l4, 20);
	return ip + head + 20;
}

Test(peek, kinds)
{
	uint8_t p[100];

	for (unsigned i = 0; i < sizeof(whats) / sizeof(whats[0]); i++) {
		for (unsigned tags = 0; tags < 3; tags++) {
			unsigned n = what_frame(p, &whats[i], tags);

			cr_expect_eq(net_kind(p, n), whats[i].kind, "%s, %u tags: %u", whats[i].name, tags,
				     net_kind(p, n));
		}
	}
}

/* The link's own groups, whatever the type says. */
Test(peek, link_groups)
{
	uint8_t p[60] = {0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 9, 0x88, 0xcc};

	cr_assert_eq(net_kind(p, sizeof(p)), NET_KIND_LINK);
	memcpy(p + 12, "\0\x26", 2); /* spanning tree has a length there */
	p[5] = 0;
	cr_assert_eq(net_kind(p, sizeof(p)), NET_KIND_LINK);
	p[4] = 1; /* not one of those */
	cr_assert_eq(net_kind(p, sizeof(p)), NET_KIND_ROUTING);
}

/* A fragment, and whatever is cut short, has no claim; nothing is read beyond its end. */
Test(peek, kinds_of_what_is_cut)
{
	uint8_t p[100];

	for (unsigned i = 0; i < sizeof(whats) / sizeof(whats[0]); i++) {
		unsigned n = what_frame(p, &whats[i], 1);

		for (unsigned cut = 0; cut < n; cut++) {
			uint8_t *heap = malloc(cut ? cut : 1);
			enum net_kind kind;

			memcpy(heap, p, cut);
			kind = net_kind(heap, cut);
			if (whats[i].type == 0x0800 || whats[i].type == 0x86dd || cut < 14)
				cr_expect_eq(kind, NET_KIND_OTHER, "%s cut to %u", whats[i].name, cut);
			free(heap);
		}
		if (whats[i].type != 0x0800)
			continue;
		p[18 + 6] = 0x20;
		cr_expect_eq(net_kind(p, n), NET_KIND_OTHER, "a fragment of %s", whats[i].name);
	}
}
