/* SPDX-License-Identifier: MIT */

/*
 * Which datagrams can be a session's first.  Stock servers take any (wire.md 5.2): a client whose server was restarted
 * then feeds a session that can never deliver anything, for its beginning will not come again.  The first datagrams of
 * a client bear data, and since it has heard nothing they acknowledge nothing: una is 0.  One that has heard a single
 * segment never sends una 0 again.
 */

#include "kcp_wire.h"
#include "roam.h"

struct begin begin_look(const struct pkt *k)
{
	struct begin b = {0};

	if (fec_is_fec(k->p, k->n)) {
		b.oob = k->p[4] == FEC_TYPE_OOB && k->n >= FEC_HEAD + 4;
		b.at = FEC_HEAD;
		b.known = b.oob || (k->p[4] == FEC_TYPE_DATA && k->n >= FEC_HEAD + KCP_HEAD);
	} else {
		b.known = k->n >= KCP_HEAD;
	}
	if (b.known)
		b.conv = le32_get(k->p + b.at + KCP_OFF_CONV);
	return b;
}

uint32_t begin_sn(const struct pkt *k, const struct begin *b)
{
	const uint8_t *p = k->p + b->at;
	uint32_t n = k->n - b->at, sn = UINT32_MAX;
	struct kcp_head h;

	/* An acknowledgement or a question for the window may lie before the data. */
	for (; n >= KCP_HEAD; p += h.len, n -= h.len) {
		kcp_head_get(&h, p);
		p += KCP_HEAD;
		n -= KCP_HEAD;
		if (h.conv != b->conv || h.len > n)
			break;
		if (h.cmd == KCP_PUSH && h.una == 0 && h.sn < sn)
			sn = h.sn;
	}
	return sn;
}
