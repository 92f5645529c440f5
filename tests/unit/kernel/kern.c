/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <string.h>

#include <criterion/criterion.h>

#include "kern.h"

void kern_init(struct kern *k)
{
	memset(k, 0, sizeof(*k));
}

void kern_port(struct kern *k, unsigned i, const char *ifname)
{
	k->port[i] = ifname;
	if (k->n_ports <= i)
		k->n_ports = i + 1;
}

uint64_t kern_now(const struct kern *k)
{
	return lab_ms() + k->ahead;
}

/* As the owner of the ports does it. */
static void look(struct kern *k)
{
	for (unsigned i = 0; i < k->n_ports; i++) {
		const struct nl_link *l = nl_link_named(&k->nl, k->port[i]);

		k->nl.port[i] = (struct nl_port){.ifindex = l ? l->index : 0, .mtu = 1500, .no_link = k->no_link};
	}
}

void kern_turn(struct kern *k, int ms)
{
	uint64_t now = kern_now(k), next = nl_next(&k->nl, now);
	struct pollfd p = {.fd = nl_fd(&k->nl), .events = POLLIN};

	if (next < now + (uint64_t)ms)
		ms = next > now ? (int)(next - now) : 0;
	if (poll(&p, 1, ms) == 1)
		nl_events(&k->nl, kern_now(k));
	nl_reap(&k->nl, k->adopted);
	while (nl_turn(&k->nl, kern_now(k)) == NL_GOT_LINKS)
		look(k);
}

void kern_adopt(struct kern *k)
{
	k->adopted = k->nl.gen;
	kern_turn(k, 0);
}

void kern_skip(struct kern *k, uint64_t ms)
{
	k->ahead += ms;
	for (unsigned i = 0; i < 3; i++)
		kern_adopt(k);
}

void kern_start(struct kern *k)
{
	cr_assert_eq(rtnl_open(&k->rtnl), 0);
	cr_assert_eq(nl_open(&k->nl, &k->rtnl, k->n_ports, kern_now(k)), 0);
	for (uint64_t end = lab_ms() + 60000; !k->nl.tbl && lab_ms() < end;) {
		nl_at_once(&k->nl);
		kern_turn(k, 0);
	}
	cr_assert_not_null(k->nl.tbl);
}

void kern_stop(struct kern *k)
{
	nl_close(&k->nl);
	rtnl_close(&k->rtnl);
}
