/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "kcp_seg.h"
#include "kcp_wire.h"

/*
 * Round trip time and retransmission timeout, wire.md 4.5.  The right shifts are of signed values and round downward:
 * a division would differ for negative ones.  An srtt of 0 means "no sample yet", as in stock, also on a 0 ms path.
 */
void kcp_rtt_sample(struct kcp *k, int32_t rtt)
{
	uint32_t min = k->conf->nodelay ? KCP_RTO_MIN_NODLY : KCP_RTO_MIN;
	uint32_t slack;

	if (k->srtt == 0) {
		k->srtt = rtt;
		k->rttvar = rtt >> 1;
	} else {
		int32_t d = rtt - k->srtt;

		k->srtt += d >> 3;
		d = abs(d);
		/* A sample far below the average says little about delay: it weighs less. */
		k->rttvar += (d - k->rttvar) >> (rtt < k->srtt - k->rttvar ? 5 : 2);
	}

	slack = (uint32_t)k->rttvar << 2;
	if (slack < kcp_interval(k))
		slack = kcp_interval(k);
	k->rto = (uint32_t)k->srtt + slack;
	if (k->rto < min)
		k->rto = min;
	if (k->rto > KCP_RTO_MAX)
		k->rto = KCP_RTO_MAX;
}
