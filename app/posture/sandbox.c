/* SPDX-License-Identifier: MIT */

/*
 * The filter of system calls, over all threads.  What is on no list is refused with EPERM, counted and told, and the
 * gateway goes on: a libc of tomorrow may try a call that nobody knows today, and has another way when it is refused.
 * What is on the list of the deadly ends the process at once.
 */

#include <errno.h>
#include <linux/if_xdp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <ucontext.h>

#include "log.h"
#include "posture.h"
#include "sanitized.h"
#include "sandbox.h"

#define NUMBERS 512 /* of system calls that are told apart */
#define YOUNG	424 /* from here on numbers are the same everywhere, and libc has another way where one is not known */

static atomic_bool on;
static _Atomic uint64_t refused;
static _Atomic uint32_t refused_of[NUMBERS];
static uint32_t told_of[NUMBERS];

/* In the thread that made the call, in its place. */
static void on_refused(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	unsigned nr = (unsigned)info->si_syscall;
	long ret = nr >= YOUNG ? -ENOSYS : -EPERM;

	(void)sig;
	atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&refused_of[nr < NUMBERS ? nr : NUMBERS - 1], 1, memory_order_relaxed);
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_RAX] = ret;
#elif defined(__aarch64__)
	uc->uc_mcontext.regs[0] = (unsigned long long)ret;
#else
#error "where this machine returns a system call's result"
#endif
}

/* A thread that blocks SIGSYS would be ended by the kernel where it means to tell. */
static int listen_to(void)
{
	struct sigaction sa = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO | SA_RESTART};

	sigemptyset(&sa.sa_mask);
	return sigaction(SIGSYS, &sa, NULL) ? -errno : 0;
}

static int add_all(scmp_filter_ctx f, uint32_t action, const char *const *names)
{
	for (; *names; names++) {
		int nr = seccomp_syscall_resolve_name(*names), err;

		if (nr == __NR_SCMP_ERROR)
			continue;
		err = seccomp_rule_add(f, action, nr, 0);
		/* Of a call that this machine does not have. */
		if (err && err != -EDOM)
			return err;
	}
	return 0;
}

static int add_first_arg(scmp_filter_ctx f, int nr, const unsigned *values, unsigned n)
{
	int err = 0;

	for (unsigned i = 0; i < n && !err; i++)
		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, nr, 1, SCMP_A0(SCMP_CMP_EQ, values[i]));
	return err;
}

/* Calls of which only some are ours. */
static int add_some(scmp_filter_ctx f)
{
	static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_XDP};
	static const unsigned what[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_TIMERSLACK, 0x53564d41 /* PR_SET_VMA */};
	int err = add_first_arg(f, SCMP_SYS(socket), families, sizeof(families) / sizeof(families[0]));

	if (!err)
		err = add_first_arg(f, SCMP_SYS(prctl), what, sizeof(what) / sizeof(what[0]));
	/* A thread, never a process.  clone3 hides its flags behind a pointer: libc takes clone instead. */
	if (!err)
		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				       SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	return err ? err : seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static bool any_device(const struct conf *c, const char *driver)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		if (driver ? c->ports[i].vdev && !strncmp(c->ports[i].device, driver, strlen(driver))
			   : !c->ports[i].vdev)
			return true;
	return false;
}

static int fill(scmp_filter_ctx f, const struct conf *c)
{
	bool card = any_device(c, NULL) || c->eal.args; /* which may name devices */
	int err = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);

	if (!err)
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!err)
		err = add_all(f, SCMP_ACT_ALLOW, sandbox_calls);
	if (!err)
		err = add_some(f);
	if (!err && card)
		err = add_all(f, SCMP_ACT_ALLOW, sandbox_card_calls);
	else if (!err && any_device(c, "net_af_xdp"))
		err = add_all(f, SCMP_ACT_ALLOW, sandbox_bpf_calls);
	return err ? err : add_all(f, SCMP_ACT_KILL_PROCESS, sandbox_deadly);
}

int posture_sandbox(const struct conf *c)
{
	scmp_filter_ctx f;
	int err;

	if (!c->security.sandbox || SANITIZED)
		return 0;
	f = seccomp_init(SCMP_ACT_TRAP);
	if (!f)
		return -ENOMEM;
	err = fill(f, c);
	if (!err)
		err = listen_to();
	if (!err)
		err = seccomp_load(f);
	seccomp_release(f);
	atomic_store(&on, err == 0);
	return err;
}

bool posture_sandboxed(void)
{
	return atomic_load(&on);
}

uint64_t posture_refused(void)
{
	return atomic_load_explicit(&refused, memory_order_relaxed);
}

static void tell_one(unsigned nr)
{
	uint32_t n = atomic_load_explicit(&refused_of[nr], memory_order_relaxed);
	char *name = NULL;

	/* The first of each, and then each doubling. */
	if (n == 0 || n < 2 * told_of[nr])
		return;
	told_of[nr] = n;
	name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)nr);
	log_warn("sandbox: system call refused: %s (%u), %u times", name ? name : "unknown", nr, n);
	free(name);
}

void posture_tell(void)
{
	static uint64_t told;
	uint64_t n = posture_refused();

	if (n == told)
		return;
	told = n;
	for (unsigned nr = 0; nr < NUMBERS; nr++)
		tell_one(nr);
}
