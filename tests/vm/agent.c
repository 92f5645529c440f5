/* SPDX-License-Identifier: MIT */

/*
 * The guest's first process, static: nothing else is in its first filesystem but kernel modules and DPDK's drivers.
 *
 * It loads the modules, puts the host's root (9p, read only) and the kernel's own filesystems below /r, goes there, and
 * then does what the channel says, a virtio-serial port whose other end is vm.py's:
 *
 *   run ID LEN\n + LEN bytes      a command for /bin/sh, in a process group of its own
 *   kill ID SIGNAL\n              the signal to that group
 *   put MODE LEN PATH\n + bytes   a file
 *   off\n                         the machine's end
 *
 * and answers `ready\n` once, `out ID LEN\n` + bytes of a command's output, `end ID STATUS\n` (128 + signal, as
 * shells).
 *
 * Under other names it is what commands in the guest need and would take Python half a minute there:
 *
 *   agent telemetry PREFIX COMMAND...  questions to DPDK's telemetry socket, an answer a line
 *   agent serve ADDRESS PORT           a TCP echo
 *   agent talk ADDRESS PORT BYTES      sends BYTES to an echo and compares what comes; "talked BYTES"
 *   agent bind DRIVER PCI...           binds devices to a driver of the kernel
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS_MAX  64
#define LINE_MAX_ 512

struct job {
	long id;
	pid_t pid;
	int fd;
	int status;
	bool ended;
};

static struct job jobs[JOBS_MAX];
static int channel = -1;

static void die(const char *what)
{
	printf("agent: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	if (getpid() != 1)
		exit(1);
	sync();
	reboot(RB_POWER_OFF);
}

/* ---- the first process ---- */

static void load_modules(void)
{
	FILE *f = fopen("/modules", "r");
	char line[LINE_MAX_];

	while (f && fgets(line, sizeof(line), f)) {
		char *args = strpbrk(line, " \n");
		int fd;

		if (*args == ' ')
			*args++ = '\0';
		args[strcspn(args, "\n")] = '\0';
		line[strcspn(line, "\n")] = '\0';
		fd = open(line, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, args, 0) && errno != EEXIST))
			printf("agent: module %s: %s\n", line, strerror(errno));
		close(fd);
	}
	if (f)
		fclose(f);
}

static void at(const char *type, const char *where, const char *options)
{
	if (mount(type, where, type, 0, options))
		die(where);
}

static void copy(const char *from, const char *to)
{
	char buf[65536];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	ssize_t n;

	if (in < 0 || out < 0)
		die(to);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			die(to);
	close(in);
	close(out);
}

/* argv: where DPDK keeps its drivers. */
static void filesystems(const char *pmds)
{
	char path[LINE_MAX_];

	mkdir("/r", 0755);
	if (mount("root", "/r", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,cache=loose,msize=262144"))
		die("9p");
	at("proc", "/r/proc", "");
	at("sysfs", "/r/sys", "");
	at("devtmpfs", "/r/dev", "");
	at("tmpfs", "/r/run", "mode=755");
	mkdir("/r/dev/hugepages", 0755);
	at("hugetlbfs", "/r/dev/hugepages", "");
	mkdir("/r/dev/pts", 0755);
	at("devpts", "/r/dev/pts", "");
	mkdir("/r/run/vm", 0755);
	copy("/init", "/r/run/vm/agent");
	if (pmds) {
		snprintf(path, sizeof(path), "/r%s", pmds);
		mkdir("/r/run/vm/pmds", 0755);
		if (mount(path, "/r/run/vm/pmds", NULL, MS_BIND, NULL) || mount("/pmds", path, NULL, MS_BIND, NULL))
			die(path);
	}
	if (chroot("/r") || chdir("/run/vm"))
		die("chroot");
}

/* Its number is the virtio device's, and so depends on how many cards there are. */
static int open_channel(void)
{
	char path[32];

	for (int i = 0; i < 2400 * 32; i++) {
		int fd;

		snprintf(path, sizeof(path), "/dev/vport%dp1", i % 32);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (i % 32 == 31)
			usleep(50000);
	}
	die("channel");
	return -1;
}

static void tell(const void *data, size_t n)
{
	for (const char *p = data; n;) {
		ssize_t k = write(channel, p, n);

		if (k < 0 && errno != EINTR && errno != EAGAIN)
			die("channel");
		if (k > 0) {
			p += k;
			n -= (size_t)k;
		}
	}
}

static void take(void *data, size_t n)
{
	for (char *p = data; n;) {
		ssize_t k = read(channel, p, n);

		if (k == 0 || (k < 0 && errno != EINTR && errno != EAGAIN)) {
			usleep(20000); /* nobody has the other end open */
			continue;
		}
		if (k > 0) {
			p += k;
			n -= (size_t)k;
		}
	}
}

static void take_line(char *line, size_t n)
{
	size_t i = 0;

	do
		take(line + i, 1);
	while (line[i] != '\n' && ++i < n - 1);
	line[i] = '\0';
}

static struct job *job_of(long id)
{
	for (int i = 0; i < JOBS_MAX; i++)
		if (jobs[i].id == id)
			return &jobs[i];
	return NULL;
}

static void start(long id, char *command)
{
	struct job *j = job_of(0);
	int fds[2];

	if (!j || pipe2(fds, O_CLOEXEC))
		die("run");
	j->pid = fork();
	if (j->pid == 0) {
		sigset_t none;
		int null = open("/dev/null", O_RDONLY);

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		dup2(null, 0);
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(fds[1]);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	j->id = id;
	j->fd = fds[0];
	j->ended = false;
}

static void put(const char *path, unsigned mode, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	char buf[4096];

	while (n) {
		size_t k = n < sizeof(buf) ? n : sizeof(buf);

		take(buf, k);
		if (fd >= 0 && write(fd, buf, k) != (ssize_t)k)
			die(path);
		n -= k;
	}
	close(fd);
}

static void obey(void)
{
	char line[LINE_MAX_], path[LINE_MAX_];
	size_t len;
	unsigned mode;
	long id;
	int sig;

	take_line(line, sizeof(line));
	if (sscanf(line, "run %ld %zu", &id, &len) == 2) {
		char *command = calloc(1, len + 1);

		take(command, len);
		start(id, command);
		free(command);
	} else if (sscanf(line, "kill %ld %d", &id, &sig) == 2) {
		struct job *j = job_of(id);

		if (j && !j->ended)
			kill(-j->pid, sig);
	} else if (sscanf(line, "put %o %zu %511s", &mode, &len, path) == 3) {
		put(path, mode, len);
	} else if (!strcmp(line, "off")) {
		sync();
		reboot(RB_POWER_OFF);
	}
}

static void output(struct job *j)
{
	char buf[16384], head[64];
	ssize_t n;

	while ((n = read(j->fd, buf, sizeof(buf))) > 0) {
		tell(head, (size_t)snprintf(head, sizeof(head), "out %ld %zd\n", j->id, n));
		tell(buf, (size_t)n);
	}
	if (n == 0) { /* nobody writes any more; it is told when the process has ended too */
		close(j->fd);
		j->fd = -1;
	}
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < JOBS_MAX; i++)
			if (jobs[i].id && jobs[i].pid == pid) {
				jobs[i].ended = true;
				jobs[i].status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
			}
}

static void tell_ended(void)
{
	char line[64];

	for (int i = 0; i < JOBS_MAX; i++) {
		struct job *j = &jobs[i];

		if (!j->id || !j->ended)
			continue;
		if (j->fd >= 0)
			output(j);
		if (j->fd >= 0)
			close(j->fd); /* a child in the background still has it; it is not waited for */
		tell(line, (size_t)snprintf(line, sizeof(line), "end %ld %d\n", j->id, j->status));
		j->id = 0;
	}
}

static void serve_channel(int signals)
{
	struct pollfd pfd[JOBS_MAX + 2];

	for (;;) {
		int n = 2;

		pfd[0] = (struct pollfd){.fd = channel, .events = POLLIN};
		pfd[1] = (struct pollfd){.fd = signals, .events = POLLIN};
		for (int i = 0; i < JOBS_MAX; i++)
			if (jobs[i].id && jobs[i].fd >= 0)
				pfd[n++] = (struct pollfd){.fd = jobs[i].fd, .events = POLLIN};
		if (poll(pfd, (nfds_t)n, -1) < 0)
			continue;
		if (pfd[0].revents & POLLIN)
			obey();
		else if (pfd[0].revents)
			usleep(20000);
		for (int k = 2; k < n; k++)
			for (int i = 0; i < JOBS_MAX; i++)
				if (pfd[k].revents && jobs[i].id && jobs[i].fd == pfd[k].fd)
					output(&jobs[i]);
		if (pfd[1].revents) {
			struct signalfd_siginfo si;

			(void)!read(signals, &si, sizeof(si));
			reap();
			tell_ended();
		}
	}
}

static int first(const char *pmds)
{
	sigset_t set;

	mkdir("/dev", 0755);
	load_modules();
	filesystems(pmds);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/run/vm", 1);
	channel = open_channel();
	tell("ready\n", 6);
	serve_channel(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
	return 0;
}

/* ---- what commands need ---- */

static int telemetry(const char *prefix, char **command)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	static char buf[1 << 20];
	int s = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "/var/run/dpdk/%s/dpdk_telemetry.v2", prefix);
	if (connect(s, (struct sockaddr *)&a, sizeof(a)))
		die(a.sun_path);
	if (read(s, buf, sizeof(buf)) <= 0)
		die("telemetry");
	for (; *command; command++) {
		ssize_t n = write(s, *command, strlen(*command)) < 0 ? -1 : read(s, buf, sizeof(buf));

		if (n <= 0)
			die("telemetry");
		printf("%.*s\n", (int)n, buf);
	}
	return 0;
}

static int tcp_socket(const char *addr, const char *port, bool listener)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = six.sin6_port};
	bool v6 = inet_pton(AF_INET6, addr, &six.sin6_addr) == 1;
	struct sockaddr *a = v6 ? (void *)&six : (void *)&four;
	socklen_t n = v6 ? sizeof(six) : sizeof(four);
	int s = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (!v6 && inet_pton(AF_INET, addr, &four.sin_addr) != 1)
		die(addr);
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listener ? bind(s, a, n) || listen(s, 16) : connect(s, a, n))
		die(addr);
	return s;
}

static int echo(const char *addr, const char *port)
{
	int ls = tcp_socket(addr, port, true);
	char buf[65536];
	ssize_t n;

	puts("serving");
	fflush(stdout);
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int s = accept(ls, NULL, NULL);

		if (fork()) {
			close(s);
			continue;
		}
		while ((n = read(s, buf, sizeof(buf))) > 0)
			for (ssize_t k, m = 0; m < n; m += k)
				if ((k = write(s, buf + m, (size_t)(n - m))) <= 0)
					_exit(1);
		_exit(0);
	}
}

static uint8_t byte_at(size_t i)
{
	return (uint8_t)((i * 2654435761u) >> 13);
}

static int talk(const char *addr, const char *port, size_t total)
{
	int s = (alarm(90), tcp_socket(addr, port, false));
	size_t sent = 0, came = 0;
	uint8_t buf[16384];

	while (came < total) {
		struct pollfd p = {.fd = s, .events = (short)(POLLIN | (sent < total ? POLLOUT : 0))};
		ssize_t n;

		if (poll(&p, 1, 100000) <= 0)
			die("talk");
		if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
			n = read(s, buf, sizeof(buf));
			if (n <= 0) {
				printf("ended after %zu of %zu\n", came, total);
				return 1;
			}
			for (ssize_t i = 0; i < n; i++)
				if (buf[i] != byte_at(came++)) {
					printf("wrong byte %zu\n", came - 1);
					return 1;
				}
		}
		if (p.revents & POLLOUT && sent < total) {
			size_t k = total - sent < sizeof(buf) ? total - sent : sizeof(buf);

			for (size_t i = 0; i < k; i++)
				buf[i] = byte_at(sent + i);
			n = send(s, buf, k, MSG_DONTWAIT);
			sent += n > 0 ? (size_t)n : 0;
		}
	}
	printf("talked %zu\n", total);
	return 0;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(path);
	close(fd);
}

static int bind_devices(const char *driver, char **pci)
{
	char path[LINE_MAX_], link[LINE_MAX_];

	for (; *pci; pci++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", *pci);
		n = readlink(path, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = '\0';
		if (n > 0 && !strcmp(strrchr(link, '/') + 1, driver))
			continue;
		if (n > 0) {
			snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", *pci);
			write_file(path, *pci);
		}
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", *pci);
		write_file(path, driver);
		write_file("/sys/bus/pci/drivers_probe", *pci);
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", *pci);
		if (access(path, F_OK))
			die(path);
	}
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (getpid() == 1)
		return first(getenv("pmds"));
	if (argc > 3 && !strcmp(argv[1], "telemetry"))
		return telemetry(argv[2], argv + 3);
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return echo(argv[2], argv[3]);
	if (argc == 5 && !strcmp(argv[1], "talk"))
		return talk(argv[2], argv[3], strtoul(argv[4], NULL, 10));
	if (argc > 3 && !strcmp(argv[1], "bind"))
		return bind_devices(argv[2], argv + 3);
	fprintf(stderr, "agent: what?\n");
	return 2;
}
