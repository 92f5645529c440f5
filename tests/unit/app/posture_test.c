/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "cap.h"
#include "posture.h"

/* What a process refuses itself, and which rights it finds that a file wants; each test is a process of its own. */

static struct conf_port ports[2] = {{.device = (char *)"net_kudp0", .vdev = true, .exception = CONF_EXC_KERNEL}};
static struct conf_tunnel tunnels[1] = {{.listen = {.port_min = 4000, .port_max = 4000}}};
static struct conf conf = {
	.ports = ports,
	.n_ports = 1,
	.tunnels = tunnels,
	.n_tunnels = 1,
	.telemetry = {.snmplog = (char *)""},
	.security = {.user = (char *)"", .sandbox = true},
};

/* Not under a sanitizer, which has calls of its own. */
static bool sandbox(void)
{
	cr_assert_eq(posture_sandbox(&conf), 0);
	return posture_sandboxed();
}

static void expect_refused(long ret, int err, const char *what)
{
	int found = errno;

	cr_expect_eq(ret, -1, "%s", what);
	cr_expect_eq(found, err, "%s: %s", what, strerror(found));
}

Test(posture, refuses)
{
	uint64_t n = posture_refused();

	if (!sandbox())
		cr_skip_test("under a sanitizer");
	expect_refused(syscall(SYS_kill, getpid(), 0), EPERM, "kill");
	expect_refused(socket(AF_ALG, SOCK_SEQPACKET, 0), EPERM, "AF_ALG");
	expect_refused(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), EPERM, "PR_SET_DUMPABLE");
	expect_refused(syscall(SYS_vfork), EPERM, "vfork");
	expect_refused(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM, "clone of a process");
	expect_refused(syscall(SYS_pidfd_open, getpid(), 0), ENOSYS, "a young call");
	cr_expect_eq(posture_refused(), n + 6);
	posture_tell(); /* names them, by calls that are allowed */
	cr_expect_eq(posture_refused(), n + 6);
}

static int pipe_fd[2];

static void *waits(void *arg)
{
	char c;

	cr_assert_eq(read(pipe_fd[0], &c, 1), 1);
	expect_refused(syscall(SYS_kill, getpid(), 0), EPERM, "kill in a thread that was there before");
	return arg;
}

static void *does_nothing(void *arg)
{
	return arg;
}

/* Threads that were there are under it, and new ones may begin. */
Test(posture, holds_for_all_threads)
{
	pthread_t old, young;

	cr_assert_eq(pipe(pipe_fd), 0);
	cr_assert_eq(pthread_create(&old, NULL, waits, NULL), 0);
	if (!sandbox())
		cr_skip_test("under a sanitizer");
	cr_assert_eq(pthread_create(&young, NULL, does_nothing, NULL), 0);
	cr_assert_eq(write(pipe_fd[1], "x", 1), 1);
	cr_assert_eq(pthread_join(young, NULL), 0);
	cr_assert_eq(pthread_join(old, NULL), 0);
	cr_expect_eq(posture_refused(), 1);
}

static void deadly(long nr)
{
	pid_t pid = fork();
	int status;

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		if (!sandbox())
			_exit(77);
		syscall(nr, 0, 0, 0, 0, 0);
		_exit(1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		return;
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "call %ld: status %x", nr, (unsigned)status);
}

Test(posture, deadly)
{
	static const long nr[] = {SYS_execve, SYS_execveat, SYS_ptrace,	 SYS_process_vm_writev, SYS_init_module,
				  SYS_mount,  SYS_setns,    SYS_unshare, SYS_kexec_load,	SYS_setuid};

	for (unsigned i = 0; i < sizeof(nr) / sizeof(nr[0]); i++)
		deadly(nr[i]);
}

/* bpf() is AF_XDP's alone. */
Test(posture, bpf)
{
	if (!sandbox())
		cr_skip_test("under a sanitizer");
	expect_refused(syscall(SYS_bpf, -1, 0, 0), EPERM, "bpf");
}

Test(posture, bpf_of_xdp)
{
	ports[0].device = (char *)"net_af_xdp0,iface=eth0";
	if (!sandbox())
		cr_skip_test("under a sanitizer");
	syscall(SYS_bpf, -1, 0, 0);
	cr_expect_eq(posture_refused(), 0);
}

Test(posture, off)
{
	conf.security.sandbox = false;
	cr_assert_eq(posture_sandbox(&conf), 0);
	cr_expect_not(posture_sandboxed());
	cr_expect_eq(syscall(SYS_kill, getpid(), 0), 0);
}

Test(posture, wanted)
{
	cr_expect_eq(posture_wanted(&conf, true), 0);
	tunnels[0].listen.port_min = 443;
	cr_expect_eq(posture_wanted(&conf, true), CAP_BIT(CAP_NET_BIND_SERVICE));
	tunnels[0].listen.port_min = 4000;
	tunnels[0].target.path = (char *)"/run/service.sock";
	cr_expect_eq(posture_wanted(&conf, true), CAP_BIT(CAP_DAC_OVERRIDE));
	cr_expect_eq(posture_wanted(&conf, false), 0);
	ports[1] = (struct conf_port){.device = (char *)"net_memif0", .vdev = true, .exception = CONF_EXC_TAP};
	conf.n_ports = 2;
	cr_expect_eq(posture_wanted(&conf, false), CAP_BIT(CAP_NET_ADMIN), "of the TAP");
}
