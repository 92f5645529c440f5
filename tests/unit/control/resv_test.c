/* SPDX-License-Identifier: MIT */

/* Server ports: reserved in the kernel, silent, entered in net_ports. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "lab.h"
#include "net.h"

#define SOON 30000 /* ms: a limit, not a figure */

static struct lab lab;

static void setup(void)
{
	lab_enter();
	lab_init(&lab, 1, 16, 16);
}

static void teardown(void)
{
	lab_stop(&lab);
}

static int udp(int af, uint16_t port, bool to)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr *sa = af == AF_INET ? (struct sockaddr *)&in : (struct sockaddr *)&in6;
	socklen_t len = af == AF_INET ? sizeof(in) : sizeof(in6);
	int fd = socket(af, SOCK_DGRAM, 0), on = 1;

	if (to) {
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		in6.sin6_addr = in6addr_loopback;
		cr_assert_eq(connect(fd, sa, len), 0);
		return fd;
	}
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, sa, len)) {
		close(fd);
		return -errno;
	}
	return fd;
}

/* What the kernel says to a datagram sent to the port: ECONNREFUSED (port unreachable), or nothing within `ms`. */
static int answer_within(int af, uint16_t port, int ms)
{
	int fd = udp(af, port, true), err = 0;
	struct pollfd p = {.fd = fd, .events = POLLIN};

	cr_assert_eq(send(fd, "x", 1, 0), 1);
	(void)poll(&p, 1, ms);
	if (recv(fd, &(char){0}, 1, MSG_DONTWAIT) < 0)
		err = errno;
	close(fd);
	return err;
}

/* On an idle machine the ICMP message is on lo before send returns. */
static int answer(int af, uint16_t port)
{
	return answer_within(af, port, 20);
}

static int refusal(int af, uint16_t port)
{
	return answer_within(af, port, 60000);
}

Test(resv, silent_and_taken, .init = setup, .fini = teardown)
{
	lab_server(&lab, 4000, 4009, "127.0.0.1", 1);
	lab_server(&lab, 5000, 5000, "127.0.0.1", 1);
	cr_assert_eq(refusal(AF_INET, 4000), ECONNREFUSED);
	lab_start(&lab);
	for (uint16_t p = 4000; p <= 4009; p++) {
		cr_assert_eq(lab.udp->of[p], 1);
		cr_assert_eq(answer(AF_INET, p), EAGAIN, "port %u", p);
		cr_assert_eq(answer(AF_INET6, p), EAGAIN, "port %u", p);
		cr_assert_eq(udp(AF_INET, p, false), -EADDRINUSE);
		cr_assert_eq(udp(AF_INET6, p, false), -EADDRINUSE);
	}
	cr_assert_eq(lab.udp->of[3999], 0);
	cr_assert_eq(lab.udp->of[4010], 0);
	cr_assert_eq(lab.udp->of[5000], 2);
	cr_assert_eq(refusal(AF_INET, 4010), ECONNREFUSED);
	ctl_destroy(lab.ctl);
	lab.ctl = NULL;
	cr_assert_eq(lab.udp->of[4000], 0);
	cr_assert_eq(refusal(AF_INET, 4000), ECONNREFUSED);
}

static void refused(const char *text)
{
	cr_assert_lt(ctl_create(&lab.ctl, &lab.conf, lab.why, sizeof(lab.why)), 0);
	cr_assert_str_eq(lab.why, text);
	lab.ctl = NULL;
	for (unsigned p = 4000; p < 4010; p++)
		cr_assert_eq(lab.udp->of[p], 0);
}

Test(resv, taken_by_another, .init = setup, .fini = teardown)
{
	int fd;

	lab_server(&lab, 4000, 4009, "127.0.0.1", 1);
	fd = udp(AF_INET, 4007, false);
	refused("tunnel hk: UDP port 4007 is in use by another process");
	close(fd);
	fd = udp(AF_INET6, 4000, false);
	refused("tunnel hk: UDP port 4000 is in use by another process");
	close(fd);
	lab_server(&lab, 4009, 4009, "127.0.0.1", 1);
	lab.tunnels[1].name = "sg";
	refused("tunnel sg: UDP port 4009 is tunnel hk's already");
}

Test(resv, one_address, .init = setup, .fini = teardown)
{
	lab_server(&lab, 4000, 4000, "127.0.0.1", 1);
	lab.tunnels[0].listen.host = "127.0.0.5";
	lab_start(&lab);
	cr_assert_eq(lab.udp->of[4000], 1);
	cr_assert_eq(refusal(AF_INET, 4000), ECONNREFUSED, "127.0.0.1 is somebody else's");
	ctl_destroy(lab.ctl);
	lab.ctl = NULL;
}

static unsigned heard;
static struct addr heard_at;

static void on_listens(void *ctx, unsigned tunnel, const struct addr *a)
{
	cr_assert_eq(tunnel, 1);
	cr_assert_eq(lab.udp->of[4001], 0, "before the port is in the map");
	heard++;
	heard_at = *a;
}

static char hosts_path[64];

/* The process's own table of names, and no other resolver. */
static void own_hosts(void)
{
	char nss[] = "/tmp/control-nss-XXXXXX";

	strcpy(hosts_path, "/tmp/control-hosts-XXXXXX");
	close(mkstemp(hosts_path));
	close(mkstemp(nss));
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	lab_sh("echo 'hosts: files' > %s; mount --make-rprivate / && mount --bind %s /etc/hosts && "
	       "mount --bind %s /etc/nsswitch.conf",
	       nss, hosts_path, nss);
	unlink(nss);
}

/* A listen address whose name does not resolve yet: asked for again, and the other tunnels do not wait for it. */
Test(resv, name_comes_later, .init = setup, .fini = teardown)
{
	own_hosts();
	lab_server(&lab, 4000, 4000, "127.0.0.1", 1);
	lab_server(&lab, 4001, 4002, "127.0.0.1", 1);
	lab.tunnels[1].listen.host = "own.test";
	lab.conf.listens = on_listens;
	lab_start(&lab);
	cr_assert_eq(lab.udp->of[4000], 1);
	cr_assert(lab_until(&lab, SOON, lab_logged(&lab, "tunnel hk: listen address own.test: ")));
	cr_assert_eq(lab.udp->of[4001], 0);
	cr_assert_eq(heard, 0);
	cr_assert_not(ctl_seeking(lab.ctl));
	lab_sh("echo 127.0.0.5 own.test > %s", hosts_path);
	cr_assert(lab_until(&lab, SOON, lab_logged(&lab, "tunnel hk: listens on 127.0.0.5 now")));
	cr_assert(heard == 1 && heard_at.b[15] == 5);
	cr_assert(lab.udp->of[4001] == 2 && lab.udp->of[4002] == 2);
	unlink(hosts_path);
}

/* And a port that somebody else has by then is asked for again, too: the tunnel gets all or none meanwhile. */
Test(resv, name_and_port_come_later, .init = setup, .fini = teardown)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(4002)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	own_hosts();
	lab_sh("echo 127.0.0.5 own.test > %s", hosts_path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	lab_server(&lab, 4001, 4002, "127.0.0.1", 1);
	lab.tunnels[0].listen.host = "own.test";
	lab_start(&lab);
	cr_assert(lab_until(&lab, SOON, lab_logged(&lab, "UDP port 4002 is in use by another process: trying again")));
	cr_assert(lab.udp->of[4001] == 0 && lab.udp->of[4002] == 0);
	close(fd);
	cr_assert(lab_until(&lab, SOON, lab.udp->of[4001] == 1 && lab.udp->of[4002] == 1));
	unlink(hosts_path);
}

Test(resv, without_ipv6, .init = setup, .fini = teardown)
{
	lab_sh("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
	lab_server(&lab, 4000, 4000, "127.0.0.1", 1);
	lab_start(&lab);
	cr_assert_eq(answer(AF_INET, 4000), EAGAIN);
}

/* What the kernel says to a connection: ECONNREFUSED (RST), 0 (a handshake), or ETIMEDOUT: nothing. */
static int connects_within(int af, uint16_t port, int ms)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_loopback};
	int fd = socket(af, SOCK_STREAM | SOCK_NONBLOCK, 0), err = 0;
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t n = sizeof(err);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, af == AF_INET ? (struct sockaddr *)&in : (struct sockaddr *)&in6,
		    af == AF_INET ? sizeof(in) : sizeof(in6)))
		err = errno;
	if (err == EINPROGRESS && poll(&p, 1, ms) == 0)
		err = ETIMEDOUT;
	else if (err == EINPROGRESS)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	close(fd);
	return err;
}

/* On an idle machine the answer is on lo before connect returns. */
static int connects(int af, uint16_t port)
{
	return connects_within(af, port, 20);
}

static int refuses(int af, uint16_t port)
{
	return connects_within(af, port, 60000);
}

/* Fake TCP: the server takes both of the port, and the kernel neither accepts nor refuses. */
Test(resv, fake_tcp, .init = setup, .fini = teardown)
{
	uint16_t port;
	int fd = lab_listen(&port);

	lab_server(&lab, 4000, 4003, "127.0.0.1", 1);
	lab_server(&lab, 5000, 5000, "127.0.0.1", 1);
	lab.tunnels[0].tcp = true;
	cr_assert_eq(refuses(AF_INET, 4000), ECONNREFUSED);
	lab_start(&lab);
	for (uint16_t p = 4000; p <= 4003; p++) {
		cr_assert_eq(lab.udp->of[p], 1);
		cr_assert_eq(lab.udp->tcp[p], 1);
		cr_assert_eq(answer(AF_INET, p), EAGAIN);
		cr_assert_eq(connects(AF_INET, p), ETIMEDOUT, "port %u", p);
		cr_assert_eq(connects(AF_INET6, p), ETIMEDOUT, "port %u", p);
	}
	cr_assert_eq(lab.udp->tcp[5000], 0);
	cr_assert_eq(refuses(AF_INET, 5000), ECONNREFUSED);
	ctl_destroy(lab.ctl);
	lab.ctl = NULL;
	cr_assert_eq(lab.udp->tcp[4000], 0);
	cr_assert_eq(refuses(AF_INET, 4000), ECONNREFUSED);

	lab.tunnels[1].tcp = true;
	lab.tunnels[1].listen.port_min = lab.tunnels[1].listen.port_max = port;
	cr_assert_lt(ctl_create(&lab.ctl, &lab.conf, lab.why, sizeof(lab.why)), 0);
	cr_assert(strstr(lab.why, "TCP port") && strstr(lab.why, "in use by another process"), "%s", lab.why);
	lab.ctl = NULL;
	cr_assert_eq(lab.udp->tcp[4000], 0);
	close(fd);
}
