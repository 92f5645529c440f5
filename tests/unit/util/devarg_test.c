/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <criterion/criterion.h>

#include "devarg.h"

Test(devarg, values)
{
	static const struct {
		const char *device, *key, *value;
	} v[] = {
		{"net_af_packet0,iface=eth0", "iface", "eth0"},
		{"net_af_packet0,iface=eth0,qpairs=2", "iface", "eth0"},
		{"net_af_packet0,qpairs=2,iface=eth0", "iface", "eth0"},
		{"net_af_packet0,qpairs=2,iface=eth0", "qpairs", "2"},
		{"net_af_packet0,iface=a,iface=b", "iface", "a"},
		{"net_af_packet0,iface=,qpairs=2", "iface", ""},
		{"net_pcap0,rx_iface=a,iface=b", "iface", "b"}, /* not the end of another's name */
		{"net_x0,ifaces=a,iface=b", "iface", "b"},	/* nor its beginning */
		{"net_x0,mac=iface=a", "mac", "iface=a"},
		{"0000:03:00.0,speed=10000", "speed", "10000"},
	};
	static const char *const none[] = {"",
					   "net_tap0",
					   "iface=a",
					   "net_pcap0,rx_iface=a",
					   "net_x0,iface",
					   "net_x0,mac=iface=a",
					   "net_x0,IFACE=a"};
	char buf[16];
	size_t n;

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		const char *at = devarg_find(v[i].device, v[i].key, &n);

		cr_assert(at, "%s", v[i].device);
		cr_expect(n == strlen(v[i].value) && memcmp(at, v[i].value, n) == 0, "%s", v[i].device);
		cr_expect(devarg_read(v[i].device, v[i].key, buf, sizeof(buf)));
		cr_expect_str_eq(buf, v[i].value, "%s: %s", v[i].device, buf);
	}
	for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		strcpy(buf, "x");
		cr_expect_not(devarg_read(none[i], "iface", buf, sizeof(buf)), "%s", none[i]);
		cr_expect_str_eq(buf, "");
		cr_expect_null(devarg_find(none[i], "iface", &n), "%s", none[i]);
	}
}

Test(devarg, as_much_as_fits)
{
	char buf[4];

	cr_expect(devarg_read("net_tap0,iface=lab0", "iface", buf, sizeof(buf)));
	cr_expect_str_eq(buf, "lab");
}
