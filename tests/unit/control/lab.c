/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "lab.h"
#include "log.h"

#define MBUFS 2047

/* Tests that say nothing of shares have all that there is for any tunnel. */
static void share_all(struct shares *s, unsigned total)
{
	s->common = total;
	for (unsigned i = 0; i < s->n; i++) {
		s->of[i].sure = 0;
		s->of[i].most = total;
	}
}

void lab_init(struct lab *l, unsigned workers, unsigned chunks, unsigned chans)
{
	memset(l, 0, sizeof(*l));
	l->mbufs = rte_pktmbuf_pool_create("lab", MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
	cr_assert_not_null(l->mbufs);
	cr_assert_eq(chan_pool_create(&l->chans, chunks, chans, LAB_TUNNELS, 0), 0);
	share_all(&l->chans.chunk_shares, chunks);
	share_all(&l->chans.chan_shares, chans);
	for (unsigned w = 0; w < workers; w++)
		cr_assert_eq(border_create(&l->borders[w], w, chans + 64, 256, 0), 0);
	l->udp = calloc(1, sizeof(*l->udp));
	l->conf = (struct ctl_conf){
		.tunnels = l->tunnels,
		.ports = l->ports,
		.borders = l->borders,
		.n_workers = workers,
		.chans = &l->chans,
		.udp = l->udp,
		.frames = l->mbufs,
	};
	sigemptyset(&l->conf.signals);
	snprintf(l->log, sizeof(l->log), "/tmp/control-test-%d.log", (int)getpid());
	cr_assert_eq(log_open(l->log, LOG_DEBUG), 0);
}

void lab_port(struct lab *l, unsigned i, bool tap, const char *ifname)
{
	static const char *const names[] = {"wan0", "wan1"};

	l->devs[i] = (struct port){
		.id = (uint16_t)i,
		.n_rxq = 1,
		.n_txq = 1,
		.mac = {2, 0, 0, 0, 0, (uint8_t)i},
		.rss = {.workers = (uint16_t)l->conf.n_workers},
	};
	l->ports[i] = (struct ctl_port){
		.name = names[i],
		.port = &l->devs[i],
		.tap = tap,
		.ifname = ifname,
		.mtu = 1500,
	};
	if (l->conf.n_ports <= i)
		l->conf.n_ports = i + 1;
}

unsigned lab_client(struct lab *l, uint16_t tcp_port, const char *remote, uint16_t min, uint16_t max)
{
	static const uint16_t workers[LAB_WORKERS] = {0, 1, 2, 3};
	unsigned i = l->conf.n_tunnels++;

	l->tunnels[i] = (struct ctl_tunnel){
		.name = "us",
		.client = true,
		.listen = {"127.0.0.1", tcp_port, tcp_port},
		.remote = {remote, min, max},
		.port = UINT16_MAX,
		.conn = l->conf.n_workers,
		.slot_worker = workers,
	};
	return i;
}

unsigned lab_server(struct lab *l, uint16_t min, uint16_t max, const char *target, uint16_t target_port)
{
	unsigned i = l->conf.n_tunnels++;

	l->tunnels[i] = (struct ctl_tunnel){
		.name = "hk",
		.listen = {"", min, max},
		.target = {target, target_port, target_port},
		.port = UINT16_MAX,
	};
	return i;
}

/* Instance k > 0. */
static void start_more(struct lab *l, unsigned k)
{
	struct ctl_conf c = l->conf;

	for (unsigned w = 0; w < c.n_workers; w++) {
		cr_assert_eq(border_join(l->borders[w], w, l->chans.chans->size, 0), 0);
		l->more_borders[k - 1][w] = border_of(l->borders[w], k);
	}
	c.id = k;
	c.first = l->ctl;
	c.borders = l->more_borders[k - 1];
	cr_assert_eq(ctl_create(&l->more[k - 1], &c, l->why, sizeof(l->why)), 0, "%s", l->why);
}

void lab_start(struct lab *l)
{
	cr_assert_eq(ctl_create(&l->ctl, &l->conf, l->why, sizeof(l->why)), 0, "%s", l->why);
	for (unsigned k = 1; k < l->conf.n_controls; k++)
		start_more(l, k);
}

void lab_stop(struct lab *l)
{
	for (unsigned k = 1; k < l->conf.n_controls; k++)
		ctl_destroy(l->more[k - 1]);
	ctl_destroy(l->ctl);
	for (unsigned w = 0; w < l->conf.n_workers; w++)
		border_destroy(l->borders[w]);
	cr_expect(rte_mempool_full(l->mbufs), "mbufs lost");
	cr_expect(rte_mempool_full(l->chans.chunks), "chunks lost: %u", rte_mempool_in_use_count(l->chans.chunks));
	cr_expect(rte_mempool_full(l->chans.chans), "chans lost: %u", rte_mempool_in_use_count(l->chans.chans));
	chan_pool_destroy(&l->chans);
	rte_mempool_free(l->mbufs);
	for (unsigned p = 0; p < 65536; p++)
		cr_expect(l->udp->of[p] == 0 && l->udp->tcp[p] == 0, "port %u left in net_ports", p);
	free(l->udp);
	log_close();
	unlink(l->log);
}

void lab_turn(struct lab *l, int timeout_ms)
{
	for (unsigned w = 0; w < l->conf.n_workers; w++) {
		const struct net_tbl *t = atomic_load(&l->borders[w]->tbl);

		atomic_store(&l->borders[w]->adopted, t->gen);
	}
	ctl_turn(l->ctl, timeout_ms);
	for (unsigned k = 1; k < l->conf.n_controls; k++)
		ctl_turn(l->more[k - 1], 0);
}

bool lab_logged(const struct lab *l, const char *text)
{
	static char buf[1 << 18];
	FILE *f;
	size_t n;

	log_flush(60000);
	f = fopen(l->log, "r");
	n = f ? fread(buf, 1, sizeof(buf) - 1, f) : 0;
	if (f)
		fclose(f);
	buf[n] = '\0';
	return strstr(buf, text) != NULL;
}

static int tcp_socket(uint16_t port, struct sockaddr_in *in)
{
	struct timeval tv = {.tv_sec = 60};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	*in = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return fd;
}

int lab_connect(uint16_t port)
{
	struct sockaddr_in in;
	int fd = tcp_socket(port, &in);

	cr_assert_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0, "connect: %s", strerror(errno));
	return fd;
}

int lab_listen(uint16_t *port)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);
	int fd = tcp_socket(0, &in);

	cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(listen(fd, 1024), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = ntohs(in.sin_port);
	return fd;
}
