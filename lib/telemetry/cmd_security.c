/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "cmd_int.h"

int tlm_cmd_security(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	struct tlm_security s = {0};

	(void)params;
	if (!src->security)
		return -ENOENT;
	src->security(&s);
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_int(d, "user", s.user);
	rte_tel_data_add_dict_string(d, "capabilities", s.capabilities);
	rte_tel_data_add_dict_string(d, "sandbox", s.sandbox ? "on" : "off");
	dict_u64(d, "calls_refused", s.refused);
	dict_u64(d, "key_bytes", s.keys);
	dict_u64(d, "key_bytes_not_locked", s.keys_unlocked);
	return 0;
}
