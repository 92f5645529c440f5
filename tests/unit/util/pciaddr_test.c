/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "pciaddr.h"

Test(pciaddr, every_form_is_the_kernels)
{
	static const struct {
		const char *text, *kernel;
		int took;
	} v[] = {
		{"0000:00:0b.0", "0000:00:0b.0", 12},
		{"00:0b.0", "0000:00:0b.0", 7},
		{"0000:00:0B.0", "0000:00:0b.0", 12},
		{"00:0B.0", "0000:00:0b.0", 7},
		{"0:b.0", "0000:00:0b.0", 5},
		{"0:0:b.0", "0000:00:0b.0", 7},
		{"pci:0000:00:0b.0", "0000:00:0b.0", 16},
		{"pci:00:0b.0", "0000:00:0b.0", 11},
		{"FF:1F.7", "0000:ff:1f.7", 7},
		{"abcd:ef:1e.5", "abcd:ef:1e.5", 12},
		{"10000:01:00.0", "10000:01:00.0", 13}, /* behind Intel's VMD */
		{"ffffffff:ff:1f.7", "ffffffff:ff:1f.7", 16},
		{"00:0b.0,speed=10000", "0000:00:0b.0", 7},
		{"00:0b.0,mac=02:00:00:00:00:01", "0000:00:0b.0", 7},
		{"0000:00:0b.0,", "0000:00:0b.0", 12},
	};

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		char out[PCI_ADDR_LEN] = "";

		cr_expect_eq(pci_addr_read(v[i].text, out), v[i].took, "%s", v[i].text);
		cr_expect_str_eq(out, v[i].kernel, "%s: %s", v[i].text, out);
	}
}

Test(pciaddr, what_is_none)
{
	static const char *const v[] = {
		"",
		":",
		"pci:",
		"0000",
		"00:0b",
		"00:0b.",
		"00:0b.8",
		"00:0b.00",
		"00:20.0",
		"100:0b.0",
		"00:0b.0 ",
		" 00:0b.0",
		"00:0b.0x",
		"0000:00:0b.0:1",
		"000000000:00:0b.0",
		"0000:100:0b.0",
		"0000:00:0bb.0",
		"0000::0b.0",
		":00:0b.0",
		"0000:00:.0",
		"0000-00-0b.0",
		"00:0g.0",
		"00.0b:0",
		"net_null0",
		"pci_0000_00_0b_0",
		"0x00:0b.0",
		"00:-1.0",
	};
	char out[PCI_ADDR_LEN];

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		cr_expect_eq(pci_addr_read(v[i], out), -EINVAL, "%s", v[i]);
}
