/* SPDX-License-Identifier: MIT */
#include "path.h"

#define LUMP_US 1000 /* what leaves in so long, */
#define AT_ONCE 10   /* or so many datagrams, leave at once */
#define WAIT_US 500
#define BURST	64
#define WRITE	1200 /* bytes a kcp_send */
#define RATE_US 1000 /* writers with a rate write so often */

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void take_bytes(struct path_end *e, const struct slice *s)
{
	for (uint32_t i = 0; i < s->n; i++)
		cr_assert_eq(s->p[i], path_byte(e->read + i), "byte %lu is another", e->read + i);
	e->read += s->n;
}

static void read_all(struct path_end *e)
{
	struct slice v[64];

	for (unsigned n; !e->stalled && (n = kcp_peek(&e->r->k, v, 64));) {
		for (unsigned i = 0; i < n; i++)
			take_bytes(e, &v[i]);
		e->want |= kcp_consume(&e->r->k, n);
	}
}

static void take_in(struct path_end *e, struct sim_link *in, uint64_t us)
{
	uint8_t buf[KCP_MTU_MAX];
	struct kcp_got got;
	int n;

	while ((n = sim_link_recv(in, buf, sizeof(buf), us)) >= 0) {
		int ret;

		if (e->on_in)
			e->on_in(e->arg, buf, (uint32_t)n, us);
		kcp_clock(&e->r->k, us);
		ret = kcp_input(&e->r->k, buf, (uint16_t)n, 0, us / 1000, e->stalled ? NULL : &got);
		cr_assert_geq(ret, 0);
		e->want |= (unsigned)ret;
		for (unsigned i = 0; !e->stalled && i < got.n; i++)
			take_bytes(e, &got.v[i]);
		read_all(e);
		if (e->on_took)
			e->on_took(e->arg);
	}
	read_all(e);
}

static bool write_some(struct path_end *e)
{
	uint8_t buf[WRITE];
	bool any = false;

	while (e->left && kcp_room(&e->r->k)) {
		uint32_t n = (uint32_t)min64(min64(e->left, WRITE), 16u * kcp_room(&e->r->k));

		for (uint32_t i = 0; i < n; i++)
			buf[i] = path_byte(e->wrote + i);
		if (kcp_send(&e->r->k, &(struct slice){buf, n}, 1))
			break;
		e->wrote += n;
		e->left -= e->left == PATH_ENDLESS ? 0 : n;
		any = true;
	}
	return any;
}

/* Datagrams that may leave now. */
static unsigned room(struct path_end *e, uint64_t us)
{
	double rate = (double)kcp_pace(&e->r->k) * 1e-6, len = e->r->conf.mtu;
	double most = rate * LUMP_US > AT_ONCE * len ? rate * LUMP_US : AT_ONCE * len, need;

	e->pace_at = 0;
	if (e->unpaced)
		return BURST;
	e->credit += (double)(us - e->credit_us) * rate;
	e->credit_us = us;
	if (e->credit > most)
		e->credit = most;
	if (e->credit > 0)
		return e->credit >= (BURST - 1) * len ? BURST : (unsigned)(e->credit / len) + 1;
	need = rate * WAIT_US > len ? rate * WAIT_US : len;
	e->pace_at = us + (uint64_t)((need - e->credit) / rate) + 1;
	return 0;
}

/* One call; true when it was all. */
static bool flush(struct path_end *e, enum kcp_flush_kind kind, unsigned max, uint64_t us)
{
	struct pkt out[BURST];
	unsigned n;

	for (unsigned i = 0; i < max; i++)
		out[i] = (struct pkt){.p = e->r->buf[i]};
	kcp_clock(&e->r->k, us);
	if (kind == KCP_FLUSH_FULL && e->on_flush)
		e->on_flush(e->arg, us);
	n = kcp_flush(&e->r->k, kind, us / 1000, out, max);
	for (unsigned i = 0; i < n; i++) {
		sim_link_send(e->out, out[i].p, out[i].n, us);
		if (e->on_out)
			e->on_out(e->arg, out[i].p, out[i].n, us);
		if (kind == KCP_FLUSH_ACKS)
			continue;
		e->sent += out[i].n;
		e->credit -= out[i].n;
	}
	if (kind == KCP_FLUSH_FULL)
		e->flushed = us;
	return n < max;
}

static void flush_acks(struct path_end *e, uint64_t us)
{
	if (!(e->want & KCP_WANT_ACKS) && kcp_owes(&e->r->k) > us / 1000)
		return;
	e->want &= ~(unsigned)KCP_WANT_ACKS;
	while (!flush(e, KCP_FLUSH_ACKS, BURST, us))
		;
}

static void leave(struct path_end *e, uint64_t us)
{
	for (;;) {
		unsigned max = room(e, us);
		bool wrote;

		if (!max) {
			flush_acks(e, us);
			return;
		}
		wrote = write_some(e);
		if (!wrote && !(e->want & KCP_WANT_FULL) && kcp_next(&e->r->k) > us / 1000)
			break;
		e->want = 0;
		flush(e, KCP_FLUSH_FULL, max, us);
	}
	flush_acks(e, us);
	if (!e->left)
		kcp_limited(&e->r->k, true);
}

void path_turn(struct path_end *e, struct sim_link *in, uint64_t us)
{
	take_in(e, in, us);
	kcp_clock(&e->r->k, us);
	if (e->rate) {
		uint64_t n = (us - e->rate_us) * e->rate / 1000000;

		e->left += n;
		e->rate_us += n * 1000000 / e->rate;
	}
	leave(e, us);
}

uint64_t path_next(const struct path_end *e)
{
	uint64_t ms = e->pace_at ? kcp_owes(&e->r->k) : kcp_next(&e->r->k), us = ms;

	if (ms != UINT64_MAX)
		us = ms * 1000;
	if (e->pace_at)
		us = min64(us, e->pace_at);
	return e->rate ? min64(us, e->rate_us + RATE_US) : us;
}

struct kcp_conf path_conf(uint64_t bandwidth)
{
	return (struct kcp_conf){.mtu = 1350,
				 .snd_wnd = 65535,
				 .rcv_wnd = 65535,
				 .nodelay = 1,
				 .interval = 20,
				 .resend = 2,
				 .nc = 1,
				 .congestion = KCP_CONGESTION_AUTO,
				 .bandwidth = bandwidth};
}

void path_init(struct path *p, const struct kcp_conf conf[2], const struct sim_conf out[2], uint64_t seed, uint64_t ms)
{
	struct sim_rng g = {seed};
	uint32_t conv = (uint32_t)sim_rand(&g);

	*p = (struct path){.us = ms * 1000};
	for (int i = 0; i < 2; i++) {
		p->e[i].r = rig_new(conv, &conf[i], 256 << 20, ms);
		p->e[i].out = sim_link_new(&out[i], sim_rand(&g));
		p->e[i].credit_us = p->e[i].rate_us = p->us;
	}
}

void path_fini(struct path *p)
{
	for (int i = 0; i < 2; i++) {
		rig_free(p->e[i].r);
		sim_link_free(p->e[i].out);
	}
}

void path_run(struct path *p, uint64_t us)
{
	uint64_t end = p->us + us;

	while (p->us < end) {
		uint64_t next = end;

		path_turn(&p->e[0], p->e[1].out, p->us);
		path_turn(&p->e[1], p->e[0].out, p->us);
		if (p->on_turn)
			p->on_turn(p->arg);
		for (int i = 0; i < 2; i++)
			next = min64(next, min64(path_next(&p->e[i]), sim_link_next(p->e[i].out)));
		p->us = next > p->us ? next : p->us + 1;
	}
}
