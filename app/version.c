/* SPDX-License-Identifier: MIT */

/* `kcpgate --version`: what it is made of.  Libraries that can tell are asked, for a host's may be newer than ours
 * were. */

#include <stdio.h>

#include <bpf/libbpf.h>
#include <gcrypt.h>
#include <intel-ipsec-mb.h>
#include <jansson.h>
#include <rte_version.h>
#include <seccomp.h>

#include "app.h"
#include "commit.h"

#define COMMIT_MAX 64

/* The number behind the name, "22.11.9" of "DPDK 22.11.9". */
static const char *behind_blank(const char *text)
{
	const char *at = text;

	while (*at && *at != ' ')
		at++;
	return *at ? at + 1 : text;
}

static void print_libraries(void)
{
	const struct scmp_version *scmp = seccomp_version();

	printf("DPDK %s, IPsec-MB %s, libgcrypt %s, ISA-L %s, snappy %s\n", behind_blank(rte_version()),
	       imb_get_version_str(), gcry_check_version(NULL), LIBISAL_VERSION, LIBSNAPPY_VERSION);
	printf("libconfig %s, jansson %s, libmnl %s, libbpf %s, libxdp %s, libseccomp %u.%u.%u\n", LIBCONFIG_TEXT,
	       jansson_version_str(), LIBMNL_VERSION, libbpf_version_string(), LIBXDP_VERSION, scmp->major, scmp->minor,
	       scmp->micro);
}

void app_version(void)
{
	printf("kcpgate version " KCPGATE_VERSION "%s%.*s\n", KCPGATE_COMMIT[0] ? ", commit " : "", COMMIT_MAX,
	       KCPGATE_COMMIT);
	print_libraries();
}
