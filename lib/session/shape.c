/* SPDX-License-Identifier: MIT */
#include "sess.h"

/*
 * FEC on one side only, or of two shapes.  A stock decoder that was not told our shape begins as (1,1), and looks for
 * it in what it gets (wire.md 3.6, 3.7).  Until it has it, releases of 2020 to 2023 take every parity packet with an
 * odd seqid for the copy of a lost data packet, and since the code's rows sum to 1, it looks like one: conversation,
 * command, length are right, only the segment's number and its bytes are not (wire.md 3.8).  In a group of full
 * segments nothing gives it away, and what was acknowledged arrives as other bytes, without any packet having been
 * lost.
 *
 * So a peer that sends no FEC is sent none, not even the header, which releases of 2016 do not read where it is not
 * configured; and one that sends another shape than ours no parity.  A client speaks first: until the answer is there
 * it sends of its parity only what such a decoder does nothing with, the packets with even seqids.
 */

void shape_heard(struct sess *ss, bool fec)
{
	const struct fec_codec *ours = ss->tun->fec;

	ss->peer_fec = fec ? PEER_FEC : PEER_BARE;
	pace_burden(ss, ss->parity.send);
	if (!ours)
		return;
	if (fec)
		fec_enc_parity(&ss->enc, FEC_PARITY_ALL);
	if (!fec && !ss->fec_told) {
		ss->fec_told = true;
		sess_note(ss, NOTE_FEC, 0, NOTE_FEC_SHAPE(fec_codec_ds(ours), fec_codec_ps(ours)));
	}
}

void shape_tuned(struct sess *ss)
{
	const struct fec_codec *ours = ss->tun->fec;
	unsigned ds, ps;
	uint32_t theirs, own = ours ? NOTE_FEC_SHAPE(fec_codec_ds(ours), fec_codec_ps(ours)) : 0;

	fec_dec_params(ss->dec, &ds, &ps);
	theirs = NOTE_FEC_SHAPE(ds, ps);
	ss->peer_fec = theirs == own ? PEER_FEC : PEER_OTHER;
	pace_burden(ss, ss->parity.send);
	if (ours)
		fec_enc_parity(&ss->enc, theirs == own ? FEC_PARITY_ALL : FEC_PARITY_NONE);
	if (theirs != own && !ss->fec_told) {
		ss->fec_told = true;
		sess_note(ss, NOTE_FEC, theirs, own);
	}
}
