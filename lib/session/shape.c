/* SPDX-License-Identifier: MIT */
#include "sess.h"

/*
 * FEC on one side only, or of two shapes.  A stock decoder that was not told our shape begins as (1,1), or as what it
 * is set to, and looks for it in what it gets (wire.md 3.6, 3.7).  Until it has it, releases of 2020 to 2023 take
 * parity for what it is not, and since the code's rows sum to 1, what they rebuild looks right: conversation, command,
 * length are, only the segment's number and its bytes are not (wire.md 3.8).  In a group of full segments nothing gives
 * it away, and what was acknowledged arrives as other bytes; as (1,1) without any packet having been lost.
 *
 * So a peer that sends no FEC is sent none, not even the header, which releases of 2016 do not read where it is not
 * configured.
 *
 * A client keeps its shape.  It speaks first: until the answer is there it sends of its parity only what a (1,1)
 * decoder does nothing with, the packets with even seqids; and none once it has found the server's shape to be another.
 *
 * A server sends what its client does, for a stock client has one shape for both ways.  Before that is proved its
 * datagrams are in no group (fec_lone).  Its groups begin then, and never change: all that it ever sends fits the
 * client's places, so that no decoder, of whatever year, has anything to look for; those since 2023-10 rebuild nothing
 * for long, or ever, once they had to.  Should the client's shape seem to be another later, there is no parity.
 *
 * Of other shapes than ours those are left without parity of which a packet would cost more than one of parity, or
 * whose parity a vector might not hold; and those beyond FEC_SHAPES of a tunnel, whose codecs control makes.
 */

/*
 * Groups that must fit beyond the decoder's own proof.  Shapes of the same ds and nearly the same ps have the same
 * parity, and are told by their places alone: to take the one for the other, all packets must have been lost that do
 * not fit, of which there are about nine in three groups.
 */
#define SURE_GROUPS 1

static uint32_t shape_word(const struct fec_codec *c)
{
	return c ? NOTE_FEC_SHAPE(fec_codec_ds(c), fec_codec_ps(c)) : 0;
}

static void shape_tell(struct sess *ss, uint32_t theirs)
{
	if (!ss->fec_told)
		sess_note(ss, NOTE_FEC, theirs, shape_word(ss->tun->fec));
	ss->fec_told = true;
}

static void peer_is(struct sess *ss, enum peer_fec peer)
{
	bool all = peer == PEER_SAME || (peer == PEER_FEC && ss->tun->client);

	ss->peer_fec = (uint8_t)peer & 15;
	if (ss->enc.codec)
		fec_enc_parity(&ss->enc, all ? FEC_PARITY_ALL : FEC_PARITY_NONE);
	pace_burden(ss, ss->parity.send);
}

void shape_heard(struct sess *ss, bool fec)
{
	peer_is(ss, fec ? PEER_FEC : PEER_BARE);
	if (!fec && ss->tun->fec)
		shape_tell(ss, 0);
}

static uint32_t their_shape(const struct sess *ss)
{
	unsigned ds, ps;

	fec_dec_params(ss->dec, &ds, &ps);
	return NOTE_FEC_SHAPE(ds, ps);
}

void shape_tuned(struct sess *ss)
{
	uint32_t theirs = their_shape(ss);

	if (!ss->tun->client && ss->tun->fec) {
		ss->fec_fits = 0;
		peer_is(ss, PEER_FEC);
	} else if (theirs == shape_word(ss->tun->fec)) {
		peer_is(ss, PEER_FEC);
	} else {
		peer_is(ss, PEER_OTHER);
		shape_tell(ss, theirs);
	}
}

static bool sure(struct sess *ss)
{
	unsigned ds, ps;

	if (!fec_dec_proved(ss->dec)) {
		ss->fec_fits = 0;
		return false;
	}
	fec_dec_params(ss->dec, &ds, &ps);
	if (ss->fec_fits < SURE_GROUPS * (ds + ps))
		ss->fec_fits++;
	return ss->fec_fits == SURE_GROUPS * (ds + ps);
}

/* The codec to send this client, where there is one, or may be one soon: *asks. */
static const struct fec_codec *codec_for(const struct sess *ss, bool *asks)
{
	const struct fec_codec *own = ss->enc.codec ? ss->enc.codec : ss->tun->fec;
	unsigned ds, ps;

	fec_dec_params(ss->dec, &ds, &ps);
	*asks = false;
	if (fec_codec_ds(own) == ds && fec_codec_ps(own) == ps)
		return own;
	if (ss->enc.codec || ps > ds || ps >= ss->shard->out_min)
		return NULL;
	*asks = true;
	return fec_shapes_find(&ss->tun->others, ds, ps);
}

static void begin(struct sess *ss, const struct fec_codec *c)
{
	fec_enc_init(&ss->enc, c, &ss->mem, ss->cnt);
	fec_enc_after_lone(&ss->enc);
	parity_init(ss);
}

void shape_look(struct sess *ss)
{
	const struct fec_codec *c;
	bool asks;

	if (!sure(ss))
		return;
	c = codec_for(ss, &asks);
	if (asks && !ss->shape_asked) {
		ss->shape_asked = true;
		sess_note(ss, NOTE_SHAPE, their_shape(ss), shape_word(ss->tun->fec));
	}
	if (c && !ss->enc.codec)
		begin(ss, c);
	if (c)
		peer_is(ss, PEER_SAME);
	else if (ss->peer_fec != PEER_OTHER)
		peer_is(ss, PEER_OTHER);
	if (!c && !asks)
		shape_tell(ss, their_shape(ss));
}
