/* SPDX-License-Identifier: MIT */

/* /kcpgate/config: what is in force, object by object.  Keys are not among it. */

#include <stdio.h>
#include <string.h>

#include "cmd_int.h"

#define PAGE_OBJECTS 8 /* of one answer: DPDK's has 16 KiB, and a tunnel's 45 settings have 1.6 KiB at most */

static int setting(void *ctx, const struct conf_setting *s)
{
	struct rte_tel_data *d = ctx;
	char text[RTE_TEL_MAX_STRING_LEN];

	if (s->is_number && s->number < 0)
		rte_tel_data_add_dict_int(d, s->name, (int)s->number);
	else if (s->is_number)
		dict_u64(d, s->name, (uint64_t)s->number);
	else if (snprintf(text, sizeof(text), "%s", s->text) < (int)sizeof(text))
		rte_tel_data_add_dict_string(d, s->name, text);
	else { /* DPDK has no longer strings: it ends in what says so */
		memcpy(text + sizeof(text) - 4, "...", 4);
		rte_tel_data_add_dict_string(d, s->name, text);
	}
	return 0;
}

static struct rte_tel_data *object(const struct tlm_src *src, unsigned i, const struct conf_object *o)
{
	struct rte_tel_data *d = rte_tel_data_alloc();

	if (!d)
		return NULL;
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "section", o->section);
	if (conf_object_each(src->conf, i, setting, d)) {
		rte_tel_data_free(d);
		return NULL;
	}
	return d;
}

/* "[,FROM]": objects by number; `next`, where there is more, is what to ask with. */
int tlm_cmd_config(const struct tlm_src *src, const char *params, struct rte_tel_data *d)
{
	unsigned n = conf_objects(src->conf), i;
	const char *at = params;
	uint64_t from = 0;
	char name[16];

	if (at && *at == ',')
		at++;
	if (at && *at && (!tlm_number(&at, '\0', &from) || from >= n))
		return tlm_sorry(d, "found %s; allowed: a comma and what `next` was", params);
	rte_tel_data_start_dict(d);
	for (i = (unsigned)from; i < n && i < from + PAGE_OBJECTS; i++) {
		const struct conf_object o = conf_object(src->conf, i);

		snprintf(name, sizeof(name), "%u", i);
		tlm_row(d, o.name ? name : o.section, object(src, i, &o));
	}
	if (i < n) {
		snprintf(name, sizeof(name), "%u", i);
		rte_tel_data_add_dict_string(d, "next", name);
	}
	return 0;
}
