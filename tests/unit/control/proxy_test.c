/* SPDX-License-Identifier: MIT */

/* What a target is told of its client before all else: the header's bytes, and their place. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake.h"
#include "proxy.h"

/* By hand, from proxy-protocol.txt of HAProxy, section 2.2: 203.0.113.7:40000 to 198.51.100.9:4003. */
static const uint8_t v4[] = {
	0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, /* the signature */
	0x21,									/* version 2, PROXY */
	0x11,									/* AF_INET, STREAM */
	0x00, 0x0c,								/* 12 bytes follow */
	203,  0,    113,  7,							/* source, */
	198,  51,   100,  9,							/* destination, */
	0x9c, 0x40,								/* port of the source */
	0x0f, 0xa3,								/* and of the destination */
};

/* [2001:db8::7]:65535 to [2001:db8:1::9]:1. */
static const uint8_t v6[] = {
	0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x21, /* AF_INET6, STREAM */
	0x00, 0x24,									    /* 36 bytes follow */
	0x20, 0x01, 0x0d, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x20, 0x01,
	0x0d, 0xb8, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x09, 0xff, 0xff, 0x00, 0x01,
};

static const struct addr peer6 = {{0x20, 0x01, 0x0d, 0xb8, [15] = 7}};
static const struct addr local6 = {{0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 9}};

static void ends(struct chan *ch)
{
	ch->peer = addr_v4(203u << 24 | 113 << 8 | 7);
	ch->peer_port = 40000;
	ch->far = addr_v4(198u << 24 | 51 << 16 | 100 << 8 | 9);
	ch->far_port = 4003;
}

Test(proxy, header_v4)
{
	struct chan ch = {.err = 0};
	uint8_t head[PROXY_MAX];

	ends(&ch);
	cr_assert_eq(proxy_head(&ch, head), sizeof(v4));
	cr_expect_eq(memcmp(head, v4, sizeof(v4)), 0);
}

Test(proxy, header_v6)
{
	struct chan ch = {.peer = peer6, .peer_port = 65535, .far = local6, .far_port = 1};
	uint8_t head[PROXY_MAX];

	cr_assert_eq(sizeof(v6), PROXY_MAX);
	cr_assert_eq(proxy_head(&ch, head), sizeof(v6));
	cr_expect_eq(memcmp(head, v6, sizeof(v6)), 0);
}

/* One of each family: both as IPv6, whichever it is. */
Test(proxy, header_mixed)
{
	static const uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 7};
	struct chan ch = {.err = 0};
	uint8_t head[PROXY_MAX];

	ends(&ch);
	ch.far = local6;
	cr_assert_eq(proxy_head(&ch, head), PROXY_MAX);
	cr_expect_eq(head[13], 0x21);
	cr_expect_eq(memcmp(head + 16, mapped, 16), 0);
	cr_expect_eq(memcmp(head + 32, local6.b, 16), 0);
	ch.far = ch.peer;
	ch.peer = peer6;
	cr_assert_eq(proxy_head(&ch, head), PROXY_MAX);
	cr_expect_eq(head[13], 0x21);
	cr_expect_eq(memcmp(head + 16, peer6.b, 16), 0);
	cr_expect_eq(memcmp(head + 32, mapped, 16), 0);
}

/* ---- where it stands ---- */

static struct stream *opened(void)
{
	struct chan *ch = chan_alloc(&lab.chans, 0);

	cr_assert_not_null(ch);
	ends(ch);
	ch->sid = 3;
	return opens_with(ch);
}

static int server(bool proxy)
{
	uint16_t port;
	int l;

	begin(1, 64);
	l = lab_listen(&port);
	fcntl(l, F_SETFL, O_NONBLOCK);
	lab_server(&lab, 4000, 4000, "127.0.0.1", port);
	lab.tunnels[0].proxy = proxy;
	lab_start(&lab);
	return l;
}

static int accepted(int l)
{
	int fd = -1;

	until((fd = accept4(l, NULL, NULL, SOCK_NONBLOCK)) >= 0);
	return fd;
}

/* So many bytes and no more. */
static void gets(int fd, const void *want, size_t n)
{
	uint8_t buf[256];
	size_t got = 0;

	cr_assert_lt(n, sizeof(buf));
	until(({
		ssize_t k = now(fd, buf + got, sizeof(buf) - got);

		got += k > 0 ? (size_t)k : 0;
		got >= n;
	}));
	cr_assert_eq(got, n);
	cr_assert_eq(memcmp(buf, want, n), 0);
}

/* A target that speaks first has it all the same. */
Test(proxy, before_the_first_byte, .init = setup)
{
	struct stream *s;
	int l = server(true), fd;

	echo = true;
	s = opened();
	fd = accepted(l);
	gets(fd, v4, sizeof(v4));
	cr_assert_eq(ctl_stats(lab.ctl)->tcp_out_bytes, 0, "of streams' bytes it is none");
	cr_assert_eq(says(s, "hello", 5), 5);
	gets(fd, "hello", 5);
	exchange(fd, 1 << 20);
	cr_assert_eq(ctl_stats(lab.ctl)->tcp_out_bytes, 5 + (1 << 20));
	cr_assert(sleeps());
	close(fd);
	finish();
	close(l);
}

/* The peer ends at once: an end, behind the header. */
Test(proxy, before_an_end, .init = setup)
{
	int l = server(true), fd;
	struct stream *s;
	char c;

	hold = true;
	s = opened();
	until(s->seen & CHAN_EV_UP);
	post(s, CHAN_EV_EOF);
	fd = accepted(l);
	gets(fd, v4, sizeof(v4));
	until(now(fd, &c, 1) == 0);
	close(fd);
	s = opened();
	cr_assert_eq(says(s, "bye", 3), 3);
	closes(s, false);
	fd = accepted(l);
	until(s->gone);
	gets(fd, (uint8_t[sizeof(v4) + 3]){0x0d, 0x0a, 0x0d, 0x0a, 0,	 0x0d, 0x0a, 'Q', 'U', 'I', 'T',
					   0x0a, 0x21, 0x11, 0,	   12,	 203,  0,    113, 7,   198, 51,
					   100,	 9,    0x9c, 0x40, 0x0f, 0xa3, 'b',  'y', 'e'},
	     sizeof(v4) + 3);
	until(now(fd, &c, 1) == 0);
	close(fd);
	finish();
	close(l);
}

Test(proxy, off, .init = setup)
{
	int l = server(false), fd;
	struct stream *s = opened();

	fd = accepted(l);
	until(s->seen & CHAN_EV_UP);
	cr_assert_eq(says(s, "hello", 5), 5);
	gets(fd, "hello", 5);
	close(fd);
	finish();
	close(l);
}

/* From the next connection on; the one that there is goes on as it began. */
Test(proxy, changed, .init = setup)
{
	int l = server(false), was, is;
	struct ctl_tunnel t = lab.tunnels[0];
	struct stream *old = opened(), *s;

	was = accepted(l);
	until(old->seen & CHAN_EV_UP);
	t.proxy = true;
	cr_assert_eq(ctl_tunnel_change(lab.ctl, 0, &t), 0);
	s = opened();
	is = accepted(l);
	gets(is, v4, sizeof(v4));
	cr_assert_eq(says(s, "new", 3), 3);
	gets(is, "new", 3);
	cr_assert_eq(says(old, "old", 3), 3);
	gets(was, "old", 3);
	close(is);
	t.proxy = false;
	cr_assert_eq(ctl_tunnel_change(lab.ctl, 0, &t), 0);
	s = opened();
	is = accepted(l);
	until(s->seen & CHAN_EV_UP);
	cr_assert_eq(says(s, "bare", 4), 4);
	gets(is, "bare", 4);
	close(is);
	close(was);
	finish();
	close(l);
}

/* ---- a socket that takes little at once ---- */

static size_t clip; /* bytes of a header and what follows it that a call takes; 0: all */
static unsigned clipped;

/* In place of the C library's. */
ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct iovec v[2];
	struct msghdr less = *m;

	if (clip && m->msg_iovlen == 2) {
		memcpy(v, m->msg_iov, sizeof(v));
		v[0].iov_len = v[0].iov_len < clip ? v[0].iov_len : clip;
		v[1].iov_len = clip - v[0].iov_len < v[1].iov_len ? clip - v[0].iov_len : v[1].iov_len;
		less.msg_iov = v;
		clipped++;
	}
	return syscall(SYS_sendmsg, fd, &less, flags);
}

/* The rest goes when there is room again: no byte twice, none left out, and the stream's behind it. */
Test(proxy, in_pieces, .init = setup)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	uint8_t want[sizeof(v4) + 100];
	char dir[] = "/tmp/control-proxy-XXXXXX";
	struct stream *s;
	int l, fd;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", dir);
	l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(l, (struct sockaddr *)&un, sizeof(un)), 0);
	cr_assert_eq(listen(l, 4), 0);
	begin(1, 64);
	lab_server(&lab, 4000, 4000, NULL, 0);
	lab.tunnels[0].target_path = un.sun_path;
	lab.tunnels[0].proxy = true;
	lab_start(&lab);
	memcpy(want, v4, sizeof(v4));
	for (unsigned i = 0; i < 100; i++)
		want[sizeof(v4) + i] = (uint8_t)i;
	clip = 5;
	s = opened();
	cr_assert_eq(says(s, want + sizeof(v4), 100), 100);
	closes(s, false);
	fd = accepted(l);
	gets(fd, want, sizeof(want));
	cr_assert_eq(clipped, 6, "in %u pieces", clipped);
	until(s->gone);
	cr_assert_eq(ctl_stats(lab.ctl)->tcp_out_bytes, 100);
	close(fd);
	finish();
	close(l);
	unlink(un.sun_path);
	rmdir(dir);
}
