/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "cap.h"

/* What is named where this process has none of the kernel's capabilities; each test is a process of its own. */

static void none(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	cr_assert_eq(syscall(SYS_capset, &head, data), 0);
}

static const char *missing(const char *device, bool vdev)
{
	static char buf[CAP_TEXT];

	return cap_of_device(device, vdev, buf);
}

Test(cap, of_devices)
{
	struct rlimit r = {65536, 65536};

	cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &r), 0);
	none();
	cr_expect_str_eq(
		missing("net_af_packet0,iface=eth0", true),
		": CAP_NET_RAW is missing, for packet sockets, CAP_NET_ADMIN is missing, for the interface's flags");
	cr_expect_str_eq(missing("0000:03:00.0", false),
			 ": CAP_IPC_LOCK is missing, for memory for the device, locked beyond ulimit -l");
	cr_expect_str_eq(missing("net_memif0", true), "");
}

/* By vhost-net it makes an interface; at the socket of another program, which is no matter of the kernel's, it does
 * not. */
Test(cap, of_virtio_user)
{
	static const char want[] = ": CAP_NET_ADMIN is missing, for making its interface";

	none();
	cr_expect_str_eq(missing("virtio_user0,path=/dev/vhost-net,queues=2", true), want);
	cr_expect_str_eq(missing("net_virtio_user0,path=/dev/vhost-net", true), want);
	cr_expect_str_eq(missing("virtio_user0,path=/run/vhost.sock", true), "");
}

Test(cap, of_ports)
{
	none();
	cr_expect_str_eq(cap_of_listen(-EACCES, 80), ": CAP_NET_BIND_SERVICE is missing, for ports below 1024");
	cr_expect_str_eq(cap_of_listen(-EADDRINUSE, 80), "");
}

/* What is kept for a device that may come back: its driver's needs, and of drivers nobody knows the common ones. */
Test(cap, kept)
{
	uint64_t net = CAP_BIT(CAP_NET_ADMIN) | CAP_BIT(CAP_NET_RAW);
	char buf[CAP_TEXT];

	cr_expect_eq(cap_mask("net_kudp0", true), 0);
	cr_expect_eq(cap_mask("net_memif0,socket=/run/m", true), 0);
	cr_expect_eq(cap_mask("net_af_packet0,iface=eth0", true), net | CAP_BIT(CAP_IPC_LOCK));
	cr_expect_eq(cap_mask("net_af_xdp0,iface=eth0", true),
		     net | CAP_BIT(CAP_BPF) | CAP_BIT(CAP_PERFMON) | CAP_BIT(CAP_IPC_LOCK));
	cr_expect_eq(cap_mask("net_pcap0,iface=eth0", true), cap_any());
	cr_expect_eq(cap_mask("0000:03:00.0", false) & cap_any(), cap_any());
	cr_expect_eq(cap_mask("0000:03:00.0", false) & (CAP_BIT(CAP_SYS_PTRACE) | CAP_BIT(CAP_SETUID)), 0);
	cr_expect_str_eq(cap_text(net, buf), "NET_ADMIN, NET_RAW");
	cr_expect_str_eq(cap_text(0, buf), "none");
}
