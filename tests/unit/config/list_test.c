/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parse.h"

/* What a running gateway tells of its configuration. */

static const char text[] =
	"eal = { lcores = \"0@0,1@1\"; args = [ \"--log-level=7\", \"--log-level=5\" ]; };\n"
	"limits = { sessions = 77; };\n"
	"ports = ( { name = \"wan0\"; device = \"0000:03:00.0\"; ifname = \"kg9\"; addresses = [ \"192.0.2.7/24\", "
	"\"2001:db8::7/64\" ]; gateway = [ \"192.0.2.1\" ]; } );\n"
	"tunnels = ( { name = \"hk\"; role = \"server\"; listen = \":4000-4003\"; target = \"127.0.0.1:80\"; key = "
	"\"never to be shown\"; allow = [ \"10.0.0.0/8\" ]; deny = [ \"10.1.0.0/16\", \"10.2.0.0/16\" ]; },\n"
	"{ name = \"us\"; role = \"client\"; listen = \"127.0.0.1:81\"; remote = \"192.0.2.9:4000\"; key = "
	"\"never to be shown\"; resend = 3; mode = \"manual\"; bandwidth = \"20M/100M\"; } );\n";

static char all[16384];
static size_t n;

static int add(void *ctx, const struct conf_setting *s)
{
	const struct conf_object *o = ctx;

	n += (size_t)snprintf(all + n, sizeof(all) - n, "%s.%s%s%s = ", o->section, o->name ? o->name : "",
			      o->name ? "." : "", s->name);
	n += s->is_number ? (size_t)snprintf(all + n, sizeof(all) - n, "%lld\n", (long long)s->number)
			  : (size_t)snprintf(all + n, sizeof(all) - n, "%s\n", s->text);
	cr_assert_lt(n, sizeof(all));
	return 0;
}

static struct conf *list(void)
{
	char path[] = "/tmp/kcpgate-list-XXXXXX", why[512];
	int fd = mkstemp(path);
	struct conf *c;

	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	cr_assert_eq(conf_load(path, &c, why, sizeof(why)), 0, "%s", why);
	unlink(path);
	for (unsigned i = 0; i < conf_objects(c); i++) {
		struct conf_object o = conf_object(c, i);

		cr_assert_eq(conf_object_each(c, i, add, &o), 0);
	}
	return c;
}

Test(config_list, all_in_force)
{
	static const char *const lines[] = {
		"eal.lcores = 0@0,1@1",
		"eal.args = --log-level=7, --log-level=5",
		"eal.idle = adaptive",
		"limits.sessions = 77",
		"limits.streams = 4096",
		"telemetry.enable = true",
		"log.level = info",
		"security.sandbox = true",
		"ports.wan0.name = wan0",
		"ports.wan0.device = 0000:03:00.0",
		"ports.wan0.ifname = kg9",
		"ports.wan0.addresses = 192.0.2.7/24, 2001:db8::7/64",
		"ports.wan0.gateway = 192.0.2.1",
		"ports.wan0.mtu = 1500",
		"tunnels.hk.listen = :4000-4003",
		"tunnels.hk.target = 127.0.0.1:80",
		"tunnels.hk.allow = 10.0.0.0/8",
		"tunnels.hk.deny = 10.1.0.0/16, 10.2.0.0/16",
		"tunnels.hk.crypt = aes",
		"tunnels.us.remote = 192.0.2.9:4000",
		"tunnels.us.resend = 3",
		"tunnels.us.bandwidth = 20M/100M",
		"tunnels.hk.bandwidth = ",
		"tunnels.us.datashard = 10",
		"tunnels.us.conn = 1",
	};
	struct conf *c = list();

	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		const char *at = strstr(all, lines[i]);

		cr_assert(at && at[strlen(lines[i])] == '\n', "no \"%s\" in\n%s", lines[i], all);
	}
	cr_assert_null(strstr(all, "never"), "%s", all);
	cr_assert_null(strstr(all, ".key ="), "%s", all);
	cr_assert_null(strstr(all, "tunnels.hk.conn"), "a client's option at a server");
	conf_free(c);
}

static int stop_at_second(void *ctx, const struct conf_setting *s)
{
	return ++*(int *)ctx == 2 ? 7 : 0;
}

Test(config_list, stops)
{
	struct conf *c = list();
	int seen = 0;

	cr_assert_eq(conf_object_each(c, 0, stop_at_second, &seen), 7);
	cr_assert_eq(seen, 2);
	conf_free(c);
}
