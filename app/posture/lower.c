/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cap.h"
#include "posture.h"
#include "sanitized.h"

#define CAPS 64 /* that two words of the kernel's may hold */

static int fail(char *why, size_t why_n, int err, const char *what)
{
	snprintf(why, why_n, "%s: %s", what, strerror(-err));
	return err;
}

/* ---- capabilities ---- */

uint64_t posture_caps(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct v[2] = {0};

	return syscall(SYS_capget, &head, v) ? 0 : v[0].permitted | (uint64_t)v[1].permitted << 32;
}

/* Permitted and effective; of inheritable ones there are none. */
static int caps_set(uint64_t permitted, uint64_t effective)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct v[2] = {
		{(uint32_t)effective, (uint32_t)permitted, 0},
		{(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), 0},
	};

	return syscall(SYS_capset, &head, v) ? -errno : 0;
}

/* What no program that this one became could get back: as far as the kernel knows capabilities, and lets us. */
static void caps_bound(uint64_t keep)
{
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned i = 0; i < CAPS; i++)
		if (!(keep & CAP_BIT(i)) && prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
}

/* ---- the user ---- */

static int user_find(const char *name, struct passwd *pw, char *buf, size_t n, char *why, size_t why_n)
{
	struct passwd *found = NULL;
	int err = getpwnam_r(name, pw, buf, n, &found);

	if (found)
		return 0;
	snprintf(why, why_n, "security.user: found %.100s; allowed: a user of this machine%s%s", name, err ? ": " : "",
		 err ? strerror(err) : "");
	return err ? -err : -ENOENT;
}

/*
 * This thread's alone, by the kernel's own calls: libc's would take the others along, of which there is one at most,
 * the keeper.  Its groups are looked up by libc, which may take whatever the machine has for that.
 */
static int user_become(const struct passwd *pw)
{
	gid_t groups[64];
	int n = sizeof(groups) / sizeof(groups[0]);

	if (getgrouplist(pw->pw_name, pw->pw_gid, groups, &n) < 0)
		return -E2BIG;
	if (syscall(SYS_setgroups, (size_t)n, groups) || syscall(SYS_setresgid, pw->pw_gid, pw->pw_gid, pw->pw_gid) ||
	    syscall(SYS_setresuid, pw->pw_uid, pw->pw_uid, pw->pw_uid))
		return -errno;
	return 0;
}

/* What is permitted stays permitted. */
static int user_switch(const struct conf *c, char *why, size_t why_n)
{
	struct passwd pw;
	char buf[4096];
	int err = user_find(c->security.user, &pw, buf, sizeof(buf), why, why_n);

	if (err || pw.pw_uid == getuid())
		return err;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		err = -errno;
	if (!err)
		err = user_become(&pw);
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	if (err)
		snprintf(why, why_n, "security.user: cannot become %.100s: %s", c->security.user, strerror(-err));
	return err;
}

/* ---- memory ---- */

/* No limit of the kernel's for core files holds where a program takes them; that nobody may look does. */
static int hide(const struct conf *c)
{
	struct rlimit none = {0, 0};

	if (c->security.core_dumps || SANITIZED)
		return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) ? -errno : 0; /* who has changed users is not, otherwise */
	return setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? -errno : 0;
}

/* ---- the whole ---- */

static bool any_xdp(const struct conf *c)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		if (c->ports[i].vdev && !strncmp(c->ports[i].device, "net_af_xdp", 10))
			return true;
	return false;
}

int posture_lower(const struct conf *c, char *why, size_t why_n)
{
	bool root = getuid() == 0 && !c->security.user[0];
	uint64_t have = posture_caps(), keep;
	int err;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return fail(why, why_n, -errno, "no_new_privs");
	if (any_xdp(c) && have & CAP_BIT(CAP_SYS_ADMIN)) {
		err = posture_keeper_start();
		if (err)
			return fail(why, why_n, err, "a thread for the start");
	}
	if (c->security.user[0]) {
		err = user_switch(c, why, why_n);
		if (err)
			return err;
	}
	/* Without rights over files, to see whether they are needed; with those that the rest of this takes. */
	caps_set(have, have & CAP_BIT(CAP_SETPCAP));
	keep = have & posture_wanted(c, root);
	caps_bound(keep);
	err = caps_set(keep, keep);
	if (err)
		return fail(why, why_n, err, "capabilities");
	err = hide(c);
	return err ? fail(why, why_n, err, "core files") : 0;
}

/* Files are looked at without root's rights over them, for a moment. */
uint64_t posture_would_keep(const struct conf *c)
{
	uint64_t have = posture_caps(), keep;

	caps_set(have, 0);
	keep = posture_wanted(c, getuid() == 0 && !c->security.user[0]);
	caps_set(have, have);
	return keep;
}

int posture_check(const struct conf *c, char *why, size_t why_n)
{
	struct passwd pw;
	char buf[4096];

	if (!c->security.user[0])
		return 0;
	return user_find(c->security.user, &pw, buf, sizeof(buf), why, why_n);
}

const char *posture_text(char buf[POSTURE_TEXT])
{
	char caps[CAP_TEXT];

	snprintf(buf, POSTURE_TEXT, "user %u, capabilities %s", (unsigned)getuid(), cap_text(posture_caps(), caps));
	return buf;
}
