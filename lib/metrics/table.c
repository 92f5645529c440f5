/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "glance_int.h"

/* Sessions one by one, for as long as somebody looks: what each has done since it was seen before. */

static unsigned hash(uint64_t id)
{
	return (unsigned)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 50) % GLANCE_TABLE;
}

bool glance_table_up(struct glance *l)
{
	if (l->cells)
		return true;
	l->cells = calloc(GLANCE_TABLE, sizeof(*l->cells));
	l->heads = malloc(GLANCE_TABLE * sizeof(*l->heads));
	if (!l->cells || !l->heads) {
		glance_table_down(l);
		return false;
	}
	for (unsigned i = 0; i < GLANCE_TABLE; i++) {
		l->heads[i] = -1;
		l->cells[i].next = i + 1 < GLANCE_TABLE ? (int)i + 1 : -1;
	}
	l->free = 0;
	return true;
}

void glance_table_down(struct glance *l)
{
	free(l->cells);
	free(l->heads);
	l->cells = NULL;
	l->heads = NULL;
}

/* The session's cell, maybe a new one; NULL: the table is full. */
static struct glance_cell *cell(struct glance *l, uint64_t id)
{
	int *head = &l->heads[hash(id)], i = *head;
	struct glance_cell *c;

	for (; i >= 0; i = l->cells[i].next)
		if (l->cells[i].row.id == id)
			return &l->cells[i];
	if (l->free < 0)
		return NULL;
	i = l->free;
	c = &l->cells[i];
	l->free = c->next;
	*c = (struct glance_cell){.next = *head, .used = true, .row = {.id = id}};
	*head = i;
	return c;
}

static uint32_t again(const struct shard_row *r)
{
	return r->look.again_fast + r->look.again_early + r->look.again_late;
}

/* What it did since it was seen before, if it was. */
static void rates(struct glance_row *k, const struct shard_row *r, uint64_t now_ms)
{
	float dt = (float)(now_ms - k->at_ms) / 1000;
	uint32_t sent = r->kcp.snd_nxt - k->sent, repeated = again(r) - k->again;

	k->in = k->out = k->lost = NAN;
	if (!k->at_ms || dt <= 0)
		return;
	k->in = (float)(r->bytes_in - k->bytes_in) / dt;
	k->out = (float)(r->bytes_out - k->bytes_out) / dt;
	if (sent + repeated)
		k->lost = (float)repeated / (float)(sent + repeated);
}

void glance_table_row(struct glance *l, const struct shard_row *r, uint64_t now_ms)
{
	struct glance_cell *c = cell(l, r->id);
	struct glance_row *k;

	if (!c) {
		l->cursor[r->worker].missing_now++;
		return;
	}
	k = &c->row;
	rates(k, r, now_ms);
	k->at_ms = now_ms;
	k->bytes_in = r->bytes_in;
	k->bytes_out = r->bytes_out;
	k->sent = r->kcp.snd_nxt;
	k->again = again(r);
	k->age_ms = r->age_ms;
	k->rtt = glance_rtt(r);
	k->min_rtt = r->modelled && r->look.min_rtt ? (float)r->look.min_rtt / 1e6f : NAN;
	k->queue = r->modelled ? (float)r->look.queue / 1e6f : NAN;
	k->streams = r->streams;
	k->flight = r->kcp.snd_buf;
	k->memory = r->memory;
	k->tunnel = r->tunnel;
	k->worker = r->worker;
	k->kcpgate = r->kcpgate_peer;
	k->by = r->limited_by;
	k->key = r->key;
}

void glance_table_sweep(struct glance *l, uint16_t worker, uint64_t since_ms)
{
	if (!l->cells)
		return;
	for (unsigned h = 0; h < GLANCE_TABLE; h++) {
		for (int *p = &l->heads[h]; *p >= 0;) {
			struct glance_cell *c = &l->cells[*p];
			int i = *p;

			if (c->row.worker != worker || c->row.at_ms >= since_ms) {
				p = &c->next;
				continue;
			}
			*p = c->next;
			*c = (struct glance_cell){.next = l->free};
			l->free = i;
		}
	}
	l->cursor[worker].missing = l->cursor[worker].missing_now;
	l->cursor[worker].missing_now = 0;
}

const struct glance_row *glance_table_next(const struct glance *l, unsigned *at)
{
	while (l->cells && *at < GLANCE_TABLE)
		if (l->cells[(*at)++].used)
			return &l->cells[*at - 1].row;
	return NULL;
}

unsigned glance_table_missing(const struct glance *l)
{
	unsigned sum = 0;

	for (unsigned w = 0; w < l->src->n_workers; w++)
		sum += l->cursor[w].missing;
	return sum;
}
