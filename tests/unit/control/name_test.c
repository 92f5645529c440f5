/* SPDX-License-Identifier: MIT */

/* Dialling by name: several addresses, and what is asked for while the resolver takes its time. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "ctl_int.h"
#include "lab.h"
#include "net.h"

#define SOON 60000 /* only a guard */

static struct lab lab;
static struct dial dials[2];
static char hosts_path[64], nss_path[64];

static void setup(void)
{
	lab_enter();
	lab_init(&lab, 2, 16, 16);
	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 up");
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip route add default via 192.0.2.254");
	lab_port(&lab, 0, false, "ve0");
	lab_client(&lab, 8388, "peer.test", 4000, 4000);
	memset(dials, 0, sizeof(dials));
	for (unsigned w = 0; w < 2; w++) {
		dials[w].to_ctl.kind = dials[w].to_worker.kind = MBOX_DIAL;
		dials[w].slot = dials[w].worker_id = (uint16_t)w;
	}
	snprintf(hosts_path, sizeof(hosts_path), "/tmp/control-name-hosts-%d", (int)getpid());
	snprintf(nss_path, sizeof(nss_path), "/tmp/control-name-nss-%d", (int)getpid());
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
}

/* Of this process alone: the rest of the system keeps its own. */
static void mount_over(const char *to)
{
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	lab_sh("mount --make-rprivate / && mount --bind %s %s && mount --bind %s /etc/nsswitch.conf", hosts_path, to,
	       nss_path);
}

/* Names come from hosts_path. */
static void use_hosts(void)
{
	write_file(nss_path, "hosts: files\n");
	mount_over("/etc/hosts");
}

/* Or from a server of ours. */
static void use_dns(void)
{
	write_file(nss_path, "hosts: dns\n");
	write_file(hosts_path, "nameserver 127.0.0.1\n");
	mount_over("/etc/resolv.conf");
}

static void teardown(void)
{
	lab_stop(&lab);
	unlink(hosts_path);
	unlink(nss_path);
}

TestSuite(name, .init = setup, .fini = teardown, .timeout = 120);

static void want(unsigned w)
{
	mbox_post(lab.borders[w]->to_ctl, &dials[w].to_ctl, DIAL_EV_WANT);
	ctl_turn(lab.ctl, 0);
}

/* Events that have come back for a slot. */
static uint32_t answer(unsigned w)
{
	struct mbox_ent *e;
	uint32_t ev;

	return mbox_get(lab.borders[w]->to_worker, &e, &ev, 1) ? ev : 0;
}

static void hosts(const char *first, const char *second)
{
	char text[128];

	snprintf(text, sizeof(text), "%s peer.test\n%s peer.test\n", first, second);
	write_file(hosts_path, text);
}

/* Of a name's addresses the first that a port of ours leads to, wherever it stands. */
Test(name, first_address_that_can_be_reached)
{
	static const char *const far = "198.51.100.9", *const foreign = "203.0.113.9";
	bool foreign_first = false;
	uint32_t ev = 0;

	lab_sh("ip link add ot0 type veth peer name ot1; ip link set ot0 up; ip link set ot1 up");
	lab_sh("ip addr add 10.0.0.1/24 dev ot0; ip route add 203.0.113.0/24 via 10.0.0.254");
	hosts(far, foreign);
	use_hosts();
	lab_start(&lab);
	for (unsigned order = 0; order < 2; order++) {
		const struct name *n = &lab.ctl->tunnels[0].host;

		if (order)
			hosts(foreign, far);
		lab.ctl->tunnels[0].host.until = 0; /* ask again, within the second too */
		want(order);
		cr_assert(lab_until(&lab, SOON, (ev = answer(order)) != 0));
		cr_assert_eq(n->n, 2);
		foreign_first |= n->addrs[0].b[12] == 203;
		cr_assert_eq(ev, DIAL_EV_READY, "order %u", order);
		cr_assert_eq(dials[order].key.peer.b[12], 198);
	}
	cr_assert(foreign_first, "the resolver sorted them both times");
}

/* ---- a resolver that takes its time ---- */

static int dns = -1;
static volatile unsigned lookups;

static void bind_dns(void)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	dns = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(dns, (struct sockaddr *)&in, sizeof(in)), 0, "%s", strerror(errno));
}

/* Answers what was asked since: 198.51.100.9 for an A, nothing for others.  Ends when the socket is shut. */
static void *serve_dns(void *arg)
{
	static const uint8_t a[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 198, 51, 100, 9};
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t q[512];
	ssize_t n;

	for (; (n = recvfrom(dns, q, sizeof(q) - sizeof(a), 0, (struct sockaddr *)&from, &len)) > 16;
	     len = sizeof(from)) {
		size_t end = 12 + strnlen((char *)q + 12, 200) + 5;
		bool v4 = q[end - 3] == 1;

		q[2] = 0x81, q[3] = 0x80;
		q[6] = 0, q[7] = v4; /* answers */
		memset(q + 8, 0, 4); /* and nothing else */
		memcpy(q + end, a, v4 ? sizeof(a) : 0);
		lookups += v4;
		sendto(dns, q, end + (v4 ? sizeof(a) : 0), 0, (struct sockaddr *)&from, len);
	}
	return arg;
}

/* Two slots that want the same name share a lookup; one that asks again meanwhile is answered once. */
Test(name, asked_again_meanwhile)
{
	unsigned got[2] = {0};
	pthread_t t;

	use_dns();
	bind_dns();
	lab_start(&lab);
	for (unsigned i = 0; i < 5; i++) {
		want(0);
		want(1);
		cr_assert(!answer(0) && !answer(1), "nobody has answered yet");
	}
	cr_assert_eq(pthread_create(&t, NULL, serve_dns, NULL), 0);
	while (!got[0] || !got[1]) {
		lab_turn(&lab, 2);
		for (unsigned w = 0; w < 2; w++) {
			uint32_t ev = answer(w);

			cr_assert(ev == 0 || ev == DIAL_EV_READY, "%u: error %d", ev, dials[w].err);
			got[w] += ev != 0;
		}
	}
	for (unsigned i = 0; i < 100; i++) {
		lab_turn(&lab, 2);
		cr_assert(!answer(0) && !answer(1), "answered twice");
	}
	cr_assert_eq(ctl_stats(lab.ctl)->sessions_dialled, 2);
	cr_assert_eq(ctl_stats(lab.ctl)->sessions_failed, 0);
	cr_assert_eq(lookups, 1, "%u lookups", lookups);
	shutdown(dns, SHUT_RDWR);
	pthread_join(t, NULL);
	close(dns);
}

/* A name server that is dead takes nothing away: those who knew the addresses keep them, and do not wait for it each
 * time.
 */
Test(name, kept_while_nobody_answers)
{
	const struct name *n;
	uint32_t ev = 0;
	pthread_t t;

	use_dns();
	bind_dns();
	cr_assert_eq(pthread_create(&t, NULL, serve_dns, NULL), 0);
	lab_start(&lab);
	n = &lab.ctl->tunnels[0].host;
	want(0);
	cr_assert(lab_until(&lab, SOON, (ev = answer(0)) != 0));
	cr_assert_eq(ev, DIAL_EV_READY);
	shutdown(dns, SHUT_RDWR);
	pthread_join(t, NULL);
	close(dns);
	lab.ctl->tunnels[0].host.until = 0;
	want(1);
	cr_assert(lab_until(&lab, SOON, (ev = answer(1)) != 0));
	cr_assert_eq(ev, DIAL_EV_READY, "error %d", dials[1].err);
	cr_assert_eq(dials[1].key.peer.b[12], 198);
	cr_assert_eq(n->n, 1);
	cr_assert_geq(n->until, lab.ctl->now + NAME_STALE_MS - 10000, "asked again too soon");
	cr_assert(
		lab_logged(&lab, "peer.test: Temporary failure in name resolution: its addresses of before are used"));
}

/* One that says that there is no such name is believed. */
Test(name, given_up_when_told_so)
{
	uint32_t ev = 0;

	hosts("198.51.100.9", "198.51.100.10");
	use_hosts();
	lab_start(&lab);
	want(0);
	cr_assert(lab_until(&lab, SOON, (ev = answer(0)) != 0));
	cr_assert_eq(ev, DIAL_EV_READY);
	write_file(hosts_path, "");
	lab.ctl->tunnels[0].host.until = 0;
	want(1);
	cr_assert(lab_until(&lab, SOON, (ev = answer(1)) != 0));
	cr_assert_eq(ev, DIAL_EV_FAIL);
	cr_assert_eq(lab.ctl->tunnels[0].host.n, 0);
}
