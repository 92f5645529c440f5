/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <rte_build_config.h>

#include "pmd.h"
#include "sys.h"

static struct port_pmds *l;

/* A driver's file with bytes before, between and behind its texts. */
static void put_file(const char *name, const char *const *texts, unsigned n)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", sys_root, name);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fwrite("\177ELF\0\1\2", 1, 7, f);
	for (unsigned i = 0; i < n; i++)
		fwrite(texts[i], 1, strlen(texts[i]) + 1, f);
	fclose(f);
}

#define PUT(name, ...)                                     \
	put_file(name, (const char *const[]){__VA_ARGS__}, \
		 sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static void setup(void)
{
	sys_make();
	PUT("librte_net_virtio.so.23.0", "speed",
	    "PMD_INFO_STRING= {\"name\": \"net_virtio_user\", \"params\": \"path=<path> cq=<int>\", \"pci_ids\": []}",
	    "path", "cq", "rx_vectorized",
	    "PMD_INFO_STRING= {\"name\": \"net_virtio\", \"kmod\": \"* vfio-pci\", \"pci_ids\": [[6900, 4096, 65535, "
	    "65535], "
	    "[6900, 4161, 65535, 65535]]}");
	PUT("librte_net_tap.so.23.0", "iface", "PMD_INFO_STRING= {\"name\": \"net_ta\", \"pci_ids\": []}",
	    "PMD_INFO_STRING= {\"name\": \"net_tap\", \"params\": \"iface=<string>\", \"pci_ids\": []}");
	PUT("librte_net_vf.so.23.0",
	    "PMD_INFO_STRING= {\"name\": \"net_vf\", \"pci_ids\": [[32902, 6281, 65535, 65535]]}");
	PUT("librte_net_dcf.so.23.0", "cap",
	    "PMD_INFO_STRING= {\"name\": \"net_dcf\", \"params\": \"cap=dcf\", \"pci_ids\": [[32902, 6281, 65535, "
	    "65535]]}");
	/* Another kind of driver for the same card, which makes no port of it. */
	PUT("librte_a_vdpa.so.23.0", "PMD_INFO_STRING= {\"name\": \"vdpa\", \"pci_ids\": [[6900, 4161, 6900, 1]]}");
	PUT("librte_common_x.so.23.0", "dbnc");
	PUT("README", "bogus", "PMD_INFO_STRING= {\"name\": \"net_readme\", \"pci_ids\": []}");
	cr_assert_eq(port_pmds_load(sys_root, NULL, NULL, &l), 0);
}

static void teardown(void)
{
	port_pmds_free(l);
	sys_drop();
}

static struct port_pmd_of vdev(const char *device)
{
	return (struct port_pmd_of){.device = device, .vdev = true};
}

static struct port_pmd_of card(const char *device, uint16_t vendor, uint16_t id)
{
	return (struct port_pmd_of){.device = device, .vendor = vendor, .id = id};
}

Test(pmd, whose, .init = setup, .fini = teardown)
{
	struct port_pmd_of of = vdev("net_tap0,iface=x");
	char names[128];

	cr_expect_str_eq(port_pmds_driver(l, &of), "net_tap");
	cr_expect_str_eq(port_pmds_params(l, &of), "iface=<string>");
	of = vdev("virtio_user3");
	cr_expect_str_eq(port_pmds_driver(l, &of), "net_virtio_user");
	of = vdev("net_virtio_user3");
	cr_expect_str_eq(port_pmds_driver(l, &of), "net_virtio_user");
	of = vdev("net_nothing0");
	cr_expect_null(port_pmds_driver(l, &of));
	of = vdev("net_dcf0");
	cr_expect_null(port_pmds_driver(l, &of), "a card's driver makes no vdev");
	of = vdev("net_readme0");
	cr_expect_null(port_pmds_driver(l, &of), "no library");
	of = card("0000:03:00.0", 0x1af4, 0x1041);
	cr_expect_str_eq(port_pmds_driver(l, &of), "net_virtio");
	cr_expect_str_eq(port_pmds_params(l, &of), "");
	of = card("0000:03:00.0", 0x1af4, 0x1042);
	cr_expect_null(port_pmds_driver(l, &of));
	port_pmds_names(l, names, sizeof(names));
	cr_expect(strstr(names, "net_tap") && strstr(names, "net_virtio_user") && !strstr(names, "net_dcf"), "%s",
		  names);
}

Test(pmd, arguments, .init = setup, .fini = teardown)
{
	static const struct {
		const char *device, *unknown;
	} v[] = {
		{"0000:03:00.0", NULL},
		{"0000:03:00.0,speed=10000", NULL},
		{"0000:03:00.0,vectorized=1", NULL}, /* the end of a longer word */
		{"0000:03:00.0,speed", NULL},
		{"0000:03:00.0,representor=[0,bogus=1,3],dbnc=1", NULL},
		{"0000:03:00.0,spee=1", "spee"},
		{"0000:03:00.0,bogus=1", "bogus"},
		{"0000:03:00.0,speed=1,bogus=1,worse=2", "bogus"},
		{"0000:03:00.0,bogus", "bogus"},
		{"0000:03:00.0,iface=x", "iface"}, /* another driver's */
	};
	char key[32];

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct port_pmd_of of = card(v[i].device, 0x1af4, 0x1041);

		cr_expect_eq(port_pmds_unknown(l, &of, key, sizeof(key)), v[i].unknown != NULL, "%s: %s", v[i].device,
			     key);
		if (v[i].unknown)
			cr_expect_str_eq(key, v[i].unknown);
	}
}

/* Two drivers are for the card: either may know it. */
Test(pmd, arguments_of_several_drivers, .init = setup, .fini = teardown)
{
	struct port_pmd_of of = card("0000:03:00.0,cap=dcf", 0x8086, 0x1889);
	char key[32];

	cr_expect_not(port_pmds_unknown(l, &of, key, sizeof(key)));
}

Test(pmd, nothing_there, .init = sys_make, .fini = sys_drop)
{
	cr_expect_eq(port_pmds_load(sys_root, NULL, NULL, &l), -ENOENT);
	cr_expect_eq(port_pmds_load("/no/such", NULL, NULL, &l), -ENOENT);
	PUT("librte_net_cut.so", "PMD_INFO_STRING= ", "PMD_INFO_STRING= {\"name\": \"", "PMD_INFO_STRING= {}");
	cr_expect_eq(port_pmds_load(sys_root, NULL, NULL, &l), -ENOENT);
}

/* The arguments that the installed drivers list, of those that separate them. */
Test(pmd, of_this_machine)
{
	static const char *const v[] = {
		"net_af_packet0,iface=x,qpairs=1,blocksz=1,framesz=1,framecnt=1,qdisc_bypass=0",
		"net_af_xdp0,iface=x,start_queue=0,queue_count=1,shared_umem=0,xdp_prog=x,busy_budget=1,force_copy=1",
		"net_tap0,iface=x,remote=y,mac=fixed",
		"net_null0,size=1,copy=1,no-rx=1",
		"net_pcap0,rx_pcap=x,tx_pcap=x,rx_iface=x,rx_iface_in=x,tx_iface=x,iface=x,phy_mac=1,infinite_rx=1",
		"net_memif0,role=server,id=0,bsize=1,rsize=1,socket=x,socket-abstract=no,mac=x,zero-copy=no,secret=x",
		"net_ring0",
		"net_vhost0,iface=x,queues=1,client=1,iommu-support=1,postcopy-support=1,tso=1,linear-buffer=1",
		"virtio_user0,path=x,mac=x,cq=1,queue_size=1,queues=1,iface=x,server=1,mrg_rxbuf=1,in_order=1,"
		"packed_vq=1,speed=1,vectorized=1",
		"net_bonding0,mode=1,primary=x,xmit_policy=l2,agg_mode=count,socket_id=0,lsc_poll_period_ms=1,up_delay="
		"1",
	};
	char key[64];

	if (port_pmds_load(RTE_EAL_PMD_PATH, NULL, NULL, &l))
		cr_skip_test("DPDK is linked in whole, or has no drivers");
	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct port_pmd_of of = vdev(v[i]);
		char bogus[300];

		cr_expect_not_null(port_pmds_driver(l, &of), "%s", v[i]);
		cr_expect_not(port_pmds_unknown(l, &of, key, sizeof(key)), "%s: %s", v[i], key);
		snprintf(bogus, sizeof(bogus), "%s,bogus=1", v[i]);
		of.device = bogus;
		cr_expect(port_pmds_unknown(l, &of, key, sizeof(key)), "%s", bogus);
		cr_expect_str_eq(key, "bogus");
	}
	for (unsigned i = 0; i < 2; i++) {
		struct port_pmd_of of =
			card(i ? "0000:03:00.0,bogus=1" : "0000:03:00.0,speed=10000,vectorized=1", 0x1af4, 0x1041);

		cr_expect_str_eq(port_pmds_driver(l, &of), "net_virtio");
		cr_expect_eq(port_pmds_unknown(l, &of, key, sizeof(key)), i, "%s", key);
		of = card("0000:03:00.0,bogus=1", 0x8086, 0x10c9);
		cr_expect_str_eq(port_pmds_driver(l, &of), "net_e1000_igb");
		cr_expect(port_pmds_unknown(l, &of, key, sizeof(key)));
	}
	port_pmds_free(l);
}
