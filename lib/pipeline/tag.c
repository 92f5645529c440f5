/* SPDX-License-Identifier: MIT */

/*
 * 802.1Q tags.  Everything else sees frames without one: a port's own VLAN, and a tag that names none but a priority,
 * are taken off before the parser looks, and put on again behind it: on a port with a VLAN when a frame is received, on
 * another when the parser has met a tag, which is seldom.  What was taken off is told as drivers tell it, in
 * the buffer, so that a sibling knows it too.
 */

#include <string.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "le.h"
#include "worker_int.h"

#define TAG_LEN	 4
#define TAG_VID	 0xfff
#define MACS_LEN (2 * RTE_ETHER_ADDR_LEN)

/* The driver has taken a tag off, asked or not.  One of another VLAN is put back: the frame must not pass for ours. */
bool pl_tag_stripped(const struct worker *w, struct rte_mbuf *m, unsigned dev)
{
	uint8_t *p;

	if ((m->vlan_tci & TAG_VID) == w->vlan[dev])
		return true;
	p = (uint8_t *)rte_pktmbuf_prepend(m, TAG_LEN);
	if (!p)
		return false;
	memmove(p, p + TAG_LEN, MACS_LEN);
	be16_put(p + MACS_LEN, RTE_ETHER_TYPE_VLAN);
	be16_put(p + MACS_LEN + 2, m->vlan_tci);
	m->ol_flags &= ~(RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
	return true;
}

static void take_off(struct pkt *k, uint16_t tci)
{
	struct rte_mbuf *m = k->own;

	memmove(k->p + TAG_LEN, k->p, MACS_LEN);
	k->p = (uint8_t *)rte_pktmbuf_adj(m, TAG_LEN);
	k->n = (uint16_t)(k->n - TAG_LEN);
	k->flags |= PKT_F_UNTAGGED;
	m->vlan_tci = tci;
	m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
}

/* Takes the port's own tag off a frame that has just been received.  What bears another, or none, the parser sees. */
void pl_untag_own(const struct worker *w, struct pkt *k)
{
	uint16_t tci;

	if (k->flags & PKT_F_UNTAGGED || k->n < RTE_ETHER_HDR_LEN + TAG_LEN ||
	    be16_get(k->p + MACS_LEN) != RTE_ETHER_TYPE_VLAN)
		return;
	tci = be16_get(k->p + MACS_LEN + 2);
	if ((tci & TAG_VID) == w->vlan[k->dev])
		take_off(k, tci);
}

/* Takes the tag off, or gives the verdict on a frame of a VLAN that is not the port's: the kernel may know it. */
static bool strip(struct worker *w, struct pkt *k)
{
	const struct net_dev *dev = &w->tbl->dev[k->dev];
	uint16_t tci;

	if (k->n < RTE_ETHER_HDR_LEN + TAG_LEN) {
		k->verdict = DROP_FRAME_SHORT;
		return false;
	}
	tci = be16_get(k->p + MACS_LEN + 2);
	if ((tci & TAG_VID) != dev->vlan) {
		k->verdict = dev->vlan ? DROP_VLAN : dev->exclusive ? VERDICT_PUNT : DROP_NOT_FOR_US;
		return false;
	}
	take_off(k, tci);
	return true;
}

/* The frames that the parser has found tagged: those without their tags go through it once more, run by run. */
void pl_untag(struct worker *w, unsigned n)
{
	for (unsigned i = 0, from; i < n; i++) {
		for (from = i; i < n && w->rx[i].verdict == VERDICT_TAG && strip(w, &w->rx[i]); i++)
			;
		if (i > from)
			net_parse_burst(w->rx + from, w->keys + from, i - from, w->tbl, w->conf.udp);
	}
}

/* Gives a frame that leaves by a port its VLAN's tag.  The headroom has place for it (NET_MAX_HEAD). */
void pl_tag(const struct worker *w, unsigned dev, struct rte_mbuf *m)
{
	uint8_t *p;

	if (!w->vlan[dev])
		return;
	m->data_off = (uint16_t)(m->data_off - TAG_LEN);
	m->data_len = (uint16_t)(m->data_len + TAG_LEN);
	m->pkt_len += TAG_LEN;
	p = rte_pktmbuf_mtod(m, uint8_t *);
	memmove(p, p + TAG_LEN, MACS_LEN);
	be16_put(p + MACS_LEN, RTE_ETHER_TYPE_VLAN);
	be16_put(p + MACS_LEN + 2, w->vlan[dev]);
	m->l2_len += TAG_LEN;
}
