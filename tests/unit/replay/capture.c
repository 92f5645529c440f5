/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "capture.h"
#include "vectors.h"

#define START_MS 5000 /* any clock: captures begin at 0, which a clock may mean by "never" */

/* The value of an option of the client's command line; `none` when it was not given. */
static const char *option(const json_t *argv, const char *name, const char *none)
{
	for (size_t i = 0; i < json_array_size(argv); i++)
		if (!strcmp(json_string_value(json_array_get(argv, i)), name))
			return i + 1 < json_array_size(argv) ? json_string_value(json_array_get(argv, i + 1)) : "";
	return none;
}

static unsigned number(const json_t *argv, const char *name, const char *none)
{
	return (unsigned)strtoul(option(argv, name, none), NULL, 10);
}

static void load_shape(struct capture *c, const json_t *argv)
{
	snprintf(c->crypt, sizeof(c->crypt), "%s", option(argv, "--crypt", "aes"));
	snprintf(c->key, sizeof(c->key), "%s", option(argv, "--key", "it's a secrect"));
	c->ds = number(argv, "--datashard", "10");
	c->ps = number(argv, "--parityshard", "3");
	c->nocomp = option(argv, "--nocomp", NULL) != NULL;
	/* The captures of the generation whose default is 2 all name it. */
	c->smuxver = number(argv, "--smuxver", "1");
	c->qpp = option(argv, "--QPP", NULL) != NULL;
	c->qpp_count = number(argv, "--QPPCount", "61");
}

static void load_packet(struct cap_pkt *p, const json_t *j)
{
	p->ms = START_MS + (uint64_t)json_integer_value(json_object_get(j, "t_us")) / 1000;
	p->way = strcmp(json_string_value(json_object_get(j, "dir")), "c2s") ? S2C : C2S;
	p->p = vectors_hex(j, "hex", &p->n);
}

void capture_load(struct capture *c, const char *name)
{
	char file[96];
	json_t *root, *packets;

	snprintf(file, sizeof(file), "e2e_%s.pcap", name);
	root = vectors_load(file);
	memset(c, 0, sizeof(*c));
	load_shape(c, json_object_get(root, "client"));
	packets = json_object_get(root, "packets");
	c->n = json_array_size(packets);
	cr_assert_gt(c->n, 0);
	c->v = calloc(c->n, sizeof(*c->v));
	for (size_t i = 0; i < c->n; i++) {
		load_packet(&c->v[i], json_array_get(packets, i));
		cr_assert(i == 0 || c->v[i].ms >= c->v[i - 1].ms, "packet %zu is out of time", i);
	}
	c->app[C2S] = vectors_hex(root, "app_request", &c->app_n[C2S]);
	c->app[S2C] = vectors_hex(root, "app_response", &c->app_n[S2C]);
	json_decref(root);
}

void capture_free(struct capture *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->v[i].p);
	free(c->v);
	for (unsigned w = 0; w < WAYS; w++)
		free(c->app[w]);
}
