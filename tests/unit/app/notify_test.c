/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "notify.h"

static int manager = -1;
static char got[512];

/* A manager that listens at `name`, and a service of it. */
static void listen_at(const char *name)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t n = strlen(name);

	memcpy(un.sun_path, name, n);
	if (name[0] == '@')
		un.sun_path[0] = '\0';
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	cr_assert_geq(manager, 0);
	cr_assert_eq(bind(manager, (struct sockaddr *)&un, (socklen_t)(sizeof(un.sun_family) + n)), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

static void setup(void)
{
	char name[64];

	snprintf(name, sizeof(name), "@kcpgate-notify-%d", getpid());
	listen_at(name);
}

static void teardown(void)
{
	notify_close();
	close(manager);
}

TestSuite(notify, .init = setup, .fini = teardown);

static const char *heard(void)
{
	ssize_t n = recv(manager, got, sizeof(got) - 1, 0);

	got[n > 0 ? n : 0] = '\0';
	return got;
}

Test(notify, each_word)
{
	char line[300];

	notify_open();
	notify_ready();
	cr_expect_str_eq(heard(), "READY=1");
	notify_reloading();
	cr_expect_eq(strncmp(heard(), "RELOADING=1\nMONOTONIC_USEC=", 27), 0, "%s", got);
	cr_expect_gt(strtoull(got + 27, NULL, 10), 0);
	notify_stopping();
	cr_expect_str_eq(heard(), "STOPPING=1");
	notify_status("two tunnels\nREADY=1");
	cr_expect_str_eq(heard(), "STATUS=two tunnels");
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	notify_status(line);
	cr_expect_eq(strlen(heard()), 7 + 200);
}

Test(notify, by_a_path)
{
	char dir[] = "/tmp/kcpgate-notify-XXXXXX", path[64];

	close(manager);
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/notify", dir);
	listen_at(path);
	notify_open();
	notify_ready();
	cr_expect_str_eq(heard(), "READY=1");
	unlink(path);
	rmdir(dir);
}

Test(notify, nobody)
{
	static const char *const names[] = {"", "/", "relative", "vsock:2:9", "@"};
	char longer[200];

	notify_ready(); /* not opened */
	unsetenv("NOTIFY_SOCKET");
	notify_open();
	notify_ready();
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		setenv("NOTIFY_SOCKET", names[i], 1);
		setenv("WATCHDOG_USEC", "1", 1);
		notify_open();
		notify_ready();
		notify_watchdog();
	}
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	setenv("NOTIFY_SOCKET", longer, 1);
	notify_open();
	notify_ready();
	cr_expect_str_eq(heard(), "");
}

/* A manager that does not read: nothing waits for it, and it hears of us again when it does. */
Test(notify, full, .timeout = 60)
{
	unsigned n = 0;

	setenv("WATCHDOG_USEC", "100000000", 1);
	notify_open();
	for (unsigned i = 0; i < 100000; i++)
		notify_status("a queue that nobody empties");
	notify_watchdog();
	while (*heard()) {
		cr_assert_str_neq(got, "WATCHDOG=1", "it was to be lost");
		n++;
	}
	cr_expect_gt(n, 0);
	notify_watchdog();
	cr_expect_str_eq(heard(), "WATCHDOG=1");
}

Test(notify, watchdog)
{
	char pid[16];

	notify_open();
	notify_watchdog();
	cr_expect_str_eq(heard(), "", "nobody asked");

	/* Twice within the time, and not at every turn. */
	setenv("WATCHDOG_USEC", "400000000", 1);
	notify_open();
	notify_watchdog();
	cr_expect_str_eq(heard(), "WATCHDOG=1");
	notify_watchdog();
	cr_expect_str_eq(heard(), "");
	setenv("WATCHDOG_USEC", "2000", 1);
	notify_open();
	for (unsigned i = 0; i < 3; i++) {
		notify_watchdog();
		cr_expect_str_eq(heard(), "WATCHDOG=1");
		usleep(1100);
	}

	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("WATCHDOG_PID", pid, 1);
	notify_open();
	notify_watchdog();
	cr_expect_str_eq(heard(), "WATCHDOG=1");
	setenv("WATCHDOG_PID", "1", 1);
	notify_open();
	notify_watchdog();
	cr_expect_str_eq(heard(), "", "another process's");
}

Test(notify, watchdog_of_no_sense)
{
	static const char *const v[] = {"", "0", "-5", "x", "5s", "99999999999999999999999", " 5"};

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		setenv("WATCHDOG_USEC", v[i], 1);
		notify_open();
		notify_watchdog();
		cr_expect_str_eq(heard(), "", "%s", v[i]);
	}
}
