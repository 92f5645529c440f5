/* SPDX-License-Identifier: MIT */

/* A worker that is woken by its port's interrupts: a virtio device, whose other end the test holds. */

#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_ethdev.h>

#include "bed.h"
#include "eal.h"
#include "port.h"
#include "worker_int.h"

TestSuite(pipeline_idle, .init = eal_start, .timeout = 120);

static struct bed *b;
static struct worker *w;
static struct port host, dev, kernel, exc; /* of each pair the test has the first */
static pthread_t thread;

static void open_port(struct port *p, const char *fmt)
{
	struct rte_mempool *pools[1] = {b->pool};
	struct port_conf c = {.name = "wan0", .vdev = true, .workers = 1, .mtu = 1500, .pools = pools};
	char device[64], why[256];

	snprintf(device, sizeof(device), fmt, getpid());
	c.device = device;
	cr_assert_eq(port_start(&c, p, why, sizeof(why)), 0, "%s", why);
}

static void set(bool closed)
{
	struct net_tbl *t = bed_copy(&b->g[CLIENT]);

	t->dev[0].closed = closed;
	bed_publish(&b->g[CLIENT], t);
}

static void *loop(void *arg)
{
	cr_assert_eq(worker_main(arg), 0);
	return NULL;
}

static void open_pair(struct port *far, const char *vhost, struct port *near, const char *virtio)
{
	struct rte_eth_link link = {0};

	open_port(far, vhost);
	open_port(near, virtio);
	cr_assert(near->rx_intr);
	while (!link.link_status)
		cr_assert_eq(rte_eth_link_get_nowait(far->id, &link), 0);
}

static void begin_with(const struct worker_port *p)
{
	set(true);
	b->g[CLIENT].wp[0][0] = *p;
	set(false);
	cr_assert_eq(pthread_create(&thread, NULL, loop, w), 0);
}

static void open_dev(void)
{
	b = bed_new(&(struct bed_conf){.cipher = "aes"});
	w = b->g[CLIENT].w[0];
	open_pair(&host, "net_vhost0,iface=/tmp/kcpgate-idle-%d", &dev, "net_virtio_user0,path=/tmp/kcpgate-idle-%d");
}

/* The worker's one port is the device, which strikes `fd`, or so it is told. */
static void begin(int fd)
{
	open_dev();
	begin_with(&(struct worker_port){
		.id = dev.id, .steer = true, .rx_fd = fd < 0 ? dev.rx_fd[0] : fd, .rx_intr = true});
}

/* And its kernel interface is a device as well, whose other end plays the kernel, and which strikes `fd`. */
static void begin_exc(int fd)
{
	open_dev();
	open_pair(&kernel, "net_vhost1,iface=/tmp/kcpgate-idle-exc-%d", &exc,
		  "net_virtio_user1,path=/tmp/kcpgate-idle-exc-%d");
	begin_with(&(struct worker_port){.id = dev.id,
					 .steer = true,
					 .rx_fd = dev.rx_fd[0],
					 .rx_intr = true,
					 .has_exc = true,
					 .exc = exc.id,
					 .exc_fd = fd < 0 ? exc.rx_fd[0] : fd});
}

static void end(void)
{
	worker_stop(w);
	pthread_join(thread, NULL);
	set(true);
	port_stop(&exc);
	port_stop(&kernel);
	port_stop(&dev);
	port_stop(&host);
	bed_end(b);
}

/* Waits for what must come; the suite's time limit is the guard. */
#define await(cond)          \
	do {                 \
		usleep(200); \
	} while (!(cond))
#define see(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)

/* One frame that is not a tunnel's, to a worker that sleeps: it comes out as what the kernel is to have. */
static void one_frame(uint64_t sleeps)
{
	uint8_t arp[46] = {0};
	struct rte_mbuf *m = bed_frame(b, 0x806, arp, sizeof(arp));
	struct rte_mbuf *out;

	await(see(w->stats.sleeps) > sleeps);
	cr_assert_eq(rte_eth_tx_burst(host.id, 0, &m, 1), 1);
	await(border_punts(b->g[CLIENT].border[0], &out, 1));
	rte_pktmbuf_free(out);
}

/* Told to strike, and then a turn, and only then asleep: no frame lies there until the sleep is over by itself. */
Test(pipeline_idle, struck)
{
	unsigned frames = 0;

	begin(-1);
	cr_assert(w->all_wake);
	cr_assert_eq(w->intr, 1);
	while (see(w->stats.interrupts) < 20) {
		one_frame(see(w->stats.sleeps));
		frames++;
	}
	cr_assert_leq(see(w->stats.interrupts), frames, "each frame strikes once");
	cr_assert_eq(see(w->stats.rx_packets), frames);
	cr_assert(w->all_wake);
	end();
}

/* An interrupt that never comes: frames are found by time, and before long it is not waited for any more. */
Test(pipeline_idle, never_struck)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	begin(fd);
	cr_assert(w->all_wake);
	while (see(w->all_wake))
		one_frame(see(w->stats.sleeps));
	cr_assert_geq(see(w->stats.interrupts_missed), 16);
	cr_assert_eq(see(w->stats.interrupts), 0);
	for (unsigned i = 0; i < 20; i++)
		one_frame(see(w->stats.sleeps));
	end();
	close(fd);
}

/* One frame from `from`, to a worker that sleeps: it leaves by the other. */
static void across(uint64_t sleeps, const struct port *from, const struct port *to)
{
	uint8_t arp[46] = {0};
	struct rte_mbuf *m = bed_frame(b, 0x806, arp, sizeof(arp));

	await(see(w->stats.sleeps) > sleeps);
	cr_assert_eq(rte_eth_tx_burst(from->id, 0, &m, 1), 1);
	await(rte_eth_rx_burst(to->id, 0, &m, 1) == 1);
	rte_pktmbuf_free(m);
}

/* What the kernel sends strikes as what the port receives does. */
Test(pipeline_idle, struck_by_the_kernels)
{
	unsigned frames = 0;

	begin_exc(-1);
	cr_assert(w->all_wake, "it looks by time");
	while (see(w->stats.interrupts) < 40) {
		across(see(w->stats.sleeps), &kernel, &host);
		across(see(w->stats.sleeps), &host, &kernel);
		frames += 2;
	}
	cr_assert_leq(see(w->stats.interrupts), frames, "each frame strikes once");
	cr_assert_eq(see(w->stats.rx_packets), frames / 2);
	cr_assert_eq(see(w->stats.injected), frames / 2);
	cr_assert(w->all_wake);
	end();
}

/* One of the two that never comes is as good as none. */
Test(pipeline_idle, never_struck_by_the_kernels)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	begin_exc(fd);
	cr_assert(w->all_wake, "it looks by time");
	while (see(w->all_wake))
		across(see(w->stats.sleeps), &kernel, &host);
	cr_assert_geq(see(w->stats.interrupts_missed), 16);
	for (unsigned i = 0; i < 20; i++)
		across(see(w->stats.sleeps), i % 2 ? &kernel : &host, i % 2 ? &host : &kernel);
	end();
	close(fd);
}

/* And where it has none, all is found by time. */
Test(pipeline_idle, no_word_of_the_kernels)
{
	begin_exc(0);
	cr_assert_not(w->all_wake);
	for (unsigned i = 0; i < 20; i++)
		across(see(w->stats.sleeps), i % 2 ? &kernel : &host, i % 2 ? &host : &kernel);
	cr_assert_eq(see(w->stats.interrupts), 0);
	end();
}

/* A turn, and what follows it, as the loop does, with the interrupt told to strike (the bed's rings have none). */
static void turn_armed(void)
{
	uint64_t tsc = rte_rdtsc();
	unsigned work = worker_turn(w, tsc);

	w->armed = work ? 0 : w->intr;
	worker_idle(w, work, tsc, rte_rdtsc());
}

/*
 * Sleeps that the bell ends, or a port whose descriptor does not strike, time and again: a frame that is there then, of
 * a port that would have struck in a while, was not missed.
 */
Test(pipeline_idle, woken_by_others)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct worker_port *p;
	struct rte_mbuf *out;

	b = bed_new(&(struct bed_conf){.cipher = "aes", .ports = 2});
	bed_step(b);
	w = b->g[CLIENT].w[0];
	p = b->g[CLIENT].wp[0];
	p[0].rx_fd = fd;
	p[0].rx_intr = true;
	p[1].rx_fd = other;
	worker_idle_init(w);
	cr_assert(w->all_wake);
	cr_assert_eq(w->intr, 1);
	for (unsigned i = 0; i < 40; i++) {
		uint64_t sleeps = w->stats.sleeps, frames = w->stats.rx_packets;
		uint8_t arp[46] = {0};
		eventfd_t n;

		cr_assert_eq(eventfd_write(i & 1 ? other : b->g[CLIENT].border[0]->worker_bell, 1), 0);
		while (w->stats.sleeps == sleeps)
			turn_armed();
		(void)!eventfd_read(other, &n);
		bed_receive(&b->g[CLIENT], bed_frame(b, 0x806, arp, sizeof(arp)));
		while (w->stats.rx_packets == frames)
			turn_armed();
		cr_assert_eq(border_punts(b->g[CLIENT].border[0], &out, 1), 1);
		rte_pktmbuf_free(out);
	}
	cr_expect_eq(w->stats.interrupts_missed, 0, "%lu", w->stats.interrupts_missed);
	cr_expect(w->all_wake, "the interrupts are not trusted any more");
	p[0].rx_fd = p[1].rx_fd = 0;
	bed_end(b);
	close(fd);
	close(other);
}

/* A port with fewer queues than workers has a kernel interface with a queue for each: who has but that polls it. */
Test(pipeline_idle, only_the_kernels_queue)
{
	struct worker_port *p;

	b = bed_new(&(struct bed_conf){.cipher = "aes"});
	bed_step(b);
	p = &b->g[SERVER].wp[1][0];
	w = b->g[SERVER].w[1];
	cr_assert_eq(p->rxq, -1);
	worker_idle_init(w);
	cr_assert(w->all_wake, "the worker has nothing to poll");
	p->has_exc = true;
	worker_idle_init(w);
	cr_assert_not(w->all_wake, "it sleeps over the kernel's frames");
	p->has_exc = false;
	bed_end(b);
}
