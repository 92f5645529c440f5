/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "families.h"

/* ---- kcptun's counters (wire.md 9.7), by what they say ---- */

#define C(field, name, unit, help)                                                   \
	{                                                                            \
		OM_COUNTER, "tunnel_" name, unit, help, offsetof(struct snmp, field) \
	}

static const struct family_field snmp_fields[] = {
	C(BytesSent, "sent_bytes", "bytes", "Bytes that were given to KCP: streams, compressed, with smux's heads."),
	C(BytesReceived, "received_bytes", "bytes", "Bytes that KCP has handed on, likewise."),
	C(OutBytes, "sent_datagram_bytes", "bytes",
	  "Payload of the UDP datagrams that were sent, all that is for repair included."),
	C(InBytes, "received_datagram_bytes", "bytes", "Payload of the datagrams that reached a session, decrypted."),
	C(OutPkts, "sent_datagrams", NULL, "UDP datagrams that were sent."),
	C(InPkts, "received_datagrams", NULL, "Datagrams that reached a session."),
	C(OutSegs, "sent_segments", NULL,
	  "KCP segments that were sent, those sent again and acknowledgements included."),
	C(InSegs, "received_segments", NULL, "KCP segments that were received, recovered ones included."),
	C(RepeatSegs, "repeated_segments", NULL, "KCP segments that were received and not needed."),
	C(ActiveOpens, "dialled_sessions", NULL, "Sessions that this side has begun."),
	C(PassiveOpens, "accepted_sessions", NULL, "Sessions that peers have begun."),
	C(FECRecovered, "fec_recovered_datagrams", NULL, "Datagrams that were lost, and rebuilt from parity."),
	C(FECParityShards, "fec_parity_datagrams", NULL, "Datagrams of parity that were received."),
	C(FECFullShardSet, "fec_full_groups", NULL, "Groups of which all data arrived."),
	C(FECErrs, "fec_errors", NULL, "Groups that could not be rebuilt though enough had arrived."),
	C(InCsumErrors, "checksum_errors", NULL, "Datagrams that another key, or nobody, has encrypted."),
	C(KCPInErrors, "kcp_errors", NULL, "Datagrams with malformed KCP segments."),
	C(InErrs, "foreign_datagrams", NULL, "Datagrams from others than the client's server."),
	C(OOBPackets, "oob_datagrams", NULL, "Out-of-band packets that were received."),
	{OM_GAUGE, "tunnel_sessions", NULL, "Sessions now.", offsetof(struct snmp, CurrEstab)},
};
#undef C

struct tunnels {
	const struct conf *conf;
	struct snmp *snmp; /* [tunnel] */
};

static const void *base(const void *ctx, unsigned i)
{
	return &((const struct tunnels *)ctx)->snmp[i];
}

static void name(const void *ctx, unsigned i, char *buf, size_t n)
{
	snprintf(buf, n, "%s", ((const struct tunnels *)ctx)->conf->tunnels[i].name);
}

static void again(struct om *o, const struct tunnels *t)
{
	om_family(o, OM_COUNTER, "tunnel_retransmitted_segments", NULL,
		  "KCP segments that were sent again, by what for.");
	for (unsigned i = 0; i < t->conf->n_tunnels; i++) {
		const char *tunnel = t->conf->tunnels[i].name;

		om_u64(o, t->snmp[i].FastRetransSegs, "tunnel", tunnel, "cause", "fast", NULL);
		om_u64(o, t->snmp[i].EarlyRetransSegs, "tunnel", tunnel, "cause", "early", NULL);
		om_u64(o, t->snmp[i].LostSegs, "tunnel", tunnel, "cause", "timeout", NULL);
	}
}

static void infos(struct om *o, const struct conf *c)
{
	char fec[24], smux[8];

	om_family(o, OM_INFO, "tunnel", NULL, "A tunnel, as it is configured.");
	for (unsigned i = 0; i < c->n_tunnels; i++) {
		const struct conf_tunnel *t = &c->tunnels[i];

		snprintf(fec, sizeof(fec), "%u/%u", t->datashard, t->parityshard);
		snprintf(smux, sizeof(smux), "%u", t->smuxver);
		om_u64(o, 1, "tunnel", t->name, "role", t->role == CONF_SERVER ? "server" : "client", "crypt", t->crypt,
		       "mode", t->mode, "fec", fec, "smux", smux, NULL);
	}
}

/* ---- what tunnels share, and how much of it each has ---- */

static void memory(struct om *o, const struct tlm_src *src)
{
	const struct conf *c = src->conf;

	om_family(o, OM_GAUGE, "tunnel_memory_bytes", "bytes", "Memory of the workers' that its sessions hold.");
	for (unsigned i = 0; i < c->n_tunnels; i++) {
		uint64_t sum = 0;

		for (unsigned w = 0; w < src->n_workers; w++)
			sum += shard_tunnel_mem(src->shards[w], i);
		om_u64(o, sum, "tunnel", c->tunnels[i].name, NULL);
	}
	om_family(o, OM_GAUGE, "tunnel_memory_limit_bytes", "bytes", "The most that they may hold; 0: as there is.");
	for (unsigned i = 0; i < c->n_tunnels; i++)
		om_u64(o, (uint64_t)c->tunnels[i].memory << 20, "tunnel", c->tunnels[i].name, NULL);
}

static void share(struct om *o, const struct conf *c, const struct shares *s, const char *of, const char *help)
{
	char text[64];

	snprintf(text, sizeof(text), "tunnel_%s", of);
	om_family(o, OM_GAUGE, text, NULL, help);
	for (unsigned i = 0; i < c->n_tunnels; i++)
		om_u64(o, atomic_load_explicit(&s->of[i].used, memory_order_relaxed), "tunnel", c->tunnels[i].name,
		       NULL);
	snprintf(text, sizeof(text), "tunnel_%s_limit", of);
	om_family(o, OM_GAUGE, text, NULL, "The most of them that it may have.");
	for (unsigned i = 0; i < c->n_tunnels; i++)
		om_u64(o, s->of[i].most, "tunnel", c->tunnels[i].name, NULL);
	snprintf(text, sizeof(text), "tunnel_%s_refused", of);
	om_family(o, OM_COUNTER, text, NULL, "Times that it wanted one more of them and had to wait.");
	for (unsigned i = 0; i < c->n_tunnels; i++)
		om_u64(o, atomic_load_explicit(&s->of[i].refused, memory_order_relaxed), "tunnel", c->tunnels[i].name,
		       NULL);
}

static void parts(struct om *o, const struct tlm_src *src)
{
	const struct conf *c = src->conf;

	om_family(o, OM_GAUGE, "tunnel_dials", NULL, "Connections to its target that are being made.");
	for (unsigned i = 0; i < c->n_tunnels; i++)
		om_u64(o, ctl_parts(src->ctl, i).dials, "tunnel", c->tunnels[i].name, NULL);
	om_family(o, OM_GAUGE, "tunnel_dials_waiting", NULL, "Connections to its target that wait to be made.");
	for (unsigned i = 0; i < c->n_tunnels; i++)
		om_u64(o, ctl_parts(src->ctl, i).dials_waiting, "tunnel", c->tunnels[i].name, NULL);
	om_family(o, OM_GAUGE, "tunnel_descriptors", NULL, "File descriptors of its connections.");
	for (unsigned i = 0; i < c->n_tunnels; i++)
		om_u64(o, ctl_parts(src->ctl, i).descriptors, "tunnel", c->tunnels[i].name, NULL);
}

void families_tunnels(struct om *o, const struct tlm_src *src)
{
	const struct conf *c = src->conf;
	struct tunnels t = {c, calloc(conf_room(c), sizeof(*t.snmp))};
	struct family_things things = {"tunnel", c->n_tunnels, base, name, &t};

	if (!t.snmp) {
		o->failed = true;
		return;
	}
	for (unsigned i = 0; i < c->n_tunnels; i++)
		tlm_snmp(src, (int)i, &t.snmp[i]);
	infos(o, c);
	families_of(o, snmp_fields, sizeof(snmp_fields) / sizeof(snmp_fields[0]), &things);
	again(o, &t);
	free(t.snmp);
	memory(o, src);
	share(o, c, &src->chans->chunk_shares, "chunks",
	      "Chunks of 16 KiB for bytes between TCP and the tunnel that it has.");
	share(o, c, &src->chans->chan_shares, "streams", "Streams that it has.");
	parts(o, src);
}

/* ---- its sessions, of which some were looked at ---- */

static void quantiles(struct om *o, const struct tlm_src *src, const struct glance *l, bool queue)
{
	char text[16];

	for (unsigned i = 0; i < src->conf->n_tunnels; i++) {
		const struct glance_tunnel *t = glance_tunnel(l, i);

		for (unsigned q = 0; glance_holds(l, i) && q < GLANCE_QUANTILES; q++) {
			snprintf(text, sizeof(text), "%g", glance_quantile[q]);
			om_real(o, (double)(queue ? t->queue[q] : t->rtt[q]), "tunnel", src->conf->tunnels[i].name,
				"quantile", text, NULL);
		}
	}
}

static void bounds(struct om *o, const struct tlm_src *src, const struct glance *l)
{
	om_family(o, OM_GAUGE, "tunnel_sampled_sessions", NULL,
		  "Sessions that were looked at last, 128 a worker at most, by what keeps them from sending more.");
	for (unsigned i = 0; i < src->conf->n_tunnels; i++) {
		const struct glance_tunnel *t = glance_tunnel(l, i);

		for (unsigned b = 0; b < t->n_bounds; b++)
			om_u64(o, t->bound[b].n, "tunnel", src->conf->tunnels[i].name, "limited_by", t->bound[b].by,
			       NULL);
	}
}

void families_looked(struct om *o, const struct tlm_src *src, struct glance *l)
{
	om_family(o, OM_SUMMARY, "tunnel_rtt_seconds", "seconds",
		  "Smoothed round trips of sessions that were heard within 2 s, of those looked at.");
	quantiles(o, src, l, false);
	om_family(o, OM_SUMMARY, "tunnel_queue_seconds", "seconds",
		  "What those have above the path's least: what waits on the way.  Of congestion \"stock\" 0.");
	quantiles(o, src, l, true);
	om_family(o, OM_GAUGE, "tunnel_min_rtt_seconds", "seconds", "The least round trip of any path of theirs.");
	for (unsigned i = 0; i < src->conf->n_tunnels; i++)
		if (glance_holds(l, i) && !isnan(glance_tunnel(l, i)->min_rtt))
			om_real(o, (double)glance_tunnel(l, i)->min_rtt, "tunnel", src->conf->tunnels[i].name, NULL);
	bounds(o, src, l);
}
