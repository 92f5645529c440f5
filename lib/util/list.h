/* SPDX-License-Identifier: MIT */
#pragma once

/* Intrusive doubly linked list.  The head is a node too; an unlinked node points at itself. */

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#ifndef container_of /* DPDK has it too */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#endif

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

/* True for an empty list, and for a node that is on none. */
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* Puts `e` right before `at`: with the head as `at`, at the tail. */
static inline void list_add_before(struct list *at, struct list *e)
{
	e->prev = at->prev;
	e->next = at;
	at->prev->next = e;
	at->prev = e;
}

static inline void list_add_tail(struct list *head, struct list *e)
{
	list_add_before(head, e);
}

static inline void list_add_head(struct list *head, struct list *e)
{
	list_add_before(head->next, e);
}

/* Safe on a node that is on no list. */
static inline void list_del(struct list *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	list_init(e);
}

static inline struct list *list_pop(struct list *head)
{
	struct list *e = head->next;

	if (e == head)
		return NULL;
	list_del(e);
	return e;
}

/* Moves all of `from` to the tail of `to`; `from` is empty afterwards. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_for_each(e, head) for (struct list *e = (head)->next; e != (head); e = e->next)
#define list_for_each_safe(e, t, head) \
	for (struct list *e = (head)->next, *t = e->next; e != (head); e = t, t = e->next)
