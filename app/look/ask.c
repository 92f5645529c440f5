/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "look.h"

#define TELEMETRY "dpdk_telemetry.v2"
#define ANSWER	  (256 * 1024)	      /* bytes; DPDK's longest are 16 KiB in 22.11 */
#define ANSWER_S  30		      /* for a gateway that does not answer */
#define PAGES_MAX 100000	      /* of one table: more is an answer that goes round */
#define SERVICES  "/run/kcpgate/dpdk" /* of gateways that systemd starts */

/* DPDK's folder of all processes of this user. */
static void dpdk_dir(char buf[PATH_MAX])
{
	const char *dir = getenv("RUNTIME_DIRECTORY");

	if (!dir && getuid() != 0)
		dir = getenv("XDG_RUNTIME_DIR");
	snprintf(buf, PATH_MAX, "%s/dpdk", dir ? dir : getuid() == 0 ? "/var/run" : "/tmp");
}

int look_connect(const char *dir, const char *name, int type)
{
	const struct timeval patience = {.tv_sec = ANSWER_S};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd;

	if (snprintf(un.sun_path, sizeof(un.sun_path), "%s/%s", dir, name) >= (int)sizeof(un.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&un, sizeof(un))) {
		int err = -errno;

		close(fd);
		return err;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* Behind its greeting, in which DPDK says who it is.  Beyond its ten connections it says nothing, and closes. */
static int greeted(const char *dir)
{
	int fd = look_connect(dir, TELEMETRY, SOCK_SEQPACKET);
	char hello[1024];
	ssize_t n;

	if (fd < 0)
		return fd;
	n = recv(fd, hello, sizeof(hello), 0);
	if (n > 0)
		return fd;
	n = n < 0 ? -errno : -EBUSY;
	close(fd);
	return (int)n;
}

/* The object that answers, or NULL and errno. */
static json_t *question(int fd, const char *command)
{
	char *answer = malloc(ANSWER);
	json_t *all = NULL, *object;
	ssize_t n = -1;

	if (answer && send(fd, command, strlen(command), MSG_NOSIGNAL) > 0)
		n = recv(fd, answer, ANSWER, 0);
	if (n > 0)
		all = json_loadb(answer, (size_t)n, 0, NULL);
	else if (n == 0)
		errno = ECONNRESET;
	free(answer);
	if (n > 0 && !all)
		errno = EPROTO;
	object = json_object_iter_value(json_object_iter(all));
	if (all && !json_is_object(object)) {
		errno = ENOENT; /* null: DPDK knows no such command */
		object = NULL;
	}
	json_incref(object);
	json_decref(all);
	return object;
}

json_t *look_once(const char *dir, const char *command)
{
	int fd = greeted(dir);
	json_t *o;

	if (fd < 0)
		return NULL;
	o = question(fd, command);
	close(fd);
	return o;
}

/* ---- which gateway ---- */

static bool is_gateway(const char *dir)
{
	json_t *o = look_once(dir, "/kcpgate/version");
	bool is = o && json_object_get(o, "kcpgate");

	json_decref(o);
	return is;
}

/* Those below a folder, of which the first goes into dir; counts on from `found`. */
static unsigned search(const char *parent, char dir[PATH_MAX], unsigned found)
{
	DIR *d = opendir(parent);
	char one[PATH_MAX];
	struct dirent *e;

	while (d && found < 2 && (e = readdir(d))) {
		if (e->d_name[0] == '.' || snprintf(one, sizeof(one), "%s/%s", parent, e->d_name) >= (int)sizeof(one) ||
		    !is_gateway(one))
			continue;
		if (!found++)
			memcpy(dir, one, sizeof(one));
	}
	if (d)
		closedir(d);
	return found;
}

static int find_any(const char *parent, bool services, char dir[PATH_MAX], char *why, size_t why_n)
{
	unsigned found = search(parent, dir, 0);

	if (services)
		found = search(SERVICES, dir, found);
	if (found == 1)
		return 0;
	if (found)
		snprintf(why, why_n, "several gateways run here: -f PREFIX says which");
	else
		snprintf(why, why_n, "no gateway of this user runs here (%s)", parent);
	return found ? -EEXIST : -ENOENT;
}

/* Why one that was named cannot be had. */
static int refuse(const char *prefix, const char *dir, char *why, size_t why_n)
{
	int fd = greeted(dir), err = fd < 0 ? fd : -EPROTO;

	if (fd >= 0)
		close(fd);
	if (err == -EBUSY)
		snprintf(why, why_n, "gateway %s has as many telemetry connections as DPDK allows: try again", prefix);
	else if (err == -EACCES || err == -EPERM)
		snprintf(why, why_n, "gateway %s is another user's (%s): %s", prefix, dir, strerror(-err));
	else
		snprintf(why, why_n, "no gateway %s runs here, or it does not answer (%s)", prefix, dir);
	return err;
}

int look_find(const char *prefix, char dir[PATH_MAX], char *why, size_t why_n)
{
	char parent[PATH_MAX];
	bool services;

	dpdk_dir(parent);
	services = strcmp(parent, SERVICES) != 0;
	if (!prefix)
		return find_any(parent, services, dir, why, why_n);
	if (services && snprintf(dir, PATH_MAX, "%s/%s", SERVICES, prefix) < PATH_MAX && is_gateway(dir))
		return 0;
	if (snprintf(dir, PATH_MAX, "%s/%s", parent, prefix) < PATH_MAX && is_gateway(dir))
		return 0;
	return refuse(prefix, dir, why, why_n);
}

/* ---- a connection ---- */

static json_t *ask(struct look *l, const char *command)
{
	json_t *o = question(l->fd, command);

	if (o)
		return o;
	if (errno == ENOENT)
		snprintf(l->why, sizeof(l->why), "the gateway does not know %s: it is of another version", command);
	else
		snprintf(l->why, sizeof(l->why), "the gateway does not answer: %s", strerror(errno));
	return NULL;
}

int look_open(struct look *l, const char *prefix)
{
	int ret;

	*l = (struct look){.ask = ask, .fd = -1};
	ret = look_find(prefix, l->dir, l->why, sizeof(l->why));
	if (ret)
		return ret;
	l->fd = greeted(l->dir);
	if (l->fd >= 0)
		return 0;
	ret = l->fd;
	snprintf(l->why, sizeof(l->why), "the gateway does not answer: %s", strerror(-ret));
	return ret;
}

void look_close(struct look *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

json_t *look_get(struct look *l, const char *name, const char *parameter)
{
	char command[512];
	const char *error;
	json_t *o;

	if (snprintf(command, sizeof(command), "%s%s%s", name, parameter ? "," : "", parameter ? parameter : "") >=
	    (int)sizeof(command)) {
		snprintf(l->why, sizeof(l->why), "too long: %.100s", parameter);
		return NULL;
	}
	o = l->ask(l, command);
	error = o ? json_string_value(json_object_get(o, "error")) : NULL;
	if (!error)
		return o;
	snprintf(l->why, sizeof(l->why), "%s", error);
	json_decref(o);
	return NULL;
}

json_t *look_all(struct look *l, const char *name, const char *parameter)
{
	json_t *all = look_get(l, name, parameter), *next;
	char ask_for[400];

	for (unsigned i = 0; all && (next = json_object_get(all, "next")) && i < PAGES_MAX; i++) {
		json_t *page;

		snprintf(ask_for, sizeof(ask_for), "%s,%s", parameter ? parameter : "", json_string_value(next));
		json_object_del(all, "next");
		page = look_get(l, name, ask_for);
		if (!page) {
			json_decref(all);
			return NULL;
		}
		json_object_update(all, page);
		json_decref(page);
	}
	return all;
}
