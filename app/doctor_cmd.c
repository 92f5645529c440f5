/* SPDX-License-Identifier: MIT */

/* `kcpgate doctor`: the doctor asks the rooms of this program. */

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"
#include "cap.h"
#include "crypt.h"
#include "doctor.h"
#include "fec.h"
#include "nl.h"

static const char *caps(const char *device, bool vdev, char *buf)
{
	return cap_of_device(device, vdev, buf);
}

_Static_assert(CAP_TEXT <= DOCTOR_TEXT, "what cap_of_device writes fits");

static int rss(const char *ifname)
{
	struct ethtool_rxfh want = {.cmd = ETHTOOL_GRSSH};
	struct ifreq r = {.ifr_data = (char *)&want};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", ifname);
	rc = ioctl(fd, SIOCETHTOOL, &r) ? -errno : (int)want.indir_size;
	close(fd);
	/* Most drivers without RSS do not know the question. */
	return rc == -EOPNOTSUPP ? 0 : rc;
}

static int rules(char *first, size_t n)
{
	char text[NL_RULE_TEXT];
	int count = nl_rules_now(text);

	snprintf(first, n, "%s", text);
	return count;
}

int app_doctor(const struct conf *c, bool json)
{
	static const struct doctor_ask ask = {
		.cipher = crypt_form, .fec = fec_form, .caps = caps, .rss = rss, .rules = rules};
	struct doctor d;
	int ret = doctor_run(&d, "", c, &ask);
	bool good = ret == 0 && doctor_count(&d, DOCTOR_MISSING) == 0;

	if (ret == 0)
		ret = json ? doctor_json(&d, stdout) : doctor_print(&d, stdout);
	doctor_end(&d);
	if (ret)
		fprintf(stderr, "kcpgate: doctor: %s\n", strerror(-ret));
	return good && ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
