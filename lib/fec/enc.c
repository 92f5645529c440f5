/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fec_codec.h"
#include "fec_gf.h"
#include "fec_wire.h"

/*
 * Adding packet by packet loads and stores the sums for every source, where a sum of all sources keeps them in
 * registers: measured for 10+3, the former takes 3/2 of the time a byte by ISA-L, and twice the time by bit matrices.
 * So a whole group in one burst goes through the latter, unless more than a third of it would be zero padding, or there
 * are more sums than the form likes.
 */
#define WHOLE_COST  2
#define UPDATE_COST 3

void fec_enc_init(struct fec_enc *e, const struct fec_codec *codec, struct mem *mem, struct snmp *cnt)
{
	*e = (struct fec_enc){.codec = codec, .mem = mem, .cnt = cnt, .paws = codec->paws, .most = codec->ps};
}

static void acc_free(struct fec_enc *e)
{
	mem_put(e->mem, e->parity, (size_t)e->rows * e->stride);
	e->parity = NULL;
	e->stride = 0;
}

void fec_enc_fini(struct fec_enc *e)
{
	acc_free(e);
}

void fec_enc_after_lone(struct fec_enc *e)
{
	e->next = (uint32_t)e->codec->ds + e->codec->ps;
}

unsigned fec_enc_left(const struct fec_enc *e)
{
	return (unsigned)e->codec->ds - e->in_group;
}

void fec_enc_idle(struct fec_enc *e)
{
	acc_free(e);
	e->rows = 0;
}

void fec_enc_parity(struct fec_enc *e, enum fec_parity send)
{
	e->send = (uint8_t)send & 127;
}

void fec_enc_send(struct fec_enc *e, unsigned n)
{
	e->most = n < e->codec->ps ? (uint8_t)n : e->codec->ps;
}

void fec_enc_mute(struct fec_enc *e)
{
	e->mute = true;
	fec_enc_idle(e);
}

/* Parity packets of the group that closes for which there are sums, and may be sent. */
static unsigned wanted(const struct fec_enc *e)
{
	return e->rows < e->most ? e->rows : e->most;
}

/* A hole of n seqids, which keeps the group border where the peer expects it; a group ends at the latest where they
 * wrap. */
static void skip(struct fec_enc *e, unsigned n)
{
	e->next += n;
	if (e->next == e->paws)
		e->next = 0;
}

/* Moves p to the seqid, where it and the type are written. */
static void seal(struct fec_enc *e, struct pkt *k, uint16_t type)
{
	k->p -= FEC_HEAD;
	le32_put(k->p + FEC_SEQID_OFF, e->next);
	le16_put(k->p + FEC_TYPE_OFF, type);
	if (++e->next == e->paws)
		e->next = 0;
}

static void seal_data(struct fec_enc *e, struct pkt *k)
{
	uint16_t body = (uint16_t)(k->n + FEC_SIZE_LEN);

	seal(e, k, FEC_TYPE_DATA);
	le16_put(k->p + FEC_BODY_OFF, body);
	k->n = (uint16_t)(k->n + FEC_HEAD);
	if (body > e->longest)
		e->longest = body;
}

void fec_lone(struct pkt *v, unsigned n)
{
	struct fec_enc none = {.paws = UINT32_MAX};

	for (unsigned i = 0; i < n; i++) {
		none.next = 0;
		seal_data(&none, &v[i]);
	}
}

static uint8_t *body_of(const struct pkt *k)
{
	return k->p + FEC_BODY_OFF;
}

static uint16_t body_len(const struct pkt *k)
{
	return (uint16_t)(k->n - FEC_BODY_OFF);
}

/* Makes the accumulators hold the group's longest body.  What they gain is zero. */
static bool acc_grow(struct fec_enc *e)
{
	unsigned stride = (e->longest + 63u) & ~63u;
	uint8_t *acc;

	if (stride <= e->stride)
		return true;
	if (stride > FEC_MAX_BODY)
		return false;
	/* Doubling keeps the copying below the adding, however the lengths creep up. */
	if (stride < 2u * e->stride)
		stride = 2u * e->stride < FEC_MAX_BODY ? 2u * e->stride : FEC_MAX_BODY;
	acc = mem_get(e->mem, (size_t)e->rows * stride);
	if (!acc)
		return false;
	for (unsigned j = 0; j < e->rows; j++) {
		if (e->stride)
			memcpy(acc + j * stride, e->parity + j * e->stride, e->stride);
		memset(acc + j * stride + e->stride, 0, stride - e->stride);
	}
	acc_free(e);
	e->parity = acc;
	e->stride = (uint16_t)stride;
	return true;
}

/*
 * Adds the bodies of v[0..n), the group's packets from `first` on, to the first `rows` sums, dst, each at least
 * FEC_MIN_RUN long.  The zeros behind a body add nothing; a short one, such as any ACK's, gets some, for the vector
 * kernels' sake.
 */
static void add_bodies(const struct fec_codec *c, unsigned rows, const struct pkt *v, unsigned n, unsigned first,
		       uint8_t **dst)
{
	uint8_t padded[FEC_MIN_RUN];

	for (unsigned i = 0; i < n; i++) {
		uint8_t *src = body_of(&v[i]);
		unsigned len = body_len(&v[i]);

		if (len < FEC_MIN_RUN) {
			memcpy(padded, src, len);
			memset(padded + len, 0, FEC_MIN_RUN - len);
			src = padded;
			len = FEC_MIN_RUN;
		}
		c->gf->add(len, c->ds, rows, first + i, c->tables, src, dst);
	}
}

static void accumulate(struct fec_enc *e, const struct pkt *v, unsigned n, unsigned first)
{
	uint8_t *dst[FEC_MAX_SHARDS];

	if (!acc_grow(e)) {
		acc_free(e);
		e->rows = 0;
		e->cnt->FECErrs++;
		return;
	}
	for (unsigned j = 0; j < e->rows; j++)
		dst[j] = e->parity + j * e->stride;
	add_bodies(e->codec, e->rows, v, n, first, dst);
}

/* The group v[0..ds) at once.  Bodies are padded where they lie: there is room behind them. */
static void encode_whole(const struct fec_enc *e, const struct pkt *v, uint8_t **dst)
{
	const struct fec_codec *c = e->codec;
	uint8_t *src[FEC_MAX_SHARDS];

	for (unsigned i = 0; i < c->ds; i++) {
		src[i] = body_of(&v[i]);
		memset(src[i] + body_len(&v[i]), 0, (size_t)e->longest - body_len(&v[i]));
	}
	c->gf->sum(e->longest, c->ds, wanted(e), c->tables, src, dst);
}

/* The rest of a group begun in an earlier burst, or one of mostly short bodies, summed up in the parity packets. */
static void encode_rest(const struct fec_enc *e, const struct pkt *v, unsigned n, unsigned first, uint8_t **dst)
{
	unsigned have = e->stride < e->longest ? e->stride : e->longest, rows = wanted(e);

	for (unsigned j = 0; j < rows; j++) {
		if (have)
			memcpy(dst[j], e->parity + j * e->stride, have);
		memset(dst[j] + have, 0, e->longest - have);
	}
	add_bodies(e->codec, rows, v, n, first, dst);
}

/* The same for a group of nothing but short bodies: the packets may not have room for a vector. */
static void encode_short(const struct fec_enc *e, const struct pkt *v, unsigned n, unsigned first, uint8_t **dst)
{
	uint8_t sum[FEC_MAX_SHARDS][FEC_MIN_RUN], *at[FEC_MAX_SHARDS];
	unsigned rows = wanted(e);

	for (unsigned j = 0; j < rows; j++) {
		at[j] = sum[j];
		if (e->stride)
			memcpy(sum[j], e->parity + j * e->stride, FEC_MIN_RUN);
		else
			memset(sum[j], 0, FEC_MIN_RUN);
	}
	add_bodies(e->codec, rows, v, n, first, at);
	for (unsigned j = 0; j < rows; j++)
		memcpy(dst[j], sum[j], e->longest);
}

static bool whole_is_cheaper(const struct fec_enc *e, const struct pkt *v, unsigned n)
{
	unsigned sum = 0;

	if (n != e->codec->ds || e->rows > e->codec->gf->sum_rows)
		return false;
	for (unsigned i = 0; i < n; i++)
		sum += body_len(&v[i]);
	return WHOLE_COST * n * e->longest <= UPDATE_COST * sum;
}

/* Whether the parity packet j of the group that closes, one of those whose sums are wanted, is left out. */
static bool left_out(const struct fec_enc *e, unsigned j)
{
	return e->send == FEC_PARITY_EVEN && ((e->next + j) & 1);
}

/* Which of the lent packets behind the group each of the wanted sums goes to: those that are sent come first, for the
 * packets themselves are their lender's and stay where they are.  Returns how many are sent. */
static unsigned parity_places(const struct fec_enc *e, uint8_t *at)
{
	unsigned rows = wanted(e), sent = 0, out;

	for (unsigned j = 0; j < rows; j++)
		sent += !left_out(e, j);
	out = sent;
	sent = 0;
	for (unsigned j = 0; j < rows; j++)
		at[j] = (uint8_t)(left_out(e, j) ? out++ : sent++);
	return sent;
}

/* Seals those of the filled v[0..ps) that are to be sent. */
static void seal_parity(struct fec_enc *e, struct pkt *v, const uint8_t *at, unsigned sent)
{
	unsigned rows = wanted(e);

	for (unsigned j = 0; j < rows; j++) {
		struct pkt *k = &v[at[j]];

		if (at[j] >= sent) {
			skip(e, 1);
			continue;
		}
		seal(e, k, FEC_TYPE_PAR);
		k->n = (uint16_t)(FEC_PARITY_OFF + e->longest);
		k->flags |= PKT_F_PARITY;
	}
	skip(e, e->codec->ps - rows);
}

/* v[0..n) close the group: fills v[n..n+ps) as far as sums are wanted and seals those that are sent.  Returns how many.
 */
static unsigned emit_parity(struct fec_enc *e, struct pkt *v, unsigned n, unsigned first)
{
	uint8_t *dst[FEC_MAX_SHARDS], at[FEC_MAX_SHARDS];
	unsigned rows = wanted(e), sent = parity_places(e, at);

	for (unsigned j = 0; j < rows; j++)
		dst[j] = v[n + at[j]].p - FEC_SIZE_LEN; /* a data packet's body begins there too */
	if (e->longest < FEC_MIN_RUN)
		encode_short(e, v, n, first, dst);
	else if (whole_is_cheaper(e, v, n))
		encode_whole(e, v, dst);
	else
		encode_rest(e, v, n, first, dst);
	seal_parity(e, v + n, at, sent);
	return sent;
}

unsigned fec_enc_burst(struct fec_enc *e, struct pkt *v, unsigned n, uint64_t now_ms)
{
	unsigned first = e->in_group, ps = e->codec->ps, made = 0;
	bool timely = n > 1 || (e->last_ms && (int64_t)(now_ms - e->last_ms) < FEC_PARITY_GAP_MS);

	if (!n)
		return 0;
	if (!first)
		e->rows = e->mute ? 0 : e->most;
	for (unsigned i = 0; i < n; i++)
		seal_data(e, &v[i]);
	e->last_ms = now_ms;
	if (first + n < e->codec->ds) {
		e->in_group = (uint8_t)(first + n);
		if (e->rows)
			accumulate(e, v, n, first);
		return 0;
	}
	if (timely && wanted(e) && e->send != FEC_PARITY_NONE)
		made = emit_parity(e, v, n, first);
	else
		skip(e, ps);
	acc_free(e);
	e->in_group = 0;
	e->longest = 0;
	e->mute = false;
	return made;
}
