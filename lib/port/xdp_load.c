/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <xdp/libxdp.h>

#include "log.h"
#include "xdp_load.h"

#define SECTION	   "xdp.frags"
#define FRAGS_FLAG (1u << 5) /* BPF_F_XDP_HAS_FRAGS */
#define LEFT_MAX   8	     /* leftovers on one interface: each attempt takes one away */

/* ---- what the libraries have to say ---- */

static char said[160]; /* the last line, without its end; control's thread alone loads programs */

static void say(const char *fmt, va_list ap)
{
	char line[sizeof(said)];

	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	if (line[0] == '\0')
		return;
	memcpy(said, line, sizeof(said));
	log_debug("%s", line);
}

static int say_bpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level == LIBBPF_WARN)
		say(fmt, ap);
	return 0;
}

static int say_xdp(enum libxdp_print_level level, const char *fmt, va_list ap)
{
	if (level == LIBXDP_WARN)
		say(fmt, ap);
	return 0;
}

static void listen_to_them(void)
{
	said[0] = '\0';
	libbpf_set_print(say_bpf);
	libxdp_set_print(say_xdp);
}

static int fail(int err, char *why, size_t n, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static int fail(int err, char *why, size_t n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, n, fmt, ap);
	va_end(ap);
	return err;
}

/* An error in words, with what the libraries have said of it, if anything. */
static const char *words(int err)
{
	static char text[sizeof(said) + 64];

	snprintf(text, sizeof(text), "%s%s%s%s", strerror(-err), said[0] ? " (" : "", said, said[0] ? ")" : "");
	return text;
}

/* ---- loading ---- */

static int open_object(struct port_xdp_prog *x, struct port_xdp_elf elf, unsigned queues)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "kcpgate");
	struct bpf_map *xsks;
	int err;

	memset(x, 0, sizeof(*x));
	x->obj = bpf_object__open_mem(elf.p, elf.n, &opts);
	err = (int)libbpf_get_error(x->obj);
	if (err) {
		x->obj = NULL;
		return err;
	}
	xsks = bpf_object__find_map_by_name(x->obj, "xsks");
	return xsks ? bpf_map__set_max_entries(xsks, queues ? queues : 1) : -ENOENT;
}

static int map_of(const struct port_xdp_prog *x, const char *name)
{
	return bpf_object__find_map_fd_by_name(x->obj, name);
}

static int take_maps(struct port_xdp_prog *x, const struct port_xdp_conf *conf)
{
	int fd = map_of(x, "conf");
	uint32_t zero = 0;

	x->ports = map_of(x, "ports");
	x->locals = map_of(x, "locals");
	x->xsks = map_of(x, "xsks");
	if (fd < 0 || x->ports < 0 || x->locals < 0 || x->xsks < 0)
		return -ENOENT;
	return bpf_map_update_elem(fd, &zero, conf, BPF_ANY);
}

static struct bpf_program *the_program(const struct port_xdp_prog *x)
{
	return bpf_object__find_program_by_name(x->obj, PORT_XDP_NAME);
}

static int load_plain(struct port_xdp_prog *x, bool frags)
{
	struct bpf_program *p = the_program(x);
	int err;

	if (!p)
		return -ENOENT;
	if (!frags)
		bpf_program__set_flags(p, bpf_program__flags(p) & ~FRAGS_FLAG);
	err = bpf_object__load(x->obj);
	x->fd = err ? -1 : bpf_program__fd(p);
	return err;
}

int port_xdp_load(struct port_xdp_prog *x, struct port_xdp_elf elf, unsigned queues, const struct port_xdp_conf *conf,
		  char *why, size_t why_n)
{
	int err;

	listen_to_them();
	err = open_object(x, elf, queues);
	if (!err)
		err = load_plain(x, true);
	if (!err)
		err = take_maps(x, conf);
	if (!err)
		return 0;
	port_xdp_unload(x);
	return fail(err, why, why_n, "the XDP program cannot be loaded: %s", words(err));
}

/* ---- what is there already ---- */

static bool is_ours(const struct xdp_program *p)
{
	const char *name = p ? xdp_program__name(p) : NULL;

	return name && strcmp(name, PORT_XDP_NAME) == 0;
}

/* Of programs side by side the first of ours, or NULL. */
static struct xdp_program *ours_among(struct xdp_multiprog *mp)
{
	struct xdp_program *p = NULL;

	while ((p = xdp_multiprog__next_prog(p, mp)))
		if (is_ours(p))
			return p;
	return NULL;
}

/* 1: one was taken away; 0: none of ours is there. */
static int clear_one(struct xdp_multiprog *mp, int ifindex, char *why, size_t why_n)
{
	struct xdp_program *p;
	int err;

	if (xdp_multiprog__is_legacy(mp)) {
		p = xdp_multiprog__main_prog(mp);
		if (!is_ours(p))
			return fail(-EBUSY, why, why_n,
				    "the interface has an XDP program that leaves no place for others, %s: load it by "
				    "libxdp (xdp-loader), or take it off (ip link set dev NAME xdp off)",
				    p ? xdp_program__name(p) : "unknown");
		err = xdp_multiprog__detach(mp);
	} else {
		p = ours_among(mp);
		if (!p)
			return 0;
		err = xdp_program__detach(p, ifindex, xdp_multiprog__attach_mode(mp), 0);
	}
	return err ? fail(err, why, why_n, "an XDP program that a killed process has left cannot be taken off: %s",
			  words(err))
		   : 1;
}

int port_xdp_clear(int ifindex, bool *found, char *why, size_t why_n)
{
	int got = 1;

	listen_to_them();
	*found = false;
	for (unsigned i = 0; i < LEFT_MAX && got > 0; i++) {
		struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex(ifindex);
		long err = libxdp_get_error(mp);

		if (err == -ENOENT)
			return 0;
		if (err == -EPERM || err == -EACCES)
			return fail((int)err, why, why_n,
				    "the interface has an XDP program, and CAP_SYS_ADMIN is missing, to see whose it "
				    "is: take "
				    "it off (ip link set dev NAME xdp off)");
		if (err)
			return fail(
				-EBUSY, why, why_n,
				"the XDP program of the interface cannot be understood (%s): take it off (ip link set "
				"dev NAME xdp off)",
				words((int)err));
		got = clear_one(mp, ifindex, why, why_n);
		*found |= got > 0;
		xdp_multiprog__close(mp);
	}
	return got < 0 ? got : 0;
}

/* ---- attaching ---- */

static int attach_shared(struct port_xdp_prog *x, int ifindex, bool skb, bool frags)
{
	enum xdp_attach_mode mode = skb ? XDP_MODE_SKB : XDP_MODE_NATIVE;
	struct xdp_program *p = xdp_program__from_bpf_obj(x->obj, SECTION);
	int err = (int)libxdp_get_error(p);

	if (err)
		return err;
	err = xdp_program__set_xdp_frags_support(p, frags);
	if (!err)
		err = xdp_program__attach(p, ifindex, mode, 0);
	if (err) {
		xdp_program__close(p);
		return err;
	}
	x->shared = p;
	x->fd = xdp_program__fd(p);
	return 0;
}

static uint32_t flags_of(bool skb)
{
	return skb ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
}

static int attach_plain(struct port_xdp_prog *x, int ifindex, bool skb, bool frags)
{
	int err = load_plain(x, frags);

	return err ? err : bpf_xdp_attach(ifindex, x->fd, flags_of(skb) | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL);
}

/* Whether it is one among others by now: the library attaches it alone where the kernel has no programs in programs. */
static bool is_alone(int ifindex)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex(ifindex);
	bool alone = libxdp_get_error(mp) || xdp_multiprog__is_legacy(mp);

	if (!libxdp_get_error(mp))
		xdp_multiprog__close(mp);
	return alone;
}

struct attempt {
	bool skb, plain, no_frags;
};

static int attempt(struct port_xdp_prog *x, const struct attempt *a, int ifindex, unsigned queues,
		   const struct port_xdp_conf *conf)
{
	int err = open_object(x, port_xdp_elf(), queues);

	if (!err)
		err = a->plain ? attach_plain(x, ifindex, a->skb, !a->no_frags)
			       : attach_shared(x, ifindex, a->skb, !a->no_frags);
	if (!err) {
		x->ifindex = ifindex;
		x->skb = a->skb;
		err = take_maps(x, conf);
	}
	if (err)
		port_xdp_unload(x);
	return err;
}

int port_xdp_attach(struct port_xdp_prog *x, int ifindex, unsigned queues, const struct port_xdp_conf *conf,
		    bool *alone, char *why, size_t why_n)
{
	char first[sizeof(said)] = "";
	int err = 0, native = 0;

	/* In the driver rather than beside others, for that is what most machines have; frames of several buffers,
	 * which a large MTU makes, are for kernels since 5.18. */
	for (unsigned i = 0; i < 8; i++) {
		const struct attempt a = {.skb = i & 4, .plain = i & 2, .no_frags = i & 1};

		listen_to_them();
		err = attempt(x, &a, ifindex, queues, conf);
		if (i == 0)
			memcpy(first, said, sizeof(first));
		if (!a.skb)
			native = err;
		if (err && err != -EBUSY && err != -EEXIST)
			continue;
		if (err)
			break;
		why[0] = '\0';
		*alone = is_alone(ifindex);
		if (a.skb)
			fail(0, why, why_n,
			     "its driver takes no XDP program (%s), so that each frame costs the kernel more",
			     strerror(-native));
		else if (*alone)
			fail(0, why, why_n, "no other XDP program finds a place beside ours (%s)",
			     first[0] ? first : "the kernel has no programs in programs");
		return 0;
	}
	return fail(err, why, why_n, "the XDP program cannot be attached: %s", words(err));
}

static int detach_plain(const struct port_xdp_prog *x)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts, .old_prog_fd = x->fd);

	return bpf_xdp_detach(x->ifindex, flags_of(x->skb), &opts);
}

/* The library asks the kernel by number for what is there, which takes more than attaching it did. */
static void detach(const struct port_xdp_prog *x)
{
	char name[IF_NAMESIZE];

	if (!if_indextoname((unsigned)x->ifindex, name))
		libxdp_clean_references(x->ifindex);
	else if (!x->shared || xdp_program__detach(x->shared, x->ifindex, x->skb ? XDP_MODE_SKB : XDP_MODE_NATIVE, 0))
		detach_plain(x);
}

void port_xdp_unload(struct port_xdp_prog *x)
{
	listen_to_them();
	if (x->ifindex)
		detach(x);
	if (x->shared)
		xdp_program__close(x->shared);
	if (x->obj)
		bpf_object__close(x->obj);
	memset(x, 0, sizeof(*x));
}

/* ---- its maps ---- */

int port_xdp_word(const struct port_xdp_prog *x, uint32_t word, uint64_t bits)
{
	return bpf_map_update_elem(x->ports, &word, &bits, BPF_ANY);
}

int port_xdp_local(const struct port_xdp_prog *x, const struct addr *a, bool ours)
{
	const uint8_t one = 1;

	return ours ? bpf_map_update_elem(x->locals, a->b, &one, BPF_ANY) : bpf_map_delete_elem(x->locals, a->b);
}

int port_xdp_socket(const struct port_xdp_prog *x, uint32_t queue, int fd)
{
	return bpf_map_update_elem(x->xsks, &queue, &fd, BPF_ANY);
}
