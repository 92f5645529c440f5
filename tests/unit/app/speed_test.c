/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <criterion/criterion.h>

#include "speed.h"

/* Bandwidths beside what the links carry. */

static struct conf_port ports[3] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
static const struct conf conf = {.ports = ports, .n_ports = 3};

#define G UINT64_C(1000000000)

Test(speed, cut)
{
	static const struct {
		const char *port;
		enum conf_role role;
		uint64_t up, down;
		unsigned mbps[3];
		uint64_t cut;
		const char *text;
	} of[] = {
		{"", CONF_CLIENT, 2 * G, 20 * G, {1000, 10000, 100}, 2 * G, ""},
		{"", CONF_CLIENT, 10 * G, 20 * G, {1000, 10000, 100}, 10 * G, ""},
		{"",
		 CONF_SERVER,
		 2 * G,
		 20 * G,
		 {1000, 10000, 100},
		 10 * G,
		 "tunnel t: bandwidth: found 20G to send, and its port carries 10G: counted as that"},
		{"",
		 CONF_CLIENT,
		 20 * G,
		 2 * G,
		 {1000, 10000, 100},
		 10 * G,
		 "tunnel t: bandwidth: found 20G to send, and its port carries 10G: counted as that"},
		{"c",
		 CONF_CLIENT,
		 2 * G,
		 2 * G,
		 {1000, 10000, 100},
		 G / 10,
		 "tunnel t: bandwidth: found 2G to send, and its port carries 100M: counted as that"},
		{"b", CONF_CLIENT, 2 * G, 2 * G, {1000, 10000, 0}, 2 * G, ""},
		/* Of one port nobody knows: it may carry all of it. */
		{"", CONF_CLIENT, 20 * G, 20 * G, {1000, 0, 100}, 20 * G, ""},
		{"b", CONF_CLIENT, 20 * G, 20 * G, {1000, 0, 100}, 20 * G, ""},
		{"", CONF_CLIENT, 400 * G, 400 * G, {400000, 0, 0}, 400 * G, ""},
		{"", CONF_CLIENT, 0, 0, {1000, 1000, 1000}, 0, ""},
		{"", CONF_CLIENT, 0, 0, {0, 0, 0}, 0, ""},
	};

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		struct conf_tunnel t = {.name = "t", .role = of[i].role, .bandwidth = {of[i].up, of[i].down}};
		unsigned mbps[CONF_PORTS_MAX] = {of[i].mbps[0], of[i].mbps[1], of[i].mbps[2]};
		char text[200];

		strcpy(t.port, of[i].port);
		cr_expect_eq(speed_cut(&conf, &t, mbps), of[i].cut, "%zu", i);
		cr_expect_eq(speed_cut_text(&conf, &t, mbps, text, sizeof(text)), of[i].text[0] != '\0', "%zu", i);
		cr_expect_str_eq(text, of[i].text, "%zu: %s", i, text);
	}
}
