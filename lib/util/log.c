/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define LINE_MAX_BYTES 1024 /* newline included */

/*
 * Read by every thread that logs.  A file is replaced by dup3 on its own descriptor, so that a line which another
 * thread is writing goes to the old or to the new file, never to a descriptor that is closed or somebody else's.
 */
static atomic_int log_fd = STDERR_FILENO;
static atomic_int log_level = LOG_INFO;

int log_open(const char *path, enum log_level level)
{
	int old = atomic_load(&log_fd);
	int fd;

	if (!path || !*path) {
		log_close();
		atomic_store(&log_level, level);
		return 0;
	}
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	if (old == STDERR_FILENO) {
		atomic_store(&log_fd, fd);
	} else {
		int err = dup3(fd, old, O_CLOEXEC) < 0 ? -errno : 0;

		close(fd);
		if (err)
			return err;
	}
	atomic_store(&log_level, level);
	return 0;
}

void log_close(void)
{
	int fd = atomic_exchange(&log_fd, STDERR_FILENO);

	if (fd != STDERR_FILENO)
		close(fd);
}

bool log_on(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES + 1];
	time_t now = time(NULL);
	size_t head, n;
	struct tm tm;
	va_list ap;
	int len;

	if (!log_on(level))
		return;
	localtime_r(&now, &tm);
	head = strftime(line, sizeof(line), "%Y/%m/%d %H:%M:%S ", &tm);
	va_start(ap, fmt);
	len = vsnprintf(line + head, LINE_MAX_BYTES - head, fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	n = head + (size_t)len;
	if (n > LINE_MAX_BYTES - 1)
		n = LINE_MAX_BYTES - 1;
	/* Text may come from a peer or a file: what it holds must not look like a line of ours, or steer a terminal. */
	for (size_t i = head; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = line[i] == '\t' ? '\t' : '?';
	line[n++] = '\n';
	/* One write a line, so that lines of several threads do not mix.  A log that is full or gone stops nothing. */
	while (write(atomic_load(&log_fd), line, n) < 0 && errno == EINTR)
		;
}

bool log_allow(struct log_limit *l, uint64_t now_s, unsigned burst, unsigned period_s, uint32_t *left_out)
{
	*left_out = 0;
	/* A clock that was set back begins a new period too. */
	if (now_s < l->since_s || now_s - l->since_s >= period_s) {
		l->since_s = now_s;
		l->sent = 0;
	}
	if (l->sent >= burst) {
		if (l->left_out < UINT32_MAX)
			l->left_out++;
		return false;
	}
	l->sent++;
	*left_out = l->left_out;
	l->left_out = 0;
	return true;
}
