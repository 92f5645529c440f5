/* SPDX-License-Identifier: MIT */

/* Session slots' dialling: address, route, a source port that comes home, and its end. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "ctl_int.h"
#include "lab.h"
#include "net.h"

#define SOON 60000 /* ms: a guard against hanging */

static struct lab lab;
static struct dial dials[LAB_WORKERS];

static void begin(unsigned workers)
{
	lab_init(&lab, workers, 16, 16);
	lab_sh("ip link add ve0 type veth peer name ve1; ip link set ve0 up; ip link set ve1 up");
	lab_sh("ip addr add 192.0.2.1/24 dev ve0; ip route add default via 192.0.2.254");
	lab_port(&lab, 0, false, "ve0");
	lab_client(&lab, 8388, "198.51.100.9", 4000, 4009);
	memset(dials, 0, sizeof(dials));
	for (unsigned w = 0; w < LAB_WORKERS; w++) {
		dials[w].to_ctl.kind = dials[w].to_worker.kind = MBOX_DIAL;
		dials[w].slot = dials[w].worker_id = (uint16_t)w;
	}
}

static void setup(void)
{
	lab_enter();
}

static uint32_t answered(struct dial *d)
{
	struct mbox_ent *e;
	uint32_t ev;

	if (!mbox_get(lab.borders[d->worker_id]->to_worker, &e, &ev, 1))
		return 0;
	cr_assert_eq(e, &d->to_worker);
	return ev;
}

static uint32_t ask(struct dial *d, uint32_t events)
{
	uint32_t ev = 0;

	mbox_post(lab.borders[d->worker_id]->to_ctl, &d->to_ctl, events);
	if (!(events & DIAL_EV_WANT)) {
		lab_turn(&lab, 0);
		return 0;
	}
	cr_assert(lab_until(&lab, SOON, (ev = answered(d)) != 0));
	return ev;
}

Test(dial, ports_come_home, .init = setup)
{
	for (unsigned workers = 1; workers <= LAB_WORKERS; workers++) {
		bool seen[10] = {false};

		begin(workers);
		lab_start(&lab);
		for (unsigned round = 0; round < 10; round++) {
			for (unsigned w = 0; w < workers; w++) {
				struct dial *d = &dials[w];

				cr_assert_eq(ask(d, round ? DIAL_EV_DROP | DIAL_EV_WANT : DIAL_EV_WANT), DIAL_EV_READY);
				cr_assert_eq(flow_home(&lab.devs[0].rss, &d->key), w);
				cr_assert_eq(lab.udp->of[d->key.local_port], 1);
				cr_assert_eq(d->key.dev, 0);
				cr_assert_eq(d->key.proto, 0);
				cr_assert(addr_eq(&d->key.peer, &(struct addr){{[10] = 255, 255, 198, 51, 100, 9}}));
				cr_assert(addr_eq(&d->key.local, &(struct addr){{[10] = 255, 255, 192, 0, 2, 1}}));
				cr_assert(d->key.peer_port >= 4000 && d->key.peer_port <= 4009);
				seen[d->key.peer_port - 4000] = true;
			}
		}
		cr_assert_eq(ctl_stats(lab.ctl)->sessions_dialled, 10 * workers);
		if (workers == LAB_WORKERS) {
			unsigned n = 0;

			for (unsigned i = 0; i < 10; i++)
				n += seen[i];
			cr_assert_geq(n, 5, "40 sessions use %u of 10 remote ports", n);
		}
		lab_stop(&lab);
		lab_sh("ip link del ve0");
	}
}

static unsigned length(const struct list *l)
{
	unsigned n = 0;

	for (const struct list *e = l->next; e != l; e = e->next)
		n++;
	return n;
}

static void ended(uint16_t port)
{
	struct note n = {.type = NOTE_SESS_CLOSE, .key.local_port = port};

	border_note(lab.borders[0], &n);
	lab_turn(&lab, 0);
}

/* The port of a session that was replaced stays until it is heard that it has ended, and is then held as any other. */
Test(dial, replaced_session_keeps_its_port, .init = setup)
{
	uint16_t port[3];

	begin(1);
	lab_start(&lab);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_READY);
	port[0] = dials[0].key.local_port;
	cr_assert_eq(ask(&dials[0], DIAL_EV_KEEP | DIAL_EV_WANT), DIAL_EV_READY);
	port[1] = dials[0].key.local_port;
	cr_assert_neq(port[0], port[1]);
	ask(&dials[0], DIAL_EV_KEEP);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_READY);
	port[2] = dials[0].key.local_port;
	cr_assert_eq(length(&lab.ctl->kept), 2);
	cr_assert_eq(length(&lab.ctl->holds), 0);
	ended(port[2]);
	cr_assert_eq(length(&lab.ctl->kept), 2, "DROP tells of this one");
	ended(port[1]);
	cr_assert_eq(length(&lab.ctl->kept), 1);
	cr_assert_eq(length(&lab.ctl->holds), 1);
	ask(&dials[0], DIAL_EV_DROP);
	cr_assert_eq(length(&lab.ctl->holds), 2);
	ended(port[0]);
	cr_assert_eq(length(&lab.ctl->kept), 0);
	cr_assert_eq(length(&lab.ctl->holds), 3);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(lab.udp->of[port[i]], 1, "stock peers may go on sending for a while");
	lab_stop(&lab);
}

/* Ports of ended sessions are held in bounds: the oldest goes first.  One that is in use never does. */
Test(dial, few_ports_are_held, .init = setup)
{
	uint16_t port[60];

	begin(1);
	lab.conf.descriptors = 80;
	lab_start(&lab);
	for (unsigned i = 0; i < 60; i++) {
		cr_assert_eq(ask(&dials[0], i ? DIAL_EV_DROP | DIAL_EV_WANT : DIAL_EV_WANT), DIAL_EV_READY);
		port[i] = dials[0].key.local_port;
	}
	cr_assert_eq(length(&lab.ctl->holds), 10, "%u are held", length(&lab.ctl->holds));
	cr_assert_eq(ctl_stats(lab.ctl)->holds, 10);
	cr_assert_eq(ctl_stats(lab.ctl)->holds_given_up, 49);
	for (unsigned i = 49; i < 60; i++)
		cr_assert_eq(lab.udp->of[port[i]], 1, "port %u", i);
	cr_assert_eq(ask(&dials[0], DIAL_EV_KEEP | DIAL_EV_WANT), DIAL_EV_READY);
	for (unsigned i = 0; i < 30; i++)
		ask(&dials[0], DIAL_EV_DROP | DIAL_EV_WANT);
	cr_assert_eq(length(&lab.ctl->kept), 1);
	cr_assert_eq(lab.udp->of[port[59]], 1, "its session goes on");
	lab_stop(&lab);
}

/* Without a descriptor left a new session has that of the oldest port that is held. */
Test(dial, held_ports_give_way, .init = setup)
{
	struct rlimit files, few;
	uint16_t first;
	int last;

	begin(1);
	lab_start(&lab);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_READY);
	first = dials[0].key.local_port;
	cr_assert_eq(ask(&dials[0], DIAL_EV_DROP | DIAL_EV_WANT), DIAL_EV_READY);
	ask(&dials[0], DIAL_EV_DROP);
	cr_assert_eq(length(&lab.ctl->holds), 2);
	last = dup(0);
	close(last);
	getrlimit(RLIMIT_NOFILE, &files);
	few = files;
	few.rlim_cur = (rlim_t)last;
	setrlimit(RLIMIT_NOFILE, &few);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_READY);
	setrlimit(RLIMIT_NOFILE, &files);
	cr_assert_eq(length(&lab.ctl->holds), 1);
	cr_assert(dials[0].key.local_port == first || lab.udp->of[first] == 0);
	lab_stop(&lab);
}

/* Nobody else takes the port, it answers nothing, and after DROP it is held. */
Test(dial, port_is_held, .init = setup)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	uint16_t port;

	begin(1);
	lab_start(&lab);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_READY);
	port = dials[0].key.local_port;
	in.sin_port = htons(port);
	cr_assert_eq(bind(fd, (void *)&in, sizeof(in)), -1);
	cr_assert_eq(errno, EADDRINUSE);
	ask(&dials[0], DIAL_EV_DROP);
	cr_assert_eq(lab.udp->of[port], 1);
	cr_assert_eq(bind(fd, (void *)&in, sizeof(in)), -1);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_READY);
	cr_assert_neq(dials[0].key.local_port, port);
	close(fd);
	lab_stop(&lab);
}

/* Fake TCP: a TCP port of the kernel's, which neither accepts nor refuses there. */
Test(dial, fake_tcp, .init = setup)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	uint16_t port;

	begin(2);
	lab.tunnels[0].tcp = true;
	lab_start(&lab);
	for (unsigned w = 0; w < 2; w++) {
		cr_assert_eq(ask(&dials[w], DIAL_EV_WANT), DIAL_EV_READY);
		port = dials[w].key.local_port;
		cr_assert_eq(dials[w].key.proto, FLOW_TCP);
		cr_assert_eq(flow_home(&lab.devs[0].rss, &dials[w].key), w);
		cr_assert_eq(lab.udp->tcp[port], 1);
		cr_assert_eq(lab.udp->of[port], 0);
	}
	in.sin_port = htons(port);
	cr_assert_eq(connect(fd, (void *)&in, sizeof(in)), -1);
	cr_assert_eq(errno, EINPROGRESS, "%s", strerror(errno));
	usleep(20000); /* on lo a RST is there at once */
	cr_assert_eq(connect(fd, (void *)&in, sizeof(in)), -1);
	cr_assert_eq(errno, EALREADY, "%s", strerror(errno));
	ask(&dials[1], DIAL_EV_DROP);
	cr_assert_eq(lab.udp->tcp[port], 1, "held");
	close(fd);
	lab_stop(&lab);
}

Test(dial, failures, .init = setup)
{
	begin(1);
	lab.tunnels[0].remote.host = "2001:db8::9";
	lab_start(&lab);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_FAIL);
	cr_assert_eq(dials[0].err, ENETUNREACH);
	cr_assert(lab_logged(&lab, "re-connecting: no route to 2001:db8::9 by any gateway port"));
	lab_sh("ip -6 addr add 2001:db8::1/64 dev ve0 nodad");
	cr_assert(lab_until(&lab, SOON, ask(&dials[0], DIAL_EV_WANT) == DIAL_EV_READY));
	cr_assert_eq(dials[0].key.local.b[15], 1);
	cr_assert_gt(ctl_stats(lab.ctl)->sessions_failed, 0);
	lab_stop(&lab);
}

/* The tunnel names a port that the route does not leave by. */
Test(dial, other_port, .init = setup)
{
	begin(1);
	lab_sh("ip link add ot0 type veth peer name ot1; ip link set ot0 up; ip link set ot1 up");
	lab_port(&lab, 1, false, "ot0");
	lab.tunnels[0].port = 1;
	lab_start(&lab);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_FAIL);
	cr_assert(lab_logged(&lab, "the route to 198.51.100.9 leaves by port wan0, not by wan1"));
	lab_sh("ip addr add 10.0.0.1/24 dev ot0; ip route add 198.51.100.0/24 via 10.0.0.254");
	cr_assert(lab_until(&lab, SOON, ask(&dials[0], DIAL_EV_WANT) == DIAL_EV_READY));
	cr_assert_eq(dials[0].key.local.b[12], 10, "an address of the other port");
	lab_stop(&lab);
}

/* Names are looked up beside the turns, which go on meanwhile; two slots share a lookup. */
Test(dial, names, .init = setup)
{
	begin(2);
	lab_port(&lab, 0, false, "lo");
	lab.tunnels[0].remote.host = "localhost";
	lab_sh("ip addr add 192.0.2.2/32 dev lo");
	lab_start(&lab);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_READY);
	cr_assert_eq(dials[0].key.peer.b[15], 1);
	cr_assert_eq(ask(&dials[1], DIAL_EV_WANT), DIAL_EV_READY);
	lab_stop(&lab);
}

Test(dial, name_unknown, .init = setup)
{
	begin(1);
	lab.tunnels[0].remote.host = "a..b";
	lab_start(&lab);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_FAIL);
	cr_assert(lab_logged(&lab, "re-connecting: a..b: "));
	lab_stop(&lab);
}

/* The instance goes while a lookup is under way. */
Test(dial, destroyed_meanwhile, .init = setup)
{
	begin(1);
	lab.tunnels[0].remote.host = "localhost";
	lab_start(&lab);
	mbox_post(lab.borders[0]->to_ctl, &dials[0].to_ctl, DIAL_EV_WANT);
	lab_turn(&lab, 0);
	lab_stop(&lab);
}

Test(dial, draining, .init = setup)
{
	begin(1);
	lab_start(&lab);
	ctl_drain(lab.ctl);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_FAIL);
	cr_assert_eq(dials[0].err, ESHUTDOWN);
	cr_assert(ctl_idle(lab.ctl));
	lab_stop(&lab);
}

/* Every new session takes a port of the remote's range, each as likely as the others. */
Test(dial, remote_ports_are_uniform, .init = setup)
{
	unsigned seen[10] = {0};

	begin(1);
	lab_start(&lab);
	for (unsigned i = 0; i < 1000; i++) {
		cr_assert_eq(ask(&dials[0], i ? DIAL_EV_DROP | DIAL_EV_WANT : DIAL_EV_WANT), DIAL_EV_READY);
		cr_assert(dials[0].key.peer_port >= 4000 && dials[0].key.peer_port <= 4009);
		seen[dials[0].key.peer_port - 4000]++;
	}
	/* 100 each, standard deviation 9.5: beyond 6.8 of those, once in 10^10 runs. */
	for (unsigned i = 0; i < 10; i++)
		cr_assert(seen[i] > 35 && seen[i] < 165, "port %u: %u of 1000", 4000 + i, seen[i]);
	lab_stop(&lab);
}

static void hosts(const char *path, const char *line)
{
	FILE *f = fopen(path, "w");

	cr_assert_not_null(f);
	fputs(line, f);
	fclose(f);
}

/* A name is looked up again for each dial, but for those within a second. */
Test(dial, name_is_resolved_again, .init = setup)
{
	char path[] = "/tmp/control-hosts-XXXXXX", nss[] = "/tmp/control-nss-XXXXXX";
	uint64_t until;

	close(mkstemp(path));
	close(mkstemp(nss));
	hosts(nss, "hosts: files\n");
	hosts(path, "198.51.100.9 peer.test\n");
	begin(1);
	/* Of this process alone: the rest of the system keeps its own. */
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	lab_sh("mount --make-rprivate / && mount --bind %s /etc/hosts && mount --bind %s /etc/nsswitch.conf", path,
	       nss);
	lab.tunnels[0].remote.host = "peer.test";
	lab_start(&lab);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_READY);
	cr_assert_eq(dials[0].key.peer.b[15], 9);

	hosts(path, "203.0.113.7 peer.test\n");
	until = lab_ms() + 1100;
	while (lab_ms() < until)
		lab_turn(&lab, 20);
	cr_assert_eq(ask(&dials[0], DIAL_EV_DROP | DIAL_EV_WANT), DIAL_EV_READY);
	cr_assert_eq(dials[0].key.peer.b[12], 203);

	hosts(path, "");
	until = lab_ms() + 1100;
	while (lab_ms() < until)
		lab_turn(&lab, 20);
	cr_assert_eq(ask(&dials[0], DIAL_EV_DROP | DIAL_EV_WANT), DIAL_EV_FAIL, "an old answer serves nobody");
	cr_assert(lab_logged(&lab, "re-connecting: peer.test: "));
	lab_stop(&lab);
	unlink(path);
	unlink(nss);
}

/* With several tunnels a line says whose it is; with one it is kcptun's. */
Test(dial, lines_of_several_tunnels, .init = setup)
{
	begin(1);
	lab_client(&lab, 8389, "198.51.100.9", 4000, 4000);
	lab.tunnels[0].remote.host = "a..b";
	lab_start(&lab);
	cr_assert_eq(ask(&dials[0], DIAL_EV_WANT), DIAL_EV_FAIL);
	cr_assert(lab_logged(&lab, "re-connecting: tunnel us: a..b: "));
	lab_stop(&lab);
}
