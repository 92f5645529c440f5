/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "runtime.h"

static char root[] = "/tmp/kcpgate-run-XXXXXX";

static void setup(void)
{
	cr_assert_not_null(mkdtemp(root));
}

static void teardown(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -r %s", root);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(runtime, .init = setup, .fini = teardown);

static const char *at(const char *name)
{
	static char v[4][100];
	static unsigned i;
	char *path = v[i++ % 4];

	snprintf(path, 100, "%s/%s", root, name);
	return path;
}

static void folder(const char *name)
{
	cr_assert_eq(mkdir(at(name), 0700), 0);
}

static void file(const char *name)
{
	int fd = open(at(name), O_WRONLY | O_CREAT, 0600);

	cr_assert_geq(fd, 0);
	close(fd);
}

/* A socket's file, on which somebody listens or not. */
static void sock(const char *name, bool listening)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", at(name));
	cr_assert_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	cr_assert_eq(listen(fd, 4), 0);
	if (!listening)
		close(fd);
}

static bool there(const char *name)
{
	return access(at(name), F_OK) == 0;
}

static void grows_old(const char *name)
{
	const struct timespec v[2] = {{.tv_sec = time(NULL) - 100}, {.tv_sec = time(NULL) - 100}};

	cr_assert_eq(utimensat(AT_FDCWD, at(name), v, 0), 0);
}

/* A PID that was a process's. */
static pid_t dead_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

static void named(char name[32], pid_t pid)
{
	snprintf(name, 32, "kcpgate-%d", (int)pid);
}

Test(runtime, own_folder_goes)
{
	folder("own");
	cr_assert_eq(runtime_hold(at("own")), 0);
	cr_expect(there("own/kcpgate.lock"));
	runtime_leave(at("own"));
	cr_expect_not(there("own"));
}

Test(runtime, a_folder_that_is_shared_stays)
{
	int fd;

	folder("own");
	cr_assert_eq(runtime_hold(at("own")), 0);
	fd = open(at("own/kcpgate.lock"), O_RDWR);
	cr_assert_eq(flock(fd, LOCK_SH | LOCK_NB), 0, "the other process may hold it at the same time");
	runtime_leave(at("own"));
	cr_expect(there("own/kcpgate.lock"));
	close(fd);
}

Test(runtime, a_folder_with_other_things_stays)
{
	folder("own");
	cr_assert_eq(runtime_hold(at("own")), 0);
	file("own/config");
	runtime_leave(at("own"));
	cr_expect(there("own/config"));
}

Test(runtime, without_a_folder)
{
	cr_expect_lt(runtime_hold(at("none")), 0);
	runtime_leave(at("none"));
	cr_expect_eq(runtime_sweep(at("none/x")), 0);
	cr_expect_eq(runtime_sweep("x"), 0);
}

/* Left by a process that was killed: with our lock under any name, and kcpgate-PID of a version that had none. */
Test(runtime, what_is_left_is_removed)
{
	char name[32], in[64];

	named(name, dead_pid());
	folder("own");
	folder("some-prefix");
	file("some-prefix/kcpgate.lock");
	sock("some-prefix/dpdk_telemetry.v2", false);
	sock("some-prefix/dpdk_telemetry.v2:1", false);
	sock("some-prefix/kcpgate_capture.7", false);
	folder(name);
	snprintf(in, sizeof(in), "%s/dpdk_telemetry.v2", name);
	sock(in, false);
	grows_old(name);
	named(name, dead_pid());
	folder(name);
	cr_expect_eq(runtime_sweep(at("own")), 2);
	cr_expect(there(name), "it is just being made");
	grows_old(name);
	cr_expect_eq(runtime_sweep(at("own")), 1);
	cr_expect(there("own"));
	cr_expect_not(there("some-prefix"));
	cr_expect_not(there(name));
	cr_expect_eq(runtime_sweep(at("own")), 0);
}

/* In another PID namespace the process has another number there: the lock is what counts. */
Test(runtime, a_lock_that_is_held_stays)
{
	char name[32], lock[64];
	int fd;

	named(name, dead_pid());
	folder("own");
	folder(name);
	snprintf(lock, sizeof(lock), "%s/kcpgate.lock", name);
	fd = open(at(lock), O_RDWR | O_CREAT, 0600);
	cr_assert_eq(flock(fd, LOCK_SH), 0);
	cr_expect_eq(runtime_sweep(at("own")), 0);
	cr_expect(there(lock));
	close(fd);
	cr_expect_eq(runtime_sweep(at("own")), 1);
}

Test(runtime, what_is_not_ours_stays)
{
	char alive[32], listened[32], strange[32], in[64];

	named(alive, getpid());
	named(listened, dead_pid());
	named(strange, dead_pid());
	folder("own");
	folder(alive);
	folder(listened);
	snprintf(in, sizeof(in), "%s/dpdk_telemetry.v2", listened);
	sock(in, true);
	folder(strange);
	snprintf(in, sizeof(in), "%s/fbarray_memzone", strange);
	file(in);
	folder("rte");
	folder("kcpgate-");
	folder("kcpgate-1x");
	folder("kcpgate-99999999999");
	folder("other-4000000");
	file("kcpgate-4000001");
	cr_assert_eq(symlink("rte", at("kcpgate-4000002")), 0);
	folder("linked");
	file("linked/target");
	cr_assert_eq(symlink("target", at("linked/kcpgate.lock")), 0);
	for (const char **p = (const char *[]){alive, listened, strange, "kcpgate-", "kcpgate-1x",
					       "kcpgate-99999999999", "other-4000000", NULL};
	     *p; p++)
		grows_old(*p);
	cr_expect_eq(runtime_sweep(at("own")), 0);
	for (const char **p = (const char *[]){"own", alive, listened, strange, in, "rte", "kcpgate-", "kcpgate-1x",
					       "kcpgate-99999999999", "other-4000000", "kcpgate-4000001",
					       "kcpgate-4000002", "linked/kcpgate.lock", NULL};
	     *p; p++)
		cr_expect(there(*p), "%s", *p);
}

/* Where it is ours to make; a folder that nobody may write to is no place, nor is one that is a file. */
Test(runtime, place)
{
	struct stat st;

	cr_assert(runtime_place(root));
	cr_assert_eq(stat(at("dpdk"), &st), 0);
	cr_assert(runtime_place(root), "it is there already");
	cr_assert_not(runtime_place(at("none")));
	cr_assert_eq(rmdir(at("dpdk")), 0);
	if (getuid() == 0)
		cr_assert_eq(setresuid(-1, 65534, -1), 0);
	cr_assert_not(runtime_place(root), "another user's");
	cr_assert_eq(setresuid(-1, getuid(), -1), 0);
}
