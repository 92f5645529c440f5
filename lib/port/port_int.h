/* SPDX-License-Identifier: MIT */
#pragma once

/* What port.c (one ethdev's set-up) and port_dev.c (finding or making the device) share. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port.h"

#define PORT_DEVARGS_MAX (LIMIT_DEVICE + 56) /* with what port_devargs adds */

/* Writes "port NAME: DEVICE: ..." to why and returns err, a negative errno. */
int port_fail(const struct port_conf *conf, char *why, size_t why_n, int err, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* The same of what the driver or the kernel refused; names the capability that is missing, if one is. */
int port_refused(const struct port_conf *conf, char *why, size_t why_n, int err, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/*
 * Finds the ethdev of conf->device, probing it when no ethdev of that name exists.  0, *id and *probed (whether
 * port_dev_remove is owed), or -errno and why.
 */
int port_dev_find(const struct port_conf *conf, uint16_t *id, bool *probed, char *why, size_t why_n);

/* port_link.c: p->gone is set, from another thread, when the device is to be taken out. */
void port_watch(struct port *p);
void port_unwatch(struct port *p);

struct rte_eth_desc_lim;
/* Descriptors of a queue: the file's word, or else the driver's wish, but not less than a burst wants.  Pure. */
uint16_t port_desc(uint16_t file, uint16_t driver, const struct rte_eth_desc_lim *lim);

/* port_intr.c: whether the device is worth asking for receive interrupts, before it is configured. */
bool port_intr_wanted(const struct port_conf *conf, const char *driver);
/*
 * What each of the n receive queues of a device that was started with them wakes by: fd[0..n), and whether these are
 * eventfds, struck once when told to, or readable while there are frames.  False, and zeros: they are of no use.
 */
bool port_intr_fds(uint16_t id, unsigned n, int *fd, bool *strikes);
/* Started with them: fills in p->rx_fd and rx_intr.  False: they are of no use, and it had better be started without.
 */
bool port_intr_take(struct port *p);

/* The device string with what its driver needs added; 0 or -E2BIG.  Pure. */
int port_devargs(const struct port_conf *conf, char *buf, size_t n);

/* port_left.c: removes the file of the socket that the device waits at for another program, if nobody listens there. */
bool port_left_clear(const char *device);

/*
 * port_afp.c: lets the AF_PACKET sockets that are bound to the interface take no frames that the kernel sends, and on a
 * shared port only what can be ours.  fd[0..max) gets the sockets, in the order of the queues that the driver opened
 * them for.  Returns how many there are; without it everything still works, at the price of copies that are thrown
 * away.
 */
unsigned port_afp_tune(const struct port_conf *conf, const char *iface, int *fd, unsigned max);

/* Finds the ring that the driver sends by on its socket, whose sizes are in `devargs`.  It is there until the device is
 * closed.  0 or -errno. */
int port_afp_ring(const char *devargs, int fd, struct port_ring *r);

/* Closes the ethdev, and detaches the device when it was probed by us. */
void port_dev_remove(uint16_t id, bool probed);
