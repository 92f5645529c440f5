/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <sys/epoll.h>

#include <rte_errno.h>

#include "devarg.h"
#include "log.h"
#include "net.h"
#include "port_int.h"
#include "xdp_load.h"
#include "xdp_port.h"
#include "xdp_sock.h"

#define RING	   1024 /* frames of a socket each way, as a queue of AF_PACKET has */
#define BUSY_TRIES 10	/* 5 ms each: the kernel lets go of a closed socket's queue a moment later */

struct port_xdp {
	struct port_xdp_prog prog;
	char iface[IF_NAMESIZE];
	int ifindex;
	uint8_t mac[6];
	struct port_front front;
	bool alone;
	unsigned n;		      /* queues of the ethdev */
	unsigned n_sk;		      /* and of the interface */
	struct port_xsk *sk;	      /* [n_sk], those of one queue together */
	struct port_xdp_queue *queue; /* [n] */
	int epoll[PORT_FRONT_QUEUES]; /* of a queue with several sockets; -1 */
};

/* ---- what all programs steer ---- */

static struct {
	pthread_mutex_t lock;
	uint64_t words[2 * PORT_XDP_WORDS];
	struct addr *local; /* sorted */
	unsigned n_local;
	struct port_xdp *open[LIMIT_PORTS];
} ours = {.lock = PTHREAD_MUTEX_INITIALIZER};

void port_xdp_serve(uint16_t proto, uint16_t port, bool is)
{
	uint32_t word = port / 64u + (proto == FLOW_TCP ? PORT_XDP_WORDS : 0);
	uint64_t bit = UINT64_C(1) << port % 64;

	pthread_mutex_lock(&ours.lock);
	ours.words[word] = is ? ours.words[word] | bit : ours.words[word] & ~bit;
	for (unsigned i = 0; i < LIMIT_PORTS; i++)
		if (ours.open[i])
			port_xdp_word(&ours.open[i]->prog, word, ours.words[word]);
	pthread_mutex_unlock(&ours.lock);
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct addr));
}

/* Tells the programs of the addresses that are in `of` and not in `than`: both sorted. */
static void tell_more(const struct addr *of, unsigned n, const struct addr *than, unsigned m, bool are)
{
	for (unsigned i = 0, k = 0; i < n; i++) {
		while (k < m && by_bytes(&than[k], &of[i]) < 0)
			k++;
		if (k < m && by_bytes(&than[k], &of[i]) == 0)
			continue;
		for (unsigned p = 0; p < LIMIT_PORTS; p++)
			if (ours.open[p])
				port_xdp_local(&ours.open[p]->prog, &of[i], are);
	}
}

void port_xdp_locals(const struct net_tbl *t)
{
	struct addr *v = calloc(t->n_local + 1, sizeof(*v)), *old;

	if (!v)
		return; /* the next snapshot tells again */
	for (unsigned i = 0; i < t->n_local; i++)
		v[i] = t->local[i].addr;
	qsort(v, t->n_local, sizeof(*v), by_bytes);
	pthread_mutex_lock(&ours.lock);
	tell_more(v, t->n_local, ours.local, ours.n_local, true);
	tell_more(ours.local, ours.n_local, v, t->n_local, false);
	old = ours.local;
	ours.local = v;
	ours.n_local = t->n_local;
	pthread_mutex_unlock(&ours.lock);
	free(old);
}

/* From now on the port's program is told of what changes; first, of all that there is. */
static void enter(struct port_xdp *x)
{
	pthread_mutex_lock(&ours.lock);
	for (uint32_t w = 0; w < 2 * PORT_XDP_WORDS; w++)
		if (ours.words[w])
			port_xdp_word(&x->prog, w, ours.words[w]);
	for (unsigned i = 0; i < ours.n_local; i++)
		port_xdp_local(&x->prog, &ours.local[i], true);
	for (unsigned i = 0; i < LIMIT_PORTS; i++) {
		if (!ours.open[i]) {
			ours.open[i] = x;
			break;
		}
	}
	pthread_mutex_unlock(&ours.lock);
}

static void leave(const struct port_xdp *x)
{
	pthread_mutex_lock(&ours.lock);
	for (unsigned i = 0; i < LIMIT_PORTS; i++)
		if (ours.open[i] == x)
			ours.open[i] = NULL;
	pthread_mutex_unlock(&ours.lock);
}

/* ---- the interface ---- */

bool port_xdp_wanted(const struct port_conf *conf)
{
	return conf->vdev && conf->shared && strncmp(conf->device, "net_af_xdp", strlen("net_af_xdp")) == 0;
}

/* A tag that the driver takes off, no program sees. */
static bool takes_tags_off(int fd, struct ifreq *r)
{
	struct ethtool_value v = {.cmd = ETHTOOL_GFLAGS};

	r->ifr_data = (char *)&v;
	return ioctl(fd, SIOCETHTOOL, r) == 0 && v.data & ETH_FLAG_RXVLAN;
}

static int interface(const struct port_conf *conf, struct port_xdp *x, char *why, size_t why_n)
{
	struct ifreq r = {0}, tags;
	bool untags;
	int fd, err = 0;

	port_base(conf, x->iface, sizeof(x->iface));
	x->ifindex = (int)if_nametoindex(x->iface);
	if (!x->iface[0])
		return port_fail(conf, why, why_n, -EINVAL, "iface=NAME is missing");
	if (!x->ifindex)
		return port_fail(conf, why, why_n, -ENODEV, "no interface %s", x->iface);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return port_fail(conf, why, why_n, -errno, "a socket: %s", strerror(errno));
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", x->iface);
	tags = r;
	if (ioctl(fd, SIOCGIFHWADDR, &r))
		err = -errno;
	untags = conf->vlan && takes_tags_off(fd, &tags);
	close(fd);
	if (untags)
		return port_fail(
			conf, why, why_n, -ENOTSUP,
			"interface %s takes VLAN tags off before a program sees them: ethtool -K %s rxvlan off",
			x->iface, x->iface);
	if (err)
		return port_fail(conf, why, why_n, err, "no interface %s: %s", x->iface, strerror(-err));
	if (r.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return port_fail(conf, why, why_n, -ENOTSUP,
				 "interface %s is no Ethernet, which AF_XDP needs: take net_af_packet", x->iface);
	memcpy(x->mac, r.ifr_hwaddr.sa_data, sizeof(x->mac));
	return 0;
}

/* Queues that the interface receives by. */
static unsigned count_queues(const char *iface)
{
	char path[80];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/class/net/%s/queues", iface);
	d = opendir(path);
	while (d && (e = readdir(d)))
		n += strncmp(e->d_name, "rx-", 3) == 0;
	if (d)
		closedir(d);
	return n;
}

/* ---- sockets ---- */

static uint32_t frame_size(const struct port_conf *conf)
{
	return conf->mtu + PORT_XDP_HEAD + PORT_XSK_HEADROOM <= 2048 ? 2048 : 4096;
}

static uint32_t power(unsigned file)
{
	uint32_t n = RING;

	while (file && n < file && n < 1u << 15)
		n *= 2;
	while (file && n / 2 >= file && n > 64)
		n /= 2;
	return n;
}

static void close_sockets(struct port_xdp *x)
{
	for (unsigned i = 0; x->sk && i < x->n_sk; i++)
		port_xsk_close(&x->sk[i]);
}

static int open_one(const struct port_xsk_conf *c, struct port_xsk *s)
{
	const struct timespec moment = {.tv_nsec = 5000000};
	int err = port_xsk_open(s, c);

	for (unsigned i = 0; err == -EBUSY && i < BUSY_TRIES; i++) {
		nanosleep(&moment, NULL);
		err = port_xsk_open(s, c);
	}
	return err;
}

/* The ethdev's queue q has the interface's queues q, q + n, ... */
static int open_sockets(const struct port_conf *conf, struct port_xdp *x, bool copy, char *why, size_t why_n)
{
	unsigned at = 0;

	for (unsigned q = 0; q < x->n; q++) {
		x->queue[q].sk = &x->sk[at];
		x->queue[q].n = 0;
		for (uint32_t k = q; k < x->n_sk; k += x->n) {
			const struct port_xsk_conf c = {.iface = x->iface,
							.queue = k,
							.rx = power(conf->rx_desc),
							.tx = k == q ? power(conf->tx_desc) : 0,
							.frame = frame_size(conf),
							.copy = copy};
			int err = open_one(&c, &x->sk[at]);

			if (err == -EBUSY)
				return port_fail(conf, why, why_n, err,
						 "queue %u of interface %s has an AF_XDP socket of another process", k,
						 x->iface);
			if (err)
				return port_refused(conf, why, why_n, err, "AF_XDP socket of queue %u: %s", k,
						    strerror(-err));
			at++;
			x->queue[q].n++;
		}
	}
	return 0;
}

static bool copies(const struct port_conf *conf)
{
	char v[8];

	return devarg_read(conf->device, "force_copy", v, sizeof(v)) && v[0] != '0';
}

/* Sockets first, without frames: whoever has them all, has the interface, and a program of ours there is a leftover. */
static int sockets_and_program(const struct port_conf *conf, struct port_xdp *x, char *why, size_t why_n)
{
	const struct port_xdp_conf pc = {.max_ip = (uint16_t)(frame_size(conf) - PORT_XSK_HEADROOM - PORT_XDP_HEAD),
					 .vlan = conf->vlan};
	char text[300] = "";
	bool left = false;
	int err = open_sockets(conf, x, copies(conf), why, why_n);

	if (err)
		return err;
	err = port_xdp_clear(x->ifindex, &left, text, sizeof(text));
	if (err)
		return port_refused(conf, why, why_n, err, "%s", text);
	if (left)
		log_info("port %s: interface %s: took off the XDP program that a killed process had left", conf->name,
			 x->iface);
	err = port_xdp_attach(&x->prog, x->ifindex, x->n_sk, &pc, &x->alone, text, sizeof(text));
	if (err)
		return port_refused(conf, why, why_n, err, "%s", text);
	if (text[0])
		log_line(x->prog.skb ? LOG_WARN : LOG_INFO, "port %s: interface %s: %s", conf->name, x->iface, text);
	if (!x->prog.skb)
		return 0;
	/* Zero copy would wait for frames in the driver, of which there will be none. */
	close_sockets(x);
	return open_sockets(conf, x, true, why, why_n);
}

static int connect_sockets(const struct port_conf *conf, struct port_xdp *x, char *why, size_t why_n)
{
	for (unsigned q = 0; q < x->n; q++)
		for (unsigned i = 0; i < x->queue[q].n; i++) {
			int err = port_xdp_socket(&x->prog, q + i * x->n, x->queue[q].sk[i].fd);

			if (err)
				return port_fail(conf, why, why_n, err, "AF_XDP socket of queue %u in its map: %s",
						 q + i * x->n, strerror(-err));
		}
	return 0;
}

/* ---- the ethdev ---- */

static int make_device(const struct port_conf *conf, struct port_xdp *x, char *why, size_t why_n)
{
	char name[32];
	int err;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(conf->device, ","), conf->device);
	err = port_front_make(&x->front, name, x->n);
	if (err)
		return port_fail(conf, why, why_n, err, "its device: %s", strerror(-err));
	for (unsigned q = 0; q < x->n; q++)
		x->queue[q].front = &x->front.queue[q];
	return 0;
}

static int give_memory(const struct port_conf *conf, struct port_xdp *x)
{
	x->n_sk = count_queues(x->iface);
	if (!x->n_sk)
		return -ENODEV;
	x->n = x->n_sk < conf->workers ? x->n_sk : conf->workers;
	if (x->n > PORT_FRONT_QUEUES)
		x->n = PORT_FRONT_QUEUES;
	x->sk = calloc(x->n_sk, sizeof(*x->sk));
	x->queue = calloc(x->n, sizeof(*x->queue));
	for (unsigned q = 0; q < PORT_FRONT_QUEUES; q++)
		x->epoll[q] = -1;
	return x->sk && x->queue ? 0 : -ENOMEM;
}

int port_xdp_open(const struct port_conf *conf, struct port_xdp **out, uint16_t *id, char *why, size_t why_n)
{
	struct port_xdp *x = calloc(1, sizeof(*x));
	int err = -ENOMEM;

	if (!x)
		return port_fail(conf, why, why_n, err, "no memory");
	err = interface(conf, x, why, why_n);
	if (!err) {
		err = give_memory(conf, x);
		if (err)
			port_fail(conf, why, why_n, err, "queues of interface %s: %s", x->iface, strerror(-err));
	}
	if (!err)
		err = sockets_and_program(conf, x, why, why_n);
	if (!err)
		err = connect_sockets(conf, x, why, why_n);
	if (!err)
		err = make_device(conf, x, why, why_n);
	if (err) {
		port_xdp_close(x);
		return err;
	}
	enter(x);
	*out = x;
	*id = x->front.id;
	return 0;
}

/* What a worker that sleeps is woken by: the socket, or what stands for all of them. */
static int fd_of(struct port_xdp *x, unsigned q)
{
	const struct port_xdp_queue *qu = &x->queue[q];

	if (qu->n == 1)
		return qu->sk[0].fd;
	if (x->epoll[q] < 0)
		x->epoll[q] = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < qu->n && x->epoll[q] >= 0; i++) {
		struct epoll_event e = {.events = EPOLLIN};

		epoll_ctl(x->epoll[q], EPOLL_CTL_ADD, qu->sk[i].fd, &e);
	}
	return x->epoll[q] < 0 ? 0 : x->epoll[q];
}

void port_xdp_start(struct port_xdp *x, struct rte_mempool *const *pools, int *rx_fd)
{
	void *arg[PORT_FRONT_QUEUES];

	for (unsigned q = 0; q < x->n; q++) {
		x->queue[q].pool = pools[q];
		x->queue[q].port = x->front.id;
		arg[q] = &x->queue[q];
		rx_fd[q] = fd_of(x, q);
	}
	port_front_start(&x->front, arg, port_xdp_rx, port_xdp_tx);
}

void port_xdp_close(struct port_xdp *x)
{
	if (!x)
		return;
	leave(x);
	port_xdp_unload(&x->prog);
	close_sockets(x);
	for (unsigned q = 0; x->queue && q < x->n; q++)
		if (x->epoll[q] >= 0)
			close(x->epoll[q]);
	port_front_free(&x->front);
	free(x->queue);
	free(x->sk);
	free(x);
}

unsigned port_xdp_queues(const struct port_xdp *x)
{
	return x->n;
}

int port_xdp_ifindex(const struct port_xdp *x)
{
	return x->ifindex;
}

const uint8_t *port_xdp_mac(const struct port_xdp *x)
{
	return x->mac;
}

static void read_stats(const struct port_xdp *x, struct port_xdp_stats *out)
{
	*out = (struct port_xdp_stats){.skb = x->prog.skb, .alone = x->alone, .sockets = x->n_sk, .zero_copy = true};
	for (unsigned i = 0; i < x->n_sk; i++) {
		out->lost += port_xsk_lost(&x->sk[i]);
		out->zero_copy &= x->sk[i].zero_copy;
	}
	for (unsigned q = 0; q < x->n; q++) {
		out->too_long += x->queue[q].too_long;
		out->no_buffer += x->queue[q].no_buffer;
	}
}

bool port_xdp_stats(const struct port_xdp *x, struct port_xdp_stats *out)
{
	bool open = false;

	pthread_mutex_lock(&ours.lock);
	for (unsigned i = 0; i < LIMIT_PORTS && x; i++)
		open |= ours.open[i] == x;
	if (open)
		read_stats(x, out);
	pthread_mutex_unlock(&ours.lock);
	return open;
}
