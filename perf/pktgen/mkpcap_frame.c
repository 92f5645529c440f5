/* SPDX-License-Identifier: MIT */

/* Seals datagrams in bursts, as the gateway does, dresses them in headers and writes them: pcap's classic format. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "le.h"
#include "mkpcap.h"
#include "net.h"
#include "net_wire.h"

#define PCAP_MAGIC    0xa1b2c3d4u /* microseconds */
#define PCAP_ETHERNET 1
#define FRAME_MIN     60 /* a NIC would fill shorter ones up, and undo the cut */

_Static_assert(MK_HEADROOM >= NET_MAX_HEAD + CRYPT_MAX_HEAD + 8, "headers fit the headroom");

struct meta {
	uint32_t flow;
	uint16_t cut_n;
	uint8_t kind, cut;
	bool raw;
};

struct mk_writer {
	const struct mk_opts *o;
	struct mk_sum *sum;
	const struct crypt *crypt;
	struct crypt_mb *mb;
	FILE *f;
	int err;
	unsigned n; /* in the vector */
	struct pkt v[MK_BATCH];
	struct meta meta[MK_BATCH];
	uint8_t buf[MK_BATCH][MK_BUF];
};

unsigned mk_head(const struct mk_opts *o)
{
	return addr_is_v4(&o->dst) ? NET_HEAD_V4 : NET_HEAD_V6;
}

static void put(struct mk_writer *w, const void *p, size_t n)
{
	if (!w->err && fwrite(p, 1, n, w->f) != n)
		w->err = errno ? -errno : -EIO;
}

static void put_file_head(struct mk_writer *w)
{
	uint8_t h[24] = {0};

	le32_put(h, PCAP_MAGIC);
	le16_put(h + 4, 2);
	le16_put(h + 6, 4);
	le32_put(h + 16, 65535);
	le32_put(h + 20, PCAP_ETHERNET);
	put(w, h, sizeof(h));
}

static void put_frame(struct mk_writer *w, const struct pkt *k)
{
	uint64_t us = w->sum->packets * 1000000u / w->o->pps;
	uint8_t h[16];

	le32_put(h, (uint32_t)(us / 1000000));
	le32_put(h + 4, (uint32_t)(us % 1000000));
	le32_put(h + 8, k->n);
	le32_put(h + 12, k->n);
	put(w, h, sizeof(h));
	put(w, k->p, k->n);
	w->sum->packets++;
	w->sum->bytes += k->n;
}

/* Flows go over the ports from the first on, then over the next address. */
static void flow_of(const struct mk_opts *o, unsigned flow, struct flow_key *key)
{
	unsigned span = 65536 - o->sport;
	uint8_t *last = key->local.b + 12;

	memset(key, 0, sizeof(*key));
	key->local = o->src;
	be32_put(last, be32_get(last) + flow / span);
	key->local_port = (uint16_t)(o->sport + flow % span);
	key->peer = o->dst;
	key->peer_port = (uint16_t)o->dport;
}

static void dress(const struct mk_writer *w, struct pkt *k, unsigned flow)
{
	struct flow_key key;
	struct net_ends ends = {.key = &key};
	struct net_path path;

	flow_of(w->o, flow, &key);
	memcpy(ends.src_mac, w->o->smac, sizeof(ends.src_mac));
	memcpy(ends.dst_mac, w->o->dmac, sizeof(ends.dst_mac));
	net_path_init(&path, &ends);
	net_push(&path, k);
}

/* The IP header tells of a frame of k->n bytes; UDP's goes on telling of the whole. */
static void shorten_ip(struct pkt *k)
{
	uint8_t *ip = k->p + ETH_HEAD;

	if (ip[0] >> 4 == 6) {
		be16_put(ip + IP6_LEN, (uint16_t)(k->n - ETH_HEAD - IP6_HEAD));
		return;
	}
	be16_put(ip + IP4_LEN, (uint16_t)(k->n - ETH_HEAD));
	le16_put(ip + IP4_CSUM, 0);
	le16_put(ip + IP4_CSUM, net_sum_fold(net_sum(ip, IP4_HEAD, 0)));
}

static void finish(struct mk_writer *w, struct pkt *k, const struct meta *m)
{
	if (m->cut == MK_CUT_DATAGRAM)
		k->n = m->cut_n;
	dress(w, k, m->flow);
	if (m->cut == MK_CUT_FRAME || m->cut == MK_CUT_UDP)
		k->n = (uint16_t)(mk_head(w->o) + m->cut_n < FRAME_MIN ? FRAME_MIN : mk_head(w->o) + m->cut_n);
	if (m->cut == MK_CUT_UDP)
		shorten_ip(k);
	put_frame(w, k);
	w->sum->kinds[m->kind]++;
}

/* Seals what is to be sealed, in runs, and writes the vector out. */
static void flush(struct mk_writer *w)
{
	for (unsigned i = 0, n; i < w->n; i += n + 1)
		for (n = 0; i + n <= w->n; n++)
			if (i + n == w->n || w->meta[i + n].raw) {
				crypt_seal_burst(w->mb, w->v + i, n);
				break;
			}
	for (unsigned i = 0; i < w->n; i++)
		finish(w, &w->v[i], &w->meta[i]);
	w->n = 0;
}

struct pkt *mk_lend(struct mk_writer *w, unsigned n)
{
	if (w->n + n > MK_BATCH)
		flush(w);
	for (unsigned i = w->n; i < w->n + n; i++)
		w->v[i] = (struct pkt){.p = w->buf[i] + MK_HEADROOM, .crypt = w->crypt};
	return w->err ? NULL : w->v + w->n;
}

void mk_commit(struct mk_writer *w, enum mk_kind kind, unsigned flow, bool raw, enum mk_cut cut, unsigned cut_n)
{
	w->meta[w->n++] = (struct meta){
		.flow = flow, .kind = (uint8_t)kind, .raw = raw, .cut = (uint8_t)cut, .cut_n = (uint16_t)cut_n};
}

int mk_writer_open(struct mk_writer **out, const struct mk_opts *o, const struct crypt *crypt, struct mk_sum *sum)
{
	struct mk_writer *w = calloc(1, sizeof(*w));
	uint64_t rng = o->seed ^ 0x6e6f6e63; /* nonces of their own */
	uint64_t seed[4];
	int err;

	if (!w)
		return -ENOMEM;
	*w = (struct mk_writer){.o = o, .crypt = crypt, .sum = sum};
	for (unsigned i = 0; i < 4; i++)
		seed[i] = mk_random(&rng);
	err = crypt_mb_create(&w->mb, (const uint8_t *)seed, 0, 0, 0);
	if (err)
		goto no_mb;
	err = crypt_mb_attach(w->mb, crypt);
	if (err)
		goto no_file;
	w->f = fopen(o->pcap, "wb");
	if (!w->f) {
		err = -errno;
		goto no_file;
	}
	put_file_head(w);
	*out = w;
	return 0;
no_file:
	crypt_mb_destroy(w->mb);
no_mb:
	free(w);
	return err;
}

int mk_writer_close(struct mk_writer *w)
{
	int err;

	flush(w);
	if (fclose(w->f) && !w->err)
		w->err = -errno;
	err = w->err;
	crypt_mb_destroy(w->mb);
	free(w);
	return err;
}
