/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "top.h"

#ifdef HAVE_NCURSES
#include <curses.h>
#endif

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int once_to(struct look *l, const char *tunnel, double delay, FILE *f)
{
	const struct timespec ts = {.tv_sec = (time_t)delay, .tv_nsec = (long)((delay - (double)(time_t)delay) * 1e9)};
	const struct top_view all = {0};
	struct top_look before = {0}, now = {0};
	int ret = top_look(l, tunnel, now_us(), &before);

	if (!ret) {
		nanosleep(&ts, NULL);
		ret = top_look(l, tunnel, now_us(), &now);
	}
	if (!ret)
		ret = top_draw(&before, &now, &all, f);
	top_forget(&before);
	top_forget(&now);
	return ret < 0 ? ret : 0;
}

#ifdef HAVE_NCURSES

static const char help[] = "q quit  r rate  l loss  t RTT  m memory  up/down, page up/down  space: look now";

/* The text's lines onto the screen, cut at its edge. */
static void put(char *text, int head)
{
	int y = 0;

	erase();
	for (char *line = text, *end; (end = strchr(line, '\n')) && y < LINES - 1; line = end + 1, y++) {
		*end = '\0';
		attrset(y == head ? A_REVERSE : y == 0 ? A_BOLD : A_NORMAL);
		mvaddnstr(y, 0, line, COLS);
		if (y == head)
			for (int x = (int)strlen(line); x < COLS; x++)
				addch(' ');
	}
	attrset(A_DIM);
	mvaddnstr(LINES - 1, 0, help, COLS - 1);
	attrset(A_NORMAL);
	refresh();
}

static int draw(const struct top_look *before, const struct top_look *now, struct top_view *v)
{
	size_t n, sessions = json_object_size(now->sessions);
	char *text = NULL;
	FILE *f = open_memstream(&text, &n);
	int head;

	if (!f)
		return -ENOMEM;
	if (v->from >= sessions)
		v->from = sessions ? (unsigned)sessions - 1 : 0;
	v->rows = LINES > 0 ? (unsigned)LINES : 1;
	head = top_draw(before, now, v, f);
	fclose(f);
	if (head >= 0)
		put(text, head);
	free(text);
	return head < 0 ? head : 0;
}

/* False: the screen is to end. */
static bool on_key(int key, struct top_view *v)
{
	unsigned page = LINES > 8 ? (unsigned)LINES - 6 : 2;

	switch (key) {
	case 'q':
	case 27:
		return false;
	case 'r':
		v->order = TOP_RATE;
		break;
	case 'l':
		v->order = TOP_LOSS;
		break;
	case 't':
		v->order = TOP_RTT;
		break;
	case 'm':
		v->order = TOP_MEMORY;
		break;
	case KEY_DOWN:
		v->from++;
		break;
	case KEY_UP:
		v->from -= v->from > 0;
		break;
	case KEY_NPAGE:
		v->from += page;
		break;
	case KEY_PPAGE:
		v->from -= v->from > page ? page : v->from;
		break;
	}
	return true;
}

/* Keys, until the next look is due.  False: the screen is to end. */
static bool keys(const struct top_look *before, const struct top_look *now, struct top_view *v, double delay)
{
	const uint64_t until = now->us + (uint64_t)(delay * 1e6);
	uint64_t t;

	while ((t = now_us()) < until) {
		int key;

		timeout((int)((until - t) / 1000) + 1);
		key = getch();
		if (key == ' ')
			return true;
		if (key == ERR)
			continue;
		if (!on_key(key, v) || draw(before, now, v))
			return false;
	}
	return true;
}

static int live(struct look *l, const char *tunnel, double delay)
{
	struct top_look before = {0}, now = {0};
	struct top_view v = {0};
	SCREEN *screen = newterm(NULL, stdout, stdin);
	int ret;

	if (!screen) {
		snprintf(l->why, sizeof(l->why), "this terminal (TERM) is not known: --once works anywhere");
		return -ENOTTY;
	}
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	set_escdelay(50);
	ret = top_look(l, tunnel, now_us(), &now);
	while (!ret) {
		ret = draw(before.us ? &before : &now, &now, &v);
		if (ret || !keys(before.us ? &before : &now, &now, &v, before.us ? delay : delay / 4))
			break;
		top_forget(&before);
		before = now;
		ret = top_look(l, tunnel, now_us(), &now);
	}
	endwin();
	delscreen(screen);
	top_forget(&before);
	top_forget(&now);
	return ret;
}

#else

static int live(struct look *l, const char *tunnel, double delay)
{
	snprintf(l->why, sizeof(l->why), "this kcpgate was built without ncurses: top --once works");
	return -ENOSYS;
}

#endif

int look_top(struct look *l, const char *tunnel, double delay, bool once, FILE *f)
{
	if (once)
		return once_to(l, tunnel, delay, f);
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		snprintf(l->why, sizeof(l->why), "this is no terminal: --once prints it, and ends");
		return -ENOTTY;
	}
	return live(l, tunnel, delay);
}
