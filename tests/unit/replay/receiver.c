/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "fec_wire.h"
#include "kcp_wire.h"
#include "le.h"
#include "receiver.h"

#define HEAP	 (4u << 20)
#define DATAGRAM 2048

/* The stream has its request or reply to send, so that what the peer says of it is true; nobody looks at the frames. */
static void speak(struct receiver *r)
{
	struct mux_out o;

	mux_avail(&r->mux, r->st, (uint32_t)r->cap->app_n[r->way == C2S ? S2C : C2S]);
	while (mux_out(&r->mux, &o))
		;
}

void receiver_up(struct receiver *r, const struct capture *cap, enum way way, bool queued)
{
	static const uint8_t seed[32] = {7};
	uint8_t key[CRYPT_KEY_LEN];

	*r = (struct receiver){.cap = cap, .way = way, .queued = queued};
	r->region = aligned_alloc(65536, HEAP);
	r->mem = mem_init(r->region, HEAP);
	cr_assert_not_null(r->mem);
	r->idle = mem_used(r->mem);
	cr_assert_eq(crypt_kdf(cap->key, (uint32_t)strlen(cap->key), key), 0);
	cr_assert_eq(crypt_create(&r->crypt, cap->crypt, key), 0, "no cipher %s", cap->crypt);
	cr_assert_eq(crypt_mb_create(&r->mb, seed, 0, 0, 0), 0);
	cr_assert_eq(crypt_mb_attach(r->mb, r->crypt), 0);
	if (cap->ds)
		cr_assert_eq(fec_codec_get(&r->codec, cap->ds, cap->ps), 0);
	r->scratch = malloc(FEC_SCRATCH);
	r->got = malloc(sizeof(*r->got));
	r->kconf =
		(struct kcp_conf){.mtu = 1322, .snd_wnd = 1024, .rcv_wnd = 1024, .interval = 30, .resend = 2, .nc = 1};
	if (cap->qpp) {
		cr_assert_eq(qpp_pads_create(&r->pads, cap->key, (uint32_t)strlen(cap->key), cap->qpp_count), 0);
		qpp_prng_init(&r->prng, r->pads);
	}
	r->comp = comp_scratch_create();
	comp_dec_init(&r->cdec, r->mem);
	r->mconf = (struct mux_conf){.version = (uint8_t)cap->smuxver,
				     .client = way == S2C,
				     .framesize = 8192,
				     .smuxbuf = 4 << 20,
				     .streambuf = 2 << 20,
				     .max_streams = 16};
	mux_init(&r->mux, &r->mconf, r->mem);
	if (way == S2C) {
		r->st = mux_open(&r->mux, r);
		cr_assert_eq(r->st->id, 3);
		speak(r);
	}
}

void receiver_down(struct receiver *r)
{
	void *freed[8];

	if (r->dec) {
		cr_assert_eq(fec_dec_release(r->dec, freed, 8), 0);
		fec_dec_destroy(r->dec);
	}
	if (r->begun)
		kcp_fini(&r->kcp);
	comp_dec_fini(&r->cdec);
	mux_fini(&r->mux);
	cr_assert_eq(mem_used(r->mem), r->idle);
	mem_fini(r->mem);
	comp_scratch_destroy(r->comp);
	if (r->codec)
		fec_codec_put(r->codec);
	qpp_pads_destroy(r->pads);
	crypt_mb_destroy(r->mb);
	crypt_destroy(r->crypt);
	free(r->scratch);
	free(r->got);
	free(r->app);
	free(r->region);
}

static void deliver(struct receiver *r, const struct slice *d)
{
	if (r->app_n + d->n > r->app_cap) {
		r->app_cap = 2 * (r->app_n + d->n);
		r->app = realloc(r->app, r->app_cap);
		cr_assert_not_null(r->app);
	}
	if (r->pads)
		qpp_decrypt(r->pads, &r->prng, r->app + r->app_n, d->p, d->n);
	else
		memcpy(r->app + r->app_n, d->p, d->n);
	r->app_n += d->n;
}

static void frames(struct receiver *r, struct slice *in)
{
	struct mux_out o;
	struct mux_ev ev;

	do {
		if (mux_next(&r->mux, in, &ev)) {
			r->errors++;
			return;
		}
		switch (ev.type) {
		case MUX_EV_OPEN:
			r->streams++;
			r->st = ev.stream;
			speak(r);
			break;
		case MUX_EV_DATA:
			deliver(r, &ev.data);
			mux_taken(&r->mux, ev.stream, ev.data.n);
			break;
		case MUX_EV_FIN:
			r->fins++;
			mux_close(&r->mux, ev.stream, false);
			break;
		case MUX_EV_NONE:
		case MUX_EV_CREDIT:
			break;
		default:
			r->errors++;
		}
	} while (ev.type != MUX_EV_NONE);
	while (mux_out(&r->mux, &o))
		;
}

static void bytes(struct receiver *r, struct slice in)
{
	struct slice out;
	int ret;

	if (r->cap->nocomp) {
		frames(r, &in);
		return;
	}
	while ((ret = comp_dec(&r->cdec, r->comp, &in, &out)) > 0)
		frames(r, &out);
	if (ret < 0)
		r->errors++;
}

static void datagram(struct receiver *r, const uint8_t *p, uint32_t n, unsigned flags, uint64_t ms)
{
	struct kcp_got got = {.n = 0};
	struct slice v[4];
	unsigned k;

	if (!r->begun) {
		kcp_init(&r->kcp, le32_get(p), &r->kconf, r->mem, &r->cnt, ms);
		r->begun = true;
	}
	if (kcp_input(&r->kcp, p, (uint16_t)n, flags, ms, r->queued ? NULL : &got) < 0)
		r->errors++;
	for (unsigned i = 0; i < got.n; i++)
		bytes(r, got.v[i]);
	while ((k = kcp_peek(&r->kcp, v, 4))) {
		for (unsigned i = 0; i < k; i++)
			bytes(r, v[i]);
		kcp_consume(&r->kcp, k);
	}
}

static void fec(struct receiver *r, const struct pkt *k, uint64_t ms)
{
	if (!r->dec) {
		r->dec = fec_dec_create(r->codec, r->mem, &r->cnt);
		cr_assert_not_null(r->dec);
		fec_dec_trust(r->dec); /* as stock: what is lost may be in the first group */
	}
	if (fec_dec_packet(r->dec, k, r->scratch, r->got))
		r->errors++;
	for (unsigned i = 0; i < r->got->n_data; i++)
		datagram(r, r->got->data[i].p, r->got->data[i].n, KCP_IN_RECOVERED, ms);
}

/* What the session would answer at this time. */
static void answer(struct receiver *r, uint64_t ms)
{
	uint8_t buf[4][DATAGRAM];
	struct pkt out[4];
	unsigned n;

	if (!r->begun || kcp_next(&r->kcp) > ms)
		return;
	do {
		for (unsigned i = 0; i < 4; i++)
			out[i] = (struct pkt){.p = buf[i]};
		n = kcp_flush(&r->kcp, KCP_FLUSH_FULL, ms, out, 4);
	} while (n == 4);
}

static struct pkt open_copy(const struct receiver *r, const uint8_t *wire, size_t n, uint8_t buf[DATAGRAM])
{
	struct pkt k = {.p = buf, .n = (uint16_t)n, .crypt = r->crypt};

	cr_assert_leq(n, DATAGRAM);
	memcpy(buf, wire, n);
	crypt_open_burst(r->mb, &k, 1);
	return k;
}

void receiver_feed(struct receiver *r, const uint8_t *wire, size_t n, uint64_t ms)
{
	uint8_t buf[DATAGRAM];
	struct pkt k = open_copy(r, wire, n, buf);

	if (k.verdict != VERDICT_OK) {
		cr_assert_eq(k.verdict, DROP_CRYPT_BAD);
		r->bad++;
		return;
	}
	if (fec_is_fec(k.p, k.n)) {
		if (k.p[4] == FEC_TYPE_DATA)
			datagram(r, k.p + FEC_HEAD, k.n - (uint32_t)FEC_HEAD, 0, ms);
		fec(r, &k, ms);
	} else {
		datagram(r, k.p, k.n, 0, ms);
	}
	answer(r, ms);
}

bool receiver_complete(const struct receiver *r)
{
	return r->app_n == r->cap->app_n[r->way] && memcmp(r->app, r->cap->app[r->way], r->app_n) == 0;
}

struct inner receiver_look(const struct receiver *r, const struct cap_pkt *p)
{
	uint8_t buf[DATAGRAM];
	struct pkt k = open_copy(r, p->p, p->n, buf);
	struct inner in = {.ok = k.verdict == VERDICT_OK};
	unsigned at = 0;

	if (!in.ok)
		return in;
	in.fec = fec_is_fec(k.p, k.n);
	if (in.fec) {
		in.seqid = le32_get(k.p);
		in.parity = k.p[4] == FEC_TYPE_PAR;
		at = FEC_HEAD;
	}
	if (!in.parity && k.n > at + KCP_HEAD && k.p[at + KCP_OFF_CMD] == KCP_PUSH) {
		in.push = true;
		in.sn = le32_get(k.p + at + KCP_OFF_SN);
	}
	return in;
}
