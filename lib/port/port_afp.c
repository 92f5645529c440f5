/* SPDX-License-Identifier: MIT */

/*
 * AF_PACKET's sockets, of which the driver lets everything in: the frames that the kernel itself sends, which on the
 * loopback interface come in a second time, and traffic that can never be ours.  Both take room in a ring of 1024
 * frames, and a copy each.  The driver has no arguments for either, so its sockets are found by what they are bound to.
 */

#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devarg.h"
#include "net_wire.h"
#include "port_int.h"

#define AT_IP4_PROTO (ETH_HEAD + IP4_PROTO)
#define AT_IP6_NEXT  (ETH_HEAD + IP6_NEXT)
#define AT_PKTTYPE   ((uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE))
#define PROTO_TCP    6
#define TAKE	     0xffffffff
/* The driver's own sizes, where its arguments name none. */
#define DRIVER_FRAME  2048
#define DRIVER_FRAMES 512

static int attach(int fd, struct sock_filter *code, size_t n)
{
	struct sock_fprog prog = {.len = (unsigned short)n, .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ? -errno : 0;
}

/* What the kernel sends is not taken.  (PACKET_IGNORE_OUTGOING has no effect on the fanout group that the driver
 * makes.) */
static int take_incoming(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_PKTTYPE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, TAKE),
	};

	return attach(fd, code, sizeof(code) / sizeof(code[0]));
}

/*
 * The same, and of the rest only: of IPv4, UDP and fragments of it; of IPv6, also what may hold UDP behind extension
 * headers; TCP where it is wanted; and of both, ICMP that says of a packet that it was too big.
 */
static int take_ours(int fd, bool tcp)
{
	const unsigned tcp_or = tcp ? PROTO_TCP : PROTO_UDP;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_PKTTYPE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 19, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETH_TYPE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_T_IPV4, 0, 5),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AT_IP4_PROTO),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROTO_ICMP, 0, 12), /* to PROTO_UDP */
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, ETH_HEAD),		/* the IP header's length */
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, ETH_HEAD),		/* type and code */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_UNREACH << 8 | ICMP_TOO_BIG, 11, 12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_T_IPV6, 0, 11),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AT_IP6_NEXT),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROTO_ICMP6, 0, 2),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HEAD + IP6_HEAD),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP6_TOO_BIG, 6, 7),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROTO_HOPOPTS, 5, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROTO_ROUTING, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROTO_FRAGMENT, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROTO_DSTOPTS, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROTO_UDP, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, tcp_or, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, TAKE),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	return attach(fd, code, sizeof(code) / sizeof(code[0]));
}

static bool bound_to(int fd, int ifindex)
{
	struct sockaddr_ll ll = {0};
	socklen_t len = sizeof(int);
	int domain = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) || domain != AF_PACKET)
		return false;
	len = sizeof(ll);
	return getsockname(fd, (struct sockaddr *)&ll, &len) == 0 && ll.sll_ifindex == ifindex;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

unsigned port_afp_tune(const struct port_conf *conf, const char *iface, int *fd, unsigned max)
{
	int ifindex = (int)if_nametoindex(iface);
	DIR *d = ifindex > 0 ? opendir("/proc/self/fd") : NULL;
	unsigned found = 0;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *end;
		int n = (int)strtol(e->d_name, &end, 10);

		if (*end || end == e->d_name || !bound_to(n, ifindex))
			continue;
		if (conf->shared)
			take_ours(n, conf->tcp);
		else
			take_incoming(n);
		if (found < max)
			fd[found] = n;
		found++;
	}
	if (d)
		closedir(d);
	qsort(fd, found < max ? found : max, sizeof(*fd), by_number);
	return found;
}

static uint32_t size_arg(const char *devargs, const char *key, uint32_t otherwise)
{
	char v[32];

	return devarg_read(devargs, key, v, sizeof(v)) ? (uint32_t)strtoul(v, NULL, 10) : otherwise;
}

/*
 * Where the driver has the rings of its socket.  A mapping of our own beside it is of the same pages, but counts as
 * resident a second time.
 */
static void *drivers_map(int fd, size_t len)
{
	unsigned long from, to, inode;
	FILE *f = fopen("/proc/self/maps", "re");
	char *line = NULL;
	void *map = NULL;
	struct stat st;
	size_t n = 0;

	if (fstat(fd, &st))
		st.st_ino = 0;
	while (f && !map && getline(&line, &n, f) > 0)
		if (sscanf(line, "%lx-%lx %*s %*s %*s %lu socket:", &from, &to, &inode) == 3 && inode == st.st_ino &&
		    to - from == len)
			map = (void *)from;
	free(line);
	if (f)
		fclose(f);
	return map;
}

int port_afp_ring(const char *devargs, int fd, struct port_ring *r)
{
	uint32_t block = size_arg(devargs, "blocksz", (uint32_t)getpagesize());
	uint32_t frame = size_arg(devargs, "framesz", DRIVER_FRAME);
	uint32_t frames = size_arg(devargs, "framecnt", DRIVER_FRAMES);
	uint8_t *map;
	size_t one;

	memset(r, 0, sizeof(*r));
	if (frame == 0 || block < frame || frames < block / frame)
		return -EINVAL;
	/* As the driver: whole blocks, one ring in and one ring out, the latter behind the former. */
	one = (size_t)block * (frames / (block / frame));
	map = drivers_map(fd, 2 * one);
	if (!map)
		return -ENOENT;
	*r = (struct port_ring){.base = map + one, .frame_size = frame};
	r->frames = frames;
	r->longest = frame - (uint32_t)(TPACKET2_HDRLEN - sizeof(struct sockaddr_ll));
	return 0;
}
