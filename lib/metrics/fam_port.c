/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include "families.h"

static const struct family_field fields[] = {
#define P(field, name, unit, help)                                                     \
	{                                                                              \
		OM_COUNTER, "port_" name, unit, help, offsetof(struct tlm_port, field) \
	}
	P(rx_packets, "received_packets", NULL, "Frames that the device has received."),
	P(rx_bytes, "received_bytes", "bytes", "Bytes of those frames."),
	P(tx_packets, "sent_packets", NULL, "Frames that it has sent."),
	P(tx_bytes, "sent_bytes", "bytes", "Bytes of those frames."),
	P(rx_missed, "missed_packets", NULL, "Frames that it has lost, for nobody took them in time."),
	P(rx_errors, "receive_errors", NULL, "Frames that it has received broken."),
	P(rx_no_buffer, "receive_no_buffer", NULL, "Times that it had no buffer to receive into."),
	P(tx_errors, "send_errors", NULL, "Frames that it could not send."),
#undef P
};

void families_ports(struct om *o, const struct tlm_src *src)
{
	const struct conf *c = src->conf;
	struct tlm_port now[CONF_PORTS_MAX];
	bool has[CONF_PORTS_MAX];

	for (unsigned i = 0; i < c->n_ports; i++)
		has[i] = src->port && src->port(src->ctx, i, &now[i]);
	om_family(o, OM_GAUGE, "port_up", NULL, "1: the port is open and its link is up.");
	for (unsigned i = 0; i < c->n_ports; i++) {
		const struct ctl_port_now p = ctl_port_now(src->ctl, i);

		om_u64(o, p.open && p.link.up, "port", c->ports[i].name, NULL);
	}
	om_family(o, OM_COUNTER, "port_link_changes", NULL, "Times that its link went or came.");
	for (unsigned i = 0; i < c->n_ports; i++)
		om_u64(o, ctl_port_now(src->ctl, i).changes, "port", c->ports[i].name, NULL);
	for (unsigned k = 0; k < sizeof(fields) / sizeof(fields[0]); k++) {
		om_family(o, fields[k].type, fields[k].name, fields[k].unit, fields[k].help);
		for (unsigned i = 0; i < c->n_ports; i++)
			if (has[i])
				om_u64(o, *(const uint64_t *)((const char *)&now[i] + fields[k].at), "port",
				       c->ports[i].name, NULL);
	}
}
