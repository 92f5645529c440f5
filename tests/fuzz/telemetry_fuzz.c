/* SPDX-License-Identifier: MIT */

/*
 * What is asked at the telemetry socket: parameters of commands, and of a capture.  DPDK's library is played here.
 *
 *	command(1) text
 */

#include <errno.h>

#include <rte_telemetry.h>
#include <rte_version.h>

#include "fuzz.h"
#include "record.h"
#include "tlm.h"

static const char file[] =
	"ports = ( { name = \"wan0\"; device = \"0000:03:00.0\"; } );\n"
	"tunnels = ( { name = \"hk\"; role = \"server\"; listen = \":4000\"; target = \"127.0.0.1:80\"; },\n"
	"{ name = \"sg-1\"; role = \"server\"; listen = \":4001\"; target = \"127.0.0.1:81\"; } );\n";

#define COMMANDS 32

static telemetry_cb command[COMMANDS];
static const char *name[COMMANDS];
static unsigned commands;
static struct tlm_src src;

struct rte_tel_data {
	int none;
};

int rte_telemetry_register_cmd(const char *cmd, telemetry_cb fn, const char *help)
{
	/* Those that read their parameters, and nothing of a gateway that runs. */
	if (!strcmp(cmd, "/kcpgate/snmp") || !strcmp(cmd, "/kcpgate/sessions")) {
		name[commands] = cmd;
		command[commands++] = fn;
	}
	return 0;
}

struct rte_tel_data *rte_tel_data_alloc(void)
{
	return calloc(1, sizeof(struct rte_tel_data));
}

void rte_tel_data_free(struct rte_tel_data *d)
{
	free(d);
}

int rte_tel_data_start_dict(struct rte_tel_data *d)
{
	return 0;
}

int rte_tel_data_add_dict_string(struct rte_tel_data *d, const char *key, const char *val)
{
	return 0;
}

int rte_tel_data_add_dict_int(struct rte_tel_data *d, const char *key, int val)
{
	return 0;
}

#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
int rte_tel_data_add_dict_uint(struct rte_tel_data *d, const char *key, uint64_t val)
#else
int rte_tel_data_add_dict_u64(struct rte_tel_data *d, const char *key, uint64_t val)
#endif
{
	return 0;
}

int rte_tel_data_add_dict_container(struct rte_tel_data *d, const char *key, struct rte_tel_data *val, int keep)
{
	rte_tel_data_free(val);
	return 0;
}

static void up(void)
{
	struct conf *c;
	char why[512];

	fuzz_must(conf_load(fuzz_file((const uint8_t *)file, strlen(file)), &c, why, sizeof(why)) == 0, "%s", why);
	src.conf = c;
	fuzz_must(tlm_start(&src) == 0 && commands == 2);
}

static void capture(const char *text)
{
	struct record_ask ask;
	char why[256] = "", little[16];
	int rc = record_parse(&src, text, &ask, why, sizeof(why));

	fuzz_must(rc == 0 || (rc == -EINVAL && why[0]));
	fuzz_must(record_parse(&src, text, &ask, little, sizeof(little)) == rc);
	if (rc == 0)
		fuzz_must(ask.want.tunnel < 2 && ask.want.n_sessions <= CAPTURE_SESSIONS);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_in in = {p, n};
	unsigned which = fuzz_u8(&in);
	char *text = malloc(in.n + 1);
	struct rte_tel_data d;

	if (!src.conf)
		up();
	if (in.n)
		memcpy(text, in.p, in.n);
	text[in.n] = '\0';
	if (which % 3 < commands)
		command[which % 3](name[which % 3], text, &d);
	else
		capture(text);
	free(text);
	return 0;
}
