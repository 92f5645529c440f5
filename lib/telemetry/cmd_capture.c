/* SPDX-License-Identifier: MIT */

/* /kcpgate/capture: what has become of the last one, or "start" and what is wanted. */

#include <string.h>

#include <rte_eal.h>

#include "cmd_int.h"
#include "record.h"

int tlm_cmd_capture(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	char name[RECORD_NAME], why[256] = "";
	struct record_ask ask;
	struct record_now now;

	rte_tel_data_start_dict(d);
	if (params && *params) {
		size_t n = strcspn(params, ",");

		if (n != strlen("start") || strncmp(params, "start", n) != 0)
			return tlm_sorry(d, "found %s; allowed: start[,NAME=VALUE...]", params);
		if (record_parse(src, params + n + (params[n] == ','), &ask, why, sizeof(why)) ||
		    record_start(src, &ask, rte_eal_get_runtime_dir(), name, why, sizeof(why)))
			return tlm_sorry(d, "%s", why);
		rte_tel_data_add_dict_string(d, "socket", name);
	}
	record_now(&now);
	dict_u64(d, "id", now.id);
	rte_tel_data_add_dict_string(d, "state", now.running ? "running" : now.id ? "ended" : "none");
	dict_u64(d, "packets", now.packets);
	dict_u64(d, "lost", now.lost);
	return 0;
}
