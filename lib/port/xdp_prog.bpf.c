/* SPDX-License-Identifier: MIT */

/*
 * Which frames of a shared interface are ours: UDP and fake TCP to an address and a port of the tunnels', fragments of
 * them, and routers' messages that such a packet was too big.  Those go to the AF_XDP socket of the queue that they
 *came by; where there is none (any more), and all else, to the kernel.  With empty maps it passes everything, and a
 *socket leaves its map when its process dies: a program without its process cuts nobody off.
 *
 * What the parser behind the sockets (net/parse.c) would not take must not be taken here either: the kernel is its
 * only other reader.  What is malformed is the kernel's too, unless its port says that it was meant for us.
 *
 * xdp_prog.bpf.o, for machines without clang, is made anew with what the build has made of this:
 *	llvm-strip -g -o lib/port/xdp_prog.bpf.o build/lib/port/xdp_prog.elf
 */

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "xdp_prog.h"

#define ETH_HEAD      14
#define ETH_TYPE      12
#define TYPE_IPV4     0x0800
#define TYPE_IPV6     0x86dd
#define TYPE_VLAN     0x8100
#define VLAN_ID	      0x0fff
#define IP4_HEAD      20
#define IP4_MF	      0x2000
#define IP4_OFF	      0x1fff
#define IP6_HEAD      40
#define IP6_EXT	      8
#define IP6_EXT_MAX   4
#define IP6_OFF	      0xfff8
#define IP6_MF	      0x0001
#define L4_PORTS      4 /* of UDP and TCP alike: source, destination */
#define ICMP_HEAD     8
#define ICMP_UNREACH  3
#define ICMP_TOO_BIG  4 /* code of it */
#define ICMP6_TOO_BIG 2
#define PROTO_HOPOPTS 0
#define PROTO_ICMP    1
#define PROTO_TCP     6
#define PROTO_UDP     17
#define PROTO_ROUTING 43
#define PROTO_FRAG    44
#define PROTO_ICMP6   58
#define PROTO_DSTOPTS 60

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct port_xdp_conf);
} conf SEC(".maps");

/* Bits of our ports: UDP's, then fake TCP's. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * PORT_XDP_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} ports SEC(".maps");

struct addr {
	__u8 b[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PORT_XDP_LOCALS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct addr);
	__type(value, __u8);
} locals SEC(".maps");

/* Datagrams whose first fragment was ours, and until when (ns of the monotonic clock) the others may come. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PORT_XDP_FRAGS);
	__type(key, struct port_xdp_frag);
	__type(value, __u64);
} frags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1); /* as many as the interface has queues: when it is loaded */
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/* What was found in a frame. */
struct found {
	struct port_xdp_frag flow;
	const __u8 *l4;
	__u8 proto;
	__u8 follows; /* a fragment without ports */
	__u8 more;    /* a fragment, of which others follow */
	__u8 quoted;  /* proto and l4 are those of a packet that a message quotes: its source is ours */
};

static __always_inline __u16 be16(const __u8 *p)
{
	return (__u16)(p[0] << 8 | p[1]);
}

static __always_inline void copy16(__u8 *to, const __u8 *from)
{
	__builtin_memcpy(to, from, 16);
}

static __always_inline void mapped(__u8 *to, const __u8 *from)
{
	__builtin_memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	__builtin_memcpy(to + 12, from, 4);
}

/* Of a message of type 3, code 4, the packet that it quotes. */
static __always_inline int find_big4(const __u8 *ip, __u32 head, const __u8 *end, struct found *f)
{
	const __u8 *m = ip + head, *q = m + ICMP_HEAD;

	if (q + IP4_HEAD > end || m[0] != ICMP_UNREACH || m[1] != ICMP_TOO_BIG || f->follows || f->more ||
	    q[0] >> 4 != 4)
		return 0;
	head = (q[0] & 0xf) * 4u;
	if (head < IP4_HEAD || be16(q + 6) & IP4_OFF || __builtin_memcmp(q + 12, ip + 16, 4))
		return 0;
	f->quoted = 1;
	f->proto = q[9];
	f->l4 = q + head;
	return f->proto == PROTO_UDP || f->proto == PROTO_TCP;
}

static __always_inline int find4(const struct port_xdp_conf *c, __u8 *ip, const __u8 *end, struct found *f)
{
	__u32 head;
	__u16 off;

	if (ip + IP4_HEAD > end || ip[0] >> 4 != 4)
		return 0;
	head = (ip[0] & 0xf) * 4u;
	f->proto = ip[9];
	if (head < IP4_HEAD || (f->proto != PROTO_UDP && f->proto != PROTO_TCP && f->proto != PROTO_ICMP) ||
	    be16(ip + 2) > c->max_ip)
		return 0;
	off = be16(ip + 6);
	f->follows = (off & IP4_OFF) != 0;
	f->more = (off & IP4_MF) != 0;
	f->flow.id = be16(ip + 4);
	mapped(f->flow.src, ip + 12);
	mapped(f->flow.dst, ip + 16);
	if (f->proto == PROTO_ICMP)
		return find_big4(ip, head, end, f);
	f->l4 = ip + head;
	return 1;
}

/* The same of ICMPv6's type 2.  Of our own packets a fragment header at most lies before their ports. */
static __always_inline int find_big6(const __u8 *ip, const __u8 *end, struct found *f)
{
	const __u8 *m = ip + IP6_HEAD, *q = m + ICMP_HEAD;
	__u64 *a = (__u64 *)(q + 8), *b = (__u64 *)(ip + 24);

	if (q + IP6_HEAD + IP6_EXT > end || m[0] != ICMP6_TOO_BIG || q[0] >> 4 != 6 || a[0] != b[0] || a[1] != b[1])
		return 0;
	f->quoted = 1;
	f->proto = q[6];
	f->l4 = q + IP6_HEAD;
	if (f->proto == PROTO_FRAG) {
		if (be16(q + IP6_HEAD + 2) & IP6_OFF)
			return 0;
		f->proto = q[IP6_HEAD];
		f->l4 += IP6_EXT;
	}
	return f->proto == PROTO_UDP || f->proto == PROTO_TCP;
}

static __always_inline int find6(const struct port_xdp_conf *c, __u8 *ip, const __u8 *end, struct found *f)
{
	__u8 *at = ip + IP6_HEAD, next;
	int i;

	if (at > end || ip[0] >> 4 != 6 || IP6_HEAD + be16(ip + 4) > c->max_ip)
		return 0;
	next = ip[6];
	copy16(f->flow.src, ip + 8);
	copy16(f->flow.dst, ip + 24);
	if (next == PROTO_ICMP6)
		return find_big6(ip, end, f);
#pragma unroll
	for (i = 0; i < IP6_EXT_MAX; i++) {
		__u16 off;

		if (next == PROTO_UDP || next == PROTO_TCP)
			break;
		if (at + IP6_EXT > end || (next == PROTO_HOPOPTS && i > 0))
			return 0;
		if (next == PROTO_FRAG) {
			off = be16(at + 2);
			f->follows = (off & IP6_OFF) != 0;
			f->more = (off & IP6_MF) != 0;
			__builtin_memcpy(&f->flow.id, at + 4, 4);
			next = at[0];
			at += IP6_EXT;
			/* The rest of a datagram in pieces is not looked into. */
			if (f->follows || f->more)
				break;
			continue;
		}
		if (next != PROTO_DSTOPTS && next != PROTO_HOPOPTS && (next != PROTO_ROUTING || at[3] != 0))
			return 0;
		next = at[0];
		at += IP6_EXT + at[1] * 8u;
	}
	if (next != PROTO_UDP && next != PROTO_TCP)
		return 0;
	f->proto = next;
	f->l4 = at;
	return 1;
}

/* Whether a port is ours by the bits; the address is looked at for these only. */
static __always_inline int our_port(const struct found *f, const __u8 *end)
{
	__u32 port, word;
	__u64 *bits;

	if (f->l4 + L4_PORTS > end)
		return 0;
	port = be16(f->quoted ? f->l4 : f->l4 + 2);
	word = port / 64 + (f->proto == PROTO_TCP ? PORT_XDP_WORDS : 0);
	bits = bpf_map_lookup_elem(&ports, &word);
	return bits && *bits >> port % 64 & 1;
}

/* Of a datagram in pieces only the first tells its ports. */
static __always_inline int our_fragment(struct found *f, int ours)
{
	__u64 now = bpf_ktime_get_ns(), *until;

	f->flow.proto = f->proto;
	if (f->follows) {
		until = bpf_map_lookup_elem(&frags, &f->flow);
		return until && *until > now;
	}
	if (!ours) {
		bpf_map_delete_elem(&frags, &f->flow); /* the same number again, of another datagram */
		return 0;
	}
	now += PORT_XDP_FRAG_NS;
	bpf_map_update_elem(&frags, &f->flow, &now, BPF_ANY);
	return 1;
}

static __always_inline int is_ours(struct found *f, const __u8 *end)
{
	int ours = 0;

	if (!f->follows)
		ours = our_port(f, end) && bpf_map_lookup_elem(&locals, f->flow.dst);
	return f->follows || f->more ? our_fragment(f, ours) : ours;
}

SEC("xdp.frags")
int kcpgate_steer(struct xdp_md *ctx)
{
	__u8 *p = (__u8 *)(long)ctx->data, *end = (__u8 *)(long)ctx->data_end;
	const struct port_xdp_conf *c;
	struct found f = {};
	__u32 zero = 0, vlan = 0;
	__u16 type;
	int found;

	c = bpf_map_lookup_elem(&conf, &zero);
	if (!c || p + ETH_HEAD > end || p + c->max_ip + PORT_XDP_HEAD < end)
		return XDP_PASS;
	type = be16(p + ETH_TYPE);
	if (type == TYPE_VLAN) {
		if (p + PORT_XDP_HEAD > end)
			return XDP_PASS;
		vlan = be16(p + ETH_HEAD) & VLAN_ID; /* 0: a priority only */
		type = be16(p + ETH_HEAD + 2);
		p += PORT_XDP_HEAD - ETH_HEAD;
	}
	if (vlan != c->vlan)
		return XDP_PASS;
	p += ETH_HEAD;
	if (type == TYPE_IPV4)
		found = find4(c, p, end, &f);
	else if (type == TYPE_IPV6)
		found = find6(c, p, end, &f);
	else
		return XDP_PASS;
	if (!found || !is_ours(&f, end))
		return XDP_PASS;
	return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "Dual MIT/GPL";
