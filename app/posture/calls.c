/* SPDX-License-Identifier: MIT */

/*
 * The system calls that a running gateway makes: its own, DPDK's, and libc's for threads, memory and names.  What a
 * card or a driver of its own may want comes on top.  Calls that this machine's libseccomp has no name for are left
 * out.
 */

#include <seccomp.h>
#include <stddef.h>

#include "sandbox.h"

const char *const sandbox_calls[] = {
	/* files */
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "close",
	"close_range", "lseek", "open", "openat", "stat", "fstat", "lstat", "newfstatat", "fstatat64", "statx",
	"statfs", "fstatfs", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents", "getdents64",
	"getcwd", "fcntl", "dup", "dup2", "dup3", "pipe", "pipe2", "ioctl", "flock", "ftruncate", "fallocate", "fsync",
	"fdatasync", "unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "chmod",
	"fchmod", "fchmodat", "umask",
	/* memory */
	"mmap", "munmap", "mremap", "mprotect", "madvise", "mlock", "mlock2", "munlock", "brk", "msync", "mincore",
	"mbind", "get_mempolicy", "set_mempolicy", "move_pages", "memfd_create", "membarrier",
	/* threads; clone is below */
	"futex", "set_robust_list", "get_robust_list", "rseq", "exit", "exit_group", "set_tid_address", "gettid",
	"getpid", "getppid", "getpgrp", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups",
	"sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getscheduler", "sched_setscheduler",
	"sched_getparam", "sched_get_priority_max", "sched_get_priority_min", "getcpu", "arch_prctl", "getpriority",
	"getrandom", "sysinfo", "uname", "getrusage", "times", "getrlimit", "prlimit64", "capget",
	/* signals, to threads of our own: "kill" is not among them */
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend",
	"sigaltstack", "tgkill", "restart_syscall", "pause",
	/* time */
	"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "timerfd_create",
	"timerfd_settime", "timerfd_gettime",
	/* waiting */
	"poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
	"epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "signalfd", "signalfd4",
	/* sockets; socket is below */
	"socketpair", "bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername", "sendto",
	"recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "setsockopt", "getsockopt", "shutdown", NULL};

const char *const sandbox_bpf_calls[] = {"bpf", NULL};

const char *const sandbox_card_calls[] = {"iopl", "ioperm", "bpf", "userfaultfd", NULL};

/* Nobody here has a use for these, and whoever tries them has taken us over. */
const char *const sandbox_deadly[] = {
	"execve",	 "execveat",	    "ptrace",	     "process_vm_readv", "process_vm_writev",
	"kexec_load",	 "kexec_file_load", "init_module",   "finit_module",	 "delete_module",
	"mount",	 "umount",	    "umount2",	     "move_mount",	 "fsopen",
	"fsmount",	 "open_tree",	    "pivot_root",    "chroot",		 "setns",
	"unshare",	 "reboot",	    "swapon",	     "swapoff",		 "open_by_handle_at",
	"acct",		 "quotactl",	    "settimeofday",  "clock_settime",	 "adjtimex",
	"clock_adjtime", "sethostname",	    "setdomainname", "add_key",		 "request_key",
	"keyctl",	 "perf_event_open", "personality",   "pidfd_getfd",	 "setuid",
	"setgid",	 "setreuid",	    "setregid",	     "setresuid",	 "setresgid",
	"setfsuid",	 "setfsgid",	    "setgroups",     "io_uring_setup",	 NULL};
