/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Our XDP program on an interface: loaded, attached beside others by libxdp's dispatcher, and its maps.  Its map of
 * sockets is empty at first, so that it passes everything; it goes on doing so when the process is killed, and is taken
 * away by the next one that comes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "xdp_prog.h"

struct bpf_object;
struct xdp_program;

/* The ELF file of the program: as it was compiled here, if clang was there, and the one that is shipped. */
struct port_xdp_elf {
	const void *p;
	size_t n;
};
struct port_xdp_elf port_xdp_elf(void);
struct port_xdp_elf port_xdp_shipped(void);

struct port_xdp_prog {
	struct bpf_object *obj;
	struct xdp_program *shared; /* NULL: attached without a dispatcher, or not at all */
	int fd;			    /* of the program; it can be tried (BPF_PROG_TEST_RUN) before it is attached */
	int ports, locals, xsks;    /* descriptors of maps */
	int ifindex;		    /* that it is attached to, or 0 */
	bool skb;		    /* behind the kernel's sk_buff, as the driver has no XDP */
};

/* Loads it without attaching it.  queues: of the interface.  0 or -errno and a line in why. */
int port_xdp_load(struct port_xdp_prog *x, struct port_xdp_elf elf, unsigned queues, const struct port_xdp_conf *conf,
		  char *why, size_t why_n);

/*
 * Takes a leftover of ours off the interface.  Who calls has made sure that it is nobody's: has the interface's queues.
 * 0, also when there was none (*found tells), or -EBUSY and why: somebody else's program is there, attached in a way
 * that leaves no place beside it.
 */
int port_xdp_clear(int ifindex, bool *found, char *why, size_t why_n);

/*
 * Loads and attaches: in the driver, else behind sk_buffs; beside other programs, else (*alone) without a place for
 * them.  In why there is a line also after success, when it is not the best that there is.
 */
int port_xdp_attach(struct port_xdp_prog *x, int ifindex, unsigned queues, const struct port_xdp_conf *conf,
		    bool *alone, char *why, size_t why_n);

/* Detaches and unloads; of an interface that is no more, too.  Zeroed before or loaded. */
void port_xdp_unload(struct port_xdp_prog *x);

/* One word of the map of ports, and whether an address is ours.  0 or -errno. */
int port_xdp_word(const struct port_xdp_prog *x, uint32_t word, uint64_t bits);
int port_xdp_local(const struct port_xdp_prog *x, const struct addr *a, bool ours);
/* The frames of a queue go to this AF_XDP socket from now on. */
int port_xdp_socket(const struct port_xdp_prog *x, uint32_t queue, int fd);
